"""``data_policy`` of experiment.md: who may be shown the texts. Whatever is unclear in it is an error in every form."""

from collections.abc import Mapping
from typing import Any

from discernus.experiments.experiment import DataPolicy
from discernus.experiments.experiment_reading import ExperimentReading
from discernus.experiments.problems import did_you_mean

KEY = "data_policy"
_RULES = tuple(DataPolicy.model_fields)
_EXAMPLES = {
    "sensitivity": "personal",
    "vendors": "[gemini, vertex_ai]",
    "regions": "[eu, europe-west4]",
    "retention": "none",
}


def read_policy(reading: ExperimentReading) -> DataPolicy | None:
    """Return the data policy, or None where none is written; one that is written and empty would protect nothing."""
    if KEY not in reading.values:
        return None
    written = reading.values[KEY]
    if not isinstance(written, Mapping) or not written:
        cure = f"write below it one or more of {', '.join(_RULES)}, or take it out"
        reading.error([KEY], f"'{KEY}' says nothing", cure)
        return None
    rules: dict[str, Any] = {}
    for rule, value in written.items():
        if rule not in _RULES:
            cure = did_you_mean(rule, _RULES, f"its rules are {', '.join(_RULES)}")
            reading.error([KEY, rule], f"'{rule}' is not a rule of a data policy", cure)
        elif rule in ("vendors", "regions"):
            rules[rule] = _names(reading, rule, value)
        else:
            rules[rule] = _text(reading, rule, value)
    return DataPolicy(**rules)


def _text(reading: ExperimentReading, rule: str, value: Any) -> str | None:
    if not isinstance(value, str) or not value.strip():
        reading.error([KEY, rule], f"'{rule}' is {value!r}, not text", f"write `{rule}: {_EXAMPLES[rule]}`")
        return None
    return value.strip()


def _names(reading: ExperimentReading, rule: str, value: Any) -> tuple[str, ...] | None:
    """Return a list of names; it may be empty for vendors, where it means that there is to be none."""
    if not isinstance(value, list) or (not value and rule == "regions"):
        reading.error([KEY, rule], f"'{rule}' is not a list of names", f"write `{rule}: {_EXAMPLES[rule]}`")
        return None
    for index, name in enumerate(value):
        place: list[str | int] = [KEY, rule, index]
        if not isinstance(name, str) or not name.strip():
            reading.error(place, f"{name!r} is not a name", "put it in quotes: YAML takes a bare no for false")
        elif rule == "vendors" and "/" in name:
            cure = f"write what stands before the slash: {name.split('/')[0]}"
            reading.error(place, f"'{name}' is a model, and not a vendor", cure)
    return tuple(name.strip() for name in value if isinstance(name, str))
