"""What there is to search: every file of a session that holds what a model wrote, and its text as it is searched.

Strings of JSON lose their escapes there ("\\nThe" is the word "The"), and scripts without spaces get some.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from discernus.sessions import layout
from discernus.sessions.archive import TIME_NOT_RECORDED, Archive, ArchiveDamaged, ArchivedCall
from discernus.sessions.conversations import asked_again_folder
from discernus.sessions.layout import Call
from discernus.sessions.store import LocalStore, NotInStore

UNSPACED = re.compile("([\u0e00-\u0eff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff])")  # scripts without spaces

_FILE = re.compile(r"(?P<kind>rival_response|response|error)_(?P<call>.+?)(?:_try(?P<attempt>\d+))?\.(?:txt|json)")
_LITERAL = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)  # a string of JSON


@dataclass(frozen=True)
class Source:
    """A file that holds what a model wrote, in the archive of a session or of a question that was asked again.

    ``stamp`` changes with the file, its metadata, and what was read of it.
    """

    folder: Path
    name: str
    kind: str
    call: str
    stamp: str
    again: bool


def sources_of(folder: Path) -> Iterator[tuple[str, Source]]:
    """Yield every file of a session that holds what a model wrote, by its name relative to the session's folder."""
    yield from ((f"{layout.ARCHIVE}/{one.name}", one) for one in _archived(folder, again=False))
    for again in _folders(asked_again_folder(folder)):
        for one in _archived(again, again=True):
            yield os.path.relpath(again / layout.ARCHIVE / one.name, folder), one


def _archived(folder: Path, *, again: bool) -> Iterator[Source]:
    files = _stamps(folder / layout.ARCHIVE)
    read = _stamps(folder / layout.EXTRACTED)
    for name, stamp in files.items():
        found = _FILE.fullmatch(name) if name.startswith(("response_", "rival_response_", "error_")) else None
        if found is not None:
            call = found["call"]
            extracted = read.get(f"extracted_{call.partition('_')[0]}.json", "")
            stamps = f"{stamp} {files.get(f'metadata_{call}.json', '')} {extracted}"
            yield Source(folder, name, found["kind"], call, stamps, again)


def _stamps(folder: Path) -> dict[str, str]:
    """Return the size and the time of change of each file in a folder; none where there is no such folder."""
    try:
        with os.scandir(folder) as entries:
            return {
                entry.name: f"{(facts := entry.stat()).st_size}.{facts.st_mtime_ns}"
                for entry in entries
                if entry.name.endswith((".json", ".txt")) and not entry.name.startswith((".", "request_"))
            }
    except (FileNotFoundError, NotADirectoryError):
        return {}


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []


def text_of(source: Source) -> tuple[str, dict[str, Any]] | None:
    """Return what a model wrote, and what is known of its answer; None if the file is not there."""
    store = LocalStore(source.folder)
    try:
        data = store.get(f"{layout.ARCHIVE}/{source.name}")
    except NotInStore:
        return None
    text = data.decode("utf-8", "replace")
    if source.kind == "error":
        return _error(text)
    record = _record(store, source)
    if record is None:
        return text, {"model": "", "status": "damaged"}
    at = None if record.archived_at is None or TIME_NOT_RECORDED in record.marks else in_utc(record.archived_at)
    return text, {"model": record.model_requested, "answered_by": record.model_answered, "at": at}


def _record(store: LocalStore, source: Source) -> ArchivedCall | None:
    call = Call.named(source.call)
    try:
        if source.kind == "rival_response":
            attempt = _FILE.fullmatch(source.name)
            assert attempt is not None
            return Archive(store).record(call.rival("metadata", int(attempt["attempt"])))
        found = Archive(store).look_up(call)
        return found[0] if found is not None else None
    except (ArchiveDamaged, NotInStore, ValueError):
        return None


def _error(text: str) -> tuple[str, dict[str, Any]]:
    """Return what came instead of an answer, with our words on it."""
    try:
        error = json.loads(text)
        at = in_utc(datetime.fromisoformat(error["at"])) if error["at"] is not None else None
        said = "\n".join(str(error[part]) for part in ("message", "body") if error.get(part))
        return said, {"model": str(error["model"]), "at": at, "status": "failed"}
    except (ValueError, LookupError, TypeError):  # torn by a power cut
        return text, {"model": "", "status": "damaged"}


def in_utc(moment: datetime) -> str:
    """Return the moment as it is stored: as text, in an order that is that of time."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def readable(text: str) -> str:
    """Return the text as its words are searched."""
    return spaced(_LITERAL.sub(_unescaped, text))


def _unescaped(literal: re.Match[str]) -> str:
    if "\\" not in literal[0]:
        return literal[0]
    try:
        return f'"{json.loads(literal[0], strict=False)}"'.encode("utf-8", "replace").decode()
    except ValueError:
        return literal[0]


def spaced(text: str) -> str:
    """Return the text with each sign of a script without spaces as a word of its own."""
    return UNSPACED.sub(r" \1 ", text)
