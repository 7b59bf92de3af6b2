"""The commands about what leaves the folder: ``export``, ``reproduce``, ``erase``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.options import Json, ProjectsDir, SessionName, named_path, settings_of

EXPORT = """\
Make a replication package of a session: all that a stranger needs.

\b
starter.py export speeches                    its newest session
starter.py export speeches --to ../papers     into that folder
starter.py export speeches --to paper.zip     as one file
starter.py export speeches --without-texts    no word of the corpus
starter.py export speeches --author "Ada Lovelace" \\
    --license-texts "no licence" --license-annotations CC-BY-4.0

\b
A package holds every prompt and answer, scores and tables with a codebook,
versions, the commands to repeat it, a methods paragraph and a citation. It
is an RO-Crate in a BagIt bag; beside it lies a folder that can be put into
a Dataverse as it is. `verify` and `reproduce` check it, on any machine.
The licence of each text is taken from a column `licence` of corpus.csv.

\b
--without-texts takes the texts out of the corpus, the prompts and whatever
models quoted, and leaves hashes: every passage of 24 letters or more,
and all evidence. Every score stays what it is. Paraphrases stay as well.
"""

REPRODUCE = """\
Recompute a package from its archived answers, and compare every number.

\b
starter.py reproduce speeches_session_20261120_101500
starter.py reproduce paper.zip --json

\b
First the package is verified. Then scores are read from the answers by the
package's own framework, and metrics, tables and the report's numbers are
computed from them, by this version of the program. No model is called, and
nothing in the package is changed. Exit code 3 if anything differs.
"""

ERASE = """\
Take a text and every quotation of it out of a session, for good.

\b
starter.py erase speeches speech-03 --reason "request of 2026-11-20"
starter.py erase session_20261120_101500 speech-03 --reason "…" --yes

\b
What is left says that a text was here, its hash, when it went and why; the
scores stay. The session is sealed anew, and `verify` knows of it. Other
copies are named and left: other sessions, packages, the mirror. Backups
and the disk's free space are beyond this program.
"""

License = typer.Option(help="An SPDX identifier (CC-BY-4.0), an address, or a sentence.", metavar="LICENCE")

app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)


@app.command(help=EXPORT, short_help="Make a replication package of a session.")
def export(
    session: SessionName,
    to: Annotated[Path, typer.Option(help="A folder for the package, or the name of a .zip.")] = Path(),
    without_texts: Annotated[bool, typer.Option("--without-texts", help="Take the corpus texts out.")] = False,
    author: Annotated[
        list[str] | None, typer.Option(help="'Name' or 'Name <https://orcid.org/…>'; may be given several times.")
    ] = None,
    affiliation: Annotated[
        list[str] | None, typer.Option(help="'Name' or 'Name <https://…>': of all authors, or of each in their order.")
    ] = None,
    publisher: Annotated[
        str | None, typer.Option(help="'Name' or 'Name <https://…>': who publishes the package.")
    ] = None,
    license_texts: Annotated[str | None, License] = None,
    license_annotations: Annotated[str | None, License] = None,
    license_code: Annotated[str | None, License] = None,
    projects_dir: ProjectsDir = None,
    as_json: Json = False,
) -> None:
    """Make a replication package of a session."""
    from cli.packages import export_package

    code = export_package(
        settings_of(projects_dir=projects_dir),
        session,
        to=to,
        without_texts=without_texts,
        authors=author or [],
        affiliations=affiliation or [],
        publisher=publisher,
        licences=(license_texts, license_annotations, license_code),
        as_json=as_json,
    )
    raise typer.Exit(code)


@app.command(help=REPRODUCE, short_help="Recompute a package and compare every number.")
def reproduce(
    package: Annotated[
        Path, typer.Argument(parser=named_path, help="A package: its folder, or its .zip.", metavar="PACKAGE")
    ],
    as_json: Json = False,
) -> None:
    """Recompute a package from its archived answers, and compare."""
    from cli.packages import reproduce_package

    raise typer.Exit(reproduce_package(package, as_json=as_json))


@app.command(help=ERASE, short_help="Take a text out of a session, on legal request.")
def erase(
    session: SessionName,
    document: Annotated[str, typer.Argument(help="The document's id, as results.csv has it.", metavar="DOCUMENT")],
    reason: Annotated[str, typer.Option(help="Why; it is kept in the record.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do it without asking.")] = False,
    projects_dir: ProjectsDir = None,
    as_json: Json = False,
) -> None:
    """Take a text and every quotation of it out of a session."""
    from cli.packages import erase_document

    settings = settings_of(projects_dir=projects_dir)
    raise typer.Exit(erase_document(settings, session, document, reason=reason, yes=yes, as_json=as_json))
