"""What follows a test, against oracles over random data: pairs, effects with intervals, what it can find, run noise."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from itertools import combinations, permutations
from typing import Any

import numpy as np
import pandas as pd
import pingouin  # type: ignore[import-untyped]
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from discernus.statistics import correlations, effect_sizes, exact_tests, group_tests, power
from discernus.statistics.contingency import chi_square
from discernus.statistics.corrections import holm
from discernus.statistics.descriptives import describe
from discernus.statistics.mean_interval import mean_interval
from discernus.statistics.means import mean_difference
from discernus.statistics.outcome import Effect, Outcome
from discernus.statistics.run_noise import run_noise

SCORES = st.integers(0, 10).map(lambda tenths: tenths / 10)
SEVERAL = st.lists(st.lists(SCORES, min_size=2, max_size=7), min_size=3, max_size=4)
PAIRS = st.lists(st.tuples(SCORES, SCORES), min_size=2, max_size=40)
SIZES = st.integers(2, 60)
THREE = st.lists(st.lists(SCORES, min_size=2, max_size=6), min_size=3, max_size=3)
FEW = settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])  # the range is integrated
EXAMPLES = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def named(lists: list[list[float]]) -> dict[str, list[float]]:
    return {f"g{index}": own for index, own in enumerate(lists)}


def flat(values: list[Any]) -> bool:
    return len(set(values)) == 1


def frame(groups: dict[str, list[float]]) -> pd.DataFrame:
    return pd.DataFrame([(name, value) for name, own in groups.items() for value in own], columns=["g", "v"])


def bounds(effect: Effect | None) -> tuple[float, float]:
    assert effect is not None
    assert effect.interval is not None
    return effect.interval.low, effect.interval.high


# pairs


@FEW
@given(THREE)
def test_the_pairs_of_an_analysis_of_variance_are_the_oracles(lists: list[list[float]]) -> None:
    groups = named(lists)
    tukey, games = group_tests.anova(groups, 0.05), group_tests.welch_anova(groups, 0.05)
    assert (len(tukey.pairs) == 0) == (tukey.p is None)
    assert (len(games.pairs) == 0) == (games.p is None)
    for outcome, oracle, p in (
        (tukey, pingouin.pairwise_tukey, "p_tukey"),
        (games, pingouin.pairwise_gameshowell, "pval"),
    ):
        if outcome.p is None:
            continue
        rows = oracle(frame(groups), dv="v", between="g")
        assert [(pair.first, pair.second) for pair in outcome.pairs] == list(zip(rows["A"], rows["B"], strict=True))
        assert [pair.p for pair in outcome.pairs] == pytest.approx(list(rows[p]), rel=1e-3, abs=1e-6)
        found = [pair.estimate.value for pair in outcome.pairs]
        assert found == pytest.approx(list(rows["diff"]), rel=1e-9, abs=1e-9)


@FEW
@given(THREE)
def test_the_interval_of_a_pair_leaves_out_zero_where_its_p_is_below_the_level(lists: list[list[float]]) -> None:
    groups = named(lists)
    for outcome in (group_tests.anova(groups, 0.05), group_tests.welch_anova(groups, 0.05)):
        for pair in outcome.pairs:
            low, high = bounds(pair.estimate)
            assert low <= pair.estimate.value <= high
            if abs(pair.p - 0.05) > 1e-4:
                assert (pair.p < 0.05) == (low > 0 or high < 0)


@EXAMPLES
@given(SEVERAL)
def test_the_pairs_of_ranks_are_exact_tests_of_two_groups_adjusted_over_all_that_have_one(
    lists: list[list[float]],
) -> None:
    outcome = group_tests.kruskal_wallis(named(lists), 0.05)
    if outcome.p is None:
        assert flat([value for own in lists for value in own])
        assert outcome.pairs == ()
        return
    compared = [
        (one, other) for one, other in combinations(range(len(lists)), 2) if not flat([*lists[one], *lists[other]])
    ]
    raw = []
    for one, other in compared:
        ranks = stats.rankdata([*lists[one], *lists[other]])
        counted = exact_tests.two_groups([float(rank) for rank in ranks], len(lists[one]))
        assert counted is not None
        raw.append(counted[0])
    assert [(pair.first, pair.second) for pair in outcome.pairs] == [
        (f"g{one}", f"g{other}") for one, other in compared
    ]
    assert [pair.p for pair in outcome.pairs] == pytest.approx(holm(raw))


# many documents, where no arrangement is counted


@EXAMPLES
@given(st.integers(0, 2**32 - 1), st.integers(31, 40), st.integers(31, 40))
def test_ranks_of_many_documents_are_compared_as_the_oracle_does(seed: int, n: int, m: int) -> None:
    chance = np.random.default_rng(seed)
    first, second = chance.integers(0, 11, n) / 10, chance.integers(0, 11, m) / 10
    outcome = group_tests.mann_whitney({"a": first.tolist(), "b": second.tolist()}, 0.05)
    oracle = stats.mannwhitneyu(first, second, method="asymptotic", use_continuity=True)
    assert (outcome.statistic, outcome.p) == pytest.approx((oracle.statistic, oracle.pvalue))
    assert outcome.smallest_p is None
    several = group_tests.kruskal_wallis({"a": first.tolist(), "b": second.tolist(), "c": first.tolist()}, 0.05)
    h = stats.kruskal(first, second, first)
    assert (several.statistic, several.p) == pytest.approx((h.statistic, h.pvalue))
    assert several.df == (2.0,)


@EXAMPLES
@given(PAIRS)
def test_correlations_of_many_documents_are_the_oracles_and_none_has_a_p_of_zero(
    pairs: list[tuple[float, float]],
) -> None:
    first, second = ([pair[side] for pair in pairs] for side in (0, 1))
    assume(len(pairs) > exact_tests.COUNTED_PAIRS and not flat(first) and not flat(second))
    for compute, oracle in (
        (correlations.pearson, stats.pearsonr),
        (correlations.spearman, stats.spearmanr),
        (correlations.kendall, stats.kendalltau),
    ):
        outcome = compute(first, second, 0.05)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            expected = oracle(first, second)
        assert outcome.statistic == pytest.approx(expected.statistic, rel=1e-9, abs=1e-9)
        assert outcome.p is not None
        if expected.pvalue > 1e-9:
            assert outcome.p == pytest.approx(expected.pvalue, rel=1e-6)
        if compute is not correlations.pearson:
            assert outcome.p > 0
        if abs(expected.statistic) < 1 - 1e-9:
            low, high = bounds(outcome.effect)
            assert -1 <= low <= expected.statistic <= high <= 1


@EXAMPLES
@given(PAIRS)
def test_pearsons_interval_is_scipys(pairs: list[tuple[float, float]]) -> None:
    first, second = ([pair[side] for pair in pairs] for side in (0, 1))
    assume(len(pairs) > 3 and not flat(first) and not flat(second))
    oracle = stats.pearsonr(first, second)
    assume(abs(oracle.statistic) < 1 - 1e-9)
    expected = oracle.confidence_interval(0.95)
    assert bounds(correlations.pearson(first, second, 0.05).effect) == pytest.approx((expected.low, expected.high))


@settings(max_examples=10, deadline=None)
@given(st.lists(st.tuples(SCORES, SCORES), min_size=3, max_size=6))
def test_the_smallest_p_of_a_correlation_is_that_of_the_best_of_all_orders(pairs: list[tuple[float, float]]) -> None:
    first, second = ([pair[side] for pair in pairs] for side in (0, 1))
    assume(not flat(first) and not flat(second))
    for compute, oracle in ((correlations.spearman, stats.spearmanr), (correlations.kendall, stats.kendalltau)):
        sizes = np.array([abs(oracle(first, list(order)).statistic) for order in permutations(second)])
        assert compute(first, second, 0.05).smallest_p == pytest.approx(np.mean(sizes >= sizes.max() - 1e-9))


# labels


@EXAMPLES
@given(st.integers(0, 2**32 - 1), st.integers(2, 4), st.integers(2, 4))
def test_labels_are_counted_as_the_oracle_does_wherever_cells_are_full(seed: int, rows: int, columns: int) -> None:
    chance = np.random.default_rng(seed)
    n = 40 * rows * columns
    groups = [f"g{one}" for one in chance.integers(0, rows, n)]
    labels = [f"l{one}" for one in chance.integers(0, columns, n)]
    outcome = chi_square(groups, labels, 0.05)
    _, _, oracle = pingouin.chi2_independence(pd.DataFrame({"g": groups, "l": labels}), "g", "l", correction=False)
    pearson = oracle.iloc[0]
    assert (outcome.statistic, outcome.p, *outcome.df) == pytest.approx(
        (pearson["chi2"], pearson["pval"], pearson["dof"])
    )
    assert outcome.effect is not None
    assert outcome.effect.value == pytest.approx(pearson["cramer"], abs=1e-9)
    if outcome.effect.interval is None:
        assert stats.chi2.cdf(pearson["chi2"], pearson["dof"]) <= 0.05 + 1e-9
        return
    low, high = bounds(outcome.effect)
    least = min(rows, columns) - 1
    for bound, share in ((low, 0.95), (high, 0.05)):
        if 0 < bound < 1:
            nc = bound**2 * n * least
            assert outcome.statistic is not None
            assert stats.ncx2.cdf(outcome.statistic, pearson["dof"], nc) == pytest.approx(share, abs=1e-6)


# effects


@EXAMPLES
@given(st.lists(SCORES, min_size=2, max_size=12), st.lists(SCORES, min_size=2, max_size=12))
def test_hedges_g_is_the_oracles_and_its_interval_inverts_the_noncentral_t(
    first: list[float], second: list[float]
) -> None:
    effect = effect_sizes.hedges_g(first, second)
    assert (effect is None) == (flat(first) and flat(second))
    if effect is None:
        return
    expected = pingouin.compute_effsize(first, second, eftype="hedges")
    assert effect.value == pytest.approx(expected, rel=1e-9, abs=1e-9)
    if effect.interval is None:
        return
    df, root = len(first) + len(second) - 2, math.sqrt(1 / len(first) + 1 / len(second))
    correction = 1 - 3 / (4 * df - 1)
    t = float(stats.ttest_ind(first, second).statistic)
    assume(abs(t) < 15)  # farther out scipy's noncentral t is not to be trusted
    for bound, share in ((effect.interval.low, 0.975), (effect.interval.high, 0.025)):
        assert stats.nct.cdf(t, df, bound / correction / root) == pytest.approx(share, abs=1e-6)


@EXAMPLES
@given(st.lists(st.tuples(SCORES, SCORES), min_size=3, max_size=12))
def test_the_effect_of_pairs_is_the_mean_difference_over_its_sd_corrected(pairs: list[tuple[float, float]]) -> None:
    differences = [round(one - other, 12) for one, other in pairs]
    effect = effect_sizes.hedges_g_of_differences(differences)
    assert (effect is None) == flat(differences)
    if effect is None:
        return
    d = pingouin.compute_effsize(differences, 0, eftype="cohen")
    assert effect.value == pytest.approx(d * (1 - 3 / (4 * (len(pairs) - 1) - 1)), rel=1e-9, abs=1e-9)
    if effect.interval is not None:
        assert effect.interval.low <= effect.value / (1 - 3 / (4 * (len(pairs) - 1) - 1)) + 1e-9
        assert effect.interval.low < effect.interval.high


@EXAMPLES
@given(SEVERAL)
def test_eta_squareds_interval_inverts_the_noncentral_f(lists: list[list[float]]) -> None:
    assume(not all(flat(own) for own in lists))
    n, k = sum(map(len, lists)), len(lists)
    outcome = group_tests.anova(named(lists), 0.05)
    assert outcome.statistic is not None
    assert outcome.effect is not None
    if outcome.effect.interval is None:
        assert stats.f.cdf(outcome.statistic, k - 1, n - k) <= 0.05 + 1e-9
        return
    low, high = bounds(outcome.effect)
    assert 0 <= low < high < 1
    for bound, share in ((low, 0.95), (high, 0.05)):
        nc = n * bound / (1 - bound)
        if nc > 0:
            assert stats.ncf.cdf(outcome.statistic, k - 1, n - k, nc) == pytest.approx(share, abs=1e-6)
        else:
            assert stats.f.cdf(outcome.statistic, k - 1, n - k) <= share + 1e-9


@EXAMPLES
@given(st.lists(SCORES, min_size=1, max_size=9), st.lists(SCORES, min_size=1, max_size=9))
def test_the_rank_biserial_correlation_is_the_oracles_and_lies_in_its_interval(
    first: list[float], second: list[float]
) -> None:
    assume(not flat([*first, *second]))
    effect = group_tests.mann_whitney({"a": first, "b": second}, 0.05).effect
    assert effect is not None
    signs = [np.sign(one - other) for one in first for other in second]
    assert effect.value == pytest.approx(float(np.mean(signs)), abs=1e-9)
    low, high = bounds(effect)
    assert -1 <= low <= effect.value + 1e-6
    assert effect.value - 1e-6 <= high <= 1


@EXAMPLES
@given(st.lists(st.none() | SCORES, max_size=12))
def test_the_interval_of_a_mean_is_students(values: list[float | None]) -> None:
    present = [value for value in values if value is not None]
    described = describe(values)
    found = mean_interval(described.n, described.mean, described.sd)
    assert (found is None) == (len(present) < 2)
    if found is None:
        return
    if flat(present):
        assert found == pytest.approx((present[0], present[0]))
    else:
        oracle = stats.ttest_1samp(present, 0).confidence_interval(0.95)
        assert found == pytest.approx((oracle.low, oracle.high), rel=1e-9, abs=1e-12)


@EXAMPLES
@given(PAIRS)
def test_a_mean_difference_is_the_paired_tests_and_its_interval_no_narrower(pairs: list[tuple[float, float]]) -> None:
    found = mean_difference(pairs)
    first, second = ([pair[side] for pair in pairs] for side in (0, 1))
    assert found.value == pytest.approx(math.fsum(second) / len(pairs) - math.fsum(first) / len(pairs), abs=1e-12)
    assert (found.interval.low is None) == (found.interval.reason is not None)
    if found.interval.low is not None and found.interval.high is not None:
        oracle = stats.ttest_rel(second, first).confidence_interval(0.95)
        assert found.interval.low <= oracle.low + 1e-9
        assert found.interval.high >= oracle.high - 1e-9


# what a test of a size can find


@EXAMPLES
@given(SIZES, SIZES, st.sampled_from([0.001, 0.01, 0.05, 0.1]))
def test_what_a_t_test_can_find_has_the_power_that_the_oracle_says(n: int, m: int, alpha: float) -> None:
    two, paired = power.detectable_difference(n, m, alpha), power.detectable_paired_difference(n, alpha)
    if two is not None:
        assert pingouin.power_ttest2n(n, m, d=two.value, alpha=alpha) == pytest.approx(0.8, abs=1e-3)
    if paired is not None:
        assert pingouin.power_ttest(d=paired.value, n=n, contrast="paired", alpha=alpha) == pytest.approx(0.8, abs=1e-3)
    assert two is not None or n + m < 5
    assert paired is not None or n < 4


@EXAMPLES
@given(st.integers(2, 5), st.integers(2, 40), st.sampled_from([0.01, 0.05]))
def test_what_an_analysis_of_variance_can_find_has_the_power_that_the_oracle_says(k: int, n: int, alpha: float) -> None:
    found = power.detectable_f([n] * k, alpha)
    assert found is not None
    share = found.value**2 / (1 + found.value**2)
    assert pingouin.power_anova(eta_squared=share, k=k, n=n, alpha=alpha) == pytest.approx(0.8, abs=1e-3)


@EXAMPLES
@given(st.integers(5, 200), st.integers(1, 9), st.sampled_from([0.01, 0.05]))
def test_what_a_chi_square_test_can_find_has_the_power_that_the_oracle_says(n: int, df: int, alpha: float) -> None:
    found = power.detectable_w(n, df, alpha)
    assert found is not None
    assert pingouin.power_chi2(dof=df, w=found.value, n=n, alpha=alpha) == pytest.approx(0.8, abs=1e-3)


@EXAMPLES
@given(st.integers(5, 200))
def test_what_a_correlation_can_find_has_about_the_power_that_the_oracle_says(n: int) -> None:
    found = power.detectable_correlation(1 / (n - 3), 0.05)
    assert found is not None
    assert pingouin.power_corr(r=found.value, n=n) == pytest.approx(0.8, abs=0.06)  # it corrects Fisher's z for bias
    assert power.detectable_correlation(0.0, 0.05) is None


@settings(max_examples=5, deadline=None)
@given(st.integers(10, 25), st.integers(10, 25))
def test_what_a_rank_test_can_find_it_finds_about_as_often_as_it_says(n: int, m: int) -> None:
    found = power.detectable_rank_biserial(n, m, 0.05)
    assert found is not None
    shift = math.sqrt(2) * stats.norm.ppf((found.value + 1) / 2)  # of normal values: P(first higher) is (1 + r) / 2
    chance = np.random.default_rng(n * 100 + m)
    first, second = chance.normal(shift, 1, (400, n)), chance.normal(0, 1, (400, m))
    p = stats.mannwhitneyu(first, second, axis=1, method="asymptotic").pvalue
    assert np.mean(p < 0.05) == pytest.approx(0.8, abs=0.12)  # Noether's formula is an approximation


@EXAMPLES
@given(st.floats(0.05, 0.6), st.floats(3, 60), st.sampled_from([0.01, 0.05]))
def test_what_a_contrast_can_find_has_that_power_by_the_noncentral_t(error: float, df: float, alpha: float) -> None:
    found = power.detectable_contrast(error, df, alpha)
    assert found is not None
    limit, nc = stats.t.ppf(1 - alpha / 2, df), found.value / error
    below = np.nan_to_num(stats.nct.cdf(-limit, df, nc))  # scipy gives NaN where it is 0 but for rounding
    assert stats.nct.sf(limit, df, nc) + below == pytest.approx(0.8, abs=1e-6)


# run noise


@EXAMPLES
@given(st.lists(st.lists(SCORES, max_size=5), min_size=1, max_size=6))
def test_run_noise_compares_every_pair_that_has_any_and_counts_those_that_have_none(lists: list[list[float]]) -> None:
    runs = {f"d{index}": own for index, own in enumerate(lists)}
    outcome = run_noise(runs, 0.05)
    assert outcome.p is None
    assert outcome.reason
    repeated = [name for name, own in runs.items() if len(own) > 1]
    pairs = list(combinations(repeated, 2))
    noisy = [(one, other) for one, other in pairs if not (flat(runs[one]) and flat(runs[other]))]
    assert [(pair.first, pair.second) for pair in outcome.pairs] == noisy
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        raw = [float(stats.ttest_ind(runs[one], runs[other], equal_var=False).pvalue) for one, other in noisy]
    assert [pair.p for pair in outcome.pairs] == pytest.approx(holm(raw), rel=1e-6, abs=1e-12)
    if len(repeated) > 1 and len(noisy) < len(pairs):
        assert f"{len(pairs) - len(noisy)} pairs do not vary" in outcome.notes[0]


# exact tests


@EXAMPLES
@given(st.lists(SCORES, min_size=2, max_size=8), st.data())
def test_an_exact_p_is_a_share_of_all_arrangements_and_never_below_the_smallest(
    values: list[float], data: st.DataObject
) -> None:
    n = data.draw(st.integers(1, len(values) - 1))
    ranks = [float(rank) for rank in stats.rankdata(values)]
    two, several = exact_tests.two_groups(ranks, n), exact_tests.several_groups(ranks, [n, len(values) - n])
    assert two is not None
    assert several is not None
    for p, least in (two, several):
        ways = p * math.comb(len(values), n)
        assert ways == pytest.approx(round(ways), abs=1e-6)
        assert 0 < least <= p <= 1
    # of two groups of the same size H says what the doubled tail of U says
    if 2 * n == len(values):
        assert several[0] == pytest.approx(two[0])


def test_too_many_arrangements_are_not_counted() -> None:
    assert exact_tests.two_groups([float(rank) for rank in range(61)], 30) is None
    assert exact_tests.several_groups([float(rank) for rank in range(30)], [10, 10, 10]) is None
    assert exact_tests.correlation(list(range(9)), list(range(9)), kendall=True) is None


@pytest.mark.parametrize(
    "compute", [group_tests.welch_t, group_tests.anova, group_tests.welch_anova, group_tests.kruskal_wallis]
)
def test_no_group_and_an_empty_group_have_a_reason(compute: Callable[..., Outcome]) -> None:
    assert "no value" in (compute({"a": [0.1, 0.2], "b": []}, 0.05).reason or "")
    if compute is not group_tests.welch_t:
        assert "fewer than two groups" in (compute({"a": [0.1, 0.2]}, 0.05).reason or "")
