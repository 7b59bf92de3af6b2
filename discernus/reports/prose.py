"""Prose that a model wrote around the report's tables, as data: who wrote it, and which of its numbers are there."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from discernus.reports.cited_numbers import Cited


class Prose(BaseModel):
    """What a model wrote of the tables, each number in it looked up; where there is none, ``reason`` says why.

    ``call`` is the archived call that it is from, ``brief_sha256`` the hash of what the model was told of the tables.
    ``answered_at`` is ISO 8601, UTC. ``text`` is as it was written, but for names that were put back in a blind
    experiment and signs that act on a screen; places of numbers count in its characters.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    format: int = 1
    status: Literal["written", "missing"]
    reason: str = ""
    call: str | None = None
    model_requested: str | None = None
    model_answered: str | None = None
    answered_at: str | None = None
    brief_sha256: str | None = None
    text: str = ""
    numbers: tuple[Cited, ...] = ()

    @property
    def absent(self) -> int:
        """How many of the numbers are not in the tables."""
        return sum(not one.found for one in self.numbers)
