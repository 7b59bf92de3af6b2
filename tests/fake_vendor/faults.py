"""How the vendor misbehaves: chosen by seed, content and how often that content was seen, or named for one request."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field, fields, replace
from hashlib import sha256
from typing import Any

REFUSALS = ("rate_limit", "quota", "context_length")
STATUSES = tuple(f"status_{code}" for code in (400, 401, 403, 404, 408, 500, 502, 503, 504, 529))
BROKEN_WIRE = ("hang", "reset", "slow", "malformed", "empty")
ODD_ANSWERS = ("truncated", "runaway", "refusal", "content_filter", "wrong_model", "prose", "fenced", "broken")
FAULTS = frozenset((*REFUSALS, *STATUSES, *BROKEN_WIRE, *ODD_ANSWERS))


@dataclass(frozen=True)
class Settings:
    """Everything about the vendor that can be set at start and at run time.

    ``latency_s`` is a number, or {"low", "high"} (uniform), or {"median", "p90"} (log-normal). ``rates`` gives each
    fault its probability, ``sequence`` the faults of the next requests in order of arrival (None: no fault), ``at``
    the fault of a request by its ordinal (from 1). These three touch only the named ``purposes`` and ``models`` (empty:
    all), and ``sequence`` counts only requests that they touch. ``hold`` keeps back every answer until it is unset.
    ``requests_per_window`` in any ``window_s`` seconds are served per model, the rest get a 429.
    """

    seed: int = 0
    latency_s: float | dict[str, float] = 0.0
    rates: dict[str, float] = field(default_factory=dict)
    sequence: tuple[str | None, ...] = ()
    at: dict[str, str] = field(default_factory=dict)
    purposes: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    hold: bool = False
    retry_after_s: float = 1.0
    requests_per_window: int | None = None
    window_s: float = 60.0
    runaway_characters: int = 400_000
    slow_s: float = 2.0
    model_suffix: str = "-2026-01-01"

    def changed(self, changes: dict[str, Any]) -> Settings:
        """Return these settings with some replaced; {"reset": true} starts from the defaults. ValueError if unknown."""
        changes = dict(changes)
        start = Settings() if changes.pop("reset", False) else self
        known = {each.name for each in fields(Settings)}
        unknown = set(changes) - known
        if unknown:
            raise ValueError(f"unknown settings {sorted(unknown)}; known are {sorted(known)}")
        for name in ("sequence", "purposes", "models"):
            if name in changes:
                changes[name] = tuple(changes[name])
        if "at" in changes:
            changes["at"] = {str(ordinal): fault for ordinal, fault in changes["at"].items()}
        new = replace(start, **changes)
        named = {*new.rates, *new.at.values(), *(fault for fault in new.sequence if fault is not None)}
        if named - FAULTS:
            raise ValueError(f"unknown faults {sorted(named - FAULTS)}; known are {sorted(FAULTS)}")
        return new


class Chooser:
    """Decides the fault and the latency of each request under the present settings."""

    def __init__(self, settings: Settings) -> None:
        self._seen: dict[str, int] = {}
        self.use(settings)

    def use(self, settings: Settings) -> None:
        """Take new settings; a sequence starts over."""
        self.settings = settings
        self._sequence = deque(settings.sequence)

    def seen(self, content: str) -> int:
        """Return how often this content has been asked, this time included."""
        self._seen[content] = self._seen.get(content, 0) + 1
        return self._seen[content]

    def fault(self, ordinal: int, content: str, seen: int, purpose: str, model: str) -> str | None:
        settings = self.settings
        if settings.purposes and purpose not in settings.purposes:
            return None
        if settings.models and model not in settings.models:
            return None
        if str(ordinal) in settings.at:
            return settings.at[str(ordinal)]
        if self._sequence:
            return self._sequence.popleft()
        drawn = _share(settings.seed, "fault", content, seen)
        for fault, rate in settings.rates.items():
            drawn -= rate
            if drawn < 0:
                return fault
        return None

    def latency_s(self, content: str, seen: int) -> float:
        wanted = self.settings.latency_s
        if not isinstance(wanted, dict):
            return wanted
        drawn = _share(self.settings.seed, "latency", content, seen)
        if "low" in wanted:
            return wanted["low"] + (wanted["high"] - wanted["low"]) * drawn
        angle = _share(self.settings.seed, "angle", content, seen)
        normal = math.sqrt(-2 * math.log(1 - drawn)) * math.cos(2 * math.pi * angle)
        return wanted["median"] * math.exp(math.log(wanted["p90"] / wanted["median"]) / 1.2816 * normal)


class Limiter:
    """Serves so many requests in any window of time, per model, as a vendor does."""

    def __init__(self) -> None:
        self._served: dict[str, deque[float]] = {}

    def refused_for(self, model: str, now: float, settings: Settings) -> tuple[float | None, dict[str, str]]:
        """Return the seconds to wait (None: served), and the headers that tell of the limit."""
        allowed = settings.requests_per_window
        if allowed is None:
            return None, {}
        served = self._served.setdefault(model, deque())
        while served and served[0] <= now - settings.window_s:
            served.popleft()
        wait = None if len(served) < allowed else math.ceil(served[0] + settings.window_s - now)
        if wait is None:
            served.append(now)
        reset = served[0] + settings.window_s - now if served else 0.0
        return wait, {
            "x-ratelimit-limit-requests": str(allowed),
            "x-ratelimit-remaining-requests": str(allowed - len(served)),
            "x-ratelimit-reset-requests": f"{reset:.3f}s",
        }


def _share(seed: int, what: str, content: str, seen: int) -> float:
    digest = sha256(f"{seed}/{what}/{content}/{seen}".encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48
