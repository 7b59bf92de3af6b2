"""What the commands have in common: options of the same name and meaning, and the settings that they make up."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import typer

from cli.exits import INVALID, CommandError


def one_of(option: str, choices: Any) -> Callable[[str], str]:
    """Return what reads an option that takes one of the values of a Literal, and raises CommandError for others."""
    known = get_args(choices)

    def read(given: str) -> str:
        if given not in known:
            raise CommandError(f"{option} {given!r} is unknown; it is one of {', '.join(known)}", INVALID)
        return given

    return read


def named_path(given: str) -> Path:
    """Return the path that was given; an empty one, which would mean the folder one is in, raises CommandError."""
    if not given.strip():
        raise CommandError("the name is empty; give the path of a folder or a file", INVALID)
    return Path(given)


Stage = Literal["analysis", "extraction", "calculation", "synthesis"]
ForChanges = Literal["snapshot", "new"]
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
SessionName = Annotated[
    str,
    typer.Argument(
        help="A session (session_…, or project/experiment/session_…), an experiment for its newest one, or a folder.",
        metavar="SESSION",
    ),
]
FromStage = Annotated[
    Stage | None,
    typer.Option("--from", parser=one_of("--from", Stage), help="Make this stage and the later ones anew."),
]
Extend = Annotated[
    str | None,
    typer.Option(help="Open another session that takes over this one's answers where the question is the same."),
]
OnChanges = Annotated[
    ForChanges | None,
    typer.Option(
        parser=one_of("--on-changes", ForChanges),
        help="If files have changed since a session was opened: go on with its snapshot, or open a new one.",
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done and what it costs; do nothing.")]
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
