"""Which models an experiment asks, with what settings, and which stand in for them: those keys of experiment.md."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from discernus.experiments.experiment import DEFAULT_MODEL, OFFLINE_PREFIX, ModelSettings
from discernus.experiments.experiment_reading import ExperimentReading
from discernus.experiments.problems import did_you_mean

SETTINGS = tuple(ModelSettings.model_fields)
FALLBACKS = "fallback_models"


def read_models(reading: ExperimentReading) -> dict[str, Any]:
    """Return the fields of an Experiment that say which models are asked for an analysis, and how.

    What is set for a model is put together from what is set for all, for it, and beside its name; the last wins.
    """
    general = _parameters(reading)
    beside = _listed_models(reading)
    fallbacks = _fallbacks(reading, tuple(beside))
    own = beside | {each: {} for each in _stand_ins(fallbacks) if each in general and each not in beside}
    if reading.overrides.models is None:
        for model in general:
            if model != "default" and model not in own:
                cure = did_you_mean(model, own, "add it to models, or take it out")
                reading.odd(["parameters", model], f"parameters are given for '{model}', which is not in models", cure)
    default = general.get("default", {})
    merged = {model: {**default, **general.get(model, {}), **values} for model, values in own.items()}
    return {
        "models": tuple(beside),
        "parameters": {model: ModelSettings(**values) for model, values in merged.items() if values},
        "fallback_models": fallbacks,
    }


def read_model(reading: ExperimentReading, key: str) -> str | None:
    """Return the model named at a key, DEFAULT_MODEL among them, or None where none is named."""
    value = reading.values.get(key)
    return None if value is None else _name(reading, value, [key], default=True)


def _name(reading: ExperimentReading, value: Any, place: Sequence[str | int], *, default: bool = False) -> str | None:
    """Return the name of a model (with ``default``, DEFAULT_MODEL too), or None after reporting that it is none."""
    if not isinstance(value, str) or not value or (value == DEFAULT_MODEL and not default):
        cure = 'write it as in "gemini/gemini-2.5-flash"'
        reading.error(place, f"{value!r} is not the name of a model", cure)
        return None
    if not re.fullmatch(r"\S+", value) or not value.isprintable():
        cure = f"write it without spaces: '{re.sub(r'[^!-~]+', '', value)}'"
        reading.error(place, f"model '{value}' has a space or an invisible character in its name", cure)
        return None
    return value


def _listed_models(reading: ExperimentReading) -> dict[str, dict[str, Any]]:
    """Return the models in order, each with the settings that stand beside its name."""
    overridden = reading.overrides.models is not None
    written = list(reading.overrides.models) if reading.overrides.models is not None else reading.values.get("models")
    if written is None or written == []:
        reading.error(["models"], "the experiment names no model", "write `models:` and below it `  - <model>`")
        return {}
    if not isinstance(written, list):
        reading.error(["models"], "'models' is not a list", "write each model on its own line, after a dash")
        return {}
    beside: dict[str, dict[str, Any]] = {}
    for index, entry in enumerate(written):
        place: list[str | int] = [] if overridden else ["models", index]
        given = dict(entry) if isinstance(entry, Mapping) else {"model": entry}
        model = _name(reading, given.pop("model", None), place)
        if model in beside:
            reading.error(place, f"model '{model}' is listed twice", "keep one of them; runs_per_model repeats it")
        elif model is not None:
            beside[model] = _settings(reading, given, place)
    return beside


def _parameters(reading: ExperimentReading) -> dict[str, dict[str, Any]]:
    key = "parameters"
    written = reading.values.get(key) or {}
    if not isinstance(written, Mapping):
        reading.error([key], "'parameters' is not a mapping", "write `default:` below it, and the settings below that")
        return {}
    found = {}
    for model, given in written.items():
        if not isinstance(given, Mapping):
            cure = f"write `{key}:`, below it `default:` or a model, and below that `{model}: …`"
            reading.error([key, model], f"'{model}' stands where a model's name is expected", cure)
        else:
            found[model] = _settings(reading, given, [key, model])
    return found


def _settings(reading: ExperimentReading, given: Mapping[str, Any], place: Sequence[str | int]) -> dict[str, Any]:
    """Return the settings that are valid, and report the others."""
    valid = {}
    for name, value in given.items():
        try:
            ModelSettings.model_validate({name: value}, strict=True)
        except ValidationError as error:
            if name in SETTINGS:
                what = f"'{name}' is {value!r}: {error.errors()[0]['msg']}"
                reading.error([*place, name], what, "correct the value, or leave it out for the vendor's default")
            else:
                cure = did_you_mean(name, SETTINGS, f"the parameters are {', '.join(SETTINGS)}")
                reading.error([*place, name], f"'{name}' is not a parameter of a model", cure)
            continue
        valid[name] = value
    return valid


def _fallbacks(reading: ExperimentReading, models: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return by model what stands in for it. A list is for all models but those that run offline and cannot fail."""
    written = reading.values.get(FALLBACKS)
    if written is None:
        return {}
    if isinstance(written, list):
        asked = [model for model in models if not model.startswith(OFFLINE_PREFIX)]
        found = dict.fromkeys(asked, _fallback_names(reading, written, [FALLBACKS], asked))
    elif isinstance(written, Mapping):
        found = {
            model: _fallback_names(reading, given, [FALLBACKS, model], [model])
            for model, given in written.items()
            if _is_asked(reading, model, models)
        }
    else:
        cure = f"write `{FALLBACKS}: [<model>]`, or below it a list for each model"
        reading.error([FALLBACKS], f"'{FALLBACKS}' is neither a list nor a mapping", cure)
        return {}
    others = {model: tuple(name for name in names if name != model) for model, names in found.items()}
    return {model: names for model, names in others.items() if names}


def _is_asked(reading: ExperimentReading, model: str, models: Sequence[str]) -> bool:
    """Return whether the experiment asks that model; report it if not, unless the command line chose the models."""
    if model not in models and reading.overrides.models is None:
        cure = did_you_mean(model, models, "add it to models, or take it out")
        reading.odd([FALLBACKS, model], f"fallbacks are given for '{model}', which is not in models", cure)
    return model in models


def _fallback_names(
    reading: ExperimentReading, written: Any, place: Sequence[str | int], asked: Sequence[str]
) -> tuple[str, ...]:
    """Return the names in a list that is for the models asked; naming one of them is a mistake in the file's own."""
    if not isinstance(written, list):
        reading.error(place, f"'{place[-1]}' has no list of fallbacks", f"write `{place[-1]}: [<model>]`")
        return ()
    names: list[str] = []
    for index, entry in enumerate(written):
        name = _name(reading, entry, [*place, index])
        if name in names:
            reading.error([*place, index], f"fallback '{name}' is listed twice", "keep the first of them")
        elif name in asked and reading.overrides.models is None:
            cure = f"take it out, or write below `{FALLBACKS}:` a list for each model"
            reading.error([*place, index], f"model '{name}' is listed as its own fallback", cure)
        elif name is not None:
            names.append(name)
    return tuple(names)


def _stand_ins(fallbacks: Mapping[str, Sequence[str]]) -> list[str]:
    return list(dict.fromkeys(name for names in fallbacks.values() for name in names))
