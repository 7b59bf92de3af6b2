"""What a session took in money, for its seal and its report; all sums are those of ``discernus.sessions.costs``."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from discernus.llm.models_file import ModelsFile, ModelsFileInvalid
from discernus.reports.data import BudgetUse, CallInDoubt, ModelCost
from discernus.sessions.archive import Intent
from discernus.sessions.budgets import Account, budgets_in_force
from discernus.sessions.costs import (
    CallCost,
    add_up,
    costs_by,
    in_flight,
    models_of,
    onlooker,
    session_costs,
    spent_by_session,
)
from discernus.sessions.session import Session
from discernus.stages.advice import advise, facts_for_advice


def projects_dir_of(session: Session) -> Path:
    """Return the projects folder that holds the session; see ``Session.projects_dir``."""
    return session.projects_dir


def models_file_of(session: Session) -> ModelsFile:
    """Return the models.yaml in force; the defaults where it cannot be read, for by now it decides nothing any more."""
    try:
        return models_of(projects_dir_of(session))
    except ModelsFileInvalid:
        return ModelsFile()


def calls_of(session: Session) -> list[CallCost]:
    """Return every call of the session that was, or may have been, paid for."""
    return session_costs(session, models_file_of(session), onlooker(projects_dir_of(session)))


def model_costs(calls: list[CallCost]) -> tuple[ModelCost, ...]:
    """Return what the calls took by model and purpose."""
    failed = Counter((call.model, call.purpose) for call in calls if call.fate == "failed")
    return tuple(
        ModelCost(
            model=model,
            purpose=purpose,
            calls=sums.calls,
            prompt_tokens=sums.prompt_tokens,
            completion_tokens=sums.completion_tokens,
            cached_tokens=sums.cached_tokens,
            reasoning_tokens=sums.reasoning_tokens,
            cost_usd=sums.cost_usd,
            unpriced=sums.unpriced,
            failed=failed[model, purpose],
            unanswered=sums.unanswered,
            unanswered_usd=sums.unanswered_usd,
        )
        for sums in costs_by(calls, ("model", "purpose"))
        for model, purpose in [sums.group]
    )


def doubted(session: Session) -> list[Intent]:
    """Return the calls that led to neither an answer nor an error on record, and whose answer comes no more."""
    living = onlooker(projects_dir_of(session))
    return [intent for intent in session.intents() if not in_flight(intent, living)]


def calls_in_doubt(session: Session, calls: list[CallCost]) -> tuple[CallInDoubt, ...]:
    """Return the calls that are in doubt, by name, with what each may have cost beyond what the bills on record say."""
    worst = {(call.model, call.at): call.worst_usd for call in calls if call.fate == "in_doubt"}
    return tuple(
        CallInDoubt(
            call=intent.call,
            model=intent.model,
            since=intent.sent_at.isoformat(timespec="seconds"),
            note=f"attempt {intent.attempt}; its process ended before an answer was archived",
            worst_usd=worst.get((intent.model, intent.sent_at), 0.0),
        )
        for intent in doubted(session)
    )


def budgets_of(session: Session, calls: list[CallCost]) -> tuple[BudgetUse, ...]:
    """Return the budgets that bind the session, with what is spent of each. Raise BudgetsDamaged."""
    facts, projects_dir = session.facts, projects_dir_of(session)
    budgets = budgets_in_force(projects_dir, facts.project)
    accounts = Account(facts.project, facts.experiment, facts.session).binding
    limits = [(account, limit) for account in accounts if (limit := budgets.of(account)) is not None]
    if not limits:
        return ()
    spent = spent_by_session(projects_dir, facts.project) | {session.name: add_up(calls).spent_usd}
    return tuple(
        BudgetUse(
            account.level,
            account.name,
            limit,
            sum(usd for name, usd in spent.items() if f"{name}/".startswith(f"{account.name}/")),
        )
        for account, limit in limits
    )


def advice_of(session: Session, calls: list[CallCost]) -> tuple[str, ...]:
    """Return what would lower the cost of the next study; nothing where this one cost nothing."""
    if not add_up(calls).cost_usd:
        return ()
    return advise(facts_for_advice(session, calls, models_file_of(session)))
