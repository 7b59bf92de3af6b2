"""Tests between texts: every number against an oracle, over random data with ties, flat groups and unequal sizes."""

from __future__ import annotations

import csv
import math
import warnings
from collections import defaultdict
from fractions import Fraction
from itertools import combinations, permutations, product
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pingouin  # type: ignore[import-untyped]
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from discernus.statistics import correlations, effect_sizes, group_tests, power
from discernus.statistics.contingency import chi_square
from discernus.statistics.corrections import holm
from discernus.statistics.equivalence import tost
from discernus.statistics.group_tests import EXACT
from discernus.statistics.outcome import Outcome
from discernus.statistics.run_noise import run_noise

# Scores as models give them: a coarse grid, so that ties and groups without any spread are frequent.
SCORES = st.integers(0, 10).map(lambda tenths: tenths / 10)
GROUP = st.lists(SCORES, min_size=1, max_size=7)
EXAMPLES = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def flat(values: list[Any]) -> bool:
    return len(set(values)) == 1


def is_whole(outcome: Outcome) -> bool:
    """Whether there is either a result or a reason, and no number that is none."""
    numbers = [outcome.statistic, outcome.p, *outcome.df]
    for one in (outcome.estimate, outcome.effect, outcome.detectable):
        if one is not None:
            numbers += [one.value] + ([one.interval.low, one.interval.high] if one.interval else [])
    finite = all(math.isfinite(number) for number in numbers if number is not None)
    return finite and (outcome.p is None) == (outcome.reason is not None)


@EXAMPLES
@given(GROUP, GROUP)
def test_welchs_t_is_the_oracles_or_says_why_there_is_none(first: list[float], second: list[float]) -> None:
    outcome = group_tests.welch_t({"a": first, "b": second}, 0.05)
    assert is_whole(outcome)
    assert (outcome.p is None) == (min(len(first), len(second)) < 2 or (flat(first) and flat(second)))
    if outcome.p is None or outcome.estimate is None or outcome.estimate.interval is None:
        return
    oracle = pingouin.ttest(first, second, correction=True).iloc[0]
    assert outcome.statistic == pytest.approx(oracle["T"], rel=1e-9, abs=1e-9)
    assert outcome.p == pytest.approx(oracle["p_val"], rel=1e-9, abs=1e-9)
    assert outcome.estimate.value == pytest.approx(fmean(first) - fmean(second), rel=1e-9, abs=1e-9)
    n, m = len(first), len(second)
    a, b = np.var(first, ddof=1) / n, np.var(second, ddof=1) / m
    df = (a + b) ** 2 / (a**2 / (n - 1) + b**2 / (m - 1))
    assert list(outcome.df) == pytest.approx([df], rel=1e-9, abs=1e-9)
    reach = stats.t.ppf(0.975, df) * math.sqrt(a + b)
    assert outcome.estimate.interval.high - outcome.estimate.value == pytest.approx(reach, rel=1e-6)


@EXAMPLES
@given(st.lists(st.tuples(SCORES, SCORES), min_size=1, max_size=8))
def test_the_paired_t_is_the_oracles_or_says_why_there_is_none(pairs: list[tuple[float, float]]) -> None:
    first, second = ([pair[side] for pair in pairs] for side in (0, 1))
    outcome = group_tests.paired_t({"a": first, "b": second}, 0.05)
    assert is_whole(outcome)
    if outcome.p is None:
        assert len(pairs) < 2 or flat([round(a - b, 9) for a, b in pairs])
        return
    oracle = stats.ttest_rel(first, second)
    assert outcome.statistic == pytest.approx(oracle.statistic, rel=1e-7)
    assert outcome.p == pytest.approx(oracle.pvalue, rel=1e-7)


