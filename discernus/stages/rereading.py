"""Reading archived answers once more, with nobody asked: what was read before is read again, from the same answers.

Of a text that was taken out, an answer that is still there is read, and the rest is given up for good.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from discernus.experiments.freezing import taken_out_of
from discernus.sessions.archive import ArchiveDamaged
from discernus.sessions.integrity.redaction import Redaction, read_redactions
from discernus.sessions.layout import Call
from discernus.sessions.session import ERASED, Parked, Session
from discernus.sessions.substitutes import is_substitute
from discernus.stages.reading import park_unreadable, read_answer

READ_IN_VAIN = frozenset({"archive_damaged", "unreadable"})  # parked for what reading again may cure


def calls_read(session: Session) -> dict[int, Call]:
    """Return the call that each analysis's scores were read from, by plan number."""
    found = (session.extracted(number) for number in range(1, session.facts.analyses + 1))
    return {one.number: Call.named(one.call) for one in found if one is not None}


def read_again(session: Session, read_before: Mapping[int, Call]) -> int:
    """Read every answer that has no scores, from the candidate it was read from before; return how many were read.

    What is parked for anything but reading stays parked. What cannot be read is parked.
    """
    held = {record.number for record in session.all_parked() if record.error_class not in READ_IN_VAIN}
    missing = [
        number
        for number in range(1, session.facts.analyses + 1)
        if number not in held and session.extracted(number) is None
    ]
    return sum(_read(session, number, read_before.get(number)) for number in missing)


def settle_taken_out(session: Session) -> None:
    """Read what was answered about texts that were taken out, and park the rest of their analyses for that reason."""
    gone = taken_out_of(session.definition)
    if not gone:
        return
    redactions = _redactions(session)
    whole = {name for one in redactions for name in one.unreadable}
    for analysis in session.plan:
        if analysis.document not in gone or session.extracted(analysis.number) is not None:
            continue
        call = _answered(session, analysis.number)
        if call is not None and Path(call.response).name not in whole and _read(session, analysis.number, call):
            continue
        parked = session.parked(analysis.number)
        if parked is None or parked.released:
            _give_up(session, analysis.number, _why(redactions, analysis.document))


def _read(session: Session, number: int, before: Call | None) -> bool:
    """Read the last ask of the candidate whose answer counts; return whether there was one that could be read."""
    call = before or _answered(session, number)
    if call is None or not session.store.exists(call.response):
        return False
    ask = call.ask
    while session.store.exists(Call(number, "analysis", ask + 1, fallback=call.fallback).response):
        ask += 1
    try:
        read_answer(session, number, ask, final=True, fallback=call.fallback)
    except OSError:  # the disk, not the answer
        raise
    except Exception as broken:  # noqa: BLE001  one that cannot be read does not keep the others from being read
        park_unreadable(session, number, ask, broken, fallback=call.fallback)
        return False
    return True


def _answered(session: Session, number: int) -> Call | None:
    """Return the first ask of the last candidate that answered and may be scored, None if there is none.

    Where versions are pinned, nobody but a run decides whether an answer may be.
    """
    experiment = session.definition.experiment
    if experiment.pin_versions:
        return None
    for fallback in reversed(range(len(session.candidates(number)))):
        call = Call(number, fallback=fallback)
        try:
            found = session.archive.look_up(call)
        except ArchiveDamaged:
            continue
        if found is not None and (experiment.allow_substitution or not is_substitute(session, found[0])):
            return call
    return None


def _redactions(session: Session) -> list[Redaction]:
    try:
        return read_redactions(session.store)
    except ValueError:  # the verification names it
        return []


def _why(redactions: list[Redaction], document: str) -> str:
    record = next((one for one in reversed(redactions) if document in one.documents), None)
    if record is None:
        return "the text was taken out"
    return f"the text was {'erased' if record.kind == 'erasure' else 'withheld'}: {record.reason}"


def _give_up(session: Session, number: int, reason: str) -> None:
    session.park(
        Parked(
            number=number,
            call=Call(number).name,
            error_class=ERASED,
            reason=reason,
            passing=False,
            passes=2,
            failures=0,
            at=datetime.now(UTC),
        )
    )
