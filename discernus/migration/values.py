"""Values as older programs wrote them: JSON, Python literals in text, times with and without their zone."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from statistics import median
from typing import Any

from discernus.migration.found import Found, Place
from discernus.migration.source import Source

_LARGEST_LITERAL = 5_000_000  # characters
_SHOWN = 120  # characters of a setting's value in a list
_STEP = timedelta(minutes=15)  # what zones differ by
_APART = timedelta(seconds=90)  # an event and its echo


def json_lines(source: Source, name: str, found: Found) -> Iterator[tuple[Place, dict[str, Any]]]:
    """Yield the objects of a JSON-lines file with their places; what is none becomes a remark."""
    lines = source.data(name).split(b"\n")
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        place = Place(name, number)
        try:
            value = json.loads(line.decode("utf-8"))
        except (ValueError, RecursionError) as error:
            torn = number == len(lines)
            found.remark(place, "unreadable line", "torn: the file ends in it" if torn else f"no JSON: {error}")
            found.counts["lines unreadable"] += 1
            continue
        found.counts["lines"] += 1
        if isinstance(value, dict):
            yield place, value
        else:
            found.remark(place, "not understood", "a line of JSON that is no object")


def literal(text: Any) -> Any:
    """Return the mapping or list that a text is in Python's own notation, None for any other text."""
    if not isinstance(text, str) or text[:1] not in ("{", "[") or len(text) > _LARGEST_LITERAL:
        return None
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        return None


def moment(written: Any) -> tuple[datetime, bool] | None:
    """Return a time and whether its zone was written; without one the time is as its clock showed it."""
    if not isinstance(written, str):
        return None
    try:
        at = datetime.fromisoformat(written)
    except ValueError:
        return None
    return (at.replace(tzinfo=UTC), False) if at.tzinfo is None else (at.astimezone(UTC), True)


def shift(echoes: Iterable[tuple[str, str]]) -> timedelta | None:
    """Return what is to be added to local times to have UTC, from events that were written down in both.

    None where there is no such event, or where they do not agree.
    """
    apart = [
        utc[0] - local[0]
        for local, utc in ((moment(one), moment(other)) for one, other in echoes)
        if local is not None and utc is not None and not local[1]
    ]
    if not apart:
        return None
    middle = timedelta(seconds=median(one.total_seconds() for one in apart))
    rounded = round(middle / _STEP) * _STEP
    return rounded if all(abs(one - rounded) < _APART for one in apart) else None


def in_json(value: Any) -> str:
    """Return the beginning of a setting's value as JSON, for a line of a list."""
    written = json.dumps(value, ensure_ascii=False, default=str)
    return written if len(written) <= _SHOWN else f"{written[:_SHOWN]}…"


def zone(to_utc: timedelta) -> str:
    """Return the name of the zone whose local times become universal by adding this: UTC-4, UTC+5:30."""
    minutes = -round(to_utc.total_seconds() / 60)
    hours, rest = divmod(abs(minutes), 60)
    return f"UTC{'-' if minutes < 0 else '+'}{hours}{f':{rest:02d}' if rest else ''}"


def text_of(value: Any) -> str | None:
    """Return a text that says something, None for anything else."""
    return value if isinstance(value, str) and value.strip() else None
