"""The checksums of a BagIt bag (RFC 8493), file by file. The reference library stops at the first kind of error and
passes over tag files that nobody lists, and what is wanted here is every file that is not as it was.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from discernus.sessions.findings import Finding, finding
from discernus.sessions.integrity import Hashed, hash_files, links_in, names_in

DECLARATION = "bagit.txt"
PAYLOAD = "data/"
MANIFEST = "manifest-sha256.txt"
TAG_MANIFEST = "tagmanifest-sha256.txt"
_LINE = re.compile(r"(?P<digest>[0-9a-f]{64})  ?\*?(?P<name>.+)")
_CHARACTERS = {"%0A": "\n", "%0D": "\r", "%25": "%"}


def is_bag(folder: Path) -> bool:
    """Return whether the folder is a bag, or what is left of one."""
    return any((folder / name).is_file() for name in (DECLARATION, MANIFEST, TAG_MANIFEST))


def bag_findings(folder: Path) -> Iterator[Finding]:
    """Yield every file of the bag that its manifests do not list, or list otherwise; places are names in the bag."""
    found = hash_files(folder, names_in(folder))
    for name in links_in(folder):
        yield finding("altered", name, "it is a link, which no package holds")
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
