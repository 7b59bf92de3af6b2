"""The commands about a session's numbers: ``results``, ``calculate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from cli.options import Json, ProjectsDir, SessionName, settings_of

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
its number. It says which tables came out otherwise than before. Exit code 3
if the session has gaps.
"""

app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)


@app.command(help=RESULTS, short_help="Give results as CSV, Parquet, Stata, LaTeX …")
def results(
    session: SessionName,
    form: Annotated[
        Literal["csv", "long", "parquet", "dta", "latex", "html", "r", "stata"],
        typer.Option("--format", help="What to give."),
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
