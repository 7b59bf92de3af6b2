"""Coefficients of agreement against other people's programs, published figures, and data that have no answer."""

from __future__ import annotations

import csv
import itertools
import json
import math
from pathlib import Path
from typing import Any

import krippendorff as krippendorff_oracle
import numpy as np
import pandas as pd
import pingouin  # type: ignore[import-untyped]
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from discernus.statistics import icc, krippendorff
from discernus.statistics.consistency import (
    CRONBACH,
    OF_SCORES,
    ONE_WAY,
    Alpha,
    Coefficient,
    cronbach_alpha,
    feldt_interval,
    label_coefficients,
    rater_coefficients,
    score_coefficients,
    stability,
)
from discernus.statistics.resampling import Interval, estimates

Rows = list[list[float | None]]

tenths = st.integers(-10, 10).map(lambda number: number / 10)
whole = st.integers(2, 5).flatmap(
    lambda runs: st.lists(st.lists(tenths, min_size=runs, max_size=runs), min_size=2, max_size=9)
)
holed = st.integers(2, 5).flatmap(
    lambda runs: st.lists(st.lists(tenths | st.none(), min_size=runs, max_size=runs), min_size=1, max_size=9)
)
labelled = st.integers(2, 5).flatmap(
    lambda runs: st.lists(
        st.lists(st.sampled_from("abc") | st.none(), min_size=runs, max_size=runs), min_size=1, max_size=9
    )
)
thorough = settings(max_examples=60, deadline=None)


def frozen(rows: list[list[Any]]) -> tuple[tuple[Any, ...], ...]:
    return tuple(map(tuple, rows))


def found(rows: list[list[Any]]) -> dict[str, Coefficient]:
    return {one.name: one for one in score_coefficients(frozen(rows))}


def between(rows: list[list[Any]]) -> dict[str, Coefficient]:
    return {one.name: one for one in rater_coefficients(frozen(rows))}


def by_label(rows: list[list[Any]]) -> dict[str, Coefficient]:
    return {one.name: one for one in label_coefficients(frozen(rows))}


def present(rows: list[list[Any]]) -> list[list[Any]]:
    return [[value for value in row if value is not None] for row in rows]


def agrees(coefficient: Coefficient, expected: float) -> None:
    """Compare with an oracle that is near to dividing by nothing where it is huge."""
    assert coefficient.value == pytest.approx(expected, rel=1e-9, abs=1e-9)


# published figures


