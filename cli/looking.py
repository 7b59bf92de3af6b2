"""``status``, ``watch`` and ``validate``: what can be seen without paying for anything."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from glob import escape
from pathlib import Path
from textwrap import wrap

from cli.display import Display, cost, counted, sentence, write
from cli.exits import COMPLETE, INTERRUPTED, INVALID, PARTIAL, PAUSED, CommandError, command_name
from cli.foreseeing import foresee
from cli.preparing import prepare
from cli.sessions import find as find  # the commands that look at an experiment find it here
from cli.sessions import session_meant, sessions_named
from cli.tables import WIDTH, wrapped
from discernus.experiments.definition import Definition, read_definition
from discernus.experiments.freezing import SnapshotDamaged
from discernus.experiments.location import EXPERIMENT_FILE, project_of
from discernus.experiments.problems import InvalidDefinition, Problem
from discernus.sessions import layout
from discernus.sessions.costs import sessions_of
from discernus.sessions.opening import HIDDEN
from discernus.sessions.owners import Onlooker, is_held
from discernus.sessions.progress import ProgressReader, Standing
from discernus.sessions.resuming import why_unreadable
from discernus.sessions.session import Session
from discernus.sessions.store import NotInStore
from discernus.settings import Settings
from discernus.stages.alerts import alerts_of
from discernus.stages.estimate import sentence as projection

WATCH_S = 0.5


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
            write(json.dumps({"valid": False, "problems": [asdict(problem) for problem in invalid.problems]}))
        else:
            errors = sum(problem.severity == "error" for problem in invalid.problems)
            write(wrapped(_listed(invalid.problems)))
            write(f"\n{folder.name} cannot run: {errors} error{'s' if errors != 1 else ''}")
        return INVALID
    problems = [asdict(problem) for problem in definition.warnings]
    try:
        prepared = prepare(settings, definition)
        estimate = foresee(settings, definition, prepared).estimate
    except CommandError as refused:
        if as_json:
            write(json.dumps({"valid": False, "problems": [*problems, {"what": str(refused), "severity": "error"}]}))
            return INVALID
        raise
    if as_json:
        costs = {
            "calls": asdict(estimate.calls),
            "usd": asdict(estimate.usd) if estimate.usd is not None else None,
            "worst_usd": estimate.worst_usd,
            "unpriced": estimate.unpriced,
        }
        noted = [{"what": note, "severity": "warning"} for note in prepared.notes]
        found = {"valid": True, "analyses": len(definition.plan()), "problems": [*problems, *noted], "projected": costs}
        write(json.dumps(found, ensure_ascii=False))
        return COMPLETE
    for problem in definition.warnings:
        write(wrapped(str(problem)))
    for note in prepared.notes:
        write(wrapped(f"warning: {note}"))
    framework = definition.framework
    write(describe(definition, folder))
    write(f"framework: {framework.display_name}, {counted(len(framework.dimensions), 'dimension')}")
    write(f"models: {', '.join(definition.experiment.models)}")
    write(projection(estimate))
    odd = len(definition.warnings) + len(prepared.notes)
    write(f"{folder.name} is valid" + (f", with {counted(odd, 'warning')}" if odd else ""))
    return COMPLETE


def describe(definition: Definition, folder: Path) -> str:
    """Return in one line what a run of the experiment comes to."""
    experiment = definition.experiment
    parts = [counted(len(definition.documents), "document"), counted(len(experiment.models), "model")]
    if len(experiment.variants) > 1:
        parts.append(counted(len(experiment.variants), "variant"))
    parts.append(counted(experiment.runs_per_model, "run"))
    return f"{project_of(folder)}/{folder.name}: {' × '.join(parts)} = {counted(len(definition.plan()), 'analysis')}"


def status(settings: Settings, name: str | None, *, as_json: bool) -> int:
    """List the sessions of an experiment, of a project, or of all, as their stores tell them."""
    sessions = _sessions_of(settings, name)
    unreadable = [conflict for session in sessions if (conflict := why_unreadable(session)) is not None]
    found = [
        (session, ProgressReader(session, onlooker(settings)).read())
        for session in sessions
        if why_unreadable(session) is None
    ]
    for conflict in unreadable:
        write(wrapped("; ".join([conflict.what, *conflict.choices])), error=True)
    if as_json:
        for session, standing in found:
            write(json.dumps({"session": session.name, **_facts(session, standing)}, ensure_ascii=False))
        return COMPLETE
    if not sessions:
        write(f"no session yet; start one with: {command_name()} {_experiment_of(settings, name)}")
    if not found:
        return COMPLETE
    above = ""
    lines = _status_lines(found)
    for (session, standing), line in zip(found, lines, strict=True):
        experiment = f"{session.facts.project}/{session.facts.experiment}"
        if experiment != above:
            write(experiment)
            above = experiment
        write(line)
        if standing.status == "paused":
            write(_indented(f"paused: {standing.reason}"))
        elif standing.waiting_for:
            write(_indented(f"waiting: {standing.waiting_for}"))
    newest, standing = found[-1]
    if standing.stage == "sealed":
        for said in _alerts(newest):
            write(wrapped(f"warning of the last one: {said}"))
        write(f"report of the last one: {newest.folder / layout.REPORT}")
    else:
        write(f"go on with the last one, or look on: {command_name()} [watch] {newest.facts.experiment}")
    return COMPLETE


def _sessions_of(settings: Settings, name: str | None) -> list[Session]:
    """Return the sessions that a name means, a project's too."""
    if name is None or not _is_project(settings, name):
        return sessions_named(settings, name)
    return sessions_of(settings.projects_dir, name.strip().rstrip("/"))


