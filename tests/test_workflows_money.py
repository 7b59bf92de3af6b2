"""A session and its budget, on the real server with stub steps and a ledger in the test's hands."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from temporalio import activity, workflow
from temporalio.client import Client, WorkflowFailureError

from activities.border import (
    NOTE_STATUS,
    ModelShare,
    Progress,
    SealOutcome,
    SessionStart,
    Short,
    StatusNote,
)
from tests.stub_steps import COST_USD, MODEL, NAMES, Handle, Stubs, running, session, session_start, until
from tests.tills import SlowTill, Till, ledger
from workflows.experiment import ExperimentWorkflow


async def standing(handle: Handle) -> Progress:
    return await handle.query(ExperimentWorkflow.progress)


async def is_paused(handle: Handle) -> bool:
    return (await standing(handle)).status == "paused"


async def test_a_session_spends_within_its_budget_pauses_and_goes_on_when_it_is_raised(client: Client) -> None:
    stubs = Stubs(worst_usd=0.01)
    async with (
        ledger(client, 0.05) as till,
        session(client, stubs, analyses=12, batch_size=6, ledger=till.name, budgeted=True) as handle,
    ):
        await until(lambda: is_paused(handle), "the budget is used up")
        assert len(stubs.calls) == 5
        await till.handle.signal(Till.set_budget, 1.0)
        assert (await handle.result()).status == "complete"


@pytest.mark.parametrize(("batch_size", "concurrency"), [(12, 1), (12, 4), (6, 4), (4, 3)])
async def test_a_session_makes_every_call_that_its_budget_allows_at_worst(
    client: Client, batch_size: int, concurrency: int
) -> None:
    stubs = Stubs(worst_usd=0.03)  # of which 0.01 is spent
    async with (
        ledger(client, 0.075) as till,
        session(
            client,
            stubs,
            analyses=12,
            batch_size=batch_size,
            concurrency=concurrency,
            ledger=till.name,
            budgeted=True,
        ) as handle,
    ):
        await until(lambda: is_paused(handle), "the budget is used up")
        assert len(stubs.calls) == 5  # one more could end at 0.08
        assert "0.0250 are left" in (await standing(handle)).reason
        await till.handle.signal(Till.set_budget, 1.0)
        assert (await handle.result()).status == "complete"


async def test_a_session_that_is_out_of_budget_says_what_is_spent_by_then(client: Client) -> None:
    stubs = Stubs(worst_usd=0.03)
    async with (
        ledger(client, 0.075, SlowTill) as till,
        session(client, stubs, analyses=6, batch_size=6, ledger=till.name, budgeted=True) as handle,
    ):
        await until(lambda: is_paused(handle), "the budget is used up")
        assert f"{COST_USD * len(stubs.calls):.4f} USD are spent" in (await standing(handle)).reason


async def test_a_pause_by_hand_is_not_ended_by_money(client: Client) -> None:
    stubs = Stubs(worst_usd=0.01)
    async with (
        ledger(client, 0.02) as till,
        session(client, stubs, analyses=6, batch_size=3, ledger=till.name, budgeted=True) as handle,
    ):
        await until(lambda: is_paused(handle), "the budget is used up")
        await handle.execute_update(ExperimentWorkflow.pause, "lunch")
        assert (await standing(handle)).reason == "lunch"
        await till.handle.signal(Till.set_budget, 1.0)
        await asyncio.sleep(0.5)
        assert await is_paused(handle)
        assert len(stubs.calls) == 2
        await handle.execute_update(ExperimentWorkflow.resume)
        assert (await handle.result()).status == "complete"


async def test_a_session_that_is_resumed_makes_itself_known_to_a_ledger_that_was_begun_anew(client: Client) -> None:
    stubs = Stubs()
    stubs.gate.clear()
    async with (
        ledger(client, None) as till,
        session(client, stubs, analyses=4, ledger=till.name) as handle,
    ):
        await until(lambda: stubs.running, "calls run")
        await handle.execute_update(ExperimentWorkflow.pause, "lunch")
        await till.handle.terminate("by hand")
        await till.begin(None)
        assert await till.claims() == []
        await handle.execute_update(ExperimentWorkflow.resume)
        assert [claim.workflow_id for claim in await till.claims()] == [handle.id]
        stubs.gate.set()
        await handle.result()


@workflow.defn(name="Experiment")
class HastyBatch(ExperimentWorkflow):
    """A session whose first batch asks for money before the session has heard that it has started."""

    @workflow.run
    async def run(self, start: SessionStart) -> SealOutcome:
        return await super().run(start)

    async def _start_batch(self, index: int, *, again: bool) -> None:
        short = Short(
            index=index,
            needed_usd=0.01,
            wanted_usd=0.1,
            in_flight=0,
            reserved_usd=0.0,
            allowance_usd=0.0,
            fresh_usd=0.0,
            spent_usd=0.0,
        )
        self._agenda.append(short)
        await super()._start_batch(index, again=again)


async def test_a_batch_that_asks_for_money_before_it_is_known_to_run_is_heard(client: Client) -> None:
    stubs = Stubs(worst_usd=0.01, analyses=4)
    async with ledger(client, 1.0) as till:
        start = session_start(next(NAMES), analyses=4, ledger=till.name, budgeted=True)
        async with running(client, stubs, start, HastyBatch) as handle:
            assert (await handle.result()).status == "complete"
            wanted = [claim.room_usd for claim in await till.claims()]
    assert wanted[1] == pytest.approx(0.1, abs=1e-5)  # what was asked for too early, and nothing else came of the batch


@workflow.defn(name="Experiment", failure_exception_types=[Exception])
class DeafSession(ExperimentWorkflow):
    """A session that cannot take in what it is told of its models' limits."""

    @workflow.run
    async def run(self, start: SessionStart) -> SealOutcome:
        return await super().run(start)

    async def _take_share(self, share: ModelShare) -> None:
        raise KeyError("a bug")


