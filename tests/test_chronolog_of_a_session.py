"""What a session's chronolog tells of a session: every step, none of its texts, and nothing that is not so."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from discernus.sessions import layout
from discernus.sessions.archive import Archive
from discernus.sessions.chronologs.chronolog import read_events
from discernus.sessions.chronologs.chronolog_check import check
from discernus.sessions.chronologs.events import Event
from discernus.sessions.chronologs.project_chronolog import read_project_events
from discernus.sessions.layout import Call
from discernus.sessions.owners import Owner
from discernus.sessions.session import Session
from discernus.stages.calculation import calculate
from discernus.stages.reading import park_unreadable, read_answer
from discernus.stages.sealing import seal
from discernus.stages.synthesis import synthesise
from tests.stand_ins import answer, failure, opened, question, scores

KEY = "a" * 64


@pytest.fixture
def session(tmp_path: Path) -> Session:
    return opened(tmp_path)


@pytest.fixture
def owner(tmp_path: Path) -> Iterator[Owner]:
    with Owner(tmp_path / "owners") as one:
        yield one


def events(session: Session, kind: str | None = None) -> list[Event]:
    session.chronolog.flush()
    return [event for event in read_events(session.folder) if kind in (None, event.event)]


def kinds(session: Session) -> list[str]:
    return [event.event for event in events(session)]


def answered(session: Session, owner: Owner, number: int, text: str | None = None) -> None:
    intent = session.archive.claim(Call(number), question(), KEY, owner)
    session.archive.commit(Call(number), intent, question(), answer(text or scores()))


def test_a_whole_session_is_told_from_its_opening_to_its_seal(session: Session, owner: Owner) -> None:
    for number in (1, 2):
        answered(session, owner, number)
        read_answer(session, number, 0, final=True)
    calculate(session)
    synthesise(session)
    seal(session)
    assert kinds(session) == [
        "session_opened",
        *["call_sent", "call_answered", "analysis_read"] * 2,
        *["stage_completed"] * 4,
        "sealed",
    ]
    stages = [event.facts["stage"] for event in events(session, "stage_completed")]
    assert stages == ["analysis", "extraction", "calculation", "synthesis"]
    assert check(session.folder) == []
    gathered = (session.folder / layout.CHRONOLOG).read_text().splitlines()
    assert len(gathered) == len(events(session))
    in_project = read_project_events(session.folder.resolve().parents[4], session.facts.project)
    assert [event.event for event in in_project] == ["session_opened", "session_finished", "session_sealed"]
    assert in_project[1].facts["cost_usd"] == 0.02


def test_an_answer_is_told_with_its_hash_its_model_and_its_cost(session: Session, owner: Owner) -> None:
    answered(session, owner, 1)
    record = session.archive.look_up(Call(1))
    assert record is not None
    (sent,), (came,) = events(session, "call_sent"), events(session, "call_answered")
    assert (sent.facts["call"], sent.facts["attempt"], sent.facts["content_key"]) == ("001", 1, KEY)
    assert sent.facts["owner"] == owner.id
    assert came.facts["response_sha256"] == record[0].response_sha256
    assert (came.facts["model_requested"], came.facts["model_answered"]) == ("openai/scribe", "scribe-2026-01-01")
    assert (came.facts["cost_usd"], came.facts["scored"]) == (0.01, True)


def test_an_answer_whose_cost_nobody_knows_is_told_without_one(session: Session, owner: Owner) -> None:
    intent = session.archive.claim(Call(1), question(), KEY, owner)
    session.archive.commit(Call(1), intent, question(), answer("words", cost_usd=None))
    assert events(session, "call_answered")[0].facts["cost_usd"] is None


def test_a_rivals_late_answer_is_told_as_one_that_does_not_count(session: Session, owner: Owner) -> None:
    slow = session.archive.claim(Call(1), question(), KEY, owner)
    answered(session, owner, 1)
    session.archive.commit(Call(1), slow, question(), answer("too late"))
    assert [event.facts["scored"] for event in events(session, "call_answered")] == [True, False]


def test_a_failure_is_told_by_its_class_and_not_in_the_vendors_words(session: Session, owner: Owner) -> None:
    intent = session.archive.claim(Call(1), question(), KEY, owner)
    session.archive.record_failure(Call(1), intent, question(), failure("rate_limit"))
    (event,) = events(session, "call_failed")
    assert (event.facts["call"], event.facts["error_class"], event.facts["kind"]) == ("001", "rate_limit", "transient")
    assert "message" not in event.facts


def test_an_intent_for_which_nothing_was_sent_is_told_as_withdrawn(session: Session, owner: Owner) -> None:
    intent = session.archive.claim(Call(1), question(), KEY, owner)
    session.archive.withdraw(Call(1), intent)
    assert session.intents() == []
    assert kinds(session)[-2:] == ["call_sent", "call_withdrawn"]


def test_parking_and_releasing_an_analysis_are_told(session: Session) -> None:
    park_unreadable(session, 1, 0, ValueError("no such thing"))
    session.release_parked()
    parked, released = events(session)[-2:]
    assert (parked.event, parked.facts["analysis"], parked.facts["error_class"]) == ("analysis_parked", 1, "unreadable")
    assert (released.event, released.facts["analysis"]) == ("analysis_released", 1)


def test_no_text_is_told(session: Session, owner: Owner) -> None:
    quoted = scores().replace("calm", "a sentence that only the answer has")
    answered(session, owner, 1, quoted)
    read_answer(session, 1, 0, final=True)
    session.chronolog.flush()
    segments = (session.folder / layout.SEGMENTS).iterdir()
    told = "".join(path.read_text() for path in segments)
    assert "a sentence that only the answer has" not in told
    assert "Nobody wrote this" not in told


def test_an_answer_is_archived_though_its_event_cannot_be_written(
    session: Session, owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    session.chronolog.flush()
    (path,) = (session.folder / layout.SEGMENTS).iterdir()

    def refused(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fdatasync", refused)
    answered(session, owner, 1)
    assert session.archive.look_up(Call(1), KEY) is not None
    monkeypatch.undo()
    assert kinds(session) == ["session_opened", "call_sent", "call_answered"]
    assert path.read_bytes().endswith(b"\n")


def test_looking_at_a_session_leaves_no_trace(session: Session) -> None:
    session.chronolog.flush()
    before = sorted(path.name for path in session.folder.rglob("*"))
    other = Session(session.folder)
    assert other.plan
    assert list(other.all_parked()) == []
    assert other.noted_status() == ("running", "")
    assert list(read_events(session.folder))
    assert check(session.folder) == []
    other.chronolog.flush()
    assert sorted(path.name for path in session.folder.rglob("*")) == before


def test_an_archive_that_is_no_sessions_tells_nobody(tmp_path: Path, session: Session, owner: Owner) -> None:
    archive = Archive(session.store)
    archive.claim(Call(1), question(), KEY, owner)
    assert kinds(session) == ["session_opened"]
