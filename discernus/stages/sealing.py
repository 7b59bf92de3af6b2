"""Closing a version of a session: the hash of every file, one hash over them all, and a signature if there is a key."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, get_args

import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import ValidationError

from discernus import __version__
from discernus.sessions import layout
from discernus.sessions.archive import ArchiveDamaged
from discernus.sessions.chronologs.chronolog import gather, read_events
from discernus.sessions.chronologs.project_chronolog import note_project_once, project_chronolog
from discernus.sessions.costs import Costs, add_up
from discernus.sessions.integrity.manifests import (
    Checkpoint,
    Covered,
    Gap,
    Seal,
    Stage,
    cover,
    hash_files,
    is_covered,
    stage_of,
)
from discernus.sessions.integrity.redaction import read_redactions
from discernus.sessions.integrity.seals import FORMAT, SealFile, newest_seal, read_seal, status_of
from discernus.sessions.integrity.signing import KeyUnusable, fingerprint, read_private_key, sign
from discernus.sessions.integrity.succession import PASSING, REPEATED
from discernus.sessions.session import Session
from discernus.sessions.store import NotInStore
from discernus.stages.records import archived
from discernus.stages.spending import calls_of, doubted, projects_dir_of

log = structlog.get_logger()


@dataclass(frozen=True)
class Sealed:
    """A sealed version. ``complete``: every planned analysis was answered and gave scores, or said there are none.

    ``gaps`` has the plan numbers of those that did not, by what is the matter: it could not be had, nothing came of it
    at all, its answer gave neither a score nor a word on why, or that answer is not in the archive as it was read.
    ``cost_usd`` is what is known of the calls that were answered, or failed and were billed, None if nothing is. Those
    ``in_doubt`` may have cost ``in_doubt_usd`` more, None if nobody knows how much.
    """

    status: Literal["complete", "partial"]
    version: int
    root_sha256: str
    scored: int
    parked: int
    in_doubt: int
    cost_usd: float | None
    unpriced: int
    in_doubt_usd: float | None
    gaps: dict[Gap, list[int]]


class CannotSeal(ValueError):
    """Files that a stage has left are gone; the message names them, and says what to do."""


def seal(session: Session, signing_key: Path | None = None) -> Sealed:
    """Write the next seal and return it; a session that has not changed since its last seal keeps that one.

    The seal is signed with the private key in the file ``signing_key``. Where that cannot be read any more, an unsigned
    seal is better than none: it is signed the next time that the session is sealed with a key. Raises CannotSeal.
    """
    key = _key(signing_key, session)
    _refuse_where_files_are_gone(session)
    file = newest_seal(session.store)
    if file is not None and file.seal is not None and file.seal.format >= FORMAT:
        _finish(session, file, file.seal, key)
    gather(session.folder)
    covered = cover(session.folder, is_covered)
    if file is None or file.seal is None or file.seal.format < FORMAT or file.seal.files != covered.files:
        file = _write(session, file, covered, None if key is None else fingerprint(key.public_key()))
    assert file.seal is not None
    if key is not None and file.seal.signed_by in (None, fingerprint(key.public_key())):
        session.store.put_if_absent(layout.signature(file.version), sign(key, Path(file.name).name, file.bytes))
    _tell(session, file)
    if cover(session.folder, _is_note).files != {name: one for name, one in covered.files.items() if _is_note(name)}:
        return seal(session, signing_key)  # one was taken while the files were hashed; from now on none is
    return Sealed(**{field.name: getattr(file.seal, field.name) for field in fields(Sealed)})


def _refuse_where_files_are_gone(session: Session) -> None:
    """Raise CannotSeal if a file is gone that a stage's checkpoint lists, but for what passes and what was redacted."""
    taken = {one.name for redaction in read_redactions(session.store) for one in redaction.files}
    for stage in get_args(Stage):
        try:
            left = Checkpoint.model_validate_json(session.store.get(layout.checkpoint(stage)))
        except (NotInStore, ValidationError):
            continue
        gone = [
            name
            for name in left.files
            if not name.startswith(PASSING) and name not in taken and not session.store.exists(name)
        ]
        if gone:
            more = f" and {len(gone) - 1} more" if len(gone) > 1 else ""
            raise CannotSeal(
                f"{session.name} cannot be sealed: {gone[0]}{more} is gone, and {stage} had left it; restore it from "
                f"a copy, or make it anew: starter.py resume {session.facts.session} --from {stage}"
            )


