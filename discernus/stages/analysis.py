"""The step that spends money: one question to one model, its answer archived, its failure judged.

What comes of a failure: *wait* and try again (raised as TryAgain), *park* the analysis and let the others go on, *fall
back* to another model where there is one, or *stop* the session, when only a person can mend it.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from discernus.experiments.experiment import OFFLINE_PREFIX
from discernus.extraction.extract import ask_again, extract
from discernus.llm import proxy
from discernus.llm.calls import ModelRequest
from discernus.llm.catalogue import facts_of
from discernus.llm.errors import CallFailed
from discernus.llm.gate import Closed
from discernus.llm.models_file import current_models_file
from discernus.llm.requests import analysis_request, extraction_request
from discernus.sessions import layout
from discernus.sessions.archive import ArchiveDamaged, ArchivedCall, UnderWay
from discernus.sessions.calls import Calls, NoRoom, Obtained
from discernus.sessions.costs import is_cut_off
from discernus.sessions.layout import Call
from discernus.sessions.session import Parked, Session
from discernus.sessions.substitutes import is_substitute
from discernus.sessions.versions import note_version, versions
from discernus.settings import Settings

PAID = 200  # a reply that was billed, though no answer could be read out of it
MOST_PAID = 2  # how often such a reply is paid for before the analysis is parked
PATIENT_FAILURES = 5  # so often a vendor's own Retry-After is taken at its word; then our backoff is the least
UNDER_WAY_POLL_S = 2.0  # how often to look for an answer that another process is getting
MOST_QUARANTINES = 3  # of a model in a row, without an answer, before what waits for it is parked
MOST_SUBSTITUTED = 3  # answers of another model, and none of its own, before no more of them are paid for
NO_FALLBACK = frozenset({"archive_damaged", "bad_request"})  # another model would meet the same
ACCEPTING = "accept the new version with --accept-versions, or open another session with --new"


class TryAgain(Exception):
    """A passing failure: the same call may be made again after ``delay_s``."""

    def __init__(self, error_class: str, message: str, delay_s: float) -> None:
        super().__init__(message)
        self.error_class = error_class
        self.delay_s = delay_s


@dataclass(frozen=True)
class Asked:
    """How a call ended; ``held``: the session is paused; ``closed``: the model takes no calls for ``wait_s``;
    ``reused``: the archive had the answer, nothing was sent.

    ``cost_usd`` includes what failed tries cost, ``before_usd`` is what of it was paid before the pass began;
    ``in_doubt`` tries died or were cut off, and may have cost as much again each. ``falls_back``: it was left to the
    next candidate. ``given_up``: its model takes no calls, and nobody waits for it.
    """

    status: Literal["answered", "parked", "held", "closed", "stop"]
    reused: bool = False
    cost_usd: float | None = None
    before_usd: float = 0.0
    reason: str = ""
    passing: bool = False
    falls_back: bool = False
    given_up: bool = False
    wait_s: float = 0.0
    in_doubt: int = 0


@dataclass(frozen=True)
class Question:
    """A call about to be made: to which candidate of how many, whether it is the last pass, and when that began, in
    seconds since the epoch."""

    session: Session
    settings: Settings
    call: Call
    request: ModelRequest
    candidates: tuple[str, ...]
    again: bool
    began: float

    @property
    def content_key(self) -> str:
        """The SHA-256 (hex) of all that decides what is asked; prose belongs to no variant and no run."""
        if self.call.purpose == "synthesis":
            return self.request.content_key(variant="", run=0, ask=self.call.ask)
        analysis = self.session.analysis(self.call.number)
        return self.request.content_key(variant=analysis.variant, run=analysis.run, ask=self.call.ask)

    @property
    def last(self) -> bool:
        return self.call.fallback >= len(self.candidates) - 1


async def analyse(
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
    """Have one analysis answered, by the model asked for or by one of its fallbacks (from 1).

    ``again`` is the last pass; ``began`` is when the pass did, in seconds since the epoch. Raises TryAgain for what
    waiting cures.
    """
    call = Call(number, "analysis", ask, fallback=fallback)
    candidates = session.candidates(number)
    model = candidates[fallback]
    try:
        correction = _correction(session, call)
    except ArchiveDamaged as damaged:
        return _park(session, call, "archive_damaged", str(damaged), passing=False, failures=0, passes=2)
    request = analysis_request(
        session.definition,
        session.analysis(number),
        ask=ask,
        correction=correction,
        timeout_s=session.facts.timeout_s(model),
        model=model,
    )
    return await obtain(calls, Question(session, settings, call, request, candidates, again, began))


async def extract_by_model(
    session: Session,
    calls: Calls,
    settings: Settings,
    number: int,
    ask: int,
    *,
    again: bool = False,
    began: float = 0.0,
    fallback: int = 0,
    source: int = 0,
) -> Asked:
    """Have a second model read the archived answer of candidate ``source``. Raises TryAgain for what waiting cures."""
    definition, candidates = session.definition, session.extraction_models
    found = session.archive.look_up(Call(number, "analysis", ask, fallback=source))
    if not candidates or found is None:
        return Asked("parked", reason="there is no answer, or no model, to extract with")
    model = candidates[fallback]
    first = extract(found[1], definition.framework, finish_reason=found[0].finish_reason)
    request = extraction_request(
        definition.framework,
        found[1],
        model,
        problem="; ".join(first.problems),
        timeout_s=session.facts.timeout_s(model),
    )
    call = Call(number, "extraction", ask, fallback=fallback, source=source)
    return await obtain(calls, Question(session, settings, call, request, candidates, again, began))


async def obtain(calls: Calls, question: Question) -> Asked:
    """Have a question answered, or say why it is not. Raises TryAgain for what waiting cures."""
    session, call, content_key = question.session, question.call, question.content_key
    parked = session.parked(call.number)
    if parked is not None and parked.call != call.name:
        parked = None  # it was another call of this analysis that could not be had
    try:
        asking = not session.store.exists(call.response)
        if asking and (refused := await _before_asking(calls, question, parked)):
            return refused
        obtained = await _send(calls, question, content_key, let_through=asking)
    except CallFailed as failure:
        return _judge(question, failure)
    except UnderWay as other:
        raise TryAgain("under_way", str(other), min(other.seconds, UNDER_WAY_POLL_S)) from other
    except NoRoom as full:
        return Asked("stop", reason=str(full))
    except ArchiveDamaged as damaged:
        return _park(session, call, "archive_damaged", str(damaged), passing=False, failures=0, passes=2)
    asked = _accounted(question, obtained.record, reused=obtained.reused)
    unwanted = _refuse_who_answered(question, obtained.record)
    if unwanted is not None:
        return replace(
            unwanted,
            reused=asked.reused,
            cost_usd=asked.cost_usd,
            before_usd=asked.before_usd,
            in_doubt=asked.in_doubt,
        )
    if parked is not None:
        session.unpark(call.number)
    return asked


async def _send(calls: Calls, question: Question, content_key: str, *, let_through: bool) -> Obtained:
    """Return the call's answer; where it was let through and is not sent after all, another may go in its place."""
    session, model = question.session, question.request.model
    try:
        obtained = await calls.obtain(session.archive, session.name, question.call, content_key, question.request)
    except CallFailed:
        raise
    except Exception:
        if let_through:
            calls.gate.withdraw(model)
        raise
    if not obtained.reused:
        session.store.remove(layout.waiting(model))  # it takes calls: nothing waits for it any more
    elif let_through:
        calls.gate.withdraw(model)
    return obtained


