"""The offline model: a dictionary method that counts a framework's marker phrases, under the name ``offline/lexicon``.

Its baseline counts over the whole text; each run resamples the text's sentences with replacement and counts again. The
spread over runs is therefore sentence-resampling stability, and never the reliability of a language model.

    score      = low + (high - low) · (1 - exp(-h / H0)), h = hits per 1,000 words
    confidence = hits / (hits + HALF_CONFIDENT), hits over the whole text
    salience   = the dimension's share of all hits

A dimension without any hit in the whole text has no coverage: its numbers are null and its evidence is empty.
"""

import json
import math
import random
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from typing import Any

H0 = 5.0  # hits per 1,000 words that reach 63 % of a scale; a convention, the same for every framework
HALF_CONFIDENT = 3  # hits at which confidence is one half
QUOTES = 2
NOTE = "The offline lexicon model counted marker phrases; no language model read this text."

_BEGINNING = re.compile(r"^BEGIN (?P<mark>\S+)$", re.MULTILINE)
_SENTENCE_END = re.compile(r"(?<=[.!?…])[\"'”’»)\]]*\s+(?=\S)|\n\s*\n")
_WORD = re.compile(r"\w+(?:'\w+)*")
_APOSTROPHES = str.maketrans("’‘ʼ`´", "'''''")

Phrase = tuple[str, ...]


@dataclass(frozen=True)
class _Counts:
    """A text's sentences, the words in each, and by dimension the hits in each."""

    sentences: tuple[str, ...]
    words: tuple[int, ...]
    hits: dict[str, tuple[int, ...]]


def document_of(message: str) -> str:
    """Return the text that a user's message puts between the lines BEGIN and END of one mark, or raise ValueError."""
    beginning = _BEGINNING.search(message)
    if beginning is None:
        raise ValueError("the message holds no line that begins a text")
    end = message.rfind(f"\nEND {beginning['mark']}")
    if end < 0:
        raise ValueError("the message holds no line that ends its text")
    return message[beginning.end() + 1 : end] if end > beginning.end() else ""


def answer(text: str, lexicon: Mapping[str, Any]) -> str:
    """Return the answer to a text as bare JSON, in the form that the lexicon's ``fields`` ask for.

    ``lexicon`` holds ``dimensions`` (name → markers, low, high), ``fields`` (path, role, dimension, type) and ``run``.
    """
    counts = _count(text, lexicon)
    scores = _resampled_scores(text, counts, lexicon)
    result: dict[str, Any] = {}
    for field in lexicon["fields"]:
        place = result
        *parents, key = field["path"]
        for parent in parents:
            place = place.setdefault(parent, {})
        place[key] = _value(field, counts, scores)
    return json.dumps(result, ensure_ascii=False, indent=2)


def baseline(text: str, lexicon: Mapping[str, Any]) -> dict[str, float | None]:
    """Return each dimension's score over the whole text, without resampling; None where there is no coverage."""
    counts = _count(text, lexicon)
    everything = range(len(counts.sentences))
    return {
        name: _score(counts, name, everything, scale) if sum(counts.hits[name]) else None
        for name, scale in lexicon["dimensions"].items()
    }


def _resampled_scores(text: str, counts: _Counts, lexicon: Mapping[str, Any]) -> dict[str, float | None]:
    """Return each dimension's score over this run's resample of sentences; the same resample for every dimension."""
    seed = sha256(f"{lexicon['run']}\n{text}".encode()).digest()
    number = len(counts.sentences)
    drawn = random.Random(int.from_bytes(seed, "big")).choices(range(number), k=number) if number else []
    return {
        name: _score(counts, name, drawn, scale) if sum(counts.hits[name]) else None
        for name, scale in lexicon["dimensions"].items()
    }


