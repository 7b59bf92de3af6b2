"""The tables of a package, and the codebook that says what each of their columns means.

``results.csv`` is the session's own; the others say what was asked, of whom, about which texts, and in which files the
very words stand.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from discernus.experiments.corpus import Document
from discernus.experiments.freezing import taken_out_of
from discernus.reports import results
from discernus.sessions import layout
from discernus.sessions.archive import ArchiveDamaged, ArchivedCall
from discernus.sessions.layout import Call
from discernus.sessions.questions import read_question
from discernus.sessions.session import Session
from discernus.stages.records import all_calls, answered_at, asked_at

CODEBOOK = "codebook.csv"
RESULTS = "results.csv"
EVIDENCE = "evidence.csv"
CONSISTENCY = "consistency.csv"
HYPOTHESIS_TESTS = "hypothesis_tests.csv"
KEYS = {  # the columns that name a row of a table, where the first alone does not
    "calls.csv": ("call", "attempt"),
    "documents.csv": ("id",),
    "corpus.csv": ("id",),
    EVIDENCE: ("analysis", "dimension"),
    CONSISTENCY: ("measure", "models", "in_place_of", "variant", "variable", "kind", "coefficient"),
    HYPOTHESIS_TESTS: ("test", "model", "first", "second"),
}
R_SCRIPT = "main_tables.R"
EXACT = "auto"  # the times of calls with every digit that was archived


@dataclass(frozen=True)
class Asked:
    """A call as the table shows it: its record, the text it was about, and the files that hold its words."""

    record: ArchivedCall
    document: str | None
    messages: tuple[str, ...]
    response: str

    @property
    def request(self) -> str:
        return Call.named(self.record.call).request


@dataclass(frozen=True)
class _Column:
    name: str
    meaning: str
    unit: str
    value: Callable[[Any], Any]


def package_tables(session: Session) -> dict[str, bytes]:
    """Return every table as CSV, by its file's name, the codebook last."""
    corpus = _corpus_columns(session)
    documents = session.definition.documents
    tested = session.store.exists(layout.HYPOTHESIS_TESTS)  # there is none without a statistical plan
    there = session.store.exists(layout.EVIDENCE)  # sessions of earlier versions have none
    return {
        RESULTS: session.store.get(layout.RESULTS),
        **({EVIDENCE: session.store.get(layout.EVIDENCE)} if there else {}),
        **({CONSISTENCY: session.store.get(layout.CONSISTENCY)} if session.store.exists(layout.CONSISTENCY) else {}),
        **({HYPOTHESIS_TESTS: session.store.get(layout.HYPOTHESIS_TESTS)} if tested else {}),
        "calls.csv": _written(_CALLS, asked_of(session)),
        "documents.csv": _written(_documents(session), documents),
        "corpus.csv": _written(corpus, documents),
        CODEBOOK: _codebook(session, corpus),
    }


def asked_of(session: Session) -> Iterator[Asked]:
    """Yield every answered call in the plan's order, what rivals brought included."""
    for record in sorted(all_calls(session), key=lambda one: (one.number, one.purpose, one.call, one.attempt)):
        call = Call.named(record.call)
        document = None if record.purpose == "synthesis" else session.analysis(record.number).document
        committed = _committed(session, call) == record.attempt
        response = call.response if committed else call.rival("response", record.attempt)
        if not session.store.exists(response):  # a rival that said the same
            response = call.response
        yield Asked(record, document, _messages(session, call), response)


def _committed(session: Session, call: Call) -> int | None:
    try:
        found = session.archive.look_up(call)
    except ArchiveDamaged:
        return None
    return found[0].attempt if found is not None else None


def _messages(session: Session, call: Call) -> tuple[str, ...]:
    try:
        request = read_question(session.store, call.request)
        return tuple(layout.message(message["content_sha256"]) for message in request["messages"])
    except (LookupError, ValueError, TypeError):  # damaged: an audit says so
        return ()