def _is_project(settings: Settings, name: str) -> bool:
    """Return whether a name means a project; an experiment of the same name goes first."""
    given = name.strip().rstrip("/")
    there = bool(given) and "/" not in given and (settings.projects_dir / given / "experiments").is_dir()
    return there and not any(settings.projects_dir.glob(f"*/experiments/{escape(given)}"))


def _experiment_of(settings: Settings, name: str | None) -> str:
    """Return the experiment to start where a name has no session: its own, or the first one of a project."""
    if name is None or not _is_project(settings, name):
        return name or "EXPERIMENT"
    given = name.strip().rstrip("/")
    there = sorted(settings.projects_dir.glob(f"{escape(given)}/experiments/*/{EXPERIMENT_FILE}"))
    return f"{given}/{there[0].parent.name if there else 'EXPERIMENT'}"


def _indented(text: str) -> str:
    return "\n".join(
        wrap(
            text,
            WIDTH,
            initial_indent="    ",
            subsequent_indent="      ",
            break_long_words=False,
            break_on_hyphens=False,
        )
    )


def _status_lines(found: list[tuple[Session, Standing]]) -> list[str]:
    """Return a line for each session, in columns; what is zero is not mentioned."""
    rows = []
    for session, standing in found:
        stage = f" ({standing.stage})" if standing.stage != "sealed" else ""
        notes = [cost(standing) if session.facts.migrated_from is None else "cost not recorded"]
        words = {"parked": standing.parked, "in flight": standing.in_flight, "in doubt": standing.in_doubt}
        notes += [f"{number} {word}" for word, number in words.items() if number]
        status = shown_status(session, standing) + stage
        rows.append((session.facts.session, status, f"{standing.done}/{standing.planned}", ", ".join(notes)))
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    return [
        f"  {name:<{widths[0]}}  {status:<{widths[1]}}  {counts:>{widths[2]}}  {notes}"
        for name, status, counts, notes in rows
    ]


def watch(settings: Settings, name: str, display: Display) -> int:
    """Show a session until it ends, read from its store; nothing is started or stopped by it."""
    session = session_meant(settings, name)
    reader = ProgressReader(session, onlooker(settings))
    display.say(f"watching {session.name}; Ctrl-C ends the looking on, not the session")
    told = False
    while True:
        standing = reader.read()
        display.show(standing)
        facts = _facts(session, standing)
        if standing.stage == "sealed" or standing.status == "paused":
            code = {"partial": PARTIAL, "paused": PAUSED}.get(standing.status, COMPLETE)
            lines = [f"{facts['status']}: {session.name}, {sentence(standing, None)}"]
            if standing.status == "paused":
                lines.append(f"why: {standing.reason}")
            else:
                lines.append(f"report: {session.folder / layout.REPORT}")
            display.end({"lines": lines, "exit_code": code, **facts})
            return code
        if facts["status"] == "unfinished" and not told:
            told = True
            again = f"{command_name()} {session.facts.experiment}"
            display.say(f"nobody on this machine runs it now; unless another does, go on with it: {again}")
        try:
            time.sleep(WATCH_S)
        except KeyboardInterrupt:
            lines = [f"left: {session.name}, {sentence(standing, None)}"]
            display.end({"lines": lines, "exit_code": INTERRUPTED, **facts})
            return INTERRUPTED


def _alerts(session: Session) -> list[str]:
    """Return what calls for attention in a session that has ended; what is damaged is for ``doctor`` to tell."""
    try:
        return alerts_of(session)
    except (SnapshotDamaged, InvalidDefinition, NotInStore, ValueError, LookupError):
        return []


def onlooker(settings: Settings) -> Onlooker:
    return Onlooker(settings.projects_dir / HIDDEN / "owners")


def shown_status(session: Session, standing: Standing) -> str:
    """Return the status, telling a session that runs from one that was left."""
    if standing.status != "running":
        return standing.status
    return "running" if is_held(session.folder / layout.OWNER_LOCK) or standing.in_flight else "unfinished"


def _facts(session: Session, standing: Standing) -> dict[str, object]:
    facts = asdict(standing)
    del facts["latest"], facts["dimensions"]
    return {**facts, "status": shown_status(session, standing), "folder": str(session.folder)}


def _listed(problems: tuple[Problem, ...]) -> str:
    return "\n".join(str(problem) for problem in problems)
