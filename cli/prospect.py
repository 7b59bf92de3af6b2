"""``resume --dry-run``: what going on would do, what is there, what it would cost, and what stands against it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict

from cli.display import counted, write
from cli.exits import COMPLETE, INVALID, PARTIAL, CommandError
from cli.foreseeing import foresee
from cli.preparing import prepare_again
from cli.sessions import session_meant
from cli.state import asks, changes, explained, stops, tries_parked, writes
from discernus.sessions.integrity.manifests import Stage
from discernus.sessions.opening import HIDDEN, state_of
from discernus.sessions.owners import Onlooker
from discernus.sessions.resuming import Conflict, conflicts
from discernus.sessions.session import Session
from discernus.settings import Settings
from discernus.stages.anew import makes_tables
from discernus.stages.checkpoints import Prospect, prospect
from discernus.stages.estimate import Estimate, sentence

AMISS = ("settings", "damaged_answer", "missing_answer", "tampered")  # what somebody should look at, going on or not


def tell(settings: Settings, name: str, *, stage: Stage | None, as_json: bool) -> int:
    """Say what ``resume`` would do, and do nothing; return INVALID where something is in the way, PARTIAL where
    something else is not as it was."""
    session = Session(session_meant(settings, name).folder, settings.mirror_dir)
    found = conflicts(session, Onlooker(settings.projects_dir / HIDDEN / "owners"))
    if any(one.kind == "inputs" for one in found):  # then nothing can be said of the plan
        raise CommandError("\n".join(explained(found)), INVALID)
    state = state_of(session)
    looked = prospect(session, stage, try_parked=tries_parked(stage, state), asking=asks(stage))
    nobody = any(one.kind == "nobody_to_ask" for one in found)
    writing = writes(settings, session, stage)
    estimate = None if nobody or not (looked.to_ask or writing) else _estimate(settings, session, looked)
    changed = changes(settings, session)
    stopped = any(stops(one, stage) for one in found)
    code = INVALID if stopped else PARTIAL if any(one.kind in AMISS for one in found) else COMPLETE
    if as_json:
        write(json.dumps(_facts(session, state, stage, looked, estimate, changed, found), ensure_ascii=False))
        return code
    write(f"{session.name}: {state}")
    for line in _done(session, state, stage, looked):
        write(f"  {line}")
    if writing:
        write("  to write: prose about the tables, unless there is some about equal ones")
    if estimate is not None:
        write(sentence(estimate))
    elif not looked.to_ask and not writing:
        write("projected cost: nothing: no model need be asked")
    for line in changed:
        write(line)
    for line in explained(found):
        write(line)
    write("that is in the way: nothing would be done" if stopped else "nothing has been done (--dry-run)")
    return code


def _estimate(settings: Settings, session: Session, looked: Prospect) -> Estimate:
    """Return what asking for what is missing will take. Raise CommandError for who may not be asked."""
    prepared = prepare_again(settings, session)
    return foresee(settings, session.definition, prepared, looked.to_ask).estimate


def _done(session: Session, state: str, stage: Stage | None, looked: Prospect) -> list[str]:
    if stage is None and state == "complete":
        return ["nothing is left to do; --from STAGE makes a part of it anew"]
    lines = [f"there: {looked.answered} of {session.facts.analyses} analyses answered, which nobody pays for again"]
    if looked.parked:
        again = f", {looked.tried_again} of them tried again" if looked.tried_again else ", left as they are"
        lines.append(f"parked: {looked.parked}{again}")
    unanswered = session.facts.analyses - looked.answered
    left = f"; {unanswered} without an answer stay so, for --from {stage} asks nobody" if unanswered else ""
    lines.append(f"to ask: {counted(len(looked.to_ask), 'analysis')}{left if not asks(stage) else ''}")
    lines.append(f"to read: {counted(looked.to_read, 'analysis')}")
    if looked.anew:
        kept = f"; those that seal {looked.version} covers are kept with it" if looked.version else ""
        lines.append(f"made anew: {counted(len(looked.anew), 'file')}{kept}")
    tables = stage is None or makes_tables(session, stage)
    lines.append(f"then: {'tables, report' if tables else 'report'} and seal")
    return lines


def _facts(
    session: Session,
    state: str,
    stage: Stage | None,
    looked: Prospect,
    estimate: Estimate | None,
    changed: Sequence[str],
    found: Sequence[Conflict],
) -> dict[str, object]:
    usd = None if estimate is None or estimate.usd is None else asdict(estimate.usd)
    return {
        "session": session.name,
        "state": state,
        "from": stage,
        "planned": session.facts.analyses,
        "answered": looked.answered,
        "to_ask": [analysis.number for analysis in looked.to_ask],
        "parked": looked.parked,
        "tried_again": looked.tried_again,
        "to_read": looked.to_read,
        "made_anew": list(looked.anew),
        "projected_usd": usd if looked.to_ask or estimate is not None else 0.0,
        "unpriced": list(estimate.unpriced) if estimate is not None else [],
        "changes": list(changed),
        "conflicts": [asdict(one) for one in found],
    }
