"""What is wrong with sessions on a server: workflows that are stuck, calls that keep failing, queues nobody polls."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import (
    DescribeTaskQueueRequest,
    DescribeWorkflowExecutionRequest,
    DescribeWorkflowExecutionResponse,
)
from temporalio.client import Client
from temporalio.service import RPCError

from activities.limits import POLLED_WITHIN_S
from engine.sessions import Running, running
from engine.workers import queue_of_model

MOST_TASK_ATTEMPTS = 3  # a workflow's own step is tried again only where it fails by itself
MOST_CALL_ATTEMPTS = 5


@dataclass(frozen=True)
class Trouble:
    """What is the matter with a session's workflow or one of its queues: ``place`` names that."""

    session: str
    place: str
    what: str
    means: str
    cure: str


async def troubles(client: Client, store: str) -> list[Trouble]:
    """Return what is wrong with the open sessions of a store. Raise RPCError."""
    return [trouble for session in await running(client, store) async for trouble in _troubles_of(client, session)]


async def _troubles_of(client: Client, session: Running) -> AsyncIterator[Trouble]:
    name = session.key.session
    parent = await _describe(client, session.workflow_id)
    if parent is None:
        return
    children = [await _describe(client, child.workflow_id) for child in parent.pending_children]
    waiting = False
    for described in (parent, *children):
        if described is None:
            continue
        workflow = described.workflow_execution_info.execution.workflow_id
        waiting = waiting or bool(described.pending_activities)
        if described.pending_workflow_task.attempt > MOST_TASK_ATTEMPTS:
            what = f"its next step has failed {described.pending_workflow_task.attempt - 1} times"
            means = "the workflow is stuck; often another version of the program has begun it"
            cure = f"go on with the version that began it, or terminate it and type: starter.py resume {name}"
            yield Trouble(name, workflow, what, means, cure)
        for pending in described.pending_activities:
            if pending.attempt > MOST_CALL_ATTEMPTS:
                failed = pending.last_failure.message[:200]
                what = f"{pending.activity_id} has failed {pending.attempt - 1} times: {failed}"
                cure = f"starter.py errors {name} tells what went wrong with its calls"
                yield Trouble(name, workflow, what, "that analysis does not get on", cure)
    if not await _is_polled(client, session.queue, TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW):
        cure = f"go on with: starter.py resume {name}, or start a worker.py for this store"
        yield Trouble(name, session.queue, "no worker polls this queue", "the session stands still", cure)
    elif waiting:
        for model in session.models:
            queue = queue_of_model(session.queue, model)
            if not await _is_polled(client, queue, TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY):
                means = f"calls to {model} wait until somebody makes them"
                cure = f"start a worker that has the key of {model}"
                yield Trouble(name, queue, "no worker polls this queue", means, cure)


async def _describe(client: Client, workflow_id: str) -> DescribeWorkflowExecutionResponse | None:
    request = DescribeWorkflowExecutionRequest(
        namespace=client.namespace, execution=WorkflowExecution(workflow_id=workflow_id)
    )
    try:
        return await client.workflow_service.describe_workflow_execution(request)
    except RPCError:  # it has ended meanwhile
        return None


async def _is_polled(client: Client, queue: str, kind: TaskQueueType.ValueType) -> bool:
    request = DescribeTaskQueueRequest(
        namespace=client.namespace, task_queue=TaskQueue(name=queue), task_queue_type=kind
    )
    described = await client.workflow_service.describe_task_queue(request)
    latest = max((poller.last_access_time.ToSeconds() for poller in described.pollers), default=0)
    return time.time() - latest <= POLLED_WITHIN_S
