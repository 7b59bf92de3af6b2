"""Record the histories that ``test_replay`` replays: ``uv run python -m tests.record_histories`` writes them all anew.

Do so only when workflow code has changed on purpose in a way that sessions under way cannot follow; the release then
has to say that such sessions must be finished, or ended and run again, first.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from activities.border import CallOutcome
from engine.connection import SEARCH_ATTRIBUTES, connect
from engine.server import find_binary
from tests.stub_steps import SECOND, WRITER, Handle, Stubs, begin, serving, session_start, until
from tests.tills import ledger
from workflows.experiment import ExperimentWorkflow
from workflows.reservation import ReservationWorkflow

FOLDER = Path(__file__).resolve().parent / "data" / "histories"
RESERVATION = "reservation"
PASSING = CallOutcome(status="parked", reason="status 503 (4 attempts)", passing=True)
FALLS_BACK = CallOutcome(status="parked", reason="it refused the tables", falls_back=True)
LASTING = CallOutcome(status="parked", reason="there is no such model")
STOP = CallOutcome(status="stop", reason="model 'openai/scribe' needs OPENAI_API_KEY; set it")


@dataclass(frozen=True)
class Course:
    """One session to record: its stubs, and what is done to it while it runs."""

    name: str
    stubs: Callable[[], Stubs]
    meddle: Callable[[Handle, Stubs], Awaitable[None]] | None = None
    writers: tuple[str, ...] = ()


async def pause_and_resume(handle: Handle, stubs: Stubs) -> None:
    """Pause with calls in flight, let them end, and go on."""
    stubs.gate.clear()
    await until(lambda: stubs.running == 2, "calls run")
    await handle.execute_update(ExperimentWorkflow.pause, "by hand")
    stubs.gate.set()
    await until(lambda: stubs.running == 0, "calls have ended")
    await handle.execute_update(ExperimentWorkflow.resume)


async def mend(handle: Handle, stubs: Stubs) -> None:
    """Go on after the session has paused itself."""
    await until(lambda: stubs.notes, "it has paused itself")
    await handle.execute_update(ExperimentWorkflow.resume)


COURSES = (
    Course("complete", Stubs),
    Course("paused-and-resumed", lambda: Stubs(latency_s=0.02), pause_and_resume),
    Course("stopped-and-mended", lambda: Stubs(outcomes={2: [STOP]}), mend),
    Course("parked", lambda: Stubs(outcomes={2: [LASTING], 5: [LASTING]})),
    Course("second-pass", lambda: Stubs(outcomes={2: [PASSING], 5: [PASSING, PASSING]})),
    Course("interpreted", lambda: Stubs(outcomes={7: [PASSING, FALLS_BACK]}), writers=(WRITER, SECOND)),
    Course("asked-again", lambda: Stubs(readings={1: ["ask_again", "ask_again"], 4: ["second_model"]})),
)


async def record(client: Client, course: Course) -> dict[str, str]:
    """Run the course; return the histories of its workflows as JSON, by workflow id."""
    start = session_start(
        course.name,
        analyses=6,
        batch_size=3,
        concurrency=2,
        extraction_models=("openai/reader",),
        synthesis_models=course.writers,
    )
    stubs = course.stubs()
    stubs.analyses = start.analyses
    async with serving(client, start.queue, stubs):
        handle = await begin(client, start)
        if course.meddle is not None:
            await course.meddle(handle, stubs)
        await handle.result()
    again = ["-again" if course.name == "second-pass" else ""]
    ids = [handle.id, *(f"{handle.id}/batch-{index:03d}{suffix}" for index in (1, 2) for suffix in {"", *again})]
    ids += [f"{handle.id}/interpretation{suffix}" for suffix in ("", "-again") if course.writers]
    histories = {}
    for workflow_id in ids:
        history = await client.get_workflow_handle(workflow_id).fetch_history()
        histories[workflow_id] = history.to_json()
    return histories


async def record_reservation(client: Client) -> dict[str, str]:
    """Hold room for a call outside of any session, let the call end, and return the history by workflow id."""
    queue = "queue-reservation"
    async with (
        ledger(client, 1.0) as till,
        Worker(client, task_queue=queue, workflows=[ReservationWorkflow], build_id="stubs"),
    ):
        handle = await client.start_workflow(
            ReservationWorkflow.run, args=[till.name, 0.25], id="bench/speeches/reservation", task_queue=queue
        )
        assert (await handle.execute_update(ReservationWorkflow.answer)).room_usd == 0.25
        await handle.signal(ReservationWorkflow.end)
        await handle.result()
        return {handle.id: (await handle.fetch_history()).to_json()}


async def record_all() -> None:
    """Write a file for each course, and one for a reservation: their workflows' histories, by workflow id."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    server = await WorkflowEnvironment.start_local(
        dev_server_existing_path=str(find_binary(None)),
        dev_server_log_level="error",
        search_attributes=SEARCH_ATTRIBUTES,
    )
    async with server:
        client = await connect(server.client.service_client.config.target_host, server.client.namespace)
        for course in COURSES:
            write(course.name, await record(client, course))
        write(RESERVATION, await record_reservation(client))


def write(name: str, histories: dict[str, str]) -> None:
    """Write a file of histories, by workflow id."""
    file = FOLDER / f"{name}.json"
    as_data = {workflow_id: json.loads(history) for workflow_id, history in histories.items()}
    file.write_text(json.dumps(as_data, separators=(",", ":"), sort_keys=True) + "\n")
    sys.stdout.write(f"{file.name}: {len(histories)} workflows, {file.stat().st_size} bytes\n")


if __name__ == "__main__":
    asyncio.run(record_all())
    sys.stdout.flush()
    os._exit(0)  # an interpreter that used the Temporal client may crash while it shuts down
