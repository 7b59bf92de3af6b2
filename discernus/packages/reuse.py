"""Answers that a session took over from an earlier one instead of asking again: whose they are, and what they cost."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from discernus.packages.counting import counted
from discernus.packages.tables import answered_at
from discernus.sessions.archive import ArchivedCall


def taken_over(calls: Iterable[ArchivedCall]) -> list[str]:
    """Return a sentence for each session that answers were taken over from: how many, of when, and their price there.

    The price is of the answers whose price is known; of how many it is not known is said.
    """
    by_session: dict[str, list[ArchivedCall]] = defaultdict(list)
    for call in calls:
        if call.reused_from is not None:
            by_session[call.reused_from.rpartition("/")[0]].append(call)
    return [
        f"{counted(len(found), 'answer')} {'was' if len(found) == 1 else 'were'} not asked for anew but taken over "
        f"from {session} ({_days(found)}), where {'it' if len(found) == 1 else 'they'} cost {_price(found)}."
        for session, found in sorted(by_session.items())
    ]


def _days(calls: list[ArchivedCall]) -> str:
    days = sorted({at[:10] for call in calls if (at := answered_at(call)) is not None})
    if not days:
        return "obtained at times that were not recorded"
    return f"obtained on {days[0]}" if len(days) == 1 else f"obtained from {days[0]} to {days[-1]}"


def _price(calls: list[ArchivedCall]) -> str:
    known = [call.cost_usd for call in calls if call.cost_usd is not None]
    if not known:
        return "what was not recorded"
    unknown = len(calls) - len(known)
    return f"US${sum(known):.4f}" + (f" and, for {counted(unknown, 'answer')}, what is not known" if unknown else "")
