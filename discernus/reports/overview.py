"""The report's opening: what was run, and what came out, in words that code derives from the numbers."""

import re
from typing import Any

from discernus.experiments.experiment import OFFLINE_PREFIX, Experiment
from discernus.experiments.testability import Test, tests_of
from discernus.reports.data import ReportData
from discernus.reports.groups import Group
from discernus.reports.markdown import NONE, count, number, series, table, text

DOCUMENTS_IN_WORDS = 12

_LABEL = re.compile(
    r"^#{1,6}[ \t]*(?P<heading>[^\n]*\bsample material\b[^\n]*)\n+(?P<body>[^\n#].*?)(?:\n\s*\n|\Z)",
    re.MULTILINE | re.DOTALL | re.IGNORECASE,
)
_STATUS = {
    "complete": "Complete: every planned analysis has its answer.",
    "partial": "**Partial**: some planned analyses have no usable answer. They are listed under *Gaps*.",
    "paused": "**Paused**: the session has not come to its end. Run the same command again to go on.",
}


def opening(data: ReportData, groups: list[Group]) -> str:
    """Return the title, the label of sample material, the status and the warnings."""
    parts = [f"# {text(data.experiment.title or data.experiment.name)}"]
    label = sample_label(data.experiment)
    if label:
        parts.append(f"> {label}")
    parts.append(f"{_STATUS[data.status]}{_partial(data)}")
    if any(group.offline for group in groups):
        parts.append(
            "Numbers under a model named `offline/…` come from a **dictionary method** that counts marker phrases. "
            "No language model read the texts for them."
        )
    parts += [f"**Warning:** {text(warning.removeprefix('warning: '))}" for warning in data.warnings]
    return "\n\n".join(parts)


def _partial(data: ReportData) -> str:
    """Say how many answers lack some of their scores; nothing where none does."""
    partial = sum(record.status == "partial" and bool(record.scores) for record in data.records)
    of = count(len(data.records), "planned analysis", "planned analyses")
    return f" {partial:,} of {of} lack some scores: see *Gaps*." if partial else ""


def sample_label(experiment: Experiment) -> str | None:
    """Return what the experiment's own text says about being sample material; None where it says nothing."""
    found = _LABEL.search(experiment.text)
    return None if found is None else f"**{text(found['heading'])}.** {text(found['body'])}"


def what_was_run(data: ReportData, groups: list[Group]) -> str:
    """Return the section that says, in a paragraph and a table, what was run."""
    documents = count(len(data.documents), "document")
    models = series([text(model) for model in dict.fromkeys(group.in_place_of or group.model for group in groups)])
    variants = list(dict.fromkeys(group.variant for group in groups))
    runs = max((len(group.runs) for group in groups), default=0)
    ended = f" and ended {text(data.finished_at)}" if data.finished_at and data.migrated_from is None else ""
    name, project, session = text(data.experiment.name), text(data.project), text(data.session)
    as_planned = all(record.call and record.read_by == record.model_requested for record in data.records)
    was = "was" if as_planned else "was to be"
    framework = f"*{text(data.framework.display_name)}*, version {text(data.framework.version)}"
    paragraph = (
        f"Experiment *{name}* of project *{project}*, session *{session}*: each of {documents} {was} analysed "
        f"{count(runs, 'time')} by {models or 'no model'} under {count(len(variants), 'variant')} "
        f"({series([text(variant) for variant in variants])}) of the framework {framework}, which scores "
        f"{count(len(data.framework.dimensions), 'dimension')}. The session began {text(data.started_at)}{ended} (UTC)."
    )
    rows = [_row(group) for group in groups]
    headings = ["model", "variant", "model that answered", "planned", "scored", "partial", "parked", "pending"]
    parts = ["## What was run", paragraph, table(headings, rows, left=3), *(_migrated(data) or _parameters(data))]
    return "\n\n".join(parts)


def _migrated(data: ReportData) -> list[str]:
    """Return that the session is of an older layout, and what is therefore not known of it; [] for one of today."""
    if data.migrated_from is None:
        return []
    return [
        f"The session was migrated from *{text(data.migrated_from)}*, a folder of an older layout; nothing was asked "
        "anew. Parameters were not recorded there. Models, times, tokens and costs are given as far as it has them: "
        "`unrecorded/unknown` stands for a model that it does not name, and what is not recorded is no cost of today."
    ]


def _parameters(data: ReportData) -> list[str]:
    """Return a line for each model that was asked: with which parameters, and which of these never reached it."""
    asked: dict[str, tuple[dict[str, Any], set[str]]] = {}
    for record in data.records:
        if not record.read_by.startswith(OFFLINE_PREFIX):
            parameters, dropped = asked.setdefault(record.model_asked or record.model_requested, ({}, set()))
            parameters.update(record.parameters)
            dropped.update(record.dropped_parameters)
    lines = [f"- {text(model)}: {_asked_with(*known)}" for model, known in asked.items()]
    return ["Parameters, as the models were asked:\n\n" + "\n".join(lines)] if lines else []


