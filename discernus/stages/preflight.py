"""Before anything is spent: the frozen inputs are what they were, and nothing says that the session has ended."""

from __future__ import annotations

from discernus.sessions import layout
from discernus.sessions.progress import STAGES
from discernus.sessions.session import Session


def preflight(session: Session) -> None:
    """Read every frozen input and check its hash, then note that the session runs.

    Raises SnapshotDamaged naming the file. The checkpoints of an earlier version are taken back, for it goes on.
    """
    if len(session.plan) != session.facts.analyses:
        raise RuntimeError(f"{session.name}: the plan has {len(session.plan)} analyses, not {session.facts.analyses}")
    for stage in STAGES:
        session.store.remove(layout.checkpoint(stage))
    session.note_status("running", "")
