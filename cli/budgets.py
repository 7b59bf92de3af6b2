"""``budget``: what may be spent at most, and how much of it is; setting one says what follows from it."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Sequence

from temporalio.service import RPCError

from cli.costs import account_named, models_file, sessions_of_account
from cli.display import counted, write
from cli.exits import COMPLETE, INVALID, CommandError, command_name
from cli.tables import Column, table, wrapped
from discernus.experiments.freezing import SnapshotDamaged
from discernus.experiments.problems import InvalidDefinition
from discernus.sessions import layout
from discernus.sessions.accounts import WARNED_AT
from discernus.sessions.archive import ArchiveDamaged
from discernus.sessions.budgets import (
    LEVELS,
    Account,
    BudgetsDamaged,
    Level,
    Standing,
    budgets_in_force,
    in_whole_cents,
    set_budget,
    standings,
)
from discernus.sessions.opening import StoreDamaged, store_id
from discernus.sessions.session import Session
from discernus.settings import Settings
from discernus.stages.estimate import Estimator
from discernus.stages.interpretation import left_to_write
from engine import ledgers
from engine.connection import connect
from engine.server import EmbeddedServer, ServerError

REACHED_WITHIN_S = 10.0


def budget(
    settings: Settings, name: str | None, *, usd: float | None, clear: bool, level: str | None, as_json: bool
) -> int:
    """Show the budgets of a project, an experiment or a session, or of all; set one, or take it away, first if told to.

    ``level`` (project, experiment, session) means the one of these that ``name`` is part of; of an experiment, level
    session means the newest one. Raises CommandError for what cannot be.
    """
    accounts = _accounts(settings, name, level)
    try:
        if usd is not None or clear:
            _change(settings, name, accounts, usd, clear=clear, as_json=as_json)
        models = models_file(settings)
        found = [one for account in accounts for one in standings(settings.projects_dir, account, models)]
    except BudgetsDamaged as damaged:
        raise CommandError(str(damaged), INVALID) from damaged
    if name is None:
        found = [one for one in found if one.limit_usd is not None]
    if as_json:
        for one in found:
            write(json.dumps(_row(one), ensure_ascii=False))
        return COMPLETE
    if not found:
        write(f"no budget is set; set one with: {command_name()} budget PROJECT --set USD")
        return COMPLETE
    write(_table(found))
    for line in (*_warnings(found), *(_paused(settings, accounts, found) if name is not None else ())):
        write(wrapped(line))
    return COMPLETE


def _accounts(settings: Settings, name: str | None, level: str | None) -> list[Account]:
    """Return the accounts that are meant: that of the name, at the level, or without a name every project."""
    if level is not None and level not in LEVELS:
        raise CommandError(f"--level {level!r} is unknown; it is one of {', '.join(LEVELS)}", INVALID)
    if name is None:
        if level is not None:
            raise CommandError(f"--level {level} of what? Name a project, an experiment or a session", INVALID)
        return [Account(project) for project in _projects(settings)]
    account = account_named(settings, name)
    return [account if level is None else _at_level(settings, account, level)]


def _projects(settings: Settings) -> list[str]:
    return sorted({folder.parent.name for folder in settings.projects_dir.glob("*/experiments")})


def _at_level(settings: Settings, account: Account, level: Level) -> Account:
    if LEVELS.index(level) < len(account.binding):
        return account.binding[LEVELS.index(level)]
    sessions = sessions_of_account(settings, account) if account.level == "experiment" else []
    if not sessions:
        raise CommandError(f"'{account.name}' is a whole {account.level}: name the {level} that is meant", INVALID)
    return Account(*sessions[-1].name.split("/"))


def _change(
    settings: Settings, name: str | None, accounts: Sequence[Account], usd: float | None, *, clear: bool, as_json: bool
) -> None:
    """Set the account's budget, or take it away, tell those who keep it, and say so."""
    if name is None:
        raise CommandError("say whose budget it is: a project's, an experiment's or a session's", INVALID)
    if clear and usd is not None:
        raise CommandError("--set and --clear exclude each other; give one of them", INVALID)
    if usd is not None and not (math.isfinite(usd) and usd >= 0):
        raise CommandError(f"--set {usd} is no amount; give US dollars, 0 or more", INVALID)
    account = accounts[0]
    before = budgets_in_force(settings.projects_dir, account.project).of(account)
    set_budget(settings.projects_dir, account, usd)
    after = budgets_in_force(settings.projects_dir, account.project).of(account)
    noticed = asyncio.run(_tell(settings, account.project))
    if not as_json:
        write(wrapped(f"budget of {account.level} {account.name}: {_amount(before)} → {_amount(after)}"))
        if clear and after is not None:
            write(wrapped("what it has now is the budget_usd of its experiment, as it was frozen"))
        if noticed:
            write(wrapped(noticed))


