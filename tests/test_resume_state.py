"""Before a session goes on, everything that stands against it is found and explained, with the choices."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from cli.checkpoints import show_checkpoints
from cli.exits import INVALID, PARTIAL, CommandError
from cli.prospect import tell
from cli.resuming import resume
from cli.sessions import session_meant, sessions_named
from discernus.sessions import layout
from discernus.sessions.archive import Intent
from discernus.sessions.integrity import examination
from discernus.sessions.integrity.manifests import Hashed, Stage, hash_files, names_in
from discernus.sessions.layout import Call
from discernus.sessions.opening import state_of
from discernus.sessions.owners import Lock, Onlooker, Owner
from discernus.sessions.resuming import Conflict, conflicts, why_unreadable
from discernus.sessions.session import Session
from discernus.sessions.settings_snapshot import (
    SettingsSnapshotDamaged,
    differences,
    read_snapshot,
    take_snapshot,
    write_snapshot,
)
from discernus.settings import Settings
from discernus.stages.checkpoints import from_stage_on, products
from tests.stand_ins import Model, opened, question
from tests.test_checkpoints import answer_all, close

NAME = "bench/speeches"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a sealed session of two analyses."""
    folder = tmp_path_factory.mktemp("made")
    session = opened(folder, models=["openai/scribe"])
    answer_all(session, Model())
    close(session)
    session.chronolog.flush()
    return folder


