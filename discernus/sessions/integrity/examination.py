"""Whether a session is what it was: every file against its seal, its chronolog, its signature, and the other files.

Nothing but the folder is read, and nothing in it is written. While a session is under way, what may never change is
held against the last seal, and what a stage left against its checkpoint.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Literal

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from pydantic import JsonValue, ValidationError

from discernus.sessions import layout
from discernus.sessions.chronologs.chronolog import read_events
from discernus.sessions.chronologs.chronolog_check import check, read_gathered
from discernus.sessions.chronologs.events import Event, GatheredEvent
from discernus.sessions.chronologs.project_chronolog import project_chronolog, read_project_events
from discernus.sessions.integrity.consistency import Files, inconsistencies, read_mapping, told_otherwise
from discernus.sessions.integrity.differences import changed_appended, changed_files
from discernus.sessions.integrity.findings import Declared, Finding, Uncovered, Verification, each_once, finding
from discernus.sessions.integrity.manifests import (
    LOGS,
    SEALS,
    Covered,
    Hashed,
    hash_files,
    is_covered,
    is_lock,
    is_temporary,
    names_in,
    oddities_in,
)
from discernus.sessions.integrity.redaction import Redaction
from discernus.sessions.integrity.seals import (
    FORMAT,
    SealFile,
    Signed,
    chain_findings,
    newest_seal,
    read_seal,
    signed,
    status_of,
    told_of,
    told_outside,
    versions_sealed,
)
from discernus.sessions.integrity.succession import Steps, checkpoint_findings, repeated_steps, succession_findings
from discernus.sessions.session import Session
from discernus.sessions.store import LocalStore

UNREDACTABLE = (
    SEALS,
    f"{layout.STATE}/stage_",
    f"{layout.SEGMENTS}/",
    f"{layout.REDACTIONS}/",
    layout.CHRONOLOG,
    layout.SESSION,
)
WHOLE = (".json", ".txt", ".md")  # files that are read at once
MOST_NAMED = 5  # findings that a refusal names
MOST_BYTES = 1 << 29  # of such a file: more is not what we write, and would not fit into the memory of many machines
OUT_OF_FORMAT_1 = (LOGS, f"{layout.WAITING}/", layout.LIMITS, f"{layout.SEGMENTS}/", layout.CHRONOLOG)
_SUPERSEDED = re.compile(rf"{layout.SUPERSEDED}/seal_(?P<version>\d+)/(?P<name>.+)")


def is_session(folder: Path) -> bool:
    """Return whether the folder is a session's, or what is left of one."""
    return (folder / layout.SESSION).is_file() or (
        (folder / layout.STATE).is_dir() and (folder / layout.ARCHIVE).is_dir()
    )


class SealBroken(ValueError):
    """A session is not what was sealed; the message names what, and says what to do."""

    def __init__(self, session: str, findings: tuple[Finding, ...]) -> None:
        named = "".join(f"\n  {one.place}: {one.what}" for one in findings[:MOST_NAMED])
        more = f"\n  and {len(findings) - MOST_NAMED} more" if len(findings) > MOST_NAMED else ""
        what = (
            "is not what was sealed, and nothing is done with it: what rests on altered files would be sealed as true"
        )
        cure = f"`starter.py verify {session}` tells all; restore the session's folder from a copy"
        super().__init__(f"{session} {what}{named}{more}\n{cure}")
        self.findings = findings


def refuse_if_altered(session: Session) -> None:
    """Raise SealBroken unless all that the session's seals list is what it was, or is accounted for.

    To be called before anything touches a session; one that was never sealed is none of its business. What a session
    under way has made since its seal is not judged: a crash may have torn that, and going on makes it again.
    """
    if not versions_sealed(session.store):
        return
    found = examine(session.folder)
    if found.state == "under_way":
        found = replace(found, findings=tuple(one for one in found.findings if not _is_made_again(session, one)))
    if found.findings:
        raise SealBroken(found.name, found.findings)


def _is_made_again(session: Session, found: Finding) -> bool:
    """Return whether it is on scores that no seal lists, or of which a copy is kept as they were sealed."""
    file = newest_seal(session.store)
    if file is None or file.seal is None or not found.file.startswith(f"{layout.EXTRACTED}/"):
        return False
    return found.file not in file.seal.files or session.store.exists(layout.superseded(file.version, found.file))


