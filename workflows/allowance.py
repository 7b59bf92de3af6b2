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
    recalled: float = 0.0  # taken back, as long as the batch may not have heard of it

    @property
    def left(self) -> float:
        return max(0.0, self.given - self.fresh)


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
        """Give a batch what it wants beyond what it has, or as much as is free; return False, and give nothing, if that
        does not leave it what it needs beyond what it has spent."""
        part = self._parts.get(index)
        if part is None:
            return False
        free = self._allowed - self.spent_usd - self.held_usd
        lacking = self.lacking_usd(index, needed_usd)
        if free + ROUNDING_USD < lacking:
            return False
        part.given = max(part.given, part.fresh) + min(max(0.0, free), max(lacking, wanted_usd))
        return True

    def lacking_usd(self, index: int, needed_usd: float) -> float:
        """Return what a batch has to be given to have what it needs beyond what it has spent."""
        return max(0.0, needed_usd - self._parts[index].left)

    def recall(self, index: int) -> bool:
        """Take back what a batch has left; return whether there was any. Nobody has it until the batch has heard."""
        part = self._parts[index]
        left = part.left
        part.given, part.recalled = part.given - left, part.recalled + left
        return left > ROUNDING_USD

    def acknowledge(self, index: int, allowance_usd: float) -> None:
        """A batch tells what it knows to have been given: what was taken back from it before that is free."""
        part = self._parts.get(index)
        if part is not None and allowance_usd <= part.given + ROUNDING_USD:
            part.recalled = 0.0

    @property
    def recalling(self) -> bool:
        """Whether something is taken back that a batch may still spend."""
        return any(part.recalled for part in self._parts.values())

    @property
    def batches(self) -> int:
        """How many batches have begun and not ended."""
        return len(self._parts)

    @property
    def held_usd(self) -> float:
        """What batches have been given and have not spent."""
        return sum(part.left + part.recalled for part in self._parts.values())
