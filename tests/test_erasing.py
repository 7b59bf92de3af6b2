"""Erasing that is cut off, or that may not be: it is carried on to its end, and never vouches for what was altered."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.exits import CommandError
from cli.packages import erase_document
from discernus.packages import erasure
from discernus.packages.erasure import CannotErase, Erased, document_of, erase, is_erased
from discernus.sessions import layout
from discernus.sessions.chronologs.project_chronolog import read_project_events
from discernus.sessions.integrity.examination import examine
from discernus.sessions.integrity.redaction import read_redactions
from discernus.sessions.integrity.seals import versions_sealed
from discernus.sessions.session import Session
from discernus.settings import Settings
from discernus.stages.checkpoints import go_back
from discernus.stages.reading import read_answer
from discernus.stages.sealing import Sealed, seal
from tests import sealed_sessions
from tests.cut_off import each_death
from tests.sealed_sessions import close, new_key

FIRST, REASON = "address-00001", "a request of the speaker"


@pytest.fixture
def above(tmp_path: Path) -> Path:
    (tmp_path / "made").mkdir()
    return tmp_path / "made"


@pytest.fixture
def session(above: Path) -> Session:
    return sealed_sessions.sealed(above)


def erased(session: Session, key: Path | None = None) -> Erased:
    return erase(session, document_of(session, FIRST), REASON, key)


def files(session: Session) -> dict[str, bytes]:
    paths = (path for path in session.folder.rglob("*") if path.is_file() and path.suffix != ".lock")
    return {path.relative_to(session.folder).as_posix(): path.read_bytes() for path in paths}


def test_an_erasure_that_died_at_any_write_is_carried_on_and_the_session_verifies(
    session: Session, above: Path
) -> None:
    text = session.definition.texts[FIRST].encode()
    deaths = 0
    for cut_off in each_death(session, above, erased):
        deaths += 1
        assert not is_erased(cut_off, document_of(cut_off, FIRST))
        done = erased(Session(cut_off.folder))
        assert done.sealed is not None
        assert examine(cut_off.folder).findings == (), deaths
        assert not [name for name, data in files(cut_off).items() if text in data]
        with pytest.raises(CannotErase, match="before"):
            erased(Session(cut_off.folder))
        told = read_project_events(cut_off.folder.parents[4], "bench")
        assert [one.facts["record"] for one in told if one.event == "session_redacted"] == [done.record]
        assert not list((cut_off.folder.parents[4] / ".discernus/erasing").iterdir())
    assert deaths > 8


def test_nothing_is_erased_from_a_session_that_is_not_what_was_sealed(session: Session) -> None:
    session.store.put(layout.REPORT, b"# A forged report\n")
    before = files(session)
    with pytest.raises(CannotErase, match=r"final_report\.md") as refused:
        erased(session)
    assert "restore them from a copy" in str(refused.value)
    assert files(session) == before


def test_what_was_altered_while_an_erasure_lay_cut_off_is_not_sealed_with_it(session: Session, above: Path) -> None:
    deaths = each_death(session, above, erased, every=6)
    next(deaths)
    cut_off = next(deaths)
    assert len(read_redactions(cut_off.store)) > len(read_redactions(session.store))
    cut_off.store.put("evil.txt", b"x")
    with pytest.raises(CannotErase, match=r"evil\.txt"):
        erased(Session(cut_off.folder))


def test_a_session_under_way_is_not_sealed_by_an_erasure(session: Session) -> None:
    go_back(session, "synthesis")
    assert erased(session).sealed is None
    assert versions_sealed(session.store) == [1, 2]
    assert session.noted_status()[0] == "running"
    assert is_erased(Session(session.folder), document_of(session, FIRST))


def test_a_session_whose_answers_were_read_again_is_erased_from_and_verifies(session: Session) -> None:
    go_back(session, "extraction")
    for number in (1, 2, 3):
        read_answer(session, number, 0, final=True)
    close(session)
    assert erased(session).sealed is not None
    assert examine(session.folder).findings == ()


def test_an_erasure_that_does_not_verify_is_not_called_done(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    def damaging(session: Session, key: Path | None) -> Sealed:
        done = seal(session, key)
        session.store.put(layout.REPORT, b"# Another report\n")
        return done

    monkeypatch.setattr(erasure, "seal", damaging)
    with pytest.raises(CannotErase, match=r"does not verify now \(deliverables/final_report\.md"):
        erased(session)


def test_a_key_that_cannot_sign_is_said_before_anything_is_erased(session: Session, tmp_path: Path) -> None:
    before = files(session)
    with pytest.raises(CannotErase, match="nothing was erased: the signing key"):
        erased(session, tmp_path / "nowhere.pem")
    assert files(session) == before
    key, _ = new_key(tmp_path)
    erased(session, key)
    assert session.store.exists(layout.signature(3))


def test_a_copy_of_a_session_is_not_erased_from(session: Session, tmp_path: Path) -> None:
    copy = session.folder.rename(tmp_path / "elsewhere")
    settings = Settings(projects_dir=tmp_path / "made/projects")
    with pytest.raises(CommandError, match="is a copy: bench/speeches/session_"):
        erase_document(settings, str(copy), FIRST, reason=REASON, yes=True, as_json=False)
