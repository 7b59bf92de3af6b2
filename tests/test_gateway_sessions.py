"""Whole sessions against vendors that misbehave: every gap is named, every answer is paid for once and told of.

The vendor's journal is what counts: results, report, costs and counts are held against what was on the wire.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from discernus.sessions.opening import store_id
from discernus.sessions.session import Session
from engine.connection import connect
from engine.models import model_id
from engine.server import EmbeddedServer
from tests.fake_vendor import Entry
from tests.fake_vendor.bills import Price, bills, price_of
from tests.fake_vendor.faults import FAULTS
from tests.running import HIDDEN, PATIENCE_S, REPOSITORY, callers, kill_9, ledger, now, played, server_pid, wait_until
from tests.studies import (
    COMPLETE,
    INVALID,
    PARTIAL,
    PAUSED,
    UNREADABLE,
    WITHHELD,
    Study,
    answered_twice,
    unnamed_gaps,
)
from tests.test_web_ui import CHROMIUM, browser

EXPERIMENT_3 = REPOSITORY.parent / "shared/data/experiment_3"
CONCURRENCY = 6
RUNS = 24  # of each of the eight texts of the published experiment
QUARANTINE_S = 20

# How likely a request is to meet a fault; with those below these are all the faults there are.
IN_PASSING = {
    **dict.fromkeys(("status_500", "status_503", "rate_limit", "connection", "reset"), 0.015),
    **dict.fromkeys(("status_408", "status_409", "status_502", "status_504", "status_529"), 0.008),
    **dict.fromkeys(("overloaded", "malformed", "empty", "error_in_200", "out_of_memory", "hang"), 0.008),
}
ODD = {
    **dict.fromkeys(("prose", "fenced", "broken", "slow"), 0.03),
    **dict.fromkeys(("truncated", "runaway", "refusal", "wrong_model"), 0.008),
}
FOR_GOOD = (
    *("status_400", "status_403", "status_404", "status_413", "status_415", "status_422", "no_permission"),
    *("unknown_model", "context_length", "content_policy", "bad_request", *sorted(WITHHELD)),
)
STOPPING = ("bad_key", "quota", "status_401", "status_402")
STOPPED_AT = 80  # the request after which a person has to do something
CUT_OFF = frozenset({"connection", "reset", "status_408", "status_504"})  # a vendor may have worked, and bill it

# One model of each vendor, by the name of LiteLLM's adapter for it.
MODELS = {
    "openai": "openai/gpt-4o-mini",
    "anthropic": "anthropic/claude-sonnet-4-5",
    "gemini": "gemini/gemini-2.5-flash",
    "vertex_ai": "vertex_ai/gemini-2.5-flash",
    "ollama_chat": "ollama_chat/llama3",
    "openrouter": "openrouter/openai/gpt-4o-mini",
    "hosted_vllm": "hosted_vllm/qwen3-8b",
}
IN_THE_TABLE = {
    "openai": "gpt-4o-mini",
    "anthropic": "claude-sonnet-4-5",
    "gemini": "gemini/gemini-2.5-flash",
    "vertex_ai": "gemini-2.5-flash",
}
PRO = "vertex_ai/gemini-2.5-pro"  # which the published experiment asks
SCRIBE, CLERK, READER = "openai/scribe", "openai/clerk", "anthropic/reader"
PRICE = {"input_usd": 3e-7, "output_usd": 2.5e-6, "cached_input_usd": 7.5e-8}
PRICED = {
    "input_cost_per_token": PRICE["input_usd"],
    "output_cost_per_token": PRICE["output_usd"],
    "cached_input_cost_per_token": PRICE["cached_input_usd"],
}


def read_the_real_experiment(folder: Path) -> Study:
    """Run the published experiment as it is, but for more runs, with all faults on; where one stops it that a person
    has to mend, run it again.
    """
    if not EXPERIMENT_3.is_dir():
        pytest.skip("the shared sample data is not beside this checkout")
    at = {**dict(enumerate(FOR_GOOD, start=1)), **dict(enumerate(STOPPING, start=STOPPED_AT))}
    assert {*IN_PASSING, *ODD, *at.values()} == FAULTS
    vendor = {
        "seed": 183,
        "rates": {**IN_PASSING, **ODD},
        "at": {str(ordinal): fault for ordinal, fault in at.items()},
        "latency_s": {"median": 0.1, "p90": 0.3},
        "retry_after_s": 0.3,
        "slow_s": 1.0,
    }
    rules = {"quarantine_duration": 3}
    with Study(folder, vendor=vendor, rules=rules, variables={"LLM_RESPONSE_TIMEOUT": "8"}) as study:
        study.variables |= study.vendor.vertex_env()
        study.run_to_its_end(str(EXPERIMENT_3), "--runs", str(RUNS))
        return study


def ask_every_vendor(folder: Path) -> Study:
    """Run one session that asks a model of each vendor through its own adapter; all of them meet the same faults."""
    own = {MODELS["ollama_chat"]: PRICED, MODELS["hosted_vllm"]: {**PRICED, "answers_as": ["qwen3-8b"]}}
    odd = dict.fromkeys((*ODD, *sorted(WITHHELD)), 0.03)
    faults = {**dict.fromkeys(IN_PASSING, 0.02), **odd, "no_permission": 0.01, "bad_request": 0.01}
    vendor = {
        "seed": 2830,
        "rates": faults,
        "latency_s": {"median": 0.1, "p90": 0.3},
        "retry_after_s": 0.3,
        "slow_s": 1.0,
        "prompt_cache": True,
        "reasoning_tokens": 40,
        "prices": {MODELS["openrouter"]: PRICE},
    }
    with Study(
        folder,
        vendor=vendor,
        rules={"models": own, "fallback_models": [MODELS["openai"]], "quarantine_duration": 3},
        variables={"LLM_RESPONSE_TIMEOUT": "8"},
        models=list(MODELS.values()),
        documents=6,
        runs=2,
        extraction_model=MODELS["anthropic"],
        settings={"allow_substitution": True},
    ) as study:
        study.variables |= study.vendor.vertex_env()
        study.run_to_its_end("speeches")
        return study


@dataclass(frozen=True)
class Lost:
    """A session that lost a model half-way, and what was seen meanwhile; ``first`` and ``second`` tell of the model
    as ``models --json`` did in its two quarantines, ``standing`` of the session as ``status --json`` did in the first.
    """

    study: Study
    first: dict[str, Any]
    second: dict[str, Any]
    standing: dict[str, Any]
    seen_at: tuple[datetime, datetime]  # when it was known of each quarantine
    mended_at: datetime
    probes: int  # requests in the first quarantine and at its end
    page: str  # the model's page in the Web UI
    output: str


def lose_a_model_half_way(folder: Path) -> Lost:
    """Take one of two models off the net, look on, and put it back while it is left alone for the second time."""
    with Study(
        folder,
        vendor={"latency_s": 0.6},
        rules={"quarantine_duration": QUARANTINE_S},
        models=[SCRIBE, CLERK],
        documents=20,
        runs=2,
        concurrency=CONCURRENCY,
    ) as study:
        starter = study.start("speeches")
        wait_until(lambda: len(study.wire(SCRIBE, "answer")) >= 4, "it is under way")
        study.vendor.control(down={SCRIBE: "connection"})
        wait_until(lambda: Session(study.session).waiting(), "calls to the model wait")
        study.vendor.control(hold=True)
        wait_until(lambda: study.vendor.stats()["in_flight"] == CONCURRENCY, "the other model has every slot")
        first = wait_until(lambda: quarantined(study), "the model is left alone")
        first_seen_at, asked = now(), len(study.wire(SCRIBE, "request"))
        (standing,) = study.tell("status", "--json")
        study.vendor.control(hold=False)
        wait_until(lambda: len(study.wire(SCRIBE, "request")) > asked, "the model is tried")
        second = wait_until(lambda: quarantined(study, after=first), "it is left alone again")
        second_seen_at, probes = now(), len(study.wire(SCRIBE, "request")) - asked
        page = asyncio.run(models_page(study, folder / "browser")) if CHROMIUM else ""
        mended_at = now()
        study.vendor.control(down={})
        assert starter.wait(2 * PATIENCE_S) == COMPLETE, starter.output
        seen_at = first_seen_at, second_seen_at
        return Lost(study, first, second, standing, seen_at, mended_at, probes, page, starter.output)


def kill_all_while_a_model_is_left_alone(folder: Path) -> tuple[Study, list[int]]:
    """Kill starter, caller and server in a quarantine; run again, and mend the model while that is still in force."""
    with Study(
        folder,
        vendor={"down": {SCRIBE: "connection"}},
        rules={"quarantine_duration": QUARANTINE_S},
        models=[SCRIBE],
        documents=6,
        runs=2,
    ) as study:
        starter = study.start("speeches")
        wait_until(lambda: quarantined(study), "the model is left alone")
        server = server_pid(study.projects_dir)
        assert server is not None
        kill_9(starter.pid, *callers(study.projects_dir), server)
        starter.kill()
        asked = [len(study.wire(SCRIBE, "request"))]
        starter = study.start("speeches")
        wait_until(lambda: "waiting: " in starter.output, "it says what it waits for")
        assert quarantined(study)
        asked.append(len(study.wire(SCRIBE, "request")))
        study.vendor.control(down={})
        assert starter.wait() == COMPLETE, starter.output
        return study, asked


def quarantined(study: Study, after: dict[str, Any] | None = None) -> dict[str, Any] | None:
    """Return what is told of the model if it is left alone, and has been for another reason than ``after``."""
    for told in study.tell("models", "--json"):
        is_news = after is None or told["since"] != after["since"]
        if told["model"] == SCRIBE and told["status"] == "quarantined" and is_news:
            return told
    return None


async def models_page(study: Study, profile: Path) -> str:
    """Return what the model's own page in the Web UI shows."""
    server = EmbeddedServer(study.projects_dir / HIDDEN).facts()
    assert server is not None
    client = await connect(server.address, "default")
    model = await client.get_workflow_handle(model_id(store_id(study.projects_dir), SCRIBE)).describe()
    workflows = f"{server.ui_url}/namespaces/default/workflows"
    async with browser(profile) as page:
        await page.open(f"{workflows}/{quote(model.id, safe='')}/{model.run_id}/user-metadata")
        return await page.see(f"{SCRIBE}: ", "calls answered")


