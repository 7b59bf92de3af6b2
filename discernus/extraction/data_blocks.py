"""Tables and YAML as they stand in the answers of models: CSV by its header, YAML by its fence.

Each block becomes the value that JSON of the same content would be, so that one reader judges all of them, and a table
beside an object that says otherwise is a conflict.
"""

import csv
import re
from collections.abc import Iterator
from typing import Any

import yaml

from discernus.extraction.json_text import Found, members
from discernus.extraction.names import Vocabulary

_DELIMITERS = (",", ";", "\t")
_LONGEST_NAME = 60  # characters of a column's name
_LONGEST_HEADER = 4_000  # characters of a header line; a longer line is prose or a runaway
_DECIMAL_COMMA = re.compile(r"[-+−]?\d+,\d+")
_YAML_FENCE = re.compile(r"^[ \t]*```[ \t]*ya?ml[ \t]*\n(?P<body>.*?)^[ \t]*```[ \t]*$", re.DOTALL | re.MULTILINE)
_LONGEST_YAML = 200_000  # characters
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})


def find_blocks(answer: str, vocabulary: Vocabulary, *, ended: bool) -> tuple[Found, ...]:
    """Return what every table and YAML block of the answer says, each as a list or an object.

    ``ended`` says that the answer is known to be whole; else a row at its very end may be cut off, and is left out.
    """
    tables = (Found(rows, "block") for rows in _tables(answer, vocabulary, ended=ended))
    return (*tables, *(Found(value, "block") for value in _yaml_values(answer)))


def _tables(answer: str, vocabulary: Vocabulary, *, ended: bool) -> Iterator[list[dict[str, Any]]]:
    lines = answer.splitlines(keepends=True)
    if lines and not ended and not lines[-1].endswith("\n"):
        lines.pop()
    at = 0
    while at < len(lines):
        delimiter = next((each for each in _DELIMITERS if _is_header(lines[at], each, vocabulary)), None)
        rows, used = _rows(lines[at:], delimiter) if delimiter else ([], 1)
        if rows:
            yield rows
        at += used


def _is_header(line: str, delimiter: str, vocabulary: Vocabulary) -> bool:
    """Return whether a line names columns: dimensions, or a dimension's name beside a role such as its score."""
    if delimiter not in line or len(line) > _LONGEST_HEADER:
        return False
    cells = [cell.strip(" \t\"'") for cell in line.strip().split(delimiter)]
    if not all(0 < len(cell) <= _LONGEST_NAME for cell in cells) or len({*cells}) < len(cells):
        return False
    keys = [vocabulary.key(cell) for cell in cells]
    return any(key.dimension for key in keys) or (any(key.names for key in keys) and any(key.role for key in keys))


def _rows(lines: list[str], delimiter: str) -> tuple[list[dict[str, Any]], int]:
    """Return the rows under the header that the first line is, and how many lines the table takes, itself included."""
    reader = csv.reader(iter(lines), delimiter=delimiter, skipinitialspace=True, strict=True)
    rows: list[dict[str, Any]] = []
    used = 1
    try:
        header = [name.strip() for name in next(reader)]
        for cells in reader:
            if len(cells) != len(header):
                break
            used = reader.line_num
            said = {name: _cell(cell, delimiter) for name, cell in zip(header, cells, strict=True)}
            rows.append({name: value for name, value in said.items() if value})
    except csv.Error:  # a quotation that never closes: what stands before it is whole
        pass
    return rows, used


def _cell(cell: str, delimiter: str) -> str:
    """Return a cell's text; a decimal comma, which no comma table can hold, becomes a point."""
    cell = cell.strip()
    return cell.replace(",", ".") if delimiter != "," and _DECIMAL_COMMA.fullmatch(cell) else cell


def _yaml_values(answer: str) -> Iterator[Any]:
    for fence in _YAML_FENCE.finditer(answer):
        body = fence["body"]
        if len(body) > _LONGEST_YAML:
            continue
        try:
            if not any(isinstance(token, yaml.AliasToken) for token in yaml.scan(body)):
                yield _value(yaml.compose(body, Loader=yaml.SafeLoader))
        except (yaml.YAMLError, RecursionError):
            continue


def _value(node: yaml.Node | None) -> Any:
    """Return a YAML node with every scalar as it is written: dates, yes and .inf are no numbers here."""
    if isinstance(node, yaml.MappingNode):
        return members([(str(key.value), _value(value)) for key, value in node.value])
    if isinstance(node, yaml.SequenceNode):
        return [_value(item) for item in node.value]
    written = node.value if isinstance(node, yaml.ScalarNode) else ""
    plain = isinstance(node, yaml.ScalarNode) and node.style is None
    return None if plain and written in _NULLS else written
