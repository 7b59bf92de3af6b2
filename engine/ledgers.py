"""A project's ledger as a workflow: begun where a budget has to be kept, told of new budgets, asked where it stands."""

from __future__ import annotations

from datetime import timedelta

from temporalio.client import Client
from temporalio.common import (
    SearchAttributePair,
    TypedSearchAttributes,
    WorkflowIDConflictPolicy,
    WorkflowIDReusePolicy,
)
from temporalio.service import RPCError, RPCStatusCode

from activities.border import LevelAccount
from engine import connection
from engine.sessions import shared_queue
from workflows import policies
from workflows.ledger import LedgerWorkflow

SILENCE = (  # no ledger; no answer in time, as the server or as our client puts it; nobody who polls
    RPCStatusCode.NOT_FOUND,
    RPCStatusCode.DEADLINE_EXCEEDED,
    RPCStatusCode.CANCELLED,
    RPCStatusCode.FAILED_PRECONDITION,
)
ANSWER_WITHIN = timedelta(seconds=5)  # a ledger whose worker is away says nothing at all


def ledger_id(store: str, project: str) -> str:
    """Return the id of a project's ledger."""
    return f"{store}/ledger/{project}"


async def ensure(client: Client, store: str, project: str) -> str:
    """Begin the project's ledger unless it is there; return its id."""
    name = ledger_id(store, project)
    await client.start_workflow(
        LedgerWorkflow.run,
        args=[project, None],
        id=name,
        task_queue=shared_queue(store),
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
        task_timeout=policies.TASK_TIMEOUT,
        static_summary=f"budgets of project {project}",
        search_attributes=TypedSearchAttributes(
            [SearchAttributePair(connection.PROJECT, project), SearchAttributePair(connection.STORE, store)]
        ),
    )
    return name


async def tell(client: Client, store: str, project: str) -> bool:
    """Have the project's ledger read its budgets again; return False where there is none to be told."""
    try:
        await client.get_workflow_handle(ledger_id(store, project)).signal(LedgerWorkflow.budgets_changed)
    except RPCError as refused:
        if refused.status == RPCStatusCode.NOT_FOUND:
            return False
        raise
    return True


async def accounts(client: Client, store: str, project: str) -> tuple[LevelAccount, ...] | None:
    """Return where the project's budgets stand; None where there is no ledger, or no worker that speaks for it."""
    handle = client.get_workflow_handle_for(LedgerWorkflow.run, ledger_id(store, project))
    try:
        return await handle.query(LedgerWorkflow.accounts, rpc_timeout=ANSWER_WITHIN)
    except RPCError as refused:
        if refused.status in SILENCE:
            return None
        raise