@pytest.fixture
def session(made: Path, tmp_path: Path) -> Session:
    """A copy of it in a store of its own."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return Session(next(tmp_path.glob("projects/*/experiments/*/sessions/session_*")))


def found(session: Session) -> tuple[Conflict, ...]:
    return conflicts(session, Onlooker(session.folder.parents[4] / ".discernus/owners"))


def settings_of(session: Session, **more: object) -> Settings:
    return Settings(projects_dir=session.folder.parents[4], **more)  # type: ignore[arg-type]


def test_nothing_stands_against_a_session_that_is_as_it_was_left(session: Session) -> None:
    assert found(session) == ()
    assert why_unreadable(session) is None


@pytest.mark.parametrize("file", ["experiment_snapshot.md", "framework_snapshot.md", "corpus/address-00002.txt"])
@pytest.mark.parametrize("gone", [True, False])
def test_a_frozen_file_that_is_gone_or_another_stops_it(session: Session, file: str, gone: bool) -> None:
    path = session.folder / file
    path.unlink() if gone else path.write_bytes(path.read_bytes() + b"\n")
    (one,) = found(session)
    assert (one.kind, one.stops) == ("inputs", True)
    assert file in one.what
    assert one.choices[-1].endswith(f"run {NAME} --extend {session.name}")


def test_an_answer_that_was_altered_is_named_and_the_mirror_offers_its_copy(session: Session, tmp_path: Path) -> None:
    response = session.folder / Call(2).response
    sound = response.read_bytes()
    response.write_bytes(sound + b" ")
    (one,) = found(session)
    assert (one.kind, one.stops) == ("damaged_answer", False)
    assert Call(2).response in one.what
    assert one.choices[0] == f"restore {Call(2).response} from a copy of the session's folder"
    mirrored = Session(session.folder, tmp_path / "mirror")
    assert mirrored.archive.mirror is not None
    mirrored.archive.mirror.put(Call(2).metadata, mirrored.store.get(Call(2).metadata))
    mirrored.archive.mirror.put(Call(2).response, sound + b"?")
    assert "mirror" not in found(mirrored)[0].choices[0]
    mirrored.archive.mirror.put(Call(2).response, sound)
    assert "mirror" in found(mirrored)[0].choices[0]


def test_an_answer_that_is_gone_is_missed_by_what_was_read_of_it(session: Session) -> None:
    (session.folder / Call(1).response).unlink()
    (one,) = found(session)
    assert (one.kind, one.stops) == ("missing_answer", False)
    assert Call(1).response in one.what


def test_who_holds_it_and_who_waits_for_an_answer_count_as_at_work(session: Session) -> None:
    lock = Lock(session.folder / layout.OWNER_LOCK)
    lock.acquire()
    assert [one.kind for one in found(session)] == ["owned"]
    lock.release()
    assert found(session) == ()
    session.note_status("running", "")
    with Owner(session.folder.parents[4] / ".discernus/owners") as owner:
        intent = session.archive.claim(Call(1, ask=1), question(), "key", owner)
        (one,) = found(session)
        assert owner.id in one.what
        late = intent.model_copy(update={"deadline": intent.sent_at})
        session.store.put(Call(1, ask=1).intent(1), Intent.model_validate(late).model_dump_json().encode())
        assert found(session) == ()


@pytest.mark.parametrize(
    ("file", "stage", "code"),
    [
        (layout.extracted(1), "calculation", INVALID),
        (layout.extracted(1), None, INVALID),
        (layout.extracted(1), "extraction", PARTIAL),
        (Call(1).metadata, "extraction", INVALID),
        (Call(1).request, "synthesis", INVALID),
        (layout.RESULTS, "calculation", PARTIAL),
        (layout.RESULTS, "synthesis", INVALID),
        (layout.REPORT, "synthesis", PARTIAL),
        (layout.CHRONOLOG, "synthesis", PARTIAL),
    ],
)
def test_a_file_that_was_altered_since_is_named_and_nothing_that_rests_on_it_is_made(
    session: Session, file: str, stage: Any, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    path = session.folder / file
    was = path.read_bytes()
    path.write_bytes(was.replace(b'"actor"', b'"Actor"') if file == layout.CHRONOLOG else was + b" ")
    assert tell(settings_of(session), session.name, stage=stage, as_json=False) == code
    said = capsys.readouterr().out
    assert f"not as it was when the session was sealed: {file}" in " ".join(said.split())
    assert f"starter.py verify {session.name}" in said
    if code == INVALID:
        with pytest.raises(CommandError, match="not as it was"):
            resume(settings_of(session), session.name, stage=stage, as_json=False)


@pytest.mark.parametrize("stage", ["extraction", "calculation", "synthesis"])
def test_a_sealed_session_is_hashed_once_before_anything_is_done(
    session: Session, monkeypatch: pytest.MonkeyPatch, stage: Stage
) -> None:
    hashed: list[str] = []

    def counted(folder: Path, names: list[str]) -> dict[str, Hashed]:
        assert session.noted_status()[0] == "complete"
        hashed.extend(names)
        return hash_files(folder, names)

    monkeypatch.setattr(examination, "hash_files", counted)
    there = names_in(session.folder)
    assert resume(settings_of(session), session.name, stage=stage, as_json=False) == 0
    assert hashed == there


def test_every_altered_file_is_counted_and_a_copy_elsewhere_goes_by_its_folder(
    session: Session, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(session.folder, copy)
    altered = [Call(1).response, Call(2).metadata, layout.extracted(1), layout.RESULTS, layout.REPORT, layout.page(2)]
    for name in altered:
        (copy / name).write_bytes((copy / name).read_bytes() + b" ")
    assert tell(settings_of(session), str(copy), stage="synthesis", as_json=True) == INVALID
    told = json.loads(capsys.readouterr().out)["conflicts"]
    assert {name for one in told for name in one["files"]} >= set(altered)
    assert any(choice.endswith(f"verify {copy}") for one in told for choice in one["choices"])


def test_an_analysis_of_a_model_that_was_not_recorded_is_asked_of_nobody(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    session = opened(tmp_path, models=["unrecorded/unknown"])
    answer_all(session, Model(), range(1, 2))
    close(session)
    session = Session(session.folder)
    assert tell(settings_of(session), session.name, stage=None, as_json=False) == INVALID
    said = " ".join(capsys.readouterr().out.split())
    assert "1 analysis has no answer, and nobody can be asked for one" in said
    assert "projected cost" not in said
    assert f"resume {session.name} --from calculation" in said
    with pytest.raises(CommandError, match=r"unrecorded/unknown") as refused:
        resume(settings_of(session), session.name, stage="analysis", as_json=False)
    assert refused.value.code == INVALID
    assert state_of(session) == "partial"
    for stage in ("extraction", "calculation", "synthesis"):
        assert resume(settings_of(session), session.name, stage=stage, as_json=False) == PARTIAL


def test_a_newer_format_and_facts_that_cannot_be_read_are_told_apart(session: Session) -> None:
    facts = json.loads(session.store.get(layout.SESSION))
    session.store.put(layout.SESSION, json.dumps({**facts, "format": 4, "new": 1}).encode())
    newer = why_unreadable(session)
    assert newer is not None
    assert (newer.kind, newer.stops) == ("newer_format", True)
    assert "format 4" in newer.what
    with pytest.raises(CommandError, match="reads up to 3\n  go on with the version that wrote it"):
        session_meant(settings_of(session), session.folder.name)
    session.store.put(layout.SESSION, b'{"format": 3')
    torn = why_unreadable(session)
    assert torn is not None
    assert torn.kind == "unreadable"


# settings


def test_the_snapshot_of_settings_holds_models_yaml_to_the_letter_and_no_place_of_this_machine(
    session: Session, tmp_path: Path
) -> None:
    rules = "# ours\nmodel_timeout: 90\n"
    (tmp_path / "projects/models.yaml").write_text(rules)
    write_snapshot(session.store, take_snapshot(settings_of(session, retry_max_attempts=7)))
    snapshot = read_snapshot(session.store)
    assert snapshot is not None
    assert snapshot.models_file == rules
    assert snapshot.settings["retry_max_attempts"] == 7
    assert snapshot.versions["litellm"]
    assert str(tmp_path) not in session.store.get(layout.SETTINGS).decode()


def test_a_snapshot_of_settings_that_was_altered_is_found(session: Session) -> None:
    assert read_snapshot(session.store) is None
    write_snapshot(session.store, take_snapshot(settings_of(session)))
    altered = session.store.get(layout.SETTINGS).replace(b'"retry_max_attempts": 4', b'"retry_max_attempts": 9')
    assert altered != session.store.get(layout.SETTINGS)
    session.store.put(layout.SETTINGS, altered)
    with pytest.raises(SettingsSnapshotDamaged, match="does not match its hash"):
        read_snapshot(session.store)
    (one,) = found(session)
    assert (one.kind, one.stops) == ("settings", False)


def test_what_has_changed_in_the_settings_is_told_with_which_of_both_holds(session: Session) -> None:
    then = take_snapshot(settings_of(session))
    assert differences(then, then) == ()
    (session.folder.parents[4] / "models.yaml").write_text("model_timeout: 90\n")
    now = take_snapshot(settings_of(session, retry_max_attempts=7, response_timeout_s=60, models="openai/other"))
    now = now.model_copy(update={"versions": {**now.versions, "litellm": "9.9", "rich": "9.9"}})
    assert differences(then, now) == (
        "LLM_RETRY_MAX_ATTEMPTS: 4 → 7 (the latter holds from now on)",
        "LLM_RESPONSE_TIMEOUT: 300.0 → 60.0 (this session keeps the former)",
        "models.yaml is there now, and holds from now on",
        f"litellm {then.versions['litellm']} → 9.9",
        "1 other package of another version",
    )


# names


@pytest.mark.parametrize(
    "how", ["session", "whole", "experiment", "project/experiment", "folder", "experiment's folder"]
)
def test_a_session_is_meant_by_its_name_its_experiments_or_its_folder(session: Session, how: str) -> None:
    given = {
        "session": session.folder.name,
        "whole": session.name,
        "experiment": "speeches",
        "project/experiment": NAME,
        "folder": f"{session.folder}/",
        "experiment's folder": str(session.folder.parents[1]),
    }[how]
    assert session_meant(settings_of(session), given).folder == session.folder.resolve()


def test_a_name_that_no_session_has_is_answered_with_those_there_are(session: Session) -> None:
    with pytest.raises(CommandError, match=session.name):
        session_meant(settings_of(session), "session_19990101_000000")
    with pytest.raises(CommandError, match="there is no experiment 'nothing'"):
        session_meant(settings_of(session), "nothing")


def test_a_name_that_two_sessions_have_is_asked_back(session: Session) -> None:
    other = session.folder.parents[2] / "letters/sessions" / session.folder.name / layout.SESSION
    other.parent.mkdir(parents=True)
    other.write_bytes(session.store.get(layout.SESSION))
    assert len(sessions_named(settings_of(session), session.folder.name)) == 2
    with pytest.raises(CommandError, match=f"  bench/letters/{session.folder.name}\n  {session.name}"):
        session_meant(settings_of(session), session.folder.name)


# what is shown


def test_a_dry_run_says_what_would_be_done_in_80_columns_and_does_nothing(
    session: Session, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.read_bytes() for path in session.folder.rglob("*") if path.is_file()}
    assert tell(settings_of(session), session.name, stage="extraction", as_json=False) == 0
    said = capsys.readouterr().out.splitlines()
    made = sum(len(products(session, stage)) for stage in from_stage_on("extraction"))
    assert said[1:] == [
        "  there: 2 of 2 analyses answered, which nobody pays for again",
        "  to ask: 0 analyses",
        "  to read: 2 analyses",
        f"  made anew: {made} files; those that seal 1 covers are kept with it",
        "  then: tables, report and seal",
        "projected cost: nothing: no model need be asked",
        "nothing has been done (--dry-run)",
    ]
    assert {path: path.read_bytes() for path in session.folder.rglob("*") if path.is_file()} == before


def test_what_is_in_the_way_is_shown_with_its_choices_and_an_exit_code(
    session: Session, capsys: pytest.CaptureFixture[str]
) -> None:
    response = session.folder / Call(2).response
    response.write_bytes(response.read_bytes() + b" ")
    assert tell(settings_of(session), session.name, stage="synthesis", as_json=False) == PARTIAL
    assert tell(settings_of(session), session.name, stage="extraction", as_json=True) == 2
    assert tell(settings_of(session), session.name, stage="extraction", as_json=False) == 2
    said = capsys.readouterr().out
    assert f"  - restore {Call(2).response}" in said
    assert "that is in the way: nothing would be done" in said
    shown = [line for line in said.splitlines() if not line.startswith("{")]
    assert all(len(line) <= 80 or line.strip().startswith("starter.py") for line in shown)
    (told,) = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    assert [one["kind"] for one in told["conflicts"]] == ["damaged_answer"]


def test_the_checkpoints_are_listed_with_the_seals(session: Session, capsys: pytest.CaptureFixture[str]) -> None:
    assert show_checkpoints(settings_of(session), session.name, as_json=False) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == f"{session.name}: complete"
    assert [line.split()[0] for line in said[1:5]] == ["analysis", "extraction", "calculation", "synthesis"]
    assert [line.split("  ")[-1].strip() for line in said[1:5]] == [
        "2 of 2 answered",
        "2 of 2 read",
        "2 of 2 tables",
        "2 of 2 pages",
    ]
    assert said[5].split()[:2] == ["seal", "1"]
    assert max(map(len, said)) <= 80
