"""The table of all calls, ``llm_archive/metadata.jsonl``: its first line names the columns, each other is one call.

Early versions wrote an object for each call, names and all, which took as many bytes as the values. Both are read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from discernus.canonical import read_json
from discernus.sessions.lines import to_lines

FORMAT: Final = 2
COLUMNS: Final = (
    "call",
    "timestamp",
    "purpose",
    "model_requested",
    "model_answered",
    "substituted",
    "prompt_tokens",
    "completion_tokens",
    "cost_usd",
    "latency_ms",
    "finish_reason",
    "marks",
    "attempt",
    "reused_from",
)


def call_log(calls: Iterable[Mapping[str, object]]) -> bytes:
    """Return the table of the calls, of which each has a value for every column."""
    lines = [{"format": FORMAT, "columns": COLUMNS}, *([call[column] for column in COLUMNS] for call in calls)]
    return to_lines(lines)


def read_call_log(data: bytes) -> list[dict[str, Any]]:
    """Return the calls of a table in either form, each by column. Raise ValueError where it is none."""
    lines = [read_json(line) for line in data.splitlines()]
    columns = lines.pop(0)["columns"] if lines and isinstance(lines[0], dict) and "columns" in lines[0] else None
    if not all(isinstance(line, dict if columns is None else list) for line in lines):
        raise ValueError("it is no table of calls")
    return lines if columns is None else [dict(zip(columns, line, strict=True)) for line in lines]
