"""The doctor: it finds what crashes leave, mends what needs no guessing, and throws no answer away."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import time
from collections.abc import Callable
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client
from typer.testing import CliRunner

from discernus.audit import projections
from discernus.sessions import layout
from discernus.sessions.call_log import read_call_log
from discernus.sessions.chronologs.chronolog import gather, read_events
from discernus.sessions.chronologs.project_chronolog import note_project, project_chronolog
from discernus.sessions.integrity.examination import examine
from discernus.sessions.layout import Call
from discernus.sessions.opening import store_id
from discernus.sessions.owners import HOST, Lock, Owner
from discernus.sessions.session import Session
from discernus.stages.calculation import calculate
from discernus.stages.projection import tables_of
from discernus.stages.reading import read_answer
from discernus.stages.sealing import seal
from discernus.stages.synthesis import synthesise
from engine.condition import troubles
from engine.sessions import own_queue
from engine.sessions import start as start_workflow
from starter import app
from tests.sealed_sessions import answered, close
from tests.stand_ins import answer, opened, question, scores

OLD = time.time() - 86_400


def examined(session: Session, *arguments: str, code: int | None = None) -> dict[str, Any]:
    """Return what the doctor tells programs about the session."""
    told = spoken("doctor", session.folder.name, "--json", *arguments, projects=session.folder.parents[4], code=code)
    found: dict[str, Any] = json.loads(told)
    found["findings"] = [one for one in found["findings"] if one["kind"] != "unfinished"]
    return found


def spoken(*arguments: str, projects: Path, code: int | None = None) -> str:
    done = CliRunner().invoke(app, [*arguments, "--projects-dir", str(projects)])
    assert not done.exception or isinstance(done.exception, SystemExit), done.exception
    assert code is None or done.exit_code == code, done.output
    return done.stdout


def of_kind(told: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    return [one for one in told["findings"] if one["kind"] == kind]


def both_read(folder: Path) -> Session:
    """Return a session of two documents, both answered and read."""
    session = opened(folder, models=["offline/lexicon"])
    with Owner(folder / "projects/.discernus/owners") as owner:
        for number in (1, 2):
            intent = session.archive.claim(Call(number), question(), "k", owner)
            session.archive.commit(Call(number), intent, question(), answer(scores(number / 4)))
            read_answer(session, number, 0, final=True)
    return session


def made(folder: Path, *, sealed: bool) -> None:
    """Make a session of two documents, both read, all tables written; nothing is wrong with it."""
    session = both_read(folder)
    close(session)
    if not sealed:
        session.note_status("running", "")
    session.chronolog.flush()
    if not sealed:
        gather(session.folder)


@pytest.fixture(scope="module")
def templates(tmp_path_factory: pytest.TempPathFactory) -> dict[bool, Path]:
    """Return folders with a healthy session: one that is sealed, and one that is not."""
    folders = {sealed: tmp_path_factory.mktemp("made") for sealed in (True, False)}
    for sealed, folder in folders.items():
        made(folder, sealed=sealed)
    return folders


Healthy = Callable[..., Session]


@pytest.fixture
def healthy(templates: dict[bool, Path], tmp_path: Path) -> Healthy:
    """Return what gives a copy of a healthy session in a store of its own, ``sealed`` or not."""

    def copied(*, sealed: bool) -> Session:
        shutil.copytree(templates[sealed], tmp_path, dirs_exist_ok=True)
        return Session(next(tmp_path.glob("projects/*/experiments/*/sessions/session_*")))

    return copied


def left_behind(folder: Path, data: bytes) -> Path:
    """Leave a file that a writer was writing when it died."""
    path = folder / ".tmp-0123456789abcdef"
    path.write_bytes(data)
    os.utime(path, (OLD, OLD))
    return path


@pytest.mark.parametrize("sealed", [True, False])
def test_a_healthy_session_is_found_healthy(healthy: Healthy, sealed: bool) -> None:
    told = examined(healthy(sealed=sealed), code=0)
    assert (told["healthy"], told["findings"], told["server"]) == (True, [], None)


def test_a_session_that_nobody_works_on_is_said_to_stand_still_and_how_it_goes_on(
    healthy: Healthy, tmp_path: Path
) -> None:
    session = healthy(sealed=False)
    session.note_status("paused", "the key was refused")
    told = json.loads(spoken("doctor", session.folder.name, "--json", projects=tmp_path / "projects", code=0))
    (found,) = of_kind(told, "unfinished")
    assert "the key was refused" in found["what"]
    assert f"resume {session.folder.name}" in found["cure"]


def test_nothing_is_written_unless_repair_is_asked_for(healthy: Healthy, tmp_path: Path) -> None:
    session = healthy(sealed=False)
    left_behind(session.folder / layout.ARCHIVE, b"half an ans")
    (session.folder / layout.RESULTS).write_text("nonsense\n")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert len(examined(session, code=3)["findings"]) == 2
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_torn_line_is_set_aside_and_an_event_tells_of_it(healthy: Healthy) -> None:
    session = healthy(sealed=False)
    path = session.folder / layout.CHRONOLOG
    path.write_bytes(path.read_bytes() + b'{"sequence":99,"at":"2026-')
    assert of_kind(examined(session, code=3), "torn line")[0]["repairable"]
    told = examined(session, "--repair", code=0)
    assert [one["kind"] for one in told["repaired"]] == ["torn line"]
    assert path.read_bytes().endswith(b"\n")
    (event,) = [one for one in read_events(session.folder) if one.event == "line_torn"]
    assert (session.folder / str(event.facts["kept"])).read_bytes() == b'{"sequence":99,"at":"2026-'


def test_a_line_that_the_seal_covers_is_not_cut_off(healthy: Healthy) -> None:
    session = healthy(sealed=True)
    path = session.folder / layout.CHRONOLOG
    whole = path.read_bytes()
    path.write_bytes(whole[:100])
    told = examined(session, "--repair", code=3)
    assert not [one for one in told["findings"] if one["place"].startswith(layout.CHRONOLOG) and one["repairable"]]
    assert path.read_bytes() == whole[:100]


def test_an_answer_whose_writer_died_before_it_had_its_name_gets_it(tmp_path: Path) -> None:
    session = opened(tmp_path, models=["offline/lexicon"])
    with Owner(tmp_path / "projects/.discernus/owners") as owner:
        intent = session.archive.claim(Call(1), question(), "k", owner)
        session.archive.commit(Call(1), intent, question(), answer(scores()))
    response = session.folder / Call(1).response
    words = response.read_bytes()
    response.unlink()  # as it was a moment before the link: metadata and intent are there, the answer has no name
    session.store.put_if_absent(Call(1).intent(1), intent.model_dump_json().encode())
    temporary = left_behind(session.folder / layout.ARCHIVE, words)
    (found,) = of_kind(examined(session), "lost answer")
    assert found["repairable"]
    told = examined(session, "--repair")
    assert [one["kind"] for one in told["repaired"]] == ["lost answer"]
    assert of_kind(told, "call in doubt") == []
    assert response.read_bytes() == words
    assert session.archive.look_up(Call(1)) is not None
    assert not temporary.exists()
    assert session.intents() == []
    assert examine(session.folder).findings == ()


def test_a_file_without_a_name_is_set_aside_unless_its_bytes_are_elsewhere(healthy: Healthy) -> None:
    session = healthy(sealed=False)
    copy = left_behind(session.folder / layout.ARCHIVE, (session.folder / Call(1).response).read_bytes())
    other = left_behind(session.folder / layout.EXTRACTED, b"words that are nowhere else")
    examined(session, "--repair", code=0)
    assert not copy.exists()
    assert not other.exists()
    kept = [path.read_bytes() for path in (session.folder / layout.TORN).iterdir()]
    assert kept == [b"words that are nowhere else"]


def test_what_is_being_written_at_this_moment_is_left_alone(healthy: Healthy) -> None:
    session = healthy(sealed=False)
    path = session.folder / layout.ARCHIVE / ".tmp-fresh"
    path.write_bytes(b"an answer on its way")
    assert examined(session, "--repair", code=0)["findings"] == []
    assert path.exists()


def test_a_session_that_somebody_works_on_is_not_touched(healthy: Healthy) -> None:
    session = healthy(sealed=False)
    path = left_behind(session.folder / layout.ARCHIVE, b"")
    with Lock(session.folder / layout.OWNER_LOCK):
        told = examined(session, "--repair", code=0)
    assert [one["kind"] for one in told["findings"]] == ["busy"]
    assert path.exists()


def test_an_intent_whose_answer_is_there_goes_and_one_in_doubt_stays(tmp_path: Path) -> None:
    session = answered(tmp_path)
    record = session.archive.record(Call(1).metadata)
    known = record.model_dump(include={"call", "attempt", "owner", "content_key"})
    now = datetime.now(UTC).isoformat()
    left = {**known, "model": "openai/scribe", "sent_at": now, "deadline": now}
    (session.folder / Call(1).intent(1)).write_text(json.dumps(left))
    told = examined(session, "--repair", code=3)
    assert not (session.folder / Call(1).intent(1)).exists()
    (doubted,) = of_kind(told, "call in doubt")
    assert (doubted["repairable"], doubted["place"]) == (False, Call(4, ask=1).intent(1))
    assert "may have been paid" in doubted["means"]
    assert "resume" in doubted["cure"]


def test_a_call_in_doubt_of_a_sealed_session_is_known_and_nothing_is_left_to_do(tmp_path: Path) -> None:
    session = answered(tmp_path)
    close(session)
    told = examined(session, code=0)
    assert [(one["kind"], one["known"]) for one in told["findings"]] == [("call in doubt", True)]


def mirrored(folder: Path, session: Session) -> Path:
    """Return a mirror that holds a copy of the session's answers."""
    mirror = folder / "mirror"
    target = mirror.joinpath(*session.folder.resolve().parts[-5:])
    shutil.copytree(session.folder / layout.ARCHIVE, target / layout.ARCHIVE)
    return mirror


