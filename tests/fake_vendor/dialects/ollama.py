"""Ollama's language: no key, no limits, no number of a request, and errors of one line."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar

from tests.fake_vendor.answers import REFUSAL
from tests.fake_vendor.dialects.dialect import Dialect, Failure, Question, Refusal, Wording, read_chat


class Ollama(Dialect):
    name = "ollama_chat"
    path = re.compile(r"/api/chat$")
    bills_cached = False
    refusals: ClassVar[Mapping[str, Refusal]] = {
        "bad_key": Refusal(401, "", "unauthorized"),
        "unknown_model": Refusal(404, "", "model '{model}' not found"),
        "context_length": Refusal(400, "", "the input length exceeds the context length"),
        "overloaded": Refusal(503, "", "server busy, please try again.  maximum pending requests exceeded"),
        "out_of_memory": Refusal(500, "", "model requires more system memory (5.3 GiB) than is available (3.3 GiB)"),
        "bad_request": Refusal(400, "", "invalid options: temperature"),
    }

    def read(self, path: str, body: dict[str, Any]) -> Question:
        return read_chat(self.name, body)

    def answer(self, said: Wording) -> dict[str, Any]:
        refused = said.finish not in ("stop", "length")  # it has no filter and no field for this: it says so in words
        return {
            "model": said.model,
            "created_at": "2026-01-01T00:00:00Z",
            "message": {"role": "assistant", "content": REFUSAL if refused else said.text},
            "done": True,
            "done_reason": "stop" if refused else said.finish,
            "total_duration": 1,
            "prompt_eval_count": said.prompt_tokens,
            "eval_count": said.completion_tokens,
        }

    def error(self, wrong: Failure) -> Any:
        return {"error": wrong.refusal.message}
