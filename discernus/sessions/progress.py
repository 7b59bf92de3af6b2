"""Where a session stands, read from its store alone: no server is asked, and every figure has a file behind it."""

from __future__ import annotations

import json
from collections import deque
from dataclasses import dataclass

from discernus.sessions import layout
from discernus.sessions.archive import ArchivedCall, Intent
from discernus.sessions.owners import Owner
from discernus.sessions.session import Session

LATEST = 20
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
    """Counts of analyses, calls and money. ``in_flight`` calls belong to the living, ``in_doubt`` ones to the dead."""

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
    latest: tuple[Latest, ...]


class ProgressReader:
    """Reads one session again and again; what never changes is read once."""

    def __init__(self, session: Session, is_alive: Owner | None = None) -> None:
        self._session = session
        self._owner = is_alive
        self._dimensions = [dimension.name for dimension in session.definition.framework.dimensions]
        self._seen: set[str] = set()
        self._costs: dict[str, float | None] = {}
        self._latest: deque[Latest] = deque(maxlen=LATEST)
        self._intents: dict[str, Intent] = {}
        self._errors: set[str] = set()
        self._last_error = ""

    def read(self) -> Standing:
        """Return where the session stands now."""
        session = self._session
        done = [name for name in session.store.names(layout.EXTRACTED) if name.startswith("extracted_")]
        self._read_new(done)
        self._read_costs()
        in_flight, in_doubt = self._split_intents()
        parked = session.store.names(layout.PARKED)
        numbers = {name.removeprefix("extracted_") for name in done}
        status, reason = session.noted_status()
        known = [cost for cost in self._costs.values() if cost is not None]
        return Standing(
            stage=self._stage(),
            status=status,
            reason=reason,
            planned=session.facts.analyses,
            done=len(done),
            parked=sum(name.removeprefix("parked_") not in numbers for name in parked),
            in_flight=in_flight,
            in_doubt=in_doubt,
            cost_usd=sum(known),
            unpriced=len(self._costs) - len(known),
            calls=len(self._costs),
            waiting_for=self._last_error,
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
            data = json.loads(self._session.store.get(f"{layout.EXTRACTED}/{name}"))
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
            if name.startswith(("metadata_", "rival_metadata_")) and name.endswith(".json") and name not in self._costs:
                record = ArchivedCall.model_validate_json(self._session.store.get(f"{layout.ARCHIVE}/{name}"))
                self._costs[name] = record.cost_usd
        errors = {name for name in names if name.startswith("error_")}
        for name in sorted(errors - self._errors):
            error = json.loads(self._session.store.get(f"{layout.ARCHIVE}/{name}"))
            self._last_error = f"{error['model']}: {error['message']}"
        self._errors = errors

    def _split_intents(self) -> tuple[int, int]:
        names = self._session.store.names(layout.INTENTS)
        self._intents = {name: self._intents[name] for name in names if name in self._intents}
        for name in names:
            if name not in self._intents:
                intent = self._session.archive.read_intent(f"{layout.INTENTS}/{name}")
                if intent is not None:
                    self._intents[name] = intent
        alive = sum(self._owner.may_live(intent.owner) for intent in self._intents.values()) if self._owner else 0
        return alive, len(self._intents) - alive
