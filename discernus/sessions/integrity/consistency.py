"""Whether the files of a session agree with each other: no seal is needed for it, so it holds while a session runs.

An answer counts if one metadata file of its call has its hash. Nothing else that a vendor said is looked at: whatever
model, finish reason or usage it named, the answer was paid for.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from discernus.canonical import canonical_json, read_json
from discernus.experiments.freezing import EXPERIMENT_SNAPSHOT, FRAMEWORK_SNAPSHOT, MANIFEST
from discernus.sessions import layout
from discernus.sessions.chronologs.events import Event
from discernus.sessions.integrity.differences import Accepts
from discernus.sessions.integrity.findings import Finding, finding
from discernus.sessions.integrity.manifests import Hashed, is_temporary, names_below
from discernus.sessions.layout import Call
from discernus.sessions.session import FORMAT, SessionFacts
from discernus.sessions.shared_parts import REFERENCE, references_in

CORPUS = "corpus/"
_ERROR = re.compile(rf"{layout.ARCHIVE}/error_(?P<call>.+)_try(?P<attempt>\d+)\.json")
_INTENT = re.compile(rf"{layout.INTENTS}/(?P<call>.+)_try(?P<attempt>\d+)\.json")
_METADATA = re.compile(rf"{layout.ARCHIVE}/metadata_(?P<call>.+?)(?:_try(?P<attempt>\d+))?\.json")
_SHARED = f"{layout.ARCHIVE}/shared_"
_REFERRING = tuple(f"{layout.ARCHIVE}/{kind}" for kind in ("request_", "metadata_", "rival_metadata_", "shared_"))
_RIVAL = re.compile(rf"{layout.ARCHIVE}/rival_(?P<kind>metadata|response)_(?P<call>.+)_try(?P<attempt>\d+)\.(json|txt)")


class Files:
    """The files of a session as they were found: hashes at once, what JSON says when it is asked for."""

    def __init__(self, folder: Path, hashed: Mapping[str, Hashed], accepts: Accepts) -> None:
        self.folder = folder
        self.hashed = hashed
        self.accepts = accepts
        self._names = sorted(hashed)
        self._root = os.fspath(folder)
        self._references: dict[str, list[str]] = {}
        self._questions: dict[str, dict[str, Any]] = {}

    def below(self, beginning: str) -> Iterator[str]:
        return (name for name in names_below(self._names, beginning) if not is_temporary(name))

    def mapping(self, name: str) -> dict[str, Any] | None:
        """Return what a JSON file says, None if it is there no more or holds no mapping."""
        said = _read(f"{self._root}/{name}")
        if name.startswith(_REFERRING):
            own = {REFERENCE: (said or {}).get(REFERENCE)} if "metadata_" in name else said
            self._references[name] = references_in(own)
        return said

    def references(self, name: str) -> list[str]:
        """Return the parts that a record refers to; where it was read for something else, it is not read again."""
        if name not in self._references:
            self.mapping(name)
        return self._references[name]

    def is_still(self, name: str, digest: str) -> bool:
        """Return whether the file has this SHA-256, or has another by a redaction that says so."""
        found = self.hashed.get(name)
        if found is not None and found.sha256 == digest:
            return True
        return self.accepts(name, digest, None if found is None else found.sha256)

    def question(self, name: str) -> dict[str, Any]:
        """Return what a request asked, nothing where that cannot be read; what it refers to is read once."""
        said = self.mapping(name) or {}
        digest = said.get(REFERENCE)
        if not isinstance(digest, str):
            return said
        if digest not in self._questions:
            self._questions[digest] = self.mapping(layout.shared(digest)) or {}
        return self._questions[digest]

    @cached_property
    def metadata(self) -> dict[str, list[tuple[str, str]]]:
        """Metadata files by call, each with the SHA-256 that it has of the answer; those that say none are left out."""
        found: dict[str, list[tuple[str, str]]] = {}
        for name in self.below(f"{layout.ARCHIVE}/metadata_"):
            match = _METADATA.fullmatch(name)
            said = self.mapping(name) if match else None
            if match and said and said.get("call") == match["call"]:
                found.setdefault(match["call"], []).append((name, str(said.get("response_sha256"))))
        return found


def read_mapping(path: Path) -> dict[str, Any] | None:
    """Return what a JSON file says, None if it cannot be read, or holds no mapping; whatever is in it, no error."""
    return _read(os.fspath(path))


def _read(path: str) -> dict[str, Any] | None:
    try:
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123  a Path for each of thousands takes as long
            said = read_json(file.readall())
    except (OSError, ValueError):
        return None
    return said if isinstance(said, dict) else None


def inconsistencies(files: Files) -> Iterator[Finding]:
    """Yield every file that does not agree with another, or cannot be read."""
    checks: tuple[Callable[[Files], Iterator[Finding]], ...] = (
        _facts,
        _inputs,
        _settings,
        _answers,
        _metadata,
        _requests,
        _messages,
        _shared,
        _rivals,
        _errors,
        _intents,
        _scores,
        _notes,
        _versions,
    )
    for check in checks:
        yield from check(files)


def told_otherwise(files: Files, events: Iterable[Event]) -> Iterator[Finding]:
    """Yield answers and scores that are gone, or others than those of which the chronolog tells."""
    read: dict[Any, Any] = {}
    for event in events:
        digest = event.facts.get("response_sha256")
        if event.event == "files_superseded" and event.facts.get("stage") in ("analysis", "extraction"):
            read.clear()  # all is read again, and a kill may come before the line on that
        elif event.event == "analysis_read":
            read[event.facts.get("analysis")] = event.facts.get("extracted_sha256")
        elif event.event == "call_answered" and event.facts.get("scored") and isinstance(digest, str):
            name = f"{layout.ARCHIVE}/response_{event.facts.get('call')}.txt"
            if name not in files.hashed and not files.accepts(name, digest, None):
                yield finding("removed", name, "it is gone, and the chronolog tells of it")
            elif not files.is_still(name, digest):
                yield finding("altered", name, "the chronolog has another SHA-256 of it")
    for number, digest in read.items():  # None: told by a version that kept no hash of scores
        if isinstance(number, int) and isinstance(digest, str):
            name = layout.extracted(number)
            if name in files.hashed and not files.is_still(name, digest):
                yield finding("altered", name, "the chronolog has another SHA-256 of the last reading")


def _facts(files: Files) -> Iterator[Finding]:
    if layout.SESSION not in files.hashed:
        yield finding("removed", layout.SESSION, "it is gone")
        return
    said = files.mapping(layout.SESSION) or {}
    number = said.get("format")
    if isinstance(number, int) and number > FORMAT:
        what = f"it has format {number}, and this version reads up to {FORMAT}; verify it with a later one"
        yield finding("inconsistent", layout.SESSION, what)
        return
    try:
        SessionFacts.model_validate(said)
    except ValidationError:
        yield finding("altered", layout.SESSION, "it does not say what a session's facts say")


def _inputs(files: Files) -> Iterator[Finding]:
    """Yield frozen inputs that are not those of the manifest, or not in it."""
    if MANIFEST not in files.hashed:
        yield finding("removed", MANIFEST, "it is gone")
        return
    manifest = files.mapping(MANIFEST) or {}
    own = manifest.pop("manifest_sha256", None)
    try:
        listed = {
            EXPERIMENT_SNAPSHOT: manifest["experiment"]["sha256"],
            FRAMEWORK_SNAPSHOT: manifest["framework"]["sha256"],
            **{f"{CORPUS}{document['file']}": document["sha256"] for document in manifest["documents"]},
        }
    except (KeyError, TypeError):
        yield finding("altered", MANIFEST, "it does not say what a manifest says")
        return
    if own is None or own != _own_sha256(manifest):
        yield finding("altered", MANIFEST, "it does not match the hash that it holds of itself")
        return
    for name, digest in listed.items():
        if not files.is_still(name, digest):
            yield _other(files, name, f"{MANIFEST} has another SHA-256 of it", by=[MANIFEST])
    for name in files.below(CORPUS):
        if name not in listed:
            yield finding("added", name, f"{MANIFEST} does not list it", by=[MANIFEST])


def _settings(files: Files) -> Iterator[Finding]:
    if layout.SETTINGS not in files.hashed:
        return  # sessions from before there were any
    said = files.mapping(layout.SETTINGS) or {}
    own = said.pop("snapshot_sha256", None)
    if own is None or own != _own_sha256(said):
        yield finding("altered", layout.SETTINGS, "it does not match the hash that it holds of itself")


def _own_sha256(said: dict[str, Any]) -> str | None:
    """Return the hash that a file should hold of what else it says, None where that cannot be written as JSON."""
    try:
        return sha256(canonical_json(said)).hexdigest()
    except ValueError:
        return None


def _answers(files: Files) -> Iterator[Finding]:
    """Yield answers that no metadata of their call has the hash of, and those whose question is gone."""
    for name in files.below(f"{layout.ARCHIVE}/response_"):
        call = _call(name.removeprefix(f"{layout.ARCHIVE}/response_").removesuffix(".txt"))
        if call is None or call.response != name:
            yield finding("added", name, "it has not the name of an answer")
            continue
        sidecars = files.metadata.get(call.name, [])
        if not any(files.is_still(name, digest) for _, digest in sidecars):
            what = "no metadata of its call has its SHA-256" if sidecars else "no metadata of its call can be read"
            yield finding("altered", name, what, by=[call.metadata, *(sidecar for sidecar, _ in sidecars)])
        if call.request not in files.hashed:
            yield finding("removed", call.request, "it is gone, and its answer is there", by=[name])


def _metadata(files: Files) -> Iterator[Finding]:
    """Yield metadata that cannot be read, or whose answer is gone though its attempt was not cut off."""
    readable = {name for sidecars in files.metadata.values() for name, _ in sidecars}
    for name in files.below(f"{layout.ARCHIVE}/metadata_"):
        match = _METADATA.fullmatch(name)
        call = _call(match["call"]) if match else None
        if match is None or call is None:
            yield finding("added", name, "it has not the name of a call's metadata")
        elif name not in readable:
            yield finding("altered", name, "it does not say what a call's metadata says")
        elif call.response not in files.hashed and not files.accepts(call.response, _digest(files, name), None):
            attempt = (files.mapping(name) or {}).get("attempt")
            if not isinstance(attempt, int) or call.intent(attempt) not in files.hashed:
                yield finding("removed", call.response, "its metadata is there, and it is gone", by=[name])


def _digest(files: Files, metadata: str) -> str:
    return str((files.mapping(metadata) or {}).get("response_sha256"))


def _requests(files: Files) -> Iterator[Finding]:
    for name in files.below(f"{layout.ARCHIVE}/request_"):
        messages = files.question(name).get("messages")
        if not isinstance(messages, list):
            yield finding("altered", name, "it does not say what a request says")
            continue
        for message in messages:
            digest = message.get("content_sha256") if isinstance(message, dict) else None
            if isinstance(digest, str):
                text = layout.message(digest)
                if text not in files.hashed and not files.accepts(text, digest, None):
                    yield finding("removed", text, f"{name} refers to it", by=[name])


def _shared(files: Files) -> Iterator[Finding]:
    """Yield what many calls share and is not what its name says, or is gone though a record refers to it."""
    for name in files.below(_SHARED):
        if not files.is_still(name, name.removeprefix(_SHARED).removesuffix(".json")):
            yield finding("altered", name, "its name is not its SHA-256")
    told: set[str] = set()
    for kind in _REFERRING:
        for name in files.below(kind):
            for digest in files.references(name):
                part = layout.shared(digest)
                if part not in files.hashed and part not in told and not files.accepts(part, digest, None):
                    told.add(part)
                    yield finding("removed", part, f"{name} refers to it", by=[name])


def _messages(files: Files) -> Iterator[Finding]:
    folder = f"{layout.ARCHIVE}/messages/"
    for name in files.below(folder):
        if not files.is_still(name, name.removeprefix(folder).removesuffix(".txt")):
            yield finding("altered", name, "its name is not its SHA-256")


def _rivals(files: Files) -> Iterator[Finding]:
    """Yield late answers without metadata, and metadata of late answers that have neither a text nor the kept one's."""
    for name in files.below(f"{layout.ARCHIVE}/rival_"):
        match = _RIVAL.fullmatch(name)
        call = _call(match["call"]) if match else None
        if match is None or call is None:
            yield finding("added", name, "it has not the name of a late answer")
            continue
        attempt = int(match["attempt"])
        metadata, response = call.rival("metadata", attempt), call.rival("response", attempt)
        if name == response and metadata not in files.hashed:
            yield finding("removed", metadata, "it is gone, and its late answer is there", by=[name])
        if name == metadata:
            said = files.mapping(name)
            text = response if response in files.hashed else call.response  # the same words are kept once
            if said is None or said.get("call") != call.name:
                yield finding("altered", name, "it does not say what a call's metadata says")
            elif not files.is_still(text, str(said.get("response_sha256"))):
                yield _other(files, response, "its metadata has another SHA-256", by=[name, call.response])