def _score(counts: _Counts, dimension: str, drawn: Sequence[int], scale: Mapping[str, Any]) -> float:
    words = sum(counts.words[index] for index in drawn)
    hits = sum(counts.hits[dimension][index] for index in drawn)
    per_thousand = 1000 * hits / words if words else 0.0
    low, high = float(scale["low"]), float(scale["high"])
    return round(low + (high - low) * (1 - math.exp(-per_thousand / H0)), 4)


def _value(field: Mapping[str, Any], counts: _Counts, scores: Mapping[str, float | None]) -> Any:
    """Return what stands in one field of the answer; null for what counting phrases cannot tell."""
    dimension, role, kind = field["dimension"], field["role"], str(field["type"]).lower()
    many = "list" in kind or "array" in kind
    if role == "evidence":
        quotes = _evidence(counts, dimension)
        return quotes if many else (" … ".join(quotes) or None)
    if dimension is not None and role in ("score", "confidence", "salience"):
        hits = sum(counts.hits.get(dimension, ()))
        if not hits:
            return None
        if role == "score":
            return scores[dimension]
        if role == "confidence":
            return round(hits / (hits + HALF_CONFIDENT), 4)
        return round(hits / sum(sum(each) for each in counts.hits.values()), 4)
    if many:
        return []
    return NOTE if role == "other" and ("str" in kind or "text" in kind) else None


def _evidence(counts: _Counts, dimension: str | None) -> list[str]:
    """Return the sentences with most hits, verbatim, in the order of the text."""
    hits = counts.hits.get(dimension or "", ())
    richest = sorted((index for index, number in enumerate(hits) if number), key=lambda index: (-hits[index], index))
    return [counts.sentences[index] for index in sorted(richest[:QUOTES])]


def _count(text: str, lexicon: Mapping[str, Any]) -> _Counts:
    markers = tuple((name, tuple(scale["markers"])) for name, scale in lexicon["dimensions"].items())
    return _count_markers(text, markers)


@lru_cache(maxsize=64)
def _count_markers(text: str, markers: tuple[tuple[str, tuple[str, ...]], ...]) -> _Counts:
    sentences = tuple(part.strip() for part in _split(text) if part.strip())
    tokens = [_words(sentence) for sentence in sentences]
    hits = {}
    for name, phrases in markers:
        lookup = _by_first_word(phrases)
        hits[name] = tuple(_hits(sentence, lookup) for sentence in tokens)
    return _Counts(sentences, tuple(len(sentence) for sentence in tokens), hits)


def _split(text: str) -> list[str]:
    """Return the text's sentences as they stand, closing quotation marks included."""
    ends = [match.end() for match in _SENTENCE_END.finditer(text)]
    return [text[start:end] for start, end in zip([0, *ends], [*ends, len(text)], strict=True)]


def _words(text: str) -> list[str]:
    """Return the words to compare: case, hyphens, kinds of apostrophe and a possessive s make no difference."""
    plain = unicodedata.normalize("NFKC", text).translate(_APOSTROPHES).casefold()
    return [word.removesuffix("'s") for word in _WORD.findall(plain)]


def _by_first_word(markers: Sequence[str]) -> dict[str, list[Phrase]]:
    """Return the phrases by their first word, longest first, so that the longest one that fits is counted."""
    lookup: dict[str, list[Phrase]] = {}
    phrases = {tuple(_words(marker)) for marker in markers}
    for phrase in sorted(phrases - {()}, key=lambda phrase: (-len(phrase), phrase)):
        lookup.setdefault(phrase[0], []).append(phrase)
    return lookup


def _hits(words: list[str], lookup: Mapping[str, list[Phrase]]) -> int:
    """Return how many phrases stand in these words; no word is counted twice."""
    if lookup.keys().isdisjoint(words):
        return 0
    hits = place = 0
    while place < len(words):
        for phrase in lookup.get(words[place], ()):
            if tuple(words[place : place + len(phrase)]) == phrase:
                hits += 1
                place += len(phrase)
                break
        else:
            place += 1
    return hits