def lose_answers_on_their_way(folder: Path) -> Study:
    """Kill the process that makes the calls while each of them is out: nobody is there to hear the answers."""
    with Study(
        folder,
        vendor={"hold": True},
        rules={"models": {SCRIBE: {**PRICED, "max_output_tokens": 2000}}},
        models=[SCRIBE],
        documents=8,
        concurrency=CONCURRENCY,
    ) as study:
        starter = study.start("speeches")
        study.vendor.wait_for(requests=CONCURRENCY, timeout_s=PATIENCE_S)
        kill_9(*callers(study.projects_dir))
        study.vendor.control(hold=False)
        assert starter.wait() == COMPLETE, starter.output
        return study


def fall_back(folder: Path) -> Study:
    """Run an experiment that names a fallback for its analyses, three of which its model will not have."""
    with Study(
        folder,
        vendor={"sequence": ["status_403", "context_length", "unknown_model"], "models": [SCRIBE]},
        models=[SCRIBE],
        documents=4,
        settings={"fallback_models": {SCRIBE: [READER]}},
    ) as study:
        study.run("speeches")
        return study


def substitute(settings: dict[str, Any], code: int, folder: Path) -> Study:
    """Run an experiment one of whose models is answered for by another, put there by its vendor."""
    with Study(
        folder,
        vendor={"answers_as": {SCRIBE: "scribe-lite"}},
        rules={"models": {SCRIBE: PRICED, CLERK: PRICED}},
        models=[SCRIBE, CLERK],
        documents=2,
        runs=1,
        settings=settings,
    ) as study:
        study.run("speeches", code=code)
        return study


