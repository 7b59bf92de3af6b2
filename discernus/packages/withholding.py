"""A copy of a session without the texts of some documents: no passage of them is left, and every number is the same.

The texts go whole, and so do the prompts that carried them. In what models wrote each quotation is masked, in its
place, so that the scores around it are read as before; where that cannot be (they stood only in the words masked), the
answer goes as a whole and its scores stand as they were. At the end every file is searched, and every number compared.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import shutil
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from html import unescape
from pathlib import Path
from typing import Any

from discernus.canonical import canonical_json
from discernus.experiments.corpus import Document
from discernus.experiments.freezing import EXPERIMENT_SNAPSHOT, FRAMEWORK_SNAPSHOT, frozen_name, taken_out, taken_out_of
from discernus.experiments.plan import Analysis
from discernus.extraction.extract import Extraction, extract, from_second_model
from discernus.packages.passages import MARK, Passages
from discernus.reports import evidence, results
from discernus.sessions import layout
from discernus.sessions.archive import ArchivedCall
from discernus.sessions.integrity.manifests import is_lock, is_temporary, names_in
from discernus.sessions.integrity.redaction import Kind, Redacted, Redaction
from discernus.sessions.layout import Call
from discernus.sessions.session import Extracted, Session
from discernus.stages.projection import tables_of
from discernus.stages.records import session_records

SCORED = ("_score", "_confidence", "_salience")

_ANSWER = re.compile(rf"{layout.ARCHIVE}/(?:rival_)?response_(?P<call>.+?)(?P<attempt>_try\d+)?\.txt")
_SIDECAR = re.compile(rf"{layout.ARCHIVE}/(?:rival_)?metadata_(?P<call>.+?)(?:_try\d+)?\.json")
_MESSAGE = re.compile(rf"{layout.ARCHIVE}/messages/[0-9a-f]{{64}}\.txt")
_EXTRACTED = re.compile(rf"{layout.EXTRACTED}/extracted_\d+\.json")
_SUPERSEDED = re.compile(rf"{layout.SUPERSEDED}/seal_\d+/(.+)")
_PUT = re.compile(r"^BEGIN (TEXT\S*)\n(.*)\nEND \1$", re.DOTALL | re.MULTILINE)  # the text in an analysis's prompt
_LITERAL = re.compile(r'"((?:[^"\\]|\\.)*)"(?P<key>\s*:)?', re.DOTALL)
_QUOTED = re.compile("“([^”]*)”")


class CannotWithhold(Exception):
    """A copy that would still hold words of the texts, or other numbers; the message says what and where."""


@dataclass
class _Copy:
    """What the making of a copy knows: what to look for, which documents go, and what it has found on the way."""

    session: Session
    documents: tuple[Document, ...]
    passages: Passages
    quotes: set[str] = field(default_factory=set)  # what stands as evidence in answers about the documents
    answers: dict[str, bytes] = field(default_factory=dict)  # by the SHA-256 of the answer as it was
    unreadable: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        ids = {document.id for document in self.documents}
        self.texts = {self.session.definition.texts[document.id].strip() for document in self.documents}
        self.corpus = {frozen_name(document): document for document in self.documents}
        self.analyses: dict[int, Analysis] = {one.number: one for one in self.session.plan if one.document in ids}

    def concerns(self, call: str) -> bool:
        """Return whether the call was made for an analysis of one of the documents."""
        return Call.named(call).number in self.analyses


def documents_of(session: Session, ids: Collection[str] | None) -> tuple[Document, ...]:
    """Return the documents of these ids, without any all whose texts are there; KeyError for an id that is none."""
    known = {document.id: document for document in session.definition.documents}
    gone = taken_out_of(session.definition)
    wanted = [one for one in known if one not in gone] if ids is None else ids
    return tuple(known[one] for one in wanted)


def copy_session(source: Path, target: Path) -> None:
    """Copy a session's folder as it is, without the locks of the living."""

    def ignored(_: str, names: list[str]) -> set[str]:
        return {name for name in names if is_lock(name) or is_temporary(name)}

    shutil.copytree(source, target, ignore=ignored)


def copy_without(
    session: Session, target: Path, documents: Collection[Document], *, kind: Kind, reason: str
) -> Redaction:
    """Copy the session to ``target`` without the texts of the documents, and return what was taken out.

    The record itself is not written. Raises CannotWithhold, which a copy that is not safe to pass on never survives.
    """
    copy = _Copy(session, tuple(documents), _passages(session, tuple(documents)))
    copy_session(session.folder, target)
    try:
        before = _hashes(target)
        _change(copy, target, before)
        _read_again(copy, Session(target))
        _check(copy, target)
    except BaseException:
        shutil.rmtree(target)
        raise
    after = _hashes(target)
    files = [
        Redacted(name=one, sha256=digest, replaced_by=after.get(name))
        for name, digest in before.items()
        if after.get(name) != digest
        for one in _known_as(name)
    ]
    return Redaction(
        kind=kind,
        at=datetime.now(UTC),
        reason=reason,
        documents=tuple(document.id for document in documents),
        files=tuple(files),
        unreadable=tuple(copy.unreadable),
        quoted_still=_quoting(copy),
    )


