"""From an archived answer to a file of scores, and the page that a person reads."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from hashlib import sha256
from typing import Literal

from discernus.experiments.framework import Framework
from discernus.extraction.extract import Extraction, ask_again, extract, from_second_model, needs_second_model
from discernus.sessions import layout
from discernus.sessions.archive import ArchiveDamaged, ArchivedCall
from discernus.sessions.layout import Call
from discernus.sessions.session import Extracted, Parked, Session


@dataclass(frozen=True)
class Read:
    """What an answer gave; ``next`` says whether more may be had of it. Scores stand in the framework's order."""

    next: Literal["done", "second_model", "ask_again"]
    scored: int
    scores: tuple[float | None, ...]


@dataclass(frozen=True)
class _Answer:
    call: Call
    record: ArchivedCall
    extraction: Extraction
    second: Call | None


def read_answer(session: Session, number: int, ask: int, *, final: bool, fallback: int = 0) -> Read:
    """Read a candidate's answer to an ask and write what it says, unless another look at it should come first.

    ``final`` takes what there is: the best reading over all asks so far.
    """
    definition = session.definition
    call = Call(number, "analysis", ask, fallback=fallback)
    answer = _read(session, definition.framework, call)
    if not final and answer.second is None:
        if needs_second_model(answer.extraction) and session.extraction_models:
            return _outcome("second_model", answer.extraction, definition.framework)
        if ask_again(answer.extraction) is not None:
            return _outcome("ask_again", answer.extraction, definition.framework)
    earlier = [_read(session, definition.framework, replace(call, ask=before)) for before in range(ask)]
    best = max([*earlier, answer], key=lambda one: (len(one.extraction.scores), one.call.ask))
    _write(session, number, best)
    return _outcome("done", best.extraction, definition.framework)


def park_unreadable(session: Session, number: int, ask: int, error: Exception, *, fallback: int = 0) -> None:
    """Park an analysis whose archived answer cannot be read, and say why; its answer stays where it is."""
    session.park(
        Parked(
            number=number,
            call=Call(number, "analysis", ask, fallback=fallback).name,
            error_class="archive_damaged" if isinstance(error, ArchiveDamaged) else "unreadable",
            reason=f"{type(error).__name__}: {error}",
            passing=False,
            passes=2,
            failures=0,
            at=datetime.now(UTC),
        )
    )


def _read(session: Session, framework: Framework, call: Call) -> _Answer:
    found = session.archive.look_up(call)
    if found is None:
        raise ArchiveDamaged(f"{call.response} is no longer in the archive")
    record, text = found
    extraction = extract(text, framework, finish_reason=record.finish_reason)
    for fallback in range(len(session.extraction_models)):
        second_call = Call(call.number, "extraction", call.ask, fallback=fallback, source=call.fallback)
        second = session.archive.look_up(second_call)
        if second is not None:
            merged = from_second_model(second[1], extraction, framework, first_answer=text)
            return _Answer(call, record, merged, second_call)
    return _Answer(call, record, extraction, None)


def _write(session: Session, number: int, answer: _Answer) -> None:
    analysis = session.analysis(number)
    extracted = Extracted(
        number=number,
        document=analysis.document,
        model=analysis.model,
        variant=analysis.variant,
        run=analysis.run,
        call=answer.record.call,
        second_call=answer.second.name if answer.second is not None else None,
        response_sha256=answer.record.response_sha256,
        extraction=answer.extraction,
    )
    data = extracted.model_dump_json(indent=1).encode()
    session.store.put(layout.extracted(number), data, durable=False)
    session.unpark(number)
    read = answer.extraction
    session.chronolog.note(
        "analysis_read",
        analysis=number,
        call=extracted.call,
        second_call=extracted.second_call,
        response_sha256=extracted.response_sha256,
        extracted_sha256=sha256(data).hexdigest(),
        route=read.route,
        status=read.status,
        scored=len(read.scores),
        missing=len(read.missing),
    )


def _outcome(next_: Literal["done", "second_model", "ask_again"], extraction: Extraction, framework: Framework) -> Read:
    scores = tuple(extraction.scores.get(dimension.name) for dimension in framework.dimensions)
    return Read(next_, len(extraction.scores), scores)
