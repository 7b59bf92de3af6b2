"""``starter.py models``: how the models are that were called, and what they may be called at most."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.options import Json, ProjectsDir, StateDir, Temporal, settings_of

HELP = """\
Say how the models are: health, limits, latency.

\b
starter.py models                       every model that was called
starter.py models show MODEL            why it is as it is, and what helps
starter.py models limit MODEL --requests-per-minute 600
starter.py models limit MODEL --tokens-per-minute 200000 --in-flight 8
starter.py models limit MODEL --clear   back to what models.yaml says
starter.py models reset MODEL           call it again at once

\b
A model that fails three times in a row is left alone for five minutes,
then tried with a single call. Limits hold over all sessions and workers.
"""

Model = Annotated[str, typer.Argument(help="A model by the name that experiments give it: openai/gpt-4o.")]

app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False, help=HELP)


@app.callback(invoke_without_command=True)
def models(
    context: typer.Context,
    projects_dir: ProjectsDir = None,
    state_dir: StateDir = None,
    temporal: Temporal = None,
    as_json: Json = False,
) -> None:
    """List the models; the callback of the group, so that ``models`` alone does it."""
    if context.invoked_subcommand is None:
        from cli.models import list_models

        settings = settings_of(projects_dir=projects_dir, state_dir=state_dir, temporal=temporal)
        raise typer.Exit(list_models(settings, as_json=as_json))


@app.command()
def show(
    model: Model,
    projects_dir: ProjectsDir = None,
    state_dir: StateDir = None,
    temporal: Temporal = None,
    as_json: Json = False,
) -> None:
    """Explain how one model is, why, and what can be done about it."""
    from cli.models import show_model

    settings = settings_of(projects_dir=projects_dir, state_dir=state_dir, temporal=temporal)
    raise typer.Exit(show_model(settings, model, as_json=as_json))


@app.command()
def limit(
    model: Model,
    requests_per_minute: Annotated[float | None, typer.Option(min=0.1, help="Calls a minute, over all runs.")] = None,
    tokens_per_minute: Annotated[float | None, typer.Option(min=1, help="Tokens a minute, in and out.")] = None,
    in_flight: Annotated[int | None, typer.Option(min=1, help="Calls in flight, over all runs.")] = None,
    clear: Annotated[bool, typer.Option("--clear", help="Lift what was set here; models.yaml holds again.")] = False,
    projects_dir: ProjectsDir = None,
    state_dir: StateDir = None,
    temporal: Temporal = None,
    as_json: Json = False,
) -> None:
    """Limit a model from now on, also for what is running."""
    from cli.models import limit_model

    settings = settings_of(projects_dir=projects_dir, state_dir=state_dir, temporal=temporal)
    code = limit_model(
        settings,
        model,
        requests_per_minute=requests_per_minute,
        tokens_per_minute=tokens_per_minute,
        in_flight=in_flight,
        clear=clear,
        as_json=as_json,
    )
    raise typer.Exit(code)


@app.command()
def reset(
    model: Model,
    projects_dir: ProjectsDir = None,
    state_dir: StateDir = None,
    temporal: Temporal = None,
    as_json: Json = False,
) -> None:
    """Call a model again at once, whatever speaks against it."""
    from cli.models import reset_model

    settings = settings_of(projects_dir=projects_dir, state_dir=state_dir, temporal=temporal)
    raise typer.Exit(reset_model(settings, model, as_json=as_json))
