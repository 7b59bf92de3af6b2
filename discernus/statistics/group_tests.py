"""Tests of whether groups of documents differ: one value for each document, so that no run counts as a case.

The numbers are scipy's; what is added are exact p values of rank tests, effect sizes with intervals, the refusal of
data that define no result, and what a test of this size could find. A two-sided p throughout.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
from scipy import stats

from discernus.statistics import power
from discernus.statistics.corrections import holm
from discernus.statistics.descriptives import mean, variance
from discernus.statistics.effect_sizes import (
    LEVEL,
    NO_INTERVAL,
    eta_squared,
    hedges_g,
    hedges_g_of_differences,
    rank_biserial,
    sums_of_squares,
)
from discernus.statistics.exact_tests import several_groups, two_groups
from discernus.statistics.outcome import Effect, Interval, Outcome, Pair, undefined

Groups = Mapping[str, Sequence[float]]
"""The values of each group by its name, one for each document, in the order of comparison."""

ONE_VALUE = "group '{}' has {} of the two values that it takes at least"
NO_SPREAD = "no group varies within itself"
ALL_EQUAL = "all values are equal"
BY_T, BY_F, BY_CHI2 = "t distribution", "F distribution", "chi-square approximation"
EXACT = "exact, by counting every arrangement"
NORMAL = "normal approximation with corrections for ties and continuity"


def welch_t(groups: Groups, alpha: float) -> Outcome:
    """Compare the means of two groups without taking their variances as equal: first minus second."""
    (one, first), (other, second) = groups.items()
    why = _too_few(groups, 2)
    if why is None and variance(list(first)) == 0 == variance(list(second)):
        why = NO_SPREAD
    if why is not None:
        return undefined("t", why)
    n, m = len(first), len(second)
    a, b = variance(list(first)) / n, variance(list(second)) / m
    df = (a + b) ** 2 / (a * a / (n - 1) + b * b / (m - 1))  # Welch and Satterthwaite's
    difference, error = mean(list(first)) - mean(list(second)), math.sqrt(a + b)
    reach = float(stats.t.isf((1 - LEVEL) / 2, df)) * error
    return Outcome(
        "t",
        difference / error,
        (df,),
        2 * float(stats.t.sf(abs(difference / error), df)),
        BY_T,
        estimate=_difference(one, other, difference, difference - reach, difference + reach),
        effect=hedges_g(first, second),
        detectable=power.detectable_difference(n, m, alpha),
    )


def paired_t(groups: Groups, alpha: float) -> Outcome:
    """Compare the means of two series of values that belong together pair by pair: first minus second."""
    (one, first), (other, second) = groups.items()
    differences = [round(a - b, 12) for a, b in zip(first, second, strict=True)]
    if len(differences) < 2:
        return undefined("t", f"{len(differences)} of the two pairs that it takes at least")
    if variance(differences) == 0:
        return undefined("t", "all pairs differ by the same amount" if differences[0] else "no pair differs")
    test = stats.ttest_1samp(differences, 0.0)
    low, high = (float(end) for end in test.confidence_interval(LEVEL))
    return Outcome(
        "t",
        float(test.statistic),
        (float(test.df),),
        float(test.pvalue),
        BY_T,
        estimate=_difference(one, other, mean(differences), low, high),
        effect=hedges_g_of_differences(differences),
        detectable=power.detectable_paired_difference(len(differences), alpha),
    )


def mann_whitney(groups: Groups, alpha: float) -> Outcome:
    """Compare two groups by the ranks of their values; U counts the pairs in which the first is higher."""
    (one, first), (other, second) = groups.items()
    values, n, m = [*first, *second], len(first), len(second)
    why = _too_few(groups, 1) or (ALL_EQUAL if len(set(values)) == 1 else None)
    if why is not None:
        return undefined("U", why)
    ranks = [float(rank) for rank in stats.rankdata(values)]
    u = sum(ranks[:n]) - n * (n + 1) / 2
    counted = two_groups(ranks, n)
    approximate = stats.mannwhitneyu(first, second, method="asymptotic")
    p, smallest = counted or (float(approximate.pvalue), None)
    return Outcome(
        "U",
        u,
        (),
        p,
        EXACT if counted else NORMAL,
        estimate=Effect(f"median of {one} minus median of {other}", _median(first) - _median(second)),
        effect=rank_biserial(u, n, m),
        smallest_p=smallest,
        detectable=power.detectable_rank_biserial(n, m, alpha),
    )


def anova(groups: Groups, alpha: float) -> Outcome:
    """Compare the means of two groups or more, their variances taken as equal; pairs by Tukey's HSD."""
    sizes = [len(values) for values in groups.values()]
    why = _too_few(groups, 1)
    if why is None and sum(sizes) <= len(sizes):
        why = "no group has two values"
    elif why is None and _constant(groups):
        why = NO_SPREAD
    if why is not None:
        return undefined("F", why)
    between, within = sums_of_squares(list(groups.values()))  # scipy's F can fall below 0 by rounding, p is then NaN
    df1, df2 = len(sizes) - 1, sum(sizes) - len(sizes)
    f = (between / df1) / (within / df2)
    effect = eta_squared(list(groups.values()), f)
    pairs, pairs_by = _pairs_of_means(groups, equal=True)
    return Outcome(
        "F",
        f,
        (float(df1), float(df2)),
        float(stats.f.sf(f, df1, df2)),
        BY_F,
        effect=effect,
        detectable=power.detectable_f(sizes, alpha),
        pairs=pairs,
        pairs_by=pairs_by,
        notes=(NO_INTERVAL.format(effect.name),) if effect.interval is None else (),
    )


