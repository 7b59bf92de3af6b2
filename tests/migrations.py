"""An old project and the one that it becomes, with what a test looks at in either."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from typer.testing import CliRunner

from discernus.migration.account import Account
from discernus.migration.migrate import migrate
from discernus.sessions import layout
from discernus.sessions.archive import ArchivedCall
from discernus.sessions.costs import sessions_of
from discernus.sessions.layout import Call
from discernus.sessions.session import Session
from starter import app


class Old:
    """An old project's folder and the projects folder that it goes to."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "old_weather"
        self.projects = folder / "projects"
        self.root.mkdir()
        self.projects.mkdir()

    def migrate(self, *, dry_run: bool = False) -> Account:
        return migrate(self.root, self.projects, "weather_today", dry_run=dry_run)

    def session(self, name: str) -> Session:
        return next(one for one in sessions_of(self.projects, "weather_today") if one.facts.session == name)

    def analyses(self, session: Session) -> dict[tuple[str, str, int], tuple[str, dict[str, float]]]:
        """Return status and scores by document, model and run, of what was answered."""
        read = (session.extracted(analysis.number) for analysis in session.plan)
        return {
            (one.document, one.model, one.run): (one.extraction.status, one.extraction.scores)
            for one in read
            if one is not None
        }


def contents(folder: Path) -> dict[str, tuple[bytes | str, int, int]]:
    """Return every file's bytes (a link's target), mode and time of change, by its name."""
    found = {}
    for path in sorted(folder.rglob("*")):
        said = path.lstat()
        data = str(path.readlink()) if path.is_symlink() else path.read_bytes() if path.is_file() else ""
        found[path.relative_to(folder).as_posix()] = (data, said.st_mode, said.st_mtime_ns)
    return found


def answered_at(record: ArchivedCall) -> str | None:
    """Return when a call was answered, None if that was not recorded."""
    return record.archived_at.isoformat() if record.archived_at is not None else None


def answers_of(session: Session) -> list[str]:
    """Return every archived answer to the plan's analyses."""
    found = (session.archive.look_up(Call(analysis.number)) for analysis in session.plan)
    return [one[1] for one in found if one is not None]


def scores_of(session: Session) -> Iterator[dict[str, str]]:
    """Yield the rows of results.csv."""
    yield from csv.DictReader(session.store.get(layout.RESULTS).decode().splitlines())


def command(old: Old, *arguments: str) -> tuple[int, str]:
    """Return exit code and output of the command, as it goes into a pipe."""
    done = CliRunner().invoke(app, ["migrate", *arguments, "--projects-dir", str(old.projects)])
    return done.exit_code, done.output
