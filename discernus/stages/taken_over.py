"""Answers that a session took over from others: how many, of when, and what they had cost there."""

from __future__ import annotations

from collections.abc import Iterable
from math import fsum

from discernus.reports.data import TakenOver
from discernus.sessions.archive import ArchivedCall
from discernus.stages.records import answered_at


def taken_over(calls: Iterable[ArchivedCall]) -> tuple[TakenOver, ...]:
    """Return what of a session's calls was taken over, by the session that was first given it, in their order."""
    found: dict[str, list[ArchivedCall]] = {}
    for call in calls:
        if call.reused_from is not None:
            found.setdefault(source_of(call.reused_from), []).append(call)
    return tuple(_of(name, taken) for name, taken in sorted(found.items()))


def source_of(reused_from: str) -> str:
    """Return the session of ``session_…/017``, the call of another session."""
    return reused_from.rpartition("/")[0]


def _of(session: str, calls: list[ArchivedCall]) -> TakenOver:
    days = sorted(at[:10] for call in calls if (at := answered_at(call)) is not None)
    costs = [call.cost_usd for call in calls if call.cost_usd is not None]
    return TakenOver(
        session=session,
        answers=len(calls),
        first=days[0] if days else None,
        last=days[-1] if days else None,
        cost_usd=fsum(costs) if costs else None,
        unpriced=len(calls) - len(costs),
    )
