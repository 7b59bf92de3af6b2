"""A framework's formulas worked out on example values, as a session computes them on the values of an answer."""

from dataclasses import dataclass

from discernus.experiments.framework import Framework
from discernus.statistics.formulas import compute, named_values, names_of, resolve_name

_PLACES_ON_A_SCALE = (0.8, 0.3, 0.6, 0.1, 0.9, 0.4, 0.7, 0.2, 0.5)


@dataclass(frozen=True)
class WorkedFormula:
    """One metric on example values: what goes in, by its name and role, and the result or why there is none."""

    name: str
    formula: str
    inputs: dict[str, float | None]
    value: float | None
    reason: str | None


def worked_formulas(framework: Framework) -> tuple[WorkedFormula, ...]:
    """Return every derived metric on example values, each after the ones that it refers to."""
    metrics = framework.derived_metrics
    dimensions = [dimension.name for dimension in framework.dimensions]
    names = [metric.name for metric in metrics]
    examples = example_values(framework)
    computed = compute(metrics, named_values(metrics, examples, dimensions))
    worked: dict[str, WorkedFormula] = {}
    for metric in metrics:
        inputs: dict[str, float | None] = {}
        for name in sorted(names_of(metric.formula), key=metric.formula.index):
            meaning = resolve_name(name, dimensions, names)
            if isinstance(meaning, tuple):
                inputs[" ".join(meaning)] = examples.get(meaning)
            elif meaning is not None:
                inputs[meaning] = computed[meaning].value
        result = computed[metric.name]
        worked[metric.name] = WorkedFormula(metric.name, metric.formula, inputs, result.value, result.reason)
    return tuple(_in_order(worked))


def example_values(framework: Framework) -> dict[tuple[str, str], float]:
    """Return a value for each (dimension, role) a formula may use: scores on their scales, the rest from 0 to 1."""
    values = {}
    for index, dimension in enumerate(framework.dimensions):
        for shift, role in enumerate(("score", "salience", "confidence")):
            low, high = (dimension.low, dimension.high) if role == "score" else (0.0, 1.0)
            place = _PLACES_ON_A_SCALE[(index + 2 * shift) % len(_PLACES_ON_A_SCALE)]
            values[dimension.name, role] = round(low + (high - low) * place, 6)
    return values


def _in_order(worked: dict[str, WorkedFormula]) -> list[WorkedFormula]:
    """Return the metrics, each after those that it refers to, else in the framework's order."""
    ordered: list[WorkedFormula] = []
    waiting = list(worked.values())
    while waiting:
        known = {each.name for each in ordered}
        ready = [each for each in waiting if all(name in known for name in each.inputs if name in worked)]
        ordered += ready
        waiting = [each for each in waiting if each not in ready]
    return ordered
