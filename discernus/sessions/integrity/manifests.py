"""What the files of a session are known by: the SHA-256 of each, of their lines in tables and logs, and one over all.

Files that go on growing by appending (chronologs, operational logs) are known by their length and the hash of what was
there: what is appended later leaves that as it was. Small files cost more to open than to hash, so threads share them.
"""

from __future__ import annotations

import os
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from errno import ELOOP, ENXIO
from hashlib import sha256
from pathlib import Path
from stat import S_ISREG
from typing import Literal, Protocol

from pydantic import BaseModel, ConfigDict

from discernus.canonical import canonical_json
from discernus.sessions import layout
from discernus.sessions.store import TEMPORARY_PREFIX

Stage = Literal["analysis", "extraction", "calculation", "synthesis"]
Gap = Literal["parked", "not_analysed", "no_score", "damaged"]

SEALS = f"{layout.STATE}/seal_"
LOGS = "logs/"
APPENDED = (layout.CHRONOLOG, f"{layout.SEGMENTS}/", LOGS)
TABLES = (
    layout.RESULTS,
    layout.DICTIONARY,
    layout.EVIDENCE,
    layout.CONSISTENCY,
    layout.HYPOTHESIS_TESTS,
    layout.BRIEF,
    layout.CALL_LOG,
    layout.EXTRACTION_LOG,
)
LINED = (".jsonl", ".csv")
MARK = 8  # hexadecimal digits of a line's SHA-256: enough to find the line; the whole file's hash is what proves
THREADS = 8
TOGETHER = 500  # files that a thread takes at once
CHUNK = 1 << 20  # bytes that are hashed at once


class Readable(Protocol):
    """An open file."""

    def read(self, size: int, /) -> bytes | None:
        """Return at most so many bytes, none at its end."""
        ...


@dataclass(frozen=True)
class Hashed:
    """A file as it is: the SHA-256 of its bytes, and their number."""

    sha256: str
    bytes: int


class Appended(BaseModel):
    """What was there of a file that goes on growing: so many bytes, with this SHA-256."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bytes: int
    sha256: str


class Covered(BaseModel):
    """Files by name, each with its SHA-256. ``lines`` holds eight hexadecimal digits for each line of a lined file."""

    model_config = ConfigDict(frozen=True)

    files: dict[str, str]
    appended: dict[str, Appended] = {}
    lines: dict[str, str] = {}

    def root(self) -> str:
        """Return the one SHA-256 that stands for all of it."""
        if not self.appended:
            return sha256(canonical_json(self.files)).hexdigest()
        appended = {name: one.model_dump() for name, one in self.appended.items()}
        return sha256(canonical_json({"files": self.files, "appended": appended})).hexdigest()


class Checkpoint(Covered):
    """A completed stage with the files it left: ``system_state/stage_<stage>_complete.json``."""

    model_config = ConfigDict(frozen=True, extra="allow")

    format: int = 2
    stage: str
    at: datetime
    root_sha256: str


class Seal(Covered):
    """A closed version of a session: ``system_state/seal_<version>.json``; what Sealed says, and every file.

    ``previous_seal_sha256`` is of the bytes of the seal before. ``signed_by`` is the fingerprint of the key whose
    signature lies beside it. Format 1 knew neither, seldom named the gaps, and left logs and notes out.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = 2
    session: str
    version: int
    sealed_at: str
    discernus_version: str
    status: Literal["complete", "partial"]
    scored: int
    parked: int
    in_doubt: int
    cost_usd: float | None
    unpriced: int
    in_doubt_usd: float | None
    gaps: dict[Gap, list[int]] | None = None
    previous_seal_sha256: str | None = None
    signed_by: str | None = None
    root_sha256: str


def names_in(folder: Path) -> list[str]:
    """Return the sorted names of all files and links below the folder; folders themselves prove nothing."""
    return sorted(name for name, _ in _entries(folder, ""))


def names_below(names: Sequence[str], beginning: str) -> Sequence[str]:
    """Return those of the sorted names that begin so."""
    first = bisect_left(names, beginning)
    return names[first : bisect_left(names, f"{beginning}\U0010ffff", first)]


def oddities_in(folder: Path) -> dict[str, str]:
    """Return what is no file below the folder, by name, with a sentence on what it is; we never write any.

    Reading it may never end, or lead to what lies elsewhere.
    """
    return {name: what for name, what in sorted(_entries(folder, "")) if what}


