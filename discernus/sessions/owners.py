"""Who is at work: locks that the operating system releases when their holder dies, however it dies.

A lock is an exclusive ``flock`` on a small file. Nothing has to be cleaned up after ``kill -9``, and no process id
is ever trusted: a process id can be given out again, a lock cannot be held by the dead.
"""

from __future__ import annotations

import fcntl
import os
import socket
from pathlib import Path
from types import TracebackType
from uuid import uuid4

HOST = socket.gethostname()


class Lock:
    """An exclusive lock on a file, held until ``release`` or the end of the process."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor: int | None = None

    def acquire(self, *, wait: bool = False) -> bool:
        """Take the lock; return whether it is ours now. With ``wait``, block until it is."""
        if self._descriptor is not None:
            return True
        self.path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            os.close(descriptor)
            return False
        self._descriptor = descriptor
        return True

    def release(self) -> None:
        """Give the lock back, if it is ours."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> Lock:
        self.acquire(wait=True)
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def is_held(path: Path) -> bool:
    """Return whether some living process holds the lock on that file."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


class Onlooker:
    """Someone who only asks which owners live, and leaves no trace."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def may_live(self, owner: str) -> bool:
        """Return whether that owner may still be at work; of other machines one can only say: perhaps."""
        return owner.rsplit("-", 2)[0] != HOST or is_held(self.folder / f"{owner}.lock")


class Owner(Onlooker):
    """This process as the owner of calls: its id stands in every intent, its lock says whether it still lives."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.id = f"{HOST}-{os.getpid()}-{uuid4().hex[:8]}"
        self._lock = Lock(folder / f"{self.id}.lock")
        self._lock.acquire()

    def close(self) -> None:
        """Stop being an owner."""
        self._lock.path.unlink(missing_ok=True)
        self._lock.release()

    def __enter__(self) -> Owner:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