def _known_as(name: str) -> tuple[str, ...]:
    """Return the names under which seals list a file: one of an earlier version by the one that it had."""
    earlier = _SUPERSEDED.fullmatch(name)
    return (name,) if earlier is None else (name, earlier[1])


def _passages(session: Session, documents: Collection[Document]) -> Passages:
    """Return what finds the documents' words; the author's own words and the texts that stay are no secret."""
    definition = session.definition
    gone = {document.id for document in documents}
    table = [" ".join((one.id, one.file, *one.metadata, *one.metadata.values())) for one in definition.documents]
    staying = [text for name, text in definition.texts.items() if name not in gone]
    framework = definition.framework
    public = (framework.text, framework.contract.schema_text, definition.experiment.text, *table, *staying)
    return Passages((definition.texts[name] for name in gone), public)


def _quoting(copy: _Copy) -> tuple[str, ...]:
    """Return which of the author's own files quote the texts; a session could not be repeated without them."""
    alone = Passages(copy.texts)
    framework, experiment = copy.session.definition.framework, copy.session.definition.experiment
    files = {FRAMEWORK_SNAPSHOT: framework.text, EXPERIMENT_SNAPSHOT: experiment.text}
    return tuple(name for name, text in files.items() if alone.found(text))


# what becomes of each file


def _change(copy: _Copy, target: Path, names: Collection[str]) -> None:
    """Take the texts out of every file of the copy; answers go before the metadata that hold their hashes."""
    _gather(copy)
    for name in sorted(names, key=lambda name: (_ANSWER.fullmatch(name) is None, name)):
        data = (target / name).read_bytes()
        changed = _changed(copy, name, data)
        if changed is None:
            (target / name).unlink()
        elif changed != data:
            (target / name).write_bytes(changed)


def _gather(copy: _Copy) -> None:
    """Find what stands as evidence in any answer about the documents; what is a label as well is a label."""
    store, definition = copy.session.store, copy.session.definition
    labels = {""}
    for name in (f"{layout.ARCHIVE}/{one}" for one in store.names(layout.ARCHIVE)):
        found = _ANSWER.fullmatch(name)
        if found is not None and copy.concerns(found["call"]):
            extraction = extract(store.get(name).decode(), definition.framework)
            copy.quotes |= {_plain(quote) for quotes in extraction.evidence.values() for quote in quotes}
            labels |= {_plain(label) for label in extraction.labels.values()}
    copy.quotes -= labels


def _changed(copy: _Copy, name: str, data: bytes) -> bytes | None:
    """Return what a file is to be without the texts, None where it cannot be kept."""
    if name.startswith("corpus/"):
        return taken_out(copy.corpus[name].sha256).encode() if name in copy.corpus else data
    if _ANSWER.fullmatch(name):
        return _answer(copy, name, data)
    if _SIDECAR.fullmatch(name):
        return _sidecar(copy, data)
    if _MESSAGE.fullmatch(name):
        return _message(copy, data)
    return _other(copy, name, data)


def _message(copy: _Copy, data: bytes) -> bytes:
    def put(found: re.Match[str]) -> str:
        return f"BEGIN {found[1]}\n{MARK}\nEND {found[1]}" if found[2].strip() in copy.texts else found[0]

    return copy.passages.mask(_PUT.sub(put, data.decode())).encode()


def _answer(copy: _Copy, name: str, data: bytes) -> bytes:
    """Return the answer with its quotations masked: any evidence, and each passage of the texts."""
    call = name.rpartition("/")[2]
    concerned = copy.concerns(_named(_ANSWER, name))
    text = data.decode()
    masked = copy.passages.mask(_without_quotes(text, copy.quotes) if concerned else text, seams=True)
    if masked == text:
        return data
    if concerned and not _reads_the_same(copy, name, text, masked):
        copy.unreadable.append(call)
        masked = f"{MARK}\n"
    copy.answers[sha256(data).hexdigest()] = masked.encode()
    return masked.encode()


