"""How an answer came about, as it lies in the archive: ``metadata_<call>.json``.

A sidecar says itself what is its call's own; the rest, the same for many calls, it refers to by hash. Read with
``read_sidecar`` it is whole. Older ones, of format 1, say all of it themselves.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator

from discernus.llm.calls import Usage
from discernus.sessions.layout import Call
from discernus.sessions.shared_parts import REFERENCE, Parts, Shared, filled, form_of, kept_once, outlined, whole
from discernus.sessions.store import Store

FORMAT = 2

# What a sidecar says of model_forensics itself: who answered, and the vendor's numbers of this very call.
OWN_FORENSICS = (
    "requested_model",
    "actual_model",
    "vendor",
    "api_version",
    "model_build_date",
    "deployment_region",
    "request_id",
    "response_id",
)
ALIKE = ("owner", "finish_reason", "price_source", "parameters", "dropped_parameters", "substituted", "marks")
UNLESS_NULL = ("cached_tokens", "reasoning_tokens", "reused_from", "recovered_from")


class ArchivedCall(BaseModel):
    """What the archive holds of one answered call: its identity, its answer's hash, and how it came about.

    ``reused_from`` names the session and call (``session_…/017``) whose answer was taken over instead of asking again:
    it was paid there. ``recovered_from`` names the file (and line) of an older layout that the answer was read from;
    what that did not record, times and usage among it, is None, and ``archived_at`` is when it was answered as far as
    that told. Where ``shared_sha256`` is not None the sidecar alone was read: owner, finish reason, price's source,
    parameters, marks, the reply and whether it was substituted are not here, but in that part.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=(), allow_inf_nan=False)

    format: int = 1
    call: str
    number: int
    purpose: str
    ask: int
    attempt: int
    owner: str | None = None
    content_key: str
    response_sha256: str
    response_bytes: int
    finish_reason: str | None = None
    model_requested: str
    model_answered: str | None
    prompt_tokens: int | None
    completion_tokens: int | None
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None
    cost_usd: float | None
    price_source: str | None = None
    latency_ms: float | None
    started_at: datetime | None
    archived_at: datetime | None  # None: an older layout that it was recovered from told no time
    parameters: dict[str, Any] = {}
    dropped_parameters: tuple[str, ...] = ()
    model_forensics: dict[str, Any]
    response_metadata: dict[str, Any]
    response_as_received: Any = None
    response_values: list[Any] | None = None
    substituted: bool = False
    marks: tuple[str, ...] = ()
    reused_from: str | None = None
    recovered_from: str | None = None
    shared_sha256: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _say_what_follows(cls, said: Any) -> Any:
        """Fill in what a sidecar of format 2 says in one place only."""
        return {**_following(said), **said} if isinstance(said, dict) and said.get("format") == FORMAT else said

    @property
    def usage(self) -> Usage:
        return Usage(
            prompt_tokens=self.prompt_tokens,
            completion_tokens=self.completion_tokens,
            cached_tokens=self.cached_tokens,
            reasoning_tokens=self.reasoning_tokens,
        )


def _following(said: dict[str, Any]) -> dict[str, Any]:
    """Return what follows from the call's name, from model_forensics and from response_metadata."""
    call = Call.named(str(said.get("call")))
    forensics, metadata = said.get("model_forensics"), said.get("response_metadata")
    told = {**(metadata if isinstance(metadata, dict) else {}), **(forensics if isinstance(forensics, dict) else {})}
    places = {
        "model_requested": "requested_model",
        "model_answered": "actual_model",
        "latency_ms": "response_time_ms",
        "cost_usd": "cost_usd",
    }
    follows = {name: told[place] for name, place in places.items() if place in told}
    return {"number": call.number, "purpose": call.purpose, "ask": call.ask, **follows}


def _is_own(name: str, told: Any) -> bool:
    """Return whether the sidecar says it itself, in model_forensics; that nothing is known is the same for many."""
    return name in OWN_FORENSICS and (told is not None or name == "actual_model")


def sidecar_of(record: ArchivedCall) -> tuple[bytes, Parts]:
    """Return a whole record's sidecar, and the parts that it refers to."""
    parts: Parts = {}
    said = record.model_dump(mode="json", exclude={*ALIKE, "response_values", "shared_sha256"})
    alike = record.model_dump(mode="json", include={*ALIKE})
    alike["parameters"] = outlined(alike["parameters"], parts)
    forensics = said["model_forensics"]
    said["model_forensics"] = {name: told for name, told in forensics.items() if _is_own(name, told)}
    alike["model_forensics"] = outlined(
        {name: told for name, told in forensics.items() if not _is_own(name, told)}, parts
    )
    named = {name: word for name, word in said["model_forensics"].items() if isinstance(word, str)}
    constant = [word for word in alike["model_forensics"].values() if isinstance(word, str)]
    reply = form_of(said["response_as_received"], named, constant)
    if reply is not None:
        alike["response_form"], said["response_values"] = reply
        del said["response_as_received"]
    said |= {"format": FORMAT, REFERENCE: kept_once(alike, parts)}
    follows = _following(said)
    left_out = {name for name in UNLESS_NULL if said[name] is None} | {
        name for name, value in follows.items() if said[name] == value
    }
    own = {name: value for name, value in said.items() if name not in left_out}
    return json.dumps(own, ensure_ascii=False, separators=(",", ":")).encode(), parts


def read_sidecar(store: Store, name: str, shared: Shared | None = None) -> ArchivedCall:
    """Return the whole record of a sidecar by its name in the store, as if it said all of it itself (format 1).

    Raise NotInStore (a LookupError) where it, or what it refers to, is gone; ValueError where it cannot be read.
    """
    record = ArchivedCall.model_validate_json(store.get(name))
    if record.shared_sha256 is None:
        return record
    shared = shared or Shared(store)
    alike = shared.mapping(record.shared_sha256)
    form = alike.pop("response_form", None)
    said = record.model_dump(exclude={"shared_sha256", "response_values", *ALIKE})
    for part in ("parameters", "model_forensics"):
        alike[part] = whole(alike.get(part) or {}, shared)
    alike["model_forensics"] = {**said["model_forensics"], **alike["model_forensics"]}
    if record.response_values is not None:
        said["response_as_received"] = filled(form, record.response_values, record.model_forensics)
    return ArchivedCall.model_validate({**said, **alike, "format": 1})
