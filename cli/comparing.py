"""``compare``: two sessions set against each other, on the terminal or as a page."""

from __future__ import annotations

import json
from dataclasses import asdict
from html import unescape
from pathlib import Path

from cli.display import write
from cli.exits import COMPLETE, INVALID, CommandError, command_name
from cli.sessions import session_meant
from cli.tables import wrapped
from discernus.experiments.freezing import SnapshotDamaged
from discernus.experiments.problems import InvalidDefinition
from discernus.reports.comparison import Comparison
from discernus.reports.comparison_page import comparison_page, why_nothing
from discernus.reports.html import page_of
from discernus.sessions.session import Session
from discernus.settings import Settings
from discernus.stages.comparing import compare_sessions


def compare(settings: Settings, first: str, second: str, *, out: Path | None, as_json: bool) -> int:
    """Say what differs between two sessions and how far they agree; raise CommandError where nothing is comparable."""
    sides = session_meant(settings, first), session_meant(settings, second)
    _refuse(sides, out)
    found = _compared(*sides)
    page = comparison_page(found)
    if as_json:
        write(json.dumps({**asdict(found), "comparable": found.comparable}, ensure_ascii=False))
    else:
        write(wrapped(unescape(page).rstrip()))
    if out is not None:
        _keep(page, out)
        if not as_json:
            write(wrapped(f"\nwritten to '{out}'"))
    if not found.comparable:
        raise CommandError(f"no number of these two sessions can be compared: {why_nothing(found)}", INVALID)
    return COMPLETE


def _refuse(sides: tuple[Session, Session], out: Path | None) -> None:
    """Raise CommandError for a session beside itself or a copy, and for a page within a session."""
    if sides[0].name == sides[1].name:
        cure = f"name two, as in: {command_name()} compare {sides[0].facts.session} session_…"
        raise CommandError(f"{sides[0].name} would be compared with itself; {cure}", INVALID)
    for session in sides:
        if out is not None and session.folder.resolve() in out.resolve().parents:
            raise CommandError(f"'{out}' lies in a session, which stays as it is; choose another place", INVALID)


def _compared(first: Session, second: Session) -> Comparison:
    try:
        return compare_sessions(first, second)
    except (SnapshotDamaged, InvalidDefinition) as damaged:
        cure = f"find out which with: {command_name()} verify SESSION"
        raise CommandError(f"the inputs of a session cannot be read: {damaged}\n{cure}", INVALID) from damaged


def _keep(page: str, out: Path) -> None:
    """Write the page: HTML where the file's name ends so, else Markdown."""
    as_html = out.suffix.lower() in (".html", ".htm")
    try:
        out.write_text(page_of("Two sessions compared", page) if as_html else page, encoding="utf-8")
    except OSError as refused:
        raise CommandError(f"'{out}' cannot be written: {refused.strerror}; choose another place", INVALID) from refused
