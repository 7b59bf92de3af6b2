"""What passed through the proxy: a JSON line as a call goes out and one as it ends, never a text and never a key.

It is the proxy's ledger too: what a user has spent is the sum of what stands here. Each process appends to a file of
its own, in a folder that all share, and reads the others' files as they grow.
"""

from __future__ import annotations

import json
import os
import socket
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any


class AuditLog:
    """The lines of all processes that share a folder: one writes its own, and adds up everybody's spending."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._writer = f"{socket.gethostname()}-{os.getpid()}-{datetime.now(UTC):%Y%m%dT%H%M%S}"
        self._read: dict[Path, int] = {}  # bytes of each file that are added up already
        self._month = ""
        self._spent: defaultdict[str, float] = defaultdict(float)

    def append(self, event: str, **facts: Any) -> None:
        """Write one line, in one piece, to the file of this process and month."""
        now = datetime.now(UTC)
        line = json.dumps({"at": now.isoformat(timespec="milliseconds"), "event": event, **facts}) + "\n"
        with self._file(f"{now:%Y-%m}").open("ab", buffering=0) as file:
            file.write(line.encode())

    def spent_usd(self, user: str) -> float:
        """Return what the user's answers of this calendar month (UTC) have cost, over all processes."""
        month = f"{datetime.now(UTC):%Y-%m}"
        if month != self._month:
            self._month, self._read, self._spent = month, {}, defaultdict(float)
        for path in self._folder.glob(f"audit_{month}_*.jsonl"):
            self._add_up(path)
        return self._spent[user]

    def _file(self, month: str) -> Path:
        return self._folder / f"audit_{month}_{self._writer}.jsonl"

    def _add_up(self, path: Path) -> None:
        start = self._read.get(path, 0)
        if path.stat().st_size == start:
            return
        with path.open("rb") as file:
            file.seek(start)
            whole = file.read().rpartition(b"\n")[0]  # a line that is still being written is read next time
        for line in whole.splitlines():
            entry = json.loads(line)
            self._spent[entry["user"]] += entry.get("cost_usd") or 0.0
        self._read[path] = start + len(whole) + bool(whole)
