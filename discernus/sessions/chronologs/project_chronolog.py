"""The project's chronolog: its sessions opened, finished and sealed, one chained line each.

PROJECT_CHRONOLOG_<P>.jsonl lies outside every session: one whose every file was written anew still has
to agree with it.

event                   facts
session_opened          session, analyses, documents, models, runs, extends, migrated_from
session_finished        session, version, status, scored, parked, in_doubt, cost_usd
session_sealed          session, version, root_sha256, seal_sha256
session_migrated        session, source, calls
session_exported        session, package, sha256
session_redacted        session, kind, record
experiment_registered   experiment, registration, sha256
answer_asked_again      session, call, model, folder
line_torn               as in a session's chronolog
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from discernus.sessions.chronologs.chains import Chain, Flaw
from discernus.sessions.chronologs.chronolog import set_torn_aside, this_process
from discernus.sessions.chronologs.events import Event, line_of, read_lines
from discernus.sessions.chronologs.shared_file import SharedFile, last_line, torn_from


def project_chronolog(projects_dir: Path, project: str) -> Path:
    """Return where the project's chronolog lies."""
    return projects_dir / project / f"PROJECT_CHRONOLOG_{project}.jsonl"


def note_project(projects_dir: Path, project: str, event: str, /, **facts: Any) -> None:
    """Note an event of a project; it is durable once this has returned. Raises OSError."""
    with SharedFile(project_chronolog(projects_dir, project)) as shared:
        _append(shared, event, facts)


def note_project_once(projects_dir: Path, project: str, event: str, /, **facts: Any) -> None:
    """Note an event of a project unless it is there with the same facts: of a step that a crash may have repeated."""
    path = project_chronolog(projects_dir, project)
    wanted = json.loads(json.dumps(facts))
    with SharedFile(path) as shared:
        if not any(one.event.event == event and one.event.facts == wanted for one in read_lines(path, Event).read):
            _append(shared, event, facts)


def read_project_events(projects_dir: Path, project: str) -> list[Event]:
    """Return what happened in the project, as far as it can be read."""
    return [line.event for line in read_lines(project_chronolog(projects_dir, project), Event).read]


def check_project(projects_dir: Path, project: str) -> list[Flaw]:
    """Return what is wrong with the chain of the project's chronolog; only the seals vouch for its last line."""
    path = project_chronolog(projects_dir, project)
    chain = Chain(path.name, read_lines(path, Event))
    flaws = chain.flaws()
    if chain.lines.torn:
        number = len(chain.lines.read) + len(chain.lines.unreadable) + 1
        flaws.append(Flaw("torn", chain.place(number), "a crash has cut it off; the next event sets it aside"))
    return flaws


def _append(shared: SharedFile, event: str, facts: dict[str, Any]) -> None:
    torn = torn_from(shared.path)
    if torn is not None:
        folder = shared.path.parent
        mended = set_torn_aside(folder, shared.path, torn)
        shared.cut(torn)
        shared.append(_next(shared.path, "line_torn", mended))
    shared.append(_next(shared.path, event, facts))


def _next(path: Path, event: str, facts: dict[str, Any]) -> bytes:
    """Return the line that comes next."""
    before = last_line(path)
    sequence, previous = 1, None
    if before is not None:
        sequence, previous = _sequence(path, before) + 1, sha256(before).hexdigest()
    return line_of(sequence, datetime.now(UTC), event, this_process(), facts, previous) + b"\n"


def _sequence(path: Path, line: bytes) -> int:
    """Return the sequence of the last line; where somebody has edited that, how many lines there are."""
    try:
        return int(json.loads(line)["sequence"])
    except (ValueError, KeyError, TypeError):
        return path.read_bytes().count(b"\n")
