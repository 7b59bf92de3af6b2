"""A project's ledger on the real server: sessions claim room by signal, and get what the budgets have left."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from temporalio import activity, workflow
from temporalio.client import Client, WorkflowHandle
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Replayer, UnsandboxedWorkflowRunner, Worker

from activities.border import (
    READ_SPENDING,
    Claim,
    Grant,
    LevelAccount,
    ProjectSpending,
    SpendingRequest,
)
from discernus.sessions.accounts import Accounts
from discernus.sessions.budgets import Account, set_budget
from discernus.sessions.layout import Call
from discernus.sessions.owners import Owner
from engine import ledgers
from engine.connection import SEARCH_ATTRIBUTES, connect
from engine.server import find_binary
from tests.running import HIDDEN, Process, environment
from tests.stand_ins import answer, opened, question, scores
from tests.stub_steps import until
from workflows import ledger
from workflows.ledger import LedgerWorkflow, markdown

PROJECT = "lab"
SUGGESTED_AT = 150  # events of a history; some 40,000 by default
stores = (f"store-{number:03d}" for number in itertools.count(1))


@workflow.defn(name="Spender")
class Spender:
    """What a session is to its ledger: it claims when it is told to, and keeps what it was granted."""

    def __init__(self) -> None:
        self.grants: list[Grant] = []
        self.over = False

    @workflow.run
    async def run(self) -> None:
        await workflow.wait_condition(lambda: self.over and workflow.all_handlers_finished())

    @workflow.signal
    async def claim(self, ledger_id: str, claim: Claim) -> None:
        await workflow.get_external_workflow_handle(ledger_id).signal("claim", claim)

    @workflow.signal
    def granted(self, grant: Grant) -> None:
        self.grants.append(grant)

    @workflow.signal
    def end(self) -> None:
        self.over = True

    @workflow.query
    def all_grants(self) -> list[Grant]:
        return self.grants


class Archives:
    """What the archives and the budgets say, as the test has it; while ``open`` is unset nobody can read them."""

    def __init__(self, **budgets: Any) -> None:
        self.spent: dict[str, float] = {}
        self.budgets = budgets
        self.open = asyncio.Event()
        self.open.set()
        self.refusals = 0
        self.read: list[str] = []

    @activity.defn(name=READ_SPENDING)
    async def read_spending(self, request: SpendingRequest) -> ProjectSpending:
        await self.open.wait()
        self.read.append(request.project)
        if self.refusals:
            self.refusals -= 1
            raise OSError("the share is away")
        return ProjectSpending(spent=self.spent, **self.budgets)


class Session:
    """A session in the test's hands."""

    def __init__(self, store: str, handle: WorkflowHandle[Spender, None]) -> None:
        self.id = handle.id
        self._ledger = ledgers.ledger_id(store, PROJECT)
        self._handle = handle

    async def claim(self, spent: float, room: float, least: float = 0.0) -> None:
        claim = Claim(workflow_id=self.id, spent_usd=spent, room_usd=room, least_usd=least)
        await self._handle.signal(Spender.claim, args=[self._ledger, claim])

    async def asks(self, spent: float, room: float, least: float = 0.0) -> Grant:
        """Claim, and return the answer."""
        before = len(await self.grants())
        await self.claim(spent, room, least)
        return await self.told(lambda grant: grant.spent_usd == pytest.approx(spent), before)

    async def told(self, what: Callable[[Grant], bool], before: int = 0) -> Grant:
        """Return the first grant of that kind, or the first after so many, once it is there."""
        found: list[Grant] = []

        async def there() -> bool:
            found[:] = [grant for grant in (await self.grants())[before:] if what(grant)]
            return bool(found)

        await until(there, f"{self.id} is told")
        return found[0]

    async def grants(self) -> list[Grant]:
        return await self._handle.query(Spender.all_grants)

    async def end(self) -> None:
        await self._handle.signal(Spender.end)
        await self._handle.result()

    async def vanish(self) -> None:
        await self._handle.terminate("by hand")


