"""Equivalence of two groups: whether the difference of their means is shown to lie within a margin."""

from __future__ import annotations

import math

from scipy import stats

from discernus.statistics.descriptives import mean, variance
from discernus.statistics.effect_sizes import hedges_g
from discernus.statistics.group_tests import BY_T, Groups, welch_t
from discernus.statistics.outcome import Effect, Interval, Outcome, undefined


def tost(groups: Groups, margin: float, alpha: float) -> Outcome:
    """Return Schuirmann's (1987) two one-sided tests, by Welch's t; ``margin`` is in units of the scale.

    p is the larger of the two; the interval has level 1 - 2 alpha, and lies within the margin where p is below alpha.
    """
    welch = welch_t(groups, alpha)
    if welch.reason is not None:
        return undefined("t", welch.reason)
    (one, first), (other, second) = groups.items()
    difference = mean(list(first)) - mean(list(second))
    error = math.sqrt(variance(list(first)) / len(first) + variance(list(second)) / len(second))
    df = welch.df[0]
    above, below = (difference + margin) / error, (difference - margin) / error
    p_above, p_below = float(stats.t.sf(above, df)), float(stats.t.cdf(below, df))
    reach = float(stats.t.isf(alpha, df)) * error
    return Outcome(
        "t",
        above if p_above >= p_below else below,
        (df,),
        max(p_above, p_below),
        BY_T,
        estimate=Effect(
            f"mean of {one} minus mean of {other}",
            difference,
            Interval(difference - reach, difference + reach, 1 - 2 * alpha),
        ),
        effect=hedges_g(first, second),
        p_contrary=min(1.0, 2 * min(1 - p_above, 1 - p_below)),
    )
