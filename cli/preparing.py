"""What a run may call, settled before anything is opened: candidates for each purpose, and who may not be asked."""

from __future__ import annotations

import os
from dataclasses import dataclass

from cli.exits import INVALID, CommandError
from discernus.experiments.definition import Definition
from discernus.experiments.experiment import OFFLINE_PREFIX
from discernus.llm import proxy
from discernus.llm.calls import Purpose
from discernus.llm.catalogue import facts_of
from discernus.llm.models_file import ModelsFile, ModelsFileInvalid, read_models_file
from discernus.llm.policy import why_outside
from discernus.sessions.integrity.signing import KeyUnusable, read_private_key
from discernus.sessions.session import Session
from discernus.settings import Settings
from discernus.stages.prompting import doubts, unfit

# what tells that calls to a vendor can be made from here, where that is not VENDOR_API_KEY
TOKENS = {
    "gemini": ("GEMINI_API_KEY", "GOOGLE_API_KEY"),
    "vertex_ai": ("GOOGLE_APPLICATION_CREDENTIALS", "VERTEXAI_CREDENTIALS", "VERTEXAI_PROJECT"),
    "hosted_vllm": ("HOSTED_VLLM_API_BASE",),
    "bedrock": ("AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_BEARER_TOKEN_BEDROCK"),
    "together_ai": ("TOGETHERAI_API_KEY", "TOGETHER_AI_API_KEY", "TOGETHER_API_KEY"),
    "perplexity": ("PERPLEXITYAI_API_KEY", "PERPLEXITY_API_KEY"),
}
_DOING: dict[Purpose, str] = {"extraction": "reading answers", "synthesis": "writing prose"}
KEYLESS = frozenset({"ollama", "ollama_chat", "lm_studio", "llamafile"})


@dataclass(frozen=True)
class Prepared:
    """The models that a run may call, ``named`` by its author or fallbacks of the installation that have their key.

    ``notes`` say, in words, what is odd about the prompts, and which of the installation's fallbacks are left out.
    """

    models_file: ModelsFile
    named: tuple[str, ...]
    extraction_models: tuple[str, ...]
    synthesis_models: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def models(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys([*self.named, *self.extraction_models, *self.synthesis_models]))

    def timeouts_s(self) -> dict[str, float]:
        """Return the seconds that calls may take, of the models that have a time of their own."""
        timeouts = {model: self.models_file.rules(model).timeout_s for model in self.models}
        return {model: timeout for model, timeout in timeouts.items() if timeout is not None}


def prepare(settings: Settings, definition: Definition) -> Prepared:
    """Return what a run may call. Raise CommandError for a model that is named and may not be asked, or for a signing
    key that cannot be used."""
    _check_signing_key(settings)
    models_file = models_file_of(settings)
    candidates = {
        purpose: models_file.candidates(purpose, wanted) if wanted is not None else ()
        for purpose, wanted in _supporting(definition).items()
    }
    _refuse(unfit(definition, models_file))
    first = tuple(models[0] for models in candidates.values() if models)
    named = _named(definition, first)
    every = dict.fromkeys([*named, *(model for models in candidates.values() for model in models)])
    refused = {model: why_not(settings, definition, models_file, model) for model in every}
    _refuse([*(reason for model in named if (reason := refused[model])), *_no_writers(candidates["synthesis"][:1])])
    usable: dict[Purpose, tuple[str, ...]] = {}
    notes = doubts(definition, models_file)
    for purpose, models in candidates.items():
        left_out = {}
        for model in models[1:]:
            reason = refused[model] or ("" if has_usual_key(settings, model) else "its key is not set here")
            if reason and model not in named:
                left_out[model] = reason
        usable[purpose] = tuple(model for model in models if model not in left_out)
        notes += [f"{one} does not stand in for {models[0]} in {_DOING[purpose]}: {left_out[one]}" for one in left_out]
    return Prepared(models_file, named, usable["extraction"], usable["synthesis"], tuple(notes))


def _supporting(definition: Definition) -> dict[Purpose, str | None]:
    """Return the models that the experiment names for what is not an analysis, by purpose."""
    experiment = definition.experiment
    return {"extraction": experiment.extraction_model, "synthesis": experiment.synthesis_model}


def _no_writers(models: tuple[str, ...]) -> list[str]:
    """Return why these write no prose; [] where they may."""
    return [
        f"synthesis_model {model!r} counts phrases and writes no prose: name a language model, or leave it out"
        for model in models
        if model.startswith(OFFLINE_PREFIX)
    ]


def prepare_again(settings: Settings, session: Session, *, asking: bool = True) -> Prepared:
    """Return what a session that goes on may call, as it was settled; nothing unless it is ``asking``, for then every
    answer is there. Raise CommandError for what may not be asked now, or for a signing key that cannot be used."""
    _check_signing_key(settings)
    models_file = models_file_of(settings)
    if not asking:
        return Prepared(models_file, (), ())
    named = _named(session.definition, (*session.extraction_models, *session.facts.synthesis_models))
    reasons = [why_not(settings, session.definition, models_file, model) for model in named]
    if session.facts.proxied and settings.proxy_url is None:
        reasons.append(f"{session.facts.session} was begun through a proxy: pass --proxy, or set DISCERNUS_PROXY_URL")
    _refuse([reason for reason in reasons if reason])
    return Prepared(models_file, named, session.extraction_models, session.facts.synthesis_models)


def _check_signing_key(settings: Settings) -> None:
    """Refuse a key now that could not sign the session's seal at its end."""
    if settings.signing_key is not None:
        try:
            read_private_key(settings.signing_key, settings.projects_dir)
        except KeyUnusable as unusable:
            raise CommandError(f"{unusable}; or unset DISCERNUS_SIGNING_KEY", INVALID) from unusable


def models_file_of(settings: Settings) -> ModelsFile:
    try:
        return read_models_file(settings.models_path, required=settings.models_file is not None)
    except ModelsFileInvalid as invalid:
        raise CommandError(str(invalid), INVALID) from invalid


def _named(definition: Definition, others: tuple[str, ...]) -> tuple[str, ...]:
    experiment = definition.experiment
    fallbacks = [model for models in experiment.fallback_models.values() for model in models]
    return tuple(dict.fromkeys([*experiment.models, *fallbacks, *others]))


def _refuse(reasons: list[str]) -> None:
    if reasons:
        raise CommandError("\n".join(f"error: {reason}" for reason in dict.fromkeys(reasons)), INVALID)


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
    names = TOKENS.get(vendor, (f"{vendor.upper()}_API_KEY",))
    return bool(slash) and any(os.environ.get(name) for name in names)
