"""Taking a session up as its only owner: from a stage on, or with what was parked in it."""

from __future__ import annotations

from cli.display import Display, counted
from cli.exits import INVALID, CommandError
from discernus.sessions import layout
from discernus.sessions.integrity.examination import SealBroken
from discernus.sessions.integrity.manifests import Stage
from discernus.sessions.owners import Lock
from discernus.sessions.session import Session
from discernus.stages.checkpoints import go_back
from discernus.stages.checkpoints import take_up as carry_on


def taken(session: Session) -> str:
    return f"another process has just taken up {session.name}; stop it there, or watch it"


def take_up(session: Session, stage: Stage | None, display: Display, *, try_parked: bool, examined: bool) -> None:
    """Take back what is to be made anew, and take up what was parked, as the session's only owner.

    ``try_parked`` and ``examined`` as in going back. Raise CommandError where the session is another's, or altered.
    """
    lock = Lock(session.folder / layout.OWNER_LOCK)
    if not lock.acquire():
        if stage is None:  # whoever holds it has taken the session up
            return
        raise CommandError(taken(session), INVALID)
    try:
        if stage is not None:
            gone = go_back(session, stage, try_parked=try_parked, examined=examined)
            display.say(f"beginning anew at {stage}: {counted(len(gone), 'file')} made anew, no answer touched")
        released = carry_on(session, examined=examined or stage is not None)
        again = f"; {counted(released, 'parked analysis')} tried again" if released else ""
        display.say(f"resuming {session.name}{again}")
    except SealBroken as broken:
        raise CommandError(str(broken), INVALID) from broken
    finally:
        lock.release()
