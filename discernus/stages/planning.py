"""What is left to do of a stretch of the plan, as the store tells it."""

from __future__ import annotations

from dataclasses import dataclass

from discernus.experiments.plan import Analysis
from discernus.sessions import layout
from discernus.sessions.archive import ArchiveDamaged
from discernus.sessions.layout import Call
from discernus.sessions.session import Session

LONGEST_NAME = 40  # characters of a document's or a model's name in a label; a page of 150 stays under 32 KB
MOST_ASKS = 3


@dataclass(frozen=True)
class Todo:
    """An analysis still to be done, with a label for people."""

    number: int
    model: str
    label: str


@dataclass(frozen=True)
class Stretch:
    """What is left, and what was already there: analyses read, parked, and what they cost."""

    todo: tuple[Todo, ...]
    done: int
    parked: int
    parked_passing: int
    cost_usd: float
    unpriced: int


def read_plan(session: Session, first: int, last: int, *, again: bool) -> Stretch:
    """Return the stretch of analyses ``first`` to ``last``; ``again`` takes up what is parked for a passing reason."""
    done = set(session.store.names(layout.EXTRACTED))
    parked_files = set(session.store.names(layout.PARKED))
    todo: list[Todo] = []
    found: list[int] = []
    parked = passing = 0
    for analysis in session.plan[first - 1 : last]:
        name = layout.extracted(analysis.number).rpartition("/")[2]
        if name in done and session.extracted(analysis.number) is not None:
            found.append(analysis.number)
            continue
        has_record = layout.parked(analysis.number).rpartition("/")[2] in parked_files
        record = session.parked(analysis.number) if has_record else None
        if record is None or record.released or (again and record.passing and record.passes == 1):
            todo.append(Todo(analysis.number, analysis.model, label(session, analysis)))
        else:
            parked += 1
            passing += record.passing and record.passes == 1
    costs = [cost for number in found for cost in costs_of(session, number)]
    known = [cost for cost in costs if cost is not None]
    return Stretch(tuple(todo), len(found), parked, passing, sum(known), len(costs) - len(known))


def costs_of(session: Session, number: int) -> list[float | None]:
    """Return the cost of each archived call of an analysis, in USD; None where no price is known."""
    costs: list[float | None] = []
    for ask in range(MOST_ASKS):
        for call in (Call(number, "analysis", ask), Call(number, "extraction", ask)):
            try:
                found = session.archive.look_up(call)
            except ArchiveDamaged:  # the records name it
                costs.append(None)
                continue
            if found is not None:
                costs.append(found[0].cost_usd)
            elif call.purpose == "analysis":
                return costs
    return costs


def label(session: Session, analysis: Analysis) -> str:
    """Return a name that a person recognises: ``speech-03/gemini-2.5-pro/run-2``."""
    model = analysis.model.rpartition("/")[2]
    variant = [analysis.variant[:LONGEST_NAME]] if len(session.definition.experiment.variants) > 1 else []
    return "/".join([analysis.document[:LONGEST_NAME], model[:LONGEST_NAME], *variant, f"run-{analysis.run}"])
