"""The tests of the statistical plan, on what each model read under each variant: one value for each document.

Groups come from corpus.csv alone. A document's value is the mean over its runs, so that no run counts as a case.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from discernus.experiments.corpus import Document
from discernus.experiments.definition import Definition
from discernus.experiments.framework import Framework
from discernus.experiments.statistical_plan import CORRELATIONS, TWO_GROUPS, PlannedTest, tests_of
from discernus.experiments.testability import Variable, column_named, flaws, number_in, variable_named
from discernus.extraction.names import label_name
from discernus.reports.groups import Group, groups_of
from discernus.reports.records import AnalysisRecord
from discernus.statistics.corrections import holm
from discernus.statistics.descriptives import describe
from discernus.statistics.outcome import Effect, Interval, Outcome, undefined
from discernus.statistics.verdicts import Tested, verdict_of

DECIMALS = 12  # of a value: what sums of binary fractions add beyond would break ties
NO_VALUE = "no value"
SAME = "both variables are one and the same, so that the test would say nothing of the texts"
NO_MODEL = "run-to-run consistency is a property of models that read, and no language model was asked"

Values = Mapping[str, float]
"""A number for each document that has one."""


@dataclass(frozen=True)
class _Readings:
    """What one model read under one variant, beside the documents that it read."""

    group: Group
    framework: Framework
    documents: Sequence[Document]

    def numbers(self, variable: Variable) -> dict[str, float]:
        """Return the value of each document that has one: the mean over its runs, or its cell of corpus.csv."""
        found: Mapping[str, float | None]
        if variable.kind == "column":
            cells = {document.id: document.metadata.get(variable.name) for document in self.documents}
            found = {name: None if cell is None else number_in(cell) for name, cell in cells.items()}
        elif variable.role == "salience":
            found = {name: describe(self._saliences(name, variable.name)).mean for name in self.group.documents}
        else:
            found = self.group.means(variable.name)
        return {name: round(value, DECIMALS) for name, value in found.items() if value is not None}

    def runs(self, variable: Variable) -> dict[str, list[float]]:
        """Return every single value of each document; a column of corpus.csv has one for each.

        Rounded as means are: what formulas of binary fractions add would be taken for run noise.
        """
        if variable.kind == "column":
            return {name: [value] for name, value in self.numbers(variable).items()}
        if variable.role == "salience":
            table = [self._saliences(name, variable.name) for name in self.group.documents]
        else:
            table = self.group.table(variable.name)
        rows = zip(self.group.documents, table, strict=True)
        return {name: [round(value, DECIMALS) for value in row if value is not None] for name, row in rows}

    def labels(self, variable: Variable) -> dict[str, str]:
        """Return the label of each document that has one: the one most runs gave, none where two are as frequent."""
        if variable.kind == "column":
            return self.cells(variable.name)
        fields = [field for field in self.framework.contract.fields if field.role == "label"]
        key = next(label_name(field) for field in fields if field.path[-1] == variable.name)
        found = {}
        for name in self.group.documents:
            given = Counter(record.labels[key] for record in self._records(name) if key in record.labels)
            ranked = given.most_common(2)
            if ranked and (len(ranked) == 1 or ranked[0][1] > ranked[1][1]):
                found[name] = ranked[0][0]
        return found

    def cells(self, column: str) -> dict[str, str]:
        """Return what corpus.csv has in a column for each document that has an entry."""
        return {one.id: one.metadata[column] for one in self.documents if column in one.metadata}

    def _saliences(self, document: str, dimension: str) -> list[float | None]:
        return [record.salience.get(dimension) for record in self._records(document)]

    def _records(self, document: str) -> list[AnalysisRecord]:
        return [record for record in self.group.records if record.document == document]


def tested(definition: Definition, records: Sequence[AnalysisRecord]) -> tuple[Tested, ...]:
    """Return every test of the plan on every model's readings, with adjusted p values and verdicts."""
    planned = tests_of(definition.experiment.statistical_plan)
    if not planned:
        return ()
    framework, documents = definition.framework, definition.documents
    wrong = flaws(planned, framework, documents)
    found: list[Tested] = []
    signatures: list[tuple[object, ...]] = []
    for group in groups_of(sorted(records, key=lambda record: record.number)):
        readings = _Readings(group, framework, documents)
        for test in planned:
            reasons = [flaw.what for flaw in wrong if flaw.index == test.index and flaw.of != "nothing"]
            forbidden = any(flaw.index == test.index and flaw.of == "result" for flaw in wrong)
            circular = test.method is not None and any(reason.startswith("circular") for reason in reasons)
            for names in _together(test):
                if forbidden or circular:
                    one = _not_done(test, readings, names, "; ".join(reasons))
                else:
                    one = _done(test, readings, names)
                found.append(one)
                signatures.append(_signature(one, readings))
    return tuple(_adjusted(found, signatures))


