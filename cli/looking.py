"""``status``, ``watch`` and ``validate``: what can be seen without paying for anything."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from cli.display import Display, sentence
from cli.exits import COMPLETE, INVALID, PARTIAL, PAUSED, CommandError
from discernus.experiments.definition import Definition, read_definition
from discernus.experiments.location import ExperimentNotFound, find_experiment
from discernus.experiments.plan import make_plan
from discernus.experiments.problems import InvalidDefinition, Problem
from discernus.sessions import layout
from discernus.sessions.opening import HIDDEN, sessions_folder, sessions_in
from discernus.sessions.owners import Owner, is_held
from discernus.sessions.progress import ProgressReader, Standing
from discernus.sessions.session import Session
from discernus.settings import Settings

WATCH_S = 0.5


def find(settings: Settings, name: str) -> Path:
    """Return the experiment's folder, or raise CommandError saying what there is."""
    try:
        return find_experiment(name, settings.projects_dir)
    except ExperimentNotFound as unknown:
        raise CommandError(str(unknown), INVALID) from unknown


def define(settings: Settings, folder: Path) -> Definition:
    """Return the experiment with everything it names, or raise CommandError with all that is wrong."""
    try:
        return read_definition(folder, models=settings.models, runs=settings.runs, concurrency=settings.concurrency)
    except InvalidDefinition as invalid:
        raise CommandError(_listed(invalid.problems), INVALID) from invalid


def validate(settings: Settings, name: str, *, as_json: bool) -> int:
    """Say all that is wrong or odd with an experiment, and what a run would do; call nothing."""
    folder = find(settings, name)
    try:
        definition = read_definition(folder, models=settings.models, runs=settings.runs)
    except InvalidDefinition as invalid:
        if as_json:
            _print(json.dumps({"valid": False, "problems": [asdict(problem) for problem in invalid.problems]}))
        else:
            errors = sum(problem.severity == "error" for problem in invalid.problems)
            _print(_listed(invalid.problems))
            _print(f"\n{folder.name} cannot run: {errors} error{'s' if errors != 1 else ''}")
        return INVALID
    experiment = definition.experiment
    plan = make_plan(
        [document.id for document in definition.documents],
        list(experiment.models),
        list(experiment.variants),
        experiment.runs_per_model,
    )
    if as_json:
        problems = [asdict(problem) for problem in definition.warnings]
        _print(json.dumps({"valid": True, "analyses": len(plan), "problems": problems}))
        return COMPLETE
    for problem in definition.warnings:
        _print(str(problem))
    _print(
        f"{folder.name} is valid: {len(definition.documents)} documents × {len(experiment.models)} models × "
        f"{len(experiment.variants)} variants × {experiment.runs_per_model} runs = {len(plan)} analyses, "
        f"scored on {len(definition.framework.dimensions)} dimensions by {definition.framework.display_name}"
    )
    return COMPLETE


def status(settings: Settings, name: str | None, *, as_json: bool) -> int:
    """List the sessions of an experiment, or of all, as their stores tell them."""
    found = [(session, ProgressReader(session, _onlooker(settings)).read()) for session in _sessions(settings, name)]
    if as_json:
        _print(json.dumps([{"session": session.name, **_facts(session, standing)} for session, standing in found]))
        return COMPLETE
    if not found:
        _print("no session yet; start one with: starter.py EXPERIMENT")
        return COMPLETE
    console = Console(highlight=False)
    table = Table(box=None, padding=(0, 2, 0, 0))
    for heading in ("session", "status", "stage", "analyses", "parked", "in doubt", "cost"):
        table.add_column(heading, overflow="fold")
    for session, standing in found:
        table.add_row(
            session.name,
            _shown_status(session, standing),
            standing.stage,
            f"{standing.done}/{standing.planned}",
            str(standing.parked),
            str(standing.in_doubt),
            f"{standing.cost_usd:.4f} USD" + (f" + {standing.unpriced} unpriced" if standing.unpriced else ""),
        )
    console.print(table)
    for session, standing in found[-1:]:
        if standing.status == "paused":
            _print(f"paused: {standing.reason}")
        if standing.stage == "sealed":
            _print(f"report: {session.folder / layout.REPORT}")
    return COMPLETE


def watch(settings: Settings, name: str, display: Display) -> int:
    """Show a session until it ends, read from its store; nothing is started or stopped by it."""
    session = _one_session(settings, name)
    reader = ProgressReader(session, _onlooker(settings))
    while True:
        standing = reader.read()
        display.show(standing)
        if standing.stage == "sealed" or standing.status == "paused":
            facts = _facts(session, standing)
            display.end({"lines": [f"{facts['status']}: {session.name}, {sentence(standing, None)}"], **facts})
            return {"partial": PARTIAL, "paused": PAUSED}.get(standing.status, COMPLETE)
        time.sleep(WATCH_S)


def _one_session(settings: Settings, name: str) -> Session:
    """Return the session of that full name, or the newest of the experiment of that name."""
    for session in _sessions(settings, None):
        if name in (session.name, session.facts.session):
            return session
    sessions = _sessions(settings, name)
    if not sessions:
        raise CommandError(f"{name!r} has no session yet; start one with: starter.py {name}", INVALID)
    return sessions[-1]


def _sessions(settings: Settings, name: str | None) -> list[Session]:
    if name is not None:
        return sessions_in(sessions_folder(settings.projects_dir, find(settings, name)))
    folders = sorted(settings.projects_dir.glob("*/experiments/*/sessions"))
    return [session for folder in folders for session in sessions_in(folder)]


def _onlooker(settings: Settings) -> Owner:
    """Return an owner that only asks who lives."""
    return Owner(settings.projects_dir / HIDDEN / "owners")


def _shown_status(session: Session, standing: Standing) -> str:
    """Return the status, telling a session that runs from one that was left."""
    if standing.status != "running":
        return standing.status
    return "running" if is_held(session.folder / layout.OWNER_LOCK) or standing.in_flight else "unfinished"


def _facts(session: Session, standing: Standing) -> dict[str, object]:
    facts = asdict(standing)
    facts.pop("latest")
    return {**facts, "status": _shown_status(session, standing), "folder": str(session.folder)}


def _listed(problems: tuple[Problem, ...]) -> str:
    return "\n".join(str(problem) for problem in problems)


def _print(text: str) -> None:
    print(text, file=sys.stdout, flush=True)  # noqa: T201
