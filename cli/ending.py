"""How a run ended: said in words, with what comes next, and as an exit code."""

from __future__ import annotations

from pathlib import Path

from cli.display import Display, cost, counted, shortened
from cli.exits import COMPLETE, INFRASTRUCTURE, INTERRUPTED, PARTIAL, PAUSED, command_name
from cli.tables import wrapped
from discernus.sessions import layout
from discernus.sessions.integrity.manifests import Gap
from discernus.sessions.integrity.seals import newest_seal
from discernus.sessions.progress import Standing
from discernus.sessions.session import ERASED, Parked, Session
from discernus.stages.alerts import alerts_of
from discernus.stages.interpretation import why_missing
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
    signing_key: Path | None = None,
) -> int:
    """Say how it ended and what comes next; return the exit code. ``goes_on`` says where it does, if left.

    ``signing_key`` is the file of the key that its seal should bear a signature of.
    """
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
        if gaps["not_analysed"] or any(record.error_class != ERASED for record in session.all_parked()):
            lines.append("run the same command again to try them once more; what was answered is not paid for twice")
        elif gaps["parked"]:
            lines.append("their texts were erased: nothing is left to ask, and running it again asks nothing")
    elif standing.status == "complete" and standing.done >= standing.planned:
        before = " already" if already else ""
        lines = [f"complete{before}: {name}", f"{counts}, {cost(standing)}"]
        if already:
            lines.append("nothing is left to do; --new opens another session")
    else:  # a pause that ended while we left, say
        status, code = "unfinished", PAUSED
        lines = [f"unfinished: {name} holds {counts}", again]
    alerts = alerts_of(session) if standing.stage == "sealed" else []
    if standing.in_doubt:
        calls = counted(standing.in_doubt, "call")
        lines.append(f"{calls} in doubt: sent, perhaps paid for, with no answer that arrived")
    missing = why_missing(session) if standing.stage == "sealed" else ""
    if missing:
        once_more = f"ask once more with: {command_name()} resume {session.facts.session} --from synthesis"
        lines.append(wrapped(f"interpretation missing: {shortened(missing)}; {once_more}"))
    if standing.stage == "sealed":
        lines += [f"warning: {said}" for said in alerts]
        lines += [f"report:  {report}", f"results: {session.folder / layout.RESULTS}"]
        lines += _unsigned(session, signing_key)
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
            "interpretation_missing": missing or None,
            "alerts": alerts,
            "cost_usd": standing.cost_usd,
            "unpriced": standing.unpriced,
            "reason": standing.reason,
        }
    )
    return code


def _unsigned(session: Session, signing_key: Path | None) -> list[str]:
    """Return that the newest seal bears no signature though there is a key, and how it gets one."""
    file = newest_seal(session.store)
    if signing_key is None or file is None or session.store.exists(layout.signature(file.version)):
        return []
    return [
        f"seal {file.version} is not signed, though a key is set: {signing_key} could not be used when it was written; "
        f"once it can, sign it with: {command_name()} resume {session.facts.session}"
    ]


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
