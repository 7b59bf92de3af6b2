"""A batch: a stretch of the plan, each analysis asked for when a slot is free and read as soon as its answer is there.

A batch never fails because of an analysis. What cannot be had is parked by the activity that tried; what stops the
whole session (a missing key, a full disk) goes back to the front of the queue and is reported to the session.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import ActivityError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():  # pydantic models: validated by compiled code the sandbox cannot load
    from activities.border import (
        ANALYSE,
        EXTRACT,
        EXTRACT_BY_MODEL,
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
        self._waiting = 0  # follow-up calls that wait for a slot; they go before new analyses
        self._planned = 0
        self._done = 0
        self._parked = 0
        self._parked_passing = 0
        self._cost_usd = 0.0
        self._unpriced = 0
        self._latest: deque[Scored] = deque(maxlen=LATEST_SENT)
        self._unreported = 0
        self._wanted: list[float] = []  # what follow-up calls that wait may cost at worst
        self._told_short: int | None = None  # with how many calls in flight the session was last told

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
                candidate = self._take(analysis, self._models(analysis), analysis.worst_usd)
                self._unfinished += 1
                settling = asyncio.create_task(self._settle(analysis, candidate))
                settling.add_done_callback(self._settled)
        reading.cancel()
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
            await self._tell_if_short()
            opening = self._doors.next_opening(workflow.time())
            timeout = None if opening is None else timedelta(seconds=opening + policies.DOOR_GRACE_S)
            turns = self._turns
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
        if not self._todo or self._waiting or self._in_flight >= self._slots:
            return None
        for place, analysis in enumerate(self._todo):
            if not self._purse.affords(analysis.worst_usd):
                continue
            if self._open(self._models(analysis)) is not None:
                return place
        return None

    def _models(self, analysis: Planned) -> tuple[str, ...]:
        return (analysis.model, *self._batch.start.fallbacks.get(analysis.model, ()))

    def _open(self, models: tuple[str, ...], first: int = 0) -> int | None:
        """Return the first of the candidates, from ``first`` on, that takes a call now."""
        now = workflow.time()
        for candidate in range(first, len(models)):
            model = models[candidate]
            if self._doors.is_open(model, now) and self._of_model[model] < self._caps.get(model, self._slots):
                return candidate
            if not self._doors.is_closed(model, now):
                return None  # it is open, and merely busy: no reason for another model
        return None

    def _take(self, analysis: Planned, models: tuple[str, ...], worst_usd: float, first: int = 0) -> int:
        """Take a slot for the first candidate that is open, and set aside what its call may cost."""
        candidate = self._open(models, first)
        if candidate is None:
            raise RuntimeError(f"no model takes analysis {analysis.number} now")
        self._in_flight += 1
        self._of_model[models[candidate]] += 1
        self._doors.enter(models[candidate])
        self._purse.reserve(worst_usd)
        return candidate

    def _settled(self, task: asyncio.Task[None]) -> None:
        self._unfinished -= 1

    async def _settle(self, analysis: Planned, candidate: int) -> None:
        """Have one analysis answered and read; the slot of its first call is held already."""
        models = self._models(analysis)
        while True:
            outcome = await self._ask_and_read(analysis, candidate)
            if outcome is None:
                return
            if not (outcome.falls_back or outcome.status == "closed") or candidate + 1 >= len(models):
                await self._put_aside(analysis, outcome)
                return
            following = await self._wait_for_slot(analysis, models, analysis.worst_usd, candidate + 1)
            if following is None:
                await self._put_aside(analysis, CallOutcome(status="closed"))
                return
            candidate = following

    async def _ask_and_read(self, analysis: Planned, candidate: int) -> CallOutcome | None:
        """Ask one candidate, read, ask again if need be; return None once it is done, else what was not had."""
        models = self._models(analysis)
        for ask in range(policies.ASKS):
            order = CallOrder(
                key=self._batch.start.key, number=analysis.number, ask=ask, again=self._batch.again, fallback=candidate
            )
            outcome = await self._call(ANALYSE, analysis, models[candidate], order, analysis.worst_usd)
            if outcome.status != "answered":
                return outcome
            answer = Answer(number=analysis.number, ask=ask, fallback=candidate, final=ask == policies.ASKS - 1)
            extracted = await self._extract(answer)
            if extracted.next == "second_model" and self._batch.start.extraction_models:
                second = await self._read_by_model(analysis, order)
                if second.status in ("stop", "held", "closed") or (second.status == "parked" and second.passing):
                    return second.model_copy(update={"falls_back": False})
                extracted = await self._extract(answer.model_copy(update={"final": True}))
            if extracted.next != "ask_again":
                break
            if await self._wait_for_slot(analysis, (models[candidate],), analysis.worst_usd) is None:
                return CallOutcome(status="closed")
        if extracted.next == "unreadable":
            return CallOutcome(status="parked", reason="its answer could not be read")
        self._done += 1
        self._latest.append(Scored(number=analysis.number, label=analysis.label[:60], scores=extracted.scores))
        await self._report()
        return None

    async def _read_by_model(self, analysis: Planned, asked: CallOrder) -> CallOutcome:
        """Have a second model read the answer: the first of the list that can be had."""
        models = self._batch.start.extraction_models
        outcome = CallOutcome(status="closed")
        first = 0
        while first < len(models):
            reader = await self._wait_for_slot(analysis, models, analysis.second_usd, first)
            if reader is None:
                return outcome
            order = asked.model_copy(update={"fallback": reader, "source": asked.fallback})
            outcome = await self._call(EXTRACT_BY_MODEL, analysis, models[reader], order, analysis.second_usd)
            if not (outcome.falls_back or outcome.status == "closed"):
                return outcome
            first = reader + 1
        return outcome

    async def _call(
        self, activity: str, analysis: Planned, model: str, order: CallOrder, worst_usd: float
    ) -> CallOutcome:
        """Make one call in the slot that is held, and give the slot back."""
        start = self._batch.start
        source = f"/of-fallback-{order.source}" if order.source else ""
        fallback = f"/fallback-{order.fallback}" if order.fallback else ""
        ask = f"/ask-{order.ask}" if order.ask else ""
        try:
            outcome: CallOutcome = await workflow.execute_activity(
                activity,
                order,
                result_type=CallOutcome,
                task_queue=f"{start.queue}/{model}",
                activity_id=f"{activity}/{analysis.label}/{analysis.number:03d}{source}{fallback}{ask}",
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
        cost_usd = (outcome.cost_usd or 0.0) + outcome.in_doubt * worst_usd
        self._purse.settle(worst_usd, cost_usd, reused=outcome.reused)
        if outcome.status == "closed":
            self._doors.close(model, workflow.time() + outcome.wait_s, outcome.reason)
        elif outcome.status == "held":
            self._doors.leave(model)
        else:
            self._doors.open(model)
        if not outcome.reused:
            self._cost_usd += outcome.cost_usd or 0.0
            self._unpriced += outcome.status == "answered" and outcome.cost_usd is None
        return outcome

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
            for (_, read), outcome in zip(group, extracts.outcomes, strict=True):
                read.set_result(outcome)

    async def _wait_for_slot(
        self, analysis: Planned, models: tuple[str, ...], worst_usd: float, first: int = 0
    ) -> int | None:
        """Take a slot for a follow-up call and return its candidate; None where every one of them is closed."""
        self._waiting += 1
        self._wanted.append(worst_usd)
        try:
            while True:  # several waiters may be woken for one slot
                if all(self._doors.is_closed(model, workflow.time()) for model in models[first:]):
                    return None
                if self._may_follow(models, worst_usd, first):
                    return self._take(analysis, models, worst_usd, first)
                await self._tell_if_short()
                turns = self._turns
                await workflow.wait_condition(
                    lambda turns=turns: self._may_follow(models, worst_usd, first) or self._turns > turns  # type: ignore[misc]
                )
        finally:
            self._waiting -= 1
            self._wanted.remove(worst_usd)

    def _may_follow(self, models: tuple[str, ...], worst_usd: float, first: int) -> bool:
        return (
            self._in_flight < self._slots and self._purse.affords(worst_usd) and self._open(models, first) is not None
        )

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
        needed = min([*self._wanted, *(analysis.worst_usd for analysis in self._todo)], default=0.0)
        told = self._told_short is not None and (self._told_short == 0 or self._in_flight > 0)
        if told or not self._slots or self._purse.affords(needed):
            return
        self._told_short = self._in_flight
        short = Short(
            index=self._batch.index,
            needed_usd=needed,
            wanted_usd=needed * 2 * self._slots,
            in_flight=self._in_flight,
            fresh_usd=self._purse.fresh_usd,
            spent_usd=self._purse.spent_usd,
        )
        await self._session().signal("short", short)

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
            waiting=self._doors.waiting(workflow.time()),
            latest=tuple(self._latest),
        )
