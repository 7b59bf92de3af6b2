"""Anthropic's language. What was cached is no part of its input tokens, and its resets are moments."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

from tests.fake_vendor.dialects.dialect import Dialect, Failure, Question, Refusal, Wording, read_chat, text_of
from tests.fake_vendor.limits import Limit

TYPES = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 413: "request_too_large"} | {
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}
STOP_REASONS = {"stop": "end_turn", "length": "max_tokens"}


class Anthropic(Dialect):
    name = "anthropic"
    path = re.compile(r"/v1/messages$")
    refusals: ClassVar[Mapping[str, Refusal]] = {
        "rate_limit": Refusal(
            429, "", "This request would exceed your organization's rate limit. Please try again later."
        ),
        "quota": Refusal(
            400, "", "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing."
        ),
        "bad_key": Refusal(401, "", "invalid x-api-key"),
        "no_permission": Refusal(403, "", "Your API key does not have permission to use the specified resource."),
        "unknown_model": Refusal(404, "", "model: {model}"),
        "context_length": Refusal(400, "", "prompt is too long: 208310 tokens > 200000 maximum"),
        "content_policy": Refusal(400, "", "Output blocked by content filtering policy"),
        "overloaded": Refusal(529, "", "Overloaded"),
        "bad_request": Refusal(400, "", "temperature: range: 0..1"),
    }

    def read(self, path: str, body: dict[str, Any]) -> Question:
        question = read_chat(self.name, body)
        if body.get("system"):
            question.messages.insert(0, ("system", text_of(body["system"])))
        return question

    def answer(self, said: Wording) -> dict[str, Any]:
        content = [{"type": "text", "text": said.text}] if said.text else []
        if said.reasoning_tokens:
            content.insert(0, {"type": "thinking", "thinking": "Let me weigh the text.", "signature": "ErUB"})
        return {
            "id": f"msg_{said.id}",
            "type": "message",
            "role": "assistant",
            "model": said.model,
            "content": content,
            "stop_reason": STOP_REASONS.get(said.finish, "refusal"),
            "stop_sequence": None,
            "usage": _usage(said),
        }

    def error(self, wrong: Failure) -> Any:
        status = wrong.refusal.status
        kind = TYPES.get(status, "invalid_request_error" if status < 500 else "api_error")
        error = {"type": kind, "message": wrong.refusal.message}
        return {"type": "error", "error": error, "request_id": wrong.number}

    def headers(self, number: str) -> dict[str, str]:
        return {"request-id": number, "anthropic-organization-id": "00000000-0000-4000-8000-000000000000"}

    def limit_headers(self, limits: tuple[Limit, ...]) -> dict[str, str]:
        said: dict[str, str] = {}
        for limit in limits:
            reset = datetime.now(UTC) + timedelta(seconds=limit.reset_s)
            said[f"anthropic-ratelimit-{limit.unit}-limit"] = str(limit.allowed)
            said[f"anthropic-ratelimit-{limit.unit}-remaining"] = str(limit.remaining)
            said[f"anthropic-ratelimit-{limit.unit}-reset"] = reset.isoformat(timespec="seconds").replace("+00:00", "Z")
        return said


def _usage(said: Wording) -> dict[str, Any]:
    usage: dict[str, Any] = {
        "input_tokens": said.prompt_tokens - said.cached_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": said.cached_tokens,
        "output_tokens": said.completion_tokens,
        "service_tier": "standard",
        "inference_geo": "global",
    }
    if said.reasoning_tokens:
        usage["output_tokens_details"] = {"thinking_tokens": said.reasoning_tokens}
    return usage
