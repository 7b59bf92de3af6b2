"""The commands for reviewers and registrations: ``audit``, ``register``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.options import Json, Models, Name, ProjectsDir, Runs, SessionName, settings_of

AUDIT = """\
Look at a session as a reviewer would, with a verdict for each check.

\b
starter.py audit speeches                     its newest session
starter.py audit session_20261120_101500 --to review.md
starter.py audit speeches --json              everything, for programs

\b
What is missing, who answered in whose place, versions that changed, answers
that had to be repaired, quotations that are not in the texts, calls in
doubt, changes after sealing, names that reached a model though the
experiment is blind (blind: true), deviations from the registration. What a
session cannot show never passes. The page, with links to the files, is put
into audits/ beside the sessions; the session itself is not changed.

\b
Exit codes: 0 all passed or not applicable, 3 something to look at.
"""

REGISTER = """\
Fix plan, prompts, models and formulas, before anything is run.

\b
starter.py register speeches
starter.py register speeches --json

\b
It is put into registrations/ beside the sessions, with a time and a
SHA-256, and noted in the project's chronolog; DISCERNUS_SIGNING_KEY signs
it. The report of a later session lists every deviation from the newest
registration before it, and every earlier session on the same texts. No
model is called. Texts are registered by their hashes alone.
"""

app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)


@app.command(help=AUDIT, short_help="Judge a session as a reviewer would.")
def audit(
    session: SessionName,
    to: Annotated[Path | None, typer.Option(help="Where to put the page: a file, or a folder.")] = None,
    projects_dir: ProjectsDir = None,
    as_json: Json = False,
) -> None:
    """Look at a session as a reviewer would."""
    from cli.auditing import audit_session

    raise typer.Exit(audit_session(settings_of(projects_dir=projects_dir), session, to=to, as_json=as_json))


@app.command(help=REGISTER, short_help="Fix plan, prompts and formulas beforehand.")
def register(
    experiment: Name,
    models: Models = None,
    runs: Runs = None,
    projects_dir: ProjectsDir = None,
    as_json: Json = False,
) -> None:
    """Fix plan, prompts, models and formulas, before anything is run."""
    from cli.registering import register as register_experiment

    settings = settings_of(models=models, runs=runs, projects_dir=projects_dir)
    raise typer.Exit(register_experiment(settings, experiment, as_json=as_json))
