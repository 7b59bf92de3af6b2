"""The vendor's own record of its wire: a JSON line as each request arrives, and one as each answer has been written."""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

Event = Literal["request", "answer", "fault", "abandoned"]


@dataclass(frozen=True)
class Entry:
    """One line of the journal.

    Each ``request`` is followed by at most one of: ``answer`` (a whole 200 was written: a vendor would bill it,
    whatever its content; ``fault`` names what is odd about it), ``fault`` (an error, or the connection was broken: not
    billed), ``abandoned`` (the client had gone before its answer was written). What hangs has no second. ``vendor`` is
    LiteLLM's name for it, ``model`` the vendor's own name for the model that was asked.
    """

    event: Event
    at: str  # UTC, ISO 8601
    at_monotonic: float  # seconds; comparable over the processes of one machine
    ordinal: int
    vendor: str
    model: str
    purpose: str
    content_sha256: str
    idempotency_key: str | None
    status: int | None = None
    fault: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None


class JournalWriter:
    """Appends entries unbuffered, so that what was written is there whoever dies next."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def append(self, event: Event, request: dict[str, Any], **more: Any) -> None:
        now = time.time()
        whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now))
        at = f"{whole}.{int(now % 1 * 1e6):06d}Z"
        entry = {"event": event, "at": at, "at_monotonic": time.monotonic(), **request, **more}
        os.write(self._file, json.dumps(entry, ensure_ascii=False).encode() + b"\n")


def read_journal(path: Path) -> list[Entry]:
    """Return the whole lines written so far, in order."""
    if not path.exists():
        return []
    whole = path.read_bytes().rpartition(b"\n")[0]
    return [Entry(**json.loads(line)) for line in whole.splitlines()]
