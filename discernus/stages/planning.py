"""What is left to do of a stretch of the plan, as the store tells it."""

from __future__ import annotations

from dataclasses import dataclass
from weakref import WeakKeyDictionary

from discernus.experiments.freezing import taken_out_of
from discernus.experiments.plan import Analysis
from discernus.llm.models_file import read_models_file
from discernus.sessions import layout
from discernus.sessions.archive import ArchiveDamaged
from discernus.sessions.layout import Call
from discernus.sessions.session import Session
from discernus.settings import Settings
from discernus.stages.estimate import Estimator

LONGEST_NAME = 40  # characters of a document's or a model's name in a label; a page of 150 stays under 32 KB
MOST_ASKS = 3


@dataclass(frozen=True)
class Todo:
    """An analysis still to be done, with a label for people.

    ``worst_usd`` is the most that one call of it may cost, ``second_usd`` its reading by a second model; None where
    that is not known, 0 where it costs nothing.
    """

    number: int
    model: str
    label: str
    worst_usd: float | None = None
    second_usd: float | None = None


@dataclass(frozen=True)
class Stretch:
    """What is left, and what was already there: analyses read, parked, and what they cost."""

    todo: tuple[Todo, ...]
    done: int
    parked: int
    parked_passing: int
    cost_usd: float
    unpriced: int


def prices_of(session: Session, settings: Settings) -> Estimator:
    """Return what can tell the worst that calls of the session may cost; made once per process."""
    known = _prices.get(session)
    if known is None:
        models = read_models_file(settings.models_path)
        known = _prices[session] = Estimator(session.definition, models, session.extraction_models)
    return known


_prices: WeakKeyDictionary[Session, Estimator] = WeakKeyDictionary()


def read_plan(session: Session, first: int, last: int, *, again: bool, prices: Estimator | None = None) -> Stretch:
    """Return the stretch of analyses ``first`` to ``last``; ``again`` takes up what is parked for a passing reason."""
    done = set(session.store.names(layout.EXTRACTED))
    parked_files = set(session.store.names(layout.PARKED))
    todo: list[Todo] = []
    found: list[int] = []
    parked = passing = 0
    gone = taken_out_of(session.definition)
    for analysis in session.plan[first - 1 : last]:
        name = layout.extracted(analysis.number).rpartition("/")[2]
        if name in done and session.extracted(analysis.number) is not None:
            found.append(analysis.number)
            continue
        if analysis.document in gone:  # nobody is asked about a text that is no longer there
            parked += 1
            continue
        has_record = layout.parked(analysis.number).rpartition("/")[2] in parked_files
        record = session.parked(analysis.number) if has_record else None
        if record is None or record.released or (again and record.passing and record.passes == 1):
            worst_usd, second_usd = _worst(session, analysis, prices) if prices is not None else (None, None)
            todo.append(Todo(analysis.number, analysis.model, label(session, analysis), worst_usd, second_usd))
        else:
            parked += 1
            passing += record.passing and record.passes == 1
    costs = [cost for number in found for cost in costs_of(session, number)]
    known = [cost for cost in costs if cost is not None]
    return Stretch(tuple(todo), len(found), parked, passing, sum(known), len(costs) - len(known))


def _worst(session: Session, analysis: Analysis, prices: Estimator) -> tuple[float | None, float | None]:
    """Return what a call of the analysis, and one of its second reading, costs at worst over all that may serve it."""
    asked = [prices.worst_usd(analysis, model) for model in session.candidates(analysis.number)]
    read = [prices.worst_second_usd(analysis, model) for model in session.extraction_models]
    return most(asked), most(read)


def most(costs: list[float | None]) -> float | None:
    """Return the highest cost that is known; None where one is not, and no other says what a call may cost."""
    known = [usd for usd in costs if usd is not None]
    most = max(known, default=0.0)
    return most if len(known) == len(costs) or most else None


def costs_of(session: Session, number: int) -> list[float | None]:
    """Return what each archived call of an analysis cost this session, in USD; None where no price is known."""
    readers = range(len(session.extraction_models))
    costs: list[float | None] = []
    for candidate in range(len(session.candidates(number))):
        for ask in range(MOST_ASKS):
            asked = Call(number, "analysis", ask, fallback=candidate)
            if not session.store.exists(asked.response):
                break
            second = (Call(number, "extraction", ask, fallback=reader, source=candidate) for reader in readers)
            calls = [asked, *(call for call in second if session.store.exists(call.response))]
            costs += [_cost_of(session, call) for call in calls]
    return costs


def _cost_of(session: Session, call: Call) -> float | None:
    try:
        found = session.archive.look_up(call)
    except ArchiveDamaged:  # the records name it
        return None
    if found is None:
        return None
    return found[0].cost_usd if found[0].reused_from is None else 0.0


def label(session: Session, analysis: Analysis) -> str:
    """Return a name that a person recognises: ``speech-03/gemini-2.5-pro/run-2``."""
    model = analysis.model.rpartition("/")[2]
    variant = [analysis.variant[:LONGEST_NAME]] if len(session.definition.experiment.variants) > 1 else []
    return "/".join([analysis.document[:LONGEST_NAME], model[:LONGEST_NAME], *variant, f"run-{analysis.run}"])
