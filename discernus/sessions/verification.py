"""``verify``: what can be proved of a session's folder, or of a replication package, from its own files alone."""

from __future__ import annotations

import tempfile
import zipfile
import zlib
from dataclasses import replace
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from discernus.sessions import layout
from discernus.sessions.bags import bag_findings, is_bag
from discernus.sessions.examination import examine, is_session
from discernus.sessions.findings import Finding, Verification, finding


class NotVerifiable(ValueError):
    """What is at a path is neither a session nor a package; the message says what it is taken for."""


def verify(path: Path, *, public_key: Ed25519PublicKey | None = None) -> Verification:
    """Return what can be proved of the session in a folder, or of the package in a folder or a .zip.

    ``public_key`` is the one that must have signed the session's newest seal. Raise NotVerifiable.
    """
    if _is_zip(path):
        return _verify_zip(path, public_key)
    if is_session(path):
        return examine(path, public_key)
    package = _package_in(path)
    if package is None:
        what = "holds neither a session nor a package" if path.is_dir() else "is neither a folder nor a .zip"
        raise NotVerifiable(f"'{path}' {what}; name a session, its folder, or an exported package")
    return _verify_package(package, public_key)


def is_package(path: Path) -> bool:
    """Return whether an exported package is there: a bag, a folder that holds one, or a .zip."""
    return _is_zip(path) or _package_in(path) is not None


def _is_zip(path: Path) -> bool:
    return path.is_file() and path.suffix == ".zip"


def _verify_zip(path: Path, public_key: Ed25519PublicKey | None) -> Verification:
    with tempfile.TemporaryDirectory(prefix="discernus-verify-") as folder:
        try:
            with zipfile.ZipFile(path) as packed:
                cut_off = [name for name in packed.namelist() if not _unpack(packed, name, Path(folder))]
            package = _package_in(Path(folder))
        except zipfile.BadZipFile:
            package, cut_off = None, []
        if package is None:
            what = "it holds no package, or cannot be unpacked any more"
            return Verification(path.name, "under_way", None, None, None, 0, (Finding("torn", path.name, what, ""),))
        found = _verify_package(package, public_key)
        above = "" if package == Path(folder) else f"{package.relative_to(folder).as_posix()}/"
        bad = [
            finding("altered", name.removeprefix(above), "it does not unpack to what was packed") for name in cut_off
        ]
        return replace(found, findings=(*bad, *_unnamed(bad, found.findings)))


def _unpack(packed: zipfile.ZipFile, name: str, folder: Path) -> bool:
    """Unpack one file; return whether its checksum holds."""
    try:
        packed.extract(name, folder)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError):
        return False
    return True


def _package_in(folder: Path) -> Path | None:
    return next((one for one in (folder, *sorted(folder.iterdir())) if is_bag(one)), None) if folder.is_dir() else None


def _verify_package(folder: Path, public_key: Ed25519PublicKey | None) -> Verification:
    """Return what can be proved of a package and of the session in it; places are names in the package."""
    findings = list(bag_findings(folder))
    sessions = sorted(
        path.parents[1] for path in folder.rglob(layout.SESSION) if layout.SUPERSEDED not in path.as_posix()
    )
    if not sessions:
        missing = Finding(
            "removed", f"data/…/{layout.SESSION}", "the package holds no session", "nothing can be verified"
        )
        return Verification(folder.name, "under_way", None, None, None, 0, (*findings, missing), packaged=True)
    session = sessions[0]
    found = examine(session, public_key, packaged=True)
    above = session.relative_to(folder).as_posix()
    inside = [replace(one, place=f"{above}/{one.place}") for one in found.findings]
    return replace(found, findings=(*findings, *_unnamed(findings, inside)))


def _unnamed(named: list[Finding], findings: list[Finding] | tuple[Finding, ...]) -> list[Finding]:
    """Return the findings on files that are not named yet."""
    files = {one.file for one in named}
    return [one for one in findings if one.file not in files]