def _reads_the_same(copy: _Copy, name: str, text: str, masked: str) -> bool:
    """Return whether the masked answer gives every number that the answer gives, by itself and read by a second."""
    framework = copy.session.definition.framework
    found = _ANSWER.fullmatch(name)
    call = Call.named(_named(_ANSWER, name))
    if found is None or found["attempt"] is not None or call.purpose == "synthesis":
        return True  # what is never scored need not be read
    if call.purpose == "extraction":
        return _numbers(extract(text, framework)) == _numbers(extract(masked, framework))
    record = copy.session.archive.look_up(call)
    finish_reason = record[0].finish_reason if record is not None else None
    as_it_was, as_it_is = (extract(one, framework, finish_reason=finish_reason) for one in (text, masked))
    if _numbers(as_it_was) != _numbers(as_it_is):
        return False
    for fallback in range(len(copy.session.extraction_models)):
        second = copy.session.archive.look_up(
            Call(call.number, "extraction", call.ask, fallback=fallback, source=call.fallback)
        )
        if second is not None:
            first = from_second_model(second[1], as_it_was, framework, first_answer=text)
            again = from_second_model(second[1], as_it_is, framework, first_answer=masked)
            return _numbers(first) == _numbers(again)
    return True


def _numbers(extraction: Extraction) -> tuple[object, ...]:
    one = extraction
    return one.status, one.kind, one.route, one.scores, one.confidence, one.salience, set(one.missing), set(one.labels)


def _sidecar(copy: _Copy, data: bytes) -> bytes:
    """Return an answer's metadata, of the masked answer; the vendor's own body may repeat it in forms of its own."""
    try:
        record = ArchivedCall.model_validate_json(data)
    except ValueError:
        return _json(copy, data)
    content = json.loads(data)
    masked = copy.answers.get(record.response_sha256)
    body = content.get("response_as_received")
    if masked is None and not copy.concerns(record.call):
        return _json(copy, data)
    if masked is not None:
        content |= {"response_sha256": sha256(masked).hexdigest(), "response_bytes": len(masked)}
    if body is not None and not _is_hash(body):
        content["response_as_received"] = {"taken_out_sha256": sha256(canonical_json(body)).hexdigest()}
    return _dumped(_masked_leaves(copy, content))


def _is_hash(body: object) -> bool:
    return isinstance(body, dict) and body.keys() == {"taken_out_sha256"}


def _json(copy: _Copy, data: bytes) -> bytes:
    try:
        content = json.loads(data)
    except ValueError:  # torn: masked as the text that it is
        return copy.passages.mask(data.decode("utf-8", "replace"), seams=True).encode()
    masked = _masked_leaves(copy, content)
    return data if masked == content else _dumped(masked)


def _other(copy: _Copy, name: str, data: bytes) -> bytes | None:
    """Return a file of any other kind; what is no text and holds the words all the same is not kept."""
    kind = name.rpartition(".")[2]
    try:
        text = (gzip.decompress(data) if kind == "gz" else data).decode()
    except (UnicodeDecodeError, OSError, EOFError):
        return None if copy.passages.found(data.decode("utf-8", "replace")) else data
    if kind == "gz":
        return None if copy.passages.found(text) else data
    if kind == "json":
        return _json(copy, data)
    if kind == "csv":
        return _evidence(copy, text) if name.endswith(f"/{evidence.NAME}") else _table(copy, text)
    if kind == "jsonl":
        lines = (_json(copy, line.encode()) if line.strip() else line.encode() for line in text.split("\n"))
        return b"\n".join(line.replace(b"\n", b"") for line in lines)
    return copy.passages.mask(_QUOTED.sub(lambda found: _quotation(copy, found), text)).encode()


def _table(copy: _Copy, text: str) -> bytes:
    rows = list(csv.reader(io.StringIO(text, newline="")))
    masked = [[copy.passages.mask(cell) for cell in row] for row in rows]
    return text.encode() if masked == rows else b"".join(results.line(row) for row in masked)


def _evidence(copy: _Copy, text: str) -> bytes:
    """Return the table of quotations as it is made of masked answers: a row for each dimension that had any."""
    ids = {document.id for document in copy.documents}
    rows = [dict(row) for row in csv.DictReader(io.StringIO(text, newline=""))]
    for row in rows:
        if row["document"] in ids:
            row.update(quotation=MARK, verified="", match="")
    lines = dict.fromkeys(tuple(row.values()) for row in rows)
    return b"".join([results.line(evidence.COLUMNS), *map(results.line, lines)])


def _quotation(copy: _Copy, found: re.Match[str]) -> str:
    return f"“{MARK}”" if _plain(unescape(found[1])) in copy.quotes else found[0]


def _without_quotes(text: str, quotes: Collection[str]) -> str:
    """Return an answer without what its strings give as evidence, however short."""

    def bare(found: re.Match[str]) -> str:
        if found["key"]:
            return found[0]
        try:
            said = json.loads(found[0], strict=False)
        except ValueError:
            said = found[1]
        return json.dumps(MARK, ensure_ascii=False) if _plain(str(said)) in quotes else found[0]

    return _LITERAL.sub(bare, text)


