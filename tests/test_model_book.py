"""The book that each process keeps of its models: it asks the server little, and never lets a call wait for it."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from temporalio.client import (
    Client,
    Interceptor,
    OutboundInterceptor,
    QueryWorkflowInput,
    StartWorkflowUpdateInput,
    WorkflowUpdateHandle,
)
from temporalio.worker import Worker

from activities.border import ModelLimits
from activities.limits import Rates
from discernus.llm.calls import SeenLimits, Usage
from discernus.llm.errors import CallFailed
from discernus.llm.gate import Closed
from discernus.llm.health import Health
from discernus.llm.models_file import Limits, ModelRules, ModelsFile
from engine import models
from engine.models import ModelBook
from engine.sessions import shared_queue
from tests.stand_ins import answer, failure
from tests.stub_steps import until
from tests.test_model_workflow import MODEL, client, stores
from workflows.model import SEEN, ModelWorkflow

__all__ = ["client"]

TIMEOUT_S = 60.0  # of a call


class Counted(Interceptor):
    """Counts what a client asks of the server."""

    def __init__(self) -> None:
        self.asked = Counter[str]()

    def intercept_client(self, next: OutboundInterceptor) -> OutboundInterceptor:
        return _Counting(next, self.asked)


class _Counting(OutboundInterceptor):
    def __init__(self, next: OutboundInterceptor, asked: Counter[str]) -> None:
        super().__init__(next)
        self._asked = asked

    async def query_workflow(self, input: QueryWorkflowInput) -> Any:
        self._asked["query"] += 1
        return await super().query_workflow(input)

    async def start_workflow_update(self, input: StartWorkflowUpdateInput) -> WorkflowUpdateHandle[Any]:
        self._asked[input.update] += 1
        return await super().start_workflow_update(input)


@asynccontextmanager
async def served(client: Client, store: str) -> AsyncIterator[None]:
    """Have somebody poll the store's shared queue."""
    rates = Rates(client)
    activities = [rates.set_rate, rates.who_polls]
    async with Worker(client, task_queue=shared_queue(store), workflows=[ModelWorkflow], activities=activities):
        yield


class Processes:
    """A store that is served, and the books of any number of processes."""

    def __init__(self, client: Client, store: str, rules: ModelRules) -> None:
        self._client = client
        self.store = store
        self.rules = rules
        self.books: list[ModelBook] = []
        self.counted: list[Counter[str]] = []

    def book(self) -> ModelBook:
        counting = Counted()
        client = Client(**{**self._client.config(), "interceptors": [counting]})
        self.books.append(ModelBook(client, self.store, lambda model: self.rules))
        self.counted.append(counting.asked)
        return self.books[-1]

    async def known(self) -> models.Known:
        known = await models.known(self._client, self.store, MODEL)
        assert known is not None
        return known

    async def status(self) -> str:
        return (await self.known()).view.status

    async def becomes(self, status: str) -> None:
        async def is_so() -> bool:
            return await self.status() == status

        await until(is_so, f"the model is {status}")


@asynccontextmanager
async def processes(client: Client, **rules: Any) -> AsyncIterator[Processes]:
    these = Processes(client, next(stores), ModelRules(**rules))
    async with served(client, these.store):
        try:
            yield these
        finally:
            for book in these.books:
                await book.close()
            await client.get_workflow_handle(models.model_id(these.store, MODEL)).terminate("the test is over")


def now() -> datetime:
    return datetime.now(UTC)


async def fails(book: ModelBook, *classes: str, **more: Any) -> None:
    """Fail one call after the other, each sent after the last had come back."""
    for error_class in classes:
        await book.admit(MODEL, TIMEOUT_S)
        sent_at = now()
        await asyncio.sleep(0.002)
        book.observe(MODEL, None, failure(error_class, **more), sent_at)
        await asyncio.sleep(0.002)


def answers(book: ModelBook, calls: int = 1, **more: Any) -> None:
    for _ in range(calls):
        book.observe(MODEL, answer("fine", **more), None, now())


async def opens(book: ModelBook) -> None:
    async def is_open() -> bool:
        return await book.admit(MODEL, TIMEOUT_S) is None

    await until(is_open, "the gate is open")


async def closes(book: ModelBook) -> Closed:
    closed: list[Closed] = []

    async def is_closed() -> bool:
        found = await book.admit(MODEL, TIMEOUT_S)
        closed.extend([found] if found is not None else [])
        return found is not None

    await until(is_closed, "the gate is closed")
    return closed[-1]


