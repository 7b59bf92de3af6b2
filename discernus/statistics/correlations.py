"""Correlations between two values of each document, with intervals, and exact p values where documents are few."""

from __future__ import annotations

import math
from collections.abc import Sequence

from scipy import stats

from discernus.statistics import power
from discernus.statistics.effect_sizes import correlation_interval
from discernus.statistics.exact_tests import correlation
from discernus.statistics.group_tests import BY_T, EXACT
from discernus.statistics.outcome import Effect, Outcome, undefined

COUNTED_BY_SCIPY = 33  # documents without ties, of which scipy counts every order for Kendall's tau
LEAST = 3  # documents; two points always lie on a line


def pearson(first: Sequence[float], second: Sequence[float], alpha: float) -> Outcome:
    """Return the linear correlation; its interval is Fisher's."""
    why = _undefined(first, second)
    if why is not None:
        return undefined("r", why)
    n = len(first)
    test = stats.pearsonr(first, second)
    r = float(test.statistic)
    spread = 1 / (n - 3) if n > 3 else 0.0
    return Outcome(
        "r",
        r,
        (float(n - 2),),
        float(test.pvalue),
        BY_T,
        effect=Effect("Pearson's r", r, correlation_interval(r, spread)),
        detectable=power.detectable_correlation(spread, alpha),
    )


def spearman(first: Sequence[float], second: Sequence[float], alpha: float) -> Outcome:
    """Return the correlation of ranks; its interval is that of Bonett and Wright (2000), Psychometrika 65."""
    why = _undefined(first, second)
    if why is not None:
        return undefined("rho", why)
    n = len(first)
    test = stats.spearmanr(first, second)
    rho = float(test.statistic)
    counted = correlation(first, second, kendall=False)
    spread = (1 + rho * rho / 2) / (n - 3) if n > 3 else 0.0
    return Outcome(
        "rho",
        rho,
        (),
        counted[0] if counted else _at_least(float(test.pvalue), n),
        EXACT if counted else "approximation by the t distribution",
        effect=Effect("Spearman's rho", rho, correlation_interval(rho, spread)),
        smallest_p=counted[1] if counted else None,
        detectable=power.detectable_correlation(1.06 / (n - 3) if n > 3 else 0.0, alpha),  # Fieller and others 1957
    )


def kendall(first: Sequence[float], second: Sequence[float], alpha: float) -> Outcome:
    """Return Kendall's tau-b; its interval is that of Fieller, Hartley and Pearson (1957), Biometrika 44."""
    why = _undefined(first, second)
    if why is not None:
        return undefined("tau", why)
    n = len(first)
    plain = len(set(first)) == n == len(set(second)) and n <= COUNTED_BY_SCIPY
    test = stats.kendalltau(first, second, method="exact" if plain else "asymptotic")
    tau = float(test.statistic)
    counted = correlation(first, second, kendall=True)
    spread = 0.437 / (n - 4) if n > 4 else 0.0
    return Outcome(
        "tau",
        tau,
        (),
        counted[0] if counted else _at_least(float(test.pvalue), n),
        EXACT if counted or plain else "normal approximation, corrected for ties",
        effect=Effect("Kendall's tau-b", tau, correlation_interval(tau, spread)),
        smallest_p=counted[1] if counted else None,
        detectable=power.detectable_correlation(spread, alpha),
    )


def _undefined(first: Sequence[float], second: Sequence[float]) -> str | None:
    if len(first) < LEAST:
        return f"{len(first)} of the {LEAST} documents with both values that it takes at least"
    if len(set(first)) == 1 or len(set(second)) == 1:
        return "one of the two values is the same in all documents"
    return None


def _at_least(p: float, n: int) -> float:
    """Return p, but no less than what the orders of n values allow: the approximation gives 0 for a perfect one."""
    return max(p, 2 * math.exp(-math.lgamma(n + 1)))
