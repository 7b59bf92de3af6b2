"""The one way to a model. Only this module touches LiteLLM, and only when first used: importing it takes seconds.

A call is one request on the wire, whatever happens; repeating it is the caller's decision.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import threading
from datetime import UTC, datetime
from functools import cache
from importlib import import_module
from importlib.metadata import version
from time import perf_counter
from typing import Any

import structlog

from discernus.experiments.experiment import OFFLINE_PREFIX
from discernus.llm import offline, proxy, validation, wire
from discernus.llm.billing import PriceTable
from discernus.llm.calls import ModelAnswer, ModelRequest, Usage
from discernus.llm.errors import CallFailed
from discernus.llm.models_file import ModelRules, current_models_file
from discernus.llm.outcome import OFFLINE, Sent, answer_of, failure_of
from discernus.settings import Settings

_LOCAL_TABLES = ("LITELLM_LOCAL_MODEL_COST_MAP", "LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS")
GARBAGE = (20_000, 20, 50)  # collect a tenth as often as by default: a call makes thousands of short-lived objects

log = structlog.get_logger()

_lock = threading.Lock()
_litellm: Any = None
_table: PriceTable


_settings: Settings | None = None


def configure(settings: Settings) -> None:
    """Let these settings, and the models.yaml they name, hold for all calls from now on; by default the environment's.

    Raises ModelsFileInvalid. What is changed in models.yaml later holds for the calls that come then.
    """
    global _settings
    current_models_file(settings.models_path)
    _settings = settings


def _in_force() -> Settings:
    if _settings is None:
        configure(Settings())
        assert _settings is not None
    return _settings


def warm_up() -> None:
    """Import and set up LiteLLM, which takes seconds; a second call returns at once. Safe from any thread."""
    global _litellm, _table
    with _lock:
        if _litellm is not None:
            return
        os.environ.update(dict.fromkeys(_LOCAL_TABLES, "True"))
        gc.disable()  # a quarter of the import would go into looking for garbage among a million new objects
        import httpx
        import litellm
        from litellm.llms.custom_httpx.aiohttp_transport import LiteLLMAiohttpTransport

        gc.freeze()  # and no later collection walks through them again
        gc.enable()
        litellm.telemetry = False
        litellm.suppress_debug_info = True
        logging.getLogger("LiteLLM").setLevel(logging.CRITICAL)
        litellm.custom_provider_map = [{"provider": OFFLINE, "custom_handler": _offline_provider(litellm)}]
        litellm.utils.custom_llm_setup()
        for transport in (LiteLLMAiohttpTransport, httpx.AsyncHTTPTransport):  # DISABLE_AIOHTTP_TRANSPORT chooses
            wire.install(transport)
        _table = PriceTable(litellm.model_cost, version("litellm"), _reckon)
        _litellm = litellm


def load_client() -> None:
    """Import what LiteLLM itself puts off until the first call (half a second), so that no call waits for it."""
    warm_up()
    import_module("openai.resources.chat")
    gc.freeze()
    gc.set_threshold(*GARBAGE)


def missing_keys(model: str) -> tuple[str, ...]:
    """Return the environment variables that this model needs and that are not set; warms up if need be.

    What goes through a proxy needs the proxy's key alone.
    """
    if proxy.serves(_in_force(), model):
        return () if os.environ.get(proxy.KEY) else (proxy.KEY,)
    if model.startswith((OFFLINE_PREFIX, "ollama/", "ollama_chat/")):
        return ()
    warm_up()
    missing = _litellm.validate_environment(model)["missing_keys"]
    either = {"GEMINI_API_KEY", "GOOGLE_API_KEY"}  # one of them will do
    return tuple(name for name in missing if not (either <= set(missing) and name == "GOOGLE_API_KEY"))


def has_vendor(model: str) -> bool:
    """Return whether LiteLLM knows which vendor this model belongs to; warms up if need be.

    A proxy's models are the proxy's to know.
    """
    if model.startswith(OFFLINE_PREFIX) or proxy.serves(_in_force(), model):
        return True
    warm_up()
    return bool(_vendor(model))


async def complete(request: ModelRequest, *, idempotency_key: str) -> ModelAnswer:
    """Return the model's answer, or raise CallFailed; at most one request goes out, within ``timeout_s`` in all."""
    if _litellm is None:
        await asyncio.to_thread(warm_up)
    settings = _in_force()
    try:
        rules = current_models_file(settings.models_path).rules(request.model)
        answer = await _complete(request, idempotency_key, settings, rules)
    except CallFailed as failure:
        if settings.usage_tracking:
            _note_failure(request.model, failure)
        raise
    if settings.usage_tracking:
        _note_answer(answer)
    return answer


