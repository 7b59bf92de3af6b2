"""``answers search``: any sentence that a model ever wrote, in whichever session, answered or not."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from cli.display import counted, write
from cli.exits import COMPLETE, INVALID, CommandError, command_name
from cli.marking import BEGIN, END, fitted, harmless, shown
from cli.sessions import sessions_named
from cli.tables import read_period, wrapped
from discernus.sessions import search_index
from discernus.sessions.search_index import PURPOSES, STATUSES, Found, Hit, NothingToSearch, Query
from discernus.sessions.session import Session
from discernus.settings import Settings

WORTH_SAYING = 2000  # texts to be read into the index, which takes a second or more


@dataclass(frozen=True)
class Wanted:
    """The options of a search, as they were given."""

    text: str
    within: str | None = None
    document: str | None = None
    model: str | None = None
    run: int | None = None
    purpose: str | None = None
    status: str | None = None
    since: str | None = None


def search(settings: Settings, wanted: Wanted, *, limit: int, as_json: bool) -> int:
    """Show what models wrote that has the words, best first; raise CommandError for what cannot be searched for."""
    _check("--purpose", wanted.purpose, PURPOSES)
    _check("--status", wanted.status, STATUSES)
    since = read_period(wanted.since, None).since
    query = Query(wanted.text, wanted.document, wanted.model, wanted.run, wanted.purpose, wanted.status, since)
    sessions = _within(settings, wanted.within)
    folders = [session.folder.resolve() for session in sessions]
    try:
        found = search_index.search(settings.projects_dir, folders, query, limit=limit, told=_reading)
    except NothingToSearch as empty:
        raise CommandError(f"{empty}; give one or more words", INVALID) from empty
    if as_json:
        for hit in found.hits:
            write(json.dumps(_told(hit), ensure_ascii=False))
        return COMPLETE
    for line in shown(_listed(found, len(folders), wanted)):
        write(line)
    return COMPLETE


def _check(option: str, given: str | None, known: tuple[str, ...]) -> None:
    if given is not None and given not in known:
        raise CommandError(f"{option} {given!r} is unknown; it is one of {', '.join(known)}", INVALID)


def _within(settings: Settings, name: str | None) -> list[Session]:
    """Return the sessions that are searched: all, a project's, an experiment's, or one."""
    if name is not None and "/" not in name and (settings.projects_dir / name / "experiments").is_dir():
        every = sessions_named(settings, None)
        return [session for session in every if session.folder.parents[3].name == name]
    found = sessions_named(settings, name)
    if name is not None and not found:
        raise CommandError(f"{name!r} has no session yet, and nothing to search in", INVALID)
    return found


def _reading(texts: int) -> None:
    if texts >= WORTH_SAYING:
        write(f"reading {texts} answers into the index, this once", error=True)


# hits


def _listed(found: Found, sessions: int, wanted: Wanted) -> Iterator[str]:
    scope = f"{counted(found.searched, 'answer')} of {counted(sessions, 'session')}"
    if not found.hits:
        filters = ("document", "model", "run", "purpose", "status", "since")
        given = [f"--{one} {getattr(wanted, one)}" for one in filters if getattr(wanted, one) is not None]
        narrowed = f" with {' '.join(given)}" if given else ""
        yield wrapped(harmless(f"nothing found for {wanted.text!r} in {scope}{narrowed}"))
        return
    for hit in found.hits:
        yield from fitted(harmless(_where(hit)))
        yield from fitted(_snippet(hit), indent="  ")
        yield ""
    more = (
        f", the best {len(found.hits)} shown; --limit {found.total} shows all" if found.total > len(found.hits) else ""
    )
    yield f"found {found.total} in {scope}{more}"
    best = next((hit for hit in found.hits if hit.status != "asked_again"), None)
    if best is not None:
        yield f"to see the whole of one:\n  {command_name()} answers show {_session_of(best)} {_shown_as(best.call)}"


def _where(hit: Hit) -> str:
    run = f"run {hit.run}" if hit.run is not None else ""
    parts = (hit.document or "", hit.answered_by or hit.model, run, "" if hit.purpose == "analysis" else hit.purpose)
    return (
        f"{_session_of(hit)} {hit.call}: {', '.join([part for part in parts if part] + [hit.status.replace('_', ' ')])}"
    )


def _session_of(hit: Hit) -> str:
    """Return the session's name as commands take it: of one outside an experiment, its folder."""
    above = hit.folder.parents
    inside = hit.folder.parent.name == "sessions" and len(above) > 3
    return f"{above[3].name}/{above[1].name}/{hit.folder.name}" if inside else str(hit.folder)


def _shown_as(call: str) -> str:
    """Return how ``show`` takes a call: a bare number means the answer that counts, which need not be the first."""
    return f"{call}_ask0" if call.isdecimal() else call


def _snippet(hit: Hit) -> str:
    """Return a hit's snippet, harmless, with what was looked for between our marks."""
    parts = re.split(f"([{search_index.BEGIN}{search_index.END}])", hit.snippet)
    signs = {search_index.BEGIN: BEGIN, search_index.END: END}
    return "".join(signs.get(part) or harmless(part) for part in parts)


def _told(hit: Hit) -> dict[str, Any]:
    """Return a hit for programs."""
    return {
        "session": _session_of(hit),
        "call": hit.call,
        "number": hit.number,
        "document": hit.document,
        "model": hit.model,
        "model_answered": hit.answered_by,
        "variant": hit.variant,
        "run": hit.run,
        "purpose": hit.purpose,
        "status": hit.status,
        "at": hit.at.isoformat() if hit.at is not None else None,
        "file": str(hit.folder / hit.file),
        "snippet": hit.snippet.replace(search_index.BEGIN, "").replace(search_index.END, ""),
    }
