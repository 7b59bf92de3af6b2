"""The one way to a model. Only this module touches LiteLLM, and only when first used: importing it takes seconds.

A call is one request on the wire, whatever happens; repeating it is the caller's decision.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import re
import threading
from datetime import UTC, datetime
from importlib import import_module
from importlib.metadata import version
from time import perf_counter
from typing import Any

from discernus import __version__
from discernus.experiments.experiment import OFFLINE_PREFIX
from discernus.llm import forensics, offline, wire
from discernus.llm.calls import ModelAnswer, ModelRequest, Usage
from discernus.llm.errors import CallFailed, Reply, classify
from discernus.llm.prices import price_source
from discernus.llm.secrets import redact_known
from discernus.settings import Settings

_LOCAL_TABLES = ("LITELLM_LOCAL_MODEL_COST_MAP", "LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS")
GARBAGE = (20_000, 20, 50)  # collect a tenth as often as by default: a call makes thousands of short-lived objects
_USAGE = re.compile(r'(?<!\\)"(?:usage|usageMetadata|billed_units)"\s*:\s*\{|(?<!\\)"eval_count"\s*:')
_OFFLINE = OFFLINE_PREFIX.rstrip("/")

_lock = threading.Lock()
_litellm: Any = None


def warm_up() -> None:
    """Import and set up LiteLLM, which takes seconds; a second call returns at once. Safe from any thread."""
    global _litellm
    with _lock:
        if _litellm is not None:
            return
        os.environ.update(dict.fromkeys(_LOCAL_TABLES, "True"))
        gc.disable()  # a quarter of the import would go into looking for garbage among a million new objects
        import litellm
        from litellm.llms.custom_httpx.aiohttp_transport import LiteLLMAiohttpTransport

        gc.freeze()  # and no later collection walks through them again
        gc.enable()
        litellm.telemetry = False
        litellm.suppress_debug_info = True
        logging.getLogger("LiteLLM").setLevel(logging.CRITICAL)
        litellm.custom_provider_map = [{"provider": _OFFLINE, "custom_handler": _offline_provider(litellm)}]
        litellm.utils.custom_llm_setup()
        wire.install(LiteLLMAiohttpTransport)
        _litellm = litellm


def load_client() -> None:
    """Import what LiteLLM itself puts off until the first call (half a second), so that no call waits for it."""
    warm_up()
    import_module("openai.resources.chat")
    gc.freeze()
    gc.set_threshold(*GARBAGE)


def missing_keys(model: str) -> tuple[str, ...]:
    """Return the environment variables that this model needs and that are not set; warms up if need be."""
    if model.startswith((OFFLINE_PREFIX, "ollama/", "ollama_chat/")):
        return ()
    warm_up()
    missing = _litellm.validate_environment(model)["missing_keys"]
    either = {"GEMINI_API_KEY", "GOOGLE_API_KEY"}  # one of them will do
    return tuple(name for name in missing if not (either <= set(missing) and name == "GOOGLE_API_KEY"))


def has_vendor(model: str) -> bool:
    """Return whether LiteLLM knows which vendor this model belongs to; warms up if need be."""
    if model.startswith(OFFLINE_PREFIX):
        return True
    warm_up()
    try:
        _litellm.get_llm_provider(model)
    except _litellm.exceptions.BadRequestError:
        return False
    return True


async def complete(request: ModelRequest, *, idempotency_key: str) -> ModelAnswer:
    """Return the model's answer, or raise CallFailed; at most one request goes out, within ``timeout_s`` in all."""
    if _litellm is None:
        await asyncio.to_thread(warm_up)
    started_at, start = datetime.now(UTC), perf_counter()
    with wire.watched() as exchange:
        try:
            async with asyncio.timeout(request.timeout_s):
                response = await _litellm.acompletion(**_arguments(request, idempotency_key))
        except Exception as exception:  # noqa: BLE001  each kind of failure is told apart by classify
            raise _failure(exception, request.model, exchange) from None  # a cause could carry a key
    latency_ms = (perf_counter() - start) * 1000
    try:
        _refuse_what_is_no_answer(response, request.model, exchange)
        return _answer(request, response, exchange, started_at, latency_ms)
    except (AttributeError, KeyError, LookupError, TypeError, ValueError) as odd:  # a form that nobody expected
        reply = _reply(exchange)
        raise CallFailed(
            "malformed_answer",
            f"model '{request.model}' sent an answer that could not be taken apart ({type(odd).__name__}: {odd})",
            status=reply.status if reply else None,
            body=reply.body if reply else None,
        ) from None


def _arguments(request: ModelRequest, idempotency_key: str) -> dict[str, Any]:
    arguments = {
        **request.parameters,
        "model": request.model,
        "messages": [{"role": message.role, "content": message.content} for message in request.messages],
        "timeout": request.timeout_s,
        "num_retries": 0,
        "max_retries": 0,
        "drop_params": True,
    }
    if not request.model.startswith(OFFLINE_PREFIX):
        arguments["extra_headers"] = {"Idempotency-Key": idempotency_key}
    return arguments


def _failure(exception: Exception, model: str, exchange: wire.Exchange) -> CallFailed:
    missing = missing_keys(model) if exchange.request is None else ()
    told = exchange.failure or exception
    return classify(told, model, reply=_reply(exchange), sent=exchange.sent, missing=missing)


def _reply(exchange: wire.Exchange) -> Reply | None:
    response = exchange.response
    return None if response is None else Reply(response.status_code, dict(response.headers), response.text)


