"""One model, for all who call it: its health as its calls show it, and its limits, split among the sessions it serves.

Sessions join and leave by signal; each is told its part once its queue's rate is set, and again whenever that changes.
What the calls came to is reported by the processes that make them. All of it outlives them, and every session.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():  # pydantic models: validated by compiled code the sandbox cannot load
    from activities.border import (
        SET_RATE,
        WHO_POLLS,
        Answered,
        Join,
        Leave,
        ModelLimits,
        ModelShare,
        ModelStart,
        ModelTerms,
        ModelView,
        Permit,
        Queues,
        Rate,
        Report,
    )
    from discernus.llm.health import Health

TOLD, WRITTEN, SEEN = "set with 'models limit'", "models.yaml", "the vendor's headers"
MARGIN = 0.95  # of a limit is used: the server hands tasks out in lumps
WORTH_SETTING = 0.02  # a queue's rate that changes by less is left as it is
WORTH_TELLING = 0.25  # a session only shows its rate, and each time it is told costs its history some ten events
STEER_S = 10.0  # between two changes of a rate that only follow the tokens per call
LOOK_S = 60.0  # how often to look, where several queues share a model, whether somebody takes calls off each
SETTLING_IN_S = 120.0  # a session that has just joined may have a worker that is still starting
QUARANTINES_TOLD = 5  # more in a row than anybody waits for
RETELL_S = 600.0  # how often sessions are told again, so that one that died without leaving gives its part back
QUEUE_TIMEOUT = timedelta(seconds=5)  # to set a rate, or to look who polls, takes milliseconds
RATE_PATIENCE = timedelta(seconds=15)  # after that the sessions go on without it
RATE_RETRY = RetryPolicy(initial_interval=timedelta(seconds=1), maximum_interval=timedelta(seconds=5))
LOOK_RETRY = RetryPolicy(maximum_attempts=1)  # a look that fails is made up for by the next one


@workflow.defn(name="Model", failure_exception_types=[Exception])
class ModelWorkflow:
    """Keep one model's health and limits, for ever; the second argument is the health it had before."""

    @workflow.init
    def __init__(self, start: ModelStart, health: Health | None = None) -> None:
        self._model = start.model
        self._terms = start.terms
        self._told = start.told
        self._seen = start.seen
        self._joined = {join.workflow_id: join for join in start.joined}
        self._joined_at = dict.fromkeys(self._joined, 0.0)
        self._silent: frozenset[str] = frozenset()  # queues off which nobody takes calls
        self._health = health or Health()
        self._rate: float | None = None  # calls per minute of all sessions, as it was split last
        self._set: dict[str, float | None] = {}  # the same of each queue
        self._shares: dict[str, ModelShare] = {}  # what each session was told last
        self._steered_at = 0.0
        self._retold_at = workflow.time()
        self._trouble = ""
        self._split_again = bool(self._joined)

    @workflow.run
    async def run(self, start: ModelStart, health: Health | None = None) -> None:
        while not workflow.info().is_continue_as_new_suggested():
            self._show()
            await self._wait()
            self._health = self._health.settled(self._terms, workflow.time())
            while self._split_again:
                self._split_again = False
                await self._split()
        await workflow.wait_condition(workflow.all_handlers_finished)
        workflow.continue_as_new(args=[self._carried(), self._health])

    @workflow.query
    def view(self) -> ModelView:
        """What a process needs to know before it calls."""
        limits, sources = self._in_force()
        return ModelView(
            model=self._model,
            status=self._health.status,
            reason=self._health.reason,
            since=self._health.since,
            until=self._health.until,
            limits=limits,
            sources=sources,
            calls_per_minute=self._calls_per_minute(),
            tokens_per_call=self._tokens_per_call(),
            sessions=len(self._callers()),
            trouble=self._trouble,
            quarantined_at=self._health.quarantined_at[-QUARANTINES_TOLD:],
            closed_by=self._health.closed_by,
            probed_until=self._health.probe.until if self._health.probe is not None else None,
        )

    @workflow.query
    def health(self) -> Health:
        """All that is known of the model's health, with its history."""
        return self._health

    @workflow.update
    def report(self, report: Report) -> ModelView:
        """Take note of what a process's calls came to."""
        now = workflow.time()
        for event in report.events:
            at = min(event.at, now)  # a process whose clock is ahead closes nothing for longer than the rest
            sent_at = min(event.sent_at, at)
            if isinstance(event, Answered):
                self._health = self._health.after_answers(
                    self._terms, event.calls, event.latencies_ms, event.tokens_per_call, sent_at=sent_at, at=at
                )
            else:
                self._health = self._health.after_failure(
                    self._terms,
                    event.error_class,
                    event.message,
                    sent_at=sent_at,
                    at=at,
                    prober=report.asker if event.probe else None,
                )
        if report.seen is not None:
            self._seen = _first_of(report.seen, self._seen)
        self._steer(at_once=report.seen is not None)
        return self._changed_view()

    @workflow.update
    def ask_probe(self, asker: str, lease_s: float) -> Permit:
        """Grant the asker, for so long, the one call that may try a model that is left alone, if its time is over."""
        granted = self._health.granting(asker, workflow.time(), lease_s)
        self._health = granted or self._health
        return Permit(granted=granted is not None, view=self._changed_view())

    @workflow.signal
    def return_probe(self, asker: str) -> None:
        """The asker did not send the call that it was granted: another may try the model."""
        self._health = self._health.returning(asker)

    @workflow.update
    def limit(self, limits: ModelLimits | None) -> ModelView:
        """Take these limits before all others; None goes back to those of models.yaml."""
        self._told = limits
        self._split_again = True
        return self._changed_view()

    @workflow.update
    def reset(self) -> ModelView:
        """Forget what speaks against the model; its history stays."""
        self._health = self._health.reset(workflow.time())
        return self._changed_view()

    @workflow.signal
    def follow(self, terms: ModelTerms) -> None:
        """models.yaml says this now; a process is about to call, perhaps of a session that had none for a while."""
        self._terms = terms
        self._split_again = True

    @workflow.signal
    def join(self, join: Join) -> None:
        """A session is about to call the model; it is told its part, also where there is no limit."""
        self._joined[join.workflow_id] = join
        self._joined_at[join.workflow_id] = workflow.time()
        self._shares.pop(join.workflow_id, None)
        self._split_again = True

    @workflow.signal
    def leave(self, leave: Leave) -> None:
        """A session calls the model no more."""
        self._forget(leave.workflow_id)

    async def _wait(self) -> None:
        """Wait until the limits have to be split again, the status has changed, or it is time to look."""
        status = self._health.status
        try:
            await workflow.wait_condition(
                lambda: (
                    self._split_again or self._health.status != status or workflow.info().is_continue_as_new_suggested()
                ),
                timeout=self._pause(),
            )
        except TimeoutError:
            self._split_again = len(self._queues()) > 1
            if workflow.time() - self._retold_at >= RETELL_S:
                self._retold_at = workflow.time()
                self._shares.clear()
                self._split_again = True

    def _pause(self) -> timedelta | None:
        """Return how long nothing need be looked after, None where that is for ever."""
        if not self._joined:
            return None
        if self._terms.monitored and self._health.status == "degraded":
            return timedelta(seconds=self._terms.interval_s)
        return timedelta(seconds=LOOK_S if len(self._queues()) > 1 else RETELL_S)

    async def _split(self) -> None:
        """Set the rates of the sessions' queues as they are to be, then tell each session what has changed for it."""
        await self._look()
        self._rate = self._calls_per_minute()
        callers = self._callers()
        shares = self._split_shares(callers)  # of those who are here now; who joins meanwhile is told in the next round
        wanted = self._split_rate(callers)
        self._set = {queue: rate for queue, rate in self._set.items() if queue in wanted}
        changed = [queue for queue, rate in wanted.items() if queue not in self._set or _differ(rate, self._set[queue])]
        self._trouble = ""
        await asyncio.gather(*(self._set_rate(queue, wanted[queue]) for queue in changed))
        await asyncio.gather(*(self._tell(workflow_id, share) for workflow_id, share in shares.items()))

    async def _look(self) -> None:
        """Look off which queues nobody takes calls: their sessions were left, and others need not wait for them."""
        queues = self._queues()
        self._silent = frozenset()
        if len(queues) < 2:
            return
        try:
            polled: Queues = await workflow.execute_activity(
                WHO_POLLS,
                Queues(queues=queues),
                result_type=Queues,
                start_to_close_timeout=QUEUE_TIMEOUT,
                schedule_to_close_timeout=QUEUE_TIMEOUT,
                retry_policy=LOOK_RETRY,
            )
        except ActivityError as failed:
            if is_cancelled_exception(failed):
                raise
            workflow.logger.warning("queues_not_looked_at", extra={"reason": str(failed.cause or failed)})
        else:
            self._silent = frozenset(queues) - frozenset(polled.queues)

    def _queues(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(join.queue for join in self._joined.values()))

    def _callers(self) -> dict[str, Join]:
        """Return the sessions that share the limits: those that somebody serves, or all where nobody seems to."""
        now = workflow.time()
        served = {
            workflow_id: join
            for workflow_id, join in self._joined.items()
            if join.queue not in self._silent or now - self._joined_at[workflow_id] < SETTLING_IN_S
        }
        return served or self._joined

    def _split_rate(self, callers: dict[str, Join]) -> dict[str, float | None]:
        """Return the calls per minute of each queue; a silent one keeps what it would have if it were served."""
        if self._rate is None:
            return dict.fromkeys(self._queues())
        calling = Counter(join.queue for join in callers.values())
        joined = Counter(join.queue for join in self._joined.values())
        return {
            queue: self._rate * (calling[queue] / len(callers) if calling[queue] else sessions / len(self._joined))
            for queue, sessions in joined.items()
        }

    def _split_shares(self, callers: dict[str, Join]) -> dict[str, ModelShare]:
        limits, sources = self._in_force()
        source = ", ".join(dict.fromkeys(sources.values()))
        shares = {}
        for place, workflow_id in enumerate(callers):
            in_flight = None
            if limits.in_flight is not None:
                each, left = divmod(limits.in_flight, len(callers))
                in_flight = max(1, each + (place < left))
            shares[workflow_id] = ModelShare(
                model=self._model,
                in_flight=in_flight,
                calls_per_minute=None if self._rate is None else self._rate / len(callers),
                source=source,
            )
        return shares

    async def _set_rate(self, queue: str, rate: float | None) -> None:
        """Set a queue's rate; where that cannot be, say so and let everybody go on."""
        try:
            await workflow.execute_activity(
                SET_RATE,
                Rate(queue=queue, calls_per_minute=rate),
                start_to_close_timeout=QUEUE_TIMEOUT,
                schedule_to_close_timeout=RATE_PATIENCE,
                retry_policy=RATE_RETRY,
            )
        except ActivityError as failed:
            if is_cancelled_exception(failed):
                raise
            self._set.pop(queue, None)
            self._trouble = f"the rate of queue {queue} could not be set: {failed.cause or failed}"[:300]
            workflow.logger.warning("rate_not_set", extra={"queue": queue, "reason": str(failed.cause or failed)})
        else:
            self._set[queue] = rate

    async def _tell(self, workflow_id: str, share: ModelShare) -> None:
        """Tell a session its part if it has changed; one that cannot be told any more has ended without a word."""
        join, told = self._joined.get(workflow_id), self._shares.get(workflow_id)
        if join is None or (told is not None and not _worth_telling(share, told)):
            return
        reached = True
        try:
            await workflow.get_external_workflow_handle(workflow_id).signal("limited", share)
        except ApplicationError:
            reached = False
        if self._joined.get(workflow_id) is not join:  # it left, or joined anew and is answered in the next round
            return
        if reached:
            self._shares[workflow_id] = share
        else:
            self._forget(workflow_id)

    def _forget(self, workflow_id: str) -> None:
        if self._joined.pop(workflow_id, None) is not None:
            del self._joined_at[workflow_id]
            self._shares.pop(workflow_id, None)
            self._split_again = True

    def _steer(self, *, at_once: bool) -> None:
        """Let the queues follow what the tokens per call, or limits just seen, now allow."""
        if not self._joined or not _differ(self._calls_per_minute(), self._rate):
            return
        if at_once or workflow.time() - self._steered_at >= STEER_S:
            self._steered_at = workflow.time()
            self._split_again = True

    def _in_force(self) -> tuple[ModelLimits, dict[str, str]]:
        """Return the limits in force, and where each comes from."""
        given = {TOLD: self._told or ModelLimits(), WRITTEN: self._terms.limits, SEEN: self._seen}
        sources = {
            name: source
            for name in ModelLimits.model_fields
            for source in reversed(given)
            if getattr(given[source], name) is not None
        }
        return _first_of(*given.values()), sources

    def _calls_per_minute(self) -> float | None:
        """Return the rate that keeps all sessions together within the limits in force, None where there is none."""
        limits, _ = self._in_force()
        tokens = self._tokens_per_call()
        rates = []
        if limits.requests_per_minute is not None:
            rates.append(limits.requests_per_minute)
        if limits.tokens_per_minute is not None and tokens:
            rates.append(limits.tokens_per_minute / tokens)
        return MARGIN * min(rates) if rates else None

    def _tokens_per_call(self) -> float | None:
        """Return the tokens of a call as measured; before the first, as the sessions expect them."""
        if self._health.tokens_per_call is not None:
            return self._health.tokens_per_call
        expected = [join.tokens_per_call for join in self._joined.values() if join.tokens_per_call is not None]
        return sum(expected) / len(expected) if expected else None

    def _carried(self) -> ModelStart:
        return ModelStart(
            model=self._model,
            terms=self._terms,
            told=self._told,
            seen=self._seen,
            joined=tuple(self._joined.values()),
        )

    def _changed_view(self) -> ModelView:
        self._show()
        return self.view()

    def _show(self) -> None:
        workflow.set_current_details(_markdown(self.view(), self._health))


