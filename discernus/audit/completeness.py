"""Whether everything that was planned is there: analyses, their scores, calls in doubt, answers that were not used."""

from __future__ import annotations

from discernus.audit.subject import Subject, extracted_file, title
from discernus.audit.verdicts import Check, Place, found, not_applicable, nothing, unshown
from discernus.sessions import layout
from discernus.sessions.layout import Call
from discernus.stages.spending import doubted


def completeness(subject: Subject, name: str) -> Check:
    """Whether every planned analysis was answered, and gave every score or said that there is none."""
    planned = len(subject.records)
    if not planned:
        return not_applicable(name, "Nothing was planned.")
    nothing_came = [record for record in subject.records if record.gave_nothing]
    partial = [record for record in subject.records if record.status == "partial" and not record.gave_nothing]
    places = [Place(_file(subject, one.number), f"{title(one)}: {one.reason or one.status}") for one in nothing_came]
    places += [Place(extracted_file(one), f"{title(one)}: no score of {', '.join(one.missing)}") for one in partial]
    if nothing_came:
        more = f", and {len(partial)} lack some" if partial else ""
        reason = f"{len(nothing_came)} of {planned} planned analyses gave no score at all{more}."
        return found(name, "fail", places, planned, reason)
    if partial:
        return found(name, "attention", places, planned, "Every analysis was answered, and these lack some scores.")
    return nothing(name, planned, "Every planned analysis has a score for each dimension, or the answer says none.")


def parked(subject: Subject, name: str) -> Check:
    """Which analyses were given up, and why."""
    records = subject.session.all_parked()
    places = [
        Place(layout.parked(one.number), f"analysis {one.number}: {one.error_class}: {one.reason}") for one in records
    ]
    if places:
        return found(name, "attention", places, len(subject.records), "These were given up; no number stands for them.")
    if subject.recovered:
        return unshown(name, "The older layout that this session was read from did not record what was given up.")
    return nothing(name, len(subject.records), "None was given up.")


def in_doubt(subject: Subject, name: str) -> Check:
    """Which requests went out, and nothing came back that was archived."""
    session = subject.session
    intents = doubted(session)
    places = [
        Place(
            Call.named(one.call).intent(one.attempt),
            f"call {one.call} to {one.model}, sent {one.sent_at:%Y-%m-%d %H:%M} UTC",
        )
        for one in intents
    ]
    places += _sent_without_end(subject, {(one.call, one.attempt) for one in intents})
    if places:
        return found(name, "attention", places, None, "Sent and never heard of again: each may have been paid for.")
    if subject.recovered:
        reason = "The older layout that this session was read from did not record what was sent, only what came back."
        return unshown(name, reason)
    if not any(event.event == "call_sent" for event in subject.events):
        if subject.calls and not all(call.reused_from for call in subject.calls):
            reason = "No intent is left over, but the chronolog tells of no call, so it cannot bear that out."
            return unshown(name, reason)
        return not_applicable(name, "The session sent no request.")
    sent = sum(event.event == "call_sent" for event in subject.events)
    return nothing(name, sent, "Each request that the chronolog tells of has an answer or an error on record.")


def _sent_without_end(subject: Subject, known: set[tuple[str, int]]) -> list[Place]:
    """Return the requests that the chronolog tells of, and nothing else does."""
    sent, ended = {}, set()
    for event in subject.events:
        attempt = (event.facts.get("call"), event.facts.get("attempt"))
        if event.event == "call_sent":
            sent[attempt] = event
        elif event.event in ("call_answered", "call_failed", "call_withdrawn"):
            ended.add(attempt)
    answered = {(call.call, call.attempt) for call in subject.calls}
    return [
        Place(
            layout.CHRONOLOG, f"call {call}, attempt {attempt}: sent at {event.at:%Y-%m-%d %H:%M} UTC, no end on record"
        )
        for (call, attempt), event in sent.items()
        if (call, attempt) not in ended | answered | known and not _failed(subject, call, attempt)
    ]


def _failed(subject: Subject, call: object, attempt: object) -> bool:
    """Return whether the attempt's error is archived, though the chronolog lost the word of it."""
    if not isinstance(call, str) or not isinstance(attempt, int):
        return False
    store, of = subject.session.store, Call.named(call)
    return store.exists(of.error(attempt)) or store.exists(of.intent(attempt))


def unused_answers(subject: Subject, name: str) -> Check:
    """Which answers were paid for and not scored: a reader may ask by what rule they were left out."""
    names = subject.session.store.names(layout.ARCHIVE)
    answers = [one.removeprefix("response_").removesuffix(".txt") for one in names if one.startswith("response_")]
    prose = [call for call in answers if _is_prose(call)]
    answers = [call for call in answers if call not in prose]
    late = [one for one in names if one.startswith("rival_metadata_")]
    beside = f" {len(prose)} more {_ARE[len(prose) == 1]} to be scored: {', '.join(prose)}." if prose else ""
    if not answers:
        return not_applicable(name, f"No answer that is to be scored is archived.{beside}")
    read = [one for record in subject.read() if (one := subject.session.extracted(record.number)) is not None]
    used = {call for one in read for call in (one.call, one.second_call)}
    places = [
        Place(f"{layout.ARCHIVE}/response_{call}.txt", f"call {call}: another answer stands for its analysis, or none")
        for call in answers
        if call not in used
    ]
    places += [Place(f"{layout.ARCHIVE}/{one}", "a late answer to a call that had been answered") for one in late]
    of = len(answers) + len(late)
    reason = "They were kept, paid for, and left out: unusable answers that were asked for again, or late ones."
    reason += beside
    if places:
        return found(name, "attention", places, of, reason)
    if subject.recovered:
        return unshown(name, f"Each answer to an analysis was scored.{beside} The older layout may have kept no other.")
    return nothing(name, of, f"Every answer to an analysis is one that scores were read from.{beside}")


_ARE = {True: "is prose, and was not", False: "are prose, and were not"}


def _is_prose(call: str) -> bool:
    """Return whether nothing was to be scored in the call's answer."""
    try:
        return Call.named(call).purpose == "synthesis"
    except ValueError:  # a file of another name: it is named as one that was not scored
        return False


def _file(subject: Subject, number: int) -> str | None:
    """Return the file that says why there is nothing of an analysis."""
    names = (layout.parked(number), layout.extracted(number))
    return next((name for name in names if subject.session.store.exists(name)), None)