async def _before_asking(calls: Calls, question: Question, parked: Parked | None) -> Asked | None:
    """Return why the call is not made now, None if it may be."""
    session, call = question.session, question.call
    if parked is not None and not _may_be_tried(parked, question.again):
        return Asked("parked", reason=parked.reason, passing=parked.passing)
    status, reason = session.noted_status()
    if status == "paused":  # scheduled before the pause, and waiting to be tried again
        return Asked("held", reason=reason)
    if stopping := _why_none_may_go_out(question):
        return Asked("stop", reason=stopping)
    if not question.last and (given_up := _answered_by_a_fallback(question) or _given_up(question)):
        return Asked("parked", reason=given_up, falls_back=True)
    if call.fallback and (too_small := _no_larger(question)):
        if question.last:
            return _park(session, call, "context_too_long", too_small, passing=False, failures=0, passes=2)
        return Asked("parked", reason=too_small, falls_back=True)
    closed = await calls.gate.admit(question.request.model, question.request.timeout_s)
    if closed is None:
        return None
    if closed.kind == "rate_limit":
        raise TryAgain("rate_limit", closed.reason, closed.wait_s)
    if _is_waited_for_in_vain(question, closed):
        return _give_up(question, closed)
    until = datetime.now(UTC) + timedelta(seconds=closed.wait_s)
    if closed.ends_at is not None:
        until = max(until, datetime.fromtimestamp(closed.ends_at, UTC))
    session.note_waiting(question.request.model, closed.reason, until)
    return Asked("closed", reason=closed.reason, wait_s=closed.wait_s)


