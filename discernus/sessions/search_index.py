"""Full text search over what models wrote: an index of SQLite beside the sessions, never in one.

It holds nothing that the sessions do not: before each search it is brought up to what lies in their folders (by names,
sizes and times of change), and where it is gone, broken or cannot be written it is made anew.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from discernus.experiments.freezing import SnapshotDamaged
from discernus.experiments.plan import Analysis
from discernus.experiments.problems import InvalidDefinition
from discernus.sessions import layout
from discernus.sessions.conversations import call_named
from discernus.sessions.layout import Call
from discernus.sessions.opening import HIDDEN
from discernus.sessions.owners import Lock
from discernus.sessions.searched_texts import UNSPACED, Source, in_utc, readable, sources_of, spaced, text_of
from discernus.sessions.session import Extracted, Session
from discernus.sessions.store import LocalStore

STATUSES: Final = ("scored", "partial", "unusable", "unused", "unread", "prose", "failed", "damaged", "asked_again")
PURPOSES: Final = ("analysis", "extraction", "synthesis")
BEGIN, END = "\x01", "\x02"  # around what was found, in a snippet

_FORMAT = 1
_SCHEMA = """
CREATE TABLE session (folder TEXT PRIMARY KEY, redactions TEXT NOT NULL);
CREATE TABLE answer (
    id INTEGER PRIMARY KEY, folder TEXT NOT NULL, file TEXT NOT NULL, stamp TEXT NOT NULL, call TEXT NOT NULL,
    number INTEGER NOT NULL, document TEXT, model TEXT NOT NULL, answered_by TEXT, variant TEXT, run INTEGER,
    purpose TEXT NOT NULL, status TEXT NOT NULL, at TEXT, UNIQUE (folder, file)
);
"""
_WORDS = 'CREATE VIRTUAL TABLE {} USING fts5 (text, tokenize = "unicode61 remove_diacritics 2");'
_SNIPPET_WORDS = 28
_PART = re.compile(r'"([^"]*)"|(\S+)')


class NothingToSearch(ValueError):
    """A query without a single letter or digit."""


class _Withdrawn(Exception):
    """A session, or a text of one, was taken away since it was indexed: no trace of it may stay in the index's file."""


@dataclass(frozen=True)
class Query:
    """What to look for: every word of ``text``, those in quotation marks side by side, ``word*`` for its beginning.

    ``since`` is a moment (UTC). ``model`` is the one asked or the one that answered, with or without its vendor.
    """

    text: str
    document: str | None = None
    model: str | None = None
    run: int | None = None
    purpose: str | None = None
    status: str | None = None
    since: datetime | None = None


@dataclass(frozen=True)
class Hit:
    """A text that was found: where, of what, and a piece of it with BEGIN and END around what was looked for.

    ``file`` is relative to the session's folder; ``at`` is None where an older layout recorded no time.
    """

    folder: Path
    file: str
    call: str
    number: int
    document: str | None
    model: str
    answered_by: str | None
    variant: str | None
    run: int | None
    purpose: str
    status: str
    at: datetime | None
    snippet: str


@dataclass(frozen=True)
class Found:
    """The best hits, how many there are in all, and how many texts of these sessions are indexed."""

    hits: tuple[Hit, ...]
    total: int
    searched: int


def index_path(projects_dir: Path) -> Path:
    """Return where the index of a projects folder lies."""
    return projects_dir / HIDDEN / "index" / "answers.sqlite"


def forget_index(projects_dir: Path) -> None:
    """Remove the index with every text in it; the next search makes it anew."""
    path = index_path(projects_dir)
    with Lock(path.with_suffix(".lock")):
        _remove(path)


def search(
    projects_dir: Path, folders: Sequence[Path], query: Query, *, limit: int, told: Callable[[int], None] | None = None
) -> Found:
    """Return what is found in the sessions of these folders, best first. Raise NothingToSearch.

    ``told`` hears how many texts are to be read into the index first, where there are any. Searches of the same
    projects folder take turns.
    """
    match = match_expression(query.text)
    path = index_path(projects_dir)
    try:
        with Lock(path.with_suffix(".lock")):
            return _search_file(path, folders, query, match, limit, told)
    except OSError:  # nothing can be written there: the index is made in memory, for this once
        return _search(":memory:", folders, query, match, limit, told)


