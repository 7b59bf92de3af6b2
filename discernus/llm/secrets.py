"""Keeping keys out of what is stored, logged or shown: by the values the environment holds, and by their shape.

Text of a model is cleared of known values only: a shape could be a word of the document, and answers stay as they came.
"""

import os
import re

_MASK = "[removed]"
_NAMES = ("_KEY", "_APIKEY", "_TOKEN", "_SECRET", "_PASSWORD", "_CREDENTIALS")
_SHORTEST = 8
_SHAPES = (  # each with a literal that has to be there, so that most texts are never scanned
    ("sk-", re.compile(r"\bsk-[A-Za-z0-9_*\-]{6,}")),  # OpenAI, Anthropic, OpenRouter, LiteLLM
    ("AIza", re.compile(r"\bAIza[A-Za-z0-9_\-]{6,}")),  # Google
    ("earer", re.compile(r"(?<=[Bb]earer )[^\s\"',}\]]+")),
    ("key=", re.compile(r"(?<=[?&]key=)[^\s&\"']+")),  # Gemini carries its key in the query
    ("gsk_", re.compile(r"\bgsk_[A-Za-z0-9]{16,}")),  # Groq
    ("hf_", re.compile(r"\bhf_[A-Za-z0-9]{16,}")),  # Hugging Face
    ("xai-", re.compile(r"\bxai-[A-Za-z0-9]{16,}")),
    ("AKIA", re.compile(r"\bAKIA[A-Z0-9]{12,}")),  # AWS
    ("ya29.", re.compile(r"\bya29\.[A-Za-z0-9_\-]{16,}")),  # Google OAuth
)


def redact(text: str) -> str:
    """Return the text without API keys, bearer tokens and values of variables named *_API_KEY, *_TOKEN, *_SECRET."""
    text = redact_known(text)
    for literal, shape in _SHAPES:
        if literal in text:
            text = shape.sub(_MASK, text)
    return text


def redact_known(text: str) -> str:
    """Return the text without the values of environment variables named *_API_KEY, *_TOKEN, *_SECRET."""
    for secret in _known():
        text = text.replace(secret, _MASK)
    return text


def _known() -> tuple[str, ...]:
    """Return the secrets of the environment, the longest first."""
    secrets = {os.environ[name] for name in os.environ if name.endswith(_NAMES)}
    return tuple(sorted((secret for secret in secrets if len(secret) >= _SHORTEST), key=len, reverse=True))
