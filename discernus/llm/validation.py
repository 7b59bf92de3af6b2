"""What is noticed about every answer before anybody uses it: size, finish reason, endless repetition, active content.

Nothing is changed and nothing is thrown away: an answer was paid for, goes to the archive as it came, and to extraction
with these marks on it. What is judged elsewhere: whether it is an answer at all, the gateway; structure against the
framework's contract, types, finite numbers within the scale, refusals in words and answers about another document, the
extraction; what may be shown of it, ``discernus.sanitising``.
"""

import re
from html import unescape
from typing import Final

OVERSIZED: Final = "oversized"  # more bytes than LLM_MAX_RESPONSE_SIZE
TRUNCATED: Final = "truncated"  # stopped at the limit of its output
RUNAWAY: Final = "runaway"  # ran on without end: oversized and truncated, or its end repeats itself
REFUSAL: Final = "refusal"  # a filter of the vendor's ended it
ACTIVE_CONTENT: Final = "active_content"  # would act in a browser: scripts, frames, handlers of events
NO_TEXT: Final = "no_text"
UNWATCHED: Final = "unwatched"  # not seen on the wire, so nobody knows what was counted, or who answered: the gateway

_REPEATS = 8  # so often in a row, and
_REPEATED = 1000  # so many characters of it: a table's rule or a row of zeros is shorter
_PROBE = 64  # characters, by which the length of what repeats is found
_ACTIVE = re.compile(
    r"<[\s/]*(?:script|iframe|frame|frameset|object|embed|applet|base|link|meta|style|form|svg|math|portal)\b"
    r"|<[^<>]*\son[a-z]{3,}\s*=|<[^<>]*\ssrcdoc\s*=",
    re.IGNORECASE,
)
_ACTIVE_LINK = re.compile(r"(?:java|vb)\s*script\s*:|data\s*:\s*text/html")


def marks(text: str, finish_reason: str | None, *, largest_bytes: int) -> tuple[str, ...]:
    """Return what is to be noticed about an answer: the names above, in their order."""
    oversized = len(text) * 4 > largest_bytes and len(text.encode("utf-8", "surrogatepass")) > largest_bytes
    truncated = finish_reason == "length"
    found = (
        (OVERSIZED, oversized),
        (TRUNCATED, truncated),
        (RUNAWAY, (oversized and truncated) or _repeats_to_its_end(text)),
        (REFUSAL, finish_reason == "content_filter"),
        (ACTIVE_CONTENT, _is_active(text)),
        (NO_TEXT, not text or text.isspace()),
    )
    return tuple(name for name, holds in found if holds)


def _repeats_to_its_end(text: str) -> bool:
    """Return whether the text ends in one passage said over and over; 8 times, over 1,000 characters at least."""
    if len(text) < _REPEATED:
        return False
    earlier = text.rfind(text[-_PROBE:], 0, len(text) - 1)
    if earlier < 0:
        return False
    period = len(text) - _PROBE - earlier
    stretch = max(period * _REPEATS, _REPEATED)
    return len(text) >= stretch and text[-stretch + period :] == text[-stretch:-period]


def _is_active(text: str) -> bool:
    if "&#" in text:
        text = unescape(text)
    if "<" in text and _ACTIVE.search(text):
        return True
    lowered = text.lower()
    return ("script" in lowered or "text/html" in lowered) and _ACTIVE_LINK.search(lowered) is not None
