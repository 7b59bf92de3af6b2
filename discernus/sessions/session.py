"""A session, opened from its folder: its facts, its frozen inputs, its plan and its archive."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from discernus.canonical import read_json
from discernus.experiments.definition import Definition
from discernus.experiments.experiment import DEFAULT_MODEL
from discernus.experiments.freezing import thaw
from discernus.experiments.plan import Analysis
from discernus.extraction.extract import Extraction
from discernus.sessions import layout
from discernus.sessions.archive import Archive, Intent
from discernus.sessions.chronologs.chronolog import chronolog_of, read_events
from discernus.sessions.integrity.seals import newest_seal
from discernus.sessions.store import LocalStore, NotInStore, Store

ERASED = "erased"  # the class of what is parked because its text was taken out, for good


class SessionUnreadable(ValueError):
    """The facts of a session are of a newer format, or damaged; ``choices`` say what to do."""

    def __init__(self, kind: Literal["newer_format", "unreadable"], what: str, choice: str) -> None:
        super().__init__(f"{what}; {choice}")
        self.kind = kind
        self.what = what
        self.choices = (choice,)


Clock = Literal["utc", "zone_not_recorded", "time_not_recorded"]


class SessionFacts(BaseModel):
    """What was settled when the session was opened; ``source`` is where its author's files lie.

    ``extraction_models`` read the answers that our rules cannot, the first one if it can be had, ``synthesis_models``
    write prose around the tables in the same way; ``timeouts_s`` are of the models whose calls may take another time
    than ``call_timeout_s``. ``extends`` is the session whose answers were taken over where they answer the same
    question; ``migrated_from`` is the folder of an older layout it was read from. ``clock`` says what ``created_at`` is
    worth: without its zone it is as its author's clock showed it, and where no time was recorded it says nothing.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = 3
    project: str
    experiment: str
    session: str
    store: str
    source: str
    created_at: datetime
    analyses: int
    concurrency: int
    models: tuple[str, ...]
    call_timeout_s: float
    versions: dict[str, str]
    extraction_models: tuple[str, ...] = ()
    synthesis_models: tuple[str, ...] = ()
    timeouts_s: dict[str, float] = {}
    proxied: bool = False
    extends: str | None = None
    migrated_from: str | None = None
    clock: Clock = "utc"

    @property
    def opened(self) -> str:
        """When it was opened, in words, as far as that was recorded."""
        if self.clock == "time_not_recorded":
            return "at a time that was not recorded"
        zone = "UTC" if self.clock == "utc" else "by a clock whose zone was not recorded"
        return f"{self.created_at:%Y-%m-%d %H:%M:%S} {zone}"

    def timeout_s(self, model: str) -> float:
        """Return the seconds that a call to the model may take."""
        return self.timeouts_s.get(model, self.call_timeout_s)


FORMAT: Final[int] = SessionFacts.model_fields["format"].default  # the newest that is read; so are all before it


class Extracted(BaseModel):
    """What was read from one analysis's answer, and from which answer: a file of ``extracted/``."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    format: int = 1
    number: int
    document: str
    model: str
    variant: str
    run: int
    call: str
    second_call: str | None
    response_sha256: str
    extraction: Extraction


class Parked(BaseModel):
    """An analysis that could not be had, and why. ``released`` means that it may be tried afresh."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = 1
    number: int
    call: str
    error_class: str
    reason: str
    passing: bool
    passes: Literal[1, 2]
    failures: int
    at: datetime
    released: bool = False


class Closure(BaseModel):
    """A time during which a model took no calls, quarantined; ``until`` is when it was next to be tried."""

    model_config = ConfigDict(frozen=True)

    model: str
    reason: str
    since: datetime
    until: datetime


