"""How a call ended, in our own words: an answer with all that is known of it, or a failure with as much.

What LiteLLM hands over is set against what was seen on the wire: it makes answers of some refusals and errors, guesses
tokens that nobody counted, and calls the model by the name that was asked for.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

from discernus import __version__
from discernus.experiments.experiment import OFFLINE_PREFIX
from discernus.llm import billing, forensics, proxy, validation
from discernus.llm.billing import Bill, PriceTable
from discernus.llm.calls import ModelAnswer, ModelRequest, Usage
from discernus.llm.errors import CallFailed, Circumstances, ErrorClass, Reply, classify
from discernus.llm.limits_seen import seen_limits
from discernus.llm.models_file import ModelRules
from discernus.llm.prices import entries
from discernus.llm.secrets import redact_known
from discernus.llm.substitution import is_other_model
from discernus.llm.wire import Exchange

OFFLINE = OFFLINE_PREFIX.rstrip("/")


@dataclass(frozen=True)
class Sent:
    """A call that has been made: what was asked of whom, what the wire saw of it, and how long it took."""

    request: ModelRequest
    vendor: str  # LiteLLM's name for the model's vendor, whether or not a proxy stands between; "" if it has none
    proxied: bool
    rules: ModelRules
    table: PriceTable
    largest_bytes: int  # LLM_MAX_RESPONSE_SIZE
    exchange: Exchange
    started_at: datetime
    latency_ms: float

    @cached_property
    def headers(self) -> dict[str, str]:
        """The reply's headers, their names in lower case; none without a reply."""
        return {} if self.exchange.response is None else dict(self.exchange.response.headers)

    @property
    def received(self) -> str | None:
        """The reply's body as the vendor sent it, as much as came of it; None if nothing did."""
        return self.exchange.received

    @cached_property
    def said(self) -> dict[str, Any]:
        """The reply's body as JSON; nothing where it is none. What LiteLLM makes of it has names and ids of its own."""
        try:
            said = json.loads(self.received or "")
        except ValueError:
            return {}
        return said if isinstance(said, dict) else {}

    @cached_property
    def as_sent(self) -> dict[str, Any] | None:
        """The request's body without its texts; None if nothing was sent."""
        return None if self.exchange.request is None else forensics.body_without_texts(self.exchange.request.content)

    @property
    def reply(self) -> Reply | None:
        response = self.exchange.response
        return None if response is None else Reply(response.status_code, self.headers, self.received or "")


def failure_of(sent: Sent, exception: Exception, missing: tuple[str, ...]) -> CallFailed:
    """Return what the exception of a call means; ``missing`` names keys that the environment lacks."""
    told = sent.exchange.failure or exception
    return classify(
        told,
        sent.request.model,
        reply=sent.reply,
        sent=sent.exchange.sent,
        missing=missing,
        received=sent.received,
        **_circumstances(sent, _bill_of_failure(sent)),
    )


def answer_of(sent: Sent, response: Any) -> ModelAnswer:
    """Return the answer that LiteLLM's response holds, or raise CallFailed where it holds none."""
    try:
        failed = _why_no_answer(sent, response)
        if failed is None:
            return _answer(sent, response)
    except (AttributeError, KeyError, LookupError, TypeError, ValueError) as odd:  # a form that nobody expected
        told = f"sent an answer that could not be taken apart ({type(odd).__name__}: {odd})"
        failed = _failed(sent, "malformed_answer", told, _bill_of_failure(sent))
    raise failed from None


def _why_no_answer(sent: Sent, response: Any) -> CallFailed | None:
    """Return the failure that LiteLLM makes look like an answer: a blocked one, an error, or nothing at all."""
    reply = sent.reply
    if reply is not None and reply.status >= 400:  # LiteLLM turns one 400 into an empty answer with guessed usage
        told = "reached its output limit before it wrote anything; raise max_tokens for this model"
        return _failed(sent, "truncated", told, billing.NOTHING)
    if not response.choices:
        return _failed(sent, "malformed_answer", "sent an answer with no text in it", _bill(sent, response, None))
    choice = response.choices[0]
    if not choice.message.content and (choice.finish_reason == "content_filter" or _refusal(choice.message)):
        told = "refused this text or held its answer back; use another model for it"
        return _failed(sent, "refusal", told, _bill(sent, response, _answering_model(sent, response)))
    return None


def _refusal(message: Any) -> str | None:
    """Return what stands in a message's field for refusals, wherever LiteLLM has put it."""
    beside = getattr(message, "provider_specific_fields", None) or {}
    return getattr(message, "refusal", None) or beside.get("refusal")


def _failed(sent: Sent, error_class: ErrorClass, told: str, bill: Bill) -> CallFailed:
    reply = sent.reply
    return CallFailed(
        error_class,
        f"model '{sent.request.model}' {told}",
        status=reply.status if reply else None,
        body=sent.received,
        **_circumstances(sent, bill),
    )


def _circumstances(sent: Sent, bill: Bill) -> Circumstances:
    return Circumstances(
        usage=None if bill.usage == Usage() else bill.usage,
        cost_usd=bill.cost_usd,
        price_source=bill.price_source,
        request_as_sent=sent.as_sent,
        started_at=sent.started_at,
        latency_ms=sent.latency_ms,
        limits=seen_limits(sent.headers),
    )


