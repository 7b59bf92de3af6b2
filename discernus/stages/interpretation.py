"""Prose around the tables: what a model is told of them, the one call that asks for it, and what its answer is worth.

The call has a number after the plan's last. Other tables are another question, with the next number, so that what was
written of earlier ones is kept, and is never shown beside these. Without an answer the report stands as it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from typing import Literal

from discernus.experiments.freezing import texts_at_hand
from discernus.extraction.unusable import is_error_text, is_refusal
from discernus.llm.calls import ModelRequest
from discernus.llm.catalogue import facts_of, prompt_tokens, worst_case_usd
from discernus.llm.models_file import read_models_file
from discernus.llm.requests import interpretation_request
from discernus.reports.data import ReportData
from discernus.reports.interpretation import brief, checked
from discernus.reports.prose import Prose
from discernus.reports.records import AnalysisRecord
from discernus.sessions import layout
from discernus.sessions.archive import ArchiveDamaged, ArchivedCall
from discernus.sessions.calls import Calls
from discernus.sessions.costs import onlooker
from discernus.sessions.failures import failures_of
from discernus.sessions.layout import Call
from discernus.sessions.session import Session
from discernus.settings import Settings
from discernus.stages.analysis import Asked, Question, obtain
from discernus.stages.answerers import answering_versions, answers_of, stand_ins
from discernus.stages.planning import MOST_ASKS, Stretch, Todo, most
from discernus.stages.records import answered_at, parked_analyses
from discernus.stages.testing import tested

LABEL = "tables"  # what the call is about, as people see it
CUT_OFF = frozenset({"truncated", "runaway", "oversized"})  # marks of an answer that is not all, or too much
OLDER_TABLES = "what a model wrote is about tables that have changed since"


def write_brief(session: Session, records: list[AnalysisRecord]) -> None:
    """Write what a model will be told of the tables, where the experiment asks for prose."""
    if not session.facts.synthesis_models:
        return
    definition, facts = session.definition, session.facts
    answers, failures = answers_of(session), failures_of(session, onlooker(session.projects_dir))
    data = ReportData(
        project=facts.project,
        session=facts.session,
        experiment=definition.experiment,
        framework=definition.framework,
        documents=definition.documents,
        texts=texts_at_hand(definition),
        records=tuple(records),
        status="complete",
        started_at=facts.created_at.isoformat(timespec="seconds"),
        parked=parked_analyses(session, records),
        stand_ins=stand_ins(session, records, answers, failures),
        answering_versions=answering_versions(session, records, answers),
        clock=facts.clock,
        migrated_from=facts.migrated_from,
        tests=tested(definition, records),
    )
    session.store.put(layout.BRIEF, brief(data).encode())


def left_to_write(session: Session, settings: Settings, *, priced: bool) -> Stretch:
    """Return the call for prose as a stretch of one, or as done; ``priced`` asks for what it may cost at worst."""
    models = session.facts.synthesis_models
    if not models or not session.store.exists(layout.BRIEF):
        return Stretch((), 0, 0, 0, 0.0, 0)
    number = _number(session)
    if (written := _usable(session, number)) is not None:
        cost_usd = written[0].cost_usd
        return Stretch((), 1, 0, 0, cost_usd or 0.0, int(cost_usd is None))
    worst_usd = None
    if priced:
        worst_usd = most([_worst_usd(session, settings, number, place) for place in range(len(models))])
    return Stretch((Todo(number, models[0], LABEL, worst_usd),), 0, 0, 0, 0.0, 0)


async def interpret(
    session: Session,
    calls: Calls,
    settings: Settings,
    number: int,
    ask: int,
    *,
    again: bool = False,
    began: float = 0.0,
    fallback: int = 0,
) -> Asked:
    """Have the tables put into words by one of the models for it. Raises TryAgain for what waiting cures."""
    call = Call(number, "synthesis", ask, fallback=fallback)
    try:
        request = _request(session, call)
    except ArchiveDamaged as damaged:
        return Asked("parked", reason=str(damaged))
    question = Question(session, settings, call, request, session.facts.synthesis_models, again, began)
    return await obtain(calls, question)


def judge(
    session: Session, number: int, ask: int, *, final: bool, fallback: int
) -> Literal["done", "ask_again", "unreadable"]:
    """Return whether an answer can be shown, is to be asked for again, or, the last one, can be had by no asking."""
    found = session.archive.look_up(Call(number, "synthesis", ask, fallback=fallback))
    if found is not None and not _problem(*found):
        return "done"
    return "unreadable" if final else "ask_again"


def prose_of(session: Session, data: ReportData) -> Prose | None:
    """Return the prose about the tables as they are now, or why there is none; None where none is asked for."""
    if not session.facts.synthesis_models:
        return None
    if not session.store.exists(layout.BRIEF):
        return Prose(status="missing", reason="there are no tables that a model could be told of")
    number, told = _number(session), _brief(session)
    try:
        written = _usable(session, number)
    except ArchiveDamaged as damaged:
        return Prose(status="missing", reason=str(damaged))
    if written is None:
        return Prose(status="missing", reason=_came_of_it(session, number)[0])
    record, answer = written
    return checked(data, told, answer).model_copy(
        update={
            "call": record.call,
            "model_requested": record.model_requested,
            "model_answered": record.model_answered,
            "answered_at": answered_at(record),
            "brief_sha256": sha256(told.encode()).hexdigest(),
        }
    )


def why_missing(session: Session) -> str:
    """Return why the report has no prose though the experiment asks for it; nothing where it has, or asks for none."""
    if not session.store.exists(layout.INTERPRETATION):
        return ""
    return Prose.model_validate_json(session.store.get(layout.INTERPRETATION)).reason


def prose_may_be_had(session: Session) -> bool:
    """Return whether the report lacks its prose for a reason that may have passed: another run asks once more."""
    if not why_missing(session) or not session.store.exists(layout.BRIEF):
        return False
    try:
        return _came_of_it(session, _number(session))[1]
    except ArchiveDamaged:
        return False


def _brief(session: Session) -> str:
    return session.store.get(layout.BRIEF).decode()


def _request(session: Session, call: Call) -> ModelRequest:
    """Return what a call asks; from the second time on it says what was wrong with the answer before."""
    model = session.facts.synthesis_models[call.fallback]
    found = session.archive.look_up(replace(call, ask=call.ask - 1)) if call.ask else None
    return interpretation_request(
        _brief(session),
        model,
        parameters=session.definition.experiment.settings_of(model).parameters(),
        problem=_problem(*found) if found is not None else None,
        timeout_s=session.facts.timeout_s(model),
    )


def _worst_usd(session: Session, settings: Settings, number: int, fallback: int) -> float | None:
    request = _request(session, Call(number, "synthesis", fallback=fallback))
    facts = facts_of(request.model, read_models_file(settings.models_path).rules(request.model))
    return worst_case_usd(facts, prompt_tokens(request), request.parameters.get("max_tokens"))


def _number(session: Session) -> int:
    """Return the number of the question about these tables: the first after the plan under which no other was put."""
    number = session.facts.analyses + 1
    first = [Call(number, "synthesis", fallback=place) for place in range(len(session.facts.synthesis_models))]
    keys = {_request(session, call).content_key(variant="", run=0, ask=0) for call in first}
    while True:
        asked = {key for call in first for key in _asked(session, replace(call, number=number))}
        if not asked or asked & keys:
            return number
        number += 1


def _asked(session: Session, call: Call) -> Iterator[str]:
    """Yield the content keys of what was asked under a call's name; of an answer that cannot be verified, no key's."""
    try:
        found = session.archive.look_up(call)
    except ArchiveDamaged:
        yield ""
        return
    if found is not None:
        yield found[0].content_key
    failures = session.archive.failures(call)
    yield from (str(failure["content_key"]) for failure in failures)
    attempt = 1
    while session.store.exists(call.error(attempt)) or session.store.exists(call.intent(attempt)):
        intent = session.archive.read_intent(call.intent(attempt))
        if intent is not None:
            yield intent.content_key
        attempt += 1


def _usable(session: Session, number: int) -> tuple[ArchivedCall, str] | None:
    """Return the first answer that can be shown, of the model asked for or else of a fallback; None if none can."""
    for call in _calls(session, number):
        found = session.archive.look_up(call)
        if found is not None and not _problem(*found):
            return found
    return None


def _calls(session: Session, number: int) -> Iterator[Call]:
    for fallback in range(len(session.facts.synthesis_models)):
        for ask in range(MOST_ASKS):
            yield Call(number, "synthesis", ask, fallback=fallback)


def _problem(record: ArchivedCall, answer: str) -> str:
    """Return why an answer is no prose to be shown; nothing where it is."""
    if not answer.strip():
        return "it was empty"
    if record.finish_reason == "length" or CUT_OFF.intersection(record.marks):
        return "it was cut off at the limit of its output, or ran on without end"
    if is_refusal(answer, record.finish_reason):
        return "it declined the task"
    return "it was an error message" if is_error_text(answer, ()) else ""


def _came_of_it(session: Session, number: int) -> tuple[str, bool]:
    """Return what came of the last call for prose, and whether it may come out otherwise by itself."""
    came: list[tuple[str, bool]] = []
    for call in _calls(session, number):
        found = session.archive.look_up(call)
        failures = session.archive.failures(call)
        if found is not None:
            came.append((f"the answer of {found[0].model_requested} could not be used: {_problem(*found)}", False))
        elif failures:
            came.append((str(failures[-1]["message"]), failures[-1]["kind"] == "transient"))
    if came:
        return came[-1]
    return OLDER_TABLES if number > session.facts.analyses + 1 else "no model was asked, or none answered", True
