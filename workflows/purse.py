"""The money of one batch: what it has spent, and what its calls in flight may cost at worst, against its allowance."""

from __future__ import annotations

ROUNDING_USD = 1e-9
UNKNOWN_USD = 0.01  # set aside for a call of unknown price before any has told its cost: without room none is made


class Purse:
    """Amounts are US dollars; without an allowance everything is affordable.

    ``fresh_usd`` is what was spent since the pass began, and what the allowance bounds: a batch that is begun again in
    the same pass finds its answers in the archive, and counts them once more. ``spent_usd`` counts what was there
    before, too. A worst case that is None is not known.
    """

    def __init__(self, allowance_usd: float | None) -> None:
        self.allowance_usd = allowance_usd
        self.spent_usd = 0.0
        self.fresh_usd = 0.0
        self._reserved: dict[int, float] = {}  # by analysis: each has one call in flight at most
        self._counted: dict[str, tuple[float, int]] = {}  # cost and tries in doubt of each call, as counted already
        self._dearest_usd = 0.0

    @property
    def reserved_usd(self) -> float:
        """What the calls in flight may cost at worst."""
        return sum(self._reserved.values())

    def worst_of(self, worst_usd: float | None) -> float:
        """Return what to set aside for a call: where its worst case is not known, as much as the dearest has cost."""
        return worst_usd if worst_usd is not None else self._dearest_usd or UNKNOWN_USD

    def affords(self, worst_usd: float | None) -> bool:
        """Return whether another call may be made that costs this at worst; one that costs nothing always may."""
        worst_usd = self.worst_of(worst_usd)
        if self.allowance_usd is None or not worst_usd:
            return True
        return self.fresh_usd + self.reserved_usd + worst_usd <= self.allowance_usd + ROUNDING_USD

    def reserve(self, number: int, worst_usd: float | None) -> None:
        """Set aside what a call of this analysis may cost at worst."""
        self._reserved[number] = self.worst_of(worst_usd)

    def settle(
        self,
        number: int,
        call: str,
        cost_usd: float,
        *,
        before_usd: float = 0.0,
        in_doubt: int = 0,
        reused: bool = False,
    ) -> None:
        """Give back what was set aside for an analysis, and count what its call did cost in all its tries.

        ``before_usd`` of it was paid before the pass began. Tries in doubt count at their worst. What was counted of
        the same call already is not counted again.
        """
        worst_usd = self._reserved.pop(number)
        cost_counted, doubt_counted = self._counted.get(call, (before_usd, 0))
        if call not in self._counted:
            self.spent_usd += before_usd
        self._counted[call] = max(cost_usd, cost_counted), max(in_doubt, doubt_counted)
        self._dearest_usd = max(self._dearest_usd, cost_usd)
        more_usd = max(0.0, cost_usd - cost_counted)
        doubt_usd = max(0, in_doubt - doubt_counted) * worst_usd
        self.spent_usd += more_usd + doubt_usd
        self.fresh_usd += more_usd + (0.0 if reused else doubt_usd)

    def remember(self, cost_usd: float) -> None:
        """Count what was spent before this batch was started."""
        self.spent_usd += cost_usd