@EXAMPLES
@given(st.lists(SCORES, min_size=1, max_size=5), st.lists(SCORES, min_size=1, max_size=5))
def test_mann_and_whitneys_p_counts_every_arrangement_ties_included(first: list[float], second: list[float]) -> None:
    outcome = group_tests.mann_whitney({"a": first, "b": second}, 0.05)
    assert is_whole(outcome)
    pooled = first + second
    assert (outcome.p is None) == flat(pooled)
    if outcome.p is None or outcome.smallest_p is None or outcome.effect is None:
        return
    assert outcome.p_by == EXACT
    wins = sum((a > b) + (a == b) / 2 for a in first for b in second)
    assert outcome.statistic == pytest.approx(wins)
    assert outcome.effect.value == pytest.approx(2 * wins / (len(first) * len(second)) - 1)
    sums = []
    ranks = stats.rankdata(pooled)
    for chosen in combinations(range(len(pooled)), len(first)):
        sums.append(ranks[list(chosen)].sum() - len(first) * (len(first) + 1) / 2)
    tails = np.mean(np.array(sums) <= wins + 1e-9), np.mean(np.array(sums) >= wins - 1e-9)
    assert outcome.p == pytest.approx(min(1.0, 2 * min(tails)))
    assert outcome.smallest_p <= outcome.p
    if len(set(pooled)) == len(pooled):
        assert outcome.p == pytest.approx(stats.mannwhitneyu(first, second, method="exact").pvalue)


def test_many_documents_are_ranked_by_the_usual_approximation() -> None:
    rng = np.random.default_rng(3)
    first, second = rng.normal(0, 1, 40).round(1).tolist(), rng.normal(0.5, 1, 35).round(1).tolist()
    outcome = group_tests.mann_whitney({"a": first, "b": second}, 0.05)
    oracle = pingouin.mwu(first, second, method="asymptotic").iloc[0]
    assert outcome.statistic == pytest.approx(oracle["U_val"])
    assert outcome.p == pytest.approx(oracle["p_val"])
    assert outcome.smallest_p is None
    assert "normal approximation" in outcome.p_by


def frame(groups: dict[str, list[float]]) -> Any:
    import pandas

    return pandas.DataFrame([(name, value) for name, own in groups.items() for value in own], columns=["g", "v"])


@EXAMPLES
@given(st.lists(GROUP, min_size=2, max_size=4))
def test_analyses_of_variance_are_the_oracles_or_say_why_there_is_none(lists: list[list[float]]) -> None:
    groups = {f"g{index}": own for index, own in enumerate(lists)}
    plain, welch = group_tests.anova(groups, 0.05), group_tests.welch_anova(groups, 0.05)
    assert is_whole(plain)
    assert is_whole(welch)
    assert (plain.p is None) == all(flat(own) for own in lists)
    assert (welch.p is None) == any(flat(own) for own in lists)
    if plain.p is not None and plain.effect is not None:
        oracle = pingouin.anova(frame(groups), dv="v", between="g", detailed=True)
        assert plain.statistic == pytest.approx(oracle["F"][0], rel=1e-6, abs=1e-9)
        assert plain.p == pytest.approx(oracle["p_unc"][0], rel=1e-6)
        assert plain.effect.value == pytest.approx(oracle["np2"][0], abs=1e-6)
    if welch.p is not None:
        oracle = pingouin.welch_anova(frame(groups), dv="v", between="g").iloc[0]
        assert welch.statistic == pytest.approx(oracle["F"], rel=1e-6, abs=1e-9)
        assert welch.p == pytest.approx(oracle["p_unc"], rel=1e-6)
        assert list(welch.df) == pytest.approx([oracle["ddof1"], oracle["ddof2"]], rel=1e-6)


def test_pairs_after_an_analysis_of_variance_are_tukeys_and_games_and_howells() -> None:
    groups = {"a": [0.1, 0.4, 0.35, 0.8], "b": [0.5, 0.9, 0.7, 0.95, 0.99], "c": [0.2, 0.1, 0.3]}
    tukey, games = group_tests.anova(groups, 0.05), group_tests.welch_anova(groups, 0.05)
    for outcome, oracle in (
        (tukey, pingouin.pairwise_tukey(frame(groups), dv="v", between="g")),
        (games, pingouin.pairwise_gameshowell(frame(groups), dv="v", between="g")),
    ):
        p = "p_tukey" if "p_tukey" in oracle else "pval"
        assert [(pair.first, pair.second) for pair in outcome.pairs] == list(zip(oracle["A"], oracle["B"], strict=True))
        assert [pair.p for pair in outcome.pairs] == pytest.approx(list(oracle[p]), rel=1e-4)
        assert [pair.estimate.value for pair in outcome.pairs] == pytest.approx(list(oracle["diff"]))


