"""What went wrong with a session's calls, and what was done about each, read from its folder alone.

A *failure* is an attempt that brought no answer, an answer that could not be used as it was, a call in doubt, an answer
that another model gave, one that its archive no longer vouches for, or a quarantine of a model. Its outcome is judged
by what lies there now.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from statistics import median
from typing import Final, Literal, get_args

from discernus.experiments.freezing import SnapshotDamaged
from discernus.experiments.problems import InvalidDefinition
from discernus.llm import validation
from discernus.llm.errors import STOPPING, ErrorClass
from discernus.sessions.evidence import Answer, Evidence, Reading
from discernus.sessions.layout import Call
from discernus.sessions.owners import Onlooker
from discernus.sessions.questions import read_question
from discernus.sessions.session import Session
from discernus.sessions.store import NotInStore

ARCHIVE_DAMAGED = "archive_damaged"
QUARANTINE = "quarantine"

Outcome = Literal[
    "recovered",  # the same call was answered later
    "asked again",  # the model was asked once more, with a correction
    "fell back",  # another model answered
    "repaired",  # broken JSON, mended
    "read by a second model",
    "used as it was",
    "done without",  # what else there is of the analysis stands
    "gave nothing",  # no score came of it, and no other ask or model gave one
    "parked",
    "stopped the session",
    "answered again",  # a model that took no calls for a time
    "did not answer again",
    "pending",
]
OUTCOMES: Final[tuple[Outcome, ...]] = get_args(Outcome)

Key = Literal["class", "model", "hour", "day"]
KEYS: Final[tuple[Key, ...]] = get_args(Key)


@dataclass(frozen=True)
class Failure:
    """One thing that went wrong. ``attempt`` is None where it was no attempt's, ``at`` where nothing tells the time,
    ``call`` where it was a model's own.

    ``first``: the first attempt of its call, failed in passing. Where the call was answered later, ``answered_attempt``
    says at which attempt, and ``answered_after_s`` how many seconds after this failure.
    """

    session: str
    call: str | None
    attempt: int | None
    error_class: str  # an ErrorClass, in_doubt, quarantine, or what an analysis was parked for
    model: str | None
    at: datetime | None
    message: str
    outcome: Outcome
    first: bool = False
    answered_attempt: int | None = None
    answered_after_s: float | None = None


@dataclass(frozen=True)
class FailureGroup:
    """Failures of one kind: what they were not counted by is None, and so is a model or a time that is not known.

    ``most_attempts`` and ``median_s`` (seconds from failure to answer) are of the recovered ones; of ``first_failed``
    calls, whose first attempt failed in passing, ``first_recovered`` were answered by trying again.
    """

    error_class: str | None
    model: str | None
    day: str | None
    hour: str | None
    count: int
    outcomes: Mapping[Outcome, int]
    most_attempts: int | None
    median_s: float | None
    first_failed: int
    first_recovered: int
    earliest_at: datetime | None
    latest_at: datetime | None


def failures_of(session: Session, onlooker: Onlooker | None = None) -> tuple[Failure, ...]:
    """Return all that went wrong with the session's calls, oldest first; what has no time stands before it.

    The onlooker knows which calls are still under way; without one, each that was never settled counts as in doubt.
    """
    evidence = Evidence(session, onlooker)
    found = [*_unanswered(evidence), *_odd_answers(evidence), *_damage(evidence), *_quarantines(evidence)]
    found += _otherwise_parked(evidence, found)
    return tuple(sorted(found, key=in_time))


def in_time(failure: Failure) -> datetime:
    """Return what failures are sorted by to stand in the order of time."""
    return failure.at or datetime.min.replace(tzinfo=UTC)


def group(failures: Iterable[Failure], by: Sequence[Key]) -> tuple[FailureGroup, ...]:
    """Return the failures counted by these keys: in order of time where one is a time, the most frequent first."""
    groups: dict[tuple[str | None, ...], list[Failure]] = defaultdict(list)
    for failure in failures:
        groups[tuple(_KEY[key](failure) if key in by else None for key in KEYS)].append(failure)
    counted = [_group(dict(zip(KEYS, key, strict=True)), members) for key, members in groups.items()]
    return tuple(sorted(counted, key=_in_order))


def _in_order(one: FailureGroup) -> tuple[str, str, int, str, str]:
    return one.day or "", one.hour or "", -one.count, one.error_class or "", one.model or ""


def summary(session: Session) -> tuple[FailureGroup, ...]:
    """Return what went wrong with the session's calls, counted by class and model, the most frequent first."""
    return group(failures_of(session), ("class", "model"))