@pytest.fixture(scope="module")
def published(shared: Path) -> tuple[list[dict[str, str]], dict[str, Any]]:
    folder = shared / "published_stats" / "02_mva_exp1_48_runs"
    with (folder / "raw_scores.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return rows, json.loads((folder / "recomputed.json").read_text(encoding="utf-8"))


def table(rows: list[dict[str, str]], variable: str, requested: str) -> list[list[Any]]:
    chosen = [row for row in rows if requested in row["model_requested"]]
    ordered = sorted(chosen, key=lambda row: (row["document"], row["model_requested"], int(row["run"])))
    by_document = itertools.groupby(ordered, key=lambda row: row["document"])
    return [[row[variable] for row in group] for _, group in by_document]


def test_the_published_coefficients_and_intervals_are_reproduced(
    published: tuple[list[dict[str, str]], dict[str, Any]],
) -> None:
    rows, expected = published
    selections = {"all_6_runs": "", "requested_gpt4o_3_runs": "gpt-4o", "requested_claude_3_runs": "claude"}
    compared = 0
    for variable, selected in expected["reliability"].items():
        for name, requested in selections.items():
            scores = [[float(score) for score in row] for row in table(rows, variable, requested)]
            figures = selected[name]
            coefficients = {**found(scores), **between(scores)}
            for of in ("ICC(1,1)", "ICC(1,k)", "ICC(A,1)", "ICC(A,k)"):
                assert coefficients[of].value == pytest.approx(figures["icc"][of], abs=1e-9)
            alpha = coefficients[CRONBACH]
            assert alpha.value == pytest.approx(figures["icc"]["ICC(C,k)"], abs=1e-9)
            assert (alpha.interval.low, alpha.interval.high) == pytest.approx(figures["alpha_ci95_feldt"], abs=1e-9)
            assert (alpha.documents, alpha.k) == (figures["documents"], figures["runs"])
            compared += 1
    assert compared == 18


def test_the_published_labels_agree_as_another_program_says(
    published: tuple[list[dict[str, str]], dict[str, Any]],
) -> None:
    labels = [[label or None for label in row] for row in table(published[0], "worldview", "")]
    assert sum(label is None for row in labels for label in row) == 1
    counted = [[row.count(name) for name in ("Progressive", "Conservative", "Other")] for row in labels]
    expected = krippendorff_oracle.alpha(value_counts=np.array(counted), level_of_measurement="nominal")
    agreement = by_label(labels)
    agrees(agreement["Krippendorff's alpha, nominal"], float(expected))
    # one of 48 labels is missing, and one of a document's six is another: 47 − 10 / 5 of 47 agree
    agrees(agreement["observed agreement"], 45 / 47)


# other people's programs


@pytest.mark.filterwarnings("ignore:The inplace keyword")
@thorough
@given(whole)
def test_icc_of_complete_tables_is_what_pingouin_says(rows: list[list[float]]) -> None:
    array = np.array(rows)
    spread = array.mean(axis=1).std()
    assume(spread > 1e-6 and array.size > 4)  # pingouin says nothing of fewer than five scores
    frame = pd.DataFrame(
        [(document, run, score) for document, row in enumerate(rows) for run, score in enumerate(row)],
        columns=["document", "run", "score"],
    )
    with np.errstate(all="ignore"):
        oracle = pingouin.intraclass_corr(frame, "document", "run", "score").set_index("Type")["ICC"]
    coefficients = {**found(rows), **between(rows)}
    for name in ("ICC(1,1)", "ICC(1,k)", "ICC(A,1)"):
        agrees(coefficients[name], float(oracle[name]))
    if coefficients["ICC(A,k)"].value is not None:
        agrees(coefficients["ICC(A,k)"], float(oracle["ICC(A,k)"]))
    else:
        assert abs(oracle["ICC(A,k)"]) > 1  # its denominator is 0 or below, which is no share of anything


@thorough
@given(holed)
def test_icc_over_unequal_numbers_of_runs_follows_from_the_f_of_scipy(rows: Rows) -> None:
    groups = [row for row in present(rows) if row]
    assume(len(groups) > 1 and any(len(row) > 1 for row in groups))
    n = [len(row) for row in groups]
    n0 = (sum(n) - sum(number**2 for number in n) / sum(n)) / (len(n) - 1)
    with np.errstate(all="ignore"):
        f = float(stats.f_oneway(*groups).statistic)
    coefficients = found(rows)
    assert coefficients["ICC(1,k)"].k == pytest.approx(n0)
    assert coefficients["ICC(1,1)"].documents == len(groups)
    if math.isinf(f):  # no document has two scores that differ
        agrees(coefficients["ICC(1,1)"], 1)
    elif math.isnan(f):
        assert coefficients["ICC(1,1)"].value is None
    elif f > 1e-9:
        agrees(coefficients["ICC(1,1)"], (f - 1) / (f + n0 - 1))
        agrees(coefficients["ICC(1,k)"], (f - 1) / f)


@thorough
@given(holed)
def test_krippendorffs_alpha_of_scores_is_what_his_program_says(rows: Rows) -> None:
    pairs = [row for row in present(rows) if len(row) > 1]
    assume(len(pairs) > 1 and len({score for row in pairs for score in row}) > 1)
    data = np.array([[math.nan if score is None else score for score in row] for row in rows]).T
    coefficients = found(rows)
    for level in ("ordinal", "interval"):
        expected = krippendorff_oracle.alpha(reliability_data=data, level_of_measurement=level)
        agrees(coefficients[f"Krippendorff's alpha, {level}"], float(expected))
        assert coefficients[f"Krippendorff's alpha, {level}"].documents == len(pairs)


@thorough
@given(labelled)
def test_krippendorffs_alpha_of_labels_is_what_his_program_says(rows: list[list[str | None]]) -> None:
    pairs = [row for row in present(rows) if len(row) > 1]
    assume(len(pairs) > 1 and len({label for row in pairs for label in row}) > 1)
    counts = np.array([[row.count(name) for name in "abc"] for row in rows])
    expected = krippendorff_oracle.alpha(value_counts=counts, level_of_measurement="nominal")
    agrees(by_label(rows)["Krippendorff's alpha, nominal"], float(expected))


@thorough
@given(whole)
def test_feldts_interval_is_what_pingouin_says(rows: list[list[float]]) -> None:
    alpha = cronbach_alpha(rows)
    assume(alpha.value is not None and alpha.value < 1 - 1e-9)
    _, oracle = pingouin.cronbach_alpha(data=pd.DataFrame(rows))
    interval = feldt_interval(alpha)
    assert interval.low is not None
    assert interval.high is not None
    assert (interval.low, interval.high) == pytest.approx(tuple(oracle), abs=6e-4, rel=1e-3)  # it rounds


def test_an_interval_by_resampling_is_near_that_of_scipy() -> None:
    chance = np.random.default_rng(11)
    scores = chance.normal(size=(40, 1)) + chance.normal(size=(40, 4))
    found_by_draws = estimates(icc.one_way(scores.tolist()), 40, seed=1)[0]
    value, interval = found_by_draws.value, found_by_draws.drawn

    def single(chosen: np.ndarray[Any, Any]) -> float:
        rows = scores[chosen.astype(int)]
        f = stats.f_oneway(*rows).statistic
        return float((f - 1) / (f + 3))

    oracle = stats.bootstrap(
        (np.arange(40),), single, vectorized=False, n_resamples=2000, method="BCa", rng=np.random.default_rng(2)
    ).confidence_interval
    assert value is not None
    assert interval.low == pytest.approx(oracle.low, abs=0.02)
    assert interval.high == pytest.approx(oracle.high, abs=0.02)
    assert oracle.high - oracle.low > 0.2  # so that the tolerance says something


@pytest.mark.filterwarnings("ignore:The inplace keyword")
@thorough
@given(whole)
def test_the_f_interval_of_equally_many_runs_is_mcgraw_and_wongs(rows: list[list[float]]) -> None:
    array = np.array(rows)
    interval = icc.one_way_interval(rows, 0.95)
    within = array.std(axis=1).max()
    assume(array.mean(axis=1).std() > 1e-6 and array.size > 4)
    assert (interval is None) == (within < 1e-9)
    if interval is None:
        return
    frame = pd.DataFrame(
        [(document, run, score) for document, row in enumerate(rows) for run, score in enumerate(row)],
        columns=["document", "run", "score"],
    )
    with np.errstate(all="ignore"):
        oracle = pingouin.intraclass_corr(frame, "document", "run", "score").set_index("Type")
    ends = oracle.filter(like="CI").iloc[:, 0]  # its name differs over versions; it rounds to two digits
    assert list(interval) == pytest.approx(list(ends["ICC(1,1)"]), abs=0.0051)
    mean = [icc.of_mean(end, array.shape[1]) for end in interval]
    assert mean == pytest.approx(list(ends["ICC(1,k)"]), rel=0.01, abs=0.0051)


def test_the_f_interval_of_unequal_runs_holds_the_true_value_in_95_of_100_sets() -> None:
    chance, runs, true = np.random.default_rng(23), (1, 2, 3, 5, 5, 9), 0.6
    below = above = 0
    for _ in range(1000):
        rows = [
            (math.sqrt(true) * chance.normal() + math.sqrt(1 - true) * chance.normal(size=number)).tolist()
            for number in runs
        ]
        interval = icc.one_way_interval(rows, 0.95)
        assert interval is not None
        below += true < interval[0]
        above += true > interval[1]
    assert 10 <= below <= 40  # 25, and three standard errors; the seed is fixed
    assert 10 <= above <= 40


@thorough
@given(holed)
def test_an_interval_is_never_narrower_than_its_parts_and_holds_the_value_or_has_a_reason(rows: Rows) -> None:
    for one in (*found(rows).values(), *between(rows).values()):
        low, high = one.interval.low, one.interval.high
        assert (low is None) == (high is None)
        assert (low is None) == (one.interval.reason is not None)
        if low is not None and high is not None and one.value is not None:
            assert math.isfinite(low)
            assert math.isfinite(high)
            assert low <= high <= 1 + 1e-9
    rows_given = [row for row in present(rows) if row]
    exact = icc.one_way_interval(rows_given, 0.95) if len(rows_given) > 1 else None
    single = found(rows)["ICC(1,1)"].interval
    if exact is not None and single.low is not None and single.high is not None:
        assert single.low <= exact[0]
        assert single.high >= exact[1]


def test_the_jackknifes_interval_is_by_students_t_on_the_scale_of_the_log_of_one_minus_alpha() -> None:
    chance = np.random.default_rng(5)
    rows = (chance.normal(size=(12, 1)) + 0.5 * chance.normal(size=(12, 3))).round(1).tolist()
    one = estimates(krippendorff.of_scores(rows), 12, seed=1)[0]
    without = [
        krippendorff_oracle.alpha(
            reliability_data=np.array(rows[:left] + rows[left + 1 :]).T, level_of_measurement="ordinal"
        )
        for left in range(12)
    ]
    logs = np.log(1 - np.array(without))
    error = logs.std() * math.sqrt(11)  # (n - 1) / n times the sum of squares
    assert one.value is not None
    reach = stats.t.ppf(0.975, 11) * error
    expected = [1 - math.exp(math.log(1 - one.value) + side * reach) for side in (1, -1)]
    assert one.jackknife == pytest.approx(expected, rel=1e-9)


# what a resample is


def test_a_draw_of_documents_without_any_spread_has_no_agreement_and_no_rounding_in_its_place() -> None:
    with np.errstate(all="ignore"):
        drawn = icc.agreement([[0.0, 0.0], [0.0, 0.3]])(np.array([[3.0, 0.0]]))
    assert np.isnan(drawn).all()


@thorough
@given(whole, st.data())
def test_a_document_that_is_drawn_twice_counts_as_two(rows: list[list[float]], data: st.DataObject) -> None:
    drawn = data.draw(st.lists(st.integers(0, 3), min_size=len(rows), max_size=len(rows)))
    assume(sum(drawn) > 1)
    repeated = [row for row, times in zip(rows, drawn, strict=True) for _ in range(times)]
    names = [[f"{score}" for score in row] for row in rows]
    repeated_names = [[f"{score}" for score in row] for row in repeated]
    weights, once = np.array([drawn, drawn], dtype=float), np.ones((1, len(repeated)))
    for statistic, expected in (
        (icc.one_way(rows), icc.one_way(repeated)),
        (icc.agreement(rows), icc.agreement(repeated)),
        (krippendorff.of_scores(rows), krippendorff.of_scores(repeated)),
        (krippendorff.of_labels(names), krippendorff.of_labels(repeated_names)),
    ):
        with np.errstate(all="ignore"):
            many, one = statistic(weights), expected(once)
        assert many.shape == (2, 2)
        np.testing.assert_allclose(many, np.column_stack((one, one)), rtol=1e-7, atol=1e-9)


def test_the_same_scores_have_the_same_interval_and_others_have_draws_of_their_own() -> None:
    rows = [[0.1, 0.2, 0.4], [0.5, 0.9, 0.4], [0.3, 0.3, 0.2], [0.8, 0.6, 0.9], [0.2, 0.1, 0.1]]
    first = found(rows)["ICC(1,1)"]
    score_coefficients.cache_clear()
    assert found(rows)["ICC(1,1)"] == first
    other = found([*rows[:-1], [0.2, 0.1, 0.0]])["ICC(1,1)"]
    assert first.seed != other.seed
    assert first.interval.low is not None
    assert first.value is not None
    assert first.interval.low < first.value < (first.interval.high or 0)


# what has no answer


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([], "there are no scores"),
        ([[0.1], [0.4]], "there is only one run"),
        ([[0.1, None], [None, 0.4]], "no document has a value in two runs"),
        ([[0.1, 0.2], [None, None]], "fewer than two documents have values"),
        ([[0.3, 0.3], [0.3, 0.3]], "the values do not differ at all"),
    ],
)
def test_what_is_undefined_has_a_reason_and_neither_value_nor_interval(rows: Rows, reason: str) -> None:
    coefficients = found(rows)
    for name in (*ONE_WAY, *OF_SCORES):
        one = coefficients[name]
        assert (one.value, one.reason, one.interval.low, one.interval.high) == (None, reason, None, None)


