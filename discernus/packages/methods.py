"""methods.md: the paragraph for the paper's methods section, made of what was recorded and of nothing else."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Any

from discernus.experiments.experiment import OFFLINE_PREFIX
from discernus.packages.subject import Subject, counted

_ROUTES = {
    "contract_json": "as JSON in the form asked for",
    "json_in_text": "as JSON of another form or amid prose",
    "repaired_json": "as broken JSON that was mended",
    "second_model": "by a second model, numbers that stand literally in the answer alone",
}


def methods_page(subject: Subject) -> str:
    """Return methods.md: a paragraph to take over, and what it does not say."""
    sentences = [
        _what(subject),
        *_models(subject),
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
    variants = f" under {counted(len(experiment.variants), 'prompt variant')}" if len(experiment.variants) > 1 else ""
    return (
        f"We scored {counted(len(definition.documents), 'document')} on "
        f"{counted(len(framework.dimensions), 'dimension')} of the framework {framework.display_name} (version "
        f"{framework.version}), having each document analysed{variants} "
        f"{counted(experiment.runs_per_model, 'time')} by {_each(len(experiment.models))} "
        f"({counted(facts.analyses, 'planned analysis')}), beginning on "
        f"{facts.created_at:%d %B %Y}."
    )


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
        sentences.append(f"{model} answered as {named}, asked with {_asked(settings(model).parameters())}.")
    return sentences


def _asked(parameters: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in parameters.items()) or "the vendor's default parameters"


def _reading(subject: Subject) -> str:
    routes = Counter(str(record.route) for record in subject.records if record.route is not None)
    if not routes:
        return ""
    parts = [f"{routes[route]} {how}" for route, how in _ROUTES.items() if routes[route]]
    return f"Scores were read from the archived answers by rule: {'; '.join(parts)}. No score was computed by a model."


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
    versions = subject.session.facts.versions
    return (
        f"The session was run with discernus {versions.get('discernus', 'of an unknown version')}; all prompts, "
        "answers and scores are in the replication package."
    )
