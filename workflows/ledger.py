"""A project's ledger: sessions claim room for the calls they are about to make, and get it within the budgets in force.

It outlives sessions and workers. A session that is gone without a word is found out when its room is wanted elsewhere:
it cannot be told what it was granted, and then its archive is asked what its last calls may have cost.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import ApplicationError

with workflow.unsafe.imports_passed_through():  # pydantic models: validated by compiled code the sandbox cannot load
    from activities.border import (
        READ_SPENDING,
        Claim,
        Grant,
        LevelAccount,
        ProjectSpending,
        SpendingRequest,
    )
    from discernus.sessions.accounts import WARNED_AT, Accounts, Room, dollars
from workflows import policies

LOOK_S = 60.0  # how often sessions are asked for a sign of life while one waits for room that another holds
SHOWN = 20  # sessions in the Web UI


# Without failure_exception_types: a bug here must not lose what is reserved, and waits for a mended worker.
@workflow.defn(name="Ledger")
class LedgerWorkflow:
    """Keep the accounts of one project's sessions, for ever."""

    @workflow.init
    def __init__(self, project: str, accounts: Accounts | None = None) -> None:
        self._project = project
        self._accounts = accounts or Accounts()
        self._stale = accounts is None  # the archives and the budgets have to be read before anything is granted
        self._claims: dict[str, Claim] = {}  # the latest of each session that is not answered yet
        self._told: dict[str, Grant] = {}
        self._contested = bool(self._accounts.waiting())  # someone waits for room that another holds
        self._looked = 0.0

    @workflow.run
    async def run(self, project: str, accounts: Accounts | None = None) -> None:
        while not workflow.info().is_continue_as_new_suggested() or self._claims or self._stale:
            await self._until_something_is_to_be_done()
            claims, self._claims = self._claims, {}
            if self._stale or any(session not in self._accounts.sessions for session in claims):
                await self._read()
            for session, claim in sorted(claims.items()):
                self._accounts.claim(session, claim.spent_usd, claim.room_usd, claim.least_usd)
            await self._grant(claims)
            workflow.set_current_details(markdown(self._project, self.accounts()))
        workflow.continue_as_new(args=[self._project, self._accounts])

    @workflow.signal
    def claim(self, claim: Claim) -> None:
        """A session tells what it has spent and the room it wants; it is answered with the signal ``granted``."""
        self._claims[claim.workflow_id] = claim

    @workflow.signal
    def budgets_changed(self) -> None:
        """Read the budgets and the archives again."""
        self._stale = True

    @workflow.query
    def accounts(self) -> tuple[LevelAccount, ...]:
        """The project, its experiments, and those of its sessions that hold room or wait for some."""
        waiting = {*self._accounts.waiting()}
        live = {*waiting, *self._accounts.holding()}
        return tuple(
            LevelAccount(
                level=level.kind,
                name=level.name or self._project,
                limit_usd=None if level.limit is None else dollars(level.limit),
                spent_usd=dollars(level.spent),
                reserved_usd=dollars(level.reserved),
                waiting=level.kind == "session" and level.name in waiting,
            )
            for level in self._accounts.levels().values()
            if level.kind != "session" or level.name in live
        )

    async def _until_something_is_to_be_done(self) -> None:
        """Wait for a claim or for other budgets; while room is contested no longer than to the next look round."""
        left = timedelta(seconds=self._looked + LOOK_S - workflow.time()) if self._contested else None
        try:
            await workflow.wait_condition(lambda: bool(self._claims) or self._stale, timeout=left)
        except TimeoutError:
            return

    async def _read(self) -> None:
        self._stale = False
        read: ProjectSpending = await workflow.execute_activity(
            READ_SPENDING,
            SpendingRequest(project=self._project),
            result_type=ProjectSpending,
            start_to_close_timeout=policies.STEP_TIMEOUT,
            heartbeat_timeout=policies.HEARTBEAT_TIMEOUT,
            retry_policy=policies.STEP_RETRY,
        )
        self._accounts.note_spent(read.spent)
        self._accounts.set_budgets(read.project_usd, read.experiments_usd, read.sessions_usd)

    async def _grant(self, claims: dict[str, Claim]) -> None:
        """Share out what is free; answer these claims, and tell whoever has waited what is new to him."""
        waited = self._accounts.waiting()
        self._accounts.share()
        rooms = self._accounts.rooms({*waited, *self._accounts.holding(), *claims})
        self._contested = any(not room.met and not room.final for room in rooms.values())
        looking = self._contested and workflow.time() >= self._looked + LOOK_S
        if looking:
            self._looked = workflow.time()
        grants = {session: _grant_of(room) for session, room in sorted(rooms.items())}
        told, self._told = self._told, grants
        await asyncio.gather(
            *(
                self._send(session, grant)
                for session, grant in grants.items()
                if looking
                or session in claims
                or (session in waited and _is_news(grant, told.get(session)))
                or _is_bound_anew(grant, told.get(session))
            )
        )

    async def _send(self, session: str, grant: Grant) -> None:
        try:
            await workflow.get_external_workflow_handle(session).signal("granted", grant)
        except ApplicationError:  # it has ended; what it had in flight, its archive knows
            self._stale = self._stale or grant.room_usd > 0
            self._accounts.forget(session)


