"""Which session a command means: an unfinished one goes on, a finished one stands, a changed one never mixes."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Literal
from uuid import uuid4

from discernus import __version__
from discernus.experiments.definition import Definition
from discernus.experiments.freezing import SnapshotDamaged, differences, freeze, in_prompt_form, prompt_form_of
from discernus.experiments.location import project_of
from discernus.experiments.problems import InvalidDefinition
from discernus.sessions import layout
from discernus.sessions.chronologs.project_chronolog import note_project
from discernus.sessions.extending import take_over
from discernus.sessions.owners import Lock
from discernus.sessions.session import Session, SessionFacts
from discernus.sessions.settings_snapshot import SettingsSnapshot, write_snapshot
from discernus.sessions.store import LocalStore

HIDDEN = ".discernus"  # in the projects folder: the store's id, the embedded server's state, the locks of the living


class StoreDamaged(Exception):
    """A file that the whole store rests on cannot be read; the message says which and what to do."""


class InputsDamaged(Exception):
    """The frozen inputs of ``session`` cannot be read, so nobody can tell what has changed since."""

    def __init__(self, session: Session) -> None:
        super().__init__(f"the frozen inputs of {session.name} cannot be read")
        self.session = session


@dataclass(frozen=True)
class Choice:
    """A session that the command may mean. ``changes`` tells what differs between its snapshot and the live files."""

    session: Session
    state: Literal["unfinished", "partial", "complete"]
    changes: tuple[str, ...]


def store_id(projects_dir: Path) -> str:
    """Return the id of the store, made at its first use; queues carry it, so that no worker serves a foreign store."""
    store = LocalStore(projects_dir / HIDDEN)
    fresh = json.dumps({"format": 1, "store": uuid4().hex[:12]}).encode()
    store.put_if_absent("store.json", fresh)
    try:
        return str(json.loads(store.get("store.json"))["store"])
    except (ValueError, KeyError, TypeError):
        raise StoreDamaged(
            f"{store.path('store.json')} cannot be read: it holds the id of the projects folder; "
            "put it back from a copy, or remove it to have a new id made (sessions keep theirs)"
        ) from None


def sessions_folder(projects_dir: Path, folder: Path) -> Path:
    """Return where an experiment's sessions lie: beside it, or in project ``local`` if it lies outside."""
    return projects_dir / project_of(folder) / "experiments" / folder.name / "sessions"


def home_of(projects_dir: Path, facts: SessionFacts) -> Path:
    """Return where a session of these facts lies, and where every worker looks for it."""
    return projects_dir / facts.project / "experiments" / facts.experiment / "sessions" / facts.session


def sessions_in(folder: Path) -> list[Session]:
    """Return the sessions of a sessions folder, oldest first; a freezing that was cut off is not a session."""
    if not folder.is_dir():
        return []
    paths = sorted(path for path in folder.iterdir() if (path / layout.SESSION).is_file())
    return [Session(path) for path in paths]


def state_of(session: Session) -> Literal["unfinished", "partial", "complete"]:
    """Return whether there is anything left to do for the session."""
    status, _ = session.noted_status()
    if status == "complete":
        read = sum(name.startswith("extracted_") for name in session.store.names(layout.EXTRACTED))
        return "complete" if read >= session.facts.analyses else "partial"  # it was, and has lost something since
    return "partial" if status == "partial" else "unfinished"


def find_session(projects_dir: Path, folder: Path, definition: Definition, *, same_plan: bool) -> Choice | None:
    """Return the newest session of these files; with ``same_plan`` only one of the same models and runs.

    Raises InputsDamaged.
    """
    source = source_of(projects_dir, folder)
    for session in reversed(sessions_in(sessions_folder(projects_dir, folder))):
        if session.facts.source != source:
            continue
        try:
            frozen = session.definition
        except (SnapshotDamaged, InvalidDefinition) as damaged:
            raise InputsDamaged(session) from damaged
        plan = (frozen.experiment.models, frozen.experiment.runs_per_model)
        if same_plan and plan != (definition.experiment.models, definition.experiment.runs_per_model):
            continue
        return Choice(session, state_of(session), differences(frozen, definition))
    return None


def source_of(projects_dir: Path, folder: Path) -> str:
    """Return how a session names its author's files: by the path in the projects folder, else the whole path."""
    try:
        return folder.resolve().relative_to(projects_dir.resolve()).as_posix()
    except ValueError:
        return str(folder.resolve())


def opening_lock(projects_dir: Path, folder: Path) -> Lock:
    """Return the lock under which a session is chosen or opened, so that two starters do not open two."""
    return Lock(projects_dir / HIDDEN / "locks" / f"{project_of(folder)}.{folder.name}.opening.lock")


def open_session(
    projects_dir: Path,
    folder: Path,
    definition: Definition,
    *,
    concurrency: int,
    call_timeout_s: float,
    mirror: Path | None,
    extraction_models: tuple[str, ...] = (),
    synthesis_models: tuple[str, ...] = (),
    timeouts_s: dict[str, float] | None = None,
    proxied: bool = False,
    snapshot: SettingsSnapshot | None = None,
    extends: Session | None = None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Session:
    """Freeze the definition into a new session and return it; its facts are written last and make it a session.

    ``extraction_models`` read what our rules cannot, ``synthesis_models`` write prose, each in that order;
    ``timeouts_s`` holds the models that have a time of their own; ``snapshot`` is the installation's settings. What
    ``extends`` has answered is taken over before there is a session, so that none ever pays for it again; the questions
    are put in the form of that session.
    """
    if extends is not None:
        definition = in_prompt_form(definition, prompt_form_of(extends.store.get))
    sessions = sessions_folder(projects_dir, folder)
    created = now()
    while (sessions / _name(created)).exists():
        created += timedelta(seconds=1)
    session = Session(sessions / _name(created), mirror)
    for name, data in freeze(definition, folder).items():
        session.store.put(name, data)
    if snapshot is not None:
        write_snapshot(session.store, snapshot)
    if extends is not None:
        take_over(extends, session, extraction_models)
    experiment = definition.experiment
    plan = definition.plan()
    facts = SessionFacts(
        project=project_of(folder),
        experiment=folder.name,
        session=_name(created),
        store=store_id(projects_dir),
        source=source_of(projects_dir, folder),
        created_at=created,
        analyses=len(plan),
        concurrency=concurrency,
        models=experiment.models,
        call_timeout_s=call_timeout_s,
        extraction_models=extraction_models,
        synthesis_models=synthesis_models,
        timeouts_s=timeouts_s or {},
        proxied=proxied,
        extends=extends.name if extends is not None else None,
        versions={
            "discernus": __version__,
            "python": platform.python_version(),
            **{name: version(name) for name in ("temporalio", "litellm", "pydantic")},
        },
    )
    told: dict[str, object] = {
        "session": f"{facts.project}/{facts.experiment}/{facts.session}",
        "analyses": facts.analyses,
        "documents": len(definition.documents),
        "models": facts.models,
        "runs": experiment.runs_per_model,
        "extends": facts.extends,
        "migrated_from": facts.migrated_from,
    }
    note_project(projects_dir, facts.project, "session_opened", **told)  # first: no session is ever left out of it
    session.store.put(layout.SESSION, facts.model_dump_json(indent=1).encode())
    session.chronolog.note("session_opened", **told)
    return session


def _name(created: datetime) -> str:
    return f"session_{created:%Y%m%d_%H%M%S}"
