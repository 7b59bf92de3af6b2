"""Logs of conversations between agents, as older programs left them, become sessions of today."""

from __future__ import annotations

from pathlib import Path

import pytest

from discernus.sessions import layout
from discernus.sessions.layout import Call
from tests import old_layouts
from tests.migrations import Old, answered_at, command, scores_of
from tests.old_layouts import lines, write


@pytest.fixture
def old(tmp_path: Path) -> Old:
    return Old(tmp_path)


def test_local_times_become_universal_by_the_events_that_tell_both(old: Old) -> None:
    old_layouts.conversation(old.root)
    old.migrate()
    found = old.session("session_20250712_125417").archive.look_up(Call(1))
    assert found is not None
    assert answered_at(found[0]) == "2025-07-12T16:55:48.100000+00:00"
    assert found[0].latency_ms == 30_000


def test_times_without_a_zone_are_marked_where_nothing_tells_it(old: Old) -> None:
    old_layouts.conversation(old.root, zone=False)
    account = old.migrate()
    found = old.session("session_20250712_125417").archive.look_up(Call(1))
    assert found is not None
    assert answered_at(found[0]) == "2025-07-12T12:55:48.100000+00:00"
    assert "zone_not_recorded" in found[0].marks
    answered = {row["answered_at"] for row in scores_of(old.session("session_20250712_125417")) if row["answer_file"]}
    assert "2025-07-12T12:55:48.100" in answered  # no offset: it is no universal time
    assert any("zone was not recorded" in note for one in account.sessions for note in one.notes)
    report = old.session("session_20250712_125417").store.get(layout.REPORT).decode()
    assert "The session began 2025-07-12T12:54:17 by its author's clock, whose zone was not recorded." in report
    assert "(UTC)" not in report.partition("## What was run")[2].partition("## Summary")[0]


def log_without_zone(root: Path, stamp: str) -> None:
    """Write a log of one answer whose clock's zone it does not tell, beside those that are there."""
    said = {"timestamp": f"{stamp}.5", "speaker": "moderator_agent", "message": "It rains.", "metadata": {}}
    began = stamp.replace("-", "").replace(":", "").replace("T", "_")
    write(root, {f"conversations/conversation_{began}_a1b2c3d4.jsonl": lines([said])})


def test_a_log_without_a_zone_goes_by_what_others_of_its_folder_prove_for_those_days(old: Old) -> None:
    old_layouts.conversation(old.root)
    log_without_zone(old.root, "2025-07-13T08:00:00")
    log_without_zone(old.root, "2025-08-30T08:00:00")
    account = old.migrate()
    near, far = old.session("session_20250713_080000"), old.session("session_20250830_080000")
    assert near.facts.created_at.isoformat() == "2025-07-13T12:00:00.500000+00:00"
    assert (near.facts.clock, far.facts.clock) == ("utc", "zone_not_recorded")
    assert far.facts.created_at.isoformat() == "2025-08-30T08:00:00.500000+00:00"
    marks = [found[0].marks for one in (near, far) if (found := one.archive.look_up(Call(5, "synthesis")))]
    assert ["zone_by_other_logs" in marks[0], "zone_not_recorded" in marks[1]] == [True, True]
    (note,) = [one.notes for one in account.sessions if one.name == near.facts.session]
    assert any("UTC-4" in line for line in note)


def test_an_event_and_its_echo_are_told_apart_from_answers(old: Old) -> None:
    old_layouts.conversation(old.root)
    account = old.migrate()
    assert account.counts["echoes of events"] == 2
    assert account.counts["answers"] == 3


def test_answers_that_are_no_analyses_are_archived_too(old: Old) -> None:
    old_layouts.conversation(old.root)
    old.migrate()
    session = old.session("session_20250712_125417")
    found = session.archive.look_up(Call(session.facts.analyses + 1, "synthesis"))
    assert found is not None
    assert found[1] == "There is a meteorological outlier."
    assert found[0].model_forensics["agent"] == "moderator_agent"


def test_a_question_without_an_answer_and_results_without_a_log_are_named(old: Old) -> None:
    old_layouts.conversation(old.root)
    named = {(remark.what, remark.place.file.rpartition("/")[2], remark.place.line) for remark in old.migrate().remarks}
    assert ("no answer", "conversation_20250712_125417_1640d799.jsonl", 12) in named
    assert ("no log", "session_metadata.json", 0) in named
    assert ("not read", "notes.docx", 0) in named


def test_results_lie_with_their_session_though_their_folder_bears_another_time(old: Old) -> None:
    old_layouts.conversation(old.root)
    old.migrate()
    session = old.session("session_20250712_125417")
    assert session.store.exists("migration/verbatim/results/2025-07-12_13-04-05/final_report.md")


def test_what_was_read_and_what_is_kept_are_counted_apart(old: Old) -> None:
    old_layouts.conversation(old.root)
    code, output = command(old, str(old.root), "--to", "weather_today")
    assert code == 0
    assert "files     7: 5 read, 2 not; 7 kept verbatim" in output
