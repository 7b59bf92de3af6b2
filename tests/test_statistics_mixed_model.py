"""The mixed model against lmerTest, against the test on documents' means where both must agree, and without an answer.

The figures of lmerTest 3.1-3 (lme4 1.1-31) come from R, with a row for each run in ``d``::

    m <- lmer(score ~ 0 + group + (1 | document), d, REML = TRUE,
              control = lmerControl(optCtrl = list(ftol_abs = 1e-14, xtol_abs = 1e-14)))
    contest1D(m, c(1, -1), confint = TRUE)                    # two groups; c(1, -1, 0) and so on for a pair of three
    contestMD(m, t(contr.helmert(3) / rep(sqrt(c(2, 6)), each = 3)))               # three groups
    as.data.frame(VarCorr(m))$vcov
"""

from __future__ import annotations

import math
import shutil
import subprocess
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import optimize, stats

from discernus.statistics import group_tests
from discernus.statistics.corrections import holm
from discernus.statistics.mixed_model import SINGULAR, mixed_model
from discernus.statistics.outcome import Effect, Outcome

Groups = dict[str, list[list[float]]]

TWO: Groups = {
    "north": [[0.9, 0.85, 0.8], [0.7, 0.75], [0.6, 0.65, 0.7, 0.75], [0.8]],
    "south": [[0.2, 0.3], [0.5, 0.45, 0.55], [0.35, 0.3, 0.4, 0.45], [0.6, 0.5], [0.25]],
}
THREE: Groups = {
    "a": [[0.1, 0.2, 0.15], [0.4, 0.35], [0.3]],
    "b": [[0.5, 0.6], [0.7, 0.65, 0.75, 0.6], [0.4, 0.5, 0.45], [0.65]],
    "c": [[0.3, 0.5, 0.4], [0.6, 0.55], [0.45, 0.35], [0.2, 0.25, 0.3, 0.2, 0.3]],
}
NOISE: Groups = {"a": [[0.1, 0.9], [0.9, 0.1, 0.5], [0.5, 0.4]], "b": [[0.2, 0.8, 0.3], [0.9, 0.3], [0.6, 0.5]]}

tenths = st.integers(-10, 10).map(lambda number: number / 10)
unequal = st.lists(st.lists(st.lists(tenths, min_size=1, max_size=4), min_size=1, max_size=4), min_size=2, max_size=3)
equal = st.integers(2, 4).flatmap(
    lambda runs: st.lists(
        st.lists(st.lists(tenths, min_size=runs, max_size=runs), min_size=2, max_size=4), min_size=2, max_size=3
    )
)
thorough = settings(max_examples=60, deadline=None)


def named(lists: list[list[list[float]]]) -> Groups:
    return {f"g{index}": documents for index, documents in enumerate(lists)}


def ends(effect: Effect | None) -> list[float]:
    assert effect is not None
    assert effect.interval is not None
    return [effect.value, effect.interval.low, effect.interval.high]


def test_two_groups_of_unequal_runs_are_what_lmertest_says() -> None:
    found = mixed_model(TWO, 0.05)
    assert [found.statistic, *found.df] == pytest.approx([4.788431879, 6.857220531], rel=1e-6)
    assert found.p == pytest.approx(0.002109149464, rel=1e-6)
    assert ends(found.estimate) == pytest.approx([0.3717556004, 0.1873974531, 0.5561137477], rel=1e-6)
    assert "between documents of a group 0.01161, within a document over runs 0.003568" in found.notes[0]
    assert found.effect is not None
    assert found.effect.value == pytest.approx(0.3717556004 / math.sqrt(0.011611207851 + 0.003567556552), rel=1e-6)


def test_three_groups_of_unequal_runs_and_their_pairs_are_what_lmertest_says() -> None:
    found = mixed_model(THREE, 0.05)
    assert [found.statistic, *found.df] == pytest.approx([5.62885771098, 2, 8.4157441831], rel=1e-6)
    assert found.p == pytest.approx(0.0280663782311, rel=1e-6)
    assert [(pair.first, pair.second) for pair in found.pairs] == [("a", "b"), ("a", "c"), ("b", "c")]
    raw = [0.009773884755, 0.1930540488, 0.07082870785]
    assert [pair.p for pair in found.pairs] == pytest.approx(holm(raw), rel=1e-6)
    intervals = [
        [-0.3073142407, -0.5194088549, -0.09521962659],
        [-0.1308998885, -0.34236267, 0.08056289297],
        [0.1764143522, -0.01881579284, 0.3716444972],
    ]
    for pair, expected in zip(found.pairs, intervals, strict=True):
        assert ends(pair.estimate) == pytest.approx(expected, rel=1e-6)


