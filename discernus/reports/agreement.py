"""The report's sections on agreement: of a model's runs with each other, and of several models."""

from collections.abc import Iterable, Mapping, Sequence

from discernus.extraction.names import label_names
from discernus.reports.data import ReportData
from discernus.reports.groups import Group, variables_of
from discernus.reports.markdown import NONE, number, series, split_table, text
from discernus.reports.reliability import between_models, rated
from discernus.statistics.consistency import CRONBACH, FEW_DOCUMENTS, OF_SCORES, ONE_WAY, STABILITY, Coefficient
from discernus.statistics.resampling import RESAMPLES

FEW = "†"  # beside each figure that rests on few documents
PRIMARY = (*ONE_WAY, *OF_SCORES)

_Found = Mapping[str, tuple[Coefficient, ...]]
"""The coefficients of each variable."""

_INTERVALS = (
    f"In brackets stand 95 % intervals: of Cronbach's alpha Feldt's, of the others from {RESAMPLES} resamples of the "
    "documents (bias-corrected and accelerated; the seed of the draws is a hash of the values, see `consistency.csv`), "
    "or, where its bound lies farther out, by the F distribution if there is such an interval, else by the jackknife: "
    "draws from few documents vary too little."
)
_STABILITY = (
    "*Sentence-resampling stability*: each run of an `offline/…` method counts over a fresh draw of the text's "
    "sentences. The figure (the formula of Cronbach's alpha, with draws as items) shows how far a score depends on a "
    "few sentences; only documents with a score in every draw (*complete*) count. It says nothing about how any model "
    "reads."
)
_CONSISTENCY = (
    "*Run-to-run consistency* shows how far a model repeats itself. It is neither accuracy nor intercoder reliability: "
    "a model can be consistently wrong. ICC(1,1) is that of a single run, ICC(1,k) that of the mean over a document's "
    "runs, which the tables above show; Krippendorff's alpha is over documents with two values or more. Cronbach's "
    "alpha, which is ICC(C,k), has documents as rows and runs as items, and only documents with a score in every run "
    f"(*complete*) count. *SD within* is over one document's runs: its mean, and the largest. {_INTERVALS}"
)
_THRESHOLDS = (
    "The highest customary threshold that the lower bound of the interval reaches; the figure itself is not judged. "
    "ICC: 0.5 moderate, 0.75 good, 0.9 excellent (Koo and Li 2016). Krippendorff's alpha: 0.667 for tentative "
    "conclusions, 0.8 to rely on (Krippendorff 2004, p. 241). Cronbach's alpha: 0.7, 0.8, 0.9 (Nunnally 1978, pp. "
    "245-246)."
)


def consistency(data: ReportData, groups: list[Group]) -> str:
    """Return how far runs agree, in tables for each group and in words that claim no more than that."""
    dimensions, metrics = variables_of(data.framework)
    parts = [f"## {section_name(groups)}"]
    parts += [_STABILITY] if any(group.offline for group in groups) else []
    parts += [_CONSISTENCY] if any(not group.offline for group in groups) else []
    for group in groups:
        names = [*dimensions, *metrics]
        parts += _of_draws(group, names) if group.offline else _of_runs(group, names, label_names(data.framework))
        if len(group.answered) > 1:
            answered = series([text(model) for model in group.answered])
            parts.append(f"**Warning:** these runs were answered by {answered}; the figures mix those models.")
    return "\n\n".join(parts)


def models(data: ReportData, groups: list[Group]) -> str | None:
    """Return how far several language models agree, a table for each variant; None where there are not several."""
    variants = rated(groups)
    if not variants:
        return None
    dimensions, metrics = variables_of(data.framework)
    parts = [
        "## Agreement between models",
        "How far models give the same document the same score, each by its mean over runs: ICC(A,1) of a single model, "
        "ICC(A,k) of the mean over all. Only documents that each model scored count. Models that agree may err "
        f"together. {_INTERVALS}",
    ]
    for variant, of_variant in variants.items():
        found = {name: between_models(of_variant, name) for name in (*dimensions, *metrics)}
        whose = series([group.name for group in of_variant])
        parts.append(f"### {whose}, variant {text(variant)}\n\n{_coefficients(found)}")
        parts += _remarks(found)
    return "\n\n".join(parts)


def section_name(groups: list[Group]) -> str:
    """Return the heading of the section on consistency, which names each kind that there is."""
    names = list(dict.fromkeys(group.consistency_name for group in groups))
    return series(names).capitalize() or "Run-to-run consistency"


def interval_of(one: Coefficient) -> str:
    """Return a coefficient's interval as a cell."""
    return NONE if one.interval.low is None else f"[{number(one.interval.low)}, {number(one.interval.high)}]"