def _together(test: PlannedTest) -> list[tuple[str, ...]]:
    """Return the variables that are tested together; each of several is else a test of its own."""
    if test.method in CORRELATIONS or (test.method == "paired_t" and not test.groups) or not test.variables:
        return [test.variables]
    return [(name,) for name in test.variables]


def _not_done(test: PlannedTest, readings: _Readings, names: tuple[str, ...], reason: str) -> Tested:
    return _tested(test, readings, names, {}, undefined("", reason))


def _done(test: PlannedTest, readings: _Readings, names: tuple[str, ...]) -> Tested:
    variables = [_variable(name, readings) for name in names]
    if test.method == "consistency":
        return _of_runs(test, readings, variables[0])
    if test.method == "run_noise":
        return _over_runs(test, readings, variables[0])
    if test.method == "chi_square":
        return _by_label(test, readings, variables[0])
    if test.method in CORRELATIONS or (test.method == "paired_t" and not test.groups):
        return _of_two(test, readings, variables)
    return _of_groups(test, readings, variables[0])


def _of_groups(test: PlannedTest, readings: _Readings, variable: Variable) -> Tested:
    from discernus.statistics.planned_tests import compare_groups, compare_runs

    column = _column(test.groups[0], readings)
    cells, values = readings.cells(column), readings.numbers(variable)
    compared = test.compare or tuple(sorted(set(cells.values())))
    members = {name: [one for one in readings.group.documents if cells.get(one) == name] for name in compared}
    left_out = {one: f"no entry under {column}" for one in readings.group.documents if one not in cells}
    left_out |= {one: NO_VALUE for own in members.values() for one in own if one not in values}
    if test.pairs is not None and test.method == "paired_t":
        members, unpaired = _paired(members, readings.cells(_column(test.pairs, readings)), values)
        left_out |= unpaired
    members = {name: [one for one in own if one in values] for name, own in members.items()}
    if test.method not in TWO_GROUPS and test.method != "paired_t" and not test.compare:
        members = {name: own for name, own in members.items() if own}
    sizes = {name: len(own) for name, own in members.items()}
    if test.method == "mixed_model":
        runs = readings.runs(variable)
        outcome = compare_runs(test, {name: [runs[one] for one in own] for name, own in members.items()})
    else:
        outcome = compare_groups(test, {name: [values[one] for one in own] for name, own in members.items()})
    return _tested(test, readings, (variable.title,), sizes, outcome, column, left_out)


def _paired(
    members: Mapping[str, list[str]], pairs: Mapping[str, str], values: Values
) -> tuple[dict[str, list[str]], dict[str, str]]:
    """Return the documents of both groups in the order of their pairs, and those that have no one partner."""
    by_pair = [
        {pair: [one for one in own if pairs.get(one) == pair and one in values] for pair in set(pairs.values())}
        for own in members.values()
    ]
    whole = sorted(pair for pair in set(pairs.values()) if all(len(side[pair]) == 1 for side in by_pair))
    kept = {name: [side[pair][0] for pair in whole] for name, side in zip(members, by_pair, strict=True)}
    used = {one for own in kept.values() for one in own}
    return kept, {one: "no one partner" for own in members.values() for one in own if one in values and one not in used}


def _of_two(test: PlannedTest, readings: _Readings, variables: list[Variable]) -> Tested:
    from discernus.statistics.planned_tests import compare_groups, correlate

    names = tuple(variable.title for variable in variables)
    if len({_meaning(name, readings) for name in names}) == 1:
        return _tested(test, readings, names, {}, undefined("", SAME))
    first, second = (readings.numbers(variable) for variable in variables)
    both = [one for one in readings.group.documents if one in first and one in second]
    left_out = {one: NO_VALUE for one in readings.group.documents if one not in both}
    columns = [first[one] for one in both], [second[one] for one in both]
    sizes = {"documents": len(both)}
    if test.method in CORRELATIONS:
        return _tested(test, readings, names, sizes, correlate(test, *columns), None, left_out)
    sides = dict(zip(test.variables, columns, strict=True))
    if test.compare and test.compare[0] == test.variables[1]:
        sides = dict(reversed(sides.items()))
    return _tested(test, readings, names, sizes, compare_groups(test, sides), None, left_out)


