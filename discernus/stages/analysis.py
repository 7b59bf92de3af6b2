"""The step that spends money: one question to one model, its answer archived, its failure judged.

What comes of a failure: *wait* and try again (raised as TryAgain), *park* the analysis and let the others go on, or
*stop* the session, when only a person can mend it.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from discernus.extraction.extract import ask_again, extract
from discernus.llm.calls import ModelRequest
from discernus.llm.errors import CallFailed
from discernus.llm.requests import analysis_request, extraction_request
from discernus.sessions.archive import ArchiveDamaged, UnderWay
from discernus.sessions.calls import Calls, NoRoom
from discernus.sessions.layout import Call
from discernus.sessions.session import Parked, Session
from discernus.settings import Settings

PAID = 200  # a reply that was billed, though no answer could be read out of it
MOST_PAID = 2  # how often such a reply is paid for before the analysis is parked
PATIENT_FAILURES = 5  # so often a vendor's own Retry-After is taken at its word; then our backoff is the least
UNDER_WAY_POLL_S = 2.0  # how often to look for an answer that another process is getting


class TryAgain(Exception):
    """A passing failure: the same call may be made again after ``delay_s``."""

    def __init__(self, error_class: str, message: str, delay_s: float) -> None:
        super().__init__(message)
        self.error_class = error_class
        self.delay_s = delay_s


@dataclass(frozen=True)
class Asked:
    """How a call ended; ``held``: the session is paused; ``reused``: the archive had the answer, nothing was sent."""

    status: Literal["answered", "parked", "held", "stop"]
    reused: bool = False
    cost_usd: float | None = None
    reason: str = ""
    passing: bool = False


async def analyse(
    session: Session, calls: Calls, settings: Settings, number: int, ask: int, *, again: bool = False
) -> Asked:
    """Have one analysis answered. Raises TryAgain for what waiting cures."""
    call = Call(number, "analysis", ask)
    try:
        correction = _correction(session, number, ask)
    except ArchiveDamaged as damaged:
        return _park(session, call, "archive_damaged", str(damaged), passing=False, failures=0, passes=2)
    request = analysis_request(
        session.definition,
        session.analysis(number),
        ask=ask,
        correction=correction,
        timeout_s=session.facts.call_timeout_s,
    )
    return await _obtain(session, calls, settings, call, request, again=again)


async def extract_by_model(
    session: Session, calls: Calls, settings: Settings, number: int, ask: int, *, again: bool = False
) -> Asked:
    """Have a second model read the archived answer. Raises TryAgain for what waiting cures."""
    definition = session.definition
    model = definition.experiment.extraction_model
    found = session.archive.look_up(Call(number, "analysis", ask))
    if model is None or found is None:
        return Asked("parked", reason="there is no answer, or no model, to extract with")
    first = extract(found[1], definition.framework, finish_reason=found[0].finish_reason)
    request = extraction_request(
        definition.framework,
        found[1],
        model,
        problem="; ".join(first.problems),
        timeout_s=session.facts.call_timeout_s,
    )
    return await _obtain(session, calls, settings, Call(number, "extraction", ask), request, again=again)


async def _obtain(
    session: Session, calls: Calls, settings: Settings, call: Call, request: ModelRequest, *, again: bool = False
) -> Asked:
    analysis = session.analysis(call.number)
    content_key = request.content_key(variant=analysis.variant, run=analysis.run, ask=call.ask)
    parked = session.parked(call.number)
    if parked is not None and parked.call != call.name:
        parked = None  # it was another call of this analysis that could not be had
    try:
        if not session.store.exists(call.response):
            if parked is not None and not _may_be_tried(parked, again):
                return Asked("parked", reason=parked.reason, passing=parked.passing)
            status, reason = session.noted_status()
            if status == "paused":  # scheduled before the pause, and waiting to be tried again
                return Asked("held", reason=reason)
        obtained = await calls.obtain(session.archive, session.name, call, content_key, request)
    except CallFailed as failure:
        return _judge(session, settings, call, failure, parked, again=again)
    except UnderWay as other:
        raise TryAgain("under_way", str(other), min(other.seconds, UNDER_WAY_POLL_S)) from other
    except NoRoom as full:
        return Asked("stop", reason=str(full))
    except ArchiveDamaged as damaged:
        return _park(session, call, "archive_damaged", str(damaged), passing=False, failures=0, passes=2)
    if parked is not None:
        session.unpark(call.number)
    return Asked("answered", reused=obtained.reused, cost_usd=obtained.record.cost_usd)


def _may_be_tried(parked: Parked, again: bool) -> bool:
    return parked.released or (again and parked.passing and parked.passes == 1)


def _judge(
    session: Session, settings: Settings, call: Call, failure: CallFailed, parked: Parked | None, *, again: bool
) -> Asked:
    if failure.stops_session:
        return Asked("stop", reason=failure.message)
    failures = session.archive.failures(call)
    counted = sum(past["counts_as_attempt"] and past["kind"] == "transient" for past in failures)
    used_before = parked.failures if parked is not None else 0
    if failure.kind != "transient":
        return _park(session, call, failure.error_class, failure.message, passing=False, failures=counted, passes=2)
    limit = min(settings.retry_max_attempts, MOST_PAID) if failure.status == PAID else settings.retry_max_attempts
    if failure.counts_as_attempt and counted - used_before >= limit:
        passes: Literal[1, 2] = 2 if again else 1
        reason = f"{failure.message} ({counted - used_before} attempts)"
        return _park(session, call, failure.error_class, reason, passing=True, failures=counted, passes=passes)
    raise TryAgain(failure.error_class, failure.message, _delay_s(settings, failure, len(failures)))


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
    if call.purpose == "analysis" or passing:  # without a second model's reading, for good, the first one stands
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


def _correction(session: Session, number: int, ask: int) -> str | None:
    """Return what to say about the unusable answer before this ask; the same for ever, since answers never change."""
    if ask == 0:
        return None
    found = session.archive.look_up(Call(number, "analysis", ask - 1))
    if found is None:
        return None
    return ask_again(extract(found[1], session.definition.framework, finish_reason=found[0].finish_reason))
