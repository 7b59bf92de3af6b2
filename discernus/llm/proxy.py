"""The way through a team's LiteLLM proxy: how a call is addressed to it, and what its headers tell of what it did.

The proxy writes the name that it was asked for over the name of the model that answered; small hooks of ours (in
``deploy/litellm``) give that one back in a header, and name the parameters that it dropped. Without them nobody knows.
"""

from __future__ import annotations

from collections.abc import Mapping
from http.client import HTTPException
from ssl import SSLCertVerificationError
from typing import Any, Final
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

from discernus.experiments.experiment import OFFLINE_PREFIX
from discernus.settings import Settings

PREFIX = "litellm_proxy/"
KEY = "LITELLM_PROXY_API_KEY"
ALIVE: Final = "/health/liveliness"  # LiteLLM's own path and spelling; it asks for no key, and costs nothing
PATIENCE_S = 5.0
COST_SOURCE = "litellm proxy: its x-litellm-response-cost"

_ANSWERED = "x-provider-response-model"
_DROPPED = "x-dropped-parameters"
_TOLD = {  # by our name: the proxy's header
    "deployment": "x-litellm-model-name",
    "deployment_id": "x-litellm-model-id",
    "vendor_endpoint": "x-litellm-model-api-base",
    "region": "x-litellm-model-region",
    "call_id": "x-litellm-call-id",
    "version": "x-litellm-version",
    "attempted_fallbacks": "x-litellm-attempted-fallbacks",
    "attempted_retries": "x-litellm-attempted-retries",
}


def serves(settings: Settings, model: str) -> bool:
    """Return whether calls to this model go through a proxy: all but the offline model's, where one is set."""
    return model.startswith(PREFIX) or (settings.proxy_url is not None and not model.startswith(OFFLINE_PREFIX))


def why_not(settings: Settings, model: str) -> str | None:
    """Return why no call to this model may leave from here, with a cure; None where it may."""
    if not settings.require_proxy or settings.proxy_url is not None or model.startswith(OFFLINE_PREFIX):
        return None
    return (
        f"no call to '{model}' may leave but through the proxy (LLM_REQUIRE_PROXY), and no proxy is set; "
        "set DISCERNUS_PROXY_URL, or pass --proxy"
    )


def reachable(url: str) -> str | None:
    """Return why no proxy answers at this address, with a cure; None where one does. Takes 5 s at most."""
    alive = url.rstrip("/").removesuffix("/v1") + ALIVE
    try:
        with urlopen(alive, timeout=PATIENCE_S):
            return None
    except HTTPError as refused:
        why = f"what answers there is no LiteLLM proxy (status {refused.code} for {ALIVE})"
    except (URLError, HTTPException, OSError, ValueError) as failed:
        reason = getattr(failed, "reason", failed)
        if isinstance(reason, SSLCertVerificationError):  # somebody is there; LiteLLM's own settings say who is trusted
            return None
        why = str(getattr(reason, "strerror", None) or reason) or type(failed).__name__
    return f"no proxy answers at {url}: {why}; start it, or correct DISCERNUS_PROXY_URL or --proxy"


def address(settings: Settings, model: str) -> dict[str, Any]:
    """Return the arguments that send a call through the proxy, to the model that is asked for and no other."""
    arguments: dict[str, Any] = {
        "model": PREFIX + model.removeprefix(PREFIX),
        "extra_body": {"disable_fallbacks": True},
    }
    return arguments if settings.proxy_url is None else arguments | {"api_base": settings.proxy_url.rstrip("/")}


def answering_model(headers: Mapping[str, str], said: str | None, requested: str) -> str | None:
    """Return the model that answered behind the proxy; None where it says no more than what it was asked for."""
    return headers.get(_ANSWERED) or (said if said != requested.removeprefix(PREFIX) else None)


def fell_back(headers: Mapping[str, str]) -> bool:
    """Return whether the proxy went to another model than the one it was asked for, of its own accord."""
    return went_elsewhere(told(headers))


def went_elsewhere(told: Mapping[str, Any]) -> bool:
    """Return the same by what is on record of a call (see ``told``)."""
    return str(told.get("attempted_fallbacks")) not in ("", "0", "None")


def cost_usd(headers: Mapping[str, str]) -> float | None:
    """Return what the proxy says a call cost; None where it says nothing, or 0 for want of a price."""
    try:
        cost = float(headers.get("x-litellm-response-cost", ""))
    except ValueError:
        return None
    return cost if 0 < cost < float("inf") else None


def dropped(headers: Mapping[str, str]) -> tuple[str, ...]:
    """Return the parameters that the proxy says it did not pass on."""
    return tuple(name.strip() for name in headers.get(_DROPPED, "").split(",") if name.strip())


def told(headers: Mapping[str, str]) -> dict[str, str | None]:
    """Return what the proxy tells of how it served a call, for the record."""
    return {name: headers.get(header) for name, header in _TOLD.items()}
