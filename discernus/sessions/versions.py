"""Which version of a model has answered: the first one is the session's own; a later one is a change, and is kept as
one.

A version is what the vendor says in its answer. With ``pin_versions`` a session takes another than its first only once
a person has accepted it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog

from discernus.sessions import layout
from discernus.sessions.store import NotInStore, Store

log = structlog.get_logger()


@dataclass(frozen=True)
class Version:
    """A version under which a model answered, with the first call that it answered."""

    model: str
    version: str
    call: str
    at: str  # ISO 8601, UTC
    first: bool
    accepted: bool


def note_version(store: Store, model: str, version: str, call: str) -> Version:
    """Take note of the version that answered and return what is known of it; the first note of each stands."""
    name = layout.version(model, version)
    try:
        return _read(store, name)
    except NotInStore:
        first = store.put_if_absent(layout.first_version(model), version.encode())
        first = first or store.get(layout.first_version(model)) == version.encode()
        note = Version(model, version, call, datetime.now(UTC).isoformat(timespec="milliseconds"), first, first)
        if store.put_if_absent(name, json.dumps(note.__dict__).encode()) and not first:
            log.warning("answering_version_changed", model=model, version=version, call=call)
        return _read(store, name)


def versions(store: Store) -> list[Version]:
    """Return every version that has answered, by model and in order of time."""
    folders = [name for name in store.names(layout.VERSIONS) if not name.endswith(".first")]
    found = [
        _read(store, f"{layout.VERSIONS}/{folder}/{name}")
        for folder in folders
        for name in store.names(f"{layout.VERSIONS}/{folder}")
    ]
    return sorted(found, key=lambda one: (one.model, not one.first, one.at))


def accept_versions(store: Store) -> list[Version]:
    """Accept every version that has answered so far; return those that were not accepted before."""
    fresh = [version for version in versions(store) if not version.accepted]
    for version in fresh:
        accepted = {**version.__dict__, "accepted": True}
        store.put(layout.version(version.model, version.version), json.dumps(accepted).encode())
    return fresh


def _read(store: Store, name: str) -> Version:
    return Version(**json.loads(store.get(name)))
