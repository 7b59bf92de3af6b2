"""A session's dealings with its project's ledger: what its batches want, what was claimed and granted, what is left.

Nothing is spent that the ledger has not allowed. Without a budget everything is, and the ledger only keeps count.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta

from temporalio import workflow

with workflow.unsafe.imports_passed_through():  # pydantic models: validated by compiled code the sandbox cannot load
    from activities.border import BatchProgress, Grant, SessionStart, Short
from workflows import neighbours, policies
from workflows.allowance import Allowance
from workflows.purse import ROUNDING_USD

SMALLEST_CLAIM_USD = 1e-6


class Funds:
    """The money of one session, in US dollars; ``calling`` tells whether the session makes calls now."""

    def __init__(self, start: SessionStart, calling: Callable[[], bool]) -> None:
        self._ledger = start.ledger
        self._calling = calling
        self._allowance = Allowance(0.0, bounded=start.budgeted and start.ledger is not None)
        self._short: dict[int, Short] = {}  # batches that wait for money
        self._claiming: asyncio.Task[None] | None = None
        self._releasing: asyncio.Task[None] | None = None

    async def open(self, spent_usd: float) -> None:
        """Begin with what was spent before; the ledger hears of us, whatever budget is set later."""
        self._allowance = Allowance(spent_usd, bounded=self._allowance.bounded)
        await self.claim()

    async def close(self) -> None:
        """Give back everything that was not spent."""
        self._short.clear()
        await self._tell(0.0)

    @property
    def bounded(self) -> bool:
        """Whether a budget is in force."""
        return self._allowance.bounded

    @property
    def wanting(self) -> bool:
        """Whether a batch waits for money."""
        return bool(self._short)

    # batches

    def of(self, index: int) -> float | None:
        """Return what a batch has been given; None where nothing bounds it."""
        return self._allowance.of(index)

    def begin(self, index: int) -> None:
        """A batch starts; it has nothing yet."""
        self._allowance.begin(index)

    def end(self, index: int) -> None:
        """A batch has ended: what it did not spend is free for others."""
        self._short.pop(index, None)
        self._allowance.end(index)

    def note(self, told: BatchProgress | Short) -> None:
        """A batch tells what it has spent."""
        self._allowance.note(told.index, told.fresh_usd, told.spent_usd)

    async def take_short(self, short: Short) -> bool:
        """A batch wants money: return whether there was some for it; else more has been claimed."""
        self.note(short)
        self._allowance.acknowledge(short.index, short.allowance_usd)
        self._short[short.index] = short
        if self._serve():
            return True
        await self.claim()
        return False

    def _serve(self) -> bool:
        """Give to the batches that wait for money what is free; return whether any got some."""
        waiting = sorted(self._short.items())
        got = [
            index
            for index, one in waiting
            if self._allowance.give(index, one.reserved_usd + one.needed_usd, one.wanted_usd)
        ]
        for index in got:
            del self._short[index]
        return bool(got)

    def stuck(self) -> Short | None:
        """Return what the batch wants that lacks least, while nothing moves for want of money; None while something
        does."""
        moving = self._allowance.recalling or any(one.in_flight for one in self._short.values())
        if moving or len(self._short) < self._allowance.batches:
            return None
        return min(self._short.values(), key=self._lacking_usd, default=None)

    def _lacking_usd(self, short: Short) -> float:
        return self._allowance.lacking_usd(short.index, short.needed_usd)

    def gather(self, short: Short) -> bool:
        """Take back for one batch what the others have left; return whether there was any."""
        return bool([index for index in self._short if index != short.index and self._allowance.recall(index)])

    # the ledger

    def is_latest(self, grant: Grant) -> bool:
        """Return whether the ledger knew of all that has been spent by now; else another grant is on its way."""
        return grant.spent_usd + ROUNDING_USD >= self._allowance.spent_usd

    def take_grant(self, grant: Grant) -> bool:
        """The ledger tells what is allowed: return whether that changes what any batch may spend."""
        bounded = grant.limit_usd is not None
        rebound = bounded != self._allowance.bounded
        self._allowance.bounded = bounded
        if rebound and bounded:
            self._allowance.revoke()
        elif rebound:
            self._short.clear()
        self._allowance.grant(grant.spent_usd + grant.room_usd)
        return self._serve() or rebound

    async def claim(self) -> None:
        """Claim what the batches that wait want, or next to nothing: then the ledger knows of us all the same."""
        if not await self._claimed() and (self._claiming is None or self._claiming.done()):
            self._claiming = asyncio.create_task(self._claim_later())

    async def _claimed(self) -> bool:
        """Claim, and return whether the ledger was there to hear it."""
        stuck = self.stuck()
        return await self._tell(
            max((one.wanted_usd for one in self._short.values()), default=SMALLEST_CLAIM_USD),
            least_usd=self._allowance.held_usd + self._lacking_usd(stuck) if stuck else 0.0,
        )

    async def _claim_later(self) -> None:
        """Claim again once the ledger may be back, less and less often: without it nothing may be spent."""
        pause = policies.LEDGER_AWAY
        while self._calling() and self._short:
            await workflow.sleep(pause)
            if not self._calling() or await self._claimed():
                return
            pause = min(2 * pause, policies.LEDGER_AWAY_LONGEST)

    async def _tell(self, more_usd: float, *, least_usd: float = 0.0) -> bool:
        """Ask for so much more than is left; with 0 give back all there is. Return whether the ledger heard it."""
        if self._ledger is None:
            return True
        return await neighbours.claim(
            self._ledger,
            spent_usd=self._allowance.spent_usd,
            room_usd=self._allowance.unspent_usd + more_usd if more_usd else 0.0,
            least_usd=least_usd,
        )

    # pauses

    def release_after(self, seconds: float) -> None:
        """Leave the room in the budgets to others in so many seconds: every call that is in flight has ended then."""
        self.keep()
        self._releasing = asyncio.create_task(self._release(seconds))

    def keep(self) -> None:
        """The pause is over: what has not been left to others is kept."""
        if self._releasing is not None:
            self._releasing.cancel()

    async def _release(self, seconds: float) -> None:
        await workflow.sleep(timedelta(seconds=seconds))
        self._allowance.revoke()
        await self._tell(0.0)
