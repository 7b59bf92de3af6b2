"""Reading corpus.csv: what it says about each text, by file, with the line of every problem."""

import csv
import io
import re
import unicodedata
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from discernus.experiments.encoding import NotText, decode
from discernus.experiments.problems import ProblemList, did_you_mean

TABLE_NAME = "corpus.csv"
_SAFE_ID = re.compile(r"\w(?:[\w .()+-]*[\w)+])?")
_MAX_ID = 100


@dataclass(frozen=True)
class Row:
    """What the table says about one text: its id, if it gives one, and the metadata that is there."""

    line: int
    id: str | None
    metadata: dict[str, str] = field(default_factory=dict)


def read_table(path: Path, files: Collection[str], problems: ProblemList) -> dict[str, Row]:
    """Return the rows by file; ``files`` are the texts that exist, to check against and to suggest from."""
    try:
        text = decode(path.read_bytes(), problems.file)
    except OSError as error:
        problems.error(None, f"the file cannot be read: {error.strerror}", "check its permissions")
        return {}
    except NotText as error:
        problems.error(None, error.what, error.cure)
        return {}
    records = _records(text, problems)
    if not records:
        problems.error(1, "the table is empty", "begin it with a line of columns: file,id,language,date,licence")
        return {}
    columns = [column.strip() for column in records[0][1]]
    named = [column.lower() if column.lower() in {"file", "id"} else column for column in columns]
    if not _check_columns(named, problems):
        return {}
    rows: dict[str, Row] = {}
    for line, cells in records[1:]:
        if len(cells) != len(named):
            what = f"this row has {len(cells)} cells, the first line has {len(named)}"
            problems.error(line, what, "add the missing cells, or put a cell that holds a comma in quotes")
            continue
        _add_row(dict(zip(named, (cell.strip() for cell in cells), strict=True)), line, rows, problems)
    for file, row in rows.items():
        if unicodedata.normalize("NFC", file) not in {unicodedata.normalize("NFC", known) for known in files}:
            cure = did_you_mean(file, files, "add the file, or take the row out")
            problems.error(row.line, f"'{file}' is listed, but there is no such text", cure)
    return rows


def id_problem(document_id: str) -> str | None:
    """Return why an id cannot be used in file names, tables and activity names, or None if it can."""
    if len(document_id) > _MAX_ID:
        return f"it is longer than {_MAX_ID} characters"
    if not _SAFE_ID.fullmatch(document_id):
        return "it may hold letters, digits, spaces and . _ - + ( ), and has to begin with a letter or digit"
    return None


def _records(text: str, problems: ProblemList) -> list[tuple[int, list[str]]]:
    """Return the rows that are not blank, each with the line it begins on."""
    first = text.split("\n", 1)[0]
    delimiter = max(",;\t", key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    records = []
    line = 1
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                records.append((line, cells))
            line = reader.line_num + 1
    except csv.Error as error:
        problems.error(line, f"the table cannot be read: {error}", "check the quotes from this line on")
    return records


def _check_columns(columns: list[str], problems: ProblemList) -> bool:
    before = len(problems.found)
    if "file" not in columns:
        cure = "name the column that holds the texts' file names 'file'"
        problems.error(1, f"the table has no column 'file' (it has {', '.join(columns)})", cure)
    for index, column in enumerate(columns):
        if not column:
            problems.error(1, f"column {index + 1} has no name", "name it, or take it out")
        elif column in columns[:index]:
            problems.error(1, f"column '{column}' stands here twice", "rename one of them")
    return len(problems.found) == before


def _add_row(cells: dict[str, str], line: int, rows: dict[str, Row], problems: ProblemList) -> None:
    file, document_id = cells.pop("file"), cells.pop("id", "")
    if not file:
        problems.error(line, "this row names no file", "fill in the column 'file', or take the row out")
        return
    if file in rows:
        problems.error(line, f"'{file}' is listed twice (first: line {rows[file].line})", "keep one of the rows")
        return
    metadata = {column: value for column, value in cells.items() if value}
    rows[file] = Row(line, unicodedata.normalize("NFC", document_id) or None, metadata)
