"""The folder that is migrated: only ever opened for reading, and no link that leads out of it is followed."""

from __future__ import annotations

import os
from functools import cached_property
from hashlib import sha256
from pathlib import Path, PurePosixPath

_REPOSITORY = ".git"


class Source:
    """The files of a folder by their paths in it, with slashes."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()

    @cached_property
    def files(self) -> list[str]:
        """Every regular file, sorted; what lies behind links is not among them."""
        return [name for name, path in self._entries if not path.is_symlink() and path.is_file()]

    @cached_property
    def links(self) -> dict[str, str]:
        """Every symbolic link, to a file or a folder, with what it says."""
        return {name: str(path.readlink()) for name, path in self._entries if path.is_symlink()}

    @cached_property
    def skipped(self) -> list[str]:
        """Every folder in which a version control system keeps its own copies of all that is in the source."""
        return sorted(
            path.relative_to(self.root).as_posix() for path in self.root.rglob(_REPOSITORY) if not path.is_symlink()
        )

    @cached_property
    def odd(self) -> list[str]:
        """What is neither file, folder nor link."""
        return [name for name, path in self._entries if not path.is_symlink() and not path.is_file()]

    @cached_property
    def _entries(self) -> list[tuple[str, Path]]:
        found = []
        for folder, folders, files in os.walk(self.root):
            folders[:] = sorted(set(folders) - {_REPOSITORY})
            linked = [name for name in folders if Path(folder, name).is_symlink()]
            for name in (*files, *linked):
                path = Path(folder, name)
                found.append((path.relative_to(self.root).as_posix(), path))
        return sorted(found)

    def holds(self, link: str) -> bool:
        """Return whether a link leads to something in the source, which is then read in its own place."""
        target = (self.root / link).resolve()
        return target.exists() and target.is_relative_to(self.root)

    def data(self, name: str) -> bytes:
        """Return a file's bytes."""
        return (self.root / name).read_bytes()

    def text(self, name: str) -> str:
        """Return a file's text, its line ends as they are. Raise UnicodeDecodeError."""
        return self.data(name).decode("utf-8-sig")

    def sha256(self, name: str) -> str:
        """Return the hash of a file's bytes."""
        return sha256(self.data(name)).hexdigest()

    def inside(self, path: str) -> str | None:
        """Return a path as a name in the source, ``..`` resolved; None where it leads out."""
        parts: list[str] = []
        for part in PurePosixPath(path).parts:
            if part == "..":
                if not parts:
                    return None
                parts.pop()
            elif part not in (".", "/"):
                parts.append(part)
        return "/".join(parts)
