"""Whether a quotation stands in the text it is said to be from, whatever its typography."""

import re
import unicodedata
from functools import lru_cache
from typing import Literal

Found = Literal["found", "found with omissions", "not found"]

_TYPOGRAPHY = str.maketrans(
    {
        **dict.fromkeys("‘’‚‛ʼ´`′", "'"),
        **dict.fromkeys("“”„‟«»″", '"'),
        **dict.fromkeys("‐‑‒–—―−", "-"),
        "\u00ad": None,
        "\u200b": None,
        "\ufeff": None,
    }
)
_OMISSION = re.compile(r"\s*[\[(]?\s*\.\.\.\s*[\])]?\s*")
_AROUND = " \"'.,;:!?-"


def verify(quotation: str, text: str) -> Found:
    """Return whether the quotation occurs in the text; what it marks as left out ("…") may be left out."""
    within = normalised(text)
    quoted = normalised(quotation).strip(_AROUND)
    if not quoted:
        return "not found"
    if quoted in within:
        return "found"
    parts = [part.strip(_AROUND) for part in _OMISSION.split(quoted)]
    position = 0
    for part in filter(None, parts):
        position = within.find(part, position)
        if position < 0:
            return "not found"
        position += len(part)
    return "found with omissions"


@lru_cache(maxsize=50_000)  # a quotation is looked up on its page, and again for the report
def normalised(text: str) -> str:
    """Return the text in one form of quotation marks, dashes, spaces and letter case."""
    plain = unicodedata.normalize("NFKC", text.translate(_TYPOGRAPHY)).translate(_TYPOGRAPHY)
    return re.sub(r"\s*-\s*(?:-\s*)*", "-", " ".join(plain.split())).casefold()
