"""Models as workflows: begun, looked at, limited and reset; and the book that each process keeps of those it calls.

The book is this process's gate. It asks the server as little as it can, tells it of failures at once and of answers now
and then, and never lets a call wait for a server that does not reply.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from uuid import uuid4

import structlog
from temporalio.client import Client, WorkflowHandle, WorkflowUpdateFailedError
from temporalio.common import (
    SearchAttributePair,
    TypedSearchAttributes,
    WorkflowIDConflictPolicy,
    WorkflowIDReusePolicy,
)
from temporalio.service import RPCError, RPCStatusCode

from activities.border import Answered, Failed, ModelLimits, ModelStart, ModelTerms, ModelView, Report
from discernus.experiments.experiment import OFFLINE_PREFIX
from discernus.llm.calls import ModelAnswer, SeenLimits, Usage
from discernus.llm.errors import CallFailed
from discernus.llm.gate import Closed
from discernus.llm.health import CONTENT, LATEST_LATENCIES, LIMITING, LONGEST_MESSAGE, Health
from discernus.llm.models_file import ModelRules
from engine import connection
from engine.sessions import shared_queue
from workflows import policies
from workflows.model import TOLD, ModelWorkflow

Handle = WorkflowHandle[ModelWorkflow, None]

REPLY_S = 5.0  # what a server's reply may take; it takes milliseconds
FIRST_LOOK_S = 2.0  # what the first call of a model waits at most for what is known of it
REFRESH_S = 5.0  # how old a view may be while calls are made
GAP_S = 0.25  # between two reports on one model: failures that come thick are told together
UNWELL_S = 1.0  # how long answers of a degraded model wait to be reported
WELL_S = 10.0  # and those of a healthy one
SHORTEST_RETRY_S, LONGEST_RETRY_S = 0.5, 30.0  # between tries to hand in a report
MOST_EVENTS = 20  # in a report, which stays a few KB
MOST_KEPT = 200  # of what could not be reported; the oldest goes first
HOLD_S = 1.0  # after a 429 that names no time
LONGEST_HOLD_S = 60.0  # for headers that say that nothing is left; a day's limit says so for hours
LONGEST_WAIT_S = 30.0  # until a waiting call looks again: the model may have been reset
PROBED_S = 2.0  # until a call looks again while another one tries the model
FLUSH_S = 5.0  # what the end of a process waits for its last reports

log = structlog.get_logger()


def model_id(store: str, model: str) -> str:
    """Return the id of a model's workflow."""
    return f"{store}/model/{model}"


async def ensure(client: Client, store: str, model: str, rules: ModelRules) -> Handle:
    """Begin the model's workflow unless it is there, and have it follow these rules; waits for no worker."""
    terms = terms_of(rules)
    return await client.start_workflow(
        ModelWorkflow.run,
        args=[ModelStart(model=model, terms=terms), None],
        id=model_id(store, model),
        task_queue=shared_queue(store),
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
        start_signal="follow",
        start_signal_args=[terms],
        task_timeout=policies.TASK_TIMEOUT,
        static_summary=f"health and limits of {model}",
        search_attributes=TypedSearchAttributes([SearchAttributePair(connection.STORE, store)]),
    )


def terms_of(rules: ModelRules) -> ModelTerms:
    """Return the rules as a model's workflow takes them."""
    return ModelTerms(
        failure_threshold=rules.failure_threshold,
        quarantine_s=rules.quarantine_s,
        interval_s=rules.health_check_interval_s,
        monitored=rules.monitored,
        limits=ModelLimits.model_validate(rules.limits.model_dump()),
    )


@dataclass(frozen=True)
class Known:
    """What is known of one model."""

    view: ModelView
    health: Health


async def known(client: Client, store: str, model: str) -> Known | None:
    """Return what is known of a model, None if it has no workflow."""
    handle = client.get_workflow_handle_for(ModelWorkflow.run, model_id(store, model))
    try:
        return Known(await handle.query(ModelWorkflow.view), await handle.query(ModelWorkflow.health))
    except RPCError as refused:
        if refused.status == RPCStatusCode.NOT_FOUND:
            return None
        raise


async def views(client: Client, store: str) -> list[Known]:
    """Return what is known of each model of the store, by name."""
    query = f"WorkflowType = 'Model' AND ExecutionStatus = 'Running' AND {connection.STORE.name} = '{store}'"
    prefix = model_id(store, "")
    models = sorted({execution.id.removeprefix(prefix) async for execution in client.list_workflows(query)})
    found = [await known(client, store, model) for model in models]
    return [one for one in found if one is not None]