async def test_a_session_that_can_hear_no_more_says_so_rather_than_going_on_deaf(client: Client) -> None:
    stubs = Stubs(analyses=4)
    stubs.gate.clear()
    async with running(client, stubs, session_start(next(NAMES), analyses=4), DeafSession) as handle:
        await until(lambda: stubs.running, "calls run")
        await handle.signal("limited", ModelShare(model=MODEL, in_flight=2))
        with pytest.raises(WorkflowFailureError, match="failed"):
            await handle.result()


@pytest.mark.parametrize("limit", [1, 2, 5])
async def test_batches_share_a_limit_on_calls_in_flight_and_never_exceed_it(client: Client, limit: int) -> None:
    stubs = Stubs(latency_s=0.02)
    stubs.ready.clear()
    stubs.gate.clear()  # no call ends before the batches have had the time to use their shares
    async with session(client, stubs, analyses=24, batch_size=6, concurrency=12) as handle:
        await handle.signal("limited", ModelShare(model=MODEL, in_flight=limit))
        stubs.ready.set()
        await until(lambda: stubs.running > limit // 2, "most of the limit is in use")
        stubs.gate.set()
        assert (await handle.result()).status == "complete"
    assert stubs.most <= limit


class FullDisk(Stubs):
    """Steps that cannot note a pause before ``room`` is set."""

    room = False

    @activity.defn(name=NOTE_STATUS)
    async def note_status(self, note: StatusNote) -> None:
        if note.status == "paused" and not self.room:
            raise OSError("no space left on device")
        self.notes.append((note.status, note.reason))


async def test_a_note_of_a_pause_that_took_long_to_write_does_not_overtake_that_of_going_on(client: Client) -> None:
    stubs: Any = FullDisk()
    stubs.gate.clear()
    async with session(client, stubs, analyses=4) as handle:
        await until(lambda: stubs.running, "calls run")
        pausing = asyncio.create_task(handle.execute_update(ExperimentWorkflow.pause, "lunch"))
        await until(lambda: is_paused(handle), "it pauses")
        resuming = asyncio.create_task(handle.execute_update(ExperimentWorkflow.resume))
        await asyncio.sleep(0.3)
        stubs.room = True
        await asyncio.gather(pausing, resuming)
        assert stubs.notes[-1] == ("running", "")
        stubs.gate.set()
        assert (await handle.result()).status == "complete"
        assert stubs.notes[-1] == ("running", "")
