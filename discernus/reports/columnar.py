"""results.csv with types: as Parquet, and as a Stata file. The values are the same; what is missing stays missing."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from discernus.reports.records import AnalysisRecord
from discernus.reports.results import Column, cell

LABEL_LENGTH = 80  # characters of a label in a Stata file, by its format
NAME_LENGTH = 32  # and of a name
_RESERVED = {
    *("_all", "_b", "_coef", "_cons", "_n", "_N", "_pi", "_pred", "_rc", "_skip"),
    *("byte", "double", "float", "if", "in", "int", "long", "strL", "using", "with"),
}


def parquet(columns: Sequence[Column], records: Iterable[AnalysisRecord]) -> bytes:
    """Return a Parquet file with a column for each; its fields' metadata hold their meaning and unit."""
    import pyarrow as pa
    from pyarrow import parquet as writer

    records = list(records)
    fields, arrays = [], []
    for column in columns:
        kind, values = typed(column, records)
        arrow = {float: pa.float64(), int: pa.int64(), bool: pa.bool_(), str: pa.string()}[kind]
        metadata = {"meaning": column.meaning, "unit_or_scale": column.unit}
        fields.append(pa.field(column.name, arrow, metadata=metadata))
        arrays.append(pa.array(values, arrow))
    file = io.BytesIO()
    writer.write_table(pa.Table.from_arrays(arrays, schema=pa.schema(fields)), file, compression="zstd")
    return file.getvalue()


def stata(columns: Sequence[Column], records: Iterable[AnalysisRecord], written_at: datetime) -> bytes:
    """Return a Stata file (format 118, Stata 14 and later), each variable labelled with its meaning.

    Numbers are doubles and missing ones are Stata's own missing value; truth values are 1 and 0. ``written_at`` is the
    time that the file states: the session's, so that the same session gives the same bytes.
    """
    import pandas as pd

    records = list(records)
    names = stata_names([column.name for column in columns])
    frame: dict[str, Any] = {}
    for column in columns:
        kind, values = typed(column, records)
        if kind is str:
            frame[names[column.name]] = pd.Series([value or "" for value in values], dtype=object)
        else:
            numbers = [None if value is None else float(value) for value in values]
            frame[names[column.name]] = pd.Series(numbers, dtype="float64")
    labels = {names[one.name]: f"{one.name}: {one.meaning}".replace("\n", " ")[:LABEL_LENGTH] for one in columns}
    long = [name for name, values in frame.items() if values.dtype == object and values.str.len().max() > 500]
    file = io.BytesIO()
    pd.DataFrame(frame).to_stata(
        file,
        write_index=False,
        version=118,
        variable_labels=labels,
        convert_strl=long,
        time_stamp=written_at.replace(tzinfo=None),
    )
    return file.getvalue()


def stata_names(names: Sequence[str]) -> dict[str, str]:
    """Return names that Stata takes, by the columns' own: letters, digits and _, at most 32, each once."""
    found: dict[str, str] = {}
    for name in names:
        plain = re.sub(r"\W", "_", name, flags=re.ASCII)[:NAME_LENGTH]
        if not plain or plain[0].isdigit() or plain in _RESERVED or re.fullmatch(r"str\d+", plain):
            plain = f"_{plain}"[:NAME_LENGTH]
        number, stem = 1, plain
        while plain in found.values():
            number += 1
            plain = f"{stem[: NAME_LENGTH - len(str(number)) - 1]}_{number}"
        found[name] = plain
    return found


def typed(column: Column, records: Sequence[AnalysisRecord]) -> tuple[type, list[Any]]:
    """Return the column's type (float, int, bool or str) and its values, None where there is none.

    A column whose values are of several types is text, as results.csv has it; one without any is text too, but for
    numbers that could have been there.
    """
    values = [column.value(record) for record in records]
    types = {type(value) for value in values if value is not None}
    if types in ({bool}, {int}):
        return next(iter(types)), values
    if types and types <= {int, float}:
        return float, [None if value is None else float(value) for value in values]
    if not types and column.numeric:
        return float, values
    return str, [None if value is None else cell(value) for value in values]