async def limit(client: Client, store: str, model: str, rules: ModelRules, limits: ModelLimits | None) -> ModelView:
    """Have these limits hold from now on, beside those set before; None lifts all that were set."""
    handle = await ensure(client, store, model, rules)
    if limits is not None:
        view = await handle.query(ModelWorkflow.view)
        before = {name: getattr(view.limits, name) for name, source in view.sources.items() if source == TOLD}
        limits = ModelLimits.model_validate(before | limits.model_dump(exclude_none=True))
    return await handle.execute_update(ModelWorkflow.limit, limits)


async def reset(client: Client, store: str, model: str) -> ModelView | None:
    """Forget what speaks against a model; return None if nothing was ever known of it."""
    handle = client.get_workflow_handle_for(ModelWorkflow.run, model_id(store, model))
    try:
        return await handle.execute_update(ModelWorkflow.reset)
    except RPCError as refused:
        if refused.status == RPCStatusCode.NOT_FOUND:
            return None
        raise


async def forget(client: Client, store: str, model: str) -> None:
    """Take away all that is known of a model; for one that was never called."""
    await client.get_workflow_handle(model_id(store, model)).terminate("nothing was ever known of it but a limit")


@dataclass
class _Page:
    """What this process knows of one model, and has yet to tell.

    Times are seconds of the monotonic clock, those of the probe since the epoch.
    """

    model: str
    view: ModelView | None = None
    terms: ModelTerms | None = None
    looking: asyncio.Task[None] | None = None
    began: float = 0.0
    looked_at: float = 0.0
    held_until: float = 0.0
    held_why: str = ""
    asking: bool = False
    probe_from: float | None = None
    probe_until: float = 0.0
    events: list[Answered | Failed] = field(default_factory=list)
    seen: ModelLimits | None = None
    told_seen: ModelLimits | None = None
    pending_since: float = 0.0
    hurry: asyncio.Event = field(default_factory=asyncio.Event)
    reporting: asyncio.Task[None] | None = None
    returning: asyncio.Task[None] | None = None


