"""The activities of a session's own queue: all that is computed or written, and calls no model.

Each runs the core in a thread while it heartbeats, so that no amount of work makes a living worker look dead.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

import structlog
from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities.border import (
    CALCULATE,
    EXTRACT,
    NOTE_SHARES,
    NOTE_STATUS,
    PREFLIGHT,
    PROJECT,
    READ_PLAN,
    SEAL,
    SYNTHESISE,
    Answer,
    Checked,
    ExtractOrder,
    ExtractOutcome,
    Extracts,
    Planned,
    PlanPage,
    PlanRequest,
    Projected,
    ProjectOrder,
    SealOutcome,
    SessionKey,
    ShareNote,
    StatusNote,
)
from activities.workplace import Workplace, beating
from discernus.experiments.freezing import SnapshotDamaged
from discernus.experiments.problems import InvalidDefinition
from discernus.sessions.integrity.examination import SealBroken
from discernus.sessions.session import Session
from discernus.stages.calculation import calculate
from discernus.stages.checkpoints import stands
from discernus.stages.interpretation import judge, left_to_write
from discernus.stages.planning import Stretch, prices_of, read_plan
from discernus.stages.preflight import preflight
from discernus.stages.projection import project_tables
from discernus.stages.reading import park_unreadable, read_answer
from discernus.stages.sealing import CannotSeal, seal
from discernus.stages.synthesis import synthesise

T = TypeVar("T")

MOST_ATTEMPTS = 3  # at a step that fails for any reason but the disk

log = structlog.get_logger()


class Steps:
    """Activities of a session's own queue."""

    def __init__(self, workplace: Workplace) -> None:
        self._workplace = workplace

    @activity.defn(name=PREFLIGHT)
    async def preflight(self, key: SessionKey) -> Checked:
        """Check that the frozen inputs are what they were, and see what has been spent."""
        spent_usd = await _beating(lambda: preflight(self._workplace.session(key), self._workplace.settings))
        return Checked(spent_usd=spent_usd)

    @activity.defn(name=READ_PLAN)
    async def read_plan(self, request: PlanRequest) -> PlanPage:
        """Return what is left to do of a stretch of the plan."""
        stretch = await asyncio.to_thread(self._left, self._workplace.session(request.key), request)
        return PlanPage(
            todo=tuple(
                Planned(
                    number=item.number,
                    model=item.model,
                    label=item.label,
                    worst_usd=item.worst_usd,
                    second_usd=item.second_usd,
                )
                for item in stretch.todo
            ),
            done=stretch.done,
            parked=stretch.parked,
            parked_passing=stretch.parked_passing,
            cost_usd=stretch.cost_usd,
            unpriced=stretch.unpriced,
        )

    def _left(self, session: Session, request: PlanRequest) -> Stretch:
        settings = self._workplace.settings
        if request.first > session.facts.analyses:  # behind the plan stands the prose about its tables
            return left_to_write(session, settings, priced=request.priced)
        prices = prices_of(session, settings) if request.priced else None
        return read_plan(session, request.first, request.last, again=request.again, prices=prices)

    @activity.defn(name=EXTRACT)
    async def extract(self, order: ExtractOrder) -> Extracts:
        """Read the scores out of archived answers."""
        return await asyncio.to_thread(_extract, self._workplace.session(order.key), order.answers)

    @activity.defn(name=PROJECT)
    async def project(self, order: ProjectOrder) -> Projected:
        """Bring the shared tables up to date."""
        rows, seconds = await _beating(lambda: project_tables(self._workplace.session(order.key)))
        return Projected(rows=rows, seconds=seconds)

    @activity.defn(name=CALCULATE)
    async def calculate(self, key: SessionKey) -> None:
        """Compute derived metrics, descriptives and consistency, and write the final tables, unless they stand."""
        await _beating(lambda: _calculate(self._workplace.session(key)))

    @activity.defn(name=SYNTHESISE)
    async def synthesise(self, key: SessionKey) -> None:
        """Write the report."""
        await _beating(lambda: synthesise(self._workplace.session(key)))

    @activity.defn(name=SEAL)
    async def seal(self, key: SessionKey) -> SealOutcome:
        """Hash every file and close this version of the session."""
        sealed = await _beating(lambda: seal(self._workplace.session(key), self._workplace.settings.signing_key))
        return SealOutcome(
            status=sealed.status,
            version=sealed.version,
            root_sha256=sealed.root_sha256,
            scored=sealed.scored,
            parked=sealed.parked,
            in_doubt=sealed.in_doubt,
            cost_usd=sealed.cost_usd,
            unpriced=sealed.unpriced,
        )

    @activity.defn(name=NOTE_STATUS)
    async def note_status(self, note: StatusNote) -> None:
        """Keep the session's status in its store, where it can be read without a server."""
        session = self._workplace.session(note.key)
        await asyncio.to_thread(session.note_status, note.status, note.reason)

    @activity.defn(name=NOTE_SHARES)
    async def note_shares(self, note: ShareNote) -> None:
        """Keep the session's parts of its models' limits in its store, where progress is shown from."""
        shares = [share.model_dump(exclude={"model"}) | {"model": share.model} for share in note.shares]
        await asyncio.to_thread(self._workplace.session(note.key).note_limits, shares)


def _calculate(session: Session) -> None:
    """Calculate, unless the tables are there and the scores are those that they were made from."""
    if not (stands(session, "extraction") and stands(session, "calculation")):
        calculate(session)


def _extract(session: Session, answers: tuple[Answer, ...]) -> Extracts:
    return Extracts(outcomes=tuple(_extract_one(session, answer) for answer in answers))


def _extract_one(session: Session, answer: Answer) -> ExtractOutcome:
    """Read one answer; one that cannot be read is parked, and does not keep the others from being read."""
    if answer.number > session.facts.analyses:
        next_ = judge(session, answer.number, answer.ask, final=answer.final, fallback=answer.fallback)
        return ExtractOutcome(next=next_, scored=0, dimensions=0)
    try:
        reading = read_answer(session, answer.number, answer.ask, final=answer.final, fallback=answer.fallback)
    except OSError:  # the disk, not the answer: tried again
        raise
    except Exception as broken:  # noqa: BLE001
        park_unreadable(session, answer.number, answer.ask, broken, fallback=answer.fallback)
        return ExtractOutcome(next="unreadable", scored=0, dimensions=0)
    return ExtractOutcome(
        next=reading.next, scored=reading.scored, dimensions=len(reading.scores), scores=reading.scores
    )


async def _beating(work: Callable[[], T]) -> T:
    """Run the step in a thread. What the disk refuses is tried again for ever; anything else, perhaps a bug, is not."""
    async with beating():
        try:
            return await asyncio.to_thread(work)
        except OSError:
            raise
        except (SnapshotDamaged, InvalidDefinition, SealBroken, CannotSeal) as damaged:  # no repetition mends it
            raise ApplicationError(str(damaged), type=type(damaged).__name__, non_retryable=True) from None
        except Exception as broken:
            log.exception("step_failed", step=activity.info().activity_type)
            raise ApplicationError(
                f"{type(broken).__name__}: {broken}"[:500],
                type=type(broken).__name__,
                non_retryable=activity.info().attempt >= MOST_ATTEMPTS,
            ) from None