def match_expression(text: str) -> str:
    """Return the query in FTS5's language, in which nothing of it acts but quotation marks and a last ``*``."""
    parts = [_phrase(found[1] if found[1] is not None else found[2]) for found in _PART.finditer(text)]
    parts = [part for part in parts if part]
    if not parts:
        raise NothingToSearch(f"{text!r} has no word to look for")
    every = " AND ".join(parts)
    side_by_side = _phrase(text.replace('"', " "))
    return every if len(parts) == 1 else f"({every}) OR {side_by_side}"  # side by side comes first, being rarer


def _phrase(text: str) -> str:
    if not any(character.isalnum() for character in text):
        return ""
    quoted = '"' + spaced(text).replace('"', " ").strip() + '"'
    return f"{quoted} *" if text.endswith("*") else quoted


# the file


def _search_file(
    path: Path, folders: Sequence[Path], query: Query, match: str, limit: int, told: Callable[[int], None] | None
) -> Found:
    """Search the index in its file; where it is broken, or may not keep what it holds, make it anew first."""
    for _ in range(2):
        try:
            return _search(str(path), folders, query, match, limit, told)
        except (sqlite3.DatabaseError, _Withdrawn):
            _remove(path)
    return _search(":memory:", folders, query, match, limit, told)


def _search(
    place: str, folders: Sequence[Path], query: Query, match: str, limit: int, told: Callable[[int], None] | None
) -> Found:
    with closing(_opened(place)) as connection:
        if not all(Path(folder).is_dir() for (folder,) in connection.execute("SELECT folder FROM session")):
            raise _Withdrawn
        changed = [_Changed(connection, folder) for folder in folders]
        to_read = sum(len(one.fresh) for one in changed)
        if told is not None and to_read:
            told(to_read)
        for one in changed:
            with connection:
                one.write()
        return _found(connection, folders, query, match, limit)


def _opened(place: str) -> sqlite3.Connection:
    connection = sqlite3.connect(place)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        (known,) = connection.execute("PRAGMA user_version").fetchone()
        if known not in (0, _FORMAT):
            raise sqlite3.DatabaseError(f"the index has format {known}")
        if not known:
            connection.executescript(_SCHEMA + _WORDS.format("words") + f"PRAGMA user_version = {_FORMAT};")
    except BaseException:
        connection.close()
        raise
    return connection


def _remove(path: Path) -> None:
    for one in (path, *(path.with_name(f"{path.name}-{part}") for part in ("wal", "shm", "journal"))):
        one.unlink(missing_ok=True)


# keeping it up to what is there


class _Changed:
    """What of one session is not in the index as it is now. Raise _Withdrawn if a text was taken out since."""

    def __init__(self, connection: sqlite3.Connection, folder: Path) -> None:
        self._connection = connection
        self._session = Session(folder)
        self._key = str(folder)
        self._redactions = ",".join(LocalStore(folder).names(layout.REDACTIONS))
        known = connection.execute("SELECT redactions FROM session WHERE folder = ?", (self._key,)).fetchone()
        if known is not None and known[0] != self._redactions:
            raise _Withdrawn
        rows = connection.execute("SELECT file, stamp FROM answer WHERE folder = ?", (self._key,))
        self._known: dict[str, str] = dict(rows.fetchall())
        self._there = dict(sources_of(folder))
        changed = (name for name, source in self._there.items() if self._known.get(name) != source.stamp)
        self.fresh = [name for name in changed if call_named(self._there[name].call) is not None]

    def write(self) -> None:
        """Bring the index up to it."""
        self._connection.execute(
            "INSERT OR REPLACE INTO session (folder, redactions) VALUES (?, ?)", (self._key, self._redactions)
        )
        for name in [*(self._known.keys() - self._there.keys()), *(self._known.keys() & set(self.fresh))]:
            place = (self._key, name)
            self._connection.execute(
                "DELETE FROM words WHERE rowid = (SELECT id FROM answer WHERE folder = ? AND file = ?)", place
            )
            self._connection.execute("DELETE FROM answer WHERE folder = ? AND file = ?", place)
        for name in self.fresh:
            self._add(name, self._there[name])

    def _add(self, name: str, source: Source) -> None:
        read = text_of(source)
        if read is None:  # it has gone meanwhile
            return
        text, facts = read
        call = Call.named(source.call)
        analysis = self._analyses.get(call.number)
        row: dict[str, Any] = {
            "folder": self._key,
            "file": name,
            "stamp": source.stamp,
            "call": source.folder.name if source.again else source.call,
            "number": call.number,
            "document": analysis.document if analysis is not None else None,
            "variant": analysis.variant if analysis is not None else None,
            "run": analysis.run if analysis is not None else None,
            "purpose": call.purpose,
            **facts,
        }
        row.setdefault("status", self._status(source))
        columns, places = ", ".join(row), ", ".join("?" * len(row))
        added = self._connection.execute(f"INSERT INTO answer ({columns}) VALUES ({places})", tuple(row.values()))
        self._connection.execute("INSERT INTO words (rowid, text) VALUES (?, ?)", (added.lastrowid, readable(text)))

    def _status(self, source: Source) -> str:
        if source.again:
            return "asked_again"
        if source.kind == "rival_response":
            return "unused"
        call = Call.named(source.call)
        if call.purpose == "synthesis":
            return "prose"
        extracted = self._session.extracted(call.number)
        if extracted is None:
            return "unread"
        return _status_of(extracted, source.call)

    @cached_property
    def _analyses(self) -> dict[int, Analysis]:
        try:
            return {one.number: one for one in self._session.plan}
        except (SnapshotDamaged, InvalidDefinition):  # what models wrote can be found all the same
            return {}


