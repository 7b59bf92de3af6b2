"""What is the same for many calls, kept once: a part of a record under its hash, as messages are.

A session of thousands of calls says the same parameters, versions and forms of replies thousands of times. A record
holds what is its own, and the SHA-256 of a part that lies in ``llm_archive/shared_<sha256>.json``.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from hashlib import sha256
from typing import Any

from discernus.canonical import canonical_json, read_json
from discernus.sessions import layout
from discernus.sessions.store import Store

REFERENCE = "shared_sha256"
LARGE = 256  # bytes of JSON from which a member of a parameter is kept once by itself
LONGEST_WORD = 64  # characters of a string that may be part of a form, or of its values

_SHA256 = re.compile(r"[0-9a-f]{64}")

Parts = dict[str, bytes]  # what is kept once, by its name in the store


class Shared:
    """The shared parts of one store, each read and written once by this process."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._read: dict[str, Any] = {}
        self._written: set[str] = set()

    def write(self, parts: Parts) -> None:
        """Keep the parts; they become durable with the next durable write to the archive."""
        for name, data in parts.items():
            if name not in self._written:
                self._store.put_if_absent(name, data, with_next=True)
                self._written.add(name)

    def read(self, key: str) -> Any:
        """Return what a part says by its SHA-256. Raise NotInStore, or ValueError where it cannot be read."""
        if key not in self._read:
            self._read[key] = read_json(self._store.get(layout.shared(key)))
        return self._read[key]

    def mapping(self, key: str) -> dict[str, Any]:
        """Return a copy of a part that is a mapping. Raise NotInStore, or ValueError where it is none."""
        said = self.read(key)
        if not isinstance(said, dict):
            raise ValueError(f"{layout.shared(key)} does not say what calls share")
        return dict(said)


def kept_once(value: Any, parts: Parts) -> str:
    """Return the SHA-256 under which the value is kept, and add it to the parts."""
    data = canonical_json(value)
    key = sha256(data).hexdigest()
    parts[layout.shared(key)] = data
    return key


def outlined(values: Mapping[str, Any], parts: Parts) -> dict[str, Any]:
    """Return parameters, or a body, with references in place of what is large in them; that goes to the parts.

    It goes one level down, so that what differs from call to call (the run of a lexicon) leaves the rest the same.
    """
    return {name: _outlined(value, parts, deeper=True) for name, value in values.items()}


def _outlined(value: Any, parts: Parts, *, deeper: bool) -> Any:
    if deeper and isinstance(value, dict):
        return {name: _outlined(member, parts, deeper=False) for name, member in value.items()}
    return {REFERENCE: kept_once(value, parts)} if len(canonical_json(value)) > LARGE else value


def whole(values: Mapping[str, Any], shared: Shared) -> dict[str, Any]:
    """Return what ``outlined`` was given. Raise NotInStore, or ValueError where a part cannot be read."""
    return {name: _whole(value, shared, deeper=True) for name, value in values.items()}


def _whole(value: Any, shared: Shared, *, deeper: bool) -> Any:
    if not isinstance(value, dict):
        return value
    if value.keys() == {REFERENCE}:
        return shared.read(value[REFERENCE])
    return {name: _whole(member, shared, deeper=False) for name, member in value.items()} if deeper else value


def references_in(said: Any) -> list[str]:
    """Return the SHA-256 of every part that a request or a part refers to, itself or in the members of what it holds.

    Of a sidecar only the reference of its own counts: what a vendor's reply says is none.
    """
    if not isinstance(said, dict):
        return []
    key = said.get(REFERENCE)
    own = [key] if isinstance(key, str) and _SHA256.fullmatch(key) else []
    return own + [key for member in said.values() for key in references_in(member)]


def form_of(body: Any, named: Mapping[str, str], alike: Collection[str]) -> tuple[Any, list[Any]] | None:
    """Return a reply's form and the values in it, in order: its numbers, and its words with a digit (ids, versions).

    In the form 0 stands for each of them. A word that the record says elsewhere, ``named`` by field, is ``{"": field}``
    there; one that is ``alike`` for many calls stays in the form. None where the reply holds anything that may be a
    text, or lists of things: that stays with its call, whole, so that no word of a text is in what many calls share.
    """
    values: list[Any] = []
    try:
        return _form(body, {word: name for name, word in named.items()}, alike, values), values
    except _HoldsText:
        return None


class _HoldsText(Exception):
    pass


def _form(value: Any, known: Mapping[str, str], alike: Collection[str], values: list[Any]) -> Any:
    if isinstance(value, dict):
        if "" in value:  # which stands for a field here
            raise _HoldsText
        return {name: _form(item, known, alike, values) for name, item in sorted(value.items())}
    if isinstance(value, list):
        if len(value) > 1:
            raise _HoldsText
        return [_form(item, known, alike, values) for item in value]
    if isinstance(value, str):
        if len(value) > LONGEST_WORD or any(sign.isspace() for sign in value):
            raise _HoldsText
        if value in known:
            return {"": known[value]}
        if value in alike or not any(sign.isdigit() for sign in value):
            return value
    elif value is None or isinstance(value, bool):
        return value
    values.append(value)
    return 0


def filled(form: Any, values: list[Any], named: Mapping[str, Any]) -> Any:
    """Return the reply of a form and its values. Raise ValueError where they do not fit."""
    rest = iter(values)
    try:
        body = _filled(form, rest, named)
    except (StopIteration, KeyError):
        raise ValueError("a reply lacks values that its form asks for") from None
    if next(rest, None) is not None:
        raise ValueError("a reply has more values than its form")
    return body


def _filled(form: Any, rest: Iterator[Any], named: Mapping[str, Any]) -> Any:
    if isinstance(form, dict):
        if form.keys() == {""}:
            return named[form[""]]
        return {name: _filled(item, rest, named) for name, item in sorted(form.items())}
    if isinstance(form, list):
        return [_filled(item, rest, named) for item in form]
    if isinstance(form, int) and not isinstance(form, bool):
        return next(rest)
    return form
