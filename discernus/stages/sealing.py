"""Closing a version of a session: the hash of every file, one hash over them all, and a signature if there is a key."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, get_args

import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from discernus import __version__
from discernus.sessions import layout
from discernus.sessions.archive import ArchiveDamaged
from discernus.sessions.chronolog import gather
from discernus.sessions.costs import add_up
from discernus.sessions.integrity import Covered, Gap, Seal, cover, is_covered
from discernus.sessions.project_chronolog import note_project_once, project_chronolog
from discernus.sessions.seals import FORMAT, SealFile, newest_seal, read_seal, status_of
from discernus.sessions.session import Session
from discernus.sessions.signing import KeyUnusable, fingerprint, read_private_key, sign
from discernus.sessions.store import NotInStore
from discernus.stages.records import archived
from discernus.stages.spending import calls_of, doubted, projects_dir_of

log = structlog.get_logger()


@dataclass(frozen=True)
class Sealed:
    """A sealed version. ``complete``: every planned analysis was answered and gave scores, or said there are none.

    ``gaps`` has the plan numbers of those that did not, by what is the matter: it could not be had, nothing came of it
    at all, its answer gave neither a score nor a word on why, or that answer is not in the archive as it was read.
    ``cost_usd`` is what is known of the calls that were answered, or failed and were billed. Those ``in_doubt`` may
    have cost ``in_doubt_usd`` more, None if nobody knows how much.
    """

    status: Literal["complete", "partial"]
    version: int
    root_sha256: str
    scored: int
    parked: int
    in_doubt: int
    cost_usd: float
    unpriced: int
    in_doubt_usd: float | None
    gaps: dict[Gap, list[int]]


def seal(session: Session, signing_key: Path | None = None) -> Sealed:
    """Write the next seal and return it; a session that has not changed since its last seal keeps that one.

    The seal is signed with the private key in the file ``signing_key``. Where that cannot be read any more, an unsigned
    seal is better than none: it is signed the next time that the session is sealed with a key.
    """
    key = _key(signing_key, session)
    gather(session.folder)
    covered = cover(session.folder, is_covered)
    file = newest_seal(session.store)
    if file is None or file.seal is None or file.seal.format < FORMAT or file.seal.files != covered.files:
        file = _write(session, file, covered, None if key is None else fingerprint(key.public_key()))
    assert file.seal is not None
    if key is not None and file.seal.signed_by in (None, fingerprint(key.public_key())):
        session.store.put_if_absent(layout.signature(file.version), sign(key, Path(file.name).name, file.bytes))
    _tell(session, file)
    if cover(session.folder, _is_note).files != {name: one for name, one in covered.files.items() if _is_note(name)}:
        return seal(session, signing_key)  # one was taken while the files were hashed; from now on none is
    return Sealed(**{field.name: getattr(file.seal, field.name) for field in fields(Sealed)})


def _write(session: Session, before: SealFile | None, covered: Covered, signed_by: str | None) -> SealFile:
    """Write the seal of the next version and return it."""
    costs = add_up(calls_of(session))
    gaps = _gaps(session)
    missing = sum(map(len, gaps.values()))
    version = before.version + 1 if before is not None else 1
    record = Seal(
        session=session.name,
        version=version,
        sealed_at=datetime.now(UTC).isoformat(),
        discernus_version=__version__,
        status="partial" if missing else "complete",
        scored=session.facts.analyses - missing,
        parked=missing,
        in_doubt=len(doubted(session)),
        cost_usd=costs.cost_usd or 0.0,
        unpriced=costs.unpriced,
        in_doubt_usd=costs.in_doubt_usd,
        gaps=gaps,
        previous_seal_sha256=before.sha256 if before is not None else None,
        signed_by=signed_by,
        root_sha256=covered.root(),
        **{name: getattr(covered, name) for name in Covered.model_fields},
    )
    session.store.put_if_absent(layout.seal(version), record.model_dump_json(indent=1).encode())
    return read_seal(session.store, version)


def _tell(session: Session, file: SealFile) -> None:
    """Let the chronolog, and then the session's status, say that this is its seal; saying it again changes nothing."""
    status = status_of(file)
    try:
        if session.store.get(layout.STATUS) == status:
            return
    except NotInStore:
        pass
    told = {"version", "root_sha256", "status", "scored", "parked", "in_doubt", "cost_usd"}
    facts: dict[str, Any] = file.seal.model_dump(include=told) if file.seal is not None else {}
    session.chronolog.note("sealed", seal_sha256=file.sha256, **facts)
    gather(session.folder)  # the end of a chain is held by nothing: with this line in two files, each holds the other
    _tell_project(session, file)
    session.store.put(layout.STATUS, status)


def _tell_project(session: Session, file: SealFile) -> None:
    """Let the project's chronolog tell of the seal, if the session is one of the project's and not a copy elsewhere."""
    projects_dir, project = projects_dir_of(session), session.facts.project
    if file.seal is not None and project_chronolog(projects_dir, project).is_file():
        told = {"version", "status", "scored", "parked", "in_doubt", "cost_usd"}
        facts = file.seal.model_dump(include=told)
        note_project_once(projects_dir, project, "session_finished", session=session.name, **facts)
        root = file.seal.root_sha256
        sealed = {"session": session.name, "version": file.version, "root_sha256": root, "seal_sha256": file.sha256}
        note_project_once(projects_dir, project, "session_sealed", **sealed)


def _key(path: Path | None, session: Session) -> Ed25519PrivateKey | None:
    """Return the key that is in the file, None if it cannot be had any more: it was there when the session began."""
    try:
        return None if path is None else read_private_key(path, projects_dir_of(session))
    except KeyUnusable as unusable:
        log.error("seal_not_signed", session=session.name, reason=str(unusable))
        return None


def _is_note(name: str) -> bool:
    return name == layout.LIMITS or name.startswith(f"{layout.WAITING}/")


def gaps_of(session: Session) -> dict[Gap, list[int]]:
    """Return the gaps that the newest seal names; an older seal, which only counts them, has them looked for anew."""
    file = newest_seal(session.store)
    named = file.seal.gaps if file is not None and file.seal is not None else None
    return _gaps(session) if named is None else named


def _gaps(session: Session) -> dict[Gap, list[int]]:
    """Return the plan's analyses that the store has nothing of, or nothing to go by, by what is the matter."""
    gaps: dict[Gap, list[int]] = {gap: [] for gap in get_args(Gap)}
    for number in range(1, session.facts.analyses + 1):
        gap = _gap(session, number)
        if gap is not None:
            gaps[gap].append(number)
    return gaps


def _gap(session: Session, number: int) -> Gap | None:
    extracted = session.extracted(number)
    if extracted is None:
        parked = session.parked(number)
        return "not_analysed" if parked is None or parked.released else "parked"
    try:
        archived(session, extracted.call)
    except ArchiveDamaged:
        return "damaged"
    return "no_score" if extracted.extraction.status == "none" else None