def _masked_leaves(copy: _Copy, content: Any) -> Any:
    """Return the content with every text in it masked."""
    if isinstance(content, dict):
        return {name: _masked_leaves(copy, value) for name, value in content.items()}
    if isinstance(content, list):
        return [_masked_leaves(copy, value) for value in content]
    return copy.passages.mask(content, seams=True) if isinstance(content, str) else content


def _plain(quote: str) -> str:
    return " ".join(quote.split())


def _named(pattern: re.Pattern[str], name: str) -> str:
    found = pattern.fullmatch(name)
    assert found is not None
    return found["call"]


# the numbers, from what is left


def _read_again(copy: _Copy, target: Session) -> None:
    """Write what was read of the answers, as it is read of the masked ones, and the tables from that."""
    for number in copy.analyses:
        was = copy.session.extracted(number)
        if was is None:
            continue
        record, text = _archived(target, was.call)
        again = _extraction(target, was, record, text)
        is_now = again if _numbers(again) == _numbers(was.extraction) else was.extraction
        quiet = is_now.model_copy(update={"evidence": _no_words(is_now)})
        update = {"response_sha256": record.response_sha256, "extraction": quiet}
        masked = _masked_leaves(copy, was.model_copy(update=update).model_dump(mode="json"))
        written = Extracted.model_validate_json(json.dumps(masked)).model_dump_json(indent=1).encode()
        target.store.put(layout.extracted(number), written)
    for name, data in tables_of(target, list(session_records(target))).items():
        if target.store.exists(name):  # a session of an earlier version has fewer
            target.store.put(name, data)


def _extraction(target: Session, was: Extracted, record: ArchivedCall, text: str) -> Extraction:
    """Return what is read of the answer that counts, as it stands in the copy."""
    framework = target.definition.framework
    extraction = extract(text, framework, finish_reason=record.finish_reason)
    if was.second_call is None:
        return extraction
    return from_second_model(_archived(target, was.second_call)[1], extraction, framework, first_answer=text)


def _archived(session: Session, call: str) -> tuple[ArchivedCall, str]:
    found = session.archive.look_up(Call.named(call))
    if found is None:
        raise CannotWithhold(f"{session.folder.name} lacks the answer of call {call}; verify the session first")
    return found


def _no_words(extraction: Extraction) -> dict[str, tuple[str, ...]]:
    return {name: (MARK,) * len(quotes) for name, quotes in extraction.evidence.items()}


# the proof


def _check(copy: _Copy, target: Path) -> None:
    """Raise CannotWithhold where a file still holds words of the texts, or a number is another one."""
    staying = {frozen_name(document) for document in copy.session.definition.documents} - copy.corpus.keys()
    for name in sorted(_hashes(target).keys() - staying):
        if any(copy.passages.found(text) for text in _texts_in(name, (target / name).read_bytes())):
            raise CannotWithhold(f"'{name}' would still hold words of the texts, so nothing was written")
    was, is_now = _rows(copy.session.folder), _rows(target)
    metrics = {metric.name for metric in copy.session.definition.framework.derived_metrics}
    for number, before in was.items():
        for column in before:
            if (column in metrics or column.endswith(SCORED)) and before[column] != is_now[number][column]:
                what = f"{column} of analysis {number} would be {is_now[number][column]!r}, and is {before[column]!r}"
                raise CannotWithhold(f"{what}, so nothing was written")


def _texts_in(name: str, data: bytes) -> Iterator[str]:
    """Yield what a file says: each text in it where its form is JSON or CSV, else all of it."""
    said = (gzip.decompress(data) if name.endswith(".gz") else data).decode("utf-8", "replace")
    try:
        if name.endswith(".json"):
            yield from _leaves(json.loads(said))
        elif name.endswith(".jsonl"):
            yield from (text for line in said.splitlines() for text in _leaves(json.loads(line)))
        elif name.endswith(".csv"):
            yield from (cell for row in csv.reader(io.StringIO(said, newline="")) for cell in row)
        else:
            yield said
    except ValueError:  # torn
        yield said


def _leaves(content: Any) -> Iterator[str]:
    if isinstance(content, str):
        yield content
    elif isinstance(content, dict | list):
        for value in content.values() if isinstance(content, dict) else content:
            yield from _leaves(value)


def _rows(folder: Path) -> dict[str, dict[str, str]]:
    """Return the rows of results.csv by their analyses; none where nothing was read yet."""
    if not (folder / layout.RESULTS).is_file():
        return {}
    with (folder / layout.RESULTS).open(encoding="utf-8", newline="") as file:
        return {row["analysis"]: row for row in csv.DictReader(file)}


def _hashes(folder: Path) -> dict[str, str]:
    return {name: sha256((folder / name).read_bytes()).hexdigest() for name in names_in(folder) if not is_lock(name)}


def _dumped(content: Any) -> bytes:
    return json.dumps(content, ensure_ascii=False, indent=1).encode()
