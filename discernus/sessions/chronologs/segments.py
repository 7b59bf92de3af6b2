"""The segments of this process: the parts of chronologs that it alone writes, one for each session that it works on.

A line is chained and kept in memory at once; one thread writes what has come together and flushes it to the disk with
a single ``fdatasync``, for each flush costs as much as any, whatever it carries. What the disk refuses stays in memory
and is tried again. The lock on a segment tells that its writer lives; a forked child starts with none, and has its own.
"""

from __future__ import annotations

import atexit
import fcntl
import os
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import uuid4

import structlog

from discernus.sessions import layout
from discernus.sessions.chronologs.events import line_of
from discernus.sessions.owners import HOST
from discernus.sessions.store import LocalStore

PAUSE_S = 0.005  # at the least between two flushes: events that come thick and fast share one
RETRY_S = 1.0  # until a disk that refused is tried again
MOST_OPEN = 64  # segments that a process keeps open, each with a file descriptor

log = structlog.get_logger()


class Segment:
    """One writer's part of a session's chronolog. ``sequence`` and ``previous`` are of this part."""

    def __init__(self, folder: Path) -> None:
        self.writer = f"{HOST}-{os.getpid()}-{uuid4().hex[:8]}"
        self._folder = folder
        self._lock = threading.Lock()
        self._waiting = bytearray()
        self._flushed = True
        self._sequence = 0
        self._previous: str | None = None
        self._descriptor: int | None = None

    @property
    def behind(self) -> bool:
        """Whether there is anything that is not durable yet."""
        return bool(self._waiting) or not self._flushed

    def add(self, event: str, actor: str, facts: dict[str, Any]) -> None:
        """Chain an event and keep it until it is written."""
        with self._lock:
            at = datetime.now(UTC)
            try:
                line = line_of(self._sequence + 1, at, event, actor, facts, self._previous)
            except (TypeError, ValueError):  # what JSON has no form for is told as well as it can be
                line = line_of(self._sequence + 1, at, event, actor, _in_words(facts), self._previous)
            self._sequence += 1
            self._previous = sha256(line).hexdigest()
            self._waiting += line + b"\n"

    def write(self) -> None:
        """Write and flush what waits; one thread at a time. Raises OSError and keeps what was not written."""
        if not self.behind:
            return
        if self._descriptor is None:
            self._descriptor = self._opened()
        while self._waiting:
            self._flushed = False
            written = os.write(self._descriptor, bytes(self._waiting))
            with self._lock:
                del self._waiting[:written]
        os.fdatasync(self._descriptor)
        self._flushed = True

    def close(self) -> None:
        """Give up the file, and with it the lock."""
        if self._descriptor is not None:
            os.close(self._descriptor)

    def _opened(self) -> int:
        if not self._folder.is_dir():
            raise FileNotFoundError(f"the session's folder {self._folder} is gone")
        store = LocalStore(self._folder)
        name = layout.segment(self.writer)
        store.put_if_absent(name, b"")
        descriptor = os.open(store.path(name), os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        fcntl.flock(descriptor, fcntl.LOCK_EX)  # waits for those who only look
        return descriptor


class _Writer:
    """The thread that writes, and all that it writes for."""

    def __init__(self) -> None:
        self._segments: dict[Path, Segment] = {}
        self._guard = threading.Lock()
        self._writing = threading.Lock()
        self._wanted = threading.Event()
        self._thread: threading.Thread | None = None

    def append(self, folder: Path, event: str, actor: str, facts: dict[str, Any]) -> None:
        with self._guard:
            self._segment(folder).add(event, actor, facts)
            if self._thread is None:
                with suppress(RuntimeError):  # at the interpreter's end: then it is written when we leave
                    thread = threading.Thread(target=self._run, name="chronolog", daemon=True)
                    thread.start()
                    self._thread = thread
        self._wanted.set()

    def flush(self, folder: Path | None = None) -> None:
        """Write here and now what waits for that session, or for all; raise OSError if the disk refuses."""
        with self._guard:
            segments = [one for at, one in self._segments.items() if folder in (None, at)]
        refused = None
        with self._writing:
            for segment in segments:
                try:
                    segment.write()
                except OSError as error:  # the others may lie on another disk
                    refused = error
        if refused is not None:
            raise refused

    def abandon(self) -> None:
        """Close what a fork has handed down: the files, their locks and the lines that wait are the parent's."""
        for segment in self._segments.values():
            segment.close()

    def _segment(self, folder: Path) -> Segment:
        segment = self._segments.pop(folder, None) or Segment(folder)
        self._segments[folder] = segment  # the last one used stands last
        if len(self._segments) > MOST_OPEN and self._writing.acquire(blocking=False):
            try:
                self._close_idle()
            finally:
                self._writing.release()
        return segment

    def _close_idle(self) -> None:
        """End the segment that was used longest ago; should its session go on, it gets another."""
        for folder, segment in list(self._segments.items())[:-MOST_OPEN]:
            if not segment.behind:
                segment.close()
                del self._segments[folder]

    def _run(self) -> None:
        refused = False
        while True:
            self._wanted.wait()
            self._wanted.clear()
            try:
                self.flush()
                refused = False
                time.sleep(PAUSE_S)
            except OSError as error:
                if not refused:
                    log.error("chronolog_refused", error=str(error), held_in_memory=True)
                refused = True
                time.sleep(RETRY_S)
                self._wanted.set()


def append(folder: Path, event: str, actor: str, facts: dict[str, Any]) -> None:
    """Chain an event to this process's segment of the session in ``folder`` and return; it is written by itself."""
    _writer.append(folder, event, actor, facts)


def flush(folder: Path | None = None) -> None:
    """Return once everything that was appended for the session, or for all, is durable; OSError if it cannot be."""
    _writer.flush(folder)


def is_being_written(path: Path) -> bool:
    """Return whether the segment's writer lives; asked without a trace, also of a folder that nobody may write."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _in_words(facts: dict[str, Any]) -> dict[str, str]:
    return {str(name): str(value) for name, value in facts.items()}


def _begin_anew() -> None:
    global _writer  # a forked child has no thread, and must not write what is its parent's
    _writer.abandon()
    _writer = _Writer()


def _flush_at_exit() -> None:
    with suppress(OSError):
        flush()


_writer = _Writer()
os.register_at_fork(after_in_child=_begin_anew)
atexit.register(_flush_at_exit)