class Lab:
    """A project with its ledger, its archives, and the sessions that the test begins."""

    def __init__(self, client: Client, store: str, archives: Archives) -> None:
        self.client = client
        self.store = store
        self.archives = archives
        self.handle = client.get_workflow_handle_for(LedgerWorkflow.run, ledgers.ledger_id(store, PROJECT))

    async def session(self, name: str, experiment: str = "speeches") -> Session:
        """Begin a session; a folder it has had since it was opened."""
        workflow_id = f"{PROJECT}/{experiment}/{self.store}-{name}"
        self.archives.spent.setdefault(workflow_id, 0.0)
        handle = await self.client.start_workflow(Spender.run, id=workflow_id, task_queue=f"{self.store}/sessions")
        return Session(self.store, handle)

    async def set_budgets(self, **budgets: Any) -> None:
        self.archives.budgets = budgets
        assert await ledgers.tell(self.client, self.store, PROJECT)

    async def accounts(self) -> dict[str, LevelAccount]:
        found = await ledgers.accounts(self.client, self.store, PROJECT)
        assert found is not None
        return {account.name: account for account in found}


@pytest.fixture(scope="module")
async def client() -> AsyncIterator[Client]:
    server = await WorkflowEnvironment.start_local(
        dev_server_existing_path=str(find_binary(None)),
        dev_server_log_level="error",
        dev_server_extra_args=["--dynamic-config-value", f"limit.historyCount.suggestContinueAsNew={SUGGESTED_AT}"],
        search_attributes=SEARCH_ATTRIBUTES,
    )
    async with server:
        yield await connect(server.client.service_client.config.target_host, server.client.namespace)


@asynccontextmanager
async def lab(client: Client, archives: Archives, **worker: Any) -> AsyncIterator[Lab]:
    """Serve a ledger, each of whose tasks replays all that came before, and the sessions of its project."""
    store = next(stores)
    sessions = Worker(
        client, task_queue=f"{store}/sessions", workflows=[Spender], workflow_runner=UnsandboxedWorkflowRunner()
    )
    async with sessions, keeper(client, store, archives, max_cached_workflows=0, **worker):
        await ledgers.ensure(client, store, PROJECT)
        place = Lab(client, store, archives)
        try:
            yield place
        finally:
            archives.open.set()
            await place.handle.terminate("the test is over")


def keeper(client: Client, store: str, archives: Archives, **worker: Any) -> Worker:
    """Return a worker that keeps ledgers."""
    return Worker(
        client,
        task_queue=f"{store}/shared",
        workflows=[LedgerWorkflow],
        activities=[archives.read_spending],
        max_concurrent_workflow_task_polls=1 if worker.get("max_cached_workflows") == 0 else 5,
        **worker,
    )


# claims


async def test_a_claim_is_answered_with_what_archives_and_budgets_leave(client: Client) -> None:
    archives = Archives(project_usd=10.0, experiments_usd={"letters": 1.0})
    archives.spent = {f"{PROJECT}/speeches/older": 6.0}
    async with lab(client, archives) as place:
        speeches, letters = await place.session("a"), await place.session("b", "letters")
        assert await speeches.asks(0.0, 2.5) == Grant(
            spent_usd=0.0, room_usd=2.5, level="project", limit_usd=10.0, level_spent_usd=6.0
        )
        assert await letters.asks(0.25, 9.0) == Grant(
            spent_usd=0.25, room_usd=0.75, level="experiment", limit_usd=1.0, level_spent_usd=0.25, final=True
        )
        accounts = await place.accounts()
        assert (accounts[PROJECT].spent_usd, accounts[PROJECT].reserved_usd) == (6.25, 3.25)
        assert accounts["speeches"].limit_usd is None
        assert accounts[letters.id].waiting
        assert not accounts[speeches.id].waiting
        assert f"{PROJECT}/speeches/older" not in accounts


async def test_claims_wait_until_archives_and_budgets_are_read_however_often_that_fails(client: Client) -> None:
    archives = Archives(project_usd=1.0)
    archives.open.clear()
    archives.refusals = 2
    async with lab(client, archives) as place:
        session = await place.session("a")
        await session.claim(0.0, 5.0)
        await asyncio.sleep(0.5)
        assert await session.grants() == []
        archives.open.set()
        assert (await session.told(lambda _: True)).room_usd == 1.0
    assert archives.read == [PROJECT] * 3


