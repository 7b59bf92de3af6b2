"""A batch: a stretch of the plan, each analysis asked for when a slot is free and read as soon as its answer is there.

A batch never fails because of an analysis. What cannot be had is parked by the activity that tried; what stops the
whole session (a missing key, a full disk) goes back to the front of the queue and is reported to the session.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Set
from dataclasses import dataclass
from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():  # pydantic models: validated by compiled code the sandbox cannot load
    from activities.border import (
        ANALYSE,
        EXTRACT,
        EXTRACT_BY_MODEL,
        INTERPRET,
        READ_PLAN,
        Answer,
        Batch,
        BatchProgress,
        CallOrder,
        CallOutcome,
        ExtractOrder,
        ExtractOutcome,
        Extracts,
        Planned,
        PlanPage,
        PlanRequest,
        Scored,
        Short,
        Slots,
        Stopped,
    )
from workflows import policies
from workflows.doors import Doors
from workflows.purse import Purse

LATEST_SENT = 3
UNREADABLE = ExtractOutcome(next="unreadable", scored=0, dimensions=0)


@dataclass(frozen=True, eq=False)
class Waiter:
    """A call that may go to any of these models in turn, those left out that are ``gone``."""

    models: tuple[str, ...]
    worst_usd: float | None
    gone: Set[int] = frozenset()


# Outside the sandbox, which would take a third of this workflow's time to guard a module whose imports a test guards.
@workflow.defn(name="Batch", sandboxed=False, failure_exception_types=[Exception])
class BatchWorkflow:
    """Work through one batch and return where it stands."""

    @workflow.init
    def __init__(self, batch: Batch) -> None:
        self._batch = batch
        self._slots = batch.slots
        self._caps = batch.caps
        self._purse = Purse(batch.allowance_usd)
        self._doors = Doors()
        self._todo: deque[Planned] = deque()
        self._unread: deque[tuple[Answer, asyncio.Future[ExtractOutcome]]] = deque()
        self._unfinished = 0  # analyses taken from the queue and not settled
        self._in_flight = 0  # calls that hold a slot
        self._of_model: Counter[str] = Counter()  # the same by model
        self._turns = 0  # calls that have come back, and words of the session: what may let something start
        self._waiters: list[Waiter] = []  # follow-up calls that wait for a slot; they go before new analyses
        self._planned = 0
        self._done = 0
        self._parked = 0
        self._parked_passing = 0
        self._cost_usd = 0.0
        self._unpriced = 0
        self._latest: deque[Scored] = deque(maxlen=LATEST_SENT)
        self._unreported = 0
        self._broken: BaseException | None = None  # what has kept an analysis from being settled: a bug, say
        self._told_short: tuple[int, float] | None = None  # calls in flight, and what was needed, when told last
        self._told_shut: frozenset[str] = frozenset()  # the models that take no calls, as the session was told

    @workflow.run
    async def run(self, batch: Batch) -> BatchProgress:
        page = await workflow.execute_local_activity(
            READ_PLAN,
            PlanRequest(
                key=batch.start.key,
                first=batch.first,
                last=batch.last,
                again=batch.again,
                priced=batch.start.ledger is not None,
            ),
            result_type=PlanPage,
            start_to_close_timeout=policies.LOCAL_STEP_TIMEOUT,
            retry_policy=policies.STEP_RETRY,
        )
        self._planned = batch.last - batch.first + 1
        self._done, self._parked, self._parked_passing = page.done, page.parked, page.parked_passing
        self._cost_usd, self._unpriced = page.cost_usd, page.unpriced
        self._todo.extend(page.todo)
        self._purse.remember(page.cost_usd)
        reading = asyncio.create_task(self._read_answers())
        while self._todo or self._unfinished:
            await self._until_something_may_start()
            while (place := self._next_start()) is not None:
                analysis = self._todo[place]
                del self._todo[place]
                candidate = self._take(analysis, Waiter(self._models(analysis), analysis.worst_usd))
                self._unfinished += 1
                settling = asyncio.create_task(self._settle(analysis, candidate))
                settling.add_done_callback(self._settled)
        reading.cancel()
        if self._broken is not None:
            raise ApplicationError(f"{type(self._broken).__name__}: {self._broken}"[:500]) from self._broken
        return self._progress()

    @workflow.signal
    def set_slots(self, slots: Slots) -> None:
        """Allow so many calls in flight from now on; none at all is how a pause takes hold."""
        self._turns += 1
        self._slots, self._caps = slots.slots, slots.caps
        self._purse.allowance_usd = slots.allowance_usd
        self._told_short = None

    async def _until_something_may_start(self) -> None:
        """Wait for a slot, for money, or for a model to take calls again."""
        while (self._todo or self._unfinished) and self._next_start() is None:
            turns = self._turns  # before anything is told: what happens meanwhile is not to be missed
            await self._tell_if_short()
            opening = self._doors.next_opening(workflow.time())
            timeout = None if opening is None else timedelta(seconds=opening + policies.DOOR_GRACE_S)
            changed = workflow.wait_condition(
                lambda turns=turns: (  # type: ignore[misc]
                    self._next_start() is not None or not (self._todo or self._unfinished) or self._turns > turns
                ),
                timeout=timeout,
            )
            try:
                await changed
            except TimeoutError:  # a model takes calls again
                continue

    def _next_start(self) -> int | None:
        """Return the place in the queue of the first analysis that may start now, None if none may."""
        if not self._todo or self._in_flight >= self._slots or self._ready():
            return None
        for place, analysis in enumerate(self._todo):
            if not self._purse.affords(analysis.worst_usd):
                continue
            if self._open(self._models(analysis)) is not None:
                return place
        return None

    def _ready(self) -> list[Waiter]:
        """Return the follow-up calls whose model takes calls: those of others hold up nothing."""
        return [waiter for waiter in self._waiters if self._open(waiter.models, waiter.gone) is not None]

    def _models(self, analysis: Planned) -> tuple[str, ...]:
        if self._is_prose(analysis):
            return self._batch.start.synthesis_models
        return (analysis.model, *self._batch.start.fallbacks.get(analysis.model, ()))

    def _is_prose(self, analysis: Planned) -> bool:
        """Return whether it stands behind the plan: prose about the tables, and no analysis."""
        return analysis.number > self._batch.start.analyses

    def _open(self, models: tuple[str, ...], gone: Set[int] = frozenset()) -> int | None:
        """Return the first of the candidates that takes a call now, those that are ``gone`` left out."""
        now = workflow.time()
        for candidate, model in enumerate(models):
            if candidate in gone:
                continue
            if self._doors.is_open(model, now) and self._of_model[model] < self._caps.get(model, self._slots):
                return candidate
            if not self._doors.is_closed(model, now):
                return None  # it is open, and merely busy: no reason for another model
        return None

    def _take(self, analysis: Planned, waiter: Waiter) -> int:
        """Take a slot for the first candidate that is open, and set aside what its call may cost."""
        candidate = self._open(waiter.models, waiter.gone)
        if candidate is None:
            raise RuntimeError(f"no model takes analysis {analysis.number} now")
        self._in_flight += 1
        self._of_model[waiter.models[candidate]] += 1
        self._doors.enter(waiter.models[candidate])
        self._purse.reserve(analysis.number, waiter.worst_usd)
        return candidate

    def _settled(self, task: asyncio.Task[None]) -> None:
        """Take an analysis off our hands. Where our own code broke, the batch fails once the others are done."""
        self._unfinished -= 1
        if not task.cancelled():
            self._broken = task.exception() or self._broken

    async def _settle(self, analysis: Planned, candidate: int) -> None:
        """Have one analysis answered and read; the slot of its first call is held already.

        A candidate that is closed leaves it to the next; where all are, it waits here for the first that opens.
        """
        models = self._models(analysis)
        gone: set[int] = set()  # candidates that have given it up
        ask = 0
        while True:
            order = CallOrder(
                key=self._batch.start.key,
                number=analysis.number,
                ask=ask,
                again=self._batch.again,
                began=self._batch.began,
                fallback=candidate,
            )
            activity = INTERPRET if self._is_prose(analysis) else ANALYSE
            outcome = await self._call(activity, analysis, models[candidate], order)
            if outcome.status == "answered":
                read = await self._read(analysis, order)
                if read is None:
                    gone, ask = set(range(candidate)), ask + 1  # the same one is asked again, while it can be had
                else:
                    await self._put_down(analysis, read)
                    return
            elif outcome.falls_back and len(gone) + 1 < len(models):
                gone.add(candidate)
            elif outcome.status != "closed":
                await self._put_aside(analysis, outcome)
                return
            before = candidate
            candidate = await self._wait_for_slot(analysis, Waiter(models, analysis.worst_usd, gone))
            ask = ask if candidate == before else 0

    async def _read(self, analysis: Planned, asked: CallOrder) -> ExtractOutcome | CallOutcome | None:
        """Read an answer, by a second model where rules cannot; None: it has to be asked for again."""
        final = asked.ask == policies.ASKS - 1
        answer = Answer(number=analysis.number, ask=asked.ask, fallback=asked.fallback, final=final)
        extracted = await self._extract(answer)
        if extracted.next == "second_model" and self._batch.start.extraction_models:
            second = await self._read_by_model(analysis, asked)
            if second.status in ("stop", "held") or (second.status == "parked" and second.passing):
                return second
            extracted = await self._extract(answer.model_copy(update={"final": True}))
        return None if extracted.next == "ask_again" else extracted

    async def _read_by_model(self, analysis: Planned, asked: CallOrder) -> CallOutcome:
        """Have a second model read the answer: the first that takes calls, until one can or all have given it up."""
        models = self._batch.start.extraction_models
        gone: set[int] = set()
        while True:
            reader = await self._wait_for_slot(analysis, Waiter(models, analysis.second_usd, gone))
            order = asked.model_copy(update={"fallback": reader, "source": asked.fallback})
            outcome = await self._call(EXTRACT_BY_MODEL, analysis, models[reader], order)
            if outcome.status == "closed":
                continue
            gone.add(reader)
            if not outcome.falls_back or len(gone) == len(models):
                return outcome

    async def _call(self, activity: str, analysis: Planned, model: str, order: CallOrder) -> CallOutcome:
        """Make one call in the slot that is held, and give the slot back."""
        start = self._batch.start
        source = f"/of-fallback-{order.source}" if order.source else ""
        fallback = f"/fallback-{order.fallback}" if order.fallback else ""
        ask = f"/ask-{order.ask}" if order.ask else ""
        call = f"{activity}/{analysis.label}/{analysis.number:03d}{source}{fallback}{ask}"
        try:
            outcome: CallOutcome = await workflow.execute_activity(
                activity,
                order,
                result_type=CallOutcome,
                task_queue=f"{start.queue}/{model}",
                activity_id=call,
                start_to_close_timeout=timedelta(seconds=start.call_timeout_s + policies.CALL_GRACE_S),
                heartbeat_timeout=policies.HEARTBEAT_TIMEOUT,
                retry_policy=policies.CALL_RETRY,
            )
        except ActivityError as failed:
            if is_cancelled_exception(failed):
                raise
            outcome = CallOutcome(status="parked", reason=str(failed.cause or failed)[:200])
        finally:
            self._in_flight -= 1
            self._turns += 1
            self._of_model[model] -= 1
        cost_usd = outcome.cost_usd or 0.0
        self._purse.settle(
            analysis.number,
            call,
            cost_usd,
            before_usd=outcome.before_usd,
            in_doubt=outcome.in_doubt,
            reused=outcome.reused,
        )
        if not outcome.reused:
            self._cost_usd += cost_usd
            self._unpriced += outcome.status == "answered" and outcome.cost_usd is None
        await self._see_to_door(model, outcome)
        return outcome

    async def _see_to_door(self, model: str, outcome: CallOutcome) -> None:
        """Take note of whether the model takes calls, and let the session know if others do now than before."""
        # what is parked unasked says nothing, but that nothing is sent any more: then none needs to go in alone
        met = outcome.status == "answered" or outcome.cost_usd is not None or outcome.given_up
        if outcome.status == "closed":
            self._doors.close(model, workflow.time(), outcome.wait_s, outcome.reason)
        elif outcome.status in ("answered", "parked") and met and not outcome.reused:
            self._doors.open(model)
        else:
            self._doors.leave(model)
        if self._doors.shut != self._told_shut:
            self._told_shut = self._doors.shut
            await self._session().signal("batch_progress", self._progress())

    async def _extract(self, answer: Answer) -> ExtractOutcome:
        """Hand the answer in to be read, and return what it gave."""
        read: asyncio.Future[ExtractOutcome] = asyncio.Future()
        self._unread.append((answer, read))
        return await read

    async def _read_answers(self) -> None:
        """Read what is there at once: a single answer, or under load all that came in while others were read."""
        while True:
            await workflow.wait_condition(lambda: bool(self._unread))
            group = [self._unread.popleft() for _ in range(min(len(self._unread), policies.READ_AT_ONCE))]
            try:
                extracts: Extracts = await workflow.execute_local_activity(
                    EXTRACT,
                    ExtractOrder(key=self._batch.start.key, answers=tuple(answer for answer, _ in group)),
                    result_type=Extracts,
                    start_to_close_timeout=policies.LOCAL_STEP_TIMEOUT,
                    retry_policy=policies.STEP_RETRY,
                )
            except ActivityError as failed:
                if is_cancelled_exception(failed):
                    raise
                extracts = Extracts(outcomes=(UNREADABLE,) * len(group))
            except Exception as broken:  # noqa: BLE001  our own: for those who wait for it, and the rest is read on
                for _, read in group:
                    read.set_exception(broken)
                continue
            for (_, read), outcome in zip(group, extracts.outcomes, strict=True):
                read.set_result(outcome)

    async def _wait_for_slot(self, analysis: Planned, waiter: Waiter) -> int:
        """Take a slot for a follow-up call once one of its candidates is open, and return which."""
        self._waiters.append(waiter)
        try:
            while not self._may_follow(waiter):  # several waiters may be woken for one slot
                turns = self._turns
                await self._tell_if_short()
                await workflow.wait_condition(lambda turns=turns: self._may_follow(waiter) or self._turns > turns)  # type: ignore[misc]
            return self._take(analysis, waiter)
        finally:
            self._waiters.remove(waiter)

    def _may_follow(self, waiter: Waiter) -> bool:
        return (
            self._in_flight < self._slots
            and self._purse.affords(waiter.worst_usd)
            and self._open(waiter.models, waiter.gone) is not None
        )

    async def _put_down(self, analysis: Planned, read: ExtractOutcome | CallOutcome) -> None:
        """Count an analysis as done, unless there was more to it."""
        if isinstance(read, CallOutcome):
            await self._put_aside(analysis, read)
        elif read.next == "unreadable":
            await self._put_aside(analysis, CallOutcome(status="parked", reason="its answer could not be read"))
        else:
            self._done += 1
            if not self._is_prose(analysis):
                self._latest.append(Scored(number=analysis.number, label=analysis.label[:60], scores=read.scores))
            await self._report()

    async def _put_aside(self, analysis: Planned, outcome: CallOutcome) -> None:
        """Count it as parked; or take it up again later, if it was not the analysis that failed but the session."""
        if outcome.status == "parked":
            self._parked += 1
            self._parked_passing += outcome.passing
            await self._report()
            return
        if outcome.status == "held":  # the store says paused; should we not know of it yet, that is no reason to hurry
            await workflow.sleep(policies.HELD)
        self._todo.appendleft(analysis)
        if outcome.status == "stop" and self._slots:
            self._slots = 0
            await self._session().signal("stopped", Stopped(index=self._batch.index, reason=outcome.reason[:500]))

    async def _tell_if_short(self) -> None:
        """Tell the session that money keeps the next call from being made; again once nothing is in flight."""
        needed = self._needed_usd()
        if not self._slots or needed is None or self._purse.affords(needed):
            return
        if self._told_short is not None:
            in_flight, told_usd = self._told_short
            if self._in_flight or (not in_flight and needed >= told_usd):
                return
        self._told_short = self._in_flight, needed
        left_usd = sum(self._purse.worst_of(analysis.worst_usd) for analysis in self._todo)
        short = Short(
            index=self._batch.index,
            needed_usd=needed,
            wanted_usd=max(needed * 2 * self._slots, left_usd / policies.REPORTS_PER_BATCH),
            in_flight=self._in_flight,
            reserved_usd=self._purse.reserved_usd,
            allowance_usd=self._purse.allowance_usd or 0.0,
            fresh_usd=self._purse.fresh_usd,
            spent_usd=self._purse.spent_usd,
        )
        await self._session().signal("short", short)

    def _needed_usd(self) -> float | None:
        """Return the least that is needed for a call that could be made but for the money; None if there is none."""
        worst = [waiter.worst_usd for waiter in self._ready()]  # they go first
        worst = worst or [one.worst_usd for one in self._todo if self._open(self._models(one)) is not None]
        return min((self._purse.worst_of(usd) for usd in worst), default=None)

    async def _report(self) -> None:
        """Tell the session where this batch stands, a few times in its life rather than for every analysis."""
        self._unreported += 1
        if self._unreported >= self._batch.report_every:
            self._unreported = 0
            await self._session().signal("batch_progress", self._progress())

    def _session(self) -> workflow.ExternalWorkflowHandle[None]:
        parent = workflow.info().parent
        if parent is None:
            raise RuntimeError("a batch is always the child of its session")
        return workflow.get_external_workflow_handle(parent.workflow_id)

    def _progress(self) -> BatchProgress:
        return BatchProgress(
            index=self._batch.index,
            planned=self._planned,
            done=self._done,
            parked=self._parked,
            parked_passing=self._parked_passing,
            in_flight=self._in_flight,
            cost_usd=self._cost_usd,
            unpriced=self._unpriced,
            spent_usd=self._purse.spent_usd,
            fresh_usd=self._purse.fresh_usd,
            waiting=self._doors.waiting(),
            latest=tuple(self._latest),
        )
