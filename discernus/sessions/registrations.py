"""Registrations as they lie beside an experiment's sessions, and what a session knows of the time before it.

``registrations/registration_YYYYMMDD_HHMMSS/registration.json`` is written last and makes it a registration. What stood
when a session began, its registration and every earlier session on the same texts, is kept in the session, so that its
folder alone can tell.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import BaseModel, ConfigDict, ValidationError

from discernus.experiments.freezing import MANIFEST, SnapshotDamaged
from discernus.experiments.problems import InvalidDefinition
from discernus.experiments.registration import Registration
from discernus.sessions import layout
from discernus.sessions.chronologs.project_chronolog import note_project, project_chronolog, read_project_events
from discernus.sessions.integrity.signing import SignatureDamaged, fingerprint, holds, read_signature, sign
from discernus.sessions.layout import Call
from discernus.sessions.session import Clock, Session, SessionFacts
from discernus.sessions.store import LocalStore, NotInStore

REGISTRATIONS = "registrations"
REGISTRATION = "registration.json"
SIGNATURE = "registration.sig.json"
KEPT = "preregistration.json"  # in a session
_RESPONSE = re.compile(r"response_\d\w*\.txt")
_LATEST, _EARLIEST = timedelta(hours=12), timedelta(hours=14)  # that a clock can be behind, or ahead of, universal time


class Registered(BaseModel):
    """A registration as it lies there. ``flaws`` are in words: what is missing, altered, or told by nobody else.

    ``registration`` is None where it cannot be read. ``signed_by`` is the fingerprint of the key whose signature holds.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    sha256: str
    registration: Registration | None
    signed_by: str | None
    flaws: tuple[str, ...]


class EarlierSession(BaseModel):
    """A session that was opened before, with answers about ``shared`` of the same texts, of ``documents`` that it had.

    ``clock`` is as of the facts of a session.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    session: str
    created_at: datetime
    shared: int
    documents: int
    models: tuple[str, ...]
    same_framework: bool
    clock: Clock = "utc"


class Before(BaseModel):
    """What stood when a session was opened: a file of it.

    ``gone`` are sessions of the experiment that the project's chronolog tells of and that are no longer there,
    ``unreadable`` those whose corpus cannot be read: nobody can say on which texts they ran.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = 1
    registered: Registered | None
    earlier: tuple[EarlierSession, ...]
    gone: tuple[str, ...]
    unreadable: tuple[str, ...]


def write_registration(
    experiment: Path,
    projects_dir: Path,
    registration: Registration,
    files: Mapping[str, bytes],
    key: Ed25519PrivateKey | None,
) -> Registered:
    """Write a registration into the experiment's folder in the store, note it in the project's chronolog, return it."""
    at = registration.registered_at
    while (folder := experiment / REGISTRATIONS / f"registration_{at:%Y%m%d_%H%M%S}").exists():
        at += timedelta(seconds=1)
    store = LocalStore(folder)
    for name, data in files.items():
        store.put(name, data)
    data = registration.model_dump_json(indent=1).encode() + b"\n"
    if key is not None:
        store.put(SIGNATURE, sign(key, REGISTRATION, data))
    store.put_if_absent(REGISTRATION, data)
    digest = sha256(data).hexdigest()
    facts = {"experiment": registration.experiment, "registration": folder.name, "sha256": digest}
    note_project(projects_dir, registration.project, "experiment_registered", **facts)
    signer = fingerprint(key.public_key()) if key is not None else None
    return Registered(name=folder.name, sha256=digest, registration=registration, signed_by=signer, flaws=())


def registrations_of(experiment: Path, projects_dir: Path) -> list[Registered]:
    """Return the registrations of an experiment by its folder in the store, oldest first, each held against itself."""
    told = {
        (event.facts.get("experiment"), event.facts.get("registration")): event.facts.get("sha256")
        for event in read_project_events(projects_dir, experiment.parents[1].name)
        if event.event == "experiment_registered"
    }
    folders = sorted(path for path in experiment.glob(f"{REGISTRATIONS}/registration_*") if path.is_dir())
    return [_registered(folder, told.get((experiment.name, folder.name))) for folder in folders]


def keep_before(session: Session) -> None:
    """Keep in the session what stood when it was opened; a copy outside of its project has what it has."""
    projects_dir = session.projects_dir
    if project_chronolog(projects_dir, session.facts.project).is_file():
        found = _look(session, projects_dir)
        session.store.put(KEPT, found.model_dump_json(indent=1).encode())


def kept(session: Session) -> Before | None:
    """Return what the session has kept of the time before it; None where it has nothing that can be read."""
    try:
        return Before.model_validate_json(session.store.get(KEPT))
    except (NotInStore, ValidationError):
        return None


def _look(session: Session, projects_dir: Path) -> Before:
    facts, experiment = session.facts, session.folder.resolve().parents[1]
    registered = [
        one
        for one in registrations_of(experiment, projects_dir)
        if (at := _registered_at(one)) is not None and at < facts.created_at
    ]
    own = _documents(session.folder) or {}
    earlier, unreadable = [], []
    for folder in sorted(projects_dir.glob("*/experiments/*/sessions/session_*")):
        if folder.resolve() == session.folder.resolve():
            continue
        other = _facts(folder)
        if other is None or not _is_before(other, facts):
            continue
        texts = _documents(folder)
        answered = _answered(folder) if texts and set(own.values()) & set(texts.values()) else set()
        if texts is None or answered is None:
            unreadable.append(_name(other))
        elif shared := set(own.values()) & {texts[name] for name in answered if name in texts}:
            earlier.append(_earlier(session, folder, other, len(shared), len(texts)))
    earlier.sort(key=lambda one: (one.created_at, one.session))
    return Before(
        registered=registered[-1] if registered else None,
        earlier=tuple(earlier),
        gone=tuple(_gone(session, projects_dir)),
        unreadable=tuple(unreadable),
    )


