"""A copy of a session without the texts of some documents: no passage of them is left, and every number is the same.

The texts go whole, and so do the prompts that carried them. In what models wrote each quotation is masked, in its
place, so that the scores around it are read as before; where that cannot be (they stood only in the words masked), the
answer goes as a whole and its scores stand as they were. What cannot be searched is not kept. At the end every file is
searched, and every number compared.
"""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from html import unescape
from pathlib import Path
from typing import Any

from discernus.canonical import canonical_json
from discernus.experiments.corpus import Document
from discernus.experiments.freezing import (
    EXPERIMENT_SNAPSHOT,
    FRAMEWORK_SNAPSHOT,
    MANIFEST,
    frozen_name,
    taken_out,
    taken_out_of,
)
from discernus.experiments.plan import Analysis
from discernus.extraction.extract import Extraction, extract, from_second_model
from discernus.packages.disguises import Opaque
from discernus.packages.passages import LEAST, MARK, Passages
from discernus.packages.proof import Proof
from discernus.packages.sameness import ANSWER, first_difference, numbers_of, reads_the_same
from discernus.reports import evidence, results
from discernus.sessions import layout
from discernus.sessions.archive import ArchivedCall
from discernus.sessions.integrity.manifests import is_lock, is_temporary, names_in
from discernus.sessions.integrity.redaction import Kind, Redacted, Redaction
from discernus.sessions.layout import Call
from discernus.sessions.session import Extracted, Session
from discernus.stages.projection import tables_of
from discernus.stages.records import session_records

REMEDY = "this program knows no way to take them out: do it by hand, in a copy of the session's folder"

_SIDECAR = re.compile(rf"{layout.ARCHIVE}/(?:rival_)?metadata_(?P<call>.+?)(?:_try\d+)?\.json")
_MESSAGE = re.compile(rf"{layout.ARCHIVE}/messages/[0-9a-f]{{64}}\.txt")
_EXTRACTED = re.compile(rf"{layout.EXTRACTED}/extracted_(\d+)\.json")
_SUPERSEDED = re.compile(rf"{layout.SUPERSEDED}/seal_\d+/(.+)")
# What nothing is read from again: it may go where words of the texts cannot be taken out of it.
_EXPENDABLE = ("corpus/", "logs/", f"{layout.SUPERSEDED}/", "fault_recovery/torn/", "deliverables/")
_LITERAL = re.compile(r'"((?:[^"\\]|\\.)*)"(?P<key>\s*:)?', re.DOTALL)
_QUOTED = re.compile("“([^”]*)”")


class CannotWithhold(Exception):
    """A copy that would still hold words of the texts, or other numbers; the message says what and where."""


@dataclass
class _Copy:
    """What the making of a copy knows: what to look for, which documents go, and what it has found on the way."""

    session: Session
    documents: tuple[Document, ...]
    proof: Proof
    quotes: set[str] = field(default_factory=set)  # what stands as evidence in answers about the documents
    answers: dict[str, bytes] = field(default_factory=dict)  # by the SHA-256 of the answer as it was
    unreadable: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        ids = {document.id for document in self.documents}
        self.passages = self.proof.passages
        self.corpus = {frozen_name(document): document for document in self.documents}
        self.staying = {frozen_name(document) for document in self.session.definition.documents} - self.corpus.keys()
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
    session: Session,
    target: Path,
    documents: Collection[Document],
    *,
    kind: Kind,
    reason: str,
    proof: Proof | None = None,
) -> Redaction:
    """Copy the session to ``target`` without the texts of the documents, and return what was taken out.

    ``proof`` is that of these documents, where the caller has it. The record itself is not written. Raises
    CannotWithhold, which a copy that is not safe to pass on never survives.
    """
    copy = _Copy(session, tuple(documents), proof or proof_for(session, documents))
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


def proof_for(session: Session, documents: Collection[Document]) -> Proof:
    """Return what finds the documents' words; the author's own words and the texts that stay are no secret."""
    definition = session.definition
    gone = {document.id for document in documents}
    framework = definition.framework
    public = [framework.text, framework.contract.schema_text, definition.experiment.text]
    public.append(session.store.get(MANIFEST).decode())
    for one in definition.documents:
        said = tuple(one.metadata.values())
        public += [" ".join((one.id, one.file, *one.metadata, *said)), " ".join((one.id, *said)), " ".join(said)]
    public += [text for name, text in definition.texts.items() if name not in gone]
    return Proof([definition.texts[name] for name in gone], public)


