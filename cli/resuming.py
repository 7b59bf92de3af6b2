"""``resume``: go on with one session on its frozen inputs, or begin anew at one of its stages."""

from __future__ import annotations

import asyncio
from contextlib import closing

from cli.display import Display, counted, make_display
from cli.ending import end
from cli.exits import INVALID, CommandError
from cli.preparing import prepare_again
from cli.run import go_on
from cli.sessions import session_meant
from cli.state import changes, explained, stops, tries_parked
from discernus.sessions import layout
from discernus.sessions.integrity import Stage
from discernus.sessions.opening import HIDDEN, state_of
from discernus.sessions.owners import Lock, Onlooker
from discernus.sessions.progress import ProgressReader
from discernus.sessions.resuming import conflicts
from discernus.sessions.session import Session
from discernus.settings import Settings
from discernus.stages.checkpoints import go_back, prospect, take_up


def resume(settings: Settings, name: str, *, stage: Stage | None, as_json: bool) -> int:
    """Go on with a session, from a stage if one is given; return the exit code.

    Raises CommandError for what stands against it, with the choices.
    """
    session = Session(session_meant(settings, name).folder, settings.mirror_dir)
    found = conflicts(session, Onlooker(settings.projects_dir / HIDDEN / "owners"))
    against = [one for one in found if stops(one, stage)]
    if against:
        raise CommandError("\n".join(explained(against)), INVALID)
    with closing(make_display(as_json=as_json)) as display:
        state = state_of(session)
        if stage is None and state == "complete":
            return end(ProgressReader(session).read(), session, display, already=True)
        for line in (*explained(found), *changes(settings, session)):
            display.say(line)
        asking = prospect(session, stage, try_parked=tries_parked(stage, state)).to_ask
        prepared = prepare_again(settings, session, asking=bool(asking))
        _take_up(session, stage, state, display)
        return asyncio.run(go_on(settings, session, prepared, display, afresh=stage is not None))


def _take_up(session: Session, stage: Stage | None, state: str, display: Display) -> None:
    """Take back what is to be made anew, and take up what was parked, as the session's only owner."""
    lock = Lock(session.folder / layout.OWNER_LOCK)
    if not lock.acquire():
        if stage is None:  # whoever holds it has taken the session up
            return
        raise CommandError(f"another process has just taken up {session.name}; stop it there, or watch it", INVALID)
    try:
        if stage is not None:
            gone = go_back(session, stage, try_parked=tries_parked(stage, state))
            display.say(f"beginning anew at {stage}: {counted(len(gone), 'file')} made anew, no answer touched")
        released = take_up(session)
        again = f"; {counted(released, 'parked analysis')} tried again" if released else ""
        display.say(f"resuming {session.name}{again}")
    finally:
        lock.release()
