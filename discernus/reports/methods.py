"""The methods as run: what reporting guidelines ask of studies that have language models annotate texts.

What the session recorded is counted here; what only its author knows is a blank that nobody can overlook.
"""

from __future__ import annotations

from collections import Counter

from discernus.experiments.experiment import OFFLINE_PREFIX, Experiment
from discernus.reports.data import ReportData
from discernus.reports.markdown import count, series, text
from discernus.reports.records import AnalysisRecord

NOT_VALIDATED = (
    "**Not validated against human coding.** No score below has been compared with what human coders make of these "
    "texts. Agreement between runs is no such comparison."
)


def validation(experiment: Experiment) -> str:
    """Return what the first page says of human coding: that there was none, or what the author says of it."""
    if experiment.human_validation is None:
        return NOT_VALIDATED
    return f"**Validation against human coding**, as the author states it: {text(experiment.human_validation)}"


_ROUTES = {
    "contract_json": "as JSON in the form asked for",
    "json_in_text": "as JSON of another form or amid prose",
    "data_block": "as a table of comma-separated values or as YAML",
    "repaired_json": "as broken JSON that was mended",
    "outline": "from the lines of a written outline",
    "second_model": "by a second model, numbers that stand in the answer alone",
}


def methods(data: ReportData) -> str:
    """Return the section: an item a line, each answered from the records or left blank for the author."""
    items = [
        ("Purpose, and what the scores are to show", _blank("the question, and why a model's reading answers it")),
        ("Texts", f"{count(len(data.documents), 'document')}. {_blank('how they were chosen, from what population')}"),
        ("Models asked, and versions that answered", _models(data)),
        ("Days of access", _days(data)),
        ("Service", _services(data)),
        ("Parameters", "none; no language model was asked" if _offline(data) else "under *What was run*"),
        ("Prompts", _prompts(data)),
        ("Counts", _counts(data)),
        ("Repeats", f"{count(data.experiment.runs_per_model, 'run')} of each text by each model under each variant"),
        ("How scores were read from answers", _routes(data)),
        ("Missing scores", "left out of every figure, and named under *Gaps*; none is estimated"),
        ("Stated confidence", "kept in `results.csv`; it weighs and filters nothing"),
        ("Validation against human coding", _validation(data)),
        ("Exclusions", f"none by this program; what is missing is under *Gaps*. {_blank('texts left out, and why')}"),
        ("Deviations from a plan", _deviations(data)),
        ("Seeds", _seeds(data)),
        ("Software", _software(data)),
        ("Training data", "whether a model saw these texts before is not known to this program"),
        (
            "Personal data and consent",
            _blank("whether the texts hold personal data, and on what ground they were sent"),
        ),
        ("Funding and interests", _blank("who paid, and who has an interest in the result")),
    ]
    lines = "\n".join(f"- **{name}**: {answer}{'' if answer.endswith(('.', '**')) else '.'}" for name, answer in items)
    return f"## Methods as run\n\nWhat stands in bold brackets only the author knows.\n\n{lines}"


def _blank(what: str) -> str:
    return f"**&#91;to be filled in by the author: {what}&#93;**"


def _offline(data: ReportData) -> bool:
    """Whether no language model was asked."""
    return all(record.read_by.startswith(OFFLINE_PREFIX) for record in data.records)


def _answered(data: ReportData) -> list[AnalysisRecord]:
    return [record for record in data.records if record.call is not None]


def _models(data: ReportData) -> str:
    versions: dict[str, Counter[str]] = {}
    for record in _answered(data):
        asked = record.model_asked or record.model_requested
        versions.setdefault(asked, Counter())[record.model_answered or "a version that it did not name"] += 1
    told = [
        f"{text(model)}{' (a dictionary method, no language model)' if model.startswith(OFFLINE_PREFIX) else ''}, "
        f"answered as {series([f'{text(name)} ({number:,})' for name, number in sorted(counted.items())])}"
        for model, counted in sorted(versions.items())
    ]
    return "; ".join(told) or "no model has answered"


def _days(data: ReportData) -> str:
    days = sorted(record.answered_at[:10] for record in _answered(data) if record.answered_at is not None)
    unknown = len(_answered(data)) - len(days)
    more = f"; of {count(unknown, 'answer')} the time is not known" if unknown else ""
    if not days:
        return "not known"
    return (days[0] if days[0] == days[-1] else f"{days[0]} to {days[-1]}") + f" (UTC){more}"


def _validation(data: ReportData) -> str:
    stated = data.experiment.human_validation
    if stated is not None:
        return f"as the author states it: {text(stated)}"
    return f"none. {_blank('any validation done elsewhere, with its figures, or `human_validation` in experiment.md')}"


def _services(data: ReportData) -> str:
    told = [
        f"{text(one.model)} at {text(one.vendor or 'a vendor that is not known')}"
        + (f", {text(one.region)}" if one.region else "")
        for one in data.destinations
    ]
    if not told and _offline(data):
        return "none; no model was asked over a network"
    return "; ".join(told) or "not recorded"


def _prompts(data: ReportData) -> str:
    names = series([text(name) for name in data.experiment.variants])
    return (
        f"{count(len(data.experiment.variants), 'variant')} ({names}) in `framework_snapshot.md`; each prompt word for "
        "word under `llm_archive/messages/`, named by its request"
    )


def _counts(data: ReportData) -> str:
    read = sum(record.route is not None for record in data.records)
    scored = sum(bool(record.scores) for record in data.records)
    return (
        f"{count(len(data.records), 'analysis', 'analyses')} planned, {len(_answered(data)):,} answered, {read:,} "
        f"read, {scored:,} with a score, which are those in the tables"
    )


def _routes(data: ReportData) -> str:
    routes = Counter(record.route for record in data.records if record.route is not None)
    told = "; ".join(f"{number:,} {_ROUTES[route]}" for route, number in routes.most_common()) or "none was read"
    return told if _offline(data) else f"{told}; by model under *Reading of answers*"


def _deviations(data: ReportData) -> str:
    if data.preregistration is not None:
        return "under *Registration and earlier sessions*"
    return f"no plan was registered. {_blank('what was planned beforehand, and what was done otherwise')}"


def _seeds(data: ReportData) -> str:
    asked = {
        (record.model_asked or record.model_requested, str(record.parameters["seed"]))
        for record in data.records
        if record.parameters.get("seed") is not None
    }
    told = [f"{text(seed)} asked of {text(model)}" for model, seed in sorted(asked)]
    return "; ".join(told) or "none was asked of a model"


def _software(data: ReportData) -> str:
    return ", ".join(f"{text(name)} {text(version)}" for name, version in sorted(data.versions.items())) or "not known"