def _quoting(copy: _Copy) -> tuple[str, ...]:
    """Return which of the author's own files quote the texts; a session could not be repeated without them."""
    definition = copy.session.definition
    alone = Passages(definition.texts[document.id] for document in copy.documents)
    files = {FRAMEWORK_SNAPSHOT: definition.framework.text, EXPERIMENT_SNAPSHOT: definition.experiment.text}
    return tuple(name for name, text in files.items() if alone.found(text))


# what becomes of each file


def _change(copy: _Copy, target: Path, names: Collection[str]) -> None:
    """Take the texts out of every file of the copy; answers go before the metadata that hold their hashes."""
    _gather(copy)
    for name in sorted(names, key=lambda name: (ANSWER.fullmatch(name) is None, name)):
        data = (target / name).read_bytes()
        changed = _changed(copy, name, data)
        if changed is None:
            (target / name).unlink()
        elif changed != data:
            (target / name).write_bytes(changed)


def _gather(copy: _Copy) -> None:
    """Find what stands, or stood, as evidence in any answer about the documents; what is a label as well is a label."""
    store, definition = copy.session.store, copy.session.definition
    labels = {""}
    for name in names_in(copy.session.folder):
        answer, number = ANSWER.fullmatch(name), _number_extracted(name)
        if answer is not None and copy.concerns(answer["call"]):
            extraction = extract(store.get(name).decode(), definition.framework)
        elif number in copy.analyses and (scores := _scores_in(store.get(name))) is not None:
            extraction = scores.extraction
        else:
            continue
        copy.quotes |= {_plain(quote) for quotes in extraction.evidence.values() for quote in quotes}
        labels |= {_plain(label) for label in extraction.labels.values()}
    copy.quotes -= labels


def _number_extracted(name: str) -> int | None:
    """Return the number of the analysis whose scores a file holds, or held in an earlier version; None: no scores."""
    found = _EXTRACTED.fullmatch(_known_as(name)[-1])
    return int(found[1]) if found is not None else None


def _changed(copy: _Copy, name: str, data: bytes) -> bytes | None:
    """Return what a file is to be without the texts, None where it cannot be kept."""
    if name in copy.corpus:
        return taken_out(copy.corpus[name].sha256).encode()
    if name in copy.staying:
        return data
    try:
        masked = _masked(copy, name, data)
        return masked if not copy.proof.holds(masked) else _less(copy, name, masked)
    except (Opaque, UnicodeDecodeError):
        return None


def _less(copy: _Copy, name: str, data: bytes) -> bytes | None:
    """Return what is left of a file without the lines that hide words; None where that is not to be had.

    What has to be there stays as it is: the check at the end names it.
    """
    if name.rpartition(".")[2] in ("json", "jsonl"):
        left = _joints(copy, name, data)
        if left is not None:
            return left
    if name.rpartition(".")[2] not in ("json", "jsonl", "csv", "gz", "png"):
        lines = data.decode("utf-8", "replace").split("\n")
        left = "\n".join(MARK if copy.proof.holds_said(line) else line for line in lines).encode()
        if not copy.proof.holds(left):
            return left
    return None if name.startswith(_EXPENDABLE) and not name.endswith(".csv") else data


def _joints(copy: _Copy, name: str, data: bytes) -> bytes | None:
    """Return JSON with a mark for what only strings in a row say of the texts; None where they say it still."""
    left = copy.passages.mask(data.decode(), seams=True)
    try:
        for one in filter(None, left.split("\n")) if name.endswith("l") else (left,):
            json.loads(one)
    except ValueError:
        return None
    return None if copy.proof.holds(left.encode()) else left.encode()


def _masked(copy: _Copy, name: str, data: bytes) -> bytes:
    """Return a file with a mark for what it says of the texts as far as that can be told apart from the rest."""
    if ANSWER.fullmatch(name):
        return _answer(copy, name, data)
    if _SIDECAR.fullmatch(name):
        return _sidecar(copy, data)
    if _MESSAGE.fullmatch(name):
        return copy.passages.mask(copy.proof.without_prompts(data.decode())).encode()
    if _number_extracted(name) in copy.analyses:
        return _without_evidence(copy, data)
    return _other(copy, name, data)


def _scores_in(data: bytes) -> Extracted | None:
    """Return what was read of an answer; None where the file is torn, or of another version of the program."""
    try:
        return Extracted.model_validate_json(data)
    except ValueError:
        return None


def _without_evidence(copy: _Copy, data: bytes) -> bytes:
    was = _scores_in(data)
    if was is None:
        return _json(copy, data)
    quiet = was.extraction.model_copy(update={"evidence": _no_words(was.extraction)})
    return _dumped(_masked_leaves(copy, was.model_copy(update={"extraction": quiet}).model_dump(mode="json")))


