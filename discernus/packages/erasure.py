"""Erasing a text from a session, where it lies: the document, its prompts, and every quotation of it, on legal request.

What is left is made apart first, and searched. Then the record of it is written, then each file is replaced, the text
itself last, and a sealed session is sealed anew. An erasure that was cut off is carried on by doing it again.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

from pydantic import ValidationError

from discernus.experiments.corpus import Document
from discernus.experiments.freezing import MANIFEST, frozen_name, taken_out, taken_out_of
from discernus.packages.withholding import copy_without
from discernus.packages.workbench import models_file_at, place_for
from discernus.sessions import layout
from discernus.sessions.chronologs.chronolog import read_events
from discernus.sessions.chronologs.project_chronolog import note_project_once, read_project_events
from discernus.sessions.integrity.examination import examine
from discernus.sessions.integrity.findings import Finding
from discernus.sessions.integrity.redaction import Redaction, record_redaction
from discernus.sessions.integrity.seals import newest_seal, status_of
from discernus.sessions.integrity.signing import KeyUnusable, read_private_key
from discernus.sessions.layout import Call
from discernus.sessions.opening import HIDDEN
from discernus.sessions.owners import Lock
from discernus.sessions.session import ERASED, Parked, Session
from discernus.sessions.store import TEMPORARY_PREFIX, LocalStore, NotInStore, Store
from discernus.stages.sealing import Sealed, seal
from discernus.stages.spending import projects_dir_of

INDEX = f"{HIDDEN}/index"  # of conversations; made anew when it is next asked


class CannotErase(Exception):
    """A text that cannot be erased now; the message says why and what to do."""


@dataclass(frozen=True)
class Elsewhere:
    """Another place that holds the text, which an erasure here leaves as it is; ``cure`` says what to do there."""

    place: str
    what: str
    cure: str


@dataclass(frozen=True)
class Erased:
    """What was done: the record, how many files are others or gone, and the version that was sealed after it."""

    record: str
    files: int
    unreadable: tuple[str, ...]
    quoted_still: tuple[str, ...]
    sealed: Sealed | None


def document_of(session: Session, document: str) -> Document:
    """Return the document of that id; CannotErase if there is none."""
    found = {one.id: one for one in session.definition.documents}
    if document not in found:
        raise CannotErase(f"{session.name} has no document '{document}'; its ids are in {MANIFEST}")
    return found[document]


@dataclass(frozen=True)
class _Begun:
    """An erasure that has its record; ``prepared`` is a folder with what is to stand in the place of each file."""

    record: str
    redaction: Redaction
    prepared: Path


def is_erased(session: Session, document: Document) -> bool:
    """Return whether the document's text was taken out before, and a sealed session was sealed anew after it."""
    return document.id in taken_out_of(session.definition) and _begun(session, document) is None


def erase(session: Session, document: Document, reason: str, signing_key: Path | None = None) -> Erased:
    """Take the document's text and every quotation of it out of the session; a sealed session is sealed anew.

    Raises CannotErase while the session is at work, where it was done before, where the session is not what was sealed,
    or the key cannot sign; CannotWithhold, which changes nothing. CannotErase at the end as well, where what came of it
    does not verify: the text is gone then, and something else was damaged.
    """
    _check_key(session, signing_key)
    lock = Lock(session.folder / layout.OWNER_LOCK)
    if not lock.acquire():
        raise CannotErase(f"{session.name} is at work; wait for its end, or stop it, then erase again")
    try:
        if is_erased(session, document):
            raise CannotErase(f"the text of '{document.id}' was erased from {session.name} before")
        begun = _begun(session, document)
        before = examine(session.folder).findings
        if session.is_sealed:
            _refuse_if_altered(session, begun, before)
        if begun is None or not _is_at_hand(session, begun):
            begun = _prepare(session, document, reason)
        _tell(session, document, begun)
        _replace_files(session, document, begun)
        sealed = seal(session, signing_key) if session.is_sealed else None
        shutil.rmtree(begun.prepared.parent)
    finally:
        lock.release()
    _refuse_unless_intact(session, () if sealed is not None else before)
    redaction = begun.redaction
    return Erased(begun.record, len(redaction.files), redaction.unreadable, redaction.quoted_still, sealed)


def _check_key(session: Session, signing_key: Path | None) -> None:
    """Refuse a key before anything is changed that could not sign the seal after it."""
    try:
        if signing_key is not None:
            read_private_key(signing_key, projects_dir_of(session))
    except KeyUnusable as unusable:
        raise CannotErase(f"nothing was erased: {unusable}; or unset DISCERNUS_SIGNING_KEY") from unusable


