"""The report's tables of scores, derived metrics and labels."""

from collections import Counter

from discernus.extraction.names import label_names
from discernus.reports.agreement import FEW, interval_of, section_name, with_interval
from discernus.reports.data import ReportData
from discernus.reports.groups import Group, variables_of
from discernus.reports.markdown import NONE, number, series, split_table, table, text
from discernus.statistics.consistency import ONE_WAY
from discernus.statistics.resampling import FEWEST_DOCUMENTS

DOCUMENT_ROWS = 60
LABELS_SHOWN = 3
NO_SCORES = "No analysis gave a score."
LABEL_LENGTH = 40
ABOUT_MEANS = (
    "The 95 % interval of a mean is from resampled documents or Student's, whichever bound lies farther out; it is of "
    f"{FEWEST_DOCUMENTS} documents or more, holds beyond them only if they were drawn at random, and may reach beyond "
    "the scale."
)


def dimensions(data: ReportData, groups: list[Group]) -> str:
    """Return a table per group: each dimension over documents, with the consistency of its runs."""
    parts = ["## Dimensions"]
    names, _ = variables_of(data.framework)
    for group in groups:
        headings = ["dimension", "documents", "scores", "mean", "95 % interval", "SD", "min", "max", "SD within"]
        headings.append(_short(group))
        rows = [_row(group, name) for name in names]
        shown = table(headings, rows) if _gave_scores(group) else NO_SCORES
        parts.append(f"### {group.title}\n\n{shown}{_noted(group)}")
    scales = {f"{dimension.low:g} to {dimension.high:g}" for dimension in data.framework.dimensions}
    scale = f"All scores are on a scale of {scales.pop()}." if len(scales) == 1 else "Scales: see the data dictionary."
    parts.append(
        f"{scale} Mean, SD (ddof 1), min and max are over documents, each with its mean over runs. {ABOUT_MEANS} "
        "*Scores* counts single analyses with a score; *SD within* is the mean SD of one document's scores over runs. "
        f"{NONE} means that there is no number, for the reasons given under *Gaps* and *{section_name(groups)}*, where "
        f"the last column and its mark {FEW} are explained."
    )
    return "\n\n".join(parts)


def _row(group: Group, name: str) -> list[str]:
    across, spread = group.across_documents(name), group.spread(name)
    return [
        text(name),
        f"{across.n} of {across.n + across.missing}",
        str(group.count(name)),
        number(across.mean),
        interval_of(group.mean(name)),
        *map(number, (across.sd, across.minimum, across.maximum, spread.mean)),
        with_interval(group.coefficients(name)[0]),
    ]


def documents(data: ReportData, groups: list[Group]) -> str:
    """Return the means of each document on each dimension, a table per group."""
    names, _ = variables_of(data.framework)
    return _by_document("## Documents and dimensions", "Means over runs.", names, groups)


def baselines(data: ReportData) -> str | None:
    """Return what the offline method gives over whole texts; None where no offline model was asked."""
    if not data.baselines:
        return None
    names, _ = variables_of(data.framework)
    shown = list(data.baselines.items())[:DOCUMENT_ROWS]
    rows = [[text(document), *(number(scores.get(name)) for name in names)] for document, scores in shown]
    lead = (
        "The dictionary method's baseline: marker phrases counted over the whole text, once. Each run counts over a "
        "fresh draw of the text's sentences instead, which is where the runs' spread around these scores comes from. "
        f"{NONE}: no marker of that dimension occurs in the text."
    )
    return f"## Baseline by whole texts\n\n{lead}\n\n{split_table(['document', *map(text, names)], rows)}"


def derived(data: ReportData, groups: list[Group]) -> str:
    """Return the derived metrics by document, with their formulas."""
    _, names = variables_of(data.framework)
    if not names:
        return "## Derived metrics\n\nThe framework defines none."
    formulas = "\n".join(
        f"- {text(metric.name)} = `{_code(metric.formula)}`" for metric in data.framework.derived_metrics
    )
    same = _identical([(metric.name, metric.formula) for metric in data.framework.derived_metrics])
    lead = f"Computed by code from each analysis, then averaged over runs; missing where an input is.\n\n{formulas}"
    lead += "".join(
        f"\n\n{series([text(name) for name in group])} have the same formula: one result, not several."
        for group in same
    )
    return _by_document("## Derived metrics", lead, names, groups)


def labels(data: ReportData, groups: list[Group]) -> str | None:
    """Return how often each label was given to each document; None where the framework asks for no label."""
    names = label_names(data.framework)
    if not names:
        return None
    parts = ["## Labels", f"How many of a document's runs gave which label; {NONE}: none gave any."]
    for group in groups:
        rows = []
        for document in group.documents[:DOCUMENT_ROWS]:
            own = [record for record in group.records if record.document == document]
            rows.append(
                [text(document), *(_tally(Counter(record.labels.get(name) for record in own)) for name in names)]
            )
        headings = ["document", *map(text, names)]
        parts.append(f"### {group.title}\n\n{table(headings, rows, left=len(headings))}{_rest(group)}")
    return "\n\n".join(parts)


def _by_document(heading: str, lead: str, names: list[str], groups: list[Group]) -> str:
    parts = [heading, lead]
    for group in groups:
        if not _gave_scores(group):
            parts.append(f"### {group.title}\n\n{NO_SCORES}")
            continue
        means = {name: group.means(name) for name in names}
        rows = [
            [text(document), *(number(means[name][document]) for name in names)]
            for document in group.documents[:DOCUMENT_ROWS]
        ]
        parts.append(f"### {group.title}\n\n{split_table(['document', *map(text, names)], rows)}{_rest(group)}")
    return "\n\n".join(parts)


def _gave_scores(group: Group) -> bool:
    return any(record.scores for record in group.records)


def _rest(group: Group) -> str:
    more = len(group.documents) - DOCUMENT_ROWS
    return (
        f"\n\nThe first {DOCUMENT_ROWS} of {len(group.documents)} documents; all are in results.csv."
        if more > 0
        else ""
    )


def _noted(group: Group) -> str:
    return f"\n\n{group.note}" if group.note is not None else ""


def _short(group: Group) -> str:
    return group.consistency_name if group.offline else f"{ONE_WAY[0]} over runs"


def _tally(given: Counter[str | None]) -> str:
    """Return the most frequent labels with how often each was given; prose in a label's place is shortened."""
    labels_ = {name: times for name, times in given.items() if name is not None}
    ordered = sorted(labels_.items(), key=lambda each: (-each[1], each[0]))
    shown = [f"{text(_brief(name))} ({times})" for name, times in ordered[:LABELS_SHOWN]]
    if len(ordered) > LABELS_SHOWN:
        shown.append(f"{len(ordered) - LABELS_SHOWN} others")
    return ", ".join(shown) or NONE


def _brief(label: str) -> str:
    return label if len(label) <= LABEL_LENGTH else label[: LABEL_LENGTH - 1] + "…"


def _identical(formulas: list[tuple[str, str]]) -> list[list[str]]:
    by_formula: dict[str, list[str]] = {}
    for name, formula in formulas:
        by_formula.setdefault("".join(formula.split()), []).append(name)
    return [names for names in by_formula.values() if len(names) > 1]


def _code(formula: str) -> str:
    return " ".join(formula.replace("`", "'").split())
