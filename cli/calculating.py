"""``calculate``: metrics, tables and the report of a session made anew from the scores it has, and sealed."""

from __future__ import annotations

import json

from cli.display import counted, write
from cli.exits import COMPLETE, INTERRUPTED, INVALID, PARTIAL, CommandError, command_name
from cli.remote import refuse_at_work
from cli.sessions import session_to_change
from cli.state import explained, stops
from cli.tables import wrapped
from discernus.logs import log_to
from discernus.sessions import layout
from discernus.sessions.integrity.examination import SealBroken
from discernus.sessions.integrity.manifests import TABLES, Stage
from discernus.sessions.integrity.signing import KeyUnusable, read_private_key
from discernus.sessions.opening import HIDDEN, state_of
from discernus.sessions.owners import Lock, Onlooker
from discernus.sessions.resuming import conflicts, full_name
from discernus.sessions.session import Session
from discernus.settings import Settings
from discernus.stages.anew import make_anew
from discernus.stages.checkpoints import prospect
from discernus.stages.sealing import Sealed


def calculate_again(settings: Settings, name: str, *, as_json: bool) -> int:
    """Make tables and report anew and seal them; return the exit code. Raises CommandError for what is in the way."""
    session = Session(session_to_change(settings, name).folder, settings.mirror_dir)
    _look(settings, session)
    before = _tables(session)
    sealed = seal_anew(settings, session, "calculation")
    changed = [table for table, data in _tables(session).items() if before.get(table) != data]
    _say(session, sealed, changed, as_json=as_json)
    return COMPLETE if sealed.status == "complete" else PARTIAL


def seal_anew(settings: Settings, session: Session, stage: Stage, *, examined: bool = False) -> Sealed:
    """Make a stage and the later ones anew of what is there, as the session's only owner, and return the new seal.

    Raise CommandError where another is at work, the key cannot be used, what is sealed was altered, or on Ctrl-C.
    """
    _check_key(settings)
    lock = Lock(session.folder / layout.OWNER_LOCK)
    if not lock.acquire():
        raise CommandError(f"another process has just taken up {session.name}; stop it there, or watch it", INVALID)
    try:
        log_to(session.folder / layout.OPERATIONAL_LOG)
        return make_anew(session, stage, settings.signing_key, examined=examined)
    except SealBroken as broken:
        raise CommandError(str(broken), INVALID) from broken
    except KeyboardInterrupt:
        again = f"{command_name()} resume {full_name(session)} --from {stage}"
        raise CommandError(f"interrupted; every answer is kept. Begin again with: {again}", INTERRUPTED) from None
    finally:
        lock.release()


def _look(settings: Settings, session: Session) -> None:
    """Raise CommandError for what stands against it: others at work, damaged inputs, analyses without an end."""
    refuse_at_work(settings, session)
    found = conflicts(session, Onlooker(settings.projects_dir / HIDDEN / "owners"))
    against = [one for one in found if stops(one, "calculation")]
    if against:
        raise CommandError("\n".join(explained(against)), INVALID)
    left = prospect(session, "calculation", try_parked=False)
    if state_of(session) == "unfinished" and (left.to_ask or left.to_read > 0):
        open_ = counted(len(left.to_ask) or left.to_read, "analysis")
        cure = f"go on with: {command_name()} resume {session.facts.session}"
        raise CommandError(f"{session.name} is not finished: {open_} to ask or to read; {cure}", INVALID)


def _check_key(settings: Settings) -> None:
    try:
        if settings.signing_key is not None:
            read_private_key(settings.signing_key, settings.projects_dir)
    except KeyUnusable as unusable:
        raise CommandError(str(unusable), INVALID) from unusable


def _tables(session: Session) -> dict[str, bytes]:
    return {name: session.store.get(name) for name in TABLES if session.store.exists(name)}


def _say(session: Session, sealed: Sealed, changed: list[str], *, as_json: bool) -> None:
    report = session.folder / layout.REPORT_PAGE
    if as_json:
        told = {
            "session": session.name,
            "status": sealed.status,
            "version": sealed.version,
            "root_sha256": sealed.root_sha256,
            "changed": changed,
            "report": str(report),
        }
        write(json.dumps(told))
        return
    write(wrapped(f"calculated: {session.name}, sealed as version {sealed.version} ({sealed.status})"))
    told_changed = ", ".join(changed) or "none: every table is what it was, byte for byte"
    write(wrapped(f"tables that came out otherwise: {told_changed}"))
    write(f"report: {report}")