class Session:
    """One session in its folder; ``mirror`` is a folder that gets a second copy of each answer."""

    def __init__(self, folder: Path, mirror: Path | None = None) -> None:
        self.folder = folder
        self.store: Store = LocalStore(folder)
        parts = folder.resolve().parts
        copy = LocalStore(mirror.joinpath(*parts[-5:])) if mirror is not None else None
        self.chronolog = chronolog_of(folder)
        self.archive = Archive(self.store, copy, self.chronolog)

    @property
    def projects_dir(self) -> Path:
        """The projects folder that holds the session; of a copy outside of any, the folder around it.

        That has nothing to say of models, budgets or other sessions.
        """
        folder = self.folder.resolve()
        above = folder.parents
        is_inside = len(above) > 4 and (above[0].name, above[2].name) == ("sessions", "experiments")
        return above[4] if is_inside else folder.parent

    @cached_property
    def facts(self) -> SessionFacts:
        """What was settled when the session was opened. Raise SessionUnreadable."""
        name = self.folder.name
        try:
            said = read_json(self.store.get(layout.SESSION))
            facts = SessionFacts.model_validate(said) if said["format"] <= FORMAT else None
            by = said["versions"].get("discernus", "a later version")
        except (NotInStore, ValueError, KeyError, TypeError, AttributeError):
            restore = f"restore {layout.SESSION} from a copy of the session's folder"
            raise SessionUnreadable("unreadable", f"{name}: {layout.SESSION} cannot be read", restore) from None
        if facts is None:
            newer = f"{name} has format {said['format']}, written by Discernus {by}; this version reads up to {FORMAT}"
            raise SessionUnreadable("newer_format", newer, "go on with the version that wrote it, or a later one")
        return facts

    @cached_property
    def definition(self) -> Definition:
        return thaw(self.store.get)

    @cached_property
    def plan(self) -> list[Analysis]:
        return self.definition.plan()

    @property
    def name(self) -> str:
        return "/".join((self.facts.project, self.facts.experiment, self.facts.session))

    @cached_property
    def extraction_models(self) -> tuple[str, ...]:
        """The models that may read an answer that our rules cannot, in order."""
        if self.facts.extraction_models:
            return self.facts.extraction_models
        named = self.definition.experiment.extraction_model  # a session opened before fallbacks were settled
        return (named,) if named not in (None, DEFAULT_MODEL) else ()

    def candidates(self, number: int) -> tuple[str, ...]:
        """Return the models that may answer an analysis: the one asked for, then its fallbacks."""
        model = self.analysis(number).model
        return (model, *self.definition.experiment.fallback_models.get(model, ()))

    def analysis(self, number: int) -> Analysis:
        """Return the analysis with that plan number."""
        return self.plan[number - 1]

    def extracted(self, number: int) -> Extracted | None:
        """Return what was read of an analysis, None if nothing was yet."""
        try:
            return Extracted.model_validate_json(self.store.get(layout.extracted(number)))
        except (NotInStore, ValidationError):  # torn by a power cut: read again from its answer, at no cost
            return None

    def parked(self, number: int) -> Parked | None:
        """Return the record of a parked analysis, released or not."""
        try:
            return Parked.model_validate_json(self.store.get(layout.parked(number)))
        except (NotInStore, ValidationError):
            return None

    def release_parked(self) -> int:
        """Let everything that is parked be tried afresh, but for texts that were erased; return how many that are."""
        released = 0
        for record in self.all_parked():
            if record.error_class == ERASED:
                continue
            self.park(record.model_copy(update={"released": True}))
            released += 1
        return released

    def all_parked(self) -> list[Parked]:
        """Return the records of the analyses that are parked now."""
        names = (name for name in self.store.names(layout.PARKED) if name.startswith("parked_"))
        records = (self.parked(int(name.removeprefix("parked_").removesuffix(".json"))) for name in names)
        return [
            record
            for record in records
            if record is not None and not record.released and not self.store.exists(layout.extracted(record.number))
        ]

    def park(self, record: Parked) -> None:
        """Write down that an analysis cannot be had for now, or, released, that it may be tried again."""
        self.store.put(layout.parked(record.number), record.model_dump_json(indent=1).encode())
        if record.released:
            self.chronolog.note("analysis_released", analysis=record.number, call=record.call)
            return
        why = record.model_dump(include={"call", "error_class", "passing", "passes", "failures"})
        self.chronolog.note("analysis_parked", analysis=record.number, **why)

    def unpark(self, number: int) -> None:
        """Forget that the analysis was parked: it has been answered."""
        self.store.remove(layout.parked(number))

    def note_status(self, status: str, reason: str) -> None:
        """Keep the status of a session that is not sealed: running, paused and why."""
        note = {"status": status, "reason": reason, "at": datetime.now(UTC).isoformat()}
        self.chronolog.note("status_noted", status=status, reason=reason)
        if self.is_sealed:
            self.chronolog.flush()  # a seal that holds no more without a word on why would pass for tampering
        self.store.put(layout.STATUS, json.dumps(note, ensure_ascii=False, indent=1).encode())

    def noted_status(self) -> tuple[str, str]:
        """Return the last noted status and its reason; ``running`` if none was ever noted.

        Where its file is gone or damaged, the newest seal and the chronolog tell.
        """
        try:
            note = read_json(self.store.get(layout.STATUS))
            return str(note["status"]), str(note["reason"])
        except (NotInStore, ValueError, LookupError, TypeError):
            return self.told_status()

    def told_status(self) -> tuple[str, str]:
        """Return the status and its reason as the newest seal and the chronolog tell them."""
        told = [event for event in read_events(self.folder) if event.event in ("sealed", "status_noted")]
        file = newest_seal(self.store)
        if file is not None and file.seal is not None and (not told or told[-1].event == "sealed"):
            return file.seal.status, ""
        if not told:
            return "running", ""
        return str(told[-1].facts.get("status")), str(told[-1].facts.get("reason") or "")

    @property
    def is_sealed(self) -> bool:
        """Whether the session has ended, and its newest seal stands for all of it."""
        return self.noted_status()[0] in ("complete", "partial")

    def note_waiting(self, model: str, reason: str, until: datetime) -> None:
        """Say that calls to the model wait, and until when; each time that it closes anew is kept for the report.

        Nothing is noted of a session that is sealed.
        """
        if self.is_sealed:
            return
        now = datetime.now(UTC)
        note = json.dumps(
            {"model": model, "reason": reason, "since": now.isoformat(), "until": until.isoformat()}, ensure_ascii=False
        ).encode()
        if all(one.model != model or one.until <= now for one in self._closures((layout.waiting(model),))):
            number = sum(one.model == model for one in self.closures()) + 1
            self.store.put_if_absent(layout.closure(model, number), note)
        self.store.put(layout.waiting(model), note, durable=False)

    def closures(self) -> list[Closure]:
        """Return each time that a model took no calls, as this session met it, oldest first."""
        names = (f"{layout.CLOSURES}/{name}" for name in self.store.names(layout.CLOSURES))
        return sorted(self._closures(names), key=lambda one: one.since)

    def _closures(self, names: Iterable[str]) -> Iterator[Closure]:
        for name in names:
            try:
                yield Closure.model_validate_json(self.store.get(name))
            except (NotInStore, ValidationError):  # torn by a power cut
                continue

    def note_limits(self, shares: list[dict[str, Any]]) -> None:
        """Keep this session's parts of its models' limits; those that held when it was sealed stay."""
        if not self.is_sealed:
            self.store.put(layout.LIMITS, json.dumps(shares).encode(), durable=False)

    def limits(self) -> list[dict[str, Any]]:
        """Return this session's parts of its models' limits; none if nobody has told any."""
        try:
            found: list[dict[str, Any]] = json.loads(self.store.get(layout.LIMITS))
        except NotInStore:
            return []
        return found

    def waiting(self) -> list[tuple[str, str, datetime]]:
        """Return each model whose calls wait now, why, and until when."""
        names = (f"{layout.WAITING}/{name}" for name in self.store.names(layout.WAITING) if name.endswith(".json"))
        now = datetime.now(UTC)
        return [(one.model, one.reason, one.until) for one in self._closures(names) if one.until > now]

    def reached(self, stage: str) -> bool:
        """Return whether the stage's checkpoint is there."""
        return self.store.exists(layout.checkpoint(stage))

    def intents(self) -> list[Intent]:
        """Return the intents that led to neither an answer nor an error: in flight, or in doubt."""
        found = (self.archive.read_intent(f"{layout.INTENTS}/{name}") for name in self.store.names(layout.INTENTS))
        return [intent for intent in found if intent is not None and not self.archive.settled(intent)]