def _is_waited_for_in_vain(question: Question, closed: Closed) -> bool:
    """Return whether the model has been left alone in this pass again and again without one answer; in the last pass,
    whether it has been tried once in vain."""
    if not question.again:
        return sum(at >= question.began for at in closed.quarantined_at) >= MOST_QUARANTINES
    return any(at >= question.began for at in closed.quarantined_at[1:])


def _give_up(question: Question, closed: Closed) -> Asked:
    """Leave the analysis to the next candidate, or park it: the next pass, or the next run, tries the model afresh."""
    row = len(closed.quarantined_at)
    reason = f"{closed.reason} (given up after {row} quarantines in a row without an answer)"
    if not question.last:
        return Asked("parked", reason=reason, falls_back=True, given_up=True)
    failures = _counted(question.session.archive.failures(question.call))
    parked = _park(
        question.session,
        question.call,
        closed.error_class,
        reason,
        passing=True,
        failures=failures,
        passes=2 if question.again else 1,
    )
    return replace(parked, given_up=True)


def _may_be_tried(parked: Parked, again: bool) -> bool:
    return parked.released or (again and parked.passing and parked.passes == 1)


def _why_none_may_go_out(question: Question) -> str:
    """Return what a person has to settle before any call of this kind is made; nothing if there is no such thing."""
    session, model = question.session, question.request.model
    if session.facts.proxied and not proxy.serves(question.settings, model) and not model.startswith(OFFLINE_PREFIX):
        return "this session's calls go through a proxy, and none is set here; pass --proxy, or set DISCERNUS_PROXY_URL"
    if question.call.purpose == "analysis" and session.definition.experiment.pin_versions:
        for version in versions(session.store):
            if version.model == model and not version.accepted:
                return _version_changed(version.model, version.version)
    return ""


def _answered_by_a_fallback(question: Question) -> str:
    """Return that a fallback has been paid for this analysis before a crash; nothing if none has."""
    call, candidates = question.call, range(question.call.fallback + 1, len(question.candidates))
    later = (replace(call, ask=0, fallback=fallback) for fallback in candidates)
    if call.purpose == "analysis" and any(question.session.store.exists(one.response) for one in later):
        return "a fallback has answered it"
    return ""


def _given_up(question: Question) -> str:
    """Return why this candidate was given up before a crash, so that it is not paid for again; nothing if it was not.

    What was given up before the analysis was released, or before its second pass, counts no more.
    """
    failures = _of_this_pass(question)
    if not failures:
        return ""
    last = failures[-1]
    for_good = last["kind"] != "transient" and last["error_class"] not in NO_FALLBACK
    spent = for_good or _counted(failures) >= question.settings.retry_max_attempts
    return str(last["message"]) if spent else ""


