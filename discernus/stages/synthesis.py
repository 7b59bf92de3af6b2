"""The report."""

from __future__ import annotations

from discernus.sessions import layout
from discernus.sessions.session import Session
from discernus.stages.calculation import checkpoint


def synthesise(session: Session) -> None:
    """Write the report."""
    session.store.put(layout.REPORT, b"# report\n")
    checkpoint(session, "synthesis", {"report": layout.REPORT})