class ModelBook:
    """One process's gate: what it knows of the models that it calls, and what it has to tell of them.

    ``rules`` says what models.yaml says of a model by now.
    """

    def __init__(self, client: Client, store: str, rules: Callable[[str], ModelRules]) -> None:
        self._client = client
        self._store = store
        self._rules = rules
        self._asker = uuid4().hex[:12]
        self._pages: dict[str, _Page] = {}
        self._closing = False

    async def admit(self, model: str, timeout_s: float) -> Closed | None:
        """Return None if a call may go out now, else why none may; a healthy model costs no round trip."""
        if model.startswith(OFFLINE_PREFIX):
            return None
        page = self._page(model)
        await self._look(page)
        hold_s = page.held_until - time.monotonic()
        if hold_s > 0:
            return Closed(hold_s, page.held_why, "rate_limit")
        # a failed model's calls go out: each says by itself, at no cost, what a person has to mend
        if page.view is None or page.view.status != "quarantined":
            return None
        return await self._ask(page, page.view, timeout_s + REPLY_S)

    def withdraw(self, model: str) -> None:
        """Give the probe back, should it be ours: the call that was let through is not made."""
        page = self._pages.get(model)
        if page is not None and page.probe_from is not None and not self._closing:
            page.probe_from = None
            page.returning = asyncio.create_task(self._return_probe(page))

    def observe(self, model: str, answer: ModelAnswer | None, failure: CallFailed | None, sent_at: datetime) -> None:
        """Take note of how a call ended; never waits and never raises."""
        if model.startswith(OFFLINE_PREFIX) or self._closing:
            return
        page = self._page(model)
        at, sent = time.time(), sent_at.timestamp()
        probe = page.probe_from is not None and sent >= page.probe_from
        if probe:
            page.probe_from = None
        if not page.events:
            page.pending_since = time.monotonic()
        if failure is not None:
            _hold(page, failure)
            page.events.append(_failed(failure, sent, at, probe=probe))
        elif answer is not None:
            _append_answer(page.events, answer, sent, at)
        del page.events[:-MOST_KEPT]
        limits = answer.limits if answer is not None else failure.limits if failure is not None else None
        if limits is not None:
            _take_limits(page, limits)
        if page.reporting is None or page.reporting.done():
            page.reporting = asyncio.create_task(self._report(page))
        if _is_urgent(page):
            page.hurry.set()

    async def close(self) -> None:
        """Hand in what has not been told yet, as far as the server takes it."""
        self._closing = True
        for page in self._pages.values():
            page.hurry.set()
        pages = self._pages.values()
        tasks = [task for page in pages for task in (page.reporting, page.looking, page.returning) if task is not None]
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=FLUSH_S)
            for task in late:
                task.cancel()

    def _page(self, model: str) -> _Page:
        page = self._pages.get(model)
        if page is None:
            page = self._pages[model] = _Page(model)
        return page

    # what is known

    async def _look(self, page: _Page) -> None:
        """See to it that the view is there, and not old; wait for it at the very beginning, not long, and where it says
        that the model is left alone: whoever has to wait first learns whether that is still so."""
        now = time.monotonic()
        if page.looking is None:
            page.began = now
        if page.looking is None or (page.looking.done() and now - page.looked_at >= REFRESH_S):
            page.looked_at = now
            page.looking = asyncio.create_task(self._refresh(page))
        patience_s = page.began + FIRST_LOOK_S - now
        if page.view is None and patience_s > 0:
            await asyncio.wait({page.looking}, timeout=patience_s)
        elif page.view is not None and page.view.status == "quarantined":
            await asyncio.wait({page.looking}, timeout=REPLY_S)

    async def _refresh(self, page: _Page) -> None:
        try:
            rules = self._rules(page.model)
            if page.view is None or page.terms != terms_of(rules):
                await ensure(self._client, self._store, page.model, rules)
                page.terms = terms_of(rules)
            async with asyncio.timeout(REPLY_S):
                _take_view(page, await self._handle(page).query(ModelWorkflow.view))
        except Exception as odd:  # noqa: BLE001  whatever it is: calls go on without it, and the next look may succeed
            log.info("model_not_looked_up", model=page.model, reason=f"{type(odd).__name__}: {odd}")

    # the single call that tries a quarantined model

    async def _ask(self, page: _Page, view: ModelView, lease_s: float) -> Closed | None:
        """Return None if this call may go out: the quarantine is over, and it is the one that tries the model."""
        now = time.time()
        if view.until is not None and now < view.until:
            return _closed(view, min(view.until - now, LONGEST_WAIT_S), _why(view), view.until)
        if page.asking or (page.probe_from is not None and now < page.probe_until):
            return _tried(view)
        page.asking = True
        try:
            async with asyncio.timeout(REPLY_S):
                permit = await self._handle(page).execute_update(ModelWorkflow.ask_probe, args=[self._asker, lease_s])
        except Exception as odd:  # noqa: BLE001  without a server to ask, the call itself shows how the model is
            log.warning("probe_not_asked_for", model=page.model, reason=f"{type(odd).__name__}: {odd}")
            return None
        finally:
            page.asking = False
        _take_view(page, permit.view)
        if permit.granted:
            page.probe_from = time.time()
            page.probe_until = page.probe_from + lease_s
            return None
        return _tried(permit.view) if permit.view.status == "quarantined" else None

    async def _return_probe(self, page: _Page) -> None:
        with suppress(RPCError, TimeoutError):  # should nobody hear it, the probe's time runs out
            async with asyncio.timeout(REPLY_S):
                await self._handle(page).signal(ModelWorkflow.return_probe, self._asker)

    # what is told

    async def _report(self, page: _Page) -> None:
        """Hand in what has come together, and go on until nothing is left."""
        while page.events or page.seen != page.told_seen:
            await self._until_due(page)
            events, page.events = page.events[:MOST_EVENTS], page.events[MOST_EVENTS:]
            page.hurry.clear()
            page.pending_since = time.monotonic()
            seen = page.seen if page.seen != page.told_seen else None
            if not await self._hand_in(page, Report(asker=self._asker, events=tuple(events), seen=seen)):
                return
            page.told_seen = seen or page.told_seen
            if not self._closing:
                await asyncio.sleep(GAP_S)

    async def _until_due(self, page: _Page) -> None:
        """Wait until it is time to report: at once for a failure, a while for answers."""
        while not (self._closing or _is_urgent(page)):
            well = page.view is not None and page.view.status == "healthy"
            left_s = page.pending_since + (WELL_S if well else UNWELL_S) - time.monotonic()
            if left_s <= 0:
                return
            with suppress(TimeoutError):
                async with asyncio.timeout(left_s):
                    await page.hurry.wait()
            page.hurry.clear()

    async def _hand_in(self, page: _Page, report: Report) -> bool:
        """Tell the model's workflow until it has heard; return False if this process ends first."""
        update_id, pause_s = uuid4().hex, SHORTEST_RETRY_S  # the same id: what was heard is not counted twice
        while True:
            try:
                async with asyncio.timeout(REPLY_S):
                    view = await self._handle(page).execute_update(ModelWorkflow.report, report, id=update_id)
            except WorkflowUpdateFailedError as refused:
                log.warning("report_refused", model=page.model, reason=str(refused.cause))
                return True
            except Exception as odd:  # noqa: BLE001  the server may be away: what it missed is told when it is back
                log.info("report_not_heard", model=page.model, reason=f"{type(odd).__name__}: {odd}")
                if await self._begun_anew(page, odd):
                    continue
                if self._closing:
                    return False
            else:
                _take_view(page, view)
                return True
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_RETRY_S)

    async def _begun_anew(self, page: _Page, odd: Exception) -> bool:
        """Begin the model's workflow if that is what was amiss; return whether it was."""
        if not (isinstance(odd, RPCError) and odd.status == RPCStatusCode.NOT_FOUND):
            return False
        with suppress(RPCError):
            await ensure(self._client, self._store, page.model, self._rules(page.model))
            return True
        return False

    def _handle(self, page: _Page) -> Handle:
        return self._client.get_workflow_handle_for(ModelWorkflow.run, model_id(self._store, page.model))


