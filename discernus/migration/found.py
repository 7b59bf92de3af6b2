"""What a source was found to hold: sessions, their calls, and whatever was not understood, each with its place."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

from discernus.migration.names import plain

UNKNOWN_MODEL = "unrecorded/unknown"
_SAME_ZONE = timedelta(days=7)  # within which a clock is taken to have kept its zone, if nothing says otherwise

Kind = Literal["analysis", "other", "failure"]


@dataclass(frozen=True, order=True)
class Place:
    """A file of the source, by its path in it, and the line where it is one."""

    file: str
    line: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.line else self.file


@dataclass(frozen=True, order=True)
class Remark:
    """Something that was not understood, or not taken over as it stood, and why; ``what`` is one of a few words."""

    place: Place
    what: str
    reason: str


@dataclass(frozen=True)
class FoundCall:
    """One question to a model and what came of it, as far as it was recorded; what was not is None or empty.

    ``prompt`` is (role, text) of each message. ``document`` is a file's name. ``kind`` *other* is an answer that is no
    analysis of one document, *failure* one without an answer. ``told`` is what else was recorded of it.
    """

    place: Place
    kind: Kind
    answer: str
    prompt: tuple[tuple[str, str], ...] = ()
    sent_at: datetime | None = None
    answered_at: datetime | None = None
    agent: str | None = None
    document: str | None = None
    model: str | None = None
    run: int | None = None
    local_time: bool = False  # its times are as its author's clock showed them, the zone unwritten
    zone_by_others: bool = False  # its times are universal by the zone that other logs of its folder prove
    told: dict[str, Any] = field(default_factory=dict)


@dataclass
class FoundSession:
    """A session by its old id; ``files`` are the source's files that are its own."""

    id: str
    folder: str
    calls: list[FoundCall] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    began_at: datetime | None = None
    local_time: bool = False  # its times were recorded without their zone
    zone: timedelta | None = None  # what other logs of its folder prove is to be added to its times, once it was added
    results: str = ""  # the name of the folder that its log says its results were saved in
    software: dict[str, str] = field(default_factory=dict)  # the versions that ran it, as far as they were recorded
    notes: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The session's name of today."""
        if re.fullmatch(r"session_\d{8}_\d{6}", self.id):
            return self.id
        return f"session_undated_{plain(self.id.removeprefix('session_')).replace('/', '-')}"


@dataclass
class Mention:
    """What a chronolog tells of one session by the id that stands there; ``session`` is its name of today."""

    id: str
    session: str
    place: Place
    events: Counter[str] = field(default_factory=Counter)
    first: str = ""
    last: str = ""
    error: str = ""
    answers: int = 0
    begun_by: Mention | None = None  # the command that was logged, under an id of its own, just before it

    @property
    def is_own(self) -> bool:
        """Return whether it speaks of that very session, and not of another thing of the same second."""
        return self.answers > 0 or self.id.removeprefix("session_") == self.session.removeprefix("session_")

    @property
    def ended(self) -> str:
        """Return how it ended, as far as its events tell; "" where it did no more than begin."""
        if self.events["WORKFLOW_EXECUTION_COMPLETED"]:
            return "completed"
        if self.events["WORKFLOW_EXECUTION_ERROR"]:
            return f"ended in an error: {self.error}" if self.error else "ended in an error"
        if self.events["WORKFLOW_EXECUTION_STARTED"]:
            return "no closing event: it was killed, or went on under another name"
        return ""


@dataclass(frozen=True)
class Zone:
    """What a log of a folder proves is to be added to local times of about then to have universal ones."""

    folder: str
    at: datetime
    to_utc: timedelta


@dataclass
class Found:
    """Everything that the readers made of a source."""

    sessions: dict[str, FoundSession] = field(default_factory=dict)
    mentions: dict[str, Mention] = field(default_factory=dict)  # by the id that stands there
    remarks: list[Remark] = field(default_factory=list)
    read: set[str] = field(default_factory=set)  # files of which every word went into calls
    counts: Counter[str] = field(default_factory=Counter)
    zones: list[Zone] = field(default_factory=list)

    def remark(self, place: Place, what: str, reason: str) -> None:
        self.remarks.append(Remark(place, what, reason))

    def zone_near(self, folder: str, at: datetime) -> timedelta | None:
        """Return what is to be added to a local time, as logs of the folder, or of one above it, prove for those days.

        None where no log does, or where they do not agree.
        """
        near = {
            one.to_utc
            for one in self.zones
            if abs(one.at - at) <= _SAME_ZONE and f"{folder}/".startswith(f"{one.folder}/" if one.folder else "")
        }
        return near.pop() if len(near) == 1 else None

    def session(self, session_id: str, folder: str) -> FoundSession:
        """Return the session of that id, which a first mention places into a folder of the source."""
        return self.sessions.setdefault(session_id, FoundSession(session_id, folder))
