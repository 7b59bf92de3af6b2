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

from discernus.experiments.plan import Analysis
from discernus.sessions import layout
from discernus.sessions.integrity import Stage
from discernus.sessions.layout import Call
from discernus.sessions.opening import state_of
from discernus.sessions.seals import SealFile, newest_seal, versions_sealed
from discernus.sessions.session import Session
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
        tables = (layout.RESULTS, layout.DICTIONARY, layout.CALL_LOG, layout.EXTRACTION_LOG)
        return [name for name in tables if session.store.exists(name)]
    if stage == "synthesis":
        report = [layout.REPORT] if session.store.exists(layout.REPORT) else []
        return report + [f"{layout.PAGES}/{name}" for name in session.store.names(layout.PAGES)]
    return []


def unanswered(session: Session) -> list[Analysis]:
    """Return the analyses that no candidate has answered, in the plan's order."""
    there = answered(session)
    return [analysis for analysis in session.plan if analysis.number not in there]


def prospect(session: Session, stage: Stage | None, *, try_parked: bool) -> Prospect:
    """Return what going on would do, beginning anew at a stage if one is given; nothing is changed by it."""
    parked = {record.number for record in session.all_parked()}
    left = set() if try_parked else parked
    anew = [name for one in from_stage_on(stage) for name in products(session, one)] if stage else []
    read = set(products(session, "extraction")) - set(anew)
    planned = session.facts.analyses
    return Prospect(
        answered=len(answered(session)),
        to_ask=tuple(analysis for analysis in unanswered(session) if analysis.number not in left),
        parked=len(parked),
        tried_again=len(parked - left),
        to_read=planned - len(read) - len(left),
        anew=tuple(anew),
        version=max(versions_sealed(session.store), default=0),
    )


def from_stage_on(stage: Stage) -> tuple[Stage, ...]:
    """Return the stage and those that follow it."""
    return STAGES[STAGES.index(stage) :]


def go_back(session: Session, stage: Stage, *, try_parked: bool = False) -> tuple[str, ...]:
    """Let the session begin anew at a stage; return the files that are made anew, of which none is there any more.

    ``try_parked`` lets what is parked be tried afresh, which calls for new numbers (ValueError from a later stage). The
    session then counts as unfinished: a crash half-way leaves one that goes on, and going back again removes the rest.
    """
    if try_parked and stage == "synthesis":
        raise ValueError("new analyses call for new numbers, and these come before synthesis")
    gone = [name for one in from_stage_on(stage) for name in products(session, one)]
    unfinished = STAGES if try_parked or stage in ("analysis", "extraction") else from_stage_on(stage)
    many = [name for name in gone if name.startswith(ONE_EACH)]
    few = [*(name for name in gone if not name.startswith(ONE_EACH)), *map(layout.checkpoint, STAGES)]
    sealed = newest_seal(session.store)
    _copy(session, _kept(session, sealed, [*few, *(_parked_files(session) if try_parked else [])]))
    version = sealed.version if sealed is not None else None
    session.chronolog.note("files_superseded", stage=stage, version=version, files=len(gone))
    session.note_status("running", "")
    session.store.move(_kept(session, sealed, many))
    for name in (*map(layout.checkpoint, unfinished), *gone):
        session.store.remove(name)
    if try_parked:
        session.release_parked()
    return tuple(gone)


def take_up(session: Session) -> int:
    """Let a session be carried on, and return how many parked analyses are tried afresh.

    In one that ended with gaps these are all, and the numbers come anew; one that is under way takes up what a person
    may have mended, and all else waits for its last pass.
    """
    if state_of(session) == "partial":
        released = len(session.all_parked())
        go_back(session, "calculation", try_parked=True)
    else:
        released = release_own_answers(session)
    session.chronolog.note("session_resumed", session=session.name, released=released)
    return released


def _kept(session: Session, sealed: SealFile | None, names: Iterable[str]) -> dict[str, str]:
    """Return the new names of those files that the seal covers, and that are not kept as of its version yet."""
    if sealed is None:
        return {}
    covered = [name for name in names if sealed.seal is None or name in sealed.seal.files]  # unreadable: nobody knows
    kept = {name: layout.superseded(sealed.version, name) for name in covered}
    return {name: to for name, to in kept.items() if session.store.exists(name) and not session.store.exists(to)}


def _copy(session: Session, names: Mapping[str, str]) -> None:
    for name, to in names.items():
        session.store.put_if_absent(to, session.store.get(name))


def _parked_files(session: Session) -> list[str]:
    """Return what trying the parked analyses again may change: their records, and the requests that failed."""
    records = [f"{layout.PARKED}/{name}" for name in _named(session, layout.PARKED, "parked_")]
    return records + [Call.named(record.call).request for record in session.all_parked()]


def _named(session: Session, folder: str, beginning: str) -> list[str]:
    return [name for name in session.store.names(folder) if name.startswith(beginning)]
