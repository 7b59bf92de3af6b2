"""Which model serves a call, on the real server with stub steps: not a closed one, and fallbacks where allowed."""

from __future__ import annotations

import time
from collections import Counter

from temporalio.client import Client

from activities.border import ANALYSE, EXTRACT_BY_MODEL, CallOutcome
from tests.stub_steps import MODEL, READER, SECOND, Stubs, session, until
from workflows.experiment import ExperimentWorkflow

CLOSED = CallOutcome(status="closed", wait_s=1.5, reason="openai/scribe is quarantined after 3 failures")
FALLS_BACK = CallOutcome(status="parked", reason="it refused the text", falls_back=True)


async def test_a_closed_model_gets_no_call_until_its_time_and_then_one_before_all_others(client: Client) -> None:
    stubs = Stubs(outcomes={1: [CLOSED], 2: [CLOSED]}, latency_s=0.05)
    async with session(client, stubs, analyses=6, concurrency=2) as handle:
        outcome = await handle.result()
    assert outcome.status == "complete"
    assert len(stubs.calls) == 6 + 2
    met = [event for event in stubs.events if event.startswith(("asked", "answered", "closed"))]
    assert sorted(met[:4]) == ["asked 1", "asked 2", "closed 1", "closed 2"]
    tried = met[4].removeprefix("asked ")
    assert met[4:6] == [f"asked {tried}", f"answered {tried}"]  # alone
    assert met[6].startswith("asked")
    assert met[7].startswith("asked")  # then as many as there are slots


async def test_what_calls_wait_for_is_told(client: Client) -> None:
    closed = CLOSED.model_copy(update={"wait_s": 30.0})
    stubs = Stubs(outcomes={number: [closed] for number in range(1, 4)})
    async with session(client, stubs, analyses=3, concurrency=1, batch_size=1) as handle:

        async def told() -> bool:
            standing = await handle.query(ExperimentWorkflow.progress)
            assert (standing.done, standing.parked) == (0, 0)
            return standing.waiting == CLOSED.reason

        await until(told, "it is told what is waited for")
        await handle.execute_update(ExperimentWorkflow.pause, "by hand")


async def test_a_fallback_is_asked_where_the_experiment_names_one(client: Client) -> None:
    stubs = Stubs(outcomes={2: [FALLS_BACK], 3: [CLOSED]})
    async with session(client, stubs, analyses=4, concurrency=1, fallbacks={MODEL: (SECOND,)}) as handle:
        outcome = await handle.result()
    assert outcome.status == "complete"
    asked = [(order.number, order.fallback) for name, order in stubs.calls if name == ANALYSE]
    assert asked[:3] == [(1, 0), (2, 0), (2, 1)]
    assert (3, 1) in asked
    assert (4, 1) in asked  # its own model is still closed


async def test_without_a_fallback_nothing_but_the_model_itself_is_asked(client: Client) -> None:
    stubs = Stubs(outcomes={2: [FALLS_BACK]})
    async with session(client, stubs, analyses=3, concurrency=1) as handle:
        outcome = await handle.result()
    assert outcome.status == "partial"
    assert {order.fallback for _, order in stubs.calls} == {0}


async def test_a_second_model_that_cannot_be_had_leaves_the_answer_to_the_next_one(client: Client) -> None:
    stubs = Stubs(readings={1: ["second_model"], 2: ["second_model"]}, second_outcomes={1: [FALLS_BACK], 2: [CLOSED]})
    async with session(client, stubs, analyses=2, concurrency=2, extraction_models=(READER, SECOND)) as handle:
        outcome = await handle.result()
    assert outcome.status == "complete"
    readers = Counter((order.number, order.fallback) for name, order in stubs.calls if name == EXTRACT_BY_MODEL)
    assert readers[1, 1] == 1
    assert readers[2, 1] == 1


async def test_calls_to_a_model_never_exceed_what_its_limit_leaves_this_session(client: Client) -> None:
    from activities.border import ModelShare

    stubs = Stubs()
    stubs.ready.clear()
    async with session(client, stubs, analyses=12, concurrency=6) as handle:
        await handle.signal("limited", ModelShare(model=MODEL, in_flight=2, source="models.yaml"))
        stubs.gate.clear()
        stubs.ready.set()
        await until(lambda: stubs.running == 2, "two calls run")
        time.sleep(0.3)  # noqa: ASYNC251  a third would have begun
        assert stubs.running == 2
        await handle.signal("limited", ModelShare(model=MODEL))
        await until(lambda: stubs.running == 6, "the limit is lifted")
        stubs.gate.set()
        assert (await handle.result()).status == "complete"
    assert [share.in_flight for share in stubs.shares[-1].shares] == [None]