def _refuse_if_altered(session: Session, begun: _Begun | None, findings: Sequence[Finding]) -> None:
    """Refuse a sealed session that is not what was sealed, but for what this very erasure has changed before."""
    altered = [one for one in findings if begun is None or not _is_ours(session, begun, one)]
    if altered:
        raise CannotErase(
            f"nothing was erased: {session.name} is not what was sealed ({_named(altered)}); "
            "a new seal would vouch for that: `verify` names every file; restore them from a copy, then erase again"
        )


def _refuse_unless_intact(session: Session, before: Sequence[Finding]) -> None:
    """Refuse to call an erasure done that a verification does not accept; what was found ``before`` is none of its."""
    known = {one.place for one in before}
    found = [one for one in examine(session.folder).findings if one.place not in known]
    if found:
        raise CannotErase(
            f"the text was taken out of {session.name}, which does not verify now ({_named(found)}); "
            "`verify` names every file: pass nothing of it on before that is mended"
        )


def _named(findings: Sequence[Finding]) -> str:
    more = f", and {len(findings) - 1} more" if len(findings) > 1 else ""
    return f"{findings[0].place}: {findings[0].what}{more}"


def _is_ours(session: Session, begun: _Begun, found: Finding) -> bool:
    """Return whether a finding comes of the erasure's having been cut off: among its files, or in its seal."""
    gone = begun.redaction.documents
    parked = (layout.parked(one.number) for one in session.plan if one.document in gone)
    if found.file in (begun.record, *(one.name for one in begun.redaction.files), *parked):
        return True
    newest = newest_seal(session.store)
    sealed_by_us = newest is not None and newest.seal is not None and begun.record in newest.seal.files
    return newest is not None and sealed_by_us and newest.name in found.involves


def _begun(session: Session, document: Document) -> _Begun | None:
    """Return the newest erasure of the document that was cut off, None if there is none.

    It is at its end when the text is taken out of a session under way, or a seal of which the status tells lists it.
    """
    if not session.is_sealed and document.id in taken_out_of(session.definition):
        return None
    newest = newest_seal(session.store)
    told = newest is not None and newest.seal is not None and _status(session) == status_of(newest)
    listed = newest.seal.files if newest is not None and newest.seal is not None and told else {}
    for name in reversed(session.store.names(layout.REDACTIONS)):
        record = f"{layout.REDACTIONS}/{name}"
        try:
            redaction = Redaction.model_validate_json(session.store.get(record))
        except ValidationError:  # altered, and `verify` names it
            continue
        if redaction.kind == "erasure" and document.id in redaction.documents and record not in listed:
            return _Begun(record, redaction, _workplace(session) / "session")
    return None


def _status(session: Session) -> bytes | None:
    try:
        return session.store.get(layout.STATUS)
    except NotInStore:
        return None


def _is_at_hand(session: Session, begun: _Begun) -> bool:
    """Return whether what has to be put in the place of the files that are left is there, as the record has it."""
    prepared = LocalStore(begun.prepared)
    return all(digest is None or _digest(prepared, name) == digest for name, digest in _left(session, begun).items())


def _left(session: Session, begun: _Begun) -> dict[str, str | None]:
    """Return the files that are still what they were, each with the SHA-256 of what is to be there, None: nothing."""
    return {
        one.name: one.replaced_by for one in begun.redaction.files if _digest(session.store, one.name) == one.sha256
    }


def _digest(store: Store, name: str) -> str | None:
    try:
        return sha256(store.get(name)).hexdigest()
    except NotInStore:
        return None


def _prepare(session: Session, document: Document, reason: str) -> _Begun:
    """Make what is left of each file, and then the record; what was made is there as a whole, or not at all."""
    work, projects_dir = _workplace(session), projects_dir_of(session)
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    with TemporaryDirectory(prefix="making-", dir=work) as temporary:
        copy = place_for(session.facts, Path(temporary), models_file_at(projects_dir))
        redaction = copy_without(session, copy, (document,), kind="erasure", reason=reason)
        os.sync()  # the record promises these bytes: a power cut must not leave it without them
        copy.rename(work / "session")
    os.sync()
    return _Begun(record_redaction(session.store, redaction), redaction, work / "session")


def _workplace(session: Session) -> Path:
    """Return where what is left is made: on the same disk, where nobody takes it for a session."""
    return projects_dir_of(session) / HIDDEN / "erasing" / session.name.replace("/", ".")


