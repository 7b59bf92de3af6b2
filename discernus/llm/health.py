"""A model's health: what its calls came to, and whether it is to be left alone. No clock of its own: times are given.

unknown ─► healthy ◄─► degraded ─ failures in a row ─► quarantined ─ its time is over ─► one probe ─► healthy
                          │                                 ▲                               │
                          └─ what only a person can mend ─► failed                          └─ fails: quarantined again

Calls that were in flight together fail together: a failure counts only if its call was sent after the last counted one
had come back, and any answer in between begins the count anew. So one after the other it takes the threshold's number
of failures, literally, while a few faults among many parallel calls never add up.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median
from typing import Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict

Status = Literal["unknown", "healthy", "degraded", "quarantined", "failed"]

COUNTED = frozenset(
    {
        "timeout",
        "connection_error",
        "server_error",
        "malformed_answer",
        "generation_error",
        "memory_error",
        "unknown_error",
    }
)
LIMITING = frozenset({"rate_limit", "overload"})  # it is there, and asks for patience
FATAL = frozenset({"model_not_found", "permission", "authentication", "quota"})  # a person has to do something
CONTENT = frozenset(  # it answered: about the text or the request, not about the model
    {"context_too_long", "truncated", "invalid_structure", "refusal", "runaway", "substitution", "bad_request"}
)
CLOSED = frozenset({"quarantined", "failed"})

LATEST_OUTCOMES = 50
LATEST_LATENCIES = 100
LATEST_TROUBLES = 50
LATEST_QUARANTINES = 50
TOKENS_OVER = 100  # calls; the mean of tokens moves with the latest so many
LONGEST_MESSAGE = 200  # characters


class Rules(Protocol):
    """When a model is left alone, and for how long; times in seconds."""

    @property
    def failure_threshold(self) -> int:
        """Counted failures in a row that lead to quarantine."""
        ...

    @property
    def quarantine_s(self) -> float:
        """How long a quarantine lasts before a probe."""
        ...

    @property
    def interval_s(self) -> float:
        """How long without trouble until a degraded model counts as healthy."""
        ...


class _Kept(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, hide_input_in_errors=True)


class Trouble(_Kept):
    """A failure, as the history keeps it; ``at`` in seconds since the epoch."""

    at: float
    error_class: str
    message: str


class Quarantine(_Kept):
    """A time in which the model was left alone, in seconds since the epoch; ``ended_at`` None: it still is."""

    since: float
    reason: str
    ended_at: float | None = None


class Probe(_Kept):
    """The one call that may try a model again: whose it is, and until when, in seconds since the epoch."""

    asker: str
    until: float


class Health(_Kept):
    """One model's health; every change gives another. Times in seconds since the epoch.

    ``since`` and ``until`` are those of a quarantine, or of what made the model fail. ``streak`` holds when each
    counted failure in a row came back. An answer to a call that was sent after the first of them ends a quarantine; one
    to a call from before lets the probe go out at once.
    """

    status: Status = "unknown"
    reason: str = ""
    since: float | None = None
    until: float | None = None
    streak: tuple[float, ...] = ()
    probe: Probe | None = None
    answered_at: float | None = None
    troubled_at: float | None = None
    answered: int = 0
    by_class: dict[str, int] = {}
    latest: tuple[bool, ...] = ()
    latencies_ms: tuple[float, ...] = ()
    tokens_per_call: float | None = None
    calls_weighed: int = 0
    troubles: tuple[Trouble, ...] = ()
    quarantines: tuple[Quarantine, ...] = ()

    @property
    def failed(self) -> int:
        """How many calls failed for the model's fault; its limits and what is about the content are no fault."""
        return sum(number for name, number in self.by_class.items() if name in COUNTED | FATAL)

    @property
    def success_rate(self) -> float | None:
        """The share of calls answered (0 to 1) of those answered or failed, None before the first."""
        calls = self.answered + self.failed
        return self.answered / calls if calls else None

    @property
    def latest_success_rate(self) -> float | None:
        """The same over the latest 50 calls."""
        return sum(self.latest) / len(self.latest) if self.latest else None

    @property
    def quarantined_at(self) -> tuple[float, ...]:
        """When each of the latest quarantines began, oldest first, as far back as no answer ended one."""
        began: list[float] = []
        for past in reversed(self.quarantines if self.status == "quarantined" else ()):
            if began and past.ended_at != began[-1]:
                break
            began.append(past.since)
        return tuple(reversed(began))

    @property
    def closed_by(self) -> str:
        """The class of error for which it is left alone, empty if it is not."""
        classes = [trouble.error_class for trouble in self.troubles if trouble.at == self.since]
        return classes[-1] if classes and self.status in CLOSED else ""

    @property
    def median_latency_ms(self) -> float | None:
        """The median over the latest 100 answers, None before the first."""
        return median(self.latencies_ms) if self.latencies_ms else None

    @property
    def p90_latency_ms(self) -> float | None:
        """The 90th percentile (nearest rank) over the latest 100 answers, None before the first."""
        ordered = sorted(self.latencies_ms)
        return ordered[math.ceil(0.9 * len(ordered)) - 1] if ordered else None

    def after_answers(
        self,
        rules: Rules,
        calls: int,
        latencies_ms: Sequence[float],
        tokens_per_call: float | None,
        *,
        sent_at: float,
        at: float,
    ) -> Health:
        """Return the health after so many answers in a row; ``sent_at`` and ``at`` are the latest call's.

        ``latencies_ms`` are those of the latest of them, ``tokens_per_call`` their mean, None where no vendor told.
        """
        changes: dict[str, Any] = {
            "answered": self.answered + calls,
            "answered_at": at if self.answered_at is None else max(at, self.answered_at),
            "latest": (*self.latest, *(True,) * min(calls, LATEST_OUTCOMES))[-LATEST_OUTCOMES:],
            "latencies_ms": (*self.latencies_ms, *latencies_ms)[-LATEST_LATENCIES:],
            **self._weigh(calls, tokens_per_call),
        }
        if self.status in CLOSED:
            if sent_at >= self.streak[0]:
                return self._with(**changes)._open("healthy", at)
            return self._with(**changes, until=at if self.until is None else min(at, self.until))
        changes["streak"] = tuple(failed_at for failed_at in self.streak if failed_at > at)
        if self.status == "unknown":
            changes["status"] = "healthy"
        return self._with(**changes).settled(rules, at)

    def after_failure(
        self,
        rules: Rules,
        error_class: str,
        message: str,
        *,
        sent_at: float,
        at: float,
        prober: str | None = None,
    ) -> Health:
        """Return the health after a failed call; ``prober`` names the asker whose probe it was."""
        probed = self.probe is not None and prober == self.probe.asker
        noted = self._with(by_class={**self.by_class, error_class: self.by_class.get(error_class, 0) + 1})
        if error_class not in COUNTED | LIMITING | FATAL:
            if not probed:
                return noted
            return noted._open("healthy", at) if error_class in CONTENT else noted._with(probe=None)
        message = message[:LONGEST_MESSAGE]
        trouble = Trouble(at=at, error_class=error_class, message=message)
        noted = noted._with(
            troubles=(*self.troubles, trouble)[-LATEST_TROUBLES:],
            troubled_at=at if self.troubled_at is None else max(at, self.troubled_at),
        )
        if error_class in LIMITING:
            return noted._limited(at, message, probed=probed)
        noted = noted._with(latest=(*self.latest, False)[-LATEST_OUTCOMES:])
        why = message if message.startswith(error_class) else f"{error_class}: {message}"
        if error_class in FATAL:
            return noted._close("failed", rules, why, at)
        if probed:
            return noted._close("quarantined", rules, f"the probe failed too: {why}", at)
        return noted if self.status in CLOSED else noted._counted(rules, why, sent_at, at)

    def granting(self, asker: str, at: float, lease_s: float) -> Health | None:
        """Return the health with the probe granted to the asker for so long, None where nobody gets one now."""
        if self.status not in CLOSED or (self.until is not None and at < self.until):
            return None
        if self.probe is not None and at < self.probe.until:
            return None
        return self._with(probe=Probe(asker=asker, until=at + lease_s))

    def returning(self, asker: str) -> Health:
        """Return the health without the asker's probe: it was not sent."""
        return self._with(probe=None) if self.probe is not None and self.probe.asker == asker else self

    def settled(self, rules: Rules, at: float) -> Health:
        """Return the health at that time: trouble that was followed by an answer, and then by none, is over."""
        if self.status != "degraded" or self.streak or self.troubled_at is None:
            return self
        over = at - self.troubled_at >= rules.interval_s
        return self._with(status="healthy", reason="") if over else self

    def reset(self, at: float) -> Health:
        """Return the health of a model of which nothing is known, with its history."""
        return self._open("unknown", at)

    def _counted(self, rules: Rules, why: str, sent_at: float, at: float) -> Health:
        """Count the failure if it is one more in a row."""
        answered_since = self.answered_at is not None and self.answered_at >= at
        together = bool(self.streak) and sent_at < self.streak[-1]
        streak = self.streak if answered_since or together else (*self.streak, at)
        if len(streak) >= rules.failure_threshold:
            row = f"{len(streak)} failures in a row, the last: " if len(streak) > 1 else ""
            return self._with(streak=streak)._close("quarantined", rules, f"{row}{why}", at)
        return self._with(status="degraded", reason=why, streak=streak)

    def _limited(self, at: float, message: str, *, probed: bool) -> Health:
        if self.status in CLOSED and not probed:
            return self
        opened = self._open("degraded", at) if probed else self
        return opened._with(status="degraded", reason=message)

    def _close(self, status: Status, rules: Rules, reason: str, at: float) -> Health:
        in_a_row = status == "quarantined" and self.status not in CLOSED
        begun = (Quarantine(since=at, reason=reason),) if status == "quarantined" else ()
        return self._with(
            status=status,
            reason=reason,
            since=self.since if status == self.status == "failed" else at,
            until=at + rules.quarantine_s,
            streak=self.streak if in_a_row else (at,),
            probe=None,
            quarantines=(*self._ended_quarantines(at), *begun)[-LATEST_QUARANTINES:],
        )

    def _open(self, status: Status, at: float) -> Health:
        return self._with(
            status=status,
            reason="",
            since=None,
            until=None,
            streak=(),
            probe=None,
            quarantines=self._ended_quarantines(at),
        )

    def _ended_quarantines(self, at: float) -> tuple[Quarantine, ...]:
        return tuple(
            past if past.ended_at is not None else past.model_copy(update={"ended_at": at}) for past in self.quarantines
        )

    def _weigh(self, calls: int, tokens_per_call: float | None) -> dict[str, Any]:
        """Return the mean of tokens moved towards that of the calls that were told of."""
        if tokens_per_call is None:
            return {}
        weighed = min(self.calls_weighed + calls, TOKENS_OVER)
        share = min(1.0, calls / weighed)
        mean = self.tokens_per_call if self.tokens_per_call is not None else tokens_per_call
        return {"tokens_per_call": mean + (tokens_per_call - mean) * share, "calls_weighed": weighed}

    def _with(self, **changes: Any) -> Health:
        return self.model_copy(update=changes)
