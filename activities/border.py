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
INTERPRET = "interpret"
PROJECT = "project"
CALCULATE = "calculate"
SYNTHESISE = "synthesise"
SEAL = "seal"
NOTE_STATUS = "note_status"
NOTE_SHARES = "note_shares"
SET_RATE = "set_rate"
WHO_POLLS = "who_polls"  # of some queues, those off which somebody takes calls
READ_SPENDING = "read_spending"

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
    ``fallbacks`` are those of analyses, ``tokens_per_call`` is what a call is estimated to take, both by model.
    ``monitored`` models have a workflow of their own, ``<store>/model/<model>``. ``ledger`` is the id of the project's
    ledger; ``budgeted``: a budget is in force, and nothing is spent before the ledger has spoken.
    """

    key: SessionKey
    queue: str
    analyses: int
    batch_size: int
    concurrency: int
    call_timeout_s: float
    models: tuple[str, ...]
    extraction_models: tuple[str, ...] = ()
    synthesis_models: tuple[str, ...] = ()
    fallbacks: dict[str, tuple[str, ...]] = {}
    shared_queue: str = ""
    monitored: tuple[str, ...] = ()
    tokens_per_call: dict[str, int] = {}
    ledger: str | None = None
    budgeted: bool = False


class Batch(Border):
    """A stretch of the plan, both ends included. ``again`` asks only for what was parked for a passing reason.

    ``allowance_usd`` bounds what is spent and what calls in flight may cost at worst, None: nothing does; ``caps`` are
    the most calls in flight by model. ``began`` is when the pass did, in seconds since the epoch.
    """

    start: SessionStart
    index: int
    first: int
    last: int
    slots: int
    again: bool = False
    began: float = 0.0
    report_every: int = 25
    allowance_usd: float | None = None
    caps: dict[str, int] = {}


class PlanRequest(Border):
    """A stretch of the plan to be read; ``priced`` asks for what each call may cost at worst."""

    key: SessionKey
    first: int
    last: int
    again: bool
    priced: bool = False


class Planned(Border):
    """One analysis still to be done; ``label`` names it for people: ``speech-03/gemini-2.5-pro/run-2``.

    ``worst_usd`` is what one call of it may cost at worst, ``second_usd`` its reading by a second model; None where
    that is not known, 0 where it costs nothing.
    """

    number: int
    model: str
    label: str
    worst_usd: float | None = None
    second_usd: float | None = None


class PlanPage(Border):
    """What is left to do of a stretch, and what was already there when it was read."""

    todo: tuple[Planned, ...]
    done: int
    parked: int
    parked_passing: int
    cost_usd: float
    unpriced: int


class CallOrder(Border):
    """One call to be made: the analysis it belongs to, and which ask it is; ``fallback`` 0 is the model asked for.

    ``again`` says that it is the one more pass over what was parked for a passing reason, ``began`` when the pass did,
    in seconds since the epoch. ``source`` is the fallback whose answer a second model is to read.
    """

    key: SessionKey
    number: int
    ask: int = 0
    again: bool = False
    began: float = 0.0
    fallback: int = 0
    source: int = 0


class Answer(Border):
    """One archived answer to be read. ``final`` takes what there is, without asking for another look."""

    number: int
    ask: int
    final: bool
    fallback: int = 0


class ExtractOrder(Border):
    """The answers of a session that are there to be read: one, or as many as came in while others were read."""

    key: SessionKey
    answers: tuple[Answer, ...]


class CallOutcome(Border):
    """How a call ended: ``answered`` (archived), ``parked`` (see fault_recovery), ``held`` (the session is paused, and
    the call was not made), ``closed`` (its model takes none for ``wait_s``, and it was not made), or ``stop`` (the
    session has to pause).

    ``before_usd`` is what of the cost was paid before the pass began. ``falls_back``: another model may serve it
    instead. ``given_up``: its model is, and all that waits for it will be parked like this. ``in_doubt``: how many of
    its earlier tries died, perhaps paid.
    """

    status: Literal["answered", "parked", "held", "closed", "stop"]
    reused: bool = False
    cost_usd: float | None = None
    before_usd: float = 0.0
    reason: str = ""
    passing: bool = False
    falls_back: bool = False
    given_up: bool = False
    wait_s: float = 0.0
    in_doubt: int = 0


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
    """Where a batch stands. ``cost_usd`` counts priced calls, ``unpriced`` those without a known price.

    ``fresh_usd`` is what this run of it has spent, calls in doubt at their worst; ``spent_usd`` all that its analyses
    ever took. ``waiting`` says which models take no calls, and why."""

    index: int
    planned: int
    done: int
    parked: int
    parked_passing: int
    in_flight: int
    cost_usd: float
    unpriced: int
    spent_usd: float = 0.0
    fresh_usd: float = 0.0
    waiting: str = ""
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
    waiting: str = ""


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
    cost_usd: float | None
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
    """How many calls a batch may have in flight from now on, by model too (``caps``), and what they may cost in all."""

    slots: int
    allowance_usd: float | None = None
    caps: dict[str, int] = {}


class Short(Border):
    """A batch could go on but for the money: ``needed_usd`` is what its next call may cost at worst, ``reserved_usd``
    what those in flight may, ``allowance_usd`` what it was told it may spend."""

    index: int
    needed_usd: float
    wanted_usd: float
    in_flight: int
    reserved_usd: float
    allowance_usd: float
    fresh_usd: float
    spent_usd: float


class Checked(Border):
    """What a session has been found to be before it starts: what its archive says was spent, calls in doubt
    included."""

    spent_usd: float = 0.0


class Join(Border):
    """A session that is about to call a model: its workflow, the queue of these calls, and the tokens each takes."""

    workflow_id: str
    queue: str
    tokens_per_call: int | None = None


class Leave(Border):
    """A session that calls a model no more."""

    workflow_id: str


class ModelShare(Border):
    """A session's part of a model's limits, None where there is none; ``source`` says who set them, in words."""

    model: str
    in_flight: int | None = None
    calls_per_minute: float | None = None
    source: str = ""


class ShareNote(Border):
    """A session's parts of its models' limits, for its store, where they can be read without a server."""

    key: SessionKey
    shares: tuple[ModelShare, ...]


class Rate(Border):
    """The rate at which a queue hands out calls; None lifts it."""

    queue: str
    calls_per_minute: float | None


class Claim(Border):
    """A session's account: what it has spent in all, and the room it wants for calls to come; 0 when it has ended.

    A session that has no call in flight says that a room below ``least_usd`` is of no use to it, and then holds none at
    all: what two of them held in vain, neither could ever use. While something moves it is 0.
    """

    workflow_id: str
    spent_usd: float
    room_usd: float
    least_usd: float = 0.0


class Grant(Border):
    """The room that a session has beyond the ``spent_usd`` of its claim: what it wanted, or less.

    ``level`` is the budget that binds (session, experiment or project), with its limit and what is spent of it.
    ``final``: no other session holds room of it that could become free.
    """

    spent_usd: float
    room_usd: float
    level: str = ""
    limit_usd: float | None = None
    level_spent_usd: float = 0.0
    final: bool = False


class SpendingRequest(Border):
    project: str


class ProjectSpending(Border):
    """What a project's sessions have spent by the archives, by workflow id, and the budgets in force, in USD."""

    spent: dict[str, float]
    project_usd: float | None = None
    experiments_usd: dict[str, float] = {}
    sessions_usd: dict[str, float] = {}