def _answer(copy: _Copy, name: str, data: bytes) -> bytes:
    """Return the answer with its quotations masked: any evidence, and each passage of the texts."""
    call = name.rpartition("/")[2]
    found = ANSWER.fullmatch(name)
    concerned = found is not None and copy.concerns(found["call"])
    text = data.decode()
    bare = copy.proof.without_prompts(_without_quotes(text, copy.quotes) if concerned else text)
    masked = copy.passages.mask(bare, seams=True)
    hides = copy.proof.holds(masked.encode())
    if masked == text and not hides:
        return data
    if hides or not reads_the_same(copy.session, name, text, masked):
        masked = f"{MARK}\n"
        if not reads_the_same(copy.session, name, text, masked):
            copy.unreadable.append(call)
    copy.answers[sha256(data).hexdigest()] = masked.encode()
    return masked.encode()


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
        content = json.loads(data, object_pairs_hook=_each_once)
    except (ValueError, RecursionError):  # torn, or says a thing twice: masked as the text that it is
        return copy.passages.mask(copy.proof.without_prompts(data.decode("utf-8", "replace")), seams=True).encode()
    masked = _masked_leaves(copy, content)
    return data if masked == content else _dumped(masked)


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        raise ValueError("a name twice, of which readers see the last value alone")
    return content


def _other(copy: _Copy, name: str, data: bytes) -> bytes:
    """Return a file of any other kind; what is packed, or a picture, stays. Raise UnicodeDecodeError for others."""
    kind = name.rpartition(".")[2]
    if kind in ("gz", "png"):
        return data
    text = data.decode()
    if kind == "json":
        return _json(copy, data)
    if kind == "csv":
        return _evidence(copy, text) if name.endswith(f"/{evidence.NAME}") else _table(copy, text)
    if kind == "jsonl":
        lines = (_json(copy, line.encode()) if line.strip() else line.encode() for line in text.split("\n"))
        return b"\n".join(line.replace(b"\n", b"") for line in lines)
    bare = copy.proof.without_prompts(_QUOTED.sub(lambda found: _quotation(copy, found), text))
    return copy.passages.mask(bare).encode()


def _table(copy: _Copy, text: str) -> bytes:
    rows = list(csv.reader(io.StringIO(text, newline="")))
    masked = [[_said(copy, cell) for cell in row] for row in rows]
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
    """Return the content with every text in it masked, names of fields among them."""
    if isinstance(content, dict):
        masked: dict[str, Any] = {}
        for name, value in content.items():
            said = _said(copy, name)
            while said in masked:  # two names that are masked alike stay two
                said += "'"
            masked[said] = _masked_leaves(copy, value)
        return masked
    if isinstance(content, list):
        return [_masked_leaves(copy, value) for value in content]
    return _said(copy, content) if isinstance(content, str) else content


def _said(copy: _Copy, text: str) -> str:
    """Return a text with its passages masked; where it hides more of them, it goes whole."""
    masked = copy.passages.mask(copy.proof.without_prompts(text), seams=True)
    return MARK if len(masked) >= LEAST and copy.proof.holds_said(masked) else masked


def _plain(quote: str) -> str:
    return " ".join(quote.split())


# the numbers, from what is left


def _read_again(copy: _Copy, target: Session) -> None:
    """Write what was read of the answers, as it is read of the masked ones, and the tables from that."""
    for number in copy.analyses:
        was = copy.session.extracted(number)
        if was is None:
            continue
        record, text = _archived(target, was.call)
        again = _extraction(target, was, record, text)
        is_now = again if numbers_of(again) == numbers_of(was.extraction) else was.extraction
        quiet = is_now.model_copy(update={"evidence": _no_words(is_now)})
        update = {"response_sha256": record.response_sha256, "extraction": quiet}
        masked = _masked_leaves(copy, was.model_copy(update=update).model_dump(mode="json"))
        written = Extracted.model_validate_json(json.dumps(masked)).model_dump_json(indent=1).encode()
        target.store.put(layout.extracted(number), written)
    for name, data in tables_of(target, list(session_records(target))).items():
        if copy.session.store.exists(name):  # a session of an earlier version has fewer
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
    fault = copy.proof.fault_in(target, but=copy.staying)
    if fault is not None:
        raise CannotWithhold(f"{fault}, so nothing was written; {REMEDY}")
    difference = first_difference(copy.session, Session(target))
    if difference is not None:
        raise CannotWithhold(f"{difference}, so nothing was written")


def _hashes(folder: Path) -> dict[str, str]:
    return {name: sha256((folder / name).read_bytes()).hexdigest() for name in names_in(folder) if not is_lock(name)}


def _dumped(content: Any) -> bytes:
    return json.dumps(content, ensure_ascii=False, indent=1).encode()
