"""Effect sizes with intervals: by inverting the noncentral distributions, as Steiger and Fouladi (1997) have it.

An interval is None where it cannot be had; a number never stands in for it. So it is where groups are more alike than
chance makes them: no noncentrality fits, and the interval by the book, from 0 to 0, would leave out its own estimate.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from scipy import optimize, special, stats

from discernus.statistics.descriptives import mean, variance
from discernus.statistics.outcome import Effect, Interval

LEVEL = 0.95
SQUARED_LEVEL = 0.90  # of what cannot be negative: this interval leaves out 0 where the test has p < .05 (Steiger 2004)
_FARTHEST = 1e6  # of a noncentrality parameter
NO_INTERVAL = "{} has no interval: the groups are more alike than chance alone would make most"
_BESIDE = 1e-9  # keeps a search off the point estimate, which is a root of its own where it is 0 or 1


def hedges_g(first: Sequence[float], second: Sequence[float]) -> Effect | None:
    """Return Hedges' g of two groups, by his correction 1 - 3/(4 df - 1); its interval takes their SDs as equal.

    None where fewer than four values or none that varies give no pooled SD.
    """
    n, m = len(first), len(second)
    df = n + m - 2
    if min(n, m) < 2:
        return None
    pooled = ((n - 1) * variance(list(first)) + (m - 1) * variance(list(second))) / df
    if pooled == 0:
        return None
    return _standardised("Hedges' g", (mean(list(first)) - mean(list(second))) / math.sqrt(pooled), 1 / n + 1 / m, df)


def hedges_g_of_differences(differences: Sequence[float]) -> Effect | None:
    """Return the corrected standardised mean difference of pairs (over the SD of their differences)."""
    spread = variance(list(differences)) if len(differences) > 2 else 0.0
    if spread == 0:
        return None
    n = len(differences)
    return _standardised("Hedges' g of the differences", mean(list(differences)) / math.sqrt(spread), 1 / n, n - 1)


def _standardised(name: str, d: float, factor: float, df: int) -> Effect:
    root = math.sqrt(factor)
    correction = 1 - 3 / (4 * df - 1)
    bounds = _noncentrality(lambda nc: _nct(d / root, df, nc), -_FARTHEST, d / root, LEVEL)
    if bounds is None:
        return Effect(name, correction * d)
    low, high = (correction * root * bound for bound in bounds)
    return Effect(name, correction * d, Interval(low, high, LEVEL))


def sums_of_squares(groups: Sequence[Sequence[float]]) -> tuple[float, float]:
    """Return the sums of squares between the groups and within them; neither is ever negative."""
    grand = mean([value for group in groups for value in group])
    between = math.fsum(len(group) * (mean(list(group)) - grand) ** 2 for group in groups)
    within = math.fsum((len(group) - 1) * variance(list(group)) for group in groups if len(group) > 1)
    return between, within


def eta_squared(groups: Sequence[Sequence[float]], f: float) -> Effect:
    """Return the share of the variance that is between the groups; the interval is the noncentral F's."""
    between, within = sums_of_squares(groups)
    n = sum(len(group) for group in groups)
    df1, df2, total = len(groups) - 1, n - len(groups), between + within
    bounds = _noncentrality(lambda nc: _ncf(f, df1, df2, nc), 0.0, f * df1, SQUARED_LEVEL)
    if bounds is None:
        return Effect("eta squared", between / total)
    low, high = (bound / (bound + n) for bound in bounds)
    return Effect("eta squared", between / total, Interval(low, high, SQUARED_LEVEL))


def cramers_v(chi2: float, n: int, rows: int, columns: int) -> Effect:
    """Return Cramér's V; the interval is the noncentral chi-square's (Smithson 2003)."""
    df, least = (rows - 1) * (columns - 1), min(rows, columns) - 1
    bounds = _noncentrality(lambda nc: _ncx2(chi2, df, nc), 0.0, chi2, SQUARED_LEVEL)
    interval = None
    if bounds is not None:
        low, high = (math.sqrt(bound / (n * least)) for bound in bounds)
        interval = Interval(low, min(1.0, high), SQUARED_LEVEL)
    return Effect("Cramér's V", math.sqrt(chi2 / (n * least)), interval)


def rank_biserial(u: float, n: int, m: int) -> Effect:
    """Return the rank-biserial correlation of U: the share of pairs with the first higher minus that with it lower.

    The interval is Newcombe's fifth method (2006), Statistics in Medicine 25, which holds at complete separation too.
    """
    theta = u / (n * m)
    z = float(special.ndtri((1 + LEVEL) / 2))
    half = (n + m) / 2 - 1

    def distance(at: float) -> float:
        spread = at * (1 - at) * (1 + half * ((1 - at) / (2 - at) + at / (1 + at))) / (n * m)
        return (theta - at) ** 2 - z * z * spread

    low = _root(distance, 0.0, theta - _BESIDE) if theta > 0 else 0.0
    high = _root(distance, theta + _BESIDE, 1.0) if theta < 1 else 1.0
    return Effect("rank-biserial correlation", 2 * theta - 1, Interval(2 * low - 1, 2 * high - 1, LEVEL))


def correlation_interval(r: float, variance_of_z: float) -> Interval | None:
    """Return the interval of a correlation by Fisher's z; None at -1 and 1, where z has no end."""
    if abs(r) >= 1 or variance_of_z <= 0:
        return None
    reach = float(special.ndtri((1 + LEVEL) / 2)) * math.sqrt(variance_of_z)
    return Interval(math.tanh(math.atanh(r) - reach), math.tanh(math.atanh(r) + reach), LEVEL)


def _noncentrality(
    cdf: Callable[[float], float], least: float, near: float, level: float
) -> tuple[float, float] | None:
    """Return the noncentralities under which what was seen lies at the upper and the lower end of ``level``; None
    where there are no such two.
    """
    low = _solve(cdf, (1 + level) / 2, least, near)
    high = _solve(cdf, (1 - level) / 2, least, near)
    return None if low is None or high is None or low == high else (low, high)


def _solve(cdf: Callable[[float], float], share: float, least: float, near: float) -> float | None:
    """Return where the falling ``cdf`` is ``share``, ``least`` where it is below that from the start."""

    def above(nc: float) -> float:
        return cdf(nc) - share

    if least == 0.0 and above(0.0) <= 0:
        return 0.0
    step = 1.0
    while step < _FARTHEST:
        left, right = max(least, near - step), near + step
        ends = above(left), above(right)
        if not all(map(math.isfinite, ends)):
            return None
        if ends[0] >= 0 >= ends[1]:
            return _root(above, left, right)
        step *= 2
    return None


def _root(function: Callable[[float], float], left: float, right: float) -> float:
    return float(optimize.brentq(function, left, right, xtol=1e-12, rtol=1e-12))


def _nct(t: float, df: int, nc: float) -> float:
    """Return the share below t; scipy gives NaN deep in the tails alone, where it is 0 or 1."""
    share = float(stats.nct.cdf(t, df, nc))
    return share if math.isfinite(share) else float(nc < t)


def _ncf(f: float, df1: int, df2: int, nc: float) -> float:
    return float(stats.ncf.cdf(f, df1, df2, nc) if nc > 0 else stats.f.cdf(f, df1, df2))


def _ncx2(chi2: float, df: int, nc: float) -> float:
    return float(stats.ncx2.cdf(chi2, df, nc) if nc > 0 else stats.chi2.cdf(chi2, df))