@pytest.mark.parametrize("sealed", [True, False])
@pytest.mark.parametrize("damage", ["altered", "gone"])
def test_a_damaged_answer_comes_back_from_the_mirror_as_it_was(
    healthy: Healthy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sealed: bool, damage: str
) -> None:
    session = healthy(sealed=sealed)
    response = session.folder / Call(1).response
    words = response.read_bytes()
    if damage == "gone":
        monkeypatch.setenv("DISCERNUS_MIRROR_DIR", str(mirrored(tmp_path, session)))
        response.unlink()
    else:
        monkeypatch.setenv("DISCERNUS_MIRROR_DIR", str(mirrored(tmp_path, session)))
        response.write_bytes(b"another answer")
    assert of_kind(examined(session, code=3), "damaged answer")
    examined(session, "--repair", code=0)
    assert response.read_bytes() == words
    assert examine(session.folder).findings == ()


def test_no_table_is_made_of_answers_that_are_damaged(healthy: Healthy) -> None:
    session = healthy(sealed=False)
    results = (session.folder / layout.RESULTS).read_bytes()
    (session.folder / Call(1).response).unlink()
    examined(session, "--repair", code=3)
    assert (session.folder / layout.RESULTS).read_bytes() == results


@pytest.mark.parametrize("sealed", [True, False])
def test_a_torn_status_is_written_anew_as_the_chronolog_tells_it(healthy: Healthy, sealed: bool) -> None:
    session = healthy(sealed=sealed)
    before = session.noted_status()
    (session.folder / layout.STATUS).write_bytes(b'{"status": "comp')
    assert of_kind(examined(session, code=3), "torn file")[0]["place"] == layout.STATUS
    examined(session, "--repair", code=0)
    assert Session(session.folder).noted_status() == before
    assert examine(session.folder).findings == ()


