"""Where a file repeats the words of certain texts: every passage of some length, whatever its typography.

Compared are letters and digits alone, without case and accents, so that neither line breaks, quotation marks, Markdown,
HTML entities nor the escapes of JSON hide a passage. Written by hand since what libraries call fuzzy matching finds
what is alike, and neither finds all that is equal nor says where it begins and ends.
"""

from __future__ import annotations

import html
import re
import unicodedata
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

LEAST = 24  # letters and digits, five words or so; what is shorter is anybody's phrase
WINDOW = LEAST // 2  # one is kept for every so many letters of a text: any passage of LEAST letters holds one of them
MOST_PLACES = 16  # of one window; where there are more, each passage of LEAST letters around it is kept once
STRIDE = 512  # letters compared at once

MARK = "⟨taken out⟩"

_TOKEN = re.compile(
    r"\\+u[0-9a-fA-F]{4}|\\+[nrtbf]|&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,30});|[^\W_]+"
)
# A key of JSON: no part of a quotation, unless it is one whole.
_KEY = re.compile(r'"([\w .\-/]{1,80})"(?=\s*:)')
_BARRIER = "\t"  # in place of a key; no letter, so that no passage goes on across it
# What stands between two quotations in a row: quotation marks with the commas and brackets of JSON, or of Python.
_SEAM = re.compile(r"""(\s*(?<!\\)"[\s,:\[\]{}"]*|'\s*,\s*')""")

# Letters that Unicode does not take apart, as they are written where a keyboard has none of them.
_UNDIVIDED = str.maketrans(
    {"ø": "o", "ł": "l", "đ": "d", "ð": "d", "ħ": "h", "ı": "i", "æ": "ae", "œ": "oe", "þ": "th"}
)


@dataclass(frozen=True)
class _Letters:
    """A text's letters and digits, and for each stretch of them where it begins there and where it lies in the text."""

    letters: str
    begins: list[int]
    spans: list[tuple[int, int]]

    def start(self, place: int) -> int:
        """Return where in the text the letter at that place begins."""
        index = bisect_right(self.begins, place) - 1
        begin, (start, _) = self.begins[index], self.spans[index]
        return start + (place - begin) if self._is_plain(index) else start

    def end(self, place: int) -> int:
        """Return where in the text the letter before that place ends."""
        index = bisect_right(self.begins, place - 1) - 1
        begin, (start, end) = self.begins[index], self.spans[index]
        return start + (place - begin) if self._is_plain(index) else end

    def whole_words(self, begin: int, end: int) -> tuple[int, int]:
        """Return the stretch without the short parts of words at its ends.

        Words of scripts that do not part them stay, and so does what is long: text without spaces is no word.
        """
        first, last = bisect_right(self.begins, begin) - 1, bisect_right(self.begins, end - 1) - 1
        if self.begins[first] < begin and self._after(first) - begin < WINDOW and self._is_ascii(first):
            begin = self._after(first)
        if end < self._after(last) and end - self.begins[last] < WINDOW and self._is_ascii(last):
            end = self.begins[last]
        return begin, end

    def _is_ascii(self, index: int) -> bool:
        return self.letters[self.begins[index] : self._after(index)].isascii()

    def _after(self, index: int) -> int:
        return self.begins[index + 1] if index + 1 < len(self.begins) else len(self.letters)

    def _is_plain(self, index: int) -> bool:
        start, end = self.spans[index]
        return self._after(index) - self.begins[index] == end - start


class Passages:
    """Finds and masks what repeats a passage of the ``texts``; what stands as well in ``public`` is nobody's secret.

    Nor is a run of public passages: two quotations of a public text in a row are no quotation of another, though the
    end of one and the beginning of the other may read like it.
    """

    def __init__(self, texts: Iterable[str], public: Iterable[str] = ()) -> None:
        self._texts = _Index(texts)
        self._public = _Index(public)

    def found(self, text: str) -> list[tuple[int, int]]:
        """Return where the passages stand, as (start, end) in the text, in order; a word is part of one or not."""
        if len(text) < LEAST:  # as most of what stands in JSON and CSV
            return []
        read = _read(text, self._is_key)
        letters = read.letters
        spans: list[tuple[int, int]] = []
        after = 0
        for place in self._texts.windows_in(letters, 0, len(letters)):
            if place < after:
                continue
            begin, end = self._texts.longest(letters, place, after)
            if end - begin < LEAST:
                continue
            stretch = read.whole_words(begin, end)
            if not self._is_public(letters, *(stretch if stretch[1] - stretch[0] >= LEAST else (begin, end))):
                begin, end = stretch
                joined = spans.pop()[0] if spans and begin == after else read.start(begin)
                spans.append((joined, read.end(end)))
                after = end
        return spans

    def mask(self, text: str, *, seams: bool = False) -> str:
        """Return the text with a mark for each passage; ``seams`` keeps apart what JSON lists as several."""
        parts: list[str] = []
        last = 0
        for start, end in self.found(text):
            parts += [text[last:start], _masked(text[start:end]) if seams else MARK]
            last = end
        return "".join((*parts, text[last:]))

    def _is_key(self, key: str) -> bool:
        return len(key) < LEAST or not self._texts.hold(key)

    def _is_public(self, letters: str, begin: int, end: int) -> bool:
        """Return whether every letter of the stretch is part of a public passage, which may begin or end outside it."""
        if self._public.hold(letters[begin:end]):
            return True
        reached, first = begin, max(begin - LEAST, 0)
        for place in self._public.windows_in(letters, first, end + LEAST):
            if place + LEAST < reached:  # whatever goes on from here has a later window too
                continue
            left, right = self._public.longest(letters, place, max(reached - LEAST, first))
            if right - left >= LEAST and left <= reached:
                reached = max(reached, right)
            if reached >= end:
                return True
        return False


