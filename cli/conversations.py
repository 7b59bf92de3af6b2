"""``answers show``: one call as a conversation, with every value that was read of it and the words it rests on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cli.display import write
from cli.exits import COMPLETE, INVALID, CommandError, command_name
from cli.marking import fitted, harmless, marked, shown
from cli.sessions import session_meant
from cli.tables import Column, table, wrapped
from discernus.extraction.extract import Extraction, extract
from discernus.reports.markdown import number, usd
from discernus.reports.quotes import verify
from discernus.sessions.archive import TIME_NOT_RECORDED, ArchiveDamaged, ArchivedCall
from discernus.sessions.conversations import (
    Conversation,
    NoSuchCall,
    Turn,
    analysis_of,
    call_meant,
    calls_of,
    read_conversation,
)
from discernus.sessions.layout import Call
from discernus.sessions.session import Session
from discernus.settings import Settings
from discernus.stages.asking_again import Repeat, repeats_of, said_before

ROUTES = {
    "contract_json": "JSON as it was asked for",
    "json_in_text": "JSON amid prose",
    "data_block": "CSV or YAML",
    "repaired_json": "repaired JSON",
    "outline": "labelled lines of prose",
    "second_model": "a second model",
}
STATES = {"taken out": "was taken out", "altered": "is not what was sent", "missing": "is missing"}


@dataclass(frozen=True)
class Shown:
    """A call with all that is shown of it. ``damage`` says what is wrong with its answer ("": nothing)."""

    session: Session
    conversation: Conversation
    damage: str
    extraction: Extraction | None
    repeats: tuple[Repeat, ...]

    @property
    def call(self) -> Call:
        return self.conversation.call

    @property
    def quotations(self) -> tuple[str, ...]:
        """The words that the scores are said to rest on."""
        evidence = self.extraction.evidence if self.extraction is not None else {}
        return tuple(quotation for quotations in evidence.values() for quotation in quotations)


def show(settings: Settings, name: str, call_name: str, *, prompt: bool, as_json: bool) -> int:
    """Show a call as a conversation, with or without its prompt; raise CommandError where there is none."""
    found = conversation_meant(session_meant(settings, name), call_name)
    if as_json:
        write(json.dumps(_as_data(found), ensure_ascii=False))
        return COMPLETE
    for line in shown(_page(found, prompt=prompt)):
        write(line)
    return COMPLETE


def conversation_meant(session: Session, name: str) -> Shown:
    """Return the call that a plan number or a call's name means; raise CommandError where there is none."""
    try:
        call = call_meant(session, name)
        try:
            conversation, damage = read_conversation(session.archive, call), ""
        except ArchiveDamaged as damaged:
            conversation, damage = read_conversation(session.archive, call, answered=False), str(damaged)
    except NoSuchCall as unknown:
        raise CommandError(str(unknown), INVALID) from unknown
    said = said_before(session, call) if not damage else None
    extraction = said.extraction if said is not None else None
    return Shown(session, conversation, damage, extraction, tuple(repeats_of(session, call)))


def moment(record: ArchivedCall) -> str:
    """Return when an answer came, in words; an older layout may not have told."""
    if record.archived_at is None or TIME_NOT_RECORDED in record.marks:
        return "at a time that was not recorded"
    return _utc(record.archived_at)


def spent(record: ArchivedCall) -> str:
    """Return what an answer took, in words; what is not known is said to be unknown."""
    counts = (record.prompt_tokens, record.completion_tokens)
    sizes = ["unknown" if count is None else f"{count:,}" for count in counts]
    tokens = (
        f"{sizes[0]} tokens in, {sizes[1]} out" if any(count is not None for count in counts) else "no count of tokens"
    )
    cost = "cost unknown" if record.cost_usd is None else f"{usd(record.cost_usd)} USD"
    taken = "" if record.latency_ms is None else f"{record.latency_ms / 1000:.1f} s"
    return ", ".join(part for part in (tokens, cost, taken) if part)


# for people


