"""A session as a workflow: started or joined under its readable id, and found again by its search attributes."""

from __future__ import annotations

from dataclasses import dataclass

from temporalio.client import Client, WorkflowExecutionStatus, WorkflowFailureError, WorkflowHandle
from temporalio.common import (
    SearchAttributePair,
    TypedSearchAttributes,
    WorkflowIDConflictPolicy,
    WorkflowIDReusePolicy,
)
from temporalio.exceptions import TerminatedError
from temporalio.service import RPCError, RPCStatusCode

from activities.border import Progress, SealOutcome, SessionKey, SessionStart
from discernus.experiments.experiment import OFFLINE_PREFIX
from discernus.sessions.session import Session
from engine import connection
from workflows import policies
from workflows.experiment import ExperimentWorkflow

Handle = WorkflowHandle[ExperimentWorkflow, SealOutcome]
ANEW = WorkflowIDConflictPolicy.TERMINATE_EXISTING


@dataclass(frozen=True)
class Running:
    """A session whose workflow is open: which it is, and the queue and models its workers must serve."""

    key: SessionKey
    workflow_id: str
    queue: str
    models: tuple[str, ...]
    concurrency: int


def own_queue(session: Session) -> str:
    """Return the queue of a session that only its own starter serves."""
    facts = session.facts
    return f"{facts.store}/{facts.project}/{facts.experiment}/{facts.session}"


def shared_queue(store: str) -> str:
    """Return the queue of the workflows that sessions share: a model's health and limits, a project's ledger."""
    return f"{store}/shared"


def models_of(session: Session) -> tuple[str, ...]:
    """Return every model that the session may call."""
    fallbacks = fallbacks_of(session).values()
    named = [*session.facts.models, *(model for models in fallbacks for model in models), *session.extraction_models]
    return tuple(dict.fromkeys([*named, *session.facts.synthesis_models]))


def fallbacks_of(session: Session) -> dict[str, tuple[str, ...]]:
    """Return the fallbacks of the analyses, by model."""
    fallbacks = session.definition.experiment.fallback_models
    return {model: fallbacks[model] for model in session.facts.models if model in fallbacks}


def monitored(session: Session) -> tuple[str, ...]:
    """Return the models of a session that can fail and have limits: all but our own."""
    return tuple(model for model in models_of(session) if not model.startswith(OFFLINE_PREFIX))


async def start(
    client: Client,
    session: Session,
    queue: str,
    concurrency: int,
    *,
    ledger: str | None = None,
    budgeted: bool = False,
    afresh: bool = False,
    tokens_per_call: dict[str, int] | None = None,
) -> Handle:
    """Start the session's workflow, or join it where it runs; ``afresh`` ends one that runs: what it knows is past.

    ``ledger`` is the id of the project's ledger, ``budgeted`` says that a budget is in force; ``tokens_per_call`` is
    what a call takes by model, as estimated.
    """
    facts = session.facts
    models = models_of(session)
    return await client.start_workflow(
        ExperimentWorkflow.run,
        SessionStart(
            key=SessionKey(project=facts.project, experiment=facts.experiment, session=facts.session),
            queue=queue,
            analyses=facts.analyses,
            batch_size=policies.BATCH_SIZE,
            concurrency=concurrency,
            call_timeout_s=max(facts.timeout_s(model) for model in models),
            models=models,
            extraction_models=session.extraction_models,
            synthesis_models=session.facts.synthesis_models,
            fallbacks=fallbacks_of(session),
            shared_queue=shared_queue(facts.store),
            monitored=monitored(session),
            tokens_per_call=tokens_per_call or {},
            ledger=ledger,
            budgeted=budgeted,
        ),
        id=session.name,
        task_queue=queue,
        id_conflict_policy=ANEW if afresh else WorkflowIDConflictPolicy.USE_EXISTING,
        id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
        task_timeout=policies.TASK_TIMEOUT,
        static_summary=f"{facts.experiment}: {facts.analyses} analyses with {', '.join(facts.models)}",
        memo={"queue": queue, "models": list(models), "concurrency": concurrency},
        search_attributes=TypedSearchAttributes(
            [
                SearchAttributePair(connection.PROJECT, facts.project),
                SearchAttributePair(connection.EXPERIMENT, facts.experiment),
                SearchAttributePair(connection.SESSION, facts.session),
                SearchAttributePair(connection.STATUS, "running"),
                SearchAttributePair(connection.STORE, facts.store),
                SearchAttributePair(connection.MODELS, list(models)),
            ]
        ),
    )


async def is_running(client: Client, session: Session) -> bool:
    """Return whether the session's workflow is open on that server."""
    try:
        description = await client.get_workflow_handle(session.name).describe()
    except RPCError as refused:
        if refused.status == RPCStatusCode.NOT_FOUND:
            return False
        raise
    return description.status == WorkflowExecutionStatus.RUNNING


async def outcome(client: Client, session: Session) -> SealOutcome:
    """Return how the session ends, whichever run brings it there: a reset ends one run and opens another."""
    while True:
        try:  # a handle that names no run takes the newest
            return await client.get_workflow_handle_for(ExperimentWorkflow.run, session.name).result()
        except WorkflowFailureError as failed:
            if not (isinstance(failed.cause, TerminatedError) and await is_running(client, session)):
                raise


async def resume(handle: Handle) -> None:
    """Let a paused session go on; a session that runs is left alone."""
    await handle.execute_update(ExperimentWorkflow.resume)


async def progress(handle: Handle) -> Progress:
    """Return what the session says of itself."""
    return await handle.query(ExperimentWorkflow.progress)


async def running(client: Client, store: str) -> list[Running]:
    """Return the open sessions of a store."""
    query = f"WorkflowType = 'Experiment' AND ExecutionStatus = 'Running' AND {connection.STORE.name} = '{store}'"
    found = []
    async for execution in client.list_workflows(query):
        attributes = execution.typed_search_attributes
        memo = await execution.memo()
        found.append(
            Running(
                key=SessionKey(
                    project=attributes[connection.PROJECT],
                    experiment=attributes[connection.EXPERIMENT],
                    session=attributes[connection.SESSION],
                ),
                workflow_id=execution.id,
                queue=memo["queue"],
                models=tuple(memo["models"]),
                concurrency=int(memo["concurrency"]),
            )
        )
    return found
