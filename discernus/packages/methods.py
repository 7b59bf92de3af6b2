"""methods.md: the paragraph for the paper's methods section, made of what was recorded and of nothing else."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Any

from discernus.experiments.experiment import OFFLINE_PREFIX
from discernus.extraction.extract import Route
from discernus.packages.counting import counted
from discernus.packages.reuse import told_of_reuse
from discernus.packages.subject import Subject
from discernus.sessions.session import SessionFacts

_ROUTES: dict[Route, str] = {
    "contract_json": "as JSON in the form asked for",
    "json_in_text": "as JSON of another form or amid prose",
    "data_block": "as a table of comma-separated values or as YAML",
    "repaired_json": "as broken JSON that was mended",
    "outline": "from labelled lines of prose",
    "second_model": "by a second model, numbers that stand literally in the answer alone",
}


def methods_page(subject: Subject) -> str:
    """Return methods.md: a paragraph to take over, and what it does not say."""
    sentences = [
        _what(subject),
        _answered(subject),
        *_models(subject),
        *told_of_reuse(subject),
        _reading(subject),
        _gaps(subject),
        _software(subject),
    ]
    return "\n".join(
        [
            "# Methods",
            "",
            "A paragraph to take over. Every number in it was counted in the archived session.",
            "",
            " ".join(sentence for sentence in sentences if sentence),
            "",
            "What it cannot say, and a paper should: why this framework, these texts and these models; how the scores",
            "were validated against human judgement; and what the models may have seen of the texts in training.",
            "",
        ]
    )


def _what(subject: Subject) -> str:
    definition, facts = subject.session.definition, subject.session.facts
    experiment, framework = definition.experiment, definition.framework
    documents = counted(len(definition.documents), "document")
    dimensions = counted(len(framework.dimensions), "dimension")
    variants = f" under {counted(len(experiment.variants), 'prompt variant')}" if len(experiment.variants) > 1 else ""
    scored, having = f"We scored {documents} on", "having each document analysed"
    if not subject.is_answered:
        scored = f"{documents} {'was' if len(definition.documents) == 1 else 'were'} to be scored on"
        having = "each document to be analysed"
    return (
        f"{scored} {dimensions} of the framework {framework.display_name} (version {framework.version}), "
        f"{having}{variants} {counted(experiment.runs_per_model, 'time')} by {_each(len(experiment.models))} "
        f"({counted(facts.analyses, 'planned analysis')}), beginning {_beginning(facts)}."
    )


def _beginning(facts: SessionFacts) -> str:
    """Return the day on which the session began, as far as it was recorded."""
    if facts.clock == "time_not_recorded":
        return facts.opened
    zone = " by a clock whose zone was not recorded" if facts.clock == "zone_not_recorded" else ""
    return f"on {facts.created_at:%d %B %Y}{zone}"


def _answered(subject: Subject) -> str:
    """Say how many analyses were answered, where these are not all."""
    if subject.is_answered:
        return ""
    answered = len(subject.answered)
    return f"Of these, {answered or 'none'} {'was' if answered < 2 else 'were'} answered."


def _each(models: int) -> str:
    return "one model" if models == 1 else f"each of {models} models"


def _models(subject: Subject) -> list[str]:
    answered: dict[str, Counter[str]] = defaultdict(Counter)
    for record in subject.records:
        if record.model_asked is not None:
            answered[record.model_asked][record.model_answered or "a version it did not name"] += 1
    sentences = []
    settings = subject.session.definition.experiment.settings_of
    for model, versions in sorted(answered.items()):
        if model.startswith(OFFLINE_PREFIX):
            sentences.append(f"{model} is a dictionary method that counts marker phrases, not a language model.")
            continue
        named = ", ".join(f"{version} ({counted(times, 'answer')})" for version, times in sorted(versions.items()))
        known = subject.session.facts.migrated_from is None
        asked = _asked(settings(model).parameters()) if known else "parameters that were not recorded"
        sentences.append(f"{model} answered as {named}, asked with {asked}.")
    return sentences


def _asked(parameters: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in parameters.items()) or "the vendor's default parameters"


def _reading(subject: Subject) -> str:
    if not subject.answered:
        return ""
    routes = Counter(record.route for record in subject.answered)
    parts = [f"{routes[route]} {how}" for route, how in _ROUTES.items() if routes[route]]
    if routes[None]:
        parts.append(f"{routes[None]} gave none that could be read")
    answers = counted(len(subject.answered), "archived answer")
    return f"Scores were read from {answers} by rule: {'; '.join(parts)}. No score was computed by a model."


def _gaps(subject: Subject) -> str:
    silent = sum(record.gave_nothing for record in subject.records)
    values = sum(len(record.missing) for record in subject.records if not record.gave_nothing)
    if not silent and not values:
        return "Every analysis gave every score."
    return (
        f"Of {counted(len(subject.records), 'planned analysis')}, {silent} gave no "
        f"score, and {counted(values, 'single score')} of the others "
        f"{'is' if values == 1 else 'are'} missing; missing scores were left out and never estimated."
    )


def _software(subject: Subject) -> str:
    facts, packed = subject.session.facts, subject.versions["discernus"]
    if facts.migrated_from is not None:
        ran = f"by an earlier program, and its records were migrated and read with discernus {packed}"
    else:
        ran = f"with discernus {subject.ran or 'of a version that was not recorded'}"
    return f"The session was run {ran}; all prompts, answers and scores are in the replication package."
