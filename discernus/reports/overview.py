"""The report's opening: what was run, and what came out, in words that code derives from the numbers."""

import re
from typing import Any

from discernus.experiments.experiment import OFFLINE_PREFIX, Experiment
from discernus.reports.data import ReportData, TakenOver
from discernus.reports.groups import Group
from discernus.reports.markdown import NONE, count, number, series, table, text
from discernus.reports.methods import validation
from discernus.reports.readability import in_words, readability, readings_of

DOCUMENTS_IN_WORDS = 12
RUN_COUNTED_OFF = "run_counted_off"  # the mark of an answer from an older layout that did not say of which run it is
ZONE_BY_OTHERS = "zone_by_other_logs"  # of one whose own log names no zone, while other logs of its folder prove it

_LABEL = re.compile(
    r"^#{1,6}[ \t]*(?P<heading>[^\n]*\bsample material\b[^\n]*)\n+(?P<body>[^\n#].*?)(?:\n\s*\n|\Z)",
    re.MULTILINE | re.DOTALL | re.IGNORECASE,
)
STATUSES = (
    "Analyses by what came of them. *Scored*: each dimension has a score, or the answer says that the text gives no "
    "ground for one; *partial*: the answer lacks some scores, or all; *parked*: no answer could be had, and the others "
    "went on without it; *pending*: not done yet."
)
_STATUS = {
    "complete": "Complete: every planned analysis has its answer.",
    "partial": "**Partial**: {without} have no usable answer. They are listed under *Gaps*.",
    "paused": "**Paused**: the session has not come to its end. Run the same command again to go on.",
}


def opening(data: ReportData, groups: list[Group]) -> str:
    """Return the title, the label of sample material, the status and the warnings."""
    parts = [f"# {text(data.experiment.title or data.experiment.name)}"]
    label = sample_label(data.experiment)
    if label:
        parts.append(f"> {label}")
    parts += [f"{_status(data)}{_partial(data)}", validation(data.experiment)]
    if any(group.offline for group in groups):
        parts.append(
            "Numbers under a model named `offline/…` come from a **dictionary method** that counts marker phrases. "
            "No language model read the texts for them."
        )
    parts += [f"**Warning:** {text(warning.removeprefix('warning: '))}" for warning in data.warnings]
    parts += [f"**Warning:** {text(said)}: see *Reading of answers*." for said in _alerts(data)]
    return "\n\n".join(parts)


def _alerts(data: ReportData) -> list[str]:
    """Return what to say of models whose answers could often not be read as they stand."""
    threshold = data.experiment.extraction_alert
    found = readability(readings_of(data.records))
    return [in_words(one, threshold) for one in found if one.alarming(threshold)]


def _status(data: ReportData) -> str:
    """Say how the session ended, and how many analyses have no answer of use where some have none."""
    nothing = sum(record.gave_nothing for record in data.records)
    without = f"{nothing:,} of {_planned(data)}" if nothing else "some planned analyses"  # an older layout may not tell
    return _STATUS[data.status].format(without=without)


def _planned(data: ReportData) -> str:
    return count(len(data.records), "planned analysis", "planned analyses")


def _partial(data: ReportData) -> str:
    """Say how many answers lack some of their scores; nothing where none does."""
    partial = sum(record.status == "partial" and bool(record.scores) for record in data.records)
    return f" {partial:,} of {_planned(data)} lack some scores: see *Gaps*." if partial else ""


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
    name, project, session = text(data.experiment.name), text(data.project), text(data.session)
    as_planned = all(record.call and record.read_by == record.model_requested for record in data.records)
    was = "was" if as_planned else "was to be"
    framework = f"*{text(data.framework.display_name)}*, version {text(data.framework.version)}"
    paragraph = (
        f"Experiment *{name}* of project *{project}*, session *{session}*: each of {documents} {was} analysed "
        f"{count(runs, 'time')} by {models or 'no model'} under {count(len(variants), 'variant')} "
        f"({series([text(variant) for variant in variants])}) of the framework {framework}, which scores "
        f"{count(len(data.framework.dimensions), 'dimension')}. {_when(data)}"
    )
    rows = [_row(group) for group in groups]
    headings = ["model", "variant", "model that answered", "planned", "scored", "partial", "parked", "pending"]
    parts = [
        "## What was run",
        paragraph,
        table(headings, rows, left=3),
        STATUSES,
        *(_migrated(data) or _parameters(data)),
    ]
    return "\n\n".join([*parts, *_taken_over(data)])


