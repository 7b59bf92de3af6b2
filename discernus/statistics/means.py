"""Means over documents, and mean differences of paired values, with intervals.

The interval is that of resampled documents or Student's, whichever bound lies farther out: draws from few documents
vary too little, and Student's takes the values as normal.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from discernus.statistics.consistency import Coefficient
from discernus.statistics.descriptives import describe
from discernus.statistics.mean_interval import mean_interval
from discernus.statistics.resampling import Interval, estimates, seed_of

if TYPE_CHECKING:
    from discernus.statistics.resampling import Array

MEAN = "mean"
MEAN_DIFFERENCE = "mean difference"


@lru_cache(maxsize=1024)
def mean_over_documents(values: tuple[float, ...], name: str = MEAN) -> Coefficient:
    """Return the mean of a value for each document, in scale units, and its interval."""
    across = describe(values)
    if across.n < 2:
        why = "there is only one document with a value" if across.n else "no document has a value"
        none = Interval(None, None, why)
        return Coefficient(name, across.mean, None if across.n else why, none, across.n, across.n)
    import numpy as np

    column = np.asarray(values)

    def statistic(weights: Array) -> Array:
        means: Array = (weights @ column / weights.sum(axis=1))[np.newaxis, :]
        return means

    seed = seed_of(values)
    (found,) = estimates(statistic, across.n, seed)
    interval = found.drawn.widened(mean_interval(across.n, across.mean, across.sd))
    return Coefficient(name, across.mean, None, interval, across.n, across.n, seed=seed)


def mean_difference(pairs: Sequence[tuple[float, float]]) -> Coefficient:
    """Return the mean of second − first over documents, in scale units, and its interval."""
    return mean_over_documents(tuple(second - first for first, second in pairs), MEAN_DIFFERENCE)