def _finish(session: Session, file: SealFile, record: Seal, key: Ed25519PrivateKey | None) -> None:
    """Do for the newest seal what a crash came before: sign it, tell of it, and of what was computed again behind it.

    A restart repeats the last steps, and nobody has kept what they wrote before: without a word on it, that would pass
    for tampering.
    """
    events = list(read_events(session.folder))
    if not any(one.event == "sealed" and one.facts.get("seal_sha256") == file.sha256 for one in events):
        if key is not None and record.signed_by == fingerprint(key.public_key()):
            session.store.put_if_absent(layout.signature(file.version), sign(key, Path(file.name).name, file.bytes))
        _note(session, file)
    if any(one.event == "files_superseded" and one.facts.get("version") == file.version for one in events):
        return
    listed = {name: digest for name, digest in record.files.items() if stage_of(name) in REPEATED}
    now = hash_files(session.folder, list(listed))
    names = [name for name, digest in listed.items() if name in now and now[name].sha256 != digest]
    if names:
        session.chronolog.note("steps_repeated", version=file.version, names=names)


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
        parked=len(gaps["parked"]),
        in_doubt=len(doubted(session)),
        cost_usd=_known(costs, session),
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


def _known(costs: Costs, session: Session) -> float | None:
    """Return what is known of the cost: nothing where no call has a price; no call at all costs nothing."""
    if costs.cost_usd is None and (costs.unpriced or session.facts.migrated_from is not None):
        return None
    return costs.cost_usd or 0.0


def _tell(session: Session, file: SealFile) -> None:
    """Let the chronolog, and then the session's status, say that this is its seal; saying it again changes nothing."""
    status = status_of(file)
    try:
        if session.store.get(layout.STATUS) == status:
            return
    except NotInStore:
        pass
    _note(session, file)
    session.store.put(layout.STATUS, status)


def _note(session: Session, file: SealFile) -> None:
    """Let the chronolog, and then the project's, tell of the seal."""
    facts: dict[str, Any] = {}
    if file.seal is not None:
        facts = {"root_sha256": file.seal.root_sha256, **_counts(file.seal)}
    session.chronolog.note("sealed", seal_sha256=file.sha256, **facts)
    gather(session.folder)  # the end of a chain is held by nothing: with this line in two files, each holds the other
    _tell_project(session, file)


def _tell_project(session: Session, file: SealFile) -> None:
    """Let the project's chronolog tell of the seal, if the session is one of the project's and not a copy elsewhere."""
    projects_dir, project = projects_dir_of(session), session.facts.project
    if file.seal is not None and project_chronolog(projects_dir, project).is_file():
        note_project_once(projects_dir, project, "session_finished", session=session.name, **_counts(file.seal))
        root = file.seal.root_sha256
        sealed = {"session": session.name, "version": file.version, "root_sha256": root, "seal_sha256": file.sha256}
        note_project_once(projects_dir, project, "session_sealed", **sealed)


def _counts(seal: Seal) -> dict[str, Any]:
    """Return how the session stands, for a chronolog: what was given up apart from what never came to be asked."""
    gaps: dict[str, Any] = {gap: len(numbers) for gap, numbers in (seal.gaps or {}).items()}
    return {**seal.model_dump(include={"version", "status", "scored", "parked", "in_doubt", "cost_usd"}), **gaps}


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