async def is_over(closed: Closed) -> None:
    """Wait until the quarantine's time is over."""
    assert closed.ends_at is not None
    await asyncio.sleep(closed.ends_at - time.time() + 0.01)


# asking


async def test_calls_of_a_healthy_model_ask_the_server_next_to_nothing(client: Client) -> None:
    async with processes(client) as these:
        book = these.book()
        for _ in range(200):
            assert await book.admit(MODEL, TIMEOUT_S) is None
            answers(book)
        await these.becomes("healthy")
        for _ in range(200):
            assert await book.admit(MODEL, TIMEOUT_S) is None
            answers(book)
        assert these.counted[0]["query"] == 1
        assert these.counted[0]["report"] <= 2
        await book.close()
        health = (await these.known()).health
        assert (health.answered, health.tokens_per_call, health.median_latency_ms) == (400, 120.0, 12.0)
        assert these.counted[0]["report"] <= 3


async def test_the_offline_model_is_always_let_through_and_never_reported(client: Client) -> None:
    async with processes(client) as these:
        book = these.book()
        await book.admit(MODEL, TIMEOUT_S)
        before = dict(these.counted[0])
        assert await book.admit("offline/lexicon", TIMEOUT_S) is None
        book.observe("offline/lexicon", None, failure("server_error"), now())
        await book.close()
        assert dict(these.counted[0]) == before
        assert await models.known(client, these.store, "offline/lexicon") is None


def without_waiting(called: Coroutine[Any, Any, Closed | None]) -> Closed | None:
    """Return what a coroutine returns that waits for nothing; fails if it does not end at its first step."""
    with pytest.raises(StopIteration) as ended:
        called.send(None)
    value: Closed | None = ended.value.value
    return value


async def test_no_call_waits_for_a_server_that_says_nothing_and_nothing_is_lost(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models, "FIRST_LOOK_S", 0.2)
    monkeypatch.setattr(models, "REPLY_S", 0.3)
    store = next(stores)
    book = ModelBook(client, store, ModelsFile().rules)  # nobody polls its queue
    assert await book.admit(MODEL, TIMEOUT_S) is None
    for _ in range(99):
        assert without_waiting(book.admit(MODEL, TIMEOUT_S)) is None
    answers(book, 5)
    await fails(book, "server_error", "server_error", "server_error")
    await asyncio.sleep(1)
    async with served(client, store):

        async def all_there() -> bool:
            known = await models.known(client, store, MODEL)
            return known is not None and (known.health.answered, known.health.failed) == (5, 3)

        await until(all_there, "all was handed in")
        await book.close()


async def test_a_workflow_that_was_ended_by_hand_is_begun_again(client: Client) -> None:
    async with processes(client) as these:
        book = these.book()
        await book.admit(MODEL, TIMEOUT_S)
        await client.get_workflow_handle(models.model_id(these.store, MODEL)).terminate("by hand")
        await fails(book, "server_error")
        await book.admit(MODEL, TIMEOUT_S)

        async def counted() -> bool:
            known = await models.known(client, these.store, MODEL)
            return known is not None and known.health.failed == 1

        await until(counted, "it is counted anew")


# holding back


async def test_after_a_429_calls_of_this_process_wait_without_touching_the_wire(client: Client) -> None:
    async with processes(client) as these:
        book, other = these.book(), these.book()
        await fails(book, "rate_limit", retry_after_s=0.4)
        closed = await book.admit(MODEL, TIMEOUT_S)
        assert closed is not None
        assert closed.kind == "rate_limit"
        assert 0 < closed.wait_s <= 0.4
        assert await other.admit(MODEL, TIMEOUT_S) is None
        await asyncio.sleep(closed.wait_s)
        assert await book.admit(MODEL, TIMEOUT_S) is None
        await these.becomes("degraded")


async def test_a_429_without_a_time_holds_for_a_second(client: Client) -> None:
    async with processes(client) as these:
        book = these.book()
        await fails(book, "overload")
        closed = await book.admit(MODEL, TIMEOUT_S)
        assert closed is not None
        assert 0.5 < closed.wait_s <= models.HOLD_S