def _answer(sent: Sent, response: Any) -> ModelAnswer:
    choice, request = response.choices[0], sent.request
    answered = _answering_model(sent, response)
    bill = _bill(sent, response, answered)
    text = redact_known(choice.message.content or "")
    return ModelAnswer(
        text=text,
        finish_reason=choice.finish_reason,
        model_requested=request.model,
        model_answered=answered,
        usage=bill.usage,
        cost_usd=bill.cost_usd,
        price_source=bill.price_source,
        started_at=sent.started_at,
        latency_ms=sent.latency_ms,
        dropped_parameters=_dropped(sent),
        model_forensics=_forensics(sent, response, answered),
        request_as_sent=sent.as_sent,
        response_as_received=None if sent.received is None else redact_known(sent.received),
        substituted=_is_substitute(sent, answered),
        limits=seen_limits(sent.headers),
        marks=validation.marks(text, choice.finish_reason, largest_bytes=sent.largest_bytes),
    )


def _answering_model(sent: Sent, response: Any) -> str | None:
    if sent.vendor == OFFLINE:
        return str(response.model)
    said = forensics.named_in(sent.said, "model", "modelVersion")
    if sent.proxied:
        return proxy.answering_model(sent.headers, said, sent.request.model)
    named = response._hidden_params.get("provider_response_model")
    if said is None and named and named != sent.request.model:  # LiteLLM often repeats the name that it was given
        return str(named)
    return said


def _is_substitute(sent: Sent, answered: str | None) -> bool:
    """Return whether another model answered than the one that was asked for."""
    other = is_other_model(sent.request.model, answered, sent.rules.answers_as)
    return other or (sent.proxied and proxy.fell_back(sent.headers))


def _bill(sent: Sent, response: Any, answered: str | None) -> Bill:
    """Return the bill of a reply that LiteLLM could take apart: that of a substitute is by its own price alone."""
    if sent.vendor == OFFLINE:
        return billing.OFFLINE
    body = sent.received or ""
    usage = _usage(response, body) if billing.says_count(body) else Usage()
    named = (answered,) if answered else ()
    substitute = _is_substitute(sent, answered)
    return billing.bill(
        usage,
        named if substitute else (sent.request.model, *named),
        sent.vendor,
        told=billing.cost_told(sent.vendor, body, sent.headers, proxied=sent.proxied),
        own=None if substitute else sent.rules.price,
        table=sent.table,
    )


def _bill_of_failure(sent: Sent) -> Bill:
    """Return the bill of a reply that LiteLLM could make nothing of, as far as it can be read all the same."""
    reply = sent.reply
    if reply is None or reply.status >= 300:
        return billing.NOTHING
    return billing.bill(
        billing.usage_of(billing.count_in(reply.body)),
        (sent.request.model,),
        sent.vendor,
        told=billing.cost_told(sent.vendor, reply.body, sent.headers, proxied=sent.proxied),
        own=sent.rules.price,
        table=sent.table,
    )


def _usage(response: Any, body: str) -> Usage:
    """Return the vendor's count of tokens as LiteLLM read it, which takes one that is missing for 0.

    Of a reply that was held back it reads less than the body tells: of that the body counts.
    """
    usage, written = response.usage, any(choice.message.content for choice in response.choices)
    told = Usage() if written else billing.usage_of(billing.count_in(body))
    if told.prompt_tokens is not None and told.completion_tokens is not None:
        return told
    return Usage(
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=(usage.completion_tokens or None) if written else usage.completion_tokens,
        cached_tokens=getattr(getattr(usage, "prompt_tokens_details", None), "cached_tokens", None),
        reasoning_tokens=getattr(getattr(usage, "completion_tokens_details", None), "reasoning_tokens", None),
    )


def _dropped(sent: Sent) -> tuple[str, ...]:
    parameters = sent.request.parameters
    if sent.vendor == OFFLINE:
        return tuple(sorted(parameters.keys() - {"lexicon"}))
    dropped = forensics.dropped(parameters, sent.as_sent)
    return tuple(sorted({*dropped, *proxy.dropped(sent.headers)})) if sent.proxied else dropped


def _forensics(sent: Sent, response: Any, answered: str | None) -> dict[str, Any]:
    """Return who answered, where and under which versions; None for whatever nobody told."""
    request, url = sent.exchange.request, None if sent.exchange.request is None else sent.exchange.request.url
    proxied = proxy.told(sent.headers) if sent.proxied else None
    region = None if url is None else forensics.region(url, sent.headers, sent.vendor)
    return {
        "requested_model": sent.request.model,
        "actual_model": answered,
        "vendor": sent.vendor or None,
        "endpoint": None if url is None else forensics.endpoint(url),
        "api_version": None if url is None else forensics.api_version(url, request.headers, sent.headers),
        "model_build_date": None,
        "deployment_region": proxied["region"] if proxied else region,
        "system_fingerprint": getattr(response, "system_fingerprint", None),
        "request_id": forensics.request_id(sent.headers),
        "service_tier": getattr(response, "service_tier", None),
        "response_id": forensics.named_in(sent.said, "id", "responseId"),
        "litellm_version": sent.table.version,
        "discernus_version": __version__,
        "parameters": {name: value for name, value in sent.request.parameters.items() if name != "lexicon"},
        "capabilities": _capabilities(sent),
        "proxy": proxied,
    }


def _capabilities(sent: Sent) -> dict[str, Any] | None:
    if sent.vendor == OFFLINE:
        return None
    entry = next((found for _, found in entries((sent.request.model,), sent.vendor, sent.table.entries)), None)
    return None if entry is None else forensics.capabilities(entry, sent.rules)
