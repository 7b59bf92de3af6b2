"""Erasing a text from a session, where it lies: the document, its prompts, and every quotation of it, on legal request.

What is left is made apart first, and searched. Then the record of it is written, then each file is replaced, the text
itself last: an erasure that was cut off is taken up by doing it again.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from discernus.experiments.corpus import Document
from discernus.experiments.freezing import MANIFEST, frozen_name, taken_out, taken_out_of
from discernus.packages.withholding import copy_without
from discernus.packages.workbench import models_file_at, place_for
from discernus.sessions import layout
from discernus.sessions.layout import Call
from discernus.sessions.opening import HIDDEN
from discernus.sessions.owners import Lock
from discernus.sessions.project_chronolog import note_project, read_project_events
from discernus.sessions.redaction import Redaction, record_redaction
from discernus.sessions.session import ERASED, Parked, Session
from discernus.sessions.store import TEMPORARY_PREFIX, LocalStore, NotInStore
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


def is_erased(session: Session, document: Document) -> bool:
    """Return whether the document's text was taken out before."""
    return document.id in taken_out_of(session.definition)


def erase(session: Session, document: Document, reason: str, signing_key: Path | None = None) -> Erased:
    """Take the document's text and every quotation of it out of the session; a sealed session is sealed anew.

    Raises CannotErase while the session is at work, or where it was done before; CannotWithhold, which changes nothing.
    """
    lock = Lock(session.folder / layout.OWNER_LOCK)
    if not lock.acquire():
        raise CannotErase(f"{session.name} is at work; wait for its end, or stop it, then erase again")
    try:
        if is_erased(session, document):
            raise CannotErase(f"the text of '{document.id}' was erased from {session.name} before")
        redaction, record = _replace_files(session, document, reason)
        _give_up_what_is_unanswered(session, document, reason)
        session.chronolog.note(
            "text_redacted", kind="erasure", record=record, documents=[document.id], files=len(redaction.files)
        )
        session.chronolog.flush()
        sealed = seal(session, signing_key) if session.store.exists(layout.seal(1)) else None
    finally:
        lock.release()
    projects_dir = projects_dir_of(session)
    shutil.rmtree(projects_dir / INDEX, ignore_errors=True)
    note_project(
        projects_dir, session.facts.project, "session_redacted", session=session.name, kind="erasure", record=record
    )
    return Erased(record, len(redaction.files), redaction.unreadable, redaction.quoted_still, sealed)


def _replace_files(session: Session, document: Document, reason: str) -> tuple[Redaction, str]:
    """Put what is left of each file in its place, and return the record with its name."""
    projects_dir, text = projects_dir_of(session), frozen_name(document)
    with TemporaryDirectory(prefix="erasing-", dir=_workplace(projects_dir)) as temporary:
        copy = place_for(session.facts, Path(temporary), models_file_at(projects_dir))
        redaction = copy_without(session, copy, (document,), kind="erasure", reason=reason)
        record = record_redaction(session.store, redaction)
        left = LocalStore(copy)
        names = dict.fromkeys(one.name for one in redaction.files if session.store.exists(one.name))
        for name in sorted(names, key=lambda name: (name == text, name)):
            try:
                session.store.put(name, left.get(name))
            except NotInStore:
                session.store.remove(name)
    for remains in session.folder.rglob(f"{TEMPORARY_PREFIX}*"):  # of a writer that was cut off; nobody reads them
        remains.unlink()
    return redaction, record


def _workplace(projects_dir: Path) -> Path:
    """Return where copies are worked on: on the same disk, where nobody takes them for sessions."""
    folder = projects_dir / HIDDEN
    folder.mkdir(exist_ok=True)
    return folder


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
            package = str(event.facts.get("package"))
            there = "" if Path(package).exists() else " (not here any more)"
            yield Elsewhere(package + there, f"a package of {event.at:%Y-%m-%d}", "remove or withdraw it, export again")
