"""Which entry of LiteLLM's price table a cost comes from; a model without an entry has no price, and not price 0.

The one place for that rule: the gateway names the source of a cost by it, the catalogue looks prices up by it.
"""

import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from hashlib import sha256
from typing import Any

Entry = Mapping[str, Any]

OFFLINE_SOURCE = "offline: no vendor is paid"


def priced_entry(models: tuple[str, ...], vendor: str, table: Mapping[str, Entry]) -> tuple[str, Entry] | None:
    """Return name and content of the first entry that prices one of the models, or None."""
    return next(((name, entry) for name, entry in entries(models, vendor, table) if _prices(entry)), None)


def entries(models: tuple[str, ...], vendor: str, table: Mapping[str, Entry]) -> Iterator[tuple[str, Entry]]:
    """Yield that vendor's entries for the models, under every name that LiteLLM may have given them."""
    for model in models:
        for name in (model, f"{vendor}/{model}", model.removeprefix(f"{vendor}/")):
            entry = table.get(name)
            if entry is not None and str(entry.get("litellm_provider", "")).startswith(vendor):
                yield name, entry


def table_source(name: str, entry: Entry, version: str) -> str:
    """Return how a price that stands in LiteLLM's table is named: version, entry and the entry's hash."""
    return f"litellm {version} {name} {_hash(_frozen(entry))}"


def own_source(price: Entry) -> str:
    """Return how a price in models.yaml is named: by its hash, so that a changed price is another source."""
    return f"models.yaml {_hash(_frozen(price))}"


def _prices(entry: Entry) -> bool:
    """Return whether the entry states a price; zeros stand for one's own machine, a free trial, or nothing known."""
    rates = (value for name, value in entry.items() if name.startswith(("input_cost_per", "output_cost_per")))
    return any(rates) or bool(entry.get("tiered_pricing"))


def _frozen(entry: Entry) -> str:
    return json.dumps(entry, sort_keys=True, default=str)


@lru_cache(maxsize=256)
def _hash(entry: str) -> str:
    return sha256(entry.encode()).hexdigest()[:12]
