"""Problems found in an author's files: all of them at once, each with its place and its cure."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Literal


@dataclass(frozen=True, order=True)
class Problem:
    """One thing that is wrong (``error``: the experiment is refused) or odd (``warning``: it runs, and says this)."""

    file: str
    line: int | None
    what: str
    cure: str
    severity: Literal["error", "warning"] = "error"

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        return f"{self.severity}: {place}: {self.what} → {self.cure}"


class InvalidDefinition(Exception):
    """An experiment that cannot run as written; ``problems`` holds everything that was found, warnings included."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        self.problems = problems
        errors = [problem for problem in problems if problem.severity == "error"]
        super().__init__("\n".join(str(problem) for problem in errors))


@dataclass
class ProblemList:
    """What was found in one file so far; ``file`` is how the file is named in messages."""

    file: str
    found: list[Problem] = field(default_factory=list)

    def error(self, line: int | None, what: str, cure: str) -> None:
        """Add something that makes the experiment refused."""
        self.found.append(Problem(self.file, line, what, cure))

    def warn(self, line: int | None, what: str, cure: str) -> None:
        """Add something that the experiment runs with."""
        self.found.append(Problem(self.file, line, what, cure, "warning"))


def has_errors(problems: Iterable[Problem]) -> bool:
    """Return whether any of the problems makes the experiment refused."""
    return any(problem.severity == "error" for problem in problems)


def nearest_name(name: str, known: Iterable[str], least: float = 0.6) -> str | None:
    """Return the known name most like the given one, for a message that says what was probably meant."""
    by_folded = {candidate.casefold(): candidate for candidate in known}
    matches = get_close_matches(name.casefold(), by_folded, n=1, cutoff=least)
    return by_folded[matches[0]] if matches else None


def did_you_mean(name: str, known: Iterable[str], otherwise: str) -> str:
    """Return the cure for a misspelt name: the nearest known one, or ``otherwise`` where none is near."""
    nearest = nearest_name(name, known)
    return f"did you mean '{nearest}'?" if nearest else otherwise