def _entries(folder: Path, above: str) -> Iterator[tuple[str, str]]:
    """Yield each name, with what is odd about it: nothing of a file."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _entries(folder / entry.name, f"{above}{entry.name}/")
            elif entry.is_symlink():
                yield f"{above}{entry.name}", "it is a link to something that may lie elsewhere, and change there"
            else:
                odd = "" if entry.is_file(follow_symlinks=False) else "it is no file, but a pipe, a socket or a device"
                yield f"{above}{entry.name}", odd


def is_lock(name: str) -> bool:
    """Return whether the file is a lock: empty for ever, there or not."""
    return name.endswith(".lock")


def is_temporary(name: str) -> bool:
    """Return whether the file was left by a writer that was cut off; nobody reads it."""
    return name.rpartition("/")[2].startswith(TEMPORARY_PREFIX)


def is_appended(name: str) -> bool:
    """Return whether the file goes on growing at its end; a log that was compressed does not."""
    return name.startswith(APPENDED) and not name.endswith(".gz")


def is_covered(name: str) -> bool:
    """Return whether a seal lists the file: all but locks, remains, the seals themselves and the status they imply."""
    return not (is_lock(name) or is_temporary(name) or name == layout.STATUS or name.startswith(SEALS))


def stage_of(name: str) -> Stage | None:
    """Return the stage whose checkpoint lists the file, None for what is no stage's own."""
    if is_lock(name) or is_temporary(name):
        return None
    if name in TABLES:
        return "calculation"
    if name.startswith((f"{layout.ARCHIVE}/", f"{layout.INTENTS}/", f"{layout.PARKED}/", f"{layout.CLOSURES}/")):
        return "analysis"
    if name.startswith(f"{layout.EXTRACTED}/"):
        return "extraction"
    return "synthesis" if name.startswith((f"{layout.PAGES}/", f"{layout.DELIVERABLES}/")) else None


def cover(folder: Path, which: Callable[[str], bool]) -> Covered:
    """Return the files of the folder that ``which`` picks by name, as they are now."""
    names = [name for name in names_in(folder) if which(name)]
    hashed = hash_files(folder, names)
    appended = {name: Appended(bytes=one.bytes, sha256=one.sha256) for name, one in hashed.items() if is_appended(name)}
    files = {name: one.sha256 for name, one in hashed.items() if name not in appended}
    lines = {name: _marks(folder, name, one.bytes) for name, one in hashed.items() if name.endswith(LINED)}
    return Covered(files=files, appended=appended, lines=lines)


def hash_files(folder: Path, names: Sequence[str]) -> dict[str, Hashed]:
    """Return each file's hash, in the order of the names; a file that is gone by now, or leads nowhere, is left out."""

    root = os.fspath(folder)

    def hash_some(start: int) -> list[tuple[str, Hashed | None]]:
        return [(name, _hashed(f"{root}/{name}")) for name in names[start : start + TOGETHER]]

    with ThreadPoolExecutor(THREADS) as threads:
        found = threads.map(hash_some, range(0, len(names), TOGETHER))
        return {name: one for some in found for name, one in some if one is not None}


def _hashed(path: str) -> Hashed | None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        if error.errno in (ELOOP, ENXIO):  # a link; a socket
            return None
        raise
    try:
        found = os.fstat(descriptor)
        if not S_ISREG(found.st_mode):
            return None
        if found.st_size < CHUNK:  # most are: two reads, and no file object
            data = os.read(descriptor, CHUNK)
            if not os.read(descriptor, 1):
                return Hashed(sha256(data).hexdigest(), len(data))
            os.lseek(descriptor, 0, os.SEEK_SET)
        with os.fdopen(descriptor, "rb", buffering=0, closefd=False) as file:
            return digest_of(file, None)
    finally:
        os.close(descriptor)


def hash_beginning(path: Path, size: int) -> Hashed:
    """Return the hash of a file's first bytes, fewer where it has fewer."""
    with path.open("rb") as file:
        return digest_of(file, size)


def digest_of(file: Readable, most: int | None) -> Hashed:
    """Return the hash of what is left of the file, or of so many bytes of it; it may be larger than the memory."""
    digest, size = sha256(), 0
    while most is None or size < most:
        data = file.read(CHUNK if most is None else min(CHUNK, most - size))
        if not data:
            break
        digest.update(data)
        size += len(data)
    return Hashed(digest.hexdigest(), size)


def marks_of(data: bytes) -> list[str]:
    """Return the mark of each line."""
    return [sha256(line).hexdigest()[:MARK] for line in data.splitlines(keepends=True)]


def split_marks(marks: str) -> list[str]:
    """Return the marks of the lines that a manifest holds in one string."""
    return [marks[start : start + MARK] for start in range(0, len(marks), MARK)]


def _marks(folder: Path, name: str, size: int) -> str:
    with (folder / name).open("rb") as file:
        return "".join(marks_of(file.read(size)))
