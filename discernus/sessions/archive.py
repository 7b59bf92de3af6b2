"""The archive of calls: every answer that was paid for, durable before anybody hears of it, and never overwritten.

A call is committed by the link of its response file, after its request and its metadata; a look-up verifies the
response against the hash in the metadata and the question against its content key. What a rival attempt brings late
is kept beside the committed answer, with its cost, and never scored.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from math import isfinite
from typing import Any

import structlog
from pydantic import BaseModel, ConfigDict

from discernus.llm.calls import ModelAnswer, ModelRequest
from discernus.llm.errors import CallFailed
from discernus.sessions import layout
from discernus.sessions.chronologs.chronolog import Chronolog
from discernus.sessions.layout import Call
from discernus.sessions.owners import Owner
from discernus.sessions.questions import question_of
from discernus.sessions.shared_parts import Shared
from discernus.sessions.sidecars import ArchivedCall as ArchivedCall
from discernus.sessions.sidecars import read_sidecar, sidecar_of
from discernus.sessions.store import NotInStore, Store

log = structlog.get_logger()

# What the chronolog tells of an answer and of a failure.
NOTED = {
    "call",
    "attempt",
    "model_requested",
    "model_answered",
    "response_sha256",
    "prompt_tokens",
    "completion_tokens",
    "cost_usd",
    "latency_ms",
    "finish_reason",
}
NOTED_OF_FAILURES = ("call", "attempt", "model", "error_class", "kind", "status", "cost_usd", "latency_ms")
DEEPEST = 64  # levels of a vendor's body that are kept as JSON; one that goes deeper is kept as text, for any reader
TIME_NOT_RECORDED = "time_not_recorded"  # the mark of an answer from an older layout that told no time
ZONE_NOT_RECORDED = "zone_not_recorded"  # the mark of one whose times are as its author's clock showed them
DEADLINE_GRACE_S = 30.0  # the gateway keeps a call's own timeout; this covers archiving what it brought


class UnderWay(Exception):
    """Another process has asked and may still get the answer, for ``seconds`` at the longest."""

    def __init__(self, call: Call, owner: str, seconds: float) -> None:
        super().__init__(f"call {call.name} is under way at {owner}")
        self.seconds = seconds


class ArchiveDamaged(Exception):
    """An archived answer that is not what was archived, or that answers another question."""


class Intent(BaseModel):
    """Said before a request goes out: who sends it, and until when its answer may still come."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    call: str
    attempt: int
    owner: str
    content_key: str
    model: str
    sent_at: datetime
    deadline: datetime


