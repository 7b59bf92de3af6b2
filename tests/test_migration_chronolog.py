"""Chronologs that hold answers, as older programs left them, become sessions of today."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from discernus.experiments.definition import read_definition
from discernus.migration.chronologs import signature
from discernus.sessions import layout
from discernus.sessions.costs import models_of, onlooker, session_costs, sessions_of, spent_usd
from discernus.sessions.integrity.verification import verify
from discernus.sessions.layout import Call
from discernus.sessions.opening import find_session, open_session
from discernus.sessions.search_index import Query, search
from starter import app
from tests import old_layouts
from tests.migrations import Old, answers_of, scores_of
from tests.old_layouts import DEFINITION, FRAMEWORK, TEXTS, event, in_json, lines, write


@pytest.fixture
def old(tmp_path: Path) -> Old:
    return Old(tmp_path)


def test_a_session_that_began_at_no_recorded_time_is_said_to(old: Old) -> None:
    agent = {"agent_id": "analysis_agent_1", "corpus_file": "north_speech.txt", "raw_response": in_json()}
    write(old.root, {"experiment.md": DEFINITION, "framework.md": FRAMEWORK, "state.json": json.dumps(agent)})
    old.migrate()
    (session,) = sessions_of(old.projects, "weather_today")
    assert session.facts.clock == "time_not_recorded"
    report = session.store.get(layout.REPORT).decode()
    assert "When the session began was not recorded." in report
    assert "1970" not in report


def test_a_chronolog_that_holds_the_only_copy_of_answers_gives_them_back(old: Old) -> None:
    old_layouts.chronolog(old.root)
    old.migrate()
    session = old.session("session_20250715_082543")
    model = "openai/gpt-4o"
    assert old.analyses(session) == {
        ("north_speech", model, 1): ("complete", {"storm": 0.8, "calm": 0.1}),
        ("south_speech", model, 1): ("complete", {"storm": 0.4, "calm": 0.6}),  # within a Python literal
        ("north_speech", model, 2): ("complete", {"storm": 0.3, "calm": 0.7}),  # kept only as one
        ("north_speech", model, 3): ("none", {}),  # its beginning, where the log cut it
    }
    cut = session.archive.look_up(Call(5))
    assert cut is not None
    assert "cut_by_the_log" in cut[0].marks


def test_an_error_that_was_stored_as_an_answer_is_a_failure(old: Old) -> None:
    old_layouts.chronolog(old.root)
    account = old.migrate()
    session = old.session("session_20250715_082543")
    parked = session.parked(4)
    assert account.sessions[0].failures == 1
    assert parked is not None
    assert "LLM Provider NOT provided" in parked.reason
    assert session.archive.look_up(Call(4)) is None


def test_a_failure_is_searched_like_an_answer_by_its_words_and_what_it_was_asked_for(old: Old) -> None:
    old_layouts.chronolog(old.root)
    old.migrate()
    session = old.session("session_20250715_082543")
    analysis = session.analysis(4)
    query = Query("provider", document=analysis.document, model=analysis.model, run=analysis.run, status="failed")
    found = search(old.projects, [session.folder], query, limit=5)
    assert [(hit.call, hit.status) for hit in found.hits] == [("004", "failed")]


def test_a_failure_whose_time_was_not_recorded_is_given_none(old: Old) -> None:
    error = str({"error": "litellm.BadRequestError: LLM Provider NOT provided"})
    agent = {"agent_id": "analysis_agent_1", "corpus_file": "north_speech.txt", "raw_response": error}
    write(old.root, {"experiment.md": DEFINITION, "framework.md": FRAMEWORK, "state.json": json.dumps(agent)})
    old.migrate()
    (session,) = sessions_of(old.projects, "weather_today")
    (name,) = [name for name in session.store.names(layout.ARCHIVE) if name.startswith("error_")]
    record = json.loads(session.store.get(f"{layout.ARCHIVE}/{name}"))
    assert (record["at"], record["sent_at"]) == (None, None)
    found = search(old.projects, [session.folder], Query("provider", status="failed"), limit=5)
    assert [(hit.status, hit.at) for hit in found.hits] == [("failed", None)]
    assert (
        CliRunner().invoke(app, ["errors", session.facts.session, "--projects-dir", str(old.projects)]).exit_code == 0
    )


def test_duplicates_tests_torn_lines_links_and_bad_signatures_are_named(old: Old) -> None:
    old_layouts.chronolog(old.root)
    account = old.migrate()
    assert {remark.what for remark in account.remarks} == {
        "duplicate event",
        "test",
        "unreadable line",
        "link",
        "signature",
    }
    assert account.counts["signatures valid"] == 11
    assert account.counts["signatures invalid"] == 1
    assert account.counts["duplicate events"] == 1


def test_a_signature_is_checked_over_every_field(old: Old) -> None:
    signed = event("STEP", "session_1", {"umlaut": "ä", "number": 0.1})
    assert signature(signed) == "valid"
    assert signature({**signed, "timestamp": "2025-07-22T13:24:12.6Z"}) == "invalid"
    assert signature({**signed, "added": 1}) == "invalid"
    assert signature({key: value for key, value in signed.items() if key != "signature"}) == "absent"


def test_a_model_of_which_only_a_flattened_name_is_left_is_not_guessed(old: Old) -> None:
    agent = "analysis_agent_run1_google_vertex_ai_gemini-2.5-pro_north_speech"
    answers = [event("RESULT", "session_20250715_082543", {"agent_id": agent, "raw_response": in_json()})]
    write(
        old.root,
        {
            "PROJECT_CHRONOLOG_w.jsonl": lines(answers),
            "experiment.md": DEFINITION,
            "framework.md": FRAMEWORK,
            **{f"corpus/{file}": text for file, text in TEXTS.items()},
        },
    )
    old.migrate()
    found = old.analyses(old.session("session_20250715_082543"))
    assert list(found) == [("north_speech", "unrecorded/google_vertex_ai_gemini-2.5-pro", 1)]


def test_two_answers_of_one_recorded_run_are_both_kept(old: Old) -> None:
    agent = {"agent_id": "analysis_agent_run1_m_north_speech", "corpus_file": "north_speech.txt", "model_name": "m/m"}
    told = [in_json(), in_json({"storm": 0.2, "calm": 0.2})]
    events = [
        event("RESULT", "session_20250715_082543", {**agent, "run_num": 1, "raw_response": answer}) for answer in told
    ]
    write(
        old.root, {"PROJECT_CHRONOLOG_w.jsonl": lines(events), "experiment.md": DEFINITION, "framework.md": FRAMEWORK}
    )
    account = old.migrate()
    found = old.analyses(old.session("session_20250715_082543"))
    assert {key[2]: scores["storm"] for key, (_, scores) in found.items()} == {1: 0.8, 2: 0.2}
    assert "run" in {remark.what for remark in account.remarks}


def test_a_text_that_was_not_recorded_is_not_made_up(old: Old) -> None:
    agent = {"agent_id": "analysis_agent_run1_m_lost", "corpus_file": "lost.txt", "model_name": "m/m", "run_num": 1}
    events = [event("RESULT", "session_20250715_082543", {**agent, "raw_response": in_json()})]
    write(
        old.root, {"PROJECT_CHRONOLOG_w.jsonl": lines(events), "experiment.md": DEFINITION, "framework.md": FRAMEWORK}
    )
    account = old.migrate()
    text = old.session("session_20250715_082543").definition.texts["lost"]
    assert text == "The text of 'lost.txt' is not in what was migrated; only answers about it are.\n"
    assert "not recorded" in account.documents["old_weather"]["lost.txt"]


def test_answers_under_a_framework_that_nobody_knows_are_kept_and_score_nothing(old: Old) -> None:
    agent = {"agent_id": "analysis_agent_run1_m_north_speech", "corpus_file": "north_speech.txt", "model_name": "m/m"}
    events = [event("RESULT", "session_20250715_082543", {**agent, "run_num": 1, "raw_response": in_json()})]
    write(old.root, {"PROJECT_CHRONOLOG_w.jsonl": lines(events), "experiment.md": DEFINITION})
    account = old.migrate()
    session = old.session("session_20250715_082543")
    assert [status for status, _ in old.analyses(session).values()] == ["none"]
    assert in_json() in answers_of(session)
    assert any("no score is read" in line for line in account.lost["old_weather"])


def test_answers_of_which_no_document_is_known_are_kept(old: Old) -> None:
    events = [event("RESULT", "session_20250715_082543", {"agent_id": "batch_1_m", "raw_response": in_json()})]
    write(old.root, {"PROJECT_CHRONOLOG_w.jsonl": lines(events)})
    account = old.migrate()
    session = old.session("session_20250715_082543")
    found = session.archive.look_up(Call(session.facts.analyses + 1, "synthesis"))
    assert account.balanced
    assert found is not None
    assert found[1] == in_json()


def test_a_chronolog_of_several_experiments_is_placed_by_the_command_just_before(old: Old) -> None:
    agent = {"agent_id": "analysis_agent_run1_m_north_speech", "model_name": "m/m", "run_num": 1}
    command = "cli.py execute projects/weather/experiments/02_deep/experiment.md"
    began = event("PROJECT_INITIALIZATION", "discernus_session_1", {"command": command}, at="2025-07-15T12:25:43Z")
    answer = event("RESULT", "20250715_082544", {**agent, "raw_response": in_json()}, at="2025-07-15T12:25:44Z")
    definitions = {
        f"experiments/{name}/{file}": data
        for name in ("01_smoke", "02_deep")
        for file, data in {
            "experiment.md": DEFINITION,
            "framework.md": FRAMEWORK,
            "corpus/north_speech.txt": "x y z",
        }.items()
    }
    write(old.root, {"PROJECT_CHRONOLOG_w.jsonl": lines([began, answer]), **definitions})
    account = old.migrate()
    assert [(one.experiment, one.name, one.scored) for one in account.sessions] == [
        ("02_deep", "session_20250715_082544", 1)
    ]


def test_runs_that_were_recorded_are_not_called_counted_off(old: Old) -> None:
    old_layouts.chronolog(old.root)
    old.migrate()
    session = old.session("session_20250715_082543")
    assert not any("run_counted_off" in row["marks"] for row in scores_of(session) if row["run"] != "3")
    assert "no run was recorded" not in session.store.get(layout.REPORT).decode()


def test_a_run_does_not_take_a_migrated_session_for_its_unfinished_one(old: Old) -> None:
    old_layouts.chronolog(old.root)
    old.migrate()
    folder = old.projects / "weather_today/experiments/01_smoke"
    definition = read_definition(folder)
    assert old.session("session_20250715_082543").noted_status()[0] == "partial"
    assert find_session(old.projects, folder, definition, same_plan=False) is None
    opened = open_session(old.projects, folder, definition, concurrency=1, call_timeout_s=60, mirror=None)
    found = find_session(old.projects, folder, definition, same_plan=False)
    assert found is not None
    assert found.session.folder == opened.folder


def test_what_was_paid_long_ago_is_neither_spent_nor_unpriced_now(old: Old) -> None:
    old_layouts.chronolog(old.root)
    old.migrate()
    session = old.session("session_20250715_082543")
    assert session_costs(session, models_of(old.projects), onlooker(old.projects)) == []
    assert spent_usd(old.projects, session) == 0


def test_a_migrated_session_verifies_and_stands_in_the_projects_chronolog(old: Old) -> None:
    old_layouts.chronolog(old.root)
    old.migrate()
    session = old.session("session_20250715_082543")
    assert not verify(session.folder).findings
    events = (old.projects / "weather_today/PROJECT_CHRONOLOG_weather_today.jsonl").read_text()
    assert '"session_migrated"' in events
