"""A confidence interval of a mean from its n and SD: mean ± t(n - 1) · SD / √n, after Student (1908)."""

from __future__ import annotations

import math


def mean_interval(n: int, mean: float | None, sd: float | None, level: float = 0.95) -> tuple[float, float] | None:
    """Return the interval, None where there are fewer than two values; it treats them as drawn independently."""
    from scipy.stats import t  # heavy, and a report alone needs it

    if n < 2 or mean is None or sd is None:
        return None
    margin = float(t.ppf((1 + level) / 2, n - 1)) * sd / math.sqrt(n)
    return mean - margin, mean + margin
