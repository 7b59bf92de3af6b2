"""A ledger in a test's hands: it has one budget, and whoever claims is granted what is left of that."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from temporalio import workflow
from temporalio.client import Client, WorkflowHandle
from temporalio.exceptions import ApplicationError
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from activities.border import Claim, Grant

LEDGERS = (f"till-{number:03d}" for number in itertools.count(1))


@workflow.defn(name="Till")
class Till:
    """A ledger that has one budget and one session; without a budget everything is granted."""

    @workflow.init
    def __init__(self, budget_usd: float | None) -> None:
        self.budget_usd = budget_usd
        self.claims: list[Claim] = []

    @workflow.run
    async def run(self, budget_usd: float | None) -> None:
        await workflow.wait_condition(lambda: False)

    @workflow.signal
    async def claim(self, claim: Claim) -> None:
        self.claims.append(claim)
        await self._answer()

    @workflow.signal
    async def set_budget(self, budget_usd: float) -> None:
        self.budget_usd = budget_usd
        await self._answer()

    @workflow.query
    def all_claims(self) -> list[Claim]:
        return self.claims

    async def _answer(self) -> None:
        claim = self.claims[-1]
        left = claim.room_usd if self.budget_usd is None else max(0.0, self.budget_usd - claim.spent_usd)
        grant = Grant(
            spent_usd=claim.spent_usd,
            room_usd=min(claim.room_usd, left),
            level="project",
            limit_usd=self.budget_usd,
            level_spent_usd=claim.spent_usd,
            final=left < claim.room_usd,
        )
        await self._send(claim, grant)

    async def _send(self, claim: Claim, grant: Grant) -> None:
        with suppress(ApplicationError):  # whoever claimed may have ended since
            await workflow.get_external_workflow_handle(claim.workflow_id).signal("granted", grant)


@workflow.defn(name="Till")
class SlowTill(Till):
    """One whose answer to the claim before arrives once more when the latest claim has been made already."""

    @workflow.init
    def __init__(self, budget_usd: float | None) -> None:
        super().__init__(budget_usd)
        self.sent: list[Grant] = []

    @workflow.run
    async def run(self, budget_usd: float | None) -> None:
        await super().run(budget_usd)

    async def _send(self, claim: Claim, grant: Grant) -> None:
        for late in self.sent[-1:]:
            await super()._send(claim, late)
            await workflow.sleep(0.2)
        self.sent.append(grant)
        await super()._send(claim, grant)


class Ledger:
    """The till of one test."""

    def __init__(self, client: Client, name: str) -> None:
        self._client = client
        self.name = name

    async def begin(self, budget_usd: float | None) -> None:
        await self._client.start_workflow(Till.run, budget_usd, id=self.name, task_queue=self.name)

    @property
    def handle(self) -> WorkflowHandle[Till, None]:
        return self._client.get_workflow_handle_for(Till.run, self.name)

    async def claims(self) -> list[Claim]:
        return await self.handle.query(Till.all_claims)


@asynccontextmanager
async def ledger(client: Client, budget_usd: float | None, kind: type[Till] = Till) -> AsyncIterator[Ledger]:
    till = Ledger(client, next(LEDGERS))
    runner = UnsandboxedWorkflowRunner()
    async with Worker(client, task_queue=till.name, workflows=[kind], workflow_runner=runner, build_id="stubs"):
        await till.begin(budget_usd)
        try:
            yield till
        finally:
            await till.handle.terminate("the test is over")