@EXAMPLES
@given(st.lists(st.lists(SCORES, min_size=1, max_size=3), min_size=2, max_size=3))
def test_kruskal_and_walliss_p_counts_every_arrangement(lists: list[list[float]]) -> None:
    groups = {f"g{index}": own for index, own in enumerate(lists)}
    outcome = group_tests.kruskal_wallis(groups, 0.05)
    assert is_whole(outcome)
    pooled = [value for own in lists for value in own]
    assert (outcome.p is None) == flat(pooled)
    if outcome.p is None:
        return
    assert outcome.statistic == pytest.approx(stats.kruskal(*lists).statistic, rel=1e-9, abs=1e-9)
    assume(len(pooled) <= 7)  # so that the slow way round is bearable
    ends = np.cumsum([len(own) for own in lists])[:-1]
    seen = stats.kruskal(*lists).statistic
    ranks = stats.rankdata(pooled)

    def squares(order: Any) -> Any:
        return sum(part.sum() ** 2 / len(part) for part in np.split(np.array(order), ends))

    every = [squares(order) for order in permutations(ranks)]
    assert outcome.p == pytest.approx(np.mean(np.array(every) >= squares(ranks) - 1e-9)), seen


PAIRS = st.lists(st.tuples(SCORES, SCORES), min_size=1, max_size=6)


@EXAMPLES
@given(PAIRS)
def test_correlations_are_the_oracles_or_say_why_there_is_none(pairs: list[tuple[float, float]]) -> None:
    first, second = ([pair[side] for pair in pairs] for side in (0, 1))
    defined = len(pairs) > 2 and not flat(first) and not flat(second)
    for compute, oracle in (
        (correlations.pearson, stats.pearsonr),
        (correlations.spearman, stats.spearmanr),
        (correlations.kendall, stats.kendalltau),
    ):
        outcome = compute(first, second, 0.05)
        assert is_whole(outcome)
        assert (outcome.p is not None) == defined
        if outcome.p is None:
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = oracle(first, second)
        assert outcome.statistic == pytest.approx(found.statistic, rel=1e-9, abs=1e-9)
        if compute is correlations.pearson:
            assert outcome.p == pytest.approx(found.pvalue, rel=1e-6, abs=1e-9)
        else:
            sizes = np.abs([oracle(first, list(order)).statistic for order in permutations(second)])
            assert outcome.p == pytest.approx(np.mean(sizes >= abs(found.statistic) - 1e-9))


def test_a_perfect_order_of_few_documents_is_no_proof() -> None:
    assert correlations.spearman([1, 2, 3, 4], [1, 2, 3, 4], 0.05).p == pytest.approx(2 / 24)
    assert stats.spearmanr([1, 2, 3, 4], [1, 2, 3, 4]).pvalue == 0
    many = correlations.spearman(list(range(12)), list(range(12)), 0.05)
    assert many.p == pytest.approx(2 / math.factorial(12))


def test_intervals_of_correlations_are_the_oracles() -> None:
    rng = np.random.default_rng(5)
    first = rng.normal(0, 1, 30)
    second = first + rng.normal(0, 1, 30)
    found = correlations.pearson(first.tolist(), second.tolist(), 0.05).effect
    expected = stats.pearsonr(first, second).confidence_interval(0.95)
    assert found is not None
    assert found.interval is not None
    assert [found.interval.low, found.interval.high] == pytest.approx([expected.low, expected.high])


@EXAMPLES
@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("xy")), min_size=2, max_size=12))
def test_two_by_two_labels_with_small_cells_get_fishers_exact_p(pairs: list[tuple[str, str]]) -> None:
    groups, labels = ([pair[side] for pair in pairs] for side in (0, 1))
    outcome = chi_square(groups, labels, 0.05)
    assert is_whole(outcome)
    assert (outcome.p is None) == (flat(groups) or flat(labels))
    if outcome.p is not None:
        counts = [[pairs.count((group, label)) for label in "xy"] for group in "ab"]
        assert outcome.p == pytest.approx(stats.fisher_exact(np.array(counts)).pvalue)
        assert outcome.statistic == pytest.approx(stats.chi2_contingency(counts, correction=False).statistic)


