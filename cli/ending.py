"""How a run ended: said in words, with what comes next, and as an exit code."""

from __future__ import annotations

from cli.display import Display, cost, counted, shortened
from cli.exits import COMPLETE, INFRASTRUCTURE, INTERRUPTED, PARTIAL, PAUSED, command_name
from discernus.sessions import layout
from discernus.sessions.integrity.manifests import Gap
from discernus.sessions.progress import Standing
from discernus.sessions.session import Parked, Session
from discernus.stages.sealing import gaps_of

GAPS: dict[Gap, str] = {
    "parked": "could not be had",
    "not_analysed": "not analysed",
    "no_score": "gave no score",
    "damaged": "damaged or gone",
}
OF_ANSWERS = ("no_score", "damaged")
MOST_NAMED = 12  # plan numbers on a line; all of them stand in the seal


def end(
    standing: Standing,
    session: Session,
    display: Display,
    *,
    left: bool = False,
    already: bool = False,
    goes_on: str = "",
) -> int:
    """Say how it ended and what comes next; return the exit code. ``goes_on`` says where it does, if left."""
    name = session.name
    report = session.folder / layout.REPORT
    counts = f"{standing.done} of {standing.planned} analyses"
    again = "run the same command again to go on; nothing that was answered is paid for twice"
    status, code = standing.status, COMPLETE
    if left and standing.stage != "sealed":
        status, code = "interrupted", INTERRUPTED
        lines = [f"interrupted: {name} holds {counts}", again]
        if goes_on:
            watching = f"{command_name()} watch {name}"
            lines = [f"left: {name} goes on {goes_on} ({counts} so far)", f"watch it with: {watching}"]
    elif standing.status == "paused":
        code = PAUSED if "free where answers" not in standing.reason else INFRASTRUCTURE
        lines = [f"paused: {name} holds {counts}", f"why: {standing.reason}", again]
    elif standing.status == "partial":
        code = PARTIAL
        gaps = gaps_of(session)
        lines = [f"partial: {name}", f"{counts}; {_counted(gaps)}"]
        lines += _why_parked(session)
        lines += _named(gaps)
        if gaps["parked"] or gaps["not_analysed"]:
            lines.append("run the same command again to try them once more; what was answered is not paid for twice")
    elif standing.status == "complete" and standing.done >= standing.planned:
        before = " already" if already else ""
        lines = [f"complete{before}: {name}", f"{counts}, {cost(standing)}"]
        if already:
            lines.append("nothing is left to do; --new opens another session")
    else:  # a pause that ended while we left, say
        status, code = "unfinished", PAUSED
        lines = [f"unfinished: {name} holds {counts}", again]
    if standing.in_doubt:
        calls = counted(standing.in_doubt, "call")
        lines.append(f"{calls} in doubt: sent, perhaps paid for, with no answer that arrived")
    if standing.stage == "sealed":
        lines += [f"report:  {report}", f"results: {session.folder / layout.RESULTS}"]
    display.end(
        {
            "lines": lines,
            "status": status,
            "exit_code": code,
            "session": name,
            "folder": str(session.folder),
            "report": str(report) if standing.stage == "sealed" else None,
            "planned": standing.planned,
            "done": standing.done,
            "parked": standing.parked,
            "in_doubt": standing.in_doubt,
            "cost_usd": standing.cost_usd,
            "unpriced": standing.unpriced,
            "reason": standing.reason,
        }
    )
    return code


def _counted(gaps: dict[Gap, list[int]]) -> str:
    counts = {gap: len(numbers) for gap, numbers in gaps.items() if numbers}
    words = (f"{counted(count, 'answer') if gap in OF_ANSWERS else count} {GAPS[gap]}" for gap, count in counts.items())
    return ", ".join(words)


def _named(gaps: dict[Gap, list[int]]) -> list[str]:
    """Return a line for each kind of gap with the plan numbers that the session's files carry."""
    lines = []
    for gap, numbers in gaps.items():
        named = ", ".join(f"{number:03d}" for number in numbers[:MOST_NAMED])
        more = f" and {len(numbers) - MOST_NAMED} more" if len(numbers) > MOST_NAMED else ""
        lines += [f"{GAPS[gap]}: {named}{more}"] if named else []
    return lines


def _why_parked(session: Session) -> list[str]:
    """Return for each class of failure how many analyses were parked for it, and the newest reason."""
    by_class: dict[str, list[Parked]] = {}
    for record in sorted(session.all_parked(), key=lambda record: record.at):
        by_class.setdefault(record.error_class, []).append(record)
    return [
        f"{counted(len(records), 'analysis')} parked, {error_class}: {shortened(records[-1].reason)}"
        for error_class, records in by_class.items()
    ]
