"""Steps and calls that only pretend, under the border's names: workflows run on them at full speed and cost nothing.

They keep what a store would keep (what was answered, read and parked), so that a batch that runs again finds it.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from temporalio import activity
from temporalio.client import Client, WorkflowHandle
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from activities.border import (
    ANALYSE,
    CALCULATE,
    EXTRACT,
    EXTRACT_BY_MODEL,
    INTERPRET,
    NOTE_SHARES,
    NOTE_STATUS,
    PREFLIGHT,
    PROJECT,
    READ_PLAN,
    SEAL,
    SYNTHESISE,
    CallOrder,
    CallOutcome,
    Checked,
    ExtractOrder,
    ExtractOutcome,
    Extracts,
    Planned,
    PlanPage,
    PlanRequest,
    Projected,
    ProjectOrder,
    SealOutcome,
    SessionKey,
    SessionStart,
    ShareNote,
    StatusNote,
)
from engine.workers import queue_of_model
from workflows import WORKFLOWS
from workflows.experiment import ExperimentWorkflow

MODEL, READER, SECOND, WRITER = "openai/scribe", "openai/reader", "openai/second", "openai/writer"
DIMENSIONS = 10
COST_USD = 0.01
NAMES = (f"session_{number:03d}" for number in itertools.count(1))
MOST_CALLS = 200  # at once in a worker; far more than any test's slots, so that only the workflow limits them


@dataclass
class Stubs:
    """What the steps pretend, and what they saw.

    ``outcomes`` are those of an analysis's next calls, ``readings`` what its next readings say comes next; without any,
    a call is answered and a reading is the last. While ``gate`` is unset, calls that were started do not end.
    """

    latency_s: float = 0.0
    label: str = "address-{number:05d}/scribe/run-1"
    outcomes: dict[int, list[CallOutcome]] = field(default_factory=dict)
    second_outcomes: dict[int, list[CallOutcome]] = field(default_factory=dict)
    readings: dict[int, list[str]] = field(default_factory=dict)
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    ready: asyncio.Event = field(default_factory=asyncio.Event)  # while unset, preflight does not end
    hold_at: tuple[int, ...] = ()  # the ordinals of calls that unset the gate, so that a test can catch up with them
    calls: list[tuple[str, CallOrder]] = field(default_factory=list)
    events: list[str] = field(default_factory=list)
    notes: list[tuple[str, str]] = field(default_factory=list)
    running: int = 0
    most: int = 0
    done: set[int] = field(default_factory=set)
    parked: dict[int, tuple[bool, int]] = field(default_factory=dict)  # passing or not, and after which pass
    analyses: int = 0
    worst_usd: float = 0.0  # what a call may cost at worst
    shares: list[ShareNote] = field(default_factory=list)
    is_written: bool = False  # the prose about the tables

    def __post_init__(self) -> None:
        self.gate.set()
        self.ready.set()

    def asked(self, number: int) -> list[CallOrder]:
        """Return the analysis's calls, in order."""
        return [order for name, order in self.calls if order.number == number and name == ANALYSE]

    @activity.defn(name=PREFLIGHT)
    async def preflight(self, key: SessionKey) -> Checked:
        await self.ready.wait()
        return Checked(spent_usd=COST_USD * len(self.done))

    @activity.defn(name=READ_PLAN)
    async def read_plan(self, request: PlanRequest) -> PlanPage:
        if request.first > self.analyses:
            return self._prose_left()
        numbers = range(request.first, request.last + 1)
        held = {
            n: parked
            for n, parked in self.parked.items()
            if n in numbers and not (request.again and parked == (True, 1))
        }
        done = [number for number in numbers if number in self.done]
        todo = tuple(
            Planned(number=number, model=MODEL, label=self.label.format(number=number), worst_usd=self.worst_usd)
            for number in numbers
            if number not in self.done and number not in held
        )
        passing = sum(parked == (True, 1) for parked in held.values())
        return PlanPage(
            todo=todo,
            done=len(done),
            parked=len(held),
            parked_passing=passing,
            cost_usd=COST_USD * len(done),
            unpriced=0,
        )

    def _prose_left(self) -> PlanPage:
        """Return the one call behind the plan."""
        number = self.analyses + 1
        todo = (Planned(number=number, model=WRITER, label="tables", worst_usd=self.worst_usd),)
        left = () if self.is_written else todo
        return PlanPage(todo=left, done=1 - len(left), parked=0, parked_passing=0, cost_usd=0.0, unpriced=0)

    @activity.defn(name=ANALYSE)
    async def analyse(self, order: CallOrder) -> CallOutcome:
        outcome = await self._call(ANALYSE, order, self.outcomes)
        if outcome.status == "parked":
            self.parked[order.number] = (outcome.passing, 2 if order.again else 1)
        elif outcome.status == "answered":
            self.parked.pop(order.number, None)
        return outcome

    @activity.defn(name=EXTRACT_BY_MODEL)
    async def extract_by_model(self, order: CallOrder) -> CallOutcome:
        return await self._call(EXTRACT_BY_MODEL, order, self.second_outcomes)

    @activity.defn(name=INTERPRET)
    async def interpret(self, order: CallOrder) -> CallOutcome:
        return await self._call(INTERPRET, order, self.outcomes)

    async def _call(self, name: str, order: CallOrder, outcomes: dict[int, list[CallOutcome]]) -> CallOutcome:
        self.calls.append((name, order))
        self.events.append(f"asked {order.number}")
        if len(self.calls) in self.hold_at:
            self.gate.clear()
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await asyncio.sleep(self.latency_s)
            await self.gate.wait()
        finally:
            self.running -= 1
        told = outcomes.get(order.number)
        outcome = told.pop(0) if told else CallOutcome(status="answered", cost_usd=COST_USD)
        self.events.append(f"{outcome.status} {order.number}")
        return outcome

    @activity.defn(name=EXTRACT)
    async def extract(self, order: ExtractOrder) -> Extracts:
        return Extracts(outcomes=tuple(self._read(answer.number, final=answer.final) for answer in order.answers))

    def _read(self, number: int, *, final: bool) -> ExtractOutcome:
        told = self.readings.get(number)
        next_: Any = told.pop(0) if told and not final else "done"
        if number > self.analyses:
            self.is_written = next_ == "done"
        elif next_ == "done":
            self.done.add(number)
        self.events.append(f"read {number}")
        scores = tuple(((number * 7 + place * 13) % 97) / 97 for place in range(DIMENSIONS))
        return ExtractOutcome(next=next_, scored=DIMENSIONS, dimensions=DIMENSIONS, scores=scores)

    @activity.defn(name=PROJECT)
    async def project(self, order: ProjectOrder) -> Projected:
        self.events.append("project")
        return Projected(rows=len(self.done), seconds=0.0)

    @activity.defn(name=CALCULATE)
    async def calculate(self, key: SessionKey) -> None:
        self.events.append("calculate")

    @activity.defn(name=SYNTHESISE)
    async def synthesise(self, key: SessionKey) -> None:
        self.events.append("synthesise")

    @activity.defn(name=SEAL)
    async def seal(self, key: SessionKey) -> SealOutcome:
        self.events.append("seal")
        missing = self.analyses - len(self.done)
        return SealOutcome(
            status="partial" if missing else "complete",
            version=1,
            root_sha256="0" * 64,
            scored=len(self.done),
            parked=missing,
            in_doubt=0,
            cost_usd=COST_USD * len(self.done),
            unpriced=0,
        )

    @activity.defn(name=NOTE_STATUS)
    async def note_status(self, note: StatusNote) -> None:
        self.notes.append((note.status, note.reason))

    @activity.defn(name=NOTE_SHARES)
    async def note_shares(self, note: ShareNote) -> None:
        self.shares.append(note)