def examine(folder: Path, public_key: Ed25519PublicKey | None = None, *, packaged: bool = False) -> Verification:
    """Return what can be proved of the session in the folder; ``public_key`` must have signed its newest seal.

    A package may have texts withheld by a record that no seal covers; in a session, the seal has to cover the record.
    """
    folder = folder.resolve()
    odd = oddities_in(folder)
    if odd:
        return _not_looked_at(folder, odd, packaged=packaged)
    found = _Examination(folder, public_key, packaged=packaged).result()
    if not found.findings or (found.state == "sealed" and all(one.file != layout.STATUS for one in found.findings)):
        return found
    # somebody may have been writing, or have begun to: what was half there then is whole by now
    again = _Examination(folder, public_key, packaged=packaged).result()
    places = {one.place for one in found.findings}
    return replace(again, findings=tuple(one for one in again.findings if one.place in places))


def _not_looked_at(folder: Path, odd: Mapping[str, str], *, packaged: bool) -> Verification:
    """Return what is odd, and nothing else: to read it may never end, or lead elsewhere."""
    found = tuple(finding("altered", name, what) for name, what in odd.items())
    rest = Uncovered("everything else", "nothing was read: what the findings name may lead anywhere")
    state: Literal["sealed", "under_way"] = "sealed" if versions_sealed(LocalStore(folder)) else "under_way"
    return Verification(
        folder.name, state, None, None, None, len(names_in(folder)), found, uncovered=(rest,), packaged=packaged
    )