def test_torn_scores_are_set_aside_and_read_again_and_no_table_loses_its_numbers(healthy: Healthy) -> None:
    session = healthy(sealed=False)
    results = (session.folder / layout.RESULTS).read_bytes()
    (session.folder / layout.extracted(1)).write_bytes(b'{"format": 1, "num')
    (session.folder / layout.LIMITS).write_bytes(b"[")
    told = examined(session, "--repair")
    assert {one["place"] for one in told["repaired"]} == {layout.extracted(1), layout.LIMITS}
    assert (session.folder / layout.RESULTS).read_bytes() == results
    read_answer(session, 1, 0, final=True)
    assert examined(session, code=0)["findings"] == []


def test_torn_scores_of_a_sealed_session_are_named_and_left(healthy: Healthy) -> None:
    session = healthy(sealed=True)
    (session.folder / layout.extracted(1)).write_bytes(b'{"format": 1, "num')
    told = examined(session, "--repair", code=3)
    assert [(one["place"], one["repairable"]) for one in of_kind(told, "torn file")] == [(layout.extracted(1), False)]


def test_a_mirror_that_has_other_words_repairs_nothing(
    healthy: Healthy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = healthy(sealed=False)
    mirror = mirrored(tmp_path, session)
    next(mirror.rglob("response_001.txt")).write_bytes(b"other words")
    (session.folder / Call(1).response).write_bytes(b"another answer")
    monkeypatch.setenv("DISCERNUS_MIRROR_DIR", str(mirror))
    (found,) = of_kind(examined(session, "--repair", code=3), "damaged answer")
    assert not found["repairable"]
    assert (session.folder / Call(1).response).read_bytes() == b"another answer"


@pytest.mark.parametrize("name", [layout.RESULTS, layout.DICTIONARY, layout.CALL_LOG, layout.EXTRACTION_LOG])
@pytest.mark.parametrize("sealed", [True, False])
def test_a_table_that_does_not_say_what_it_projects_is_written_anew(healthy: Healthy, name: str, sealed: bool) -> None:
    session = healthy(sealed=sealed)
    path = session.folder / name
    before = sha256(path.read_bytes()).hexdigest()
    path.write_bytes(path.read_bytes()[:-20])
    told = examined(session, code=3)
    assert [(one["kind"], one["place"], one["repairable"]) for one in told["findings"]] == [("table", name, True)]
    examined(session, "--repair", code=0)
    assert sha256(path.read_bytes()).hexdigest() == before


@pytest.mark.parametrize(("wrong", "code", "places"), [({}, 0, []), ({"attempt": 7}, 3, [layout.CALL_LOG])])
def test_a_table_of_calls_in_the_form_of_early_versions_says_what_it_should(
    tmp_path: Path, wrong: dict[str, int], code: int, places: list[str]
) -> None:
    session = both_read(tmp_path)
    calculate(session)
    synthesise(session)
    path = session.folder / layout.CALL_LOG
    calls = read_call_log(path.read_bytes())
    assert [one["call"] for one in calls] == ["001", "002"]
    path.write_text("".join(f"{json.dumps({**one, **wrong})}\n" for one in calls))
    seal(session)
    assert [one["place"] for one in examined(session, code=code)["findings"]] == places


def test_a_table_that_a_later_version_writes_is_not_missing_where_the_seal_knows_none(
    healthy: Healthy, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = healthy(sealed=True)
    monkeypatch.setattr(
        projections, "tables_of", lambda *known: {**tables_of(*known), "deliverables/of_tomorrow.csv": b"a,b\n"}
    )
    assert examined(session, code=0)["findings"] == []


def test_a_sealed_session_is_never_changed_into_something_else_than_was_sealed(healthy: Healthy) -> None:
    session = healthy(sealed=True)
    extracted = session.folder / layout.extracted(1)
    extracted.write_text(extracted.read_text().replace("0.25", "0.99"))
    results = (session.folder / layout.RESULTS).read_bytes()
    told = examined(session, "--repair", code=3)
    assert {one["place"] for one in told["findings"]} >= {layout.extracted(1)}
    assert (session.folder / layout.RESULTS).read_bytes() == results
    assert told["repaired"] == []


def test_missing_keys_of_an_unfinished_session_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    session = opened(tmp_path)
    (found,) = of_kind(examined(session, code=3), "key")
    assert found["place"] == "openai/scribe"
    monkeypatch.setenv("OPENAI_API_KEY", "sk-not-to-be-shown")
    assert "sk-not" not in json.dumps(examined(session, code=0))


def test_a_session_of_a_later_version_is_named_and_not_read(tmp_path: Path) -> None:
    session = opened(tmp_path, models=["offline/lexicon"])
    path = session.folder / layout.SESSION
    path.write_text(json.dumps({**json.loads(path.read_bytes()), "format": 99}))
    told = json.loads(spoken("doctor", "--json", projects=tmp_path / "projects", code=3))
    (found,) = of_kind(told, "unreadable")
    assert "99" in found["what"]


def test_the_store_is_looked_at_as_a_whole(healthy: Healthy, tmp_path: Path) -> None:
    session = healthy(sealed=True)
    projects = tmp_path / "projects"
    hidden = projects / ".discernus"
    dead, alive = hidden / f"owners/{HOST}-1-dead.lock", hidden / f"owners/{HOST}-2-alive.lock"
    for path in (dead, alive):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        os.utime(path, (OLD, OLD))
    note_project(projects, "bench", "session_exported", session=session.name)
    chronolog = project_chronolog(projects, "bench")
    chronolog.write_bytes(chronolog.read_bytes() + b'{"sequ')
    temporary = left_behind(projects / "bench", b"half")
    cut_off = session.folder.with_name("session_20200101_000000")
    (cut_off / "corpus").mkdir(parents=True)
    os.utime(cut_off, (OLD, OLD))
    with Lock(alive):
        told = json.loads(spoken("doctor", "--json", projects=projects, code=3))
        assert sorted(one["kind"] for one in told["findings"]) == ["lock", "no session", "temporary file", "torn line"]
        told = json.loads(spoken("doctor", "--json", "--repair", projects=projects, code=3))
        assert [one["kind"] for one in told["findings"]] == ["no session"]
        alive_still = alive.exists()
    assert not dead.exists()
    assert alive_still
    alive.unlink()
    assert not temporary.exists()
    assert chronolog.read_bytes().endswith(b"\n")
    shutil.rmtree(cut_off)
    spoken("doctor", projects=projects, code=0)


@pytest.mark.parametrize(
    ("said", "kind"), [("nonsense", "store"), ('{"format": 9, "store": "a"}', "store"), ('{"format": 1}', "store")]
)
def test_a_store_of_another_version_or_without_its_id_is_named(
    healthy: Healthy, tmp_path: Path, said: str, kind: str
) -> None:
    healthy(sealed=True)
    (tmp_path / "projects/.discernus/store.json").write_text(said)
    told = json.loads(spoken("doctor", "--json", projects=tmp_path / "projects", code=3))
    assert [one["kind"] for one in told["findings"]] == [kind]


def test_a_state_folder_of_another_machine_is_named(healthy: Healthy, tmp_path: Path) -> None:
    healthy(sealed=True)
    facts = {"host": "elsewhere", "pid": 1, "port": 1, "ui_port": 2, "started_at": datetime.now(UTC).isoformat()}
    (tmp_path / "projects/.discernus/server.json").write_text(json.dumps(facts))
    told = json.loads(spoken("doctor", "--json", projects=tmp_path / "projects", code=3))
    assert "elsewhere" in of_kind(told, "state folder")[0]["what"]


def test_a_full_disk_is_named(healthy: Healthy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    healthy(sealed=True)
    monkeypatch.setenv("DISCERNUS_MINIMUM_FREE_MB", "1000000000")
    told = json.loads(spoken("doctor", "--json", projects=tmp_path / "projects", code=3))
    assert [one["kind"] for one in told["findings"]] == ["disk"]


def test_a_server_that_is_configured_and_does_not_answer_is_named(healthy: Healthy) -> None:
    session = healthy(sealed=True)
    (found,) = examined(session, "--temporal", "127.0.0.1:9", code=3)["findings"]
    assert (found["kind"], found["place"]) == ("server", "127.0.0.1:9")


def test_what_people_read_fits_eighty_columns_and_says_what_to_do(tmp_path: Path) -> None:
    session = answered(tmp_path)
    left_behind(session.folder / layout.ARCHIVE, b"x")
    said = spoken("doctor", session.folder.name, projects=tmp_path / "projects", code=3)
    assert max(map(len, said.splitlines())) <= 80
    assert "call in doubt" in said
    assert "--repair" in said


async def test_a_session_whose_queue_nobody_polls_stands_still_and_is_named(tmp_path: Path, client: Client) -> None:
    session = await asyncio.to_thread(opened, tmp_path, models=["offline/lexicon"])
    store = store_id(tmp_path / "projects")
    handle = await start_workflow(client, session, own_queue(session), 1)
    try:
        found = await _troubles_soon(client, store)
        assert [(one.session, one.place, one.what) for one in found] == [
            (session.folder.name, own_queue(session), "no worker polls this queue")
        ]
        assert await troubles(client, "another-store") == []
    finally:
        await handle.terminate()


async def _troubles_soon(client: Client, store: str) -> list[Any]:
    """Return what is wrong once the server lists the session: its index is a moment behind."""
    for _ in range(300):
        if found := await troubles(client, store):
            return found
        await asyncio.sleep(0.1)
    return []