def _when(data: ReportData) -> str:
    """Say when the session began and ended, as far as that was recorded."""
    if data.clock == "time_not_recorded":
        return "When the session began was not recorded."
    if data.clock == "zone_not_recorded":
        at = text(data.started_at.removesuffix("+00:00"))
        return f"The session began {at} by its author's clock, whose zone was not recorded."
    ended = f" and ended {text(data.finished_at)}" if data.finished_at and data.migrated_from is None else ""
    return f"The session began {text(data.started_at)}{ended} (UTC)."


def _taken_over(data: ReportData) -> list[str]:
    """Return a paragraph on the answers that other sessions were given, and paid for; [] where all are its own."""
    if not data.taken_over:
        return []
    lines = [
        f"- {count(one.answers, 'answer')} from session *{text(one.session)}*, given {_given(one)}: {_paid_there(one)}"
        for one in data.taken_over
    ]
    lead = (
        "Not every answer was given in this session. Where an earlier one had answered the same question, of the same "
        "run, its answer was taken over, byte for byte; nothing was paid for it again:"
    )
    return [lead + "\n\n" + "\n".join(lines)]


def _given(one: TakenOver) -> str:
    if one.first is None or one.last is None:
        return "at times that were not recorded"
    return f"on {one.first} (UTC)" if one.first == one.last else f"from {one.first} to {one.last} (UTC)"


def _paid_there(one: TakenOver) -> str:
    if one.cost_usd is None:
        return "what they cost there is not known."
    more = f", and {count(one.unpriced, 'answer')} of unknown price" if one.unpriced else ""
    return f"they cost {one.cost_usd:.4f} USD there{more}, which is in no sum here."


def _migrated(data: ReportData) -> list[str]:
    """Return that the session is of an older layout, and what is therefore not known of it; [] for one of today."""
    if data.migrated_from is None:
        return []
    return [
        f"The session was migrated from *{text(data.migrated_from)}*, a folder of an older layout; nothing was asked "
        "anew. Parameters were not recorded there. Models, times, tokens and costs are given as far as it has them: "
        "`unrecorded/unknown` stands for a model that it does not name, and what is not recorded is no cost of today.",
        *_counted_off(data),
        *_zoned_by_others(data),
    ]


def _counted_off(data: ReportData) -> list[str]:
    """Return how many runs are no recorded ones; [] where all are."""
    number = sum(RUN_COUNTED_OFF in record.marks for record in data.records)
    if not number:
        return []
    return [
        f"Of {count(number, 'answer')} no run was recorded: the runs of equal questions were counted off in the order "
        f"of their answers, and carry the mark `{RUN_COUNTED_OFF}`. What is said of consistency between runs rests on "
        "these being independent repeats, which nothing shows."
    ]


def _zoned_by_others(data: ReportData) -> list[str]:
    """Return how many times are in UTC by what other logs prove; [] where none is."""
    number = sum(ZONE_BY_OTHERS in record.marks for record in data.records)
    if not number:
        return []
    return [
        f"Of {count(number, 'answer')} the log names no time zone. Their times are in UTC by the zone that other logs "
        f"of the same folder prove, and carry the mark `{ZONE_BY_OTHERS}`."
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
    scored_documents = {group.across_documents(name).n for name in names} - {0}
    if comparable and len(scored_documents) > 1:
        least, most = min(scored_documents), max(scored_documents)
        sentences.append(
            f"Each mean is over the documents that have a score, {least} to {most} of {len(group.documents)}: they are "
            "not the same for every dimension."
        )
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
