"""What can be known of how an answer came about: who answered, where, under which version, what was really asked."""

import json
import os
import re
from collections.abc import Mapping
from typing import Any

from discernus.llm.models_file import ModelRules
from discernus.llm.secrets import redact

_TEXTS = frozenset({"messages", "contents", "system", "systemInstruction", "system_instruction", "prompt", "input"})
_CAPABILITIES = (  # LiteLLM's names for what a model can do, by ours
    ("json_schema", "supports_response_schema"),
    ("system_messages", "supports_system_messages"),
    ("function_calling", "supports_function_calling"),
    ("prompt_caching", "supports_prompt_caching"),
    ("reasoning", "supports_reasoning"),
    ("vision", "supports_vision"),
)
_VERTEX_LOCATION = ("VERTEXAI_LOCATION", "VERTEX_LOCATION")
_ON_THE_WIRE: Mapping[str, frozenset[str]] = {  # by LiteLLM's name: the names that vendors give it
    "max_tokens": frozenset(
        {"max_tokens", "max_completion_tokens", "maxOutputTokens", "max_output_tokens", "num_predict", "maxTokens"}
    ),
    "top_p": frozenset({"top_p", "topP", "p"}),
    "temperature": frozenset({"temperature"}),
    "seed": frozenset({"seed", "random_seed"}),
    "reasoning_effort": frozenset(
        {"reasoning_effort", "reasoning", "thinking", "thinkingConfig", "think", "output_config"}
    ),
    "response_format": frozenset(
        {
            "response_format",
            "responseSchema",
            "response_schema",
            "responseMimeType",
            "response_mime_type",
            "tools",
            "format",
        }
        | {"output_format", "output_config", "responseJsonSchema"}
    ),
}


def body_without_texts(content: bytes) -> dict[str, Any] | None:
    """Return a request's JSON body with the length of each message in place of its text, free of secrets; else None."""
    try:
        body = json.loads(content)
    except ValueError:
        return None
    if not isinstance(body, dict):
        return None
    body = {name: _without_texts(value) if name in _TEXTS else value for name, value in body.items()}
    plain = json.dumps(body, ensure_ascii=False)
    clean = redact(plain)
    cleaned: dict[str, Any] = body if clean == plain else json.loads(clean)
    return cleaned


def dropped(parameters: Mapping[str, Any], sent: Mapping[str, Any] | None) -> tuple[str, ...]:
    """Return which of the parameters asked for are nowhere in the body that was sent; none, if it was not seen."""
    if sent is None:
        return ()
    names = set(_names_in(sent))
    return tuple(sorted(name for name in parameters if not names & _ON_THE_WIRE.get(name, frozenset({name}))))


def endpoint(url: Any) -> str:
    """Return host and path of an address, without its query and its credentials."""
    port = "" if url.port is None else f":{url.port}"
    return redact(f"{url.host}{port}{url.path}")


def api_version(url: Any, sent_headers: Mapping[str, str], headers: Mapping[str, str]) -> str | None:
    """Return the version of the vendor's API: as it says, as we asked for it, or as the address has it."""
    in_path = re.search(r"/(v\d+(?:(?:alpha|beta)\d*)?)(?=/|$)", url.path)
    return (
        headers.get("openai-version")
        or sent_headers.get("anthropic-version")
        or url.params.get("api-version")
        or (in_path[1] if in_path else None)
    )


def capabilities(entry: Mapping[str, Any], rules: ModelRules) -> dict[str, Any]:
    """Return a model's sizes in tokens and what it can do, by LiteLLM's entry and models.yaml; None is unknown."""
    return {
        "max_input_tokens": rules.max_input_tokens or entry.get("max_input_tokens"),
        "max_output_tokens": rules.max_output_tokens or entry.get("max_output_tokens"),
        **{ours: entry.get(theirs) for ours, theirs in _CAPABILITIES},
    }


def region(url: Any, headers: Mapping[str, str], vendor: str) -> str | None:
    """Return where the model ran, if the vendor, the address or, for Vertex, the environment says so."""
    in_path = re.search(r"/locations/([a-z0-9\-]+)/", url.path)
    in_host = re.match(r"([a-z0-9\-]+)-aiplatform\.googleapis\.com$|bedrock-runtime\.([a-z0-9\-]+)\.", url.host)
    if headers.get("x-ms-region"):
        return headers["x-ms-region"]
    if in_path:
        return in_path[1]
    if in_host:
        return in_host[1] or in_host[2]
    if not vendor.startswith("vertex_ai"):
        return None
    return next((place for name in _VERTEX_LOCATION if (place := os.environ.get(name))), None)


def request_id(headers: Mapping[str, str]) -> str | None:
    """Return the vendor's number for this request."""
    for name in ("x-request-id", "request-id", "apim-request-id", "x-amzn-requestid", "x-goog-request-id"):
        if headers.get(name):
            return headers[name]
    return None


def named_in(reply: Mapping[str, Any], *names: str) -> str | None:
    """Return the first of these fields of a reply's body that holds a text."""
    return next((said for name in names if isinstance(said := reply.get(name), str) and said), None)


def _without_texts(value: Any, name: str = "content") -> Any:
    if isinstance(value, str):
        return f"[{len(value)} characters]" if name in ("content", "text") else value
    if isinstance(value, list):
        return [_without_texts(item, name) for item in value]
    if isinstance(value, dict):
        return {key: _without_texts(item, key) for key, item in value.items()}
    return value


def _names_in(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [*value, *(name for item in value.values() for name in _names_in(item))]
    if isinstance(value, list):
        return [name for item in value for name in _names_in(item)]
    return []
