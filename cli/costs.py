"""``cost``: what calls cost, added up by whatever is asked for; read from folders of sessions and of drafts alone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from math import fsum
from textwrap import wrap
from typing import cast

from cli.display import counted, write
from cli.exits import COMPLETE, INVALID, CommandError, command_name
from cli.sessions import find
from cli.tables import WIDTH, Column, as_csv, read_format, read_keys, read_period, table
from discernus.experiments.location import project_of
from discernus.llm.models_file import ModelsFile, ModelsFileInvalid, read_models_file
from discernus.sessions.budgets import Account, Level
from discernus.sessions.costs import (
    KEYS,
    CallCost,
    Costs,
    Key,
    add_up,
    costs_by,
    draft_costs,
    onlooker,
    repeat_costs,
    session_costs,
    sessions_of,
)
from discernus.sessions.session import Session
from discernus.settings import Settings
from discernus.stages.advice import advise, facts_for_advice

_USUAL_KEYS: dict[Level | None, tuple[Key, ...]] = {
    None: ("experiment",),
    "project": ("experiment", "model"),
    "experiment": ("model", "purpose"),
    "session": ("model", "purpose"),
}
_HEADINGS: dict[Key, str] = {key: "Day (UTC)" if key == "day" else key.capitalize() for key in KEYS}


def cost(
    settings: Settings, name: str | None, *, since: str | None, until: str | None, by: str | None, form: str
) -> int:
    """Say what the calls of a project, an experiment or a session cost, or without a name those of all.

    ``since`` and ``until`` are days or moments, ``by`` is one or more of session, experiment, project, model, purpose
    and day, ``form`` is table, csv or json (a line for each group). Raises CommandError for what is none of these.
    """
    period, form = read_period(since, until), read_format(form)
    account = None if name is None else account_named(settings, name)
    level = None if account is None else account.level
    keys = cast(tuple[Key, ...], read_keys(by, KEYS)) if by is not None else _USUAL_KEYS[level]
    models = models_file(settings)
    sessions = sessions_of_account(settings, account)
    living = onlooker(settings.projects_dir)
    calls = {session.name: session_costs(session, models, living) for session in sessions}
    repeats = [repeat for session in sessions for repeat in repeat_costs(session, models, living).values()]
    again = [call for repeat in repeats for call in repeat if call.at in period]
    drafts = [call for call in _drafts(settings, account, models) if call.at in period]
    found = [*(call for of_session in calls.values() for call in of_session if call.at in period), *again, *drafts]
    if form == "csv":
        columns = _row(add_up((), ("",) * len(keys)), keys)
        write(as_csv(columns, [_row(one, keys) for one in costs_by(found, keys)]))
    elif form == "json":
        for one in costs_by(found, keys):
            write(json.dumps(_row(one, keys), ensure_ascii=False))
    elif not found:
        write(_nothing(sessions, ranged=since is not None or until is not None))
    else:
        write("\n".join(_shown(found, keys)))
        if again:
            write(f"{counted(len(again), 'call')} among these by answers ask-again, in no session's results")
        if drafts:
            write(f"{counted(len(drafts), 'call')} among these by framework draft, of no session")
        if level in ("experiment", "session"):
            for line in _advice(sessions, calls, models):
                write(line)
    return COMPLETE


def account_named(settings: Settings, name: str) -> Account:
    """Return the project, the session or the experiment of that name; raise CommandError where there is none."""
    given = name.strip().rstrip("/")
    if given and "/" not in given and (settings.projects_dir / given / "experiments").is_dir():
        return Account(given)
    last = given.rpartition("/")[2]
    folders = sorted(settings.projects_dir.glob(f"*/experiments/*/sessions/{_literally(last)}")) if last else []
    paths = [(folder.parts[-5], folder.parts[-3], folder.name) for folder in folders]
    named = [parts for parts in paths if given in (last, "/".join(parts))]
    if len(named) > 1:
        choices = ", ".join("/".join(parts) for parts in named)
        raise CommandError(f"several experiments have a session '{name}': say which one: {choices}", INVALID)
    if named:
        return Account(*named[0])
    folder = find(settings, name)
    return Account(project_of(folder), folder.name)


def sessions_of_account(settings: Settings, account: Account | None) -> list[Session]:
    """Return the sessions that an account covers, without one all of them, oldest first in each experiment."""
    if account is None:
        projects = sorted({folder.parts[-3] for folder in settings.projects_dir.glob("*/experiments/*")})
        return [session for project in projects for session in sessions_of(settings.projects_dir, project)]
    return [
        session
        for session in sessions_of(settings.projects_dir, account.project)
        if account.experiment in (None, session.folder.parts[-3]) and account.session in (None, session.folder.name)
    ]


def _drafts(settings: Settings, account: Account | None, models: ModelsFile) -> list[CallCost]:
    """Return what drafts of frameworks took that an account covers, without one all of them."""
    folders = [folder for folder in sorted(settings.projects_dir.glob("[!.]*")) if folder.is_dir()]
    projects = [folder.name for folder in folders] if account is None else [account.project]
    living = onlooker(settings.projects_dir)
    costs = [draft_costs(settings.projects_dir, project, models, living) for project in projects]
    covered = (calls for each in costs for name, calls in each.items() if account is None or account.covers(name))
    return [call for calls in covered for call in calls]


def models_file(settings: Settings) -> ModelsFile:
    """Return the models.yaml in force, or raise CommandError saying what is wrong with it."""
    try:
        return read_models_file(settings.models_path)
    except ModelsFileInvalid as invalid:
        raise CommandError(str(invalid), INVALID) from invalid


def left_out(calls: Sequence[CallCost]) -> list[str]:
    """Return what of the calls is in no sum, and why, in lines of at most 80 characters."""
    total = add_up(calls)
    said = []
    if total.unpriced:
        models = ", ".join(sorted({one.model for one in calls if one.fate in _PAID and one.cost_usd is None}))
        said.append(
            f"{counted(total.unpriced, 'call')} of unknown cost in no sum, of {models}; models.yaml may give a price, "
            "which holds for calls to come"
        )
    if total.in_doubt:
        worst = _at_most([one.worst_usd for one in calls if one.fate == "in_doubt"])
        said.append(f"{counted(total.in_doubt, 'call')} in doubt, perhaps paid for ({worst}), in no sum")
    if total.unanswered:
        worst = _at_most([one.worst_usd for one in calls if one.fate == "unanswered"])
        cut_off = f"{counted(total.unanswered, 'call')} cut off before an answer came"
        said.append(f"{cut_off}, which a vendor may bill ({worst}), in no sum")
    if total.in_doubt or total.unanswered:
        said.append("budgets count such calls at their worst")
    return [line for one in said for line in wrap(one, WIDTH, subsequent_indent="  ", break_on_hyphens=False)]


_PAID = ("answered", "failed")


def _at_most(worst: Sequence[float | None]) -> str:
    known = [usd for usd in worst if usd is not None]
    return f"at most {fsum(known):.4f} USD" if len(known) == len(worst) else "how much is not known"


def _literally(name: str) -> str:
    """Return the name for a pattern in which nothing of it stands for something else."""
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)


def _nothing(sessions: Sequence[Session], *, ranged: bool) -> str:
    if not sessions:
        return f"no session yet; start one with: {command_name()} EXPERIMENT"
    migrated = [session for session in sessions if session.facts.migrated_from is not None]
    if len(migrated) == len(sessions):
        return "what its calls cost was not recorded: it was migrated from an older layout"
    those = counted(len(migrated), "migrated session")
    beside = f"; what the calls of {those} cost was not recorded" if migrated else ""
    return f"no call was paid for{' in that time' if ranged else ''}{beside}"


# for people


def _shown(calls: Sequence[CallCost], keys: tuple[Key, ...]) -> list[str]:
    groups, total = costs_by(calls, keys), add_up(calls)
    shown = [_shortened(key, [one.group[place] for one in groups]) for place, key in enumerate(keys)]
    rows = [(*name, *_cells(one)) for name, one in zip(zip(*shown, strict=True), groups, strict=True)]
    if len(groups) > 1:
        rows.append(("total", *[""] * (len(keys) - 1), *_cells(total)))
    headings = [*(_HEADINGS[key] for key in keys), *_FIGURES]
    widths = [max(map(len, column)) for column in zip(headings, *rows, strict=True)]
    left = _fitting(keys, widths)
    columns = [
        Column(heading, right=place >= len(keys), whole=heading != _HEADINGS["model"])
        for place, heading in enumerate(headings)
        if place in left
    ]
    return [table(columns, [[row[place] for place in left] for row in rows]), *left_out(calls)]


_FIGURES = ("Calls", "Prompt", "Cached", "Answer", "USD")
_LEFT_OUT_FIRST = ("Cached", "Answer", "Prompt")  # where there is no room for all: CSV and JSON have them
_NARROWEST_MODEL = 14  # columns: a model's name may go on in the next line
_GAP = 2


def _fitting(keys: Sequence[Key], widths: Sequence[int]) -> list[int]:
    """Return the places of the columns that fit beside each other; keys, calls and costs are always among them."""
    least = [
        min(width, _NARROWEST_MODEL) if "model" in keys[place : place + 1] else width
        for place, width in enumerate(widths)
    ]
    left = list(range(len(widths)))
    for figure in _LEFT_OUT_FIRST:
        if sum(least[place] + _GAP for place in left) <= WIDTH:
            break
        left.remove(len(keys) + _FIGURES.index(figure))
    return left


def _cells(one: Costs) -> list[str]:
    counts = (one.calls, one.prompt_tokens, one.cached_tokens, one.completion_tokens)
    usd = "unknown" if one.cost_usd is None else f"{one.cost_usd:,.4f}{'+?' if one.unpriced else ''}"
    return [*("–" if count is None else f"{count:,}" for count in counts), usd if one.calls else "–"]


def _shortened(key: Key, names: Sequence[str]) -> list[str]:
    """Return the names; those of sessions and experiments without the project and experiment they have in common."""
    if key not in ("session", "experiment"):
        return list(names)
    parts = [name.split("/") for name in names]
    alike = 0
    while alike + 1 < min(map(len, parts)) and len({one[alike] for one in parts}) == 1:
        alike += 1
    return ["/".join(one[alike:]) for one in parts]


def _advice(sessions: Sequence[Session], calls: dict[str, list[CallCost]], models: ModelsFile) -> list[str]:
    """Return the advice that the newest session that cost something gives; nothing where it gives none."""
    paid = [session for session in sessions if add_up(calls[session.name]).cost_usd]
    said = advise(facts_for_advice(paid[-1], calls[paid[-1].name], models)) if paid else ()
    if not said:
        return []
    lines = [
        line
        for one in said
        for line in wrap(one, WIDTH, initial_indent="- ", subsequent_indent="  ", break_on_hyphens=False)
    ]
    return ["", f"Of {paid[-1].facts.session}:", *lines]


# for programs


def _row(one: Costs, keys: tuple[Key, ...]) -> dict[str, object]:
    """Return a group as it is given to programs: full names, tokens, USD; null is unknown."""
    return {
        **dict(zip(keys, one.group, strict=True)),
        "calls": one.calls,
        "prompt_tokens": one.prompt_tokens,
        "completion_tokens": one.completion_tokens,
        "cached_tokens": one.cached_tokens,
        "reasoning_tokens": one.reasoning_tokens,
        "cost_usd": one.cost_usd,
        "unpriced": one.unpriced,
        "in_doubt": one.in_doubt,
        "in_doubt_usd": one.in_doubt_usd,
        "unanswered": one.unanswered,
        "unanswered_usd": one.unanswered_usd,
    }
