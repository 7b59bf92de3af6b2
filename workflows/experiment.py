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
from temporalio.exceptions import (
    ActivityError,
    ApplicationError,
    ChildWorkflowError,
    TerminatedError,
    is_cancelled_exception,
)

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
from workflows.funds import Funds
from workflows.status import markdown, out_of_budget

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
        self._analysed = False  # every analysis is there that can be had
        self._called = False  # and so is the prose about them, where the experiment asks for any: no call is to be made
        self._pass_began = 0.0
        self._mended = False  # the session was let go on by a person, who may have mended what analyses were parked for
        self._broken: dict[int, str] = {}  # batches that did not end by themselves, and why
        self._more_to_come = False  # batches that have not been started yet
        self._limits: dict[str, ModelShare] = {}  # this session's part of each model's limits
        self._attending: asyncio.Task[None]
        self._funds = Funds(start, lambda: self._status == "running" and not self._called)
        self._out_of_budget = False  # that is what the session is paused for
        self._told: dict[int, Slots] = {}  # what each batch that runs was told last
        self._noting = asyncio.Lock()
        self._agenda: deque[Stopped | ModelShare | Short | Grant] = deque()  # what signals have asked for

    @workflow.run
    async def run(self, start: SessionStart) -> SealOutcome:
        self._show()
        checked = Checked.model_validate(await self._step(PREFLIGHT, start.key, Checked))
        if self._status != "running":  # paused meanwhile, and preflight may have noted over it that the session runs
            await self._note()
        # what a reset has kept of these speaks of room that may be another's by now, and of batches that are no more
        self._agenda = deque(item for item in self._agenda if not isinstance(item, Grant | Short))
        await self._funds.open(checked.spent_usd)
        self._attending = asyncio.create_task(self._attend())
        await self._join_models()
        self._stage = "analysis"
        self._show()
        tables = asyncio.create_task(self._keep_tables())
        await self._run_batches(list(range(self._batch_count())))
        broken, self._broken = sorted(self._broken), {}
        if broken:  # terminated by hand, say; what they did is archived
            await self._run_batches(broken)
        await self._run_parked()
        if self._broken:
            told = ", ".join(f"batch {index + 1} {why}" for index, why in sorted(self._broken.items()))
            raise ApplicationError(f"{told}, twice; run the session again")
        self._analysed = True
        if not start.synthesis_models:
            await self._end_calls()
        await tables
        await self._take_stage("calculation", CALCULATE)
        if start.synthesis_models:
            await self._interpret()
            await self._end_calls()
        await self._take_stage("synthesis", SYNTHESISE)
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
        plan = [batch for batch in batches if batch.index < self._batch_count()]
        return Progress(
            stage=self._stage,
            status=self._status,
            reason=self._reason,
            planned=self._start.analyses,
            done=sum(batch.done for batch in plan),
            parked=sum(batch.parked for batch in plan),
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
        if self._called or self._status not in ("running", "paused"):
            raise ApplicationError("every call of the session has been made: there is nothing to pause")

    @workflow.update
    async def resume(self) -> Resumed:
        """Go on after a pause, whatever it was for; once every call has been made there is nothing to go on with."""
        if self._called:  # a note of ours might come after the seal's, and speak over it
            return Resumed(status=self._status)
        self._mended = self._mended or self._status == "paused"
        await self._go_on()
        await self._funds.claim()  # what was claimed before may have been given back, or lost with its ledger
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
        while not self._called:
            await workflow.wait_condition(lambda: bool(self._agenda) or self._called)
            while self._agenda and not self._called:
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
        await self._tell_shares()
        await self._step(NOTE_SHARES, ShareNote(key=self._start.key, shares=tuple(self._limits.values())))

    async def _take_short(self, short: Short) -> None:
        # it may be told before we have heard that its batch has started
        if short.index in self._shares and await self._funds.take_short(short):
            await self._tell_shares()

    async def _take_grant(self, grant: Grant) -> None:
        changed = self._funds.take_grant(grant)
        if changed:
            await self._tell_shares()
            if self._out_of_budget:
                await self._go_on()
        stuck = self._funds.stuck()
        if stuck is None or changed or not grant.final or self._status != "running":
            return
        if self._funds.gather(stuck):
            await self._tell_shares()
        elif self._funds.is_latest(grant):
            await self._pause(out_of_budget(grant, stuck.needed_usd, self._start), for_money=True)

    async def _join_models(self) -> None:
        """Tell each model that this session is about to call it, and wait a little for its limits."""
        reached = await neighbours.join_models(self._start)
        with suppress(TimeoutError):
            await workflow.wait_condition(
                lambda: all(model in self._limits for model in reached), timeout=policies.JOINED_PATIENCE
            )

    def _waits_for(self) -> list[str]:
        """Return in words what calls wait for, over all batches that run."""
        waits = [self._batches[index].waiting for index in self._running if index in self._batches]
        if self._funds.wanting:
            waits.append("room in the budget")
        return list(dict.fromkeys(wait for wait in waits if wait))

    async def _go_on(self) -> None:
        paused = self._status == "paused"
        if paused:
            self._status, self._reason, self._out_of_budget = "running", "", False
            self._funds.keep()
        await self._note()  # first: calls that wait to be tried again look there
        if self._status != "running":  # paused again meanwhile
            return
        if paused:
            await neighbours.join_models(self._start)
        await self._tell_shares(anyway=True)

    async def _pause(self, reason: str, *, for_money: bool = False) -> None:
        """Pause; money ends only a pause that was for money, and no other reason stands back behind that one."""
        if self._status == "paused" and (for_money or not self._out_of_budget):
            return
        self._status, self._reason, self._out_of_budget = "paused", reason, for_money
        await self._tell_shares()
        await self._note()
        if self._status != "paused":  # resumed meanwhile
            return
        await neighbours.leave_models(self._start)  # its part of their limits is for others meanwhile
        if not self._out_of_budget:
            self._funds.release_after(self._start.call_timeout_s + policies.CALL_GRACE_S)

    async def _take_stage(self, stage: str, activity: str) -> None:
        self._stage = stage
        self._show()
        await self._step(activity, self._start.key)

    async def _end_calls(self) -> None:
        """Leave to others what calls need: none is made any more."""
        self._called = True
        await self._attending
        await neighbours.leave_models(self._start)
        await self._funds.close()

    async def _interpret(self) -> None:
        """Have the tables put into words, as a batch of one call behind the plan; the report stands without it."""
        self._stage, prose = "interpretation", self._batch_count()
        self._show()
        await self._run_batches([prose])
        if prose in self._batches and self._batches[prose].parked_passing:
            await self._run_batches([prose], again=True)
        self._broken.pop(prose, None)

    async def _run_parked(self) -> None:
        """Run the batches again that have parked something for a passing reason, and those that have parked anything
        where a person has let the session go on since."""
        passing = {index for index, batch in self._batches.items() if batch.parked_passing}
        while self._mended or passing:
            mended, self._mended = self._mended, False
            lacking = {index for index, batch in self._batches.items() if mended and batch.parked}
            await self._run_batches(sorted(passing | lacking), again=True)
            passing = set()

    async def _run_batches(self, indices: list[int], *, again: bool = False) -> None:
        """Run these batches, a few at a time; each that ends hands its slots to those that remain."""
        self._pass_began = workflow.time()
        waiting = deque(indices)
        ended: list[asyncio.Task[None]] = []
        while waiting or self._running:
            while waiting and len(self._shares) < self._window():
                for index in self._allot(waiting):
                    await self._start_batch(index, again=again)
                    ended.append(asyncio.create_task(self._finish_batch(index)))
            before = len(self._running)
            self._grow_shares()
            await self._tell_shares()
            await self._one_ends(before)
        await asyncio.gather(*ended)

    def _allot(self, waiting: deque[int]) -> list[int]:
        """Take off the queue as many batches as may run beside those that do, and share out the free slots."""
        starting = []
        while waiting and len(self._shares) < self._window():
            index = waiting.popleft()
            among = min(self._window() - len(self._shares), 1 + len(waiting))
            self._shares[index] = -(-self._free_slots() // among)
            starting.append(index)
        self._more_to_come = bool(waiting)
        return starting

    async def _one_ends(self, before: int) -> None:
        """Wait until a batch has ended, as long as somebody attends to those that run."""
        await workflow.wait_condition(lambda: len(self._running) < before or self._attending.done())
        if self._attending.done():
            self._attending.result()

    async def _start_batch(self, index: int, *, again: bool) -> None:
        start, is_prose = self._start, index == self._batch_count()
        first = start.analyses + 1 if is_prose else index * start.batch_size + 1
        last = first if is_prose else min(first + start.batch_size - 1, start.analyses)
        name = "interpretation" if is_prose else f"batch-{index + 1:03d}"
        suffix = "-again" if again else ""
        self._funds.begin(index)
        slots = self._told[index] = self._slots_of(index)
        handle = await workflow.start_child_workflow(
            "Batch",
            Batch(
                start=start,
                index=index,
                first=first,
                last=last,
                slots=slots.slots,
                allowance_usd=slots.allowance_usd,
                caps=slots.caps,
                again=again,
                began=self._pass_began,
                report_every=max(
                    1,
                    min(start.batch_size, start.analyses) // policies.REPORTS_PER_BATCH,
                    start.analyses // policies.REPORTS_PER_SESSION,
                ),
            ),
            result_type=BatchProgress,
            id=f"{workflow.info().workflow_id}/{name}{suffix}",
            task_timeout=policies.TASK_TIMEOUT,
            # a reset of this workflow, while it runs, finds its batches still there
            id_reuse_policy=WorkflowIDReusePolicy.TERMINATE_IF_RUNNING,
            static_summary="prose about the tables" if is_prose else f"analyses {first}–{last}",
        )
        self._running[index] = handle
        await self._tell_shares()  # what has changed while this batch was not there to hear it

    async def _finish_batch(self, index: int) -> None:
        try:
            self._take(await self._running[index])
        except ChildWorkflowError as ended:
            if is_cancelled_exception(ended):
                raise
            self._broken[index] = _why(ended)
        finally:
            del self._running[index], self._shares[index], self._told[index]
            self._funds.end(index)

    def _slots_of(self, index: int) -> Slots:
        """Return the calls that a batch may have in flight, by model too where limits say so, and what they may
        cost."""
        # while others are still to start, nobody is lent their part: what is in flight cannot be called back
        among = self._window() if self._more_to_come else len(self._shares)
        limited = {model: share.in_flight for model, share in self._limits.items() if share.in_flight is not None}
        return Slots(
            slots=0 if self._status == "paused" else self._shares[index],
            allowance_usd=self._funds.of(index),
            caps={model: max(1, in_flight // among) for model, in_flight in limited.items()},
        )

    def _free_slots(self) -> int:
        return self._start.concurrency - sum(self._shares.values())

    def _grow_shares(self) -> None:
        """Hand what ended batches have left to those that run, the smallest share first; no share ever shrinks."""
        for _ in range(self._free_slots() if self._shares else 0):
            poorest = min(self._shares, key=lambda index: (self._shares[index], index))
            self._shares[poorest] += 1

    async def _tell_shares(self, *, anyway: bool = False) -> None:
        """Tell each running batch its slots if they have changed, all at once; in a paused session it has none."""
        await asyncio.gather(*(self._tell(index, anyway=anyway) for index in self._running))

    async def _tell(self, index: int, *, anyway: bool) -> None:
        batch = self._running.get(index)
        if batch is None:  # it ended meanwhile
            return
        slots = self._slots_of(index)
        if slots == self._told[index] and not anyway:
            return
        self._told[index] = slots
        with suppress(ApplicationError):  # it ended meanwhile
            await batch.signal("set_slots", slots)

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
        """Let the Web UI, the list of workflows and the store know the status: one note at a time, so that none that
        took long to write overtakes a later one, and each says what holds then."""
        async with self._noting:
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
        self._funds.note(progress)
        known = {scored.number for scored in self._latest}
        self._latest.extend(scored for scored in progress.latest if scored.number not in known)
        self._changed = True
        self._show()

    def _batch_count(self) -> int:
        return -(-self._start.analyses // self._start.batch_size)

    def _window(self) -> int:
        """Return how many batches may run at once: each may make one call to a model at least."""
        limits = [share.in_flight for share in self._limits.values() if share.in_flight is not None]
        return max(1, min([policies.BATCHES_AT_ONCE, self._start.concurrency, *limits]))

    def _upsert_status(self) -> None:
        workflow.upsert_search_attributes([STATUS.value_set(self._status)])

    def _show(self) -> None:
        workflow.set_current_details(markdown(self.progress(), self._start))


def _why(ended: ChildWorkflowError) -> str:
    """Return in words why a batch did not end by itself."""
    if isinstance(ended.cause, TerminatedError):
        return "was ended from outside"
    return f"failed ({ended.cause or ended})"[:300]