class _Examination:
    """One session being verified: what was found in its folder, each thing read once."""

    def __init__(self, folder: Path, public_key: Ed25519PublicKey | None, *, packaged: bool) -> None:
        self.folder = folder
        self.public_key = public_key
        self.packaged = packaged
        gathered = read_gathered(folder)
        self.events = list(read_events(folder, gathered))  # first: what they tell of is there before them
        self.flaws = check(folder, gathered)
        self.hashed: Mapping[str, Hashed] = hash_files(folder, names_in(folder))
        store = LocalStore(folder)
        self.too_large = [name for name, one in self.hashed.items() if name.endswith(WHOLE) and one.bytes > MOST_BYTES]
        versions = [version for version in versions_sealed(store) if not self.too_large]
        self.seals = [read_seal(store, version) for version in versions if layout.seal(version) in self.hashed]

    @cached_property
    def newest(self) -> SealFile | None:
        return self.seals[-1] if self.seals else None

    @cached_property
    def status(self) -> str | None:
        """What the session's status says of itself; None if that cannot be read."""
        return self._note.get("status")

    @cached_property
    def _note(self) -> dict[str, str]:
        said = read_mapping(self.folder / layout.STATUS) or {}
        return {name: str(value) for name, value in said.items()}

    @cached_property
    def under_way(self) -> bool:
        """Whether work goes on, or was cut off: by the status, which the chronolog has to bear out after a seal."""
        if self.status in ("running", "paused"):
            return not self.seals or not self.events or self._went_on() or self._is_untold(self.seals[-1])
        return not self.seals and self.status not in ("complete", "partial")

    def _is_untold(self, file: SealFile) -> bool:
        """Return whether a crash came between a seal's being written and the line that tells of it."""
        return not any(event.event == "sealed" and event.facts.get("version") == file.version for event in self.events)

    @cached_property
    def _is_cut_off(self) -> bool:
        """Whether the newest seal was written, and a crash came before all that follows from it."""
        return self.under_way and bool(self.seals) and self._is_untold(self.seals[-1])

    def _went_on(self) -> bool:
        told = [event for event in self.events if event.event in ("sealed", "status_noted", "files_superseded")]
        return bool(told) and told[-1].event != "sealed"

    @cached_property
    def signed(self) -> Signed:
        if not self.under_way and self.newest is not None:
            return signed(self.folder, self.newest, self.public_key)
        found = Signed(None) if self.newest is None else self._signed_before(self.newest)
        if self.public_key is None:
            return found
        what = "the session is under way: nobody has signed what it holds now, and a signature is asked for"
        name = self.newest.name if self.newest is not None else layout.seal(1)
        return Signed(None, (*found.findings, finding("unsigned", name, what)))

    def _signed_before(self, file: SealFile) -> Signed:
        """Return what the signature comes to of a seal that the session has gone on from; a crash may spare it."""
        if self._is_cut_off and layout.signature(file.version) not in self.hashed:
            return Signed(None)
        return Signed(None, signed(self.folder, file, None).findings)

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
    def _replaced(self) -> dict[tuple[str, str], set[str | None]]:
        """What redactions put in the place of a file with a hash, and of kept copies of it; those that nothing vouches
        for do not count."""
        found: dict[tuple[str, str], set[str | None]] = {}
        for declared in filter(self._counts, self.declared):
            for one in declared.redaction.files:
                if not one.name.startswith(UNREDACTABLE):
                    found.setdefault((one.name, one.sha256), set()).add(one.replaced_by)
        return found

    def _counts(self, declared: Declared) -> bool:
        """Return whether something vouches for the record: a seal, or an event until there is one; in a package it is
        the package's own signature, if one is asked for."""
        if declared.sealed:
            return True
        if self.packaged:
            return declared.redaction.kind == "withholding"
        return self.under_way and any(
            event.event == "text_redacted" and event.facts.get("record") == declared.record for event in self.events
        )

    def accepts(self, name: str, before: str, now: str | None) -> bool:
        """Return whether redactions account for a file's having another hash, or being gone."""
        reached: set[str | None] = {before}
        for _ in range(len(self.declared)):
            reached = {new for old in reached if old is not None for new in self._replaced.get((name, old), ())}
            if now in reached:
                return True
        return False

    @cached_property
    def steps(self) -> Steps:
        return Steps(self.accepts, repeated_steps(self.events))

    def result(self) -> Verification:
        if self.too_large:
            what = f"no such file has more than {MOST_BYTES >> 20} MB; nothing of it was read"
            return _not_looked_at(self.folder, dict.fromkeys(self.too_large, what), packaged=self.packaged)
        first = [*self._seals(), *self._files(), *self._notes(), *self._chronolog()]
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
            findings=each_once([*first, *second]),
            redactions=tuple(self.declared),
            uncovered=tuple(self._uncovered()),
            packaged=self.packaged,
        )

    def _name(self) -> str:
        """Return the session's whole name, as its facts say, or else its newest seal; its folder's if neither does."""
        try:
            facts = read_mapping(self.folder / layout.SESSION) or {}
            return "/".join((facts["project"], facts["experiment"], facts["session"]))
        except (KeyError, TypeError):
            seal = self.newest.seal if self.newest is not None else None
            return seal.session if seal is not None else self.folder.name

    def _seals(self) -> Iterator[Finding]:
        yield from chain_findings(self.seals)
        told = self.seals[:-1] if self._is_cut_off else self.seals
        yield from told_of(told, [event for event in self.events if isinstance(event, GatheredEvent)])
        yield from told_outside(self.seals, self._name(), self._project_events, self._project_file.name)
        known = {name for file in self.seals for name in (file.name, layout.signature(file.version))}
        for name in self._below(SEALS):
            if name not in known:
                yield finding("added", name, "it belongs to no seal")
        if self.packaged and self.under_way:
            yield finding("inconsistent", layout.STATUS, "it says that work goes on, and only what is sealed is packed")

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
            if self.newest is not None and seal is not None:
                now = {name: one.sha256 for name, one in self.hashed.items()}
                held = {
                    name: digest
                    for name, digest in seal.files.items()
                    if not self.steps.account_for(self.newest, name, now)
                }
                yield from self._changed(Covered(files=held, appended=seal.appended, lines=seal.lines))
            newest = self.newest.version if self.newest is not None else None
            yield from checkpoint_findings(self.folder, self.hashed, self.accepts, newest)
        elif seal is not None:
            yield from self._changed(seal)
            for name in self.hashed:
                if is_covered(name) and not self._is_sealed(name) and not self._may_be_new(name, seal.format):
                    yield finding("added", name, "the seal does not list it")
        for name in self._below(f"{layout.SUPERSEDED}/"):
            yield from self._superseded(name)
        for file in self.seals[:-1]:
            if file.seal is not None:
                chained = {name: one for name, one in file.seal.appended.items() if not name.startswith(LOGS)}
                yield from changed_appended(self.folder, Covered(files={}, appended=chained), self.hashed)
        yield from succession_findings(self.seals, self.steps)

    def _changed(self, listed: Covered) -> Iterator[Finding]:
        yield from changed_files(self.folder, listed, self.hashed, self.accepts)
        yield from changed_appended(self.folder, listed, self.hashed)

    def _may_be_new(self, name: str, format_: int) -> bool:
        """Return whether a file that the seal does not list may have come since: what goes on growing does by files."""
        if format_ < FORMAT and name.startswith(OUT_OF_FORMAT_1):
            return True
        if name.startswith(f"{layout.REDACTIONS}/"):
            return self.packaged
        if name.startswith(f"{layout.SUPERSEDED}/"):  # held against its seal; going back copies before it says so
            return True
        if name.startswith(f"{layout.TORN}/"):
            return (name, self.hashed[name].sha256) in self._set_aside
        return name.startswith(LOGS) or (name.startswith(f"{layout.SEGMENTS}/") and name.endswith(".jsonl"))

    @cached_property
    def _set_aside(self) -> set[tuple[JsonValue, JsonValue]]:
        """The bytes of torn lines that events tell of: the name of each file, and its SHA-256."""
        return {(one.facts.get("kept"), one.facts.get("sha256")) for one in self.events if one.event == "line_torn"}

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
        elif (self.folder / layout.STATUS).read_bytes() != status_of(file) and not self._is_last_note:
            what = f"it does not say what follows from {file.name}"
            if self.status in ("running", "paused"):
                what = f"it says {self.status}, and the chronolog tells of no work since the sealing"
            yield finding("altered", layout.STATUS, what, by=[file.name])

    @cached_property
    def _is_last_note(self) -> bool:
        """Whether the status is the last one that was noted before the sealing: a crash came before that one's."""
        before = [event for event in self.events if event.event == "status_noted"]
        seal = self.newest.seal if self.newest is not None else None
        if not before or seal is None or self._note.get("at", "~") > seal.sealed_at:
            return False
        last = before[-1].facts
        return (self._note.get("status"), self._note.get("reason")) == (last.get("status"), last.get("reason"))

    def _chronolog(self) -> Iterator[Finding]:
        for flaw in self.flaws:
            if flaw.kind == "torn":  # a crash does that; the seal tells if anything of it was sealed
                continue
            name, _, line = flaw.place.rpartition(":")
            yield finding(flaw.kind, name, flaw.what, line=int(line))

    def _agreement(self) -> Iterator[Finding]:
        """Yield where files do not agree with each other, with their signature, or with the chronolog."""
        yield from self.signed.findings
        for file in self.seals[:-1]:
            yield from signed(self.folder, file, None).findings
        files = Files(self.folder, self.hashed, self.accepts)
        yield from inconsistencies(files)
        yield from told_otherwise(files, self.events)

    def _uncovered(self) -> Iterator[Uncovered]:
        seal = self.newest.seal if self.newest is not None else None
        if self.under_way:
            since = f"since seal {self.newest.version}" if self.newest else "yet"
            yield Uncovered(
                "what is not final", f"the session is not sealed {since}; scores and tables may still change"
            )
        elif seal is not None:
            yield from self._grown(seal)
        if seal is not None and seal.format < FORMAT:
            what = "logs, notes of limits and waiting, and what happened when"
            yield Uncovered(what, "the version that sealed it left them out, and kept no chronolog")
        for flaw in self.flaws:
            if flaw.kind == "torn":
                yield Uncovered(f"the last line of {flaw.place.rpartition(':')[0]}", flaw.what)
        if not self.under_way and self._is_last_note and self.status in ("running", "paused"):
            yield Uncovered(
                layout.STATUS, "a crash came between the sealing and its note; the next command sets that right"
            )
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
        if self._name() not in told:
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


def _files(number: int) -> str:
    return f"{number} file{'' if number == 1 else 's'}"
