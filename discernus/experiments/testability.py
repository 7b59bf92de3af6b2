"""Whether a hypothesis can be tested: the statistical plan has to name it, and only what the data will have."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from discernus.experiments.corpus import Document
from discernus.experiments.experiment import Hypothesis
from discernus.experiments.framework import Framework
from discernus.experiments.problems import did_you_mean
from discernus.experiments.roles import snake_case
from discernus.experiments.statistical_plan import (
    ANY_DIRECTION,
    CORRELATIONS,
    DIRECTED,
    GROUPED,
    METHODS,
    TWO_GROUPS,
    PlannedTest,
)
from discernus.statistics.formulas import resolve_name

NO_TEST = "no test in the statistical plan refers to it"
NO_VARIABLE = "its test in the statistical plan names no variable"
NO_THRESHOLD = "the plan names no threshold to judge the coefficient's interval by"
NO_DIRECTION = "the plan does not say which direction its words mean"


@dataclass(frozen=True)
class Variable:
    """What a name in the plan stands for: a score or salience, a metric, a column of corpus.csv, or a label."""

    kind: Literal["dimension", "metric", "column", "label"]
    name: str
    role: str = "score"

    @property
    def title(self) -> str:
        """Its name, and its role where that is not the score."""
        return self.name if self.role == "score" else f"{self.name}_{self.role}"


@dataclass(frozen=True)
class Flaw:
    """What is wrong with a test of the plan. ``of`` what it leaves nothing: a result, a verdict, or neither."""

    index: int
    what: str
    cure: str
    of: Literal["result", "verdict", "nothing"] = "result"


def variable_named(name: str, framework: Framework, documents: Sequence[Document]) -> Variable | None:
    """Return what a name stands for, None where neither the framework nor the corpus defines it."""
    metrics = [metric.name for metric in framework.derived_metrics]
    found = resolve_name(name, [dimension.name for dimension in framework.dimensions], metrics)
    if isinstance(found, tuple):
        return Variable("dimension", *found)
    if found is not None:
        return Variable("metric", found)
    column = column_named(name, documents)
    if column is not None:
        return Variable("column", column)
    label = next((each for each in _labels(framework) if snake_case(each) == snake_case(name)), None)
    return None if label is None else Variable("label", label)


def column_named(name: str, documents: Sequence[Document]) -> str | None:
    """Return the column of corpus.csv of that name, None where there is none."""
    return next((column for column in _columns(documents) if snake_case(column) == snake_case(name)), None)


def flaws(tests: Sequence[PlannedTest], framework: Framework, documents: Sequence[Document]) -> tuple[Flaw, ...]:
    """Return everything that is wrong with the tests of a plan, in their order."""
    return tuple(flaw for test in tests for flaw in _flaws(test, framework, documents))


def judged(
    hypotheses: Sequence[Hypothesis], tests: Sequence[PlannedTest], found: Sequence[Flaw]
) -> tuple[Hypothesis, ...]:
    """Return the hypotheses, each with the reason why it is not testable where there is one."""
    return tuple(
        hypothesis.model_copy(update={"untestable": _reason(hypothesis.name, tests, found)})
        for hypothesis in hypotheses
    )


def _reason(name: str, tests: Sequence[PlannedTest], found: Sequence[Flaw]) -> str | None:
    own = [test for test in tests if name in test.hypotheses]
    if not own:
        return NO_TEST
    reasons: dict[str, None] = {}
    for test in own:
        mine = [flaw.what for flaw in found if flaw.index == test.index and flaw.of != "nothing"]
        if not mine:
            return None
        reasons |= dict.fromkeys(mine)
    return "; ".join(reasons)


def _flaws(test: PlannedTest, framework: Framework, documents: Sequence[Document]) -> list[Flaw]:
    """Return what is wrong with one test; what would be said of its verdict alone only where it has a result."""
    found = list(_all_flaws(test, framework, documents))
    return [flaw for flaw in found if flaw.of == "result"] or found


def _all_flaws(test: PlannedTest, framework: Framework, documents: Sequence[Document]) -> Iterator[Flaw]:
    for what, cure in test.odd:
        yield Flaw(test.index, what, cure)
    if test.method is None:
        cure = did_you_mean(
            test.written_method or "", METHODS, f"name one of {', '.join(dict.fromkeys(METHODS.values()))}"
        )
        named = test.written_method
        yield Flaw(test.index, f"'{named}' is no test known here" if named else "the test names no method", cure)
    if not test.variables:
        yield Flaw(test.index, NO_VARIABLE, "name what is tested: `variable: …`")
    for name in test.variables:
        yield from _variable_flaws(test, name, framework, documents)
    for name in test.groups:
        yield from _group_flaws(test, name, framework, documents)
    paired = None if test.pairs is None else column_named(test.pairs, documents)
    if paired is not None and sum(size > 1 for size in Counter(_cells(paired, documents)).values()) < 2:
        what = f"fewer than two values of the column '{paired}' pair two texts"
        yield Flaw(test.index, what, "give the two texts of a pair the same value")
    if test.pairs is not None and paired is None:
        cure = did_you_mean(test.pairs, _columns(documents), f"add the column '{test.pairs}' to corpus.csv")
        yield Flaw(test.index, f"the pairs '{test.pairs}' are no column of corpus.csv", cure)
    meant = [variable_named(name, framework, documents) for name in test.variables]
    for name, variable in zip(test.variables, meant, strict=True):
        if variable is not None and meant.count(variable) > 1:
            what = f"both variables are one and the same, '{name}'"
            yield Flaw(test.index, what, "name two different ones")
            break
    for variable in filter(None, meant):
        yield from _margin_flaws(test, variable, framework)
    yield from _method_flaws(test)
    yield from _direction_flaws(test, documents)


def _variable_flaws(
    test: PlannedTest, name: str, framework: Framework, documents: Sequence[Document]
) -> Iterator[Flaw]:
    variable = variable_named(name, framework, documents)
    if variable is None:
        dimensions = [dimension.name for dimension in framework.dimensions]
        metrics = [metric.name for metric in framework.derived_metrics]
        known = [*dimensions, *(f"{dimension}_score" for dimension in dimensions), *metrics]
        what = f"'{name}' is defined neither by the framework nor by the corpus"
        yield Flaw(test.index, what, did_you_mean(name, known, f"use one of {', '.join([*dimensions, *metrics])}"))
    elif variable.role not in {"score", "salience"}:
        what = f"'{name}' is the model's own {variable.role}, which is no measure of a text"
        yield Flaw(test.index, what, f"test {variable.name} itself")
    elif test.method == "chi_square":
        if variable.kind in {"dimension", "metric"}:
            what = f"chi-square counts labels, and '{name}' is a number"
            yield Flaw(test.index, what, "name a label or a column of corpus.csv, or another test")
    elif test.method == "consistency" and variable.role == "salience":
        what = f"consistency is computed of scores, and '{name}' is a salience"
        yield Flaw(test.index, what, f"test {variable.name} itself")
    elif variable.kind == "label":
        yield Flaw(test.index, f"'{name}' is a label, and the test takes numbers", "write `test: chi_square`")
    elif variable.kind == "column":
        wrong = next((cell for cell in _cells(variable.name, documents) if number_in(cell) is None), None)
        if wrong is not None:
            what = f"the column '{name}' holds '{wrong}', which is no number"
            yield Flaw(test.index, what, "test a dimension, a metric or a column of numbers")


def _group_flaws(test: PlannedTest, name: str, framework: Framework, documents: Sequence[Document]) -> Iterator[Flaw]:
    column = column_named(name, documents)
    if column is None and any(snake_case(label) == snake_case(name) for label in _labels(framework)):
        what = f"circular: the groups '{name}' are a label that the same model gives as it scores"
        yield Flaw(test.index, what, f"have people code the column '{name}' of corpus.csv", "verdict")
        return
    if column is None:
        what = f"the groups '{name}' are neither a column of corpus.csv nor a label of the framework"
        known = [*_columns(documents), *_labels(framework)]
        yield Flaw(test.index, what, did_you_mean(name, known, f"add the column '{name}' to corpus.csv"))
        return
    sizes = Counter(_cells(column, documents))
    absent = [group for group in test.compare if group not in sizes]
    for group in absent:
        what = f"no text of corpus.csv has '{group}' as its {column}"
        yield Flaw(test.index, what, did_you_mean(group, sizes, f"the groups are {', '.join(sorted(sizes))}"))
    if len(sizes) < 2:
        what = f"the column '{column}' parts the texts into no groups"
        yield Flaw(test.index, what, "name a column with two values or more")
    elif _compares_two(test) and not test.compare and len(sizes) > 2:
        what = f"the test compares two groups, and '{column}' has {len(sizes)}: {', '.join(sorted(sizes))}"
        yield Flaw(test.index, what, "write `compare: [one, other]`, or name a test for several groups")
    elif not absent and test.method == "mixed_model":
        yield from _too_few_for_a_model(test, {group: sizes[group] for group in test.compare or sorted(sizes)})
    elif not absent and test.method in TWO_GROUPS:
        yield from _too_small(test, [sizes[group] for group in test.compare or sizes])


def _too_small(test: PlannedTest, sizes: Sequence[int]) -> Iterator[Flaw]:
    """Say of a plan what no data that it can bring will change; it runs all the same."""
    n, m = sizes
    against = f"{n} texts against {m}"
    if test.method == "mann_whitney" and 2 / math.comb(n + m, n) >= test.alpha:
        what = f"no data of this size could be significant: with {against} p is {2 / math.comb(n + m, n):.3g} at least"
        yield Flaw(test.index, what, "add texts to the smaller group, or take it as an example of form", "nothing")
    elif test.method != "mann_whitney" and min(n, m) < 2:
        what = f"the test will have no result: {against}, and it takes two of each"
        yield Flaw(test.index, what, "add texts to the smaller group", "nothing")


def _too_few_for_a_model(test: PlannedTest, sizes: Mapping[str, int]) -> Iterator[Flaw]:
    small = [group for group, size in sizes.items() if size < 2]
    if small:
        what = f"the test will have no result: '{small[0]}' has {sizes[small[0]]} text, and it takes two of each group"
        yield Flaw(test.index, what, "add texts to the smaller group", "nothing")


def _method_flaws(test: PlannedTest) -> Iterator[Flaw]:
    method = test.method
    if method is None:
        return
    if method in GROUPED and len(test.groups) != 1:
        what = f"the test {method} takes one column of groups, and {len(test.groups) or 'none'} is named"
        yield Flaw(test.index, what, "write `groups: <column of corpus.csv>`")
    if method in CORRELATIONS and (len(test.variables) != 2 or test.groups):
        what = f"a {method} correlation takes two variables and no groups"
        yield Flaw(test.index, what, "write `variables: [one, other]`")
    if method == "paired_t" and not _pairs_variables(test) and not (test.groups and test.pairs):
        what = "a paired_t test takes two variables, or groups and the column that pairs their texts"
        yield Flaw(test.index, what, "write `variables: [one, other]`, or `groups: …` and `pairs: …`")
    if method == "consistency" and test.threshold is None:
        yield Flaw(test.index, NO_THRESHOLD, "write `threshold: …`, such as 0.7", "verdict")
    if method == "consistency" and test.threshold is not None and test.threshold >= 1:
        yield Flaw(test.index, f"no coefficient reaches a threshold of {test.threshold:g}", "write one below 1")
    if method == "equivalence" and not (test.margin is not None and test.margin > 0 and test.justification):
        what = "an equivalence test needs a margin above 0 in units of the scale, justified beforehand"
        yield Flaw(test.index, what, "write `margin: …` and `justification: …`")


def _margin_flaws(test: PlannedTest, variable: Variable, framework: Framework) -> Iterator[Flaw]:
    """Say of a margin that every difference on the scale lies within it: equivalence would be certain beforehand."""
    for dimension in framework.dimensions:
        width = dimension.high - dimension.low
        same = (variable.kind, variable.name) == ("dimension", dimension.name)
        if same and test.margin is not None and test.margin >= width:
            what = f"a margin of {test.margin:g} is as wide as the scale of '{dimension.name}', {width:g}"
            yield Flaw(test.index, what, "write the smallest difference that would matter")


def _direction_flaws(test: PlannedTest, documents: Sequence[Document]) -> Iterator[Flaw]:
    expect, method = test.expect, test.method
    if expect == ANY_DIRECTION or method is None:
        return
    if method not in DIRECTED and not _models_two_groups(test, documents):
        if expect is not None:
            what = f"the test {method} knows no direction, and '{expect}' is expected"
            yield Flaw(test.index, what, f"leave expect out, or write `expect: {ANY_DIRECTION}`")
        return
    known = ("positive", "negative") if method in CORRELATIONS else test.compare
    ways = "positive or negative" if method in CORRELATIONS else "one > other"
    cure = f"write `expect: {ways}`, or `expect: {ANY_DIRECTION}` where the words mean no direction"
    if expect is None:
        yield Flaw(test.index, NO_DIRECTION, cure, "verdict")
    elif expect not in known or (_pairs_variables(test) and set(test.compare) != set(test.variables)):
        yield Flaw(test.index, f"'expect: {expect}' says no direction of this test", cure)


def _compares_two(test: PlannedTest) -> bool:
    return test.method in TWO_GROUPS or test.method == "paired_t"


def _models_two_groups(test: PlannedTest, documents: Sequence[Document]) -> bool:
    """Return whether a mixed model compares two groups, so that it has a direction as a t test has."""
    if test.method != "mixed_model" or len(test.groups) != 1:
        return False
    column = column_named(test.groups[0], documents)
    return bool(test.compare) or (column is not None and len(set(_cells(column, documents))) == 2)


def _pairs_variables(test: PlannedTest) -> bool:
    return test.method == "paired_t" and len(test.variables) == 2 and not test.groups


def number_in(cell: str) -> float | None:
    """Return the finite number that a cell of corpus.csv holds, None where it holds none."""
    try:
        value = float(cell)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _cells(column: str, documents: Sequence[Document]) -> list[str]:
    return [document.metadata[column] for document in documents if column in document.metadata]


def _columns(documents: Sequence[Document]) -> list[str]:
    return list(dict.fromkeys(column for document in documents for column in document.metadata))


def _labels(framework: Framework) -> list[str]:
    return [field.path[-1] for field in framework.contract.fields if field.role == "label"]
