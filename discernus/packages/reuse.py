"""Answers that a session took over from others instead of asking again, in the words of a package's pages."""

from __future__ import annotations

from discernus.packages.counting import counted
from discernus.packages.subject import Subject
from discernus.reports.data import TakenOver
from discernus.stages.taken_over import taken_over


def told_of_reuse(subject: Subject) -> list[str]:
    """Return a sentence for each session that answers were taken over from: how many, of when, and their price there.

    The price is of the answers whose price is known; of how many it is not known is said.
    """
    return [
        f"{counted(one.answers, 'answer')} {'was' if one.answers == 1 else 'were'} not asked for anew but taken over "
        f"from {one.session} ({_days(one)}), where {'it' if one.answers == 1 else 'they'} cost {_price(one)}."
        for one in taken_over(call.record for call in subject.calls)
    ]


def _days(one: TakenOver) -> str:
    if one.first is None:
        return "obtained at times that were not recorded"
    return f"obtained on {one.first}" if one.first == one.last else f"obtained from {one.first} to {one.last}"


def _price(one: TakenOver) -> str:
    if one.cost_usd is None:
        return "what was not recorded"
    unknown = f" and, for {counted(one.unpriced, 'answer')}, what is not known" if one.unpriced else ""
    return f"US${one.cost_usd:.4f}{unknown}"