_KEY: Final[Mapping[Key, Callable[[Failure], str | None]]] = {
    "class": lambda failure: failure.error_class,
    "model": lambda failure: failure.model,
    "hour": lambda failure: f"{failure.at.astimezone(UTC):%Y-%m-%dT%H:00Z}" if failure.at else None,
    "day": lambda failure: f"{failure.at.astimezone(UTC):%Y-%m-%d}" if failure.at else None,
}


def _group(key: Mapping[Key, str | None], members: list[Failure]) -> FailureGroup:
    outcomes = Counter(failure.outcome for failure in members)
    seconds = [failure.answered_after_s for failure in members if failure.answered_after_s is not None]
    times = [failure.at for failure in members if failure.at is not None]
    first = [failure.outcome for failure in members if failure.first]
    return FailureGroup(
        error_class=key["class"],
        model=key["model"],
        day=key["day"],
        hour=key["hour"],
        count=len(members),
        outcomes={outcome: outcomes[outcome] for outcome in OUTCOMES if outcome in outcomes},
        most_attempts=max((one.answered_attempt for one in members if one.answered_attempt is not None), default=None),
        median_s=median(seconds) if seconds else None,
        first_failed=len(first),
        first_recovered=first.count("recovered"),
        earliest_at=min(times, default=None),
        latest_at=max(times, default=None),
    )


# what went wrong, and what came of it


def _unanswered(evidence: Evidence) -> Iterator[Failure]:
    """Yield the attempts that brought no answer, with how long it took until one came, where one did."""
    for failed in evidence.failed:
        call = Call.named(failed.call)
        answer = evidence.answers.get(call)
        yield Failure(
            session=evidence.session.name,
            call=failed.call,
            attempt=failed.attempt,
            error_class=failed.error_class,
            model=failed.model,
            at=failed.at,
            message=failed.message,
            outcome=_came_of(evidence, call, failed.error_class),
            first=failed.attempt == 1 and failed.kind == "transient",
            answered_attempt=answer.attempt if answer is not None else None,
            answered_after_s=_seconds(failed.at, answer.archived_at) if answer is not None else None,
        )


def _seconds(failed_at: datetime | None, answered_at: datetime | None) -> float | None:
    if failed_at is None or answered_at is None:
        return None
    return max((answered_at - failed_at).total_seconds(), 0.0)  # a rival's attempt may fail after the answer


def _came_of(evidence: Evidence, call: Call, error_class: str) -> Outcome:
    """Return what came of a call after a failure: its answer, or what there is in place of one."""
    if call in evidence.answers:
        return "recovered"
    answered = [other for other in evidence.later(call) if other in evidence.answers]
    if any(other.fallback > call.fallback for other in answered):
        return "fell back"
    if answered:
        return "asked again"
    if evidence.is_parked(call):
        return "parked"
    reading = evidence.reading(call)
    if reading is not None:
        return "gave nothing" if reading.call == call else "done without"
    return "stopped the session" if error_class in STOPPING else "pending"


def _odd_answers(evidence: Evidence) -> Iterator[Failure]:
    """Yield the answers that could not be used just as they were, and those that another model gave."""
    for call, answer in evidence.answers.items():
        reading = evidence.reading(call)
        read = reading if reading is not None and reading.call == call else None
        asked_on = not answer.substituted and evidence.later(call)
        error_class = _class_of(answer, read) or ("invalid_structure" if asked_on else None)
        if error_class is not None:
            what = "; ".join(read.problems) if read is not None else ""
            what = what or _UNUSABLE.get(error_class, "its scores could not be read from it")
            message = f"model '{answer.model}' answered call {call.name} badly: {error_class}: {what}"
            yield _odd(evidence, call, answer, error_class, message)
        if answer.substituted:
            message = f"call {call.name} asked for model '{answer.model}', and '{answer.model_answered}' answered"
            yield _odd(evidence, call, answer, "substitution", message)


def _odd(evidence: Evidence, call: Call, answer: Answer, error_class: str, message: str) -> Failure:
    return Failure(
        session=evidence.session.name,
        call=call.name,
        attempt=answer.attempt,
        error_class=error_class,
        model=answer.model,
        at=answer.archived_at,
        message=f"{message}; {_ADVICE[error_class]}" if error_class in _ADVICE else message,
        outcome=_made_of(evidence, call),
    )


_BY_MARK: Final[Mapping[str, ErrorClass]] = {  # and by why it ended; the first that is there counts
    validation.RUNAWAY: "runaway",
    validation.OVERSIZED: "runaway",
    validation.REFUSAL: "refusal",
    "content_filter": "refusal",
    validation.TRUNCATED: "truncated",
    "length": "truncated",
    "max_tokens": "truncated",
    validation.NO_TEXT: "malformed_answer",
}
_BY_KIND: Final[Mapping[str | None, ErrorClass]] = {
    "refusal": "refusal",
    "truncated": "truncated",
    "error_text": "malformed_answer",
    "other_document": "invalid_structure",
    "no_scores": "invalid_structure",
}
_BY_ROUTE: Final[Mapping[str | None, Outcome]] = {
    "repaired_json": "repaired",
    "second_model": "read by a second model",
}