def _page(found: Shown, *, prompt: bool) -> Iterator[str]:
    yield from _heading(found)
    if prompt:
        for turn in found.conversation.messages:
            yield from _turn(turn, found)
    yield from _answer(found)
    yield from _scores(found)
    yield from _evidence(found)
    yield from _others(found)


def _heading(found: Shown) -> Iterator[str]:
    session, call, record = found.session, found.call, found.conversation.record
    analysis = analysis_of(session, call)
    yield wrapped(f"{session.name}, call {call.name}: {_what(call)}")
    if analysis is not None:
        yield wrapped(
            harmless(
                f"analysis {analysis.number}: document {analysis.document}, model {analysis.model}, "
                f"variant {analysis.variant}, run {analysis.run}"
            )
        )
    if record is None:
        yield wrapped(found.damage or f"asked of {found.conversation.model}; no answer is archived")
    else:
        other = record.model_answered not in (None, record.model_requested)
        by = f"{record.model_requested}{f' (as {record.model_answered})' if other else ''}"
        yield wrapped(harmless(f"answered by {by}, {moment(record)}"))
        yield wrapped(f"{spent(record)}; finish reason {record.finish_reason or 'unknown'}")
        yield from (wrapped(line) for line in _noticed(record))
    for failure in found.conversation.failures:
        yield from fitted(harmless(f"attempt {failure['attempt']} failed: {failure['message']}"))


def _what(call: Call) -> str:
    parts = {"analysis": "an analysis", "extraction": "an answer read by a second model", "synthesis": "no analysis"}
    again = f", asked for the {call.ask + 1}. time" if call.ask else ""
    fallback = f", put to fallback {call.fallback}" if call.fallback else ""
    return f"{parts[call.purpose]}{again}{fallback}"


def _noticed(record: ArchivedCall) -> Iterator[str]:
    if record.substituted:
        yield "another model answered than the one that was asked"
    if record.marks:
        yield f"noticed about the answer: {', '.join(record.marks)}"
    if record.reused_from is not None:
        yield f"taken over from {record.reused_from}, where it was paid for"
    if record.recovered_from is not None:
        yield f"recovered from {record.recovered_from}"


def _turn(turn: Turn, found: Shown) -> Iterator[str]:
    told = f": it {STATES[turn.state]} (SHA-256 {turn.sha256[:12]}…)" if turn.state != "as sent" else ""
    yield from _rule(f"{turn.role}{told}")
    if turn.state != "missing":
        yield from fitted(marked(turn.text, found.quotations if turn.role == "user" else ()))


def _answer(found: Shown) -> Iterator[str]:
    answer, record = found.conversation.answer, found.conversation.record
    if answer is None or record is None:
        return
    yield from _rule("answer")
    yield from fitted(marked(answer, found.quotations)) or ["(empty)"]
    yield ""
    yield f"{found.call.response}"
    yield f"SHA-256 {record.response_sha256}"


def _scores(found: Shown) -> Iterator[str]:
    extraction = found.extraction
    if extraction is None:
        return
    yield from _rule("what was read of it")
    rows = [
        [row["dimension"], number(row["score"]), number(row["confidence"], 2), row["missing"] or ROUTES[row["read_as"]]]
        for row in _values(found, extraction)
    ]
    columns = [Column("dimension"), Column("score", right=True), Column("conf.", right=True), Column("read as")]
    yield table(columns, [[harmless(cell) for cell in row] for row in rows])
    yield from (harmless(wrapped(f"{name}: {label}")) for name, label in extraction.labels.items())
    yield from (harmless(wrapped(problem)) for problem in extraction.problems)
    counted = found.session.extracted(found.call.number)
    if counted is not None and found.call.name not in (counted.call, counted.second_call):
        yield wrapped(f"these do not count: the analysis's scores are those of call {counted.call}")


