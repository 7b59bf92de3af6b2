"""The record of texts that were taken out of a session: by law for good (*erasure*), or of a copy that is passed on
(*withholding*). It names every file that is not what was sealed, with the hash of what stood there.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict

from discernus.sessions import layout
from discernus.sessions.store import Store

Kind = Literal["erasure", "withholding"]


class Redacted(BaseModel):
    """One file that texts were taken out of: the SHA-256 of what it was and of what it is now, None: it is gone."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    sha256: str
    replaced_by: str | None


class Redaction(BaseModel):
    """What was taken out, when and why: a file of ``system_state/redactions/``.

    ``documents`` are ids of the corpus. ``unreadable`` names the answers that had to go as a whole, since their scores
    could not be read any more without the words that were taken out: their scores stand as they were read before.
    ``quoted_still`` names the author's own files that quote the texts, and were left.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = 1
    kind: Kind
    at: datetime
    reason: str
    documents: tuple[str, ...]
    files: tuple[Redacted, ...]
    unreadable: tuple[str, ...] = ()
    quoted_still: tuple[str, ...] = ()


def read_redactions(store: Store) -> list[Redaction]:
    """Return every redaction of the session, oldest first; ValidationError where a record is not one."""
    names = [name for name in store.names(layout.REDACTIONS) if name.startswith("redaction_")]
    return [Redaction.model_validate_json(store.get(f"{layout.REDACTIONS}/{name}")) for name in names]


def record_redaction(store: Store, redaction: Redaction) -> str:
    """Write the record durably and return its name."""
    number = len(store.names(layout.REDACTIONS)) + 1
    while not store.put_if_absent(layout.redaction(number), redaction.model_dump_json(indent=1).encode()):
        number += 1
    return layout.redaction(number)
