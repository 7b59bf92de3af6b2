"""The report and the pages: what a person reads, made from the records and from nothing else."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime
from hashlib import sha256

from discernus.experiments.definition import Definition
from discernus.experiments.experiment import OFFLINE_PREFIX
from discernus.llm.offline import baseline
from discernus.llm.requests import lexicon_of
from discernus.reports.analysis_page import analysis_page
from discernus.reports.data import CallInDoubt, ModelCost, ParkedAnalysis, ReportData, SessionFile
from discernus.reports.records import AnalysisRecord
from discernus.reports.report import final_report
from discernus.sessions import layout
from discernus.sessions.archive import ArchivedCall
from discernus.sessions.session import Session
from discernus.stages.calculation import checkpoint
from discernus.stages.records import all_calls, session_records

# What the report names with its hash; the seal has the hash of every file.
NAMED_FILES = (
    "experiment_snapshot.md",
    "framework_snapshot.md",
    "corpus_manifest.json",
    layout.RESULTS,
    layout.DICTIONARY,
    layout.CALL_LOG,
)


def synthesise(session: Session) -> None:
    """Write the report and a page for each analysis that was read. Repeating it changes nothing but the time."""
    records = list(session_records(session))
    framework = session.definition.framework
    for record in records:
        if record.route is not None:
            page = analysis_page(record, framework, session.definition.texts[record.document])
            session.store.put(layout.page(record.number), page.encode(), durable=False)
    session.store.put(layout.REPORT, final_report(report_data(session, records)).encode())
    checkpoint(session, "synthesis", {"report": layout.REPORT})


def report_data(session: Session, records: list[AnalysisRecord]) -> ReportData:
    """Return everything the report is made from."""
    definition, facts = session.definition, session.facts
    missing = any(record.gave_nothing for record in records)
    return ReportData(
        project=facts.project,
        session=facts.session,
        experiment=definition.experiment,
        framework=definition.framework,
        documents=definition.documents,
        texts=definition.texts,
        records=tuple(records),
        status="partial" if missing else "complete",
        started_at=facts.created_at.isoformat(timespec="seconds"),
        finished_at=datetime.now(UTC).isoformat(timespec="seconds"),
        in_doubt=_in_doubt(session),
        parked=_parked(session, records),
        costs=_costs(all_calls(session)),
        versions=facts.versions,
        files=tuple(
            SessionFile(name, sha256(session.store.get(name)).hexdigest())
            for name in NAMED_FILES
            if session.store.exists(name)
        ),
        warnings=tuple(str(problem) for problem in definition.warnings),
        baselines=_baselines(definition),
    )


def _baselines(definition: Definition) -> dict[str, dict[str, float | None]]:
    """Return each document's scores by the offline method's count over its whole text, if that method was asked."""
    if not any(model.startswith(OFFLINE_PREFIX) for model in definition.experiment.models):
        return {}
    lexicon = lexicon_of(definition.framework, run=0)
    return {document.id: baseline(definition.texts[document.id], lexicon) for document in definition.documents}


def _in_doubt(session: Session) -> tuple[CallInDoubt, ...]:
    return tuple(
        CallInDoubt(
            call=intent.call,
            model=intent.model,
            since=intent.sent_at.isoformat(timespec="seconds"),
            note=f"attempt {intent.attempt}; its process ended before an answer was archived",
        )
        for intent in session.intents()
    )


def _parked(session: Session, records: list[AnalysisRecord]) -> tuple[ParkedAnalysis, ...]:
    parked = (session.parked(record.number) for record in records if record.status == "parked")
    return tuple(ParkedAnalysis(one.number, one.error_class, one.reason) for one in parked if one is not None)


def _costs(calls: Iterable[ArchivedCall]) -> tuple[ModelCost, ...]:
    groups: dict[tuple[str, str], list[ArchivedCall]] = defaultdict(list)
    for call in calls:
        groups[call.model_requested, call.purpose].append(call)
    return tuple(_cost(model, purpose, group) for (model, purpose), group in sorted(groups.items()))


def _cost(model: str, purpose: str, calls: list[ArchivedCall]) -> ModelCost:
    priced = [call.cost_usd for call in calls if call.cost_usd is not None]
    return ModelCost(
        model=model,
        purpose=purpose,
        calls=len(calls),
        prompt_tokens=sum(call.prompt_tokens or 0 for call in calls),
        completion_tokens=sum(call.completion_tokens or 0 for call in calls),
        cached_tokens=sum(call.cached_tokens or 0 for call in calls),
        reasoning_tokens=sum(call.reasoning_tokens or 0 for call in calls),
        cost_usd=sum(priced) if priced else None,
        unpriced=len(calls) - len(priced),
    )
