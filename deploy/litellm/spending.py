"""Say what each user has asked and spent: ``python spending.py AUDIT_FOLDER [YYYY-MM]``, this month (UTC) by default.

Unpriced are answers whose cost nobody knows; in doubt are calls that went out and of whose end there is no line: they
are in flight, or their process died, and the vendor may have charged for them.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

COLUMNS = ("user", "asked", "answered", "failed", "unpriced", "in doubt", "USD")


def main(folder: Path, month: str) -> None:
    """Write one line for each user."""
    lines = _lines(folder, month)
    users = sorted({line["user"] for line in lines if line["user"]})
    rows = [COLUMNS, *(_row(user, [line for line in lines if line["user"] == user]) for user in users)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
    for row in rows:
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        sys.stdout.write("  ".join(cells) + "\n")


def _lines(folder: Path, month: str) -> list[dict[str, Any]]:
    texts = [path.read_text(encoding="utf-8") for path in sorted(folder.glob(f"audit_{month}_*.jsonl"))]
    whole = [text.rpartition("\n")[0] for text in texts]
    return [json.loads(line) for text in whole for line in text.splitlines()]


def _row(user: str, lines: list[dict[str, Any]]) -> tuple[str, ...]:
    counts = Counter(line["event"] for line in lines)
    answered = [line for line in lines if line["event"] == "answered"]
    unpriced = sum(line["cost_usd"] is None for line in answered)
    ended = {line["id"] for line in lines if line["event"] != "asked"}
    in_doubt = sum(line["event"] == "asked" and line["id"] not in ended for line in lines)
    usd = sum(line["cost_usd"] or 0.0 for line in answered)
    return user, *map(str, (counts["asked"], counts["answered"], counts["failed"], unpriced, in_doubt)), f"{usd:.4f}"


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    main(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) == 3 else f"{datetime.now(UTC):%Y-%m}")
