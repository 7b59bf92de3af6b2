"""What is known of a model before it is called: prices, sizes, and how many tokens a text takes.

LiteLLM's price table and its tokenizer's file are read straight from where they are installed: importing LiteLLM itself
takes seconds, and the command line has none to spare.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from discernus.experiments.experiment import OFFLINE_PREFIX
from discernus.llm.calls import ModelRequest
from discernus.llm.models_file import ModelRules
from discernus.llm.prices import OFFLINE_SOURCE, Entry, entries, own_source, priced_entry, table_source

if TYPE_CHECKING:
    from tiktoken import Encoding

_TABLE = "model_prices_and_context_window_backup.json"
_TOKENIZERS = "litellm_core_utils/tokenizers"
_ENCODING = "cl100k_base"
_PER_MESSAGE = 3  # tokens that mark off a message, and the answer's beginning, in OpenAI's chat format
VENDORS_MAY_COUNT = 1.2  # tokens of their own for one of ours, in the languages of our corpora
_ABOVE = "input_cost_per_token_above_"


@dataclass(frozen=True)
class Rate:
    """What tokens cost, in USD each, where the prompt is longer than ``above_tokens``."""

    above_tokens: int
    input_usd: float
    output_usd: float
    cached_input_usd: float


@dataclass(frozen=True)
class ModelFacts:
    """A model's price in USD per token and its sizes in tokens; None is unknown.

    ``cached_input_usd`` equals ``input_usd`` where no price for cached tokens is stated. ``dearer`` are the rates of
    long prompts, shortest first. ``thinks``: it may write reasoning, billed as output. ``cached_from_tokens``: the
    shortest beginning of a prompt that the vendor caches, where the table says so.
    """

    model: str
    vendor: str | None
    input_usd: float | None
    output_usd: float | None
    cached_input_usd: float | None
    max_input_tokens: int | None
    max_output_tokens: int | None
    price_source: str | None
    dearer: tuple[Rate, ...] = ()
    thinks: bool = False
    cached_from_tokens: int | None = None

    def rate(self, prompt_tokens: float) -> Rate | None:
        """Return the rate for a prompt of that length; None where no price is known."""
        if self.input_usd is None or self.output_usd is None:
            return None
        cached = self.input_usd if self.cached_input_usd is None else self.cached_input_usd
        found = Rate(0, self.input_usd, self.output_usd, cached)
        for dearer in self.dearer:
            found = dearer if prompt_tokens > dearer.above_tokens else found
        return found


def facts_of(model: str, rules: ModelRules) -> ModelFacts:
    """Return what is known of a model; prices and sizes in models.yaml win over LiteLLM's table."""
    if model.startswith(OFFLINE_PREFIX):
        return ModelFacts(model, OFFLINE_PREFIX.rstrip("/"), 0.0, 0.0, 0.0, None, None, OFFLINE_SOURCE)
    vendor = _vendor(model)
    priced = priced_entry((model,), vendor, _table()) if vendor else None
    known = priced[1] if priced else next((entry for _, entry in entries((model,), vendor, _table())), {})
    rates, source = _rates(known) if priced else (), table_source(*priced, _version()) if priced else None
    if rules.price is not None:
        price = rules.price
        cached = price.input_usd if price.cached_input_usd is None else price.cached_input_usd
        rates, source = (Rate(0, price.input_usd, price.output_usd, cached),), own_source(price.model_dump())
    first = rates[0] if rates else None
    return ModelFacts(
        model=model,
        vendor=vendor or None,
        input_usd=first.input_usd if first else None,
        output_usd=first.output_usd if first else None,
        cached_input_usd=first.cached_input_usd if first else None,
        max_input_tokens=rules.max_input_tokens or _whole(known.get("max_input_tokens")),
        max_output_tokens=rules.max_output_tokens or _whole(known.get("max_output_tokens") or known.get("max_tokens")),
        price_source=source if first else None,
        dearer=rates[1:],
        thinks=bool(known.get("supports_reasoning")),
        cached_from_tokens=_whole(known.get("prompt_cache_min_tokens")),
    )


def cost_usd(
    facts: ModelFacts, prompt_tokens: float, completion_tokens: float, cached_tokens: float = 0
) -> float | None:
    """Return what a call of that size costs; ``cached_tokens`` are among the prompt's. None where no price is known."""
    rate = facts.rate(prompt_tokens)
    if rate is None:
        return None
    fresh = prompt_tokens - cached_tokens
    return fresh * rate.input_usd + cached_tokens * rate.cached_input_usd + completion_tokens * rate.output_usd