class Stopped(Border):
    """Why a batch cannot go on: a missing key, an exhausted quota, a full disk."""

    index: int
    reason: str


class ModelLimits(Border):
    """What a model may be called at most: requests and tokens per minute, calls in flight; None is no limit."""

    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    in_flight: int | None = None


class ModelTerms(Border):
    """What models.yaml says of a model, as far as its workflow needs it."""

    failure_threshold: int
    quarantine_s: float
    interval_s: float
    monitored: bool
    limits: ModelLimits = ModelLimits()


class ModelStart(Border):
    """What a model's workflow is started with; from ``told`` on, what it knew when it last began a new history."""

    model: str
    terms: ModelTerms
    told: ModelLimits | None = None
    seen: ModelLimits = ModelLimits()
    joined: tuple[Join, ...] = ()


class Answered(Border):
    """Calls that were answered, one after the other; times are the latest one's, in seconds since the epoch.

    ``latencies_ms`` are those of the latest, ``tokens_per_call`` their mean.
    """

    calls: int
    sent_at: float
    at: float
    latencies_ms: tuple[float, ...] = ()
    tokens_per_call: float | None = None


class Failed(Border):
    """A call that failed; times in seconds since the epoch. ``probe``: it is the one that its asker was granted."""

    error_class: str
    message: str
    sent_at: float
    at: float
    probe: bool = False


class Report(Border):
    """What came of one process's calls to a model, in order, and the limits that the vendor's headers told."""

    asker: str
    events: tuple[Answered | Failed, ...]
    seen: ModelLimits | None = None


class ModelView(Border):
    """What a process needs to know of a model; times in seconds since the epoch.

    ``limits`` are those in force, ``sources`` says in words where each comes from, ``calls_per_minute`` is what follows
    for all sessions together. ``trouble``: a queue whose rate could not be set, and why. ``quarantined_at`` are the
    latest quarantines in a row, ``closed_by`` the class of error that began this one; until ``probed_until`` a call
    tries the model.
    """

    model: str
    status: str
    reason: str
    since: float | None
    until: float | None
    limits: ModelLimits
    sources: dict[str, str]
    calls_per_minute: float | None
    tokens_per_call: float | None
    sessions: int
    trouble: str = ""
    quarantined_at: tuple[float, ...] = ()
    closed_by: str = ""
    probed_until: float | None = None


class Permit(Border):
    """Whether the asker may try a model that is left alone, with a single call."""

    granted: bool
    view: ModelView


class LevelAccount(Border):
    """A level of a project's ledger, in USD: its budget (None: it has none), what is spent and what is reserved of it.

    ``name`` is that of the project or experiment, or a session's workflow id. ``waiting``: a session wants more room.
    """

    level: Literal["project", "experiment", "session"]
    name: str
    limit_usd: float | None
    spent_usd: float
    reserved_usd: float
    waiting: bool = False


class Queues(Border):
    """Queues by name."""

    queues: tuple[str, ...]
