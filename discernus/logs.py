"""Operational logs: JSON lines, in parts that are compressed once they are full; set up by entry points only.

Every process writes files of its own, ``operational_<host>-<pid>_<time>.001.jsonl``, so nobody turns over what another
writes. A part is gone only when its compressed form is whole and durable; a crash in between leaves both.
"""

from __future__ import annotations

import gzip
import logging
import logging.handlers
import os
import shutil
import socket
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import structlog

LARGEST_PART = 5_000_000  # bytes


class _Parts(logging.handlers.BaseRotatingHandler):
    """Writes one part after the other. ``path`` names the role: ``logs/operational.jsonl``."""

    def __init__(self, path: Path) -> None:
        started = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        self._start = path.with_name(f"{path.stem}_{socket.gethostname()}-{os.getpid()}_{started}")
        self._part = 1
        super().__init__(self._path(), "a", encoding="utf-8", delay=True)

    def shouldRollover(self, record: logging.LogRecord) -> bool:
        return self.stream is not None and self.stream.tell() >= LARGEST_PART

    def doRollover(self) -> None:
        finished, self.stream = self.stream, None  # the next line opens the next part
        if finished is not None:
            finished.close()
        full = Path(self.baseFilename)
        self._part += 1
        self.baseFilename = str(Path(self._path()).absolute())
        with suppress(OSError):  # a full disk: then it stays as it is
            _compress(full)

    def _path(self) -> str:
        return f"{self._start}.{self._part:03d}.jsonl"


def log_to(path: Path) -> None:
    """Send everything that is logged, by us and by libraries from WARNING on, to files of our own and nowhere else.

    ``path`` is named by the role of the process, as ``logs/operational.jsonl``; the files lie beside it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handler = _Parts(path)
    shared: list[structlog.types.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processor=structlog.processors.JSONRenderer(ensure_ascii=False), foreign_pre_chain=shared
        )
    )
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    logging.getLogger("discernus").setLevel(logging.INFO)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )


def _compress(part: Path) -> None:
    """Put the part's compressed form in its place."""
    unfinished = part.with_name(f".tmp-{part.name}.gz")
    try:
        with part.open("rb") as plain, unfinished.open("wb") as file:
            with gzip.open(file, "wb") as packed:
                shutil.copyfileobj(plain, packed)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(part.with_name(f"{part.name}.gz"))
    except OSError:
        unfinished.unlink(missing_ok=True)
        raise
    folder = os.open(part.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    part.unlink()
