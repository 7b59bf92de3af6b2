"""Whether a model takes calls now: what stands between the decision to call and the request on the wire."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from discernus.llm.calls import ModelAnswer
from discernus.llm.errors import CallFailed


@dataclass(frozen=True)
class Closed:
    """A model that takes no call for now: in how many seconds to ask again, and why, in words.

    ``quarantine``: it failed, and is left alone; ``rate_limit``: it asked to be left alone for a moment. Of a
    quarantine, ``ends_at`` is when that is over, or the call that tries the model now, ``quarantined_at`` when it and
    those before it began without one answer between them (the latest of them, oldest first), in seconds since the
    epoch; ``error_class`` is the failure that began it.
    """

    wait_s: float
    reason: str
    kind: Literal["quarantine", "rate_limit"]
    ends_at: float | None = None
    quarantined_at: tuple[float, ...] = ()
    error_class: str = ""


class Gate(Protocol):
    """Knows the health of models, is asked before each call, and told of its outcome."""

    async def admit(self, model: str, timeout_s: float) -> Closed | None:
        """Return None if a call, which may take so long, may go out now; else why none may."""
        ...

    def withdraw(self, model: str) -> None:
        """A call that was let through is not made after all; never waits and never raises."""
        ...

    def observe(self, model: str, answer: ModelAnswer | None, failure: CallFailed | None, sent_at: datetime) -> None:
        """Take note of how a call ended; never waits and never raises."""
        ...


class Open:
    """A gate that is always open and forgets everything: for models that cannot fail, and for tests."""

    async def admit(self, model: str, timeout_s: float) -> Closed | None:
        return None

    def withdraw(self, model: str) -> None:
        return None

    def observe(self, model: str, answer: ModelAnswer | None, failure: CallFailed | None, sent_at: datetime) -> None:
        return None
