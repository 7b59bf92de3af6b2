"""What a project, its experiments and its sessions may cost at most: one file in the project's folder.

A budget bounds what has been spent in all, over all sessions that it covers. A session without one of its own has the
budget of its experiment's definition, as it was frozen.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from discernus.experiments.freezing import MANIFEST
from discernus.llm.models_file import ModelsFile
from discernus.sessions.costs import Costs, add_up, draft_costs, onlooker, repeat_costs, session_costs, sessions_of
from discernus.sessions.opening import HIDDEN
from discernus.sessions.owners import Lock
from discernus.sessions.session import Session
from discernus.sessions.store import LocalStore, NotInStore

FILE = "budgets.json"

Level = Literal["project", "experiment", "session"]
LEVELS: tuple[Level, ...] = ("project", "experiment", "session")
Usd = Annotated[float, Field(ge=0)]


class BudgetsDamaged(Exception):
    """The budgets of a project cannot be read; the message says which file, what is wrong with it, and what to do."""


class Budgets(BaseModel):
    """The budgets of one project in USD, None or absent where there is none.

    Experiments go by their name in the project, sessions by their workflow id, ``MVA/experiment_3/session_…``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=True)

    format: Literal[1] = 1
    project_usd: Usd | None = None
    experiments_usd: dict[str, Usd] = {}
    sessions_usd: dict[str, Usd] = {}

    def of(self, account: Account) -> float | None:
        """Return the account's budget in USD, None if it has none."""
        if account.level == "project":
            return self.project_usd
        return (self.experiments_usd if account.level == "experiment" else self.sessions_usd).get(account.key)


@dataclass(frozen=True)
class Account:
    """Whose budget it is: a project's, one of its experiments', or one session's."""

    project: str
    experiment: str | None = None
    session: str | None = None

    @property
    def level(self) -> Level:
        return "project" if self.experiment is None else "experiment" if self.session is None else "session"

    @property
    def name(self) -> str:
        """The full name: ``MVA``, ``MVA/experiment_3``, ``MVA/experiment_3/session_20261120_101500``."""
        return "/".join(part for part in (self.project, self.experiment, self.session) if part is not None)

    @property
    def key(self) -> str:
        """What it goes by in its project's file."""
        return self.experiment if self.experiment is not None and self.session is None else self.name

    def covers(self, name: str) -> bool:
        """Return whether the account of that full name is this one, or part of it."""
        return name == self.name or name.startswith(f"{self.name}/")

    @property
    def binding(self) -> tuple[Account, ...]:
        """The accounts whose budgets bind it, the widest first, itself last."""
        accounts = (Account(self.project), Account(self.project, self.experiment), self)
        return accounts[: LEVELS.index(self.level) + 1]


@dataclass(frozen=True)
class Standing:
    """An account's budget in USD, None where it has none, and the costs that count against it."""

    account: Account
    limit_usd: float | None
    costs: Costs

    @property
    def share(self) -> float | None:
        """The share of the budget that is used; None without a budget, and of one of 0."""
        return self.costs.spent_usd / self.limit_usd if self.limit_usd else None

    @property
    def used_up(self) -> bool:
        """Whether there is a budget, and nothing left of it."""
        return self.limit_usd is not None and self.costs.spent_usd >= self.limit_usd


def read_budgets(projects_dir: Path, project: str) -> Budgets:
    """Return what budgets were set in a project; none if there is no file. Raise BudgetsDamaged."""
    store = LocalStore(projects_dir / project)
    try:
        return Budgets.model_validate_json(store.get(FILE))
    except NotInStore:
        return Budgets()
    except ValidationError as invalid:
        wrong = "; ".join(f"{'.'.join(map(str, error['loc'])) or 'file'}: {error['msg']}" for error in invalid.errors())
        raise BudgetsDamaged(
            f"{store.path(FILE)} cannot be read ({wrong}), so no budget of project '{project}' is known; "
            "correct the file, or remove it and set the budgets anew"
        ) from None


def set_budget(projects_dir: Path, account: Account, usd: float | None) -> Budgets:
    """Set an account's budget, or take it away (None), and return all that are set. Safe among several at once.

    Raise BudgetsDamaged where the present ones cannot be read, ValueError for what is no amount.
    """
    with Lock(projects_dir / HIDDEN / "locks" / f"{account.project}.budgets.lock"):
        budgets = _with(read_budgets(projects_dir, account.project), account, usd)
        data = json.dumps(budgets.model_dump(), indent=1, ensure_ascii=False).encode()
        LocalStore(projects_dir / account.project).put(FILE, data)
    return budgets


def budgets_in_force(projects_dir: Path, project: str) -> Budgets:
    """Return the budgets that bind in a project, with the frozen ones of sessions that none was set for.

    Raise BudgetsDamaged.
    """
    budgets = read_budgets(projects_dir, project)
    frozen = {session.name: frozen_budget(session) for session in sessions_of(projects_dir, project)}
    known = {name: usd for name, usd in frozen.items() if usd is not None}
    return budgets.model_copy(update={"sessions_usd": {**known, **budgets.sessions_usd}})


def standings(projects_dir: Path, account: Account, models: ModelsFile) -> list[Standing]:
    """Return where an account stands, with all others that have a budget and bind it, or that it covers; widest first.

    Raise BudgetsDamaged.
    """
    budgets = budgets_in_force(projects_dir, account.project)
    sessions = {session.name: session for session in sessions_of(projects_dir, account.project)}
    living = onlooker(projects_dir)
    calls = {name: session_costs(session, models, living) for name, session in sessions.items()}
    for session in sessions.values():
        calls |= repeat_costs(session, models, living)
    calls |= draft_costs(projects_dir, account.project, models, living)
    named = {account.project, *(name.rpartition("/")[0] for name in sessions), *sessions, *budgets.sessions_usd}
    named |= {f"{account.project}/{experiment}" for experiment in budgets.experiments_usd}
    covered = [Account(*name.split("/")) for name in sorted(named) if account.covers(name)]
    found = []
    for one in dict.fromkeys([*account.binding, *covered]):
        limit = budgets.of(one)
        if limit is not None or one == account:
            costs = add_up(call for name, of_session in calls.items() if one.covers(name) for call in of_session)
            found.append(Standing(one, limit, costs))
    return found


def frozen_budget(session: Session) -> float | None:
    """Return the ``budget_usd`` of the experiment as it was frozen into the session; None if there is none."""
    try:
        usd = json.loads(session.store.get(MANIFEST))["experiment"]["budget_usd"]
    except (NotInStore, ValueError, LookupError, TypeError):  # damaged: its session is refused before it calls a model
        return None
    return None if usd is None else float(usd)


def in_whole_cents(usd: float) -> float:
    """Return the least amount in whole cents that is not below the one given, for a budget to be raised to."""
    return ceil(round(usd * 100, 6)) / 100


def _with(budgets: Budgets, account: Account, usd: float | None) -> Budgets:
    content = budgets.model_dump()
    if account.level == "project":
        content["project_usd"] = usd
    else:
        kept = {key: other for key, other in content[f"{account.level}s_usd"].items() if key != account.key}
        content[f"{account.level}s_usd"] = kept if usd is None else {**kept, account.key: usd}
    return Budgets.model_validate(content)
