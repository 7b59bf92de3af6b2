"""Something that is not as it should be: what, where, what that means, what to do, and how it can be mended."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Symptom:
    """``place`` is a file, in the session or in the store. ``mend`` puts it right without guessing; None: nobody can.

    ``session`` is the one it was found in, None for the store's own. ``known``: it is accounted for where results are,
    and nothing need be done about it.
    """

    kind: str
    place: str
    what: str
    means: str
    cure: str
    session: str | None = None
    known: bool = False
    mend: Callable[[], None] | None = field(default=None, compare=False)

    @property
    def file(self) -> str:
        """The file, without the number of a line."""
        name, colon, line = self.place.rpartition(":")
        return name if colon and line.isdigit() else self.place
