"""Answers that a session took over from others: how many, of when, and what they had cost there."""

from __future__ import annotations

from math import fsum

from discernus.reports.data import TakenOver
from discernus.sessions.archive import TIME_NOT_RECORDED, ArchivedCall
from discernus.sessions.session import Session
from discernus.stages.records import all_calls


def taken_over(session: Session) -> tuple[TakenOver, ...]:
    """Return what was taken over, by the session that was first given it, in the order of their names."""
    found: dict[str, list[ArchivedCall]] = {}
    for call in all_calls(session):
        if call.reused_from is not None:
            found.setdefault(call.reused_from.rpartition("/")[0], []).append(call)
    return tuple(_of(name, calls) for name, calls in sorted(found.items()))


def _of(session: str, calls: list[ArchivedCall]) -> TakenOver:
    days = sorted(f"{call.archived_at:%Y-%m-%d}" for call in calls if TIME_NOT_RECORDED not in call.marks)
    costs = [call.cost_usd for call in calls if call.cost_usd is not None]
    return TakenOver(
        session=session,
        answers=len(calls),
        first=days[0] if days else None,
        last=days[-1] if days else None,
        cost_usd=fsum(costs) if costs else None,
        unpriced=len(calls) - len(costs),
    )
