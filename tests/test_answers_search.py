"""Searching what models wrote: everything is found, nothing is found that is gone, and the index looks after itself."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cli.answer_commands import SEARCH
from cli.answers import Wanted
from cli.answers import search as search_command
from cli.exits import INVALID, CommandError
from discernus.llm.calls import ModelRequest
from discernus.llm.errors import CallFailed
from discernus.sessions import layout
from discernus.sessions.conversations import asked_again_folder, calls_of
from discernus.sessions.integrity.redaction import Redaction, record_redaction
from discernus.sessions.layout import Call
from discernus.sessions.search_index import (
    BEGIN,
    END,
    STATUSES,
    Found,
    NothingToSearch,
    Query,
    forget_index,
    index_path,
    match_expression,
    search,
)
from discernus.sessions.session import Session
from discernus.settings import Settings
from discernus.stages.reading import read_answer
from tests.stand_ins import scores
from tests.test_stages import Desk, desk

SAID = "The speaker praises the pure people; naïveté aside, 她说人民."


def saying(text: str) -> str:
    """Return an answer that meets the framework's contract, with a remark."""
    return json.dumps({**json.loads(scores()), "tone": text})


async def answered(tmp_path: Path, *says: str | CallFailed | Callable[[ModelRequest], str], runs: int = 1) -> Desk:
    """Return a desk whose session of two documents is answered and read."""
    one = desk(tmp_path, *says, runs=runs)
    for number in range(1, one.session.facts.analyses + 1):
        await one.analyse_and_read(number)
    one.session.chronolog.flush()
    return one


def projects_of(session: Session) -> Path:
    return session.folder.parents[4]


def find(session: Session, text: str, *, limit: int = 20, **narrowed: object) -> Found:
    query = Query(text, **narrowed)  # type: ignore[arg-type]
    return search(projects_of(session), [session.folder], query, limit=limit)


def calls(found: Found) -> list[str]:
    return sorted(hit.call for hit in found.hits)


async def test_a_word_is_found_with_its_call_document_and_model(tmp_path: Path) -> None:
    session = (await answered(tmp_path, saying(SAID), saying("Calm."))).session
    (hit,) = find(session, "praises").hits
    assert (hit.call, hit.document, hit.run) == ("001", session.analysis(1).document, 1)
    assert (hit.model, hit.answered_by, hit.purpose, hit.status) == (
        "openai/scribe",
        "scribe-2026-01-01",
        "analysis",
        "scored",
    )
    assert f"{BEGIN}praises{END}" in hit.snippet
    assert (session.folder / hit.file).read_text() == saying(SAID)


async def test_case_accents_and_scripts_without_spaces_do_not_hide_a_word(tmp_path: Path) -> None:
    session = (await answered(tmp_path, saying(SAID), saying("Calm."))).session
    for text in ("PURE", "naivete", "人民", "民", "prais*", '"pure people"', "people pure"):
        assert calls(find(session, text)) == ["001"], text
    for text in ('"people pure"', "prais", "民人", "absent"):
        assert calls(find(session, text)) == [], text
    assert "她说" in find(session, "人民").hits[0].snippet, "its signs stand side by side"


async def test_escapes_of_json_are_no_part_of_a_word(tmp_path: Path) -> None:
    session = (await answered(tmp_path, saying('A "quoted"\nThunder\tof caf\u00e9s'), saying("Calm."))).session
    assert b"\\nThunder" in session.store.get(Call(1).response)
    assert b"caf\\u00e9s" in session.store.get(Call(1).response)
    assert calls(find(session, "thunder")) == ["001"]
    assert calls(find(session, "cafés")) == ["001"]


async def test_words_side_by_side_come_first(tmp_path: Path) -> None:
    session = (await answered(tmp_path, saying("a pure heart of the people"), saying("the pure people"))).session
    assert [hit.call for hit in find(session, "pure people").hits] == ["002", "001"]
    assert find(session, "pure people", limit=1).total == 2


