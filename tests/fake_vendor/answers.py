"""What the fake models say: answers in the form that was asked for, the same for the same question.

A score is the document's own (a hash of document and dimension) plus a little noise of the run, so that repeats differ
slightly, as a model's do.
"""

from __future__ import annotations

import json
import re
from contextlib import suppress
from functools import lru_cache
from hashlib import sha256
from typing import Any

REFUSAL = "I'm sorry, but I can't help with analysing this text."
NUMBERS = ("number", "float", "integer", "int", "decimal")
WORDS = ("string", "str", "text")
LISTS = ("array", "list")
OTHERS = ("boolean", "bool", "object", "null")
LEAF_KEYS = {"type", "minimum", "maximum", "description", "items", "enum", "title", "format", "minItems", "maxItems"}
EXTRACTION_SHAPE = re.compile(r'\{\s*"scores"\s*:')
EXTRACTION_WORDS = re.compile(r"\bextract|\bscores out of\b", re.IGNORECASE)
MARKED_DOCUMENT = re.compile(
    r"^BEGIN (?P<mark>\S+)\n(?P<lines>.*?)\nEND (?P=mark)$|<(?P<tag>document|text|answer)>(?P<tagged>.*?)</(?P=tag)>",
    re.DOTALL | re.MULTILINE,
)


def purpose_of(messages: list[tuple[str, str]], schema: dict[str, Any] | None) -> str:
    """Return what a request seems to be for: analysis, extraction, or synthesis where no form of scores is asked."""
    if any(EXTRACTION_SHAPE.search(text) and EXTRACTION_WORDS.search(text[:600]) for _, text in messages):
        return "extraction"
    return "analysis" if schema or _schema_in(messages) else "synthesis"


def answer_to(messages: list[tuple[str, str]], schema: dict[str, Any] | None, purpose: str, run: str) -> str:
    """Return the text a model would answer; ``run`` sets its noise, and nothing else does."""
    last = next((text for role, text in reversed(messages) if role == "user"), "")
    marked = MARKED_DOCUMENT.search(last)
    document = (marked["lines"] or marked["tagged"] or "") if marked else last
    if purpose == "extraction":
        return _extraction(messages, document)
    asked = schema or _schema_in(messages)
    if asked is None:
        return "The tables show how the scores differ between the documents; the repeats agree with each other."
    return json.dumps(_fill(_fields(asked), (), _Source(document, run)), ensure_ascii=False, indent=2)


class _Source:
    """Where the values of one answer come from: the document and the run."""

    def __init__(self, document: str, run: str) -> None:
        self.document = document
        self._of_document = sha256(document.encode()).digest()
        self._of_run = sha256(self._of_document + run.encode()).digest()

    def share(self, name: str, *, noisy: bool = True) -> float:
        """Return a number in [0, 1): the document's for that name, moved by up to 0.04 by the run."""
        base = int.from_bytes(sha256(self._of_document + name.encode()).digest()[:6], "big") / 2**48
        if not noisy:
            return base
        noise = int.from_bytes(sha256(self._of_run + name.encode()).digest()[:6], "big") / 2**48
        return min(max(base + (noise - 0.5) * 0.08, 0.0), 1.0)

    def quotation(self, name: str) -> str:
        """Return a sentence of the document, word for word."""
        text = self.document
        start = text.find(". ", int(self.share(name, noisy=False) * max(len(text) - 200, 0))) + 1
        end = text.find(".", start)
        return text[start : end + 1 if end >= 0 else start + 160].strip()[:200]


