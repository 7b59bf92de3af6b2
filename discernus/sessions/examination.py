"""Whether a session is what it was: every file against its seal, its chronolog, its signature, and the other files.

Nothing but the folder is read, and nothing in it is written. While a session is under way, what may never change is
held against the last seal, and what a stage left against its checkpoint.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from pydantic import ValidationError

from discernus.experiments.freezing import EXPERIMENT_SNAPSHOT, FRAMEWORK_SNAPSHOT, MANIFEST
from discernus.sessions import layout
from discernus.sessions.chronolog import read_events
from discernus.sessions.chronolog_check import check
from discernus.sessions.consistency import CORPUS, Files, inconsistencies
from discernus.sessions.differences import changed_appended, changed_files
from discernus.sessions.events import Event, GatheredEvent
from discernus.sessions.findings import Declared, Finding, Uncovered, Verification, finding
from discernus.sessions.integrity import (
    LOGS,
    SEALS,
    Checkpoint,
    Covered,
    Hashed,
    hash_files,
    is_covered,
    is_lock,
    is_temporary,
    links_in,
    names_in,
)
from discernus.sessions.project_chronolog import check_project, project_chronolog, read_project_events
from discernus.sessions.redaction import Redaction
from discernus.sessions.seals import (
    FORMAT,
    SealFile,
    Signed,
    chain_findings,
    read_seal,
    signed,
    status_of,
    told_of,
    told_outside,
    versions_sealed,
)
from discernus.sessions.store import LocalStore

UNREDACTABLE = (
    SEALS,
    f"{layout.STATE}/stage_",
    f"{layout.SEGMENTS}/",
    f"{layout.REDACTIONS}/",
    layout.CHRONOLOG,
    layout.SESSION,
)
FROZEN = (EXPERIMENT_SNAPSHOT, FRAMEWORK_SNAPSHOT, MANIFEST, CORPUS, layout.SETTINGS, layout.SESSION)
LASTING = (f"{layout.ARCHIVE}/", f"{layout.CLOSURES}/", f"{layout.REDACTIONS}/", f"{layout.SUPERSEDED}/", *FROZEN)
PASSING = (f"{layout.INTENTS}/", f"{layout.PARKED}/", f"{layout.WAITING}/")  # may go once a stage is complete
OUT_OF_FORMAT_1 = (LOGS, f"{layout.WAITING}/", layout.LIMITS, f"{layout.SEGMENTS}/", layout.CHRONOLOG)
_SUPERSEDED = re.compile(rf"{layout.SUPERSEDED}/seal_(?P<version>\d+)/(?P<name>.+)")


def is_session(folder: Path) -> bool:
    """Return whether the folder is a session's, or what is left of one."""
    return (folder / layout.SESSION).is_file() or (
        (folder / layout.STATE).is_dir() and (folder / layout.ARCHIVE).is_dir()
    )


def examine(folder: Path, public_key: Ed25519PublicKey | None = None, *, packaged: bool = False) -> Verification:
    """Return what can be proved of the session in the folder; ``public_key`` must have signed its newest seal.

    A package may have texts withheld by a record that no seal covers; in a session, the seal has to cover the record.
    """
    found = _Examination(folder.resolve(), public_key, packaged=packaged).result()
    if found.state == "sealed" or not found.findings:
        return found
    # somebody may have been writing: what was half there then is whole by now
    again = _Examination(folder.resolve(), public_key, packaged=packaged).result()
    places = {one.place for one in found.findings}
    return replace(again, findings=tuple(one for one in again.findings if one.place in places))