def _earlier(session: Session, folder: Path, facts: SessionFacts, shared: int, documents: int) -> EarlierSession:
    return EarlierSession(
        session=_name(facts),
        created_at=facts.created_at,
        shared=shared,
        documents=documents,
        models=facts.models,
        same_framework=_framework(folder) == session.definition.framework.sha256,
        clock=facts.clock,
    )


def _is_before(other: SessionFacts, facts: SessionFacts) -> bool:
    """Return whether a session was opened before another whatever the zones of their clocks, if these are not known."""
    if "time_not_recorded" in (other.clock, facts.clock):
        return other.migrated_from is not None and facts.migrated_from is None  # an older layout's is the older one
    latest = other.created_at + (_LATEST if other.clock == "zone_not_recorded" else timedelta(0))
    return latest < facts.created_at - (_EARLIEST if facts.clock == "zone_not_recorded" else timedelta(0))


def _answered(folder: Path) -> set[str] | None:
    """Return the documents of a session about which there is an archived answer; None where its plan cannot be read."""
    session = Session(folder)
    names = [name for name in session.store.names(layout.ARCHIVE) if _RESPONSE.fullmatch(name)]
    calls = {Call.named(name.removeprefix("response_").removesuffix(".txt")) for name in names}
    try:
        return {session.analysis(call.number).document for call in calls if call.purpose == "analysis"}
    except (ValueError, LookupError, OSError, SnapshotDamaged, InvalidDefinition):
        return None


def _gone(session: Session, projects_dir: Path) -> Iterator[str]:
    """Yield the sessions of the same experiment that were opened before, and whose folders are no longer there."""
    facts = session.facts
    for event in read_project_events(projects_dir, facts.project):
        name = event.facts.get("session")
        if event.event != "session_opened" or not isinstance(name, str) or event.at >= facts.created_at:
            continue
        ours = name.startswith(f"{facts.project}/{facts.experiment}/") and name != session.name
        if ours and not (session.folder.resolve().parent / name.rpartition("/")[2] / layout.SESSION).is_file():
            yield name


def _registered(folder: Path, told: object) -> Registered:
    store = LocalStore(folder)
    try:
        data = store.get(REGISTRATION)
        registration = Registration.model_validate_json(data)
    except NotInStore:
        return Registered(
            name=folder.name, sha256="", registration=None, signed_by=None, flaws=(f"{REGISTRATION} is gone",)
        )
    except ValidationError:
        flaw = f"{REGISTRATION} cannot be read as a registration"
        digest = sha256(data).hexdigest()
        return Registered(name=folder.name, sha256=digest, registration=None, signed_by=None, flaws=(flaw,))
    digest = sha256(data).hexdigest()
    flaws = [
        f"{name} is not what was registered" for name, one in registration.files.items() if _hash(store, name) != one
    ]
    if told is None:
        flaws.append("the project's chronolog does not tell of it, so nothing but itself says when it was made")
    elif told != digest:
        flaws.append(f"{REGISTRATION} is not the one of which the project's chronolog tells")
    signer, unsigned = _signer(store, data)
    flaws += unsigned
    return Registered(name=folder.name, sha256=digest, registration=registration, signed_by=signer, flaws=tuple(flaws))


def _signer(store: LocalStore, data: bytes) -> tuple[str | None, list[str]]:
    """Return who signed, and what is wrong with the signature; nothing of either where there is none."""
    try:
        signature = read_signature(store.get(SIGNATURE))
    except NotInStore:
        return None, []
    except SignatureDamaged as damaged:
        return None, [f"{SIGNATURE}: {damaged}"]
    if not holds(signature, data):
        return None, [f"{SIGNATURE} is not of what {REGISTRATION} holds now"]
    return fingerprint(signature.key), []


def _registered_at(one: Registered) -> datetime | None:
    """Return when it was made; of one that cannot be read any more, its name tells."""
    if one.registration is not None:
        return one.registration.registered_at
    try:
        return datetime.strptime(one.name, "registration_%Y%m%d_%H%M%S").replace(tzinfo=UTC)
    except ValueError:
        return None


def _hash(store: LocalStore, name: str) -> str | None:
    try:
        return sha256(store.get(name)).hexdigest()
    except (NotInStore, ValueError):
        return None


def _facts(folder: Path) -> SessionFacts | None:
    try:
        return SessionFacts.model_validate_json((folder / layout.SESSION).read_bytes())
    except (OSError, ValidationError):
        return None


def _documents(folder: Path) -> dict[str, str] | None:
    """Return the SHA-256 of a session's texts by document; None where its manifest cannot be read."""
    try:
        listed = json.loads((folder / MANIFEST).read_bytes())["documents"]
        return {str(one["id"]): str(one["sha256"]) for one in listed}
    except (OSError, ValueError, LookupError, TypeError):
        return None


def _framework(folder: Path) -> str | None:
    try:
        return str(json.loads((folder / MANIFEST).read_bytes())["framework"]["sha256"])
    except (OSError, ValueError, LookupError, TypeError):
        return None


def _name(facts: SessionFacts) -> str:
    return f"{facts.project}/{facts.experiment}/{facts.session}"
