"""``verify``: the verdict first, then each finding with its place, then what was not covered, and why."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from textwrap import wrap

from cli.display import counted, write
from cli.exits import COMPLETE, INVALID, PARTIAL, CommandError
from cli.sessions import session_meant
from cli.tables import WIDTH
from discernus.sessions.integrity.examination import is_session
from discernus.sessions.integrity.findings import Finding, Verification
from discernus.sessions.integrity.signing import KeyUnusable, read_public_key
from discernus.sessions.integrity.verification import NotVerifiable, is_package, verify
from discernus.settings import Settings

MOST_SHOWN = 40  # findings of a kind; --json lists all
HEADINGS = {
    "altered": "Altered",
    "added": "Added",
    "removed": "Removed",
    "reordered": "In another order",
    "torn": "Cut off",
    "inconsistent": "Contradicting each other",
    "wrong_key": "Signed by another key",
    "unsigned": "Not signed",
}


def verify_command(settings: Settings, name: str, public_key: Path | None, as_json: bool) -> int:
    """Say whether a session or a package is what it was; return 0 if it is, 3 if something was found."""
    try:
        key = read_public_key(public_key) if public_key is not None else None
        found = verify(_path_of(settings, name), public_key=key)
    except (KeyUnusable, NotVerifiable) as refused:
        raise CommandError(str(refused), INVALID) from refused
    if as_json:
        write(json.dumps(_for_programs(found), ensure_ascii=False))
    else:
        for line in _lines(found, demanded=key is not None):
            write(line)
    return COMPLETE if found.intact else PARTIAL


def _path_of(settings: Settings, name: str) -> Path:
    """Return the folder or file that is meant: a path, or a session in the store, even one without its facts."""
    path = Path(name).expanduser()
    if name and path.exists() and (is_session(path) or is_package(path)):
        return path
    named = settings.projects_dir.glob(f"*/experiments/*/sessions/{name.strip('/').rpartition('/')[2]}")
    folders = [folder for folder in named if is_session(folder) and name.strip("/") in _names(folder)]
    return folders[0] if len(folders) == 1 else session_meant(settings, name).folder


def _names(folder: Path) -> tuple[str, str]:
    """Return what a session may be called by: its own name, and with its project and experiment before it."""
    return folder.name, f"{folder.parents[3].name}/{folder.parents[1].name}/{folder.name}"


def _for_programs(found: Verification) -> dict[str, object]:
    return {
        "session": found.name,
        "intact": found.intact,
        "state": found.state,
        "version": found.version,
        "sealed_at": found.sealed_at,
        "signed_by": found.signed_by,
        "packaged": found.packaged,
        "files": found.files,
        "findings": [
            {"kind": one.kind, "place": one.place, "what": one.what, "means": one.means} for one in found.findings
        ],
        "redactions": [
            {"record": one.record, "sealed": one.sealed, **one.redaction.model_dump(mode="json")}
            for one in found.redactions
        ],
        "uncovered": [asdict(one) for one in found.uncovered],
    }


def _lines(found: Verification, *, demanded: bool) -> Iterator[str]:
    yield _wrapped(_verdict(found))
    yield from (_wrapped(line, "  ") for line in _circumstances(found, demanded=demanded))
    for kind, heading in HEADINGS.items():
        of_kind = [one for one in found.findings if one.kind == kind]
        if of_kind:
            yield f"\n{heading} ({len(of_kind)})"
            yield from (line for one in of_kind[:MOST_SHOWN] for line in _finding(one))
            if len(of_kind) > MOST_SHOWN:
                yield f"  and {len(of_kind) - MOST_SHOWN} more; --json lists all"
    if found.redactions:
        yield f"\nTaken out, and declared ({len(found.redactions)})"
        for one in found.redactions:
            said = one.redaction
            files, by = counted(len(said.files), "file"), "" if one.sealed else "; no seal covers the record"
            yield _wrapped(f"{said.kind} of {said.at:%Y-%m-%d}, {files}: {said.reason} ({one.record}{by})", "  ")
    if found.uncovered:
        yield "\nNot covered"
        yield from (_wrapped(f"{one.what}: {one.why}", "  ") for one in found.uncovered)


def _verdict(found: Verification) -> str:
    what = f"the package of {found.name}" if found.packaged else found.name
    if found.findings and all(one.kind in ("unsigned", "wrong_key") for one in found.findings):
        return f"NOT PROVED: {what}: nothing is altered, and the given key has not signed it"
    if not found.intact:
        return f"NOT INTACT: {what}: {counted(len(found.findings), 'finding')}"
    if found.state == "under_way":
        return f"under way: {what}: nothing is altered so far; it is not sealed" + (
            f" since version {found.version}" if found.version else " yet"
        )
    return f"intact: {what}, sealed as version {found.version} at {_moment(found.sealed_at)}"


def _circumstances(found: Verification, *, demanded: bool) -> Iterator[str]:
    yield f"{found.files:,} files were looked at"
    if found.signed_by is not None:
        whose = "the given key" if demanded else "nobody has said here whose key that is"
        yield (
            f"signed by {found.signed_by}: {whose}" if found.intact or not demanded else f"signed by {found.signed_by}"
        )


def _moment(at: str | None) -> str:
    return f"{datetime.fromisoformat(at):%Y-%m-%d %H:%M} UTC" if at else "an unknown time"


def _finding(one: Finding) -> Iterator[str]:
    yield f"  {one.place}"
    yield _wrapped(one.what, "    ")
    if one.means:
        yield _wrapped(f"({one.means})", "    ")


def _wrapped(text: str, indent: str = "") -> str:
    return "\n".join(
        wrap(
            text,
            WIDTH,
            initial_indent=indent,
            subsequent_indent=f"{indent}  ",
            break_long_words=False,
            break_on_hyphens=False,
        )
    )
