"""Who may use the proxy: a file of users with the hashes of their keys, the models they may ask, limits and budgets.

A key has 256 random bits (``new_key.py``), so that a plain SHA-256 gives it away to nobody who reads the file.
"""

from __future__ import annotations

import logging
from hashlib import sha256
from pathlib import Path
from typing import Annotated

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

log = logging.getLogger(__name__)


class UsersInvalid(Exception):
    """A file of users that cannot be used; its message names every fault and the cure."""


class User(BaseModel):
    """One person or service. A limit that is not given does not hold; a budget is for a calendar month (UTC)."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    key_sha256: tuple[Annotated[str, Field(pattern="^[0-9a-f]{64}$")], ...] = Field(min_length=1)
    models: tuple[str, ...] = Field(min_length=1)
    requests_per_minute: int | None = Field(default=None, gt=0)
    tokens_per_minute: int | None = Field(default=None, gt=0)
    in_flight: int | None = Field(default=None, gt=0)
    budget_usd_per_month: float | None = Field(default=None, ge=0)


class UsersFile:
    """The users as the file has them now: it is read again whenever it has changed."""

    def __init__(self, path: Path) -> None:
        """Read the file; raise UsersInvalid if it cannot be used."""
        self._path = path
        self._seen = self._state()
        self._users = _users(path)
        self._names = _names_by_key(path, self._users)

    def holder(self, key: str) -> str | None:
        """Return the name of the key's holder, or None."""
        self._read_again()
        return self._names.get(sha256(key.encode()).hexdigest())

    def rights(self, name: str) -> User:
        """Return what a user may do; KeyError if there is no such user any more."""
        return self._users[name]

    def _read_again(self) -> None:
        """Take a changed file; where it is unusable, say so and keep to what was read before."""
        state = self._state()
        if state == self._seen:
            return
        self._seen = state
        try:
            users = _users(self._path)
            self._users, self._names = users, _names_by_key(self._path, users)
        except UsersInvalid as invalid:
            log.error("%s; the users read before stay in force", invalid)

    def _state(self) -> tuple[int, int] | None:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size


def _names_by_key(path: Path, users: dict[str, User]) -> dict[str, str]:
    """Return the name of each key's holder by the hash of the key."""
    names: dict[str, str] = {}
    for name, user in users.items():
        for key_sha256 in user.key_sha256:
            if key_sha256 in names:
                raise UsersInvalid(f"{path}: {name} and {names[key_sha256]} have the same key; give each their own")
            names[key_sha256] = name
    return names


def _users(path: Path) -> dict[str, User]:
    try:
        said = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as unreadable:
        raise UsersInvalid(f"{path} cannot be read: {unreadable}; see users.example.yaml") from None
    entries = said.get("users") if isinstance(said, dict) else None
    if not isinstance(entries, dict) or not entries:
        raise UsersInvalid(f"{path} has no users; begin with a copy of users.example.yaml")
    users, faults = {}, []
    for name, entry in entries.items():
        try:
            users[str(name)] = User.model_validate(entry)
        except ValidationError as invalid:
            faults += [_fault(str(name), error["loc"], error["msg"]) for error in invalid.errors(include_input=False)]
    if faults:
        raise UsersInvalid(f"{path}: {'; '.join(faults)}; see users.example.yaml, and new_key.py for keys")
    return users


def _fault(name: str, place: tuple[int | str, ...], told: str) -> str:
    return f"{'.'.join(map(str, (name, *place)))}: {told}"
