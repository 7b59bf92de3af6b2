"""Archives of numbered answers, as older programs left them, become sessions of today."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from discernus.sessions import layout
from discernus.sessions.call_log import read_call_log
from discernus.sessions.chronologs.project_chronolog import read_project_events
from discernus.sessions.integrity.verification import verify
from discernus.sessions.layout import Call
from tests import old_layouts
from tests.migrations import Old, answered_at, scores_of
from tests.old_layouts import TEXTS, event, lines, outline, write


@pytest.fixture
def old(tmp_path: Path) -> Old:
    return Old(tmp_path)


def test_numbered_answers_are_scored_and_their_texts_recovered_from_the_prompts(old: Old) -> None:
    old_layouts.numbered(old.root, answered=3)
    account = old.migrate()
    session = old.session("session_20250722_092412")
    model = "unrecorded/unknown"
    assert old.analyses(session) == {
        ("north_speech", model, 1): ("complete", {"storm": 0.8, "calm": 0.1}),
        ("north_speech", model, 2): ("complete", {"storm": 0.8, "calm": 0.2}),
        ("south_speech", model, 1): ("complete", {"storm": 0.8, "calm": 0.1}),
    }
    assert session.definition.texts == {name.removesuffix(".txt"): text for name, text in TEXTS.items()}
    assert session.facts.analyses == 4  # two speeches × two runs, of which it was killed after three
    assert session.noted_status()[0] == "partial"
    assert "no closing event" in account.sessions[0].notes[0]


def test_an_answer_is_archived_to_the_byte_with_where_it_came_from(old: Old) -> None:
    old_layouts.numbered(old.root)
    old.migrate()
    session = old.session("session_20250722_092412")
    archive = "weather/experiments/unknown_experiment/sessions/session_20250722_092412/llm_archive"
    found = session.archive.look_up(Call(2))  # plan number 2: the second speech's first run
    assert found is not None
    record, text = found
    assert text == outline({"storm": 0.8, "calm": 0.1})
    assert record.recovered_from == f"{archive}/response_003.txt"
    assert (old.root / record.recovered_from).read_bytes() == session.store.get(Call(2).response)
    request = json.loads(session.store.get(Call(2).request))
    roles = [(one["role"], session.store.get(layout.message(one["content_sha256"]))) for one in request["messages"]]
    prompt = (old.root / archive / "prompt_003.txt").read_bytes()
    assert prompt == b"=== SYSTEM PROMPT ===\n%b\n\n=== USER PROMPT ===\n%b" % (roles[0][1], roles[1][1])


def test_what_was_never_recorded_is_null(old: Old) -> None:
    old_layouts.numbered(old.root)
    old.migrate()
    found = old.session("session_20250722_092412").archive.look_up(Call(1))
    assert found is not None
    record = found[0]
    unknown = ("finish_reason", "model_answered", "prompt_tokens", "completion_tokens", "cost_usd", "latency_ms")
    assert [getattr(record, name) for name in (*unknown, "started_at", "archived_at")] == [None] * 8
    assert "time_not_recorded" in record.marks


def test_what_an_archives_own_index_tells_is_used(old: Old) -> None:
    old_layouts.numbered(old.root, index=True)
    old.migrate()
    session = old.session("session_20250722_092412")
    assert session.facts.models == ("openai/gpt-4o", "openai/gpt-4o-2024")  # the one that was planned gave nothing
    answered = [analysis.number for analysis in session.plan if analysis.model == "openai/gpt-4o-2024"]
    found = session.archive.look_up(Call(answered[0]))
    assert found is not None
    assert (found[0].prompt_tokens, found[0].completion_tokens) == (120, 30)
    assert answered_at(found[0]) == "2025-07-22T13:25:00+00:00"


def test_a_time_that_nobody_recorded_is_given_nowhere(old: Old) -> None:
    old_layouts.numbered(old.root)
    old.migrate()
    session = old.session("session_20250722_092412")
    calls = read_call_log(session.store.get(layout.CALL_LOG))
    assert [(one["timestamp"], "time_not_recorded" in one["marks"]) for one in calls] == [(None, True)] * 4
    assert {row["answered_at"] for row in scores_of(session)} == {""}


def test_saved_states_give_back_answers_and_tell_what_an_archive_does_not(old: Old) -> None:
    old_layouts.numbered(old.root, answered=1)
    session = "weather/experiments/unknown_experiment/sessions/session_20250722_092412"
    answer = (old.root / session / "llm_archive/response_001.txt").read_text()
    said = {"corpus_file": "/x/corpus/north_speech.txt", "model_name": "vertex_ai/gemini", "run_num": 2}
    states = [
        {"agent_id": "analysis_agent_run2_g_north_speech", "content": answer, **said},
        {"agent_id": "analysis_agent_run1_g_north_speech", "content": outline(), **said, "run_num": 1},
    ]
    write(old.root, {f"{session}/state_step_1_partial.json": json.dumps({"analysis_results": states})})
    account = old.migrate()
    found = old.analyses(old.session("session_20250722_092412"))
    assert set(found) == {("north_speech", "vertex_ai/gemini", 1), ("north_speech", "vertex_ai/gemini", 2)}
    assert account.counts["duplicate answers"] == 1
    assert account.balanced


def test_runs_that_were_counted_off_are_marked_and_told_from_recorded_ones(old: Old) -> None:
    old_layouts.numbered(old.root)
    old.migrate()
    counted = old.session("session_20250722_092412")
    assert all("run_counted_off" in row["marks"] for row in scores_of(counted))
    report = counted.store.get(layout.REPORT).decode()
    assert "Of 4 answers no run was recorded" in report
    assert "run_counted_off" in counted.store.get(layout.DICTIONARY).decode()


def test_a_command_under_an_id_of_its_own_is_joined_to_the_session_that_it_began(old: Old) -> None:
    old_layouts.numbered(old.root)
    command = {"command": "cli.py execute experiment.md"}
    began = event("WORKFLOW_EXECUTION_STARTED", "session_20250722_092412", {}, at="2025-07-22T13:24:12.5Z")
    long_before = event("PROJECT_INITIALIZATION", "project_2025-07-22_09-23-50", command, at="2025-07-22T13:23:50Z")
    just_before = event("PROJECT_INITIALIZATION", "project_2025-07-22_09-24-11", command, at="2025-07-22T13:24:11Z")
    write(old.root, {"PROJECT_CHRONOLOG_weather.jsonl": lines([long_before, just_before, began])})
    account = old.migrate()
    assert [one.id for one in account.mentions] == ["project_2025-07-22_09-23-50"]
    (line,) = account.sessions
    note = "begun by the command of project_2025-07-22_09-24-11 (PROJECT_CHRONOLOG_weather.jsonl:2)"
    assert note in line.notes


def test_the_report_says_that_it_was_migrated_and_what_is_not_known(old: Old) -> None:
    old_layouts.numbered(old.root)
    old.migrate()
    report = old.session("session_20250722_092412").store.get(layout.REPORT).decode()
    assert "migrated from *old_weather*" in report
    assert "What its calls cost was not recorded" in report
    assert "defaults of its vendor" not in report


def test_a_seal_claims_no_cost_that_was_not_recorded_and_tells_given_up_from_never_asked(old: Old) -> None:
    old_layouts.numbered(old.root, answered=3)
    old.migrate()
    session = old.session("session_20250722_092412")
    seal = json.loads(session.store.get(layout.seal(1)))
    assert (seal["cost_usd"], seal["parked"], seal["gaps"]["not_analysed"]) == (None, 0, [4])
    events = [one for one in read_project_events(old.projects, "weather_today") if one.event == "session_finished"]
    told = [(one.facts["cost_usd"], one.facts["parked"], one.facts["not_analysed"]) for one in events]
    assert told == [(None, 0, 1)]
    assert not verify(session.folder).findings
