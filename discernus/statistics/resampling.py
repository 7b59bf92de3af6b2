"""Intervals by resampling documents: what a coefficient would have been over other draws of as many documents.

Documents are drawn with replacement, each with all its runs; the interval is Efron's bias-corrected and accelerated one
(1987), J. Am. Stat. Assoc. 82. The draws are seeded by the data themselves, so the same scores always give the same
interval, and they use the generator's raw numbers, which stay the same over versions of NumPy.

Draws from few documents vary too little: of 8, such intervals alone hold the true coefficient in 58 to 85 of 100 sets
instead of 95. So each goes along with a second interval that allows for few documents, and the wider bounds are
reported: that of the F distribution where there is one, else that of the jackknife, by Student's t on the scale of
-log(1 - coefficient), on which coefficients near 1 vary evenly. What both together hold is measured by
``benchmarks/consistency.py``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from statistics import NormalDist
from typing import TYPE_CHECKING, TypeAlias

from discernus.canonical import canonical_json

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array: TypeAlias = NDArray[np.float64]
    Statistic: TypeAlias = Callable[[Array], Array]
    """Takes weights (draws, documents): how often each was drawn. Returns values (coefficients, draws), NaN if none."""

LEVEL = 0.95
RESAMPLES = 2000
FEWEST_DOCUMENTS = 5  # fewer have hardly more different resamples than documents
UNDEFINED_AT_MOST = 0.01  # of the resamples; where more have no value, those that have one are no fair sample
_TOGETHER = 1_000_000  # weights in memory at a time
_SAME = 1e-12  # resamples that differ by less are the same number, but for its rounding


@dataclass(frozen=True)
class Interval:
    """A 95 % interval; both bounds are None where there is none, and ``reason`` then says why."""

    low: float | None
    high: float | None
    reason: str | None = None

    def widened(self, other: tuple[float, float] | None) -> Interval:
        """Return the interval from the lower of both lower bounds to the higher of both upper ones."""
        if other is None or self.low is None or self.high is None:
            return self
        return Interval(min(self.low, other[0]), max(self.high, other[1]))


@dataclass(frozen=True)
class Estimate:
    """A coefficient, None where it is undefined; its interval by draws, and the jackknife's where there is one."""

    value: float | None
    drawn: Interval
    jackknife: tuple[float, float] | None


def seed_of(data: object) -> int:
    """Return the seed that these data (as JSON) have: the first 64 bits of their SHA-256."""
    return int.from_bytes(sha256(canonical_json(data)).digest()[:8], "big")


def estimates(statistic: Statistic, documents: int, seed: int) -> list[Estimate]:
    """Return each coefficient over the documents themselves with its intervals."""
    import numpy as np

    with np.errstate(all="ignore"):
        values = statistic(np.ones((1, documents)))[:, 0]
        resampled = np.concatenate([statistic(weights) for weights in _draws(documents, seed)], axis=1)
        left_out = np.concatenate([statistic(weights) for weights in _leaving_one_out(documents)], axis=1)
    return [
        Estimate(
            float(value) if math.isfinite(value) else None,
            _interval(float(value), drawn, without),
            _jackknife(float(value), without),
        )
        for value, drawn, without in zip(values, resampled, left_out, strict=True)
    ]


def _draws(documents: int, seed: int) -> Iterator[Array]:
    """Yield all resamples, some at a time: how often each document was drawn (draws, documents)."""
    import numpy as np

    generator = np.random.PCG64(seed)
    together = max(1, _TOGETHER // documents)
    for start in range(0, RESAMPLES, together):
        rows = min(together, RESAMPLES - start)
        drawn = generator.random_raw(rows * documents) % np.uint64(documents)
        places = drawn.astype(np.int64) + np.repeat(np.arange(rows) * documents, documents)
        counts = np.bincount(places, minlength=rows * documents)
        yield counts.reshape(rows, documents).astype(np.float64)


def _leaving_one_out(documents: int) -> Iterator[Array]:
    import numpy as np

    together = max(1, _TOGETHER // documents)
    for start in range(0, documents, together):
        rows = min(together, documents - start)
        weights = np.ones((rows, documents))
        weights[np.arange(rows), np.arange(start, start + rows)] = 0
        yield weights


def _interval(value: float, resampled: Array, left_out: Array) -> Interval:
    """Return the interval of one coefficient from its resamples and from its values with each document left out."""
    import numpy as np

    if not math.isfinite(value):
        return Interval(None, None, "the coefficient itself is undefined")
    if len(left_out) < FEWEST_DOCUMENTS:
        return Interval(None, None, f"fewer than {FEWEST_DOCUMENTS} documents are too few to draw from")
    found = np.sort(resampled[np.isfinite(resampled)])
    undefined = RESAMPLES - len(found)
    if undefined > UNDEFINED_AT_MOST * RESAMPLES:
        return Interval(None, None, f"in {undefined} of {RESAMPLES} resamples of the documents it is undefined")
    if found[-1] - found[0] <= _SAME:
        return Interval(None, None, "every resample of the documents gives the same value")
    below = (np.sum(found < value - _SAME) + np.sum(found <= value + _SAME)) / (2 * len(found))
    if not 0 < below < 1:
        return Interval(None, None, "the value lies outside of what the resamples give")
    normal = NormalDist()
    bias, acceleration = normal.inv_cdf(below), _acceleration(left_out)
    levels = (bias + normal.inv_cdf(quantile) for quantile in ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    low, high = (float(np.quantile(found, normal.cdf(bias + z / (1 - acceleration * z)))) for z in levels)
    return Interval(low, high)


def _jackknife(value: float, left_out: Array) -> tuple[float, float] | None:
    """Return the interval from the values with each document left out; None where one of them is 1 or undefined."""
    import numpy as np
    from scipy.special import stdtrit

    n = len(left_out)
    if not np.all(np.append(left_out, value) < 1 - _SAME):  # NaN is not either
        return None
    scaled = -np.log1p(-left_out)
    error = math.sqrt(float(np.sum((scaled - scaled.mean()) ** 2)) * (n - 1) / n)
    reach = float(stdtrit(n - 1, (1 + LEVEL) / 2)) * error
    low, high = (-math.expm1(math.log1p(-value) + side * reach) for side in (1, -1))
    return low, high


def _acceleration(left_out: Array) -> float:
    """Return how fast the coefficient's standard error changes with its value, by leaving out each document."""
    import numpy as np

    found = left_out[np.isfinite(left_out)]
    deviations = found.mean() - found if len(found) else found
    squares = float(np.sum(deviations**2))
    return float(np.sum(deviations**3)) / (6 * squares**1.5) if squares > 0 else 0.0
