"""What crashes, full disks and hands have left of a session, and what of it can be put right without guessing.

A sealed session is written to only where that gives, to the byte, what its seal names. Nothing that may have been paid
for is ever thrown away: what cannot be placed is set aside. While somebody works on a session, what passes is normal.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from discernus.canonical import read_json
from discernus.sessions import layout
from discernus.sessions.archive import NOTED, ArchiveDamaged, ArchivedCall, Intent
from discernus.sessions.chronologs import segments
from discernus.sessions.chronologs.chronolog import gather, read_events
from discernus.sessions.chronologs.shared_file import torn_from
from discernus.sessions.costs import in_flight
from discernus.sessions.integrity.examination import examine
from discernus.sessions.integrity.findings import Finding
from discernus.sessions.integrity.manifests import Seal, is_temporary, names_in
from discernus.sessions.integrity.seals import newest_seal, status_of
from discernus.sessions.layout import Call
from discernus.sessions.owners import Onlooker, is_held
from discernus.sessions.resuming import why_unreadable
from discernus.sessions.session import Session
from discernus.sessions.store import NotInStore
from discernus.sessions.symptoms import Symptom

PATIENCE_S: Final = 600.0  # a file that is being written has another name for milliseconds only

# Files that no writer waits for the disk to keep, by the beginnings of their names, with how they are had again.
TORN_EASILY: Final = {
    f"{layout.EXTRACTED}/extracted_": "going on reads its answer again, at no cost",
    layout.LIMITS: "going on is told the limits again",
    f"{layout.WAITING}/": "going on meets the model's state again",
}

_METADATA = re.compile(r"metadata_(?P<call>.+?)(?:_try\d+)?\.json")


def symptoms(session: Session, onlooker: Onlooker) -> list[Symptom]:
    """Return everything in the session's folder that is not as it should be."""
    name = session.folder.name
    unreadable = why_unreadable(session)
    if unreadable is not None:
        what, cure = unreadable.what, "; ".join(unreadable.choices)
        return [Symptom("unreadable", layout.SESSION, what, "nothing can be done with it until then", cure, name)]
    return _status(session) or list(_Patient(session, onlooker).symptoms())


def _status(session: Session) -> list[Symptom]:
    """Return that the session's status cannot be read, if so; the chronolog and the seal tell which it was."""
    try:
        note = read_json(session.store.get(layout.STATUS))
        if isinstance(note["status"], str) and isinstance(note["reason"], str):
            return []
    except NotInStore:
        return []
    except (ValueError, LookupError, TypeError):
        pass
    mend = partial(_restore_status, session)
    what, means = "it cannot be read", "the seal and the chronolog tell what it said"
    cure = "it is written anew from what they tell"
    return [Symptom("torn file", layout.STATUS, what, means, cure, session.folder.name, mend=mend)]


def _restore_status(session: Session) -> None:
    status, reason = session.told_status()
    file = newest_seal(session.store)
    if file is not None and file.seal is not None and status == file.seal.status:
        session.store.put(layout.STATUS, status_of(file))
        return
    session.store.remove(layout.STATUS)
    session.note_status(status, reason)


