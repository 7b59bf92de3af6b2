"""What a call asked, as it lies in the archive: ``request_<call>.json``, each of its messages by hash.

The same question is put many times, run by run, so all of it is kept once, and the request of a call refers to it.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Any

from discernus.canonical import canonical_json, read_json
from discernus.llm.calls import ModelRequest
from discernus.sessions import layout
from discernus.sessions.shared_parts import REFERENCE, Parts, Shared, kept_once, outlined, references_in, whole
from discernus.sessions.store import Store

FORMAT = 2


def question_of(request: ModelRequest, as_sent: dict[str, Any] | None) -> tuple[bytes, Parts]:
    """Return a call's request as it is archived, and what it refers to, but for the messages' texts."""
    parts: Parts = {}
    question = {
        "model": request.model,
        "messages": [
            {"role": message.role, "content_sha256": sha256(message.content.encode()).hexdigest()}
            for message in request.messages
        ],
        "parameters": outlined(request.parameters, parts),
        "timeout_s": request.timeout_s,
        "as_sent": None if as_sent is None else outlined(as_sent, parts),
    }
    return canonical_json({"format": FORMAT, REFERENCE: kept_once(question, parts)}), parts


def read_question(store: Store, name: str) -> dict[str, Any]:
    """Return what a request says, by its name in the store: ``model``, ``messages``, ``parameters`` and so on.

    Raise NotInStore (a LookupError) where it, or what it refers to, is gone; ValueError where it cannot be read.
    """
    said = read_json(store.get(name))
    if not isinstance(said, dict):
        raise ValueError(f"{name} does not say what a request says")
    if REFERENCE not in said:
        return said  # of format 1, which said it all itself
    shared = Shared(store)
    question = shared.mapping(str(said[REFERENCE]))
    for part in ("parameters", "as_sent"):
        if question.get(part) is not None:
            question[part] = whole(question[part], shared)
    return question


def parts_of(data: bytes, store: Store) -> Parts:
    """Return all that a request's bytes refer to, by name. Raise NotInStore or ValueError where it cannot be had."""
    parts: Parts = {}
    waiting = references_in(read_json(data))
    while waiting:
        name = layout.shared(waiting.pop())
        parts[name] = store.get(name)
        waiting += references_in(read_json(parts[name]))
    return parts
