"""What the installation said when a session was opened: its settings, its models.yaml to the letter, all versions.

It is frozen beside the author's files. Keys of vendors are no settings, and an address with a password in it is refused
as one, so nothing here is secret; where this machine keeps its files is left out.
"""

from __future__ import annotations

import json
import platform
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from discernus import __version__
from discernus.canonical import canonical_json
from discernus.sessions import layout
from discernus.sessions.store import NotInStore, Store
from discernus.settings import Settings

FORMAT = 1
PLACES = {"temporal", "namespace"} | {
    name for name, field in Settings.model_fields.items() if field.annotation in (Path, Path | None)
}
OF_THE_PLAN = {"models", "runs"}  # what a session runs on is in its snapshot of the experiment
KEPT = {"response_timeout_s"}  # a session goes on with what it was opened with
CORE = ("discernus", "python", "litellm", "pydantic", "temporalio")  # versions whose change is named one by one


class SettingsSnapshot(BaseModel):
    """Settings by name, the text of models.yaml (None: there was none) and the versions of all that is installed.

    ``snapshot_sha256`` is over the canonical JSON of all the rest; ``models_file_sha256`` over the file's bytes.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = FORMAT
    settings: dict[str, Any]
    models_file: str | None
    models_file_sha256: str | None
    platform: str
    versions: dict[str, str]
    snapshot_sha256: str = ""

    def hash(self) -> str:
        """Return what ``snapshot_sha256`` has to be."""
        return sha256(canonical_json(self.model_dump(mode="json", exclude={"snapshot_sha256"}))).hexdigest()


class SettingsSnapshotDamaged(Exception):
    """A settings snapshot that is there and is not what was frozen."""


def take_snapshot(settings: Settings) -> SettingsSnapshot:
    """Return what is in force now."""
    try:
        data = settings.models_path.read_bytes()
    except OSError:  # none, or none that could be used: who calls models by it says so
        data = None
    taken = SettingsSnapshot(
        settings=settings.model_dump(mode="json", exclude=PLACES),
        models_file=None if data is None else data.decode("utf-8", "replace"),
        models_file_sha256=None if data is None else sha256(data).hexdigest(),
        platform=platform.platform(),
        versions={"discernus": __version__, "python": platform.python_version(), **_installed()},
    )
    return taken.model_copy(update={"snapshot_sha256": taken.hash()})


def write_snapshot(store: Store, snapshot: SettingsSnapshot) -> None:
    """Freeze the snapshot into a session."""
    store.put(layout.SETTINGS, snapshot.model_dump_json(indent=1).encode())


def read_snapshot(store: Store) -> SettingsSnapshot | None:
    """Return a session's snapshot, None if it was opened before there were any. Raise SettingsSnapshotDamaged."""
    try:
        snapshot = SettingsSnapshot.model_validate(json.loads(store.get(layout.SETTINGS)))
    except NotInStore:
        return None
    except (ValueError, ValidationError) as error:
        raise SettingsSnapshotDamaged(f"the frozen file '{layout.SETTINGS}' cannot be read") from error
    if snapshot.snapshot_sha256 != snapshot.hash():
        raise SettingsSnapshotDamaged(f"the frozen file '{layout.SETTINGS}' does not match its hash")
    return snapshot


def differences(frozen: SettingsSnapshot, live: SettingsSnapshot) -> tuple[str, ...]:
    """Return in words what has changed since the session was opened, and which of both holds for it."""
    lines = []
    for name, field in Settings.model_fields.items():
        before, now = frozen.settings.get(name), live.settings.get(name)
        if name in PLACES | OF_THE_PLAN or before == now or name not in frozen.settings:
            continue
        holds = "this session keeps the former" if name in KEPT else "the latter holds from now on"
        lines.append(f"{field.validation_alias}: {_shown(before)} → {_shown(now)} ({holds})")
    if frozen.models_file_sha256 != live.models_file_sha256:
        lines.append(f"models.yaml {_what_became_of_it(frozen, live)}")
    return (*lines, *_changed_versions(frozen.versions, live.versions))


def _what_became_of_it(frozen: SettingsSnapshot, live: SettingsSnapshot) -> str:
    if frozen.models_file is None:
        return "is there now, and holds from now on"
    if live.models_file is None:
        return "is gone: the defaults hold from now on"
    return "has changed: what it says now holds from now on"


def _changed_versions(before: dict[str, str], now: dict[str, str]) -> list[str]:
    changed = sorted(name for name in {*before, *now} if before.get(name) != now.get(name))
    lines = [f"{name} {before.get(name, 'none')} → {now.get(name, 'none')}" for name in CORE if name in changed]
    others = len(changed) - len(lines)
    if others:
        lines.append(f"{others} other package{'s' if others > 1 else ''} of another version")
    return lines


def _shown(value: Any) -> str:
    return "not set" if value is None else str(value)


def _installed() -> dict[str, str]:
    """Return the version of each package that is installed, by the names of their metadata folders (PEP 376)."""
    folders = (folder for entry in sys.path for folder in Path(entry).glob("*.dist-info"))
    named = (folder.stem.rpartition("-") for folder in folders)
    return {name.lower().replace("_", "-"): version for name, _, version in sorted(named)}
