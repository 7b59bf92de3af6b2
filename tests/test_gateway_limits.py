"""What a session may spend, and how fast it may call: held against the vendor's own bill and its own limits."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from benchmarks.make_experiment import make_experiment
from tests.running import PATIENCE_S, Starter, ledger, played, session_folders
from tests.studies import COMPLETE, PAUSED, Study

SCRIBE, FLASH = "openai/scribe", "gemini/gemini-2.5-flash"
CONCURRENCY = 6
PRICE = {"input_usd": 3e-7, "output_usd": 2.5e-6}
RULES = {"input_cost_per_token": PRICE["input_usd"], "output_cost_per_token": PRICE["output_usd"]}
MAX_TOKENS = 900  # more than any answer of the fake vendor, which takes no notice of it


class Spending(Study):
    """A study whose model has a price, at a vendor that now and then fails, and has to be asked again."""

    def __init__(self, folder: Path, settings: dict[str, Any] | None = None) -> None:
        super().__init__(
            folder,
            vendor={"latency_s": {"low": 0.05, "high": 0.3}, "rates": {"status_500": 0.1, "broken": 0.1}},
            rules={"models": {SCRIBE: RULES}},
            models=[SCRIBE],
            documents=12,
            runs=2,
            concurrency=CONCURRENCY,
            settings={"parameters": {"default": {"max_tokens": MAX_TOKENS}}, **(settings or {})},
        )

    @property
    def spent_usd(self) -> float:
        """What it has cost by the vendor's own bill."""
        return self.vendor.cost_usd({SCRIBE: PRICE})


def unwrapped(said: str) -> str:
    """Return what a command says as one line, wherever it breaks its own."""
    return " ".join(said.split())


def next_call_usd(said: str) -> float:
    """Return what a paused session says that its next call may cost."""
    found = re.search(r"the next call may cost up to (\d+\.\d+)", said)
    assert found, said
    return float(found[1])


def keep_to_a_budget(folder: Path) -> dict[str, Any]:
    """Run into the budget of a session, twice; raise it as the session says, and run to the end."""
    budget_usd = 0.03
    with Spending(folder, {"budget_usd": budget_usd}) as study:
        first = unwrapped(study.run("speeches", code=PAUSED).output)
        spent_usd = study.spent_usd
        again = unwrapped(study.run("speeches", code=PAUSED).output)
        assert study.spent_usd == spent_usd, "a budget that is used up was spent from"
        (raising,) = re.findall(r"raise it with `starter.py (.*) USD`", first)
        assert "is paused; it goes on with" in unwrapped(study.say(*shlex.split(raising), "1"))
        study.run("speeches")
        return {"study": study, "budget_usd": budget_usd, "spent_usd": spent_usd, "first": first, "again": again}


def share_a_budget(folder: Path) -> dict[str, Any]:
    """Run two experiments of one project at once into the project's budget, then raise it and run them again."""
    budget_usd = 0.04  # either costs more
    with Spending(folder) as study:
        settings = {"parameters": {"default": {"max_tokens": MAX_TOKENS}}}
        make_experiment(
            study.projects_dir, name="letters", models=[SCRIBE], documents=12, runs=2, words=80, settings=settings
        )
        study.say("budget", "bench", "--set", str(budget_usd))
        paused = run_both(study, PAUSED)
        spent_usd = study.spent_usd
        study.say("budget", "bench", "--set", "1")
        run_both(study, COMPLETE)
        return {"study": study, "budget_usd": budget_usd, "spent_usd": spent_usd, "paused": paused}


def run_both(study: Study, code: int) -> list[str]:
    starters: list[Starter] = [study.start("speeches"), study.start("letters")]
    for starter in starters:
        assert starter.wait(2 * PATIENCE_S) == code, starter.output
    return [unwrapped(starter.output) for starter in starters]


def be_told_the_limit(folder: Path) -> tuple[Study, list[str]]:
    """Have two sessions at once ask a model 340 questions that allows 300 in any half minute, as models.yaml says."""
    with Study(
        folder,
        vendor={"latency_s": 0.05, "requests_per_window": 300, "window_s": 30, "limit_headers": False},
        rules={"models": {SCRIBE: {"requests_per_minute": 600}}},
        models=[SCRIBE],
        documents=85,
        runs=2,
    ) as study:
        make_experiment(study.projects_dir, name="letters", models=[SCRIBE], documents=85, runs=2, words=80)
        return study, run_both(study, COMPLETE)


def learn_the_limit(folder: Path) -> tuple[Study, str]:
    """Ask more questions at once than a model allows, which says so in the headers of its answers."""
    with Study(
        folder,
        vendor={"latency_s": {"low": 0.2, "high": 1.0}, "requests_per_window": 30, "window_s": 10},
        models=[SCRIBE],
        documents=18,
        runs=2,
        concurrency=24,
    ) as study:
        return study, unwrapped(study.run("speeches").output)


