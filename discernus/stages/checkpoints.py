"""The stages of a session: which are complete, what each has made, and how to go back to one.

Answers are never touched. What later stages wrote is made anew from them; what a seal covers of it is kept under the
seal's number first.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final, get_args

from pydantic import ValidationError

from discernus.experiments.freezing import taken_out_of
from discernus.experiments.plan import Analysis
from discernus.sessions import layout
from discernus.sessions.integrity.examination import refuse_if_altered
from discernus.sessions.integrity.manifests import TABLES, Stage, cover, stage_of
from discernus.sessions.integrity.manifests import Checkpoint as Made
from discernus.sessions.integrity.seals import SealFile, newest_seal, versions_sealed
from discernus.sessions.layout import Call
from discernus.sessions.opening import state_of
from discernus.sessions.session import ERASED, Session
from discernus.sessions.store import NotInStore
from discernus.sessions.substitutes import release_own_answers

ONE_EACH = (f"{layout.EXTRACTED}/extracted_", f"{layout.PAGES}/")  # of which there is a file for each analysis
STAGES: Final[tuple[Stage, ...]] = get_args(Stage)


@dataclass(frozen=True)
class Checkpoint:
    """A stage: when it was completed (None: it is not), and how many things it has made, of how many.

    These are analyses answered, analyses read, tables and pages; the report is not counted.
    """

    stage: Stage
    completed_at: datetime | None
    made: int
    planned: int


@dataclass(frozen=True)
class Prospect:
    """What going on with a session would do: analyses to ask a model for, analyses to read, files made anew.

    ``answered`` analyses are there. Of those ``parked``, so many are ``tried_again``. ``version`` is of the newest
    seal, 0 if there is none.
    """

    answered: int
    to_ask: tuple[Analysis, ...]
    parked: int
    tried_again: int
    to_read: int
    anew: tuple[str, ...]
    version: int


def checkpoints(session: Session) -> tuple[Checkpoint, ...]:
    """Return every stage in order, as the session's files tell it."""
    planned = session.facts.analyses
    made = {
        "analysis": len(answered(session)),
        "extraction": len(products(session, "extraction")),
        "calculation": sum(session.store.exists(name) for name in (layout.RESULTS, layout.DICTIONARY)),
        "synthesis": len(session.store.names(layout.PAGES)),
    }
    wanted = {"calculation": 2}
    return tuple(
        Checkpoint(stage, completed_at(session, stage), made[stage], wanted.get(stage, planned)) for stage in STAGES
    )


def completed_at(session: Session, stage: Stage) -> datetime | None:
    """Return when a stage was completed, None if it is not, or if its checkpoint cannot be read."""
    try:
        return datetime.fromisoformat(json.loads(session.store.get(layout.checkpoint(stage)))["at"])
    except (NotInStore, ValueError, KeyError, TypeError):
        return None


def stands(session: Session, stage: Stage) -> bool:
    """Return whether the stage's checkpoint is there, and the stage's files are those that it lists, to the byte."""
    try:
        left = Made.model_validate_json(session.store.get(layout.checkpoint(stage)))
    except (NotInStore, ValidationError):
        return False
    return cover(session.folder, lambda name: stage_of(name) == stage).files == left.files


def answered(session: Session) -> set[int]:
    """Return the analyses that any candidate has answered."""
    there = set(session.store.names(layout.ARCHIVE))
    return {
        analysis.number
        for analysis in session.plan
        for fallback in range(len(session.candidates(analysis.number)))
        if Call(analysis.number, fallback=fallback).response.rpartition("/")[2] in there
    }


def products(session: Session, stage: Stage) -> list[str]:
    """Return the names of the files that a stage has written and can write again; of answers none ever is."""
    if stage == "extraction":
        return [f"{layout.EXTRACTED}/{name}" for name in _named(session, layout.EXTRACTED, "extracted_")]
    if stage == "calculation":
        return [name for name in TABLES if session.store.exists(name)]
    if stage == "synthesis":
        written = (layout.REPORT, layout.REPORT_PAGE, layout.INTERPRETATION)
        report = [name for name in written if session.store.exists(name)]
        return report + [f"{layout.PAGES}/{name}" for name in session.store.names(layout.PAGES)]
    return []


def unanswered(session: Session) -> list[Analysis]:
    """Return the analyses that no candidate has answered, in the plan's order; but for texts that were taken out."""
    there, gone = answered(session), taken_out_of(session.definition)
    return [one for one in session.plan if one.number not in there and one.document not in gone]


def prospect(session: Session, stage: Stage | None, *, try_parked: bool, asking: bool = True) -> Prospect:
    """Return what going on would do, beginning anew at a stage if one is given; nothing is changed by it.

    ``asking`` says that models are asked for what is missing.
    """
    parked = session.all_parked()
    left = {record.number for record in parked if not try_parked or record.error_class == ERASED}
    there = answered(session)
    to_ask = tuple(one for one in unanswered(session) if one.number not in left) if asking else ()
    anew = _made_anew(session, stage) if stage else []
    read = set(products(session, "extraction")) - set(anew)
    to_read = (there | {one.number for one in to_ask}) - left
    return Prospect(
        answered=len(there),
        to_ask=to_ask,
        parked=len(parked),
        tried_again=len(parked) - len(left),
        to_read=sum(layout.extracted(number) not in read for number in to_read),
        anew=tuple(anew),
        version=max(versions_sealed(session.store), default=0),
    )


