"""``errors``: what went wrong with calls, counted, with what was done about it; read from sessions' folders alone."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC
from textwrap import wrap
from typing import cast

from cli.costs import account_named, sessions_of_account
from cli.display import counted, write
from cli.exits import COMPLETE, command_name
from cli.tables import WIDTH, Column, as_csv, read_format, read_keys, read_period, table
from discernus.sessions.failures import KEYS, OUTCOMES, Failure, FailureGroup, Key, failures_of, group, in_time
from discernus.sessions.opening import HIDDEN
from discernus.sessions.owners import Onlooker
from discernus.sessions.session import Session
from discernus.settings import Settings

SHOWN_MESSAGES = 3
_HEADINGS: Mapping[Key, str] = {"class": "Class", "model": "Model", "hour": "Hour (UTC)", "day": "Day (UTC)"}


@dataclass(frozen=True)
class _Asked:
    """What is to be counted, by what, and where nothing is found, in which words to say so."""

    sessions: Sequence[Session]
    failures: Sequence[Failure]
    by: tuple[Key, ...]
    ranged: bool


def errors(settings: Settings, name: str | None, *, since: str | None, until: str | None, by: str, form: str) -> int:
    """Count what went wrong in a project, an experiment or a session of that name, or without a name in all.

    ``since`` and ``until`` are days or moments, ``by`` is one or more of class, model, hour and day, ``form`` is table,
    csv or json (a line for each group). Raises CommandError for what is none of these.
    """
    period, keys, form = read_period(since, until), cast(tuple[Key, ...], read_keys(by, KEYS)), read_format(form)
    sessions = sessions_of_account(settings, None if name is None else account_named(settings, name))
    onlooker = Onlooker(settings.projects_dir / HIDDEN / "owners")
    found = [failure for session in sessions for failure in failures_of(session, onlooker)]
    # what has no time, as a damaged archive has none, is in any range: it cannot be said that it is not
    failures = [failure for failure in found if failure.at is None or failure.at in period]
    asked = _Asked(sessions, sorted(failures, key=in_time), keys, ranged=since is not None or until is not None)
    if not failures:
        write(_nothing(asked), error=form != "table")
    rows = [_row(one, keys) for one in group(failures, keys)]
    if form == "csv":
        write(as_csv(_flat(_row(_NO_FAILURES, keys)), [_flat(row) for row in rows]))
    elif form == "json":
        for row in rows:
            write(json.dumps(row, ensure_ascii=False))
    elif failures:
        write("\n".join(_shown(asked)))
    return COMPLETE


def _nothing(asked: _Asked) -> str:
    if not asked.sessions:
        return f"no session yet; start one with: {command_name()} EXPERIMENT"
    when = " in that time" if asked.ranged else ""
    return f"nothing went wrong with a call of {_named(asked.sessions)}{when}"


def _named(sessions: Sequence[Session]) -> str:
    return sessions[0].name if len(sessions) == 1 else counted(len(sessions), "session")


# for people


def _shown(asked: _Asked) -> list[str]:
    calls = len({(failure.session, failure.call) for failure in asked.failures if failure.call is not None})
    failed = f"{counted(len(asked.failures), 'failure')} in {counted(calls, 'call')} of {_named(asked.sessions)}"
    columns = [Column(_HEADINGS[key], whole=key != "model") for key in asked.by]
    columns += [Column("Count", right=True), Column("What was done")]
    rows = [
        [*(_key(one, key) or "unknown" for key in asked.by), str(one.count), _done(one)]
        for one in group(asked.failures, asked.by)
    ]
    return [*wrap(failed, WIDTH), "", table(columns, rows), "", *wrap(_share(asked.failures), WIDTH), *_latest(asked)]


def _key(one: FailureGroup, key: Key) -> str | None:
    return {"class": one.error_class, "model": one.model, "hour": one.hour, "day": one.day}[key]


def _done(one: FailureGroup) -> str:
    """Return what was done about a group's failures: ``19 recovered (median 3.2 s, 4 attempts at most), 1 parked``."""
    parts = []
    for outcome, count in one.outcomes.items():
        how = ""
        if outcome == "answered again" and one.median_s is not None:
            how = f" (median {_span(one.median_s)})"
        if outcome == "recovered" and one.median_s is not None:
            how = f" (median {_span(one.median_s)}, {counted(one.most_attempts or 0, 'attempt')} at most)"
        parts.append(f"{count} {outcome}{how}")
    return ", ".join(parts)


def _span(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"


def _share(failures: Sequence[Failure]) -> str:
    """Return how many calls whose first attempt failed in passing were answered by trying again; never rounded up."""
    outcomes = Counter(failure.outcome for failure in failures if failure.first)
    first = outcomes.total()
    if not first:
        return "No call's first attempt failed in passing, so none had to be recovered by trying again."
    recovered = outcomes["recovered"]
    tenths = 1000 * recovered // first
    others = ", ".join(f"{outcomes[one]} {one}" for one in OUTCOMES if one != "recovered" and outcomes[one])
    of_these = f"{recovered} of {counted(first, 'call')} whose first attempt failed in passing"
    were = "was" if recovered == 1 else "were"
    rest = f"; of the others {others}" if others else ""
    return f"{of_these} {were} answered by trying again: {tenths // 10}.{tenths % 10} %{rest}."


def _latest(asked: _Asked) -> list[str]:
    """Return the latest messages, each with its cure, one for each class and model."""
    latest: dict[tuple[str, str | None], Failure] = {}
    for failure in reversed(asked.failures):
        latest.setdefault((failure.error_class, failure.model), failure)
    lines = ["", "The latest messages:"]
    for failure in list(latest.values())[:SHOWN_MESSAGES]:
        when = f"{failure.at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC" if failure.at is not None else "time unknown"
        call = f", call {failure.call}" if failure.call is not None else ""
        lines += wrap(f"{when}, {failure.session}{call}:", WIDTH, initial_indent="  ", subsequent_indent="  ")
        message = "".join(letter if letter.isprintable() else " " for letter in failure.message)
        lines += wrap(
            message,
            WIDTH,
            initial_indent="    ",
            subsequent_indent="    ",
            break_long_words=False,
            break_on_hyphens=False,
        )
    return lines


# for programs


def _row(one: FailureGroup, by: tuple[Key, ...]) -> dict[str, object]:
    """Return a group as it is given to programs; times in UTC, seconds from failure to answer."""
    return {
        **{key: _key(one, key) for key in by},
        "count": one.count,
        "outcomes": {outcome.replace(" ", "_"): one.outcomes.get(outcome, 0) for outcome in OUTCOMES},
        "most_attempts": one.most_attempts,
        "median_recovery_s": one.median_s,
        "first_attempts_failed": one.first_failed,
        "first_attempts_recovered": one.first_recovered,
        "earliest_at": one.earliest_at.isoformat() if one.earliest_at is not None else None,
        "latest_at": one.latest_at.isoformat() if one.latest_at is not None else None,
    }


def _flat(row: dict[str, object]) -> dict[str, object]:
    """Return a row with a column for each outcome."""
    outcomes = cast(Mapping[str, int], row["outcomes"])
    return {
        name: value
        for key, cell in row.items()
        for name, value in (outcomes.items() if key == "outcomes" else [(key, cell)])
    }


# for the header that CSV has all the same
_NO_FAILURES = FailureGroup(None, None, None, None, 0, {}, None, None, 0, 0, None, None)
