"""An experiment.md while it is read: what it says, where it says it, and the problems found so far.

Beside it stand the readers of plain values: text, numbers, true and false.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from discernus.experiments.experiment import Experiment
from discernus.experiments.front_matter import FrontMatter
from discernus.experiments.problems import ProblemList


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


def read_text(reading: ExperimentReading, key: str) -> str | None:
    """Return the text at a key, None where there is none, or after reporting that it is no text."""
    value = reading.values.get(key)
    if value is None:
        return None
    if not isinstance(value, str) or not value.strip():
        reading.error([key], f"'{key}' is not text", f"write `{key}: …`, in quotes if need be")
        return None
    return value.strip()


def read_count(reading: ExperimentReading, key: str, override: int | None) -> int | None:
    """Return a whole number of at least 1, from the command line or the file."""
    value = reading.values.get(key) if override is None else override
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        place = [key] if override is None else []
        reading.error(place, f"'{key}' is {value!r}", f"write a whole number of at least 1, such as `{key}: 6`")
        return None
    return value


def read_amount(reading: ExperimentReading, key: str) -> float | None:
    """Return an amount in US dollars, 0 or more."""
    value = reading.values.get(key)
    if value is None:
        return None
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not 0 <= value < float("inf"):
        reading.error([key], f"'{key}' is {value!r}", f"write an amount in US dollars, 0 or more: `{key}: 5`")
        return None
    return float(value)


def read_flag(reading: ExperimentReading, key: str) -> bool:
    """Return true or false; false where nothing is written."""
    value = reading.values.get(key, False)
    if not isinstance(value, bool):
        reading.error([key], f"'{key}' is {value!r}", f"write `{key}: true` or `{key}: false`")
        return False
    return value


def read_share(reading: ExperimentReading, key: str, default: float) -> float:
    """Return a share of 1, from 0 to 1; the default where nothing is written."""
    value = reading.values.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        reading.error([key], f"'{key}' is {value!r}", f"write a share from 0 to 1, such as `{key}: {default}`")
        return default
    return float(value)
