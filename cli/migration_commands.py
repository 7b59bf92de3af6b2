"""``starter.py migrate``: bring what older layouts hold into sessions of today."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.options import DryRun, Json, ProjectsDir, named_path, settings_from

HELP = """\
Bring what an older layout holds into sessions of today.

\b
starter.py migrate old/cff_poc --to cff_2025 --dry-run   say what is there
starter.py migrate old/cff_poc --to cff_2025
starter.py status cff_poc                                look at the sessions

\b
Answers that were paid for once are archived, read, calculated and reported
without a new call. The old folder is only read. What was never recorded,
times, tokens, costs or the model, stays unknown. Whatever is not understood
is kept as it stands, and named with its place in the report, in the folder
migration of the project. Giving the command again changes nothing.
"""

app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)


@app.command(help=HELP)
def migrate(
    path: Annotated[Path, typer.Argument(parser=named_path, help="The old project's folder.", metavar="PATH")],
    to: Annotated[str, typer.Option("--to", help="The project that it becomes, new or of an earlier migration.")],
    dry_run: DryRun = False,
    as_json: Json = False,
    projects_dir: ProjectsDir = None,
) -> None:
    from cli.migrating import migrate_command

    settings = settings_from(projects_dir=projects_dir)
    raise typer.Exit(migrate_command(settings, path, to, dry_run=dry_run, as_json=as_json))
