"""Which session a run is about: resumed, opened anew, or already complete; said in words before anything is spent."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cli.display import Display, counted
from cli.exits import INVALID, CommandError, command_name
from cli.preparing import Prepared
from cli.sessions import refuse_damaged_inputs
from cli.state import MOST_NAMED, changed_settings, explained
from cli.tables import wrapped
from discernus.experiments.definition import Definition
from discernus.sessions import layout
from discernus.sessions.extending import damaged_calls, erased_documents, would_take_over
from discernus.sessions.integrity.examination import SealBroken
from discernus.sessions.opening import Choice, InputsDamaged, find_session, open_session, opening_lock
from discernus.sessions.owners import Lock
from discernus.sessions.resuming import answers_lost, how_to_extend
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
    at_work: bool = False,
) -> Chosen:
    """Return the session that the command means, opening one where there is none to go on with.

    ``overridden`` says that models or runs were given on the command line, so only a session with these is meant.
    ``preparing`` settles what a session that is opened now may call; one that goes on has that settled. ``on_changes``
    settles which files are meant where they have changed; a new session takes over the answers of ``extends``.
    ``at_work`` says that a shared server carries on the session that would be gone on with.
    """
    with opening_lock(settings.projects_dir, folder):
        choice = None
        if not new and extends is None:
            choice = _found(settings, folder, definition, overridden=overridden)
        if choice is not None and _goes_on(choice, definition, display, on_changes):
            return _resume(choice, settings, display, at_work=at_work)
        if extends is not None:
            _agree_to_ask_again(extends, definition, display)
        prepared = preparing()
        session = open_session(
            settings.projects_dir,
            folder,
            definition,
            concurrency=settings.concurrency or definition.experiment.concurrency or DEFAULT_CONCURRENCY,
            call_timeout_s=settings.response_timeout_s,
            mirror=settings.mirror_dir,
            extraction_models=prepared.extraction_models,
            synthesis_models=prepared.synthesis_models,
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
    choice = _found(settings, folder, definition, overridden=overridden)
    if choice is None or choice.state == "complete" or (choice.changes and on_changes == "new"):
        return None
    return choice.session


def finished(
    settings: Settings,
    folder: Path,
    definition: Definition,
    display: Display,
    *,
    overridden: bool,
    on_changes: OnChanges | None = None,
) -> Session | None:
    """Return the session that is meant if it is complete, and nothing need be started; None if there is work to do."""
    choice = _found(settings, folder, definition, overridden=overridden)
    if choice is None or choice.state != "complete" or (choice.changes and on_changes != "snapshot"):
        return None
    if choice.changes:
        _say_changes(choice, display)
        _say_extend(choice, definition, display)
    return choice.session


def _found(settings: Settings, folder: Path, definition: Definition, *, overridden: bool) -> Choice | None:
    try:
        return find_session(settings.projects_dir, folder, definition, same_plan=overridden)
    except InputsDamaged as damaged:
        refuse_damaged_inputs(settings, damaged.session)
        raise


def _agree_to_ask_again(source: Session, definition: Definition, display: Display) -> None:
    """Say what cannot be taken over though it was paid for, and ask a person whether that is to be paid for again.

    Nothing is said where all can be had. Without a person, texts that were erased are never sent anew (CommandError).
    """
    damaged, erased = damaged_calls(source), erased_documents(source, definition)
    if damaged:
        named = f"{', '.join(damaged[:MOST_NAMED])}{', …' if len(damaged) > MOST_NAMED else ''}"
        what = f"{counted(len(damaged), 'answer')} of {source.name} cannot be taken over, for they are damaged: {named}"
        display.say(wrapped(f"{what}; they would be asked for, and paid, again"))
    if erased:
        what = f"erased from {source.name}, and in the corpus all the same: {', '.join(erased)}"
        display.say(wrapped(f"{what}; these texts would be sent to models, and paid for, again"))
    asked = bool(damaged or erased) and sys.stdin.isatty() and sys.stdout.isatty()
    if asked and not _ask("go on all the same? [y/N] ").startswith("y"):
        raise CommandError("nothing was opened, and nothing paid for", INVALID)
    if erased and not asked:
        cure = "take them out of the corpus, or open a session of its own with --new"
        raise CommandError(f"nothing was opened: {', '.join(erased)} was erased from {source.name}; {cure}", INVALID)


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


def _goes_on(choice: Choice, definition: Definition, display: Display, on_changes: OnChanges | None) -> bool:
    """Return whether the found session is the one to work on, after saying what has changed since it was opened."""
    if not choice.changes:
        return True
    _say_changes(choice, display)
    if choice.state == "complete" and on_changes != "snapshot":
        display.say("that session is complete and stays as it is; this run opens another")
        _say_extend(choice, definition, display)
        return False
    if on_changes == "new":
        display.say("this run opens another with the files as they are now (--on-changes new)")
        _say_extend(choice, definition, display)
        return False
    if on_changes is None and sys.stdin.isatty() and sys.stdout.isatty():
        return not _ask("[r]esume on its snapshot, as it was, or open a [n]ew session? [r] ").startswith("n")
    if choice.state != "complete":
        display.say("resuming on its snapshot, as it was; --new opens a session with the files as they are now")
    return True


def _say_changes(choice: Choice, display: Display) -> None:
    display.say(f"the experiment has changed since {choice.session.facts.session} was opened:")
    for change in choice.changes:
        display.say(f"  {change}")


def _say_extend(choice: Choice, definition: Definition, display: Display) -> None:
    """Say how many answers of the session need not be paid for again."""
    planned = len(definition.plan())
    taken = would_take_over(choice.session, definition)
    if taken:
        extend = f"{command_name()} {how_to_extend(choice.session)}"
        display.say(
            f"{taken} of {counted(planned, 'analysis')} are answered there, and would be taken over by: {extend}"
        )


def _ask(question: str) -> str:
    """Return the answer typed at the terminal. Ctrl-C ends the command: there is nothing yet that could be drained."""
    listening = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return input(question).strip().lower()
    finally:
        signal.signal(signal.SIGINT, listening)


def _resume(choice: Choice, settings: Settings, display: Display, *, at_work: bool) -> Chosen:
    """Take the session up, unless others are at work on it: then nothing of it is touched."""
    session = Session(choice.session.folder, settings.mirror_dir)
    if choice.state == "complete":
        return Chosen(session, fresh=False, complete=True)
    lock = Lock(session.folder / layout.OWNER_LOCK)
    if at_work or not lock.acquire():  # whoever is at work has taken it up
        return Chosen(session, fresh=False, complete=False)
    try:
        released = take_up(session)
    except SealBroken as broken:
        raise CommandError(str(broken), INVALID) from broken
    finally:
        lock.release()
    again = f"; {counted(released, 'parked analysis')} tried again" if released else ""
    display.say(f"resuming {session.name}{again}")
    for line in (*explained(answers_lost(session)), *changed_settings(settings, session)):
        display.say(line)
    return Chosen(session, fresh=False, complete=False)
