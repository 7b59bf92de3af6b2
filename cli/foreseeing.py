"""What a run will cost and what it may: the projection before it begins, and the budgets that bind it while it runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import floor

from cli.display import counted
from cli.exits import INVALID, CommandError
from cli.preparing import Prepared
from cli.tables import wrapped
from discernus.experiments.definition import Definition
from discernus.experiments.experiment import OFFLINE_PREFIX
from discernus.experiments.plan import Analysis
from discernus.reports.markdown import percent
from discernus.sessions.accounts import WARNED_AT
from discernus.sessions.budgets import Account, Budgets, BudgetsDamaged, budgets_in_force, in_whole_cents
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


def foresee(
    settings: Settings, definition: Definition, prepared: Prepared, analyses: Sequence[Analysis] | None = None
) -> Foreseen:
    """Reckon what these analyses, or all, will take, from the definition's prompts and what earlier sessions tell."""
    asked = [model for model in prepared.models if not model.startswith(OFFLINE_PREFIX)]
    history = read_history(settings.projects_dir, asked, definition.framework.sha256, enough=ENOUGH)
    estimator = Estimator(
        definition,
        prepared.models_file,
        prepared.extraction_models,
        history,
        synthesis_models=prepared.synthesis_models,
    )
    tokens = {model: estimator.tokens_per_call(model) for model in asked}
    return Foreseen(estimator.estimate(definition.plan() if analyses is None else analyses), tokens)


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
                share = percent(spent / limit) if limit else "all"
                said.append(f"warning: {share} of {_budget(account, limit)} ({account.name}) is spent")
        return said

    def foreseen(self, estimate: Estimate, cost_usd: float) -> list[str]:
        """Return what the budgets mean for a session that will take this: where it pauses, and where it is slowed."""
        said = []
        for account, limit in self._limits().items():
            spent = self.others_usd[account] + cost_usd
            said += self._tightness(estimate, _budget(account, limit), limit - spent, spent)
            if estimate.unpriced:
                names = ", ".join(estimate.unpriced)
                said.append(f"warning: no budget can hold back {names}, of unknown price: state it in models.yaml")
        return [wrapped(line) for line in dict.fromkeys(said)]

    def _tightness(self, estimate: Estimate, budget: str, left: float, spent: float) -> list[str]:
        """Return what comes of a budget's rest: each call needs its worst case to be left before it goes out."""
        dearest, likely = estimate.dearest_call_usd or 0.0, estimate.usd.likely if estimate.usd is not None else 0.0
        rest = f"{max(left, 0.0):.4f} USD are left of {budget}"
        if left <= 0 or dearest > left:
            least = f"{in_whole_cents(spent + dearest):.2f}"
            return [
                f"warning: {rest} ({spent:.4f} spent), and a single call may cost up to {dearest:.4f}; the session "
                f"pauses before such a call. Raise the budget to at least {least}, or state a lower `max_tokens`"
            ]
        if likely > left:
            return [
                f"warning: {rest}, less than the session will probably take; it pauses once a call's worst case, up "
                f"to {dearest:.4f}, is not left, and keeps everything"
            ]
        at_once = floor(left / dearest) if dearest else self.session.facts.concurrency
        if at_once < self.session.facts.concurrency:
            return [
                f"note: {rest}, and each call reserves its worst case, up to {dearest:.4f}, while it is in flight: at "
                f"times no more than {counted(at_once, 'call')} at once. A lower `max_tokens` makes that more"
            ]
        return []

    def _limits(self) -> dict[Account, float]:
        limits = {account: self.budgets.of(account) for account in account_of(self.session).binding}
        return {account: limit for account, limit in limits.items() if limit is not None}


def _budget(account: Account, limit: float) -> str:
    return f"the {account.level} budget of {f'{limit:.2f}' if round(limit, 2) == limit else f'{limit:.4f}'} USD"


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
