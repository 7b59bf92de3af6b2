"""A reset in the Web UI replays a session from an earlier moment on: no call is made again."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import Iterator
from concurrent.futures import Future
from functools import partial
from pathlib import Path

import pytest
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import EventType
from temporalio.api.workflowservice.v1 import ResetWorkflowExecutionRequest
from temporalio.client import WorkflowExecutionStatus

from discernus.sessions.integrity.verification import verify
from engine.connection import connect
from tests.plays import (
    ANALYSES,
    CONCURRENCY,
    EVERY_CALL_ONCE,
    GO_ON,
    RESPONSES,
    Play,
    Scene,
    acting,
    address,
    results,
    workflow_id,
)
from tests.running import (
    PATIENCE_S,
    wait_until,
)


def reset_a_running_session(folder: Path) -> None:
    with Play(folder, hold=True) as play:
        starter = play.start()
        play.vendor.wait_for(requests=CONCURRENCY, timeout_s=PATIENCE_S)
        reset(play, 0)
        time.sleep(2)
        play.vendor.control(hold=False, latency_s=0.3)
        play.wait_for(RESPONSES, CONCURRENCY + 2)
        reset(play, -1)
        if starter.wait() == 4:  # it may follow the reset run, or say that it was ended
            assert GO_ON in starter.output
            starter = play.run()
        assert starter.code == 0, starter.output
        found = play.ledger().check()
        assert found.requests == EVERY_CALL_ONCE


def reset_a_partial_session(folder: Path) -> None:
    with Play(folder, at={"3": "status_403", "9": "status_403"}) as play:
        play.run(code=3)
        asked = play.requests
        missing = play.ledger().check(complete=False)
        reset_and_serve(play, "partial")
        assert play.requests == asked
        assert play.ledger().check(complete=False).answers == missing.answers


def reset_a_sealed_session(folder: Path) -> None:
    with Play(folder) as play:
        play.run()
        reset_and_serve(play, "complete")
        assert play.ledger().check().requests == EVERY_CALL_ONCE
        play.run()
        assert play.requests == ANALYSES


def reset_and_serve(play: Play, status: str) -> None:
    """Reset a closed session while ``starter.py server`` is up, to its first and to a late workflow task."""
    server = play.start("server")
    wait_until(lambda: "Temporal at" in server.output, "the server is up")
    before = results(play.session)
    for which in (0, -1):
        reset(play, which)
        assert wait_until(partial(ended_as, play), "the reset run closes") == WorkflowExecutionStatus.COMPLETED
    assert results(play.session) == before
    assert json.loads((play.session / "system_state/status.json").read_text())["status"] == status
    assert verify(play.session).findings == ()
    server.send(signal.SIGTERM)
    assert server.wait() == 0, server.output


def reset(play: Play, which: int) -> None:
    """Do what the Web UI's button does, to the first (0) or the latest (-1) workflow task that was completed."""

    async def ask() -> None:
        client = await connect(address(play), "default")
        handle = client.get_workflow_handle(workflow_id(play))
        described = await handle.describe()
        points = [
            event.event_id
            async for event in handle.fetch_history_events()
            if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED
        ]
        await client.workflow_service.reset_workflow_execution(
            ResetWorkflowExecutionRequest(
                namespace="default",
                workflow_execution=WorkflowExecution(workflow_id=handle.id, run_id=described.run_id),
                reason="a test",
                workflow_task_finish_event_id=points[which],
                request_id=f"{time.time_ns()}",
            )
        )

    asyncio.run(ask())


def ended_as(play: Play) -> WorkflowExecutionStatus | None:
    """Return how the session's latest run closed, None while it is open."""

    async def ask() -> WorkflowExecutionStatus | None:
        client = await connect(address(play), "default")
        status = (await client.get_workflow_handle(workflow_id(play)).describe()).status
        return None if status == WorkflowExecutionStatus.RUNNING else status

    return asyncio.run(ask())


SCENES: dict[str, Scene] = {
    "reset running": reset_a_running_session,
    "reset partial": reset_a_partial_session,
    "reset sealed": reset_a_sealed_session,
}

Scenes = dict[str, Future[None]]


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scenes]:
    with acting(tmp_path_factory.mktemp("resets"), SCENES) as playing:
        yield playing


def test_a_reset_of_a_running_session_costs_no_call(scenes: Scenes) -> None:
    scenes["reset running"].result()


def test_a_reset_of_a_partial_session_costs_no_call(scenes: Scenes) -> None:
    scenes["reset partial"].result()


def test_a_reset_of_a_sealed_session_costs_no_call(scenes: Scenes) -> None:
    scenes["reset sealed"].result()
