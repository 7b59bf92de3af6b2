"""Drafting: a model proposes the machine-readable part of a framework that is prose alone.

The calls lie beside the framework, in ``<name>.draft.calls/<key of the first question>/``, with the files that a
session has: intent, request, metadata, answer and chronolog. Whoever asks the same again finds the answers there, and
pays nothing for them. What they cost, ``discernus.sessions.costs`` counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from hashlib import sha256
from pathlib import Path

from discernus.experiments.framework import Framework
from discernus.experiments.framework_draft import corrected, draft_messages, draft_text
from discernus.experiments.framework_file import parse_framework
from discernus.experiments.problems import Problem
from discernus.experiments.prompt import Messages
from discernus.extraction.answers import answer_in
from discernus.llm.calls import Message, ModelRequest
from discernus.sessions import layout
from discernus.sessions.archive import Archive, ArchivedCall
from discernus.sessions.calls import Calls, Obtained
from discernus.sessions.chronologs.chronolog import chronolog_of, gather
from discernus.sessions.drafts import CALLS
from discernus.sessions.layout import Call
from discernus.sessions.questions import question_of
from discernus.sessions.store import LocalStore

MOST_ASKS = 3
KEY_LENGTH = 12  # hexadecimal digits of the first question's key, in its folder's name


@dataclass(frozen=True)
class Proposal:
    """What an answer proposes: the whole draft, read as if its author had accepted it.

    ``framework`` is None where it cannot be used; ``reused`` says that nothing was sent for it now.
    """

    ask: int
    record: ArchivedCall
    answer: str
    text: str
    framework: Framework | None
    problems: tuple[Problem, ...]
    reused: bool


class Drafting:
    """One model's proposals for one framework in prose, the first and what came of asking again."""

    def __init__(self, path: Path, prose: str, model: str, *, timeout_s: float, copies: Path | None = None) -> None:
        """``path`` is the framework's file, ``copies`` a folder that gets a second copy of each answer."""
        self.prose = prose
        self._first = _request(model, draft_messages(prose), timeout_s)
        key = _key(self._first, 0)[:KEY_LENGTH]
        self.folder = path.with_name(f"{path.stem}{CALLS}") / key
        self._name = f"{path.stem}{CALLS}/{key}"
        self._chronolog = chronolog_of(self.folder)
        mirror = None if copies is None else LocalStore(copies / self._name)
        self._store = LocalStore(self.folder)
        self._archive = Archive(self._store, mirror, self._chronolog)

    def request(self, before: Proposal | None) -> ModelRequest:
        """Return the first question, or the one that follows a proposal that cannot be used."""
        if before is None:
            return self._first
        messages: Messages = tuple((message.role, message.content) for message in self._first.messages)
        asked = corrected(messages, before.answer, before.problems)
        return _request(self._first.model, asked, self._first.timeout_s)

    @property
    def has_answer(self) -> bool:
        """Whether anything was answered so far."""
        return any(self._store.exists(_call(ask).response) for ask in range(MOST_ASKS))

    @property
    def in_doubt(self) -> bool:
        """Whether a question was sent that left neither an answer nor an error: it may have been paid for."""
        return bool(self._store.names(layout.INTENTS))

    def answered(self, ask: int, request: ModelRequest) -> Obtained | None:
        """Return the answer to that question from an earlier time; None if there is none. Raise ArchiveDamaged."""
        found = self._archive.look_up(_call(ask), _key(request, ask))
        return None if found is None else Obtained(*found, reused=True)

    async def ask(self, ask: int, request: ModelRequest, calls: Calls) -> Obtained:
        """Put the question and return its answer, archived. A paid call.

        Raises CallFailed (archived as an error), UnderWay, NoRoom, ArchiveDamaged or OSError.
        """
        self._keep_question(_call(ask), request)
        try:
            return await calls.obtain(self._archive, self._name, _call(ask), _key(request, ask), request)
        finally:
            self._chronolog.flush()
            gather(self.folder)

    def _keep_question(self, call: Call, request: ModelRequest) -> None:
        """Archive a question before it is sent: should no answer come, it tells what the call may have cost."""
        for message in request.messages:
            content = message.content.encode()
            self._store.put_if_absent(layout.message(sha256(content).hexdigest()), content)
        question, parts = question_of(request, None)
        self._archive.shared.write(parts)
        self._store.put_if_absent(call.request, question, with_next=True)

    def proposal(self, ask: int, obtained: Obtained, name: str) -> Proposal:
        """Return what an answer proposes; ``name`` is the draft's file in messages."""
        record = obtained.record
        answered_by = record.model_answered or record.model_requested
        text = draft_text(self.prose, answer_in(obtained.text), answered_by, _day(record))
        framework, problems = parse_framework(text.encode(), name, proposals=True)
        return Proposal(ask, record, obtained.text, text, framework, problems, obtained.reused)


def _request(model: str, messages: Messages, timeout_s: float) -> ModelRequest:
    put = tuple(Message.model_validate({"role": role, "content": content}) for role, content in messages)
    return ModelRequest(model=model, messages=put, parameters={"temperature": 0}, timeout_s=timeout_s)


def _call(ask: int) -> Call:
    return Call(1, "synthesis", ask)


def _key(request: ModelRequest, ask: int) -> str:
    return request.content_key(variant="", run=1, ask=ask)


def _day(record: ArchivedCall) -> date:
    return (record.archived_at or datetime.now(UTC)).astimezone(UTC).date()
