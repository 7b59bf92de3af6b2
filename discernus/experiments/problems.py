"""Problems found in an author's files: all of them at once, each with its place and its cure."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, order=True)
class Problem:
    """One thing that is wrong (``error``: the experiment is refused) or odd (``warning``: it runs, and this is said)."""

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