def _counted(failures: list[dict[str, Any]]) -> int:
    """Return how many of the failures use up an attempt."""
    return sum(past["counts_as_attempt"] and past["kind"] == "transient" for past in failures)


def _of_this_pass(question: Question) -> list[dict[str, Any]]:
    """Return the call's failures since its analysis was released, or since its second pass began."""
    failures = question.session.archive.failures(question.call)
    if question.call.purpose == "synthesis":  # nothing is kept of what was given up: each pass begins afresh
        return [failure for failure in failures if not _is_before(question, _at(failure))]
    record = question.session.parked(question.call.number)
    if record is None or not _may_be_tried(record, question.again):
        return failures
    return [failure for failure in failures if (at := _at(failure)) is not None and at > record.at]


def _at(failure: dict[str, Any]) -> datetime | None:
    """Return when a call failed; an older layout may not have told."""
    return datetime.fromisoformat(failure["at"]) if failure["at"] is not None else None


def _no_larger(question: Question) -> str:
    """Return why a fallback need not be tried: the text was too long for a model whose context is no smaller."""
    before = replace(question.call, fallback=question.call.fallback - 1)
    failures = question.session.archive.failures(before)
    if not failures or failures[-1]["error_class"] != "context_too_long":
        return ""
    rules = current_models_file(question.settings.models_path).rules
    models = (failures[-1]["model"], question.request.model)
    old, new = (facts_of(model, rules(model)).max_input_tokens for model in models)
    if old is None or new is None or new > old:
        return ""
    return f"the text is too long for {failures[-1]['model']}, and {question.request.model} takes no longer ones"


def _accounted(question: Question, record: ArchivedCall, *, reused: bool) -> Asked:
    """Return the answered call with what it cost in all its tries; what was taken over was paid elsewhere."""
    if record.reused_from is not None:
        return Asked("answered", reused=reused, cost_usd=0.0)
    failures = question.session.archive.failures(question.call) if record.attempt > 1 else []
    failed_usd = _cost_of(failures)
    cost_usd = record.cost_usd + failed_usd if record.cost_usd is not None else failed_usd or None
    before = [failure for failure in failures if _is_before(question, datetime.fromisoformat(failure["at"]))]
    before_usd = _cost_of(before) + (record.cost_usd or 0.0 if _is_before(question, record.archived_at) else 0.0)
    earlier = sum(failure["attempt"] < record.attempt and not is_cut_off(failure) for failure in failures)
    in_doubt = record.attempt - 1 - earlier
    return Asked("answered", reused=reused, cost_usd=cost_usd, before_usd=before_usd, in_doubt=in_doubt)


def _is_before(question: Question, at: datetime | None) -> bool:
    """Return whether that was before the pass began; what has no time is of an older layout."""
    return at is None or at.timestamp() < question.began


def _cost_of(failures: list[dict[str, Any]]) -> float:
    return sum(failure.get("cost_usd") or 0.0 for failure in failures)


def _refuse_who_answered(question: Question, record: ArchivedCall) -> Asked | None:
    """Return why an answer is not taken though it is archived: another model gave it, or a version nobody accepted."""
    session, call, experiment = question.session, question.call, question.session.definition.experiment
    model, answered = record.model_requested, record.model_answered
    if call.purpose != "analysis" or answered is None:
        return None
    if record.substituted and not experiment.allow_substitution and is_substitute(session, record):
        reason = (
            f"{answered} answered in place of {model}; its answer is archived and not scored. If it is the same model, "
            f"write `answers_as: [{answered}]` for it in models.yaml and run again, at no cost; else name that model, "
            "or allow_substitution, in the experiment, and open a new session"
        )
        if not question.last:
            return Asked("parked", reason=reason, falls_back=True)
        asked = _park(session, call, "substitution", reason, passing=False, failures=0, passes=2)
        return Asked("stop", reason=reason) if _never_answers(session, model) else asked
    version = note_version(session.store, model, answered, call.name)
    if version.accepted or not experiment.pin_versions:
        return None
    return Asked("stop", reason=_version_changed(model, answered))


