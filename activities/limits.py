"""The activities that act on queues of calls: at which rate the server hands them out, and whether to anybody."""

from __future__ import annotations

import asyncio
import time

from temporalio import activity
from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import RateLimit, TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest, UpdateTaskQueueConfigRequest
from temporalio.client import Client

from activities.border import SET_RATE, WHO_POLLS, Queues, Rate

SECONDS_PER_MINUTE = 60.0
POLLED_WITHIN_S = 90.0  # a worker with a free slot asks at least once a minute; one that died is still listed for five
REASON = "a model's limit"


class Rates:
    """Activities that see to queues on the server itself, whoever polls them."""

    def __init__(self, client: Client) -> None:
        self._client = client

    @activity.defn(name=SET_RATE)
    async def set_rate(self, rate: Rate) -> None:
        """Set the rate of a queue's activities, or lift it."""
        limit = None
        if rate.calls_per_minute is not None:
            limit = RateLimit(requests_per_second=rate.calls_per_minute / SECONDS_PER_MINUTE)
        await self._client.workflow_service.update_task_queue_config(
            UpdateTaskQueueConfigRequest(
                namespace=self._client.namespace,
                identity=self._client.identity,
                task_queue=rate.queue,
                task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY,
                update_queue_rate_limit=UpdateTaskQueueConfigRequest.RateLimitUpdate(rate_limit=limit, reason=REASON),
            )
        )

    @activity.defn(name=WHO_POLLS)
    async def who_polls(self, asked: Queues) -> Queues:
        """Return those of the queues off which somebody takes calls."""
        polled = await asyncio.gather(*(self._is_polled(queue) for queue in asked.queues))
        return Queues(queues=tuple(queue for queue, is_polled in zip(asked.queues, polled, strict=True) if is_polled))

    async def _is_polled(self, queue: str) -> bool:
        described = await self._client.workflow_service.describe_task_queue(
            DescribeTaskQueueRequest(
                namespace=self._client.namespace,
                task_queue=TaskQueue(name=queue),
                task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY,
            )
        )
        latest = max((poller.last_access_time.ToSeconds() for poller in described.pollers), default=0)
        return time.time() - latest <= POLLED_WITHIN_S
