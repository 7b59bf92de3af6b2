"""Seals as they lie in a session: read, chained to each other, signed, and vouched for by what else tells of them.

Four things tell what a seal's bytes were: the status of the session, the chronolog, the next seal, and a signature.
Outside the session the project's chronolog does.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from pydantic import ValidationError

from discernus.sessions import layout
from discernus.sessions.chronologs.events import Event
from discernus.sessions.integrity.findings import Finding, finding
from discernus.sessions.integrity.manifests import Seal
from discernus.sessions.integrity.signing import Signature, SignatureDamaged, fingerprint, holds, read_signature
from discernus.sessions.store import LocalStore, NotInStore, Store

FORMAT = 2
_SEAL = re.compile(r"seal_(\d+)\.json")


@dataclass(frozen=True)
class SealFile:
    """A seal as it lies there; ``seal`` is None where its bytes are none."""

    version: int
    sha256: str
    bytes: bytes
    seal: Seal | None

    @property
    def name(self) -> str:
        return layout.seal(self.version)


def versions_sealed(store: Store) -> list[int]:
    """Return the numbers of the seals, oldest first."""
    return sorted(int(match[1]) for name in store.names(layout.STATE) if (match := _SEAL.fullmatch(name)))


def read_seal(store: Store, version: int) -> SealFile:
    """Return a seal by its number. Raise NotInStore."""
    data = store.get(layout.seal(version))
    try:
        seal = Seal.model_validate_json(data)
    except ValidationError:
        seal = None
    return SealFile(version, sha256(data).hexdigest(), data, seal)


def newest_seal(store: Store) -> SealFile | None:
    """Return the newest seal, None if there is none."""
    versions = versions_sealed(store)
    return read_seal(store, versions[-1]) if versions else None


def status_of(file: SealFile) -> bytes:
    """Return what a sealed session's status file says, to the byte: it follows from the seal."""
    assert file.seal is not None
    said = {
        "status": file.seal.status,
        "reason": "",
        "at": file.seal.sealed_at,
        "seal": file.version,
        "seal_sha256": file.sha256,
    }
    return json.dumps(said, ensure_ascii=False, indent=1).encode()


def chain_findings(seals: list[SealFile]) -> Iterator[Finding]:
    """Yield seals that are missing, cannot be read, do not follow from the one before, or contradict themselves."""
    by_version = {file.version: file for file in seals}
    for version in range(1, max(by_version, default=0) + 1):
        file = by_version.get(version)
        if file is None:
            yield finding("removed", layout.seal(version), "it is gone, and a later seal is there")
            continue
        yield from _own_findings(file)
        before = by_version.get(version - 1)
        if before and file.seal and file.seal.format >= FORMAT and file.seal.previous_seal_sha256 != before.sha256:
            what = f"seal {version} was written when it had another SHA-256"
            yield finding("altered", before.name, what, by=[file.name])


def _own_findings(file: SealFile) -> Iterator[Finding]:
    seal = file.seal
    if seal is None:
        yield finding("altered", file.name, "it cannot be read as a seal")
    elif seal.format > FORMAT:
        what = f"it has format {seal.format}, and this version reads up to {FORMAT}; verify it with a later one"
        yield finding("inconsistent", file.name, what)
    elif seal.version != file.version:
        yield finding("altered", file.name, f"it says that it is seal {seal.version}")
    elif seal.root() != seal.root_sha256:
        yield finding("altered", file.name, "its root is not that of the files that it lists")


def told_of(seals: list[SealFile], events: Sequence[Event]) -> Iterator[Finding]:
    """Yield seals that are not those of which the chronolog tells; ``events`` are its lines, in order."""
    by_version = {file.version: file for file in seals}
    told: set[int] = set()
    for event in events:
        version, digest = event.facts.get("version"), event.facts.get("seal_sha256")
        if event.event != "sealed" or not isinstance(version, int):
            continue
        told.add(version)
        file = by_version.get(version)
        if file is None:
            yield finding("removed", layout.seal(version), "it is gone, and the chronolog tells of it")
        elif digest != file.sha256:
            yield finding("altered", file.name, "the chronolog has another SHA-256 of it")
    for file in seals:
        if file.version not in told and file.seal is not None and layout.CHRONOLOG in file.seal.appended:
            what = f"its line on seal {file.version} is gone"
            yield finding("removed", layout.CHRONOLOG, what, line=len(events) + 1, by=[file.name])


def told_outside(seals: list[SealFile], session: str, events: Iterable[Event], told_by: str) -> Iterator[Finding]:
    """Yield seals of the session, by its whole name, that are not those of which the project's ``events`` tell."""
    by_version = {file.version: file for file in seals}
    for event in events:
        version = event.facts.get("version")
        if event.event != "session_sealed" or event.facts.get("session") != session or not isinstance(version, int):
            continue
        file = by_version.get(version)
        if file is None:
            yield finding("removed", layout.seal(version), f"it is gone, and {told_by} tells of it")
        elif event.facts.get("seal_sha256") != file.sha256:
            yield finding("altered", file.name, f"{told_by} has another SHA-256 of it")


@dataclass(frozen=True)
class Signed:
    """What the signature of a seal comes to: who signed (a fingerprint, None if nobody), and what is wrong with it."""

    by: str | None
    findings: tuple[Finding, ...] = ()


def signed(folder: Path, file: SealFile, demanded: Ed25519PublicKey | None) -> Signed:
    """Return who signed the seal; ``demanded`` is the key that must have."""
    name = layout.signature(file.version)
    wanted = file.seal.signed_by if file.seal is not None else None
    try:
        signature = read_signature(LocalStore(folder).get(name))
    except NotInStore:
        if wanted is not None:
            return Signed(None, (finding("removed", name, f"it is gone; the seal was signed by {wanted}"),))
        missing = finding("unsigned", file.name, "no signature lies beside it, and one is asked for")
        return Signed(None, (missing,) if demanded is not None else ())
    except IsADirectoryError:
        return Signed(None, (finding("altered", name, "a folder stands in its place", by=[file.name]),))
    except SignatureDamaged as damaged:
        return Signed(None, (finding("altered", name, str(damaged)),))
    return _judged(file, name, signature, demanded)


def _judged(file: SealFile, name: str, signature: Signature, demanded: Ed25519PublicKey | None) -> Signed:
    signer = fingerprint(signature.key)
    wanted = file.seal.signed_by if file.seal is not None else None
    if not holds(signature, file.bytes) or signature.signed_file != file.name.rpartition("/")[2]:
        what = f"it is not of what {file.name} holds now: one of both was altered"
        return Signed(None, (finding("inconsistent", name, what, by=[file.name]),))
    if wanted not in (None, signer):
        return Signed(None, (finding("wrong_key", name, f"it is by {signer}; the seal was signed by {wanted}"),))
    if demanded is not None and fingerprint(demanded) != signer:
        what = f"it is by {signer}, not by the given key {fingerprint(demanded)}"
        return Signed(signer, (finding("wrong_key", name, what),))
    return Signed(signer)
