"""How a command ends: its exit codes, and errors that a person can act on."""

from __future__ import annotations

import sys
from pathlib import Path

COMPLETE = 0
INVALID = 2
PARTIAL = 3
INFRASTRUCTURE = 4
PAUSED = 5
INTERRUPTED = 130


class CommandError(Exception):
    """What went wrong, to what, and what to do next; shown without a traceback."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


def command_name() -> str:
    """Return what the command line was called as, so that what we print can be typed: starter.py, or discernus."""
    return Path(sys.argv[0]).name or "starter.py"