def test_documents_alike_in_their_means_have_no_reliable_mean_but_a_single_run_has_its_coefficient() -> None:
    coefficients = found([[0.1, 0.3], [0.2, 0.2], [0.3, 0.1]])
    assert coefficients["ICC(1,1)"].value == pytest.approx(-1)
    assert coefficients["ICC(1,k)"].value is None
    assert coefficients["ICC(1,k)"].reason == "the documents differ too little in their means"


def test_runs_that_agree_wholly_have_a_coefficient_of_one_and_no_interval_that_claims_certainty() -> None:
    coefficients = found([[0.1] * 3, [0.7] * 3, [0.4] * 3, [0.2] * 3, [0.9] * 3])
    for one in coefficients.values():
        assert one.value == pytest.approx(1)
        assert (one.interval.low, one.interval.high, one.reached) == (None, None, None)
        assert one.interval.reason
    labels = by_label([["a", "a"], *([["b", "b"]] * 40)])
    assert [one.value for one in labels.values()] == [1, 1]
    assert all(one.interval.low is None for one in labels.values())


def test_four_documents_are_too_few_to_resample_and_five_are_not() -> None:
    rows = [[0.1, 0.2], [0.5, 0.9], [0.3, 0.4], [0.8, 0.6], [0.2, 0.1]]
    assert found(rows)["ICC(1,1)"].interval.low is not None
    few = found(rows[:4])["ICC(1,1)"]
    assert few.value is not None
    assert (few.interval.low, few.interval.reason) == (None, "fewer than 5 documents are too few to draw from")


