"""What a key or a name in a framework means: of which dimension, and in which role (score, confidence, …).

Only the words for roles are known here; the names of dimensions always come from the framework that is read.
"""

import re
from collections.abc import Sequence
from functools import lru_cache

from discernus.experiments.framework import Role

ROLE_WORDS: dict[str, Role] = {
    "score": "score",
    "scores": "score",
    "raw_score": "score",
    "raw_scores": "score",
    "dimensional_scores": "score",
    "dimension_scores": "score",
    "intensity": "score",
    "rating": "score",
    "ratings": "score",
    "confidence": "confidence",
    "confidences": "confidence",
    "certainty": "confidence",
    "salience": "salience",
    "saliences": "salience",
    "evidence": "evidence",
    "quote": "evidence",
    "quotes": "evidence",
    "quotation": "evidence",
    "quotations": "evidence",
    "evidence_quotes": "evidence",
    "supporting_quotes": "evidence",
}
_LONGEST_FIRST = sorted(ROLE_WORDS, key=len, reverse=True)


@lru_cache(maxsize=8192)
def snake_case(name: str) -> str:
    """Return a name in the one form in which names are compared: ``Tribal Dominance`` is ``tribal_dominance``."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name.strip())
    return re.sub(r"[\W_]+", "_", spaced).strip("_").lower()


@lru_cache(maxsize=8192)
def split_role(key: str) -> tuple[str, Role | None]:
    """Return what a single key is about and its role: ``hope_score`` is (hope, score), ``salience`` is ("", salience).

    The role is None where the key has no word for one, and the first part is then the whole key in snake_case.
    """
    plain = snake_case(key)
    if plain in ROLE_WORDS:
        return "", ROLE_WORDS[plain]
    for word in _LONGEST_FIRST:
        if plain.endswith("_" + word):
            return plain.removesuffix("_" + word), ROLE_WORDS[word]
    for word in _LONGEST_FIRST:
        if plain.startswith(word + "_"):
            return plain.removeprefix(word + "_"), ROLE_WORDS[word]
    return plain, None


def split_path(path: Sequence[str]) -> tuple[str, Role | None]:
    """Return what a chain of keys is about and its role, judged from its last key outwards.

    ``scores.hope``, ``hope.raw_score`` and ``analysis.hope_score`` are all (hope, score).
    """
    subject, role = split_role(path[-1])
    for key in reversed(path[:-1]):
        outer, outer_role = split_role(key)
        if not subject:
            subject = outer or snake_case(key)
        elif role is None:
            role = outer_role
    return subject, role