def _fill(asked: Any, path: tuple[str, ...], source: _Source) -> Any:
    if isinstance(asked, dict) and not _is_leaf(asked):
        return {key: _fill(_fields(value), (*path, key), source) for key, value in asked.items()}
    name = "/".join(path)
    kind = _kind(asked)
    if kind in LISTS:
        return [quote for quote in (source.quotation(f"{name}/1"), source.quotation(f"{name}/2")) if quote]
    if kind in NUMBERS:
        return _number(asked, name, kind, source)
    if kind == "object":
        return {}
    if kind in ("boolean", "bool"):
        return source.share(name, noisy=False) < 0.5
    if isinstance(asked, dict) and asked.get("enum"):
        return asked["enum"][int(source.share(name, noisy=False) * len(asked["enum"]))]
    return source.quotation(name) if name.endswith(("evidence", "quote", "quotation")) else "Seen throughout the text."


def _number(asked: Any, name: str, kind: str, source: _Source) -> float:
    low, high = (asked.get("minimum", 0.0), asked.get("maximum", 1.0)) if isinstance(asked, dict) else (0.0, 1.0)
    if name.endswith("confidence"):
        return round(0.6 + 0.35 * source.share(name), 2)
    value = low + (high - low) * source.share(name)
    return round(value) if kind in ("integer", "int") else round(value, 2)


def _extraction(messages: list[tuple[str, str]], given: str) -> str:
    """Return the form that was asked for, with the numbers that stand beside each name in the given answer."""
    asked = _form_asked(messages)
    read = {group: {name: _number_beside(name, group, given) for name in names} for group, names in asked.items()}
    return json.dumps(read)


def _form_asked(messages: list[tuple[str, str]]) -> dict[str, list[str]]:
    for _, text in messages:
        shape = EXTRACTION_SHAPE.search(text)
        if shape is not None:
            with suppress(json.JSONDecodeError):
                asked, _ = json.JSONDecoder().raw_decode(text, shape.start())
                return {group: list(names) for group, names in asked.items() if isinstance(names, dict)}
    return {"scores": []}


def _number_beside(name: str, group: str, given: str) -> float | None:
    words = r"[\s_\-]*".join(re.escape(word) for word in re.split(r"[\s_\-]+", name))
    between = r"(?:[\W_]{0,12}(?:raw_)?score)?" if group == "scores" else f".{{0,60}}?{re.escape(group)}"
    found = re.search(rf"{words}{between}[\W_]{{1,12}}?(-?\d+(?:\.\d+)?)", given, re.IGNORECASE | re.DOTALL)
    return float(found[1]) if found else None


def _schema_in(messages: list[tuple[str, str]]) -> dict[str, Any] | None:
    """Return the description of the answer's form that a message carries, system messages first."""
    for _, text in sorted(messages, key=lambda message: message[0] != "system"):
        schema = _schema_of(text)
        if schema is not None:
            return schema
    return None


@lru_cache(maxsize=256)
def _schema_of(text: str) -> dict[str, Any] | None:
    decoder, at, found = json.JSONDecoder(), text.find("{"), []
    while at >= 0:
        after = at + 1
        with suppress(json.JSONDecodeError):
            value, end = decoder.raw_decode(text, at)
            if value and _describes(_fields(value)):
                found.append(value)
                after = end
        at = text.find("{", after)
    return max(found, key=lambda value: len(json.dumps(value)), default=None)


def _describes(value: Any) -> bool:
    if isinstance(value, dict) and not _is_leaf(value):
        return bool(value) and all(_describes(_fields(each)) for each in value.values())
    return _kind(value) is not None


def _fields(value: Any) -> Any:
    """Return the fields of a JSON Schema object; anything else as it is."""
    if isinstance(value, dict) and isinstance(value.get("properties"), dict):
        return value["properties"]
    return value


def _is_leaf(value: dict[str, Any]) -> bool:
    return isinstance(value.get("type"), str) and set(value) <= LEAF_KEYS and _kind(value["type"]) is not None


def _kind(value: Any) -> str | None:
    if isinstance(value, dict):
        value = value.get("type")
    if isinstance(value, list):
        return "array"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    if not isinstance(value, str):
        return None
    first = re.match(r"[a-z]*", value.strip().lower())
    word = first.group(0) if first else ""
    return word if word in NUMBERS + WORDS + LISTS + OTHERS else None
