"""What went wrong with calls, and what was done about it: a row for each class of failure and model."""

from discernus.reports.data import Quarantine, ReportData
from discernus.reports.markdown import count, percent, table, text

SHOWN = 20
FOLDER = "fault_recovery/waiting/closures"


def what_went_wrong(data: ReportData) -> str | None:
    """Return the table of failures with what came of them; None where nothing went wrong."""
    if not data.failures:
        return None
    rows = [
        [
            text(one.error_class),
            text(one.model or "not known"),
            ", ".join(f"{outcome} {number}" for outcome, number in one.outcomes.items()),
            str(one.count),
        ]
        for one in data.failures
    ]
    headings = ["what went wrong", "model", "what came of it", "times"]
    parts = ["## What went wrong, and what was done", table(headings, rows, left=3)]
    first = sum(one.first_failed for one in data.failures)
    if first:
        recovered = sum(one.first_recovered for one in data.failures)
        parts.append(
            f"Of {count(first, 'call')} whose first attempt failed for a passing reason, {recovered} "
            f"({percent(recovered / first)}) were answered by trying again."
        )
    if data.quarantines:
        parts.append("\n".join(f"- {_told(one)}" for one in data.quarantines[:SHOWN]))
        more = len(data.quarantines) - SHOWN
        if more > 0:
            parts.append(f"And {more:,} more: see `{FOLDER}`.")
    return "\n\n".join(parts)


def _told(one: Quarantine) -> str:
    again = f"it answered again at {text(one.answered_at)}" if one.answered_at else "it did not answer again"
    return f"{text(one.model)} took no calls from {text(one.since)} (UTC) on, since {text(one.reason)}; {again}."
