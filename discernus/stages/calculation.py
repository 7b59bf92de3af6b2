"""The numbers: derived metrics and the final tables, all by code, all from the archived answers."""

from __future__ import annotations

from datetime import UTC, datetime

from discernus.sessions import layout
from discernus.sessions.chronologs.chronolog import gather
from discernus.sessions.integrity.manifests import Checkpoint, Stage, cover, stage_of
from discernus.sessions.session import Session
from discernus.stages.interpretation import write_brief
from discernus.stages.projection import write_tables
from discernus.stages.records import session_records
from discernus.stages.rereading import settle_taken_out


def calculate(session: Session) -> None:
    """Write the final tables, and the checkpoints up to theirs. Repeating it changes nothing but the time."""
    settle_taken_out(session)
    records = list(session_records(session))
    counts: dict[str, int] = {}
    for record in records:
        counts[record.status] = counts.get(record.status, 0) + 1
    checkpoint(session, "analysis", {"analyses": counts})
    checkpoint(session, "extraction", {"readings": sum(record.route is not None for record in records)})
    write_tables(session, records)
    write_brief(session, records)
    checkpoint(session, "calculation", {"tables": [layout.RESULTS, layout.DICTIONARY]})


def checkpoint(session: Session, stage: Stage, facts: dict[str, object]) -> None:
    """Write down that a stage has been completed, with the hash of every file that it left."""
    left = cover(session.folder, lambda name: stage_of(name) == stage)
    record = Checkpoint(
        stage=stage,
        at=datetime.now(UTC),
        root_sha256=left.root(),
        files=left.files,
        lines=left.lines,
        **facts,
    )
    session.store.put(layout.checkpoint(stage), record.model_dump_json(indent=1).encode())
    session.chronolog.note("stage_completed", stage=stage, root_sha256=record.root_sha256)
    gather(session.folder)
