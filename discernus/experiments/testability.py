"""Whether a hypothesis can be tested: the statistical plan has to name it, and only what the data will have.

A plan's entry may hold its settings directly or below ``test`` and ``params``, as the older form does.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from discernus.experiments.experiment import Hypothesis
from discernus.experiments.framework import Framework
from discernus.experiments.problems import did_you_mean
from discernus.experiments.roles import snake_case
from discernus.statistics.formulas import resolve_name

VARIABLE_KEYS = {
    "variable",
    "variables",
    "data_source",
    "data_sources",
    "dependent_variable",
    "dependent_variables",
    "independent_variable",
    "dimension",
    "dimensions",
    "metric",
    "metrics",
}
GROUP_KEYS = {"grouping_variable", "grouping_variables", "group_by", "grouping", "factor", "factors"}
REFERENCE_KEYS = ("hypothesis", "hypothesis_ref", "hypotheses")


@dataclass(frozen=True)
class Test:
    """One entry of the plan: the hypotheses it tests, and the variables and groups it names."""

    index: int
    hypotheses: tuple[str, ...]
    variables: tuple[str, ...]
    groups: tuple[str, ...]


@dataclass(frozen=True)
class Undefined:
    """A name in the plan that neither the framework nor the corpus defines."""

    index: int
    name: str
    what: str
    cure: str


def tests_of(plan: Sequence[Mapping[str, Any]]) -> tuple[Test, ...]:
    """Return what each entry of the plan names."""
    return tuple(_test(index, entry) for index, entry in enumerate(plan))


def undefined_names(tests: Sequence[Test], framework: Framework, columns: Collection[str]) -> tuple[Undefined, ...]:
    """Return every name in the plan that means nothing; ``columns`` are the metadata columns of the corpus."""
    dimensions = [dimension.name for dimension in framework.dimensions]
    metrics = [metric.name for metric in framework.derived_metrics]
    labels = [field.path[-1] for field in framework.contract.fields if field.role == "label"]
    others = {snake_case(name) for name in (*columns, *labels)}
    found = []
    for test in tests:
        for name in test.variables:
            if resolve_name(name, dimensions, metrics) is None and snake_case(name) not in others:
                known = [*dimensions, *(f"{dimension}_score" for dimension in dimensions), *metrics]
                what = f"'{name}' is defined neither by the framework nor by the corpus"
                cure = did_you_mean(name, known, f"use one of {', '.join([*dimensions, *metrics])}")
                found.append(Undefined(test.index, name, what, cure))
        for name in test.groups:
            if snake_case(name) not in others:
                what = f"the groups '{name}' are neither a column of corpus.csv nor a label of the framework"
                cure = did_you_mean(name, [*columns, *labels], f"add the column '{name}' to corpus.csv")
                found.append(Undefined(test.index, name, what, cure))
    return tuple(found)


def judged(
    hypotheses: Sequence[Hypothesis], tests: Sequence[Test], undefined: Sequence[Undefined]
) -> tuple[Hypothesis, ...]:
    """Return the hypotheses, each with the reason why it is not testable where there is one."""
    return tuple(
        hypothesis.model_copy(update={"untestable": _reason(hypothesis.name, tests, undefined)})
        for hypothesis in hypotheses
    )


def _reason(name: str, tests: Sequence[Test], undefined: Sequence[Undefined]) -> str | None:
    own = [test for test in tests if name in test.hypotheses]
    if not own:
        return "no test in the statistical plan refers to it"
    indexes = {test.index for test in own}
    reasons = dict.fromkeys(each.what for each in undefined if each.index in indexes)
    if reasons:
        return "; ".join(reasons)
    if not any(test.variables for test in own):
        return "its test in the statistical plan names no variable"
    return None


def _test(index: int, entry: Mapping[str, Any]) -> Test:
    settings = list(_settings(entry))
    return Test(
        index=index,
        hypotheses=tuple(name for key, value in settings if key in REFERENCE_KEYS for name in _names(value)),
        variables=tuple(name for key, value in settings if key in VARIABLE_KEYS for name in _names(value)),
        groups=tuple(name for key, value in settings if key in GROUP_KEYS for name in _names(value)),
    )


def _settings(entry: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in entry.items():
        if key in {"test", "params", "parameters"} and isinstance(value, Mapping):
            yield from _settings(value)
        else:
            yield key, value


def _names(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value.strip()]
    return [entry.strip() for entry in value if isinstance(entry, str)] if isinstance(value, list) else []
