"""The workflows that outlive a session and that it has to do with: its models', and its project's ledger.

A session goes on without a neighbour that is not there; only money it must not spend without having asked.
"""

from __future__ import annotations

from typing import Any

from temporalio import workflow
from temporalio.exceptions import ApplicationError

with workflow.unsafe.imports_passed_through():  # pydantic models: validated by compiled code the sandbox cannot load
    from activities.border import Claim, Join, Leave, SessionStart


async def join_models(start: SessionStart) -> list[str]:
    """Tell each model that this session is about to call it; return those that heard it."""
    reached: list[str] = []
    for model in start.monitored:
        tokens = start.tokens_per_call.get(model)
        join = Join(workflow_id=workflow.info().workflow_id, queue=f"{start.queue}/{model}", tokens_per_call=tokens)
        if await _tell(_model_workflow(start, model), "join", join):
            reached.append(model)
    return reached


async def leave_models(start: SessionStart) -> None:
    """Tell the models that this session calls them no more."""
    for model in start.monitored:
        await _tell(_model_workflow(start, model), "leave", Leave(workflow_id=workflow.info().workflow_id))


async def claim(ledger: str, *, spent_usd: float, room_usd: float, least_usd: float = 0.0) -> bool:
    """Claim room in the budgets; return False if the ledger is not there to hear it."""
    workflow_id = workflow.info().workflow_id
    wanted = Claim(workflow_id=workflow_id, spent_usd=spent_usd, room_usd=room_usd, least_usd=least_usd)
    return await _tell(ledger, "claim", wanted)


async def read_again(ledger: str) -> None:
    """Have the ledger read the archives and the budgets again before it grants anything."""
    await _tell(ledger, "budgets_changed")


def _model_workflow(start: SessionStart, model: str) -> str:
    return f"{start.shared_queue.rpartition('/')[0]}/model/{model}"


async def _tell(workflow_id: str, signal: str, *what: Any) -> bool:
    try:
        await workflow.get_external_workflow_handle(workflow_id).signal(signal, args=what)
    except ApplicationError:
        workflow.logger.warning("%s is not there to hear %s", workflow_id, signal)
        return False
    return True