class Archive:
    """The calls of one session. ``mirror`` is a second store that gets a copy of every answer.

    ``chronolog`` is told of each call, after what it tells is durable.
    """

    def __init__(self, store: Store, mirror: Store | None = None, chronolog: Chronolog | None = None) -> None:
        self.store = store
        self.mirror = mirror
        self._chronolog = chronolog
        self.shared = Shared(store)
        self._mirrored = None if mirror is None else Shared(mirror)
        self._known_messages: set[str] = set()

    def look_up(self, call: Call, content_key: str | None = None) -> tuple[ArchivedCall, str] | None:
        """Return the archived call and its answer's text, verified; None if it was never answered.

        Raises ArchiveDamaged where the answer is not the one that was archived, or answers another question.
        """
        try:
            data = self.store.get(call.response)
        except NotInStore:
            return None
        record = self._sidecar(call, sha256(data).hexdigest())
        if record is None:
            raise ArchiveDamaged(f"{call.response} is not the answer that was archived: no metadata has its SHA-256")
        if content_key is not None and record.content_key != content_key:
            raise ArchiveDamaged(f"{call.response} answers another question than the session now asks")
        return record, data.decode("utf-8")

    def record(self, name: str) -> ArchivedCall:
        """Return the whole record of an answer by the name of its metadata, whether its answer is sound or not.

        Raise NotInStore (a LookupError) where it, or a part that it refers to, is gone; ValueError where one cannot be
        read.
        """
        return read_sidecar(self.store, name, self.shared)

    def failures(self, call: Call) -> list[dict[str, Any]]:
        """Return the archived errors of a call, in order."""
        found = []
        attempt = 1
        while True:
            if self.store.exists(call.error(attempt)):
                found.append(json.loads(self.store.get(call.error(attempt))))
            elif not self.store.exists(call.intent(attempt)):
                return found
            attempt += 1

    def claim(self, call: Call, request: ModelRequest, content_key: str, owner: Owner) -> Intent:
        """Write the intent of the next attempt and return it; among rivals exactly one gets each attempt.

        Raises UnderWay while an earlier attempt's owner may live and its deadline has not passed.
        """
        deadline = datetime.now(UTC) + timedelta(seconds=request.timeout_s + DEADLINE_GRACE_S)
        attempt = self._next_attempt(call)
        while True:
            self._refuse_if_under_way(call, attempt - 1, owner)
            intent = Intent(
                call=call.name,
                attempt=attempt,
                owner=owner.id,
                content_key=content_key,
                model=request.model,
                sent_at=datetime.now(UTC),
                deadline=deadline,
            )
            if self.store.put_if_absent(call.intent(attempt), intent.model_dump_json().encode()):
                self._note("call_sent", **intent.model_dump(mode="json", exclude={"sent_at"}))
                return intent
            attempt += 1

    def withdraw(self, call: Call, intent: Intent) -> None:
        """Take back an intent for which nothing was sent."""
        self.store.remove(call.intent(intent.attempt))
        self._note("call_withdrawn", call=call.name, attempt=intent.attempt)

    def _refuse_if_under_way(self, call: Call, attempt: int, owner: Owner) -> None:
        earlier = self.read_intent(call.intent(attempt)) if attempt > 0 else None
        if earlier is None or earlier.owner == owner.id:  # ours, and not in flight: given up by an error of our own
            return
        if earlier.deadline > datetime.now(UTC) and owner.may_live(earlier.owner):
            raise UnderWay(call, earlier.owner, (earlier.deadline - datetime.now(UTC)).total_seconds())

    def settled(self, intent: Intent) -> bool:
        """Return whether the attempt's answer or error is archived: a kill may fall before its intent is removed."""
        call = Call.named(intent.call)
        if self.store.exists(call.error(intent.attempt)):
            return True
        try:
            found = self.look_up(call)
        except ArchiveDamaged:
            return False
        return found is not None and found[0].attempt == intent.attempt

    def read_intent(self, name: str) -> Intent | None:
        """Return an intent by its name in the store, None if it is gone."""
        try:
            return Intent.model_validate_json(self.store.get(name))
        except NotInStore:
            return None

    def commit(self, call: Call, intent: Intent, request: ModelRequest, answer: ModelAnswer) -> ArchivedCall:
        """Make the answer durable and return its record; a rival's late answer is kept beside the committed one."""
        data = _writable(answer.text).encode()
        record = _record(call, intent, request, answer, data)
        sidecar, parts = sidecar_of(record)
        self._keep_messages(request)
        question, asked = question_of(request, answer.request_as_sent)
        if self.mirror is not None and self._mirrored is not None:
            try:
                self._mirrored.write(parts | asked)
                _link_answer(self.mirror, call, intent.attempt, question, sidecar, data)
            except OSError as refused:  # a copy is worth having, and never worth an answer
                log.warning("mirror_refused", call=call.name, error=str(refused))
        self.shared.write(parts | asked)
        scored = _link_answer(self.store, call, intent.attempt, question, sidecar, data)
        self.store.remove(call.intent(intent.attempt))
        self._note("call_answered", **record.model_dump(include=NOTED), scored=scored)
        return record

    def record_failure(self, call: Call, intent: Intent, request: ModelRequest, failure: CallFailed) -> None:
        """Archive the question and what came instead of an answer; the intent is settled by it."""
        if not self.store.exists(call.request):
            self._keep_messages(request)
            question, parts = question_of(request, failure.request_as_sent)
            self.shared.write(parts)
            self.store.put_if_absent(call.request, question, with_next=True)
        error = {
            "call": call.name,
            "attempt": intent.attempt,
            "owner": intent.owner,
            "content_key": intent.content_key,
            "model": request.model,
            "at": datetime.now(UTC).isoformat(),
            "sent_at": intent.sent_at.isoformat(),
            "error_class": failure.error_class,
            "kind": failure.kind,
            "status": failure.status,
            "counts_as_attempt": failure.counts_as_attempt,
            "retry_after_s": failure.retry_after_s,
            "sent": failure.sent,
            "message": failure.message,
            "body": failure.body,
            "usage": None if failure.usage is None else failure.usage.model_dump(),
            "cost_usd": failure.cost_usd,
            "price_source": failure.price_source,
            "started_at": None if failure.started_at is None else failure.started_at.isoformat(),
            "latency_ms": failure.latency_ms,
            "request_as_sent": failure.request_as_sent,
        }
        self.store.put(call.error(intent.attempt), json.dumps(error, ensure_ascii=False, indent=1).encode())
        self.store.remove(call.intent(intent.attempt))
        self._note("call_failed", **{name: error[name] for name in NOTED_OF_FAILURES})

    def _note(self, event: str, **facts: Any) -> None:
        if self._chronolog is not None:
            self._chronolog.note(event, **facts)

    def _next_attempt(self, call: Call) -> int:
        attempt = 1
        while self.store.exists(call.error(attempt)) or self.store.exists(call.intent(attempt)):
            attempt += 1
        return attempt

    def _sidecar(self, call: Call, response_sha256: str) -> ArchivedCall | None:
        """Return the metadata that belongs to the response; seldom another attempt's lies at the first name."""
        first = self._matching(call.metadata, call, response_sha256)
        if first is not None and not self.store.exists(call.intent(first.attempt)):
            return first
        # what still has its intent was cut off: a later attempt may have been committed, perhaps with the same words
        others = [self._matching(name, call, response_sha256) for name in self._other_sidecars(call)]
        found = [record for record in (first, *others) if record is not None]
        return max(found, key=lambda record: record.attempt, default=None)

    def _matching(self, name: str, call: Call, response_sha256: str) -> ArchivedCall | None:
        """Return the metadata stored under the name, None unless it is that of the response."""
        try:
            record = self.record(name)
        except (NotInStore, ValueError):
            return None
        return record if record.call == call.name and record.response_sha256 == response_sha256 else None

    def _other_sidecars(self, call: Call) -> Iterator[str]:
        start = call.sidecar(0).removesuffix("0.json")
        for name in self.store.names(layout.ARCHIVE):
            if f"{layout.ARCHIVE}/{name}".startswith(start):
                yield f"{layout.ARCHIVE}/{name}"

    def _keep_messages(self, request: ModelRequest) -> None:
        """Keep the texts of a request's messages, each once, before anything refers to them."""
        for message in request.messages:
            content = message.content.encode()
            key = sha256(content).hexdigest()
            if key not in self._known_messages:
                self.store.put_if_absent(layout.message(key), content)
                self._known_messages.add(key)