def test_labels_of_many_documents_get_the_chi_square_of_the_oracle() -> None:
    rng = np.random.default_rng(7)
    groups, labels = rng.choice(list("abc"), 120).tolist(), rng.choice(list("xy"), 120).tolist()
    outcome = chi_square(groups, labels, 0.05)
    import pandas

    data = pandas.DataFrame({"g": groups, "l": labels})
    oracle = pingouin.chi2_independence(data, "g", "l", correction=False)[2].iloc[0]
    assert outcome.effect is not None
    expected = [oracle["chi2"], oracle["pval"], oracle["cramer"]]
    assert [outcome.statistic, outcome.p, outcome.effect.value] == pytest.approx(expected)


def test_small_tables_beyond_two_by_two_are_permuted_and_always_alike() -> None:
    groups, labels = list("aabbaabbcc"), list("xxyyxxyxzz")
    outcome = chi_square(groups, labels, 0.05)
    assert outcome == chi_square(groups, labels, 0.05)
    exact = stats.fisher_exact(np.array([[4, 0, 0], [1, 3, 0], [0, 0, 2]])).pvalue
    assert outcome.p == pytest.approx(exact, abs=0.005)


@EXAMPLES
@given(st.lists(SCORES, min_size=2, max_size=7), st.lists(SCORES, min_size=2, max_size=7), st.floats(0.05, 1.0))
def test_equivalence_is_two_one_sided_tests_and_its_interval_agrees(
    first: list[float], second: list[float], margin: float
) -> None:
    outcome = tost({"a": first, "b": second}, margin, 0.05)
    assert is_whole(outcome)
    assert (outcome.p is None) == (flat(first) and flat(second))
    if outcome.p is None or outcome.estimate is None or outcome.estimate.interval is None:
        return
    above = stats.ttest_ind(np.array(first) + margin, second, equal_var=False, alternative="greater").pvalue
    below = stats.ttest_ind(np.array(first) - margin, second, equal_var=False, alternative="less").pvalue
    assert outcome.p == pytest.approx(max(above, below), rel=1e-6, abs=1e-12)
    interval = outcome.estimate.interval
    assume(abs(outcome.p - 0.05) > 1e-9)
    assert (outcome.p < 0.05) == (-margin < interval.low and interval.high < margin)


@given(st.lists(st.floats(0, 1), min_size=0, max_size=10))
def test_holms_correction_is_the_oracles(p_values: list[float]) -> None:
    expected = pingouin.multicomp(p_values, method="holm")[1] if p_values else []
    assert holm(p_values) == pytest.approx(list(expected))


def test_the_interval_of_g_agrees_with_the_t_test_and_covers_what_it_says() -> None:
    first, second = [1.0, 2.0, 3.0, 4.0, 5.0], [2.0, 4.0, 5.0, 7.0, 9.0, 4.0]
    found = effect_sizes.hedges_g(first, second)
    assert found is not None
    assert found.interval is not None
    assert found.value == pytest.approx(pingouin.compute_effsize(first, second, eftype="hedges"), rel=1e-6)
    df, root = 9, math.sqrt(1 / 5 + 1 / 6)
    correction = 1 - 3 / (4 * df - 1)
    t = stats.ttest_ind(first, second).statistic
    for bound, share in ((found.interval.low, 0.975), (found.interval.high, 0.025)):
        assert stats.nct.cdf(t, df, bound / correction / root) == pytest.approx(share)


