"""What docs/framework-spec.md says of frameworks holds: its example is read, its formulas give what it says."""

import re
from pathlib import Path
from typing import get_args

import pytest

from discernus.experiments.framework import DerivedMetric
from discernus.experiments.framework_file import TOP_KEYS, parse_framework
from discernus.extraction.extract import Route
from discernus.statistics import formulas

PAGE = (Path(__file__).resolve().parents[1] / "docs" / "framework-spec.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| `(.+)` \| (\S+) \| (\S+) \| (-?[\d.]+|missing: .+) \|$", PAGE, re.MULTILINE)


def test_the_documented_framework_is_read() -> None:
    [example] = re.findall(r"^````markdown\n(.*?)^````", PAGE, re.DOTALL | re.MULTILINE)
    framework, problems = parse_framework(example.encode(), "framework.md")
    assert problems == ()
    assert framework is not None
    assert [(each.name, len(each.markers)) for each in framework.dimensions] == [("storm", 2), ("calm", 2)]


def test_every_key_of_the_current_form_is_documented() -> None:
    keys, _, _ = PAGE.partition("## What a model is shown")
    assert set(re.findall(r"^\| `(\w+)` \|", keys, re.MULTILINE)) == set(TOP_KEYS)


def test_every_way_of_reading_an_answer_is_documented_in_its_order() -> None:
    assert tuple(re.findall(r"^\d\. `(\w+)`", PAGE, re.MULTILINE)) == get_args(Route)


@pytest.mark.parametrize(("formula", "storm", "calm", "gives"), ROWS)
def test_a_documented_formula_gives_what_is_said(formula: str, storm: str, calm: str, gives: str) -> None:
    metric = DerivedMetric(name="m", formula=formula.replace(r"\|", "|"))
    given = {("storm", "score"): storm, ("calm", "score"): calm}
    scores = {meaning: float(value) for meaning, value in given.items() if value != "missing"}
    found = formulas.compute([metric], formulas.named_values([metric], scores, ["storm", "calm"]))["m"]
    if gives.startswith("missing: "):
        assert (found.value, found.reason) == (None, gives.removeprefix("missing: "))
    else:
        assert found.value == pytest.approx(float(gives), abs=1e-12)


def test_the_documented_formulas_and_functions_are_all_there() -> None:
    assert len(ROWS) == 8
    table = PAGE[PAGE.index("| function | is |") : PAGE.index("Behind `math.`")]
    documented = set(re.findall(r"`(\w+)\(", table))
    assert documented == {"abs", "min", "max", "sum", "mean", "median", "sqrt", "pow", "round"} | {
        "pvariance",
        "pstdev",
        "variance",
        "stdev",
    }
    for name in documented:
        arguments = {"pow": "a, b", "abs": "a", "sqrt": "a", "round": "a"}.get(name, "a, b")
        assert formulas.names_of(f"{name}({arguments})") == frozenset(arguments.split(", "))


@pytest.mark.parametrize(
    ("name", "meaning"),
    [
        *((name, ("storm", "score")) for name in ("storm", "storm_score", "scores.storm", "storm.raw_score")),
        ("dimensions.storm.raw_score", ("storm", "score")),
        ("dimensional_scores.storm.salience", ("storm", "salience")),
        ("storm_confidence", ("storm", "confidence")),
        ("derived_metrics.balance", "balance"),
    ],
)
def test_the_documented_names_stand_for_what_is_said(name: str, meaning: tuple[str, str] | str) -> None:
    assert f"`{name}`" in PAGE
    assert formulas.resolve_name(name, ["storm", "calm"], ["balance"]) == meaning
