"""Looking up every number of a piece of prose in the computed tables that it is about.

A number is found where a table has it with the sign and the unit of the prose, and rounded as the prose rounds it. It
claims no more decimals than the table shows; a whole number is found only as a whole number, since anything lies near
one. What is not found is marked, never mended.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import ROUND_HALF_DOWN, ROUND_HALF_UP, Decimal, InvalidOperation
from typing import Literal

from pydantic import BaseModel, ConfigDict

Kind = Literal["number", "percentage", "bound", "word", "sign"]

_WORDS = {
    word: number
    for number, word in enumerate(
        (
            *("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve", "thirteen"),
            *("fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty"),
        ),
        start=2,
    )
} | {
    word: 10 * number
    for number, word in enumerate(
        ("thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety", "hundred"), start=3
    )
}
_UNITS = {word: number for word, number in _WORDS.items() if number < 10} | {"one": 1}
_COUNTED = (
    "analys[ei]s|answers?|calls?|cases?|comparisons?|dimensions?|documents?|groups?|hypothes[ei]s|languages?|metrics?"
    "|models?|pairs?|repeats?|runs?|scores?|sessions?|speech(?:es)?|tests?|texts?|variants?"
)
_SPELLED = re.compile(
    r"(?<![\w-])(?:(?P<tens>twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety)-(?P<unit>one|two|three|four|five|six"
    r"|seven|eight|nine)|(?P<word>" + "|".join(_WORDS) + rf")|one(?= (?:\w+ )?(?:{_COUNTED})\b))(?![\w-])",
    re.IGNORECASE,
)
_PARTS = {
    word: number
    for number, word in enumerate(
        ("half", "third", "quarter", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth"), start=2
    )
} | {"fourth": 4}
_SHARE = re.compile(  # a third of them; not a third model, nor the third
    r"(?<![\w-])(?:(?:(?:an?|one)[ -])?(?P<half>half)|(?P<many>"
    + "|".join(_UNITS)
    + rf")[ -](?P<parts>{'|'.join(_PARTS)})s|(?:an?|one)[ -](?P<part>{'|'.join(_PARTS)})(?=\s+(?:of|as|more|less|fewer"
    r"|higher|lower|larger|smaller|are|is|were|was|have|has|had)\b|\s*(?:[.,;:)\]]|$)))(?![\w-])",
    re.IGNORECASE,
)
_MULTIPLE = re.compile(
    r"(?<![\w-])(?:twice|thrice|(?:re)?doubl(?:e[sd]?|ing)|(?:tripl|quadrupl|halv)(?:e[sd]?|ing)|(?:"
    + "|".join(word for word, number in _WORDS.items() if number < 10 or number in (10, 20, 100))
    + r")-?fold)(?![\w-])",
    re.IGNORECASE,
)
_DIGITS = r"(?:\d{1,3}(?:,\d{3})+(?!\d)(?:\.\d+)?|\d+[.,]\d+|\d+|[.]\d+)(?:[eE][-+\u2212]?\d{1,2}(?!\d))?"
_NUMBER = re.compile(
    rf"(?P<bound>[<>\u2264\u2265]=?\s*)?(?P<sign>(?<![\w.,)\]%])[-+\u2212\u2013]\s?(?=[\d.]))?(?P<digits>{_DIGITS})"
    r"(?P<percent>\s?(?:%|per ?cent\b|percentage points?\b))?",
    re.IGNORECASE,
)
_WORD = re.compile(r"[\w\u0300-\u036f]+(?:[-._:/@+][\w\u0300-\u036f]+)*")
_SHARES = re.compile(r"%|\bshares?\b|\bper ?cent", re.IGNORECASE)
_PROBABILITIES = re.compile(r"^p\b", re.IGNORECASE)
_COEFFICIENTS = ("ICC(1,1)", "ICC(1,k)", "ICC(A,1)")  # names of ours with figures in them
_MINUS = str.maketrans({"\u2212": "-", "\u2013": "-"})


class Cited(BaseModel):
    """A number as the prose has it: what it says, where it begins (in characters), and whether the tables have it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    text: str
    at: int
    kind: Kind
    found: bool

    @property
    def end(self) -> int:
        return self.at + len(self.text)


