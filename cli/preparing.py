"""What a run may call, settled before anything is opened: candidates for each purpose, and who may not be asked."""

from __future__ import annotations

import os
from dataclasses import dataclass

from cli.exits import INVALID, CommandError
from discernus.experiments.definition import Definition
from discernus.experiments.experiment import DEFAULT_MODEL, OFFLINE_PREFIX
from discernus.llm import proxy
from discernus.llm.catalogue import facts_of
from discernus.llm.models_file import ModelsFile, ModelsFileInvalid, read_models_file
from discernus.llm.policy import why_outside
from discernus.settings import Settings

USUAL_KEYS = {"gemini": ("GEMINI_API_KEY", "GOOGLE_API_KEY")}
KEYLESS = frozenset({"ollama", "ollama_chat", "lm_studio", "llamafile"})


@dataclass(frozen=True)
class Prepared:
    """The models that a run may call, ``named`` by its author or fallbacks of the installation that have their key."""

    models_file: ModelsFile
    named: tuple[str, ...]
    extraction_models: tuple[str, ...]

    @property
    def models(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys([*self.named, *self.extraction_models]))

    def timeouts_s(self) -> dict[str, float]:
        """Return the seconds that calls may take, of the models that have a time of their own."""
        timeouts = {model: self.models_file.rules(model).timeout_s for model in self.models}
        return {model: timeout for model, timeout in timeouts.items() if timeout is not None}


def prepare(settings: Settings, definition: Definition) -> Prepared:
    """Return what a run may call. Raise CommandError for a model that is named and may not be asked."""
    try:
        models_file = read_models_file(settings.models_path, required=settings.models_file is not None)
    except ModelsFileInvalid as invalid:
        raise CommandError(str(invalid), INVALID) from invalid
    experiment = definition.experiment
    fallbacks = [model for models in experiment.fallback_models.values() for model in models]
    wanted = experiment.extraction_model
    candidates = models_file.candidates("extraction", wanted) if wanted is not None else ()
    explicit = [*experiment.models, *fallbacks, *([wanted] if wanted not in (None, DEFAULT_MODEL) else [])]
    named = tuple(dict.fromkeys(model for model in explicit if model is not None))
    refused = {model: why_not(settings, definition, models_file, model) for model in (*named, *candidates)}
    reasons = [reason for model in named if (reason := refused[model])]
    if not reasons and wanted == DEFAULT_MODEL:
        candidates = tuple(model for model in candidates if refused[model] is None)
        if not candidates:
            reasons = ["no model of models.yaml's fallback_models may read this experiment's answers; name another"]
    if reasons:
        raise CommandError("\n".join(f"error: {reason}" for reason in reasons), INVALID)
    usable = [
        model for model in candidates if model in named or (refused[model] is None and has_usual_key(settings, model))
    ]
    return Prepared(models_file, named, tuple(usable or candidates[:1]))  # whose key is missing is said later


def why_not(settings: Settings, definition: Definition, models_file: ModelsFile, model: str) -> str | None:
    """Return why an experiment's texts may not go to a model from here, with a cure; None where they may."""
    policy, rules = definition.experiment.data_policy, models_file.rules(model)
    outside = None if policy is None else why_outside(policy, model, facts_of(model, rules).vendor or None, rules)
    return outside or proxy.why_not(settings, model)


def has_usual_key(settings: Settings, model: str) -> bool:
    """Return whether the key is there under the name that most vendors' keys have: ``OPENAI_API_KEY`` for openai/…."""
    if model.startswith(OFFLINE_PREFIX):
        return True
    if proxy.serves(settings, model):
        return bool(os.environ.get(proxy.KEY))
    vendor, slash, _ = model.partition("/")
    if vendor in KEYLESS:
        return True
    names = USUAL_KEYS.get(vendor, (f"{vendor.upper()}_API_KEY",))
    return bool(slash) and any(os.environ.get(name) for name in names)
