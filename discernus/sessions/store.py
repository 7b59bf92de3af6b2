"""The store: the one small interface through which everything durable is written, and its form on local files.

Why by hand: what is needed is a create-if-absent that is atomic *and* durable (fsync of file and folder, then a hard
link), which no file-system library offers; object-storage libraries have it under the same names.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol
from uuid import uuid4

TEMPORARY_PREFIX = ".tmp-"


class NotInStore(KeyError):
    """Nothing is stored under that name."""

    def __str__(self) -> str:
        return f"nothing is stored as {self.args[0]!r}"


class Store(Protocol):
    """Bytes under slash-separated names. ``durable`` means: survives a power cut once the call has returned."""

    def put_if_absent(self, name: str, data: bytes, *, with_next: bool = False) -> bool:
        """Store ``data`` durably unless the name is taken; return whether it was stored. Atomic among all writers.

        ``with_next`` lets the name become durable together with the next durable write to the same folder.
        """
        ...

    def put(self, name: str, data: bytes, *, durable: bool = True) -> None:
        """Store ``data``, replacing what was there; readers see the old bytes or the new, never a mixture."""
        ...

    def get(self, name: str) -> bytes:
        """Return the bytes, or raise NotInStore."""
        ...

    def exists(self, name: str) -> bool:
        """Return whether the name is taken."""
        ...

    def names(self, folder: str) -> list[str]:
        """Return the sorted names directly in ``folder`` (without the folder); empty if there is none."""
        ...

    def append(self, name: str, lines: bytes) -> int:
        """Add whole lines to a file that only the caller writes; return its size afterwards. Not durable by itself."""
        ...

    def remove(self, name: str, *, durable: bool = False) -> None:
        """Forget the name, if it is there. ``durable`` means: it stays forgotten whatever happens then."""
        ...

    def move(self, names: Mapping[str, str]) -> None:
        """Let what is stored have its new name, which nothing has; all of it durable once the call has returned."""
        ...

    def size(self, name: str) -> int:
        """Return the bytes stored under the name; 0 if there is nothing."""
        ...

    def free_bytes(self) -> int:
        """Return how many bytes may still be written."""
        ...


class LocalStore:
    """The store on local files under ``root``; every name is a relative path."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, name: str) -> Path:
        """Return where the name lies; names that would leave the root are refused (ValueError)."""
        if name.startswith("/") or ".." in name.split("/"):
            raise ValueError(f"{name!r} is not a name inside the store")
        return self.root / name

    def put_if_absent(self, name: str, data: bytes, *, with_next: bool = False) -> bool:
        target = self.path(name)
        temporary = self._write_beside(target, data, durable=True)
        try:
            os.link(temporary, target)
        except FileExistsError:
            return False
        finally:
            temporary.unlink()
        if not with_next:
            _sync_folder(target.parent)
        return True

    def put(self, name: str, data: bytes, *, durable: bool = True) -> None:
        target = self.path(name)
        temporary = self._write_beside(target, data, durable)
        try:
            temporary.replace(target)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise
        if durable:
            _sync_folder(target.parent)

    def get(self, name: str) -> bytes:
        try:
            return self.path(name).read_bytes()
        except (FileNotFoundError, NotADirectoryError) as missing:
            raise NotInStore(name) from missing

    def exists(self, name: str) -> bool:
        return self.path(name).exists()

    def names(self, folder: str) -> list[str]:
        try:
            with os.scandir(self.path(folder)) as entries:
                return sorted(entry.name for entry in entries if not entry.name.startswith(TEMPORARY_PREFIX))
        except FileNotFoundError:
            return []

    def append(self, name: str, lines: bytes) -> int:
        target = self.path(name)
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("ab") as file:
            file.write(lines)
            return file.tell()

    def remove(self, name: str, *, durable: bool = False) -> None:
        target = self.path(name)
        target.unlink(missing_ok=True)
        if durable and target.parent.is_dir():
            _sync_folder(target.parent)

    def move(self, names: Mapping[str, str]) -> None:
        paths = [(self.path(name), self.path(to)) for name, to in names.items()]
        for folder in {to.parent for _, to in paths}:
            _make_folder(folder)
        for path, to in paths:
            path.rename(to)
        for folder in {one.parent for pair in paths for one in pair}:
            _sync_folder(folder)

    def size(self, name: str) -> int:
        try:
            return self.path(name).stat().st_size
        except FileNotFoundError:
            return 0

    def free_bytes(self) -> int:
        self.root.mkdir(parents=True, exist_ok=True)
        disk = os.statvfs(self.root)
        return disk.f_bavail * disk.f_frsize

    def _write_beside(self, target: Path, data: bytes, durable: bool) -> Path:
        temporary = target.with_name(f"{TEMPORARY_PREFIX}{uuid4().hex}")
        try:
            descriptor = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
        except FileNotFoundError:
            _make_folder(target.parent)
            descriptor = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                if durable:
                    os.fsync(descriptor)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise
        return temporary


def _make_folder(folder: Path) -> None:
    """Make the folder and whatever is missing above it, each durably."""
    missing = [one for one in (folder, *folder.parents) if not one.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for one in missing:
        _sync_folder(one.parent)


def _sync_folder(folder: Path) -> None:
    """Make the folder's entries durable; a file's own fsync does not promise that its name survives."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