def learn_that_it_was_no_substitution(folder: Path) -> tuple[Study, str]:
    """Run into refusals of answers until the session pauses; then say in models.yaml that the other name is right."""
    with Study(
        folder, vendor={"answers_as": {SCRIBE: "scribe-lite"}}, models=[SCRIBE], documents=6, runs=2, concurrency=2
    ) as study:
        said = study.run("speeches", code=PAUSED).output
        assert len(study.wire(SCRIBE, "answer")) < 12, "it went on paying for answers that it refused"
        study.rule({"models": {SCRIBE: {"answers_as": ["scribe-lite"]}}})
        study.run("speeches")
        return study, said


def lose_a_model_for_good(folder: Path) -> tuple[Study, str, list[int]]:
    """Take one of two models off the net for a whole run; put it back, and run again."""
    with Study(
        folder,
        vendor={"latency_s": 0.05, "down": {SCRIBE: "connection"}},
        rules={"quarantine_duration": 2},
        models=[SCRIBE, CLERK],
        documents=10,
        runs=2,
        concurrency=2,
    ) as study:
        said = study.run("speeches", code=PARTIAL).output
        asked = [len(study.wire(SCRIBE, "request")), len(Session(study.session).all_parked())]
        study.vendor.control(down={})
        study.run("speeches")
        return study, said, asked


