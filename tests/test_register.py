"""Registering: what was fixed before a session, what it did otherwise, and what had been seen by then."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from benchmarks.make_experiment import make_experiment
from discernus.experiments.definition import read_definition
from discernus.experiments.freezing import taken_out
from discernus.experiments.registration import deviations
from discernus.llm.requests import analysis_request
from discernus.sessions import layout
from discernus.sessions.calls import Calls
from discernus.sessions.chronologs.project_chronolog import read_project_events
from discernus.sessions.opening import open_session
from discernus.sessions.owners import Owner
from discernus.sessions.registrations import KEPT, keep_before, kept, registrations_of
from discernus.sessions.session import Session
from discernus.settings import Settings
from discernus.stages.analysis import analyse
from discernus.stages.registered import preregistration
from discernus.stages.synthesis import report_data, synthesise
from starter import app
from tests.sealed_sessions import new_key
from tests.stand_ins import Model, scores

EXPERIMENT = "bench/experiments/speeches"


def made(folder: Path, **more: Any) -> Path:
    """Return a projects folder with a small experiment."""
    projects = folder / "projects"
    make_experiment(projects, **{"documents": 2, "runs": 1, "words": 40, **more})
    return projects


def registered(projects: Path, *arguments: str) -> dict[str, Any]:
    done = CliRunner().invoke(app, ["register", "speeches", "--json", "--projects-dir", str(projects), *arguments])
    assert done.exit_code == 0, done.output
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def session_of(projects: Path) -> Session:
    """Return a session that is opened now, of the experiment as it is now."""
    folder = projects / EXPERIMENT
    definition = read_definition(folder)
    return open_session(projects, folder, definition, concurrency=1, call_timeout_s=9, mirror=None)


def answered(session: Session, *numbers: int) -> Session:
    """Let these analyses of a session be answered."""

    async def one_by_one() -> None:
        with Owner(session.projects_dir / ".discernus/owners") as owner:
            calls = Calls(owner, Model(*[scores()] * len(numbers)), minimum_free_bytes=0)
            for number in numbers:
                await analyse(session, calls, Settings(), number, 0)

    asyncio.run(one_by_one())
    return session


def edited(projects: Path, file: str, old: str, new: str) -> None:
    path = projects / EXPERIMENT / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def deviations_of(session: Session) -> tuple[str, ...] | None:
    keep_before(session)
    found = preregistration(session, kept(session))
    assert found is not None
    return found.deviations


def report_of(session: Session) -> str:
    synthesise(session)
    whole = (session.folder / "deliverables/final_report.md").read_text()
    return whole.partition("## Registration and earlier sessions\n")[2].partition("\n## ")[0]


def test_a_registration_holds_plan_prompts_models_and_formulas_under_its_hash(tmp_path: Path) -> None:
    projects = made(tmp_path)
    told = registered(projects)
    file = Path(told["file"])
    assert sha256(file.read_bytes()).hexdigest() == told["sha256"]
    held = json.loads(file.read_bytes())
    assert held["models"] == ["openai/scribe"]
    assert set(held["formulas"]) == {"steadiness", "concord_index", "candour_share"}
    prompt = (file.parent / "prompts/prompt_01.md").read_text()
    assert held["prompts"] == {"default": sha256(prompt.encode()).hexdigest()}
    assert (file.parent / "plan.csv").read_text().splitlines()[1] == "1,address-00001,openai/scribe,default,1"
    assert {name: sha256((file.parent / name).read_bytes()).hexdigest() for name in held["files"]} == held["files"]
    events = [one for one in read_project_events(projects, "bench") if one.event == "experiment_registered"]
    assert [one.facts["sha256"] for one in events] == [told["sha256"]]


def test_a_registration_has_no_text_of_the_corpus(tmp_path: Path) -> None:
    projects = made(tmp_path)
    folder = Path(registered(projects)["file"]).parent
    texts = [path.read_text() for path in (projects / EXPERIMENT / "corpus").glob("*.txt")]
    assert texts
    everything = "".join(path.read_text() for path in folder.rglob("*") if path.is_file())
    assert not [text for text in texts if text.strip()[:40] in everything]


def test_a_session_that_was_set_up_as_registered_deviates_in_nothing(tmp_path: Path) -> None:
    projects = made(tmp_path)
    registered(projects)
    session = session_of(projects)
    assert deviations_of(session) == ()
    assert "was set up as registered" in report_of(session)


def test_the_prompts_that_are_registered_are_those_that_are_sent(tmp_path: Path) -> None:
    projects = made(tmp_path)
    held = json.loads(Path(registered(projects)["file"]).read_bytes())
    session = session_of(projects)
    request = analysis_request(session.definition, session.plan[0], ask=0, correction=None, timeout_s=9)
    system, user = (sha256(one.content.encode()).hexdigest() for one in request.messages)
    assert system == held["prompts"]["default"]
    assert user == held["documents"][0]["prompts"]["default"]


@pytest.mark.parametrize(
    ("file", "old", "new", "said"),
    [
        ("experiment.md", "runs_per_model: 1", "runs_per_model: 2", "runs_per_model: registered 1, run with 2"),
        ("experiment.md", "openai/scribe", "openai/other", "model 'openai/scribe' was registered and was not part"),
        ("experiment.md", "openai/scribe", "openai/other", "model 'openai/other' was part of the session and was not"),
        (
            "framework.md",
            "patience_score - urgency_score",
            "urgency_score",
            "formula 'steadiness': registered patience",
        ),
        ("framework.md", "The text presses for action now.", "It presses.", "framework's message, variant 'default'"),
        ("corpus/address-00001.txt", " ", "  ", "document 'address-00001': its text is another one"),
    ],
)
def test_every_deviation_is_named_in_the_report(tmp_path: Path, file: str, old: str, new: str, said: str) -> None:
    projects = made(tmp_path)
    registered(projects)
    edited(projects, file, old, new)
    session = session_of(projects)
    found = deviations_of(session)
    assert found
    assert [line for line in found if said in line], found
    report = report_of(session)
    assert f"Deviations from it** ({len(found)})" in report


def test_the_newest_registration_before_the_session_counts_and_none_that_came_after(tmp_path: Path) -> None:
    projects = made(tmp_path)
    registered(projects)
    edited(projects, "experiment.md", "runs_per_model: 1", "runs_per_model: 2")
    second = registered(projects)
    session = session_of(projects)
    edited(projects, "experiment.md", "runs_per_model: 2", "runs_per_model: 3")
    registered(projects)
    keep_before(session)
    before = kept(session)
    assert before is not None
    assert before.registered is not None
    assert before.registered.name == second["registration"]


def test_a_session_without_a_registration_is_said_to_have_none(tmp_path: Path) -> None:
    projects = made(tmp_path)
    session = session_of(projects)
    registered(projects)
    assert "was not registered in advance" in report_of(session)


def test_a_registration_that_was_altered_says_so_in_the_report(tmp_path: Path) -> None:
    projects = made(tmp_path)
    file = Path(registered(projects)["file"])
    (file.parent / "prompts/prompt_01.md").write_text("something else")
    held = json.loads(file.read_bytes())
    file.write_text(json.dumps({**held, "registered_at": "2020-01-01T00:00:00Z"}))
    report = report_of(session_of(projects))
    assert "prompts/prompt_01.md is not what was registered" in report
    assert "not the one of which the project's chronolog tells" in report


def test_a_signed_registration_names_its_key_and_an_edited_one_loses_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    projects = made(tmp_path)
    private, _ = new_key(tmp_path)
    monkeypatch.setenv("DISCERNUS_SIGNING_KEY", str(private))
    told = registered(projects)
    experiment = projects / EXPERIMENT
    assert told["signed_by"].startswith("SHA256:")
    assert [one.signed_by for one in registrations_of(experiment, projects)] == [told["signed_by"]]
    file = Path(told["file"])
    file.write_bytes(file.read_bytes().replace(b'"runs_per_model": 1', b'"runs_per_model": 7'))
    (found,) = registrations_of(experiment, projects)
    assert found.signed_by is None
    assert any("registration.sig.json" in flaw for flaw in found.flaws)


def test_earlier_sessions_on_the_same_texts_are_listed_with_what_they_shared(tmp_path: Path) -> None:
    projects = made(tmp_path)
    first = answered(session_of(projects), 1, 2)
    edited(projects, "corpus/address-00001.txt", " ", "  ")
    second = session_of(projects)
    report = report_of(second)
    assert "1 earlier session" in report
    assert first.name in report
    assert "1 of 2" in report
    assert "No earlier session" in report_of(first)


def test_only_texts_that_an_earlier_session_has_an_answer_about_were_read_by_it(tmp_path: Path) -> None:
    projects = made(tmp_path)
    session_of(projects)
    answered(session_of(projects), 2)
    before = report_of(session_of(projects))
    assert "1 earlier session" in before
    assert "1 of 2" in before


@pytest.mark.parametrize(("hours", "listed"), [(2, False), (40, True)])
def test_a_session_whose_zone_is_not_known_is_earlier_only_if_it_was_so_in_every_zone(
    tmp_path: Path, hours: int, listed: bool
) -> None:
    projects = made(tmp_path)
    first = answered(session_of(projects), 1)
    path = first.folder / layout.SESSION
    began = (datetime.now(UTC) - timedelta(hours=hours)).isoformat()
    path.write_text(json.dumps({**json.loads(path.read_text()), "clock": "zone_not_recorded", "created_at": began}))
    report = report_of(session_of(projects))
    assert ("(zone not recorded)" in report) is listed
    assert ("No earlier session" in report) is not listed


def test_a_session_that_was_opened_before_and_is_gone_is_named(tmp_path: Path) -> None:
    projects = made(tmp_path)
    first = session_of(projects)
    second = session_of(projects)
    name = first.name
    (first.folder / "system_state/session.json").unlink()
    assert f"can no longer be read, so nobody can say on which texts it ran: {name}" in report_of(second)


def test_a_copy_elsewhere_tells_what_the_session_knew(tmp_path: Path) -> None:
    projects = made(tmp_path)
    registered(projects)
    answered(session_of(projects), 1)
    session = session_of(projects)
    synthesise(session)
    away = tmp_path / "away/projects/bench/experiments/speeches/sessions" / session.folder.name
    away.parent.mkdir(parents=True)
    session.folder.rename(away)
    copy = Session(away)
    keep_before(copy)
    told = report_data(copy, [])
    assert told.preregistration is not None
    assert told.earlier is not None
    assert len(told.earlier) == 1
    (away / KEPT).unlink()
    assert report_data(copy, []).earlier is None


def test_a_text_that_was_taken_out_since_is_no_deviation(tmp_path: Path) -> None:
    projects = made(tmp_path)
    registered(projects)
    session = session_of(projects)
    document = session.definition.documents[0]
    (session.folder / "corpus" / document.file).write_text(taken_out(document.sha256))
    again = Session(session.folder)
    (held,) = registrations_of(projects / EXPERIMENT, projects)
    assert held.registration is not None
    assert deviations(held.registration, again.definition) == ()


def test_an_invalid_experiment_is_not_registered(tmp_path: Path) -> None:
    projects = made(tmp_path)
    edited(projects, "experiment.md", "runs_per_model: 1", "runs_per_model: none")
    done = CliRunner().invoke(app, ["register", "speeches", "--projects-dir", str(projects)])
    assert done.exit_code != 0
    assert not (projects / EXPERIMENT / "registrations").exists()
