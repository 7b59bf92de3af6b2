"""``verify``: what can be proved of a session's folder, or of a replication package, from its own files alone."""

from __future__ import annotations

import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from discernus.sessions import layout
from discernus.sessions.chronologs.project_chronolog import check_project, project_chronolog
from discernus.sessions.integrity.bags import MANIFEST, bag_findings, is_bag, manifest_signed
from discernus.sessions.integrity.examination import examine, is_session
from discernus.sessions.integrity.findings import Finding, Uncovered, Verification, finding
from discernus.sessions.integrity.manifests import names_in, oddities_in
from discernus.sessions.integrity.seals import Signed
from discernus.sessions.integrity.zips import UnsafeZip, refuse_unsafe, too_much

SESSION = "data/session"  # in a package: this one, and no other


class NotVerifiable(ValueError):
    """What is at a path is neither a session nor a package, or not to be unpacked; the message says what it is."""


def verify(path: Path, *, public_key: Ed25519PublicKey | None = None) -> Verification:
    """Return what can be proved of the session in a folder, or of the package in a folder or a .zip.

    ``public_key`` is the one that must have signed the session's newest seal. Raise NotVerifiable.
    """
    try:
        return _verify(path, public_key)
    except OSError as error:
        unread = _place(path, error.filename)
        what = f"it cannot be read: {error.strerror or error}"
        return Verification(path.name, "under_way", None, None, None, 0, (Finding("torn", unread, what, ""),))


def _place(path: Path, filename: object) -> str:
    """Return what a finding names of a file that cannot be read: where it lies below the path."""
    unread = Path(filename) if isinstance(filename, str) else path
    below = next((top for top in (path, path.resolve()) if unread != top and unread.is_relative_to(top)), None)
    return unread.relative_to(below).as_posix() if below is not None else unread.name


def _verify(path: Path, public_key: Ed25519PublicKey | None) -> Verification:
    if _is_zip(path):
        return _verify_zip(path, public_key)
    if is_session(path):
        found = examine(path, public_key)
        return replace(found, findings=(*found.findings, *_project_findings(path.resolve())))
    package = _package_in(path)
    if package is None:
        what = "holds neither a session nor a package" if path.is_dir() else "is neither a folder nor a .zip"
        raise NotVerifiable(f"'{path}' {what}; name a session, its folder, or an exported package")
    return _verify_package(package, public_key)


def _project_findings(session: Path) -> Iterator[Finding]:
    """Yield what was changed in the chronolog of the project that the session's folder lies in, if it is at hand.

    Nothing in the session rests on it, so nothing but a verification asks for it.
    """
    above = session.parents
    if len(above) < 5 or not project_chronolog(above[4], above[3].name).is_file():
        return
    means = "it tells of every session and sealing from outside of them; restore it from a copy"
    for flaw in check_project(above[4], above[3].name):
        if flaw.kind != "torn":  # a crash does that, and the next event sets it aside
            yield Finding(flaw.kind, flaw.place, flaw.what, means)


def is_package(path: Path) -> bool:
    """Return whether an exported package is there: a bag, a folder that holds one, or a .zip."""
    return _is_zip(path) or bool(_packages_in(path))


def _is_zip(path: Path) -> bool:
    return path.is_file() and path.suffix == ".zip"


def _verify_zip(path: Path, public_key: Ed25519PublicKey | None) -> Verification:
    with tempfile.TemporaryDirectory(prefix="discernus-verify-") as folder:
        try:
            with zipfile.ZipFile(path) as packed:
                refuse_unsafe(packed, path)
                refused = too_much(packed, path, Path(folder))
                if refused:
                    return _nothing(path.name, Finding("altered", path.name, refused, "fetch it again"))
                cut_off = [name for name in packed.namelist() if not _unpack(packed, name, Path(folder))]
            package = _package_in(Path(folder))
        except UnsafeZip as unsafe:
            raise NotVerifiable(str(unsafe)) from unsafe
        except (zipfile.BadZipFile, NotImplementedError):
            package, cut_off = None, [path.name] if _begins_as_zip(path) else []
        if package is None and not cut_off:
            raise NotVerifiable(f"'{path}' holds no package, or is no .zip at all; name an exported package")
        if package is None:
            what = "it holds no package, or cannot be unpacked any more"
            return _nothing(path.name, Finding("torn", path.name, what, ""))
        found = _verify_package(package, public_key)
        above = "" if package == Path(folder) else f"{package.relative_to(folder).as_posix()}/"
        bad = [
            finding("altered", name.removeprefix(above), "it does not unpack to what was packed") for name in cut_off
        ]
        return replace(found, findings=(*bad, *_unnamed(bad, found.findings)))


