"""What models.yaml says of models: limits, timeouts, prices, health, fallbacks, and where they run.

The file is optional, and so is each key in it: the defaults stand here, and explained in the file that ships. Which
models serve an analysis is not said here: that is each experiment's own choice.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from discernus.experiments.encoding import NotText, decode
from discernus.experiments.experiment import DEFAULT_MODEL
from discernus.experiments.problems import Problem, ProblemList, did_you_mean
from discernus.experiments.yaml_settings import YamlSettings, read_settings
from discernus.llm.calls import Purpose
from discernus.llm.models_form import GENERAL_KEYS, MODEL_KEYS, PRICE_KEYS, GeneralForm, ModelForm, Written

_Place = tuple[str | int, ...]
_Form = TypeVar("_Form", bound=Written)
_FALLBACKS = ("gemini/gemini-2.5-flash", "gemini/gemini-2.5-pro")
_SUPPORTING: tuple[Purpose, ...] = ("extraction", "synthesis")


class Limits(BaseModel):
    """What a vendor allows us for one model, over all workers; None where nobody has said."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    in_flight: int | None = None


class Price(BaseModel):
    """What a token costs, in USD; ``cached_input_usd`` None: as much as any other token of the input."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    input_usd: float
    output_usd: float
    cached_input_usd: float | None = None


class ModelRules(BaseModel):
    """What holds for one model. None: ``timeout_s`` is the installation's, all else is not known."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    limits: Limits = Limits()
    timeout_s: float | None = None
    failure_threshold: int = 3  # failures in a row before it is quarantined
    quarantine_s: float = 300.0
    health_check_interval_s: float = 60.0
    monitored: bool = True
    price: Price | None = None
    max_input_tokens: int | None = None
    max_output_tokens: int | None = None
    region: str | None = None
    retention: str | None = None  # what its vendor keeps of what it is sent
    answers_as: tuple[str, ...] = ()  # names under which it answers, apart from its own


class ModelsFile(BaseModel):
    """All of models.yaml; without a file, the defaults."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    general: ModelRules = ModelRules()
    models: dict[str, ModelRules] = {}
    fallback_enabled: bool = True
    fallback_models: dict[Purpose, tuple[str, ...]] = dict.fromkeys(_SUPPORTING, _FALLBACKS)

    def rules(self, model: str) -> ModelRules:
        """Return what holds for a model, by its name as experiments write it."""
        return self.models.get(model, self.general)

    def fallbacks(self, purpose: Purpose) -> tuple[str, ...]:
        """Return what may stand in for a model, in order: none for analyses, and none where fallback is off."""
        return self.fallback_models.get(purpose, ()) if self.fallback_enabled else ()

    def candidates(self, purpose: Purpose, named: str) -> tuple[str, ...]:
        """Return what may serve a call, in order: the model named (DEFAULT_MODEL: the first listed), then fallbacks."""
        first = self.fallback_models.get(purpose, ())[:1] if named == DEFAULT_MODEL else (named,)
        return tuple(dict.fromkeys((*first, *self.fallbacks(purpose))))


class ModelsFileInvalid(Exception):
    """A models.yaml that cannot be used as written; ``problems`` holds everything that is wrong with it."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        self.problems = problems
        super().__init__("\n".join(str(problem) for problem in problems))


def read_models_file(path: Path, *, required: bool = False) -> ModelsFile:
    """Return what the file says, the defaults if there is none and it is not ``required``. Raise ModelsFileInvalid.

    It is read again only when it has changed.
    """
    path = path.absolute()
    return _read(path, required, _state(path))


def current_models_file(path: Path) -> ModelsFile:
    """Return what the file says now, or what it said last while it cannot be used: for what lives while it is edited.

    Raise ModelsFileInvalid where it could never be used.
    """
    path = path.absolute()
    try:
        _last[path] = read_models_file(path)
    except ModelsFileInvalid:  # whoever runs the next command is told what is wrong with it
        if path not in _last:
            raise
    return _last[path]


_last: dict[Path, ModelsFile] = {}