def from_stage_on(stage: Stage) -> tuple[Stage, ...]:
    """Return the stage and those that follow it."""
    return STAGES[STAGES.index(stage) :]


def go_back(session: Session, stage: Stage, *, try_parked: bool = False, examined: bool = False) -> tuple[str, ...]:
    """Let the session begin anew at a stage; return the files that are made anew, of which none is there any more.

    Scores of texts that were taken out stay: their answers lack the words, and nobody can be asked for others.

    ``try_parked`` lets what is parked be tried afresh, which calls for new numbers (ValueError from a later stage). The
    session then counts as unfinished: a crash half-way leaves one that goes on, and going back again removes the rest.
    The checkpoints go first, so that no stage is ever passed over whose files may have changed. Raises SealBroken where
    the session is not what was sealed: made anew, and sealed, altered files would pass for true ones. ``examined`` says
    that its files were hashed just now: of thousands of calls that takes seconds.
    """
    if not examined:
        refuse_if_altered(session)
    return _go_back(session, stage, try_parked=try_parked)


def _go_back(session: Session, stage: Stage, *, try_parked: bool) -> tuple[str, ...]:
    if try_parked and stage == "synthesis":
        raise ValueError("new analyses call for new numbers, and these come before synthesis")
    gone = _made_anew(session, stage)
    unfinished = STAGES if try_parked or stage in ("analysis", "extraction") else from_stage_on(stage)
    many = [name for name in gone if name.startswith(ONE_EACH)]
    few = [*(name for name in gone if not name.startswith(ONE_EACH)), *map(layout.checkpoint, STAGES)]
    sealed = newest_seal(session.store)
    version = sealed.version if sealed is not None else None
    session.chronolog.note("files_superseded", stage=stage, version=version, files=len(gone))
    session.chronolog.flush()  # first: copies of which nobody tells would pass for something added
    _copy(session, _kept(session, sealed, [*few, *(_parked_files(session) if try_parked else [])]))
    session.note_status("running", "")
    for name in map(layout.checkpoint, unfinished):
        session.store.remove(name, durable=True)
    session.store.move(_kept(session, sealed, many))
    for name in gone:
        session.store.remove(name)
    if try_parked:
        session.release_parked()
    return tuple(gone)


def take_up(session: Session, *, examined: bool = False) -> int:
    """Let a session be carried on, and return how many parked analyses are tried afresh.

    In one that ended with gaps these are all, and the numbers come anew; one that is under way takes up what a person
    may have mended, and all else waits for its last pass. Raises SealBroken where it is not what was sealed;
    ``examined`` as in going back.
    """
    if not examined:
        refuse_if_altered(session)
    if state_of(session) == "partial":
        released = sum(record.error_class != ERASED for record in session.all_parked())
        _go_back(session, "calculation", try_parked=True)
    else:
        _keep_pages(session)
        released = release_own_answers(session)
    session.chronolog.note("session_resumed", session=session.name, released=released)
    return released


def _made_anew(session: Session, stage: Stage) -> list[str]:
    """Return what beginning anew at a stage makes anew: all but the scores of texts that were taken out."""
    gone = taken_out_of(session.definition)
    stays = {layout.extracted(analysis.number) for analysis in session.plan if analysis.document in gone}
    return [name for one in from_stage_on(stage) for name in products(session, one) if name not in stays]


def _kept(session: Session, sealed: SealFile | None, names: Iterable[str]) -> dict[str, str]:
    """Return the new names of those files that the seal covers, and that are not kept as of its version yet."""
    if sealed is None:
        return {}
    covered = [name for name in names if sealed.seal is None or name in sealed.seal.files]  # unreadable: nobody knows
    kept = {name: layout.superseded(sealed.version, name) for name in covered}
    return {name: to for name, to in kept.items() if session.store.exists(name) and not session.store.exists(to)}


def _keep_pages(session: Session) -> None:
    """Keep what the seal covers of the pages, where going back was cut off before all were moved: they come anew."""
    if not session.reached("synthesis"):
        pages = (f"{layout.PAGES}/{name}" for name in session.store.names(layout.PAGES))
        session.store.move(_kept(session, newest_seal(session.store), pages))


def _copy(session: Session, names: Mapping[str, str]) -> None:
    for name, to in names.items():
        session.store.put_if_absent(to, session.store.get(name))


def _parked_files(session: Session) -> list[str]:
    """Return what trying the parked analyses again may change: their records, and the requests that failed."""
    records = [f"{layout.PARKED}/{name}" for name in _named(session, layout.PARKED, "parked_")]
    return records + [Call.named(record.call).request for record in session.all_parked()]


def _named(session: Session, folder: str, beginning: str) -> list[str]:
    return [name for name in session.store.names(folder) if name.startswith(beginning)]
