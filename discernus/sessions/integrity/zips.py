"""What of a .zip may be unpacked: it may come from a stranger, and lead out of its folder or fill the disk."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path, PurePosixPath
from stat import S_IFDIR, S_IFLNK, S_IFMT, S_IFREG

MOST_TIMES = 100  # its own size that a package may unpack to
MOST_AT_ANY_RATE = 100_000_000  # bytes that it may unpack to however small it is


class UnsafeZip(ValueError):
    """A .zip with an entry that no package has; the message names it, and says what to do."""


def refuse_unsafe(packed: zipfile.ZipFile, path: Path) -> None:
    """Raise UnsafeZip unless every entry is a plain file or folder whose name stays within the package."""
    for entry in packed.infolist():
        if odd := _odd(entry):
            raise UnsafeZip(f"'{path}' {odd}: {entry.filename!r}; no export writes that: do not unpack it")


def _odd(entry: zipfile.ZipInfo) -> str:
    name, kind = PurePosixPath(entry.filename), S_IFMT(entry.external_attr >> 16)
    if name.is_absolute() or ".." in name.parts or "\\" in entry.filename:
        return "names a file outside itself"
    if kind == S_IFLNK:
        return "holds a link"
    return "" if kind in (0, S_IFREG, S_IFDIR) else "holds what is no plain file"


def too_much(packed: zipfile.ZipFile, path: Path, folder: Path) -> str:
    """Return why a package is not unpacked, nothing if it may be: a few bytes can unpack to more than a disk holds."""
    size, unpacked = path.stat().st_size, sum(entry.file_size for entry in packed.infolist())
    if unpacked > max(MOST_TIMES * size, MOST_AT_ANY_RATE):
        return f"its {size / 1e6:,.1f} MB would unpack to {unpacked / 1e6:,.0f} MB, as no package's do; nothing was"
    if unpacked > shutil.disk_usage(folder).free:
        return f"it unpacks to {unpacked / 1e6:,.0f} MB, and less is free in {folder.parent}; nothing was unpacked"
    return ""
