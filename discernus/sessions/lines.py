"""JSON lines. The logs written with them are projections: built anew from what the calls left, and never read back."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any


def to_lines(records: Iterable[dict[str, Any]]) -> bytes:
    """Return the records as JSON lines, each ended by a newline."""
    return b"".join(json.dumps(record, ensure_ascii=False, allow_nan=False).encode() + b"\n" for record in records)
