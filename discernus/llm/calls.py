"""What goes to a model and what comes back, in our own words: no vendor's or library's types beyond this package."""

from __future__ import annotations

from datetime import datetime
from hashlib import sha256
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from discernus.canonical import canonical_json

Purpose = Literal["analysis", "extraction", "synthesis"]


class Message(BaseModel):
    """One message of a request; its content is archived once, under its hash."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    role: Literal["system", "user", "assistant"]
    content: str


class ModelRequest(BaseModel):
    """One request to a model. ``parameters`` are LiteLLM's names; ``timeout_s`` bounds the whole call."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    messages: tuple[Message, ...]
    parameters: dict[str, Any] = {}
    timeout_s: float = 300.0

    def content_key(self, *, variant: str, run: int, ask: int) -> str:
        """Return the SHA-256 (hex) of all that decides what is asked: equal keys are the same question."""
        return sha256(
            canonical_json(
                {
                    "model": self.model,
                    "messages": [message.model_dump() for message in self.messages],
                    "parameters": self.parameters,
                    "variant": variant,
                    "run": run,
                    "ask": ask,
                }
            )
        ).hexdigest()


class Usage(BaseModel):
    """Tokens of one call as the vendor counted them; None where it said nothing."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None


class SeenLimits(BaseModel):
    """A model's rate limits as a vendor's headers told them, per minute; None where they did not.

    ``reset_s`` is how long it takes until all of the scarcer limit is free again.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    remaining_requests: float | None = None
    remaining_tokens: float | None = None
    reset_s: float | None = None


class ModelAnswer(BaseModel):
    """One answer as it came, with all that is known of how it came about. Unknown is None, never a guess."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, protected_namespaces=())

    text: str
    finish_reason: str | None
    model_requested: str
    model_answered: str | None
    usage: Usage
    cost_usd: float | None
    price_source: str | None
    started_at: datetime  # UTC
    latency_ms: float
    dropped_parameters: tuple[str, ...] = ()
    model_forensics: dict[str, Any] = {}
    request_as_sent: dict[str, Any] | None = None  # the wire body without the messages' texts
    response_as_received: str | None = None  # the raw body, as the vendor sent it
    substituted: bool = False  # another model answered than the one asked for, in its own or another version
    limits: SeenLimits | None = None  # for pacing; not archived apart from the headers' own record
    marks: tuple[str, ...] = ()  # what validation found: "oversized", "truncated", "runaway", …