async def _tell(settings: Settings, project: str) -> str:
    """Have the project's ledger, if one is at work, read its budgets again; return what there is to be said of it."""
    try:
        address, namespace = settings.temporal, settings.namespace
        if address is None:
            server = EmbeddedServer(settings.state_folder).facts()
            if server is None:
                return ""
            address, namespace = server.address, "default"
        async with asyncio.timeout(REACHED_WITHIN_S):
            client = await connect(address, namespace)
            told = await ledgers.tell(client, store_id(settings.projects_dir), project)
    except (RPCError, RuntimeError, TimeoutError, OSError, ServerError, StoreDamaged) as failed:
        why = str(failed).splitlines()[0] if str(failed) else "the server does not answer"
        return f"it is set, but those at work could not be told ({why}); they read it when they next look"
    return "those at work have been told" if told else ""


# what is shown


def _table(found: Sequence[Standing]) -> str:
    columns = [Column("Level", whole=True), Column("Name")]
    columns += [Column(heading, right=True) for heading in ("Budget", "Spent", "In doubt", "Used")]
    return table(columns, [_cells(one) for one in found])


def _cells(one: Standing) -> list[str]:
    used = "–" if one.share is None else f"{math.floor(100 * one.share)} %"
    limit = "–" if one.limit_usd is None else _dollars(one.limit_usd)
    in_doubt = "?" if one.costs.in_doubt or one.costs.unanswered else "–"
    if one.costs.perhaps_usd:
        in_doubt = f"{one.costs.perhaps_usd:,.4f}"
    name = one.account.name.rpartition("/")[2] if one.account.level == "session" else one.account.name
    return [one.account.level, name, limit, f"{one.costs.cost_usd or 0.0:,.4f}", in_doubt, used]


def _warnings(found: Sequence[Standing]) -> list[str]:
    """Return which budgets are used up or nearly, and what none of them counts."""
    said = []
    for one in found:
        whose, used = f"the budget of {one.account.level} {one.account.name}", f"{one.costs.spent_usd:.4f}"
        if one.used_up:
            again = f"{command_name()} budget {one.account.name} --set USD"
            spent = f"{used} of {_dollars(one.limit_usd or 0)} USD"
            said.append(f"{whose} is used up ({spent}), and nothing more is called; raise it with: {again}")
        elif one.share is not None and one.share >= WARNED_AT:
            said.append(f"{whose} is nearly used up: {used} of {_dollars(one.limit_usd or 0)} USD")
    unpriced = max((one.costs.unpriced for one in found), default=0)
    if unpriced:
        said.append(f"{counted(unpriced, 'call')} of unknown cost, which no budget counts")
    return said


def _paused(settings: Settings, accounts: Sequence[Account], found: Sequence[Standing]) -> list[str]:
    """Return how the paused sessions of these accounts go on, or which budget still leaves no room for a call."""
    sessions = [session for account in accounts for session in sessions_of_account(settings, account)]
    return [_going_on(settings, one, found) for one in sessions if one.noted_status()[0] == "paused"]


def _going_on(settings: Settings, session: Session, found: Sequence[Standing]) -> str:
    facts, needed = session.facts, _next_call_usd(session, settings)
    for one in found:
        if one.limit_usd is not None and one.account.covers(session.name):
            left = one.limit_usd - one.costs.spent_usd
            if left <= 0 or left < needed:
                least = in_whole_cents(one.costs.spent_usd + needed)
                return (
                    f"{facts.session} stays paused: its next call may cost up to {needed:.4f} USD, and "
                    f"{max(0.0, left):.4f} are left of the budget of {one.account.level} {one.account.name}; at least "
                    f"{least:.2f} would do: {command_name()} budget {one.account.name} --set USD"
                )
    return f"{facts.session} is paused; it goes on with: {command_name()} {facts.project}/{facts.experiment}"


def _next_call_usd(session: Session, settings: Settings) -> float:
    """Return what the call that comes next may cost: that for prose, where the tables are there, else the cheapest
    analysis that is still to be had; 0 where nothing is, or no price is known."""
    try:
        prose = left_to_write(session, settings, priced=True).todo
        if prose:
            return prose[0].worst_usd or 0.0
        estimator = Estimator(session.definition, models_file(settings), session.extraction_models)
        open_ = [one for one in session.plan if not session.store.exists(layout.extracted(one.number))]
        return min(map(estimator.reserved_usd, open_), default=0.0)
    except (SnapshotDamaged, InvalidDefinition, ArchiveDamaged):  # going on says what is wrong with it
        return 0.0


def _row(one: Standing) -> dict[str, object]:
    """Return a standing as it is given to programs; USD, null where there is no budget or no known cost."""
    return {
        "level": one.account.level,
        "name": one.account.name,
        "budget_usd": one.limit_usd,
        "spent_usd": one.costs.cost_usd,
        "in_doubt_usd": one.costs.in_doubt_usd,
        "unanswered_usd": one.costs.unanswered_usd,
        "share": one.share,
        "used_up": one.used_up,
        "unpriced": one.costs.unpriced,
    }


def _amount(usd: float | None) -> str:
    return "none" if usd is None else f"{_dollars(usd)} USD"


def _dollars(usd: float) -> str:
    return f"{usd:,.4f}" if 0 < usd < 0.1 else f"{usd:,.2f}"