async def test_before_any_claim_a_ledger_knows_what_archives_and_budgets_say(client: Client) -> None:
    archives = Archives(project_usd=10.0)
    archives.spent = {f"{PROJECT}/speeches/older": 6.0}
    async with lab(client, archives) as place:

        async def known() -> bool:
            account = (await place.accounts())[PROJECT]
            return (account.limit_usd, account.spent_usd) == (10.0, 6.0)

        await until(known, "it has read them")


async def test_the_budget_of_a_session_that_is_new_is_read_before_it_gets_anything(client: Client) -> None:
    archives = Archives(project_usd=10.0)
    async with lab(client, archives) as place:
        first = await place.session("a")
        assert (await first.asks(0.0, 1.0)).room_usd == 1.0
        later = await place.session("b")
        archives.budgets["sessions_usd"] = {later.id: 0.5}
        assert await later.asks(0.0, 1.0) == Grant(
            spent_usd=0.0, room_usd=0.5, level="session", limit_usd=0.5, final=True
        )
        assert (await first.asks(0.5, 2.0)).room_usd == 2.0
        assert len(archives.read) == 2


async def test_many_sessions_at_once_never_hold_more_than_the_budget_and_use_it_all(client: Client) -> None:
    async with lab(client, Archives(project_usd=1.0)) as place:
        sessions = [await place.session(f"{number:02d}") for number in range(12)]
        rooms = dict.fromkeys(sessions, 0.0)
        spent = dict.fromkeys(sessions, 0.0)
        for _ in range(5):
            answers = await asyncio.gather(*(session.asks(spent[session], 0.1) for session in sessions))
            rooms = dict(zip(sessions, (grant.room_usd for grant in answers), strict=True))
            accounts = await place.accounts()
            assert accounts[PROJECT].spent_usd + accounts[PROJECT].reserved_usd <= 1.0
            for session in sessions:
                spent[session] += rooms[session] * 0.6
        await asyncio.gather(*(session.claim(spent[session], 0.1) for session in sessions))

        async def used() -> bool:
            account = (await place.accounts())[PROJECT]
            known = account.spent_usd == pytest.approx(sum(spent.values()))
            return known and account.spent_usd + account.reserved_usd == pytest.approx(1.0)

        await until(used, "all that was given back is reserved again")


# room that becomes free


async def test_room_that_is_given_back_goes_to_the_session_that_waits(client: Client) -> None:
    async with lab(client, Archives(project_usd=10.0)) as place:
        first, second = await place.session("a"), await place.session("b")
        assert (await first.asks(0.0, 8.0)).room_usd == 8.0
        waits = await second.asks(0.0, 6.0)
        assert (waits.room_usd, waits.final) == (2.0, False)
        await first.claim(1.0, 0.0)
        now = await second.told(lambda grant: grant.room_usd > 2.0)
        assert (now.spent_usd, now.room_usd) == (0.0, 6.0)
        assert (await place.accounts())[PROJECT].reserved_usd == 6.0


async def test_who_waits_in_vain_is_told_so_once_that_is_certain(client: Client) -> None:
    async with lab(client, Archives(project_usd=10.0)) as place:
        first, second = await place.session("a"), await place.session("b")
        await first.asks(0.0, 10.0)
        assert not (await second.asks(0.0, 3.0, 3.0)).final
        await first.claim(9.0, 0.0)
        final = await second.told(lambda grant: grant.final)
        assert (final.room_usd, final.final, final.level, final.level_spent_usd) == (0.0, True, "project", 9.0)


async def test_a_session_that_is_gone_without_a_word_gives_its_room_back_once_it_is_wanted(client: Client) -> None:
    archives = Archives(project_usd=10.0)
    async with lab(client, archives) as place:
        first, second = await place.session("a"), await place.session("b")
        await first.asks(1.0, 9.0)
        await first.vanish()
        archives.spent[first.id] = 3.0  # its last call is in doubt
        assert (await second.asks(0.0, 8.0)).room_usd == 0.0
        now = await second.told(lambda grant: grant.room_usd > 0)
        assert (now.room_usd, now.level_spent_usd) == (7.0, 3.0)
        assert first.id not in await place.accounts()


