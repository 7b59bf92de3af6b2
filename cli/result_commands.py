"""The commands about a session's numbers: ``results``, ``calculate``, ``compare``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from cli.options import Json, ProjectsDir, SessionName, one_of, settings_of

RESULTS = """\
Give the results of a session in the form that another program takes.

\b
starter.py results speeches                            its results.csv
starter.py results speeches --format long --to long.csv
starter.py results speeches --format parquet --to results.parquet
starter.py results speeches --format latex | less      tables for a paper

\b
--format csv      a row for each analysis, as in its deliverables
--format long     a row for each analysis and variable
--format parquet  as csv, with types; meanings in the metadata
--format dta      as csv, for Stata 14 and later, with labels
--format latex    the main tables (package booktabs)
--format html     the main tables, for Word and the like
--format r        an R script that makes the main tables of results.csv
--format stata    a do-file that makes them of results.dta

\b
No model is asked, and nothing in the session is changed.
"""

CALCULATE = """\
Compute metrics, tables and the report of a session again, and seal it.

\b
starter.py calculate speeches              the newest session
starter.py calculate session_20261120_101500

\b
This takes the scores as they were read: no model is asked, no answer is
read again, and no server is needed. What the last seal covers is kept under
its number. It is what `resume SESSION --from calculation` does, but says which
tables came out otherwise than before, and refuses a session that still has
something to ask or to read. Exit code 3 if the session has gaps.
"""

COMPARE = """\
Set two sessions against each other: what differs, and how far they agree.

\b
starter.py compare session_20261120_101500 session_20261121_090000
starter.py compare speeches other_speeches     the newest session of each
starter.py compare speeches other_speeches --out page.html

\b
It says what differs between them (framework, prompts, texts, models,
parameters), then for each dimension and metric, over the texts both have:
agreement, mean difference, correlation, and where they disagree most. The
same model and variant are compared with each other; a model without its like
with each such model of the other session. Nothing is pooled; what is not
comparable (another scale, another formula) is named, and left out. Exit code
2 if nothing is comparable.

\b
No model is asked, and nothing in the sessions is changed.
"""

Form = Literal["csv", "long", "parquet", "dta", "latex", "html", "r", "stata"]

app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)


@app.command(help=RESULTS, short_help="Give results as CSV, Parquet, Stata, LaTeX …")
def results(
    session: SessionName,
    form: Annotated[
        Form,
        typer.Option("--format", parser=one_of("--format", Form), help="What to give."),
    ] = "csv",
    to: Annotated[Path | None, typer.Option(help="A file to write; the output if left out.")] = None,
    projects_dir: ProjectsDir = None,
) -> None:
    """Give the results of a session in the form that another program takes."""
    from cli.results import give

    raise typer.Exit(give(settings_of(projects_dir=projects_dir), session, form, to))


@app.command(help=CALCULATE, short_help="Compute tables and report again, and seal.")
def calculate(session: SessionName, projects_dir: ProjectsDir = None, as_json: Json = False) -> None:
    """Compute metrics, tables and the report of a session again, and seal it."""
    from cli.calculating import calculate_again

    raise typer.Exit(calculate_again(settings_of(projects_dir=projects_dir), session, as_json=as_json))


@app.command(help=COMPARE, short_help="Set two sessions against each other.")
def compare(
    first: SessionName,
    second: SessionName,
    out: Annotated[Path | None, typer.Option(help="A page to write too: .html, or else Markdown.")] = None,
    projects_dir: ProjectsDir = None,
    as_json: Json = False,
) -> None:
    """Set two sessions against each other: what differs, and how far they agree."""
    from cli.comparing import compare as compare_sessions

    raise typer.Exit(compare_sessions(settings_of(projects_dir=projects_dir), first, second, out=out, as_json=as_json))
