"""A model's workflow on the real server: health that lasts, and limits split among the sessions that call it."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from temporalio import activity, workflow
from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.sdk.v1 import WorkflowMetadata
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.client import Client, WorkflowHandle
from temporalio.exceptions import ApplicationError
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import UnsandboxedWorkflowRunner, Worker, WorkflowRunner
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner

from activities.border import (
    SET_RATE,
    WHO_POLLS,
    Answered,
    Failed,
    Join,
    Leave,
    ModelLimits,
    ModelShare,
    ModelView,
    Permit,
    Queues,
    Rate,
    Report,
)
from activities.limits import Rates
from discernus.llm.models_file import Limits, ModelRules
from engine import models
from engine.connection import SEARCH_ATTRIBUTES, connect
from engine.server import find_binary
from engine.sessions import shared_queue
from tests.stub_steps import until
from workflows.model import MARGIN, TOLD, WRITTEN, ModelWorkflow

MODEL = "openai/scribe"
HISTORY = 120  # events after which a workflow begins a new history here; tens of thousands elsewhere
stores = (f"store{number:03d}" for number in itertools.count(1))


@workflow.defn(name="Session", sandboxed=False)
class SessionStub:
    """A session as a model's workflow sees it: it hears of its limits until it ends."""

    def __init__(self) -> None:
        self._heard: list[ModelShare] = []
        self._over = False

    @workflow.run
    async def run(self) -> None:
        await workflow.wait_condition(lambda: self._over)

    @workflow.signal
    def limited(self, share: ModelShare) -> None:
        self._heard.append(share)

    @workflow.signal
    def end(self) -> None:
        self._over = True

    @workflow.query
    def heard(self) -> list[ModelShare]:
        return self._heard


class StubbornRates:
    """Stands in for a server that does not let rates be set."""

    @activity.defn(name=SET_RATE)
    async def set_rate(self, rate: Rate) -> None:
        raise ApplicationError("rates are not for you", non_retryable=True)

    @activity.defn(name=WHO_POLLS)
    async def who_polls(self, asked: Queues) -> Queues:
        raise ApplicationError("nor is who polls", non_retryable=True)


@activity.defn
async def idle() -> None:
    """Stands for any call: its worker is what counts."""


@pytest.fixture(scope="module")
async def client() -> AsyncIterator[Client]:
    server = await WorkflowEnvironment.start_local(
        dev_server_existing_path=str(find_binary(None)),
        dev_server_log_level="error",
        search_attributes=SEARCH_ATTRIBUTES,
        dev_server_extra_args=[
            *("--dynamic-config-value", "matching.numTaskqueueReadPartitions=1"),
            *("--dynamic-config-value", "matching.numTaskqueueWritePartitions=1"),
            *("--dynamic-config-value", f"limit.historyCount.suggestContinueAsNew={HISTORY}"),
        ],
    )
    async with server:
        yield await connect(server.client.service_client.config.target_host, server.client.namespace)


class Place:
    """A store with a worker of its shared queue, and the model's workflow in it."""

    def __init__(self, client: Client, store: str) -> None:
        self.client = client
        self.store = store
        self.sessions: list[WorkflowHandle[SessionStub, None]] = []

    @property
    def handle(self) -> models.Handle:
        return self.client.get_workflow_handle_for(ModelWorkflow.run, models.model_id(self.store, MODEL))

    async def view(self) -> ModelView:
        return await self.handle.query(ModelWorkflow.view)

    async def report(self, *events: Answered | Failed, seen: ModelLimits | None = None) -> ModelView:
        return await self.handle.execute_update(ModelWorkflow.report, Report(asker="me", events=events, seen=seen))

    async def ask_probe(self, asker: str) -> Permit:
        return await self.handle.execute_update(ModelWorkflow.ask_probe, args=[asker, 60.0])

    async def session(self, queue: str | None = None, tokens_per_call: int | None = None) -> Session:
        """Begin a session that calls the model, and have it join."""
        name = f"{self.store}/session-{len(self.sessions)}"
        handle = await self.client.start_workflow(SessionStub.run, id=name, task_queue=shared_queue(self.store))
        self.sessions.append(handle)
        session = Session(self, handle, Join(workflow_id=name, queue=queue or name, tokens_per_call=tokens_per_call))
        await session.join()
        return session


