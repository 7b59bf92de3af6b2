"""An event in time, written as one line of JSON that names the hash of the line before it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, JsonValue, ValidationError

MOST_BYTES = 1 << 24  # of a line: an event holds names, hashes and counts
_JSON = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)


class Event(BaseModel):
    """Something that happened. ``sequence`` counts from 1 and rules the order: ``at`` (UTC) is only what a clock said.

    ``previous`` is the SHA-256 of the line before, without its newline; None for the first.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    sequence: int = Field(ge=1)
    at: AwareDatetime
    event: str
    actor: str
    facts: dict[str, JsonValue]
    previous: str | None


class GatheredEvent(Event):
    """A line of the session's chronolog: the event, and the line of a writer's segment that it was read from."""

    segment: str
    segment_sequence: int = Field(ge=1)
    segment_sha256: str


E = TypeVar("E", bound=Event)


@dataclass(frozen=True)
class Line(Generic[E]):
    """An event as it stands in a file: in which line, from 1, and the hash of that."""

    number: int
    text: bytes
    event: E

    @cached_property
    def sha256(self) -> str:
        return sha256(self.text).hexdigest()

    @property
    def edited(self) -> bool:
        """Whether it is written in another way than ours, though it tells an event."""
        return to_line(self.event) != self.text


@dataclass(frozen=True)
class Lines(Generic[E]):
    """A file of events: those that can be read, the numbers of lines that cannot, and a torn last line's bytes."""

    read: tuple[Line[E], ...]
    unreadable: tuple[int, ...]
    torn: bytes


def to_line(event: Event) -> bytes:
    """Return the event as it is written, without a newline."""
    more: dict[str, Any] = {}
    if isinstance(event, GatheredEvent):
        more = {
            "segment": event.segment,
            "segment_sequence": event.segment_sequence,
            "segment_sha256": event.segment_sha256,
        }
    return line_of(event.sequence, event.at, event.event, event.actor, event.facts, event.previous, **more)


def line_of(
    sequence: int, at: datetime, event: str, actor: str, facts: Any, previous: str | None, **more: Any
) -> bytes:
    """Return the line of an event; half a character, which JSON can carry and no file can, becomes a question mark."""
    record = {
        "sequence": sequence,
        "at": at.isoformat(timespec="microseconds"),
        "event": event,
        "actor": actor,
        "facts": facts,
        "previous": previous,
        **more,
    }
    return _JSON.encode(record).encode("utf-8", "replace")


def as_gathered(lines: Iterable[Line[GatheredEvent]]) -> dict[str, bytes]:
    """Return what the segments hold whose every line is told by the chronolog's lines, by name.

    A gathered line has the source's own words between its sequence and ``previous``, so the source follows from it to
    the byte. A segment that does not follow, or of which a line is missing, is left out.
    """
    found: dict[str, bytearray] = {}
    before: dict[str, tuple[int, str | None]] = {}
    broken: set[str] = set()
    for line in lines:
        event = line.event
        sequence, previous = before.get(event.segment, (0, None))
        source = _source(line, previous)
        if event.segment_sequence != sequence + 1 or sha256(source).hexdigest() != event.segment_sha256:
            broken.add(event.segment)
        before[event.segment] = event.segment_sequence, event.segment_sha256
        found.setdefault(event.segment, bytearray()).extend(source + b"\n")
    return {name: bytes(data) for name, data in found.items() if name not in broken}


def _source(line: Line[GatheredEvent], previous: str | None) -> bytes:
    """Return the line of a segment that the line was gathered from, as it tells it."""
    start, end = line.text.find(b","), line.text.rfind(b',"previous":')
    named = b"null" if previous is None else b'"%s"' % previous.encode()
    return b'{"sequence":%d%s,"previous":%s}' % (line.event.segment_sequence, line.text[start:end], named)


def read_lines(path: Path, kind: type[E], known: bytes = b"") -> Lines[E]:
    """Return what the file holds; nothing if there is none. Lines that it begins with are left out if ``known``."""
    read: list[Line[E]] = []
    unreadable: list[int] = []
    torn = b""
    for number, line in _raw_lines(path, known):
        if not line.endswith(b"\n"):
            torn = line
            continue
        found = _read_line(number, line[:-1], kind)
        if found is None:
            unreadable.append(number)
        else:
            read.append(found)
    return Lines(tuple(read), tuple(unreadable), torn)


def _read_line(number: int, line: bytes, kind: type[E]) -> Line[E] | None:
    try:
        event = kind.model_validate_json(line)
    except ValidationError:
        return None
    return Line(number, line, event)


def _raw_lines(path: Path, known: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the lines with their numbers; none of what is no file, and of a line that is no event's, so long is it,
    parts."""
    if not path.is_file():
        return
    try:
        with path.open("rb") as file:
            number = known.count(b"\n")
            if known and file.read(len(known)) != known:
                file.seek(0)
                number = 0
            while line := file.readline(MOST_BYTES):
                number += 1
                yield number, line
    except FileNotFoundError:
        return
