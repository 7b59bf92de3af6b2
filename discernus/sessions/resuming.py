"""Whether a session can go on: everything that stands against it, with the choices there are.

It is looked at before anything is done, from the session's folder alone; nothing is changed by it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Literal

from discernus.experiments.freezing import SnapshotDamaged, taken_out_of
from discernus.experiments.problems import InvalidDefinition
from discernus.sessions import layout
from discernus.sessions.archive import ArchiveDamaged, ArchivedCall
from discernus.sessions.costs import in_flight
from discernus.sessions.extending import answered_calls
from discernus.sessions.integrity.examination import examine
from discernus.sessions.integrity.findings import Finding
from discernus.sessions.layout import Call
from discernus.sessions.owners import Onlooker, is_held
from discernus.sessions.session import Session, SessionUnreadable
from discernus.sessions.settings_snapshot import SettingsSnapshotDamaged, read_snapshot
from discernus.sessions.store import NotInStore

Kind = Literal[
    "owned",
    "newer_format",
    "unreadable",
    "inputs",
    "settings",
    "damaged_answer",
    "missing_answer",
    "tampered",
    "nobody_to_ask",
]
UNRECORDED = "unrecorded/"  # the vendor of a model that an older layout does not name: nobody can be asked
MOST_NAMED = 6  # files in one sentence


@dataclass(frozen=True)
class Conflict:
    """What stands against going on, and what can be done. ``stops`` means that going on would make it worse, or cannot
    be; else the session goes on, and the gap is named wherever results are. ``files`` are those it is about."""

    kind: Kind
    what: str
    choices: tuple[str, ...]
    stops: bool
    files: tuple[str, ...] = ()


def why_unreadable(session: Session) -> Conflict | None:
    """Return why the session's facts cannot be read, None if they can."""
    try:
        session.facts  # noqa: B018  reading them is the question
    except SessionUnreadable as unreadable:
        return Conflict(unreadable.kind, unreadable.what, unreadable.choices, stops=True)
    return None


def conflicts(session: Session, onlooker: Onlooker) -> tuple[Conflict, ...]:
    """Return everything that stands against going on with a session whose facts can be read."""
    owned, inputs = _owned(session, onlooker), _changed_inputs(session)
    altered = _altered(session) if session.is_sealed and not owned else None
    lost = () if altered == () else answers_lost(session)  # every answer of an unaltered session has been hashed by now
    found = (*owned, *inputs, *_changed_settings(session), *lost)
    return (
        *found,
        *_tampered(session, altered or (), {name for one in found for name in one.files}),
        *(_nobody_to_ask(session) if not inputs else ()),
    )


def answers_lost(session: Session) -> tuple[Conflict, ...]:
    """Return a conflict for each answer that is not what was archived, or that is gone."""
    found = []
    for call in answered_calls(session):
        try:
            session.archive.look_up(call)
        except ArchiveDamaged as damaged:
            choices = _choices(session, call)
            found.append(Conflict("damaged_answer", str(damaged), choices, stops=False, files=(call.response,)))
    for call in _gone(session):
        what = f"{call.response} is gone, though scores were read from it"
        choices = _choices(session, call)
        found.append(Conflict("missing_answer", what, choices, stops=False, files=(call.response,)))
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
                f"look on with: starter.py watch {full_name(session)}",
                "or stop it there with Ctrl-C, which keeps everything",
            ),
            stops=False,
        ),
    )


def _changed_inputs(session: Session) -> tuple[Conflict, ...]:
    facts = session.facts
    files: tuple[str, ...] = ()
    try:
        planned = len(session.plan)
    except SnapshotDamaged as damaged:
        what, files = str(damaged), (damaged.name,)
    except InvalidDefinition as invalid:
        what = str(invalid).splitlines()[0]
    else:
        if planned == facts.analyses:
            return ()
        what = f"the frozen inputs make {planned} analyses, and {facts.analyses} were planned"
    restore = "restore it from a copy: a session runs on what was frozen, and on nothing else"
    anew = f"or open another that takes over its answers: {_extending(session)}"
    return (Conflict("inputs", what, (restore, anew), stops=True, files=files),)


def _changed_settings(session: Session) -> tuple[Conflict, ...]:
    try:
        read_snapshot(session.store)
    except SettingsSnapshotDamaged as damaged:
        restore = "restore it from a copy; until then nobody can tell which settings have changed"
        return (Conflict("settings", str(damaged), (restore,), stops=False, files=(layout.SETTINGS,)),)
    return ()


def _altered(session: Session) -> tuple[Finding, ...]:
    """Return what of a sealed session is not as it was sealed; every file is hashed for it, once."""
    return tuple(one for one in examine(session.folder).findings if one.kind not in ("unsigned", "wrong_key"))


def _tampered(session: Session, found: Sequence[Finding], named: set[str]) -> tuple[Conflict, ...]:
    """Return what was altered since the sealing, but for what is named already."""
    files = tuple(dict.fromkeys(one.file for one in found if not named & {one.file, *one.involves}))
    if not files:
        return ()
    more = f" and {len(files) - MOST_NAMED} more" if len(files) > MOST_NAMED else ""
    what = f"not as it was when the session was sealed: {', '.join(files[:MOST_NAMED])}{more}"
    choices = (
        f"see what is the matter with each: starter.py verify {full_name(session)}",
        "restore the session's folder from a copy; what is made of altered files would be sealed as if they were true",
    )
    return (Conflict("tampered", what, choices, stops=False, files=files),)


def _nobody_to_ask(session: Session) -> tuple[Conflict, ...]:
    """Return that analyses without an answer were put to a model that was not recorded."""
    answered = {call.number for call in answered_calls(session) if call.purpose == "analysis"}
    gone = taken_out_of(session.definition)
    missing = [
        one
        for one in session.plan
        if one.number not in answered and one.document not in gone and one.model.startswith(UNRECORDED)
    ]
    if not missing:
        return ()
    models = ", ".join(dict.fromkeys(one.model for one in missing))
    number = f"{len(missing)} analyses have" if len(missing) > 1 else "1 analysis has"
    what = f"{number} no answer, and nobody can be asked for one: which model they were for was not recorded ({models})"
    choices = (
        f"make tables and report of what is there: starter.py resume {full_name(session)} --from calculation",
        "or write an experiment of your own on these texts, and name a model in it",
    )
    return (Conflict("nobody_to_ask", what, choices, stops=False),)


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
    return f"starter.py {how_to_extend(session)}"


def how_to_extend(session: Session) -> str:
    """Return the command, but for the program's name, that opens another session on this one's answers."""
    facts = session.facts
    experiment = facts.source if facts.source.startswith("/") else f"{facts.project}/{facts.experiment}"
    return f"run {experiment} --extend {full_name(session)}"


def full_name(session: Session) -> str:
    """Return what commands know the session by: project, experiment and session, or its folder if it lies elsewhere."""
    above = session.folder.resolve().parents
    if session.folder.parent.name == "sessions" and len(above) > 3 and above[2].name == "experiments":
        return f"{above[3].name}/{above[1].name}/{session.folder.name}"
    return str(session.folder)


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
