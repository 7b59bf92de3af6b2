"""What a run will cost and what it may: the projection before it begins, and the budgets that bind it while it runs."""

from __future__ import annotations

from dataclasses import dataclass, field

from cli.exits import INVALID, CommandError
from cli.preparing import Prepared
from discernus.experiments.definition import Definition
from discernus.experiments.experiment import OFFLINE_PREFIX
from discernus.experiments.plan import make_plan
from discernus.sessions.accounts import WARNED_AT
from discernus.sessions.budgets import Account, Budgets, BudgetsDamaged, budgets_in_force
from discernus.sessions.costs import spent_by_session
from discernus.sessions.earlier import read_history
from discernus.sessions.session import Session
from discernus.settings import Settings
from discernus.stages.estimate import ENOUGH, Estimate, Estimator


@dataclass(frozen=True)
class Foreseen:
    """What a session will take: in all, and in tokens per call of each model."""

    estimate: Estimate
    tokens_per_call: dict[str, int]


def foresee(settings: Settings, definition: Definition, prepared: Prepared) -> Foreseen:
    """Reckon what all analyses of a definition will take, from its own prompts and what earlier sessions tell."""
    asked = [model for model in prepared.models if not model.startswith(OFFLINE_PREFIX)]
    history = read_history(settings.projects_dir, asked, definition.framework.sha256, enough=ENOUGH)
    estimator = Estimator(definition, prepared.models_file, prepared.extraction_models, history)
    tokens = {model: estimator.tokens_per_call(model) for model in asked}
    experiment = definition.experiment
    plan = make_plan(
        [document.id for document in definition.documents],
        list(experiment.models),
        list(experiment.variants),
        experiment.runs_per_model,
    )
    return Foreseen(estimator.estimate(plan), tokens)


@dataclass
class Budgeted:
    """The budgets that bind a session, with what others have spent of each; says once when one is nearly used up."""

    session: Session
    budgets: Budgets
    others_usd: dict[Account, float]
    _told: set[Account] = field(default_factory=set)

    @property
    def binds(self) -> bool:
        return bool(self._limits())

    def news(self, cost_usd: float) -> list[str]:
        """Return a warning for each budget that has just passed its mark, given what this session has cost."""
        said = []
        for account, limit in self._limits().items():
            spent = self.others_usd[account] + cost_usd
            if account not in self._told and spent >= WARNED_AT * limit:
                self._told.add(account)
                share = f"{spent / limit:.0%}" if limit else "all"
                of = f"the {account.level} budget of {limit:.2f} USD ({account.name})"
                said.append(f"warning: {share} of {of} is spent")
        return said

    def foreseen(self, estimate: Estimate, cost_usd: float) -> list[str]:
        """Return what the budgets mean for a session that will take this."""
        said = []
        for account, limit in self._limits().items():
            left = limit - self.others_usd[account] - cost_usd
            if estimate.usd is not None and estimate.usd.likely > left:
                said.append(
                    f"warning: {max(left, 0.0):.2f} USD are left of the {account.level} budget of {limit:.2f} USD; "
                    "the session will pause there, and keep everything"
                )
            if estimate.unpriced:
                names = ", ".join(estimate.unpriced)
                said.append(f"warning: no budget can hold back {names}, of unknown price: state it in models.yaml")
        return list(dict.fromkeys(said))

    def _limits(self) -> dict[Account, float]:
        limits = {account: self.budgets.of(account) for account in account_of(self.session).binding}
        return {account: limit for account, limit in limits.items() if limit is not None}


def account_of(session: Session) -> Account:
    """Return the session's own account."""
    facts = session.facts
    return Account(facts.project, facts.experiment, facts.session)


def budgeted(settings: Settings, session: Session) -> Budgeted:
    """Return the budgets that bind the session; raise CommandError where they cannot be read."""
    project = session.facts.project
    try:
        budgets = budgets_in_force(settings.projects_dir, project)
    except BudgetsDamaged as damaged:
        raise CommandError(str(damaged), INVALID) from damaged
    found = Budgeted(session, budgets, {})
    if not found.binds:
        return found
    spent = spent_by_session(settings.projects_dir, project)
    for account in account_of(session).binding:
        inside = f"{account.name}/"
        found.others_usd[account] = sum(
            usd for name, usd in spent.items() if name.startswith(inside) and name != session.name
        )
    return found