def _link_answer(store: Store, call: Call, attempt: int, question: bytes, sidecar: bytes, data: bytes) -> bool:
    """Write an answer's three files, the response last: its link is the commit. Repeating it changes nothing.

    Return whether this attempt's is the answer that counts; a rival's is kept beside it.
    """
    asked_before = not store.put_if_absent(call.request, question, with_next=True)
    if not store.exists(call.response):
        if asked_before and store.get(call.request) != question:
            store.put(call.request, question)  # what an attempt sent that failed is in its error's record
        if not store.put_if_absent(call.metadata, sidecar, with_next=True):
            # of an attempt that died before the link of its response, or of a rival at this very moment
            store.put_if_absent(call.sidecar(attempt), sidecar, with_next=True)
        if store.put_if_absent(call.response, data):
            return True
    same = store.get(call.response) == data
    if same and (store.exists(call.sidecar(attempt)) or json.loads(store.get(call.metadata))["attempt"] == attempt):
        return True  # our own, from a try that the disk cut short after the link
    store.put_if_absent(call.rival("metadata", attempt), sidecar, with_next=not same)
    if not same:
        store.put_if_absent(call.rival("response", attempt), data)
    return False


def _record(call: Call, intent: Intent, request: ModelRequest, answer: ModelAnswer, data: bytes) -> ArchivedCall:
    usage = answer.usage
    known = (usage.prompt_tokens, usage.completion_tokens)
    latency_ms = round(answer.latency_ms, 3)  # what is below a microsecond is no measurement
    return ArchivedCall(
        call=call.name,
        number=call.number,
        purpose=call.purpose,
        ask=call.ask,
        attempt=intent.attempt,
        owner=intent.owner,
        content_key=intent.content_key,
        response_sha256=sha256(data).hexdigest(),
        response_bytes=len(data),
        finish_reason=answer.finish_reason,
        model_requested=answer.model_requested,
        model_answered=answer.model_answered,
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        cached_tokens=usage.cached_tokens,
        reasoning_tokens=usage.reasoning_tokens,
        cost_usd=answer.cost_usd,
        price_source=answer.price_source,
        latency_ms=latency_ms,
        started_at=answer.started_at,
        archived_at=datetime.now(UTC),
        parameters=request.parameters,
        dropped_parameters=answer.dropped_parameters,
        model_forensics=answer.model_forensics,
        response_metadata={
            "response_time_ms": latency_ms,
            "tokens_used": sum(known) if None not in known else None,
            "cost_usd": answer.cost_usd,
        },
        response_as_received=_without_text(answer.response_as_received, answer.text),
        substituted=answer.substituted,
        marks=answer.marks,
    )


def _without_text(body: str | None, text: str) -> Any:
    """Return the vendor's body with the answer's text replaced by a reference, since that is archived already."""
    if body is None:
        return None

    def replaced(value: Any, level: int = 0) -> Any:
        if level > DEEPEST:
            raise ValueError("nested too deeply")
        if isinstance(value, dict):
            return {_writable(key): replaced(item, level + 1) for key, item in value.items()}
        if isinstance(value, list):
            return [replaced(item, level + 1) for item in value]
        if isinstance(value, float) and not isfinite(value):
            raise ValueError("JSON has no such number")
        if not isinstance(value, str):
            return value
        return {"text_of": "response"} if value == text and text else _writable(value)

    try:
        return replaced(json.loads(body))
    except (ValueError, RecursionError):
        return _writable(body)


def _writable(text: str) -> str:
    """Return the text with halves of characters, which JSON can carry and no file can, replaced by U+FFFD."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
