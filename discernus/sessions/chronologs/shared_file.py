"""A file of lines that several processes append to, one at a time: whole lines, durable, after the last whole line."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from types import TracebackType

from discernus.sessions.store import LocalStore

CHUNK = 65536


class SharedFile:
    """The file, ours alone while in the ``with`` block; it is made if there is none. All methods raise OSError."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor = -1

    def __enter__(self) -> SharedFile:
        LocalStore(self.path.parent).put_if_absent(self.path.name, b"")
        self._descriptor = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._descriptor)

    def append(self, lines: bytes) -> None:
        """Add whole lines durably; all of them, or none where the disk refuses."""
        size = os.fstat(self._descriptor).st_size
        left = memoryview(lines)
        try:
            while left:
                left = left[os.write(self._descriptor, left) :]
            os.fdatasync(self._descriptor)
        except OSError:
            os.ftruncate(self._descriptor, size)
            raise

    def cut(self, offset: int) -> None:
        """Forget what stands from ``offset`` on."""
        os.ftruncate(self._descriptor, offset)
        os.fsync(self._descriptor)


def torn_from(path: Path) -> int | None:
    """Return the offset at which a last line without an end begins; None if the file ends as it should."""
    with path.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        while end:
            begin = max(0, end - CHUNK)
            file.seek(begin)
            found = file.read(end - begin).rfind(b"\n")
            if found >= 0:
                whole = begin + found + 1
                return None if whole == path.stat().st_size else whole
            end = begin
        return 0 if path.stat().st_size else None


def last_line(path: Path) -> bytes | None:
    """Return the last whole line without its end; None if there is none."""
    with path.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        tail = b""
        while end and tail.count(b"\n") < 2:
            begin = max(0, end - CHUNK)
            file.seek(begin)
            tail = file.read(end - begin) + tail
            end = begin
    lines = tail.split(b"\n")[:-1]
    return lines[-1] if lines else None