async def test_calls_wait_where_the_headers_say_that_nothing_is_left(client: Client) -> None:
    async with processes(client) as these:
        book = these.book()
        answers(book, limits=SeenLimits(requests_per_minute=600, remaining_requests=3, reset_s=5))
        assert await book.admit(MODEL, TIMEOUT_S) is None
        answers(book, limits=SeenLimits(requests_per_minute=600, remaining_requests=0, reset_s=7))
        closed = await book.admit(MODEL, TIMEOUT_S)
        assert closed is not None
        assert 6 < closed.wait_s <= 7
        answers(book, limits=SeenLimits(requests_per_minute=600, remaining_requests=0, reset_s=86400))
        closed = await book.admit(MODEL, TIMEOUT_S)
        assert closed is not None
        assert closed.wait_s <= models.LONGEST_HOLD_S


async def test_limits_in_the_headers_are_told_at_once_and_once(client: Client) -> None:
    async with processes(client) as these:
        book = these.book()
        await book.admit(MODEL, TIMEOUT_S)
        for left in range(50, 0, -1):
            answers(book, limits=SeenLimits(requests_per_minute=600, remaining_requests=left, reset_s=1))

        async def learned() -> bool:
            return (await these.known()).view.limits == ModelLimits(requests_per_minute=600)

        await until(learned, "the limit is known to all")
        assert (await these.known()).view.sources == {"requests_per_minute": SEEN}
        assert these.counted[0]["report"] == 1


async def test_a_limit_that_models_yaml_states_is_known_to_the_workflow(client: Client) -> None:
    async with processes(client, limits=Limits(tokens_per_minute=9000)) as these:
        await these.book().admit(MODEL, TIMEOUT_S)
        assert (await these.known()).view.limits == ModelLimits(tokens_per_minute=9000)


# quarantine


async def test_a_quarantine_closes_the_gates_of_all_processes_and_one_probe_opens_them(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models, "REFRESH_S", 0.1)
    monkeypatch.setattr(models, "PROBED_S", 0.1)
    async with processes(client, quarantine_s=1.0) as these:
        one, other = these.book(), these.book()
        assert await other.admit(MODEL, TIMEOUT_S) is None
        await fails(one, "server_error", "timeout", "server_error")
        for book in (one, other):
            closed = await closes(book)
            assert closed.kind == "quarantine"
            assert 0 < closed.wait_s <= 1.0
            assert "3 failures in a row" in closed.reason
        await asyncio.sleep(1.0)
        asked = await asyncio.gather(*(book.admit(MODEL, TIMEOUT_S) for book in (one, other, one, other, one, other)))
        assert asked.count(None) == 1
        assert {closed.kind for closed in asked if closed is not None} == {"quarantine"}
        prober = (one, other)[asked.index(None) % 2]
        answers(prober)
        await these.becomes("healthy")
        await opens(one)
        await opens(other)


async def test_a_probe_that_fails_closes_the_gate_again(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "GAP_S", 0.01)
    async with processes(client, quarantine_s=0.5) as these:
        book = these.book()
        await fails(book, "server_error", "server_error", "server_error")
        await closes(book)
        await asyncio.sleep(0.5)
        await opens(book)
        await fails_probe(book)

        async def again() -> bool:
            return len((await these.known()).health.quarantines) == 2

        await until(again, "it is quarantined again")
        assert (await closes(book)).kind == "quarantine"


async def is_let_through(book: ModelBook, timeout_s: float) -> bool:
    return await book.admit(MODEL, timeout_s) is None


async def fails_probe(book: ModelBook) -> None:
    sent_at = now()
    await asyncio.sleep(0.002)
    book.observe(MODEL, None, failure("server_error"), sent_at)


async def test_a_probe_that_is_never_made_is_granted_anew(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "REFRESH_S", 0.1)
    monkeypatch.setattr(models, "REPLY_S", 1.0)
    async with processes(client, quarantine_s=2.0) as these:
        one, other = these.book(), these.book()
        await fails(one, "server_error", "server_error", "server_error")
        await is_over(await closes(other))
        await until(lambda: is_let_through(one, 0.5), "it may try the model")  # and does not call after all
        assert (await closes(other)).kind == "quarantine"
        await opens(other)