async def test_as_long_as_someone_waits_sessions_are_asked_for_a_sign_of_life(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger, "LOOK_S", 0.2)
    async with lab(client, Archives(project_usd=10.0), workflow_runner=UnsandboxedWorkflowRunner()) as place:
        first, second, third = [await place.session(name) for name in "abc"]
        await first.asks(0.0, 10.0)
        await second.asks(0.0, 4.0)
        await third.asks(0.0, 4.0)
        for before in (1, 2, 3):
            assert (await first.told(lambda _: True, before)).room_usd == 10.0
        await third.vanish()

        async def forgotten() -> bool:
            return third.id not in await place.accounts()

        await until(forgotten, "one who waited and is gone is forgotten")
        await first.vanish()
        assert (await second.told(lambda grant: grant.room_usd > 0)).room_usd == 4.0


async def test_who_waits_is_left_in_peace_until_there_is_news(client: Client) -> None:
    async with lab(client, Archives(project_usd=10.0)) as place:
        first, second = await place.session("a"), await place.session("b")
        await first.asks(0.0, 10.0)
        await second.asks(0.0, 4.0)
        known = len(await second.grants())
        for spent in (1.0, 2.0, 3.0):
            await first.asks(spent, 10.0)
        await first.claim(3.0, 1.0)
        told = await second.told(lambda grant: grant.room_usd > 0)
        assert (await second.grants()).index(told) <= known + 1  # at most the one sign of life at the first


async def test_a_session_that_ends_and_says_so_costs_no_other_look_at_the_archives(client: Client) -> None:
    archives = Archives(project_usd=10.0)
    async with lab(client, archives) as place:
        session = await place.session("a")
        await session.asks(0.0, 4.0)
        await session.claim(2.0, 0.0)
        await session.end()

        async def settled() -> bool:
            account = (await place.accounts())[PROJECT]
            return (account.spent_usd, account.reserved_usd) == (2.0, 0.0)

        await until(settled, "its room is free")
    assert len(archives.read) == 1


# budgets that change


async def test_a_raised_budget_reaches_the_sessions_that_it_had_stopped(client: Client) -> None:
    archives = Archives(experiments_usd={"speeches": 5.0})
    async with lab(client, archives) as place:
        session, other = await place.session("a"), await place.session("b", "letters")
        assert (await session.asks(5.0, 2.0, 1.0)).final
        assert (await other.asks(0.0, 2.0)).room_usd == 2.0
        await place.set_budgets(experiments_usd={"speeches": 5.5})
        still = await session.told(lambda grant: grant.limit_usd != 5.0)
        assert (still.room_usd, still.limit_usd, still.final) == (0.0, 5.5, True)
        await place.set_budgets(experiments_usd={"speeches": 7.0})
        assert (await session.told(lambda grant: grant.room_usd > 0)).room_usd == 2.0
        assert len(await other.grants()) == 1


async def test_a_lowered_budget_takes_nothing_back_and_gives_nothing_new(client: Client) -> None:
    async with lab(client, Archives(project_usd=10.0)) as place:
        session, other = await place.session("a"), await place.session("b")
        assert (await session.asks(1.0, 4.0)).room_usd == 4.0
        await place.set_budgets(project_usd=2.0)

        async def lowered() -> bool:
            return (await place.accounts())[PROJECT].limit_usd == 2.0

        await until(lowered, "the ledger knows of it")
        going_on = await session.asks(3.0, 4.0)
        assert (going_on.room_usd, going_on.final) == (2.0, True)
        assert (await other.asks(0.0, 0.1)).room_usd == 0.0


async def test_where_no_ledger_runs_nobody_is_told_and_nothing_is_known(client: Client) -> None:
    assert not await ledgers.tell(client, "nowhere", PROJECT)
    assert await ledgers.accounts(client, "nowhere", PROJECT) is None


