"""A package as a BagIt bag (RFC 8493): a folder or a .zip whose manifests hold the SHA-256 of every file."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import bagit
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from discernus.sessions.integrity.bags import MANIFEST, SIGNATURE
from discernus.sessions.integrity.signing import sign
from discernus.sessions.integrity.zips import UnsafeZip, refuse_unsafe, too_much

PAYLOAD = "data"
SESSION = f"{PAYLOAD}/session"
TABLES = f"{PAYLOAD}/tables"


class PackageDamaged(Exception):
    """What is no package, or not what was packed; the message says which file and what to do."""


def make_bag(folder: Path, facts: dict[str, str]) -> None:
    """Turn the folder into a bag in its place: what is in it becomes the payload."""
    bagit.make_bag(str(folder), facts, checksums=["sha256"])


def sign_bag(folder: Path, key: Ed25519PrivateKey) -> None:
    """Sign the bag's manifest, which holds the SHA-256 of every file of the payload; the signature is a tag file."""
    (folder / SIGNATURE).write_bytes(sign(key, MANIFEST, (folder / MANIFEST).read_bytes()))
    bagit.Bag(str(folder)).save()  # which lists the signature among the tag files


def zip_bag(folder: Path, target: Path) -> None:
    """Write the bag to a .zip that unpacks to one folder of the bag's name."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, strict_timestamps=False) as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                archive.write(path, f"{folder.name}/{path.relative_to(folder).as_posix()}")


@contextmanager
def opened(package: Path) -> Iterator[Path]:
    """Yield a package's folder, unpacked for the time being where it is a .zip; PackageDamaged for what is none."""
    if package.is_dir():
        yield _bag_in(package, package)
        return
    if not package.is_file():
        raise PackageDamaged(f"there is no package '{package}'; give the folder or the .zip that export wrote")
    with TemporaryDirectory(prefix="discernus-package-") as temporary:
        _unzip(package, Path(temporary))
        yield _bag_in(Path(temporary), package)


def _bag_in(folder: Path, package: Path) -> Path:
    for one in (folder, *sorted(path for path in folder.iterdir() if path.is_dir())):
        if (one / "bagit.txt").is_file() and (one / SESSION).is_dir():
            return one
    raise PackageDamaged(f"'{package}' holds no package of a session; give the folder or the .zip that export wrote")


def _unzip(package: Path, target: Path) -> None:
    try:
        with zipfile.ZipFile(package) as archive:
            refuse_unsafe(archive, package)
            if refused := too_much(archive, package, target):
                raise PackageDamaged(f"'{package}': {refused}")
            archive.extractall(target)
    except UnsafeZip as unsafe:
        raise PackageDamaged(str(unsafe)) from unsafe
    except (zipfile.BadZipFile, OSError, EOFError) as damaged:
        shutil.rmtree(target, ignore_errors=True)
        raise PackageDamaged(f"'{package}' cannot be unpacked ({damaged}); fetch it again") from damaged
