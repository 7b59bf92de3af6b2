"""A batch: a stretch of the plan, each analysis asked for when a slot is free and read as soon as its answer is there.

A batch never fails because of an analysis. What cannot be had is parked by the activity that tried; what stops the
whole session (a missing key, a full disk) goes back to the front of the queue and is reported to the session.
"""

from __future__ import annotations

import asyncio
from collections import deque
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
        Slots,
        Stopped,
    )
from workflows import policies

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
        self._todo: deque[Planned] = deque()
        self._unread: deque[tuple[Answer, asyncio.Future[ExtractOutcome]]] = deque()
        self._unfinished = 0  # analyses taken from the queue and not settled
        self._in_flight = 0  # calls that hold a slot
        self._waiting = 0  # follow-up calls that wait for a slot; they go before new analyses
        self._planned = 0
        self._done = 0
        self._parked = 0
        self._parked_passing = 0
        self._cost_usd = 0.0
        self._unpriced = 0
        self._latest: deque[Scored] = deque(maxlen=LATEST_SENT)
        self._unreported = 0

    @workflow.run
    async def run(self, batch: Batch) -> BatchProgress:
        page = await workflow.execute_local_activity(
            READ_PLAN,
            PlanRequest(key=batch.start.key, first=batch.first, last=batch.last, again=batch.again),
            result_type=PlanPage,
            start_to_close_timeout=policies.LOCAL_STEP_TIMEOUT,
            retry_policy=policies.STEP_RETRY,
        )
        self._planned = batch.last - batch.first + 1
        self._done, self._parked, self._parked_passing = page.done, page.parked, page.parked_passing
        self._cost_usd, self._unpriced = page.cost_usd, page.unpriced
        self._todo.extend(page.todo)
        reading = asyncio.create_task(self._read_answers())
        while self._todo or self._unfinished:
            await workflow.wait_condition(lambda: self._may_start() or not (self._todo or self._unfinished))
            while self._may_start():
                self._unfinished += 1
                self._in_flight += 1
                workflow_task = asyncio.create_task(self._settle(self._todo.popleft()))
                workflow_task.add_done_callback(self._settled)
        reading.cancel()
        return self._progress()

    @workflow.signal
    def set_slots(self, slots: Slots) -> None:
        """Allow so many calls in flight from now on; none at all is how a pause takes hold."""
        self._slots = slots.slots

    def _may_start(self) -> bool:
        return bool(self._todo) and not self._waiting and self._in_flight < self._slots

    def _settled(self, task: asyncio.Task[None]) -> None:
        self._unfinished -= 1

    async def _settle(self, analysis: Planned) -> None:
        """Ask, read, ask again if need be; the first slot is held already."""
        for ask in range(policies.ASKS):
            outcome = await self._call(ANALYSE, analysis, ask, analysis.model)
            if outcome.status != "answered":
                await self._put_aside(analysis, outcome)
                return
            extracted = await self._extract(analysis, ask, final=ask == policies.ASKS - 1)
            if extracted.next == "second_model" and self._batch.start.extraction_model is not None:
                await self._take_slot()
                second = await self._call(EXTRACT_BY_MODEL, analysis, ask, self._batch.start.extraction_model)
                if second.status in ("stop", "held") or (second.status == "parked" and second.passing):
                    await self._put_aside(analysis, second)
                    return
                extracted = await self._extract(analysis, ask, final=True)
            if extracted.next != "ask_again":
                break
            await self._take_slot()
        if extracted.next == "unreadable":
            await self._put_aside(analysis, CallOutcome(status="parked", reason="its answer could not be read"))
            return
        self._done += 1
        self._latest.append(Scored(number=analysis.number, label=analysis.label[:60], scores=extracted.scores))
        await self._report()

    async def _call(self, activity: str, analysis: Planned, ask: int, model: str) -> CallOutcome:
        """Make one call in the slot that is held, and give the slot back."""
        start = self._batch.start
        suffix = f"/ask-{ask}" if ask else ""
        try:
            outcome: CallOutcome = await workflow.execute_activity(
                activity,
                CallOrder(key=start.key, number=analysis.number, ask=ask, again=self._batch.again),
                result_type=CallOutcome,
                task_queue=f"{start.queue}/{model}",
                activity_id=f"{activity}/{analysis.label}/{analysis.number:03d}{suffix}",
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
        if not outcome.reused and outcome.status == "answered":
            self._cost_usd += outcome.cost_usd or 0.0
            self._unpriced += outcome.cost_usd is None
        return outcome

    async def _extract(self, analysis: Planned, ask: int, *, final: bool) -> ExtractOutcome:
        """Hand the answer in to be read, and return what it gave."""
        read: asyncio.Future[ExtractOutcome] = asyncio.Future()
        self._unread.append((Answer(number=analysis.number, ask=ask, final=final), read))
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

    async def _take_slot(self) -> None:
        self._waiting += 1
        while self._in_flight >= self._slots:  # several waiters may be woken for one slot
            await workflow.wait_condition(lambda: self._in_flight < self._slots)
        self._waiting -= 1
        self._in_flight += 1

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
            latest=tuple(self._latest),
        )