def _first_of(*given: ModelLimits) -> ModelLimits:
    """Return each limit as the first names it that does."""
    return ModelLimits.model_validate(
        {
            name: next((value for limits in given if (value := getattr(limits, name)) is not None), None)
            for name in ModelLimits.model_fields
        }
    )


def _differ(one: float | None, other: float | None, by: float = WORTH_SETTING) -> bool:
    if one is None or other is None:
        return one is not other
    return abs(one - other) > by * other


def _worth_telling(share: ModelShare, told: ModelShare) -> bool:
    same = (share.in_flight, share.source) == (told.in_flight, told.source)
    return not same or _differ(share.calls_per_minute, told.calls_per_minute, WORTH_TELLING)


def _markdown(view: ModelView, health: Health) -> str:
    """Return the model's page in the Web UI."""
    lines = [f"**{view.model}: {view.status}**"]
    if view.reason:
        lines += ["", view.reason]
    if view.until is not None:
        lines += ["", f"Left alone until {_moment(view.until)}; then a single call tries it again."]
    lines += ["", f"{health.answered} calls answered, {health.failed} failed for its fault"]
    lines += [f"- {number} × {name}" for name, number in sorted(health.by_class.items())]
    if health.median_latency_ms is not None:
        lines += ["", f"median latency {health.median_latency_ms / 1000:.1f} s"]
    limits = {name: getattr(view.limits, name) for name in view.sources}
    lines += ["", *(f"- {name.replace('_', ' ')}: {limits[name]:,.10g} ({view.sources[name]})" for name in limits)]
    if view.calls_per_minute is not None:
        lines += ["", f"{view.calls_per_minute:.1f} calls a minute, among {view.sessions} sessions"]
    if view.trouble:
        lines += ["", view.trouble]
    return "\n".join(lines)


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
