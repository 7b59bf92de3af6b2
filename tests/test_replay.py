"""Recorded sessions replay on the workflows as they are now: what is under way survives a new version of the code.

Where a change of the workflows is meant to break this, record anew: ``uv run python -m tests.record_histories``.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from temporalio import workflow
from temporalio.client import WorkflowHistory
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import Replayer, UnsandboxedWorkflowRunner

from activities.border import (
    NOTE_STATUS,
    Answer,
    Batch,
    BatchProgress,
    ExtractOutcome,
    SealOutcome,
    SessionStart,
    StatusNote,
)
from engine.connection import make_replayer
from tests.record_histories import COURSES, FOLDER, RESERVATION
from workflows.batch import BatchWorkflow
from workflows.experiment import ExperimentWorkflow

LARGEST_FILE = 200_000


def histories(name: str) -> list[WorkflowHistory]:
    recorded = json.loads((FOLDER / f"{name}.json").read_text())
    return [WorkflowHistory.from_json(workflow_id, history) for workflow_id, history in recorded.items()]


@pytest.mark.parametrize("name", [course.name for course in COURSES])
async def test_a_recorded_session_replays(name: str) -> None:
    recorded = histories(name)
    assert len(recorded) >= 3
    for history in recorded:
        await make_replayer().replay_workflow(history)


async def test_a_recorded_reservation_replays() -> None:
    (history,) = histories(RESERVATION)
    await make_replayer().replay_workflow(history)


def test_the_recorded_sessions_hold_what_their_names_say() -> None:
    def text(name: str) -> str:
        return (FOLDER / f"{name}.json").read_text()

    assert '"pause"' in text("paused-and-resumed")
    assert '"resume"' in text("paused-and-resumed")
    assert '"stopped"' in text("stopped-and-mended")
    assert "batch-001-again" in text("second-pass")
    assert "/ask-2" in text("asked-again")
    assert "extract_by_model" in text("asked-again")
    assert all(f'"{signal}"' in text(RESERVATION) for signal in ("claim", "granted", "end", "budgets_changed"))
    assert {path.stem for path in FOLDER.glob("*.json")} == {RESERVATION, *(course.name for course in COURSES)}
    assert all(path.stat().st_size < LARGEST_FILE for path in Path(FOLDER).iterdir())


@workflow.defn(name="Experiment")
class NotesFirst(ExperimentWorkflow):
    """A session that writes a note before anything else, which no recorded one did."""

    @workflow.run
    async def run(self, start: SessionStart) -> SealOutcome:
        await self._step(NOTE_STATUS, StatusNote(key=start.key, status="running", reason=""))
        return await super().run(start)


@workflow.defn(name="Batch")
class ReadsTwice(BatchWorkflow):
    """A batch that reads every answer twice, which no recorded one did."""

    @workflow.run
    async def run(self, batch: Batch) -> BatchProgress:
        return await super().run(batch)

    async def _extract(self, answer: Answer) -> ExtractOutcome:
        await super()._extract(answer)
        return await super()._extract(answer)


async def test_a_change_that_sessions_under_way_cannot_follow_is_caught() -> None:
    replayer = Replayer(
        workflows=[NotesFirst, ReadsTwice],
        data_converter=pydantic_data_converter,
        workflow_runner=UnsandboxedWorkflowRunner(),
    )
    for history in histories("complete"):
        with pytest.raises(workflow.NondeterminismError):
            await replayer.replay_workflow(history)