def _evidence(found: Shown) -> Iterator[str]:
    analysis = analysis_of(found.session, found.call)
    if found.extraction is None or analysis is None or not found.extraction.evidence:
        return
    text = found.session.definition.texts[analysis.document]
    yield from _rule("evidence, and whether it stands in the text")
    for dimension, quotations in found.extraction.evidence.items():
        yield harmless(f"{dimension}:")
        for quotation in quotations:
            told = verify(quotation, text)
            yield from fitted(f"{'NOT FOUND' if told == 'not found' else told}: “{harmless(quotation)}”", indent="  ")


def _others(found: Shown) -> Iterator[str]:
    session, call = found.session, found.call
    others = [one for one in calls_of(session, call.number) if one != call]
    if others:
        yield from _rule(f"other calls of analysis {call.number}")
        for one in others:
            answered = "answered" if session.store.exists(one.response) else "not answered"
            name = one.name if not one.name.isdecimal() else f"{one.name}_ask0"
            yield f"{name}: {_what(one)}, {answered}"
    if found.repeats:
        yield from _rule("asked again")
        for repeat in found.repeats:
            yield from fitted(harmless(f"{repeat.about.times}. {_repeat(repeat)}"))
        yield f"side by side:\n  {command_name()} answers compare {session.name} {_shown_as(call)}"


def _repeat(repeat: Repeat) -> str:
    said = repeat.said
    nothing = "in doubt: it was sent, and may have been paid for" if repeat.in_doubt else "no answer that can be read"
    came = spent(said.record) if said is not None else nothing
    return f"{repeat.about.model}, {_utc(repeat.about.asked_at)}: {came}"


def _shown_as(call: Call) -> str:
    return f"{call.name}_ask0" if call.name.isdecimal() else call.name


def _rule(heading: str) -> Iterator[str]:
    yield ""
    yield f"── {heading} {'─' * max(0, 76 - len(heading))}"


def _utc(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"


# what is told of values, to people and programs


def _values(found: Shown, extraction: Extraction) -> list[dict[str, Any]]:
    """Return each dimension's score, stated confidence, how it was read, and why there is none."""
    framework = found.session.definition.framework
    by_rule = extraction
    record, answer = found.conversation.record, found.conversation.answer
    if extraction.route == "second_model" and record is not None and answer is not None:
        by_rule = extract(answer, framework, finish_reason=record.finish_reason)
    return [
        {
            "dimension": dimension.name,
            "score": extraction.scores.get(dimension.name),
            "confidence": extraction.confidence.get(dimension.name),
            "read_as": _route(dimension.name, extraction, by_rule),
            "missing": extraction.missing.get(dimension.name),
        }
        for dimension in framework.dimensions
    ]


def _route(dimension: str, extraction: Extraction, by_rule: Extraction) -> str | None:
    if dimension not in extraction.scores:
        return None
    return by_rule.route if dimension in by_rule.scores else extraction.route


def _as_data(found: Shown) -> dict[str, Any]:
    """Return the call for programs."""
    session, conversation, extraction = found.session, found.conversation, found.extraction
    analysis = analysis_of(session, found.call)
    text = session.definition.texts[analysis.document] if analysis is not None else None
    evidence = extraction.evidence if extraction is not None else {}
    return {
        "session": session.name,
        "call": found.call.name,
        "purpose": found.call.purpose,
        "analysis": analysis.model_dump() if analysis is not None else None,
        "model": conversation.model,
        "messages": [
            {"role": turn.role, "text": turn.text, "sha256": turn.sha256, "state": turn.state}
            for turn in conversation.messages
        ],
        "parameters": conversation.parameters,
        "answer": conversation.answer,
        "damage": found.damage or None,
        "metadata": conversation.record.model_dump(mode="json") if conversation.record is not None else None,
        "failures": list(conversation.failures),
        "values": _values(found, extraction) if extraction is not None else [],
        "problems": list(extraction.problems) if extraction is not None else [],
        "evidence": [
            {"dimension": name, "quotation": quotation, "in_text": verify(quotation, text) if text else None}
            for name, quotations in evidence.items()
            for quotation in quotations
        ],
        "asked_again": [repeat.about.model_dump(mode="json") for repeat in found.repeats],
    }
