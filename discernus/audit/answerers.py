"""Who answered: other models than those that were asked, versions that changed, answers that came from elsewhere."""

from __future__ import annotations

from datetime import UTC, datetime
from hashlib import sha256

from discernus.audit.subject import Subject, title
from discernus.audit.verdicts import Check, Place, found, not_applicable, nothing
from discernus.experiments.experiment import OFFLINE_PREFIX
from discernus.sessions import layout
from discernus.sessions.archive import ArchivedCall
from discernus.sessions.layout import Call
from discernus.sessions.substitutes import is_substitute
from discernus.sessions.versions import versions

EARLIEST = datetime.min.replace(tzinfo=UTC)  # where an answer of an older layout stands that told no time
UNRECORDED = "unrecorded/"  # stands for the vendor of a model whose name an older layout did not keep


def substitutions(subject: Subject, name: str) -> Check:
    """Whether each answer is by the model that the plan names: no fallback, no vendor's or proxy's substitute."""
    session = subject.session
    calls = _of_vendors(subject)
    if not calls and not subject.unaccounted:
        return not_applicable(name, "No vendor's model answered.")
    places = [
        Place(record.answer_file, f"{title(record)}: read by {record.read_by}")
        for record in subject.read()
        if record.read_by != record.model_requested
    ]
    places += [
        Place(Call.named(call.call).metadata, f"call {call.call}, a second reading: {call.model_answered} answered")
        for call in calls
        if call.purpose != "analysis" and is_substitute(session, call)
    ]
    if places:
        return found(name, "attention", places, len(calls), "Other models answered than the plan names.")
    unknown = _unnamed(subject, calls)
    if unknown:
        reason = "No substitution is known, but these answers do not say which model gave them."
        return found(name, "attention", unknown, len(calls), reason)
    return nothing(name, len(calls), "Each answer says that the model that was asked gave it.")


def version_drift(subject: Subject, name: str) -> Check:
    """Whether each model answered under one version throughout."""
    calls = _of_vendors(subject)
    if not calls and not subject.unaccounted:
        return not_applicable(name, "No vendor's model answered.")
    answered: dict[str, dict[str, ArchivedCall]] = {}
    for call in sorted(calls, key=lambda call: call.archived_at or EARLIEST):
        if call.model_answered is not None:
            answered.setdefault(call.model_requested, {}).setdefault(call.model_answered, call)
    places = [
        Place(Call.named(call.call).metadata, f"{model}: '{version}' from call {call.call} on")
        for model, found_ in answered.items()
        if len(found_) > 1
        for version, call in found_.items()
    ]
    noted = [one for one in versions(subject.session.store) if not one.first]
    places += [
        Place(layout.version(one.model, one.version), f"{one.model}: '{one.version}' from call {one.call} on, as noted")
        for one in noted
        if len(answered.get(one.model, {})) < 2
    ]
    if places:
        return found(name, "attention", places, len(calls), "Models answered under more than one version.")
    unknown = _unnamed(subject, calls)
    if unknown:
        reason = "No change is known, but these answers do not say which version gave them."
        return found(name, "attention", unknown, len(calls), reason)
    reason = "Each model named the same version in all its answers. What a vendor changes behind a name, nobody sees."
    return nothing(name, len(calls), reason)


def from_elsewhere(subject: Subject, name: str) -> Check:
    """Whether answers that were taken over from other sessions are there as they were."""
    taken = [call for call in subject.calls if call.reused_from is not None]
    if not taken:
        return not_applicable(name, "None was taken over.")
    places = [
        Place(Call.named(call.call).metadata, f"call {call.call}, from {call.reused_from}: {flaw}")
        for call in taken
        if (flaw := _flaw(subject, call))
    ]
    if places:
        return found(name, "attention", places, len(taken), "These cannot be held against the session they came from.")
    return nothing(name, len(taken), "Each is, byte for byte, in the session that it was taken from.")


def _flaw(subject: Subject, call: ArchivedCall) -> str | None:
    """Return what is wrong with an answer's origin, None if it holds."""
    session, _, name = (call.reused_from or "").rpartition("/")
    folder = subject.session.folder.resolve().parent / session.rpartition("/")[2]
    try:
        data = (folder / Call.named(name).response).read_bytes()
    except (OSError, ValueError):
        return "that session is not beside this one, or has it no more"
    return None if sha256(data).hexdigest() == call.response_sha256 else "it has another answer there"


def _of_vendors(subject: Subject) -> list[ArchivedCall]:
    return [call for call in subject.calls if not call.model_requested.startswith(OFFLINE_PREFIX)]


def _unnamed(subject: Subject, calls: list[ArchivedCall]) -> list[Place]:
    """Return the answers of which nothing tells who gave them."""
    return [Place(name, f"{name}: its metadata cannot be read") for name in subject.unaccounted] + [
        Place(Call.named(call.call).metadata, f"call {call.call}: {_asked(call)}, and none is named that answered")
        for call in calls
        if call.model_answered is None
    ]


def _asked(call: ArchivedCall) -> str:
    """Return which model was asked; an older layout may not have recorded it, or only a part of its name."""
    known = call.model_requested.removeprefix(UNRECORDED)
    if known == call.model_requested:
        return f"{known} was asked"
    return "which model was asked was not recorded" if known == "unknown" else f"'{known}' was asked, by a cut name"
