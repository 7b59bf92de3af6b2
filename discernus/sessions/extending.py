"""Taking over answers: what another session has paid for is copied where the same question is asked again.

The same question is one of equal content key, which holds model, messages, parameters, variant, run and ask. Each
answer is taken once, so that no two analyses stand on one; its metadata says where it was paid.
"""

from __future__ import annotations

import re
from collections import defaultdict, deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from hashlib import sha256

import structlog

from discernus.experiments.definition import Definition
from discernus.experiments.freezing import SnapshotDamaged, in_prompt_form, prompt_form_of, taken_out_of
from discernus.experiments.plan import Analysis
from discernus.experiments.problems import InvalidDefinition
from discernus.extraction.extract import ask_again, extract
from discernus.llm.calls import ModelRequest
from discernus.llm.requests import analysis_request, extraction_request
from discernus.sessions import layout
from discernus.sessions.archive import Archive, ArchiveDamaged, ArchivedCall
from discernus.sessions.layout import Call
from discernus.sessions.questions import parts_of, read_question
from discernus.sessions.session import Session
from discernus.sessions.sidecars import sidecar_of
from discernus.sessions.store import NotInStore, Store

log = structlog.get_logger()

_RESPONSE = re.compile(r"response_(.+)\.txt")


@dataclass(frozen=True)
class TakenOver:
    """How many calls of a session were taken over, for how many analyses; ``damaged`` are those that could not be."""

    calls: int
    analyses: int
    damaged: tuple[str, ...]


def take_over(source: Session, target: Session, readers: tuple[str, ...]) -> TakenOver:
    """Copy into ``target`` every sound answer of ``source`` to a question that ``target`` asks. Repeating it is safe.

    The target needs its frozen inputs and nothing else; ``readers`` are its second models. The source's inputs are not
    looked at.
    """
    offer = _Offer(source)
    taken = [sum(1 for _ in _taken(offer, target, analysis, readers)) for analysis in target.plan]
    return TakenOver(sum(taken), sum(calls > 0 for calls in taken), tuple(offer.damaged))


def would_take_over(source: Session, definition: Definition) -> int:
    """Return how many analyses of the definition a session opened on it would take answers over for."""
    offer = _Offer(source)
    definition = in_prompt_form(definition, prompt_form_of(source.store.get))
    fallbacks = definition.experiment.fallback_models
    return sum(
        any(
            offer.give(
                analysis_request(definition, analysis, ask=0, correction=None, timeout_s=1, model=model).content_key(
                    variant=analysis.variant, run=analysis.run, ask=0
                )
            )
            for model in (analysis.model, *fallbacks.get(analysis.model, ()))
        )
        for analysis in definition.plan()
    )


def damaged_calls(source: Session) -> tuple[str, ...]:
    """Return the answered calls of a session that cannot be taken over: an answer, or what was asked, is damaged."""
    return tuple(_Offer(source).damaged)


def erased_documents(source: Session, definition: Definition) -> tuple[str, ...]:
    """Return the definition's documents whose very texts were taken out of the source; none if it cannot be read."""
    try:
        frozen = source.definition
    except (SnapshotDamaged, InvalidDefinition):
        return ()
    gone = taken_out_of(frozen)
    hashes = {document.sha256 for document in frozen.documents if document.id in gone}
    return tuple(document.id for document in definition.documents if document.sha256 in hashes)