def test_the_interval_of_eta_squared_is_the_noncentral_fs() -> None:
    groups = [[1.0, 2.0, 3.0, 2.5], [3.0, 4.0, 5.0, 4.4], [5.0, 6.0, 5.5, 4.0]]
    f = float(stats.f_oneway(*groups).statistic)
    found = effect_sizes.eta_squared(groups, f)
    assert found.interval is not None
    for bound, share in ((found.interval.low, 0.95), (found.interval.high, 0.05)):
        assert stats.ncf.cdf(f, 2, 9, 12 * bound / (1 - bound)) == pytest.approx(share)
    assert found.interval.low < found.value < found.interval.high


def test_a_complete_separation_of_few_still_has_an_interval() -> None:
    effect = group_tests.mann_whitney({"a": [1, 2, 3, 4], "b": [5, 6, 7, 8]}, 0.05).effect
    assert effect is not None
    assert effect.interval is not None
    assert (effect.value, effect.interval.low) == (-1, -1)
    theta = (effect.interval.high + 1) / 2  # as Hanley and McNeil write the variance, with Newcombe's N* - 1 = 3
    q1, q2 = theta / (2 - theta), 2 * theta**2 / (1 + theta)
    variance = (theta * (1 - theta) + 3 * (q1 - theta**2) + 3 * (q2 - theta**2)) / 16
    assert theta == pytest.approx(1.959964 * math.sqrt(variance), rel=1e-6)


def test_newcombes_interval_is_symmetric_and_contains_the_estimate() -> None:
    for u in range(13):
        one, other = effect_sizes.rank_biserial(u, 3, 4), effect_sizes.rank_biserial(12 - u, 3, 4)
        assert one.interval is not None
        assert other.interval is not None
        assert one.value == pytest.approx(-other.value)
        assert one.interval.low == pytest.approx(-other.interval.high, abs=1e-6)
        assert one.interval.low <= one.value <= one.interval.high


def test_what_a_test_can_find_it_finds_in_eighty_of_a_hundred_cases() -> None:
    found = power.detectable_difference(10, 12, 0.05)
    assert found is not None
    assert pingouin.power_ttest2n(10, 12, d=found.value) == pytest.approx(0.8, abs=1e-4)
    paired = power.detectable_paired_difference(9, 0.05)
    assert paired is not None
    assert pingouin.power_ttest(d=paired.value, n=9, contrast="paired") == pytest.approx(0.8, abs=1e-4)
    anova = power.detectable_f([6, 6, 6], 0.05)
    assert anova is not None
    share = anova.value**2 / (1 + anova.value**2)
    assert pingouin.power_anova(eta_squared=share, k=3, n=6) == pytest.approx(0.8, abs=1e-4)
    w = power.detectable_w(50, 2, 0.05)
    assert w is not None
    assert pingouin.power_chi2(dof=2, w=w.value, n=50) == pytest.approx(0.8, abs=1e-4)
    assert power.detectable_rank_biserial(3, 3, 0.05) is None


def test_documents_are_compared_over_runs_with_holm_over_all_pairs_and_no_p_of_the_whole() -> None:
    runs = {"d1": [0.1, 0.2, 0.15], "d2": [0.8, 0.9, 0.85], "d3": [0.1, 0.3, 0.2], "d4": [0.5]}
    outcome = run_noise(runs, 0.05)
    assert outcome.p is None
    names = list(combinations(("d1", "d2", "d3"), 2))
    raw = [stats.ttest_ind(runs[one], runs[other], equal_var=False).pvalue for one, other in names]
    assert [(pair.first, pair.second) for pair in outcome.pairs] == names
    assert [pair.p for pair in outcome.pairs] == pytest.approx(holm([float(p) for p in raw]))
    assert run_noise({"d1": [0.1, 0.2], "d2": [0.4]}, 0.05).reason
    assert "do not vary" in run_noise({"d1": [0.1, 0.1], "d2": [0.4, 0.4]}, 0.05).notes[0]


def published(shared: Path) -> tuple[list[dict[str, str]], dict[str, Any]]:
    import json

    folder = shared / "published_stats" / "02_mva_exp1_48_runs"
    with (folder / "raw_scores.csv").open() as file:
        return list(csv.DictReader(file)), json.loads((folder / "recomputed.json").read_text())