def test_an_interval_is_not_made_of_the_resamples_that_happen_to_have_a_value() -> None:
    rare = by_label([["a", "b"], *([["a", "a"]] * 5)])["Krippendorff's alpha, nominal"]
    assert rare.value is not None
    assert rare.interval.low is None
    assert "resamples of the documents it is undefined" in (rare.interval.reason or "")


def test_several_models_are_needed_to_agree_and_two_documents_that_each_has_read() -> None:
    assert {one.reason for one in rater_coefficients(((0.1,), (0.2,)))} == {"there is nobody to agree with"}
    gaps = rater_coefficients(((0.1, None), (0.2, 0.3)))
    assert {one.reason for one in gaps} == {"fewer than two documents have a score of each"}


def test_a_tiny_spread_about_a_large_mean_is_not_lost_and_rounding_is_no_spread() -> None:
    rows = [[1e6 + 0.1, 1e6 + 0.2], [1e6 + 0.5, 1e6 + 0.4], [1e6 + 0.9, 1e6 + 0.7]]
    small = [[0.1, 0.2], [0.5, 0.4], [0.9, 0.7]]
    for name, one in found(small).items():
        assert found(rows)[name].value == pytest.approx(one.value, abs=1e-6)
    for one in found([[0.1 + 0.2, 0.3], [0.3, 0.1 + 0.2]]).values():
        assert one.value is None


