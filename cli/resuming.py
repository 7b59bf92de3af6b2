"""``resume``: go on with one session on its frozen inputs, or begin anew at one of its stages."""

from __future__ import annotations

import asyncio
from contextlib import closing
from functools import partial

from cli.calculating import seal_anew
from cli.display import Display, make_display
from cli.ending import end
from cli.exits import INVALID, CommandError
from cli.preparing import prepare_again
from cli.remote import is_at_work
from cli.run import go_on
from cli.sessions import session_to_change
from cli.signing import sign_seal
from cli.state import asks, changes, explained, stops, tries_parked, writes
from cli.taking_up import take_up, taken
from discernus.sessions.integrity.manifests import Stage
from discernus.sessions.opening import HIDDEN, state_of
from discernus.sessions.owners import Onlooker
from discernus.sessions.progress import ProgressReader
from discernus.sessions.resuming import conflicts
from discernus.sessions.session import Session
from discernus.settings import Settings
from discernus.stages.checkpoints import prospect


def resume(settings: Settings, name: str, *, stage: Stage | None, as_json: bool) -> int:
    """Go on with a session, from a stage if one is given; return the exit code.

    Raises CommandError for what stands against it, with the choices.
    """
    session = Session(session_to_change(settings, name).folder, settings.mirror_dir)
    sealed = session.is_sealed
    found = conflicts(session, Onlooker(settings.projects_dir / HIDDEN / "owners"))
    at_work = asyncio.run(is_at_work(settings, session))
    if at_work and stage is not None:
        raise CommandError(taken(session), INVALID)
    against = [one for one in found if stops(one, stage)]
    if against:
        raise CommandError("\n".join(explained(against)), INVALID)
    examined = sealed and not any(one.files or one.kind == "owned" for one in found)
    with closing(make_display(as_json=as_json)) as display:
        state = state_of(session)
        if stage is None and state == "complete":
            sign_seal(settings, session, display)
            return end(ProgressReader(session).read(), session, display, already=True)
        for line in (*explained(found), *changes(settings, session)):
            display.say(line)
        writing = writes(settings, session, stage)
        if stage is not None and not asks(stage) and not writing:
            return _make_anew(settings, session, stage, display, examined=examined)
        asking = prospect(session, stage, try_parked=tries_parked(stage, state)).to_ask
        prepared = prepare_again(settings, session, asking=bool(asking) or writing)
        afresh = stage is not None or state == "partial"  # what a server knows of one that was sealed is past
        taking_up = (
            (lambda: None)
            if at_work
            else partial(take_up, session, stage, display, try_parked=tries_parked(stage, state), examined=examined)
        )
        return asyncio.run(go_on(settings, session, prepared, display, taking_up, afresh=afresh and not at_work))


def _make_anew(settings: Settings, session: Session, stage: Stage, display: Display, *, examined: bool) -> int:
    """Make a stage and the later ones anew of what is there; no model is asked, and no server is needed."""
    prepare_again(settings, session, asking=False)
    display.say(f"beginning anew at {stage}: no answer is touched, and no model asked")
    seal_anew(settings, session, stage, examined=examined)
    return end(ProgressReader(session).read(), session, display)