def _status_of(extracted: Extracted, call: str) -> str:
    if call not in (extracted.call, extracted.second_call):
        return "unused"
    return {"complete": "scored", "partial": "partial", "none": "unusable"}[extracted.extraction.status]


# finding


def _found(connection: sqlite3.Connection, folders: Sequence[Path], query: Query, match: str, limit: int) -> Found:
    connection.execute("CREATE TEMP TABLE asked (folder TEXT PRIMARY KEY)")
    connection.executemany("INSERT OR IGNORE INTO asked VALUES (?)", [(str(folder),) for folder in folders])
    conditions, values = _conditions(query)
    ranked = connection.execute(
        "SELECT answer.id FROM words JOIN answer ON answer.id = words.rowid "
        f"WHERE words MATCH ? AND {' AND '.join(conditions)} ORDER BY rank, answer.id",
        (match, *values),
    ).fetchall()
    inside = "folder IN (SELECT folder FROM asked)"
    (searched,) = connection.execute(f"SELECT count(*) FROM answer WHERE {inside}").fetchone()
    snippets = _snippets(connection, match, [number for (number,) in ranked[:limit]])
    return Found(
        tuple(_hit(connection, number, snippet) for number, snippet in snippets.items()), len(ranked), searched
    )


def _snippets(connection: sqlite3.Connection, match: str, numbers: Sequence[int]) -> dict[int, str]:
    """Return what is shown of each text; looked for in these few alone, for each snippet is a search of its own."""
    connection.execute(_WORDS.format("temp.few"))
    for number in numbers:
        connection.execute("INSERT INTO few (rowid, text) SELECT rowid, text FROM words WHERE rowid = ?", (number,))
    found = connection.execute(
        "SELECT rowid, snippet(few, 0, ?, ?, '…', ?) FROM few WHERE few MATCH ?", (BEGIN, END, _SNIPPET_WORDS, match)
    )
    snippets = dict(found.fetchall())
    return {number: _together(snippets[number]) for number in numbers}


def _conditions(query: Query) -> tuple[list[str], list[Any]]:
    conditions, values = ["answer.folder IN (SELECT folder FROM asked)"], []
    for column in ("document", "run", "purpose", "status"):
        wanted = getattr(query, column)
        if wanted is not None:
            conditions.append(f"answer.{column} = ?")
            values.append(wanted)
    if query.model is not None:
        names = ("answer.model", "answer.answered_by")
        conditions.append("(" + " OR ".join(f"{name} = ? OR substr({name}, -?) = ?" for name in names) + ")")
        for _ in names:
            values += [query.model, len(query.model) + 1, f"/{query.model}"]
    if query.since is not None:
        conditions.append("answer.at >= ?")
        values.append(in_utc(query.since))
    return conditions, values


def _hit(connection: sqlite3.Connection, number: int, snippet: str) -> Hit:
    names = "folder, file, call, number, document, model, answered_by, variant, run, purpose, status, at"
    row = connection.execute(f"SELECT {names} FROM answer WHERE id = ?", (number,)).fetchone()
    facts = dict(zip(names.split(", "), row, strict=True))
    at = datetime.fromisoformat(facts["at"]) if facts["at"] is not None else None
    return Hit(**{**facts, "folder": Path(facts["folder"]), "at": at, "snippet": snippet})


def _together(snippet: str) -> str:
    """Return a snippet as it was written, its signs of unspaced scripts side by side again."""
    parts = re.sub(rf" ({BEGIN}?{UNSPACED.pattern}{END}?) ", r"\1", snippet)
    return " ".join(parts.replace(f"{END}{BEGIN}", "").split())
