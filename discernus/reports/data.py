"""Everything a report is made from; whoever has a session gathers it, and the report adds nothing of its own."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from discernus.experiments.corpus import Document
from discernus.experiments.experiment import Experiment
from discernus.experiments.framework import Framework
from discernus.reports.prose import Prose
from discernus.reports.records import AnalysisRecord
from discernus.statistics.verdicts import Tested


@dataclass(frozen=True)
class CallInDoubt:
    """A request that may have reached a model, and may have been paid, without an answer that was archived."""

    call: str  # its name in the archive: 017, 017_ask1, 017_extraction
    model: str
    since: str  # ISO 8601, UTC
    note: str = ""
    worst_usd: float | None = None  # what it may have cost at most


@dataclass(frozen=True)
class ParkedAnalysis:
    """An analysis that could not be had, with the class of its last error."""

    number: int
    error: str
    message: str


@dataclass(frozen=True)
class ModelCost:
    """What the calls of one purpose to one model took, those that ``failed`` and were billed among them.

    ``unpriced`` calls are not in ``cost_usd``, which is None where no call has a known cost. Calls in doubt are not
    among them, nor those that stayed ``unanswered``, which may have cost ``unanswered_usd``, None if nobody knows how
    much. Tokens are None where no vendor counted them.
    """

    model: str
    purpose: str
    calls: int
    prompt_tokens: int | None
    completion_tokens: int | None
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None
    cost_usd: float | None = None
    unpriced: int = 0
    failed: int = 0
    unanswered: int = 0
    unanswered_usd: float | None = 0.0


@dataclass(frozen=True)
class BudgetUse:
    """A budget in force, and what counts against it, calls in doubt or cut off at their worst case."""

    level: Literal["project", "experiment", "session"]
    name: str
    limit_usd: float
    spent_usd: float


@dataclass(frozen=True)
class StandIn:
    """Calls of one purpose that one model answered in another's place, ``of`` so many in all.

    ``why`` counts the classes of failure that led there; it is empty for a substitution, where a vendor or a proxy had
    another model answer.
    """

    purpose: Literal["analysis", "extraction"]
    model: str
    stood_in: str
    calls: int
    of: int
    why: Mapping[str, int] = field(default_factory=dict)
    substitution: bool = False


@dataclass(frozen=True)
class AnsweringVersion:
    """A version under which a model answered, from which call on, and how many analyses of the session are its."""

    model: str
    version: str
    call: str
    at: str  # ISO 8601, UTC
    analyses: int


@dataclass(frozen=True)
class FailureCount:
    """What went wrong with calls to one model, of one class, and what came of it.

    Of ``first_failed`` calls, whose first attempt failed in passing, ``first_recovered`` were answered by trying again.
    """

    error_class: str
    model: str | None
    count: int
    outcomes: Mapping[str, int]
    first_failed: int = 0
    first_recovered: int = 0


@dataclass(frozen=True)
class Quarantine:
    """A time during which a model took no calls; ``answered_at`` is None where it did not answer again."""

    model: str
    reason: str
    since: str  # ISO 8601, UTC
    answered_at: str | None


@dataclass(frozen=True)
class Destination:
    """Where a model's calls went: who serves it, and where it runs, None where nobody told; ``source``: who did."""

    model: str
    vendor: str | None
    region: str | None
    source: str = ""


@dataclass(frozen=True)
class Preregistration:
    """What was registered before the session. ``flaws`` weaken it; ``deviations`` is None where it cannot be read."""

    name: str
    registered_at: str  # ISO 8601, UTC
    sha256: str
    signed_by: str | None
    flaws: tuple[str, ...]
    deviations: tuple[str, ...] | None


@dataclass(frozen=True)
class EarlierReading:
    """A session that was opened before this one, with answers about ``shared`` of this one's texts.

    It had ``documents`` in all.
    """

    session: str
    created_at: str  # ISO 8601, UTC where its zone was recorded
    models: tuple[str, ...]
    same_framework: bool
    shared: int
    documents: int
    zone_recorded: bool = True


@dataclass(frozen=True)
class TakenOver:
    """Answers that another ``session`` was given, and that this one took over instead of asking again.

    ``first`` and ``last`` are the days (UTC) on which they were given, None where no time is known. ``cost_usd`` is
    what is known of their price there, None where nothing is; ``unpriced`` have none.
    """

    session: str
    answers: int
    first: str | None
    last: str | None
    cost_usd: float | None
    unpriced: int


@dataclass(frozen=True)
class SessionFile:
    """A file of the session with the SHA-256 (hex) of its bytes."""

    path: str
    sha256: str


@dataclass(frozen=True)
class ReportData:
    """One session, as its report shows it. Times are ISO 8601, UTC; ``texts`` maps document ids to their texts."""

    project: str
    session: str
    experiment: Experiment
    framework: Framework
    documents: tuple[Document, ...]
    texts: Mapping[str, str]
    records: tuple[AnalysisRecord, ...]
    status: Literal["complete", "partial", "paused"]
    started_at: str
    finished_at: str | None = None
    in_doubt: tuple[CallInDoubt, ...] = ()
    parked: tuple[ParkedAnalysis, ...] = ()
    costs: tuple[ModelCost, ...] = ()
    price_sources: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # by model
    budgets: tuple[BudgetUse, ...] = ()
    advice: tuple[str, ...] = ()
    stand_ins: tuple[StandIn, ...] = ()
    answering_versions: tuple[AnsweringVersion, ...] = ()  # of models that answered under more than one
    failures: tuple[FailureCount, ...] = ()
    quarantines: tuple[Quarantine, ...] = ()
    destinations: tuple[Destination, ...] = ()
    limits: tuple[str, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    files: tuple[SessionFile, ...] = ()
    warnings: tuple[str, ...] = ()
    clock: Literal["utc", "zone_not_recorded", "time_not_recorded"] = "utc"  # what ``started_at`` is worth
    taken_over: tuple[TakenOver, ...] = ()  # from other sessions
    migrated_from: str | None = None  # the folder of an older layout that it was read from
    preregistration: Preregistration | None = None
    earlier: tuple[EarlierReading, ...] | None = None  # None: nothing tells what was before
    earlier_gone: tuple[str, ...] = ()  # sessions that were opened before, and can no longer be read
    tests: tuple[Tested, ...] = ()  # of the statistical plan
    prose: Prose | None = None  # None: the experiment asks for none
    baselines: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)
    """Of an offline model: each document's scores by the count over its whole text, without resampling."""
