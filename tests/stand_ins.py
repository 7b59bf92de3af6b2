"""What stands in for a model at the gateway's border: questions, answers and failures without a vendor or LiteLLM."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.make_experiment import POLES, make_experiment
from discernus.experiments.definition import read_definition
from discernus.llm.calls import Message, ModelAnswer, ModelRequest, Usage
from discernus.llm.errors import CallFailed
from discernus.sessions.opening import open_session
from discernus.sessions.session import Session


def opened(tmp_path: Path, *, synthesis_models: tuple[str, ...] = (), **experiment: Any) -> Session:
    """Return a session, just opened, of a small made experiment: two documents, once each unless told otherwise."""
    projects = tmp_path / "projects"
    folder = make_experiment(projects, **{"documents": 2, "runs": 1, "words": 40, **experiment})
    definition = read_definition(folder)
    return open_session(
        projects,
        folder,
        definition,
        concurrency=4,
        call_timeout_s=60,
        mirror=None,
        synthesis_models=synthesis_models,
    )


def question(text: str = "BEGIN T\nNobody wrote this.\nEND T", *, timeout_s: float = 300.0) -> ModelRequest:
    """Return a request as any analysis makes it."""
    messages = (Message(role="system", content="You score texts."), Message(role="user", content=text))
    return ModelRequest(model="openai/scribe", messages=messages, parameters={"seed": 7}, timeout_s=timeout_s)


def answer(text: str, *, model: str = "openai/scribe", cost_usd: float | None = 0.01, **more: Any) -> ModelAnswer:
    """Return an answer as the gateway gives it."""
    known: dict[str, Any] = {
        "finish_reason": "stop",
        "model_answered": "scribe-2026-01-01",
        "usage": Usage(prompt_tokens=100, completion_tokens=20),
        "price_source": "a price list",
        "started_at": datetime.now(UTC),
        "latency_ms": 12.5,
    }
    return ModelAnswer(text=text, model_requested=model, cost_usd=cost_usd, **{**known, **more})


def scores(value: float = 0.5, *, without: tuple[str, ...] = (), **given: float | None) -> str:
    """Return an answer that meets the made framework's contract: every score the same, but for those that are given."""
    names = [pole.name for pole in POLES if pole.name not in without]
    return json.dumps({"tone": "calm", **{f"{name}_score": given.get(name, value) for name in names}})


def failure(error_class: Any, *, retry_after_s: float | None = None) -> CallFailed:
    """Return a failure as the gateway raises it."""
    return CallFailed(error_class, f"model 'openai/scribe' gave no answer: {error_class}", retry_after_s=retry_after_s)


class Model:
    """A model behind the gateway: says what it was told to, in order, then the last for ever; keeps what it was asked.

    What it says is a text, a failure to raise, or a function of the request. While ``gate`` is unset it keeps everybody
    waiting.
    """

    def __init__(self, *says: str | CallFailed | Callable[[ModelRequest], str | CallFailed]) -> None:
        self.says = list(says) or [scores()]
        self.asked: list[ModelRequest] = []
        self.keys: list[str] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(self, request: ModelRequest, *, idempotency_key: str) -> ModelAnswer:
        said = self.says[min(len(self.asked), len(self.says) - 1)]
        self.asked.append(request)
        self.keys.append(idempotency_key)
        await self.gate.wait()
        if callable(said):
            said = said(request)
        if isinstance(said, CallFailed):
            raise said
        return answer(said, model=request.model)
