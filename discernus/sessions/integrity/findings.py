"""What a verification found: which file or line, what is wrong with it, and what that means for a reader."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from discernus.sessions import layout
from discernus.sessions.integrity.redaction import Redaction

Kind = Literal["altered", "added", "removed", "reordered", "torn", "unsigned", "wrong_key", "inconsistent"]

# What a file is, by the beginning of its name; the first that fits.
ROLES = (
    (layout.CALL_LOG, "the table of all calls, which can be built anew from their metadata"),
    (layout.EXTRACTION_LOG, "the table of all readings, which can be built anew from the scores"),
    (f"{layout.ARCHIVE}/response_", "an answer that was paid for: scores read from it rest on it"),
    (f"{layout.ARCHIVE}/request_", "what a model was asked: without it nobody can tell what its answer answers"),
    (f"{layout.ARCHIVE}/metadata_", "how an answer came about: its model, its cost, its hash"),
    (f"{layout.ARCHIVE}/rival_", "a late answer that was kept and never scored"),
    (f"{layout.ARCHIVE}/error_", "what came instead of an answer"),
    (f"{layout.ARCHIVE}/shared_", "what many calls share: parameters, versions, forms of replies"),
    (f"{layout.ARCHIVE}/messages/", "the text of a message, as prompts carry it"),
    (f"{layout.EXTRACTED}/", "the scores of an analysis"),
    (f"{layout.INTENTS}/", "a call that may have been paid for though no answer came"),
    (f"{layout.PARKED}/", "why an analysis could not be had"),
    (f"{layout.WAITING}/", "when a model took no calls"),
    (f"{layout.PAGES}/", "what a person reads of an analysis"),
    (layout.RESULTS, "the table that every statistic is computed from"),
    (f"{layout.DELIVERABLES}/", "what a reader is given"),
    ("experiment_snapshot", "the frozen experiment"),
    ("framework_snapshot", "the frozen framework"),
    ("corpus", "the frozen corpus"),
    (layout.SETTINGS, "the frozen settings"),
    (layout.CHRONOLOG, "what happened, and when"),
    (f"{layout.SEGMENTS}/", "what one process says happened, and when"),
    (f"{layout.VERSIONS}/", "which version of a model answered first"),
    (f"{layout.REDACTIONS}/", "which texts were taken out, and why"),
    (f"{layout.SUPERSEDED}/", "a file of an earlier sealed version"),
    (f"{layout.STATE}/seal_", "what holds the hashes of all other files"),
    (f"{layout.STATE}/stage_", "what a stage left, with hashes"),
    (layout.SESSION, "what was settled when the session was opened"),
    ("logs/", "an operational log; no result rests on it"),
)
CONSEQUENCES: dict[Kind, str] = {
    "altered": "restore it from a copy, or trust nothing that rests on it",
    "removed": "restore it from a copy; nothing can stand in for it",
    "added": "it was put there after the sealing; if that was you, take it away, or restore the session from a copy",
    "reordered": "it tells of another order than that of time",
    "torn": "its end is missing; restore it from a copy",
    "unsigned": "anyone who could write the files could have sealed them",
    "wrong_key": "somebody else than the owner of the given key has sealed it",
    "inconsistent": "both cannot be true; compare them with a copy",
}


@dataclass(frozen=True)
class Finding:
    """Something that is not as it was: ``place`` is a file's name in the session, with the line where one is known.

    ``involves`` names the other files that it was found by.
    """

    kind: Kind
    place: str
    what: str
    means: str
    involves: tuple[str, ...] = ()

    @property
    def file(self) -> str:
        name, colon, line = self.place.rpartition(":")
        return name if colon and line.isdigit() else self.place


def finding(kind: Kind, name: str, what: str, *, line: int | None = None, by: Iterable[str] = ()) -> Finding:
    """Return a finding on a file of the session, with what it means for a file of that kind."""
    role = next((role for beginning, role in ROLES if name.startswith(beginning)), "")
    means = f"{role}; {CONSEQUENCES[kind]}" if role else CONSEQUENCES[kind]
    return Finding(kind, name if line is None else f"{name}:{line}", what, means, tuple(by))


@dataclass(frozen=True)
class Uncovered:
    """Something that a verification says nothing about, and why."""

    what: str
    why: str


@dataclass(frozen=True)
class Declared:
    """A redaction on record; ``sealed`` means that the seal covers the record."""

    record: str
    redaction: Redaction
    sealed: bool


@dataclass(frozen=True)
class Verification:
    """What came of it. ``version`` is the newest seal's, None without any; ``files`` were looked at.

    ``signed_by`` is the fingerprint of the key whose signature holds. ``packaged``: it lies in a replication package.
    """

    name: str
    state: Literal["sealed", "under_way"]
    version: int | None
    sealed_at: str | None
    signed_by: str | None
    files: int
    findings: tuple[Finding, ...]
    redactions: tuple[Declared, ...] = ()
    uncovered: tuple[Uncovered, ...] = ()
    packaged: bool = False

    @property
    def intact(self) -> bool:
        return not self.findings


def each_once(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return the first finding of each place; of a file whose lines are named, the file itself is not named again."""
    found: dict[str, Finding] = {}
    for one in findings:
        found.setdefault(one.place, one)
    lined = {one.file for one in found.values() if one.place != one.file}
    return tuple(one for one in found.values() if one.place != one.file or one.file not in lined)