@dataclass(frozen=True)
class _Value:
    value: Decimal
    decimals: int
    percent: bool
    bound: str  # "<", ">", … or nothing


class Tables:
    """The numbers of computed tables, given as Markdown; ``names`` are of documents, models and the like: in them a
    digit is no number."""

    def __init__(self, markdown: str, names: Iterable[str] = ()) -> None:
        self._names = _pattern([*_COEFFICIENTS, *names])
        text = self._without_names(markdown)
        self._words = {found[0] for found in _WORD.finditer(text) if _is_name(found[0])}
        self._values = {one for _, one in _values(text, self._words)}
        self._probabilities: set[_Value] = set()
        for heading, cell in _cells(text):
            inside = {one for _, one in _values(cell, self._words)}
            if _SHARES.search(heading):
                self._values |= {_as_percentage(one) for one in inside if not one.percent}
            if _PROBABILITIES.match(heading):
                self._probabilities |= inside

    def look_up(self, prose: str) -> tuple[Cited, ...]:
        """Return every number that the prose cites, in its order."""
        text = self._without_names(prose)
        found = [
            Cited(text=prose[start:end], at=start, kind=_kind(one), found=self._has(one))
            for (start, end), one in _values(text, self._words)
        ]
        found += [
            Cited(text=prose[start:end], at=start, kind="word", found=there)
            for (start, end), there in self._words_of(text)
        ]
        taken = [(one.at, one.end) for one in found]
        found += [
            Cited(text=sign, at=at, kind="sign", found=False)
            for at, sign in enumerate(text)
            if unicodedata.category(sign) in ("No", "Nl")
            and not _is_within(at, taken)
            and not self._is_of_a_name(text, at)
        ]
        return tuple(sorted(found, key=lambda one: one.at))

    def _words_of(self, text: str) -> Iterator[tuple[tuple[int, int], bool]]:
        """Yield where numbers stand in words, and whether the tables have them; of a multiple they never tell."""
        shares = list(_SHARE.finditer(text))
        yield from ((one.span(), any(_is_share(value, _share(one)) for value in self._values)) for one in shares)
        yield from ((one.span(), False) for one in _MULTIPLE.finditer(text))
        inside = [one.span() for one in shares]
        for one in _SPELLED.finditer(text):
            if not _is_within(one.start(), inside):
                yield one.span(), self._has(_spelled(one))

    def _has(self, cited: _Value) -> bool:
        if cited.bound:
            wanted = (cited.bound, cited.value, cited.percent)
            same = any((one.bound, one.value, one.percent) == wanted for one in self._values)
            return same or self._bounds_a_probability(cited)
        return any(_agrees(cited, one) for one in self._values if not one.bound)

    def _bounds_a_probability(self, cited: _Value) -> bool:
        """Return whether a p value of the tables is on that side of the bound."""
        below = cited.bound[0] in "<\u2264"
        return any(
            (one.value < cited.value or (one.value == cited.value and (bool(one.bound) or cited.bound != "<")))
            if below
            else not one.bound and one.value > cited.value
            for one in self._probabilities
        )

    def _without_names(self, text: str) -> str:
        """Return the text with blanks, as many as there were letters, in the place of names."""
        return self._names.sub(lambda found: " " * len(found[0]), text)

    def _is_of_a_name(self, text: str, at: int) -> bool:
        return any(found.start() <= at < found.end() and found[0] in self._words for found in _WORD.finditer(text))


def _pattern(names: Iterable[str]) -> re.Pattern[str]:
    """Return what finds names with figures and letters in them as whole words, the longest first."""
    known = sorted({name for name in names if re.search(r"\d", name) and re.search(r"[^\W\d]", name)}, key=len)
    return re.compile("|".join(rf"(?<!\w){re.escape(name)}(?!\w)" for name in reversed(known)))


