"""``register``: an experiment fixed as it is now, before anybody has seen what comes of it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

from cli.display import counted, write
from cli.exits import COMPLETE, INVALID, CommandError, command_name
from cli.looking import define, find
from cli.tables import wrapped
from discernus.experiments.location import project_of
from discernus.experiments.problems import InvalidDefinition
from discernus.experiments.registration import files_of, registration_of
from discernus.sessions.integrity.signing import KeyUnusable, read_private_key
from discernus.sessions.opening import sessions_folder, sessions_in
from discernus.sessions.registrations import REGISTRATION, REGISTRATIONS, Registered, write_registration
from discernus.settings import Settings


def register(settings: Settings, name: str, *, as_json: bool) -> int:
    """Freeze an experiment's plan, prompts, models and formulas under the hash and the time of now."""
    folder = find(settings, name)
    definition = define(settings, folder)
    experiment = sessions_folder(settings.projects_dir, folder).parent
    try:
        key = read_private_key(settings.signing_key, settings.projects_dir) if settings.signing_key else None
        files = files_of(definition, folder)
    except (KeyUnusable, InvalidDefinition) as refused:
        raise CommandError(str(refused), INVALID) from refused
    now = datetime.now(UTC)
    registration = registration_of(definition, project_of(folder), now, files)
    registered = write_registration(experiment, settings.projects_dir, registration, files, key)
    before = [session.folder.name for session in sessions_in(experiment / "sessions")]
    file = experiment / REGISTRATIONS / registered.name / REGISTRATION
    if as_json:
        write(json.dumps(_for_programs(registered, file, before), ensure_ascii=False))
        return COMPLETE
    for line in _lines(registered, file, before):
        write(line)
    return COMPLETE


def _for_programs(registered: Registered, file: Path, before: list[str]) -> dict[str, object]:
    assert registered.registration is not None
    return {
        "registration": registered.name,
        "file": str(file),
        "sha256": registered.sha256,
        "registered_at": registered.registration.registered_at.isoformat(),
        "signed_by": registered.signed_by,
        "analyses": registered.registration.analyses,
        "sessions_before": before,
    }


def _lines(registered: Registered, file: Path, before: list[str]) -> list[str]:
    plan = registered.registration
    assert plan is not None
    what = ", ".join(
        (
            counted(len(plan.documents), "document"),
            counted(len(plan.models), "model"),
            counted(plan.runs_per_model, "run"),
            counted(len(plan.prompts), "prompt"),
            counted(len(plan.formulas), "formula"),
        )
    )
    lines = [
        wrapped(f"registered {plan.project}/{plan.experiment} at {plan.registered_at:%Y-%m-%d %H:%M:%S} UTC: {what}"),
        f"  SHA-256  {registered.sha256}",
        wrapped(f"  file     {file}"),
        wrapped(f"  signed   {registered.signed_by or 'no: set DISCERNUS_SIGNING_KEY to have it signed'}"),
        "",
        wrapped(
            "To prove to others when this was, deposit the file or its SHA-256 where a third party dates it (OSF, "
            "AsPredicted, a notary): the project's chronolog is in your own hands."
        ),
        wrapped(f"Then run it with: {command_name()} {plan.experiment}; its report lists every deviation."),
    ]
    if before:
        named = ", ".join(before[-3:])
        lines.append(
            wrapped(
                f"The experiment has {counted(len(before), 'session')} already (newest: {named}): reports of later "
                "ones will name those that read the same texts."
            )
        )
    return lines
