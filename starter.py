"""The researcher's command line. ``starter.py experiment_3`` runs an experiment, or goes on where it was left."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.exits import INFRASTRUCTURE, INTERRUPTED, INVALID, CommandError

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help=(
        "Have texts analysed by language models, several times each, and keep every answer.\n\n"
        "  starter.py experiment_3             run it, or go on where it was left\n\n"
        "  starter.py validate experiment_3    say all that is wrong with it; nothing is called\n\n"
        "  starter.py status                   where every session stands\n\n"
        "Exit codes: 0 complete, 2 invalid input, 3 partial, 4 infrastructure, 5 paused, 130 interrupted."
    ),
)

Name = Annotated[str, typer.Argument(help="An experiment's name, project/name, or the path of its folder.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON object a line, for programs.")]
ProjectsDir = Annotated[Path | None, typer.Option(help="The projects folder [env: DISCERNUS_PROJECTS_DIR].")]
StateDir = Annotated[Path | None, typer.Option(help="The embedded server's state [env: DISCERNUS_STATE_DIR].")]
Models = Annotated[
    str | None, typer.Option(help="Models in place of the experiment's, separated by commas [env: DISCERNUS_MODELS].")
]
Runs = Annotated[int | None, typer.Option(min=1, help="Runs per model [env: DISCERNUS_RUNS].")]


@app.command()
def run(
    experiment: Name,
    new: Annotated[bool, typer.Option("--new", help="Open another session, whatever there is.")] = False,
    models: Models = None,
    runs: Runs = None,
    concurrency: Annotated[
        int | None, typer.Option(min=1, help="Calls in flight at most [env: DISCERNUS_CONCURRENCY].")
    ] = None,
    temporal: Annotated[
        str | None, typer.Option(help="A Temporal server, host:port, served by worker.py [env: DISCERNUS_TEMPORAL].")
    ] = None,
    projects_dir: ProjectsDir = None,
    state_dir: StateDir = None,
    as_json: Json = False,
) -> None:
    """Run an experiment, or go on with its unfinished session. This is what a bare name does."""
    import asyncio

    from cli.display import make_display
    from cli.looking import define, find

    settings = _settings(
        models=models,
        runs=runs,
        concurrency=concurrency,
        temporal=temporal,
        projects_dir=projects_dir,
        state_dir=state_dir,
    )
    display = make_display(as_json=as_json)
    folder = find(settings, experiment)
    definition = define(settings, folder)
    for problem in definition.warnings:
        display.say(str(problem))
    from cli.run import run as run_session

    overridden = settings.models is not None or settings.runs is not None
    raise typer.Exit(asyncio.run(run_session(settings, folder, definition, display, new=new, overridden=overridden)))


@app.command()
def validate(
    experiment: Name,
    models: Models = None,
    runs: Runs = None,
    projects_dir: ProjectsDir = None,
    as_json: Json = False,
) -> None:
    """Say all that is wrong or odd with an experiment, each with its place and its cure."""
    from cli.looking import validate as validate_experiment

    settings = _settings(models=models, runs=runs, projects_dir=projects_dir)
    raise typer.Exit(validate_experiment(settings, experiment, as_json=as_json))


@app.command()
def status(
    experiment: Annotated[str | None, typer.Argument(help="An experiment; all of them if left out.")] = None,
    projects_dir: ProjectsDir = None,
    as_json: Json = False,
) -> None:
    """Say where sessions stand, from their stores alone: no server is needed."""
    from cli.looking import status as show_status

    raise typer.Exit(show_status(_settings(projects_dir=projects_dir), experiment, as_json=as_json))


@app.command()
def watch(
    session: Annotated[str, typer.Argument(help="A session's name, or an experiment for its newest one.")],
    projects_dir: ProjectsDir = None,
    as_json: Json = False,
) -> None:
    """Show a session's progress until it ends, without taking part in it."""
    from cli.display import make_display
    from cli.looking import watch as watch_session

    raise typer.Exit(watch_session(_settings(projects_dir=projects_dir), session, make_display(as_json=as_json)))


@app.command()
def server(projects_dir: ProjectsDir = None, state_dir: StateDir = None, as_json: Json = False) -> None:
    """Keep Temporal, its Web UI and a worker up until Ctrl-C, so that the Web UI's buttons do something."""
    import asyncio

    from cli.display import make_display
    from cli.serving import serve

    settings = _settings(projects_dir=projects_dir, state_dir=state_dir)
    raise typer.Exit(asyncio.run(serve(settings, make_display(as_json=as_json))))


@app.command()
def ui(
    projects_dir: ProjectsDir = None,
    state_dir: StateDir = None,
    open_browser: Annotated[bool, typer.Option("--open", help="Open it in a browser.")] = False,
) -> None:
    """Say where Temporal's Web UI is."""
    from cli.display import make_display
    from cli.serving import show_ui

    settings = _settings(projects_dir=projects_dir, state_dir=state_dir)
    raise typer.Exit(show_ui(settings, make_display(as_json=False), open_browser=open_browser))


def _settings(**given: Any) -> Any:
    """Return the settings, options before environment; raise CommandError naming what is not valid."""
    from pydantic import ValidationError

    from discernus.settings import Settings

    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as invalid:
        wrong = "; ".join(f"{'.'.join(map(str, error['loc']))}: {error['msg']}" for error in invalid.errors())
        raise CommandError(f"a setting is not valid: {wrong}", INVALID) from None


def main() -> None:
    """Run the command line and end the process with the right exit code, whatever the interpreter does at its end."""
    arguments = sys.argv[1:]
    commands = {command.callback.__name__ for command in app.registered_commands if command.callback is not None}
    if arguments and arguments[0] not in commands | {"--help", "-h"}:
        arguments = ["run", *arguments]
    code = _exit_code(arguments)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # an interpreter that has used the Temporal client may crash while it shuts down


def _exit_code(arguments: list[str]) -> int:
    import click

    try:
        result = app(arguments, prog_name="starter.py", standalone_mode=False)
    except CommandError as failed:
        print(f"error: {failed}" if "\n" not in str(failed) else str(failed), file=sys.stderr)  # noqa: T201
        return failed.code
    except click.ClickException as misused:
        misused.show()
        return INVALID
    except (KeyboardInterrupt, click.Abort):
        print("interrupted", file=sys.stderr)  # noqa: T201
        return INTERRUPTED
    except OSError as refused:
        print(f"error: {refused.strerror}: {refused.filename}", file=sys.stderr)  # noqa: T201
        return INFRASTRUCTURE
    except BrokenPipeError:
        return 0
    return result if isinstance(result, int) else 0


if __name__ == "__main__":
    main()