def meet_a_limit_that_nobody_tells(folder: Path) -> Study:
    """Ask more questions at once than a model allows whose vendor tells of limits only where it refuses."""
    with Study(
        folder,
        vendor={"latency_s": 0.1, "requests_per_window": 10, "window_s": 3},
        models=[FLASH],
        documents=18,
        runs=2,
        concurrency=24,
    ) as study:
        study.run("speeches")
        return study


SCENES: dict[str, Callable[[Path], Any]] = {
    "learned": learn_the_limit,
    "told": be_told_the_limit,
    "nobody tells": meet_a_limit_that_nobody_tells,
    "budget": keep_to_a_budget,
    "shared budget": share_a_budget,
}
Scenes = dict[str, Future[Any]]


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scenes]:
    root = tmp_path_factory.mktemp("limits")
    folders = {name: root / name.replace(" ", "-") for name in SCENES}
    for folder in folders.values():
        folder.mkdir()
    with played(3, {name: partial(scene, folders[name]) for name, scene in SCENES.items()}) as playing:
        yield playing


# budgets


def test_a_session_pauses_before_it_crosses_its_budget_and_no_sooner_than_it_must(scenes: Scenes) -> None:
    seen = scenes["budget"].result()
    for said in (seen["first"], seen["again"]):
        assert "left of the session budget of 0.03 USD" in said
    assert seen["spent_usd"] <= seen["budget_usd"]
    assert seen["spent_usd"] + next_call_usd(seen["again"]) > seen["budget_usd"]
    (spent,) = re.findall(r"\((\d+\.\d+) USD are spent", seen["again"])
    assert float(spent) == pytest.approx(seen["spent_usd"], abs=6e-5)


def test_a_session_whose_budget_is_raised_as_it_says_goes_on_to_its_end(scenes: Scenes) -> None:
    study = scenes["budget"].result()["study"]
    ledger(study.session, study.vendor).check()
    (told,) = study.tell("cost", "--by", "model", "--format", "json")
    assert told["cost_usd"] == pytest.approx(study.spent_usd, abs=1e-9)
    assert "Budget of the session" in study.report("Cost")


def test_two_sessions_at_once_share_the_budget_of_their_project(scenes: Scenes) -> None:
    seen = scenes["shared budget"].result()
    for said in seen["paused"]:
        assert "left of the project budget of 0.04 USD" in said
    assert seen["spent_usd"] <= seen["budget_usd"]
    assert seen["spent_usd"] + max(map(next_call_usd, seen["paused"])) > seen["budget_usd"]


def test_two_sessions_whose_shared_budget_is_raised_both_go_on_to_their_ends(scenes: Scenes) -> None:
    study = scenes["shared budget"].result()["study"]
    for session in session_folders(study.projects_dir):
        ledger(session, study.vendor).check()
    told = study.tell("cost", "--by", "experiment", "--format", "json")
    assert [group["experiment"] for group in told] == ["bench/letters", "bench/speeches"]
    assert sum(group["cost_usd"] for group in told) == pytest.approx(study.spent_usd, abs=1e-9)


# limits of a vendor


def test_a_limit_that_we_are_told_is_kept_by_two_sessions_at_once(scenes: Scenes) -> None:
    study, said = scenes["told"].result()
    assert len(study.wire(SCRIBE, "answer")) == 340
    assert too_many(study) <= 0.01 * len(study.wire(SCRIBE, "request"))
    for session in said:
        assert f"limit: {SCRIBE}: at most 285 calls a minute (models.yaml)" in session, "half of 95 % of it"
    for folder in session_folders(study.projects_dir):
        ledger(folder, study.vendor).check()


def test_a_limit_that_the_headers_tell_is_kept_from_then_on_and_nothing_is_lost(scenes: Scenes) -> None:
    study, said = scenes["learned"].result()
    assert len(study.wire(SCRIBE, "answer")) == 36
    assert too_many(study) <= 24, "more than what was in flight when it was learned"
    assert f"limit: {SCRIBE}: at most 28 calls a minute (the vendor's headers)" in said
    ledger(study.session, study.vendor).check()


def test_where_only_refusals_tell_of_a_limit_all_are_waited_out_and_nothing_is_lost(scenes: Scenes) -> None:
    study = scenes["nobody tells"].result()
    ledger(study.session, study.vendor).check()
    (told,) = study.tell("errors", "--format", "json")
    assert (told["class"], told["outcomes"]["recovered"]) == ("rate_limit", told["count"])
    assert told["count"] == too_many(study) > 0


def too_many(study: Study) -> int:
    """Return how many requests were answered with 429."""
    return sum(entry.status == 429 for entry in study.wire(event="fault"))