async def test_a_probe_has_as_long_as_its_call_may_take(client: Client) -> None:
    async with processes(client, quarantine_s=2.0) as these:
        book = these.book()
        await fails(book, "server_error", "server_error", "server_error")
        await is_over(await closes(book))
        await until(lambda: is_let_through(book, 500.0), "it may try the model")
        probed_until = (await these.known()).view.probed_until
        assert probed_until is not None
        assert 400 < probed_until - time.time() <= 500 + models.REPLY_S
        closed = await book.admit(MODEL, TIMEOUT_S)
        assert closed is not None
        assert closed.ends_at == pytest.approx(probed_until, abs=2 * models.REPLY_S)


async def test_a_probe_that_is_not_sent_after_all_is_given_to_the_next_at_once(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models, "REFRESH_S", 0.1)
    async with processes(client, quarantine_s=2.0) as these:
        one, other = these.book(), these.book()
        await fails(one, "server_error", "server_error", "server_error")
        await is_over(await closes(one))
        await opens(one)  # it has a minute for its call
        assert (await closes(other)).kind == "quarantine"
        one.withdraw(MODEL)
        await opens(other)


async def test_a_closed_gate_says_when_the_quarantine_ends_and_for_which_failure_it_began(client: Client) -> None:
    async with processes(client, quarantine_s=900.0) as these:
        book = these.book()
        await fails(book, "server_error", "server_error", "timeout")
        closed = await closes(book)
        view = (await these.known()).view
        assert closed.wait_s <= models.LONGEST_WAIT_S
        assert closed.ends_at == view.until
        assert (closed.quarantined_at, closed.error_class) == ((view.since,), "timeout")


async def test_a_reset_by_hand_is_noticed_by_the_very_next_call_that_looks(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models, "REFRESH_S", 0.5)  # waiting calls look less often than that
    async with processes(client) as these:
        book = these.book()
        await fails(book, "server_error", "server_error", "server_error")
        await closes(book)
        await models.reset(client, these.store, MODEL)
        await asyncio.sleep(models.REFRESH_S + 0.1)
        assert await book.admit(MODEL, TIMEOUT_S) is None


async def test_rules_that_change_while_a_process_lives_reach_the_models_workflow(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models, "REFRESH_S", 0.1)
    async with processes(client, limits=Limits(requests_per_minute=60)) as these:
        book = these.book()
        await book.admit(MODEL, TIMEOUT_S)
        these.rules = ModelRules(limits=Limits(requests_per_minute=90))

        async def followed() -> bool:
            await book.admit(MODEL, TIMEOUT_S)
            return (await these.known()).view.limits.requests_per_minute == 90

        await until(followed, "the new limit is known")


async def test_a_reset_by_hand_opens_the_gate(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "REFRESH_S", 0.1)
    async with processes(client) as these:
        book = these.book()
        await fails(book, "server_error", "server_error", "server_error")
        closed = await closes(book)
        assert closed.wait_s <= models.LONGEST_WAIT_S
        await models.reset(client, these.store, MODEL)
        await opens(book)


async def test_calls_of_a_model_that_a_person_has_to_mend_go_out_and_the_first_answer_shows_that_it_is_mended(
    client: Client,
) -> None:
    async with processes(client) as these:
        book = these.book()
        await fails(book, "authentication")
        await these.becomes("failed")
        assert await book.admit(MODEL, TIMEOUT_S) is None
        answers(book)
        await these.becomes("healthy")


async def test_failures_among_answers_never_close_the_gate_however_they_are_told(client: Client) -> None:
    async with processes(client) as these:
        one, other = these.book(), these.book()
        for _ in range(30):
            for book in (one, other):
                await fails(book, "server_error")
                answers(book, 3)
        await one.close()
        await other.close()
        health = (await these.known()).health
        assert (health.answered, health.failed, health.quarantines) == (180, 60, ())


async def test_what_failed_is_remembered_in_short_and_without_the_models_name(client: Client) -> None:
    async with processes(client) as these:
        book = these.book()
        long = CallFailed("server_error", f"model '{MODEL}' gave no answer: server_error (status 500): {'no ' * 500}")
        book.observe(MODEL, None, long, now())
        await book.close()
        (trouble,) = (await these.known()).health.troubles
        assert trouble.message.startswith("server_error (status 500): no no")
        assert len(trouble.message) == 200


async def test_answers_whose_tokens_nobody_told_count_as_answers_alone(client: Client) -> None:
    async with processes(client) as these:
        book = these.book()
        answers(book, 3, usage=Usage())
        await book.close()
        health: Health = (await these.known()).health
        assert (health.answered, health.tokens_per_call) == (3, None)