def _tell(session: Session, document: Document, begun: _Begun) -> None:
    """Let the chronologs tell of it before a file is another one, and the index forget the words."""
    told = (one.facts.get("record") for one in read_events(session.folder) if one.event == "text_redacted")
    if begun.record not in told:
        facts = {"documents": [document.id], "files": len(begun.redaction.files)}
        session.chronolog.note("text_redacted", kind="erasure", record=begun.record, **facts)
        session.chronolog.flush()
    projects_dir, project = projects_dir_of(session), session.facts.project
    facts = {"session": session.name, "kind": "erasure", "record": begun.record}
    note_project_once(projects_dir, project, "session_redacted", **facts)
    shutil.rmtree(projects_dir / INDEX, ignore_errors=True)


def _replace_files(session: Session, document: Document, begun: _Begun) -> None:
    """Put what is left of each file in its place, the text last: while that is there, the erasure is not at its end."""
    left, text, prepared = _left(session, begun), frozen_name(document), LocalStore(begun.prepared)
    for name in sorted(left.keys() - {text}):
        _replace(session, name, prepared)
    for remains in session.folder.rglob(f"{TEMPORARY_PREFIX}*"):  # of a writer that was cut off; nobody reads them
        remains.unlink()
    _give_up_what_is_unanswered(session, document, begun.redaction.reason)
    if text in left:
        _replace(session, text, prepared)


def _replace(session: Session, name: str, prepared: LocalStore) -> None:
    try:
        session.store.put(name, prepared.get(name))
    except NotInStore:
        session.store.remove(name)


def _give_up_what_is_unanswered(session: Session, document: Document, reason: str) -> None:
    """Park the document's analyses that have no scores: what stands in the text's place is not to be analysed."""
    for analysis in session.plan:
        if analysis.document == document.id and session.extracted(analysis.number) is None:
            session.park(
                Parked(
                    number=analysis.number,
                    call=Call(analysis.number).name,
                    error_class=ERASED,
                    reason=f"the text was erased: {reason}",
                    passing=False,
                    passes=2,
                    failures=0,
                    at=datetime.now(UTC),
                )
            )


# where else the text is


def elsewhere(session: Session, document: Document) -> list[Elsewhere]:
    """Return every other place of this machine that is known to hold the text, or words of it."""
    projects_dir = projects_dir_of(session)
    return [
        *_live_files(projects_dir, session, document),
        *_other_sessions(projects_dir, session, document),
        *_asked_again(session),
        *_copies(session),
        *_packages(projects_dir, session),
    ]


def _live_files(projects_dir: Path, session: Session, document: Document) -> Iterator[Elsewhere]:
    path = projects_dir / session.facts.source / session.definition.experiment.corpus / document.file
    if path.is_file():
        yield Elsewhere(str(path), "the author's own file", "remove it, or the next session reads it again")


def _other_sessions(projects_dir: Path, session: Session, document: Document) -> Iterator[Elsewhere]:
    for manifest in sorted(projects_dir.glob(f"*/experiments/*/sessions/*/{MANIFEST}")):
        if manifest.parent.resolve() == session.folder.resolve():
            continue
        for name, file in _held(manifest, document.sha256):
            other = manifest.parent
            if (other / "corpus" / file).is_file() and not _is_taken_out(other / "corpus" / file, document.sha256):
                whole = "/".join((other.parents[3].name, other.parents[1].name, other.name))
                yield Elsewhere(str(other), "a session on the same text", f"erase {whole} '{name}' --reason …")


def _held(manifest: Path, sha256: str) -> list[tuple[str, str]]:
    """Return id and file of each document of a manifest that has that hash; none where it cannot be read."""
    try:
        documents = json.loads(manifest.read_bytes())["documents"]
        return [(str(one["id"]), str(one["file"])) for one in documents if one["sha256"] == sha256]
    except (OSError, ValueError, LookupError, TypeError):
        return []


def _is_taken_out(path: Path, sha256: str) -> bool:
    return path.read_bytes() == taken_out(sha256).encode()


def _asked_again(session: Session) -> Iterator[Elsewhere]:
    folder = session.folder.parents[1] / "asked_again" / session.folder.name
    if folder.is_dir():
        yield Elsewhere(str(folder), "answers that were asked for again", "remove what is about this document")


def _copies(session: Session) -> Iterator[Elsewhere]:
    mirror = session.archive.mirror
    if isinstance(mirror, LocalStore) and mirror.root.is_dir():
        yield Elsewhere(str(mirror.root), "the mirror of the archive", "remove the session's copy there")
    if session.facts.migrated_from is not None:
        yield Elsewhere(session.facts.migrated_from, "what the session was migrated from", "erase the text there")


def _packages(projects_dir: Path, session: Session) -> Iterator[Elsewhere]:
    for event in read_project_events(projects_dir, session.facts.project):
        if event.event == "session_exported" and event.facts.get("session") == session.name:
            yield Elsewhere(
                str(event.facts.get("package")),
                f"a package of {event.at:%Y-%m-%d}",
                "remove or withdraw it, export again",
            )