def with_interval(one: Coefficient) -> str:
    """Return a coefficient as a cell: the value, its interval, and a mark where it rests on few documents."""
    if one.value is None:
        return NONE
    bounds = "" if one.interval.low is None else f" {interval_of(one)}"
    return f"{number(one.value)}{bounds}{FEW if one.rests_on_few else ''}"


def _of_draws(group: Group, names: list[str]) -> list[str]:
    """Return what is to be said of an offline method's draws of sentences."""
    found = {name: group.coefficients(name) for name in names}
    return [f"### {group.title}\n\n{_spread(group, found)}", *_remarks(found)]


def _of_runs(group: Group, names: list[str], labels: Sequence[str]) -> list[str]:
    """Return what is to be said of a language model's runs."""
    found = {name: group.coefficients(name) for name in names}
    of_labels = {name: group.label_agreement(name) for name in labels}
    every = {**found, **of_labels}
    primary = {name: tuple(one for one in of if one.name in PRIMARY) for name, of in found.items()}
    noted = f"\n\n{group.note}" if group.note is not None else ""
    parts = [f"### {group.title}\n\n{_coefficients(primary)}{noted}", _spread(group, found)]
    parts += [_coefficients(of_labels)] if of_labels else []
    if any(one.interval.low is not None for of in every.values() for one in of):
        parts += [_THRESHOLDS, _reached(found)]
    return [*parts, *_remarks(every)]


def _coefficients(found: _Found) -> str:
    """Return a row for each variable: how many documents its coefficients rest on, and these."""
    headings = ["variable", "documents", *(one.name for one in next(iter(found.values()), ()))]
    rows = [[text(name), _documents(of), *map(with_interval, of)] for name, of in found.items()]
    return split_table(headings, rows)


def _documents(found: Iterable[Coefficient]) -> str:
    """Return on how many documents coefficients rest, the most and the fewest."""
    numbers = [one.documents for one in found]
    return str(numbers[0]) if len(set(numbers)) == 1 else f"{max(numbers)} or {min(numbers)}"


def _spread(group: Group, found: _Found) -> str:
    """Return the table of the coefficient that complete documents have, beside the spread within documents."""
    what = STABILITY if group.offline else CRONBACH
    heading = group.consistency_name if group.offline else CRONBACH
    headings = ["variable", heading, "complete", "incomplete", "runs", "SD within", "largest SD"]
    rows = []
    for name, of in found.items():
        alpha, spread = group.alpha(name), group.spread(name)
        cell = next(with_interval(one) for one in of if one.name == what)
        counts = [str(alpha.documents), str(alpha.incomplete), str(alpha.runs)]
        rows.append([text(name), cell, *counts, number(spread.mean), number(spread.largest)])
    return split_table(headings, rows)


def _reached(found: _Found) -> str:
    names = (one.name.removeprefix("Krippendorff's ") for one in next(iter(found.values()), ()))
    headings = ["variable", *names]
    return split_table(headings, [[text(name), *map(_threshold, of)] for name, of in found.items()])


def _threshold(one: Coefficient) -> str:
    if one.interval.low is None:
        return NONE
    return "none" if one.reached is None else f"{one.reached:g}"


def _remarks(found: _Found) -> list[str]:
    """Return why some coefficients or intervals are undefined, and what few documents mean."""
    every = [(name, one) for name, of in found.items() for one in of]
    without = [(name, one.name, "undefined", one.reason) for name, one in every if one.reason is not None]
    without += [
        (name, one.name, "without an interval", one.interval.reason)
        for name, one in every
        if one.value is not None and one.interval.reason is not None and one.name != STABILITY
    ]
    parts = ["\n".join(_reasons(without))] if without else []
    if any(one.value is not None and one.rests_on_few for _, one in every):
        bounded = any(one.interval.low is not None for _, one in every)
        parts.append(
            f"{FEW} **Warning:** figures from fewer than {FEW_DOCUMENTS} documents vary widely from one set of texts "
            f"to the next{', and their intervals may be narrower than they should be' if bounded else ''}."
        )
    return parts


def _reasons(without: Iterable[tuple[str, str, str, str]]) -> list[str]:
    """Return a line for each reason: which coefficients of which variables."""
    by_reason: dict[tuple[str, str], dict[str, list[str]]] = {}
    for variable, coefficient, what, reason in without:
        by_reason.setdefault((what, reason), {}).setdefault(variable, []).append(coefficient)
    lines = []
    for (what, reason), variables in by_reason.items():
        together: dict[str, list[str]] = {}
        for variable, coefficients in variables.items():
            together.setdefault(series(coefficients), []).append(text(variable))
        which = "; ".join(f"{series(of)} ({coefficients})" for coefficients, of in together.items())
        lines.append(f"- {which}: {what}, since {reason}.")
    return lines
