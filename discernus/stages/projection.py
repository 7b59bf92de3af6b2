"""Shared tables that grow while a session runs: each rebuilt from what the calls left, by one writer at a time.

A row is appended when its analysis has been read. Where the file is not as this process left it (another worker
wrote it, or a crash tore it), it is written anew as a whole.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

from discernus.experiments.freezing import texts_at_hand
from discernus.reports import evidence, hypothesis_table, reliability, results
from discernus.reports.records import AnalysisRecord
from discernus.sessions import layout
from discernus.sessions.call_log import call_log
from discernus.sessions.lines import to_lines
from discernus.sessions.owners import Lock
from discernus.sessions.session import Session
from discernus.stages.records import all_calls, analysis_record, answered_at, paid_here
from discernus.stages.testing import tested


@dataclass
class _Table:
    """What this process knows of the tables it wrote: the analyses in them, and how large it left results.csv."""

    numbers: set[int] = field(default_factory=set)
    size: int = -1


_tables: WeakKeyDictionary[Session, _Table] = WeakKeyDictionary()


def project_tables(session: Session) -> tuple[int, float]:
    """Bring results.csv up to date; return its number of rows and the seconds it took."""
    with Lock(session.folder / layout.TABLES_LOCK):
        return _project(session)


def _project(session: Session) -> tuple[int, float]:
    began = time.monotonic()
    if session.reached("analysis"):  # a straggler: the final tables stand
        return 0, 0.0
    table = _tables.setdefault(session, _Table())
    read = {_number(name) for name in session.store.names(layout.EXTRACTED) if name.startswith("extracted_")}
    framework = session.definition.framework
    metadata_keys, parameter_names = column_names(session)
    if table.size != session.store.size(layout.RESULTS):
        table.numbers = set()
        header = results.line(results.header(framework, metadata_keys, parameter_names))
        session.store.put(layout.RESULTS, header, durable=False)
    fresh = [session.analysis(number) for number in sorted(read - table.numbers)]
    rows = b"".join(
        results.line(results.row(analysis_record(session, analysis), framework, metadata_keys, parameter_names))
        for analysis in fresh
    )
    table.size = session.store.append(layout.RESULTS, rows)
    table.numbers |= {analysis.number for analysis in fresh}
    return len(table.numbers), time.monotonic() - began


def write_tables(session: Session, records: list[AnalysisRecord]) -> None:
    """Write every table anew and in the plan's order: results, their dictionary, and the logs of calls and readings."""
    with Lock(session.folder / layout.TABLES_LOCK):
        _write_tables(session, records)


def _write_tables(session: Session, records: list[AnalysisRecord]) -> None:
    for name, data in tables_of(session, records).items():
        session.store.put(name, data)


def tables_of(session: Session, records: list[AnalysisRecord]) -> dict[str, bytes]:
    """Return the bytes of every table by its name."""
    framework = session.definition.framework
    metadata_keys, parameter_names = column_names(session)
    tests = _tests(session, records)
    return {
        layout.RESULTS: results.write_csv(records, framework, metadata_keys, parameter_names),
        layout.DICTIONARY: results.data_dictionary(framework, metadata_keys, parameter_names)
        + evidence.dictionary()
        + reliability.dictionary()
        + (hypothesis_table.dictionary() if tests else b""),
        layout.CONSISTENCY: reliability.write_csv(records, framework),
        layout.EVIDENCE: evidence.write_csv(records, texts_at_hand(session.definition)),
        **tests,
        layout.CALL_LOG: call_log(_call_lines(session)),
        layout.EXTRACTION_LOG: to_lines(_extraction_line(record) for record in records if record.route is not None),
    }


def _tests(session: Session, records: list[AnalysisRecord]) -> dict[str, bytes]:
    """Return the table of the statistical plan's tests; nothing where there is no plan."""
    definition = session.definition
    if not definition.experiment.statistical_plan:
        return {}
    return {layout.HYPOTHESIS_TESTS: hypothesis_table.write_tests(tested(definition, records))}


def column_names(session: Session) -> tuple[list[str], list[str]]:
    """Return the metadata columns and the parameter columns of the session, the same for all its rows."""
    definition = session.definition
    metadata = dict.fromkeys(key for document in definition.documents for key in document.metadata)
    experiment = definition.experiment
    models = (*experiment.models, *(model for models in experiment.fallback_models.values() for model in models))
    parameters = sorted({name for model in models for name in experiment.settings_of(model).parameters()})
    return list(metadata), parameters


def _call_lines(session: Session) -> list[dict[str, object]]:
    return [
        {
            "call": call.call,
            "timestamp": answered_at(call),
            "purpose": call.purpose,
            "model_requested": call.model_requested,
            "model_answered": call.model_answered,
            "substituted": call.substituted,
            "prompt_tokens": call.prompt_tokens,
            "completion_tokens": call.completion_tokens,
            "cost_usd": paid_here(call),
            "latency_ms": call.latency_ms,
            "finish_reason": call.finish_reason,
            "marks": call.marks,
            "attempt": call.attempt,
            "reused_from": call.reused_from,
        }
        for call in sorted(all_calls(session), key=lambda call: (call.number, call.purpose, call.ask, call.attempt))
    ]


def _extraction_line(record: AnalysisRecord) -> dict[str, object]:
    return {
        "number": record.number,
        "document": record.document,
        "model": record.model_requested,
        "call": record.call,
        "run": record.run,
        "status": record.status,
        "route": record.route,
        "scored": len(record.scores),
        "missing": record.missing,
    }


def _number(name: str) -> int:
    return int(name.removeprefix("extracted_").removesuffix(".json"))
