"""A model's rate limits as the headers of its answers tell them, in each vendor's way of saying it.

OpenAI and those who follow it: ``x-ratelimit-{limit,remaining,reset}-{requests,tokens}``, a reset being a duration
(``6m0s``). Anthropic: ``anthropic-ratelimit-{requests,tokens,input-tokens,output-tokens}-{limit,remaining,reset}``, a
reset being a time. A LiteLLM proxy passes both on with ``llm_provider-`` before the name.

Limits are per minute, but not always: some vendors tell the day's limit under the same name, and nothing in a header
says so. Only a reset further off than a minute gives it away; the window is then reckoned from how long what was used
takes to come back.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import NamedTuple

from discernus.llm.calls import SeenLimits

_PREFIXES = ("", "llm_provider-")
_REQUESTS = ("requests",)
_TOKENS = ("tokens", "input-tokens", "output-tokens")  # the first is of all tokens, or of those that bind most
_PARTS = ("limit", "remaining", "reset")
_WINDOWS_S = (60.0, 3600.0, 86400.0)
_DURATION = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+(?:\.\d+)?)s)?(?:(\d+(?:\.\d+)?)ms)?")
_UNITS_S = (86400.0, 3600.0, 60.0, 1.0, 0.001)


class _Limit(NamedTuple):
    """One limit: how much in a minute, how much of it is left, and in how many seconds all of it is back."""

    per_minute: float
    remaining: float | None
    reset_s: float | None
    share: float  # of it that is left


def seen_limits(headers: Mapping[str, str]) -> SeenLimits | None:
    """Return the limits that an answer's headers (names in lower case) tell; None where they tell none."""
    if not any("ratelimit" in name for name in headers):
        return None
    requests, tokens = _narrowest(headers, _REQUESTS), _narrowest(headers, _TOKENS)
    if requests is None and tokens is None:
        return None
    scarcer = min((limit for limit in (requests, tokens) if limit), key=lambda limit: limit.share)
    return SeenLimits(
        requests_per_minute=requests.per_minute if requests else None,
        tokens_per_minute=tokens.per_minute if tokens else None,
        remaining_requests=requests.remaining if requests else None,
        remaining_tokens=tokens.remaining if tokens else None,
        reset_s=scarcer.reset_s,
    )


def duration_s(text: str) -> float | None:
    """Return the seconds of ``6m0s``, ``120ms``, ``1h2m3.5s`` or a bare number of seconds; None if it is none."""
    try:
        seconds = float(text)
    except ValueError:
        found = _DURATION.fullmatch(text.strip()) if text.strip() else None
        if found is None:
            return None
        seconds = sum(float(value) * unit for value, unit in zip(found.groups(), _UNITS_S, strict=True) if value)
    return seconds if 0 <= seconds < float("inf") else None


def _narrowest(headers: Mapping[str, str], kinds: tuple[str, ...]) -> _Limit | None:
    """Return the limit told under the first of these names; a proxy's own or its vendor's, whichever is lower."""
    found = []
    for prefix in _PREFIXES:
        told = (_limit(headers, prefix, kind) for kind in kinds)
        found += [next((limit for limit in told if limit), None)]
    return min((limit for limit in found if limit), key=lambda limit: limit.per_minute, default=None)


def _limit(headers: Mapping[str, str], prefix: str, kind: str) -> _Limit | None:
    of_openai = [headers.get(f"{prefix}x-ratelimit-{part}-{kind}") for part in _PARTS]
    of_anthropic = [headers.get(f"{prefix}anthropic-ratelimit-{kind}-{part}") for part in _PARTS]
    allowed_text, remaining_text, reset_text = of_openai if of_openai[0] else of_anthropic
    allowed, remaining = _number(allowed_text), _number(remaining_text)
    if not allowed:
        return None
    reset_s = _reset_s(reset_text)
    share = 1.0 if remaining is None else remaining / allowed
    return _Limit(allowed * 60 / _window_s(allowed, remaining, reset_s), remaining, reset_s, share)


def _window_s(allowed: float, remaining: float | None, reset_s: float | None) -> float:
    """Return the seconds over which a limit holds: a minute, unless it takes longer than one to be whole again."""
    used = allowed - (remaining or 0.0)
    if reset_s is None or reset_s <= _WINDOWS_S[0] or used <= 0:
        return _WINDOWS_S[0]
    whole_s = reset_s * allowed / used
    return min(_WINDOWS_S[1:], key=lambda window: abs(window - whole_s))


def _reset_s(text: str | None) -> float | None:
    if text is None:
        return None
    seconds = duration_s(text)
    if seconds is not None:
        return seconds
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())


def _number(text: str | None) -> float | None:
    try:
        number = float(text) if text is not None else None
    except ValueError:
        return None
    return number if number is not None and 0 <= number < float("inf") else None
