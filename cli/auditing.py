"""``audit``: the page for a reviewer, written beside the sessions and printed at eighty columns."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from html import unescape
from pathlib import Path
from textwrap import wrap

from cli.display import write
from cli.exits import COMPLETE, INVALID, PARTIAL, CommandError
from cli.sessions import session_meant
from cli.tables import WIDTH, Column, table, wrapped
from discernus.audit.audit import audit
from discernus.audit.page import figures, page, summary
from discernus.audit.verdicts import Audit, Check
from discernus.reports.markdown import text
from discernus.sessions.session import Session
from discernus.sessions.store import LocalStore
from discernus.settings import Settings

AUDITS = "audits"  # beside an experiment's sessions: a sealed session is never written to
MOST_SHOWN = 6  # places of a check in the terminal; the page has more, --json all
COLUMNS = (Column("verdict", whole=True), Column("check"), Column("found", right=True))


def audit_session(settings: Settings, name: str, *, to: Path | None, as_json: bool) -> int:
    """Audit a session; return 0 if every check passed or does not apply, 3 if there is anything to look at."""
    session = session_meant(settings, name)
    found = audit(session)
    if as_json:
        write(json.dumps({**asdict(found), "clean": found.clean}, ensure_ascii=False))
        if to is not None:
            _write_page(found, session, to)
    else:
        at = to or session.folder.resolve().parents[1] / AUDITS / f"{session.folder.name}.md"
        _write_page(found, session, at)
        for line in _lines(found):
            write(line)
        write("\n" + wrapped(f"The page, with links to all files: {at}"))
    return COMPLETE if found.clean else PARTIAL


def _write_page(found: Audit, session: Session, at: Path) -> None:
    folder = session.folder.resolve()
    at = at.expanduser().resolve()
    if at.is_relative_to(folder):
        raise CommandError(f"'{at}' lies in the session, which an audit must not change; choose another --to", INVALID)
    if at.is_dir():
        at = at / f"audit_{session.folder.name}.md"
    LocalStore(at.parent).put(at.name, page(found, folder, at).encode())


def _lines(found: Audit) -> Iterator[str]:
    yield wrapped(f"Audit of {found.session}: {summary(found)}")
    yield ""
    yield table(COLUMNS, [[one.verdict, one.name, figures(one)] for one in found.checks])
    for check in found.checks:
        if check.verdict != "not applicable":
            yield from _check(check)
    beside = found.of("not applicable")
    if beside:
        yield "\nNot applicable"
        yield from (_indented(f"{one.name}: {one.reason}", "  ") for one in beside)


def _check(check: Check) -> Iterator[str]:
    yield f"\n{check.name}: {check.verdict}"
    yield _indented(check.reason, "  ")
    for place in check.places[:MOST_SHOWN]:
        file = f" [{place.file}]" if place.file else ""
        yield _indented(f"- {_plain(place.what)}{file}", "  ")
    if len(check.places) > MOST_SHOWN:
        yield f"  and {len(check.places) - MOST_SHOWN:,} more; the page and --json list them"


def _plain(said: str) -> str:
    """Return someone's text on one line, with nothing in it that acts on a terminal."""
    return unescape(text(said))


def _indented(said: str, indent: str) -> str:
    return "\n".join(
        wrap(
            said,
            WIDTH,
            initial_indent=indent,
            subsequent_indent=f"{indent}  ",
            break_long_words=False,
            break_on_hyphens=False,
        )
    )