def _asked_with(parameters: dict[str, Any], dropped: set[str]) -> str:
    stated = ", ".join(f"{text(name)} {text(str(value))}" for name, value in sorted(parameters.items()))
    without = f"; not sent, since its vendor does not take it: {', '.join(map(text, sorted(dropped)))}"
    return f"{stated or 'the defaults of its vendor'}{without if dropped else ''}"


def _row(group: Group) -> list[str]:
    status = [record.status for record in group.records]
    planned = str(group.planned) if group.in_place_of is None else NONE
    numbers = [str(status.count(name)) for name in ("scored", "partial", "parked", "pending")]
    answered = series([text(model) for model in group.answered]) or "none"
    return [group.name, text(group.variant), answered, planned, *numbers]


def summary(data: ReportData, groups: list[Group]) -> str:
    """Return the results in words: what is highest and lowest, by group and by document, without any inference."""
    scales = {(dimension.low, dimension.high) for dimension in data.framework.dimensions}
    parts = [
        "## Summary",
        "These sentences restate the tables below. Each document counts once, with its mean over the runs. Differences "
        "are described, not tested.",
    ]
    for group in groups:
        parts.append(_in_words(data, group, comparable=len(scales) == 1))
    return "\n\n".join(parts)


def _in_words(data: ReportData, group: Group, *, comparable: bool) -> str:
    names = {dimension.name: text(dimension.label) for dimension in data.framework.dimensions}
    scored = sum(bool(record.scores) for record in group.records)
    sentences = [f"**{group.title}**: {scored} of {count(len(group.records), 'analysis', 'analyses')} gave scores."]
    across = {name: group.across_documents(name).mean for name in names}
    if not scored:
        return sentences[0]
    if comparable:
        sentences.append(f"Over all documents, {_extremes(across, names)}.")
    else:
        sentences.append("The dimensions have different scales, so they are not ranked against each other.")
    without = [names[name] for name, mean in across.items() if mean is None]
    if without:
        sentences.append(f"There is no score at all for {series(without)}.")
    lines = [" ".join(sentences)]
    if comparable:
        lines += _documents_in_words(group, names)
    return "\n".join(lines)


def _documents_in_words(group: Group, names: dict[str, str]) -> list[str]:
    means = {name: group.means(name) for name in names}
    lines = [""]
    for document in group.documents[:DOCUMENTS_IN_WORDS]:
        own = {name: means[name][document] for name in names}
        without = [names[name] for name, mean in own.items() if mean is None]
        gap = f"; no score for {series(without)}" if without and len(without) < len(names) else ""
        lines.append(f"- {text(document)}: {_extremes(own, names)}{gap}.")
    if len(group.documents) > DOCUMENTS_IN_WORDS:
        lines.append(f"- … and {count(len(group.documents) - DOCUMENTS_IN_WORDS, 'further document')}, see the tables.")
    return lines


def _extremes(means: dict[str, float | None], names: dict[str, str]) -> str:
    present = {name: mean for name, mean in means.items() if mean is not None}
    if not present:
        return "no score"
    if len(present) == 1:
        name, mean = next(iter(present.items()))
        return f"the only score is {names[name]} ({number(mean)})"
    high, low = max(present.values()), min(present.values())
    if number(high) == number(low):
        return f"all {len(present)} means are {number(high)}"
    return f"highest is {_those(present, names, high)}, lowest is {_those(present, names, low)}"


def _those(present: dict[str, float], names: dict[str, str], value: float) -> str:
    """Return the names of all dimensions that are equal at the precision shown."""
    tied = [names[name] for name, mean in present.items() if number(mean) == number(value)]
    shown = series(tied) if len(tied) <= 3 else f"{series(tied[:3])} and {len(tied) - 3} more"
    return f"{shown} ({number(value)})"


def hypotheses(data: ReportData) -> str:
    """Return each hypothesis with what was planned for it, and what is or is not said about it here."""
    parts = ["## Hypotheses"]
    if not data.experiment.hypotheses:
        return "## Hypotheses\n\nThe experiment states none."
    parts.append(
        "No hypothesis is judged in this report: tests are not part of this version. The tables are descriptive."
    )
    offline = all(model.startswith(OFFLINE_PREFIX) for model in data.experiment.models)
    lines = []
    tests = tests_of(data.experiment.statistical_plan)
    for hypothesis in data.experiment.hypotheses:
        verdict = (
            f"not testable: {text(hypothesis.untestable)}"
            if hypothesis.untestable
            else "tests are not part of this version"
        )
        planned = "".join(_planned(test) for test in tests if hypothesis.name in test.hypotheses)
        lines.append(f"- **{text(hypothesis.name)}**: {text(hypothesis.text)}\n  *{verdict}{planned}.*")
    parts.append("\n".join(lines))
    if offline:
        parts.append("No language model was asked, so nothing here bears on how a language model reads.")
    return "\n\n".join(parts)


def _planned(test: Test) -> str:
    groups = f" by {series([text(name) for name in test.groups])}" if test.groups else ""
    return f"; planned on {series([text(name) for name in test.variables])}{groups}" if test.variables else ""
