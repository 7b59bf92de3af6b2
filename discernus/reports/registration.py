"""What was fixed before the session, what it did otherwise, and which sessions had read the same texts before."""

from discernus.reports.data import EarlierReading, Preregistration, ReportData
from discernus.reports.markdown import count, series, table, text


def before_the_session(data: ReportData) -> str | None:
    """Return the registration with every deviation, and every earlier session; None where nothing tells of either."""
    if data.earlier is None:
        return None
    parts = ["## Registration and earlier sessions", *_registration(data.preregistration), *_earlier(data.earlier)]
    if data.earlier_gone:
        named = series([text(name) for name in data.earlier_gone])
        one = len(data.earlier_gone) == 1
        parts.append(
            f"{count(len(data.earlier_gone), 'session')} that {'was' if one else 'were'} opened before can no longer "
            f"be read, so nobody can say on which texts {'it' if one else 'they'} ran: {named}."
        )
    return "\n\n".join(parts)


def _registration(found: Preregistration | None) -> list[str]:
    if found is None:
        return ["This session was not registered in advance: nothing shows which of its choices were made beforehand."]
    signed = f"signed by {found.signed_by}" if found.signed_by else "not signed"
    parts = [
        f"Registered in advance as `{found.name}`, at {text(found.registered_at)} UTC ({signed}); SHA-256 of "
        f"`registration.json`: {found.sha256}."
    ]
    if found.flaws:
        parts.append("What weakens the registration:\n\n" + "\n".join(f"- {text(flaw)}" for flaw in found.flaws))
    if found.deviations is None:
        parts.append("It cannot be read, so nobody can say what the session did otherwise.")
    elif found.deviations:
        lines = "\n".join(f"- {text(line)}" for line in found.deviations)
        parts.append(f"**Deviations from it** ({len(found.deviations)}):\n\n{lines}")
    else:
        parts.append(
            "The session was set up as registered: the same texts, models, prompts, parameters, runs and formulas. "
            "What it did not get of its plan stands under Gaps."
        )
    return parts


def _earlier(found: tuple[EarlierReading, ...]) -> list[str]:
    if not found:
        return ["No earlier session that is still in this projects folder had answers about any of these texts."]
    lead = (
        f"{count(len(found), 'earlier session')} in this projects folder had answers about texts of this corpus, by "
        "their SHA-256. What they showed may have guided choices that were made for this one."
    )
    rows = [
        [
            text(one.session),
            text(f"{one.created_at}{'' if one.zone_recorded else ' (zone not recorded)'}"),
            text(", ".join(one.models)),
            "the same" if one.same_framework else "another",
            f"{one.shared} of {one.documents}",
        ]
        for one in found
    ]
    return [lead, table(["session", "opened (UTC)", "models", "framework", "texts shared"], rows, left=4)]
