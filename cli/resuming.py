"""``resume``: go on with one session on its frozen inputs, or begin anew at one of its stages."""

from __future__ import annotations

import asyncio
from contextlib import closing
from functools import partial

from cli.display import Display, counted, make_display
from cli.ending import end
from cli.exits import INTERRUPTED, INVALID, CommandError, command_name
from cli.preparing import prepare_again
from cli.remote import is_at_work
from cli.run import go_on
from cli.sessions import session_to_change
from cli.signing import sign_seal
from cli.state import asks, changes, explained, stops, tries_parked
from discernus.logs import log_to
from discernus.sessions import layout
from discernus.sessions.integrity.examination import SealBroken
from discernus.sessions.integrity.manifests import Stage
from discernus.sessions.opening import HIDDEN, state_of
from discernus.sessions.owners import Lock, Onlooker
from discernus.sessions.progress import ProgressReader
from discernus.sessions.resuming import conflicts, full_name
from discernus.sessions.session import Session
from discernus.settings import Settings
from discernus.stages.anew import make_anew
from discernus.stages.checkpoints import go_back, prospect, take_up


def resume(settings: Settings, name: str, *, stage: Stage | None, as_json: bool) -> int:
    """Go on with a session, from a stage if one is given; return the exit code.

    Raises CommandError for what stands against it, with the choices.
    """
    session = Session(session_to_change(settings, name).folder, settings.mirror_dir)
    found = conflicts(session, Onlooker(settings.projects_dir / HIDDEN / "owners"))
    at_work = asyncio.run(is_at_work(settings, session))
    if at_work and stage is not None:
        raise CommandError(_taken(session), INVALID)
    against = [one for one in found if stops(one, stage)]
    if against:
        raise CommandError("\n".join(explained(against)), INVALID)
    with closing(make_display(as_json=as_json)) as display:
        state = state_of(session)
        if stage is None and state == "complete":
            sign_seal(settings, session, display)
            return end(ProgressReader(session).read(), session, display, already=True)
        for line in (*explained(found), *changes(settings, session)):
            display.say(line)
        if stage is not None and not asks(stage):
            return _make_anew(settings, session, stage, display)
        asking = prospect(session, stage, try_parked=tries_parked(stage, state)).to_ask
        prepared = prepare_again(settings, session, asking=bool(asking))
        afresh = stage is not None or state == "partial"  # what a server knows of one that was sealed is past
        taking_up = (lambda: None) if at_work else partial(_take_up, session, stage, state, display)
        return asyncio.run(go_on(settings, session, prepared, display, taking_up, afresh=afresh and not at_work))


def _make_anew(settings: Settings, session: Session, stage: Stage, display: Display) -> int:
    """Make a stage and the later ones anew of what is there; no model is asked, and no server is needed."""
    prepare_again(settings, session, asking=False)
    lock = Lock(session.folder / layout.OWNER_LOCK)
    if not lock.acquire():
        raise CommandError(_taken(session), INVALID)
    try:
        log_to(session.folder / layout.OPERATIONAL_LOG)
        display.say(f"beginning anew at {stage}: no answer is touched, and no model asked")
        make_anew(session, stage, settings.signing_key)
    except SealBroken as broken:
        raise CommandError(str(broken), INVALID) from broken
    except KeyboardInterrupt:
        again = f"{command_name()} resume {full_name(session)} --from {stage}"
        raise CommandError(f"interrupted; every answer is kept. Begin again with: {again}", INTERRUPTED) from None
    finally:
        lock.release()
    return end(ProgressReader(session).read(), session, display)


def _taken(session: Session) -> str:
    return f"another process has just taken up {session.name}; stop it there, or watch it"


def _take_up(session: Session, stage: Stage | None, state: str, display: Display) -> None:
    """Take back what is to be made anew, and take up what was parked, as the session's only owner."""
    lock = Lock(session.folder / layout.OWNER_LOCK)
    if not lock.acquire():
        if stage is None:  # whoever holds it has taken the session up
            return
        raise CommandError(_taken(session), INVALID)
    try:
        if stage is not None:
            gone = go_back(session, stage, try_parked=tries_parked(stage, state))
            display.say(f"beginning anew at {stage}: {counted(len(gone), 'file')} made anew, no answer touched")
        released = take_up(session)
        again = f"; {counted(released, 'parked analysis')} tried again" if released else ""
        display.say(f"resuming {session.name}{again}")
    except SealBroken as broken:
        raise CommandError(str(broken), INVALID) from broken
    finally:
        lock.release()
