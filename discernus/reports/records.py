"""One analysis as the deliverables show it: what was asked, what came back, and why anything is missing."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from discernus.extraction.extract import Route


class AnalysisRecord(BaseModel):
    """One analysis with all that is known of it. Unknown is None, missing is absent; nothing is filled in.

    ``status``: scored (each dimension has a score, or was found to have no coverage), partial (some are missing),
    parked (given up for now; ``reason`` says why) or pending. ``model_asked`` is the one that was called: a fallback
    where it is not the requested one. ``substituted``: another model answered than the one that was called. ``ask`` is
    0 for the first question, more after unusable answers. ``call`` is the archive's name of the answer that counts.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, protected_namespaces=())

    number: int
    document: str
    metadata: dict[str, str] = {}
    model_requested: str
    model_asked: str | None = None
    model_answered: str | None = None
    substituted: bool | None = None
    variant: str
    run: int
    status: Literal["scored", "partial", "parked", "pending"]
    reason: str = ""
    scores: dict[str, float] = {}
    confidence: dict[str, float] = {}
    salience: dict[str, float] = {}
    labels: dict[str, str] = {}
    missing: dict[str, str] = {}
    derived: dict[str, float] = {}
    derived_missing: dict[str, str] = {}
    evidence: dict[str, tuple[str, ...]] = {}
    route: Route | None = None
    finish_reason: str | None = None
    marks: tuple[str, ...] = ()  # what was noticed about the answer: truncated, active_content, …
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None
    cost_usd: float | None = None
    latency_ms: float | None = None
    answered_at: str | None = None  # ISO 8601, UTC
    ask: int = 0
    call: str | None = None
    reused_from: str | None = None  # session and call that paid for the answer; it then costs nothing here
    parameters: dict[str, Any] = {}
    dropped_parameters: tuple[str, ...] = ()

    @property
    def gave_nothing(self) -> bool:
        """Whether there is neither a score nor a word on why there can be none; such a session is not complete."""
        return self.status in ("parked", "pending") or (self.status == "partial" and not self.scores)

    @property
    def read_by(self) -> str:
        """The model whose reading this is: the requested one, unless another is known to have stood in for it."""
        if self.substituted and self.model_answered is not None:
            return self.model_answered
        return self.model_asked or self.model_requested

    @property
    def answer_file(self) -> str | None:
        """Where the answer that was scored lies in the session's folder; None where there is none."""
        return None if self.call is None else f"llm_archive/response_{self.call}.txt"
