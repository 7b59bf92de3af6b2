"""A batch alone, on a clock of its own: an hour passes in a moment, and there is no server.

Its calls are what the test makes of them. A batch that goes round in circles, or that nothing will ever wake again, is
an AssertionError that says so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from types import SimpleNamespace
from typing import Any
from unittest import mock

from activities.border import (
    ANALYSE,
    READ_PLAN,
    Answer,
    Batch,
    BatchProgress,
    CallOrder,
    CallOutcome,
    ExtractOutcome,
    Extracts,
    Planned,
    PlanPage,
    SessionKey,
    SessionStart,
    Short,
    Slots,
)
from workflows import batch as batch_module
from workflows.allowance import Allowance
from workflows.batch import BatchWorkflow

MOST_STEPS = 1000  # calls, readings and signals: far more than any test needs
TURNS = 60  # of the event loop, until nothing more happens at one moment
CALL_S = 1.0
SIGNAL_S = 0.01
DONE = ExtractOutcome(next="done", scored=1, dimensions=1)
SECOND_MODEL = ExtractOutcome(next="second_model", scored=0, dimensions=1)
ASK_AGAIN = ExtractOutcome(next="ask_again", scored=0, dimensions=1)


@dataclass(frozen=True)
class Made:
    """A call that the batch made, and when, in seconds."""

    at: float
    activity: str
    order: CallOrder


def answered(cost_usd: float = 0.01) -> CallOutcome:
    return CallOutcome(status="answered", cost_usd=cost_usd)


@dataclass
class BatchClock:
    """One batch with what its calls come to: ``analyse`` and ``second`` answer calls, ``extract`` reads the answers.

    With ``allowed_usd`` the session that it is told of gives it so much in all, a moment after it was asked.
    """

    todo: Sequence[Planned]
    analyse: Callable[[CallOrder], CallOutcome] = lambda order: answered()
    second: Callable[[CallOrder], CallOutcome] = lambda order: answered()
    extract: Callable[[Answer], ExtractOutcome] = lambda answer: DONE
    slots: int = 1
    allowed_usd: float | None = None
    given_usd: float = 0.0
    readers: tuple[str, ...] = ()
    fallbacks: dict[str, tuple[str, ...]] = field(default_factory=dict)
    lasting: dict[int, float] = field(default_factory=dict)  # seconds that an analysis's calls take, CALL_S unless told
    now: float = 0.0
    made: list[Made] = field(default_factory=list)
    signals: list[tuple[str, Any]] = field(default_factory=list)
    steps: int = 0

    def __post_init__(self) -> None:
        self._conditions: list[tuple[Callable[[], bool], asyncio.Future[bool]]] = []
        self._timers: list[tuple[float, asyncio.Future[bool]]] = []
        self._allowance = Allowance(0.0, bounded=self.allowed_usd is not None)
        self._allowance.begin(0)
        self._allowance.grant(self.allowed_usd or 0.0)
        if self.given_usd:
            self._allowance.give(0, self.given_usd, self.given_usd)
        start = SessionStart(
            key=SessionKey(project="p", experiment="e", session="s"),
            queue="q",
            analyses=len(self.todo),
            batch_size=150,
            concurrency=self.slots,
            call_timeout_s=60.0,
            models=tuple(dict.fromkeys(one.model for one in self.todo)),
            extraction_models=self.readers,
            fallbacks=self.fallbacks,
        )
        self.batch = Batch(
            start=start, index=0, first=1, last=len(self.todo), slots=self.slots, allowance_usd=self._allowance.of(0)
        )
        self.workflow = BatchWorkflow(self.batch)

    def asked(self, activity: str = ANALYSE) -> list[tuple[int, int]]:
        """Return the calls of a kind, in order: which analysis, and which candidate."""
        return [(made.order.number, made.order.fallback) for made in self.made if made.activity == activity]

    def told(self, name: str) -> list[Any]:
        """Return what the session was told by signals of that name."""
        return [what for told, what in self.signals if told == name]

    async def run(self, until_s: float = 100_000.0) -> BatchProgress | None:
        """Run the batch to its end, or until so many seconds have passed: then return None."""
        names = ("time", "sleep", "wait_condition", "execute_local_activity", "execute_activity", "info")
        engine = SimpleNamespace(
            **{name: getattr(self, f"_{name}") for name in names},
            get_external_workflow_handle=lambda _: SimpleNamespace(signal=self._signal),
        )
        with mock.patch.object(batch_module, "workflow", engine):
            task = asyncio.create_task(self.workflow.run(self.batch))
            try:
                while not task.done() and await self._moment(task, until_s):
                    pass
                return task.result() if task.done() else None
            finally:
                for other in asyncio.all_tasks() - {asyncio.current_task()}:
                    other.cancel()

    async def _moment(self, task: asyncio.Task[BatchProgress], until_s: float) -> bool:
        """Let happen what happens now, then go on to the next timer; return whether that is before the end."""
        for _ in range(TURNS):
            await asyncio.sleep(0)
            for one in list(self._conditions):
                holds, future = one
                if not future.done() and holds():
                    future.set_result(True)
                    self._conditions.remove(one)
        assert self.steps < MOST_STEPS, f"the batch goes round in circles: {self.made[-3:]} {self.signals[-3:]}"
        if task.done():
            return False
        assert self._timers, f"nothing will ever wake the batch: {self.made[-3:]} {self.signals[-3:]}"
        self._timers.sort(key=lambda timer: timer[0])
        at, future = self._timers.pop(0)
        if at > until_s:
            return False
        self.now = max(self.now, at)
        if not future.done():
            future.set_result(False)
        return True

    # the engine's library, as far as a batch uses it

    def _time(self) -> float:
        return self.now

    def _info(self) -> Any:
        return SimpleNamespace(parent=SimpleNamespace(workflow_id="session"))

    async def _sleep(self, seconds: float | timedelta) -> None:
        seconds = seconds.total_seconds() if isinstance(seconds, timedelta) else seconds
        rung: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._timers.append((self.now + seconds, rung))
        await rung

    async def _wait_condition(self, holds: Callable[[], bool], timeout: timedelta | None = None) -> None:  # noqa: ASYNC109
        came: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._conditions.append((holds, came))
        if timeout is not None:
            self._timers.append((self.now + timeout.total_seconds(), came))
        in_time = await came
        self._conditions = [one for one in self._conditions if one[1] is not came]
        self._timers = [timer for timer in self._timers if timer[1] is not came]
        if not in_time:
            raise TimeoutError

    async def _execute_local_activity(self, name: str, order: Any, **_: Any) -> Any:
        await asyncio.sleep(0)
        if name == READ_PLAN:
            return PlanPage(todo=tuple(self.todo), done=0, parked=0, parked_passing=0, cost_usd=0.0, unpriced=0)
        self.steps += 1
        return Extracts(outcomes=tuple(self.extract(answer) for answer in order.answers))

    async def _execute_activity(self, name: str, order: CallOrder, **_: Any) -> CallOutcome:
        self.steps += 1
        self.made.append(Made(self.now, name, order))
        outcome = (self.analyse if name == ANALYSE else self.second)(order)
        await self._sleep(self.lasting.get(order.number, CALL_S))
        return outcome

    async def _signal(self, name: str, what: Any) -> None:
        self.steps += 1
        self.signals.append((name, what))
        await self._sleep(SIGNAL_S)
        if self._allowance.bounded and isinstance(what, Short):
            asyncio.get_running_loop().create_task(self._give(what))

    async def _give(self, short: Short) -> None:
        await self._sleep(0.02)
        self._allowance.note(0, short.fresh_usd, short.spent_usd)
        if self._allowance.give(0, short.reserved_usd + short.needed_usd, short.wanted_usd):
            self.workflow.set_slots(Slots(slots=self.slots, allowance_usd=self._allowance.of(0)))
