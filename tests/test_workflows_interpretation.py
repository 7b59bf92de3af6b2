"""The one call for prose, on the real server with stub steps: after the tables, before the report, never in its way."""

from __future__ import annotations

from temporalio.client import Client

from activities.border import INTERPRET, CallOutcome
from tests.stub_steps import COST_USD, WRITER, Stubs, session, until
from tests.tills import Till, ledger
from workflows.experiment import ExperimentWorkflow

WRITERS = (WRITER, "openai/second")
PASSING = CallOutcome(status="parked", reason="status 503 (4 attempts)", passing=True)
LASTING = CallOutcome(status="parked", reason="there is no such model")
FALLS_BACK = CallOutcome(status="parked", reason="it refused the tables", falls_back=True)


async def test_prose_is_asked_for_once_between_the_tables_and_the_report(client: Client) -> None:
    stubs = Stubs()
    async with session(client, stubs, analyses=2, synthesis_models=WRITERS) as handle:
        outcome = await handle.result()
        standing = await handle.query(ExperimentWorkflow.progress)
    assert outcome.status == "complete"
    assert [(name, order.number) for name, order in stubs.calls][2:] == [(INTERPRET, 3)]
    order = [event for event in stubs.events if event in ("calculate", "answered 3", "synthesise", "seal")]
    assert order == ["calculate", "answered 3", "synthesise", "seal"]
    assert (standing.done, standing.parked) == (2, 0)


async def test_prose_goes_to_a_fallback_and_gets_one_more_pass_like_any_call(client: Client) -> None:
    stubs = Stubs(outcomes={3: [FALLS_BACK, PASSING]})
    async with session(client, stubs, analyses=2, synthesis_models=WRITERS) as handle:
        await handle.result()
    asked = [(order.fallback, order.again) for name, order in stubs.calls if name == INTERPRET]
    assert asked == [(0, False), (1, False), (0, True)]


async def test_without_prose_the_session_comes_to_its_end_and_is_complete(client: Client) -> None:
    stubs = Stubs(outcomes={3: [LASTING]})
    async with session(client, stubs, analyses=2, synthesis_models=WRITERS) as handle:
        outcome = await handle.result()
        standing = await handle.query(ExperimentWorkflow.progress)
    assert outcome.status == "complete"
    assert stubs.events[-2:] == ["synthesise", "seal"]
    assert (standing.done, standing.parked) == (2, 0)


async def test_a_useless_answer_is_asked_for_again(client: Client) -> None:
    stubs = Stubs(readings={3: ["ask_again"]})
    async with session(client, stubs, analyses=2, synthesis_models=WRITERS) as handle:
        await handle.result()
    assert [order.ask for name, order in stubs.calls if name == INTERPRET] == [0, 1]


async def test_without_a_writer_none_is_asked(client: Client) -> None:
    stubs = Stubs()
    async with session(client, stubs, analyses=2) as handle:
        await handle.result()
    assert INTERPRET not in {name for name, _ in stubs.calls}


async def test_prose_that_the_budget_has_no_room_for_waits_until_it_is_raised(client: Client) -> None:
    stubs = Stubs(worst_usd=COST_USD)
    async with (
        ledger(client, 2.5 * COST_USD) as till,
        session(
            client, stubs, analyses=2, synthesis_models=WRITERS, concurrency=1, ledger=till.name, budgeted=True
        ) as handle,
    ):
        await until(lambda: ("paused", stubs.notes[-1][1]) in stubs.notes if stubs.notes else False, "it has paused")
        assert "calculate" in stubs.events
        assert [order.number for _, order in stubs.calls] == [1, 2]
        assert "0.0050 are left" in stubs.notes[-1][1]
        await till.handle.signal(Till.set_budget, 1.0)
        assert (await handle.result()).status == "complete"
    assert [order.number for _, order in stubs.calls] == [1, 2, 3]


async def test_a_pause_lets_the_call_for_prose_end_and_the_report_wait(client: Client) -> None:
    stubs = Stubs(hold_at=(3,))
    async with session(client, stubs, analyses=2, synthesis_models=WRITERS) as handle:
        await until(lambda: len(stubs.calls) == 3, "the prose is asked for")
        await handle.execute_update(ExperimentWorkflow.pause, "lunch")
        stubs.gate.set()
        await until(lambda: "answered 3" in stubs.events, "the call has ended")
        assert "synthesise" not in stubs.events
        assert (await handle.query(ExperimentWorkflow.progress)).status == "paused"
        await handle.execute_update(ExperimentWorkflow.resume)
        assert (await handle.result()).status == "complete"
    assert len(stubs.calls) == 3