def welch_anova(groups: Groups, alpha: float) -> Outcome:
    """Compare the means of two groups or more without taking variances as equal; pairs by Games and Howell."""
    why = _too_few(groups, 2)
    if why is None:
        flat = [name for name, values in groups.items() if variance(list(values)) == 0]
        why = f"group '{flat[0]}' does not vary within itself" if flat else None
    if why is not None:
        return undefined("F", why)
    sizes = [len(values) for values in groups.values()]
    test = stats.f_oneway(*groups.values(), equal_var=False)
    pairs, pairs_by = _pairs_of_means(groups, equal=False)
    return Outcome(
        "F",
        float(test.statistic),
        (float(len(sizes) - 1), _welch_df(groups)),
        float(test.pvalue),
        BY_F,
        effect=Effect("eta squared", eta_squared(list(groups.values()), float(test.statistic)).value),
        detectable=power.detectable_f(sizes, alpha),
        pairs=pairs,
        pairs_by=pairs_by,
        notes=("eta squared has no interval here: the usual one takes the variances as equal",),
    )


def kruskal_wallis(groups: Groups, alpha: float) -> Outcome:
    """Compare two groups or more by the ranks of their values; pairs by Mann and Whitney's test with Holm."""
    values = [value for group in groups.values() for value in group]
    sizes = [len(group) for group in groups.values()]
    why = _too_few(groups, 1) or (ALL_EQUAL if len(set(values)) == 1 else None)
    if why is not None:
        return undefined("H", why)
    test = stats.kruskal(*groups.values())
    counted = several_groups([float(rank) for rank in stats.rankdata(values)], sizes)
    p, smallest = counted or (float(test.pvalue), None)
    h = max(0.0, float(test.statistic))  # below by rounding
    pairs, pairs_by = _pairs_of_ranks(groups, alpha)
    return Outcome(
        "H",
        h,
        (float(len(sizes) - 1),),
        p,
        EXACT if counted else BY_CHI2,
        effect=Effect("epsilon squared", h / (len(values) - 1)),
        smallest_p=smallest,
        pairs=pairs,
        pairs_by=pairs_by,
        notes=("epsilon squared has no interval of its own; those of the pairs do",),
    )


def _pairs_of_means(groups: Groups, *, equal: bool) -> tuple[tuple[Pair, ...], str]:
    """Return the pairwise comparisons; none where a group is too small for them, and then why in place of the name."""
    name = "Tukey's HSD" if equal else "Games and Howell"
    if len(groups) < 3:
        return (), ""
    if min(len(values) for values in groups.values()) < 2:
        return (), "no pairwise comparisons, since a group has only one value"
    test = stats.tukey_hsd(*groups.values(), equal_var=equal)
    low, high = (np.asarray(end) for end in test.confidence_interval(LEVEL))
    p_values, differences = np.asarray(test.pvalue), np.asarray(test.statistic)
    return tuple(
        Pair(
            one,
            other,
            float(p_values[i, j]),
            _difference(one, other, float(differences[i, j]), float(low[i, j]), float(high[i, j])),
        )
        for (i, one), (j, other) in combinations(enumerate(groups), 2)
    ), name


def _pairs_of_ranks(groups: Groups, alpha: float) -> tuple[tuple[Pair, ...], str]:
    if len(groups) < 3:
        return (), ""
    found = []
    for one, other in combinations(groups, 2):
        outcome = mann_whitney({one: groups[one], other: groups[other]}, alpha)
        if outcome.p is not None and outcome.effect is not None:
            found.append((one, other, outcome.p, outcome.effect))
    adjusted = holm([p for _, _, p, _ in found])
    pairs = (Pair(one, other, p, effect) for (one, other, _, effect), p in zip(found, adjusted, strict=True))
    return tuple(pairs), "Mann and Whitney's test, adjusted after Holm"


def _too_few(groups: Groups, least: int) -> str | None:
    if len(groups) < 2:
        return "there are fewer than two groups with a value"
    for name, values in groups.items():
        if len(values) < least:
            return ONE_VALUE.format(name, len(values)) if values else f"group '{name}' has no value"
    return None


def _constant(groups: Groups) -> bool:
    return all(len(set(values)) == 1 for values in groups.values())


def _difference(one: str, other: str, value: float, low: float, high: float) -> Effect:
    return Effect(f"mean of {one} minus mean of {other}", value, Interval(float(low), float(high), LEVEL))


def _welch_df(groups: Groups) -> float:
    """Return the second degrees of freedom of Welch's (1951) F."""
    weights = [len(values) / variance(list(values)) for values in groups.values()]
    total, k = sum(weights), len(groups)
    spread = sum(
        (1 - weight / total) ** 2 / (len(values) - 1) for weight, values in zip(weights, groups.values(), strict=True)
    )
    return (k * k - 1) / (3 * spread)


def _median(values: Sequence[float]) -> float:
    ordered = sorted(values)
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2
