"""Formulas of frameworks: computed exactly, missing with a reason, and never executed."""

import csv
import json
import math
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discernus.statistics.formulas import (
    Computed,
    FormulaError,
    compute,
    cycles,
    named_values,
    names_of,
    resolve_name,
)

DIMENSIONS = ("hope", "fear", "tribal_dominance")


@dataclass(frozen=True)
class Metric:
    name: str
    formula: str


def value_of(formula: str, **values: float) -> Computed:
    return compute([Metric("m", formula)], values)["m"]


def arithmetic() -> st.SearchStrategy[str]:
    numbers = st.floats(0, 100, allow_nan=False).map(repr) | st.sampled_from(["a", "b", "c"])

    def larger(part: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        return (
            st.tuples(part, st.sampled_from(["+", "-", "*", "/"]), part).map(lambda p: f"({p[0]} {p[1]} {p[2]})")
            | st.tuples(part, part).map(lambda p: f"(abs({p[0]}) ** {p[1]})")
            | st.tuples(st.sampled_from(["min", "max"]), part, part).map(lambda p: f"{p[0]}({p[1]}, {p[2]})")
            | part.map(lambda inner: f"abs({inner})")
            | part.map(lambda inner: f"-{inner}")
        )

    return st.recursive(numbers, larger, max_leaves=8)


@given(arithmetic(), st.tuples(*[st.floats(-10, 10)] * 3))
def test_a_formula_gives_what_python_gives_or_a_reason(formula: str, inputs: tuple[float, float, float]) -> None:
    values = dict(zip("abc", inputs, strict=True))
    try:
        expected = eval(formula, {"min": min, "max": max, "abs": abs}, values)
    except ArithmeticError:
        expected = None
    computed = value_of(formula, **values)
    if expected is None or not math.isfinite(expected):
        assert computed.value is None
        assert computed.reason
    else:
        assert computed.value == pytest.approx(expected, rel=1e-12)
        assert computed.reason is None


@pytest.mark.parametrize(
    ("formula", "expected"),
    [
        ("min(a, b) × |a − b|", 2.0),
        ("|a - |b - 4|| * 2", 0.0),
        ("mean(a, b, 5)", 3.0),
        ("mean([a, b, 5])", 3.0),
        ("sum(a, b) ÷ 2", 2.0),
        ("sqrt(pow(b, 2)) ** 2", 9.0),
        ("round(b / 7, 2)", 0.43),
        ("round(b / 2)", 2.0),
        ("a\n + b", 4.0),
    ],
)
def test_the_signs_and_functions_of_frameworks_are_known(formula: str, expected: float) -> None:
    computed = value_of(formula, a=1, b=3)
    assert computed.value == pytest.approx(expected)
    assert computed.reason is None


@pytest.mark.parametrize(
    ("formula", "reason"),
    [
        ("a / (a - a)", "division by zero"),
        ("0 ** -1", "division by zero"),
        ("absent + a", "no value for 'absent'"),
        ("endless + a", "'endless' is not a finite number"),
        ("10 ** 300 * 10 ** 300", "not a finite number"),
        ("10 ** 10 ** 10", "too large"),
        ("sqrt(-a)", "square root of a negative number"),
        ("(-a) ** 0.5", "negative number to a fractional power"),
    ],
)
def test_what_cannot_be_computed_is_missing_with_a_reason(formula: str, reason: str) -> None:
    computed = value_of(formula, a=1, endless=math.inf)
    assert computed.value is None
    assert reason in (computed.reason or "")


@pytest.mark.parametrize(
    "formula",
    [
        "__import__('os').system('true')",
        "().__class__.__bases__",
        "(lambda: 1)()",
        "[x for x in a]",
        "a if a else b",
        "a < b",
        "'x' * 9",
        "f'{a}'",
        "a.b()",
        "a[0]",
        "open('x')",
        "min(a, key=b)",
        "abs(a, b)",
        "a ^ 2",
        "True",
        "1j",
        "",
        "a +",
        "a; b",
        "|a",
        "9" * 400,
        "(" * 500 + "1" + ")" * 500,
        "a + " * 4000 + "a",
        "a\x00b",
    ],
)
def test_nothing_but_a_formula_is_read(formula: str) -> None:
    with pytest.raises(FormulaError):
        names_of(formula)
    assert value_of(formula, a=1, b=2).value is None


def test_names_are_returned_as_written() -> None:
    formula = "min(dimensional_scores.fear.raw_score, hope_score) * derived_metrics.tension + Fear"
    expected = {"dimensional_scores.fear.raw_score", "hope_score", "derived_metrics.tension", "Fear"}
    assert names_of(formula) == expected


@pytest.mark.parametrize(
    ("name", "meaning"),
    [
        ("hope", ("hope", "score")),
        ("hope_score", ("hope", "score")),
        ("Tribal_Dominance_Score", ("tribal_dominance", "score")),
        ("hope_salience", ("hope", "salience")),
        ("hope_confidence", ("hope", "confidence")),
        ("scores.hope", ("hope", "score")),
        ("salience.hope", ("hope", "salience")),
        ("dimensions.hope.raw_score", ("hope", "score")),
        ("dimensional_scores.hope.raw_score", ("hope", "score")),
        ("dimensional_scores.hope.salience", ("hope", "salience")),
        ("dimensional_scores.hope_score", ("hope", "score")),
        ("tension", "tension"),
        ("derived_metrics.tension", "tension"),
        ("derived_metrics.hope", None),
        ("hop_score", None),
        ("dominance", None),
        ("fear.hope", None),
        ("dimensions.hope.colour", None),
    ],
)
def test_every_style_of_name_finds_its_dimension_and_nothing_is_guessed(
    name: str, meaning: tuple[str, str] | str | None
) -> None:
    assert resolve_name(name, DIMENSIONS, ("tension",)) == meaning


def test_metrics_are_computed_in_the_order_of_their_dependence() -> None:
    metrics = [Metric("c", "derived_metrics.b * 2"), Metric("b", "a + 1"), Metric("a", "hope_score")]
    assert compute(metrics, {"hope_score": 0.5}) == {"c": Computed(3.0), "b": Computed(1.5), "a": Computed(0.5)}


def test_a_metric_over_a_missing_one_says_which_is_missing() -> None:
    metrics = [Metric("ratio", "hope / fear"), Metric("twice", "ratio * 2")]
    computed = compute(metrics, {"hope": 1, "fear": 0})
    assert computed["twice"] == Computed(None, "'ratio' is missing: division by zero")


def test_metrics_that_refer_to_themselves_are_missing_and_leave_the_others_alone() -> None:
    metrics = [
        Metric("a", "b + 1"),
        Metric("b", "a + 1"),
        Metric("after", "a"),
        Metric("own", "own"),
        Metric("ok", "1"),
    ]
    computed = compute(metrics, {})
    assert cycles(metrics) == (("a", "b"), ("own",))
    assert computed["a"] == Computed(None, "it refers to itself: a → b → a")
    assert computed["after"].value is None
    assert computed["ok"] == Computed(1.0)


def test_a_value_that_a_model_reports_for_a_metric_is_never_used() -> None:
    assert compute([Metric("tension", "hope"), Metric("m", "tension")], {"hope": 0.2, "tension": 9.0})["m"].value == 0.2


def test_the_published_metrics_are_reproduced(shared: Path) -> None:
    case = shared / "published_stats" / "08_pdaf_v10_bolsonaro_20250902"
    metrics = [Metric(name, formula) for name, formula in json.loads((case / "formulas.json").read_text()).items()]
    scores: dict[str, dict[tuple[str, str], float]] = {}
    rows = list(csv.DictReader((case / "raw_scores.csv").open(encoding="utf-8")))
    key = next(column for column in rows[0] if column not in {"dimension", "raw_score", "salience", "confidence"})
    for row in rows:
        own = scores.setdefault(row[key], {})
        own[row["dimension"], "score"] = float(row["raw_score"])
        own[row["dimension"], "salience"] = float(row["salience"])
    dimensions = {row["dimension"] for row in rows}
    expected = list(csv.DictReader((case / "expected_derived_metrics.csv").open(encoding="utf-8")))
    assert len(expected) > 1
    for row in expected:
        computed = compute(metrics, named_values(metrics, scores[row[key]], dimensions))
        for metric in metrics:
            assert computed[metric.name].value == pytest.approx(float(row[metric.name]), rel=1e-12, abs=1e-12)


@pytest.mark.parametrize(
    ("formula", "expected"),
    [
        ("numpy.var([a, b, c])", 14 / 9),
        ("np.std([a, b, c])", math.sqrt(14 / 9)),
        ("statistics.pvariance(a, b, c)", 14 / 9),
        ("variance(a, b, c)", 7 / 3),
        ("statistics.stdev([a, b, c])", math.sqrt(7 / 3)),
        ("np.mean([a, b, c]) + Math.abs(-1)", 10 / 3),
        ("median(a, b, c)", 2.0),
    ],
)
def test_functions_of_known_libraries_give_what_those_libraries_give(formula: str, expected: float) -> None:
    assert value_of(formula, a=1, b=2, c=4).value == pytest.approx(expected, rel=1e-15)


@pytest.mark.parametrize("formula", ["std(a, b)", "var([a, b])", "numpy.variance(a, b)", "scipy.mean(a)", "os.abs(a)"])
def test_a_function_that_could_mean_two_things_or_is_nobodys_is_refused(formula: str) -> None:
    with pytest.raises(FormulaError, match=r"function|divides by n or by n - 1"):
        names_of(formula)


def test_the_spread_of_one_value_is_refused_where_it_divides_by_n_minus_one() -> None:
    with pytest.raises(FormulaError, match="stdev is given 1 values"):
        names_of("stdev(a)")
