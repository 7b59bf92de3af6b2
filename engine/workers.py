"""Workers: one for a session's own queue, one for each model's, started together and drained together."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import timedelta

from temporalio.client import Client
from temporalio.worker import Worker

from activities.calling import Calling
from activities.limits import Rates
from activities.spending import Spending
from activities.steps import Steps
from activities.workplace import Workplace
from discernus import __version__
from discernus.sessions.calls import Calls
from discernus.settings import Settings
from engine.sessions import shared_queue
from workflows import SHARED_WORKFLOWS, WORKFLOWS
from workflows.policies import CALL_GRACE_S, HEARTBEAT_THROTTLE, STICKY_TIMEOUT

GLANCE = timedelta(seconds=5)  # nothing on the shared queue takes longer, and any worker may take it up again
POLLERS = 8  # of each queue; five, the default, leave a model's queue waiting at 64 calls in flight


def queue_of_model(queue: str, model: str) -> str:
    """Return the task queue on which that model's calls wait."""
    return f"{queue}/{model}"


class Crew:
    """All workers of this process. Workers may join while others run; draining lets every call finish."""

    def __init__(self, client: Client, settings: Settings) -> None:
        self._client = client
        self._settings = settings
        self._workplace = Workplace(settings)
        self._workers: dict[str, Worker] = {}
        self._runs: dict[str, asyncio.Task[None]] = {}
        self._shared: str | None = None

    def serve_steps(self, queue: str) -> None:
        """Poll for workflows and for the steps that call no model."""
        steps = Steps(self._workplace)
        self._start(
            queue,
            Worker(
                self._client,
                task_queue=queue,
                workflows=WORKFLOWS,
                activities=[
                    steps.preflight,
                    steps.read_plan,
                    steps.extract,
                    steps.project,
                    steps.calculate,
                    steps.synthesise,
                    steps.seal,
                    steps.note_status,
                    steps.note_shares,
                ],
                build_id=f"discernus-{__version__}",  # by default half a second goes into hashing every module
                graceful_shutdown_timeout=self._patience(),
                max_heartbeat_throttle_interval=HEARTBEAT_THROTTLE,
                sticky_queue_schedule_to_start_timeout=STICKY_TIMEOUT,
            ),
        )

    def serve_shared(self, store: str) -> None:
        """Poll for what the sessions of a store share: the health and limits of models, the ledgers of projects."""
        queue = shared_queue(store)
        rates = Rates(self._client)
        self._shared = queue
        self._start(
            queue,
            Worker(
                self._client,
                task_queue=queue,
                workflows=SHARED_WORKFLOWS,
                activities=[rates.set_rate, rates.who_polls, Spending(self._settings).read_spending],
                build_id=f"discernus-{__version__}",
                graceful_shutdown_timeout=GLANCE,
                max_heartbeat_throttle_interval=HEARTBEAT_THROTTLE,
                sticky_queue_schedule_to_start_timeout=STICKY_TIMEOUT,
            ),
        )

    def serve_model(self, queue: str, model: str, calls: Calls, concurrency: int) -> None:
        """Poll for calls to one model."""
        calling = Calling(self._workplace, calls)
        name = queue_of_model(queue, model)
        self._start(
            name,
            Worker(
                self._client,
                task_queue=name,
                activities=[calling.analyse, calling.extract_by_model, calling.interpret],
                max_concurrent_activities=max(concurrency, 1),
                max_concurrent_activity_task_polls=min(POLLERS, max(concurrency, 1)),
                build_id=f"discernus-{__version__}",  # by default half a second goes into hashing every module
                graceful_shutdown_timeout=self._patience(),
                max_heartbeat_throttle_interval=HEARTBEAT_THROTTLE,
            ),
        )

    def runs(self) -> list[asyncio.Task[None]]:
        """Return what ends when a worker does, whether it was told to or not."""
        return list(self._runs.values())

    def failure(self) -> BaseException | None:
        """Return why a worker ended by itself, if one did."""
        for run in self._runs.values():
            if run.done() and not run.cancelled() and run.exception() is not None:
                return run.exception()
        return None

    async def drain_work(self) -> None:
        """Poll no more for steps and calls, and let those that run finish; what sessions share is still served."""
        await self._end([queue for queue in self._workers if queue != self._shared])

    async def drain(self) -> None:
        """Poll no more, and let what runs finish."""
        await self.drain_work()
        await self._end(list(self._workers))

    async def _end(self, queues: list[str]) -> None:
        workers = [self._workers.pop(queue) for queue in queues]
        await asyncio.gather(*(worker.shutdown() for worker in workers), return_exceptions=True)
        for queue in queues:
            with suppress(Exception):
                await self._runs.pop(queue)

    def _start(self, queue: str, worker: Worker) -> None:
        self._workers[queue] = worker
        self._runs[queue] = asyncio.create_task(worker.run())

    def _patience(self) -> timedelta:
        """Return longer than the longest call, so that draining never cuts one off."""
        return timedelta(seconds=self._settings.response_timeout_s + CALL_GRACE_S)
