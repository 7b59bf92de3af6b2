"""After a crash: what the dead worker had started is given back at once, instead of after its heartbeat timeout.

Only for a session whose owner lock is ours: then whatever still counts as started was started by the dead.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta

import structlog
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import PendingActivityState, WorkflowExecutionStatus
from temporalio.api.workflowservice.v1 import DescribeWorkflowExecutionResponse, ResetStickyTaskQueueRequest
from temporalio.client import Client
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from activities.border import ANALYSE, EXTRACT_BY_MODEL

CALLS = frozenset({ANALYSE, EXTRACT_BY_MODEL})  # what the process that makes the calls runs

log = structlog.get_logger()


async def give_back(client: Client, workflow_id: str, kinds: frozenset[str] | None = None) -> int:
    """Fail, retryably, every started activity of the session and its batches; return how many there were.

    ``kinds`` limits it to activities of these types, whose worker alone has died.
    """
    parent = await _describe(client, workflow_id)
    if parent is None or not _is_open(parent):
        return 0
    children = [child.workflow_id for child in parent.pending_children]
    descriptions = [parent, *await asyncio.gather(*(_describe(client, child) for child in children))]
    counts = await asyncio.gather(
        *(_give_back_one(client, found, kinds) for found in descriptions if found is not None and _is_open(found))
    )
    return sum(counts)


async def _give_back_one(
    client: Client, description: DescribeWorkflowExecutionResponse, kinds: frozenset[str] | None
) -> int:
    execution = description.workflow_execution_info.execution
    if kinds is None:
        await _let_any_worker_continue(client, execution)
    started = [
        pending.activity_id
        for pending in description.pending_activities
        if pending.state == PendingActivityState.PENDING_ACTIVITY_STATE_STARTED
        and (kinds is None or pending.activity_type.name in kinds)
    ]
    results = await asyncio.gather(
        *(_fail(client, execution.workflow_id, execution.run_id, activity_id) for activity_id in started)
    )
    return sum(results)


async def _let_any_worker_continue(client: Client, execution: WorkflowExecution) -> None:
    """End the workflow's tie to the worker that had it in its cache."""
    request = ResetStickyTaskQueueRequest(namespace=client.namespace, execution=execution)
    try:
        await client.workflow_service.reset_sticky_task_queue(request)
    except RPCError as refused:
        if refused.status != RPCStatusCode.NOT_FOUND:  # it ended meanwhile
            raise


async def _fail(client: Client, workflow_id: str, run_id: str, activity_id: str) -> bool:
    handle = client.get_async_activity_handle(workflow_id=workflow_id, run_id=run_id, activity_id=activity_id)
    died = ApplicationError(
        "the worker that ran this died", type="worker_died", next_retry_delay=timedelta(milliseconds=10)
    )
    try:
        await handle.fail(died)
    except RPCError as refused:
        log.info("activity_not_given_back", activity=activity_id, reason=refused.message)
        return False
    return True


def _is_open(description: DescribeWorkflowExecutionResponse) -> bool:
    return description.workflow_execution_info.status == WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_RUNNING


async def _describe(client: Client, workflow_id: str) -> DescribeWorkflowExecutionResponse | None:
    try:
        description = await client.get_workflow_handle(workflow_id).describe()
    except RPCError as refused:
        if refused.status == RPCStatusCode.NOT_FOUND:
            return None
        raise
    return description.raw_description
