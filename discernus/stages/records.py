"""A session's analyses as records: what was read of each answer, joined with its call, its document and its metrics."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from functools import lru_cache
from typing import Any

from discernus.experiments.framework import Framework
from discernus.experiments.plan import Analysis
from discernus.extraction.extract import Extraction
from discernus.reports.data import ParkedAnalysis
from discernus.reports.records import AnalysisRecord
from discernus.sessions import layout
from discernus.sessions.archive import TIME_NOT_RECORDED, ZONE_NOT_RECORDED, ArchiveDamaged, ArchivedCall
from discernus.sessions.layout import Call
from discernus.sessions.session import Session
from discernus.sessions.store import NotInStore
from discernus.sessions.substitutes import is_substitute
from discernus.statistics.formulas import compute, named_values


def session_records(session: Session) -> Iterator[AnalysisRecord]:
    """Yield a record for every analysis of the plan, in its order."""
    for analysis in session.plan:
        yield analysis_record(session, analysis)


def analysis_record(session: Session, analysis: Analysis) -> AnalysisRecord:
    """Return the record of one analysis: scored, partial, parked or pending."""
    definition = session.definition
    metadata = _metadata(session)[analysis.document]
    extracted = session.extracted(analysis.number)
    damage = ""
    if extracted is not None:
        try:
            call = archived(session, extracted.call)
        except ArchiveDamaged as damaged:
            damage = f"archive_damaged: {damaged}"
    if extracted is None or damage:
        parked = session.parked(analysis.number)
        held = parked is not None and not parked.released
        return AnalysisRecord(
            number=analysis.number,
            document=analysis.document,
            metadata=metadata,
            model_requested=analysis.model,
            variant=analysis.variant,
            run=analysis.run,
            status="parked" if held or damage else "pending",
            reason=damage or (f"{parked.error_class}: {parked.reason}" if parked and held else "not analysed yet"),
            parameters=definition.experiment.settings_of(analysis.model).parameters(),
        )
    extraction = extracted.extraction
    derived, derived_missing = derived_metrics(definition.framework, extraction)
    return AnalysisRecord(
        number=analysis.number,
        document=analysis.document,
        metadata=metadata,
        model_requested=analysis.model,
        model_asked=call.model_requested,
        model_answered=call.model_answered,
        substituted=is_substitute(session, call),
        variant=analysis.variant,
        run=analysis.run,
        status="scored" if extraction.status == "complete" else "partial",
        reason="; ".join(extraction.problems) if extraction.status == "none" else "",
        scores=extraction.scores,
        confidence=extraction.confidence,
        salience=extraction.salience,
        labels=extraction.labels,
        missing=extraction.missing,
        derived=derived,
        derived_missing=derived_missing,
        evidence=extraction.evidence,
        route=extraction.route,
        finish_reason=call.finish_reason,
        marks=call.marks,
        prompt_tokens=call.prompt_tokens,
        completion_tokens=call.completion_tokens,
        cached_tokens=call.cached_tokens,
        reasoning_tokens=call.reasoning_tokens,
        cost_usd=paid_here(call),
        latency_ms=call.latency_ms,
        answered_at=answered_at(call),
        ask=call.ask,
        call=call.call,
        reused_from=call.reused_from,
        parameters=_without_lexicon(call.parameters),
        dropped_parameters=call.dropped_parameters,
    )


def answered_at(call: ArchivedCall, timespec: str = "milliseconds") -> str | None:
    """Return when the answer was there, without an offset where no zone was recorded; None where no time was."""
    if call.archived_at is None or TIME_NOT_RECORDED in call.marks:  # early migrations left a stand-in beside the mark
        return None
    return _moment(call, call.archived_at, timespec)


def asked_at(call: ArchivedCall, timespec: str = "milliseconds") -> str | None:
    """Return when the request went out, without an offset where no zone was recorded; None where no time was."""
    return None if call.started_at is None else _moment(call, call.started_at, timespec)


def _moment(call: ArchivedCall, at: datetime, timespec: str) -> str:
    return (at.replace(tzinfo=None) if ZONE_NOT_RECORDED in call.marks else at).isoformat(timespec=timespec)


def parked_analyses(session: Session, records: Iterable[AnalysisRecord]) -> tuple[ParkedAnalysis, ...]:
    """Return those of the analyses that could not be had, each with the class of its last error."""
    parked = (session.parked(record.number) for record in records if record.status == "parked")
    return tuple(ParkedAnalysis(one.number, one.error_class, one.reason) for one in parked if one is not None)


def derived_metrics(framework: Framework, extraction: Extraction) -> tuple[dict[str, float], dict[str, str]]:
    """Return the framework's metrics that can be computed, and for the others why not."""
    values = {
        (dimension, role): value
        for role, by_dimension in (
            ("score", extraction.scores),
            ("confidence", extraction.confidence),
            ("salience", extraction.salience),
        )
        for dimension, value in by_dimension.items()
    }
    metrics = framework.derived_metrics
    names = [dimension.name for dimension in framework.dimensions]
    computed = compute(metrics, named_values(metrics, values, names))
    found = {name: result.value for name, result in computed.items() if result.value is not None}
    missing = {name: result.reason or "" for name, result in computed.items() if result.value is None}
    return found, missing


def archived(session: Session, call_name: str) -> ArchivedCall:
    """Return the record of an archived call by its name; ArchiveDamaged if its answer is gone, or another one."""
    call = Call.named(call_name)
    found = session.archive.look_up(call)
    if found is None:
        raise ArchiveDamaged(f"{call.response} is no longer in the archive")
    return found[0]


def paid_here(call: ArchivedCall) -> float | None:
    """Return what the session that holds the call paid for it: nothing for an answer that it took over."""
    return 0.0 if call.reused_from is not None else call.cost_usd


def all_calls(session: Session) -> Iterator[ArchivedCall]:
    """Yield every archived call once, rivals' included, in the order of their names."""
    seen: set[tuple[str, int]] = set()
    for name in session.store.names(layout.ARCHIVE):
        if name.startswith(("metadata_", "rival_metadata_")) and name.endswith(".json"):
            try:
                call = session.archive.record(f"{layout.ARCHIVE}/{name}")
            except (NotInStore, ValueError):  # its answer then counts as damaged, and is named as that
                continue
            if (call.call, call.attempt) not in seen:
                seen.add((call.call, call.attempt))
                yield call


def _without_lexicon(parameters: dict[str, Any]) -> dict[str, Any]:
    """Return what was asked of a model; the offline method is handed the framework's markers the same way."""
    return {name: value for name, value in parameters.items() if name != "lexicon"}


@lru_cache(maxsize=64)
def _metadata(session: Session) -> dict[str, dict[str, str]]:
    return {document.id: document.metadata for document in session.definition.documents}
