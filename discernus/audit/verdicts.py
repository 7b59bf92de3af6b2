"""What an audit says: checks, each with a verdict, how many things it rests on, the reason, and where to look.

*pass* is said only of what the session shows. What it cannot show is *attention*; what does not arise in it is *not
applicable*.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, get_args

Verdict = Literal["pass", "attention", "fail", "not applicable"]
VERDICTS: Final[tuple[Verdict, ...]] = get_args(Verdict)


@dataclass(frozen=True)
class Place:
    """Something that was found: ``file`` is a name in the session's folder, None where no file holds it."""

    file: str | None
    what: str


@dataclass(frozen=True)
class Check:
    """One check. ``count`` is the number of things found, of the ``of`` that were looked at; None: nothing to count."""

    name: str
    verdict: Verdict
    count: int | None
    of: int | None
    reason: str
    places: tuple[Place, ...] = ()


@dataclass(frozen=True)
class Audit:
    """All checks of one session. ``sealed_version`` is None where it is not sealed as it stands."""

    session: str
    created_at: str | None  # ISO 8601, UTC; None where that is not known
    opened: str  # when, in words
    sealed_version: int | None
    migrated_from: str | None
    checks: tuple[Check, ...]

    def of(self, verdict: Verdict) -> list[Check]:
        return [check for check in self.checks if check.verdict == verdict]

    @property
    def clean(self) -> bool:
        """Whether nothing failed and nothing needs attention."""
        return not self.of("fail") and not self.of("attention")


def found(name: str, verdict: Verdict, places: Sequence[Place], of: int | None, reason: str) -> Check:
    """Return a check that found something in these places."""
    return Check(name, verdict, len(places), of, reason, tuple(places))


def nothing(name: str, of: int | None, reason: str) -> Check:
    """Return a check that passed: everything was looked at, and nothing found."""
    return Check(name, "pass", 0, of, reason)


def unshown(name: str, reason: str) -> Check:
    """Return a check of what the session cannot show."""
    return Check(name, "attention", None, None, reason)


def not_applicable(name: str, reason: str) -> Check:
    """Return a check of what does not arise in the session."""
    return Check(name, "not applicable", None, None, reason)
