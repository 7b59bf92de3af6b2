"""What may be spent at most: set, changed and taken away by several at once, read with care, and never guessed."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cli.budgets import budget
from cli.exits import CommandError
from discernus.sessions.budgets import (
    Account,
    Budgets,
    BudgetsDamaged,
    budgets_in_force,
    frozen_budget,
    read_budgets,
    set_budget,
)
from discernus.sessions.layout import Call
from discernus.sessions.owners import HOST, Owner
from discernus.settings import Settings
from tests.stand_ins import answer, opened, question

REPOSITORY = Path(__file__).resolve().parents[1]
PROJECT = Account("MVA")
EXPERIMENT = Account("MVA", "experiment_3")
SESSION = Account("MVA", "experiment_3", "session_20261120_101500")


def test_a_project_without_the_file_has_no_budget(tmp_path: Path) -> None:
    assert read_budgets(tmp_path, "MVA") == Budgets()


def test_each_level_has_its_own_budget_and_keeps_the_others(tmp_path: Path) -> None:
    set_budget(tmp_path, PROJECT, 50)
    set_budget(tmp_path, EXPERIMENT, 10.5)
    set_budget(tmp_path, SESSION, 2)
    set_budget(tmp_path, EXPERIMENT, 12)
    budgets = read_budgets(tmp_path, "MVA")
    assert [budgets.of(account) for account in (PROJECT, EXPERIMENT, SESSION)] == [50, 12, 2]
    assert budgets.sessions_usd == {"MVA/experiment_3/session_20261120_101500": 2}
    set_budget(tmp_path, EXPERIMENT, None)
    set_budget(tmp_path, PROJECT, None)
    assert read_budgets(tmp_path, "MVA") == Budgets(sessions_usd={SESSION.name: 2})


def test_no_budget_is_not_a_budget_of_nothing(tmp_path: Path) -> None:
    assert set_budget(tmp_path, PROJECT, 0).of(PROJECT) == 0
    assert set_budget(tmp_path, PROJECT, None).of(PROJECT) is None


@pytest.mark.parametrize("amount", [-1.0, float("nan"), float("inf")])
def test_what_is_no_amount_is_refused_and_changes_nothing(tmp_path: Path, amount: float) -> None:
    set_budget(tmp_path, PROJECT, 5)
    with pytest.raises(ValueError, match="project_usd"):
        set_budget(tmp_path, PROJECT, amount)
    assert read_budgets(tmp_path, "MVA").project_usd == 5


@pytest.mark.parametrize(
    ("content", "wrong"),
    [
        ("{", "file"),
        ('{"format": 1, "project_usd": "lots"}', "project_usd"),
        ('{"format": 1, "budget": 5}', "budget"),
        ('{"format": 2}', "format"),
        ('{"format": 1, "sessions_usd": {"a/b/c": -1}}', "sessions_usd.a/b/c"),
    ],
)
def test_a_damaged_file_is_explained_and_not_overwritten(tmp_path: Path, content: str, wrong: str) -> None:
    path = tmp_path / "MVA" / "budgets.json"
    path.parent.mkdir()
    path.write_text(content)
    with pytest.raises(BudgetsDamaged, match=f"MVA/budgets.json cannot be read .{wrong}.*set the budgets anew"):
        read_budgets(tmp_path, "MVA")
    with pytest.raises(BudgetsDamaged):
        set_budget(tmp_path, PROJECT, 5)
    assert path.read_text() == content


def test_two_that_set_budgets_at_once_lose_none(tmp_path: Path) -> None:
    program = (
        "import sys\nfrom pathlib import Path\nfrom discernus.sessions.budgets import Account, set_budget\n"
        "for number in range(25):\n"
        "    set_budget(Path(sys.argv[1]), Account('MVA', f'{sys.argv[2]}-{number}'), number)\n"
    )
    setters = [
        subprocess.Popen([sys.executable, "-c", program, str(tmp_path), name], cwd=REPOSITORY) for name in ("a", "b")
    ]
    assert [setter.wait(timeout=120) for setter in setters] == [0, 0]
    assert len(read_budgets(tmp_path, "MVA").experiments_usd) == 50


def test_a_session_has_the_budget_that_was_frozen_until_one_is_set(tmp_path: Path) -> None:
    session = opened(tmp_path)
    projects = session.folder.parents[4]
    assert frozen_budget(session) is None
    assert budgets_in_force(projects, "bench") == Budgets()
    manifest = json.loads(session.store.get("corpus_manifest.json"))
    manifest["experiment"]["budget_usd"] = 5
    session.store.put("corpus_manifest.json", json.dumps(manifest).encode())
    assert frozen_budget(session) == 5
    assert budgets_in_force(projects, "bench").sessions_usd == {session.name: 5}
    facts = session.facts
    set_budget(projects, Account(facts.project, facts.experiment, facts.session), 7.5)
    assert budgets_in_force(projects, "bench").sessions_usd == {session.name: 7.5}
    assert read_budgets(projects, "bench").sessions_usd == {session.name: 7.5}


def test_an_account_is_bound_by_every_budget_above_it() -> None:
    assert SESSION.binding == (PROJECT, EXPERIMENT, SESSION)
    assert EXPERIMENT.binding == (PROJECT, EXPERIMENT)
    assert PROJECT.binding == (PROJECT,)
    assert [account.level for account in SESSION.binding] == ["project", "experiment", "session"]


# the command


class Project:
    """A project with a session that has spent 4.25 USD, and what ``budget`` says of it."""

    def __init__(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.session, self.capsys = opened(tmp_path), capsys
        self.settings = Settings(projects_dir=self.session.folder.parents[4])
        with Owner(tmp_path / "owners") as owner:
            intent = self.session.archive.claim(Call(1), question(), "a" * 64, owner)
            self.session.archive.commit(Call(1), intent, question(), answer("words", cost_usd=4.25))

    def says(self, name: str | None = None, **options: Any) -> str:
        asked: dict[str, Any] = {"usd": None, "clear": False, "level": None, "as_json": False, **options}
        assert budget(self.settings, name, **asked) == 0
        printed = self.capsys.readouterr().out
        assert asked["as_json"] or all(len(line) <= 80 for line in printed.splitlines()), printed
        return printed


@pytest.fixture
def project(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Project:
    return Project(tmp_path, capsys)


def rows(printed: str) -> list[list[str]]:
    return [line.split() for line in printed.splitlines() if line.startswith(("project ", "experiment ", "session "))]


def test_without_any_budget_it_is_said_how_to_set_one(project: Project) -> None:
    assert project.says().startswith("no budget is set; set one with: ")
    assert rows(project.says("speeches")) == [["experiment", "bench/speeches", "–", "4.2500", "–", "–"]]


def test_a_budget_is_shown_with_what_is_used_of_it(project: Project) -> None:
    printed = project.says("bench", usd=20)
    assert printed.startswith("budget of project bench: none → 20.00 USD\n")
    assert rows(printed) == [["project", "bench", "20.00", "4.2500", "–", "21", "%"]]
    assert rows(project.says()) == rows(printed)
    assert "used up" not in printed


def test_from_eighty_percent_on_a_budget_is_said_to_be_nearly_used_up(project: Project) -> None:
    assert "nearly" not in project.says("speeches", usd=5.32)
    printed = project.says("speeches", usd=5.3125)
    assert "the budget of experiment bench/speeches is nearly used up: 4.2500 of 5.31 USD" in printed.replace("\n ", "")


def test_a_budget_that_is_used_up_says_how_to_raise_it(project: Project) -> None:
    said = project.says("speeches", usd=4.25).replace("\n ", "")
    assert "the budget of experiment bench/speeches is used up (4.2500 of 4.25 USD), and nothing more is called" in said
    assert said.rstrip().endswith("budget bench/speeches --set USD")


def test_a_raised_budget_says_which_paused_session_goes_on_and_how(project: Project) -> None:
    project.session.note_status("paused", "the budget is used up")
    assert "goes on" not in project.says("speeches", usd=4)
    name = project.session.facts.session
    said = project.says("speeches", usd=40).replace("\n ", "")
    assert f"{name} is paused; it goes on with: " in said
    assert said.rstrip().endswith(" bench/speeches")


def test_another_budget_that_still_binds_is_said_and_keeps_the_session_paused(project: Project) -> None:
    project.session.note_status("paused", "the budget is used up")
    project.says(project.session.name, usd=4)
    printed = project.says("speeches", usd=40)
    assert [row[0] for row in rows(printed)] == ["experiment", "session"]
    assert f"the budget of session {project.session.name} is used up" in printed.replace("\n ", "")
    assert "goes on" not in printed


def test_a_paused_session_is_not_promised_to_go_on_where_no_call_fits_in_what_is_left(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    session = opened(tmp_path, models=["openai/gpt-4o"], settings={"budget_usd": 0.1})
    settings = Settings(projects_dir=session.folder.parents[4], state_dir=tmp_path / "state")
    session.note_status("paused", "no room")

    def says(usd: float, level: str) -> str:
        budget(settings, "speeches", usd=usd, clear=False, level=level, as_json=False)
        return capsys.readouterr().out.replace("\n ", "")

    frozen = says(0.9, "experiment")
    assert "goes on" not in frozen
    needed = r"its next call may cost up to 0\.16\d\d USD, and 0\.1000 are left of the budget of session"
    assert re.search(needed, frozen), frozen
    assert "at least 0.17 would do" in frozen
    assert "goes on" not in says(0.12, "session")
    assert "is paused; it goes on with: " in says(0.17, "session")


def test_a_level_means_the_account_that_the_name_is_part_of(project: Project) -> None:
    project.says("speeches", usd=1000, level="project")
    project.says("speeches", usd=10, level="session")
    project.says(project.session.facts.session, usd=100, level="experiment")
    budgets = read_budgets(project.settings.projects_dir, "bench")
    assert (budgets.project_usd, budgets.experiments_usd) == (1000, {"speeches": 100})
    assert budgets.sessions_usd == {project.session.name: 10}
    assert [row[0] for row in rows(project.says("speeches"))] == ["project", "experiment", "session"]


def test_a_budget_that_is_taken_away_is_gone(project: Project) -> None:
    project.says("speeches", usd=10)
    printed = project.says("speeches", clear=True)
    assert printed.startswith("budget of experiment bench/speeches: 10.00 USD → none\n")
    assert read_budgets(project.settings.projects_dir, "bench") == Budgets()


def test_programs_get_numbers_and_null_where_there_is_no_budget(project: Project) -> None:
    project.says("bench", usd=8.5)
    found = [json.loads(line) for line in project.says("speeches", as_json=True).splitlines()]
    assert [(one["level"], one["name"], one["budget_usd"], one["spent_usd"], one["share"]) for one in found] == [
        ("project", "bench", 8.5, 4.25, 0.5),
        ("experiment", "bench/speeches", None, 4.25, None),
    ]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        (None, {"usd": 5.0}, "say whose budget it is"),
        (None, {"level": "session"}, "--level session of what"),
        ("bench", {"usd": 5.0, "clear": True}, "--set and --clear exclude each other"),
        ("bench", {"usd": -5.0}, "--set -5.0 is no amount"),
        ("bench", {"usd": float("nan")}, "--set nan is no amount"),
        ("bench", {"level": "session"}, "'bench' is a whole project: name the session that is meant"),
        ("bench", {"level": "world"}, "--level 'world' is unknown; it is one of project, experiment, session"),
        ("nowhere", {}, "there is no experiment 'nowhere'"),
    ],
)
def test_what_cannot_be_is_said_and_changes_nothing(
    project: Project, name: str | None, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(CommandError, match=message):
        project.says(name, **options)
    assert not (project.settings.projects_dir / "bench" / "budgets.json").exists()


def test_damaged_budgets_are_explained_to_whoever_asks(project: Project) -> None:
    (project.settings.projects_dir / "bench" / "budgets.json").write_text("[]")
    for options in ({}, {"usd": 5.0}):
        with pytest.raises(CommandError, match=r"budgets\.json cannot be read"):
            project.says("bench", **options)


def test_a_budget_is_set_even_where_those_at_work_cannot_be_told(project: Project) -> None:
    project.settings = Settings(projects_dir=project.settings.projects_dir, temporal="127.0.0.1:1")
    said = project.says("bench", usd=5).replace("\n ", "")
    assert "it is set, but those at work could not be told (" in said
    assert read_budgets(project.settings.projects_dir, "bench").project_usd == 5


def test_calls_in_doubt_count_against_a_budget_at_their_worst(project: Project) -> None:
    (project.settings.projects_dir / "models.yaml").write_text(
        "models:\n  openai/scribe:\n    input_cost_per_token: 0.0\n    output_cost_per_token: 0.001\n"
        "    max_output_tokens: 2000\n"
    )
    intent = {"call": "002", "attempt": 1, "owner": f"{HOST}-1-0", "content_key": "a" * 64, "model": "openai/scribe"}
    times = {"sent_at": "2026-11-20T10:00:00Z", "deadline": "2026-11-20T10:05:00Z"}
    project.session.store.put(Call(2).intent(1), json.dumps(intent | times).encode())
    assert rows(project.says("bench", usd=10)) == [["project", "bench", "10.00", "4.2500", "2.0000", "62", "%"]]
