"""Writing one found session as a session of today: frozen inputs, archive, what was not understood, then its results.

Everything up to the facts depends on the source alone, so that a migration that was cut off and is repeated writes the
same bytes; the facts come last and make it a session. What was never recorded is null.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from discernus import __version__
from discernus.experiments.freezing import freeze
from discernus.llm.calls import Message, ModelRequest
from discernus.migration.definitions import Translated
from discernus.migration.found import FoundCall, FoundSession
from discernus.migration.planning import Placed, SessionPlan
from discernus.migration.source import Source
from discernus.migration.staging import stage
from discernus.reports.overview import RUN_COUNTED_OFF, ZONE_BY_OTHERS
from discernus.sessions import layout
from discernus.sessions.archive import TIME_NOT_RECORDED, ZONE_NOT_RECORDED, ArchivedCall
from discernus.sessions.integrity.seals import versions_sealed
from discernus.sessions.layout import Call
from discernus.sessions.opening import store_id
from discernus.sessions.session import Clock, Parked, Session, SessionFacts
from discernus.sessions.store import NotInStore, Store
from discernus.stages.calculation import calculate
from discernus.stages.reading import read_answer
from discernus.stages.sealing import seal
from discernus.stages.synthesis import synthesise

MIGRATION = "migration"
ACCOUNT = f"{MIGRATION}/account.json"
VERBATIM = f"{MIGRATION}/verbatim"
OWNER = "migration"
NEVER = datetime(1970, 1, 1, tzinfo=UTC)  # stands for a time that was never recorded; the record's marks say so
_TIMEOUT_S = 300.0  # today's default; what older sessions waited for was not recorded


class MigrationConflict(Exception):
    """What is to be written stands there already, and is something else."""


@dataclass(frozen=True)
class Target:
    """Where a session goes: the projects folder, the project and the experiment."""

    projects_dir: Path
    project: str
    experiment: str

    @property
    def folder(self) -> Path:
        return self.projects_dir / self.project / "experiments" / self.experiment


@dataclass(frozen=True)
class Named:
    """A call under its name of today; ``attempt`` counts what failed before, from 1."""

    call: Call
    attempt: int
    placed: Placed

    @property
    def failed(self) -> bool:
        return self.placed.call.kind == "failure"


@dataclass(frozen=True)
class Written:
    """A session as it was written, of so many planned ``analyses``."""

    session: Session
    analyses: int
    calls: tuple[Named, ...]

    @property
    def finished(self) -> bool:
        """Return whether it has its seal, from an earlier migration."""
        return any(versions_sealed(self.session.store))


def write_session(
    source: Source, target: Target, found: FoundSession, plan: SessionPlan, translated: Translated, verbatim: list[str]
) -> Written:
    """Write the session, or complete one that an earlier migration left half done. Raise MigrationConflict."""
    session = Session(target.folder / "sessions" / found.name)
    with TemporaryDirectory(prefix="migration-") as temporary:
        folder = Path(temporary) / target.experiment
        definition = stage(folder, translated, plan)
        frozen = freeze(definition, folder)
    analyses = definition.plan()
    ids = {document.file: document.id for document in definition.documents}
    numbers = {(one.document, one.model, one.run): one.number for one in reversed(analyses)}
    calls = _named(plan, ids, numbers, len(analyses))
    known = _known(session.store)
    fingerprint = _fingerprint(source, found, calls)
    if known is not None and known != fingerprint:
        raise MigrationConflict(
            f"{session.folder} was migrated from another state of this source; it stays as it is. "
            "Move it away to have it migrated anew"
        )
    if known is None:
        for name, data in frozen.items():
            _put(session.store, name, data)
        for one in calls:
            _write_call(session, one, definition.experiment.variants[0])
        for name in verbatim:
            _put(session.store, f"{VERBATIM}/{name}", source.data(name))
        _put(session.store, ACCOUNT, _account(source, found, plan, calls, verbatim, translated, fingerprint))
        facts = _facts(source, target, found, plan, len(analyses))
        session.chronolog.note("migrated", source=source.root.name, calls=len(calls))
        session.chronolog.flush()
        _put(session.store, layout.SESSION, facts.model_dump_json(indent=1).encode())
    return Written(session, len(analyses), calls)


def make_results(written: Written) -> None:
    """Read, calculate, report and seal what was archived."""
    session = written.session
    for one in written.calls:
        if one.call.purpose != "analysis":
            continue
        if not one.failed and session.extracted(one.call.number) is None:
            read_answer(session, one.call.number, 0, final=True)
        elif one.failed and not session.store.exists(one.call.response):
            session.park(_parked(one))
    calculate(session)
    synthesise(session)
    seal(session)


def _named(
    plan: SessionPlan, ids: Mapping[str, str], numbers: Mapping[tuple[str, str, int], int], analyses: int
) -> tuple[Named, ...]:
    """Return the calls under their names in the session; what is no analysis is numbered on after the plan."""
    named: list[Named] = []
    attempts: Counter[Call] = Counter()
    answers_last = sorted(plan.placed, key=lambda one: one.call.kind != "failure")
    for one in answers_last:
        if one.document is not None:
            call = Call(numbers[ids[one.document], one.model, one.run])
            attempts[call] += 1
            named.append(Named(call, attempts[call], one))
    further = (one for one in plan.placed if one.document is None)
    named += [Named(Call(number, "synthesis"), 1, one) for number, one in enumerate(further, start=analyses + 1)]
    return tuple(sorted(named, key=lambda one: (one.call.name, one.attempt)))


def _write_call(session: Session, one: Named, variant: str) -> None:
    """Archive a call as far as it was recorded: the response last, as ever."""
    call, placed = one.call, one.placed
    prompt = ((role, _writable(text)) for role, text in placed.call.prompt)
    messages = tuple(Message.model_validate({"role": role, "content": text}) for role, text in prompt)
    request = ModelRequest(model=placed.model, messages=messages)
    key = request.content_key(variant=variant, run=placed.run, ask=0)
    for message in messages:
        content = message.content.encode()
        _put(session.store, layout.message(sha256(content).hexdigest()), content)
    if not (one.attempt > 1 and session.store.exists(call.request)):
        _put(session.store, call.request, _question(request))
    if one.failed:
        _put(session.store, call.error(one.attempt), _error(one, key))
        return
    data = _writable(placed.call.answer).encode()
    record = _record(one, key, data)
    _put(session.store, call.metadata, record.model_dump_json(indent=1).encode())
    _put(session.store, call.response, data)


def _question(request: ModelRequest) -> bytes:
    """Return the request as far as it was recorded: parameters and time limit were not."""
    question = {
        "format": 1,
        "model": request.model,
        "messages": [
            {"role": message.role, "content_sha256": sha256(message.content.encode()).hexdigest()}
            for message in request.messages
        ],
        "parameters": {},
        "timeout_s": None,
        "as_sent": None,
    }
    return json.dumps(question, ensure_ascii=False, indent=1).encode()


def _record(named: Named, key: str, data: bytes) -> ArchivedCall:
    call, one = named.call, named.placed
    told = _plain(one.call.told)
    tokens = _tokens(told.get("usage"))
    known = list(tokens.values())
    latency = _latency_ms(one.call)
    return ArchivedCall(
        call=call.name,
        number=call.number,
        purpose=call.purpose,
        ask=call.ask,
        attempt=named.attempt,
        owner=OWNER,
        content_key=key,
        response_sha256=sha256(data).hexdigest(),
        response_bytes=len(data),
        finish_reason=None,
        model_requested=one.model,
        model_answered=None,
        cached_tokens=None,
        reasoning_tokens=None,
        cost_usd=None,
        price_source=None,
        latency_ms=latency,
        started_at=one.call.sent_at,
        archived_at=one.call.answered_at,
        parameters={},
        dropped_parameters=(),
        model_forensics={"agent": one.call.agent, "recorded": told},
        response_metadata={
            "response_time_ms": latency,
            "tokens_used": sum(count for count in known if count is not None) if None not in known else None,
            "cost_usd": None,
        },
        marks=_marks(one),
        recovered_from=str(one.call.place),
        **tokens,
    )


def _tokens(usage: Any) -> dict[str, int | None]:
    written = usage if isinstance(usage, dict) else {}
    counts = {name: written.get(name) for name in ("prompt_tokens", "completion_tokens")}
    return {name: count if isinstance(count, int) else None for name, count in counts.items()}


def _latency_ms(call: FoundCall) -> float | None:
    """Return how long the answer took, where both times were recorded."""
    if call.sent_at is None or call.answered_at is None or call.answered_at < call.sent_at:
        return None
    return (call.answered_at - call.sent_at).total_seconds() * 1000


def _marks(one: Placed) -> tuple[str, ...]:
    call, timed = one.call, one.call.answered_at is not None
    found = {
        "recovered": True,
        TIME_NOT_RECORDED: not timed,
        ZONE_NOT_RECORDED: timed and call.local_time,
        ZONE_BY_OTHERS: timed and call.zone_by_others,
        RUN_COUNTED_OFF: one.counted_off,
        "cut_by_the_log": bool(call.told.get("cut")),
    }
    return tuple(mark for mark, is_so in found.items() if is_so)


def _error(named: Named, key: str) -> bytes:
    """Return the record of a call that was answered by an error; none of what a bill would rest on was recorded."""
    one = named.placed
    sent_at = one.call.sent_at or one.call.answered_at
    error = {
        "call": named.call.name,
        "attempt": named.attempt,
        "owner": OWNER,
        "content_key": key,
        "model": one.model,
        "at": one.call.answered_at.isoformat() if one.call.answered_at is not None else None,
        "sent_at": sent_at.isoformat() if sent_at is not None else None,
        "error_class": "unknown_error",
        "kind": None,
        "status": None,
        "counts_as_attempt": True,
        "retry_after_s": None,
        "sent": True,
        "message": _writable(one.call.answer),
        "body": None,
        "usage": None,
        "cost_usd": None,
        "price_source": None,
        "started_at": None,
        "latency_ms": None,
        "request_as_sent": None,
        "recovered_from": str(one.call.place),
        "marks": _marks(one),
    }
    return json.dumps(error, ensure_ascii=False, indent=1).encode()


def _parked(one: Named) -> Parked:
    return Parked(
        number=one.call.number,
        call=one.call.name,
        error_class="unknown_error",
        reason=_writable(one.placed.call.answer)[:500],
        passing=False,
        passes=2,
        failures=one.attempt,
        at=one.placed.call.answered_at or datetime.now(UTC),  # it is parked now
    )


def _facts(source: Source, target: Target, found: FoundSession, plan: SessionPlan, analyses: int) -> SessionFacts:
    return SessionFacts(
        project=target.project,
        experiment=target.experiment,
        session=found.name,
        store=store_id(target.projects_dir),
        source=f"migrated:{source.root.name}",  # no author's files: a run never takes it for its unfinished session
        created_at=found.began_at or NEVER,
        clock=_clock(found),
        analyses=analyses,
        concurrency=1,
        models=plan.models,
        call_timeout_s=_TIMEOUT_S,
        versions={**found.software, "discernus (migration)": __version__},
        migrated_from=source.root.name,
    )


def _clock(found: FoundSession) -> Clock:
    if found.began_at is None:
        return "time_not_recorded"
    return "zone_not_recorded" if found.local_time else "utc"


def _account(
    source: Source,
    found: FoundSession,
    plan: SessionPlan,
    calls: tuple[Named, ...],
    verbatim: list[str],
    translated: Translated,
    fingerprint: str,
) -> bytes:
    """Return where everything of a session came from, for programs; the project's report is for people."""
    account = {
        "format": 1,
        "session": found.name,
        "old_id": found.id,
        "source_sha256": fingerprint,
        "notes": found.notes,
        "framework": translated.framework.origin,
        "documents": {
            name: {"from": text.origin if text is not None else None, "hash_stated": bool(text and text.proven)}
            for name, text in sorted(plan.texts.items())
        },
        "calls": [_accounted(one) for one in calls],
        "verbatim": {name: source.sha256(name) for name in verbatim},
    }
    return json.dumps(account, ensure_ascii=False, indent=1).encode()


