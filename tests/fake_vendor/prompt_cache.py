"""The beginnings of prompts that a vendor has seen before, and bills for less."""

from __future__ import annotations

from hashlib import sha256

STEP_TOKENS = 128  # as OpenAI counts what it cached; its least, 1024 tokens, would want long texts in every test
CHARACTERS_A_TOKEN = 4


class PromptCache:
    """Knows the beginnings of all prompts of each model, in steps; nothing expires."""

    def __init__(self) -> None:
        self._seen: dict[str, set[bytes]] = {}

    def cached_tokens(self, model: str, messages: list[tuple[str, str]]) -> int:
        """Return how many tokens of this prompt's beginning that model had seen, and remember all of it."""
        seen = self._seen.setdefault(model, set())
        prompt = "\n".join(f"{role}\n{text}" for role, text in messages).encode()
        step, known = STEP_TOKENS * CHARACTERS_A_TOKEN, 0
        digest = sha256()
        for start in range(0, len(prompt) - step + 1, step):
            digest.update(prompt[start : start + step])
            mark = digest.digest()[:8]
            if mark in seen:
                known = start + step
            seen.add(mark)
        return known // CHARACTERS_A_TOKEN
