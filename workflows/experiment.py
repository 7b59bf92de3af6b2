"""A session's course: preflight, batches in a sliding window, one more pass over what was parked, then the numbers,
the report and the seal.

The workflow holds counts and references only. Pausing takes every slot away from the batches, so that nothing that is
queued can run on; what is in flight finishes and is archived.
"""

from __future__ import annotations

import asyncio
from collections import deque
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import SearchAttributeKey, WorkflowIDReusePolicy
from temporalio.exceptions import ActivityError, ApplicationError, ChildWorkflowError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():  # pydantic models: validated by compiled code the sandbox cannot load
    from activities.border import (
        CALCULATE,
        LATEST_SHOWN,
        NOTE_STATUS,
        PREFLIGHT,
        PROJECT,
        SEAL,
        SYNTHESISE,
        Batch,
        BatchProgress,
        Progress,
        Projected,
        ProjectOrder,
        Resumed,
        Scored,
        SealOutcome,
        SessionStart,
        Slots,
        StatusNote,
        Stopped,
    )
from workflows import policies
from workflows.status import markdown

STATUS = SearchAttributeKey.for_keyword("DiscernusStatus")


@workflow.defn(name="Experiment", failure_exception_types=[Exception])
class ExperimentWorkflow:
    """Carry one session through to its seal, and tell at any time where it stands."""

    @workflow.init
    def __init__(self, start: SessionStart) -> None:
        self._start = start
        self._stage = "preflight"
        self._status = "running"
        self._reason = ""
        self._batches: dict[int, BatchProgress] = {}
        self._running: dict[int, workflow.ChildWorkflowHandle[Any, BatchProgress]] = {}
        self._shares: dict[int, int] = {}  # slots of each batch that runs or is being started; a pause lends them back
        self._latest: deque[Scored] = deque(maxlen=LATEST_SHOWN)
        self._changed = False
        self._analysed = False
        self._broken: set[int] = set()

    @workflow.run
    async def run(self, start: SessionStart) -> SealOutcome:
        self._show()
        await self._step(PREFLIGHT, start.key)
        self._stage = "analysis"
        self._show()
        tables = asyncio.create_task(self._keep_tables())
        await self._run_batches(list(range(self._batch_count())))
        broken, self._broken = sorted(self._broken), set()
        if broken:  # terminated by hand, say; what they did is archived
            await self._run_batches(broken)
        passing = [index for index, batch in sorted(self._batches.items()) if batch.parked_passing]
        if passing:
            await self._run_batches(passing, again=True)
        if self._broken:
            raise ApplicationError(
                f"batches {sorted(self._broken)} were ended from outside, twice; run the session again"
            )
        self._analysed = True
        await tables
        for stage, activity in (("calculation", CALCULATE), ("synthesis", SYNTHESISE)):
            self._stage = stage
            self._show()
            await self._step(activity, start.key)
        await workflow.wait_condition(workflow.all_handlers_finished)
        self._stage = "seal"
        outcome = SealOutcome.model_validate(await self._step(SEAL, start.key, SealOutcome))
        self._stage, self._status = "sealed", outcome.status
        self._upsert_status()
        self._show()
        return outcome

    @workflow.query
    def progress(self) -> Progress:
        """Where the session stands: its stage, its counts, its cost so far and the latest scores."""
        batches = self._batches.values()
        return Progress(
            stage=self._stage,
            status=self._status,
            reason=self._reason,
            planned=self._start.analyses,
            done=sum(batch.done for batch in batches),
            parked=sum(batch.parked for batch in batches),
            in_flight=sum(self._batches[index].in_flight for index in self._running if index in self._batches),
            cost_usd=sum(batch.cost_usd for batch in batches),
            unpriced=sum(batch.unpriced for batch in batches),
            latest=tuple(self._latest),
        )

    @workflow.update
    async def pause(self, reason: str) -> Resumed:
        """Start no further call; calls in flight finish and are kept."""
        await self._pause(reason)
        return Resumed(status=self._status)

    @pause.validator
    def _check_pause(self, reason: str) -> None:
        if self._analysed or self._status not in ("running", "paused"):
            raise ApplicationError("every call of the session has been made: there is nothing to pause")

    @workflow.update
    async def resume(self) -> Resumed:
        """Go on after a pause, whatever it was for."""
        if self._status == "paused":
            self._status, self._reason = "running", ""
            await self._note()  # first: calls that wait to be tried again look there
            await self._tell_shares()
        return Resumed(status=self._status)

    @workflow.signal
    def batch_progress(self, progress: BatchProgress) -> None:
        """A batch tells where it stands."""
        self._take(progress)

    @workflow.signal
    async def stopped(self, stopped: Stopped) -> None:
        """A batch met what only a person can mend: the session pauses and says what."""
        await self._pause(stopped.reason)

    async def _pause(self, reason: str) -> None:
        if self._status == "paused":
            return
        self._status, self._reason = "paused", reason
        await self._tell_shares()
        await self._note()

    async def _run_batches(self, indices: list[int], *, again: bool = False) -> None:
        """Run these batches, a few at a time; each that ends hands its slots to those that remain."""
        waiting = deque(indices)
        ended: list[asyncio.Task[None]] = []
        while waiting or self._running:
            while waiting and len(self._running) < self._window():
                index = waiting.popleft()
                among = min(self._window() - len(self._running), 1 + len(waiting))
                self._shares[index] = -(-self._free_slots() // among)
                await self._start_batch(index, again=again)
                ended.append(asyncio.create_task(self._finish_batch(index)))
            before = len(self._running)
            if self._free_slots():
                await self._grow_shares()
            await self._one_ends(before)
        await asyncio.gather(*ended)

    async def _one_ends(self, before: int) -> None:
        await workflow.wait_condition(lambda: len(self._running) < before)

    async def _start_batch(self, index: int, *, again: bool) -> None:
        start = self._start
        first = index * start.batch_size + 1
        suffix = "-again" if again else ""
        paused = self._status == "paused"
        handle = await workflow.start_child_workflow(
            "Batch",
            Batch(
                start=start,
                index=index,
                first=first,
                last=min(first + start.batch_size - 1, start.analyses),
                slots=0 if paused else self._shares[index],
                again=again,
                report_every=max(
                    1,
                    min(start.batch_size, start.analyses) // policies.REPORTS_PER_BATCH,
                    start.analyses // policies.REPORTS_PER_SESSION,
                ),
            ),
            result_type=BatchProgress,
            id=f"{workflow.info().workflow_id}/batch-{index + 1:03d}{suffix}",
            task_timeout=policies.TASK_TIMEOUT,
            # a reset of this workflow, while it runs, finds its batches still there
            id_reuse_policy=WorkflowIDReusePolicy.TERMINATE_IF_RUNNING,
            static_summary=f"analyses {first}–{min(first + start.batch_size - 1, start.analyses)}",
        )
        self._running[index] = handle
        if paused != (self._status == "paused"):  # it was told so while this batch was not there to hear it
            await self._tell_shares()

    async def _finish_batch(self, index: int) -> None:
        try:
            self._take(await self._running[index])
        except ChildWorkflowError as ended:
            if is_cancelled_exception(ended):
                raise
            self._broken.add(index)
        finally:
            del self._running[index], self._shares[index]

    def _free_slots(self) -> int:
        return self._start.concurrency - sum(self._shares.values())

    async def _grow_shares(self) -> None:
        """Hand what ended batches have left to those that run, the smallest share first; no share ever shrinks."""
        for _ in range(self._free_slots()):
            poorest = min(self._shares, key=lambda index: (self._shares[index], index))
            self._shares[poorest] += 1
        await self._tell_shares()

    async def _tell_shares(self) -> None:
        """Tell each running batch its slots, all at once; in a paused session it has none."""
        paused = self._status == "paused"
        await asyncio.gather(
            *(self._tell(handle, 0 if paused else self._shares[index]) for index, handle in self._running.items())
        )

    async def _tell(self, batch: workflow.ChildWorkflowHandle[Any, BatchProgress], slots: int) -> None:
        try:
            await batch.signal("set_slots", Slots(slots=slots))
        except ApplicationError:  # it ended meanwhile
            return

    async def _keep_tables(self) -> None:
        """Let results.csv grow while analyses arrive: one writer at a time, and never more than a tenth of the time."""
        while not self._analysed:
            await workflow.wait_condition(lambda: self._changed or self._analysed)
            if self._analysed:
                return
            self._changed = False
            try:
                projected = await self._step(PROJECT, ProjectOrder(key=self._start.key), Projected)
            except ActivityError as failed:
                if is_cancelled_exception(failed):
                    raise
                return  # they are written anew, as a whole, once all analyses are done
            pause = max(
                policies.PROJECTION_INTERVAL_S,
                projected.seconds * policies.PROJECTION_SHARE,
                self._start.analyses / policies.PROJECTIONS_PER_SESSION,
            )
            try:
                await workflow.wait_condition(lambda: self._analysed, timeout=timedelta(seconds=pause))
            except TimeoutError:
                continue

    async def _note(self) -> None:
        """Let the Web UI, the list of workflows and the store know the status."""
        self._upsert_status()
        self._show()
        await self._step(NOTE_STATUS, StatusNote(key=self._start.key, status=self._status, reason=self._reason))

    async def _step(self, activity: str, argument: Any, result_type: type | None = None) -> Any:
        return await workflow.execute_activity(
            activity,
            argument,
            result_type=result_type,
            task_queue=self._start.queue,
            activity_id=f"{activity}/{workflow.uuid4().hex[:6]}" if activity in (PROJECT, NOTE_STATUS) else activity,
            start_to_close_timeout=policies.STEP_TIMEOUT,
            heartbeat_timeout=policies.HEARTBEAT_TIMEOUT,
            retry_policy=policies.STEP_RETRY,
        )

    def _take(self, progress: BatchProgress) -> None:
        self._batches[progress.index] = progress
        known = {scored.number for scored in self._latest}
        self._latest.extend(scored for scored in progress.latest if scored.number not in known)
        self._changed = True
        self._show()

    def _batch_count(self) -> int:
        return -(-self._start.analyses // self._start.batch_size)

    def _window(self) -> int:
        return min(policies.BATCHES_AT_ONCE, self._start.concurrency)

    def _upsert_status(self) -> None:
        workflow.upsert_search_attributes([STATUS.value_set(self._status)])

    def _show(self) -> None:
        workflow.set_current_details(markdown(self.progress(), self._start))