def _by_label(test: PlannedTest, readings: _Readings, variable: Variable) -> Tested:
    from discernus.statistics.planned_tests import count_labels

    column = _column(test.groups[0], readings)
    cells, labels = readings.cells(column), readings.labels(variable)
    both = [one for one in readings.group.documents if one in cells and one in labels]
    left_out = {one: "no entry or no one label" for one in readings.group.documents if one not in both}
    sizes = dict(sorted(Counter(cells[one] for one in both).items()))
    outcome = count_labels(test, [cells[one] for one in both], [labels[one] for one in both])
    return _tested(test, readings, (variable.title,), sizes, outcome, column, left_out)


def _over_runs(test: PlannedTest, readings: _Readings, variable: Variable) -> Tested:
    from discernus.statistics.run_noise import run_noise

    runs = readings.runs(variable)
    sizes = {name: len(values) for name, values in runs.items() if values}
    left_out = {name: NO_VALUE for name, values in runs.items() if not values}
    return _tested(test, readings, (variable.title,), sizes, run_noise(runs, test.alpha), None, left_out)


def _of_runs(test: PlannedTest, readings: _Readings, variable: Variable) -> Tested:
    """Return the coefficient of consistency with its interval; an offline method has none."""
    from discernus.statistics.consistency import score_coefficients

    if readings.group.offline:
        return _tested(test, readings, (variable.title,), {}, undefined("", NO_MODEL))
    table = tuple(tuple(row) for row in readings.group.table(variable.name))
    one = next(one for one in score_coefficients(table) if one.name == test.coefficient)
    interval = None
    if one.interval.low is not None and one.interval.high is not None:
        interval = Interval(one.interval.low, one.interval.high)
    outcome = Outcome(
        one.name,
        one.value,
        reason=one.reason or one.interval.reason or "a coefficient is no test; its interval is judged",
        effect=None if one.value is None else Effect(one.name, one.value, interval),
    )
    return _tested(test, readings, (variable.title,), {"documents": one.documents}, outcome)


def _tested(
    test: PlannedTest,
    readings: _Readings,
    names: tuple[str, ...],
    sizes: Mapping[str, int],
    outcome: Outcome,
    column: str | None = None,
    left_out: Mapping[str, str] | None = None,
) -> Tested:
    group = readings.group
    return Tested(
        planned=test,
        model=group.model,
        variant=group.variant,
        in_place_of=group.in_place_of,
        variables=names,
        column=column,
        sizes=sizes,
        outcome=outcome,
        left_out=left_out or {},
    )


def _adjusted(found: Sequence[Tested], signatures: Sequence[tuple[object, ...]]) -> list[Tested]:
    """Return the tests with p values adjusted after Holm over all distinct ones, and with their verdicts."""
    first: dict[tuple[object, ...], int] = {}
    for place, (one, signature) in enumerate(zip(found, signatures, strict=True)):
        if one.outcome.p is not None:
            first.setdefault(signature, place)
    raw = [one.outcome.p for place in first.values() if (one := found[place]).outcome.p is not None]
    adjusted = dict(zip(first, holm([p for p in raw if p is not None]), strict=True))
    judged = []
    for place, (one, signature) in enumerate(zip(found, signatures, strict=True)):
        p = adjusted.get(signature) if one.outcome.p is not None else None
        verdict, why = verdict_of(one.planned, one.outcome, p, len(first))
        earlier = first.get(signature, place)
        same_as = earlier + 1 if p is not None and earlier != place else None
        judged.append(replace(one, p_adjusted=p, family=len(first), same_as=same_as, verdict=verdict, why=why))
    return judged


def _signature(one: Tested, readings: _Readings) -> tuple[object, ...]:
    """Return what a test computes: two of the same count once, whatever they are called."""
    test = one.planned
    meanings = [_meaning(name, readings) for name in one.variables]
    subject = frozenset(meanings) if len(meanings) > 1 else tuple(meanings)
    compared = frozenset(one.sizes) if one.column else None
    return (
        one.model,
        one.variant,
        one.in_place_of,
        test.method,
        subject,
        one.column,
        compared,
        test.pairs,
        test.margin,
    )


def _meaning(name: str, readings: _Readings) -> str:
    """Return the formula of a metric, or what it merely renames; any other name stands for itself."""
    formula = next((metric.formula for metric in readings.framework.derived_metrics if metric.name == name), None)
    if formula is None:
        return name
    named = variable_named(formula.strip(), readings.framework, ())
    return named.title if named is not None else "".join(formula.split())


def _variable(name: str, readings: _Readings) -> Variable:
    found = variable_named(name, readings.framework, readings.documents)
    if found is None:
        raise LookupError(f"'{name}' is defined nowhere")
    return found


def _column(name: str, readings: _Readings) -> str:
    found = column_named(name, readings.documents)
    if found is None:
        raise LookupError(f"corpus.csv has no column '{name}'")
    return found
