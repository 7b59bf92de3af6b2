"""Before anything is spent: the frozen inputs are what they were, and nothing says that the session has ended."""

from __future__ import annotations

from discernus.sessions import layout
from discernus.sessions.chronologs.chronolog import read_events
from discernus.sessions.costs import spent_usd
from discernus.sessions.session import Session
from discernus.settings import Settings
from discernus.stages.checkpoints import STAGES, go_back


def preflight(session: Session, settings: Settings) -> float:
    """Read every frozen input and check its hash, note that the session runs, and return what it has spent in USD.

    Calls in doubt count at their worst. Raises SnapshotDamaged naming the file. The checkpoints of an earlier version
    are taken back, for it goes on.
    """
    if len(session.plan) != session.facts.analyses:
        raise RuntimeError(f"{session.name}: the plan has {len(session.plan)} analyses, not {session.facts.analyses}")
    if _is_as_sealed(session):  # begun again on the server, and not by a command
        go_back(session, "calculation")
        for stage in STAGES:
            session.store.remove(layout.checkpoint(stage))
    session.note_status("running", "")
    return spent_usd(settings.projects_dir, session)


def _is_as_sealed(session: Session) -> bool:
    """Return whether nobody went back from the newest seal: its status may say that already, as notes overtake this."""
    told = [one.event for one in read_events(session.folder) if one.event in ("sealed", "files_superseded")]
    return session.is_sealed or told[-1:] == ["sealed"]