async def test_a_ledger_without_a_worker_takes_what_it_is_told_and_is_not_waited_for(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledgers, "ANSWER_WITHIN", ledgers.ANSWER_WITHIN / 10)
    store = next(stores)
    assert await ledgers.ensure(client, store, PROJECT) == await ledgers.ensure(client, store, PROJECT)
    assert await ledgers.tell(client, store, PROJECT)
    assert await ledgers.accounts(client, store, PROJECT) is None
    await client.get_workflow_handle(ledgers.ledger_id(store, PROJECT)).terminate("the test is over")


# what lasts


async def test_accounts_outlive_a_long_history(client: Client) -> None:
    archives = Archives(project_usd=10.0)
    async with lab(client, archives) as place:
        session, other = await place.session("a"), await place.session("b")
        first_run = (await place.handle.describe()).run_id
        assert (await other.asks(0.0, 20.0)).room_usd == 10.0
        claims = 0
        while (await place.handle.describe()).run_id == first_run:
            claims += 1
            assert claims < SUGGESTED_AT
            assert (await session.asks(0.0, 1.0 + claims / 1000)).room_usd == 0.0
        account = (await place.accounts())[PROJECT]
        assert (account.limit_usd, account.spent_usd, account.reserved_usd) == (10.0, 0.0, 10.0)
        await other.claim(4.0, 0.0)

        async def served() -> bool:
            return (await session.grants())[-1].room_usd == pytest.approx(1.0 + claims / 1000)

        await until(served, "who waited before gets it now")
    assert len(archives.read) == 1  # at the start; never for a new run of the same ledger


async def test_a_recorded_history_replays_and_another_order_of_things_is_caught(client: Client) -> None:
    async with lab(client, Archives(project_usd=3.0)) as place:
        first, second = await place.session("a"), await place.session("b")
        await first.asks(0.0, 2.0)
        await first.vanish()
        await second.asks(1.0, 5.0)
        await second.told(lambda grant: grant.room_usd == 2.0)
        await place.set_budgets(project_usd=4.0)
        await second.told(lambda grant: grant.room_usd == 3.0)
        history = await place.handle.fetch_history()
    kinds = [event.WhichOneof("attributes") for event in history.events]
    assert (
        kinds.count("activity_task_scheduled_event_attributes") == 3
    )  # at first, for the one who is gone, for a budget
    assert "signal_external_workflow_execution_failed_event_attributes" in kinds
    converter = client.data_converter
    await Replayer(workflows=[LedgerWorkflow], data_converter=converter).replay_workflow(history)
    forgetful = Replayer(workflows=[Forgetful], data_converter=converter, workflow_runner=UnsandboxedWorkflowRunner())
    with pytest.raises(workflow.NondeterminismError):
        await forgetful.replay_workflow(history)


@workflow.defn(name="Ledger")
class Forgetful(LedgerWorkflow):
    """A ledger that tells nobody anything, which no recorded one did."""

    @workflow.run
    async def run(self, project: str, accounts: Accounts | None = None) -> None:
        await super().run(project, accounts)

    async def _send(self, session: str, grant: Grant) -> None:
        return


# the worker, with real archives

KEEP = """
import asyncio, sys
from datetime import timedelta
from pathlib import Path
from temporalio.worker import Worker
from activities.spending import Spending
from discernus.settings import Settings
from engine.connection import connect
from workflows.ledger import LedgerWorkflow

async def keep(address, store, projects_dir):
    spending = Spending(Settings(projects_dir=Path(projects_dir)))
    client = await connect(address, "default")
    queue = f"{store}/shared"
    await Worker(
        client,
        task_queue=queue,
        workflows=[LedgerWorkflow],
        activities=[spending.read_spending],
        sticky_queue_schedule_to_start_timeout=timedelta(seconds=1),
    ).run()

asyncio.run(keep(*sys.argv[1:]))
"""


