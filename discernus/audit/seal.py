"""Whether the session is what was sealed, who signed it, and what has been taken out, replaced or asked since."""

from __future__ import annotations

from collections.abc import Mapping

from discernus.audit.subject import Subject
from discernus.audit.verdicts import Check, Place, found, not_applicable, nothing, unshown
from discernus.sessions import layout
from discernus.sessions.conversations import asked_again_folder


def changes(subject: Subject, name: str) -> Check:
    """Whether any file is not what the seal, the chronolog and the other files say it was."""
    verified = subject.verification
    places = [Place(one.file, f"{one.place}: {one.kind}: {one.what}") for one in verified.findings]
    if places:
        return found(name, "fail", places, verified.files, "These are not what they were.")
    if verified.version is None:
        return Check(name, "attention", None, verified.files, "The session was never sealed: nothing fixes its files.")
    if verified.state == "under_way":
        reason = f"Work went on after version {verified.version} was sealed, and no seal closes it yet."
        return Check(name, "attention", None, verified.files, reason)
    since = " What became of them before they were migrated, it cannot say." if subject.recovered else ""
    return nothing(name, verified.files, f"All files are as version {verified.version} was sealed.{since}")


def signature(subject: Subject, name: str) -> Check:
    """Whether the newest seal is signed."""
    verified = subject.verification
    if verified.version is None:
        return not_applicable(name, "There is no seal to sign.")
    if verified.signed_by is None:
        reason = "The seal is not signed: whoever could write all files, the project's chronolog too, could forge it."
        return unshown(name, reason)
    reason = f"Signed by {verified.signed_by}. Compare that with the key that its owner publishes."
    return Check(name, "pass", None, None, reason)


def earlier_versions(subject: Subject, name: str) -> Check:
    """Whether results were made anew after they had been sealed once."""
    redone = [event for event in subject.events if event.event == "files_superseded"]
    if not redone:
        if not subject.events:
            return unshown(name, "There is no chronolog, so nothing shows that none were.")
        if subject.recovered:
            return unshown(name, "None since the migration; the older layout did not record it.")
        return nothing(name, None, "No stage was gone back to.")
    places = [
        Place(
            layout.CHRONOLOG, f"{event.at:%Y-%m-%d %H:%M} UTC: from {event.facts.get('stage')} on, {_kept(event.facts)}"
        )
        for event in redone
    ]
    return found(
        name, "attention", places, None, "Stages were made anew; what a seal covered was kept under its number."
    )


def taken_out(subject: Subject, name: str) -> Check:
    """Whether texts were taken out, by law or for passing the session on."""
    places = [
        Place(one.record, f"{one.redaction.kind} of {one.redaction.at:%Y-%m-%d}: {one.redaction.reason}")
        for one in subject.verification.redactions
    ]
    if places:
        return found(name, "attention", places, None, "What was taken out cannot be checked by anybody any more.")
    return not_applicable(name, "None was.")


def asked_again(subject: Subject, name: str) -> Check:
    """Whether archived requests were put once more beside the session: answers that nobody need report."""
    folder = asked_again_folder(subject.session.folder.resolve())
    tries = sorted(one.name for one in folder.iterdir() if one.is_dir()) if folder.is_dir() else []
    places = [Place(f"../../{folder.parent.name}/{folder.name}/{one}", one) for one in tries]
    if places:
        return found(
            name, "attention", places, None, "Requests were put again, apart; their answers are not in the results."
        )
    return nothing(name, None, "No request was put again beside the session, as far as its folder's neighbours show.")


def _kept(facts: Mapping[str, object]) -> str:
    version = facts.get("version")
    return "before any seal" if version is None else f"after seal {version}"
