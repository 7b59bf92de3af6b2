"""Older layouts become sessions of today: nothing that was paid for is lost, nothing is made up, nothing is changed."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cli.exits import CommandError
from discernus.experiments.definition import read_definition
from discernus.migration import writing
from discernus.migration.account import Account
from discernus.migration.chronologs import signature
from discernus.migration.migrate import NotMigratable, migrate
from discernus.sessions import layout
from discernus.sessions.chronologs.project_chronolog import read_project_events
from discernus.sessions.costs import models_of, onlooker, session_costs, sessions_of, spent_usd
from discernus.sessions.integrity.verification import verify
from discernus.sessions.layout import Call
from discernus.sessions.opening import find_session, open_session
from discernus.sessions.session import Session
from starter import app
from tests import old_layouts
from tests.old_layouts import DEFINITION, FRAMEWORK, TEXTS, event, in_json, lines, outline, write

LAYOUTS = (old_layouts.numbered, old_layouts.conversation, old_layouts.chronolog, old_layouts.definitions_only)
# what tells of the time at which a session was migrated, or hangs on what does
TIMED = ("SESSION_CHRONOLOG", "system_state/", "deliverables/final_report.md", "PROJECT_CHRONOLOG")


class Old:
    """An old project's folder and the projects folder that it goes to."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "old_weather"
        self.projects = folder / "projects"
        self.root.mkdir()
        self.projects.mkdir()

    def migrate(self, *, dry_run: bool = False) -> Account:
        return migrate(self.root, self.projects, "weather_today", dry_run=dry_run)

    def session(self, name: str) -> Session:
        return next(one for one in sessions_of(self.projects, "weather_today") if one.facts.session == name)

    def analyses(self, session: Session) -> dict[tuple[str, str, int], tuple[str, dict[str, float]]]:
        """Return status and scores by document, model and run, of what was answered."""
        read = (session.extracted(analysis.number) for analysis in session.plan)
        return {
            (one.document, one.model, one.run): (one.extraction.status, one.extraction.scores)
            for one in read
            if one is not None
        }


@pytest.fixture
def old(tmp_path: Path) -> Old:
    return Old(tmp_path)


def contents(folder: Path) -> dict[str, tuple[bytes | str, int, int]]:
    """Return every file's bytes (a link's target), mode and time of change, by its name."""
    found = {}
    for path in sorted(folder.rglob("*")):
        said = path.lstat()
        data = str(path.readlink()) if path.is_symlink() else path.read_bytes() if path.is_file() else ""
        found[path.relative_to(folder).as_posix()] = (data, said.st_mode, said.st_mtime_ns)
    return found


@pytest.mark.parametrize("make", LAYOUTS)
def test_the_source_is_not_changed_by_a_byte_a_name_or_a_time(old: Old, make: Callable[[Path], None]) -> None:
    make(old.root)
    before = contents(old.root)
    old.migrate()
    assert contents(old.root) == before


@pytest.mark.parametrize("make", LAYOUTS)
def test_a_second_migration_changes_nothing(old: Old, make: Callable[[Path], None]) -> None:
    make(old.root)
    first = old.migrate()
    before = contents(old.projects)
    second = old.migrate()
    assert contents(old.projects) == before
    assert second.sessions == first.sessions
    assert second.balanced


@pytest.mark.parametrize("make", LAYOUTS)
def test_what_went_in_comes_out_or_is_listed(old: Old, make: Callable[[Path], None]) -> None:
    make(old.root)
    account = old.migrate()
    assert account.balanced, account.refused
    for name, place in account.verbatim.items():
        kept = old.projects / "weather_today" / place
        assert kept.read_bytes() == (old.root / name).read_bytes()
    written = json.loads((old.projects / "weather_today/migration/old_weather/report.json").read_text())
    assert written["balanced"] is True
    assert written["counts"]["files"] == sum(path.is_file() and not path.is_symlink() for path in old.root.rglob("*"))


