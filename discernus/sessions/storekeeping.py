"""What is wrong with a store as a whole: its id, its disk, locks of the dead, project chronologs, cut-off openings."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Final

from discernus.llm.models_file import ModelsFileInvalid, read_models_file
from discernus.sessions import layout
from discernus.sessions.chronologs.project_chronolog import check_project, note_project
from discernus.sessions.opening import HIDDEN
from discernus.sessions.owners import HOST, is_held
from discernus.sessions.store import TEMPORARY_PREFIX
from discernus.sessions.symptoms import Symptom
from discernus.settings import Settings

FORMAT: Final = 1  # of store.json
PATIENCE_S: Final = 600.0  # nothing that is at work leaves a file as it is for so long


def symptoms_of_store(settings: Settings) -> list[Symptom]:
    """Return everything about the projects folder and its state that is not as it should be, but for its sessions."""
    return [
        *_identity(settings),
        *_state_folder(settings),
        *_disk(settings),
        *_models_file(settings),
        *_owners(settings),
        *_temporaries(settings),
        *_project_chronologs(settings),
        *_openings(settings),
    ]


def _identity(settings: Settings) -> Iterator[Symptom]:
    path = settings.projects_dir / HIDDEN / "store.json"
    if not path.is_file():
        return
    try:
        said = json.loads(path.read_bytes())
        form, store = said["format"], said["store"]
    except (ValueError, LookupError, TypeError):
        what = "it cannot be read; it holds the id of the projects folder"
        cure = "put it back from a copy, or remove it to have a new id made (sessions keep theirs)"
        yield Symptom("store", str(path), what, "no session can be opened", cure)
        return
    if not isinstance(form, int) or form > FORMAT or not isinstance(store, str):
        what = f"it has format {form!r}, and this version reads up to {FORMAT}"
        yield Symptom("store", str(path), what, "a later version made this store", "use that version, or a later one")


def _state_folder(settings: Settings) -> Iterator[Symptom]:
    """Yield a state folder that a server on another machine uses: two of them would ruin its database."""
    path = settings.state_folder / "server.json"
    try:
        host = json.loads(path.read_bytes())["host"]
    except FileNotFoundError:
        return
    except (ValueError, LookupError, TypeError):
        if not is_held(settings.state_folder / "server.lock"):
            what, means = "it cannot be read, and no server runs", "the next server writes it anew"
            yield Symptom(
                "state folder", str(path), what, means, "it is removed", mend=partial(path.unlink, missing_ok=True)
            )
        return
    if host != HOST and settings.temporal is None:
        what = f"it tells of a server on {host}, and this is {HOST}"
        means = "a state folder serves one machine at a time"
        yield Symptom("state folder", str(path), what, means, "choose another with --state-dir, or stop that server")


def _disk(settings: Settings) -> Iterator[Symptom]:
    for place in dict.fromkeys((settings.projects_dir, settings.mirror_dir)):
        if place is None:
            continue
        if not place.is_dir():
            cure = "make it, or correct DISCERNUS_MIRROR_DIR"
            yield Symptom("disk", str(place), "there is no such folder", "answers get no second copy", cure)
            continue
        free = shutil.disk_usage(place).free
        if free < settings.minimum_free_bytes:
            what = f"{free / 1e6:.0f} MB are free, and {settings.minimum_free_mb} MB have to be"
            yield Symptom("disk", str(place), what, "no call is made while that is so", "free some space")


def _models_file(settings: Settings) -> Iterator[Symptom]:
    try:
        read_models_file(settings.models_path)
    except ModelsFileInvalid as invalid:
        what = str(invalid).splitlines()[0]
        yield Symptom("models.yaml", str(settings.models_path), what, "nothing can be run", "correct it as it says")


def _owners(settings: Settings) -> Iterator[Symptom]:
    """Yield the lock files of dead processes of this machine: the lock itself went with its holder."""
    for path in sorted((settings.projects_dir / HIDDEN / "owners").glob("*.lock")):
        if path.stem.rsplit("-", 2)[0] == HOST and _is_old(path) and not is_held(path):
            what, means = "its process has died, and holds nothing any more", "it does no harm"
            yield Symptom("lock", str(path), what, means, "it is removed", mend=partial(path.unlink, missing_ok=True))


def _temporaries(settings: Settings) -> Iterator[Symptom]:
    """Yield what cut-off writers left outside of sessions: there, what they wrote can be written again."""
    hidden = settings.projects_dir / HIDDEN
    above = (path for path in settings.projects_dir.glob(f"*/{TEMPORARY_PREFIX}*"))
    beside = (path for path in settings.projects_dir.glob(f"*/experiments/*/*/{TEMPORARY_PREFIX}*"))
    for path in sorted({*above, *beside, *hidden.rglob(f"{TEMPORARY_PREFIX}*")}):
        if path.is_file() and _is_old(path):
            what, means = "it was left by a writer that was cut off", "nobody reads it; it holds no answer"
            mend = partial(path.unlink, missing_ok=True)
            yield Symptom("temporary file", str(path), what, means, "it is removed", mend=mend)


def _project_chronologs(settings: Settings) -> Iterator[Symptom]:
    for path in sorted(settings.projects_dir.glob("*/PROJECT_CHRONOLOG_*.jsonl")):
        project = path.parent.name
        for flaw in check_project(settings.projects_dir, project):
            if flaw.kind == "torn":
                mend = partial(note_project, settings.projects_dir, project, "repaired", file=path.name)
                what, means = "a crash has cut off its last line", "one event at most is lost"
                cure = "its bytes are set aside, and an event tells of them"
                yield Symptom("torn line", str(path), what, means, cure, mend=mend)
            else:
                place = str(path.with_name(flaw.place))
                means = "seals that it tells of are proved by it no more from there on"
                yield Symptom(flaw.kind, place, flaw.what, means, "restore it from a copy")


def _openings(settings: Settings) -> Iterator[Symptom]:
    for folder in sorted(settings.projects_dir.glob("*/experiments/*/sessions/session_*")):
        if folder.is_dir() and not (folder / layout.SESSION).exists() and _is_old(folder):
            answers = any((folder / layout.ARCHIVE).glob("response_*"))
            what = "its opening was cut off, or its facts are gone: it is no session"
            means = "there are answers in it" if answers else "it holds copies of the author's files, and no answer"
            cure = (
                f"restore {layout.SESSION} from a copy" if answers else "remove the folder once you have looked at it"
            )
            yield Symptom("no session", str(folder), what, means, cure)


def _is_old(path: Path) -> bool:
    try:
        return time.time() - path.stat().st_mtime > PATIENCE_S
    except OSError:  # gone by now
        return False
