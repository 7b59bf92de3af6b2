"""The activities that call models: an analysis, the reading of an answer by a second model, and prose."""

from __future__ import annotations

from collections.abc import Awaitable
from datetime import timedelta

from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities.border import ANALYSE, EXTRACT_BY_MODEL, INTERPRET, CallOrder, CallOutcome
from activities.workplace import Workplace, beating
from discernus.sessions.calls import Calls
from discernus.stages.analysis import Asked, TryAgain, analyse, extract_by_model
from discernus.stages.interpretation import interpret

LONGEST_REASON = 500  # characters that cross the border; the whole is in the store


class Calling:
    """Activities of a model's queue."""

    def __init__(self, workplace: Workplace, calls: Calls) -> None:
        self._workplace = workplace
        self._calls = calls

    @activity.defn(name=ANALYSE)
    async def analyse(self, order: CallOrder) -> CallOutcome:
        """Have one analysis answered, or say why not."""
        place = self._workplace
        session = place.session(order.key)
        return await _outcome(
            analyse(
                session,
                self._calls,
                place.settings,
                order.number,
                order.ask,
                again=order.again,
                began=order.began,
                fallback=order.fallback,
            )
        )

    @activity.defn(name=EXTRACT_BY_MODEL)
    async def extract_by_model(self, order: CallOrder) -> CallOutcome:
        """Have a second model read an answer that our own reading could not."""
        place = self._workplace
        return await _outcome(
            extract_by_model(
                place.session(order.key),
                self._calls,
                place.settings,
                order.number,
                order.ask,
                again=order.again,
                began=order.began,
                fallback=order.fallback,
                source=order.source,
            )
        )

    @activity.defn(name=INTERPRET)
    async def interpret(self, order: CallOrder) -> CallOutcome:
        """Have a model put the computed tables into words."""
        place = self._workplace
        return await _outcome(
            interpret(
                place.session(order.key),
                self._calls,
                place.settings,
                order.number,
                order.ask,
                again=order.again,
                began=order.began,
                fallback=order.fallback,
            )
        )


async def _outcome(asked: Awaitable[Asked]) -> CallOutcome:
    async with beating():
        try:
            result = await asked
        except TryAgain as passing:
            raise ApplicationError(
                str(passing)[:LONGEST_REASON],
                type=passing.error_class,
                next_retry_delay=timedelta(seconds=passing.delay_s),
            ) from None
    return CallOutcome(
        status=result.status,
        reused=result.reused,
        cost_usd=result.cost_usd,
        before_usd=result.before_usd,
        reason=result.reason[:LONGEST_REASON],
        passing=result.passing,
        falls_back=result.falls_back,
        given_up=result.given_up,
        wait_s=result.wait_s,
        in_doubt=result.in_doubt,
    )