@pytest.mark.parametrize("make", LAYOUTS)
def test_a_dry_run_says_the_same_and_writes_nothing(old: Old, make: Callable[[Path], None]) -> None:
    make(old.root)
    foreseen = old.migrate(dry_run=True)
    assert list(old.projects.iterdir()) == []
    done = old.migrate()
    assert foreseen.remarks == done.remarks
    assert foreseen.verbatim == done.verbatim
    assert [(one.name, one.planned, one.analyses, one.others, one.failures) for one in foreseen.sessions] == [
        (one.name, one.planned, one.analyses, one.others, one.failures) for one in done.sessions
    ]


@pytest.mark.parametrize("cut_at", [3, 9, 17, 24])
def test_a_migration_that_was_cut_off_and_repeated_gives_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cut_at: int
) -> None:
    (tmp_path / "whole").mkdir()
    (tmp_path / "cut").mkdir()
    whole, cut = Old(tmp_path / "whole"), Old(tmp_path / "cut")
    for one in (whole, cut):
        old_layouts.conversation(one.root)
    whole.migrate()
    put, count = writing._put, iter(range(10_000))

    def failing(*arguments: Any) -> None:
        if next(count) == cut_at:
            raise KeyboardInterrupt
        put(*arguments)

    monkeypatch.setattr(writing, "_put", failing)
    with pytest.raises(KeyboardInterrupt):
        cut.migrate()
    monkeypatch.setattr(writing, "_put", put)
    cut.migrate()
    assert lasting(cut.projects) == lasting(whole.projects)


