"""Files as they are against files as they were listed, down to the line where the list holds lines."""

from __future__ import annotations

import gzip
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from difflib import SequenceMatcher
from hashlib import sha256
from pathlib import Path

from discernus.sessions.findings import Finding, finding
from discernus.sessions.integrity import LOGS, Appended, Covered, Hashed, beginning, marks_of, split_marks

MOST_LINES = 20  # of a file that are named one by one

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
        elif name in listed.lines and now.bytes:
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
        if sha256(beginning(folder, name, was.bytes)).hexdigest() == was.sha256:
            continue
        if name in listed.lines and found[name].bytes:
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
            return sha256(file.read(was.bytes)).hexdigest() == was.sha256
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
        for number, (was, is_) in enumerate(zip(before, reordered, strict=True), 1):
            if was != is_:
                yield finding("reordered", name, f"this line stood at line {before.index(is_) + 1}", line=number)
        return
    for kind, start, end, first, last in SequenceMatcher(None, before, now, autojunk=False).get_opcodes():
        if kind == "equal":
            continue
        both = min(end - start, last - first)
        for place in range(first, first + both):
            yield finding("altered", name, "this line is not what it was", line=place + 1)
        for place in range(first + both, last if not grows or end < len(before) else first):
            what = "this line stands there twice" if now[place] in before else "this line was not there"
            yield finding("added", name, what, line=place + 1)
        if start + both < end:
            gone = f"line {start + both + 1}" if end - start - both == 1 else f"lines {start + both + 1} to {end}"
            yield finding("removed", name, f"{gone} of {len(before)} is gone", line=last + 1)
