"""How the vendor misbehaves: chosen by seed, content and how often that content was seen, or named for one request."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from hashlib import sha256
from typing import Any

from tests.fake_vendor.dialects.dialect import PLAIN_STATUS

CODES = (400, 401, 402, 403, 404, 408, 409, 413, 415, 422, 500, 502, 503, 504, 529)
STATUSES = frozenset(f"status_{code}" for code in CODES)  # in words that tell nothing
REFUSALS = STATUSES | PLAIN_STATUS.keys()  # and each vendor's own words
BROKEN_WIRE = frozenset({"connection", "hang", "reset", "slow"})
BROKEN_ANSWERS = frozenset({"malformed", "empty", "error_in_200"})
ODD_ANSWERS = frozenset({"truncated", "runaway", "refusal", "wrong_model", "prose", "fenced", "broken"})
HELD_BACK = frozenset({"content_filter", "safety", "declined"})
FAULTS = REFUSALS | BROKEN_WIRE | BROKEN_ANSWERS | ODD_ANSWERS | HELD_BACK


@dataclass(frozen=True)
class Settings:
    """Everything about the vendor that can be set at start and at run time.

    Models are named as the vendor does (``scribe``) or with LiteLLM's name of the vendor before it (``openai/scribe``).

    How long: ``latency_s`` is a number, or {"low", "high"} (uniform), or {"median", "p90"} (log-normal); ``hold`` keeps
    back every answer until it is unset.

    What goes wrong (``FAULTS`` names it): ``rates`` gives each fault its probability, ``sequence`` the faults of the
    next requests in order of arrival (None: no fault), ``at`` the fault of a request by its ordinal (from 1). These
    three touch only the named ``purposes`` and ``models`` (empty: all), and ``sequence`` counts only requests that they
    touch. ``down`` gives the fault of every request to a model, before any limit, until it is taken out.
    ``retry_after_s`` goes with the fault ``rate_limit``; ``runaway_characters`` and ``slow_s`` measure those two.
    ``revoked``: the token endpoint refuses Vertex AI's service account.

    Limits, per model and in any ``window_s`` seconds: ``requests_per_window``, and ``tokens_per_window`` of prompts and
    answers, are served, the rest get a 429. A vendor's headers and bodies tell these numbers as if the window were a
    minute, unless ``limit_headers`` is off.

    What it answers: ``says`` are the texts of the next answers in order of arrival; after them it makes its own.

    Who answers: ``model_suffix`` goes behind each model's name, ``answers_as`` gives the whole name by model.

    What is billed: with ``prompt_cache`` the beginning of a prompt that this model has seen counts as cached, in steps
    of 128 tokens; ``reasoning_tokens`` are spent on each answer. ``prices`` (by model: input_usd, output_usd and
    cached_input_usd, per token) let OpenRouter tell what it charged.
    """

    seed: int = 0
    latency_s: float | dict[str, float] = 0.0
    hold: bool = False
    rates: dict[str, float] = field(default_factory=dict)
    sequence: tuple[str | None, ...] = ()
    at: dict[str, str] = field(default_factory=dict)
    purposes: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    down: dict[str, str] = field(default_factory=dict)
    retry_after_s: float = 1.0
    runaway_characters: int = 400_000
    slow_s: float = 2.0
    revoked: bool = False
    requests_per_window: int | None = None
    tokens_per_window: int | None = None
    window_s: float = 60.0
    limit_headers: bool = True
    says: tuple[str, ...] = ()
    model_suffix: str = "-2026-01-01"
    answers_as: dict[str, str] = field(default_factory=dict)
    prompt_cache: bool = False
    reasoning_tokens: int = 0
    prices: dict[str, dict[str, float]] = field(default_factory=dict)

    def changed(self, changes: dict[str, Any]) -> Settings:
        """Return these settings with some replaced; {"reset": true} starts from the defaults. ValueError if unknown."""
        changes = dict(changes)
        start = Settings() if changes.pop("reset", False) else self
        known = {each.name for each in fields(Settings)}
        unknown = set(changes) - known
        if unknown:
            raise ValueError(f"unknown settings {sorted(unknown)}; known are {sorted(known)}")
        for name in ("sequence", "purposes", "models", "says"):
            if name in changes:
                changes[name] = tuple(changes[name])
        if "at" in changes:
            changes["at"] = {str(ordinal): fault for ordinal, fault in changes["at"].items()}
        new = replace(start, **changes)
        named = {*new.rates, *new.at.values(), *new.down.values(), *(fault for fault in new.sequence if fault)}
        if named - FAULTS:
            raise ValueError(f"unknown faults {sorted(named - FAULTS)}; known are {sorted(FAULTS)}")
        return new


class Chooser:
    """Decides the fault and the latency of each request under the present settings."""

    def __init__(self, settings: Settings) -> None:
        self._seen: dict[str, int] = {}
        self.use(settings)

    def use(self, settings: Settings) -> None:
        """Take new settings; a sequence, and what it says, start over."""
        self.settings = settings
        self._sequence = deque(settings.sequence)
        self._says = deque(settings.says)

    def seen(self, content: str) -> int:
        """Return how often this content has been asked, this time included."""
        self._seen[content] = self._seen.get(content, 0) + 1
        return self._seen[content]

    def said(self) -> str | None:
        """Return the text that the next answer is to have, None where it makes its own."""
        return self._says.popleft() if self._says else None

    def down(self, model: str) -> str | None:
        """Return the fault of a model (vendor/model) that does not work at all, or None."""
        return of_model(model, self.settings.down)

    def answering(self, model: str) -> str:
        """Return the name under which a model (vendor/model) answers."""
        return of_model(model, self.settings.answers_as) or _own_name(model) + self.settings.model_suffix

    def fault(self, ordinal: int, content: str, seen: int, purpose: str, model: str) -> str | None:
        """Return what goes wrong with one request to a model (vendor/model), or None."""
        settings = self.settings
        if settings.purposes and purpose not in settings.purposes:
            return None
        if settings.models and not {model, _own_name(model)} & set(settings.models):
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


def of_model(model: str, by_model: Mapping[str, str]) -> str | None:
    """Return what stands under vendor/model, or under the vendor's own name for it."""
    return by_model.get(model, by_model.get(_own_name(model)))


def _own_name(model: str) -> str:
    return model.partition("/")[2]


def _share(seed: int, what: str, content: str, seen: int) -> float:
    digest = sha256(f"{seed}/{what}/{content}/{seen}".encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48
