"""What was fixed before the session, and what had been seen by then: its registration, earlier sessions."""

from __future__ import annotations

from discernus.audit.subject import Subject
from discernus.audit.verdicts import Check, Place, found, not_applicable, nothing, unshown
from discernus.sessions.registrations import KEPT, REGISTRATION, REGISTRATIONS, kept
from discernus.stages.registered import preregistration

UNKNOWN = "The session keeps no word of what was before it: its report was not written yet, or by an older version."


def registration(subject: Subject, name: str) -> Check:
    """Whether the session was registered beforehand, and was what was registered."""
    before = kept(subject.session)
    if before is None:
        return unshown(name, UNKNOWN)
    registered = preregistration(subject.session, before)
    if registered is None:
        return not_applicable(name, "The session was not registered in advance.")
    file = f"../../{REGISTRATIONS}/{registered.name}/{REGISTRATION}"
    places = [Place(file, flaw) for flaw in registered.flaws]
    if registered.deviations is None:
        return found(name, "attention", places, None, f"{registered.name} cannot be read.")
    places += [Place(KEPT, line) for line in registered.deviations]
    if places:
        reason = f"The session is not quite {registered.name}, or that is not beyond doubt."
        return found(name, "attention", places, None, reason)
    return nothing(name, None, f"The session was set up as {registered.name} says, which was made before it.")


def earlier_sessions(subject: Subject, name: str) -> Check:
    """Whether the same texts had been read before, in sessions that need not have been reported."""
    before = kept(subject.session)
    if before is None:
        return unshown(name, UNKNOWN)
    places = [
        Place(KEPT, f"{one.session}, {one.created_at:%Y-%m-%d}: answered on {one.shared} of its {one.documents} texts")
        for one in before.earlier
    ]
    places += [Place(KEPT, f"{one}: it was opened, and is no longer there") for one in before.gone]
    places += [Place(KEPT, f"{one}: its corpus cannot be read") for one in before.unreadable]
    if places:
        return found(name, "attention", places, None, "What these showed may have guided choices made for this one.")
    return nothing(name, None, "There was none in this projects folder. What was run elsewhere, nobody sees.")