async def test_a_killed_worker_loses_no_account_and_the_next_one_reads_the_real_archives(
    client: Client, tmp_path: Path
) -> None:
    kept = opened(tmp_path, settings={"budget_usd": 3.0})
    projects_dir = tmp_path / "projects"
    with Owner(projects_dir / HIDDEN / "owners") as owner:
        intent = kept.archive.claim(Call(1), question(), "key", owner)
        kept.archive.commit(Call(1), intent, question(), answer(scores(), cost_usd=0.75))
    project, experiment, _ = kept.name.split("/")
    set_budget(projects_dir, Account(project), 2.0)
    store = next(stores)
    address = client.service_client.config.target_host

    def keep() -> Process:
        program = ["-c", KEEP, address, store, str(projects_dir)]
        return Process("keeper", program, projects_dir, environment(projects_dir))

    sessions = Worker(
        client, task_queue=f"{store}/sessions", workflows=[Spender], workflow_runner=UnsandboxedWorkflowRunner()
    )
    async with sessions:
        ledger_id = await ledgers.ensure(client, store, project)
        handle = client.get_workflow_handle(ledger_id)

        async def session(workflow_id: str) -> Session:
            started = await client.start_workflow(Spender.run, id=workflow_id, task_queue=f"{store}/sessions")
            found = Session(store, started)
            found._ledger = ledger_id
            return found

        first, second = await session(kept.name), await session(f"{project}/{experiment}/another")
        worker = keep()
        try:
            assert (await first.asks(0.75, 1.0)).room_usd == 1.0
            assert await second.asks(0.0, 1.0) == Grant(
                spent_usd=0.0, room_usd=0.25, level="project", limit_usd=2.0, level_spent_usd=0.75
            )
            worker.kill()
            await first.claim(1.75, 1.0)  # nobody is there to hear it
            worker = keep()
            own = await first.told(lambda grant: grant.spent_usd == 1.75)
            assert (own.spent_usd, own.room_usd) == (1.75, 0.0)
            set_budget(projects_dir, Account(project), 20.0)
            assert await ledgers.tell(client, store, project)

            async def bounded_by_the_frozen_budget() -> bool:
                grant = (await first.grants())[-1]
                return grant.room_usd == 1.0 and grant.limit_usd is not None

            await until(bounded_by_the_frozen_budget, "the next budget reaches it")
            held = await first.asks(1.75, 9.0)
            assert (held.room_usd, held.level, held.limit_usd, held.final) == (1.25, "session", 3.0, True)
        finally:
            worker.kill()
            await handle.terminate("the test is over")


# the Web UI


def test_the_web_ui_shows_who_holds_what_and_marks_budgets_that_run_out() -> None:
    page = markdown(
        PROJECT,
        (
            LevelAccount(level="project", name=PROJECT, limit_usd=10.0, spent_usd=8.0, reserved_usd=1.0),
            LevelAccount(level="experiment", name="speeches", limit_usd=None, spent_usd=7.0, reserved_usd=1.0),
            LevelAccount(level="experiment", name="letters", limit_usd=1.0, spent_usd=1.0, reserved_usd=0.0),
            LevelAccount(level="experiment", name="diaries", limit_usd=0.0, spent_usd=0.0, reserved_usd=0.0),
            LevelAccount(
                level="session",
                name="lab/speeches/session_1",
                limit_usd=9.0,
                spent_usd=7.0,
                reserved_usd=1.0,
                waiting=True,
            ),
        ),
    )
    lines = {line.split()[1]: " ".join(line.split()) for line in page.splitlines() if line[:1] in "pes" and line}
    assert lines["lab"] == "project lab 10.0000 8.0000 1.0000 80% ▲ nearly used up"
    assert lines["speeches"] == "experiment speeches none 7.0000 1.0000"
    assert lines["letters"] == "experiment letters 1.0000 1.0000 0.0000 100% ■ used up"
    assert lines["diaries"] == "experiment diaries 0.0000 0.0000 0.0000 100% ■ used up"
    assert lines["speeches/session_1"] == "session speeches/session_1 9.0000 7.0000 1.0000 78% waits for room"


async def test_the_page_of_a_ledger_says_where_it_stands(client: Client) -> None:
    from temporalio.api.sdk.v1 import WorkflowMetadata

    async with lab(client, Archives(project_usd=10.0)) as place:
        session = await place.session("a")
        await session.asks(8.5, 0.5)
        metadata: WorkflowMetadata = await place.handle.query(
            "__temporal_workflow_metadata", result_type=WorkflowMetadata
        )
        assert "nearly used up" in metadata.current_details
        assert session.id.partition("/")[2] in metadata.current_details
