"""The interval of a proportion: Wilson's (1927), J. Am. Stat. Assoc. 22, which holds for few cases and for none too."""

from __future__ import annotations

import math
from statistics import NormalDist

LEVEL = 0.95


def wilson_interval(found: int, of: int) -> tuple[float, float]:
    """Return the 95 % interval of ``found`` among ``of`` independent cases, of which there is one at least."""
    z = NormalDist().inv_cdf((1 + LEVEL) / 2)
    share = found / of
    centre, reach = share + z * z / (2 * of), z * math.sqrt(share * (1 - share) / of + (z / (2 * of)) ** 2)
    low, high = ((centre + side * reach) / (1 + z * z / of) for side in (-1, 1))
    return 0.0 if found == 0 else low, 1.0 if found == of else high
