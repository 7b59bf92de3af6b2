"""An event in time, written as one line of JSON that names the hash of the line before it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, JsonValue, ValidationError

MOST_BYTES = 1 << 24  # of a line: an event holds names, hashes and counts


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
    return line_of(
        event.sequence,
        event.at,
        event.event,
        event.actor,
        event.facts,
        event.previous,
        **{name: getattr(event, name) for name in type(event).model_fields if name not in Event.model_fields},
    )


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
    text = json.dumps(record, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.encode("utf-8", "replace")


def read_lines(path: Path, kind: type[E]) -> Lines[E]:
    """Return what the file holds; nothing if there is none."""
    read: list[Line[E]] = []
    unreadable: list[int] = []
    torn = b""
    for number, line in enumerate(_raw_lines(path), 1):
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


def _raw_lines(path: Path) -> Iterator[bytes]:
    """Yield the lines; none of what is no file, and of a line that is no event's, so long is it, parts."""
    if not path.is_file():
        return
    try:
        with path.open("rb") as file:
            while line := file.readline(MOST_BYTES):
                yield line
    except FileNotFoundError:
        return