def _begins_as_zip(path: Path) -> bool:
    """Return whether the file was a .zip, of which a download that broke off has left no end."""
    with path.open("rb") as file:
        return file.read(4) == b"PK\x03\x04"


def _unpack(packed: zipfile.ZipFile, name: str, folder: Path) -> bool:
    """Unpack one file; return whether its checksum holds, and its name can be had."""
    try:
        packed.extract(name, folder)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError, ValueError):
        return False
    return True


def _package_in(folder: Path) -> Path | None:
    """Return the package that the folder is, or holds; None without any. Raise NotVerifiable where it holds several."""
    packages = _packages_in(folder)
    if len(packages) > 1:
        names = ", ".join(one.name for one in packages)
        raise NotVerifiable(f"'{folder}' holds {len(packages)} packages: {names}; name one of them")
    return packages[0] if packages else None


def _packages_in(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return [folder] if is_bag(folder) else [one for one in sorted(folder.iterdir()) if is_bag(one)]


def _verify_package(folder: Path, public_key: Ed25519PublicKey | None) -> Verification:
    """Return what can be proved of a package and of the session in it; places are names in the package."""
    odd = oddities_in(folder)
    if odd:
        rest = Uncovered("everything else", "nothing was read: what the findings name may lead anywhere")
        found = _nothing(folder.name, *(finding("altered", name, what) for name, what in odd.items()))
        return replace(found, files=len(names_in(folder)), uncovered=(rest,))
    signed = manifest_signed(folder, public_key)
    others = [
        finding("added", name, f"it belongs to another session than the one in {SESSION}/, which is the package's")
        for name in names_in(folder)
        if name.endswith(f"/{layout.SESSION}") and name != f"{SESSION}/{layout.SESSION}" and not _is_inside(name)
    ]
    findings = [*bag_findings(folder), *signed.findings, *others]
    session = folder / SESSION
    if not is_session(session):
        missing = Finding(
            "removed", f"{SESSION}/{layout.SESSION}", "the package holds no session", "nothing can be verified"
        )
        return _nothing(folder.name, *findings, missing)
    found = examine(session, public_key, packaged=True)
    inside = [replace(one, place=f"{SESSION}/{one.place}") for one in found.findings]
    if public_key is not None and (signed.by is None or signed.findings):
        inside += _unsigned_records(found)
    uncovered = (*_outside(signed, public_key), *found.uncovered)
    return replace(found, findings=(*findings, *_unnamed(findings, inside)), uncovered=uncovered)


def _is_inside(name: str) -> bool:
    return name.startswith(f"{SESSION}/{layout.SUPERSEDED}/")


def _unsigned_records(found: Verification) -> list[Finding]:
    """Return the records of what was withheld that nobody has signed: anyone could have taken anything out by them."""
    what = "neither the seal nor a signature of the package by the given key covers this record of what was withheld"
    return [finding("unsigned", f"{SESSION}/{one.record}", what) for one in found.redactions if not one.sealed]


def _outside(signed: Signed, public_key: Ed25519PublicKey | None) -> Iterator[Uncovered]:
    """Yield what is said by the package, and not by the session in it."""
    if signed.by is None:
        why = f"the package's {MANIFEST} alone lists them, and nobody has signed that: anyone can write it anew"
        yield Uncovered(
            f"tables, README, crate and all else outside of {SESSION}/", f"{why}; `reproduce` computes them"
        )
    elif public_key is None:
        yield Uncovered("whose key signed the package", f"compare {signed.by} with its owner's, or give --public-key")


def _nothing(name: str, *findings: Finding) -> Verification:
    """Return that nothing could be verified of a package, and why."""
    return Verification(name, "under_way", None, None, None, 0, findings, packaged=True)


def _unnamed(named: list[Finding], findings: list[Finding] | tuple[Finding, ...]) -> list[Finding]:
    """Return the findings on files that are not named yet."""
    files = {one.file for one in named}
    return [one for one in findings if one.file not in files]
