"""The vendors' languages: how each one's requests are read, and how it words answers and errors."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from time import time
from typing import Any, Literal

Finish = Literal["stop", "length", "content_filter"]
GEMINI_PATH = re.compile(r"/models/([^/:]+):(?:streamG|g)enerateContent")


@dataclass(frozen=True)
class Question:
    """What was asked, whatever the vendor."""

    vendor: str
    model: str
    messages: list[tuple[str, str]]  # role and text
    schema: dict[str, Any] | None = None


@dataclass(frozen=True)
class Wording:
    """One answer to be put into a vendor's words."""

    id: str
    model: str
    text: str
    finish: Finish
    prompt_tokens: int
    completion_tokens: int


@dataclass(frozen=True)
class Failure:
    """One error to be put into a vendor's words."""

    status: int
    kind: str  # OpenAI's type or code
    message: str
    retry_after_s: float | None = None
    headers: dict[str, str] = field(default_factory=dict)


def vendor_of(path: str) -> str | None:
    """Return whose address this is, or None."""
    path = path.partition("?")[0]
    if path.endswith("/chat/completions"):
        return "openai"
    if path.endswith("/v1/messages"):
        return "anthropic"
    if path.endswith("/api/chat"):
        return "ollama"
    return "gemini" if GEMINI_PATH.search(path) else None


def read(vendor: str, path: str, body: dict[str, Any]) -> Question:
    """Return the question in a request's body; raise KeyError, TypeError or ValueError where it has no such form."""
    if vendor == "gemini":
        return _read_gemini(path, body)
    messages = [(str(message["role"]), _text(message["content"])) for message in body["messages"]]
    if vendor == "anthropic" and body.get("system"):
        messages.insert(0, ("system", _text(body["system"])))
    response_format = body.get("response_format") or {}
    schema = (response_format.get("json_schema") or {}).get("schema")
    return Question(vendor, str(body["model"]), messages, schema)


def _read_gemini(path: str, body: dict[str, Any]) -> Question:
    found = GEMINI_PATH.search(path)
    if found is None:
        raise ValueError("no model in the path")
    messages = [
        ("system" if part is body.get("systemInstruction") else _role(part), _text(part["parts"]))
        for part in _gemini_contents(body)
    ]
    config = body.get("generationConfig") or {}
    return Question(
        "gemini", found.group(1), messages, config.get("responseSchema") or config.get("response_json_schema")
    )


def _gemini_contents(body: dict[str, Any]) -> list[dict[str, Any]]:
    instruction = body.get("systemInstruction") or body.get("system_instruction")
    if instruction:
        body["systemInstruction"] = instruction
        return [instruction, *body["contents"]]
    return list(body["contents"])


def _role(part: dict[str, Any]) -> str:
    return "assistant" if part.get("role") == "model" else "user"


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "") for part in content or [])


def answer(vendor: str, said: Wording) -> dict[str, Any]:
    """Return the body of a 200 answer in the vendor's words."""
    return {"openai": _openai, "anthropic": _anthropic, "gemini": _gemini, "ollama": _ollama}[vendor](said)


def _openai(said: Wording) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{said.id}",
        "object": "chat.completion",
        "created": int(time()),
        "model": said.model,
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": said.text, "refusal": None},
                "logprobs": None,
                "finish_reason": said.finish,
            }
        ],
        "usage": {
            "prompt_tokens": said.prompt_tokens,
            "completion_tokens": said.completion_tokens,
            "total_tokens": said.prompt_tokens + said.completion_tokens,
            "prompt_tokens_details": {"cached_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 0},
        },
        "service_tier": "default",
        "system_fingerprint": "fp_fake_2026",
    }


def _anthropic(said: Wording) -> dict[str, Any]:
    reasons = {"stop": "end_turn", "length": "max_tokens", "content_filter": "refusal"}
    return {
        "id": f"msg_{said.id}",
        "type": "message",
        "role": "assistant",
        "model": said.model,
        "content": [{"type": "text", "text": said.text}] if said.text else [],
        "stop_reason": reasons[said.finish],
        "stop_sequence": None,
        "usage": {"input_tokens": said.prompt_tokens, "output_tokens": said.completion_tokens},
    }


def _gemini(said: Wording) -> dict[str, Any]:
    usage = {
        "promptTokenCount": said.prompt_tokens,
        "candidatesTokenCount": said.completion_tokens,
        "totalTokenCount": said.prompt_tokens + said.completion_tokens,
    }
    about = {"modelVersion": said.model, "responseId": said.id}
    if said.finish == "content_filter":
        return {"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": usage, **about}
    reason = "STOP" if said.finish == "stop" else "MAX_TOKENS"
    content = {"role": "model", "parts": [{"text": said.text}]}
    return {"candidates": [{"content": content, "finishReason": reason, "index": 0}], "usageMetadata": usage, **about}


def _ollama(said: Wording) -> dict[str, Any]:
    return {
        "model": said.model,
        "created_at": "2026-01-01T00:00:00Z",
        "message": {"role": "assistant", "content": said.text},
        "done": True,
        "done_reason": said.finish,
        "total_duration": 1,
        "prompt_eval_count": said.prompt_tokens,
        "eval_count": said.completion_tokens,
    }


def failure(vendor: str, wrong: Failure) -> tuple[dict[str, str], dict[str, Any]]:
    """Return the headers and the body of an error in the vendor's words. Gemini's delay stands in its body alone."""
    headers = dict(wrong.headers)
    if wrong.retry_after_s is not None and vendor != "gemini":
        headers["retry-after"] = f"{wrong.retry_after_s:g}"
    if vendor == "anthropic":
        kinds = {429: "rate_limit_error", 529: "overloaded_error", 401: "authentication_error", 404: "not_found_error"}
        kind = kinds.get(wrong.status, "invalid_request_error" if wrong.status < 500 else "api_error")
        return headers, {"type": "error", "error": {"type": kind, "message": wrong.message}}
    if vendor == "gemini":
        states = {429: "RESOURCE_EXHAUSTED", 503: "UNAVAILABLE", 400: "INVALID_ARGUMENT", 404: "NOT_FOUND"}
        error: dict[str, Any] = {"code": wrong.status, "message": wrong.message}
        error["status"] = states.get(wrong.status, "INTERNAL")
        if wrong.retry_after_s is not None:
            kind = "type.googleapis.com/google.rpc.RetryInfo"
            error["details"] = [{"@type": kind, "retryDelay": f"{wrong.retry_after_s:g}s"}]
        return headers, {"error": error}
    if vendor == "ollama":
        return headers, {"error": wrong.message}
    return headers, {"error": {"message": wrong.message, "type": wrong.kind, "param": None, "code": wrong.kind}}
