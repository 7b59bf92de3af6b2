"""JSON lines that outlive a crash: readers step over a torn last line, and nobody appends to one."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any


def to_lines(records: Iterable[dict[str, Any]]) -> bytes:
    """Return the records as JSON lines, each ended by a newline."""
    return b"".join(json.dumps(record, ensure_ascii=False, allow_nan=False).encode() + b"\n" for record in records)


def from_lines(data: bytes) -> list[dict[str, Any]]:
    """Return every whole record; a last line without its newline, or one that is not JSON, is left out."""
    records = []
    for line in data.split(b"\n")[:-1]:
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict):
            records.append(record)
    return records
