"""Room in a project's budgets for a call that is made outside of any session's workflow."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from uuid import uuid4

from temporalio.client import Client, WorkflowFailureError
from temporalio.service import RPCError

from activities.border import Grant
from engine import ledgers
from engine.sessions import shared_queue
from workflows import policies
from workflows.reservation import ReservationWorkflow

ANSWER_WITHIN_S = 60.0  # the ledger reads every archive of the project before its first grant
END_WITHIN_S = 10.0


@asynccontextmanager
async def reserved(client: Client, store: str, account: str, usd: float, longest_s: float) -> AsyncIterator[Grant]:
    """Hold so much room for a call below the account ``project/experiment/session/…`` while the body runs.

    Yield what was granted: all of it, or too little, and then the body must not call. ``longest_s`` is when the room
    falls back to others should this process die. Raise RPCError or TimeoutError where no ledger answers.
    """
    handle = await client.start_workflow(
        ReservationWorkflow.run,
        args=[await ledgers.ensure(client, store, account.partition("/")[0]), usd],
        id=f"{account}/{uuid4().hex[:8]}",
        task_queue=shared_queue(store),
        task_timeout=policies.TASK_TIMEOUT,
        execution_timeout=timedelta(seconds=longest_s),
        static_summary=f"room for a call of {account}",
    )
    try:
        async with asyncio.timeout(ANSWER_WITHIN_S):
            granted = await handle.execute_update(ReservationWorkflow.answer)
        yield granted
    finally:
        with suppress(RPCError, WorkflowFailureError, TimeoutError):  # unheard, it ends when its time is over
            async with asyncio.timeout(END_WITHIN_S):
                await handle.signal(ReservationWorkflow.end)
                await handle.result()