async def _complete(request: ModelRequest, idempotency_key: str, settings: Settings, rules: ModelRules) -> ModelAnswer:
    started_at, start = datetime.now(UTC), perf_counter()
    if refused := proxy.why_not(settings, request.model):
        raise CallFailed("permission", refused, sent=False, started_at=started_at, latency_ms=0.0)
    with wire.watched() as exchange:

        def sent() -> Sent:
            return Sent(
                request=request,
                vendor=_vendor(request.model),
                proxied=proxy.serves(settings, request.model),
                rules=rules,
                table=_table,
                largest_bytes=settings.max_response_size,
                exchange=exchange,
                started_at=started_at,
                latency_ms=(perf_counter() - start) * 1000,
            )

        try:
            async with asyncio.timeout(request.timeout_s):
                response = await _litellm.acompletion(**_arguments(settings, request, idempotency_key))
        except Exception as exception:  # noqa: BLE001  each kind of failure is told apart by its outcome
            missing = missing_keys(request.model) if exchange.request is None else ()
            raise failure_of(sent(), exception, missing) from None  # a cause could carry a key
    answer = answer_of(sent(), response)
    return answer if exchange.request is not None or _vendor(request.model) == OFFLINE else _unwatched(answer)


def _unwatched(answer: ModelAnswer) -> ModelAnswer:
    """Return an answer that came past the wire, marked: it was paid for, but its tokens and who gave it are unknown."""
    log.warning("answer_not_seen_on_the_wire", model=answer.model_requested)
    return answer.model_copy(update={"marks": (*answer.marks, validation.UNWATCHED)})


def _arguments(settings: Settings, request: ModelRequest, idempotency_key: str) -> dict[str, Any]:
    arguments = {
        **request.parameters,
        "model": request.model,
        "messages": [{"role": message.role, "content": message.content} for message in request.messages],
        "timeout": request.timeout_s,
        "num_retries": 0,
        "max_retries": 0,
        "drop_params": True,
    }
    if request.model.startswith(OFFLINE_PREFIX):
        return arguments
    address = proxy.address(settings, request.model) if proxy.serves(settings, request.model) else {}
    return {**arguments, **address, "extra_headers": {"Idempotency-Key": idempotency_key}}


def _note_answer(answer: ModelAnswer) -> None:
    usage = answer.usage
    log.info(
        "call_completed",
        model=answer.model_requested,
        model_answered=answer.model_answered,
        vendor=answer.model_forensics["vendor"],
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        cost_usd=answer.cost_usd,
        latency_ms=round(answer.latency_ms, 1),
        marks=answer.marks,
    )


def _note_failure(model: str, failure: CallFailed) -> None:
    usage = failure.usage or Usage()
    log.info(
        "call_failed",
        model=model,
        vendor=_vendor(model) or None,
        error_class=failure.error_class,
        status=failure.status,
        sent=failure.sent,
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        cost_usd=failure.cost_usd,
        latency_ms=None if failure.latency_ms is None else round(failure.latency_ms, 1),
    )


@cache
def _vendor(model: str) -> str:
    """Return LiteLLM's name for a model's vendor, whichever way its calls go; "" if it knows none."""
    try:
        return str(_litellm.get_llm_provider(model.removeprefix(proxy.PREFIX))[1])
    except _litellm.exceptions.BadRequestError:
        return ""


def _reckon(model: str, vendor: str, usage: Usage) -> float | None:
    """Return what LiteLLM's table makes of a usage, in USD; None where it prices no such model."""
    counted = _litellm.Usage(
        prompt_tokens=usage.prompt_tokens or 0,
        completion_tokens=usage.completion_tokens or 0,
        prompt_tokens_details={"cached_tokens": usage.cached_tokens} if usage.cached_tokens else None,
        reasoning_tokens=usage.reasoning_tokens,
    )
    try:
        return float(sum(_litellm.cost_per_token(model=model, custom_llm_provider=vendor, usage_object=counted)))
    except Exception:  # noqa: BLE001  LiteLLM raises what it likes for a model it has no price for
        return None


def _offline_provider(litellm: Any) -> Any:
    """Return the offline model as a provider of LiteLLM, so that it takes the same path as every other model."""

    class OfflineProvider(litellm.CustomLLM):  # type: ignore[misc]
        async def acompletion(self, *_: Any, **call: Any) -> Any:
            await asyncio.sleep(_in_force().offline_delay_s)
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
