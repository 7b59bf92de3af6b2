"""What the commands have in common: options of the same name and meaning, and the settings that they make up."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from cli.exits import INVALID, CommandError

Name = Annotated[str, typer.Argument(help="An experiment's name, project/name, or the path of its folder.")]
Named = Annotated[
    str | None, typer.Argument(help="A project, an experiment or a session; all of them if left out.", metavar="NAME")
]
Json = Annotated[bool, typer.Option("--json", help="One JSON object a line, for programs.")]
ProjectsDir = Annotated[Path | None, typer.Option(help="The projects folder [env: DISCERNUS_PROJECTS_DIR].")]
StateDir = Annotated[Path | None, typer.Option(help="The embedded server's state [env: DISCERNUS_STATE_DIR].")]
Models = Annotated[
    str | None, typer.Option(help="Models in place of the experiment's, separated by commas [env: DISCERNUS_MODELS].")
]
Runs = Annotated[int | None, typer.Option(min=1, help="Runs per model [env: DISCERNUS_RUNS].")]
Temporal = Annotated[
    str | None, typer.Option(help="A Temporal server, host:port, served by worker.py [env: DISCERNUS_TEMPORAL].")
]
Since = Annotated[str | None, typer.Option(help="From this day or moment on, UTC: 2026-11-01, 2026-11-01T08:00.")]
Until = Annotated[str | None, typer.Option(help="Up to the end of this day, or until this moment, UTC.")]
Form = Annotated[str, typer.Option("--format", help="table, csv, or json (as --json).")]


def settings_from(**given: Any) -> Any:
    """Return the settings, options before environment; raise CommandError naming what is not valid."""
    from pydantic import ValidationError

    from discernus.settings import Settings

    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as invalid:
        wrong = "; ".join(f"{'.'.join(map(str, error['loc']))}: {error['msg']}" for error in invalid.errors())
        raise CommandError(f"a setting is not valid: {wrong}; correct or unset it", INVALID) from None


def settings_of(**given: Any) -> Any:
    """Return the settings of a store that is there; raise CommandError where its folder is not."""
    settings = settings_from(**given)
    if not settings.projects_dir.is_dir():
        cure = "correct --projects-dir or DISCERNUS_PROJECTS_DIR, or go to the folder that holds it"
        raise CommandError(f"there is no projects folder '{settings.projects_dir}'; {cure}", INVALID)
    return settings
