"""``checkpoints``: which stages of a session are complete, and which of its versions were sealed."""

from __future__ import annotations

import json
from datetime import datetime

from cli.display import write
from cli.exits import COMPLETE, command_name
from cli.looking import onlooker, shown_status
from cli.sessions import refuse_damaged_inputs, session_meant
from discernus.sessions import layout
from discernus.sessions.integrity.manifests import Stage
from discernus.sessions.integrity.seals import versions_sealed
from discernus.sessions.progress import ProgressReader
from discernus.sessions.session import Session
from discernus.settings import Settings
from discernus.stages.checkpoints import Checkpoint, checkpoints, products

MADE: dict[Stage, str] = {"analysis": "answered", "extraction": "read", "calculation": "tables", "synthesis": "pages"}


def show_checkpoints(settings: Settings, name: str, *, as_json: bool) -> int:
    """List the stages and the seals of a session, as its files tell them."""
    session = session_meant(settings, name)
    refuse_damaged_inputs(settings, session)
    found, sealed = checkpoints(session), _seals(session)
    status = shown_status(session, ProgressReader(session, onlooker(settings)).read())
    if as_json:
        stages = [
            {
                "stage": one.stage,
                "completed_at": None if one.completed_at is None else one.completed_at.isoformat(),
                "made": one.made,
                "planned": one.planned,
                "files": len(products(session, one.stage)),
            }
            for one in found
        ]
        write(json.dumps({"session": session.name, "status": status, "stages": stages, "seals": sealed}))
        return COMPLETE
    write(f"{session.name}: {status}")
    for one in found:
        write(f"  {one.stage:<12} {_completed(one, found):<20} {_made(one)}")
    for one_sealed in sealed:
        at, root = datetime.fromisoformat(str(one_sealed["sealed_at"])), str(one_sealed["root_sha256"])
        name = f"seal {one_sealed['version']}"
        write(f"  {name:<12} {_moment(at):<20} {one_sealed['status']}, root {root[:16]}…")
    write(f"begin anew at a stage: {command_name()} resume {session.facts.session} --from STAGE")
    write("(--dry-run says what that would do and cost)")
    return COMPLETE


def _made(one: Checkpoint) -> str:
    return f"{one.made} of {one.planned} {MADE[one.stage]}"


def _completed(one: Checkpoint, found: tuple[Checkpoint, ...]) -> str:
    """Return when a stage was completed; the earliest sessions have no checkpoint of their extraction."""
    if one.completed_at is not None:
        return _moment(one.completed_at)
    later = found[found.index(one) + 1 :]
    return "not recorded" if any(stage.completed_at is not None for stage in later) else "not complete"


def _moment(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S}"


def _seals(session: Session) -> list[dict[str, object]]:
    """Return the version, time, status and root hash of each seal, oldest first."""
    records = (json.loads(session.store.get(layout.seal(version))) for version in versions_sealed(session.store))
    return [{key: record[key] for key in ("version", "sealed_at", "status", "root_sha256")} for record in records]
