"""``starter.py framework``: what a framework says, how its formulas are computed, and a draft of what it lacks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.options import Json, ProjectsDir, StateDir, Temporal, settings_from, settings_of

HELP = """\
Check and explain a framework; draft what it lacks.

\b
starter.py framework check framework.md        a file
starter.py framework check experiment_3        the one of an experiment
starter.py framework check framework.md --json
starter.py framework draft framework.md --model openai/gpt-4o
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

DRAFT = """\
Have a model propose the part for the machine: a paid call.

\b
starter.py framework draft framework.md --model openai/gpt-4o
starter.py framework draft framework.md --model openai/gpt-4o --yes
starter.py framework draft framework.md --model M --out proposal.md

\b
It says what it costs and asks first. The draft is a new file beside the
framework, framework.draft.md: the author's prose as it is, and the proposal
below it, checked and explained as `framework check` does. A proposal that
cannot be used is asked again with what is wrong, twice at most. What was
asked and answered is kept beside it, in framework.draft.calls/, and the same
command pays for no answer twice.

\b
Nothing uses a draft before its author accepts it: read it, mend it, then
delete the line in it that says "not accepted by the author".
"""

Framework = Annotated[str, typer.Argument(help="A framework's file, or an experiment.", metavar="FILE|EXPERIMENT")]

app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False, no_args_is_help=True, help=HELP)


@app.command(help=CHECK)
def check(framework: Framework, projects_dir: ProjectsDir = None, as_json: Json = False) -> None:
    """Explain one framework."""
    from cli.frameworks import check_framework

    raise typer.Exit(check_framework(settings_from(projects_dir=projects_dir), framework, as_json=as_json))


@app.command(help=DRAFT)
def draft(
    framework: Annotated[str, typer.Argument(help="The file of a framework that is prose alone.", metavar="FILE")],
    model: Annotated[str, typer.Option(help="Who is to propose it, as vendor/model.")],
    out: Annotated[Path | None, typer.Option(help="Where the draft goes, if not beside the framework.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Pay for it without a question.")] = False,
    anyway: Annotated[bool, typer.Option("--anyway", help="Though its model is left alone for its failures.")] = False,
    temporal: Temporal = None,
    state_dir: StateDir = None,
    proxy: Annotated[
        str | None, typer.Option(help="A LiteLLM proxy that every call goes through [env: DISCERNUS_PROXY_URL].")
    ] = None,
    projects_dir: ProjectsDir = None,
    as_json: Json = False,
) -> None:
    """Have a model propose the machine-readable part of a framework: a paid call."""
    from cli.drafting import draft_framework

    settings = settings_of(projects_dir=projects_dir, proxy_url=proxy, temporal=temporal, state_dir=state_dir)
    drafted = draft_framework(settings, framework, model=model, out=out, yes=yes, anyway=anyway, as_json=as_json)
    raise typer.Exit(drafted)
