"""The vendors' languages: how each one's requests are read, and how it words answers, errors and limits."""

from __future__ import annotations

from tests.fake_vendor.dialects.anthropic import Anthropic
from tests.fake_vendor.dialects.dialect import Dialect, Failure, Finish, Question, Wording
from tests.fake_vendor.dialects.google import Gemini, VertexAI
from tests.fake_vendor.dialects.ollama import Ollama
from tests.fake_vendor.dialects.openai import OpenAI, OpenRouter, SelfHosted

__all__ = ["DIALECTS", "Dialect", "Failure", "Finish", "Question", "Wording", "dialect_of"]

# in the order in which a path is tried: OpenAI's takes what ends as its own does, Gemini's what Vertex left
DIALECTS: tuple[Dialect, ...] = (OpenRouter(), SelfHosted(), OpenAI(), Anthropic(), VertexAI(), Gemini(), Ollama())


def dialect_of(path: str) -> Dialect | None:
    """Return whose address this is, or None."""
    path = path.partition("?")[0]
    return next((dialect for dialect in DIALECTS if dialect.path.search(path)), None)
