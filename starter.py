"""The researcher's command line. ``starter.py experiment_3`` runs an experiment, or goes on where it was left."""

from __future__ import annotations

import json
import os
import sys
from contextlib import closing, suppress
from typing import Annotated

import typer
from typer.core import TyperGroup

from cli import (
    answer_commands,
    framework_commands,
    helps,
    migration_commands,
    model_commands,
    package_commands,
    result_commands,
    review_commands,
    session_commands,
)
from cli.exits import COMPLETE, INFRASTRUCTURE, INTERRUPTED, INVALID, CommandError, command_name
from cli.options import (
    Extend,
    Form,
    Json,
    Models,
    Name,
    Named,
    OnChanges,
    ProjectsDir,
    Runs,
    Since,
    StateDir,
    Temporal,
    Until,
    settings_from,
    settings_of,
)

HELP = """\
Have texts analysed by language models, several times each, and keep every answer.

\b
starter.py experiment_3            run it, or go on where it was left
starter.py validate experiment_3   say all that is wrong with it
starter.py prompt experiment_3     what a model would be shown
starter.py status                  where every session stands
starter.py watch experiment_3      look on while another terminal runs it
starter.py cost experiment_3       what it cost, and what would cost less
starter.py budget experiment_3     what it may cost (--set USD)
starter.py errors experiment_3     what went wrong, and what came of it
starter.py models                  which models are well, and their limits

\b
A SESSION is session_…, or an experiment for its newest one.
starter.py resume SESSION          go on, or make a stage anew (--from)
starter.py results SESSION         its scores as CSV, Parquet, Stata, LaTeX …
starter.py compare SESSION SESSION how far two of them agree
starter.py answers search TEXT     find what models wrote; show it; ask again
starter.py verify SESSION          prove that nothing was changed
starter.py audit SESSION           what a reviewer would ask, answered
starter.py export SESSION          make a replication package of it
starter.py doctor                  find and mend what crashes have left
starter.py COMMAND --help          what else a command can do

\b
An experiment is a name (experiment_3), a project and a name
(MVA/experiment_3) or the path of a folder. Ctrl-C stops a run; the same
command again goes on where it was, and pays for no answer twice.

\b
Exit codes: 0 complete, 2 invalid input, 3 partial, 4 infrastructure,
            5 paused, 130 interrupted.
"""

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help=HELP,
)

app.add_typer(model_commands.app, name="models")
app.add_typer(answer_commands.app, name="answers")
app.add_typer(framework_commands.app, name="framework")
for commands in (session_commands, result_commands, package_commands, review_commands, migration_commands):
    app.add_typer(commands.app)  # without a name its commands stand beside the others


@app.command()
def run(
    experiment: Name,
    new: Annotated[bool, typer.Option("--new", help="Open another session, whatever there is.")] = False,
    models: Models = None,
    runs: Runs = None,
    concurrency: Annotated[
        int | None, typer.Option(min=1, help="Calls in flight at most [env: DISCERNUS_CONCURRENCY].")
    ] = None,
    proxy: Annotated[
        str | None, typer.Option(help="A LiteLLM proxy that every call goes through [env: DISCERNUS_PROXY_URL].")
    ] = None,
    accept_versions: Annotated[
        bool, typer.Option("--accept-versions", help="Go on with the versions that answered, though one is pinned.")
    ] = False,
    extend: Extend = None,
    on_changes: OnChanges = None,
    temporal: Temporal = None,
    projects_dir: ProjectsDir = None,
    state_dir: StateDir = None,
    as_json: Json = False,
) -> None:
    """Run an experiment, or go on with its unfinished session.

    This is what a bare name does. What was answered before is never asked again; if the experiment's files have changed
    since its session was opened, the session goes on with the files as they were, and --new opens another with the new
    ones. --extend opens another too, and takes over every answer to a question that is the same: add documents, models,
    variants or runs to the files, and pay for these alone.
    """
    import asyncio

    from cli.display import make_display
    from cli.looking import define, describe, find
    from cli.sessions import session_meant

    if extend is not None and (new or on_changes is not None):
        raise CommandError("--extend opens a session by itself: leave out --new and --on-changes", INVALID)
    settings = settings_from(
        models=models,
        runs=runs,
        concurrency=concurrency,
        proxy_url=proxy,
        temporal=temporal,
        projects_dir=projects_dir,
        state_dir=state_dir,
    )
    folder = find(settings, experiment)
    definition = define(settings, folder)
    with closing(make_display(as_json=as_json)) as display:
        for problem in definition.warnings:
            display.say(str(problem))
        display.say(describe(definition, folder))
        from cli.run import Wanted
        from cli.run import run as run_session

        overridden = settings.models is not None or settings.runs is not None
        wanted = Wanted(
            new=new,
            extends=None if extend is None else session_meant(settings, extend),
            on_changes=on_changes,
            overridden=overridden,
            accept_versions=accept_versions,
        )
        code = asyncio.run(run_session(settings, folder, definition, display, wanted))
    raise typer.Exit(code)