class _Examination:
    """One session being verified: what was found in its folder, each thing read once."""

    def __init__(self, folder: Path, public_key: Ed25519PublicKey | None, *, packaged: bool) -> None:
        self.folder = folder
        self.public_key = public_key
        self.packaged = packaged
        self.events = list(read_events(folder))  # first: what they tell of is there before them
        self.hashed: Mapping[str, Hashed] = hash_files(folder, names_in(folder))
        store = LocalStore(folder)
        self.seals = [read_seal(store, version) for version in versions_sealed(store)]

    @cached_property
    def newest(self) -> SealFile | None:
        return self.seals[-1] if self.seals else None

    @cached_property
    def status(self) -> str | None:
        """What the session's status says of itself; None if that cannot be read."""
        try:
            return str(json.loads((self.folder / layout.STATUS).read_bytes())["status"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    @cached_property
    def under_way(self) -> bool:
        """Whether work goes on, or was cut off: by the status, which the chronolog has to bear out after a seal."""
        if self.status in ("running", "paused"):
            return not self.seals or not self.events or self._went_on()
        return not self.seals and self.status not in ("complete", "partial")

    def _went_on(self) -> bool:
        told = [event for event in self.events if event.event in ("sealed", "status_noted", "files_superseded")]
        return bool(told) and told[-1].event != "sealed"

    @cached_property
    def signed(self) -> Signed:
        if self.newest is not None:
            return signed(self.folder, self.newest, self.public_key)
        missing = finding("unsigned", layout.seal(1), "there is no seal yet, and a signature is asked for")
        return Signed(None, (missing,) if self.public_key is not None else ())

    @cached_property
    def declared(self) -> list[Declared]:
        found = []
        for name in self._below(f"{layout.REDACTIONS}/"):
            try:
                redaction = Redaction.model_validate_json((self.folder / name).read_bytes())
            except ValidationError:
                continue
            found.append(Declared(name, redaction, self._is_sealed(name)))
        return found

    @cached_property
    def _replaced(self) -> dict[tuple[str, str], str | None]:
        """What redactions put in the place of a file with a hash; those that nothing vouches for do not count."""
        return {
            (one.name, one.sha256): one.replaced_by
            for declared in self.declared
            if declared.sealed or self.packaged or self.under_way
            for one in declared.redaction.files
            if not one.name.startswith(UNREDACTABLE)
        }

    def accepts(self, name: str, before: str, now: str | None) -> bool:
        """Return whether redactions account for a file's having another hash, or being gone."""
        digest: str | None = before
        for _ in range(len(self.declared)):
            if digest is None or (name, digest) not in self._replaced:
                return False
            digest = self._replaced[name, digest]
            if digest == now:
                return True
        return False

    def result(self) -> Verification:
        first = [*self._links(), *self._seals(), *self._files(), *self._notes(), *self._chronolog()]
        named = {one.file for one in first}
        second = [one for one in self._agreement() if not named.intersection((one.file, *one.involves))]
        seal = self.newest.seal if self.newest is not None else None
        return Verification(
            name=self._name(),
            state="under_way" if self.under_way else "sealed",
            version=self.newest.version if self.newest is not None else None,
            sealed_at=seal.sealed_at if seal is not None else None,
            signed_by=self.signed.by,
            files=len(self.hashed),
            findings=_each_once([*first, *second]),
            redactions=tuple(self.declared),
            uncovered=tuple(self._uncovered()),
            packaged=self.packaged,
        )

    def _name(self) -> str:
        """Return the session's whole name, as its facts say, or else its newest seal; its folder's if neither does."""
        try:
            facts = json.loads((self.folder / layout.SESSION).read_bytes())
            return "/".join((facts["project"], facts["experiment"], facts["session"]))
        except (OSError, ValueError, KeyError, TypeError):
            seal = self.newest.seal if self.newest is not None else None
            return seal.session if seal is not None else self.folder.name

    def _links(self) -> Iterator[Finding]:
        for name in links_in(self.folder):
            yield finding("altered", name, "it is a link to something that may lie elsewhere, and change there")

    def _seals(self) -> Iterator[Finding]:
        yield from chain_findings(self.seals)
        yield from told_of(self.seals, [event for event in self.events if isinstance(event, GatheredEvent)])
        yield from told_outside(self.seals, self._name(), self._project_events, self._project_file.name)
        known = {name for file in self.seals for name in (file.name, layout.signature(file.version))}
        for name in self._below(SEALS):
            if name not in known:
                yield finding("added", name, "it belongs to no seal")

    @cached_property
    def _project_file(self) -> Path:
        above = self.folder.parents
        return project_chronolog(above[4], above[3].name) if len(above) > 5 else self.folder / "none"

    @cached_property
    def _project_events(self) -> list[Event]:
        if self.packaged or not self._project_file.is_file():
            return []
        return read_project_events(self.folder.parents[4], self.folder.parents[3].name)

    def _files(self) -> Iterator[Finding]:
        """Yield what is not as the newest seal lists it, or as the checkpoints do where that does not hold any more."""
        seal = self.newest.seal if self.newest is not None else None
        if self.under_way:
            if seal is not None:
                lasting = {name: digest for name, digest in seal.files.items() if self._lasts(name, seal)}
                yield from self._changed(Covered(files=lasting, appended=seal.appended, lines=seal.lines))
            yield from self._checkpoints()
        elif seal is not None:
            yield from self._changed(seal)
            for name in self.hashed:
                if is_covered(name) and not self._is_sealed(name) and not self._may_be_new(name, seal.format):
                    yield finding("added", name, "the seal does not list it")
        for name in self._below(f"{layout.SUPERSEDED}/"):
            yield from self._superseded(name)

    def _changed(self, listed: Covered) -> Iterator[Finding]:
        yield from changed_files(self.folder, listed, self.hashed, self.accepts)
        yield from changed_appended(self.folder, listed, self.hashed)

    def _may_be_new(self, name: str, format_: int) -> bool:
        """Return whether a file that the seal does not list may have come since: what goes on growing does by files."""
        if format_ < FORMAT and name.startswith(OUT_OF_FORMAT_1):
            return True
        if name.startswith(f"{layout.REDACTIONS}/"):
            return self.packaged
        return name.startswith(LOGS) or (name.startswith(f"{layout.SEGMENTS}/") and name.endswith(".jsonl"))

    def _lasts(self, name: str, seal: Covered) -> bool:
        """Return whether a sealed file stays as it is though the session goes on."""
        if name.startswith(f"{layout.ARCHIVE}/request_"):  # asked anew, with other words, where no answer came
            return name.replace("/request_", "/response_").replace(".json", ".txt") in seal.files
        return name.startswith(LASTING) and name != layout.CALL_LOG

    def _checkpoints(self) -> Iterator[Finding]:
        for name in self._below(f"{layout.STATE}/stage_"):
            data = (self.folder / name).read_bytes()
            try:
                left = Checkpoint.model_validate_json(data)
            except ValidationError:
                if b'"format": 1' not in data:  # which held no hashes
                    yield finding("altered", name, "it cannot be read as a stage's checkpoint")
                continue
            if left.root() != left.root_sha256:
                yield finding("altered", name, "its root is not that of the files that it lists")
            kept = {one: digest for one, digest in left.files.items() if not one.startswith(PASSING)}
            yield from changed_files(self.folder, Covered(files=kept, lines=left.lines), self.hashed, self.accepts)

    def _superseded(self, name: str) -> Iterator[Finding]:
        match = _SUPERSEDED.fullmatch(name)
        sealed = {file.version: file.seal for file in self.seals}.get(int(match["version"])) if match else None
        if match is None or sealed is None:
            yield finding("added", name, "it belongs to no seal")
            return
        digest, now = sealed.files.get(match["name"]), self.hashed[name].sha256
        if digest != now and not (digest and self.accepts(match["name"], digest, now)):
            yield finding("altered", name, f"seal {match['version']} lists it otherwise")

    def _notes(self) -> Iterator[Finding]:
        """Yield what is wrong with what no seal lists: the status, locks, records of redactions that cannot be read."""
        if not self.under_way:
            yield from self._status_findings()
        for name in self.hashed:
            if is_lock(name) and self.hashed[name].bytes:
                yield finding("altered", name, "it is a lock, which is always empty")
        readable = {one.record for one in self.declared}
        for name in self._below(f"{layout.REDACTIONS}/"):
            if name not in readable:
                yield finding("altered", name, "it cannot be read as the record of a redaction")

    def _status_findings(self) -> Iterator[Finding]:
        file = self.newest
        if file is None:
            yield finding(
                "removed", layout.seal(1), f"it is gone, and {layout.STATUS} says that the session was sealed"
            )
        elif file.seal is None:
            return
        elif layout.STATUS not in self.hashed:
            yield finding("removed", layout.STATUS, "it is gone", by=[file.name])
        elif file.seal.format < FORMAT:
            if self.status != file.seal.status:
                yield finding("altered", layout.STATUS, f"the seal says {file.seal.status}", by=[file.name])
        elif (self.folder / layout.STATUS).read_bytes() != status_of(file):
            what = f"it does not say what follows from {file.name}"
            if self.status in ("running", "paused"):
                what = f"it says {self.status}, and the chronolog tells of no work since the sealing"
            yield finding("altered", layout.STATUS, what, by=[file.name])

    def _chronolog(self) -> Iterator[Finding]:
        for flaw in check(self.folder):
            name, _, line = flaw.place.rpartition(":")
            yield finding(flaw.kind, name, flaw.what, line=int(line))

    def _agreement(self) -> Iterator[Finding]:
        """Yield where files do not agree with each other, with their signature, or with the chronolog."""
        yield from self.signed.findings
        for file in self.seals[:-1]:
            yield from signed(self.folder, file, None).findings
        files = Files(self.folder, self.hashed, self.accepts)
        yield from inconsistencies(files)
        for event in self.events:
            digest = event.facts.get("response_sha256")
            if event.event == "call_answered" and event.facts.get("scored") and isinstance(digest, str):
                name = f"{layout.ARCHIVE}/response_{event.facts.get('call')}.txt"
                if name not in self.hashed and not self.accepts(name, digest, None):
                    yield finding("removed", name, "it is gone, and the chronolog tells of it")
                elif not files.is_still(name, digest):
                    yield finding("altered", name, "the chronolog has another SHA-256 of it")

    def _uncovered(self) -> Iterator[Uncovered]:
        seal = self.newest.seal if self.newest is not None else None
        if self.under_way:
            since = f"since seal {self.newest.version}" if self.newest else "yet"
            yield Uncovered(
                "what is not final", f"the session is not sealed {since}; scores and tables may still change"
            )
        elif seal is not None:
            yield from self._grown(seal)
        remains = [name for name in self.hashed if is_temporary(name)]
        if remains:
            yield Uncovered(
                f"{_files(len(remains))} named .tmp-…", "left by a writer that was cut off; nobody reads them"
            )
        changed = {one.name for declared in self.declared for one in declared.redaction.files}
        if changed:
            why = (
                "their records hold the hashes of what stood there; of a package, reproduce computes the numbers again"
            )
            yield Uncovered(f"what {_files(len(changed))} say in which words were taken out", why)
        if not self.under_way:
            yield from self._unproved()

    def _grown(self, seal: Covered) -> Iterator[Uncovered]:
        """Yield what has been appended since the seal."""
        logs = [name for name in self._below(LOGS) if self._has_grown(name, seal)]
        if logs:
            yield Uncovered(f"{_files(len(logs))} below {LOGS}", "written to since the seal; no result rests on them")
        told = [event.event for event in self.events]
        since = told[len(told) - told[::-1].index("sealed") :] if "sealed" in told else []
        if since:
            names = ", ".join(dict.fromkeys(since))
            yield Uncovered(f"{len(since)} events in the chronolog since the seal ({names})", "chained, not sealed")

    def _has_grown(self, name: str, seal: Covered) -> bool:
        was = seal.appended.get(name)
        return name not in seal.files and (was is None or self.hashed[name].bytes > was.bytes)

    def _unproved(self) -> Iterator[Uncovered]:
        told = (event.facts.get("session") for event in self._project_events if event.event == "session_sealed")
        above = self.folder.parents
        flaws = check_project(above[4], above[3].name) if self._project_events else []
        if flaws:
            what = "whether the project's chronolog, which tells of each sealing, tells the truth"
            yield Uncovered(what, f"{flaws[0].place}: {flaws[0].what}")
        elif self._name() not in told:
            why = "the project's chronolog, which tells of each sealing, is not beside it, or does not tell of this one"
            yield Uncovered("whether this is the seal that was first written", why)
        if self.signed.by is None:
            yield Uncovered(
                "who sealed it", "it is not signed: whoever can write every file, can write all of them anew"
            )
        elif self.public_key is None:
            yield Uncovered("whose key it is", f"compare {self.signed.by} with its owner's, or give --public-key")

    def _below(self, beginning: str) -> list[str]:
        return [name for name in self.hashed if name.startswith(beginning)]

    def _is_sealed(self, name: str) -> bool:
        seal = self.newest.seal if self.newest is not None else None
        return seal is not None and (name in seal.files or name in seal.appended)


def _each_once(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return the first finding of each place; of a file whose lines are named, the file itself is not named again."""
    found: dict[str, Finding] = {}
    for one in findings:
        found.setdefault(one.place, one)
    lined = {one.file for one in found.values() if one.place != one.file}
    return tuple(one for one in found.values() if one.place != one.file or one.file not in lined)


def _files(number: int) -> str:
    return f"{number} file{'' if number == 1 else 's'}"