def _errors(files: Files) -> Iterator[Finding]:
    for name in files.below(f"{layout.ARCHIVE}/error_"):
        match = _ERROR.fullmatch(name)
        call = _call(match["call"]) if match else None
        said = files.mapping(name) or {}
        if match is None or (said.get("call"), said.get("attempt")) != (match["call"], int(match["attempt"])):
            yield finding("altered", name, "it is not the record of the failure that its name says")
        elif call is not None and call.request not in files.hashed:
            yield finding("removed", call.request, "it is gone, and its failure is on record", by=[name])


def _intents(files: Files) -> Iterator[Finding]:
    for name in files.below(f"{layout.INTENTS}/"):
        match = _INTENT.fullmatch(name)
        said = files.mapping(name) or {}
        if match is None or (said.get("call"), said.get("attempt")) != (match["call"], int(match["attempt"])):
            yield finding("altered", name, "it is not the intent that its name says")


def _scores(files: Files) -> Iterator[Finding]:
    """Yield scores that were read from another answer than the one that is there."""
    folder = f"{layout.EXTRACTED}/extracted_"
    for name in files.below(folder):
        said = files.mapping(name) or {}
        number = said.get("number")
        call = _call(said.get("call"))
        if not isinstance(number, int) or layout.extracted(number) != name or call is None or call.number != number:
            yield finding("altered", name, "it is not what was read of the analysis that its name says")
        elif not files.is_still(call.response, str(said.get("response_sha256"))):
            if call.response in files.hashed:
                yield finding("inconsistent", name, f"it was read from another {call.response}", by=[call.response])
            else:
                yield finding("removed", call.response, f"it is gone, and {name} was read from it", by=[name])


