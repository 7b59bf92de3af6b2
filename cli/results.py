"""``results``: a session's numbers in the form that another program takes."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from cli.display import write
from cli.exits import COMPLETE, INVALID, CommandError, command_name
from cli.sessions import session_meant
from discernus.experiments.freezing import SnapshotDamaged
from discernus.experiments.problems import InvalidDefinition
from discernus.reports import results
from discernus.reports.columnar import parquet, stata
from discernus.reports.groups import groups_of
from discernus.reports.long_form import long_form
from discernus.reports.main_tables import as_html, as_latex, main_tables
from discernus.reports.scripts import r_script, stata_script
from discernus.sessions import layout
from discernus.sessions.session import Session
from discernus.settings import Settings
from discernus.stages.projection import column_names
from discernus.stages.records import session_records

Form = Literal["csv", "long", "parquet", "dta", "latex", "html", "r", "stata"]
BINARY = ("parquet", "dta")


def give(settings: Settings, name: str, form: Form, to: Path | None) -> int:
    """Write the results to a file, or without one to the output; raise CommandError for what cannot be."""
    session = session_meant(settings, name)
    if to is None and form in BINARY:
        raise CommandError(f"{form} is no text: say which file to write, as in --to results.{form}", INVALID)
    if to is not None and (session.folder.resolve() in to.resolve().parents):
        raise CommandError(f"'{to}' lies in the session, which stays as it is; choose another place", INVALID)
    try:
        data = _made(session, form)
    except (SnapshotDamaged, InvalidDefinition) as damaged:
        cure = f"verify it with: {command_name()} verify {session.facts.session}"
        raise CommandError(f"{session.name} cannot be read: {damaged}\n{cure}", INVALID) from damaged
    if to is None:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        return COMPLETE
    try:
        to.write_bytes(data)
    except OSError as refused:
        raise CommandError(f"'{to}' cannot be written: {refused.strerror}; choose another place", INVALID) from refused
    write(f"{to}: {len(data):,} bytes, of {session.name}")
    return COMPLETE


def _made(session: Session, form: Form) -> bytes:
    """Return the results in that form; results.csv as it is in the session, once it is there as a whole."""
    if form == "csv" and session.reached("calculation"):
        return session.store.get(layout.RESULTS)
    records, framework = list(session_records(session)), session.definition.framework
    validated = session.definition.experiment.human_validation
    metadata_keys, parameter_names = column_names(session)
    columns = results.columns(framework, metadata_keys, parameter_names)
    match form:
        case "csv":
            return results.write_csv(records, framework, metadata_keys, parameter_names)
        case "long":
            return long_form(records, framework, metadata_keys)
        case "parquet":
            return parquet(columns, records)
        case "dta":
            return stata(columns, records, _stated_time(session))
        case "r":
            return r_script(framework).encode()
        case "stata":
            return stata_script(framework, [column.name for column in columns]).encode()
        case "latex":
            return as_latex(main_tables(framework, groups_of(records)), validated).encode()
        case "html":
            return as_html(main_tables(framework, groups_of(records)), validated).encode()


def _stated_time(session: Session) -> datetime:
    """Return the time that a Stata file states: the session's, or where that was not recorded, now."""
    facts = session.facts
    return datetime.now(UTC) if facts.clock == "time_not_recorded" else facts.created_at
