"""A vendor's limits: so many requests and so many tokens in any window of time, per model."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Literal

Unit = Literal["requests", "tokens"]


@dataclass(frozen=True)
class Limit:
    """Where one limit stands: what any window allows, what is left of it, and the seconds until all of it is free."""

    unit: Unit
    allowed: int
    remaining: int
    reset_s: float


class Limiter:
    """Serves so much in any window of ``window_s`` seconds, per model, as a vendor does; None is no limit."""

    def __init__(self) -> None:
        self._windows: dict[tuple[str, Unit], _Window] = {}
        self._allowed: dict[Unit, int] = {}
        self._window_s = 60.0

    def use(self, requests: int | None, tokens: int | None, window_s: float) -> None:
        """Take new limits; what was served under the old ones counts."""
        named: dict[Unit, int | None] = {"requests": requests, "tokens": tokens}
        self._allowed = {unit: allowed for unit, allowed in named.items() if allowed is not None}
        self._window_s = window_s

    def admit(self, model: str, tokens: int, now: float) -> float | None:
        """Take a request of so many tokens and return None, or return the seconds until it would be taken."""
        amounts: dict[Unit, int] = {"requests": 1, "tokens": tokens}
        waits = [
            self._window(model, unit, now).wait_s(amounts[unit], allowed, now)
            for unit, allowed in self._allowed.items()
        ]
        if any(waits):
            return max(waits)
        for unit in self._allowed:
            self._window(model, unit, now).take(amounts[unit], now)
        return None

    def spend(self, model: str, tokens: int, now: float) -> None:
        """Count the tokens of an answer, which are known only when it is written."""
        if "tokens" in self._allowed:
            self._window(model, "tokens", now).take(tokens, now)

    def limits(self, model: str, now: float) -> tuple[Limit, ...]:
        """Return where the limits of a model stand."""
        windows = {unit: self._window(model, unit, now) for unit in self._allowed}
        return tuple(
            Limit(unit, self._allowed[unit], max(self._allowed[unit] - window.used, 0), window.reset_s(now))
            for unit, window in windows.items()
        )

    def _window(self, model: str, unit: Unit, now: float) -> _Window:
        window = self._windows.setdefault((model, unit), _Window())
        window.move(self._window_s, now)
        return window


class _Window:
    """What was taken in the last seconds."""

    def __init__(self) -> None:
        self.used = 0
        self._length_s = 0.0
        self._taken: deque[tuple[float, int]] = deque()

    def move(self, length_s: float, now: float) -> None:
        self._length_s = length_s
        while self._taken and self._taken[0][0] <= now - length_s:
            self.used -= self._taken.popleft()[1]

    def take(self, amount: int, now: float) -> None:
        self.used += amount
        self._taken.append((now, amount))

    def wait_s(self, amount: int, allowed: int, now: float) -> float:
        """Return the seconds until so much fits; 0.0 if it does now, a whole window if it never will."""
        used = self.used
        if used + amount <= allowed:
            return 0.0
        for at, freed in self._taken:
            used -= freed
            if used + amount <= allowed:
                return at + self._length_s - now
        return self._length_s

    def reset_s(self, now: float) -> float:
        return self._taken[-1][0] + self._length_s - now if self._taken else 0.0
