"""Migrating an older layout, as a person or a program sees it: what was found, what became of it, where to read on."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from textwrap import wrap

from cli.display import counted, write
from cli.exits import COMPLETE, INVALID, PARTIAL, CommandError, command_name
from cli.tables import WIDTH
from discernus.migration.account import Account, SessionLine, as_json_line, further
from discernus.migration.migrate import NotMigratable, migrate, report_path
from discernus.migration.writing import MigrationConflict
from discernus.settings import Settings

_PROJECT = re.compile(r"\w[\w.-]*")
_LISTED = 20  # remarks shown after a migration; a dry run shows all


def migrate_command(settings: Settings, path: Path, project: str, *, dry_run: bool, as_json: bool) -> int:
    """Migrate, or with ``dry_run`` say what would be; return the exit code."""
    if not _PROJECT.fullmatch(project):
        raise CommandError(f"{project!r} is no name of a project; write letters, digits, - and _", INVALID)
    try:
        account = migrate(path, settings.projects_dir, project, dry_run=dry_run)
    except (NotMigratable, MigrationConflict) as refused:
        raise CommandError(str(refused), INVALID) from refused
    if as_json:
        write(as_json_line(account))
    else:
        _show(account, dry_run=dry_run)
        if not dry_run:
            write(f"\nreport: {report_path(settings.projects_dir, project, path)}")
            for line in _next(account, project):
                write(line)
    return COMPLETE if account.balanced else PARTIAL


def _next(account: Account, project: str) -> list[str]:
    """Return what to look at next: the sessions, else the definitions that no session ran."""
    if account.sessions:
        return [f"sessions: {command_name()} status {project}"]
    return [f"definition: {command_name()} validate {project}/{name}" for name in account.frameworks]


def _show(account: Account, *, dry_run: bool) -> None:
    counts = account.counts
    if dry_run or account.changed:
        write(f"{account.source} {'would become' if dry_run else 'became'} project {account.project}")
    else:
        write(f"nothing changed: {account.source} is project {account.project} already")
    unread = counts["files"] - counts["files read"]
    rest = f", {unread} not" if unread else ""
    inside = f", {counts['files in calls']} as calls and texts" if counts["files in calls"] else ""
    kept = f"{len(account.verbatim)} kept verbatim{inside}"
    write(f"  files     {counts['files']}: {counts['files read']} read{rest}; {kept}")
    twice = counts["duplicate answers"]
    also = f", {twice} of them twice" if twice else ""
    write(f"  answers   {counts['answers']}{also}: {account.answers_out} archived")
    if counts["events"]:
        double = f", {counts['duplicate events']} of them twice" if counts["duplicate events"] else ""
        write(f"  events    {counts['events']}{double}: kept in their files")
    signed = {one: counts[f"signatures {one}"] for one in ("valid", "invalid", "absent")}
    if any(signed.values()):
        write("  signed    " + ", ".join(f"{number} {one}" for one, number in signed.items() if number))
    for one in account.sessions:
        _session(one)
    if account.mentions:
        write(f"\nof {counted(len(account.mentions), 'further session')} there are only events:")
        _items([f"{one.id}: {counted(sum(one.events.values()), 'event')}, {one.place}" for one in account.mentions])
    for experiment, lost in account.lost.items():
        if lost:
            write(f"\nnot translated of {experiment}:")
            _items(lost)
    if account.further:
        write(f"\n{counted(len(account.further), 'further framework')}, which no experiment names:")
        _items([f"{one.name}: {further(one)}{_not_translated(one.lost)}" for one in account.further])
    remarks = [f"{one.place}: {one.what}: {one.reason}" for one in account.remarks]
    if remarks:
        write(f"\nnot understood, or not taken over as it stood ({len(remarks)}):")
        _items(remarks if dry_run else remarks[:_LISTED])
        if not dry_run and len(remarks) > _LISTED:
            write(f"  and {len(remarks) - _LISTED} more, in the report")
    if account.refused:
        write("\nnot written:")
        _items(account.refused)
    if not account.balanced:
        write("\nit does not add up: not all that went in came out")


def _not_translated(lost: Sequence[str]) -> str:
    return f"; {counted(len(lost), 'thing')} not translated, listed in the report" if lost else ""


def _session(one: SessionLine) -> None:
    write(f"\n{one.experiment}/{one.name}")
    scored = "" if one.scored is None else f", {one.scored} with scores"
    parts = [f"{one.analyses} of {one.planned} analyses{scored}"]
    parts += [counted(one.others, "other answer")] if one.others else []
    parts += [counted(one.failures, "failure")] if one.failures else []
    write(f"  {'; '.join(parts)}")
    _items(list(one.notes))


def _items(lines: list[str]) -> None:
    for line in lines:
        for part in wrap(line, WIDTH, initial_indent="  ", subsequent_indent="    ", break_on_hyphens=False):
            write(part)