def test_a_migration_that_was_cut_off_while_it_read_answers_goes_on(old: Old, monkeypatch: pytest.MonkeyPatch) -> None:
    old_layouts.numbered(old.root)

    def failing(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(writing, "synthesise", failing)
    with pytest.raises(KeyboardInterrupt):
        old.migrate()
    monkeypatch.undo()
    assert old.migrate().balanced
    session = old.session("session_20250722_092412")
    assert session.noted_status()[0] == "complete"
    assert not verify(session.folder).findings


def lasting(projects: Path) -> dict[str, bytes | str]:
    """Return what does not tell of the time at which a migration took place."""
    found = {name: data for name, (data, _, _) in contents(projects / "weather_today").items()}
    return {name: data for name, data in found.items() if not any(part in name for part in TIMED)}


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
    assert [getattr(record, name) for name in (*unknown, "started_at")] == [None] * 7
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
    assert found[0].archived_at.isoformat() == "2025-07-22T13:25:00+00:00"


def test_local_times_become_universal_by_the_events_that_tell_both(old: Old) -> None:
    old_layouts.conversation(old.root)
    old.migrate()
    found = old.session("session_20250712_125417").archive.look_up(Call(1))
    assert found is not None
    assert found[0].archived_at.isoformat() == "2025-07-12T16:55:48.100000+00:00"
    assert found[0].latency_ms == 30_000


def test_times_without_a_zone_are_marked_where_nothing_tells_it(old: Old) -> None:
    old_layouts.conversation(old.root, zone=False)
    account = old.migrate()
    found = old.session("session_20250712_125417").archive.look_up(Call(1))
    assert found is not None
    assert found[0].archived_at.isoformat() == "2025-07-12T12:55:48.100000+00:00"
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


def test_a_time_that_nobody_recorded_is_given_nowhere(old: Old) -> None:
    old_layouts.numbered(old.root)
    old.migrate()
    session = old.session("session_20250722_092412")
    calls = [json.loads(line) for line in session.store.get(layout.CALL_LOG).splitlines()]
    assert [(one["timestamp"], "time_not_recorded" in one["marks"]) for one in calls] == [(None, True)] * 4
    assert {row["answered_at"] for row in scores_of(session)} == {""}


def test_a_session_that_began_at_no_recorded_time_is_said_to(old: Old) -> None:
    agent = {"agent_id": "analysis_agent_1", "corpus_file": "north_speech.txt", "raw_response": in_json()}
    write(old.root, {"experiment.md": DEFINITION, "framework.md": FRAMEWORK, "state.json": json.dumps(agent)})
    old.migrate()
    (session,) = sessions_of(old.projects, "weather_today")
    assert session.facts.clock == "time_not_recorded"
    report = session.store.get(layout.REPORT).decode()
    assert "When the session began was not recorded." in report
    assert "1970" not in report


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


def test_what_git_keeps_for_itself_is_left_where_it_is(old: Old) -> None:
    old_layouts.definitions_only(old.root)
    write(old.root, {".git/objects/ab/cdef": b"\x00", "corpus/.gitkeep": ""})
    account = old.migrate()
    assert [str(remark.place) for remark in account.remarks if "Git" in remark.reason] == [".git"]
    assert not any(name.startswith(".git/") for name in account.verbatim)


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


def test_runs_that_were_recorded_are_not_called_counted_off(old: Old) -> None:
    old_layouts.chronolog(old.root)
    old.migrate()
    session = old.session("session_20250715_082543")
    assert not any("run_counted_off" in row["marks"] for row in scores_of(session) if row["run"] != "3")
    assert "no run was recorded" not in session.store.get(layout.REPORT).decode()


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


def test_what_was_read_and_what_is_kept_are_counted_apart(old: Old) -> None:
    old_layouts.conversation(old.root)
    code, output = said(old, str(old.root), "--to", "weather_today")
    assert code == 0
    assert "files     7: 5 read, 2 not; 7 kept verbatim" in output


def test_frameworks_that_no_experiment_names_come_into_todays_form_where_they_can(old: Old) -> None:
    old_layouts.definitions_only(old.root)
    readable = json.dumps(
        {
            "name": "hail",
            "version": "1",
            "analysis_variants": {"default": {"analysis_prompt": "Score hail."}},
            "dimensions": {"hail": {"scale": [0, 1]}},
            "output_contract": {"schema": {"hail_score": "number"}},
        }
    )
    files: dict[str, str | bytes] = {
        "frameworks/core/hail.md": f"# Hail\n\n```json\n{readable}\n```\n",
        "frameworks/broken.md": '# Broken\n\n```json\n{"analysis_variants": \n```\n',
        "frameworks/README.md": "Frameworks lie here.\n",
    }
    write(old.root, files)
    account = old.migrate()
    project = old.projects / "weather_today"
    assert (project / "frameworks/core/hail.md").read_text() == files["frameworks/core/hail.md"]
    assert not (project / "frameworks/broken.md").exists()
    found = {one.name: one for one in account.further}
    assert set(found) == {"frameworks/core/hail.md", "frameworks/broken.md"}
    assert "refuses it" in found["frameworks/broken.md"].origin
    assert account.balanced
    before = contents(old.projects)
    assert not old.migrate().changed
    assert contents(old.projects) == before


def test_definitions_alone_become_an_experiment_that_can_run(old: Old) -> None:
    old_layouts.definitions_only(old.root)
    account = old.migrate()
    definition = read_definition(old.projects / "weather_today/experiments/old_weather")
    experiment = definition.experiment
    assert (experiment.format, experiment.models, experiment.runs_per_model) == (1, ("openai/gpt-4o",), 2)
    assert [hypothesis.text for hypothesis in experiment.hypotheses] == ["The north is stormier."]
    dimensions = [(one.name, one.low, one.high) for one in definition.framework.dimensions]
    assert dimensions == [("storm", 0.0, 1.0), ("calm", 0.0, 1.0)]
    assert {one.id: one.metadata["region"] for one in definition.documents} == {
        "north_speech": "x",
        "south_speech": "x",
    }
    assert account.sessions == []


def test_a_formula_is_listed_and_never_translated(old: Old) -> None:
    old_layouts.definitions_only(old.root)
    account = old.migrate()
    definition = read_definition(old.projects / "weather_today/experiments/old_weather")
    assert definition.framework.derived_metrics == ()
    assert any("Weather_Index = 0.5 * (Calm - Storm)" in line for line in account.lost["old_weather"])


def test_a_framework_keeps_the_formulas_that_can_be_read_and_lists_the_others(old: Old) -> None:
    block = {
        "name": "weather_v4",
        "version": "4",
        "display_name": "Weather",
        "analysis_variants": {
            "default": {"description": "", "analysis_prompt": "Storm (0.0-1.0): dark. Calm (0.0-1.0):"}
        },
        "calculation_spec": {
            "balance": "calm_score - storm_score",
            "severity_score": "the standard deviation of it all, weighted",
        },
        "output_contract": {"schema": {"scores": "object", "severity_score": "number"}, "instructions": "JSON."},
    }
    old_layouts.definitions_only(old.root)
    write(old.root, {"framework.md": f"# Weather\n\nProse.\n\n```json\n{json.dumps(block, indent=1)}\n```\n"})
    account = old.migrate()
    framework = read_definition(old.projects / "weather_today/experiments/old_weather").framework
    assert [one.name for one in framework.dimensions] == ["storm", "calm"]  # severity was to be computed, not scored
    assert [one.name for one in framework.derived_metrics] == ["balance"]
    assert any("severity_score" in line and "standard deviation" in line for line in account.lost["old_weather"])


def test_a_test_of_the_plan_that_names_what_nobody_defines_is_listed(old: Old) -> None:
    old_layouts.definitions_only(old.root)
    tests = "".join(f"  - {{hypothesis: H, test: run_noise, variable: {one}}}\n" for one in ("storm", "hail"))
    plan = f"statistical_plan:\n{tests}"
    write(old.root, {"experiment.md": DEFINITION.replace("workflow:", f"{plan}workflow:")})
    account = old.migrate()
    experiment = read_definition(old.projects / "weather_today/experiments/old_weather").experiment
    assert [test["variable"] for test in experiment.statistical_plan] == ["storm"]
    assert any("test 2 of the statistical plan: 'hail'" in line for line in account.lost["old_weather"])


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


def test_the_report_says_that_it_was_migrated_and_what_is_not_known(old: Old) -> None:
    old_layouts.numbered(old.root)
    old.migrate()
    report = old.session("session_20250722_092412").store.get(layout.REPORT).decode()
    assert "migrated from *old_weather*" in report
    assert "What its calls cost was not recorded" in report
    assert "defaults of its vendor" not in report


def test_a_migrated_session_verifies_and_stands_in_the_projects_chronolog(old: Old) -> None:
    old_layouts.chronolog(old.root)
    old.migrate()
    session = old.session("session_20250715_082543")
    assert not verify(session.folder).findings
    events = (old.projects / "weather_today/PROJECT_CHRONOLOG_weather_today.jsonl").read_text()
    assert '"session_migrated"' in events


def test_a_source_that_has_changed_since_is_refused_and_nothing_overwritten(old: Old) -> None:
    old_layouts.numbered(old.root, answered=3)
    old.migrate()
    before = contents(old.projects / "weather_today/experiments")
    old_layouts.numbered(old.root, answered=4)
    account = old.migrate()
    assert not account.balanced
    assert "another state" in account.refused[0]
    assert contents(old.projects / "weather_today/experiments") == before


def test_an_experiment_of_somebody_else_is_not_written_into(old: Old) -> None:
    old_layouts.definitions_only(old.root)
    write(old.projects / "weather_today/experiments/old_weather", {"experiment.md": "---\nformat: 1\n---\n"})
    (old.projects / "weather_today/migration").mkdir()
    with pytest.raises(NotMigratable, match="another project"):
        old.migrate()


@pytest.mark.parametrize("dry_run", [False, True])
def test_a_project_that_was_never_migrated_to_is_refused_and_not_touched(old: Old, dry_run: bool) -> None:
    old_layouts.definitions_only(old.root)
    write(old.projects / "weather_today/experiments/mine", {"experiment.md": "---\nformat: 1\n---\n"})
    before = contents(old.projects)
    with pytest.raises(NotMigratable, match="never migrated to"):
        old.migrate(dry_run=dry_run)
    assert contents(old.projects) == before


def test_a_second_source_goes_into_a_project_of_an_earlier_migration(old: Old, tmp_path: Path) -> None:
    old_layouts.definitions_only(old.root)
    old.migrate()
    other = tmp_path / "old_climate"
    old_layouts.definitions_only(other)
    assert migrate(other, old.projects, "weather_today").balanced
    assert {path.name for path in (old.projects / "weather_today/experiments").iterdir()} == {
        "old_weather",
        "old_climate",
    }


def test_what_the_author_changed_afterwards_stays(old: Old) -> None:
    old_layouts.definitions_only(old.root)
    old.migrate()
    file = old.projects / "weather_today/experiments/old_weather/experiment.md"
    file.write_text(file.read_text().replace("openai/gpt-4o", "openai/gpt-5"))
    account = old.migrate()
    assert "openai/gpt-5" in file.read_text()
    assert "kept" in {remark.what for remark in account.remarks}


def test_a_folder_inside_of_the_project_is_refused(old: Old) -> None:
    inside = old.projects / "weather_today/old"
    inside.mkdir(parents=True)
    with pytest.raises(NotMigratable, match="lie in one another"):
        migrate(inside, old.projects, "weather_today")


def test_other_bytes_in_the_way_are_not_overwritten(old: Old) -> None:
    old_layouts.numbered(old.root)
    session = old.projects / "weather_today/experiments/weather/sessions/session_20250722_092412"
    write(session, {"llm_archive/response_001.txt": "something else"})
    (old.projects / "weather_today/migration").mkdir()
    account = old.migrate()
    assert "not as this source has it" in account.refused[0]
    assert (session / "llm_archive/response_001.txt").read_text() == "something else"


def answers_of(session: Session) -> list[str]:
    """Return every archived answer to the plan's analyses."""
    found = (session.archive.look_up(Call(analysis.number)) for analysis in session.plan)
    return [one[1] for one in found if one is not None]


def scores_of(session: Session) -> Iterator[dict[str, str]]:
    yield from csv.DictReader(session.store.get(layout.RESULTS).decode().splitlines())


@pytest.fixture(scope="module")
def projects(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Account]]:
    projects = tmp_path_factory.mktemp("samples")
    trees = {"A_soar_2_cff_poc": "soar", "E_ecf_validation_llm_archive": "ecf"}
    return projects, {to: migrate(shared / "legacy_sessions" / tree, projects, to) for tree, to in trees.items()}