class _Index:
    """The letters of some texts, and where in them stands every window that is kept."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._letters = "\n".join(letters_of(text) for text in texts)
        self._places: dict[str, list[int]] = {}
        self._around: dict[
            str, dict[str, int]
        ] = {}  # by a window of more places: each passage around it, and one place
        place = 0
        for letters in self._letters.split("\n"):
            for begin in range(place, place + len(letters) - WINDOW + 1, WINDOW):
                places = self._places.setdefault(self._letters[begin : begin + WINDOW], [])
                if len(places) < MOST_PLACES:
                    places.append(begin)
                else:
                    self._keep_around(begin)
            place += len(letters) + 1

    def hold(self, letters: str) -> bool:
        """Return whether these letters stand in one of the texts."""
        return letters in self._letters

    def windows_in(self, letters: str, begin: int, end: int) -> Iterator[int]:
        """Yield where a window that is kept stands in that stretch of some letters."""
        windows, last = self._places, min(end, len(letters)) - WINDOW
        return (at for at in range(begin, last + 1) if letters[at : at + WINDOW] in windows)

    def longest(self, letters: str, window: int, after: int) -> tuple[int, int]:
        """Return the longest stretch around a window that is one in the texts too, from ``after`` on."""
        begin = end = window
        for place, there in self._alike_places(letters, window, after):
            left = place - _alike_before(letters, place, self._letters, there, after)
            right = place + _alike(letters, place, self._letters, there)
            if right - left > end - begin:
                begin, end = left, right
        return begin, end

    def _keep_around(self, begin: int) -> None:
        around = self._around.setdefault(self._letters[begin : begin + WINDOW], {})
        for place in range(max(begin + WINDOW - LEAST, 0), begin + 1):
            around.setdefault(self._letters[place : place + LEAST], place)

    def _alike_places(self, letters: str, window: int, after: int) -> Iterator[tuple[int, int]]:
        """Yield places at a window or before it, each with one in the texts from which on they are alike."""
        said = letters[window : window + WINDOW]
        yield from ((window, there) for there in self._places[said])
        if (around := self._around.get(said)) is not None:
            for place in range(max(window + WINDOW - LEAST, after), window + 1):
                there = around.get(letters[place : place + LEAST])
                if there is not None:
                    yield place, there


def letters_of(text: str) -> str:
    """Return the text's letters and digits as they are compared."""
    return "".join(_plain(token) for token in _TOKEN.findall(text))


def _masked(passage: str) -> str:
    return "".join(
        part if index % 2 or not part else MARK for index, part in enumerate(_SEAM.split(passage))
    )  # at odd places stand the seams


def _read(text: str, is_key: Callable[[str], bool] | None = None) -> _Letters:
    """Return the letters of a text; where ``is_key`` says so, a barrier stands for a key of JSON."""
    keys = [key.span() for key in _KEY.finditer(text) if is_key(letters_of(key[1]))] if is_key is not None else []
    parts: list[str] = []
    begins: list[int] = []
    spans: list[tuple[int, int]] = []
    length = last = 0
    for start, end in (*keys, (len(text), len(text))):
        found = [(_plain(token[0]), token.span()) for token in _TOKEN.finditer(text, last, start)]
        for letters, span in (*found, (_BARRIER, (start, end))):
            if letters:
                parts.append(letters)
                begins.append(length)
                spans.append(span)
                length += len(letters)
        last = end
    return _Letters("".join(parts), begins, spans)


def _plain(token: str) -> str:
    if token[0] == "\\":
        token = chr(int(token[-4:], 16)) if len(token) > 5 and token[-5] == "u" else ""
    elif token[0] == "&":
        token = html.unescape(token)
    if token.isascii() and token.isalnum():
        return token.lower()
    plain = unicodedata.normalize("NFKD", token).casefold().translate(_UNDIVIDED)
    return "".join(one for one in plain if one.isalnum())


def _alike(one: str, here: int, other: str, there: int) -> int:
    """Return how many letters are the same from these places on; texts end in a line break, which is no letter."""
    length = 0
    while True:
        left, right = one[here + length : here + length + STRIDE], other[there + length : there + length + STRIDE]
        if left == right and left:
            length += len(left)
            continue
        for mine, theirs in zip(left, right, strict=False):
            if mine != theirs:
                break
            length += 1
        return length


def _alike_before(one: str, here: int, other: str, there: int, after: int) -> int:
    """Return how many letters are the same before these places, in the first one from ``after`` on."""
    length = 0
    while here - length > after and there - length > 0 and one[here - length - 1] == other[there - length - 1]:
        length += 1
    return length