def test_the_published_contrast_is_significant_only_where_runs_are_taken_for_cases(shared: Path) -> None:
    rows, right = published(shared)
    labels = right["majority_label"]
    axes = list(right["worldview_test_document_means"])
    for axis in axes:
        by_document = defaultdict(list)
        for row in rows:
            by_document[row["document"]].append(float(row[axis]))
        means: dict[str, list[float]] = {"Progressive": [], "Conservative": []}
        for document, values in sorted(by_document.items()):
            means[labels[document]].append(fmean(values))
        expected = right["worldview_test_document_means"][axis]
        outcome = group_tests.welch_t(means, 0.05)
        assert outcome.effect is not None
        numbers = [*(expected["welch_t"][name] for name in ("t", "df", "p")), expected["hedges_g"]]
        assert [outcome.statistic, outcome.df[0], outcome.p, outcome.effect.value] == pytest.approx(numbers, abs=1e-9)
        ranked = group_tests.mann_whitney({name: [round(v, 12) for v in own] for name, own in means.items()}, 0.05)
        assert ranked.statistic == exact_u(rows, labels, axis)
        if axis != "fear_hope_axis":
            assert ranked.statistic == expected["mann_whitney"]["U"]
    runs: dict[str, list[float]] = {"Progressive": [], "Conservative": []}
    for row in rows:
        if row["worldview"] in runs:
            runs[row["worldview"]].append(float(row["fear_hope_axis"]))
    as_cases = group_tests.welch_t(runs, 0.05)
    assert as_cases.p == pytest.approx(0.000702696537143)
    assert right["worldview_test_document_means"]["fear_hope_axis"]["welch_t"]["p"] == pytest.approx(0.2186, abs=1e-4)


def exact_u(rows: list[dict[str, str]], labels: dict[str, str], axis: str) -> float:
    """Return U over the documents' means as fractions: of the pairs, those with the first higher and half the ties."""
    scores = defaultdict(list)
    for row in rows:
        scores[row["document"]].append(Fraction(row[axis]))
    sides: dict[str, list[Fraction]] = {"Progressive": [], "Conservative": []}
    for document, values in scores.items():
        sides[labels[document]].append(sum(values, Fraction()) / len(values))
    higher = [(one > other) + Fraction(one == other) / 2 for one, other in product(*sides.values())]
    return float(sum(higher))


def test_the_published_u_of_12_is_a_tie_broken_by_rounding_and_the_right_one_is_11_and_a_half(shared: Path) -> None:
    """Two documents of different groups have the mean 43/60: 4.3 over 6 in both, summed up in another order.

    The reference added binary fractions one by one, which gave 0.7166666666666668 and 0.7166666666666667, so that one
    pair of sixteen counted as won instead of half. Means are rounded to twelve digits before they are ranked.
    """
    rows, right = published(shared)
    reference = right["worldview_test_document_means"]["fear_hope_axis"]["mann_whitney"]
    sides: dict[str, list[float]] = {"Progressive": [], "Conservative": []}
    scores = defaultdict(list)
    for row in rows:
        scores[row["document"]].append(float(row["fear_hope_axis"]))
    one_by_one = {}
    for document, values in scores.items():
        one_by_one[document] = sum(values[1:], values[0]) / len(values)
        sides[right["majority_label"][document]].append(one_by_one[document])
    near = [document for document, mean in one_by_one.items() if abs(mean - 43 / 60) < 1e-9]
    assert len({right["majority_label"][document] for document in near}) == len(near) == 2
    assert len({one_by_one[document] for document in near}) == 2
    broken = stats.mannwhitneyu(sides["Progressive"], sides["Conservative"], method="asymptotic")
    assert broken.statistic == reference["U"]
    assert broken.pvalue == pytest.approx(reference["p_asymptotic"], abs=1e-9)
    rounded = group_tests.mann_whitney({side: [round(mean, 12) for mean in own] for side, own in sides.items()}, 0.05)
    assert rounded.statistic == exact_u(rows, right["majority_label"], "fear_hope_axis") == 11.5