class Session:
    def __init__(self, place: Place, handle: WorkflowHandle[SessionStub, None], joining: Join) -> None:
        self.place = place
        self.handle = handle
        self.joining = joining

    async def join(self) -> None:
        await self.place.handle.signal(ModelWorkflow.join, self.joining)

    async def leave(self) -> None:
        await self.place.handle.signal(ModelWorkflow.leave, Leave(workflow_id=self.handle.id))

    async def heard(self) -> list[ModelShare]:
        return await self.handle.query(SessionStub.heard)

    async def told(self, in_flight: int | None, calls_per_minute: float | None) -> None:
        """Wait until this is what it was told last."""

        async def last() -> bool:
            heard = await self.heard()
            return bool(heard) and (heard[-1].in_flight, heard[-1].calls_per_minute) == (
                in_flight,
                None if calls_per_minute is None else pytest.approx(calls_per_minute),
            )

        await until(last, f"{self.handle.id} is told {in_flight}, {calls_per_minute}")


@asynccontextmanager
async def place(
    client: Client, rates: Any = None, workflow_runner: WorkflowRunner | None = None, **rules: Any
) -> AsyncIterator[Place]:
    here = Place(client, next(stores))
    rates = rates or Rates(client)
    worker = Worker(
        client,
        task_queue=shared_queue(here.store),
        workflows=[ModelWorkflow, SessionStub],
        activities=[rates.set_rate, rates.who_polls],
        workflow_runner=workflow_runner or SandboxedWorkflowRunner(),
    )
    async with worker:
        await models.ensure(client, here.store, MODEL, ModelRules(**rules))
        try:
            yield here
        finally:
            for handle in (here.handle, *here.sessions):
                if (await handle.describe()).close_time is None:
                    await handle.terminate("the test is over")


def answered(*, calls: int = 1, tokens: float | None = None) -> Answered:
    now = time.time()
    return Answered(calls=calls, sent_at=now, at=now, latencies_ms=(1200.0,), tokens_per_call=tokens)


def failed(error_class: str = "server_error", *, probe: bool = False) -> Failed:
    now = time.time()
    return Failed(error_class=error_class, message="status 500", sent_at=now, at=now, probe=probe)


async def rate_of(client: Client, queue: str) -> float | None:
    """Return the calls per minute at which the server hands out that queue's activities."""
    described = await client.workflow_service.describe_task_queue(
        DescribeTaskQueueRequest(
            namespace=client.namespace,
            task_queue=TaskQueue(name=queue),
            task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY,
            report_config=True,
        )
    )
    limit = described.config.queue_rate_limit.rate_limit
    return limit.requests_per_second * 60 if described.config.queue_rate_limit.HasField("rate_limit") else None


# health


async def test_three_failures_quarantine_a_model_and_one_probe_at_a_time_may_try_it(client: Client) -> None:
    async with place(client, quarantine_s=1.0) as here:
        assert (await here.view()).status == "unknown"
        assert (await here.report(answered())).status == "healthy"
        for status in ("degraded", "degraded", "quarantined"):
            view = await here.report(failed())
            assert view.status == status
        assert "3 failures in a row" in view.reason
        assert not (await here.ask_probe("me")).granted
        await asyncio.sleep(1.1)
        permits = await asyncio.gather(*(here.ask_probe(asker) for asker in ("me", "you", "they")))
        assert sorted(permit.granted for permit in permits) == [False, False, True]
        assert (await here.report(answered())).status == "healthy"
        health = await here.handle.query(ModelWorkflow.health)
        assert (health.answered, health.by_class, len(health.quarantines)) == (2, {"server_error": 3}, 1)


async def test_a_reset_opens_a_quarantined_model_and_a_clock_that_is_ahead_closes_it_no_longer(client: Client) -> None:
    async with place(client, quarantine_s=60.0) as here:
        for hours in (1, 2, 3):
            ahead = time.time() + 3600 * hours
            view = await here.report(
                Failed(error_class="timeout", message="none in 300 s", sent_at=ahead, at=ahead + 300)
            )
        assert view.status == "quarantined"
        assert view.until is not None
        assert view.until <= time.time() + 61
        view = await here.handle.execute_update(ModelWorkflow.reset)
        assert (view.status, view.until) == ("unknown", None)


async def test_trouble_is_over_after_an_interval_while_a_session_is_there(client: Client) -> None:
    async with place(client, health_check_interval_s=0.5) as here:
        await here.session()
        await here.report(failed("rate_limit"), answered())
        assert (await here.view()).status == "degraded"

        async def healthy() -> bool:
            return (await here.view()).status == "healthy"

        await until(healthy, "it is healthy again")


