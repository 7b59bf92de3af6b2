"""What a chain of events proves: which of its lines was altered, removed, added or put elsewhere.

A line is *held* by the next, which names its hash, and *vouched for* where another file tells the same of it. Where a
link is broken, the line that nothing vouches for is the one that was altered.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator, Set
from typing import Generic, Literal, NamedTuple

from discernus.sessions.chronologs.events import E, Line, Lines

Kind = Literal["altered", "added", "removed", "reordered", "torn", "inconsistent"]


class Flaw(NamedTuple):
    """What is wrong with a chain: ``place`` is ``file:line`` by its name in the folder, ``what`` a sentence."""

    kind: Kind
    place: str
    what: str


class Chain(Generic[E]):
    """The lines of a file, and the order that their chain gives them, as far as that can be followed.

    ``known`` are hashes of lines of which another file tells; of two that claim one place, such a line has it.
    """

    def __init__(self, name: str, lines: Lines[E], known: Set[str] = frozenset()) -> None:
        self.name = name
        self.lines = lines
        self.followed = tuple(_follow(lines.read, known))
        self._index = {line.event.sequence: index for index, line in enumerate(self.followed)}

    def at(self, sequence: int) -> Line[E] | None:
        """Return the line of that sequence, None if it cannot be had."""
        index = self._index.get(sequence)
        return None if index is None else self.followed[index]

    def held(self, line: Line[E]) -> bool | None:
        """Return whether the next line names the hash of this one; None if there is no next."""
        after = self.at(line.event.sequence + 1)
        return None if after is None else after.event.previous == line.sha256

    def place(self, number: int) -> str:
        """Return how a finding names a line of the file."""
        return f"{self.name}:{number}"

    def flaws(self, vouched: Collection[int] = ()) -> list[Flaw]:
        """Return what is wrong; ``vouched`` are the numbers of lines whose content another file confirms."""
        found = [*self._broken(vouched), *self._surplus(), *self._misplaced(), *self._edited()]
        return sorted({(flaw.kind, flaw.place): flaw for flaw in reversed(found)}.values(), key=_by_line)

    def _broken(self, vouched: Collection[int]) -> Iterator[Flaw]:
        """Yield the lines that are altered or removed, as the links between those that are followed tell."""
        unreadable = self._unreadable()
        before: Line[E] | None = None
        sound = True  # whether the link into ``before`` tells of it what it is
        for line in self.followed:
            last = before.event.sequence if before is not None else 0
            instead = unreadable.get(line.number, [])
            yield from self._gap(last + 1, line, instead)
            if line.event.sequence > last + 1:
                sound = False
            elif line.event.previous == (before.sha256 if before is not None else None):
                sound = True
            elif before is None or (sound and before.number in vouched):
                yield Flaw("altered", self.place(line.number), "it does not name the hash of the line before it")
                sound = False
            else:
                yield Flaw("altered", self.place(before.number), "the next line names another hash of it")
                sound = True
            before = line

    def _gap(self, first: int, line: Line[E], unreadable: list[int]) -> Iterator[Flaw]:
        """Yield what became of the events from sequence ``first`` to the line, and of what stands in their place."""
        missing = line.event.sequence - first
        for number in unreadable[:missing]:
            yield Flaw("altered", self.place(number), "it cannot be read as an event any more")
        for number in unreadable[missing:]:
            yield Flaw("added", self.place(number), "it is no event, and none is missing there")
        gone = missing - len(unreadable)
        if gone > 0:
            which = f"sequence {first + len(unreadable)}" + (f" to {line.event.sequence - 1}" if gone > 1 else "")
            yield Flaw("removed", self.place(line.number), f"of the lines before it, {gone} of {which} are missing")

    def _unreadable(self) -> dict[int, list[int]]:
        """Return the numbers of the unreadable lines by that of the line which they stand before."""
        stands = sorted(line.number for line in self.followed)
        found: dict[int, list[int]] = {}
        for number in self.lines.unreadable:
            after = bisect_left(stands, number)
            found.setdefault(stands[after] if after < len(stands) else 0, []).append(number)
        return found

    def _surplus(self) -> Iterator[Flaw]:
        """Yield what belongs to no place in the chain."""
        followed = {line.number for line in self.followed}
        for line in self.lines.read:
            if line.number not in followed:
                yield Flaw("added", self.place(line.number), "it has no place in the chain")
        for number in self._unreadable().get(0, []):
            yield Flaw("altered", self.place(number), "it cannot be read as an event")

    def _misplaced(self) -> Iterator[Flaw]:
        """Yield each stretch of lines that stand in another order than their chain."""
        stands = [line.number for line in self.followed]
        first, highest = None, 0
        for found, wanted in zip(stands, sorted(stands), strict=True):
            highest = max(highest, found)
            if first is None and found != wanted:
                first = wanted
            if first is not None and highest == wanted:
                what = f"lines {first} to {wanted} do not stand in the order of their chain"
                yield Flaw("reordered", self.place(first), what)
                first = None

    def _edited(self) -> Iterator[Flaw]:
        for line in self.lines.read:
            if line.edited:
                yield Flaw("altered", self.place(line.number), "it is not written as a chronolog is")


def _follow(read: Iterable[Line[E]], known: Set[str]) -> Iterator[Line[E]]:
    """Yield the lines along their chain; where that is broken, go on with the next sequence that there is."""
    by_sequence: dict[int, list[Line[E]]] = {}
    for line in read:
        by_sequence.setdefault(line.event.sequence, []).append(line)
    named = {line.event.previous for lines in by_sequence.values() for line in lines}
    before: Line[E] | None = None
    for sequence in sorted(by_sequence):
        if len(by_sequence[sequence]) == 1:
            (before,) = by_sequence[sequence]
            yield before
            continue
        wanted = before.sha256 if before is not None and before.event.sequence == sequence - 1 else None
        before = max(
            by_sequence[sequence],
            key=lambda line: (line.sha256 in known, line.event.previous == wanted, line.sha256 in named),
        )
        yield before


def _by_line(flaw: Flaw) -> tuple[str, int]:
    name, _, number = flaw.place.rpartition(":")
    return name, int(number)
