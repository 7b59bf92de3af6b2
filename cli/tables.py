"""What the commands that count share: a range of days, keys to count by, and tables of eighty columns or CSV."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from textwrap import wrap

from rich.console import Console
from rich.table import Table
from rich.text import Text

from cli.exits import INVALID, CommandError

GAP = 2  # columns between two of a table
WIDTH = 80  # columns, whatever the terminal: what is shown fits a pipe and a letter as well
FORMATS = ("table", "csv", "json")
_ADDRESS = re.compile(r"https?://")
LABELLED = 2  # words of a line that only names a place, "report: /…", and is clearest as it is
_GLUE = "\x00"  # stands for a space that no line ends at
# a command with its options, their values and what is plainly no word of a sentence; what is quoted: a path, a command
_WHOLE = re.compile(
    r"(?:starter\.py|discernus) (?:(?:answers|models|framework) )?\S+"
    r"(?: (?:--[\w-]+(?: (?:'[^'\n]*'|[^\s'-]\S*))?|'[^'\n]*'|[A-Z]{2,}\b\S*|[^\s']*[\d_/]\S*))*"
    r"|(?<!\w)'[^'\n]*/[^'\n]*'(?!\w)"
    r"|`[^`\n]+`"
)


@dataclass(frozen=True)
class Period:
    """A stretch of time in UTC, from ``since`` until before ``until``; None is without bound."""

    since: datetime | None = None
    until: datetime | None = None

    def __contains__(self, moment: datetime) -> bool:
        return (self.since is None or moment >= self.since) and (self.until is None or moment < self.until)


def read_period(since: str | None, until: str | None) -> Period:
    """Return the period from one day (2026-11-20) to another, both included, or between two moments (2026-11-20T10:30).

    Days are in UTC, and so is a moment without an offset. Raises CommandError for what is neither.
    """
    period = Period(_moment("--since", since, plus=timedelta(0)), _moment("--until", until, plus=timedelta(days=1)))
    if period.since is not None and period.until is not None and period.since >= period.until:
        raise CommandError(f"--since {since} is not before --until {until}; exchange them", INVALID)
    return period


def _moment(option: str, given: str | None, *, plus: timedelta) -> datetime | None:
    """Return the moment that was given, or the beginning of the day that was given and ``plus``."""
    if given is None:
        return None
    try:
        return datetime.combine(date.fromisoformat(given), time(), UTC) + plus
    except ValueError:
        pass
    try:
        moment = datetime.fromisoformat(given)
    except ValueError:
        message = f"{option} {given!r} is no date; write it as 2026-11-20, or as 2026-11-20T10:30 (UTC)"
        raise CommandError(message, INVALID) from None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def read_keys(by: str, known: Sequence[str]) -> tuple[str, ...]:
    """Return what ``--by model,day`` asks to count by, in its order; raise CommandError naming what is known."""
    keys = tuple(dict.fromkeys(key.strip() for key in by.split(",") if key.strip()))
    unknown = [key for key in keys if key not in known]
    if unknown or not keys:
        what = f"--by {', '.join(unknown)} is unknown" if unknown else "--by names nothing"
        raise CommandError(f"{what}; it takes one or more of {', '.join(known)}, separated by commas", INVALID)
    return keys


def read_format(form: str) -> str:
    """Return the format, or raise CommandError naming those there are."""
    if form not in FORMATS:
        raise CommandError(f"--format {form!r} is unknown; it is one of {', '.join(FORMATS)}", INVALID)
    return form


@dataclass(frozen=True)
class Column:
    """A column of a table. Numbers stand ``right``; ``whole`` is never broken, as long as the others can make room."""

    heading: str
    right: bool = False
    whole: bool = False


def table(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> str:
    """Return the rows in columns, in lines of at most 80 characters; a long cell goes on in the lines below."""
    rows = _with_whole_names(columns, rows)
    # the gap behind the last column is part of the width: without it, rich wraps that column too late and cuts it off
    shown = Table(box=None, pad_edge=True, padding=(0, GAP, 0, 0), header_style="")
    for place, column in enumerate(columns):
        shown.add_column(
            Text(column.heading),
            justify="right" if column.right else "left",
            no_wrap=column.right or column.whole,
            overflow="fold",
            min_width=_longest_word(place, column, rows) if _least_width(columns, rows) <= WIDTH else None,
        )
    for row in rows:
        shown.add_row(*(Text(cell) for cell in row))
    console = Console(file=io.StringIO(), width=WIDTH, color_system=None, legacy_windows=False)
    with console.capture() as captured:
        console.print(shown)
    return "\n".join(line.rstrip() for line in captured.get().splitlines())


def wrapped(text: str, width: int = WIDTH) -> str:
    """Return sentences in lines of at most 80 characters, a line's own indentation kept, and deeper in its rest.

    Words, quoted paths and commands stay whole, so that they can be copied; one that is longer has a line of its own.
    """
    return "\n".join(_wrapped_line(line, width) for line in text.split("\n"))


def _wrapped_line(line: str, width: int) -> str:
    if len(line) <= width:
        return line
    indent = " " * (len(line) - len(line.lstrip(" ")))
    glued = _WHOLE.sub(lambda found: found[0].replace(" ", _GLUE), line.strip())
    words = glued.split()
    if len(words) <= LABELLED or _ADDRESS.match(words[-1]):  # a label and an address, which is to be clicked on
        return line
    broken = wrap(
        glued,
        width,
        initial_indent=indent,
        subsequent_indent=f"{indent}  ",
        break_long_words=False,
        break_on_hyphens=False,
    )
    return "\n".join(broken).replace(_GLUE, " ")


def _with_whole_names(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> Sequence[Sequence[str]]:
    """Return the rows, with names of models that there is no room for broken behind a vendor's slash."""
    if _least_width(columns, rows) <= WIDTH:
        return rows
    broken = [
        [
            cell if column.whole or column.right else cell.replace("/", "/\n")
            for column, cell in zip(columns, row, strict=True)
        ]
        for row in rows
    ]
    return broken if _least_width(columns, broken) <= WIDTH else rows


def _least_width(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> int:
    """Return the width that the columns need for no word to be broken, and whole cells to stay in one line."""
    return sum(_longest_word(place, column, rows) + GAP for place, column in enumerate(columns))


def _longest_word(place: int, column: Column, rows: Sequence[Sequence[str]]) -> int:
    cells = [column.heading, *(row[place] for row in rows)]
    return max(
        len(part) for cell in cells for part in ([cell] if column.whole or column.right else cell.split() or [""])
    )


def as_csv(columns: Iterable[str], rows: Sequence[Mapping[str, object]]) -> str:
    """Return the rows as CSV under these columns, which stand there without any row as well; the unknown is empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(columns), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().rstrip("\n")
