"""Everything a report is made from; whoever has a session gathers it, and the report adds nothing of its own."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from discernus.experiments.corpus import Document
from discernus.experiments.experiment import Experiment
from discernus.experiments.framework import Framework
from discernus.reports.records import AnalysisRecord


@dataclass(frozen=True)
class CallInDoubt:
    """A request that may have reached a model, and may have been paid, without an answer that was archived."""

    call: str  # its name in the archive: 017, 017_ask1, 017_extraction
    model: str
    since: str  # ISO 8601, UTC
    note: str = ""


@dataclass(frozen=True)
class ParkedAnalysis:
    """An analysis that could not be had, with the class of its last error."""

    number: int
    error: str
    message: str


@dataclass(frozen=True)
class ModelCost:
    """What the calls of one purpose to one model took. ``unpriced`` calls are not in ``cost_usd``; None: none is."""

    model: str
    purpose: str
    calls: int
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    cost_usd: float | None = None
    unpriced: int = 0


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
    versions: Mapping[str, str] = field(default_factory=dict)
    files: tuple[SessionFile, ...] = ()
    warnings: tuple[str, ...] = ()
    baselines: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)
    """Of an offline model: each document's scores by the count over its whole text, without resampling."""