# judgement


def test_a_threshold_is_judged_on_the_lower_bound_and_never_on_the_value() -> None:
    def judged(value: float, low: float | None, name: str = CRONBACH) -> float | None:
        interval = Interval(low, 0.99) if low is not None else Interval(None, None, "why")
        return Coefficient(name, value, None, interval, 30, 90).reached

    assert judged(0.89, 0.69) is None
    assert judged(0.89, 0.7) == 0.7
    assert judged(0.89, None) is None
    assert judged(0.95, 0.8, "Krippendorff's alpha, ordinal") == 0.8
    assert judged(0.95, 0.66, "Krippendorff's alpha, nominal") is None
    assert judged(0.95, 0.76, "ICC(1,1)") == 0.75


def test_eight_documents_in_six_runs_need_an_alpha_near_89_for_a_lower_bound_above_70() -> None:
    def low(value: float) -> float:
        return feldt_interval(Alpha(value, None, 8, 0, 6)).low or 0

    assert low(0.88) < 0.7 < low(0.895)


def test_an_offline_methods_draws_are_given_no_interval() -> None:
    one = stability([[0.1, 0.2], [0.4, 0.5], [0.9, 0.7]])
    assert one.value == cronbach_alpha([[0.1, 0.2], [0.4, 0.5], [0.9, 0.7]]).value
    assert (one.interval.low, one.reached) == (None, None)
    assert "not applicable" in (one.interval.reason or "")
