"""What a session's folder tells of its calls, good and bad: as little of each as is needed to judge what went wrong."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from pydantic import BaseModel, ConfigDict, ValidationError

from discernus.llm.errors import Kind
from discernus.sessions import layout
from discernus.sessions.archive import ArchiveDamaged, Intent
from discernus.sessions.layout import Call
from discernus.sessions.owners import Onlooker
from discernus.sessions.session import Parked, Session
from discernus.sessions.substitutes import is_substitute

IN_DOUBT = "in_doubt"


@dataclass(frozen=True)
class Answer:
    """What matters here of an archived answer."""

    attempt: int
    archived_at: datetime | None
    model: str
    model_answered: str | None
    finish_reason: str | None
    marks: tuple[str, ...]
    substituted: bool


@dataclass(frozen=True)
class Reading:
    """What matters here of what was read of an analysis: of which answers, and how."""

    call: Call
    second: Call | None
    usable: bool
    kind: str | None
    route: str | None
    problems: tuple[str, ...]


class FailedAttempt(BaseModel):
    """What matters here of an archived error, or of a call in doubt, of which no kind is known."""

    model_config = ConfigDict(frozen=True)

    call: str
    attempt: int
    model: str
    at: datetime | None
    error_class: str
    kind: Kind | None
    message: str


_RESPONSE: Final = re.compile(r"response_(.+)\.txt")
_ERROR: Final = re.compile(r"error_(.+)_try(\d+)\.json")


class Evidence:
    """All that a session's folder tells of its calls, read once.

    ``answers`` are the calls that have a sound one; ``damage`` says what is wrong with the archive of others;
    ``failed`` are the attempts that brought none, in error or in doubt; ``parked`` and ``readings`` are by plan
    number. Without an onlooker, who knows which processes live, every call that was never settled is in doubt.
    """

    def __init__(self, session: Session, onlooker: Onlooker | None) -> None:
        self.session = session
        self.answers: dict[Call, Answer] = {}
        self.damage: dict[Call, str] = {}
        self.failed: list[FailedAttempt] = []
        for name in session.store.names(layout.ARCHIVE):
            if response := _RESPONSE.fullmatch(name):
                self._read_answer(Call.named(response[1]))
            elif error := _ERROR.fullmatch(name):
                self._read_error(Call.named(error[1]), name)
        self.failed += [_doubtful(intent) for intent in session.intents() if not _under_way(intent, onlooker)]
        self.parked: dict[int, Parked] = {record.number: record for record in session.all_parked()}
        self.readings: dict[int, Reading] = {}
        for name in session.store.names(layout.EXTRACTED):
            if name.startswith("extracted_"):
                self._read_extracted(int(name.removeprefix("extracted_").removesuffix(".json")))
        self._families: dict[tuple[object, ...], set[Call]] = defaultdict(set)
        for call in (*self.answers, *self.damage, *(Call.named(failed.call) for failed in self.failed)):
            self._families[_family(call)].add(call)

    def _read_answer(self, call: Call) -> None:
        try:
            found = self.session.archive.look_up(call)
        except ArchiveDamaged as damaged:
            self.damage[call] = str(damaged)
            return
        if found is not None:
            record = found[0]
            self.answers[call] = Answer(
                record.attempt,
                record.archived_at,
                record.model_requested,
                record.model_answered,
                record.finish_reason,
                record.marks,
                is_substitute(self.session, record),
            )

    def _read_error(self, call: Call, name: str) -> None:
        try:
            data = self.session.store.get(f"{layout.ARCHIVE}/{name}")
            self.failed.append(FailedAttempt.model_validate_json(data))
        except ValidationError:
            self.damage.setdefault(call, f"{layout.ARCHIVE}/{name} cannot be read")

    def _read_extracted(self, number: int) -> None:
        extracted = self.session.extracted(number)
        if extracted is None:
            return
        extraction = extracted.extraction
        call = Call.named(extracted.call)
        self.readings[number] = Reading(
            call,
            Call.named(extracted.second_call) if extracted.second_call is not None else None,
            extraction.status != "none",
            extraction.kind,
            extraction.route,
            extraction.problems,
        )
        if call not in self.answers:
            self.damage.setdefault(call, f"{call.response} is no longer in the archive")

    def later(self, call: Call) -> list[Call]:
        """Return the calls that were made for the same thing after this one: further asks, further models."""
        family = self._families[_family(call)]
        return [other for other in family if (other.fallback, other.ask) > (call.fallback, call.ask)]

    def reading(self, call: Call) -> Reading | None:
        """Return what was read of the call's analysis; None if nothing was yet, or if the call belongs to none."""
        return None if call.purpose == "synthesis" else self.readings.get(call.number)

    def is_parked(self, call: Call) -> bool:
        return call.purpose != "synthesis" and call.number in self.parked


def _family(call: Call) -> tuple[object, ...]:
    """Return what a call shares with those made for the same thing; the ask of a second reading is the first one's."""
    return call.number, call.purpose, call.source, call.ask if call.purpose == "extraction" else None


def _under_way(intent: Intent, onlooker: Onlooker | None) -> bool:
    return onlooker is not None and intent.deadline > datetime.now(UTC) and onlooker.may_live(intent.owner)


def _doubtful(intent: Intent) -> FailedAttempt:
    what = f"call {intent.call} to model '{intent.model}' was sent, and neither answer nor error was archived"
    return FailedAttempt(
        call=intent.call,
        attempt=intent.attempt,
        model=intent.model,
        at=intent.sent_at,
        error_class=IN_DOUBT,
        kind=None,
        message=f"{what}; it may have been paid for, which the vendor's own account tells",
    )
