"""Reading experiment.md: its front matter into an Experiment, with every problem and its line.

``format: 1`` is the current form, where what cannot be meant is an error. Without it the file is in the older form,
which runs with warnings.
"""

import re
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from discernus.canonical import canonical_json
from discernus.experiments.encoding import NotText, decode
from discernus.experiments.experiment import Experiment, Hypothesis
from discernus.experiments.experiment_models import read_model, read_models
from discernus.experiments.experiment_policy import read_policy
from discernus.experiments.experiment_reading import (
    ExperimentReading,
    Overrides,
    read_amount,
    read_count,
    read_flag,
    read_share,
    read_text,
)
from discernus.experiments.front_matter import read_front_matter
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
    "fallback_models",
    "allow_substitution",
    "extraction_model",
    "synthesis_model",
    "hypotheses",
    "statistical_plan",
    "budget_usd",
    "concurrency",
    "pin_versions",
    "blind",
    "data_policy",
    "extraction_alert",
    "human_validation",
)
OLDER_KEYS = {"workflow", "definition_of_success", "name", "description", "hypothesis", "validation", "num_runs"}
CURRENT_FORMAT = 1


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
    title = read_text(reading, "title") or _heading(reading.front_matter.body) or name
    fields = {
        "framework_file": read_text(reading, "framework_file") or "framework.md",
        "corpus": read_text(reading, "corpus") or "corpus",
        "variants": _variants(reading),
        **read_models(reading),
        "runs_per_model": _runs(reading),
        "allow_substitution": read_flag(reading, "allow_substitution"),
        "extraction_model": read_model(reading, "extraction_model"),
        "synthesis_model": read_model(reading, "synthesis_model"),
        "hypotheses": _hypotheses(reading),
        "statistical_plan": _plan(reading),
        "budget_usd": read_amount(reading, "budget_usd"),
        "concurrency": read_count(reading, "concurrency", reading.overrides.concurrency),
        "pin_versions": read_flag(reading, "pin_versions"),
        "blind": read_flag(reading, "blind"),
        "data_policy": read_policy(reading),
        "extraction_alert": read_share(reading, "extraction_alert", 0.1),
        "human_validation": read_text(reading, "human_validation"),
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
    return read_count(reading, key, reading.overrides.runs) or 1


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
