"""Reading experiment.md: its front matter into an Experiment, with every problem and its line.

``format: 1`` is the current form, where what cannot be meant is an error. Without it the file is in the older form,
which runs with warnings.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from discernus.canonical import canonical_json
from discernus.experiments.encoding import NotText, decode
from discernus.experiments.experiment import Experiment, Hypothesis, ModelSettings
from discernus.experiments.front_matter import FrontMatter, read_front_matter
from discernus.experiments.problems import Problem, ProblemList, did_you_mean, has_errors

KEYS = (
    "format",
    "title",
    "framework_file",
    "corpus",
    "analysis_variant",
    "models",
    "runs_per_model",
    "parameters",
    "extraction_model",
    "synthesis_model",
    "hypotheses",
    "statistical_plan",
    "budget_usd",
    "concurrency",
    "pin_versions",
)
OLDER_KEYS = {"workflow", "definition_of_success", "name", "description", "hypothesis", "validation", "num_runs"}
SETTINGS = tuple(ModelSettings.model_fields)
CURRENT_FORMAT = 1


@dataclass(frozen=True)
class Overrides:
    """What the command line says in place of the file; None leaves the file's value."""

    models: Sequence[str] | None = None
    runs: int | None = None
    concurrency: int | None = None


@dataclass
class ExperimentReading:
    """An experiment as far as it could be read, with what later checks need: the lines and the problems."""

    problems: ProblemList
    front_matter: FrontMatter | None = None
    experiment: Experiment | None = None
    overrides: Overrides = field(default_factory=Overrides)

    @property
    def values(self) -> Mapping[str, Any]:
        return self.front_matter.values if self.front_matter else {}

    @property
    def current(self) -> bool:
        return self.values.get("format") is not None

    def text_at(self, key: str) -> str | None:
        value = self.values.get(key)
        return value.strip() if isinstance(value, str) and value.strip() else None

    def line_of(self, *path: str | int) -> int | None:
        return self.front_matter.line_of(*path) if self.front_matter else None

    def error(self, path: Sequence[str | int], what: str, cure: str) -> None:
        self.problems.error(self.line_of(*path), what, cure)

    def warn(self, path: Sequence[str | int], what: str, cure: str) -> None:
        self.problems.warn(self.line_of(*path), what, cure)

    def odd(self, path: Sequence[str | int], what: str, cure: str) -> None:
        """Add an error in the current form, a warning in the older one."""
        (self.error if self.current else self.warn)(path, what, cure)


def read_experiment(path: Path, *, file: str | None = None) -> tuple[Experiment | None, tuple[Problem, ...]]:
    """Return the experiment in a file, or None, and every problem found; ``file`` names it in messages.

    What needs the framework or the corpus (variants, hypotheses, a framework to fall back on) is not checked here.
    """
    name = file or path.name
    try:
        data = path.read_bytes()
    except OSError as error:
        return None, (Problem(name, None, f"the file cannot be read: {error.strerror}", "check that it is there"),)
    reading = parse_experiment(data, path.resolve().parent.name, name)
    return reading.experiment, tuple(reading.problems.found)


def parse_experiment(data: bytes, name: str, file: str, overrides: Overrides | None = None) -> ExperimentReading:
    """Return the reading of a file's bytes; ``name`` is the experiment's, ``file`` names the file in messages."""
    reading = ExperimentReading(ProblemList(file), overrides=overrides or Overrides())
    try:
        text = decode(data, file)
    except NotText as error:
        reading.problems.error(None, error.what, error.cure)
        return reading
    reading.front_matter = read_front_matter(text, reading.problems)
    if reading.front_matter is None:
        return reading
    _check_format(reading)
    _check_keys(reading)
    models, parameters = _models(reading)
    title = _optional_text(reading, "title") or _heading(reading.front_matter.body) or name
    fields = {
        "framework_file": _optional_text(reading, "framework_file") or "framework.md",
        "corpus": _optional_text(reading, "corpus") or "corpus",
        "variants": _variants(reading),
        "models": models,
        "runs_per_model": _runs(reading),
        "parameters": parameters,
        "extraction_model": _model_at(reading, "extraction_model"),
        "synthesis_model": _model_at(reading, "synthesis_model"),
        "hypotheses": _hypotheses(reading),
        "statistical_plan": _plan(reading),
        "budget_usd": _budget(reading),
        "concurrency": _count(reading, "concurrency", reading.overrides.concurrency),
        "pin_versions": _flag(reading, "pin_versions"),
    }
    if not has_errors(reading.problems.found):
        form = CURRENT_FORMAT if reading.current else 0
        digest = sha256(data).hexdigest()
        reading.experiment = Experiment(name=name, title=title, format=form, text=text, sha256=digest, **fields)
    return reading