def _is_urgent(page: _Page) -> bool:
    """Return whether what is there to tell cannot wait: a failure, new limits, or word of a model in doubt."""
    if page.seen != page.told_seen or page.view is None or page.view.status not in ("healthy", "degraded"):
        return True
    return any(isinstance(event, Failed) and event.error_class not in CONTENT for event in page.events)


def _take_view(page: _Page, view: ModelView) -> None:
    page.view, page.looked_at = view, time.monotonic()


def _hold(page: _Page, failure: CallFailed) -> None:
    """Keep this process's calls back where the model asked for it, or seems to need it."""
    if failure.error_class in LIMITING:
        wait_s = HOLD_S if failure.retry_after_s is None else failure.retry_after_s
        _hold_for(page, wait_s, f"{page.model} asks for patience: {_said(failure)}")


def _hold_for(page: _Page, seconds: float, why: str) -> None:
    until = time.monotonic() + seconds
    if until > page.held_until:
        page.held_until, page.held_why = until, why


def _take_limits(page: _Page, limits: SeenLimits) -> None:
    """Take note of the limits that a vendor's headers tell, and wait where they say that nothing is left."""
    before = page.seen or ModelLimits()
    page.seen = ModelLimits(
        requests_per_minute=limits.requests_per_minute or before.requests_per_minute,
        tokens_per_minute=limits.tokens_per_minute or before.tokens_per_minute,
    )
    if limits.remaining_requests == 0 and limits.reset_s is not None:
        _hold_for(page, min(limits.reset_s, LONGEST_HOLD_S), f"{page.model} has used up its limit of requests")


def _failed(failure: CallFailed, sent_at: float, at: float, *, probe: bool) -> Failed:
    return Failed(error_class=failure.error_class, message=_said(failure), sent_at=sent_at, at=at, probe=probe)


def _said(failure: CallFailed) -> str:
    """Return what the failure says, without the name of its model."""
    return failure.message.partition(" gave no answer: ")[2][:LONGEST_MESSAGE] or failure.message[:LONGEST_MESSAGE]


def _append_answer(events: list[Answered | Failed], answer: ModelAnswer, sent_at: float, at: float) -> None:
    """Add an answer to those that came right before it, or begin with it."""
    tokens = _tokens(answer.usage)
    latency_ms = float(round(answer.latency_ms))
    last = events[-1] if events else None
    if not isinstance(last, Answered):
        events.append(Answered(calls=1, sent_at=sent_at, at=at, latencies_ms=(latency_ms,), tokens_per_call=tokens))
        return
    calls = last.calls + 1
    mean = last.tokens_per_call if last.tokens_per_call is not None else tokens
    events[-1] = Answered(
        calls=calls,
        sent_at=max(sent_at, last.sent_at),
        at=at,
        latencies_ms=(*last.latencies_ms, latency_ms)[-LATEST_LATENCIES:],
        tokens_per_call=mean if mean is None or tokens is None else mean + (tokens - mean) / calls,
    )


def _tokens(usage: Usage) -> float | None:
    if usage.prompt_tokens is None or usage.completion_tokens is None:
        return None
    return float(usage.prompt_tokens + usage.completion_tokens)


def _closed(view: ModelView, wait_s: float, why: str, ends_at: float | None) -> Closed:
    return Closed(wait_s, why, "quarantine", ends_at, view.quarantined_at, view.closed_by)


def _tried(view: ModelView) -> Closed:
    return _closed(view, PROBED_S, f"{_why(view)}; a single call tries it now", view.probed_until)


def _why(view: ModelView) -> str:
    return f"{view.model} is left alone for a while: {view.reason}"
