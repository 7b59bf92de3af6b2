"""The commands about one session: ``resume``, ``checkpoints``, ``verify``, ``doctor``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.options import (
    DryRun,
    FromStage,
    Json,
    ProjectsDir,
    SessionName,
    StateDir,
    Temporal,
    settings_from,
    settings_of,
)

RESUME = """\
Go on with a session, or make a part of it anew.

\b
starter.py resume speeches               its newest session, where it was left
starter.py resume session_20261120_101500 --dry-run
starter.py resume speeches --from extraction   read every answer again
starter.py resume speeches --from synthesis    write the report again

\b
A session goes on with the files as they were when it was opened, whatever
has become of them, and without anything that a server remembers. First all
that it stands on is looked at: frozen files, answers, who else is at work.
No answer is ever changed, and none is paid for twice. What --from makes anew
is kept under the number of the seal that covers it.

\b
--from analysis      ask again for what could not be had, then all below
--from extraction    read scores out of the answers again, then all below
--from calculation   compute metrics and tables again, then all below
--from synthesis     write report and pages again

\b
Models are asked without --from and with --from analysis. The others make do
with the answers there are: what has none is a gap, until a resume asks.
`calculate SESSION` does what --from calculation does, and says what changed.
"""

CHECKPOINTS = """\
Say which stages of a session are complete.

\b
starter.py checkpoints speeches          the newest session of an experiment
starter.py checkpoints session_20261120_101500 --json
"""

VERIFY = """\
Say whether a session, or an exported package, is what it was.

\b
starter.py verify speeches               the newest session of an experiment
starter.py verify session_20261120_101500
starter.py verify package.zip            a package: .zip, or its folder
starter.py verify speeches --public-key ada.pub   and that Ada sealed it

\b
Every file is held against the seal, the chronolog, the signature and the
other files; each one that was altered, added, removed or reordered is named,
with the line where one is known. What is not covered is named as well.
Nothing is written, and neither a server nor a network is needed.

\b
Exit codes: 0 intact, 3 something was found, 2 there is nothing to verify.
"""

DOCTOR = """\
Find what crashes and full disks have left, and mend what can be mended.

\b
starter.py doctor                        every session, and the store
starter.py doctor speeches               the newest session of an experiment
starter.py doctor speeches --repair      put right what needs no guessing

\b
Torn lines, files of writers that were cut off, calls in doubt, answers that
their metadata does not vouch for, tables that do not say what the answers
say, locks of the dead, missing keys, a full disk; and if a server is up,
workflows that are stuck and queues that nobody polls. None is started.
What may have been paid for is never thrown away, and a sealed session is
changed only back into what was sealed.

\b
Exit codes: 0 healthy, 3 something is left to be done.
"""

app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)


@app.command(help=RESUME)
def resume(
    session: SessionName,
    stage: FromStage = None,
    dry_run: DryRun = False,
    concurrency: Annotated[
        int | None, typer.Option(min=1, help="Calls in flight at most [env: DISCERNUS_CONCURRENCY].")
    ] = None,
    proxy: Annotated[
        str | None, typer.Option(help="A LiteLLM proxy that every call goes through [env: DISCERNUS_PROXY_URL].")
    ] = None,
    temporal: Temporal = None,
    projects_dir: ProjectsDir = None,
    state_dir: StateDir = None,
    as_json: Json = False,
) -> None:
    """Go on with a session, or make a part of it anew."""
    settings = settings_of(
        concurrency=concurrency, proxy_url=proxy, temporal=temporal, projects_dir=projects_dir, state_dir=state_dir
    )
    if dry_run:
        from cli.prospect import tell

        raise typer.Exit(tell(settings, session, stage=stage, as_json=as_json))
    from cli.resuming import resume as resume_session

    raise typer.Exit(resume_session(settings, session, stage=stage, as_json=as_json))


@app.command(help=CHECKPOINTS)
def checkpoints(session: SessionName, projects_dir: ProjectsDir = None, as_json: Json = False) -> None:
    """Say which stages of a session are complete."""
    from cli.checkpoints import show_checkpoints

    raise typer.Exit(show_checkpoints(settings_of(projects_dir=projects_dir), session, as_json=as_json))


@app.command(help=VERIFY, short_help="Say whether a session or a package is what it was.")
def verify(
    session: Annotated[str, typer.Argument(help="A session, an experiment, or a package.", metavar="SESSION|PACKAGE")],
    public_key: Annotated[
        Path | None, typer.Option(help="The key that must have signed: PEM, or OpenSSH (ssh-ed25519 …).")
    ] = None,
    projects_dir: ProjectsDir = None,
    as_json: Json = False,
) -> None:
    """Say whether a session, or an exported package, is what it was."""
    from cli.verifying import verify_command

    raise typer.Exit(verify_command(settings_from(projects_dir=projects_dir), session, public_key, as_json))


@app.command(help=DOCTOR, short_help="Find what crashes have left, and mend it.")
def doctor(
    session: Annotated[str | None, typer.Argument(help="A session or an experiment; all of them if left out.")] = None,
    repair: Annotated[bool, typer.Option("--repair", help="Put right what needs no guessing.")] = False,
    temporal: Temporal = None,
    projects_dir: ProjectsDir = None,
    state_dir: StateDir = None,
    as_json: Json = False,
) -> None:
    """Find what crashes and full disks have left, and mend what can be mended."""
    from cli.doctoring import doctor as examine

    settings = settings_of(temporal=temporal, projects_dir=projects_dir, state_dir=state_dir)
    raise typer.Exit(examine(settings, session, repair=repair, as_json=as_json))