def _check_format(reading: ExperimentReading) -> None:
    written = reading.values.get("format")
    if not reading.current:
        cure = f"add `format: {CURRENT_FORMAT}` once the warnings are settled; they are errors then"
        reading.problems.warn(1, "the experiment is in the older form", cure)
    elif written is True or written != CURRENT_FORMAT:
        reading.error(["format"], f"format {written!r} is not known", f"write `format: {CURRENT_FORMAT}`")


def _check_keys(reading: ExperimentReading) -> None:
    for key in reading.values:
        if key in KEYS:
            continue
        if key in OLDER_KEYS:
            reading.odd([key], f"'{key}' belongs to an older form and has no effect", "it can be taken out")
        else:
            cure = did_you_mean(key, KEYS, f"take it out; the keys are {', '.join(KEYS)}")
            reading.odd([key], f"'{key}' is not a key of an experiment", cure)


def _optional_text(reading: ExperimentReading, key: str) -> str | None:
    value = reading.values.get(key)
    if value is None:
        return None
    if not isinstance(value, str) or not value.strip():
        reading.error([key], f"'{key}' is not text", f"write `{key}: …`, in quotes if need be")
        return None
    return value.strip()


def _heading(body: str) -> str | None:
    heading = re.search(r"^#\s+(.+?)\s*#*\s*$", body, re.MULTILINE)
    return heading[1] if heading else None


def _variants(reading: ExperimentReading) -> tuple[str, ...]:
    key = "analysis_variant"
    written = reading.values.get(key)
    if written is None:
        return ("default",)
    names = written if isinstance(written, list) else [written]
    if not names or not all(isinstance(name, str) and name.strip() for name in names):
        reading.error([key], f"'{key}' is neither a name nor a list of names", f"write `{key}: default`")
        return ()
    for index, name in enumerate(names):
        if name in names[:index]:
            reading.error([key, index], f"variant '{name}' is listed twice", "keep one of them")
    return tuple(names)


def _runs(reading: ExperimentReading) -> int:
    key = "runs_per_model"
    if reading.values.get(key) is None and reading.overrides.runs is None:
        reading.warn([], f"'{key}' is not given; each text is read once", f"write `{key}: 3` to measure consistency")
    return _count(reading, key, reading.overrides.runs) or 1


def _count(reading: ExperimentReading, key: str, override: int | None) -> int | None:
    """Return a whole number of at least 1, from the command line or the file."""
    value = reading.values.get(key) if override is None else override
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        place = [key] if override is None else []
        reading.error(place, f"'{key}' is {value!r}", f"write a whole number of at least 1, such as `{key}: 6`")
        return None
    return value


def _budget(reading: ExperimentReading) -> float | None:
    key = "budget_usd"
    value = reading.values.get(key)
    if value is None:
        return None
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not 0 <= value < float("inf"):
        reading.error([key], f"'{key}' is {value!r}", f"write an amount in US dollars, 0 or more: `{key}: 5`")
        return None
    return float(value)


def _flag(reading: ExperimentReading, key: str) -> bool:
    value = reading.values.get(key, False)
    if not isinstance(value, bool):
        reading.error([key], f"'{key}' is {value!r}", f"write `{key}: true` or `{key}: false`")
        return False
    return value


def _model_at(reading: ExperimentReading, key: str) -> str | None:
    value = reading.values.get(key)
    if value is None:
        return None
    return _model_name(reading, value, [key])


