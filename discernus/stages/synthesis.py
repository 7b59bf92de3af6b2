"""The report and the pages: what a person reads, made from the records and from nothing else."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256

from discernus.experiments.definition import Definition
from discernus.experiments.experiment import OFFLINE_PREFIX
from discernus.experiments.freezing import taken_out_of, texts_at_hand
from discernus.llm.offline import baseline
from discernus.llm.requests import lexicon_of
from discernus.reports.analysis_page import analysis_page
from discernus.reports.data import BudgetUse, FailureCount, Quarantine, ReportData, SessionFile
from discernus.reports.html import html_report
from discernus.reports.records import AnalysisRecord
from discernus.reports.report import final_report
from discernus.sessions import layout
from discernus.sessions.budgets import BudgetsDamaged
from discernus.sessions.costs import UNKNOWN, CallCost, onlooker
from discernus.sessions.failures import QUARANTINE, Failure, failures_of, group
from discernus.sessions.limits import limits_in_words
from discernus.sessions.registrations import keep_before, kept
from discernus.sessions.session import Session, SessionUnreadable
from discernus.stages.answerers import answering_versions, answers_of, destinations, stand_ins
from discernus.stages.calculation import checkpoint
from discernus.stages.interpretation import prose_of
from discernus.stages.records import all_calls, parked_analyses, session_records
from discernus.stages.registered import earlier, preregistration
from discernus.stages.spending import (
    advice_of,
    budgets_of,
    calls_in_doubt,
    calls_of,
    model_costs,
    models_file_of,
    projects_dir_of,
)
from discernus.stages.taken_over import taken_over
from discernus.stages.testing import tested

# What the report names with its hash; the seal has the hash of every file.
NAMED_FILES = (
    "experiment_snapshot.md",
    "framework_snapshot.md",
    "corpus_manifest.json",
    layout.RESULTS,
    layout.DICTIONARY,
    layout.CONSISTENCY,
    layout.HYPOTHESIS_TESTS,
    layout.CALL_LOG,
)


def synthesise(session: Session) -> None:
    """Write the report and a page for each analysis that was read. Repeating it changes nothing but the time."""
    records = list(session_records(session))
    framework, gone = session.definition.framework, taken_out_of(session.definition)
    for record in records:
        if record.route is not None:
            shown = record.model_copy(update={"evidence": {}}) if record.document in gone else record
            page = analysis_page(shown, framework, session.definition.texts[record.document])
            session.store.put(layout.page(record.number), page.encode(), durable=False)
    keep_before(session)
    data = report_data(session, records)
    if data.prose is not None:
        session.store.put(layout.INTERPRETATION, data.prose.model_dump_json(indent=1).encode())
    report = final_report(data)
    session.store.put(layout.REPORT, report.encode())
    session.store.put(layout.REPORT_PAGE, html_report(data, report).encode())
    checkpoint(session, "synthesis", {"report": layout.REPORT})


def report_data(session: Session, records: list[AnalysisRecord]) -> ReportData:
    """Return everything the report is made from."""
    definition, facts, models_file = session.definition, session.facts, models_file_of(session)
    missing = any(record.gave_nothing for record in records)
    calls, answers = calls_of(session), answers_of(session)
    failures = failures_of(session, onlooker(projects_dir_of(session)))
    called = {*answers.places, *(call.model for call in calls)}
    called |= {failure.model for failure in failures if failure.model is not None}
    budgets, unreadable = _budgets(session, calls)
    before = kept(session)
    data = ReportData(
        project=facts.project,
        session=facts.session,
        experiment=definition.experiment,
        framework=definition.framework,
        documents=definition.documents,
        texts=texts_at_hand(definition),
        records=tuple(records),
        status="partial" if missing else "complete",
        started_at=facts.created_at.isoformat(timespec="seconds"),
        finished_at=datetime.now(UTC).isoformat(timespec="seconds"),
        in_doubt=calls_in_doubt(session, calls),
        parked=parked_analyses(session, records),
        costs=model_costs(calls),
        price_sources={model: tuple(sorted(sources)) for model, sources in answers.prices.items()},
        budgets=budgets,
        advice=advice_of(session, calls),
        stand_ins=stand_ins(session, records, answers, failures),
        answering_versions=answering_versions(session, records, answers),
        failures=_counted(failures),
        quarantines=_quarantines(failures),
        destinations=destinations(called - {UNKNOWN}, answers, models_file),
        limits=limits_in_words(session),
        versions=facts.versions,
        files=tuple(
            SessionFile(name, sha256(session.store.get(name)).hexdigest())
            for name in NAMED_FILES
            if session.store.exists(name)
        ),
        warnings=(*(str(problem) for problem in definition.warnings), *unreadable),
        clock=facts.clock,
        taken_over=taken_over(all_calls(session)),
        migrated_from=facts.migrated_from,
        preregistration=preregistration(session, before),
        earlier=earlier(before),
        earlier_gone=(*before.gone, *before.unreadable) if before is not None else (),
        tests=tested(definition, records),
        baselines=_baselines(definition),
    )
    return replace(data, prose=prose_of(session, data))


def _budgets(session: Session, calls: list[CallCost]) -> tuple[tuple[BudgetUse, ...], tuple[str, ...]]:
    """Return the budgets in force; where they cannot be read, what to say of that instead."""
    try:
        return budgets_of(session, calls), ()
    except BudgetsDamaged as damaged:
        return (), (str(damaged),)
    except SessionUnreadable:
        return (), (f"a session of project {session.facts.project} cannot be read, so no budget's use is known",)


def _counted(failures: tuple[Failure, ...]) -> tuple[FailureCount, ...]:
    return tuple(
        FailureCount(
            error_class=one.error_class or "",
            model=one.model,
            count=one.count,
            outcomes={str(outcome): number for outcome, number in one.outcomes.items()},
            first_failed=one.first_failed,
            first_recovered=one.first_recovered,
        )
        for one in group(failures, ("class", "model"))
    )


def _quarantines(failures: tuple[Failure, ...]) -> tuple[Quarantine, ...]:
    return tuple(
        Quarantine(
            model=one.model,
            reason=one.message.partition(": ")[2],
            since=f"{one.at:%Y-%m-%dT%H:%M:%S}",
            answered_at=None if one.answered_after_s is None else _after(one.at, one.answered_after_s),
        )
        for one in failures
        if one.error_class == QUARANTINE and one.model is not None and one.at is not None and one.call is None
    )


def _after(at: datetime, seconds: float) -> str:
    return f"{at + timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%S}"


def _baselines(definition: Definition) -> dict[str, dict[str, float | None]]:
    """Return each document's scores by the offline method's count over its whole text, if that method was asked."""
    if not any(model.startswith(OFFLINE_PREFIX) for model in definition.experiment.models):
        return {}
    lexicon = lexicon_of(definition.framework, run=0)
    return {name: baseline(text, lexicon) for name, text in texts_at_hand(definition).items()}