def _grant_of(room: Room) -> Grant:
    return Grant(
        spent_usd=room.spent_usd,
        room_usd=room.room_usd,
        level=room.level or "",
        limit_usd=room.limit_usd,
        level_spent_usd=room.level_spent_usd,
        final=room.final,
    )


def _is_news(grant: Grant, told: Grant | None) -> bool:
    """Return whether one who waits can do something with it: go on, give up, or name another budget."""
    if told is None:
        return True
    more = grant.spent_usd + grant.room_usd > told.spent_usd + told.room_usd
    return more or (grant.final and not told.final) or (grant.level, grant.limit_usd) != (told.level, told.limit_usd)


def _is_bound_anew(grant: Grant, told: Grant | None) -> bool:
    """Return whether a budget was set, or taken away, where there was none before, or one; so it may be for whom
    nothing is known to have been told."""
    return told is None or (grant.limit_usd is None) != (told.limit_usd is None)


def markdown(project: str, accounts: tuple[LevelAccount, ...]) -> str:
    """Return the accounts as the Web UI shows them: who holds what, and which budgets are used up, or nearly."""
    levels = [account for account in accounts if account.level != "session"]
    sessions = [account for account in accounts if account.level == "session"]
    shown = [*levels, *sessions[:SHOWN]]
    width = max(len(_title(account)) for account in shown)
    lines = [f"**Budgets of project {project}**, in US dollars", "", "```"]
    lines += [f"{'':<{width}}  {'budget':>10}  {'spent':>10}  {'reserved':>10}"]
    lines += [f"{_title(account):<{width}}  {_figures(account)}".rstrip() for account in shown]
    if len(sessions) > SHOWN:
        lines += [f"and {len(sessions) - SHOWN} sessions more"]
    return "\n".join([*lines, "```"])


def _title(account: LevelAccount) -> str:
    name = account.name.partition("/")[2] if account.level == "session" else account.name
    return f"{account.level} {name}"


def _figures(account: LevelAccount) -> str:
    limit = "none" if account.limit_usd is None else f"{account.limit_usd:.4f}"
    figures = f"{limit:>10}  {account.spent_usd:>10.4f}  {account.reserved_usd:>10.4f}"
    marks = [_mark(account.limit_usd, account.spent_usd)] if account.limit_usd is not None else []
    return "  ".join([figures, *marks, *(["waits for room"] if account.waiting else [])])


def _mark(limit_usd: float, spent_usd: float) -> str:
    share = spent_usd / limit_usd if limit_usd > 0 else 1.0
    if share >= 1:
        return f"{share:4.0%}  ■ used up"
    return f"{share:4.0%}  ▲ nearly used up" if share >= WARNED_AT else f"{share:4.0%}"
