"""A session's parts of its models' limits, in words for people."""

from __future__ import annotations

from typing import Any

from discernus.sessions.session import Session


def limits_in_words(session: Session) -> tuple[str, ...]:
    """Return a line for each model that has a limit: ``openai/gpt-4o: at most 570 calls a minute (models.yaml)``."""
    return tuple(line for share in session.limits() if (line := _in_words(share)))


def _in_words(share: dict[str, Any]) -> str:
    rate, in_flight = share["calls_per_minute"], share["in_flight"]
    parts = [f"{_calls(_shown(rate))} a minute"] if rate is not None else []
    if in_flight is not None:
        parts.append(f"{in_flight:,} in flight" if parts else f"{_calls(f'{in_flight:,}')} in flight")
    source = f" ({share['source']})" if share["source"] else ""
    return f"{share['model']}: at most {' and '.join(parts)}{source}" if parts else ""


def _calls(number: str) -> str:
    return f"{number} call{'' if number == '1' else 's'}"


def _shown(rate: float) -> str:
    """Return a rate in as many digits as matter."""
    return f"{rate:,.0f}" if rate >= 10 else f"{rate:.2g}"