@app.command()
def validate(
    experiment: Name,
    models: Models = None,
    runs: Runs = None,
    projects_dir: ProjectsDir = None,
    as_json: Json = False,
) -> None:
    """Say all that is wrong with an experiment, and the cure.

    Each problem is named with its file and line. Nothing is called and nothing is written.
    """
    from cli.looking import validate as validate_experiment

    settings = settings_from(models=models, runs=runs, projects_dir=projects_dir)
    raise typer.Exit(validate_experiment(settings, experiment, as_json=as_json))


@app.command(help=helps.PROMPT)
def prompt(
    experiment: Name,
    document: Annotated[str | None, typer.Option(help="The document; the first if left out.")] = None,
    variant: Annotated[str | None, typer.Option(help="The variant; the first if left out.")] = None,
    model: Annotated[str | None, typer.Option(help="The model; the first if left out.")] = None,
    projects_dir: ProjectsDir = None,
    as_json: Json = False,
) -> None:
    """Show what a model would be asked about a document, word for word."""
    from cli.prompting import show_prompt

    settings = settings_of(projects_dir=projects_dir)
    raise typer.Exit(show_prompt(settings, experiment, document, variant, model, as_json=as_json))


@app.command()
def status(
    experiment: Annotated[str | None, typer.Argument(help="An experiment; all of them if left out.")] = None,
    projects_dir: ProjectsDir = None,
    as_json: Json = False,
) -> None:
    """Say where every session stands.

    It is read from the sessions' folders alone: no server is needed, and none is started.
    """
    from cli.looking import status as show_status

    raise typer.Exit(show_status(settings_of(projects_dir=projects_dir), experiment, as_json=as_json))


@app.command()
def watch(
    session: Annotated[str, typer.Argument(help="A session's name, or an experiment for its newest one.")],
    projects_dir: ProjectsDir = None,
    as_json: Json = False,
) -> None:
    """Show the progress of a session that runs elsewhere.

    It takes no part in the session: Ctrl-C ends the looking on, and nothing else.
    """
    from cli.display import make_display
    from cli.looking import watch as watch_session

    with closing(make_display(as_json=as_json)) as display:
        code = watch_session(settings_of(projects_dir=projects_dir), session, display)
    raise typer.Exit(code)


@app.command(help=helps.COST)
def cost(
    name: Named = None,
    since: Since = None,
    until: Until = None,
    by: Annotated[
        str | None,
        typer.Option(help="What to add up by: session, experiment, project, model, purpose, day; several by commas."),
    ] = None,
    form: Form = "table",
    projects_dir: ProjectsDir = None,
    as_json: Json = False,
) -> None:
    """Say what calls cost, failed ones and those in doubt too."""
    from cli.costs import cost as show_cost

    settings = settings_of(projects_dir=projects_dir)
    form = "json" if as_json else form
    raise typer.Exit(show_cost(settings, name, since=since, until=until, by=by, form=form))


@app.command(help=helps.BUDGET)
def budget(
    name: Named = None,
    usd: Annotated[
        float | None, typer.Option("--set", min=0, help="The most it may cost in all, in US dollars.")
    ] = None,
    clear: Annotated[bool, typer.Option("--clear", help="Take its budget away.")] = False,
    level: Annotated[
        str | None, typer.Option(help="project, experiment or session: the one of these that NAME is part of.")
    ] = None,
    projects_dir: ProjectsDir = None,
    state_dir: StateDir = None,
    temporal: Temporal = None,
    as_json: Json = False,
) -> None:
    """Show what may be spent, and set it."""
    from cli.budgets import budget as show_budget

    settings = settings_of(projects_dir=projects_dir, state_dir=state_dir, temporal=temporal)
    raise typer.Exit(show_budget(settings, name, usd=usd, clear=clear, level=level, as_json=as_json))