Handle = WorkflowHandle[ExperimentWorkflow, SealOutcome]


@asynccontextmanager
async def serving(
    client: Client, queue: str, stubs: Stubs, session_workflow: type[ExperimentWorkflow] = ExperimentWorkflow
) -> AsyncIterator[None]:
    """Serve a session's queue, and its models' queues, with these stubs; a test may bring a session of its own."""
    workflows = [session_workflow, *(known for known in WORKFLOWS if known is not ExperimentWorkflow)]
    own = {} if session_workflow is ExperimentWorkflow else {"workflow_runner": UnsandboxedWorkflowRunner()}
    steps = [
        *(stubs.preflight, stubs.read_plan, stubs.extract, stubs.project),
        *(stubs.calculate, stubs.synthesise, stubs.seal, stubs.note_status, stubs.note_shares),
    ]
    calls = [stubs.analyse, stubs.extract_by_model, stubs.interpret]
    workers = deque([Worker(client, task_queue=queue, workflows=workflows, activities=steps, build_id="stubs", **own)])
    for model in (MODEL, READER, SECOND, WRITER):
        name = queue_of_model(queue, model)
        many = MOST_CALLS
        workers.append(
            Worker(client, task_queue=name, activities=calls, build_id="stubs", max_concurrent_activities=many)
        )
    for worker in workers:
        await worker.__aenter__()
    try:
        yield
    finally:
        stubs.gate.set()
        stubs.ready.set()
        await asyncio.gather(*(worker.__aexit__(None, None, None) for worker in workers))


def session_start(
    name: str,
    *,
    analyses: int,
    batch_size: int = 150,
    concurrency: int = 4,
    extraction_models: tuple[str, ...] = (),
    **more: Any,
) -> SessionStart:
    """Return what a session of that name is started with."""
    return SessionStart(
        key=SessionKey(project="bench", experiment="speeches", session=name),
        queue=f"queue-{name}",
        analyses=analyses,
        batch_size=batch_size,
        concurrency=concurrency,
        call_timeout_s=60.0,
        models=(MODEL,),
        extraction_models=extraction_models,
        **more,
    )


async def begin(client: Client, start: SessionStart) -> Handle:
    """Start the session's workflow."""
    key = start.key
    return await client.start_workflow(
        ExperimentWorkflow.run,
        start,
        id=f"{key.project}/{key.experiment}/{key.session}",
        task_queue=start.queue,
    )


async def until(condition: Any, what: str, timeout_s: float = 60.0) -> None:
    """Wait until the condition (which may be a coroutine function) holds; AssertionError naming it if it never does."""
    try:
        async with asyncio.timeout(timeout_s):
            while True:
                holds = condition()
                if await holds if asyncio.iscoroutine(holds) else holds:
                    return
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(f"it never came about that {what}") from None


@asynccontextmanager
async def session(client: Client, stubs: Stubs, **settings: Any) -> AsyncIterator[Handle]:
    """Serve and begin a session; it is terminated if the test leaves it running."""
    start = session_start(next(NAMES), **settings)
    stubs.analyses = start.analyses
    async with running(client, stubs, start) as handle:
        yield handle


@asynccontextmanager
async def running(
    client: Client, stubs: Stubs, start: SessionStart, session_workflow: type[ExperimentWorkflow] = ExperimentWorkflow
) -> AsyncIterator[Handle]:
    async with serving(client, start.queue, stubs, session_workflow):
        handle = await begin(client, start)
        try:
            yield handle
        finally:
            if (await handle.describe()).close_time is None:
                await handle.terminate("the test is over")