@pytest.mark.parametrize("text", ['"', "*", "(", "", "—", '""', "^ + -"])
def test_what_has_no_word_is_refused(text: str) -> None:
    with pytest.raises(NothingToSearch):
        match_expression(text)


@pytest.mark.parametrize(
    "text", ['pure "', "pure AND", "NEAR(pure people)", "tone:pure", "pure -people", "{pure", "a'b"]
)
async def test_nothing_of_a_query_is_taken_for_a_language_of_its_own(tmp_path: Path, text: str) -> None:
    session = (await answered(tmp_path, saying("tone: pure people and near pure a'b"))).session
    assert find(session, text).total == 2


async def test_each_filter_narrows_the_search(tmp_path: Path) -> None:
    session = (await answered(tmp_path, saying("calm"), runs=2)).session
    document = session.analysis(2).document
    assert find(session, "calm").total == find(session, "calm").searched == 4
    assert calls(find(session, "calm", document=document)) == ["002", "004"]
    assert calls(find(session, "calm", run=2)) == ["003", "004"]
    assert find(session, "calm", model="scribe").total == find(session, "calm", model="openai/scribe").total == 4
    assert find(session, "calm", model="scribe-2026-01-01").total == 4
    assert find(session, "calm", model="ribe").total == 0
    assert find(session, "calm", purpose="extraction").total == 0
    assert find(session, "calm", status="scored").total == 4
    now = datetime.now(UTC)
    assert find(session, "calm", since=now - timedelta(hours=1)).total == 4
    assert find(session, "calm", since=now + timedelta(hours=1)).total == 0


async def test_a_failure_is_found_with_what_came_instead_of_an_answer(tmp_path: Path) -> None:
    one = desk(tmp_path, CallFailed("refusal", "the model declined to weigh the demagogue's words"))
    await one.ask(1)
    (hit,) = find(one.session, "demagogue").hits
    assert (hit.call, hit.status, hit.model) == ("001", "failed", "openai/scribe")


async def test_an_answer_that_does_not_count_is_found_and_said_not_to(tmp_path: Path) -> None:
    one = desk(tmp_path, "Nothing but mumbling.", saying("clear"))
    await one.ask(1)
    assert find(one.session, "mumbling").hits[0].status == "unread"
    await one.ask(1, 1)
    read_answer(one.session, 1, 1, final=True)
    assert find(one.session, "mumbling").hits[0].status == "unused"
    assert find(one.session, "clear").hits[0].status == "scored"


async def test_a_damaged_answer_is_found_and_said_to_be_damaged(tmp_path: Path) -> None:
    session = (await answered(tmp_path, saying("calm"))).session
    (session.folder / Call(1).response).write_text("forged words")
    (hit,) = find(session, "forged").hits
    assert (hit.status, hit.call, hit.document) == ("damaged", "001", session.analysis(1).document)


async def test_what_is_written_changed_or_removed_is_seen_by_the_next_search(tmp_path: Path) -> None:
    one = desk(tmp_path, saying("first words"), saying("second words"))
    await one.analyse_and_read(1)
    assert calls(find(one.session, "words")) == ["001"]
    await one.analyse_and_read(2)
    assert calls(find(one.session, "words")) == ["001", "002"]
    (one.session.folder / Call(2).response).unlink()
    assert calls(find(one.session, "words")) == ["001"]
    assert find(one.session, "second").searched == 1


async def test_a_session_is_never_written_to(tmp_path: Path) -> None:
    session = (await answered(tmp_path, saying("calm"))).session

    def state() -> dict[str, int]:
        return {str(path): path.stat().st_mtime_ns for path in [session.folder, *session.folder.rglob("*")]}

    before = state()
    assert find(session, "calm").total == 2
    assert state() == before


def _shorten(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:5000])