def change_the_version(folder: Path) -> tuple[Study, list[str]]:
    """Put another version behind the model's name half-way; run again without accepting it, then with."""
    with Study(
        folder,
        vendor={"latency_s": 0.2},
        models=[SCRIBE],
        documents=6,
        runs=2,
        concurrency=2,
        settings={"pin_versions": True},
    ) as study:
        starter = study.start("speeches")
        wait_until(lambda: len(study.wire(SCRIBE, "answer")) >= 3, "it is under way")
        study.vendor.control(model_suffix="-2026-02-02")
        assert starter.wait() == PAUSED, starter.output
        again = study.run("speeches", code=PAUSED)
        accepted = study.run("speeches", "--accept-versions")
        return study, [" ".join(run.output.split()) for run in (starter, again, accepted)]


def ask_whom_the_policy_forbids(folder: Path) -> tuple[Study, str]:
    settings = {"data_policy": {"vendors": ["gemini"]}}
    with Study(folder, models=[SCRIBE], documents=2, settings=settings) as study:
        return study, " ".join(study.run("speeches", code=INVALID).output.split())


SCENES: dict[str, Callable[[Path], Any]] = {
    "model lost": lose_a_model_half_way,
    "real": read_the_real_experiment,
    "vendors": ask_every_vendor,
    "all killed": kill_all_while_a_model_is_left_alone,
    "model dead": lose_a_model_for_good,
    "version": change_the_version,
    "in doubt": lose_answers_on_their_way,
    "fallback": fall_back,
    "substitution refused": partial(substitute, {}, PARTIAL),
    "substitution allowed": partial(substitute, {"allow_substitution": True}, COMPLETE),
    "no substitution": learn_that_it_was_no_substitution,
    "policy": ask_whom_the_policy_forbids,
}
Scenes = dict[str, Future[Any]]


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scenes]:
    root = tmp_path_factory.mktemp("gateway")
    folders = {name: root / name.replace(" ", "-") for name in SCENES}
    for folder in folders.values():
        folder.mkdir()
    with played(3, {name: partial(scene, folders[name]) for name, scene in SCENES.items()}) as playing:
        yield playing


# all faults at once


def test_with_all_faults_on_the_real_experiment_ends_with_every_gap_named(scenes: Scenes) -> None:
    study = scenes["real"].result()
    assert len(study.rows()) == 8 * RUNS
    assert unnamed_gaps(study) == []
    assert {f"{entry.vendor}/{entry.model}" for entry in study.wire()} == {PRO}, "no other model was asked"
    met = {entry.fault for entry in study.wire()}
    assert met >= {*FOR_GOOD, *STOPPING}
    assert len(met & IN_PASSING.keys()) >= 10
    assert len(met & ODD.keys()) >= 5


def test_with_all_faults_on_no_call_that_was_answered_is_made_again(scenes: Scenes) -> None:
    study = scenes["real"].result()
    assert answered_twice(study) == []
    ledger(study.session, study.vendor).check(complete=False)


def test_with_all_faults_on_over_95_percent_of_the_first_failures_are_recovered(scenes: Scenes) -> None:
    study = scenes["real"].result()
    told = study.tell("errors", "--format", "json")
    failed = sum(group["first_attempts_failed"] for group in told)
    recovered = sum(group["first_attempts_recovered"] for group in told)
    assert (failed, recovered) == first_failures(study)
    assert failed >= 20
    assert recovered / failed > 0.95


def first_failures(study: Study) -> tuple[int, int]:
    """Return how many calls failed in passing when they were first made, and how many of them were answered later."""
    requests: defaultdict[str | None, list[int]] = defaultdict(list)
    ends = {entry.ordinal: entry for entry in study.wire() if entry.event != "request"}  # what hangs has none
    for entry in study.wire(event="request"):
        requests[entry.idempotency_key].append(entry.ordinal)
    failed = [ordinals for ordinals in requests.values() if fault_of(ends.get(ordinals[0])) in IN_PASSING]
    return len(failed), sum(any(is_answer(ends.get(ordinal)) for ordinal in ordinals) for ordinals in failed)


