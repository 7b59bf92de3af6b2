"""Other people's text on a terminal or in a pipe: made harmless, fitted to eighty columns, with passages marked."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator
from functools import lru_cache
from textwrap import wrap

from rich.cells import cell_len

from cli.tables import WIDTH

BEGIN, END = "\ue000", "\ue001"  # around a marked passage, until it is shown
_PLAIN = {BEGIN: "▸", END: "◂"}
_COLOURED = {BEGIN: "\033[1;33m", END: "\033[0m"}

# what acts on a terminal, turns the rest of a line around, or stands for a mark of ours
_ACTING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u202a-\u202e\u2060\u2066-\u2069\ufeff\ue000\ue001]")
_WORD = re.compile(r"[^\W_]+")
_OMISSION = re.compile(r"\.\.\.|…")
_BETWEEN = (
    r"(?:\\u[0-9a-fA-F]{4}|\\[nrt]|[\W_]){1,12}?"  # words: spaces and punctuation of any kind, and escapes of JSON
)
_LEAST_WORDS = 2  # of a part between omissions, lest every "the" is marked


def harmless(text: str) -> str:
    """Return the text with nothing in it that acts on a terminal."""
    return _ACTING.sub("\ufffd", text.replace("\r\n", "\n"))


def marked(text: str, quotations: Iterable[str]) -> str:
    """Return the text, harmless, with BEGIN and END around each place where one of the quotations stands.

    Case, spaces, punctuation and the escapes of JSON may differ; what a quotation leaves out ("…") is not marked.
    """
    shown = harmless(text)
    parts = []
    place = 0
    for begin, end in _joined(sorted(span for quotation in quotations for span in _spans(quotation, shown))):
        parts += [shown[place:begin], BEGIN, shown[begin:end], END]
        place = end
    return "".join([*parts, shown[place:]])


def fitted(text: str, *, indent: str = "", width: int = WIDTH) -> list[str]:
    """Return the text's lines, each broken to the width; a line's own indentation is kept, and is that of its rest."""
    lines = []
    for line in text.expandtabs(4).splitlines():
        own = re.match(" *", line)
        rest = indent + (own[0] if own is not None and len(own[0]) < width // 2 else "")
        room = max(20, width * len(line) // max(1, cell_len(line)))  # in characters: some take two columns
        broken = wrap(line.strip(), room, initial_indent=rest, subsequent_indent=rest, break_on_hyphens=False)
        lines += broken or [""]
    return lines


def shown(lines: Iterable[str]) -> Iterator[str]:
    """Yield the lines with marks as they are to be seen: in colour on a terminal, else between ▸ and ◂."""
    signs = _COLOURED if sys.stdout.isatty() and not os.environ.get("NO_COLOR") else _PLAIN
    for line in lines:
        yield line.replace(BEGIN, signs[BEGIN]).replace(END, signs[END])


def _spans(quotation: str, text: str) -> Iterator[tuple[int, int]]:
    parts = [tuple(_WORD.findall(part)) for part in _OMISSION.split(quotation)]
    whole = len(parts) == 1
    for words in parts:
        if words and (whole or len(words) >= _LEAST_WORDS):
            yield from (found.span() for found in _pattern(words).finditer(text))


@lru_cache(maxsize=1024)
def _pattern(words: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile(rf"(?<![^\W_]){_BETWEEN.join(map(re.escape, words))}(?![^\W_])", re.IGNORECASE)


def _joined(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return spans, in order, that overlap no more."""
    joined: list[tuple[int, int]] = []
    for begin, end in spans:
        if joined and begin <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((begin, end))
    return joined
