"""What a vendor charges: its own bill, made of its own journal."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from tests.fake_vendor.journal import Entry

Prices = Mapping[str, Mapping[str, float | None]]  # by model, as arguments of Price


class Used(Protocol):
    """Tokens that are paid for; ``prompt_tokens`` include the cached, ``completion_tokens`` those of reasoning."""

    @property
    def prompt_tokens(self) -> int: ...
    @property
    def completion_tokens(self) -> int: ...
    @property
    def cached_tokens(self) -> int: ...


@dataclass(frozen=True)
class Price:
    """USD per token; what was cached costs as much as other input where no price of its own is set."""

    input_usd: float
    output_usd: float
    cached_input_usd: float | None = None

    def cost_usd(self, used: Used) -> float:
        """Return what so many tokens cost; those of reasoning cost as much as the others of an answer."""
        cached_usd = self.input_usd if self.cached_input_usd is None else self.cached_input_usd
        fresh = used.prompt_tokens - used.cached_tokens
        return fresh * self.input_usd + used.cached_tokens * cached_usd + used.completion_tokens * self.output_usd


@dataclass(frozen=True)
class Bill:
    """What one model was asked and gave: calls, and tokens as in ``Used``."""

    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0

    def plus(self, entry: Entry) -> Bill:
        return Bill(
            self.calls + 1,
            self.prompt_tokens + (entry.prompt_tokens or 0),
            self.completion_tokens + (entry.completion_tokens or 0),
            self.cached_tokens + (entry.cached_tokens or 0),
            self.reasoning_tokens + (entry.reasoning_tokens or 0),
        )


def bills(answers: Iterable[Entry]) -> dict[str, Bill]:
    """Return the bill of each model (vendor/model) for these answers."""
    found: defaultdict[str, Bill] = defaultdict(Bill)
    for entry in answers:
        name = f"{entry.vendor}/{entry.model}"
        found[name] = found[name].plus(entry)
    return dict(found)


def price_of(name: str, prices: Prices) -> Price | None:
    """Return the price of a model, which may stand under vendor/model or under the vendor's own name for it."""
    found = prices.get(name, prices.get(name.partition("/")[2]))
    return None if found is None else Price(**found)  # type: ignore[arg-type]
