"""Operational logs: JSON lines in the session's logs folder, rotated and compressed; set up by entry points only."""

from __future__ import annotations

import gzip
import logging
import logging.handlers
import shutil
from pathlib import Path

import structlog

LARGEST_LOG = 5_000_000  # bytes before rotation
KEPT_LOGS = 5


def log_to(path: Path) -> None:
    """Send everything that is logged, by us and by libraries from WARNING on, to that file and nowhere else."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handler = logging.handlers.RotatingFileHandler(path, maxBytes=LARGEST_LOG, backupCount=KEPT_LOGS, delay=True)
    handler.namer = lambda name: f"{name}.gz"
    handler.rotator = _compress
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


def _compress(source: str, target: str) -> None:
    with Path(source).open("rb") as plain, gzip.open(target, "wb") as packed:
        shutil.copyfileobj(plain, packed)
    Path(source).unlink()
