"""The money of one batch: what it has spent, and what its calls in flight may cost at worst, against its allowance."""

from __future__ import annotations

ROUNDING_USD = 1e-9


class Purse:
    """Amounts are US dollars; without an allowance everything is affordable.

    ``fresh_usd`` is what was spent since the batch was started, and what the allowance bounds; ``spent_usd`` counts
    answers that were there before, too.
    """

    def __init__(self, allowance_usd: float | None) -> None:
        self.allowance_usd = allowance_usd
        self.spent_usd = 0.0
        self.fresh_usd = 0.0
        self.reserved_usd = 0.0

    def affords(self, worst_usd: float) -> bool:
        """Return whether another call may be made that costs this at worst."""
        if self.allowance_usd is None:
            return True
        return self.fresh_usd + self.reserved_usd + worst_usd <= self.allowance_usd + ROUNDING_USD

    def reserve(self, worst_usd: float) -> None:
        """Set aside what a call may cost at worst."""
        self.reserved_usd += worst_usd

    def settle(self, worst_usd: float, cost_usd: float, *, reused: bool) -> None:
        """Give back what was set aside for a call and count what it did cost."""
        self.reserved_usd = max(0.0, self.reserved_usd - worst_usd)
        self.spent_usd += cost_usd
        self.fresh_usd += 0.0 if reused else cost_usd

    def remember(self, cost_usd: float) -> None:
        """Count what was spent before this batch was started."""
        self.spent_usd += cost_usd
