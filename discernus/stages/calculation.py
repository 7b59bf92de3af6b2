"""The numbers: derived metrics and the final tables, all by code, all from the archived answers."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from discernus.sessions import layout
from discernus.sessions.session import Session
from discernus.stages.projection import write_tables
from discernus.stages.records import session_records


def calculate(session: Session) -> None:
    """Write the final tables and the checkpoints of analysis and calculation. Repeating it changes nothing."""
    records = list(session_records(session))
    counts: dict[str, int] = {}
    for record in records:
        counts[record.status] = counts.get(record.status, 0) + 1
    checkpoint(session, "analysis", {"analyses": counts})
    write_tables(session, records)
    checkpoint(session, "calculation", {"tables": [layout.RESULTS, layout.DICTIONARY]})


def checkpoint(session: Session, stage: str, facts: dict[str, object]) -> None:
    """Write down that a stage has been completed."""
    record = {"format": 1, "stage": stage, "at": datetime.now(UTC).isoformat(), **facts}
    session.store.put(layout.checkpoint(stage), json.dumps(record, indent=1).encode())