def test_the_published_analyses_of_variance_come_out_the_same_and_none_is_nan(shared: Path) -> None:
    import json

    folder = shared / "published_stats" / "08_pdaf_v10_bolsonaro_20250902"
    with (folder / "groups_of_the_original.csv").open() as file:
        groups = {row["document"]: row for row in csv.DictReader(file)}
    scores: dict[str, dict[str, float]] = defaultdict(dict)
    with (folder / "raw_scores.csv").open() as file:
        for row in csv.DictReader(file):
            scores[row["dimension"]][row["document"]] = float(row["raw_score"])
    verdicts = json.loads((folder / "verdicts.json").read_text())["verdicts"]
    detail = next(one for one in verdicts if one["claim"].startswith("ANOVA"))["detail"]
    for name, expected in detail.items():
        own = scores[name.removesuffix("_raw")]
        stages: dict[str, list[float]] = defaultdict(list)
        for document, row in groups.items():
            if row["campaign_stage"]:
                stages[row["campaign_stage"]].append(own[document])
        outcome = group_tests.anova(stages, 0.05)
        assert outcome.statistic == pytest.approx(expected["with_names_mapped"]["F"], rel=1e-9), name
        assert outcome.p == pytest.approx(expected["with_names_mapped"]["p"], rel=1e-9), name
    contrast = next(one for one in verdicts if "stabbing" in one["claim"])["recomputed_with_names_mapped"]
    manichaean = scores["manichaean_people_elite_framing"]
    sides = {
        side: [manichaean[document] for document, row in groups.items() if row["pre_or_post_stabbing"] == side]
        for side in ("pre", "post")
    }
    outcome = group_tests.welch_t(sides, 0.05)
    assert [outcome.statistic, outcome.p] == pytest.approx([0, contrast["welch_t"]["p"]], abs=1e-12)
    assert outcome.df[0] == pytest.approx(contrast["welch_t"]["df"], rel=1e-9)


def test_six_evaluations_of_one_document_compare_nothing(shared: Path) -> None:
    with (shared / "published_stats" / "06_six_evaluations_in_one_response" / "raw_scores.csv").open() as file:
        hope = [float(row["hope_score"]) for row in csv.DictReader(file)]
    assert len(hope) == 6
    assert run_noise({"the only document": hope}, 0.05).reason == (
        "fewer than two documents have a value in two runs or more"
    )
    assert group_tests.welch_t({"one": [fmean(hope)], "other": []}, 0.05).p is None


def test_a_text_whose_runs_are_all_alike_is_compared_without_a_warning() -> None:
    alike, other = [0.48, 0.48], [0.1, 0.12, 0.15]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        outcome = run_noise({"a": alike, "b": other}, 0.05)
    error = np.std(other, ddof=1) / math.sqrt(3)
    t = (0.48 - fmean(other)) / error
    assert [pair.p for pair in outcome.pairs] == pytest.approx([2 * stats.t.sf(t, 2)])


def test_groups_more_alike_than_chance_have_no_interval_that_leaves_out_its_own_estimate() -> None:
    analysis = group_tests.anova({"a": [1.0, 2, 3, 4], "b": [1.1, 2, 3, 4], "c": [1, 2.1, 3, 4]}, 0.05)
    table = chi_square(["a", "a", "b", "b"] * 3, ["x", "y"] * 6, 0.05)
    for outcome, name in ((analysis, "eta squared"), (table, "Cramér's V")):
        assert outcome.effect is not None
        assert outcome.effect.interval is None
        assert outcome.notes == (
            f"{name} has no interval: the groups are more alike than chance alone would make most",
        )


def test_kendalls_p_says_which_way_it_was_computed() -> None:
    orders = list(range(12))
    mixed = [3, 1, 0, 2, 7, 5, 4, 11, 6, 10, 9, 8]
    exact = correlations.kendall(orders, mixed, 0.05)
    tied = correlations.kendall([0, *orders[:-1]], mixed, 0.05)
    assert exact.p_by == EXACT
    assert exact.p == pytest.approx(stats.kendalltau(orders, mixed, method="exact").pvalue)
    assert tied.p_by == "normal approximation, corrected for ties"
    assert tied.p == pytest.approx(stats.kendalltau([0, *orders[:-1]], mixed, method="asymptotic").pvalue)
