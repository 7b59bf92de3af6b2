"""A session's money, handed on to its batches: what the ledger allows, what each batch has been given, what it spent.

Amounts are US dollars. A batch's part counts from the start of that batch; the session's account from its very first
call, whichever run of its workflow made it.
"""

from __future__ import annotations

from dataclasses import dataclass

from workflows.purse import ROUNDING_USD


@dataclass
class _Part:
    given: float = 0.0
    fresh: float = 0.0
    spent: float = 0.0


class Allowance:
    """``base_usd`` is what the session's archive says was spent before; nothing is allowed until something is
    granted."""

    def __init__(self, base_usd: float, *, bounded: bool = True) -> None:
        self.bounded = bounded
        self._base = base_usd
        self._allowed = base_usd
        self._ended_fresh = 0.0
        self._ended_spent: dict[int, float] = {}
        self._parts: dict[int, _Part] = {}

    @property
    def spent_usd(self) -> float:
        """What the session has spent in all. After a reset the walk over its batches may know of more than
        ``base_usd``."""
        fresh = self._base + self._ended_fresh + sum(part.fresh for part in self._parts.values())
        walked = {**self._ended_spent, **{index: part.spent for index, part in self._parts.items()}}
        return max(fresh, sum(walked.values()))

    @property
    def unspent_usd(self) -> float:
        """What has been granted and not been spent."""
        return max(0.0, self._allowed - self.spent_usd)

    def of(self, index: int) -> float | None:
        """Return what a batch has been given; None where nothing bounds it."""
        if not self.bounded:
            return None
        return self._parts[index].given if index in self._parts else 0.0

    def grant(self, allowed_usd: float) -> None:
        """Allow the session to have spent so much in all."""
        self._allowed = allowed_usd

    def revoke(self) -> None:
        """Take back everything that was given and not spent."""
        for part in self._parts.values():
            part.given = part.fresh
        self._allowed = self.spent_usd

    def begin(self, index: int) -> None:
        """A batch starts; it has nothing yet."""
        self._parts[index] = _Part()

    def note(self, index: int, fresh_usd: float, spent_usd: float) -> None:
        """A batch tells what it has spent."""
        part = self._parts.get(index)
        if part is not None:
            part.fresh, part.spent = max(part.fresh, fresh_usd), max(part.spent, spent_usd)

    def end(self, index: int) -> None:
        """A batch has ended: what it was given and did not spend is free again."""
        part = self._parts.pop(index, None)
        if part is not None:
            self._ended_fresh += part.fresh
            self._ended_spent[index] = max(part.spent, self._ended_spent.get(index, 0.0))

    def give(self, index: int, needed_usd: float, wanted_usd: float) -> bool:
        """Give a batch what it wants, or as much as is free, beyond what it has spent; return False, and give nothing,
        if that is too little."""
        part = self._parts.get(index)
        free = self._allowed - self.spent_usd - self.held_usd
        if part is None or free + ROUNDING_USD < needed_usd:
            return False
        given = max(part.given, part.fresh) + min(max(0.0, free), max(needed_usd, wanted_usd))
        if given <= part.given:
            return False
        part.given = given
        return True

    @property
    def batches(self) -> int:
        """How many batches have begun and not ended."""
        return len(self._parts)

    @property
    def held_usd(self) -> float:
        """What batches have been given and have not spent."""
        return sum(max(part.given, part.fresh) - part.fresh for part in self._parts.values())
