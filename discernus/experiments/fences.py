"""The fenced blocks of a Markdown text."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

_FENCE = re.compile(r"^(?P<indent>[ \t]*)(?P<fence>`{3,}|~{3,})[ \t]*(?P<language>[\w+-]*)[^\n]*$", re.MULTILINE)


@dataclass(frozen=True)
class Fence:
    """A fenced block: its language, the text in it, the line the text begins on, and where the whole block lies."""

    language: str
    text: str
    line: int
    start: int
    body: int
    end: int
    closed: bool


def fences(text: str) -> Iterator[Fence]:
    """Yield the fenced blocks of a Markdown text in order; one left open reaches to the end.

    A fence that is indented more than three characters deeper than the first is part of what is fenced.
    """
    position = 0
    while opening := _FENCE.search(text, position):
        deepest = len(opening["indent"]) + 3
        mark = f"{opening['fence'][0]}{{{len(opening['fence'])},}}"
        closing = re.compile(rf"^[ \t]{{0,{deepest}}}{mark}[ \t]*$", re.MULTILINE)
        body = opening.end() + 1
        close = closing.search(text, body)
        end = close.start() if close else len(text)
        position = close.end() if close else len(text)
        line = text.count("\n", 0, body) + 1
        yield Fence(
            opening["language"].lower(), text[body:end], line, opening.start(), body, position, close is not None
        )