def said(old: Old, *arguments: str) -> tuple[int, str]:
    """Return exit code and output of the command, as it goes into a pipe."""
    done = CliRunner().invoke(app, ["migrate", *arguments, "--projects-dir", str(old.projects)])
    return done.exit_code, done.output


def test_the_command_says_what_became_of_everything_in_eighty_columns(old: Old) -> None:
    old_layouts.chronolog(old.root)
    code, output = said(old, str(old.root), "--to", "weather_today")
    assert code == 0
    assert "answers   5: 5 archived" in output
    assert "4 of 6 analyses, 3 with scores; 1 failure" in output
    report = f"report: {old.projects}"
    assert [line for line in output.splitlines() if len(line) > 80 and not line.startswith(report)] == []


def test_the_command_given_again_says_that_nothing_changed(old: Old) -> None:
    old_layouts.chronolog(old.root)
    _, first = said(old, str(old.root), "--to", "weather_today")
    _, again = said(old, str(old.root), "--to", "weather_today")
    assert first.startswith("old_weather became project weather_today\n")
    assert again.startswith("nothing changed: old_weather is project weather_today already\n")
    assert again.rstrip().endswith("status weather_today")


def test_definitions_without_a_session_are_to_be_validated_and_not_looked_at_as_sessions(old: Old) -> None:
    old_layouts.definitions_only(old.root)
    _, output = said(old, str(old.root), "--to", "weather_today")
    assert output.rstrip().endswith("validate weather_today/old_weather")


