"""Markdown that reads well as plain text too: aligned tables, numbers in few digits, other people's text disarmed."""

import re
from collections.abc import Sequence
from math import floor

from discernus.sanitising import plain

NONE = "–"  # the sign for "there is no number here"
WIDTH = 116  # characters; wider tables are split
TINY = 1e-9  # percent that binary fractions may lack: 0.29 is 29 %

# What acts on a terminal, turns the rest of a line around in any viewer, or hides between letters.
_UNSEEN = re.compile("[\x00-\x08\x0e-\x1b\x7f-\x9f\u200b\u202a-\u202e\u2060\u2066-\u2069\ufeff]")
# What only Markdown acts on: an emphasis, but not a name_in_snake_case; a strike; what begins a block of its own.
_FORMS = re.compile(r"(?<![^\W_])_|_(?![^\W_])|~|^[#=]|^[+-](?=[ +-]|$)|(?<=^\d)[.)](?= |$)|(?<=^\d\d)[.)](?= |$)")
# What some viewers, GitHub's among them, make links and formulas of.
_LINKS = re.compile(r"(?<=:)/(?=/)|(?<=www)\.|\$", re.IGNORECASE)


def text(value: str) -> str:
    """Return someone's text on one line, so that Markdown, HTML and terminals show it and act on none of it.

    All that a model, a corpus or a vendor wrote comes through here. The result is not for an attribute or a code span.
    """
    shown = plain(_UNSEEN.sub("\ufffd", " ".join(value.split())))
    shown = shown.replace("&#34;", '"').replace("&#39;", "'")  # these act in attributes alone, and there are none here
    shown = _LINKS.sub(_entity, shown)
    return _FORMS.sub(_entity, shown)


def _entity(found: re.Match[str]) -> str:
    return f"&#{ord(found[0])};"


def number(value: float | None, digits: int = 3) -> str:
    """Return the number in fixed digits, the dash where there is none."""
    if value is None:
        return NONE
    shown = f"{value:.{digits}f}"
    return shown.lstrip("-") if float(shown) == 0 else shown


def usd(value: float | None) -> str:
    """Return a cost in US dollars; an unknown one is said to be unknown."""
    if value is None:
        return "unknown"
    return f"{value:.2f}" if value == 0 or value >= 1 else f"{value:.4f}" if value >= 0.0001 else f"{value:.2g}"


def percent(share: float) -> str:
    """Return a share of 1 in whole percent, never rounded up: only what is whole is 100 %."""
    return f"{floor(100 * share + TINY)} %"


def table(headings: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """Return an aligned table whose first ``left`` columns are text and whose others are set flush right."""
    widths = [max(len(cell) for cell in column) for column in zip(headings, *rows, strict=True)]
    widths = [max(width, 3) for width in widths]

    def line(cells: Sequence[str]) -> str:
        padded = [
            cell.ljust(width) if index < left else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        return f"| {' | '.join(padded)} |"

    rule = ["-" * (width + 2) if index < left else "-" * (width + 1) + ":" for index, width in enumerate(widths)]
    return "\n".join([line(headings), f"|{'|'.join(rule)}|", *map(line, rows)])


def split_table(headings: Sequence[str], rows: Sequence[Sequence[str]], page: int = WIDTH) -> str:
    """Return the table, split by columns into several that fit the page, the first column repeated in each."""
    widths = [max(len(cell) for cell in column) + 3 for column in zip(headings, *rows, strict=True)]
    parts: list[list[int]] = [[]]
    used = widths[0]
    for index in range(1, len(headings)):
        if parts[-1] and used + widths[index] > page:
            parts.append([])
            used = widths[0]
        parts[-1].append(index)
        used += widths[index]
    return "\n\n".join(
        table([headings[index] for index in (0, *part)], [[row[index] for index in (0, *part)] for row in rows])
        for part in parts
    )


def series(items: Sequence[str]) -> str:
    """Return the items as a phrase: "a", "a and b", "a, b and c"."""
    if len(items) < 2:
        return "".join(items)
    return f"{', '.join(items[:-1])} and {items[-1]}"


def count(number_: int, noun: str, plural: str = "") -> str:
    """Return a count with its noun: "1 document", "3 documents"."""
    return f"{number_:,} {noun if number_ == 1 else plural or noun + 's'}"
