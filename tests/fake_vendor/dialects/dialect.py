"""What every vendor's language has: questions, answers, errors and limits in plain values, and who words them."""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from tests.fake_vendor.limits import Limit

Finish = Literal["stop", "length", "content_filter", "safety", "declined"]


@dataclass(frozen=True)
class Question:
    """What was asked, whatever the vendor. ``vendor`` is LiteLLM's name for it, ``model`` the vendor's own."""

    vendor: str
    model: str
    messages: list[tuple[str, str]]  # role and text
    schema: dict[str, Any] | None = None

    @property
    def name(self) -> str:
        """Return the model's name in LiteLLM's words: vendor/model."""
        return f"{self.vendor}/{self.model}"


@dataclass(frozen=True)
class Wording:
    """One answer to be put into a vendor's words.

    ``finish``: ``content_filter`` was held back before a word was written, ``safety`` stopped on the way and withheld,
    ``declined`` refused in the vendor's own field. ``completion_tokens`` include those of reasoning, ``prompt_tokens``
    the cached ones. ``cost_usd`` is for vendors that tell it.
    """

    id: str
    model: str
    text: str
    finish: Finish
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    cost_usd: float | None = None

    @property
    def total_tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True)
class Refusal:
    """How a vendor refuses: status, its own code or type, and its words; ``{model}`` stands for the model's name."""

    status: int
    code: str
    message: str


@dataclass(frozen=True)
class Failure:
    """One error to be put into a vendor's words.

    ``kind`` is the fault's name, ``number`` that of the request, ``limits`` are those that it exceeded.
    """

    kind: str
    model: str
    number: str
    refusal: Refusal
    wait_s: float | None = None
    limits: tuple[Limit, ...] = ()


class Dialect(ABC):
    """One vendor's language. ``refusals`` has its words for each named fault, where it has any of its own."""

    name: ClassVar[str]  # as LiteLLM has it before the slash
    path: ClassVar[re.Pattern[str]]
    refusals: ClassVar[Mapping[str, Refusal]]
    bills_cached: ClassVar[bool] = True  # tells, and charges less for, what was cached of a prompt

    @abstractmethod
    def read(self, path: str, body: dict[str, Any]) -> Question:
        """Return the question; raise AttributeError, KeyError, TypeError or ValueError where it has no such form."""

    @abstractmethod
    def answer(self, said: Wording) -> dict[str, Any]:
        """Return the body of a 200 answer."""

    @abstractmethod
    def error(self, wrong: Failure) -> Any:
        """Return the body of an error."""

    def headers(self, number: str) -> dict[str, str]:
        """Return what stands on every reply: the request's number and versions, where this vendor sends any."""
        return {}

    def limit_headers(self, limits: tuple[Limit, ...]) -> dict[str, str]:
        """Return the headers that tell of limits, where this vendor sends any."""
        return {}

    def wait_headers(self, wait_s: float) -> dict[str, str]:
        """Return the headers that ask to wait, where this vendor asks in headers."""
        return {"retry-after": str(math.ceil(wait_s))}

    def refusal(self, kind: str) -> Refusal:
        """Return how this vendor refuses for a named fault, or with a bare ``status_…``."""
        if kind in self.refusals:
            return self.refusals[kind]
        status = int(kind.removeprefix("status_")) if kind.startswith("status_") else PLAIN_STATUS[kind]
        return Refusal(status, "", f"This request failed with {status}.")


PLAIN_STATUS = {  # where a vendor has no words of its own for a fault
    "rate_limit": 429,
    "quota": 402,
    "bad_key": 401,
    "no_permission": 403,
    "unknown_model": 404,
    "context_length": 400,
    "content_policy": 400,
    "overloaded": 503,
    "out_of_memory": 500,
    "bad_request": 400,
}


def read_chat(vendor: str, body: dict[str, Any]) -> Question:
    """Return the question in a body whose messages have a role and a content each."""
    messages = [(str(message["role"]), text_of(message["content"])) for message in body["messages"]]
    response_format = body.get("response_format") or {}
    return Question(vendor, str(body["model"]), messages, (response_format.get("json_schema") or {}).get("schema"))


def text_of(content: Any) -> str:
    """Return the text of a message, whole or in parts."""
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "") for part in content or [])