class _Patient:
    """One session under examination."""

    def __init__(self, session: Session, onlooker: Onlooker) -> None:
        self.session = session
        self.store = session.store
        self.folder = session.folder
        self.onlooker = onlooker
        sealed = newest_seal(session.store) if session.is_sealed else None
        self.seal: Seal | None = sealed.seal if sealed is not None else None
        self.sealed = session.is_sealed
        self.records = list(self._records())

    def symptoms(self) -> Iterator[Symptom]:
        if self._is_busy():
            what, cure = "another process is at work on it", "look again when that has ended"
            yield self._symptom(
                "busy", layout.OWNER_LOCK, what, "only what never changes was looked at", cure, known=True
            )
            found: list[Symptom] = []
        else:
            found = [*self._unfinished(), *self._torn(), *self._torn_files(), *self._temporaries(), *self._intents()]
        found += self._answers()
        yield from found
        named = {one.place for one in found if not one.known}
        for one in examine(self.folder).findings:
            if named.isdisjoint((one.file, *one.involves)):
                yield self._as_symptom(one)

    def _is_busy(self) -> bool:
        if is_held(self.folder / layout.OWNER_LOCK):
            return True
        return any(in_flight(intent, self.onlooker) for _, intent in self._read_intents() if intent is not None)

    def _unfinished(self) -> Iterator[Symptom]:
        """Yield that the session has not ended, and that nobody is at work on it."""
        if not self.sealed:
            status, reason = self.session.noted_status()
            what = f"it is {status}{f' ({reason})' if reason else ''}, and nobody is at work on it"
            means, cure = "nothing is lost; it stands still", f"`starter.py resume {self.folder.name}` goes on with it"
            yield self._symptom("unfinished", layout.STATUS, what, means, cure, known=True)

    def _torn(self) -> Iterator[Symptom]:
        """Yield chronologs whose last line a crash has cut off, and that nobody has set aside yet."""
        noted = {event.facts.get("file") for event in read_events(self.folder) if event.event == "line_torn"}
        for name in (layout.CHRONOLOG, *(f"{layout.SEGMENTS}/{one}" for one in self.store.names(layout.SEGMENTS))):
            path = self.folder / name
            if not path.is_file() or (name != layout.CHRONOLOG and (name in noted or segments.is_being_written(path))):
                continue
            offset = torn_from(path)
            if offset is None:
                continue
            kept = self.seal.appended.get(name) if self.seal is not None else None
            mend = None if kept is not None and offset < kept.bytes else partial(gather, self.folder)
            yield self._symptom(
                "torn line",
                name,
                "a crash has cut off its last line",
                "one event at most is lost; answers and scores are not in it",
                "its bytes are set aside, and an event tells of them" if mend else "restore it from a copy",
                mend=_quietly(mend),
            )

    def _torn_files(self) -> Iterator[Symptom]:
        """Yield files that a power cut may tear, since nobody waits for the disk: what is in them is had again."""
        for beginning, again in TORN_EASILY.items():
            for name in (
                name for name in names_in(self.folder) if name.startswith(beginning) and not is_temporary(name)
            ):
                if _is_json(self.store.get(name)):
                    continue
                mend = partial(self._set_aside, name, self.store.get(name), partial(self.store.remove, name))
                cure = "restore it from a copy" if self.sealed else f"it is set aside; {again}"
                what, means = "it is torn: a power cut does that", "no answer is lost, for none is in it"
                yield self._symptom("torn file", name, what, means, cure, mend=None if self.sealed else mend)

    def _temporaries(self) -> Iterator[Symptom]:
        """Yield files that were being written when their writer died: an answer's may be all that is left of it."""
        for name in filter(is_temporary, names_in(self.folder)):
            path = self.folder / name
            if not path.is_file() or time.time() - path.stat().st_mtime < PATIENCE_S:
                continue
            data = path.read_bytes()
            call = self._answer_without_name(sha256(data).hexdigest())
            if call is not None and not self.sealed:
                what = f"it is, to the byte, the answer to call {call.call}, whose writer died before it had its name"
                cure = "it gets its name; nothing need be paid for again"
                name_it = partial(self._name_answer, call, data, path)
                yield self._symptom("lost answer", name, what, "it was paid for, and not scored", cure, mend=name_it)
            elif not data or self._is_elsewhere(path, data):
                means = (
                    "nobody reads it, and the same bytes have a name" if data else "it is empty, and nobody reads it"
                )
                what, cure = "it was left by a writer that was cut off", "it is removed"
                yield self._symptom("temporary file", name, what, means, cure, mend=path.unlink)
            else:
                what = "it was left by a writer that was cut off, and its bytes are nowhere else"
                aside = "it is set aside in fault_recovery/torn"
                cure = "look at it, and remove it yourself: a sealed session is not added to" if self.sealed else aside
                mend = None if self.sealed else partial(self._set_aside, name, data, path.unlink)
                yield self._symptom("temporary file", name, what, "nobody reads it", cure, mend=mend)

    def _answer_without_name(self, digest: str) -> ArchivedCall | None:
        found = (record for record in self.records if record.response_sha256 == digest)
        return next((one for one in found if not self.store.exists(Call.named(one.call).response)), None)

    def _name_answer(self, record: ArchivedCall, data: bytes, path: Path) -> None:
        call = Call.named(record.call)
        if self.store.put_if_absent(call.response, data):
            self.session.chronolog.note("call_answered", **record.model_dump(include=NOTED), scored=True)
            self.store.remove(call.intent(record.attempt))
        path.unlink()

    def _is_elsewhere(self, path: Path, data: bytes) -> bool:
        """Return whether a file beside it holds the same bytes under a name of its own."""
        others = (one for one in path.parent.iterdir() if one.is_file() and not is_temporary(one.name))
        return any(one.stat().st_size == len(data) and one.read_bytes() == data for one in others)

    def _intents(self) -> Iterator[Symptom]:
        for name, intent in self._read_intents():
            if intent is None:
                what, cure = "it cannot be read as an intent", "restore it from a copy"
                means = "a call was sent, and nobody can say which; it may have been paid for"
                yield self._symptom("intent", name, what, means, cure)
            elif self.session.archive.settled(intent):
                what = f"call {intent.call} has its answer or its error; its process died before it removed this"
                mend = None if self.sealed else partial(self.store.remove, name)
                yield self._symptom(
                    "intent", name, what, "nothing is in doubt", "it is removed", mend=mend, known=not mend
                )
            else:
                yield self._in_doubt(name, intent)

    def _in_doubt(self, name: str, intent: Intent) -> Symptom:
        what = (
            f"call {intent.call} to {intent.model} was sent at {intent.sent_at:%Y-%m-%d %H:%M} UTC, its process has "
            "died, and neither answer nor error came"
        )
        means = "it may have been paid for; it counts at its worst cost, and is named in the report"
        cure = f"the vendor's own account tells; `starter.py resume {self.folder.name}` asks again"
        if self.sealed:
            cure = "nothing: the sealed version accounts for it; the vendor's own account tells whether it was paid for"
        return self._symptom("call in doubt", name, what, means, cure, known=self.sealed)

    def _read_intents(self) -> Iterator[tuple[str, Intent | None]]:
        for one in self.store.names(layout.INTENTS):
            name = f"{layout.INTENTS}/{one}"
            try:
                yield name, Intent.model_validate_json(self.store.get(name))
            except NotInStore:
                continue
            except ValidationError:
                yield name, None

    def _answers(self) -> Iterator[Symptom]:
        """Yield answers that are gone, or that no metadata vouches for."""
        for call in sorted(self._calls(), key=lambda one: one.name):
            gone = not self.store.exists(call.response)
            if gone and any(
                self.store.exists(call.intent(one.attempt)) for one in self.records if one.call == call.name
            ):
                continue  # cut off before its commit: the intent tells
            try:
                if self.session.archive.look_up(call) is not None:
                    continue
                what = "it is gone, and its metadata is there"
            except ArchiveDamaged as damaged:
                what = str(damaged).removeprefix(f"{call.response} ")
                what = what if what[:2] == "is" else f"it is not what was archived: {what}"
            copy = self._from_mirror(call)
            means = "an answer that was paid for cannot be read; no score is read from it"
            if copy is None:
                cure = f"restore {call.response} and {call.metadata} from a copy of the session's folder"
                yield self._symptom("damaged answer", call.response, what, means, cure)
            else:
                name, data = copy
                cure = f"{name} is restored from the mirror, whose copy has the SHA-256 on record"
                mend = partial(self._restore, name, data)
                yield self._symptom("damaged answer", call.response, what, means, cure, mend=mend)

    def _calls(self) -> set[Call]:
        names = self.store.names(layout.ARCHIVE)
        answered = {
            name.removeprefix("response_").removesuffix(".txt") for name in names if name.startswith("response_")
        }
        described = {match["call"] for name in names if (match := _METADATA.fullmatch(name))}
        found = set()
        for name in answered | described:
            try:
                found.add(Call.named(name))
            except ValueError:  # a file of another name: the verification tells
                continue
        return found

    def _records(self) -> Iterator[ArchivedCall]:
        for name in self.store.names(layout.ARCHIVE):
            if _METADATA.fullmatch(name):
                try:
                    yield self.session.archive.record(f"{layout.ARCHIVE}/{name}")
                except (NotInStore, ValueError):
                    continue

    def _from_mirror(self, call: Call) -> tuple[str, bytes] | None:
        """Return the file of a damaged answer that the mirror has as it was, by a hash that lies in the session."""
        mirror = self.session.archive.mirror
        if mirror is None:
            return None
        try:
            response, metadata = mirror.get(call.response), mirror.get(call.metadata)
            record = ArchivedCall.model_validate_json(metadata)
        except (NotInStore, ValidationError):
            return None
        digests = {one.response_sha256 for one in self.records if one.call == call.name}
        if sha256(response).hexdigest() in digests:
            return self._as_sealed(call.response, response)
        own = sha256(self.store.get(call.response)).hexdigest() if self.store.exists(call.response) else None
        if own is not None and record.call == call.name and record.response_sha256 == own:
            return self._as_sealed(call.metadata, metadata)
        return None

    def _as_sealed(self, name: str, data: bytes) -> tuple[str, bytes] | None:
        if self.sealed and (self.seal is None or self.seal.files.get(name) != sha256(data).hexdigest()):
            return None
        return name, data

    def _restore(self, name: str, data: bytes) -> None:
        """Put a file back as it was; what stands in its place is set aside, but in a sealed session."""
        if self.store.exists(name) and not self.sealed:
            self._set_aside(name, self.store.get(name), lambda: None)
        self.store.put(name, data)

    def _set_aside(self, name: str, data: bytes, remove: Callable[[], object]) -> None:
        self.store.put_if_absent(layout.torn(name, 0), data)
        remove()

    def _as_symptom(self, one: Finding) -> Symptom:
        cure = f"`starter.py verify {self.folder.name}` tells all; restore what is damaged from a copy"
        return self._symptom(one.kind, one.place, one.what, one.means, cure)

    def _symptom(
        self,
        kind: str,
        place: str,
        what: str,
        means: str,
        cure: str,
        *,
        known: bool = False,
        mend: Callable[[], None] | None = None,
    ) -> Symptom:
        return Symptom(kind, place, what, means, cure, self.folder.name, known, mend)


def _quietly(mend: Callable[[], object] | None) -> Callable[[], None] | None:
    """Return the repair without what it returns."""
    if mend is None:
        return None

    def mended() -> None:
        mend()

    return mended


def _is_json(data: bytes) -> bool:
    try:
        read_json(data)
    except ValueError:
        return False
    return True
