"""Which session a run is about: resumed, opened anew, or already complete; said in words before anything is spent."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cli.display import Display, counted
from cli.preparing import Prepared
from cli.state import changed_settings, explained
from cli.tables import wrapped
from discernus.experiments.definition import Definition
from discernus.sessions.opening import Choice, find_session, open_session, opening_lock
from discernus.sessions.resuming import answers_lost
from discernus.sessions.session import Session
from discernus.sessions.settings_snapshot import take_snapshot
from discernus.settings import DEFAULT_CONCURRENCY, Settings
from discernus.stages.checkpoints import take_up, unanswered

OnChanges = Literal["snapshot", "new"]


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
    on_changes: OnChanges | None = None,
    extends: Session | None = None,
) -> Chosen:
    """Return the session that the command means, opening one where there is none to go on with.

    ``overridden`` says that models or runs were given on the command line, so only a session with these is meant.
    ``preparing`` settles what a session that is opened now may call; one that goes on has that settled. ``on_changes``
    settles which files are meant where they have changed; a new session takes over the answers of ``extends``.
    """
    with opening_lock(settings.projects_dir, folder):
        choice = None
        if not new and extends is None:
            choice = find_session(settings.projects_dir, folder, definition, same_plan=overridden)
        if choice is not None and _goes_on(choice, display, on_changes):
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
            snapshot=take_snapshot(settings),
            extends=extends,
        )
    if extends is not None:
        _say_what_was_taken_over(session, extends, display)
    display.say(f"session {session.name}, with {', '.join(session.facts.models)}")
    return Chosen(session, fresh=True, complete=False)


def meant(
    settings: Settings,
    folder: Path,
    definition: Definition,
    *,
    new: bool,
    overridden: bool,
    on_changes: OnChanges | None = None,
) -> Session | None:
    """Return the session that would go on now, so that what it needs can be looked at; None where one is opened."""
    if new:
        return None
    choice = find_session(settings.projects_dir, folder, definition, same_plan=overridden)
    if choice is None or choice.state == "complete" or (choice.changes and on_changes == "new"):
        return None
    return choice.session


def _say_what_was_taken_over(session: Session, source: Session, display: Display) -> None:
    left, planned = len(unanswered(session)), session.facts.analyses
    display.say(
        wrapped(
            f"{planned - left} of {counted(planned, 'analysis')} taken over from {source.name}, which paid for them; "
            f"{left} to ask"
        )
    )
    for line in explained(answers_lost(source)):
        display.say(line)


def _goes_on(choice: Choice, display: Display, on_changes: OnChanges | None) -> bool:
    """Return whether the found session is the one to work on, after saying what has changed since it was opened."""
    if not choice.changes:
        return True
    display.say(f"the experiment has changed since {choice.session.facts.session} was opened:")
    for change in choice.changes:
        display.say(f"  {change}")
    if choice.state == "complete":
        display.say("that session is complete and stays as it is; this run opens another")
        return False
    if on_changes == "new":
        display.say("this run opens another with the files as they are now (--on-changes new)")
        return False
    if on_changes is None and sys.stdin.isatty() and sys.stdout.isatty():
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
    released = take_up(session)
    again = f"; {counted(released, 'parked analysis')} tried again" if released else ""
    display.say(f"resuming {session.name}{again}")
    for line in (*explained(answers_lost(session)), *changed_settings(settings, session)):
        display.say(line)
    return Chosen(session, fresh=False, complete=False)