def _notes(files: Files) -> Iterator[Finding]:
    """Yield notes of parked analyses and of closed models that are not what their names say."""
    for name in files.below(f"{layout.PARKED}/"):
        number = (files.mapping(name) or {}).get("number")
        if not isinstance(number, int) or layout.parked(number) != name:
            yield finding("altered", name, "it is not the note that its name says")
    for name in files.below(f"{layout.WAITING}/"):
        said = files.mapping(name)
        if said is None or not isinstance(said.get("model"), str):
            yield finding("altered", name, "it is not the note that its name says")


def _versions(files: Files) -> Iterator[Finding]:
    for name in files.below(f"{layout.VERSIONS}/"):
        if name.endswith(".json"):
            said = files.mapping(name) or {}
            model, version = said.get("model"), said.get("version")
            if not isinstance(model, str) or not isinstance(version, str) or layout.version(model, version) != name:
                yield finding("altered", name, "it is not the note that its name says")


def _other(files: Files, name: str, what: str, by: list[str]) -> Finding:
    """Return that a file is another one than it was, or is gone."""
    there = name in files.hashed
    return finding("altered" if there else "removed", name, what if there else "it is gone", by=by)


def _call(name: Any) -> Call | None:
    try:
        return Call.named(name)
    except (TypeError, ValueError):
        return None
