"""``starter.py framework``: what a framework says, and how each of its formulas is computed."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.options import Json, ProjectsDir, settings_from

HELP = """\
Say what a framework says, and what is wrong with it.

\b
starter.py framework check framework.md        a file
starter.py framework check experiment_3        the one of an experiment
starter.py framework check framework.md --json
"""

CHECK = """\
Explain a framework in words.

Its dimensions with their scales and markers, its variants, what an answer
has to hold, and each formula worked out on example values. What cannot be
read is named with its line and what to do. Nothing is called or written.

\b
starter.py framework check framework.md
starter.py framework check MVA/experiment_3
"""

Framework = Annotated[str, typer.Argument(help="A framework's file, or an experiment.", metavar="FILE|EXPERIMENT")]

app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False, no_args_is_help=True, help=HELP)


@app.callback()
def framework() -> None:
    """Keep the group a group, whatever the number of its commands."""


@app.command(help=CHECK)
def check(framework: Framework, projects_dir: ProjectsDir = None, as_json: Json = False) -> None:
    """Explain one framework."""
    from cli.frameworks import check_framework

    raise typer.Exit(check_framework(settings_from(projects_dir=projects_dir), framework, as_json=as_json))