def test_a_singular_fit_is_said_and_runs_are_not_taken_for_cases() -> None:
    """lmerTest: variance 0, "boundary (singular) fit", t = -0.1784 with 12 degrees of freedom: 14 runs less 2."""
    found = mixed_model(NOISE, 0.05)
    assert (found.p, found.statistic, found.reason) == (None, None, SINGULAR)


def means(groups: Groups) -> dict[str, list[float]]:
    return {name: [fmean(runs) for runs in documents] for name, documents in groups.items()}


def agree(one: Outcome, other: Outcome) -> None:
    assert one.statistic == pytest.approx(other.statistic, rel=1e-7, abs=1e-9)
    assert list(one.df) == pytest.approx(list(other.df), rel=1e-6)
    assert one.p == pytest.approx(other.p, rel=1e-6, abs=1e-12)


@thorough
@given(equal)
def test_with_equally_many_runs_it_is_the_analysis_of_variance_of_documents_means(
    lists: list[list[list[float]]],
) -> None:
    groups, runs = named(lists), len(lists[0][0])
    squares = [(np.array(documents) - np.mean(documents, axis=1, keepdims=True)) ** 2 for documents in lists]
    within = sum(float(one.sum()) for one in squares) / sum(len(documents) * (runs - 1) for documents in lists)
    spread = sum(float(np.var([fmean(one) for one in documents]) * len(documents)) for documents in lists)
    between = runs * spread / sum(len(documents) - 1 for documents in lists)
    found = mixed_model(groups, 0.05)
    if within < 1e-12:
        assert "no document varies" in (found.reason or "")
    elif between <= within * (1 - 1e-9):
        assert found.reason == SINGULAR
    elif between > within * (1 + 1e-6):
        expected = group_tests.anova(means(groups), 0.05)
        if len(lists) == 2:
            assert found.statistic is not None
            assert (found.statistic**2, 1, *found.df) == pytest.approx((expected.statistic, *expected.df), rel=1e-6)
            assert found.p == pytest.approx(expected.p, rel=1e-6, abs=1e-12)
        else:
            agree(found, expected)


def test_two_groups_of_equally_many_runs_have_students_t_and_interval() -> None:
    groups: Groups = {"a": [[0.1, 0.2], [0.6, 0.4], [0.3, 0.35]], "b": [[0.5, 0.6], [0.9, 0.8], [0.7, 0.6], [0.3, 0.4]]}
    found, oracle = mixed_model(groups, 0.05), stats.ttest_ind(*means(groups).values())
    assert (found.statistic, found.p) == pytest.approx((oracle.statistic, oracle.pvalue), rel=1e-9)
    assert found.df == pytest.approx((5.0,), rel=1e-9)
    low, high = oracle.confidence_interval(0.95)
    assert ends(found.estimate)[1:] == pytest.approx([low, high], rel=1e-9)


def restricted_deviance(groups: Groups, between: float, within: float) -> float:
    """Return minus twice the log of the restricted likelihood by its textbook form, with whole matrices."""
    documents = [(index, runs) for index, own in enumerate(groups.values()) for runs in own]
    y = np.concatenate([runs for _, runs in documents])
    x = np.concatenate([np.tile(np.eye(len(groups))[index], (len(runs), 1)) for index, runs in documents])
    place = np.repeat(np.arange(len(documents)), [len(runs) for _, runs in documents])
    v = between * (place[:, None] == place) + within * np.eye(len(y))
    inverse = np.linalg.inv(v)
    information = x.T @ inverse @ x
    rest = y - x @ np.linalg.solve(information, x.T @ inverse @ y)
    return float(np.linalg.slogdet(v)[1] + np.linalg.slogdet(information)[1] + rest @ inverse @ rest)