def _model_name(reading: ExperimentReading, value: Any, place: Sequence[str | int]) -> str | None:
    if not isinstance(value, str) or not value:
        cure = 'write it as in "gemini/gemini-2.5-flash"'
        reading.error(place, f"{value!r} is not the name of a model", cure)
        return None
    if not re.fullmatch(r"\S+", value) or not value.isprintable():
        cure = f"write it without spaces: '{re.sub(r'[^!-~]+', '', value)}'"
        reading.error(place, f"model '{value}' has a space or an invisible character in its name", cure)
        return None
    return value


def _models(reading: ExperimentReading) -> tuple[tuple[str, ...], dict[str, ModelSettings]]:
    """Return the models in order, and what is set for each: for all, for it, and beside its name, the last wins."""
    general = _parameters(reading)
    overridden = reading.overrides.models is not None
    written = list(reading.overrides.models) if reading.overrides.models is not None else reading.values.get("models")
    if written is None or written == []:
        reading.error(["models"], "the experiment names no model", "write `models:` and below it `  - <model>`")
        return (), {}
    if not isinstance(written, list):
        reading.error(["models"], "'models' is not a list", "write each model on its own line, after a dash")
        return (), {}
    beside: dict[str, dict[str, Any]] = {}
    for index, entry in enumerate(written):
        place: list[str | int] = [] if overridden else ["models", index]
        given = dict(entry) if isinstance(entry, Mapping) else {"model": entry}
        model = _model_name(reading, given.pop("model", None), place)
        if model in beside:
            reading.error(place, f"model '{model}' is listed twice", "keep one of them; runs_per_model repeats it")
        elif model is not None:
            beside[model] = _settings(reading, given, place)
    for model in general:
        if model != "default" and model not in beside and not overridden:
            cure = did_you_mean(model, beside, "add it to models, or take it out")
            reading.odd(["parameters", model], f"parameters are given for '{model}', which is not in models", cure)
    default = general.get("default", {})
    merged = {model: {**default, **general.get(model, {}), **own} for model, own in beside.items()}
    settings = {model: ModelSettings(**values) for model, values in merged.items() if values}
    return tuple(beside), settings


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


def _hypotheses(reading: ExperimentReading) -> tuple[Hypothesis, ...]:
    key = "hypotheses"
    written = reading.values.get(key) or {}
    if isinstance(written, list):
        entries = [_listed_hypothesis(entry, index) for index, entry in enumerate(written)]
        places: list[str | int] = list(range(len(written)))
    elif isinstance(written, Mapping):
        entries, places = list(written.items()), list(written)
    else:
        reading.error([key], "'hypotheses' is neither a mapping nor a list", 'write `H1: "…"` below it')
        return ()
    hypotheses: list[Hypothesis] = []
    for (name, text), place in zip(entries, places, strict=True):
        if not isinstance(text, str) or not text.strip():
            reading.error([key, place], f"hypothesis {name} is not text", f'write `{name}: "…"`')
        elif any(name == hypothesis.name for hypothesis in hypotheses):
            reading.error([key, place], f"hypothesis {name} stands here for the second time", "rename one of them")
        else:
            hypotheses.append(Hypothesis(name=name, text=text.strip()))
    return tuple(hypotheses)


def _listed_hypothesis(entry: Any, index: int) -> tuple[str, Any]:
    """Return name and text of an entry: plain text, {name: …, text: …} or {H1: …}."""
    if isinstance(entry, Mapping):
        if "text" in entry:
            return str(entry.get("name", f"H{index + 1}")), entry["text"]
        if len(entry) == 1:
            name, text = next(iter(entry.items()))
            return str(name), text
    return f"H{index + 1}", entry


def _plan(reading: ExperimentReading) -> tuple[dict[str, Any], ...]:
    key = "statistical_plan"
    written = reading.values.get(key) or []
    if not isinstance(written, list):
        reading.odd([key], f"'{key}' is not a list of tests and has no effect", "begin each test with a dash")
        return ()
    tests = []
    for index, entry in enumerate(written):
        if not isinstance(entry, Mapping):
            reading.odd([key, index], "this test has no settings and no effect", "write them below the dash")
            continue
        try:
            canonical_json(entry)
        except (TypeError, ValueError):
            what = "this test holds a value that is neither text, a finite number, true nor false"
            reading.error([key, index], what, "write plain values")
        tests.append(dict(entry))
    return tuple(tests)