def test_what_could_not_be_taken_over_is_listed_as_it_would_be_written_in_json(old: Old) -> None:
    old_layouts.conversation(old.root)
    _, output = said(old, str(old.root), "--to", "weather_today", "--dry-run")
    assert '[{"agent": "AnalysisAgent"}]' in " ".join(output.split())
    assert "None" not in output


def test_status_and_cost_take_the_projects_name_and_say_that_no_cost_was_recorded(old: Old) -> None:
    old_layouts.chronolog(old.root)
    old.migrate()
    where = ["--projects-dir", str(old.projects)]
    status = CliRunner().invoke(app, ["status", "weather_today", *where])
    assert (status.exit_code, "session_20250715_082543" in status.output) == (0, True)
    cost = CliRunner().invoke(app, ["cost", "weather_today", *where])
    assert "was not recorded" in cost.output
    assert "no call was paid for" not in cost.output


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


def test_the_command_tells_programs_the_same(old: Old) -> None:
    old_layouts.chronolog(old.root)
    code, output = said(old, str(old.root), "--to", "weather_today", "--dry-run", "--json")
    told = json.loads(output)
    assert code == 0
    assert told["balanced"] is True
    assert {one["what"] for one in told["not_understood"]} >= {"link", "signature", "duplicate event"}


