"""Closing a version of a session: the hash of every file, and one hash over them all."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Literal

from discernus import __version__
from discernus.canonical import canonical_json
from discernus.sessions import layout
from discernus.sessions.archive import ArchiveDamaged
from discernus.sessions.costs import add_up
from discernus.sessions.session import Session
from discernus.sessions.store import TEMPORARY_PREFIX
from discernus.stages.records import archived
from discernus.stages.spending import calls_of, doubted

# What goes on changing after a seal, or says what the seal itself says.
UNSEALED = (
    layout.OWNER_LOCK,
    layout.TABLES_LOCK,
    layout.STATUS,
    layout.LIMITS,
    f"{layout.WAITING}/",
    "logs/",
    f"{layout.STATE}/seal_",
)


@dataclass(frozen=True)
class Sealed:
    """A sealed version. ``complete``: every planned analysis was answered and gave scores, or said there are none.

    ``cost_usd`` is what is known of the calls that were answered, or failed and were billed. Those ``in_doubt`` may
    have cost ``in_doubt_usd`` more, None if nobody knows how much.
    """

    status: Literal["complete", "partial"]
    version: int
    root_sha256: str
    scored: int
    parked: int
    in_doubt: int
    cost_usd: float
    unpriced: int
    in_doubt_usd: float | None


def seal(session: Session) -> Sealed:
    """Write the next seal and return it; a session that has not changed since its last seal keeps that one."""
    costs = add_up(calls_of(session))
    missing = sum(_is_missing(session, number) for number in _numbers(session))
    files = hashes(session.folder)
    root = sha256(canonical_json(files)).hexdigest()
    version = latest_version(session)
    if version == 0 or json.loads(session.store.get(layout.seal(version)))["root_sha256"] != root:
        version += 1
    sealed = Sealed(
        status="partial" if missing else "complete",
        version=version,
        root_sha256=root,
        scored=session.facts.analyses - missing,
        parked=missing,
        in_doubt=len(doubted(session)),
        cost_usd=costs.cost_usd or 0.0,
        unpriced=costs.unpriced,
        in_doubt_usd=costs.in_doubt_usd,
    )
    record = {
        "format": 1,
        "session": session.name,
        "sealed_at": datetime.now(UTC).isoformat(),
        "discernus_version": __version__,
        **sealed.__dict__,
        "files": files,
    }
    session.store.put_if_absent(layout.seal(version), json.dumps(record, indent=1, ensure_ascii=False).encode())
    session.note_status(sealed.status, "")
    return sealed


def gave_nothing(session: Session) -> int:
    """Return how many analyses of the newest seal have neither a score nor a word on why; 0 if there is no seal."""
    version = latest_version(session)
    return int(json.loads(session.store.get(layout.seal(version)))["parked"]) if version else 0


def _numbers(session: Session) -> range:
    return range(1, session.facts.analyses + 1)


def _is_missing(session: Session, number: int) -> bool:
    """Return whether an analysis gave nothing, or nothing that its archived answer still stands behind."""
    extracted = session.extracted(number)
    if extracted is None or extracted.extraction.status == "none":
        return True
    try:
        archived(session, extracted.call)
    except ArchiveDamaged:
        return True
    return False


def hashes(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file that a seal covers, by its name in the session."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and not path.name.startswith(TEMPORARY_PREFIX) and not name.startswith(UNSEALED):
            found[name] = sha256(path.read_bytes()).hexdigest()
    return found


def latest_version(session: Session) -> int:
    """Return the number of the newest seal, 0 if there is none."""
    seals = [name for name in session.store.names(layout.STATE) if name.startswith("seal_")]
    return max((int(name.removeprefix("seal_").removesuffix(".json")) for name in seals), default=0)