def fault_of(end: Entry | None) -> str | None:
    return "hang" if end is None else end.fault


def is_answer(end: Entry | None) -> bool:
    return end is not None and end.event == "answer" and end.fault not in UNREADABLE | WITHHELD


# each vendor's own adapter


@pytest.mark.parametrize("form", MODELS)
def test_through_each_vendors_adapter_every_gap_is_named_and_nothing_is_answered_twice(
    form: str, scenes: Scenes
) -> None:
    study = scenes["vendors"].result()
    rows = [row for row in study.rows() if row["model_requested"] == MODELS[form]]
    assert len(rows) == 12
    assert sum(row["status"] == "scored" for row in rows) >= 5
    assert [gap for gap in unnamed_gaps(study) if any(gap.startswith(f"{row['analysis']} ") for row in rows)] == []
    assert answered_twice(study) == []
    assert any(entry.fault in IN_PASSING for entry in study.wire(MODELS[form])), "it met no fault"
    versions = {row["model_answered"] for row in rows if row["model_answered"] and row["substituted"] == "false"}
    assert versions == {f"{MODELS[form].partition('/')[2]}-2026-01-01"}


@pytest.mark.parametrize("form", MODELS)
def test_what_a_session_cost_is_each_vendors_own_bill_to_the_cent(form: str, scenes: Scenes) -> None:
    study = scenes["vendors"].result()
    (told,) = [
        group for group in study.tell("cost", "--by", "model", "--format", "json") if group["model"] == MODELS[form]
    ]
    answers, faults = study.wire(MODELS[form], "answer"), study.wire(MODELS[form], "fault")
    counted = [entry for entry in answers if entry.fault not in UNREADABLE]
    # what another model answered has that one's price, which only a vendor can tell that states what it charged
    known = [entry for entry in counted if entry.fault != "wrong_model" or form == "openrouter"]
    price = price_of(MODELS[form], prices())
    assert price is not None
    assert len({entry.fault for entry in known}) > 3, "hardly any odd answer was paid for"
    ((tokens,), (bill,)) = bills(counted).values(), bills(known).values()
    assert told["cost_usd"] == pytest.approx(price.cost_usd(bill), abs=1e-9)
    assert (told["prompt_tokens"], told["completion_tokens"]) == (tokens.prompt_tokens, tokens.completion_tokens)
    # what nobody can tell is counted: replies without a readable count, errors that came as answers, what was cut off
    assert told["calls"] - told["unpriced"] == len(known)
    errors_as_answers = sum(entry.fault == "error_in_200" for entry in faults)
    assert 0 <= told["unpriced"] - (len(answers) - len(known)) <= errors_as_answers
    assert told["unanswered"] == sum(entry.fault in CUT_OFF for entry in faults) + hung(study, MODELS[form])
    assert told["in_doubt"] == 0


def hung(study: Study, model: str) -> int:
    """Return how many requests a model never answered in any way."""
    return len(study.wire(model, "request")) - len([one for one in study.wire(model) if one.event != "request"])


def prices() -> dict[str, dict[str, float]]:
    """Return the prices of all models: as models.yaml and the vendor state them here, and as LiteLLM's table does."""
    found = dict.fromkeys(MODELS.values(), PRICE)
    spec = find_spec("litellm")
    assert spec is not None
    assert spec.origin is not None
    table = json.loads((Path(spec.origin).parent / "model_prices_and_context_window_backup.json").read_text())
    for form, name in IN_THE_TABLE.items():
        found[MODELS[form]] = {
            "input_usd": table[name]["input_cost_per_token"],
            "output_usd": table[name]["output_cost_per_token"],
            "cached_input_usd": table[name]["cache_read_input_token_cost"],
        }
    return found


def test_the_report_tells_the_same_cost_and_how_many_calls_are_not_in_it(scenes: Scenes) -> None:
    study = scenes["vendors"].result()
    told = study.tell("cost", "--by", "model,purpose", "--format", "json")
    known, unpriced = sum(group["cost_usd"] for group in told), sum(group["unpriced"] for group in told)
    assert f"In all at least {known:.2f} USD; of {unpriced} calls no price is known." in study.report("Cost")
    assert f"{sum(group['unanswered'] for group in told)} calls cut off before an answer came" in study.report("Cost")


