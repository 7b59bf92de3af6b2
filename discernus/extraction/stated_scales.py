"""The scale that an answer states for its own scores: ``"scale": "0-10"``, ``"out_of": 10``.

Where it is another than the dimension's, a number that happens to fit would mean something else: 1 of 10 is not 1 of 1.
"""

import re
from typing import Any, NamedTuple

from discernus.extraction.json_text import number

_NUMBER = r"[-+−]?(?:\d+(?:\.\d+)?|\.\d+)"
_RANGE = re.compile(rf"(?<![\w.])({_NUMBER})[ \t]*(?:-|–|—|to|\.\.)[ \t]*({_NUMBER})(?![\w.]*\d)")


class StatedScale(NamedTuple):
    """Both ends of a scale, and which scores it is said of; ``low`` is None where only the upper end is stated."""

    low: float | None
    high: float
    frame: tuple[int, ...]
    dimension: str | None  # None: of all scores within the frame

    def is_of(self, dimension: str, frame: tuple[int, ...]) -> bool:
        """Return whether it is said of a score of that dimension there."""
        return self.dimension in (None, dimension) and frame[: len(self.frame)] == self.frame

    def differs(self, low: float, high: float) -> bool:
        """Return whether it is another scale than that one."""
        return self.high != high or self.low not in (None, low)


def stated_scale(node: Any, frame: tuple[int, ...], dimension: str | None) -> StatedScale | None:
    """Return the scale that a value states, a range in words or the upper end as a number; None where it is neither."""
    if isinstance(node, str) and (found := _RANGE.search(node)):
        low, high = number(found[1]), number(found[2])
        return None if low is None or high is None else StatedScale(low, high, frame, dimension)
    high = number(node)
    return None if high is None else StatedScale(None, high, frame, dimension)