def _refuse_what_is_no_answer(response: Any, model: str, exchange: wire.Exchange) -> None:
    """Raise CallFailed for what LiteLLM makes look like an answer: a blocked one, an error, or nothing at all."""
    reply = _reply(exchange)
    if reply is not None and reply.status >= 400:  # LiteLLM turns one 400 into an empty answer with guessed usage
        raise CallFailed(
            "truncated",
            f"model '{model}' reached its output limit before it wrote anything; raise max_tokens for this model",
            status=reply.status,
            body=reply.body,
        )
    body = reply.body if reply else None
    if not response.choices:
        status = reply.status if reply else None
        message = f"model '{model}' sent an answer with no text in it"
        raise CallFailed("malformed_answer", message, status=status, body=body)
    choice = response.choices[0]
    refused = choice.finish_reason == "content_filter" or getattr(choice.message, "refusal", None)
    if refused and not choice.message.content:
        message = f"model '{model}' refused this text or held its answer back; use another model for it"
        raise CallFailed("refusal", message, status=reply.status if reply else None, body=body)


def _answer(
    request: ModelRequest, response: Any, exchange: wire.Exchange, started_at: datetime, latency_ms: float
) -> ModelAnswer:
    choice, hidden = response.choices[0], response._hidden_params
    vendor = hidden.get("custom_llm_provider") or request.model.partition("/")[0]
    headers = {} if exchange.response is None else dict(exchange.response.headers)
    answered = headers.get("x-provider-response-model") or hidden.get("provider_response_model")
    answered = answered or (response.model if vendor == _OFFLINE else None)
    received = None if exchange.response is None else redact_known(exchange.response.text)
    usage = _usage(response, received)
    cost_usd, source = _cost(request.model, answered, vendor, hidden.get("response_cost"), usage)
    sent = None if exchange.request is None else forensics.body_without_texts(exchange.request.content)
    return ModelAnswer(
        text=redact_known(choice.message.content or ""),
        finish_reason=choice.finish_reason,
        model_requested=request.model,
        model_answered=answered,
        usage=usage,
        cost_usd=cost_usd,
        price_source=source,
        started_at=started_at,
        latency_ms=latency_ms,
        dropped_parameters=_dropped(request, vendor, sent),
        model_forensics=_forensics(request, response, exchange, answered, vendor),
        request_as_sent=sent,
        response_as_received=received,
    )


def _dropped(request: ModelRequest, vendor: str, sent: dict[str, Any] | None) -> tuple[str, ...]:
    if vendor == _OFFLINE:
        return tuple(sorted(request.parameters.keys() - {"lexicon"}))
    return forensics.dropped(request.parameters, sent)


def _forensics(
    request: ModelRequest, response: Any, exchange: wire.Exchange, answered: str | None, vendor: str
) -> dict[str, Any]:
    """Return who answered, where and under which versions; None for whatever no vendor told."""
    sent, received = exchange.request, exchange.response
    headers = {} if received is None else dict(received.headers)
    return {
        "requested_model": request.model,
        "actual_model": answered,
        "vendor": vendor,
        "endpoint": None if sent is None else forensics.endpoint(sent.url),
        "api_version": None if sent is None else forensics.api_version(sent.url, sent.headers, headers),
        "model_build_date": None,
        "deployment_region": None if sent is None else forensics.region(sent.url, headers),
        "system_fingerprint": getattr(response, "system_fingerprint", None),
        "request_id": forensics.request_id(headers),
        "service_tier": getattr(response, "service_tier", None),
        "response_id": None if received is None else response.id,
        "litellm_version": _version(),
        "discernus_version": __version__,
        "parameters": {name: value for name, value in request.parameters.items() if name != "lexicon"},
    }


def _usage(response: Any, received: str | None) -> Usage:
    """Return the tokens that the vendor counted; LiteLLM's own estimates, made where it did not, are left out."""
    if received is None or not _USAGE.search(received):
        return Usage()
    usage = response.usage
    of_prompt = getattr(usage, "prompt_tokens_details", None)
    of_completion = getattr(usage, "completion_tokens_details", None)
    return Usage(
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        cached_tokens=getattr(of_prompt, "cached_tokens", None),
        reasoning_tokens=getattr(of_completion, "reasoning_tokens", None),
    )


def _cost(
    model: str, answered: str | None, vendor: str, cost_usd: float | None, usage: Usage
) -> tuple[float | None, str | None]:
    """Return cost and source of the price; (None, None) where the price or the tokens are not known."""
    if vendor == _OFFLINE:
        return 0.0, f"{_OFFLINE}: no vendor is paid"
    if cost_usd is None or usage.prompt_tokens is None:
        return None, None
    models = (model, answered) if answered else (model,)
    source = price_source(models, vendor, _litellm.model_cost, _version())
    return (cost_usd, source) if source else (None, None)


def _version() -> str:
    global _litellm_version
    if _litellm_version is None:
        _litellm_version = version("litellm")
    return _litellm_version


_litellm_version: str | None = None


def _offline_provider(litellm: Any) -> Any:
    """Return the offline model as a provider of LiteLLM, so that it takes the same path as every other model."""
    delay_s = Settings().offline_delay_s

    class OfflineProvider(litellm.CustomLLM):  # type: ignore[misc]
        async def acompletion(self, *_: Any, **call: Any) -> Any:
            if delay_s:
                await asyncio.sleep(delay_s)
            lexicon = call["optional_params"].get("lexicon")
            if not lexicon:
                message = f"the offline model '{call['model']}' can only analyse texts: it was given no lexicon"
                raise litellm.llms.custom_llm.CustomLLMError(status_code=400, message=message)
            text = offline.document_of(call["messages"][-1]["content"])
            response = call["model_response"]
            response.model = f"{OFFLINE_PREFIX}{call['model']}"
            response.choices[0].message.content = offline.answer(text, lexicon)
            response.choices[0].finish_reason = "stop"
            return response

    return OfflineProvider()