def test_calls_in_doubt_are_counted_apart_from_what_was_paid(scenes: Scenes) -> None:
    study = scenes["in doubt"].result()
    (told,) = study.tell("cost", "--by", "model", "--format", "json")
    assert told["cost_usd"] == pytest.approx(study.vendor.cost_usd({SCRIBE: PRICE}), abs=1e-9)
    assert (told["calls"], told["unpriced"], told["in_doubt"]) == (24, 0, CONCURRENCY)
    assert told["in_doubt_usd"] > told["cost_usd"] / 24 * CONCURRENCY, "they are counted at their worst"
    assert study.report("Calls in doubt").count(f"| {SCRIBE} ") == CONCURRENCY
    assert f"{CONCURRENCY} calls in doubt, at most {told['in_doubt_usd']:.4f} USD more" in study.report("Cost")


# a model that dies


def test_a_model_that_dies_is_left_alone_while_another_goes_on(scenes: Scenes) -> None:
    lost = scenes["model lost"].result()
    for seen_at, told in zip(lost.seen_at, (lost.first, lost.second), strict=True):
        until = datetime.fromisoformat(told["until"])
        assert until > seen_at
        called = [entry for entry in lost.study.wire(SCRIBE, "request") if seen_at < at(entry) < until]
        assert called == []
    assert any(
        lost.seen_at[0] < at(entry) < datetime.fromisoformat(lost.first["until"])
        for entry in lost.study.wire(CLERK, "answer")
    )


def test_a_single_call_tries_it_and_once_that_is_answered_all_go_on(scenes: Scenes) -> None:
    lost = scenes["model lost"].result()
    assert lost.probes == 1
    since = [entry for entry in lost.study.wire(SCRIBE) if at(entry) > lost.mended_at]
    assert [entry.event for entry in since[:2]] == ["request", "answer"]
    assert len(since) > 2
    assert {row["status"] for row in lost.study.rows()} == {"scored"}
    ledger(lost.study.session, lost.study.vendor).check()


def test_while_it_is_left_alone_the_run_says_what_it_waits_for(scenes: Scenes) -> None:
    lost = scenes["model lost"].result()
    assert lost.first["reason"].startswith("3 failures in a row, the last: connection_error")
    assert lost.standing["waiting_for"].startswith(f"{SCRIBE} is left alone for a while: 3 failures in a row")
    assert f"waiting: {SCRIBE} is left alone for a while" in " ".join(lost.output.split())


def test_after_it_has_recovered_its_history_is_kept_and_the_report_tells_of_it(scenes: Scenes) -> None:
    lost = scenes["model lost"].result()
    (told,) = lost.study.tell("models", "show", SCRIBE, "--json")
    assert told["status"] in ("healthy", "degraded")
    assert len(told["quarantines"]) >= 2
    assert all(past["ended_at"] for past in told["quarantines"])
    row = next(line for line in lost.study.report("What went wrong, and what was done").splitlines() if SCRIBE in line)
    assert "connection_error" in row
    assert "recovered" in row


@pytest.mark.skipif(not CHROMIUM, reason="no chromium here to look at the Web UI with (Debian's will do)")
def test_the_models_page_in_the_web_ui_says_how_it_is(scenes: Scenes) -> None:
    page = scenes["model lost"].result().page
    assert f"{SCRIBE}: quarantined the probe failed too: connection_error" in page
    assert "then a single call tries it again" in page


def test_that_a_model_is_left_alone_outlives_every_process(scenes: Scenes) -> None:
    study, (before, after) = scenes["all killed"].result()
    assert after - before <= 1  # where a slow machine lets the quarantine end meanwhile: the one call that tries it
    assert len(study.wire(SCRIBE, "answer")) == len(study.rows()) == 12


def test_a_model_that_is_dead_for_good_is_given_up_and_tried_afresh_by_the_next_run(scenes: Scenes) -> None:
    study, said, (asked, parked) = scenes["model dead"].result()
    assert parked == 20
    assert "20 analyses parked, connection_error" in said
    assert f"{SCRIBE} is left alone" in said
    assert asked < 40, "each analysis went on trying it, four times in each of two passes"
    assert {row["status"] for row in study.rows()} == {"scored"}
    ledger(study.session, study.vendor).check()


