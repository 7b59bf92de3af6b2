"""What may change from one seal to the next: a legal step keeps a copy of what it makes anew, or tells of it.

All else that another seal lists otherwise, or that a session under way holds otherwise, was changed by hand.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from pydantic import ValidationError

from discernus.experiments.freezing import EXPERIMENT_SNAPSHOT, FRAMEWORK_SNAPSHOT, MANIFEST
from discernus.sessions import layout
from discernus.sessions.chronologs.events import Event
from discernus.sessions.integrity.consistency import CORPUS
from discernus.sessions.integrity.differences import Accepts, changed_files
from discernus.sessions.integrity.findings import Finding, finding
from discernus.sessions.integrity.manifests import LOGS, Checkpoint, Covered, Hashed, Seal, stage_of
from discernus.sessions.integrity.seals import SealFile

FIRST_KEPT = 2  # the first format of a seal whose session kept copies of what it made anew, and a chronolog
FROZEN = (EXPERIMENT_SNAPSHOT, FRAMEWORK_SNAPSHOT, MANIFEST, CORPUS, layout.SETTINGS, layout.SESSION)
LASTING = (f"{layout.ARCHIVE}/", f"{layout.CLOSURES}/", f"{layout.REDACTIONS}/", f"{layout.SUPERSEDED}/", *FROZEN)
PASSING = (f"{layout.INTENTS}/", f"{layout.PARKED}/", f"{layout.WAITING}/")  # may go once a stage is complete
# Written anew as work goes on: notes of what passes, versions once they are accepted, and a stage's checkpoint, which
# says nothing but what the files say that it lists.
REWRITTEN = (*PASSING, layout.LIMITS, f"{layout.VERSIONS}/", f"{layout.STATE}/stage_", LOGS)
REPEATED = ("calculation", "synthesis")  # stages that a restart may repeat behind a seal of which nothing tells yet


@dataclass(frozen=True)
class Steps:
    """What accounts for a change: redactions, and the files that a step wrote again, by the version of the seal."""

    accepts: Accepts
    repeated: Mapping[int, frozenset[str]]

    def account_for(self, before: SealFile, name: str, files: Mapping[str, str]) -> bool:
        """Return whether a file that a seal lists may be what it is in ``files`` (SHA-256 by name), or gone."""
        assert before.seal is not None
        digest, now = before.seal.files[name], files.get(name)
        if now == digest or may_change(name, before.seal) or self.accepts(name, digest, now):
            return True
        if layout.superseded(before.version, name) in files:  # which has to be what the seal lists, as all copies have
            return True
        return name in self.repeated.get(before.version, frozenset())


def may_change(name: str, seal: Seal) -> bool:
    """Return whether a file that the seal lists may be another, or gone, once the session has gone on."""
    if name.startswith(f"{layout.ARCHIVE}/request_"):  # asked anew, with other words, where no answer came
        return name.replace("/request_", "/response_").replace(".json", ".txt") not in seal.files
    if seal.format < FIRST_KEPT:
        return not name.startswith(LASTING) or name == layout.CALL_LOG
    return name.startswith(REWRITTEN) and not name.startswith(f"{layout.CLOSURES}/")


def checkpoint_findings(
    folder: Path, hashed: Mapping[str, Hashed], accepts: Accepts, newest: int | None
) -> Iterator[Finding]:
    """Yield what a stage of a session under way has left, and is another or gone; ``newest`` is the newest seal."""
    for name in (name for name in hashed if name.startswith(f"{layout.STATE}/stage_")):
        data = (folder / name).read_bytes()
        try:
            left = Checkpoint.model_validate_json(data)
        except ValidationError:
            if b'"format": 1' not in data:  # which held no hashes
                yield finding("altered", name, "it cannot be read as a stage's checkpoint")
            continue
        if left.root() != left.root_sha256:
            yield finding("altered", name, "its root is not that of the files that it lists")
        held = {
            one: digest
            for one, digest in left.files.items()
            if not one.startswith(PASSING) and not _is_moved(one, digest, hashed, newest)
        }
        yield from changed_files(folder, Covered(files=held, lines=left.lines), hashed, accepts)


def _is_moved(name: str, digest: str, hashed: Mapping[str, Hashed], newest: int | None) -> bool:
    """Return whether going back has moved a file away that the newest seal lists."""
    copy = hashed.get(layout.superseded(newest, name)) if newest is not None else None
    return name not in hashed and copy is not None and copy.sha256 == digest


def repeated_steps(events: Sequence[Event]) -> dict[int, frozenset[str]]:
    """Return the files that steps wrote again behind a seal before anybody went back from it, by its version.

    Only what is computed counts: tables, the report and pages. Scores are never written again without a copy.
    """
    found: dict[int, frozenset[str]] = {}
    left: set[object] = set()  # versions that a session went back from, keeping copies
    for event in events:
        version, names = event.facts.get("version"), event.facts.get("names")
        if event.event == "files_superseded":
            left.add(version)
        elif event.event != "steps_repeated" or version in left:
            continue
        elif isinstance(version, int) and isinstance(names, list):
            found[version] = frozenset(str(name) for name in names if stage_of(str(name)) in REPEATED)
    return found


def succession_findings(seals: Sequence[SealFile], steps: Steps) -> Iterator[Finding]:
    """Yield what a seal lists otherwise than the one before, and nothing accounts for."""
    for before, after in pairwise(seals):
        if before.seal is None or after.seal is None or after.version != before.version + 1:
            continue
        for name in before.seal.files:
            if not steps.account_for(before, name, after.seal.files):
                gone = name not in after.seal.files
                what = f"since seal {before.version} it {'was taken away' if gone else 'became another'}, and neither "
                what += "a copy of what it was nor an event accounts for that"
                yield finding("removed" if gone else "altered", name, what, by=[before.name, after.name])
