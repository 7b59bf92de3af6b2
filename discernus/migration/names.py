"""Names of today for what older layouts called otherwise: sessions, experiments, documents."""

from __future__ import annotations

import re
from datetime import UTC, datetime

_STAMP = re.compile(r"(\d{4})-?(\d{2})-?(\d{2})[_T-](\d{2})-?(\d{2})-?(\d{2})")
_UNSAFE = re.compile(r"[^\w .()+-]+")


def session_name(written: str) -> str:
    """Return a session's name in today's form where the old one tells its beginning, else the old one."""
    stamp = _STAMP.search(written)
    return f"session_{''.join(stamp.groups()[:3])}_{''.join(stamp.groups()[3:])}" if stamp else written


def session_at(at: datetime) -> str:
    """Return the name of a session that began at that time."""
    return f"session_{at:%Y%m%d_%H%M%S}"


def local_beginning(name: str) -> datetime | None:
    """Return when a session began by its name, its author's clock taken as it stands; None where it does not tell."""
    stamp = _STAMP.search(name)
    if stamp is None:
        return None
    try:
        return datetime.strptime("".join(stamp.groups()), "%Y%m%d%H%M%S").replace(tzinfo=UTC)
    except ValueError:
        return None


def plain(name: str) -> str:
    """Return a name that a folder can have and a command line can carry."""
    safe = _UNSAFE.sub("-", name).strip(" .-").replace(" ", "_")
    return safe[:100] or "unnamed"


def document_file(name: str) -> str:
    """Return a file's name that the text of a document can have today."""
    stem, dot, suffix = name.rpartition(".")
    if not dot or suffix.lower() not in ("txt", "md"):
        stem, suffix = name, "txt"
    safe = _UNSAFE.sub("-", stem).strip(" .-") or "text"
    return f"{safe if safe[0].isalnum() or safe[0] == '_' else f'_{safe}'}"[:90].rstrip(" .-") + f".{suffix.lower()}"
