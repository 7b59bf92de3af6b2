"""What stands against going on with a session, and what has changed since it was opened: both in words."""

from __future__ import annotations

from collections.abc import Sequence

from cli.exits import command_name
from cli.tables import wrapped
from discernus.experiments import freezing
from discernus.experiments.definition import read_definition
from discernus.experiments.problems import InvalidDefinition
from discernus.sessions.integrity.manifests import Stage, stage_of
from discernus.sessions.opening import state_of
from discernus.sessions.resuming import Conflict, how_to_extend
from discernus.sessions.session import Session
from discernus.sessions.settings_snapshot import (
    SettingsSnapshot,
    SettingsSnapshotDamaged,
    differences,
    read_snapshot,
    take_snapshot,
)
from discernus.settings import Settings
from discernus.stages.checkpoints import from_stage_on
from discernus.stages.interpretation import left_to_write

MOST_NAMED = 8  # conflicts of a kind; the others are counted


def explained(found: Sequence[Conflict]) -> list[str]:
    """Return each conflict with its choices, in lines of at most 80 columns; of many alike, the first few."""
    lines = []
    for kind in dict.fromkeys(one.kind for one in found):
        alike = [one for one in found if one.kind == kind]
        for one in alike[:MOST_NAMED]:
            lines.append(wrapped(one.what))
            lines += [wrapped(f"  - {choice}") for choice in one.choices]
        if len(alike) > MOST_NAMED:
            lines.append(f"and {len(alike) - MOST_NAMED} more like it")
    return lines


def stops(conflict: Conflict, stage: Stage | None) -> bool:
    """Return whether the conflict is in the way; who goes back must be alone, and must not lose what was read."""
    if conflict.stops:
        return True
    if conflict.kind == "nobody_to_ask":
        return asks(stage)
    if conflict.kind == "tampered":  # what rests on it would be sealed anew, as if it were true
        anew = from_stage_on(stage or "calculation")
        return any((of := stage_of(name)) is not None and of not in anew for name in conflict.files)
    lost = conflict.kind in ("damaged_answer", "missing_answer")
    return (conflict.kind == "owned" and stage is not None) or (lost and stage in ("analysis", "extraction"))


def asks(stage: Stage | None) -> bool:
    """Return whether models are asked for what is missing; what begins at a later stage makes do with what is there."""
    return stage in (None, "analysis")


def writes(settings: Settings, session: Session, stage: Stage | None) -> bool:
    """Return whether a model may be asked for prose about the tables; one that did not end goes on first."""
    if not session.facts.synthesis_models or stage == "extraction":
        return False
    state = state_of(session)
    if asks(stage):
        return stage is not None or state != "complete"
    if state == "unfinished":
        return False
    return stage == "calculation" or bool(left_to_write(session, settings, priced=False).todo)


def tries_parked(stage: Stage | None, state: str) -> bool:
    """Return whether what is parked is tried afresh."""
    return stage == "analysis" or (stage is None and state == "partial")


def changes(settings: Settings, session: Session) -> list[str]:
    """Return in words what has changed since the session was opened: settings, and the author's files."""
    if session.facts.migrated_from is not None:  # it never had files of its author's here, nor settings
        return []
    frozen = session.definition
    opened = _settings_then(session)
    given = opened.settings if opened is not None else {}
    live = settings.projects_dir / session.facts.source
    try:
        definition = read_definition(live, models=given.get("models"), runs=given.get("runs"))
    except (InvalidDefinition, OSError):
        edited: tuple[str, ...] = (f"{live} cannot be read; the session has its own copy of everything",)
    else:
        edited = freezing.differences(frozen, definition)
    if edited:
        anew = f"{command_name()} {how_to_extend(session)}"
        edited = (*edited, f"it goes on with the files as they were; {anew} opens one with those as they are")
    return [wrapped(f"changed since: {line}") for line in (*changed_settings(settings, session), *edited)]


def changed_settings(settings: Settings, session: Session) -> tuple[str, ...]:
    """Return in words which settings are not those that the session was opened with, and which of both holds."""
    opened = _settings_then(session)
    return () if opened is None else differences(opened, take_snapshot(settings))


def _settings_then(session: Session) -> SettingsSnapshot | None:
    try:
        return read_snapshot(session.store)
    except SettingsSnapshotDamaged:  # the conflicts name it
        return None