def worst_case_usd(facts: ModelFacts, prompt_tokens: int, max_tokens: int | None) -> float | None:
    """Return what a call costs if its answer is as long as it may be; None where the price or that length is unknown.

    ``prompt_tokens`` are as we count them, and its vendor may count more. ``max_tokens`` is the request's own limit;
    the model's holds where it is lower, or where there is none.
    """
    limits = [limit for limit in (max_tokens, facts.max_output_tokens) if limit is not None]
    if not limits and facts.output_usd != 0:
        return None
    return cost_usd(facts, prompt_tokens * VENDORS_MAY_COUNT, min(limits, default=0))


def count_tokens(text: str) -> int:
    """Return the tokens of a text by OpenAI's encoding cl100k_base, counted once for equal texts.

    For the models of other vendors this is an approximation, by a fifth off or more in other languages than English;
    the count that a bill rests on is always the vendor's.
    """
    key = sha256(text.encode("utf-8", "surrogatepass")).digest()
    known = _counts.get(key)
    if known is None:
        known = _counts[key] = len(_encoding().encode_ordinary(text))
    return known


def prompt_tokens(request: ModelRequest) -> int:
    """Return the tokens of a request's messages, with those that mark them off; see ``count_tokens``."""
    return sum(count_tokens(message.content) + _PER_MESSAGE for message in request.messages) + _PER_MESSAGE


_counts: dict[bytes, int] = {}


def _vendor(model: str) -> str:
    """Return the vendor as LiteLLM names it: what stands before the slash, else whose entry the bare name is."""
    prefix, slash, _ = model.partition("/")
    if slash:
        return prefix
    provider = str(_table().get(model, {}).get("litellm_provider", ""))
    return "vertex_ai" if provider.startswith("vertex_ai") else provider


def _rates(entry: Entry) -> tuple[Rate, ...]:
    """Return an entry's rates by the length of the prompt, shortest first; empty if it has no price per token."""
    if isinstance(entry.get("tiered_pricing"), list):
        tiers = sorted(entry["tiered_pricing"], key=lambda tier: float(tier["range"][0]))
        output = {"output_cost_per_token": entry.get("output_cost_per_token", 0.0)}
        return tuple(_rate(int(tier["range"][0]), {**output, **tier}) for tier in tiers)
    if "input_cost_per_token" not in entry or "output_cost_per_token" not in entry:
        return ()
    return (_rate(0, entry), *(_rate(above, _of_long_prompts(entry, suffix)) for above, suffix in _thresholds(entry)))


def _rate(above_tokens: int, stated: Entry) -> Rate:
    """Return a rate; a few vendors bill thinking apart from answers, and the dearer of the two then stands for both."""
    input_usd, output_usd = float(stated["input_cost_per_token"]), float(stated["output_cost_per_token"])
    thinking_usd = float(stated.get("output_cost_per_reasoning_token") or 0.0)
    cached_usd = stated.get("cache_read_input_token_cost")
    cached_usd = input_usd if cached_usd is None else float(cached_usd)
    return Rate(above_tokens, input_usd, max(output_usd, thinking_usd), cached_usd)


def _of_long_prompts(entry: Entry, suffix: str) -> Entry:
    """Return an entry's rates with those for long prompts in their place; what it does not state for these stays."""
    return {**entry, **{name.removesuffix(suffix): value for name, value in entry.items() if name.endswith(suffix)}}


def _thresholds(entry: Entry) -> Iterator[tuple[int, str]]:
    """Yield the lengths above which another price holds, shortest first, each with the ending of its keys."""
    found = []
    for name in entry:
        number = name.removeprefix(_ABOVE).removesuffix("k_tokens")
        if name.startswith(_ABOVE) and name.endswith("k_tokens") and number.isdigit():
            found.append((int(number) * 1000, f"_above_{number}k_tokens"))
    yield from sorted(found)


def _whole(value: Any) -> int | None:
    """Return a number of tokens; a few entries of the table hold prose there."""
    return int(value) if isinstance(value, int | float) and value > 0 else None


@cache
def _table() -> dict[str, Any]:
    table: dict[str, Any] = json.loads((_litellm() / _TABLE).read_text(encoding="utf-8"))
    return table


@cache
def _encoding() -> Encoding:
    os.environ["TIKTOKEN_CACHE_DIR"] = str(_litellm() / _TOKENIZERS)  # as LiteLLM does: else it would ask the network
    import tiktoken

    return tiktoken.get_encoding(_ENCODING)


@cache
def _version() -> str:
    return version("litellm")


@cache
def _litellm() -> Path:
    spec = find_spec("litellm")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("LiteLLM is not installed; install this project with its dependencies (uv sync)")
    return Path(spec.origin).parent