def _class_of(answer: Answer, read: Reading | None) -> ErrorClass | None:
    """Return what is wrong with an answer by its marks, by why it ended, and by how its scores were read."""
    told = {*answer.marks, answer.finish_reason}
    for mark, error_class in _BY_MARK.items():
        if mark in told:
            return error_class
    if read is None:
        return None
    return _BY_KIND.get(read.kind) or ("invalid_structure" if read.route in _BY_ROUTE else None)


def _made_of(evidence: Evidence, call: Call) -> Outcome:
    """Return what was made of an answer that is not as it should be."""
    reading = evidence.reading(call)
    if reading is None:
        return "parked" if evidence.is_parked(call) else "pending"
    if not reading.usable:
        return "gave nothing"
    if reading.call == call:
        return _BY_ROUTE.get(reading.route, "used as it was")
    if reading.second == call:
        return "used as it was"
    used = reading.call if call.purpose == "analysis" else reading.second
    if used is not None and used.fallback != call.fallback:
        return "fell back"
    return "asked again" if call.purpose == "analysis" else "done without"


def _damage(evidence: Evidence) -> Iterator[Failure]:
    for call, what in evidence.damage.items():
        parked = evidence.parked.get(call.number)
        yield Failure(
            session=evidence.session.name,
            call=call.name,
            attempt=None,
            error_class=ARCHIVE_DAMAGED,
            model=_model_of(evidence.session, call),
            at=parked.at if parked is not None and parked.error_class == ARCHIVE_DAMAGED else None,
            message=f"{what}; {_ADVICE[ARCHIVE_DAMAGED]}",
            outcome=_came_of(evidence, call, ARCHIVE_DAMAGED),
        )


def _quarantines(evidence: Evidence) -> Iterator[Failure]:
    """Yield each time that a model took no calls, with how long it took until it answered again, where it did."""
    for closure in evidence.session.closures():
        times = (one.archived_at for one in evidence.answers.values() if one.model == closure.model)
        answered = sorted(at for at in times if at is not None)
        later = [at for at in answered if at > closure.until] or [at for at in answered if at > closure.since]
        yield Failure(
            session=evidence.session.name,
            call=None,
            attempt=None,
            error_class=QUARANTINE,
            model=closure.model,
            at=closure.since,
            message=f"model '{closure.model}' took no calls: {closure.reason}",
            outcome="answered again" if later else "did not answer again",
            answered_after_s=_seconds(closure.since, later[0]) if later else None,
        )


def _otherwise_parked(evidence: Evidence, found: Iterable[Failure]) -> list[Failure]:
    """Return what was parked for something that no call's failure tells."""
    told = {(Call.named(failure.call).number, failure.error_class) for failure in found if failure.call is not None}
    return [
        Failure(
            session=evidence.session.name,
            call=record.call,
            attempt=None,
            error_class=record.error_class,
            model=_model_of(evidence.session, Call.named(record.call)),
            at=record.at,
            message=record.reason,
            outcome="parked",
        )
        for record in evidence.parked.values()
        if (record.number, record.error_class) not in told
    ]


def _model_of(session: Session, call: Call) -> str | None:
    """Return the model that a call was, or would have been, made to; None if that is not known any more."""
    try:
        return str(read_question(session.store, call.request)["model"])
    except (NotInStore, ValueError, KeyError, TypeError):
        pass
    try:
        candidates = session.extraction_models if call.purpose == "extraction" else session.candidates(call.number)
        return candidates[call.fallback]
    except (SnapshotDamaged, InvalidDefinition, NotInStore, IndexError):
        return None


_UNUSABLE: Final[Mapping[str, str]] = {
    "truncated": "it was cut off at the limit of its output",
    "refusal": "it was held back by a filter",
    "runaway": "it ran on without end",
}
_ADVICE: Final[Mapping[str, str]] = {
    "truncated": "raise max_tokens for this model",
    "runaway": "a lower max_tokens makes this cheaper",
    "refusal": "use another model for this text",
    "invalid_structure": "say more plainly in the framework's prompt what form is wanted, or name an extraction_model",
    "malformed_answer": "if it lasts, check that the address is that of a model",
    "substitution": "name the model that answered in the experiment",
    ARCHIVE_DAMAGED: "put the file back as it was from a copy, and run the same command again",
}
