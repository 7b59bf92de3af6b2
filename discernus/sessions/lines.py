"""JSON lines. The logs written with them are projections, built anew from what the calls left."""

from __future__ import annotations

import json
from collections.abc import Iterable


def to_lines(records: Iterable[object]) -> bytes:
    """Return the records as JSON lines, each ended by a newline."""
    lines = (json.dumps(one, ensure_ascii=False, allow_nan=False, separators=(",", ":")) + "\n" for one in records)
    return "".join(lines).encode()
