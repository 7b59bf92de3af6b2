"""Answers that hold no analysis: refusals, error texts, several documents at once. Judged by form, not by vendor."""

import re
from collections.abc import Iterable
from typing import Any, Literal

from discernus.extraction.json_text import Found
from discernus.extraction.names import words
from discernus.extraction.readings import Frame, Reading, Readings

Kind = Literal["refusal", "error_text", "truncated", "other_document", "no_scores"]

_REFUSAL = re.compile(
    r"\bI(?:['’]m| am)? (?:very |truly |deeply )?(?:sorry|apologi[sz]e|cannot|can['’]?t|won['’]?t|unable|not able"
    r"|am unable|will not be able|do(?: not|n['’]t) (?:have|feel comfortable))\b"
    r"|\bI must (?:respectfully )?decline\b|\bas an AI\b|\bcan(?:not|['’]t) (?:assist|help|comply)\b",
    re.IGNORECASE,
)
_ERROR_OPENING = re.compile(
    r"\s*(?:Traceback \(most recent call last\)|<!doctype html|<html|(?:[\w.]*(?:Error|Exception)|error)\b\s*[:(\[]"
    r"|(?:HTTP(?:/[\d.]+)?\s*)?[45]\d\d\b\s*[-:]?\s*[A-Z]"
    r"|(?:internal server error|bad gateway|service unavailable|gateway time-?out|too many requests|upstream ))",
    re.IGNORECASE,
)
_ERROR_KEYS = frozenset({"error", "errors", "exception", "fault", "traceback"})
_HEADING = re.compile(r"^[ \t]*(?:#{1,6}[ \t]|\*\*|[-=]{3,}[ \t]*\w)[^\n]{0,300}", re.MULTILINE)
_FILE_NAME = re.compile(r"[\w\-]+\.(?:txt|md|pdf|docx?|html?|rtf)\b", re.IGNORECASE)


def is_refusal(answer: str, finish_reason: str | None) -> bool:
    """Return whether an answer without scores declines the task in its opening, or was blocked by a filter."""
    return finish_reason == "content_filter" or _REFUSAL.search(answer[:400]) is not None


def is_error_text(answer: str, found: tuple[Found, ...]) -> bool:
    """Return whether an answer without scores is an error message that was stored in an answer's place."""
    if _ERROR_OPENING.match(answer) and len(answer) < 20_000:
        return True
    return len(found) == 1 and isinstance(found[0].value, dict) and _names_error(found[0].value)


def _names_error(value: dict[str, Any]) -> bool:
    keys = [words(key) for key in value]
    return len(keys) <= 6 and any(key and (key[0] in _ERROR_KEYS or key[-1] in _ERROR_KEYS) for key in keys)


def several_documents(readings: Readings) -> bool:
    """Return whether one dimension was read in two places of the JSON that name different documents."""
    seen: dict[str, list[set[str]]] = {}
    for reading in readings.scores:
        named = _document_of(reading, readings.documents)
        if named is None:
            continue
        others = seen.setdefault(reading.dimension, [])
        if any(named.isdisjoint(other) for other in others):
            return True
        others.append(named)
    return False


def _document_of(reading: Reading, documents: dict[Frame, set[str]]) -> set[str] | None:
    for length in range(len(reading.frame), 0, -1):
        if found := documents.get(reading.frame[:length]):
            return found
    return None


def headings_name_several_documents(answer: str) -> bool:
    """Return whether the headings of an answer in prose name two or more files."""
    names = {name.lower() for heading in _HEADING.findall(answer) for name in _FILE_NAME.findall(heading)}
    return len(names) > 1


def names_score(answer: str, names: Iterable[str]) -> bool:
    """Return whether some dimension's name stands shortly before a number."""
    lowered = answer.lower()
    return any(
        re.search(re.escape(name.lower()) + r"[^\n\d]{0,60}\d", lowered) is not None for name in names if name.strip()
    )
