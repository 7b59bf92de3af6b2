"""Files as they are against files as they were listed, down to the line where the list holds lines."""

from __future__ import annotations

import gzip
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from difflib import SequenceMatcher
from pathlib import Path

from discernus.sessions.integrity.findings import Finding, finding
from discernus.sessions.integrity.manifests import (
    LOGS,
    Appended,
    Covered,
    Hashed,
    digest_of,
    hash_beginning,
    marks_of,
    split_marks,
)

MOST_LINES = 20  # of a file that are named one by one
MOST_ALIGNED = 500  # lines between the first and the last that differ: to align more of them takes too long
MOST_BYTES = 1 << 28  # of a file whose lines are compared

Accepts = Callable[[str, str, str | None], bool]  # name, SHA-256 before, SHA-256 now (None: gone)


def changed_files(folder: Path, listed: Covered, found: Mapping[str, Hashed], accepts: Accepts) -> Iterator[Finding]:
    """Yield what is altered or gone of the listed files; ``accepts`` says what a redaction accounts for."""
    names = {digest: name for name, digest in listed.files.items()}
    for name, digest in listed.files.items():
        now = found.get(name)
        if (now is not None and now.sha256 == digest) or accepts(name, digest, now.sha256 if now else None):
            continue
        if now is None:
            yield finding("removed", name, "it is gone")
        elif name in listed.lines and 0 < now.bytes <= MOST_BYTES:
            yield from changed_lines(name, split_marks(listed.lines[name]), (folder / name).read_bytes())
        elif now.sha256 in names:
            yield finding("altered", name, f"it holds what was listed as {names[now.sha256]}")
        else:
            yield finding("altered", name, "it is empty" if not now.bytes else "its SHA-256 is not the one listed")


def changed_appended(folder: Path, listed: Covered, found: Mapping[str, Hashed]) -> Iterator[Finding]:
    """Yield what is altered or gone of what was there of files that go on growing; what was appended is no change."""
    for name, was in listed.appended.items():
        if name not in found:
            if not _was_compressed(folder, name, was):
                yield finding("removed", name, "it is gone")
            continue
        if hash_beginning(folder / name, was.bytes).sha256 == was.sha256:
            continue
        if name in listed.lines and 0 < found[name].bytes <= MOST_BYTES:
            data = (folder / name).read_bytes()
            yield from changed_lines(name, split_marks(listed.lines[name]), data, grows=found[name].bytes > was.bytes)
        else:
            what = "what was there at its beginning is not there any more" if found[name].bytes else "it is empty"
            yield finding("altered", name, what)


def _was_compressed(folder: Path, name: str, was: Appended) -> bool:
    """Return whether a log that was full has been compressed since, with all that was there of it."""
    if not name.startswith(LOGS):
        return False
    try:
        with gzip.open(folder / f"{name}.gz") as file:
            return digest_of(file, was.bytes).sha256 == was.sha256
    except (OSError, EOFError, zlib.error):
        return False


def changed_lines(name: str, before: list[str], data: bytes, *, grows: bool = False) -> Iterator[Finding]:
    """Yield which lines of a file were altered, removed, inserted or put elsewhere; ``before`` are their marks.

    Of a file that ``grows``, lines behind the last of these are no change.
    """
    found = list(_line_findings(name, before, marks_of(data), grows=grows))
    if not found:
        yield finding("altered", name, "its SHA-256 is not the one listed")
    yield from found[:MOST_LINES]
    if len(found) > MOST_LINES:
        yield finding("altered", name, f"{len(found) - MOST_LINES} more of its lines are not as they were")


def _line_findings(name: str, before: list[str], now: list[str], *, grows: bool) -> Iterator[Finding]:
    reordered = now[: len(before)] if grows else now
    if Counter(before) == Counter(reordered):
        stood = {mark: place for place, mark in reversed(list(enumerate(before, 1)))}
        for number, (was, is_) in enumerate(zip(before, reordered, strict=True), 1):
            if was != is_:
                yield finding("reordered", name, f"this line stood at line {stood[is_]}", line=number)
        return
    known = set(before)
    for start, end, first, last in _differing(before, now):
        both = min(end - start, last - first)
        for place in range(first, first + both):
            yield finding("altered", name, "this line is not what it was", line=place + 1)
        for place in range(first + both, last if not grows or end < len(before) else first):
            what = "this line stands there twice" if now[place] in known else "this line was not there"
            yield finding("added", name, what, line=place + 1)
        if start + both < end:
            gone = f"line {start + both + 1}" if end - start - both == 1 else f"lines {start + both + 1} to {end}"
            yield finding("removed", name, f"{gone} of {len(before)} is gone", line=last + 1)


def _differing(before: list[str], now: list[str]) -> Iterator[tuple[int, int, int, int]]:
    """Yield the stretches that differ: from and to where before, from and to where now, counted from 0."""
    shorter = min(len(before), len(now))
    head = next((place for place in range(shorter) if before[place] != now[place]), shorter)
    most = shorter - head
    tail = next((place for place in range(most) if before[-1 - place] != now[-1 - place]), most)
    old, new = before[head : len(before) - tail], now[head : len(now) - tail]
    if max(len(old), len(new)) > MOST_ALIGNED:
        if len(old) != len(new):
            yield head, head + len(old), head, head + len(new)
            return
        for place, (was, is_) in enumerate(zip(old, new, strict=True), head):
            if was != is_:
                yield place, place + 1, place, place + 1
        return
    for kind, start, end, first, last in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if kind != "equal":
            yield head + start, head + end, head + first, head + last
