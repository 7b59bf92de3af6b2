"""Whether what was packed and what was computed now say the same: table by table, cell by cell.

Cells are matched by the name of their column and by what names their row. Tables gain columns from version to version,
and reports are worded anew; neither makes a number another one.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import zip_longest

GONE = "(not there)"
_MARKS = "†‡"  # of footnotes, behind a number
_RULE = re.compile(r"[|: -]+")
# What a sentence of a report claims: its numbers and its verdicts. The other words may change with the version.
_CLAIM = re.compile(r"\d+(?:[.,]\d+)*|\b(?:supported|contradicted|inconclusive|not testable|undefined|not|no)\b")

Rows = Sequence[Sequence[str]]


@dataclass(frozen=True)
class Difference:
    """A cell that came out otherwise: where it stands, what was packed and what was computed now."""

    place: str
    packed: str
    computed: str


@dataclass(frozen=True)
class Table:
    """A table, or a section of the report, and what differs; ``cells`` were compared.

    ``new`` names columns that were not packed. ``reworded`` are lines of a report that make the same claims in other
    words now.
    """

    name: str
    cells: int
    differences: tuple[Difference, ...]
    new: tuple[str, ...] = ()
    reworded: tuple[str, ...] = ()


class _Grid:
    """The cells of a table by row and column; where names repeat, the later ones are numbered."""

    def __init__(self, rows: Rows, keys: Sequence[str]) -> None:
        headings = _each_once(rows[0]) if rows else []
        self.columns = dict.fromkeys(headings)
        cells = [dict(_labelled(headings, row)) for row in rows[1:]]
        named = _each_once([" / ".join(one.get(key, "") for key in keys) for one in cells])
        self.rows = dict(zip(named, cells, strict=True))

    def column(self, name: str) -> list[tuple[str, str]]:
        """Return the cells of a column, each with its row."""
        return [(row, cells.get(name, "")) for row, cells in self.rows.items()]


def compare_tables(name: str, packed: Rows, computed: Rows, keys: Sequence[str] = ()) -> Table:
    """Return what differs between two tables, whose first rows are their headings.

    ``keys`` are the columns that name a row, as far as both tables have them; without any, the first column does.
    """
    headings = [set(rows[0]) if rows else set() for rows in (packed, computed)]
    keys = [key for key in keys if all(key in one for one in headings)] or list(packed[0][:1] if packed else ())
    was, is_now = _Grid(packed, keys), _Grid(computed, keys)
    differences = [Difference(f"column {one}", one, GONE) for one in was.columns if one not in is_now.columns]
    for number, (row, cells) in enumerate(was.rows.items(), 2):
        place = f"row {number} ({row})"
        if row not in is_now.rows:
            differences.append(Difference(place, ", ".join(cells.values()), GONE))
            continue
        for column, cell in cells.items():
            other = is_now.rows[row].get(column, "")
            if cell != other and (column in is_now.columns or column not in was.columns):
                differences.append(Difference(f"{place}, {column}", cell, other))
    for row, cells in is_now.rows.items():
        if row not in was.rows:
            differences.append(Difference(f"row ({row})", GONE, ", ".join(cells.values())))
    new = tuple(one for one in is_now.columns if one not in was.columns)
    return Table(name, sum(len(row) for row in packed), tuple(differences), new)


def compare_sections(name: str, packed: str, computed: str) -> Table:
    """Return what differs between two forms of a section of the report: its tables by their cells, its sentences by
    what they claim."""
    tables, sentences = _parts(packed)
    others, other_sentences = _parts(computed)
    compared = []
    for table in tables:
        each = [(compare_tables(name, *_same_headings(table, other)), other) for other in others]
        if not each:
            compared.append(compare_tables(name, table, []))
            continue
        best, other = min(each, key=lambda one: len(one[0].differences))
        others.remove(other)
        compared.append(best)
    differences, reworded = _compared_sentences(sentences, other_sentences)
    return Table(
        name,
        len(sentences) + sum(one.cells for one in compared),
        (*(found for one in compared for found in one.differences), *differences),
        tuple(dict.fromkeys(column for one in compared for column in one.new)),
        tuple(reworded),
    )


def _labelled(headings: Sequence[str], row: Sequence[str]) -> Iterable[tuple[str, str]]:
    """Yield a row's cells with their columns; one that has no heading is called by its place."""
    for number, (heading, cell) in enumerate(zip_longest(headings, row), 1):
        yield (f"column {number}" if heading is None else heading), cell or ""


def _each_once(names: Iterable[str]) -> list[str]:
    seen: Counter[str] = Counter()
    found = []
    for name in names:
        seen[name] += 1
        found.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return found


def _parts(section: str) -> tuple[list[list[list[str]]], list[str]]:
    """Return a section's tables, as rows of cells without padding, rules and marks, and its other lines."""
    tables: list[list[list[str]]] = []
    sentences = []
    within = False
    for line in section.splitlines():
        is_row = line.startswith("|")
        if is_row and not within:
            tables.append([])
        if is_row and not _RULE.fullmatch(line):
            tables[-1].append([cell.strip().rstrip(_MARKS) for cell in line.strip().strip("|").split("|")])
        elif not is_row and line.strip():
            sentences.append(line.strip())
        within = is_row
    return tables, sentences


def _same_headings(packed: Rows, computed: Rows) -> tuple[Rows, Rows]:
    """Return the tables with the packed headings for columns that hold the very same cells under another one now."""
    if not packed or not computed:
        return packed, computed
    was, is_now = _Grid(packed, packed[0][:1]), _Grid(computed, computed[0][:1])
    unmatched = [one for one in is_now.columns if one not in was.columns]
    renamed: dict[str, str] = {}
    for column in was.columns:
        if column not in is_now.columns:
            cells = was.column(column)
            again = next((one for one in unmatched if one not in renamed and is_now.column(one) == cells), None)
            if again is not None:
                renamed[again] = column
    return packed, [[renamed.get(one, one) for one in is_now.columns], *computed[1:]]


def _compared_sentences(packed: Sequence[str], computed: Sequence[str]) -> tuple[list[Difference], list[str]]:
    """Return packed sentences whose claims are not made any more, and those that make them in other words now."""
    left = Counter(computed)
    changed = []
    for one in packed:
        if left[one]:
            left[one] -= 1
        else:
            changed.append(one)
    claims = Counter(claim for one in left.elements() for claim in _CLAIM.findall(one))
    differences, reworded = [], []
    for one in changed:
        claimed = Counter(_CLAIM.findall(one))
        missing = claimed - claims
        if missing:
            differences.append(Difference(one, ", ".join(missing), GONE))
        else:
            claims -= claimed
            reworded.append(one)
    return differences, reworded
