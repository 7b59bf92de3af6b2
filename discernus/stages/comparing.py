"""Two sessions gathered for a comparison: their frozen inputs, their records, and what was said to their models."""

from __future__ import annotations

from discernus.reports.comparison import Comparison, compare
from discernus.reports.records import AnalysisRecord
from discernus.reports.sides import Side
from discernus.sessions.layout import Call
from discernus.sessions.questions import read_question
from discernus.sessions.session import Session
from discernus.stages.records import session_records


def compare_sessions(first: Session, second: Session) -> Comparison:
    """Return the comparison. Raise SnapshotDamaged or InvalidDefinition where a session's inputs cannot be read."""
    return compare(_side(first), _side(second))


def _side(session: Session) -> Side:
    definition, records = session.definition, tuple(session_records(session))
    return Side(
        session=session.name,
        experiment=definition.experiment,
        framework=definition.framework,
        documents=definition.documents,
        records=records,
        prompts=_prompts(session, records),
        versions=session.facts.versions,
    )


def _prompts(session: Session, records: tuple[AnalysisRecord, ...]) -> dict[str, frozenset[str]]:
    """Return, by variant, the hash of the first message of each request, which is the same for every text."""
    found: dict[str, set[str]] = {}
    for record in records:
        said = _first_message(session, record)
        if said is not None:
            found.setdefault(record.variant, set()).add(said)
    return {variant: frozenset(hashes) for variant, hashes in found.items()}


def _first_message(session: Session, record: AnalysisRecord) -> str | None:
    """Return the hash of what was said before the text; None where no request was kept."""
    if record.call is None:
        return None
    try:
        messages = read_question(session.store, Call.named(record.call).request)["messages"]
        return str(messages[0]["content_sha256"]) if len(messages) > 1 else None
    except (ValueError, LookupError, TypeError):
        return None
