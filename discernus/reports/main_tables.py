"""The main tables for a paper, as LaTeX and as HTML that a word processor takes over: each variable over documents.

The numbers are the report's own; each table says what it counts, and what a dash means.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape, unescape

from discernus.experiments.framework import Framework
from discernus.reports.groups import Group, variables_of
from discernus.reports.markdown import NONE, number

HEADINGS = ("Variable", "Documents", "Scores", "Mean", "SD", "Min", "Max")
NOTE = (
    "A document counts once, with its mean over runs; mean, SD (n − 1), minimum and maximum are over documents. "
    f"Scores: single analyses with a value. {NONE}: no value."
)
NOT_VALIDATED = "Not validated against human coding."

_LATEX = {
    "\\": r"\textbackslash{}",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "–": "--",
    "−": "$-$",
}


@dataclass(frozen=True)
class MainTable:
    """One model's table under one variant; ``rows`` have a cell for each of HEADINGS, the first a name."""

    caption: str
    rows: tuple[tuple[str, ...], ...]


def main_tables(framework: Framework, groups: Sequence[Group]) -> list[MainTable]:
    """Return the tables of scores, then those of derived metrics, of each model and variant that gave any."""
    dimensions, metrics = variables_of(framework)
    scored = [group for group in groups if any(record.scores for record in group.records)]
    found = []
    for names, what in ((dimensions, "Scores"), (metrics, "Derived metrics")):
        if names:
            found += [MainTable(f"{what}: {unescape(group.title)}", _rows(group, names)) for group in scored]
    return found


def _rows(group: Group, names: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    rows = []
    for name in names:
        across = group.across_documents(name)
        shown = map(number, (across.mean, across.sd, across.minimum, across.maximum))
        rows.append((name, str(across.n), str(group.count(name)), *shown))
    return tuple(rows)


def as_latex(tables: Sequence[MainTable], human_validation: str | None = None) -> str:
    """Return the tables as LaTeX, which needs the package booktabs; below each stands what is said of validation."""
    note = _note(human_validation)
    return "% needs \\usepackage{booktabs}\n" + "\n".join(_latex(table, note) for table in tables)


def _note(human_validation: str | None) -> str:
    if human_validation is None:
        return f"{NOTE} {NOT_VALIDATED}"
    return f"{NOTE} Validation, as the author states it: {human_validation}"


def _latex(table: MainTable, note: str) -> str:
    rows = "\n".join(f"{' & '.join(map(_escaped, row))} \\\\" for row in table.rows)
    return (
        "\\begin{table}\n"
        f"\\caption{{{_escaped(table.caption)}}}\n"
        f"\\begin{{tabular}}{{l{'r' * (len(HEADINGS) - 1)}}}\n\\toprule\n"
        f"{' & '.join(HEADINGS)} \\\\\n\\midrule\n{rows}\n\\bottomrule\n\\end{{tabular}}\n\n"
        f"\\smallskip\\footnotesize {_escaped(note)}\n\\end{{table}}\n"
    )


def _escaped(value: str) -> str:
    plain = " ".join("".join(one if one.isprintable() or one.isspace() else "\ufffd" for one in value).split())
    return "".join(_LATEX.get(one, one) for one in plain)


def as_html(tables: Sequence[MainTable], human_validation: str | None = None) -> str:
    """Return the tables as an HTML page without styles beyond rules and alignment, which Word keeps."""
    note = _note(human_validation)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head><meta charset="utf-8"><title>Main tables</title></head>\n<body>\n'
        + "\n".join(_html(table, note) for table in tables)
        + "\n</body>\n</html>\n"
    )


def _html(table: MainTable, note: str) -> str:
    rule = "border-bottom:1px solid black;padding:2px 8px"
    head = "".join(f'<th style="{rule};text-align:{_side(at)}">{one}</th>' for at, one in enumerate(HEADINGS))
    rows = "\n".join(
        "<tr>"
        + "".join(f'<td style="padding:2px 8px;text-align:{_side(at)}">{escape(one)}</td>' for at, one in row)
        + "</tr>"
        for row in map(enumerate, table.rows)
    )
    return (
        f"<p><b>{escape(table.caption)}</b></p>\n"
        f'<table style="border-collapse:collapse;border-top:1px solid black;border-bottom:1px solid black">\n'
        f"<tr>{head}</tr>\n{rows}\n</table>\n<p>{escape(note)}</p>"
    )


def _side(column: int) -> str:
    return "left" if column == 0 else "right"
