"""Where a session stands, read from its store alone: no server is asked, and every figure has a file behind it."""

from __future__ import annotations

import json
from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

from discernus.sessions import layout
from discernus.sessions.archive import Intent
from discernus.sessions.costs import CallCost, Costs, add_up, recorded_cost
from discernus.sessions.integrity.manifests import Stage
from discernus.sessions.layout import Call
from discernus.sessions.limits import limits_in_words
from discernus.sessions.owners import Onlooker
from discernus.sessions.session import Session

LATEST = 20
WAITED_S = 60.0  # a passing failure that names no delay of its own is waited for this long at most
STAGES = get_args(Stage)


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

    ``calls`` were answered, or failed and were billed; ``cost_usd`` is what of them is known. ``last_failure`` is the
    latest of all; ``waiting_for`` is there while such a failure is being waited out, or while models take no calls.
    ``limits`` say, while calls are made, how many each model may be sent.
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
    limits: tuple[str, ...] = ()


class ProgressReader:
    """Reads one session again and again; what never changes is read once."""

    def __init__(self, session: Session, is_alive: Onlooker | None = None) -> None:
        self._session = session
        self._owner = is_alive
        self._dimensions = [dimension.name for dimension in session.definition.framework.dimensions]
        self._seen: set[str] = set()
        self._files: set[str] = set()  # of the archive, each read once
        self._calls: dict[tuple[str, int], CallCost] = {}  # by name and attempt
        self._costs: Costs = add_up([])
        self._latest: deque[Latest] = deque(maxlen=LATEST)
        self._intents: dict[str, Intent] = {}
        self._last_error: dict[str, Any] | None = None

    def read(self) -> Standing:
        """Return where the session stands now."""
        session = self._session
        status, reason = session.noted_status()  # first: once that says how it ended, every count is final
        stage = self._stage()
        done = [name for name in session.store.names(layout.EXTRACTED) if name.startswith("extracted_")]
        self._read_new(done)
        names = session.store.names(
            layout.INTENTS
        )  # before the archive: what is answered meanwhile is then found in the archive
        self._read_archive()
        in_flight, in_doubt = self._split(names)
        return Standing(
            stage=stage,
            status=status,
            reason=reason,
            planned=session.facts.analyses,
            done=len(done),
            parked=len(session.all_parked()),
            in_flight=in_flight,
            in_doubt=in_doubt,
            cost_usd=self._costs.cost_usd or 0.0,
            unpriced=self._costs.unpriced,
            calls=self._costs.calls,
            waiting_for=self._waiting_for() if stage == "analysis" else "",
            last_failure=_said(self._last_error) if self._last_error else "",
            dimensions=tuple(self._dimensions),
            latest=tuple(self._latest),
            limits=limits_in_words(session) if stage == "analysis" else (),
        )

    def _stage(self) -> str:
        if self._session.noted_status()[0] in ("complete", "partial"):
            return "sealed"
        for stage in reversed(STAGES):
            if self._session.reached(stage):
                return {"calculation": "synthesis", "synthesis": "seal"}.get(stage, "calculation")
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

    def _read_archive(self) -> None:
        """Take in what is new in the archive: what calls cost, and which failed last."""
        fresh = [name for name in self._session.store.names(layout.ARCHIVE) if name not in self._files]
        self._files.update(fresh)
        for name in fresh:
            self._calls |= recorded_cost(self._session, name)
            if name.startswith("error_"):
                self._note_error(name)
        if fresh:
            self._costs = add_up(self._calls.values())

    def _note_error(self, name: str) -> None:
        try:
            error = json.loads(self._session.store.get(f"{layout.ARCHIVE}/{name}"))
        except ValueError:  # torn by a power cut; its cost is counted as unknown
            return
        if error["at"] is None:  # an older layout told no time
            return
        if self._last_error is None or error["at"] >= self._last_error["at"]:
            self._last_error = error

    def _waiting_for(self) -> str:
        """Return the passing failure that is being waited out, and until when; nothing once that time is over."""
        closed = self._session.waiting()
        if closed:
            return "; ".join(f"{reason} (until {until.astimezone():%H:%M:%S})" for _, reason, until in closed)
        error = self._last_error
        if error is None or error["kind"] != "transient":
            return ""
        told_s = error["retry_after_s"]  # by the vendor; how long we wait where it tells nothing is not on record
        until = datetime.fromisoformat(error["at"]) + timedelta(seconds=told_s or WAITED_S)
        if until < datetime.now(UTC):
            return ""
        return f"{_said(error)} (tried again by {until.astimezone():%H:%M:%S})" if told_s else _said(error)

    def _split(self, names: list[str]) -> tuple[int, int]:
        """Return how many calls are in flight, and how many in doubt, given the names of all intents."""
        self._intents = {name: self._intents[name] for name in names if name in self._intents}
        for name in names:
            if name not in self._intents:
                intent = self._session.archive.read_intent(f"{layout.INTENTS}/{name}")
                if intent is not None:
                    self._intents[name] = intent
        open_ = [intent for intent in self._intents.values() if not self._is_settled(intent)]
        in_flight = sum(self._may_come(intent) for intent in open_)
        return in_flight, len(open_) - in_flight

    def _is_settled(self, intent: Intent) -> bool:
        """Return whether what came of the call is archived: a kill may fall before its intent is removed."""
        failed = Call.named(intent.call).error(intent.attempt).rpartition("/")[2]
        return (intent.call, intent.attempt) in self._calls or failed in self._files

    def _may_come(self, intent: Intent) -> bool:
        alive = self._owner is not None and self._owner.may_live(intent.owner)
        return alive and intent.deadline > datetime.now(UTC)


def _said(error: dict[str, Any]) -> str:
    """Return what a failed call said, with the name of its model."""
    model, message = str(error["model"]), str(error["message"])
    return message if model in message else f"{model}: {message}"
