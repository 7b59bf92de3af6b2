"""``starter.py answers``: search what models wrote, show it, ask again, and compare."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.options import Json, ProjectsDir, SessionName, Since, StateDir, Temporal, settings_of

HELP = """\
Search what models wrote, show it, and ask again.

\b
starter.py answers search "the pure people"     in every session
starter.py answers show speeches 17             prompt, answer and scores
starter.py answers ask-again speeches 17        the same again: says its cost
starter.py answers compare speeches 17          both answers, side by side
"""

SEARCH = """\
Find any sentence that a model ever wrote.

\b
starter.py answers search betrayed
starter.py answers search "the pure people"   these words; side by side first
starter.py answers search '"pure people"'     side by side only
starter.py answers search 'betray*'           every word that begins like this
starter.py answers search elite --in speeches --model gemini-2.5-pro --run 2
starter.py answers search tyranny --document speech-03 --since 2026-11-20

\b
Answers count, and late ones that do not, second readings, failures with what
came instead of an answer, and what was asked again. Case and accents do not
matter. The index is kept beside the sessions, and mends itself.

\b
Statuses:
  scored, partial   its scores count: all of them, or some are missing
  unusable          no score could be read of it
  unused            another answer counts in its place
  unread            nothing was read of it (yet)
  prose             a model's words about the tables, of which none is read
  failed            an error, and what came with it
  damaged           its file is not what was archived
  asked_again       the answer to ask-again; it never counts
"""

SHOW = """\
Show a call: its prompt, its answer, and each score with its evidence.

\b
starter.py answers show speeches 17           the answer of analysis 17
starter.py answers show speeches 017_ask1     one call by its name
starter.py answers show speeches 017_ask0 --no-prompt
starter.py answers show session_20261120_101500 17 --json

\b
Every text is held against the hash that it was archived under. The words that
the answer gives as evidence are marked in the answer and in the text.
"""

ASK_AGAIN = """\
Put a call once more, to the same or to another model: a paid call.

\b
starter.py answers ask-again speeches 17
starter.py answers ask-again speeches 17 --model openai/gpt-4o
starter.py answers ask-again speeches 17 --yes   without a question

\b
It says what it costs and asks first. The request is the archived one, word
for word. The model's health and the budgets bind it like any call, and its cost
counts like any other. The session stays as it is, sealed or not: the answer
is archived beside it, in asked_again/, and never counts as one of its results.
"""

COMPARE = """\
Show an answer beside the one that asking again has brought; nothing is asked.

\b
starter.py answers compare speeches 17             the last time it was asked
starter.py answers compare speeches 17 --times 1   the first time
"""

CallName = Annotated[
    str, typer.Argument(help="An analysis's number (17), or a call's name (017_ask1).", metavar="NUMBER|CALL")
]

app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False, no_args_is_help=True, help=HELP)


@app.command(help=SEARCH)
def search(
    text: Annotated[str, typer.Argument(help="Words to look for.", metavar="TEXT")],
    within: Annotated[
        str | None, typer.Option("--in", "--session", "--experiment", help="A session, an experiment, or a project.")
    ] = None,
    document: Annotated[str | None, typer.Option(help="A document's id.")] = None,
    model: Annotated[str | None, typer.Option(help="The model asked, or the one that answered.")] = None,
    run: Annotated[int | None, typer.Option(min=1, help="Which run.")] = None,
    purpose: Annotated[str | None, typer.Option(help="analysis, extraction or synthesis.")] = None,
    status: Annotated[str | None, typer.Option(help="What came of it: see above.")] = None,
    since: Since = None,
    limit: Annotated[int, typer.Option(min=1, help="How many are shown at most.")] = 20,
    projects_dir: ProjectsDir = None,
    as_json: Json = False,
) -> None:
    """Find any sentence that a model ever wrote."""
    from cli.answers import Wanted
    from cli.answers import search as search_answers

    wanted = Wanted(text, within, document, model, run, purpose, status, since)
    raise typer.Exit(search_answers(settings_of(projects_dir=projects_dir), wanted, limit=limit, as_json=as_json))


@app.command(help=SHOW)
def show(
    session: SessionName,
    call: CallName,
    prompt: Annotated[bool, typer.Option("--prompt/--no-prompt", help="With or without what was asked.")] = True,
    projects_dir: ProjectsDir = None,
    as_json: Json = False,
) -> None:
    """Show a call: its prompt, its answer, and each score with its evidence."""
    from cli.conversations import show as show_call

    raise typer.Exit(show_call(settings_of(projects_dir=projects_dir), session, call, prompt=prompt, as_json=as_json))


@app.command("ask-again", help=ASK_AGAIN)
def ask_again(
    session: SessionName,
    call: CallName,
    model: Annotated[str | None, typer.Option(help="Another model than the one that was asked.")] = None,
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
    """Put a call once more, to the same or to another model: a paid call."""
    from cli.asking_again import ask_again as put_again

    settings = settings_of(projects_dir=projects_dir, proxy_url=proxy, temporal=temporal, state_dir=state_dir)
    asked = put_again(settings, session, call, model=model, yes=yes, anyway=anyway, as_json=as_json)
    raise typer.Exit(asked)


@app.command(help=COMPARE)
def compare(
    session: SessionName,
    call: CallName,
    times: Annotated[int | None, typer.Option(min=1, help="Which time it was asked again; the last one.")] = None,
    projects_dir: ProjectsDir = None,
    as_json: Json = False,
) -> None:
    """Show an answer beside the one that asking again has brought; nothing is asked."""
    from cli.asking_again import compare as compare_answers

    settings = settings_of(projects_dir=projects_dir)
    raise typer.Exit(compare_answers(settings, session, call, times=times, as_json=as_json))
