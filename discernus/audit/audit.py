"""All checks of a session, in the order in which a reviewer would ask."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from discernus.audit import answerers, beforehand, blindness, completeness, readings, seal
from discernus.audit.subject import Subject
from discernus.audit.verdicts import Audit, Check, unshown
from discernus.experiments.freezing import SnapshotDamaged
from discernus.experiments.problems import InvalidDefinition
from discernus.sessions.archive import ArchiveDamaged
from discernus.sessions.session import Session

CHECKS: Final[Mapping[str, Callable[[Subject, str], Check]]] = {
    "Completeness": completeness.completeness,
    "Parked analyses": completeness.parked,
    "Calls in doubt": completeness.in_doubt,
    "Answers that were not scored": completeness.unused_answers,
    "Substitutions": answerers.substitutions,
    "Version drift": answerers.version_drift,
    "Answers from other sessions": answerers.from_elsewhere,
    "Repaired extractions": readings.repairs,
    "Readable answers": readings.readable,
    "Evidence quotes": readings.quotations,
    "Identifying words in prompts": blindness.identifying_words,
    "Speakers named in answers": blindness.names_in_answers,
    "Changes after sealing": seal.changes,
    "Signature": seal.signature,
    "Results made anew": seal.earlier_versions,
    "Texts taken out": seal.taken_out,
    "Questions asked again": seal.asked_again,
    "Registration": beforehand.registration,
    "Earlier sessions on the same texts": beforehand.earlier_sessions,
}


def audit(session: Session) -> Audit:
    """Return what an audit of the session finds; nothing is changed by it."""
    subject = Subject(session)
    verified = subject.verification
    return Audit(
        session=session.name,
        created_at=session.facts.created_at.isoformat() if session.facts.clock == "utc" else None,
        opened=session.facts.opened,
        sealed_version=verified.version if verified.state == "sealed" else None,
        migrated_from=session.facts.migrated_from,
        checks=tuple(_looked_at(subject, name) for name in CHECKS),
    )


def _looked_at(subject: Subject, name: str) -> Check:
    """Return what a check finds; files that cannot be read keep it from passing, and no other check from being made."""
    try:
        return CHECKS[name](subject, name)
    except (ValueError, LookupError, OSError, ArchiveDamaged, SnapshotDamaged, InvalidDefinition) as error:
        what = str(error).splitlines()[0] if str(error) else type(error).__name__
        return unshown(name, f"It could not be looked at, for a file cannot be read: {what}")
