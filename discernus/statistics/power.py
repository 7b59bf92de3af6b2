"""What a test of a given size can find: the effect that it detects in 80 of 100 cases, instead of tiers of sizes."""

from __future__ import annotations

import math
from collections.abc import Callable

from scipy import optimize, special, stats

from discernus.statistics.outcome import Effect

POWER = 0.8
_LARGEST = 100.0  # of a standardised effect


def detectable_difference(n: int, m: int, alpha: float) -> Effect | None:
    """Return the standardised difference that a two-sided t test of n against m detects."""
    df, root = n + m - 2, math.sqrt(1 / n + 1 / m)
    return _t("difference in SDs", df, root, alpha)


def detectable_paired_difference(n: int, alpha: float) -> Effect | None:
    """Return the mean difference of n pairs, in SDs of the differences, that a two-sided t test detects."""
    return _t("difference in SDs of the differences", n - 1, math.sqrt(1 / n), alpha)


def detectable_contrast(error: float, df: float, alpha: float) -> Effect | None:
    """Return the difference, in SDs of single scores, that a two-sided t test with that standard error detects."""
    return _t("difference in SDs of single scores", df, error, alpha)


def detectable_f(sizes: list[int], alpha: float) -> Effect | None:
    """Return Cohen's f that an analysis of variance over groups of these sizes detects."""
    n, df1 = sum(sizes), len(sizes) - 1
    df2 = n - len(sizes)
    limit = float(stats.f.isf(alpha, df1, df2))
    return _least("Cohen's f", lambda f: float(stats.ncf.sf(limit, df1, df2, f * f * n)))


def detectable_w(n: int, df: int, alpha: float) -> Effect | None:
    """Return Cohen's w that a chi-square test over n documents detects."""
    limit = float(stats.chi2.isf(alpha, df))
    return _least("Cohen's w", lambda w: float(stats.ncx2.sf(limit, df, w * w * n)))


def detectable_correlation(variance_of_z: float, alpha: float) -> Effect | None:
    """Return the correlation that a test detects whose Fisher's z has that variance."""
    if variance_of_z <= 0:
        return None
    return Effect("correlation", math.tanh(_reach(alpha) * math.sqrt(variance_of_z)))


def detectable_rank_biserial(n: int, m: int, alpha: float) -> Effect | None:
    """Return the rank-biserial correlation that a rank test detects (Noether 1987, JASA 82); None if even 1 is not."""
    share = n / (n + m)
    found = 2 * _reach(alpha) / math.sqrt(12 * share * (1 - share) * (n + m))
    return Effect("rank-biserial correlation", found) if found <= 1 else None


def _t(name: str, df: float, root: float, alpha: float) -> Effect | None:
    limit = float(stats.f.isf(alpha, 1, df))  # of t squared, whose both tails are one
    return _least(name, lambda d: float(stats.ncf.sf(limit, 1, df, (d / root) ** 2)))


def _least(name: str, power: Callable[[float], float]) -> Effect | None:
    top = 1.0
    while not power(top) >= POWER:  # a power that cannot be computed is not reached
        top *= 2
        if top > _LARGEST:
            return None
    return Effect(name, float(optimize.brentq(lambda effect: power(effect) - POWER, 1e-6, top)))


def _reach(alpha: float) -> float:
    return float(special.ndtri(1 - alpha / 2) + special.ndtri(POWER))
