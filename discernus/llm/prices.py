"""Which entry of LiteLLM's price table a cost comes from; a model without an entry has no price, and not price 0."""

import json
from collections.abc import Mapping
from functools import lru_cache
from hashlib import sha256
from typing import Any


def price_source(
    models: tuple[str, ...], vendor: str, table: Mapping[str, Mapping[str, Any]], version: str
) -> str | None:
    """Return version, name and hash of the first entry that prices one of the models, or None."""
    for model in models:
        for name in (model, f"{vendor}/{model}", model.removeprefix(f"{vendor}/")):
            entry = table.get(name)
            if entry is not None and _prices(entry, vendor):
                return f"litellm {version} {name} {_hash(_frozen(entry))}"
    return None


def _prices(entry: Mapping[str, Any], vendor: str) -> bool:
    """Return whether the entry is that vendor's and states a price."""
    priced = any(name.startswith(("input_cost_per", "output_cost_per")) for name in entry)
    return priced and str(entry.get("litellm_provider", "")).startswith(vendor)


def _frozen(entry: Mapping[str, Any]) -> str:
    return json.dumps(entry, sort_keys=True, default=str)


@lru_cache(maxsize=256)
def _hash(entry: str) -> str:
    return sha256(entry.encode()).hexdigest()[:12]
