"""What a session's page in Temporal's Web UI says, in Markdown that a researcher can read.

The Web UI shows tables without any space between their cells, so the scores stand in columns of their own making.
"""

from __future__ import annotations

from math import ceil

from temporalio import workflow

with workflow.unsafe.imports_passed_through():  # pydantic models: validated by compiled code the sandbox cannot load
    from activities.border import Grant, Progress, SessionStart

LATEST_IN_DETAILS = 10


def markdown(progress: Progress, start: SessionStart) -> str:
    """Return the status as Markdown: counts, cost, the latest scores, and what to do if the session is paused."""
    key = start.key
    counts = [f"{progress.done} of {progress.planned} analyses done"]
    counts += [f"{progress.parked} parked"] if progress.parked else []
    counts += [f"{progress.in_flight} in flight"] if progress.in_flight else []
    unpriced = f" and {progress.unpriced} calls without a known price" if progress.unpriced else ""
    lines = [
        f"**{key.project} / {key.experiment} / {key.session}**",
        "",
        f"**{progress.stage}, {progress.status}:** {', '.join(counts)}; {progress.cost_usd:.4f} USD{unpriced}",
    ]
    if progress.reason:
        lines += ["", f"**Paused:** {progress.reason}", "", "Once that is mended, run the same command again."]
    elif progress.waiting:
        lines += ["", f"**Waiting:** {progress.waiting}"]
    if progress.latest:
        latest = list(progress.latest)[-LATEST_IN_DETAILS:]
        width = max(len(scored.label) for scored in latest)
        rows = (
            f"{scored.number:03d} {scored.label:<{width}}  {' '.join(_cell(score) for score in scored.scores)}"
            for scored in latest
        )
        lines += ["", "Latest scores, in the framework's order of dimensions (– is missing):", "", "```"]
        lines += [*rows, "```"]
    return "\n".join(lines)


def out_of_budget(grant: Grant, needed_usd: float, start: SessionStart) -> str:
    """Say what the next call may cost, what is left of which budget, and to what amount it must be raised."""
    name = {"project": start.key.project, "experiment": start.key.experiment}.get(grant.level, start.key.session)
    limit_usd = grant.limit_usd or 0.0
    left_usd = max(0.0, limit_usd - grant.level_spent_usd)
    return (
        f"the next call may cost up to {needed_usd:.4f} USD, and {left_usd:.4f} are left of the {grant.level} budget "
        f"of {_amount(limit_usd)} USD ({grant.level_spent_usd:.4f} USD are spent); raise it with `starter.py budget "
        f"{name} --set USD` to at least {_raised(grant.level_spent_usd + needed_usd)}, or begin a new session with a "
        "lower `max_tokens`, by which a call may cost less"
    )


def _amount(usd: float) -> str:
    return f"{usd:.2f}" if round(usd, 2) == usd else f"{usd:.4f}"


def _raised(usd: float) -> str:
    """Return an amount in whole cents that is not below the one given."""
    return f"{ceil(round(usd * 100, 6)) / 100:.2f}"


def _cell(score: float | None) -> str:
    return f"{'–' if score is None else f'{score:.2f}':>5}"
