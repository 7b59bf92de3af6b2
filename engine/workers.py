"""Workers: one for a session's own queue, one for each model's, started together and drained together."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from datetime import timedelta

from temporalio.client import Client
from temporalio.worker import Worker

from activities.calling import Calling
from activities.steps import Steps
from activities.workplace import Workplace
from workflows import WORKFLOWS
from workflows.policies import CALL_GRACE_S, HEARTBEAT_THROTTLE, STICKY_TIMEOUT

POLLERS = 8  # of each queue; five, the default, leave a model's queue waiting at 64 calls in flight


def queue_of_model(queue: str, model: str) -> str:
    """Return the task queue on which that model's calls wait."""
    return f"{queue}/{model}"


class Crew:
    """All workers of this process. Workers may join while others run; draining lets every call finish."""

    def __init__(self, client: Client, workplace: Workplace) -> None:
        self._client = client
        self._workplace = workplace
        self._workers: dict[str, Worker] = {}
        self._runs: dict[str, asyncio.Task[None]] = {}

    def serve_session(self, queue: str, models: Iterable[str], concurrency: int) -> None:
        """Poll a session's own queue and those of its models."""
        self.serve_steps(queue)
        for model in models:
            self.serve_model(queue, model, concurrency)

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
                ],
                graceful_shutdown_timeout=self._patience(),
                max_heartbeat_throttle_interval=HEARTBEAT_THROTTLE,
                sticky_queue_schedule_to_start_timeout=STICKY_TIMEOUT,
            ),
        )

    def serve_model(self, queue: str, model: str, concurrency: int) -> None:
        """Poll for calls to one model."""
        calling = Calling(self._workplace)
        name = queue_of_model(queue, model)
        self._start(
            name,
            Worker(
                self._client,
                task_queue=name,
                activities=[calling.analyse, calling.extract_by_model],
                max_concurrent_activities=max(concurrency, 1),
                max_concurrent_activity_task_polls=min(POLLERS, max(concurrency, 1)),
                graceful_shutdown_timeout=self._patience(),
                max_heartbeat_throttle_interval=HEARTBEAT_THROTTLE,
            ),
        )

    def serves(self, queue: str) -> bool:
        """Return whether that queue is polled by this process."""
        return queue in self._runs and not self._runs[queue].done()

    def failure(self) -> BaseException | None:
        """Return why a worker ended by itself, if one did."""
        for run in self._runs.values():
            if run.done() and not run.cancelled() and run.exception() is not None:
                return run.exception()
        return None

    async def drain(self) -> None:
        """Poll no more, let what runs finish, and wait until every call in flight is archived."""
        await asyncio.gather(*(worker.shutdown() for worker in self._workers.values()), return_exceptions=True)
        for run in self._runs.values():
            with suppress(Exception):
                await run
        await self._workplace.calls.settle()
        self._workers.clear()
        self._runs.clear()

    def _start(self, queue: str, worker: Worker) -> None:
        self._workers[queue] = worker
        self._runs[queue] = asyncio.create_task(worker.run())

    def _patience(self) -> timedelta:
        """Return longer than the longest call, so that draining never cuts one off."""
        return timedelta(seconds=self._workplace.settings.response_timeout_s + CALL_GRACE_S)