@thorough
@given(unequal)
def test_unequal_runs_give_a_result_at_the_highest_likelihood_or_a_reason(lists: list[list[list[float]]]) -> None:
    groups = named(lists)
    found = mixed_model(groups, 0.05)
    assert (found.p is None) == (found.reason is not None)
    few = any(len(documents) < 2 for documents in lists)
    no_noise = all(len(set(runs)) == 1 for documents in lists for runs in documents)
    if few or no_noise:
        assert found.p is None
        return
    starts = [(0.0, -4.6), (0.05, -2.3), (2.0, -0.7)]

    def deviance(at: Any) -> float:
        return restricted_deviance(groups, math.exp(at[1]) * abs(at[0]), math.exp(at[1]))

    best = min((optimize.minimize(deviance, start, method="Nelder-Mead") for start in starts), key=lambda one: one.fun)
    if found.p is None:
        assert found.reason == SINGULAR
        at_zero = optimize.minimize_scalar(lambda at: deviance((0, at)), bounds=(-20, 5), method="bounded")
        assert at_zero.fun <= best.fun + 1e-3
        return
    assert math.isfinite(found.p)
    assert all(math.isfinite(df) and df > 0 for df in found.df)
    shown = found.notes[0].replace(",", "").split()
    between, within = float(shown[7]), float(shown[-1])
    assert restricted_deviance(groups, between, within) <= best.fun + 1e-3


@thorough
@given(unequal)
def test_the_order_of_groups_and_documents_and_runs_changes_nothing(lists: list[list[list[float]]]) -> None:
    assume(len(lists) == 3)
    found = mixed_model(named(lists), 0.05)
    turned = dict(reversed(named([[runs[::-1] for runs in documents[::-1]] for documents in lists]).items()))
    other = mixed_model(turned, 0.05)
    assert (found.p is None) == (other.p is None)
    if found.p is not None:
        agree(found, other)


@pytest.mark.parametrize(
    ("groups", "reason"),
    [
        ({"a": [[0.1, 0.2], [0.3, 0.4]]}, "fewer than two groups"),
        ({"a": [[0.1, 0.2], [0.3, 0.4]], "b": []}, "group 'b' has none of the two documents"),
        ({"a": [[0.1, 0.2], [0.3, 0.4]], "b": [[0.1, 0.3]]}, "group 'b' has 1 of the two documents"),
        ({"a": [[0.1], [0.3]], "b": [[0.1], [0.2]]}, "no document has a value in two runs"),
        ({"a": [[0.1, 0.1], [0.3]], "b": [[0.4, 0.4], [0.2]]}, "no document varies over its runs"),
        ({"a": [[0.1 + 0.2, 0.3], [0.4]], "b": [[0.9], [0.2]]}, "no document varies over its runs"),
    ],
)
def test_what_has_no_answer_has_a_reason_and_no_number(groups: Groups, reason: str) -> None:
    found = mixed_model(groups, 0.05)
    assert (found.p, found.statistic, found.estimate) == (None, None, None)
    assert reason in (found.reason or "")


PROGRAM = """
suppressMessages(library(lmerTest))
d <- read.csv("runs.csv")
tight <- lmerControl(optCtrl = list(ftol_abs = 1e-14, xtol_abs = 1e-14))
m <- lmer(score ~ 0 + group + (1 | document), d, control = tight)
cat(as.numeric(contest1D(m, c(1, -1))), sep = "\\n")
"""


def r_lacks_lmertest() -> str | None:
    if shutil.which("Rscript") is None:
        return "R is not installed"
    asked = subprocess.run(["Rscript", "-e", "library(lmerTest)"], capture_output=True, check=False)
    return "R has no package lmerTest" if asked.returncode else None


def test_random_groups_are_what_lmertest_says_where_it_is_installed(tmp_path: Path) -> None:
    if (why := r_lacks_lmertest()) is not None:
        pytest.skip(why)
    chance = np.random.default_rng(17)
    for size in (3, 8):
        groups: Groups = {
            name: [
                (at + chance.normal(0, 0.3) + chance.normal(0, 0.1, chance.integers(1, 6))).tolist()
                for _ in range(size)
            ]
            for name, at in (("a", 0.2), ("b", 0.5))
        }
        rows = [
            f"{name},{name}{number},{value!r}"
            for name, documents in groups.items()
            for number, runs in enumerate(documents)
            for value in runs
        ]
        (tmp_path / "runs.csv").write_text("\n".join(["group,document,score", *rows]))
        said = subprocess.run(["Rscript", "-e", PROGRAM], cwd=tmp_path, capture_output=True, check=True, text=True)
        estimate, _, df, t, p = map(float, said.stdout.split())
        found = mixed_model(groups, 0.05)
        assert [ends(found.estimate)[0], found.statistic, *found.df] == pytest.approx([estimate, t, df], rel=1e-4)
        assert found.p == pytest.approx(p, rel=1e-3)