def at(entry: Entry) -> datetime:
    return datetime.fromisoformat(entry.at)


# who answers


def test_a_fallback_serves_an_analysis_only_as_the_experiment_says_and_is_seen_everywhere(scenes: Scenes) -> None:
    study = scenes["fallback"].result()
    assert Counter(row["model_asked"] for row in study.rows()) == {SCRIBE: 9, READER: 3}
    assert {row["model_requested"] for row in study.rows()} == {SCRIBE}
    assert {row["model_answered"] for row in study.rows() if row["model_asked"] == READER} == {"reader-2026-01-01"}
    assert f"3 of 12 analyses of {SCRIBE}: answered by its fallback **{READER}**" in study.report(
        "Answered by other models"
    )
    told = study.tell("errors", "--format", "json")
    assert sum(group["outcomes"]["fell_back"] for group in told) == 3
    assert len(study.wire(READER, "request")) == 3


def test_an_answer_of_another_model_is_refused_and_named_and_never_priced_as_its_own(scenes: Scenes) -> None:
    study = scenes["substitution refused"].result()
    refused = [row for row in study.rows() if row["model_requested"] == SCRIBE]
    assert {row["status"] for row in refused} == {"parked"}
    assert all(f"scribe-lite answered in place of {SCRIBE}" in row["reason"] for row in refused)
    assert {row["status"] for row in study.rows() if row["model_requested"] == CLERK} == {"scored"}
    assert unnamed_gaps(study) == []
    (told,) = study.tell("errors", "--format", "json")
    assert (told["class"], told["model"], told["count"], told["outcomes"]["parked"]) == ("substitution", SCRIBE, 2, 2)
    assert len(study.wire(SCRIBE, "request")) == 2
    costs = {group["model"]: group for group in study.tell("cost", "--by", "model", "--format", "json")}
    assert (costs[SCRIBE]["cost_usd"], costs[SCRIBE]["unpriced"]) == (None, 2), "it has no price of that other model"
    bill = study.vendor.billed()[CLERK]
    assert costs[CLERK]["cost_usd"] == pytest.approx(Price(**PRICE).cost_usd(bill), abs=1e-9)


def test_answers_under_a_name_that_models_yaml_comes_to_allow_are_used_and_not_paid_for_again(scenes: Scenes) -> None:
    study, said = scenes["no substitution"].result()
    assert f"scribe-lite answered in place of {SCRIBE}" in said
    assert "answers_as: [scribe-lite]" in said
    assert set(ledger(study.session, study.vendor).check().billed.values()) == {1}
    assert {row["status"] for row in study.rows()} == {"scored"}


def test_where_the_experiment_allows_it_another_models_answer_counts_and_is_told_of(scenes: Scenes) -> None:
    study = scenes["substitution allowed"].result()
    told = {(row["model_requested"], row["model_answered"], row["substituted"], row["status"]) for row in study.rows()}
    assert told == {
        (SCRIBE, "scribe-lite", "true", "scored"),
        (CLERK, "clerk-2026-01-01", "false", "scored"),
    }
    assert "answered by **scribe-lite**, put in its place" in study.report("Answered by other models")


def test_a_pinned_version_that_changes_pauses_the_session_until_a_person_accepts_it(scenes: Scenes) -> None:
    study, (first, again, accepted) = scenes["version"].result()
    for paused in (first, again):
        assert f"{SCRIBE} now answers as scribe-2026-02-02, and the experiment pins its version" in paused
        assert "--accept-versions" in paused
    assert f"accepted: {SCRIBE} answering as scribe-2026-02-02" in accepted
    found = ledger(study.session, study.vendor).check()
    assert set(found.billed.values()) == {1}, "what the new version had answered was not asked for again"
    assert {row["model_answered"] for row in study.rows()} == {"scribe-2026-01-01", "scribe-2026-02-02"}
    assert f"The version of {SCRIBE} changed within the session" in study.report("Limitations")


def test_a_model_outside_of_the_data_policy_is_refused_before_anything_is_sent(scenes: Scenes) -> None:
    study, said = scenes["policy"].result()
    assert f"model '{SCRIBE}' is outside of the data policy: its vendor is openai (permitted: gemini)" in said
    assert study.wire() == []
    assert not list(study.projects_dir.glob("*/experiments/*/sessions/*"))