_CALLS = (
    _Column("call", "name of the call in the archive; its files carry it", "text", lambda one: one.record.call),
    _Column("analysis", "number of the analysis in the session's plan", "", lambda one: one.record.number),
    _Column(
        "purpose",
        "analysis, extraction (a second model reads an answer) or synthesis",
        "text",
        lambda one: one.record.purpose,
    ),
    _Column("document", "id of the document", "text", lambda one: one.document),
    _Column(
        "ask", "0: asked for the first time; more: once more after an unusable answer", "", lambda one: one.record.ask
    ),
    _Column("attempt", "which attempt brought the answer", "", lambda one: one.record.attempt),
    _Column("model_requested", "model that was called", "text", lambda one: one.record.model_requested),
    _Column("model_answered", "model that answered, by its own account", "text", lambda one: one.record.model_answered),
    _Column(
        "started_at",
        "when the request went out; empty: not recorded",
        "ISO 8601, UTC; without an offset: the zone was not recorded",
        lambda one: asked_at(one.record, EXACT),
    ),
    _Column(
        "archived_at",
        "when the answer was on disk; empty: not recorded",
        "ISO 8601, UTC; without an offset: the zone was not recorded",
        lambda one: answered_at(one.record, EXACT),
    ),
    _Column("latency_ms", "from the request to the whole answer", "milliseconds", lambda one: one.record.latency_ms),
    _Column(
        "prompt_tokens",
        "as the vendor counted them; empty: it did not say",
        "tokens",
        lambda one: one.record.prompt_tokens,
    ),
    _Column(
        "completion_tokens",
        "as the vendor counted them; empty: it did not say",
        "tokens",
        lambda one: one.record.completion_tokens,
    ),
    _Column("cost_usd", "empty: no price is known, which is not 0", "US dollars", lambda one: one.record.cost_usd),
    _Column(
        "reused_from",
        "session and call that the answer was taken over from, paid for there",
        "text",
        lambda one: one.record.reused_from,
    ),
    _Column(
        "request_file",
        "the request as it was made, in the session",
        "path",
        lambda one: one.request,
    ),
    _Column(
        "message_files",
        "the texts of its messages in order, in the session",
        "paths, separated by spaces",
        lambda one: " ".join(one.messages),
    ),
    _Column("response_file", "the answer word for word, in the session", "path", lambda one: one.response),
    _Column("response_sha256", "SHA-256 of the answer", "hexadecimal", lambda one: one.record.response_sha256),
    _Column(
        "marks",
        "what was noticed about the answer or its record (truncated, recovered, time_not_recorded, …); empty: nothing",
        "words, separated by spaces",
        lambda one: " ".join(one.record.marks),
    ),
)


def _documents(session: Session) -> list[_Column]:
    gone = taken_out_of(session.definition)

    return [
        _Column("id", "id of the document", "text", lambda one: one.id),
        _Column("file", "its file in the corpus folder of the session", "path", lambda one: one.file),
        _Column("characters", "length of the text", "characters", lambda one: one.characters),
        _Column(
            "sha256", "SHA-256 of the text's bytes, whether it is here or not", "hexadecimal", lambda one: one.sha256
        ),
        _Column("included", "whether the text is in this package", "true or false", lambda one: one.id not in gone),
    ]


def _corpus_columns(session: Session) -> list[_Column]:
    """Return the columns of corpus.csv in the form in which an experiment has it."""
    keys = dict.fromkeys(key for document in session.definition.documents for key in document.metadata)
    return [
        _Column("file", "file in the corpus folder", "path", lambda one: one.file),
        _Column("id", "id of the document", "text", lambda one: one.id),
        *(_Column(key, f"'{key}' of the document, as its author has it", "text", _entry(key)) for key in keys),
    ]


def _entry(key: str) -> Callable[[Document], str | None]:
    return lambda document: document.metadata.get(key)


def _codebook(session: Session, corpus: list[_Column]) -> bytes:
    """Return what each column of each table means, with its unit."""
    described = [("calls.csv", list(_CALLS)), ("documents.csv", _documents(session)), ("corpus.csv", corpus)]
    lines = [results.line(("table", "column", "meaning", "unit_or_scale"))]
    lines += [results.line(_placed(row)) for row in _rows(session.store.get(layout.DICTIONARY))[1:]]
    lines += [
        results.line((table, column.name, column.meaning, column.unit))
        for table, columns in described
        for column in columns
    ]
    return b"".join(lines)


def _placed(row: list[str]) -> list[str]:
    """Return a row of the session's data dictionary with its table; what names none is a column of results.csv."""
    table, named, column = row[0].partition(".csv/")
    return [f"{table}.csv", column, *row[1:]] if named else [RESULTS, *row]


def _rows(data: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(data.decode("utf-8-sig"), newline="")))


def _written(columns: Iterable[_Column], rows: Iterable[Any]) -> bytes:
    columns = list(columns)
    lines = [results.line(column.name for column in columns)]
    lines += [results.line(_cell(column.value(row)) for column in columns) for row in rows]
    return b"".join(lines)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return value.isoformat() if hasattr(value, "isoformat") else str(value)
