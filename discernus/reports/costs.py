"""What the session cost: by model and purpose, by which prices, against which budgets, and what would lower it."""

from discernus.reports.data import BudgetUse, ModelCost, ReportData
from discernus.reports.markdown import NONE, count, percent, table, text, usd


def costs(data: ReportData) -> str:
    """Return tokens and cost by model and purpose; what has no known price is said to be unknown."""
    if not data.costs and data.migrated_from is not None:
        return "## Cost\n\nWhat its calls cost was not recorded. None was made to read and report them."
    if not data.costs:
        return "## Cost\n\nNo call was made."
    headings = ["model", "purpose", "calls", "prompt tokens", "completion tokens", "cached", "reasoning", "cost in USD"]
    rows = [_row(each) for each in data.costs]
    sums = [_in_all(data.costs), *_failed(data.costs), *_not_in_it(data)]
    parts = ["## Cost", table(headings, rows, left=2), " ".join(sums), *_prices(data)]
    if data.budgets:
        parts.append("\n".join(f"- {_used(one)}" for one in data.budgets))
    if data.advice:
        parts.append("For the next study:\n\n" + "\n".join(f"- {text(one)}" for one in data.advice))
    return "\n\n".join(parts)


def in_doubt(data: ReportData) -> str:
    """Return the calls that may have been paid without an answer being archived."""
    if not data.in_doubt and data.migrated_from is not None:
        return "## Calls in doubt\n\nNot known: which requests went out without an answer was recorded in part at most."
    if not data.in_doubt:
        return "## Calls in doubt\n\nNone: every request that was sent has its answer or its error in the archive."
    rows = [
        [text(call.call), text(call.model), text(call.since), usd(call.worst_usd), text(call.note)]
        for call in data.in_doubt
    ]
    return (
        "## Calls in doubt\n\nThese requests may have reached the model, and may have been paid, without an answer "
        "that could be archived. Their cost is not in the table above.\n\n"
        + table(["call", "model", "since", "at most, in USD", "note"], rows, left=5)
    )


def _row(each: ModelCost) -> list[str]:
    tokens = (each.prompt_tokens, each.completion_tokens, each.cached_tokens, each.reasoning_tokens)
    unpriced = f" + {each.unpriced} unpriced" if each.unpriced and each.cost_usd is not None else ""
    cost = usd(each.cost_usd) + unpriced if each.calls else NONE
    counts = [NONE if token is None else f"{token:,}" for token in tokens]
    return [text(each.model), text(each.purpose), f"{each.calls:,}", *counts, cost]


def _in_all(costs: tuple[ModelCost, ...]) -> str:
    known = sum(each.cost_usd for each in costs if each.cost_usd is not None)
    unpriced = sum(each.unpriced or (each.calls if each.cost_usd is None else 0) for each in costs)
    if unpriced:
        return f"In all at least {usd(known)} USD; of {count(unpriced, 'call')} no price is known."
    return f"In all {usd(known)} USD."


def _failed(costs: tuple[ModelCost, ...]) -> list[str]:
    failed = sum(each.failed for each in costs)
    was = "was" if failed == 1 else "were"
    return [f"{failed:,} of these calls failed, and {was} billed all the same."] if failed else []


def _not_in_it(data: ReportData) -> list[str]:
    """Say what may have been paid beside the sum."""
    said = []
    if data.in_doubt:
        worst = [call.worst_usd for call in data.in_doubt]
        said.append(f"{count(len(worst), 'call')} in doubt, {_at_most(worst)}")
    cut_off = [each for each in data.costs if each.unanswered]
    if cut_off:
        calls = count(sum(each.unanswered for each in cut_off), "call")
        most = _at_most([each.unanswered_usd for each in cut_off])
        said.append(f"{calls} cut off before an answer came, which a vendor may bill, {most}")
    return [f"Not in it: {'; '.join(said)}."] if said else []


def _at_most(worst: list[float | None]) -> str:
    known = [one for one in worst if one is not None]
    return f"at most {usd(sum(known))} USD more" if len(known) == len(worst) else "nobody knows how much more"


def _prices(data: ReportData) -> list[str]:
    if not data.price_sources:
        return []
    lines = [f"- {text(model)}: {text('; '.join(sources))}" for model, sources in sorted(data.price_sources.items())]
    return ["Prices, by source, version and entry:\n\n" + "\n".join(lines)]


def _used(one: BudgetUse) -> str:
    share = f", {percent(one.spent_usd / one.limit_usd)} used" if one.limit_usd else ""
    return (
        f"Budget of the {one.level} {text(one.name)}: {usd(one.limit_usd)} USD{share} ({usd(one.spent_usd)} USD when "
        "this was written, calls in doubt or cut off at their worst)."
    )
