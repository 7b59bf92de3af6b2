"""The checksums of a BagIt bag (RFC 8493), file by file. The reference library stops at the first kind of error and
passes over tag files that nobody lists, and what is wanted here is every file that is not as it was.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from discernus.sessions.integrity.findings import Finding, finding
from discernus.sessions.integrity.manifests import Hashed, hash_files, names_in
from discernus.sessions.integrity.seals import Signed
from discernus.sessions.integrity.signing import SignatureDamaged, fingerprint, holds, read_signature

DECLARATION = "bagit.txt"
PAYLOAD = "data/"
MANIFEST = "manifest-sha256.txt"
TAG_MANIFEST = "tagmanifest-sha256.txt"
SIGNATURE = "manifest-sha256.sig.json"  # of the manifest's bytes, and so of every file below data/; a tag file
_LINE = re.compile(r"(?P<digest>[0-9a-f]{64})  ?\*?(?P<name>.+)")
_CHARACTERS = {"%0A": "\n", "%0D": "\r", "%25": "%"}


def is_bag(folder: Path) -> bool:
    """Return whether the folder is a bag, or what is left of one."""
    return any((folder / name).is_file() for name in (DECLARATION, MANIFEST, TAG_MANIFEST))


def manifest_signed(folder: Path, demanded: Ed25519PublicKey | None) -> Signed:
    """Return who signed the bag's manifest; ``demanded`` is the key that must have."""
    try:
        signature = read_signature((folder / SIGNATURE).read_bytes())
        data = (folder / MANIFEST).read_bytes()
    except FileNotFoundError:
        what = "no signature of it lies beside it: tables, pages and records of what was withheld are nobody's word"
        return Signed(None, (finding("unsigned", MANIFEST, what),) if demanded is not None else ())
    except SignatureDamaged as damaged:
        return Signed(None, (finding("altered", SIGNATURE, str(damaged)),))
    signer = fingerprint(signature.key)
    if not holds(signature, data) or signature.signed_file != MANIFEST:
        what = f"it is not of what {MANIFEST} holds now: one of both was altered"
        return Signed(None, (finding("inconsistent", SIGNATURE, what, by=[MANIFEST]),))
    if demanded is not None and fingerprint(demanded) != signer:
        what = f"it is by {signer}, not by the given key {fingerprint(demanded)}"
        return Signed(signer, (finding("wrong_key", SIGNATURE, what),))
    return Signed(signer)


def bag_findings(folder: Path) -> Iterator[Finding]:
    """Yield every file of the bag that its manifests do not list, or list otherwise; places are names in the bag."""
    found = hash_files(folder, names_in(folder))
    payload = {name: one for name, one in found.items() if name.startswith(PAYLOAD)}
    tags = {name: one for name, one in found.items() if name not in payload and name != TAG_MANIFEST}
    yield from _compare(folder, MANIFEST, payload)
    yield from _compare(folder, TAG_MANIFEST, tags)


def _compare(folder: Path, manifest: str, found: Mapping[str, Hashed]) -> Iterator[Finding]:
    try:
        lines = (folder / manifest).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        yield finding("removed", manifest, "it is gone: nothing lists what belongs to the package")
        return
    except UnicodeDecodeError:
        yield finding("altered", manifest, "it is no text any more")
        return
    listed: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        match = _LINE.fullmatch(line)
        if match is None:
            yield finding("altered", manifest, "this line is not a checksum and a name", line=number)
        else:
            listed[_decoded(match["name"])] = match["digest"]
    for name, digest in listed.items():
        if name not in found:
            yield finding("removed", name, f"{manifest} lists it, and it is gone", by=[manifest])
        elif found[name].sha256 != digest:
            yield finding("altered", name, f"{manifest} has another SHA-256 of it", by=[manifest])
    for name in found:
        if name not in listed:
            yield finding("added", name, f"{manifest} does not list it", by=[manifest])


def _decoded(name: str) -> str:
    return re.sub("%0A|%0D|%25", lambda match: _CHARACTERS[match[0].upper()], name, flags=re.IGNORECASE)