# limits


async def test_without_any_limit_a_session_is_answered_all_the_same(client: Client) -> None:
    async with place(client) as here:
        session = await here.session()
        await session.told(None, None)
        assert await rate_of(client, session.joining.queue) is None


async def test_limits_are_split_in_proportion_to_the_sessions_and_given_back_by_those_that_leave(
    client: Client,
) -> None:
    async with place(client, limits=Limits(requests_per_minute=600, in_flight=10)) as here:
        alone = await here.session()
        await alone.told(10, 600 * MARGIN)
        assert await rate_of(client, alone.joining.queue) == pytest.approx(600 * MARGIN)
        fleet = [await here.session("fleet") for _ in range(2)]
        await alone.told(4, 200 * MARGIN)
        await fleet[0].told(3, 200 * MARGIN)
        await fleet[1].told(3, 200 * MARGIN)
        assert await rate_of(client, alone.joining.queue) == pytest.approx(200 * MARGIN)
        assert await rate_of(client, "fleet") == pytest.approx(400 * MARGIN)
        assert {share.source for share in await alone.heard()} == {WRITTEN}
        await fleet[0].leave()
        await alone.told(5, 300 * MARGIN)
        await fleet[1].told(5, 300 * MARGIN)
        assert await rate_of(client, "fleet") == pytest.approx(300 * MARGIN)


async def test_more_sessions_than_calls_in_flight_have_one_each(client: Client) -> None:
    async with place(client, limits=Limits(in_flight=1)) as here:
        for session in [await here.session() for _ in range(3)]:
            await session.told(1, None)


async def test_joining_twice_counts_once_and_is_answered_twice(client: Client) -> None:
    async with place(client, limits=Limits(requests_per_minute=600)) as here:
        session = await here.session()
        await session.told(None, 600 * MARGIN)
        await session.join()

        async def twice() -> bool:
            return len(await session.heard()) == 2

        await until(twice, "it is answered again")
        await session.told(None, 600 * MARGIN)
        assert (await here.view()).sessions == 1


async def test_a_session_that_ended_without_a_word_gives_its_part_back(client: Client) -> None:
    async with place(client, limits=Limits(requests_per_minute=600)) as here:
        gone, stays = await here.session(), await here.session()
        await stays.told(None, 300 * MARGIN)
        await gone.handle.terminate("killed")
        await here.handle.execute_update(ModelWorkflow.limit, ModelLimits(requests_per_minute=1200))
        await stays.told(None, 1200 * MARGIN)
        assert (await here.view()).sessions == 1