def _accounted(named: Named) -> dict[str, Any]:
    one = named.placed
    at = one.call.answered_at
    return {
        "call": named.call.name,
        "attempt": named.attempt,
        "from": str(one.call.place),
        "kind": _kind(named),
        "agent": one.call.agent,
        "document": one.document,
        "model": one.model if one.document is not None or one.call.model else None,
        "run": one.run or None,
        "answered_at": at.isoformat() if at is not None else None,
        "form": one.call.told.get("form"),
    }


def _kind(named: Named) -> str:
    """Return what a call is today: an analysis, an answer that is none, or a failure."""
    if named.failed:
        return "failure"
    return "analysis" if named.call.purpose == "analysis" else "other"


def _fingerprint(source: Source, found: FoundSession, calls: tuple[Named, ...]) -> str:
    """Return a hash of what the session was made from: its own files, and its calls in their places."""
    files = {name: source.sha256(name) for name in sorted(set(found.files))}
    made = [[one.call.name, one.attempt, str(one.placed.call.place), one.placed.call.answer] for one in calls]
    return sha256(json.dumps([files, made], sort_keys=True).encode()).hexdigest()


def _known(store: Store) -> str | None:
    """Return what an earlier migration made the session from, None where there is no such session yet."""
    if not store.exists(layout.SESSION):
        return None
    try:
        return str(json.loads(store.get(ACCOUNT))["source_sha256"])
    except (NotInStore, ValueError, KeyError):
        return ""


def _put(store: Store, name: str, data: bytes) -> None:
    """Store what is not there yet. Raise MigrationConflict where something else is."""
    stored = not store.exists(name) and store.put_if_absent(name, data, with_next=name != layout.SESSION)
    if not stored and store.get(name) != data:
        raise MigrationConflict(f"'{name}' is there already, and not as this source has it")


def _plain(told: dict[str, Any]) -> dict[str, Any]:
    """Return what else was recorded as JSON can say it."""
    plain: dict[str, Any] = _finite(json.loads(json.dumps(told, default=str, ensure_ascii=False, allow_nan=True)))
    return plain


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {_writable(str(key)): _finite(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_finite(one) for one in value]
    if isinstance(value, float) and value - value != 0:
        return str(value)
    return _writable(value) if isinstance(value, str) else value


def _writable(text: str) -> str:
    """Return the text with halves of characters, which JSON can carry and no file can, replaced by U+FFFD."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