def _state(path: Path) -> tuple[int, int, int] | None:
    """Return what tells one version of a file from another, None where there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


@lru_cache(maxsize=8)
def _read(path: Path, required: bool, state: tuple[int, int, int] | None) -> ModelsFile:
    problems = ProblemList(f"{path.parent.name}/{path.name}")
    settings = _settings(path, required, problems)
    models_file = ModelsFile() if settings is None else _models_file(_Reading(settings, problems))
    if problems.found:
        raise ModelsFileInvalid(tuple(sorted(problems.found, key=lambda problem: problem.line or 0)))
    return models_file


def _settings(path: Path, required: bool, problems: ProblemList) -> YamlSettings | None:
    try:
        return read_settings(decode(path.read_bytes(), path.name), problems)
    except FileNotFoundError:
        if required:
            problems.error(None, "there is no such file", "correct DISCERNUS_MODELS_FILE, or unset it")
    except OSError as error:
        problems.error(None, f"the file cannot be read: {error.strerror}", "check what it is, and who may read it")
    except NotText as error:
        problems.error(None, error.what, error.cure)
    return None


@dataclass(frozen=True)
class _Reading:
    """What the file says, and the problems found in it so far."""

    settings: YamlSettings
    problems: ProblemList

    def error(self, place: _Place, what: str, cure: str) -> None:
        self.problems.error(self.settings.line_of(*place), what, cure)


def _models_file(reading: _Reading) -> ModelsFile:
    written = _checked(reading, GeneralForm, reading.settings.values, ())
    named = {
        "timeout_s": written.model_timeout,
        "failure_threshold": written.model_failure_threshold,
        "quarantine_s": written.quarantine_duration,
        "health_check_interval_s": written.health_check_interval,
        "monitored": written.enable_health_monitoring,
    }
    general = ModelRules(**{name: value for name, value in named.items() if value is not None})
    return ModelsFile(
        general=general,
        models=_models(reading, written.models, general),
        fallback_enabled=written.enable_model_fallback is not False,
        fallback_models=_fallback_models(reading, written.fallback_models),
    )


def _checked(reading: _Reading, form: type[_Form], written: Mapping[str, Any], place: _Place) -> _Form:
    """Return what is valid of the keys below a place, and report the rest."""
    valid = dict(written)
    try:
        return form.model_validate(valid)
    except ValidationError as invalid:
        errors = invalid.errors()
    for error in errors:
        key, *inside = error["loc"]
        if error["type"] == "extra_forbidden":
            whose = f"of model '{place[-1]}'" if place else "of models.yaml"
            reading.error((*place, key), f"'{key}' is not a key {whose}", _instead(str(key), form))
        else:
            what = f"'{key}' {'has' if inside else 'is'} {error['input']!r}"
            reading.error((*place, key, *inside), what, f"write {form.model_fields[str(key)].description}")
        valid.pop(str(key), None)
    return form.model_validate(valid)


def _instead(key: str, form: type[Written]) -> str:
    """Return what to do about a key that is unknown there."""
    if form is ModelForm and key in GENERAL_KEYS:
        return "write it at the top of the file: it is for all models"
    if form is GeneralForm and key in MODEL_KEYS:
        return "write it below a model in `models:`"
    known = tuple(form.model_fields)
    return did_you_mean(key, known, f"take it out; the keys are {', '.join(known)}")


def _models(reading: _Reading, written: Any, general: ModelRules) -> dict[str, ModelRules]:
    if written is None:
        return {}
    if not isinstance(written, Mapping):
        reading.error(("models",), "'models' is not a mapping", "write `<model>:` on each line below it")
        return {}
    found = {}
    for model, given in written.items():
        place = ("models", model)
        if not _is_name(model):
            reading.error(place, f"{model!r} is not the name of a model", "write it without spaces")
        elif given is not None and not isinstance(given, Mapping):
            reading.error(place, f"'{model}' has no settings", f"write `{MODEL_KEYS[0]}: …` below it")
        else:
            found[model] = _rules(reading, given or {}, place, general)
    return found


def _rules(reading: _Reading, given: Mapping[str, Any], place: _Place, general: ModelRules) -> ModelRules:
    entry = _checked(reading, ModelForm, given, place)
    own = {
        "limits": Limits(
            requests_per_minute=entry.requests_per_minute,
            tokens_per_minute=entry.tokens_per_minute,
            in_flight=entry.in_flight,
        ),
        "timeout_s": general.timeout_s if entry.model_timeout is None else entry.model_timeout,
        "price": _price(entry),
        "max_input_tokens": entry.max_input_tokens,
        "max_output_tokens": entry.max_output_tokens,
        "region": entry.region,
        "retention": entry.retention,
        "answers_as": tuple(entry.answers_as or ()),
    }
    priced = [key for key in PRICE_KEYS if given.get(key) is not None]
    lacking = [key for key in PRICE_KEYS[:2] if key not in priced]
    if priced and lacking:
        reading.error((*place, priced[0]), f"the price of '{place[-1]}' is not whole", f"write {lacking[0]} as well")
    return general.model_copy(update=own)


def _price(entry: ModelForm) -> Price | None:
    if entry.input_cost_per_token is None or entry.output_cost_per_token is None:
        return None
    return Price(
        input_usd=entry.input_cost_per_token,
        output_usd=entry.output_cost_per_token,
        cached_input_usd=entry.cached_input_cost_per_token,
    )


def _fallback_models(reading: _Reading, written: Any) -> dict[Purpose, tuple[str, ...]]:
    """Return the models for extraction and for prose, each in order: one list for both, or a mapping by purpose."""
    key = "fallback_models"
    if isinstance(written, list):
        return dict.fromkeys(_SUPPORTING, _names(reading, written, (key,)))
    found: dict[Purpose, tuple[str, ...]] = dict.fromkeys(_SUPPORTING, _FALLBACKS)
    if written is None:
        return found
    if not isinstance(written, Mapping):
        cure = f"write `{key}: [<model>]`, or below it `extraction:` and `synthesis:` with a list each"
        reading.error((key,), f"'{key}' is neither a list nor a mapping", cure)
        return found
    for purpose in _SUPPORTING:
        if written.get(purpose) is not None:
            found[purpose] = _names(reading, written[purpose], (key, purpose))
    for purpose in written:
        if purpose == "analysis":
            cure = "write fallback_models in the experiment: which model serves an analysis is its choice"
            reading.error((key, purpose), "fallbacks for analyses stand here", cure)
        elif purpose not in _SUPPORTING:
            cure = did_you_mean(purpose, _SUPPORTING, f"the purposes are {' and '.join(_SUPPORTING)}")
            reading.error((key, purpose), f"'{purpose}' is not a purpose", cure)
    return found


def _names(reading: _Reading, written: Any, place: _Place) -> tuple[str, ...]:
    if not isinstance(written, list):
        reading.error(place, f"'{place[-1]}' is not a list", f"write `{place[-1]}: [<model>]`")
        return ()
    for index, name in enumerate(written):
        if not _is_name(name):
            cure = 'write it as in "gemini/gemini-2.5-flash"'
            reading.error((*place, index), f"{name!r} is not the name of a model", cure)
        elif name in written[:index]:
            reading.error((*place, index), f"'{name}' is listed twice", "keep the first of them")
    return tuple(name for name in written if _is_name(name))


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and bool(re.fullmatch(r"\S+", value)) and value != DEFAULT_MODEL
