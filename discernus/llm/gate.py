"""Whether a model takes calls now: what stands between the decision to call and the request on the wire."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from discernus.llm.calls import ModelAnswer
from discernus.llm.errors import CallFailed


@dataclass(frozen=True)
class Closed:
    """A model that takes no call for now: for how long at least, and why, in words.

    ``quarantine``: it failed, and is left alone; ``rate_limit``: it asked to be left alone for a moment.
    """

    wait_s: float
    reason: str
    kind: Literal["quarantine", "rate_limit"]


class Gate(Protocol):
    """Knows the health of models, is asked before each call, and told of its outcome."""

    async def admit(self, model: str) -> Closed | None:
        """Return None if a call may go out now, else until when none may."""
        ...

    def observe(self, model: str, answer: ModelAnswer | None, failure: CallFailed | None, sent_at: datetime) -> None:
        """Take note of how a call ended; never waits and never raises."""
        ...


class Open:
    """A gate that is always open and forgets everything: for models that cannot fail, and for tests."""

    async def admit(self, model: str) -> Closed | None:
        return None

    def observe(self, model: str, answer: ModelAnswer | None, failure: CallFailed | None, sent_at: datetime) -> None:
        return None
