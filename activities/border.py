"""What crosses the border between workflows and activities: references and counts, never texts.

Light on purpose: workflows import this module through the sandbox, so it imports pydantic and nothing of the core.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

PREFLIGHT = "preflight"
READ_PLAN = "read_plan"
ANALYSE = "analyse"
EXTRACT = "extract"
EXTRACT_BY_MODEL = "extract_by_model"
PROJECT = "project"
CALCULATE = "calculate"
SYNTHESISE = "synthesise"
SEAL = "seal"
NOTE_STATUS = "note_status"

LATEST_SHOWN = 20


class Border(BaseModel):
    """What all border models share: frozen, strict about keys, no NaN, and no inputs in error messages."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, hide_input_in_errors=True, protected_namespaces=()
    )


class SessionKey(Border):
    """Which session: its folder follows from these names."""

    project: str
    experiment: str
    session: str


class SessionStart(Border):
    """What a session's workflow is started with; everything else is read from the session's frozen inputs.

    ``queue`` prefixes the task queues: workflows and calculation on ``queue``, calls on ``queue/<model>``.
    """

    key: SessionKey
    queue: str
    analyses: int
    batch_size: int
    concurrency: int
    call_timeout_s: float
    models: tuple[str, ...]
    extraction_model: str | None = None


class Batch(Border):
    """A stretch of the plan, both ends included. ``again`` asks only for what was parked for a passing reason."""

    start: SessionStart
    index: int
    first: int
    last: int
    slots: int
    again: bool = False
    report_every: int = 25


class PlanRequest(Border):
    key: SessionKey
    first: int
    last: int
    again: bool


class Planned(Border):
    """One analysis still to be done; ``label`` names it for people: ``speech-03/gemini-2.5-pro/run-2``."""

    number: int
    model: str
    label: str


class PlanPage(Border):
    """What is left to do of a stretch, and what was already there when it was read."""

    todo: tuple[Planned, ...]
    done: int
    parked: int
    parked_passing: int
    cost_usd: float
    unpriced: int


class CallOrder(Border):
    """One call to be made: the analysis it belongs to, and which ask it is.

    ``again`` says that it is the one more pass over what was parked for a passing reason.
    """

    key: SessionKey
    number: int
    ask: int = 0
    again: bool = False


class Answer(Border):
    """One archived answer to be read. ``final`` takes what there is, without asking for another look."""

    number: int
    ask: int
    final: bool


class ExtractOrder(Border):
    """The answers of a session that are there to be read: one, or as many as came in while others were read."""

    key: SessionKey
    answers: tuple[Answer, ...]


class CallOutcome(Border):
    """How a call ended: ``answered`` (archived), ``parked`` (see fault_recovery), ``held`` (the session is paused, and
    the call was not made), or ``stop`` (the session has to pause)."""

    status: Literal["answered", "parked", "held", "stop"]
    reused: bool = False
    cost_usd: float | None = None
    reason: str = ""
    passing: bool = False


class ExtractOutcome(Border):
    """What an answer gave: ``next`` says whether it is done or needs another look."""

    next: Literal["done", "second_model", "ask_again", "unreadable"]
    scored: int
    dimensions: int
    scores: tuple[float | None, ...] = ()


class Extracts(Border):
    """What the answers gave, in the order they were handed in."""

    outcomes: tuple[ExtractOutcome, ...]


class Scored(Border):
    """One finished analysis, as progress shows it; scores stand in the framework's order of dimensions."""

    number: int
    label: str
    scores: tuple[float | None, ...]


class BatchProgress(Border):
    """Where a batch stands. ``cost_usd`` counts priced calls, ``unpriced`` those without a known price."""

    index: int
    planned: int
    done: int
    parked: int
    parked_passing: int
    in_flight: int
    cost_usd: float
    unpriced: int
    latest: tuple[Scored, ...] = ()


class Progress(Border):
    """Where a session stands, as its query tells it."""

    stage: str
    status: str
    reason: str
    planned: int
    done: int
    parked: int
    in_flight: int
    cost_usd: float
    unpriced: int
    latest: tuple[Scored, ...]


class ProjectOrder(Border):
    key: SessionKey


class Projected(Border):
    """What the last projection of the shared tables held, and how long it took."""

    rows: int
    seconds: float


class SealOutcome(Border):
    """The sealed session: its status, its version, its root hash, and its counts."""

    status: Literal["complete", "partial"]
    version: int
    root_sha256: str
    scored: int
    parked: int
    in_doubt: int
    cost_usd: float
    unpriced: int


class StatusNote(Border):
    """The session's status, for its store: ``running`` or ``paused``, and why."""

    key: SessionKey
    status: str
    reason: str


class Resumed(Border):
    """What the resume update answers."""

    status: str


class Slots(Border):
    """How many calls a batch may have in flight from now on."""

    slots: int


class Stopped(Border):
    """Why a batch cannot go on: a missing key, an exhausted quota, a full disk."""

    index: int
    reason: str
