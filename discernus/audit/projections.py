"""Whether the tables of a session still say what the answers and scores say that they were made from."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from hashlib import sha256
from typing import Any

from discernus.experiments.freezing import SnapshotDamaged
from discernus.experiments.problems import InvalidDefinition
from discernus.sessions import layout
from discernus.sessions.call_log import read_call_log
from discernus.sessions.integrity.seals import newest_seal
from discernus.sessions.owners import Lock
from discernus.sessions.session import Session
from discernus.sessions.store import NotInStore
from discernus.sessions.symptoms import Symptom
from discernus.stages.projection import tables_of
from discernus.stages.records import session_records


def disagreeing_tables(session: Session) -> Iterator[Symptom]:
    """Yield each final table that is not what it projects; those of a session that is not calculated yet grow."""
    if not session.reached("calculation"):
        return
    try:
        records = list(session_records(session))
    except (SnapshotDamaged, InvalidDefinition):  # the session's own symptoms name it
        return
    if any(record.status == "pending" for record in records):  # an answer is yet to be read: going on writes them anew
        return
    tables = tables_of(session, records)
    file = newest_seal(session.store) if session.is_sealed else None
    sealed = file.seal.files if file is not None and file.seal is not None else None
    for name, data in tables.items():
        there = _hash(session, name)
        if there == sha256(data).hexdigest() or (there is None and sealed is not None and name not in sealed):
            continue  # as it should be, or a table that its version did not write yet
        if name == layout.CALL_LOG and _tells(session, read_call_log(data)):
            continue  # in the form of an early version
        what = "it is gone" if there is None else "it does not say what the answers and scores say"
        if not session.is_sealed or (sealed is not None and sealed.get(name) == sha256(data).hexdigest()):
            means, cure = "numbers that are read from it may be wrong", "it is written anew from what it projects"
            mend = partial(_rewrite, session, name, data)
            yield Symptom("table", name, what, means, cure, session.folder.name, mend=mend)
        elif sealed is not None and sealed.get(name) == there:
            means = "it is as it was sealed; this version, or models.yaml as it is now, makes another one of them"
            cure = (
                f"`starter.py resume {session.folder.name} --from calculation` makes it anew, and keeps the sealed one"
            )
            yield Symptom("table", name, what, means, cure, session.folder.name)


def _rewrite(session: Session, name: str, data: bytes) -> None:
    with Lock(session.folder / layout.TABLES_LOCK):
        session.store.put(name, data)


def _tells(session: Session, calls: list[dict[str, Any]]) -> bool:
    """Return whether the table of calls that is there tells of these, in whichever form."""
    try:
        return read_call_log(session.store.get(layout.CALL_LOG)) == calls
    except (NotInStore, ValueError):
        return False


def _hash(session: Session, name: str) -> str | None:
    try:
        return sha256(session.store.get(name)).hexdigest()
    except NotInStore:
        return None
