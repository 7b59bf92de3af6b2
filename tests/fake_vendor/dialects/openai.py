"""OpenAI's language, and those that were made after it: OpenRouter's, and of servers that one runs oneself."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from time import time
from typing import Any, ClassVar

from tests.fake_vendor.answers import REFUSAL
from tests.fake_vendor.dialects.dialect import Dialect, Failure, Question, Refusal, Wording, read_chat
from tests.fake_vendor.limits import Limit

FILTERED = {"content_filter", "safety"}
TYPES = {
    "rate_limit_exceeded": "requests",
    "insufficient_quota": "insufficient_quota",
    "server_error": "server_error",
}


class OpenAI(Dialect):
    name = "openai"
    ids = "chatcmpl-"
    path = re.compile(r"/chat/completions$")
    refusals: ClassVar[Mapping[str, Refusal]] = {
        "rate_limit": Refusal(
            429, "rate_limit_exceeded", "Rate limit reached for {model} on requests per min (RPM). Please slow down."
        ),
        "quota": Refusal(
            429,
            "insufficient_quota",
            "You exceeded your current quota, please check your plan and billing details.",
        ),
        "bad_key": Refusal(401, "invalid_api_key", "Incorrect API key provided: sk-te*****-key."),
        "no_permission": Refusal(
            403, "unsupported_country_region_territory", "Country, region, or territory not supported"
        ),
        "unknown_model": Refusal(
            404, "model_not_found", "The model `{model}` does not exist or you do not have access to it."
        ),
        "context_length": Refusal(
            400,
            "context_length_exceeded",
            "This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens.",
        ),
        "content_policy": Refusal(
            400, "invalid_prompt", "Invalid prompt: your prompt was flagged as potentially violating our usage policy."
        ),
        "overloaded": Refusal(503, "server_error", "The engine is currently overloaded, please try again later"),
        "bad_request": Refusal(400, "invalid_request_error", "Unsupported value: 'temperature' does not support 7."),
    }

    def read(self, path: str, body: dict[str, Any]) -> Question:
        return read_chat(self.name, body)

    def answer(self, said: Wording) -> dict[str, Any]:
        return {
            "id": f"{self.ids}{said.id}",
            "object": "chat.completion",
            "created": int(time()),
            "model": said.model,
            "choices": [{"index": 0, "message": self.message(said), "logprobs": None, "finish_reason": _finish(said)}],
            "usage": self.usage(said),
            **self.beside(said),
        }

    def message(self, said: Wording) -> dict[str, Any]:
        """Return the message; a refusal has its own field, and its content is null."""
        declined = said.finish == "declined"
        content = None if declined or said.finish in FILTERED else said.text
        return {"role": "assistant", "content": content, "refusal": REFUSAL if declined else None}

    def usage(self, said: Wording) -> dict[str, Any]:
        return {
            "prompt_tokens": said.prompt_tokens,
            "completion_tokens": said.completion_tokens,
            "total_tokens": said.total_tokens,
            "prompt_tokens_details": {"cached_tokens": said.cached_tokens, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": said.reasoning_tokens, "audio_tokens": 0},
        }

    def beside(self, said: Wording) -> dict[str, Any]:
        """Return what this vendor tells beside answer and usage."""
        return {"service_tier": "default", "system_fingerprint": "fp_fake_2026"}

    def error(self, wrong: Failure) -> Any:
        code = wrong.refusal.code or ("server_error" if wrong.refusal.status >= 500 else "invalid_request_error")
        kind = wrong.limits[0].unit if wrong.limits else TYPES.get(code, "invalid_request_error")
        return {"error": {"message": wrong.refusal.message, "type": kind, "param": None, "code": code}}

    def headers(self, number: str) -> dict[str, str]:
        return {"x-request-id": number, "openai-version": "2020-10-01", "openai-processing-ms": "1"}

    def limit_headers(self, limits: tuple[Limit, ...]) -> dict[str, str]:
        said: dict[str, str] = {}
        for limit in limits:
            said[f"x-ratelimit-limit-{limit.unit}"] = str(limit.allowed)
            said[f"x-ratelimit-remaining-{limit.unit}"] = str(limit.remaining)
            said[f"x-ratelimit-reset-{limit.unit}"] = _duration(limit.reset_s)
        return said

    def wait_headers(self, wait_s: float) -> dict[str, str]:
        return {"retry-after": str(math.ceil(wait_s)), "retry-after-ms": str(math.ceil(wait_s * 1000))}


class OpenRouter(OpenAI):
    """Tells what it charged; its limits stand in the body of the error, with a moment in place of a delay."""

    name = "openrouter"
    ids = "gen-"
    path = re.compile(r"/api/v1/chat/completions$")
    refusals: ClassVar[Mapping[str, Refusal]] = {
        **OpenAI.refusals,
        "rate_limit": Refusal(429, "", "Rate limit exceeded: limit_rpm/{model}. High demand, please slow down."),
        "quota": Refusal(402, "", "Insufficient credits. Add more using https://openrouter.ai/settings/credits"),
        "bad_key": Refusal(401, "", "User not found."),
        "no_permission": Refusal(403, "", "Your account has no access to {model}."),
        "unknown_model": Refusal(400, "", "{model} is not a valid model ID"),
        "content_policy": Refusal(403, "", "{model} requires moderation and your input was flagged"),
        "overloaded": Refusal(503, "", "Provider returned error: the model is overloaded"),
    }

    def usage(self, said: Wording) -> dict[str, Any]:
        cost = {} if said.cost_usd is None else {"cost": said.cost_usd, "is_byok": False}
        return {**super().usage(said), **cost}

    def beside(self, said: Wording) -> dict[str, Any]:
        return {"provider": "Fake", "system_fingerprint": None}

    def error(self, wrong: Failure) -> Any:
        error: dict[str, Any] = {"message": wrong.refusal.message, "code": wrong.refusal.status}
        if wrong.limits:
            error["metadata"] = {"headers": _limits_of_openrouter(wrong.limits[0])}
        elif wrong.kind == "content_policy":
            error["metadata"] = {"reasons": ["violence"], "flagged_input": "…", "provider_name": "Fake"}
        return {"error": error, "user_id": "user_fake"}

    def headers(self, number: str) -> dict[str, str]:
        return {"x-generation-id": f"gen-{number}"}

    def limit_headers(self, limits: tuple[Limit, ...]) -> dict[str, str]:
        return {}

    def wait_headers(self, wait_s: float) -> dict[str, str]:
        return {"retry-after": str(math.ceil(wait_s))}


class SelfHosted(OpenAI):
    """An OpenAI-compatible server such as vLLM behind a web server, which sends no more than it must."""

    name = "hosted_vllm"
    path = re.compile(r"/vllm/v1/chat/completions$")
    refusals: ClassVar[Mapping[str, Refusal]] = {
        **OpenAI.refusals,
        "rate_limit": Refusal(429, "RateLimitError", "Too Many Requests"),
        "quota": Refusal(402, "PaymentRequiredError", "The budget of this key has been spent: insufficient balance"),
        "bad_key": Refusal(401, "AuthenticationError", "Unauthorized"),
        "no_permission": Refusal(403, "PermissionDeniedError", "This key may not use this model."),
        "unknown_model": Refusal(404, "NotFoundError", "The model `{model}` does not exist."),
        "context_length": Refusal(
            400,
            "BadRequestError",
            "This model's maximum context length is 8192 tokens. However, you requested 9000 tokens in the messages.",
        ),
        "overloaded": Refusal(503, "ServiceUnavailableError", "The server is at capacity. Please try again later."),
        "out_of_memory": Refusal(500, "InternalServerError", "CUDA out of memory. Tried to allocate 2.00 GiB."),
    }

    def usage(self, said: Wording) -> dict[str, Any]:
        cached = {"cached_tokens": said.cached_tokens} if said.cached_tokens else None
        plain = {name: count for name, count in super().usage(said).items() if not name.endswith("_details")}
        return {**plain, "prompt_tokens_details": cached}

    def beside(self, said: Wording) -> dict[str, Any]:
        return {"service_tier": None, "system_fingerprint": None, "kv_transfer_params": None}

    def error(self, wrong: Failure) -> Any:
        kind = wrong.refusal.code or "InternalServerError"
        return {"error": {"message": wrong.refusal.message, "type": kind, "param": None, "code": wrong.refusal.status}}

    def headers(self, number: str) -> dict[str, str]:
        return {}

    def limit_headers(self, limits: tuple[Limit, ...]) -> dict[str, str]:
        return {}

    def wait_headers(self, wait_s: float) -> dict[str, str]:
        moment = datetime.now(UTC) + timedelta(seconds=wait_s + 1)  # whole seconds, none too early
        return {"retry-after": format_datetime(moment, usegmt=True)}


def _finish(said: Wording) -> str:
    if said.finish in FILTERED:
        return "content_filter"
    return "stop" if said.finish == "declined" else said.finish


def _duration(seconds: float) -> str:
    """Return a time as OpenAI writes it: 6ms, 8.64s, 6m0s."""
    if seconds < 1:
        return f"{math.ceil(seconds * 1000)}ms"
    minutes, rest = divmod(round(seconds, 3), 60)
    return f"{minutes:.0f}m{rest:g}s" if minutes else f"{rest:g}s"


def _limits_of_openrouter(limit: Limit) -> dict[str, str]:
    return {
        "X-RateLimit-Limit": str(limit.allowed),
        "X-RateLimit-Remaining": str(limit.remaining),
        "X-RateLimit-Reset": str(math.ceil((time() + limit.reset_s) * 1000)),
    }