def _scribble(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[4096 : 4096 * 3] = os.urandom(4096 * 2)
    path.write_bytes(data)


@pytest.mark.parametrize(
    "harm",
    [
        Path.unlink,
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"not a database at all" * 500),
        _shorten,
        _scribble,
        lambda path: sqlite3.connect(path).executescript("DROP TABLE words"),
        lambda path: sqlite3.connect(path).executescript("PRAGMA user_version = 99"),
    ],
    ids=["deleted", "emptied", "replaced", "shortened", "scribbled over", "a table lost", "of another version"],
)
async def test_an_index_that_is_gone_or_broken_is_made_anew(tmp_path: Path, harm: Callable[[Path], object]) -> None:
    session = (await answered(tmp_path, saying("calm"))).session
    assert find(session, "calm").total == 2
    harm(index_path(projects_of(session)))
    assert find(session, "calm").total == 2
    assert index_path(projects_of(session)).stat().st_size > 0


async def test_where_no_index_can_be_written_the_search_works_all_the_same(tmp_path: Path) -> None:
    session = (await answered(tmp_path, saying("calm"))).session
    (projects_of(session) / ".discernus" / "index").write_text("a file where the folder would be")
    assert find(session, "calm").total == 2


def _search_elsewhere(projects: Path, folder: Path) -> int:
    return search(projects, [folder], Query("calm"), limit=5).total


async def test_several_may_search_at_once_while_there_is_no_index(tmp_path: Path) -> None:
    session = (await answered(tmp_path, saying("calm"), runs=5)).session
    places = [projects_of(session)] * 6, [session.folder] * 6
    with ProcessPoolExecutor(3) as processes:
        assert list(processes.map(_search_elsewhere, *places)) == [10] * 6


def _in_the_file(session: Session, word: bytes) -> bool:
    folder = index_path(projects_of(session)).parent
    return any(word in path.read_bytes() for path in folder.iterdir())


async def test_a_text_that_was_taken_out_leaves_no_trace_in_the_index(tmp_path: Path) -> None:
    session = (await answered(tmp_path, saying("secretword"), saying("calm"))).session
    assert find(session, "secretword").total == 1
    assert _in_the_file(session, b"secretword")
    (session.folder / Call(1).response).write_text("[…]")
    gone = Redaction(kind="erasure", at=datetime.now(UTC), reason="a request", documents=(), files=())
    record_redaction(session.store, gone)
    assert find(session, "secretword").total == 0
    assert not _in_the_file(session, b"secretword")
    assert find(session, "calm").total == 1


async def test_a_forgotten_index_holds_nothing_and_comes_back(tmp_path: Path) -> None:
    session = (await answered(tmp_path, saying("secretword"))).session
    assert find(session, "secretword").total == 2
    forget_index(projects_of(session))
    assert not _in_the_file(session, b"secretword")
    assert find(session, "secretword").total == 2


async def test_sessions_are_found_without_their_plan_if_their_frozen_files_are_damaged(tmp_path: Path) -> None:
    session = (await answered(tmp_path, saying("calm"))).session
    (session.folder / "corpus_manifest.json").write_text("{}")
    hits = find(session, "calm").hits
    assert [hit.document for hit in hits] == [None, None]


async def test_what_somebody_else_put_into_the_archive_does_no_harm(tmp_path: Path) -> None:
    session = (await answered(tmp_path, saying("calm"))).session
    (session.folder / "llm_archive/response_my notes.txt").write_text("calm notes")
    (session.folder / "llm_archive/response_001_mine.txt").write_text("calm notes")
    assert calls(find(session, "calm")) == ["001", "002"]
    assert calls_of(session, 1) == [Call(1)]


async def test_what_was_asked_again_is_found(tmp_path: Path) -> None:
    session = (await answered(tmp_path, saying("calm"))).session
    again = asked_again_folder(session.folder) / "001_1"
    shared = (f"{layout.ARCHIVE}/{name}" for name in session.store.names(layout.ARCHIVE) if name.startswith("shared_"))
    for name in (Call(1).response, Call(1).metadata, *shared):
        (again / name).parent.mkdir(parents=True, exist_ok=True)
        (again / name).write_bytes(session.store.get(name))
    hits = [hit for hit in find(session, "calm").hits if hit.status == "asked_again"]
    assert [(hit.call, hit.document) for hit in hits] == [("001_1", session.analysis(1).document)]
    assert (session.folder / hits[0].file).resolve() == (again / Call(1).response).resolve()


