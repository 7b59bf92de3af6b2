"""Which session a run is about: resumed, opened anew, or already complete; said in words before anything is spent."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cli.display import Display, counted
from cli.preparing import Prepared
from discernus.experiments.definition import Definition
from discernus.sessions.opening import Choice, find_session, open_session, opening_lock
from discernus.sessions.session import Session
from discernus.settings import DEFAULT_CONCURRENCY, Settings


@dataclass(frozen=True)
class Chosen:
    """The session to work on; ``complete`` means that nothing is left to do."""

    session: Session
    fresh: bool
    complete: bool


def choose(
    settings: Settings,
    folder: Path,
    definition: Definition,
    preparing: Callable[[], Prepared],
    display: Display,
    *,
    new: bool,
    overridden: bool,
) -> Chosen:
    """Return the session that the command means, opening one where there is none to go on with.

    ``overridden`` says that models or runs were given on the command line, so only a session with these is meant.
    ``preparing`` settles what a session that is opened now may call; one that goes on has that settled.
    """
    with opening_lock(settings.projects_dir, folder):
        choice = None
        if not new:
            choice = find_session(settings.projects_dir, folder, definition, same_plan=overridden)
        if choice is not None and _goes_on(choice, display):
            return _resume(choice, settings, display)
        prepared = preparing()
        session = open_session(
            settings.projects_dir,
            folder,
            definition,
            concurrency=settings.concurrency or definition.experiment.concurrency or DEFAULT_CONCURRENCY,
            call_timeout_s=settings.response_timeout_s,
            mirror=settings.mirror_dir,
            extraction_models=prepared.extraction_models,
            timeouts_s=prepared.timeouts_s(),
            proxied=settings.proxy_url is not None,
        )
    display.say(f"session {session.name}, with {', '.join(session.facts.models)}")
    return Chosen(session, fresh=True, complete=False)


def meant(settings: Settings, folder: Path, definition: Definition, *, new: bool, overridden: bool) -> Session | None:
    """Return the session that would go on now, so that what it needs can be looked at; None where one is opened."""
    if new:
        return None
    choice = find_session(settings.projects_dir, folder, definition, same_plan=overridden)
    return choice.session if choice is not None and choice.state != "complete" else None


def _goes_on(choice: Choice, display: Display) -> bool:
    """Return whether the found session is the one to work on, after saying what has changed since it was opened."""
    if not choice.changes:
        return True
    display.say(f"the experiment has changed since {choice.session.facts.session} was opened:")
    for change in choice.changes:
        display.say(f"  {change}")
    if choice.state == "complete":
        display.say("that session is complete and stays as it is; this run opens another")
        return False
    if sys.stdin.isatty() and sys.stdout.isatty():
        return not _ask("[r]esume on its snapshot, as it was, or open a [n]ew session? [r] ").startswith("n")
    display.say("resuming on its snapshot, as it was; --new opens a session with the files as they are now")
    return True


def _ask(question: str) -> str:
    """Return the answer typed at the terminal. Ctrl-C ends the command: there is nothing yet that could be drained."""
    listening = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return input(question).strip().lower()
    finally:
        signal.signal(signal.SIGINT, listening)


def _resume(choice: Choice, settings: Settings, display: Display) -> Chosen:
    session = Session(choice.session.folder, settings.mirror_dir)
    if choice.state == "complete":
        return Chosen(session, fresh=False, complete=True)
    released = session.release_parked() if choice.state == "partial" else 0
    if choice.state == "partial":
        session.note_status("running", "")
    again = f"; {counted(released, 'parked analysis')} tried again" if released else ""
    display.say(f"resuming {session.name}{again}")
    return Chosen(session, fresh=False, complete=False)
