"""A session held against what was registered before it, as its report and its audit show it."""

from __future__ import annotations

from discernus.experiments.registration import deviations
from discernus.reports.data import EarlierReading, Preregistration
from discernus.sessions.registrations import Before, Registered
from discernus.sessions.session import Session


def preregistration(session: Session, before: Before | None) -> Preregistration | None:
    """Return the newest registration before the session, with what the session did otherwise; None if there is none."""
    if before is None or before.registered is None:
        return None
    found = before.registered
    return Preregistration(
        name=found.name,
        registered_at=_when(found),
        sha256=found.sha256,
        signed_by=found.signed_by,
        flaws=found.flaws,
        deviations=None if found.registration is None else deviations(found.registration, session.definition),
    )


def earlier(before: Before | None) -> tuple[EarlierReading, ...] | None:
    """Return the sessions that had answers about the same texts before; None where nothing tells."""
    if before is None:
        return None
    return tuple(
        EarlierReading(
            session=one.session,
            created_at=f"{one.created_at:%Y-%m-%dT%H:%M:%S}",
            models=one.models,
            same_framework=one.same_framework,
            shared=one.shared,
            documents=one.documents,
            zone_recorded=one.clock == "utc",
        )
        for one in before.earlier
    )


def _when(found: Registered) -> str:
    """Return when it was registered; the name tells where it cannot be read."""
    if found.registration is None:
        return found.name.removeprefix("registration_")
    return f"{found.registration.registered_at:%Y-%m-%dT%H:%M:%S}"
