"""What a call used and what it cost: by the vendor's own figure, else the price in models.yaml, else LiteLLM's table.

A reply that was paid for and held no answer is billed like any other, as far as its count of tokens can be read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from discernus.llm import proxy
from discernus.llm.calls import Usage
from discernus.llm.models_file import Price
from discernus.llm.prices import OFFLINE_SOURCE, Entry, own_source, priced_entry, table_source

_TELLING_COST = frozenset({"openrouter"})  # vendors whose usage states the cost in USD
_COUNT = re.compile(r'(?<!\\)"(?:usage|usageMetadata|billed_units)"\s*:\s*(?=\{)')
_BARE_COUNT = re.compile(r'(?<!\\)"(?P<name>prompt_eval_count|eval_count)"\s*:\s*(?P<tokens>\d+)')  # Ollama's
_PROMPT = ("prompt_tokens", "promptTokenCount", "prompt_eval_count", "input_tokens", "inputTokens")
_COMPLETION = ("completion_tokens", "candidatesTokenCount", "eval_count", "output_tokens", "outputTokens")
_CACHED = ("cached_tokens", "cachedContentTokenCount", "cache_read_input_tokens", "cacheReadInputTokens")
_TOTAL = ("total_tokens", "totalTokenCount", "totalTokens")
_REASONING = ("reasoning_tokens", "thoughtsTokenCount")
_BESIDE_PROMPT = ("cache_read_input_tokens", "cache_creation_input_tokens")  # Anthropic counts these apart
_BESIDE_COMPLETION = ("thoughtsTokenCount",)  # and Gemini these


class Bill(NamedTuple):
    """What one call used, what it cost in USD and by which price; None is unknown."""

    usage: Usage
    cost_usd: float | None
    price_source: str | None


@dataclass(frozen=True)
class PriceTable:
    """LiteLLM's table: its entries, its version, and its reckoning of a cost by model, vendor and usage."""

    entries: Mapping[str, Entry]
    version: str
    reckon: Callable[[str, str, Usage], float | None]


NOTHING = Bill(Usage(), None, None)
OFFLINE = Bill(Usage(), 0.0, OFFLINE_SOURCE)


def says_count(body: str) -> bool:
    """Return whether a reply's body holds the vendor's own count of tokens."""
    return _COUNT.search(body) is not None or _BARE_COUNT.search(body) is not None


def count_in(body: str) -> dict[str, Any]:
    """Return the vendor's own count of tokens as it stands in a reply's body, however broken the rest; {} if none."""
    for found in _COUNT.finditer(body):
        try:
            count, _ = json.JSONDecoder().raw_decode(body, found.end())
        except ValueError:
            continue
        return dict(count)
    return {found["name"]: int(found["tokens"]) for found in _BARE_COUNT.finditer(body)}


def usage_of(count: Mapping[str, Any]) -> Usage:
    """Return a vendor's count in our words."""
    flat = {**_mapping(count, "prompt_tokens_details"), **_mapping(count, "completion_tokens_details"), **count}
    beside_prompt = _BESIDE_PROMPT if "input_tokens" in flat else ()
    prompt = _together(_first(flat, _PROMPT), flat, beside_prompt)
    completion = _together(_first(flat, _COMPLETION), flat, _BESIDE_COMPLETION)
    if completion is None and prompt is not None and _first(flat, _TOTAL) == prompt:  # a blocked prompt's
        completion = 0
    return Usage(
        prompt_tokens=prompt,
        completion_tokens=completion,
        cached_tokens=_first(flat, _CACHED),
        reasoning_tokens=_first(flat, _REASONING),
    )


def cost_told(vendor: str, body: str, headers: Mapping[str, str], *, proxied: bool) -> tuple[float, str] | None:
    """Return a call's cost as the vendor or a proxy states it, and who did; None where nobody does."""
    if vendor in _TELLING_COST:
        stated = _stated_cost(count_in(body))
        if stated is not None:
            return stated[0], f"{vendor}: {stated[1]} of its answer"
    cost = proxy.cost_usd(headers) if proxied else None
    return None if cost is None else (cost, proxy.COST_SOURCE)


def bill(
    usage: Usage,
    models: tuple[str, ...],
    vendor: str,
    *,
    told: tuple[float, str] | None,
    own: Price | None,
    table: PriceTable,
) -> Bill:
    """Return what a call cost; unknown where nobody tells, and no price or no full count is known.

    ``models`` are the names that it may be priced under, the first one that has a price being the one it is priced by.
    """
    if told is not None:
        return Bill(usage, *told)
    if usage.prompt_tokens is None or usage.completion_tokens is None:
        return Bill(usage, None, None)
    if own is not None:
        return Bill(usage, _by_own_price(own, usage), own_source(own.model_dump()))
    priced = priced_entry(models, vendor, table.entries)
    cost = None if priced is None else table.reckon(priced[0], vendor, usage)
    if priced is None or cost is None:
        return Bill(usage, None, None)
    return Bill(usage, cost, table_source(*priced, table.version))


def _stated_cost(count: Mapping[str, Any]) -> tuple[float, str] | None:
    """Return the cost that a count states, and where: with a vendor key of one's own, that vendor's bill is part of it.

    None where it states none, or leaves that bill out.
    """
    fee = _amount(count.get("cost"))
    if fee is None or count.get("is_byok") is not True:
        return None if fee is None else (fee, "usage.cost")
    upstream = _amount(_mapping(count, "cost_details").get("upstream_inference_cost"))
    return None if upstream is None else (fee + upstream, "usage.cost and upstream_inference_cost")


def _amount(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value < float("inf") else None


def _by_own_price(price: Price, usage: Usage) -> float:
    cached_usd = price.input_usd if price.cached_input_usd is None else price.cached_input_usd
    cached = usage.cached_tokens or 0
    fresh = (usage.prompt_tokens or 0) - cached
    return fresh * price.input_usd + cached * cached_usd + (usage.completion_tokens or 0) * price.output_usd


def _first(count: Mapping[str, Any], names: tuple[str, ...]) -> int | None:
    return next((found for name in names if (found := _whole(count.get(name))) is not None), None)


def _whole(value: Any) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return int(value) if value >= 0 and float(value).is_integer() else None


def _together(tokens: int | None, count: Mapping[str, Any], beside: tuple[str, ...]) -> int | None:
    """Return the tokens with those that are counted beside them; None where none of them is counted."""
    found = [tokens, *(_first(count, (name,)) for name in beside)]
    return sum(one or 0 for one in found) if any(one is not None for one in found) else None


def _mapping(count: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = count.get(name)
    return found if isinstance(found, Mapping) else {}