class _Offer:
    """The answers that a session can give away, by the content keys of their questions, in the plan's order."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.damaged: list[str] = []
        self._by_key: dict[str, deque[Call]] = defaultdict(deque)
        for call in sorted(answered_calls(session), key=lambda call: (call.number, call.name)):
            try:
                found = session.archive.look_up(call)
                if found is not None:
                    _messages(session.archive, call)
                    self._by_key[found[0].content_key].append(call)
            except ArchiveDamaged:
                self.damaged.append(call.name)

    def give(self, content_key: str) -> Call | None:
        """Return the next call that answered the question, None if there is none left."""
        calls = self._by_key.get(content_key)
        return calls.popleft() if calls else None


def answered_calls(session: Session) -> list[Call]:
    """Return every call that the archive has an answer to, sound or not."""
    names = (_RESPONSE.fullmatch(name) for name in session.store.names(layout.ARCHIVE))
    return [Call.named(name[1]) for name in names if name is not None]


def _taken(offer: _Offer, target: Session, analysis: Analysis, readers: tuple[str, ...]) -> Iterator[Call]:
    """Take over what is there for one analysis, and yield each call: asks of all candidates, and their readings."""
    for fallback, model in enumerate(target.candidates(analysis.number)):
        call = Call(analysis.number, "analysis", fallback=fallback)
        while _take(offer, target, call, analysis, _question(target, call, analysis, model)):
            yield call
            yield from _second_readings(offer, target, call, analysis, readers)
            call = replace(call, ask=call.ask + 1)


def _second_readings(
    offer: _Offer, target: Session, read: Call, analysis: Analysis, readers: tuple[str, ...]
) -> Iterator[Call]:
    answer = target.archive.look_up(read)
    if answer is None:
        return
    framework = target.definition.framework
    problem = "; ".join(extract(answer[1], framework, finish_reason=answer[0].finish_reason).problems)
    for fallback, model in enumerate(readers):
        call = Call(read.number, "extraction", read.ask, fallback=fallback, source=read.fallback)
        request = extraction_request(framework, answer[1], model, problem=problem, timeout_s=1)
        if _take(offer, target, call, analysis, request):
            yield call


def _question(target: Session, call: Call, analysis: Analysis, model: str) -> ModelRequest:
    correction = None
    before = target.archive.look_up(replace(call, ask=call.ask - 1)) if call.ask else None
    if before is not None:
        framework = target.definition.framework
        correction = ask_again(extract(before[1], framework, finish_reason=before[0].finish_reason))
    return analysis_request(
        target.definition, analysis, ask=call.ask, correction=correction, timeout_s=1, model=model
    )  # the time a call may take is no part of the question


def _take(offer: _Offer, target: Session, call: Call, analysis: Analysis, request: ModelRequest) -> bool:
    """Return whether the target's archive has the answer to its call, copied now if the offer has it."""
    given = offer.give(request.content_key(variant=analysis.variant, run=analysis.run, ask=call.ask))
    if given is None:
        return False
    found = offer.session.archive.look_up(given)
    if found is None:
        return False
    record, text = found
    origin = record.reused_from or f"{offer.session.folder.name}/{given.name}"
    renamed = record.model_copy(update={"call": call.name, "number": call.number, "attempt": 1, "reused_from": origin})
    _copy(offer.session.archive, given, target.archive, call, renamed, text)
    return True


def _copy(source: Archive, given: Call, target: Archive, call: Call, record: ArchivedCall, text: str) -> None:
    """Write an answer's files into the target, the response last, and then into its mirror if that takes them."""
    files = {layout.message(key): data for key, data in _messages(source, given).items()}
    asked = source.store.get(given.request)
    files |= parts_of(asked, source.store) | {call.request: asked}
    sidecar, parts = sidecar_of(record)
    files |= parts | {call.metadata: sidecar}
    _put(target.store, call, files, text)
    if target.mirror is not None:
        try:
            _put(target.mirror, call, files, text)
        except OSError as refused:  # a copy is worth having, and never worth a session
            log.warning("mirror_refused", call=call.name, error=str(refused))


def _put(store: Store, call: Call, files: dict[str, bytes], text: str) -> None:
    for name, data in files.items():
        store.put_if_absent(name, data, with_next=True)
    store.put_if_absent(call.response, text.encode())


def _messages(archive: Archive, call: Call) -> dict[str, bytes]:
    """Return the messages of a call's request by their SHA-256. Raise ArchiveDamaged where one is not what it was."""
    try:
        keys = [message["content_sha256"] for message in read_question(archive.store, call.request)["messages"]]
        found = {key: archive.store.get(layout.message(key)) for key in keys}
    except (NotInStore, ValueError, KeyError, TypeError) as error:
        raise ArchiveDamaged(f"{call.request} cannot be read with its messages") from error
    if any(sha256(data).hexdigest() != key for key, data in found.items()):
        raise ArchiveDamaged(f"a message of {call.request} is not what was sent")
    return found
