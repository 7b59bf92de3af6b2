"""consistency.csv: how far runs agree, for each answering model and variant, and how far several models agree.

Neither is accuracy, or agreement with people. A confidence that a model states weighs and filters nothing here.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from discernus.experiments.framework import Framework
from discernus.extraction.names import label_names
from discernus.reports import results
from discernus.reports.groups import Group, groups_of, variables_of
from discernus.reports.records import AnalysisRecord
from discernus.statistics.consistency import (
    CRONBACH,
    CUSTOMARY,
    FEW_DOCUMENTS,
    Coefficient,
    rater_coefficients,
)
from discernus.statistics.resampling import RESAMPLES

NAME = "consistency.csv"
DECIMALS = 9  # beyond these, machines may differ in how they sum


@dataclass(frozen=True)
class Line:
    """A coefficient of one variable: of whose analyses it is, and what it is of.

    ``measure``: run-to-run consistency, agreement between models or sentence-resampling stability. ``planned`` counts
    documents, ``runs`` are those planned.
    """

    measure: str
    models: tuple[str, ...]
    in_place_of: str | None
    variant: str
    variable: str
    kind: str
    planned: int
    runs: int
    coefficient: Coefficient


@dataclass(frozen=True)
class _Column:
    name: str
    meaning: str
    unit: str
    value: Callable[[Line], Any]


def lines(groups: Sequence[Group], framework: Framework) -> Iterator[Line]:
    """Yield every coefficient of a session: each group's over its runs, then the models' among each other."""
    dimensions, metrics = variables_of(framework)
    kinds = {**dict.fromkeys(dimensions, "dimension"), **dict.fromkeys(metrics, "derived metric")}
    for group in groups:
        for name, kind in kinds.items():
            yield from _of_group(group, name, kind, group.coefficients(name))
        for label in label_names(framework):
            yield from _of_group(group, label, "label", group.label_agreement(label))
    for variant, models in rated(groups).items():
        for name, kind in kinds.items():
            for one in between_models(models, name):
                names = tuple(group.model for group in models)
                planned, runs = len(_documents(models)), max(len(group.runs) for group in models)
                yield Line("agreement between models", names, None, variant, name, kind, planned, runs, one)


def _of_group(group: Group, variable: str, kind: str, found: Iterable[Coefficient]) -> Iterator[Line]:
    for one in found:
        yield Line(
            measure=group.consistency_name,
            models=(group.model,),
            in_place_of=group.in_place_of,
            variant=group.variant,
            variable=variable,
            kind=kind,
            planned=len(group.documents),
            runs=len(group.runs),
            coefficient=one,
        )


def rated(groups: Iterable[Group]) -> dict[str, list[Group]]:
    """Return the language models that read under the same variant for themselves, where there are two or more."""
    found: dict[str, list[Group]] = {}
    for group in groups:
        if not group.offline and group.in_place_of is None and group.records:
            found.setdefault(group.variant, []).append(group)
    return {variant: models for variant, models in found.items() if len(models) > 1}


def between_models(models: Sequence[Group], variable: str) -> tuple[Coefficient, ...]:
    """Return how far the models agree in each document's mean over their runs."""
    means = [group.means(variable) for group in models]
    return rater_coefficients(tuple(tuple(one.get(name) for one in means) for name in _documents(models)))


def _documents(models: Iterable[Group]) -> list[str]:
    return sorted({document for group in models for document in group.documents})


def write_csv(records: Iterable[AnalysisRecord], framework: Framework) -> bytes:
    """Return the whole of consistency.csv, a row for each coefficient."""
    rows = lines(groups_of(records), framework)
    written = [results.line(column.name for column in COLUMNS)]
    written += [results.line(_cell(column.value(row)) for column in COLUMNS) for row in rows]
    return b"".join(written)


def dictionary() -> bytes:
    """Return the rows of the data dictionary on its columns, each named with the table before it."""
    return b"".join(results.line((f"{NAME}/{column.name}", column.meaning, column.unit)) for column in COLUMNS)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return str(round(value, DECIMALS) + 0.0) if isinstance(value, float) else str(value)


def _interval_by(one: Coefficient) -> str | None:
    if one.interval.low is None:
        return None
    return "Feldt" if one.name == CRONBACH else "resampling"


def _reached(one: Coefficient) -> str | None:
    if one.interval.low is None or one.name not in CUSTOMARY:
        return None
    return "none" if one.reached is None else f"{one.reached:g}"


COLUMNS = (
    _Column(
        "measure",
        "run-to-run consistency (of one model), agreement between models, or of an offline method sentence-resampling "
        "stability; none of them is accuracy",
        "text",
        lambda row: row.measure,
    ),
    _Column("models", "models whose analyses it is of", "text, separated by ;", lambda row: "; ".join(row.models)),
    _Column("in_place_of", "model that was asked for, where another answered", "text", lambda row: row.in_place_of),
    _Column("variant", "the framework's way of asking", "text", lambda row: row.variant),
    _Column("variable", "name of the dimension, derived metric or label", "text", lambda row: row.variable),
    _Column("kind", "dimension, derived metric or label", "text", lambda row: row.kind),
    _Column(
        "coefficient",
        "ICC in the names of McGraw and Wong (1996); Krippendorff's alpha; Cronbach's alpha, which is ICC(C,k); the "
        "observed agreement of labels; of an offline method the formula of Cronbach's alpha, over draws of sentences",
        "text",
        lambda row: row.coefficient.name,
    ),
    _Column("value", "the coefficient; empty: undefined", "at most 1", lambda row: row.coefficient.value),
    _Column("undefined_since", "why there is no value", "text", lambda row: row.coefficient.reason),
    _Column("low", "lower bound of the 95 % interval", "", lambda row: row.coefficient.interval.low),
    _Column("high", "upper bound of the 95 % interval", "", lambda row: row.coefficient.interval.high),
    _Column("no_interval_since", "why there is no interval", "text", lambda row: row.coefficient.interval.reason),
    _Column(
        "interval_by",
        f"resampling: {RESAMPLES} draws of the documents, bias-corrected and accelerated, each bound moved to that of "
        "the F distribution, else of the jackknife, where it lies farther out; Feldt: F distribution",
        "text",
        lambda row: _interval_by(row.coefficient),
    ),
    _Column(
        "seed",
        "seed of the draws: the first 64 bits of the SHA-256 of the values used, a list for each document, as JSON",
        "",
        lambda row: row.coefficient.seed,
    ),
    _Column(
        "reaches",
        "highest customary threshold that the lower bound reaches: ICC .5, .75, .9 (Koo and Li 2016); Krippendorff's "
        "alpha .667, .8 (Krippendorff 2004); Cronbach's alpha .7, .8, .9 (Nunnally 1978)",
        "",
        lambda row: _reached(row.coefficient),
    ),
    _Column(
        "documents",
        "documents that the coefficient rests on",
        "",
        lambda row: row.coefficient.documents,
    ),
    _Column(
        "few_documents",
        f"whether these are fewer than {FEW_DOCUMENTS}: then value and interval vary widely between sets of texts",
        "true or false",
        lambda row: str(row.coefficient.rests_on_few).lower(),
    ),
    _Column("documents_planned", "documents that were to be analysed", "", lambda row: row.planned),
    _Column("runs", "runs that were planned", "", lambda row: row.runs),
    _Column("values", "single values used; between models, means over runs", "", lambda row: row.coefficient.values),
    _Column(
        "k",
        "over how many runs or models the mean is whose reliability it is; with gaps, n0 of the analysis of variance",
        "",
        lambda row: row.coefficient.k,
    ),
)