def test_the_command_refuses_what_cannot_be_migrated(old: Old) -> None:
    assert main_fails(old, str(old.root / "nowhere"), "--to", "weather_today")
    assert main_fails(old, str(old.root), "--to", "../outside")


def main_fails(old: Old, *arguments: str) -> bool:
    done = CliRunner().invoke(app, ["migrate", *arguments, "--projects-dir", str(old.projects)])
    return isinstance(done.exception, CommandError)


class TestSamples:
    """The two recorded trees, against what was counted and read by hand."""

    def test_counts_are_those_that_were_counted(self, projects: tuple[Path, dict[str, Account]], shared: Path) -> None:
        _, accounts = projects
        expected = json.loads((shared / "legacy_sessions/EXPECTED.json").read_text())["folders"]
        soar, ecf = accounts["soar"], accounts["ecf"]
        assert soar.counts["files"] == expected["A_soar_2_cff_poc"]["files"]
        assert {one.name: (one.analyses, one.others) for one in soar.sessions} == {
            "session_20250711_230804": (0, 1),
            "session_20250712_063226": (0, 0),
            "session_20250712_071356": (0, 0),
            "session_20250712_125417": (8, 4),
            "session_20250712_131208": (0, 0),
        }
        table = expected["E_ecf_validation_llm_archive"]["sessions"]
        assert {(one.name, one.analyses, one.planned) for one in ecf.sessions} == {
            (one["session_id"], one["pairs"], one["expected_pairs"]) for one in table
        }
        assert ecf.counts["signatures valid"] == 45
        events = {
            one["session_id"]: one["events"]
            for one in expected["E_ecf_validation_llm_archive"]["session_table"]["sessions_of_3_or_more_events"]
        }
        assert {one.id: sum(one.events.values()) for one in ecf.mentions if one.id in events} == {
            name: count for name, count in events.items() if name not in {one.name for one in ecf.sessions}
        }
        begun = [one for one in ecf.mentions if one.begun_by is not None]
        assert len(ecf.mentions) == 6  # of twelve, two have their answers here, and four are commands that began one
        assert len(begun) == 2
        (began,) = [one.began_at for one in soar.sessions if one.name == "session_20250712_063226"]
        assert str(began).startswith("2025-07-12T10:32:26")  # the logs beside it prove UTC-4
        assert soar.balanced
        assert ecf.balanced

    def test_every_text_has_the_hash_that_its_prompt_stated(self, projects: tuple[Path, dict[str, Account]]) -> None:
        assert all("with the hash" in where for where in projects[1]["ecf"].documents["ecf_validation"].values())

    def test_recovered_scores_are_those_that_were_read_by_hand(
        self, projects: tuple[Path, dict[str, Account]], shared: Path
    ) -> None:
        folder = shared / "llm_responses"
        index = [json.loads(line) for line in (folder / "index.jsonl").read_text().splitlines()]
        by_answer = {(folder / one["file"]).read_text(): one for one in index if one["scores"]}
        compared = set()
        for project in ("soar", "ecf"):
            for session in sessions_of(projects[0], project):
                for analysis in session.plan:
                    extracted = session.extracted(analysis.number)
                    found = session.archive.look_up(Call(analysis.number))
                    if extracted is None or found is None or found[1] not in by_answer:
                        continue
                    known = by_answer[found[1]]
                    compared.add(known["file"])
                    assert extracted.extraction.scores == pytest.approx(known["scores"], abs=1e-9)
                    assert extracted.extraction.confidence == pytest.approx(known["confidence"], abs=1e-9)
        assert len(compared) == 3

    def test_every_salvageable_analysis_has_all_its_scores(self, projects: tuple[Path, dict[str, Account]]) -> None:
        rows = [
            row
            for project in ("soar", "ecf")
            for session in sessions_of(projects[0], project)
            for row in scores_of(session)
            if row["answer_file"]
        ]
        assert [row["status"] for row in rows] == ["scored"] * 35
        assert {row["model_requested"] for row in rows} == {"unrecorded/unknown"}