def _is_name(word: str) -> bool:
    """Return whether a word has letters beside its digits: ``H1``, ``run-2``, ``ICC1k``."""
    return bool(re.search(r"[^\W\d_]", word)) and any(sign.isnumeric() for sign in word)


def _values(text: str, words: set[str]) -> Iterator[tuple[tuple[int, int], _Value]]:
    """Yield the numbers of a text with where they stand; digits of a word that is one of ``words`` are none."""
    named = [found.span() for found in _WORD.finditer(text) if found[0] in words and _is_name(found[0])]
    for found in _NUMBER.finditer(text):
        if _is_within(found.start("digits"), named):
            continue
        value, decimals = _read(found["digits"])
        sign = (found["sign"] or "").strip().translate(_MINUS)
        start = found.start("bound") if found["bound"] else found.start("sign") if sign else found.start("digits")
        percent, bound = bool(found["percent"]), (found["bound"] or "").strip()
        yield (start, found.end()), _Value(-value if sign == "-" else value, decimals, percent, bound)


def _read(digits: str) -> tuple[Decimal, int]:
    """Return a number and its decimals: a comma before three digits sets thousands apart, another is a point."""
    mantissa, _, exponent = digits.lower().translate(_MINUS).partition("e")
    thousands = re.fullmatch(r"[1-9]\d{0,2}(?:,\d{3})+(?:\.\d+)?", mantissa)
    plain = mantissa.replace(",", "" if thousands else ".")
    decimals = len(plain.partition(".")[2]) - int(exponent or 0)
    return Decimal(plain).scaleb(int(exponent or 0)), max(0, decimals)


def _spelled(found: re.Match[str]) -> _Value:
    if found["tens"]:
        number = _WORDS[found["tens"].lower()] + _UNITS[found["unit"].lower()]
    else:
        number = _WORDS[found["word"].lower()] if found["word"] else 1
    return _Value(Decimal(number), 0, percent=False, bound="")


def _share(found: re.Match[str]) -> Decimal:
    parts = found["half"] or found["parts"] or found["part"]
    return Decimal(_UNITS[found["many"].lower()] if found["many"] else 1) / _PARTS[parts.lower()]


def _is_share(shown: _Value, share: Decimal) -> bool:
    """Return whether a table shows a share: as a percentage, rounded to two decimals or more, or exactly."""
    if shown.bound:
        return False
    if shown.percent:
        return shown.value == round(100 * share, shown.decimals)
    return shown.value == share or (shown.decimals > 1 and shown.value == round(share, shown.decimals))


def _agrees(cited: _Value, shown: _Value) -> bool:
    """Return whether what a table shows, rounded as the prose rounds it, is what the prose says."""
    if cited.percent != shown.percent or cited.decimals > shown.decimals:
        return False
    if not cited.decimals and not cited.percent:
        return cited.value == shown.value
    unit = Decimal(1).scaleb(-cited.decimals)
    try:
        return cited.value in [shown.value.quantize(unit, way) for way in (ROUND_HALF_UP, ROUND_HALF_DOWN)]
    except InvalidOperation:  # more digits than any table of ours shows: a word that someone wrote in figures alone
        return cited.value == shown.value


def _as_percentage(share: _Value) -> _Value:
    return _Value(100 * share.value, max(0, share.decimals - 2), percent=True, bound=share.bound)


def _kind(value: _Value) -> Kind:
    return "bound" if value.bound else "percentage" if value.percent else "number"


def _is_within(at: int, spans: Iterable[tuple[int, int]]) -> bool:
    return any(start <= at < end for start, end in spans)


def _cells(markdown: str) -> Iterator[tuple[str, str]]:
    """Yield every cell of the tables with the heading of its column."""
    headings: list[str] | None = None
    for line in markdown.splitlines():
        if not line.startswith("|"):
            headings = None
            continue
        row = [cell.strip() for cell in line.strip("|").split("|")]
        if headings is None:
            headings = row
        else:
            yield from zip(headings, row, strict=False)
