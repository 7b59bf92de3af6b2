"""Whether a session can go on: everything that stands against it, with the choices there are.

It is looked at before anything is done, from the session's folder alone; nothing is changed by it.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import Literal

from discernus.experiments.freezing import SnapshotDamaged
from discernus.experiments.problems import InvalidDefinition
from discernus.sessions import layout
from discernus.sessions.archive import ArchiveDamaged, ArchivedCall
from discernus.sessions.costs import in_flight
from discernus.sessions.extending import answered_calls
from discernus.sessions.layout import Call
from discernus.sessions.owners import Onlooker, is_held
from discernus.sessions.session import Session, SessionUnreadable
from discernus.sessions.settings_snapshot import SettingsSnapshotDamaged, read_snapshot
from discernus.sessions.store import NotInStore

Kind = Literal["owned", "newer_format", "unreadable", "inputs", "settings", "damaged_answer", "missing_answer"]


@dataclass(frozen=True)
class Conflict:
    """What stands against going on, and what can be done. ``stops`` means that going on would make it worse, or cannot
    be; else the session goes on, and the gap is named wherever results are."""

    kind: Kind
    what: str
    choices: tuple[str, ...]
    stops: bool


def why_unreadable(session: Session) -> Conflict | None:
    """Return why the session's facts cannot be read, None if they can."""
    try:
        session.facts  # noqa: B018  reading them is the question
    except SessionUnreadable as unreadable:
        return Conflict(unreadable.kind, unreadable.what, unreadable.choices, stops=True)
    return None


def conflicts(session: Session, onlooker: Onlooker) -> tuple[Conflict, ...]:
    """Return everything that stands against going on with a session whose facts can be read."""
    return (
        *_owned(session, onlooker),
        *_changed_inputs(session),
        *_changed_settings(session),
        *answers_lost(session),
    )


def answers_lost(session: Session) -> tuple[Conflict, ...]:
    """Return a conflict for each answer that is not what was archived, or that is gone."""
    found = []
    for call in answered_calls(session):
        try:
            session.archive.look_up(call)
        except ArchiveDamaged as damaged:
            found.append(Conflict("damaged_answer", str(damaged), _choices(session, call), stops=False))
    for call in _gone(session):
        what = f"{call.response} is gone, though scores were read from it"
        found.append(Conflict("missing_answer", what, _choices(session, call), stops=False))
    return tuple(found)


def _owned(session: Session, onlooker: Onlooker) -> tuple[Conflict, ...]:
    held = is_held(session.folder / layout.OWNER_LOCK)
    living = [intent for intent in session.intents() if in_flight(intent, onlooker)]
    if not held and not living:
        return ()
    who = f", {living[0].owner}" if living else ""
    return (
        Conflict(
            "owned",
            f"another process is at work on {session.name}{who}",
            (
                f"look on with: starter.py watch {session.facts.session}",
                "or stop it there with Ctrl-C, which keeps everything",
            ),
            stops=False,
        ),
    )


def _changed_inputs(session: Session) -> tuple[Conflict, ...]:
    facts = session.facts
    try:
        planned = len(session.plan)
    except (SnapshotDamaged, InvalidDefinition) as damaged:
        what = str(damaged).splitlines()[0]
    else:
        if planned == facts.analyses:
            return ()
        what = f"the frozen inputs make {planned} analyses, and {facts.analyses} were planned"
    restore = "restore it from a copy: a session runs on what was frozen, and on nothing else"
    anew = f"or open another that takes over its answers: {_extending(session)}"
    return (Conflict("inputs", what, (restore, anew), stops=True),)


def _changed_settings(session: Session) -> tuple[Conflict, ...]:
    try:
        read_snapshot(session.store)
    except SettingsSnapshotDamaged as damaged:
        restore = "restore it from a copy; until then nobody can tell which settings have changed"
        return (Conflict("settings", str(damaged), (restore,), stops=False),)
    return ()


def _gone(session: Session) -> list[Call]:
    """Return the calls whose answers were read, and are no longer there."""
    there = set(session.store.names(layout.ARCHIVE))
    numbers = (
        int(name.removeprefix("extracted_").removesuffix(".json"))
        for name in session.store.names(layout.EXTRACTED)
        if name.startswith("extracted_")
    )
    read = (session.extracted(number) for number in numbers)
    calls = (Call.named(one.call) for one in read if one is not None)
    return [call for call in calls if call.response.rpartition("/")[2] not in there]


def _choices(session: Session, call: Call) -> tuple[str, ...]:
    """Return what can be done for a lost answer: nothing is ever written over it."""
    restore = f"restore {call.response} from a copy of the session's folder"
    if _mirrored(session, call):
        restore = f"copy {call.response} and its metadata from the mirror, which has them as they were"
    anew = f"or pay for it anew in another session: {_extending(session)}"
    return (restore, anew)


def _extending(session: Session) -> str:
    return f"starter.py run {session.facts.experiment} --extend {session.facts.session}"


def _mirrored(session: Session, call: Call) -> bool:
    """Return whether the mirror holds the answer as it was archived."""
    mirror = session.archive.mirror
    if mirror is None:
        return False
    try:
        record = ArchivedCall.model_validate_json(mirror.get(call.metadata))
        return sha256(mirror.get(call.response)).hexdigest() == record.response_sha256
    except (NotInStore, ValueError):
        return False