# the command


def said_by(capsys: pytest.CaptureFixture[str], session: Session, wanted: Wanted, *, limit: int = 20) -> list[str]:
    settings = Settings(projects_dir=projects_of(session))
    assert search_command(settings, wanted, limit=limit, as_json=False) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    return lines


async def test_hits_read_well_in_a_pipe(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    session = (await answered(tmp_path, saying(SAID), saying("Calm."))).session
    lines = said_by(capsys, session, Wanted("pure people", within="speeches"))
    text = " ".join(" ".join(lines).split())
    assert f"{session.name} 001: {session.analysis(1).document}, scribe-2026-01-01, run 1, scored" in text
    assert "▸pure people◂" in text
    assert lines[-3] == "found 1 in 2 answers of 1 session"
    assert lines[-1].endswith(f"answers show {session.name} 001_ask0")
    assert "\x1b" not in text


async def test_more_hits_than_are_shown_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    session = (await answered(tmp_path, saying("calm"), runs=3)).session
    lines = said_by(capsys, session, Wanted("calm"), limit=2)
    assert lines[-3] == "found 6 in 6 answers of 1 session, the best 2 shown; --limit 6 shows all"


async def test_when_nothing_is_found_it_is_said_where_was_looked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    session = (await answered(tmp_path, saying("calm"))).session
    lines = said_by(capsys, session, Wanted("absent", document="address-00001"))
    assert (
        " ".join(" ".join(lines).split())
        == "nothing found for 'absent' in 2 answers of 1 session with --document address-00001"
    )


async def test_what_a_model_wrote_cannot_act_on_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    session = (await answered(tmp_path, "calm \x1b[2J\x07\u202e words")).session
    assert not {"\x1b", "\x07", "\u202e"} & set("".join(said_by(capsys, session, Wanted("calm"))))


async def test_programs_get_a_line_for_each_hit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    session = (await answered(tmp_path, saying(SAID), saying("Calm."))).session
    settings = Settings(projects_dir=projects_of(session))
    assert search_command(settings, Wanted("pure"), limit=5, as_json=True) == 0
    (told,) = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert (told["session"], told["call"], told["number"], told["status"]) == (session.name, "001", 1, "scored")
    assert Path(told["file"]).read_bytes() == session.store.get(Call(1).response)
    assert "the pure people" in told["snippet"]


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        (Wanted("calm", purpose="reading"), "it is one of analysis, extraction, synthesis"),
        (Wanted("calm", status="good"), "it is one of scored, partial"),
        (Wanted("calm", since="yesterday"), "write it as 2026-11-20"),
        (Wanted("…"), "has no word to look for"),
        (Wanted("calm", within="session_19990101_000000"), "there is no session"),
    ],
)
async def test_what_cannot_be_searched_is_refused_with_a_cure(tmp_path: Path, wanted: Wanted, said: str) -> None:
    session = (await answered(tmp_path, saying("calm"))).session
    with pytest.raises(CommandError, match=said) as refused:
        search_command(Settings(projects_dir=projects_of(session)), wanted, limit=5, as_json=False)
    assert refused.value.code == INVALID


async def test_a_project_an_experiment_and_a_session_can_be_searched(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    session = (await answered(tmp_path, saying("calm"))).session
    for within in ("bench", "speeches", "bench/speeches", session.folder.name, session.name, str(session.folder), None):
        assert "found 2 in 2 answers of 1 session" in said_by(capsys, session, Wanted("calm", within=within))


def test_the_statuses_of_a_search_are_those_that_its_help_names() -> None:
    assert [status for status in STATUSES if status not in SEARCH] == []