def _version_changed(model: str, answered: str) -> str:
    return f"{model} now answers as {answered}, and the experiment pins its version; {ACCEPTING}"


def _never_answers(session: Session, model: str) -> bool:
    """Return whether another model has answered in this one's place several times, and it has never done so itself."""
    if any(version.model == model for version in versions(session.store)):
        return False
    refused = (one for one in session.all_parked() if one.error_class == "substitution")
    return sum(session.analysis(one.number).model == model for one in refused) >= MOST_SUBSTITUTED


def _judge(question: Question, failure: CallFailed) -> Asked:
    session, settings, call = question.session, question.settings, question.call
    failures = _of_this_pass(question)
    # what nobody named must not stop what was named; nor may prose stop the numbers that it is about
    optional = call.purpose == "synthesis" or (call.purpose == "extraction" and call.fallback > 0)
    cost_usd, in_doubt = _cost_of(failures), sum(map(is_cut_off, failures))
    if failure.stops_session and not optional:
        return Asked("stop", reason=failure.message, cost_usd=cost_usd, in_doubt=in_doubt)
    attempts = _counted(failures)
    passing = failure.kind == "transient"
    limit = min(settings.retry_max_attempts, MOST_PAID) if failure.status == PAID else settings.retry_max_attempts
    if passing and not (failure.counts_as_attempt and attempts >= limit):
        raise TryAgain(failure.error_class, failure.message, _delay_s(settings, failure, len(failures)))
    reason = f"{failure.message} ({attempts} attempts)" if passing else failure.message
    if not question.last and failure.error_class not in NO_FALLBACK:
        return Asked("parked", reason=reason, falls_back=True, cost_usd=cost_usd, in_doubt=in_doubt)
    passes: Literal[1, 2] = 2 if question.again or not passing else 1
    asked = _park(
        session,
        call,
        failure.error_class,
        reason,
        passing=passing,
        failures=_counted(session.archive.failures(call)),
        passes=passes,
    )
    return replace(asked, cost_usd=cost_usd, in_doubt=in_doubt)


def _delay_s(settings: Settings, failure: CallFailed, failures: int) -> float:
    """Return what the vendor asks for, else 1, 2, 4 … times the base, capped, with up to a quarter of jitter."""
    backoff = min(settings.retry_base_delay_s * 2 ** min(failures - 1, 20), settings.retry_max_delay_s)
    if failure.retry_after_s is None:
        return float(backoff * random.uniform(1.0, 1.25))
    least = backoff if failures > PATIENT_FAILURES else 0.0
    return float(max(failure.retry_after_s, least) + random.uniform(0, 0.25))


def _park(
    session: Session,
    call: Call,
    error_class: str,
    reason: str,
    *,
    passing: bool,
    failures: int,
    passes: Literal[1, 2],
) -> Asked:
    # without a second model's reading, for good, the first one stands; without prose the report does
    if call.purpose == "analysis" or (call.purpose == "extraction" and passing):
        session.park(
            Parked(
                number=call.number,
                call=call.name,
                error_class=error_class,
                reason=reason,
                passing=passing,
                passes=passes,
                failures=failures,
                at=datetime.now(UTC),
            )
        )
    return Asked("parked", reason=reason, passing=passing)


def _correction(session: Session, call: Call) -> str | None:
    """Return what to say about the unusable answer before this ask; the same for ever, since answers never change."""
    if call.ask == 0:
        return None
    found = session.archive.look_up(replace(call, ask=call.ask - 1))
    if found is None:
        return None
    return ask_again(extract(found[1], session.definition.framework, finish_reason=found[0].finish_reason))
