"""JSON as it stands in the answers of models: bare, in fences, amid prose, broken or cut off.

A repair may close brackets, but it must not make up values: each number that a repaired text yields is checked
against what is literally written (``Found.written``), and a value cut off at the very end is dropped.
"""

import json
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Literal

import json_repair

from discernus.extraction.names import canon

REPAIR_LIMIT = 400_000  # characters; json_repair is linear, but an answer beyond this is a runaway, not an analysis

_OPENING = re.compile(r"""\{\s*(?:["'“}]|//|[^\W\d]\w*\s*:)|\[\s*\{""")
_NUMBER = r"[-+−]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?"
_VALUE = rf"""\s*:\s*["']?(?P<value>{_NUMBER}|null|None)["']?(?=\s*(?:,(?!\d)|//|/\*|[}}\]"'`<]))"""
_WRITTEN = re.compile(r"""(?P<quote>["'])(?P<key>[^"'\\\n]{1,200})(?P=quote)""" + _VALUE)
_WRITTEN_UNQUOTED = re.compile(r"\b(?P<key>[^\W\d]\w{0,199})" + _VALUE)
_UNQUOTED = re.compile(r"\{\s*[^\W\d]\w*\s*:")
_MARK = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*(?:"|\\?\Z)|[{}\[\]]', re.DOTALL)
_CUT_VALUE = re.compile(r"""(?:"[^"\\]*"\s*:\s*)?[-+.\w]*\s*\Z""")
_NUMERIC = re.compile(rf"{_NUMBER}\Z", re.ASCII)


@dataclass(frozen=True)
class Clash:
    """A key that stands twice in one object, with different values."""

    values: tuple[Any, ...]


@dataclass(frozen=True)
class Found:
    """One value of an answer, of JSON or of a block of other data.

    ``written`` counts the (key, number or null) pairs that literally stand there.
    """

    value: Any
    how: Literal["bare", "in_text", "repaired", "block"]
    written: Counter[tuple[str, float | None]] | None = field(default=None)


@dataclass(frozen=True)
class JsonText:
    """All JSON of an answer; ``cut_off`` where the last of it is not closed, ``problems`` in plain words."""

    found: tuple[Found, ...]
    cut_off: bool
    problems: tuple[str, ...] = ()


def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object of those members; a key that stands twice with different values becomes a ``Clash``."""
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    for key in found:
        values = [value for name, value in pairs if name == key]
        if any(value != values[0] for value in values):
            found[key] = Clash(tuple(values))
    return found


_strict = json.JSONDecoder(object_pairs_hook=members, parse_constant=str)
_lenient = json.JSONDecoder(object_pairs_hook=members, parse_constant=str, strict=False)


def number(value: Any) -> float | None:
    """Return a finite float for a JSON number or a text that is nothing but one; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    if isinstance(value, str):
        value = value.strip().replace("−", "-")
        if not _NUMERIC.match(value):
            return None
    try:
        converted = float(value)
    except OverflowError:
        return None
    return converted if abs(converted) != float("inf") and converted == converted else None


def find_json(text: str) -> JsonText:
    """Return every JSON object or array of the text, read strictly where possible and repaired where not."""
    whole = text.strip().lstrip("\ufeff")
    try:
        value = _strict.decode(whole)
    except (ValueError, RecursionError):
        return _scan(text)
    return JsonText((Found(value, "bare"),) if isinstance(value, (dict, list)) else (), False)


def _scan(text: str) -> JsonText:
    found: list[Found] = []
    problems: list[str] = []
    cut_off = False
    opening = _OPENING.search(text)
    while opening is not None:
        start = opening.start()
        try:
            value, end = _strict.raw_decode(text, start)
            found.append(Found(value, "in_text"))
        except (ValueError, RecursionError):
            end, closed = _extent(text, start)
            cut_off = cut_off or not closed
            if end - start > REPAIR_LIMIT:
                problems.append(f"broken JSON of {end - start} characters is too long to be repaired")
            else:
                found.append(_repair(text, start, end, closed))
        opening = _OPENING.search(text, max(end, start + 1))
    return JsonText(tuple(found), cut_off, tuple(problems))


def _extent(text: str, start: int) -> tuple[int, bool]:
    """Return where the JSON that opens at ``start`` ends, and whether it closes at all.

    Brackets are counted without their kind, since a wrong kind of closing bracket is a common mistake.
    """
    depth = 0
    for mark in _MARK.finditer(text, start):
        token = mark.group()
        if token in "{[":
            depth += 1
        elif token in "}]":
            depth -= 1
            if depth == 0:
                return mark.end(), True
    fence = text.find("```", start)
    return (fence, text[:fence].rstrip().endswith(("}", "]"))) if fence >= 0 else (len(text), False)


def _repair(text: str, start: int, end: int, closed: bool) -> Found:
    segment = text[start:end]
    try:
        value, _ = _lenient.raw_decode(segment)
        return Found(value, "repaired")
    except (ValueError, RecursionError):
        pass
    written = written_values(text[start : end + 8])
    if not closed:
        segment = segment[:-400] + _CUT_VALUE.sub("", segment[-400:], count=1)
    try:
        value = json_repair.loads(segment, skip_json_loads=True)
    except (ValueError, RecursionError):
        value = None
    return Found(value, "repaired", written)


def written_values(text: str) -> Counter[tuple[str, float | None]]:
    """Return how often each (key, number or null) literally stands in the text, complete to its delimiter."""
    written: Counter[tuple[str, float | None]] = Counter()
    pattern = _WRITTEN_UNQUOTED if _UNQUOTED.match(text) else _WRITTEN
    for match in pattern.finditer(text):
        value = match["value"]
        written[canon(match["key"]), None if value in ("null", "None") else number(value)] += 1
    return written