@app.command(help=helps.ERRORS)
def errors(
    name: Named = None,
    since: Since = None,
    until: Until = None,
    by: Annotated[
        str, typer.Option(help="What to count by: class, model, hour, day; several by commas.")
    ] = "class,model",
    form: Form = "table",
    projects_dir: ProjectsDir = None,
    as_json: Json = False,
) -> None:
    """Count what went wrong with calls, and say what came of each."""
    from cli.failures import errors as count_errors

    settings = settings_of(projects_dir=projects_dir)
    form = "json" if as_json else form
    raise typer.Exit(count_errors(settings, name, since=since, until=until, by=by, form=form))


@app.command()
def server(projects_dir: ProjectsDir = None, state_dir: StateDir = None, as_json: Json = False) -> None:
    """Keep Temporal, its Web UI and a worker up until Ctrl-C.

    Without it they live as long as something runs. Unfinished sessions go on, and the Web UI's buttons take effect.
    """
    import asyncio

    from cli.display import make_display
    from cli.serving import serve

    settings = settings_from(projects_dir=projects_dir, state_dir=state_dir)
    with closing(make_display(as_json=as_json)) as display:
        code = asyncio.run(serve(settings, display))
    raise typer.Exit(code)


@app.command()
def ui(
    projects_dir: ProjectsDir = None,
    state_dir: StateDir = None,
    open_browser: Annotated[bool, typer.Option("--open", help="Open it in a browser.")] = False,
) -> None:
    """Say where Temporal's Web UI is."""
    from cli.display import make_display
    from cli.serving import show_ui

    settings = settings_of(projects_dir=projects_dir, state_dir=state_dir)
    raise typer.Exit(show_ui(settings, make_display(as_json=False), open_browser=open_browser))


def main() -> None:
    """Run the command line and end the process with the right exit code, whatever the interpreter does at its end."""
    arguments = sys.argv[1:]
    if arguments and arguments[0] not in _command_names() | {"--help", "-h"}:
        arguments = ["run", *arguments]
    code = _exit_code(arguments)
    segments = sys.modules.get(
        "discernus.sessions.chronologs.segments"
    )  # loading it to find that nothing was noted takes a while
    if segments is not None:
        with suppress(OSError):
            segments.flush()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):  # nobody reads it any more
            stream.flush()
    os._exit(code)  # an interpreter that has used the Temporal client may crash while it shuts down


def _command_names() -> set[str]:
    """Return the names of all commands and groups of commands; what is none of them is an experiment's."""
    group = typer.main.get_command(app)
    return set(group.commands) if isinstance(group, TyperGroup) else set()


def _exit_code(arguments: list[str]) -> int:
    """Run a command and return its exit code; whatever goes wrong is said in words that can be acted on."""
    try:
        app(arguments, prog_name=command_name())
    except SystemExit as ended:
        if ended.code == 1:  # nobody reads our output any more, or a question was left unanswered
            unanswered = isinstance(ended.__context__, typer.Abort)
            return INTERRUPTED if unanswered or arguments[0] == "run" else COMPLETE
        return ended.code if isinstance(ended.code, int) else COMPLETE
    except CommandError as failed:
        return _say(str(failed), failed.code, arguments)
    except OSError as refused:
        about = f": {refused.filename}" if refused.filename else ""
        advice = "mend that, or choose other folders with --projects-dir and --state-dir"
        return _say(f"{refused.strerror or refused}{about}; {advice}", INFRASTRUCTURE, arguments)
    except Exception as broken:  # noqa: BLE001  the last resort: a sentence is said, the traceback goes to a file
        from discernus.sessions.integrity.examination import SealBroken
        from discernus.sessions.session import SessionUnreadable
        from discernus.stages.sealing import CannotSeal

        if isinstance(broken, SessionUnreadable | SealBroken | CannotSeal):
            return _say(str(broken), INVALID, arguments)
        return _say(_keep_traceback(), INFRASTRUCTURE, arguments)
    return COMPLETE


def _say(message: str, code: int, arguments: list[str]) -> int:
    with suppress(OSError):
        from cli.tables import wrapped

        said = message if message.startswith("error: ") else f"error: {message}"
        print(wrapped(said), file=sys.stderr)  # noqa: T201
        if "--json" in arguments:
            print(json.dumps({"event": "end", "status": "error", "exit_code": code, "error": message}))  # noqa: T201
    return code


def _keep_traceback() -> str:
    import tempfile
    import traceback

    with tempfile.NamedTemporaryFile("w", prefix="discernus-", suffix=".txt", delete=False) as file:
        file.write(traceback.format_exc())
    said = str(sys.exc_info()[1]) or "no reason given"
    return (
        f"this should not have happened: {said.splitlines()[0]}\n"
        f"all answers are kept, and the same command goes on; {file.name} holds the details for a report"
    )


if __name__ == "__main__":
    main()
