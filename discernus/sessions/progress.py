"""Where a session stands, read from its store alone: no server is asked, and every figure has a file behind it."""

from __future__ import annotations

import json
from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import ValidationError

from discernus.sessions import layout
from discernus.sessions.archive import ArchivedCall, Intent
from discernus.sessions.owners import Onlooker
from discernus.sessions.session import Session

LATEST = 20
WAITED_S = 60.0  # a passing failure that names no delay of its own is waited for this long at most
STAGES = ("analysis", "calculation", "synthesis")


@dataclass(frozen=True)
class Latest:
    """A finished analysis with its scores in the framework's order of dimensions; None is missing."""

    number: int
    document: str
    model: str
    run: int
    scores: tuple[float | None, ...]


@dataclass(frozen=True)
class Standing:
    """Counts of analyses, calls and money. ``in_flight`` calls belong to the living, ``in_doubt`` ones to the dead.

    ``last_failure`` is the latest of all; ``waiting_for`` is there while such a failure is being waited out.
    """

    stage: str
    status: str
    reason: str
    planned: int
    done: int
    parked: int
    in_flight: int
    in_doubt: int
    cost_usd: float
    unpriced: int
    calls: int
    waiting_for: str
    last_failure: str
    dimensions: tuple[str, ...]
    latest: tuple[Latest, ...]


class ProgressReader:
    """Reads one session again and again; what never changes is read once."""

    def __init__(self, session: Session, is_alive: Onlooker | None = None) -> None:
        self._session = session
        self._owner = is_alive
        self._dimensions = [dimension.name for dimension in session.definition.framework.dimensions]
        self._seen: set[str] = set()
        self._sidecars: set[str] = set()
        self._costs: dict[tuple[str, int], float | None] = {}  # by call and attempt
        self._latest: deque[Latest] = deque(maxlen=LATEST)
        self._intents: dict[str, Intent] = {}
        self._errors: set[str] = set()
        self._last_error: dict[str, Any] | None = None

    def read(self) -> Standing:
        """Return where the session stands now."""
        session = self._session
        done = [name for name in session.store.names(layout.EXTRACTED) if name.startswith("extracted_")]
        self._read_new(done)
        self._read_costs()
        in_flight, in_doubt = self._split_intents()
        status, reason = session.noted_status()
        known = [cost for cost in self._costs.values() if cost is not None]
        return Standing(
            stage=self._stage(),
            status=status,
            reason=reason,
            planned=session.facts.analyses,
            done=len(done),
            parked=len(session.all_parked()),
            in_flight=in_flight,
            in_doubt=in_doubt,
            cost_usd=sum(known),
            unpriced=len(self._costs) - len(known),
            calls=len(self._costs),
            waiting_for=self._waiting_for(),
            last_failure=_said(self._last_error) if self._last_error else "",
            dimensions=tuple(self._dimensions),
            latest=tuple(self._latest),
        )

    def _stage(self) -> str:
        if self._session.noted_status()[0] in ("complete", "partial"):
            return "sealed"
        for stage in reversed(STAGES):
            if self._session.reached(stage):
                return {"analysis": "calculation", "calculation": "synthesis", "synthesis": "seal"}[stage]
        return "analysis"

    def _read_new(self, done: list[str]) -> None:
        fresh = [name for name in done if name not in self._seen]
        self._seen.update(fresh)
        for name in fresh[-LATEST:]:
            try:
                data = json.loads(self._session.store.get(f"{layout.EXTRACTED}/{name}"))
            except ValueError:  # torn by a power cut; it is read again when the session goes on
                continue
            scores = data["extraction"]["scores"]
            self._latest.append(
                Latest(
                    number=data["number"],
                    document=data["document"],
                    model=data["model"],
                    run=data["run"],
                    scores=tuple(scores.get(dimension) for dimension in self._dimensions),
                )
            )

    def _read_costs(self) -> None:
        names = self._session.store.names(layout.ARCHIVE)
        for name in names:
            sidecar = name.startswith(("metadata_", "rival_metadata_")) and name.endswith(".json")
            if sidecar and name not in self._sidecars:
                self._sidecars.add(name)
                try:
                    record = ArchivedCall.model_validate_json(self._session.store.get(f"{layout.ARCHIVE}/{name}"))
                except ValidationError:  # its answer then counts as damaged, and is named as that
                    continue
                self._costs[record.call, record.attempt] = record.cost_usd
        errors = {name for name in names if name.startswith("error_")}
        for name in sorted(errors - self._errors):
            error = json.loads(self._session.store.get(f"{layout.ARCHIVE}/{name}"))
            if self._last_error is None or error["at"] >= self._last_error["at"]:
                self._last_error = error
        self._errors = errors

    def _waiting_for(self) -> str:
        """Return the passing failure that is being waited out, and until when; nothing once that time is over."""
        error = self._last_error
        if error is None or error["kind"] != "transient" or self._stage() != "analysis":
            return ""
        until = datetime.fromisoformat(error["at"]) + timedelta(seconds=error["retry_after_s"] or WAITED_S)
        if until < datetime.now(UTC):
            return ""
        return f"{_said(error)} (tried again by {until.astimezone():%H:%M:%S})"

    def _split_intents(self) -> tuple[int, int]:
        names = self._session.store.names(layout.INTENTS)
        self._intents = {name: self._intents[name] for name in names if name in self._intents}
        for name in names:
            if name not in self._intents:
                intent = self._session.archive.read_intent(f"{layout.INTENTS}/{name}")
                if intent is not None:
                    self._intents[name] = intent
        owner, intents = self._owner, self._intents.values()
        alive = [intent for intent in intents if owner is not None and owner.may_live(intent.owner)]
        dead = [intent for intent in intents if intent not in alive and not self._session.archive.settled(intent)]
        return len(alive), len(dead)


def _said(error: dict[str, Any]) -> str:
    """Return what a failed call said, with the name of its model."""
    model, message = str(error["model"]), str(error["message"])
    return message if model in message else f"{model}: {message}"
