"""A call put together again from its archive: what was asked, message by message, and what came back.

Messages are archived once, by hash; here each text is in its place, held against that hash, and it is said where one
is not what was sent.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

from discernus.experiments.plan import Analysis
from discernus.sessions import layout
from discernus.sessions.archive import Archive, ArchivedCall
from discernus.sessions.integrity.redaction import read_redactions
from discernus.sessions.layout import Call
from discernus.sessions.questions import read_question
from discernus.sessions.session import Session
from discernus.sessions.store import NotInStore, Store

ASKED_AGAIN = "asked_again"

TextState = Literal["as sent", "taken out", "altered", "missing"]

_FILE = re.compile(r"(?:request|response|error)_(?P<call>.+?)(?:_try\d+)?\.(?:json|txt)")
_FIRST_ASK = re.compile(r"_ask0$")


class NoSuchCall(LookupError):
    """A session has no such call; the message says what it has."""

    def __str__(self) -> str:
        return str(self.args[0])


@dataclass(frozen=True)
class Turn:
    """One message of a request. ``state`` says whether the text is the one that was sent; a missing one is empty."""

    role: str
    text: str
    sha256: str
    state: TextState


@dataclass(frozen=True)
class Conversation:
    """One call: what was asked of which model, and the answer, if there is one, with its record.

    ``failures`` are the archived errors of its other attempts, as they lie in the archive. ``timeout_s`` and
    ``parameters`` are None where an older layout did not record them.
    """

    call: Call
    model: str
    messages: tuple[Turn, ...]
    parameters: dict[str, Any] | None
    timeout_s: float | None
    record: ArchivedCall | None
    answer: str | None
    failures: tuple[dict[str, Any], ...]


def asked_again_folder(session: Path) -> Path:
    """Return where the answers lie that were asked for again, beside the experiment's sessions."""
    return session.parent.parent / ASKED_AGAIN / session.name


def read_conversation(archive: Archive, call: Call, *, answered: bool = True) -> Conversation:
    """Return the call as it is archived, without its answer unless ``answered``.

    Raise NoSuchCall, or ArchiveDamaged for an answer that is not what it was.
    """
    try:
        question = read_question(archive.store, call.request)
        model, references = str(question["model"]), question["messages"]
        recovered = question["timeout_s"] is None
    except (NotInStore, ValueError, LookupError, TypeError):
        raise NoSuchCall(f"what call {call.name} asked is not archived as {call.request}") from None
    found = archive.look_up(call) if answered else None
    taken_out = _replacements(archive.store)
    return Conversation(
        call=call,
        model=model,
        messages=tuple(_turn(archive.store, each, taken_out) for each in references),
        parameters=None if recovered else question["parameters"],
        timeout_s=question["timeout_s"],
        record=found[0] if found is not None else None,
        answer=found[1] if found is not None else None,
        failures=tuple(archive.failures(call)),
    )


def calls_of(session: Session, number: int) -> list[Call]:
    """Return every call that was made for an analysis, in the order of candidates, asks and purposes."""
    names = (_FILE.fullmatch(name) for name in session.store.names(layout.ARCHIVE) if f"_{number:03d}" in name)
    found = {call for name in names if name is not None and (call := call_named(name["call"])) is not None}
    order = {"analysis": 0, "extraction": 1, "synthesis": 2}
    of_number = (call for call in found if call.number == number)
    return sorted(of_number, key=lambda call: (order[call.purpose], call.source, call.fallback, call.ask))


def call_named(name: str) -> Call | None:
    """Return the call of that name, None if it is none: anything may have been put into a folder by hand."""
    try:
        return Call.named(name)
    except ValueError:
        return None


def call_meant(session: Session, name: str) -> Call:
    """Return the call of that name, or, for a plan number, the one whose answer counts, else the last of its asks.

    ``017_ask0`` is the first ask of analysis 17, whichever counts. Raise NoSuchCall.
    """
    call = call_named(_FIRST_ASK.sub("", name.strip()))
    if call is None:
        raise NoSuchCall(f"{name!r} is neither a plan number (17) nor the name of a call (017_ask1)")
    made = calls_of(session, call.number)
    if not made:
        raise NoSuchCall(f"no call was made for analysis {call.number} of {session.folder.name}; {_numbers(session)}")
    if name.strip().isdecimal():
        extracted = session.extracted(call.number)
        return Call.named(extracted.call) if extracted is not None else _last_answered(session, made)
    if call not in made:
        known = ", ".join(one.name for one in made)
        raise NoSuchCall(f"analysis {call.number} of {session.folder.name} has no call {name!r}; it has {known}")
    return call


def analysis_of(session: Session, call: Call) -> Analysis | None:
    """Return the analysis that the call was made for; None for one beyond the plan, as older layouts have them."""
    return session.analysis(call.number) if 1 <= call.number <= len(session.plan) else None


def _last_answered(session: Session, made: list[Call]) -> Call:
    """Return the last ask that was answered, else the last call: there, at least, is what went wrong."""
    asks = [call for call in made if call.purpose != "extraction"] or made
    answered = [call for call in asks if session.store.exists(call.response)]
    return (answered or asks)[-1]


def _numbers(session: Session) -> str:
    return f"its plan has the numbers 1 to {session.facts.analyses}"


def _turn(store: Store, reference: dict[str, str], taken_out: set[str]) -> Turn:
    role, key = str(reference.get("role")), str(reference.get("content_sha256"))
    name = layout.message(key)
    try:
        data = store.get(name)
    except NotInStore:
        return Turn(role, "", key, "missing")
    digest = sha256(data).hexdigest()
    state: TextState = "as sent" if digest == key else "taken out" if digest in taken_out else "altered"
    return Turn(role, data.decode("utf-8", "replace"), key, state)


def _replacements(store: Store) -> set[str]:
    """Return the SHA-256 of everything that stands where a text was taken out."""
    try:
        redactions = read_redactions(store)
    except ValueError:  # a record that cannot be read accounts for nothing; the verification names it
        return set()
    return {file.replaced_by for one in redactions for file in one.files if file.replaced_by is not None}
