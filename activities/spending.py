"""The activity of a project's ledger: what its archives say was spent, and which budgets are in force."""

from __future__ import annotations

import asyncio

from temporalio import activity

from activities.border import READ_SPENDING, ProjectSpending, SpendingRequest
from activities.workplace import beating
from discernus.sessions.budgets import budgets_in_force
from discernus.sessions.costs import spent_by_session
from discernus.settings import Settings


class Spending:
    """Activities of the queue that sessions share."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    @activity.defn(name=READ_SPENDING)
    async def read_spending(self, request: SpendingRequest) -> ProjectSpending:
        """Read a project's archives and budgets; whatever refuses is tried again, until it can be read."""
        async with beating():
            return await asyncio.to_thread(self._read, request.project)

    def _read(self, project: str) -> ProjectSpending:
        folder = self._settings.projects_dir
        budgets = budgets_in_force(folder, project)
        return ProjectSpending(
            spent=spent_by_session(folder, project),
            project_usd=budgets.project_usd,
            experiments_usd=budgets.experiments_usd,
            sessions_usd=budgets.sessions_usd,
        )
