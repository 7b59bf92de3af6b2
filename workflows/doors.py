"""Which models take calls now, as the calls of one batch have found it: closed ones are left alone until their time.

A model whose time is over is tried with a single call; only when that has come back are all others let through.
"""

from __future__ import annotations

PATIENT_TRIES = 3  # so many tries in vain before the waits grow
LONG_S = 30.0  # as far as this in the first hour: a person may reset the model, and looks on
FIRST_S = 3600.0
LONGEST_S = 300.0  # and later this far: each look costs ten events of a history that must end


class Doors:
    """The closed models of one batch. Times are seconds, of the workflow's own clock."""

    def __init__(self) -> None:
        self._since: dict[str, float] = {}
        self._until: dict[str, float] = {}
        self._why: dict[str, str] = {}
        self._tried: set[str] = set()
        self._in_vain: dict[str, int] = {}

    @property
    def shut(self) -> frozenset[str]:
        """The models that are closed, or were and have not let a call through since."""
        return frozenset(self._until)

    def close(self, model: str, now: float, wait_s: float, why: str) -> None:
        """Let no call in for so long; longer and longer where one try after the other was in vain."""
        if model in self._tried:
            self._in_vain[model] = self._in_vain.get(model, 0) + 1
        longest_s = LONG_S if now - self._since.setdefault(model, now) < FIRST_S else LONGEST_S
        grown_s = 2.0 ** min(self._in_vain.get(model, 0) - PATIENT_TRIES, 20)
        self._until[model], self._why[model] = now + max(wait_s, min(grown_s, longest_s)), why
        self._tried.discard(model)

    def open(self, model: str) -> None:
        """A call has come back from the model: all may go in."""
        self._since.pop(model, None)
        self._until.pop(model, None)
        self._why.pop(model, None)
        self._in_vain.pop(model, None)
        self._tried.discard(model)

    def enter(self, model: str) -> None:
        """A call goes in; if the model was closed before, it is the one that tries it."""
        if model in self._until:
            self._tried.add(model)

    def leave(self, model: str) -> None:
        """A call that went in has come back without having met the model: another may try it."""
        self._tried.discard(model)

    def is_open(self, model: str, now: float) -> bool:
        """Return whether a call may go in now."""
        return not self.is_closed(model, now) and model not in self._tried

    def is_closed(self, model: str, now: float) -> bool:
        """Return whether its time is not over yet; one that is being tried is neither open nor closed."""
        return self._until.get(model, now) > now

    def next_opening(self, now: float) -> float | None:
        """Return the seconds until the next closed model may be tried, None if none is closed."""
        left = [until - now for until in self._until.values() if until > now]
        return min(left, default=None)

    def waiting(self) -> str:
        """Return, in words, which models are shut and why; empty if none is."""
        return "; ".join(self._why.values())