async def test_a_session_that_nobody_serves_any_more_takes_nothing_from_others(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workflows.model.SETTLING_IN_S", 0.0)
    async with place(client, None, UnsandboxedWorkflowRunner(), limits=Limits(requests_per_minute=600)) as here:
        left, served = await here.session(), await here.session()

        async def served_alone() -> bool:
            await models.ensure(client, here.store, MODEL, ModelRules(limits=Limits(requests_per_minute=600)))
            return (await here.view()).sessions == 1

        async with Worker(client, task_queue=served.joining.queue, activities=[idle]):
            await until(served_alone, "only the one that is served counts")
            await served.told(None, 600 * MARGIN)
            assert await rate_of(client, left.joining.queue) == pytest.approx(300 * MARGIN)
            async with Worker(client, task_queue=left.joining.queue, activities=[idle]):

                async def served_again() -> bool:
                    await models.ensure(client, here.store, MODEL, ModelRules(limits=Limits(requests_per_minute=600)))
                    return (await here.view()).sessions == 2

                await until(served_again, "both count")
                await served.told(None, 300 * MARGIN)
                await left.told(None, 300 * MARGIN)


async def test_limits_told_live_go_before_the_file_and_the_file_before_headers(client: Client) -> None:
    async with place(client, limits=Limits(requests_per_minute=600)) as here:
        session = await here.session()
        await here.report(answered(), seen=ModelLimits(requests_per_minute=6000, tokens_per_minute=1e6))
        view = await here.view()
        assert view.limits == ModelLimits(requests_per_minute=600, tokens_per_minute=1e6)
        view = await models.limit(
            client, here.store, MODEL, ModelRules(limits=Limits(requests_per_minute=600)), ModelLimits(in_flight=3)
        )
        view = await models.limit(
            client,
            here.store,
            MODEL,
            ModelRules(limits=Limits(requests_per_minute=600)),
            ModelLimits(requests_per_minute=60),
        )
        assert view.limits == ModelLimits(requests_per_minute=60, tokens_per_minute=1e6, in_flight=3)
        assert view.sources["requests_per_minute"] == view.sources["in_flight"] == TOLD
        await session.told(3, 60 * MARGIN)
        view = await here.handle.execute_update(ModelWorkflow.limit, None)
        assert view.limits == ModelLimits(requests_per_minute=600, tokens_per_minute=1e6)
        await session.told(None, 600 * MARGIN)


async def test_new_rules_in_the_file_are_followed(client: Client) -> None:
    async with place(client, limits=Limits(requests_per_minute=600)) as here:
        session = await here.session()
        await session.told(None, 600 * MARGIN)
        await models.ensure(client, here.store, MODEL, ModelRules(limits=Limits(requests_per_minute=60)))
        await session.told(None, 60 * MARGIN)
        await models.ensure(client, here.store, MODEL, ModelRules())
        await session.told(None, None)
        assert await rate_of(client, session.joining.queue) is None


async def test_tokens_a_minute_steer_the_rate_by_the_tokens_that_calls_really_take(client: Client) -> None:
    async with place(client, limits=Limits(requests_per_minute=600, tokens_per_minute=100_000)) as here:
        session = await here.session(tokens_per_call=2000)
        await session.told(None, 50 * MARGIN)
        view = await here.report(answered(calls=100, tokens=4000.0))
        assert view.tokens_per_call == 4000.0
        await session.told(None, 25 * MARGIN)
        assert await rate_of(client, session.joining.queue) == pytest.approx(25 * MARGIN)
        heard = len(await session.heard())
        await here.report(answered(calls=1, tokens=4001.0))
        await asyncio.sleep(0.3)
        assert len(await session.heard()) == heard


async def test_a_rate_that_cannot_be_set_stalls_nobody_and_is_said(client: Client) -> None:
    async with place(client, StubbornRates(), limits=Limits(requests_per_minute=600, in_flight=4)) as here:
        await (await here.session()).told(4, 600 * MARGIN)
        await (await here.session()).told(2, 300 * MARGIN)
        assert "rates are not for you" in (await here.view()).trouble


# what lasts


async def test_a_new_history_begins_with_all_that_was_known_and_loses_no_report(client: Client) -> None:
    async with place(client, limits=Limits(requests_per_minute=600)) as here:
        session = await here.session()
        await session.told(None, 600 * MARGIN)
        await here.handle.execute_update(ModelWorkflow.limit, ModelLimits(in_flight=7))
        first = (await here.handle.describe()).run_id
        for _ in range(20):
            await asyncio.gather(*(here.report(answered(), failed("rate_limit")) for _ in range(10)))
        assert (await here.handle.describe()).run_id != first
        health = await here.handle.query(ModelWorkflow.health)
        assert (health.answered, health.by_class) == (200, {"rate_limit": 200})
        view = await here.view()
        assert view.limits == ModelLimits(requests_per_minute=600, in_flight=7)
        assert view.sessions == 1
        await session.told(7, 600 * MARGIN)


async def test_models_are_listed_with_what_is_known_of_them(client: Client) -> None:
    async with place(client) as here:
        await here.report(answered(), answered(), failed())

        async def listed() -> bool:
            return bool(await models.views(client, here.store))

        await until(listed, "it is listed")
        (one,) = await models.views(client, here.store)
        assert (one.view.model, one.view.status, one.health.answered) == (MODEL, "degraded", 2)
        assert await models.known(client, here.store, "openai/nobody") is None
        assert await models.reset(client, here.store, "openai/nobody") is None


async def test_the_web_ui_says_how_the_model_is_and_what_limits_it(client: Client) -> None:
    async with place(client, limits=Limits(requests_per_minute=600)) as here:
        for _ in range(3):
            await here.report(failed())
        metadata: WorkflowMetadata = await here.handle.query("__temporal_workflow_metadata")
        details = metadata.current_details
        assert details.startswith(f"**{MODEL}: quarantined**")
        assert "Left alone until" in details
        assert "3 × server_error" in details
        assert "requests per minute: 600 (models.yaml)" in details
