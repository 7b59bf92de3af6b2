"""A session's course: preflight, batches in a sliding window, one more pass over what was parked, then the numbers,
the report and the seal.

The workflow holds counts and references only. Pausing takes every slot away from the batches, so that nothing that is
queued can run on; what is in flight finishes and is archived.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import SearchAttributeKey, WorkflowIDReusePolicy
from temporalio.exceptions import ActivityError, ApplicationError, ChildWorkflowError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():  # pydantic models: validated by compiled code the sandbox cannot load
    from activities.border import (
        CALCULATE,
        LATEST_SHOWN,
        NOTE_SHARES,
        NOTE_STATUS,
        PREFLIGHT,
        PROJECT,
        SEAL,
        SYNTHESISE,
        Batch,
        BatchProgress,
        Checked,
        Grant,
        ModelShare,
        Progress,
        Projected,
        ProjectOrder,
        Resumed,
        Scored,
        SealOutcome,
        SessionStart,
        ShareNote,
        Short,
        Slots,
        StatusNote,
        Stopped,
    )
from workflows import neighbours, policies
from workflows.allowance import Allowance
from workflows.status import markdown, out_of_budget

SMALLEST_CLAIM_USD = 1e-6
REPEATED = (PROJECT, NOTE_STATUS, NOTE_SHARES)  # steps that are taken more than once
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
        self._limits: dict[str, ModelShare] = {}  # this session's part of each model's limits
        self._allowance: Allowance | None = None  # where there is a budget to keep
        self._short: dict[int, Short] = {}  # batches that wait for money
        self._out_of_budget = False
        self._agenda: deque[Stopped | ModelShare | Short | Grant] = deque()  # what signals have asked for
        self._releasing: asyncio.Task[None] | None = None
        self._claiming: asyncio.Task[None] | None = None

    @workflow.run
    async def run(self, start: SessionStart) -> SealOutcome:
        self._show()
        checked = Checked.model_validate(await self._step(PREFLIGHT, start.key, Checked))
        if start.ledger is not None:
            self._allowance = Allowance(checked.spent_usd, bounded=start.budgeted)
            await self._claim(SMALLEST_CLAIM_USD)  # so that the ledger knows of us, whatever budget is set later
        attending = asyncio.create_task(self._attend())
        await self._join_models()
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
        await attending
        await neighbours.leave_models(self._start)
        await self._claim(0.0)
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
            waiting="; ".join(self._waits_for()),
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
        await self._go_on()
        await self._claim_for_short()  # what was claimed before may have been lost with its ledger
        return Resumed(status=self._status)

    @workflow.signal
    def batch_progress(self, progress: BatchProgress) -> None:
        """A batch tells where it stands."""
        self._take(progress)

    @workflow.signal
    def stopped(self, stopped: Stopped) -> None:
        """A batch met what only a person can mend: the session pauses and says what."""
        self._agenda.append(stopped)

    @workflow.signal
    def limited(self, share: ModelShare) -> None:
        """A model tells what part of its limits is this session's."""
        self._agenda.append(share)

    @workflow.signal
    def short(self, short: Short) -> None:
        """A batch could go on but for the money."""
        self._agenda.append(short)

    @workflow.signal
    def granted(self, grant: Grant) -> None:
        """The ledger tells how much room there is in the budgets."""
        self._agenda.append(grant)

    async def _attend(self) -> None:
        """Do what batches and neighbours ask for, in order, as long as calls are made.

        Their signals only put it down: what a handler sends by itself, a replay after a reset may find in another
        order.
        """
        while not self._analysed:
            await workflow.wait_condition(lambda: bool(self._agenda) or self._analysed)
            while self._agenda and not self._analysed:
                item = self._agenda.popleft()
                if isinstance(item, Stopped):
                    await self._pause(item.reason)
                elif isinstance(item, ModelShare):
                    await self._take_share(item)
                elif isinstance(item, Short):
                    await self._take_short(item)
                else:
                    await self._take_grant(item)

    async def _take_share(self, share: ModelShare) -> None:
        if self._limits.get(share.model) == share:
            return
        self._limits[share.model] = share
        self._show()
        if self._running:
            await self._tell_shares()
        await self._step(NOTE_SHARES, ShareNote(key=self._start.key, shares=tuple(self._limits.values())))

    async def _take_short(self, short: Short) -> None:
        if self._allowance is None or short.index not in self._running:
            return
        self._allowance.note(short.index, short.fresh_usd, short.spent_usd)
        self._short[short.index] = short
        if not await self._serve_short():
            await self._claim_for_short()

    async def _take_grant(self, grant: Grant) -> None:
        if self._allowance is None:
            return
        await self._bind(bounded=grant.limit_usd is not None)
        self._allowance.grant(grant.spent_usd + grant.room_usd)
        served = await self._serve_short()
        if served and self._out_of_budget:
            await self._go_on()
        needed = self._needed_at_least()
        if needed and not served and grant.final:
            self._out_of_budget = True
            await self._pause(out_of_budget(grant, needed, self._start))

    async def _bind(self, *, bounded: bool) -> None:
        """Take note of whether a budget is in force: one may be set, or taken away, while the session runs."""
        if self._allowance is None or self._allowance.bounded == bounded:
            return
        self._allowance.bounded = bounded
        if bounded:
            self._allowance.revoke()
        else:
            self._short.clear()
        await self._tell_shares()
        if not bounded and self._out_of_budget:
            await self._go_on()

    def _needed_at_least(self) -> float:
        """Return what is needed for any call at all, while nothing moves for want of it; 0 while something does."""
        short = self._short.values()
        if len(self._short) < len(self._running) or any(one.in_flight for one in short):
            return 0.0
        return min((one.needed_usd for one in short), default=0.0)

    async def _claim_for_short(self) -> None:
        """Claim what the batches that wait for money want."""
        if self._allowance is None or not self._short:
            return
        needed = self._needed_at_least()
        await self._claim(
            max(one.wanted_usd for one in self._short.values()),
            least_usd=self._allowance.held_usd + needed if needed else 0.0,
        )

    async def _serve_short(self) -> bool:
        """Give to the batches that wait for money what is free; return whether any got some."""
        if self._allowance is None:
            return False
        got = [
            index
            for index, one in sorted(self._short.items())
            if self._allowance.give(index, one.needed_usd, one.wanted_usd)
        ]
        for index in got:
            del self._short[index]
        if got:
            await self._tell_shares()
        return bool(got)

    async def _claim(self, more_usd: float, *, least_usd: float = 0.0) -> None:
        """Ask the ledger for more room, of no use below ``least_usd``; with 0 give back all there is."""
        if self._allowance is None or self._start.ledger is None:
            return
        heard = await neighbours.claim(
            self._start.ledger,
            spent_usd=self._allowance.spent_usd,
            room_usd=self._allowance.unspent_usd + more_usd if more_usd else 0.0,
            least_usd=least_usd,
        )
        if not heard and self._short:
            self._claiming = asyncio.create_task(self._claim_later())

    async def _claim_later(self) -> None:
        """Claim again once the ledger may be back: without it nothing may be spent."""
        await workflow.sleep(policies.LEDGER_AWAY)
        if not self._analysed:
            await self._claim_for_short()

    async def _join_models(self) -> None:
        """Tell each model that this session is about to call it, and wait a little for its limits."""
        reached = await neighbours.join_models(self._start)
        with suppress(TimeoutError):
            await workflow.wait_condition(
                lambda: all(model in self._limits for model in reached), timeout=policies.JOINED_PATIENCE
            )

    async def _release_room(self) -> None:
        """Leave the room in the budgets to others once every call that was in flight at the pause has ended."""
        await workflow.sleep(timedelta(seconds=self._start.call_timeout_s + policies.CALL_GRACE_S))
        if self._status == "paused" and self._allowance is not None:
            self._allowance.revoke()
            await self._claim(0.0)

    def _waits_for(self) -> list[str]:
        """Return in words what calls wait for, over all batches that run."""
        waits = [self._batches[index].waiting for index in self._running if index in self._batches]
        if self._short:
            waits.append("room in the budget")
        return list(dict.fromkeys(wait for wait in waits if wait))

    async def _go_on(self) -> None:
        if self._status != "paused":
            return
        self._status, self._reason, self._out_of_budget = "running", "", False
        await self._note()  # first: calls that wait to be tried again look there
        await neighbours.join_models(self._start)
        await self._tell_shares()

    async def _pause(self, reason: str) -> None:
        if self._status == "paused":
            return
        self._status, self._reason = "paused", reason
        await self._tell_shares()
        await self._note()
        await neighbours.leave_models(self._start)  # its part of their limits is for others meanwhile
        if self._allowance is not None and not self._out_of_budget:
            self._releasing = asyncio.create_task(self._release_room())

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
        if self._allowance is not None:
            self._allowance.begin(index)
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
                allowance_usd=self._allowance.of(index) if self._allowance is not None else None,
                caps=self._caps(),
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
            self._short.pop(index, None)
            if self._allowance is not None:
                self._allowance.end(index)

    def _caps(self) -> dict[str, int]:
        """Return the most calls that one batch may have in flight by model, where a model's limits say so."""
        batches = max(1, len(self._shares))
        limited = {model: share.in_flight for model, share in self._limits.items() if share.in_flight is not None}
        return {model: max(1, in_flight // batches) for model, in_flight in limited.items()}

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
        await asyncio.gather(*(self._tell(index, handle) for index, handle in self._running.items()))

    async def _tell(self, index: int, batch: workflow.ChildWorkflowHandle[Any, BatchProgress]) -> None:
        slots = Slots(
            slots=0 if self._status == "paused" else self._shares[index],
            allowance_usd=self._allowance.of(index) if self._allowance is not None else None,
            caps=self._caps(),
        )
        try:
            await batch.signal("set_slots", slots)
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
            activity_id=f"{activity}/{workflow.uuid4().hex[:6]}" if activity in REPEATED else activity,
            start_to_close_timeout=policies.STEP_TIMEOUT,
            heartbeat_timeout=policies.HEARTBEAT_TIMEOUT,
            retry_policy=policies.STEP_RETRY,
        )

    def _take(self, progress: BatchProgress) -> None:
        self._batches[progress.index] = progress
        if self._allowance is not None:
            self._allowance.note(progress.index, progress.fresh_usd, progress.spent_usd)
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
