"""What a command says, asks and does before it goes on with a session's answers, or stands on its seal."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli import choosing
from cli.checkpoints import show_checkpoints
from cli.choosing import choose, meant
from cli.display import make_display
from cli.exits import COMPLETE, INVALID, CommandError
from cli.preparing import prepare
from cli.resuming import resume
from discernus.experiments.definition import read_definition
from discernus.packages.erasure import document_of, erase
from discernus.sessions import layout
from discernus.sessions.integrity.signing import read_public_key
from discernus.sessions.integrity.verification import verify
from discernus.sessions.opening import sessions_in
from discernus.sessions.session import Session
from discernus.settings import Settings
from tests.sealed_sessions import new_key
from tests.test_extending import made, sealed


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return made(tmp_path / "projects", runs=1)


@pytest.fixture
def source(tmp_path: Path, folder: Path) -> Session:
    return sealed(tmp_path / "projects", folder)


def extend(folder: Path, source: Session) -> Session:
    settings, definition = Settings(projects_dir=source.folder.parents[4]), read_definition(folder)
    display = make_display(as_json=True)
    chosen = choose(
        settings,
        folder,
        definition,
        lambda: prepare(settings, definition),
        display,
        new=False,
        overridden=False,
        extends=source,
    )
    return chosen.session


def test_answers_that_are_damaged_are_named_before_they_are_paid_for_again(
    folder: Path, source: Session, capsys: pytest.CaptureFixture[str]
) -> None:
    for message in (source.folder / layout.ARCHIVE / "messages").iterdir():
        message.write_text("damaged")
    extend(folder, source)
    said = " ".join(capsys.readouterr().out.split())
    assert "2 answers of" in said
    assert "are damaged: 001, 002; they would be asked for, and paid, again" in said


def test_a_person_is_asked_and_may_leave_it(folder: Path, source: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    source.store.put("llm_archive/response_002.txt", b"damaged")
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setattr(choosing, "_ask", lambda _: "n")
    with pytest.raises(CommandError, match="nothing was opened, and nothing paid for"):
        extend(folder, source)
    assert len(sessions_in(source.folder.parent)) == 1
    monkeypatch.setattr(choosing, "_ask", lambda _: "y")
    assert extend(folder, source).facts.extends == source.name


def test_a_text_that_was_erased_is_not_sent_again_though_the_corpus_has_it(folder: Path, source: Session) -> None:
    erase(source, document_of(source, "address-00002"), "a request")
    with pytest.raises(CommandError, match=r"address-00002 was erased from .* take them out of the corpus") as refused:
        extend(folder, Session(source.folder))
    assert refused.value.code == INVALID
    assert len(sessions_in(source.folder.parent)) == 1
    (folder / "corpus/address-00002.txt").write_text("Another text altogether, of another day.\n")
    assert extend(folder, Session(source.folder)).facts.extends == source.name


def test_frozen_files_that_are_damaged_are_named_with_the_choices(folder: Path, source: Session) -> None:
    settings, definition = Settings(projects_dir=source.folder.parents[4]), read_definition(folder)
    source.store.put("corpus/address-00001.txt", b"another text")
    for looking in (
        lambda: meant(settings, folder, definition, new=False, overridden=False),
        lambda: show_checkpoints(settings, source.folder.name, as_json=False),
    ):
        with pytest.raises(CommandError, match=r"corpus/address-00001\.txt") as refused:
            looking()
        assert "restore it from a copy" in " ".join(str(refused.value).split())
        assert f"--extend {source.name}" in str(refused.value)


def test_a_complete_session_is_signed_by_the_key_that_came_later(source: Session, tmp_path: Path) -> None:
    private, public = new_key(tmp_path)
    settings = Settings(projects_dir=source.folder.parents[4], signing_key=private)
    assert not verify(source.folder, public_key=read_public_key(public)).intact
    assert resume(settings, source.name, stage=None, as_json=True) == COMPLETE
    assert verify(source.folder, public_key=read_public_key(public)).intact
    signature = source.store.get(layout.signature(1))
    assert resume(settings, source.name, stage=None, as_json=True) == COMPLETE
    assert source.store.get(layout.signature(1)) == signature
    assert not source.store.exists(layout.seal(2))


def test_a_complete_session_that_was_altered_is_not_signed(source: Session, tmp_path: Path) -> None:
    private, _ = new_key(tmp_path)
    source.store.put(layout.REPORT, b"# A forged report\n")
    settings = Settings(projects_dir=source.folder.parents[4], signing_key=private)
    with pytest.raises(CommandError, match=r"final_report\.md"):
        resume(settings, source.name, stage=None, as_json=True)
    assert not source.store.exists(layout.signature(1))
