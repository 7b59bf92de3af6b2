"""What a session's page in Temporal's Web UI says: a few lines of Markdown that a researcher can read."""

from __future__ import annotations

from temporalio import workflow

with workflow.unsafe.imports_passed_through():  # pydantic models: validated by compiled code the sandbox cannot load
    from activities.border import Progress, SessionStart

LATEST_IN_DETAILS = 10


def markdown(progress: Progress, start: SessionStart) -> str:
    """Return the status as Markdown: counts, cost, the latest scores, and what to do if the session is paused."""
    key = start.key
    unpriced = f" (and {progress.unpriced} calls without a known price)" if progress.unpriced else ""
    lines = [
        f"### {key.project} / {key.experiment} / {key.session}",
        "",
        "| stage | status | analysed | parked | in flight | cost |",
        "|---|---|---|---|---|---|",
        f"| {progress.stage} | {progress.status} | {progress.done} of {progress.planned} | {progress.parked} "
        f"| {progress.in_flight} | {progress.cost_usd:.4f} USD{unpriced} |",
    ]
    if progress.reason:
        lines += ["", f"**Paused:** {progress.reason}"]
    if progress.latest:
        lines += ["", "**Latest scores** (in the framework's order of dimensions; – is missing)", ""]
        lines += ["| analysis | scores |", "|---|---|"]
        lines += [
            f"| {scored.number:03d} {scored.label} | {' '.join(_cell(score) for score in scored.scores)} |"
            for scored in list(progress.latest)[-LATEST_IN_DETAILS:]
        ]
    return "\n".join(lines)


def _cell(score: float | None) -> str:
    return "–" if score is None else f"{score:.2f}"
