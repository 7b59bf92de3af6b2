"""Batches whose own work breaks, and words that come too late: nothing of a plan is lost without being said."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest
from temporalio import activity
from temporalio.client import Client, WorkflowFailureError
from temporalio.exceptions import ApplicationError

from activities.border import (
    READ_PLAN,
    SEAL,
    Answer,
    CallOrder,
    CallOutcome,
    ExtractOutcome,
    Planned,
    PlanPage,
    PlanRequest,
    SealOutcome,
    SessionKey,
)
from tests.batch_clock import DONE, BatchClock, answered
from tests.stub_steps import Stubs, session, until
from workflows.experiment import ExperimentWorkflow


def planned(count: int) -> list[Planned]:
    return [Planned(number=number, model="openai/scribe", label="x", worst_usd=0.0) for number in range(1, count + 1)]


async def test_an_analysis_whose_outcome_cannot_be_understood_is_not_dropped_without_a_word() -> None:
    def second_breaks(order: CallOrder) -> CallOutcome:
        if order.number == 2:
            raise ValueError("extra fields not permitted")  # what another version of us has sent, say
        return answered()

    clock = BatchClock(planned(4), slots=2, analyse=second_breaks)
    with pytest.raises(ApplicationError, match="extra fields"):
        await clock.run()
    assert clock.asked() == [(1, 0), (2, 0), (3, 0), (4, 0)], "the others are done first"


async def test_a_reading_that_cannot_be_understood_holds_up_no_batch_for_ever() -> None:
    def second_breaks(answer: Answer) -> ExtractOutcome:
        if answer.number == 2:
            raise ValueError("extra fields not permitted")
        return DONE

    clock = BatchClock(planned(4), slots=1, extract=second_breaks)
    with pytest.raises(ApplicationError, match="extra fields"):
        await clock.run()
    assert len(clock.asked()) == 4


class NoPlan(Stubs):
    @activity.defn(name=READ_PLAN)
    async def read_plan(self, request: PlanRequest) -> PlanPage:
        raise ApplicationError("no such field", type="ValidationError", non_retryable=True)


async def test_a_batch_that_fails_by_itself_is_not_said_to_have_been_ended_from_outside(client: Client) -> None:
    async with session(client, NoPlan(), analyses=2) as handle:
        with pytest.raises(WorkflowFailureError) as ended:
            await handle.result()
    assert "outside" not in str(ended.value.cause)
    assert "no such field" in str(ended.value.cause)


@dataclass
class SlowSeal(Stubs):
    sealing: asyncio.Event = field(default_factory=asyncio.Event)

    @activity.defn(name=SEAL)
    async def seal(self, key: SessionKey) -> SealOutcome:
        outcome = await super().seal(key)
        await self.sealing.wait()
        return outcome


async def test_a_resumption_that_comes_while_the_session_is_sealed_does_not_speak_over_the_seal(client: Client) -> None:
    stubs = SlowSeal()
    async with session(client, stubs, analyses=2) as handle:
        await until(lambda: "seal" in stubs.events, "the seal is being made")
        try:
            await handle.execute_update(ExperimentWorkflow.resume)
            noted = list(stubs.notes)
        finally:
            stubs.sealing.set()
        await handle.result()
    assert noted == [], "the store says how the session ended, and nothing else after that"
