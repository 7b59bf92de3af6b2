"""What calls cost, read from the archives: answers, failures that were billed, rivals, and what is in doubt.

The one place where costs are added up. An unknown price is never 0: such calls are counted beside the sum.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from math import fsum
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from discernus.experiments.freezing import SnapshotDamaged
from discernus.experiments.problems import InvalidDefinition
from discernus.llm.calls import Message, ModelRequest, Usage
from discernus.llm.catalogue import facts_of, prompt_tokens, worst_case_usd
from discernus.llm.models_file import ModelsFile, read_models_file
from discernus.llm.requests import analysis_request, extraction_request, interpretation_request
from discernus.sessions import layout
from discernus.sessions.archive import Archive, ArchiveDamaged, ArchivedCall, Intent
from discernus.sessions.conversations import ASKED_AGAIN, asked_again_folder, read_conversation
from discernus.sessions.drafts import ACCOUNT, draft_folders, place_of
from discernus.sessions.layout import Call
from discernus.sessions.opening import HIDDEN, sessions_in
from discernus.sessions.owners import Onlooker
from discernus.sessions.questions import read_question
from discernus.sessions.session import Session
from discernus.sessions.store import LocalStore, Store
from discernus.settings import Settings

Key = Literal["session", "experiment", "project", "model", "purpose", "day"]
Fate = Literal["answered", "failed", "unanswered", "in_doubt"]
KEYS: tuple[Key, ...] = ("session", "experiment", "project", "model", "purpose", "day")
NO_USAGE = Usage()
UNKNOWN = "unknown"  # the model of a call whose request and metadata can both not be read any more

_RECORD = re.compile(r"(?P<kind>metadata|rival_metadata|error)_(?P<call>\d\w*?)(?:_try(?P<attempt>\d+))?\.json")
_CUT_OFF = frozenset({"timeout", "connection_error"})  # a model may have answered, and nobody was there to hear it
_NOBODY_KNOWS = (ValueError, KeyError, TypeError)  # what reading a damaged record raises


@dataclass(frozen=True)
class CallCost:
    """One request that was paid for, or may have been.

    ``fate``: *answered*; *failed* with a bill; *unanswered*, cut off after it was sent, so that a vendor may bill it;
    *in_doubt*, its process died before anything was archived. ``worst_usd`` is what one of the latter two may have
    cost, ``ended_at`` when the answer was there. Unknown is None.

    Session and experiment go by their full names, ``MVA/experiment_3/session_…``. What drafted a framework has the
    purpose *draft*; in place of the session it names its account, ``MVA/experiment_3/framework_draft``, and where the
    framework lies in no experiment, its project is named as the experiment.
    """

    session: str
    experiment: str
    project: str
    model: str
    purpose: str
    at: datetime  # when it was sent
    fate: Fate
    usage: Usage = NO_USAGE
    cost_usd: float | None = None
    worst_usd: float | None = None
    ended_at: datetime | None = None

    @property
    def day(self) -> date:
        """Return the day on which it was sent, in UTC."""
        return self.at.astimezone(UTC).date()


@dataclass(frozen=True)
class _Origin:
    """Calls in one store, and what their records leave open.

    ``since`` stands for the time of a call that is not known any more, ``request`` puts a call together as it was
    asked, to tell what it may have cost; ``purpose`` is None where the calls' names tell it.
    """

    store: Store
    session: str
    experiment: str
    project: str
    since: datetime
    request: Callable[[Call, str], ModelRequest | None]
    purpose: str | None = None


@dataclass(frozen=True)
class Costs:
    """What a group of calls took. ``calls`` were answered or billed; of these ``unpriced`` have no known cost.

    ``cost_usd`` is None where no call has a known cost, tokens are where no vendor counted them. Not in it: calls
    ``in_doubt``, which may have cost ``in_doubt_usd`` (those whose price is known, None: of none is), and
    ``unanswered`` ones, which may have cost ``unanswered_usd``.
    """

    group: tuple[str, ...]
    calls: int
    prompt_tokens: int | None
    completion_tokens: int | None
    cached_tokens: int | None
    reasoning_tokens: int | None
    cost_usd: float | None
    unpriced: int
    in_doubt: int
    in_doubt_usd: float | None
    unanswered: int
    unanswered_usd: float | None = 0.0

    @property
    def perhaps_usd(self) -> float:
        """The worst case of the calls that may have been billed unseen: in doubt, or cut off."""
        return (self.in_doubt_usd or 0.0) + (self.unanswered_usd or 0.0)

    @property
    def spent_usd(self) -> float:
        """What counts against a budget: the known costs, and the worst case of what may have been billed unseen."""
        return (self.cost_usd or 0.0) + self.perhaps_usd


def costs_by(calls: Iterable[CallCost], keys: Sequence[Key]) -> list[Costs]:
    """Return the sums of each group of calls that agree in the keys, in the order of their values."""
    groups: dict[tuple[str, ...], list[CallCost]] = defaultdict(list)
    for call in calls:
        groups[tuple(str(getattr(call, key)) for key in keys)].append(call)
    return [add_up(members, group) for group, members in sorted(groups.items())]


def add_up(calls: Iterable[CallCost], group: tuple[str, ...] = ()) -> Costs:
    """Return the sums over all the calls."""
    calls = list(calls)
    paid = [call for call in calls if call.fate in ("answered", "failed")]
    known = [call.cost_usd for call in paid if call.cost_usd is not None]
    in_doubt, in_doubt_usd = _at_worst(calls, "in_doubt")
    unanswered, unanswered_usd = _at_worst(calls, "unanswered")
    return Costs(
        group=group,
        calls=len(paid),
        prompt_tokens=_known_sum(call.usage.prompt_tokens for call in paid),
        completion_tokens=_known_sum(call.usage.completion_tokens for call in paid),
        cached_tokens=_known_sum(call.usage.cached_tokens for call in paid),
        reasoning_tokens=_known_sum(call.usage.reasoning_tokens for call in paid),
        cost_usd=fsum(known) if known else None,
        unpriced=len(paid) - len(known),
        in_doubt=in_doubt,
        in_doubt_usd=in_doubt_usd,
        unanswered=unanswered,
        unanswered_usd=unanswered_usd,
    )


def spent_by_session(projects_dir: Path, project: str) -> dict[str, float]:
    """Return what each session of a project has spent in USD, by workflow id; see ``Costs.spent_usd``.

    What was asked again of a session has names of its own below that one's: ``repeat_costs``; so have drafts of
    frameworks, below the experiment's or the project's: ``draft_costs``.
    """
    models, living = models_of(projects_dir), onlooker(projects_dir)
    spent: dict[str, float] = {}
    for session in sessions_of(projects_dir, project):
        spent[session.name] = add_up(session_costs(session, models, living)).spent_usd
        repeats = repeat_costs(session, models, living)
        spent |= {name: add_up(calls).spent_usd for name, calls in repeats.items()}
    drafts = draft_costs(projects_dir, project, models, living)
    return spent | {name: add_up(calls).spent_usd for name, calls in drafts.items()}


def spent_usd(projects_dir: Path, session: Session) -> float:
    """Return what a session has spent in USD; see ``Costs.spent_usd``."""
    return add_up(session_costs(session, models_of(projects_dir), onlooker(projects_dir))).spent_usd


def sessions_of(projects_dir: Path, project: str) -> list[Session]:
    """Return the sessions of a project, experiment by experiment, oldest first."""
    folders = sorted((projects_dir / project).glob("experiments/*/sessions"))
    return [session for folder in folders for session in sessions_in(folder)]


def models_of(projects_dir: Path) -> ModelsFile:
    """Return the models.yaml that holds for the projects folder. Raise ModelsFileInvalid."""
    return read_models_file(Settings(projects_dir=projects_dir).models_path)


def onlooker(projects_dir: Path) -> Onlooker:
    """Return who can tell which owners of calls live."""
    return Onlooker(projects_dir / HIDDEN / "owners")


def session_costs(session: Session, models: ModelsFile, living: Onlooker) -> list[CallCost]:
    """Return every call of a session that was, or may have been, paid for; calls in flight are not among them yet."""
    return _costs_in(_of_session(session), models, living)


def repeat_costs(session: Session, models: ModelsFile, living: Onlooker) -> dict[str, list[CallCost]]:
    """Return what each call that was asked again cost, by the name of its account, ``<session>/asked_again/017_1``;
    calls in flight are not among them yet. None of it is part of the session."""
    folder = asked_again_folder(session.folder)
    repeats = sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    costs = {f"{session.name}/{ASKED_AGAIN}/{one.name}": LocalStore(one) for one in repeats}
    return {name: _costs_in(_of_session(session, store), models, living) for name, store in costs.items()}


def draft_costs(projects_dir: Path, project: str, models: ModelsFile, living: Onlooker) -> dict[str, list[CallCost]]:
    """Return what drafts of frameworks in a project cost, by the name of their account,
    ``<project>/<experiment>/framework_draft``, or ``<project>/framework_draft`` of frameworks in no experiment; calls
    in flight are not among them yet. None of it is part of a session."""
    costs: dict[str, list[CallCost]] = defaultdict(list)
    for folder in draft_folders(projects_dir, project):
        origin = _of_draft(projects_dir, folder)
        costs[origin.session] += _costs_in(origin, models, living)
    return dict(costs)


def _of_session(session: Session, store: Store | None = None) -> _Origin:
    """Return where the calls of a session lie, or in a store beside it, what was asked again of it."""
    project, experiment, _ = session.name.split("/")
    return _Origin(
        store=session.store if store is None else store,
        session=session.name,
        experiment=f"{project}/{experiment}",
        project=project,
        since=session.facts.created_at,
        request=lambda call, model: _request(session, call, model),
    )


def _of_draft(projects_dir: Path, folder: Path) -> _Origin:
    project, experiment = place_of(projects_dir, folder.parent) or (folder.parent.name, None)
    place = project if experiment is None else f"{project}/{experiment}"
    store = LocalStore(folder)
    return _Origin(
        store=store,
        session=f"{place}/{ACCOUNT}",
        experiment=place,
        project=project,
        since=datetime.fromtimestamp(folder.stat().st_mtime, UTC),
        request=lambda call, model: _archived_request(store, call, model),
        purpose="draft",
    )


def _costs_in(origin: _Origin, models: ModelsFile, living: Onlooker) -> list[CallCost]:
    """Return the calls in a store that were or may have been paid."""
    store = origin.store
    intents = _intents(store)  # before the archive: what is answered meanwhile is then found there
    found = _paid_in(origin)
    doubted = [
        intent
        for intent in intents
        if (intent.call, intent.attempt) not in found
        and not store.exists(Call.named(intent.call).error(intent.attempt))
    ]
    known = (_at_its_worst(origin, name, cost, models) for (name, _), cost in found.items())
    return [*known, *(_doubted(origin, one, models) for one in doubted if not in_flight(one, living))]


def paid_calls(session: Session) -> dict[tuple[str, int], CallCost]:
    """Return every call that the session's archive holds a bill of, or could: by its name and attempt."""
    return _paid_in(_of_session(session))


def recorded_cost(session: Session, name: str) -> dict[tuple[str, int], CallCost]:
    """Return what one file of the archive says of a call's cost, by the call's name and attempt; {} if nothing."""
    return _recorded(_of_session(session), name)


def _paid_in(origin: _Origin) -> dict[tuple[str, int], CallCost]:
    found: dict[tuple[str, int], CallCost] = {}
    for name in origin.store.names(layout.ARCHIVE):
        found |= _recorded(origin, name)
    return found


def _recorded(origin: _Origin, name: str) -> dict[tuple[str, int], CallCost]:
    record = _RECORD.fullmatch(name)
    if record is None:
        return {}
    return _failed(origin, record) if record["kind"] == "error" else _answered(origin, record)


def is_cut_off(error: Mapping[str, Any]) -> bool:
    """Return whether a failed call's record tells of one cut off after it was sent: a vendor may bill it unseen."""
    return error["error_class"] in _CUT_OFF and bool(error.get("sent", True)) and not _is_billed(error)


def _at_worst(calls: Iterable[CallCost], fate: Fate) -> tuple[int, float | None]:
    """Return how many calls came to that, and what those of a known price may have cost; None: no price is known."""
    found = [call.worst_usd for call in calls if call.fate == fate]
    known = [usd for usd in found if usd is not None]
    return len(found), fsum(known) if known or not found else None


def _worst_usd_of(origin: _Origin, call: str, model: str, models: ModelsFile) -> float | None:
    """Return what a call may have cost at worst, its prompt built anew; None where that cannot be known."""
    try:
        request = origin.request(Call.named(call), model)
    except (SnapshotDamaged, InvalidDefinition, ArchiveDamaged, LookupError, ValueError):
        return None
    if request is None:
        return None
    facts = facts_of(model, models.rules(model))
    return worst_case_usd(facts, prompt_tokens(request), request.parameters.get("max_tokens"))


def _known_sum(counts: Iterable[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if known else None


def _answered(origin: _Origin, named: re.Match[str]) -> dict[tuple[str, int], CallCost]:
    try:
        record = ArchivedCall.model_validate_json(origin.store.get(f"{layout.ARCHIVE}/{named.string}"))
    except ValidationError:  # it was paid for all the same, and nobody can say how much
        return _unreadable(origin, named, "answered")
    if record.reused_from is not None or record.recovered_from is not None:
        return {}  # paid for by the session that it was taken over from, or by one of an older layout, long ago
    at = record.started_at or record.archived_at or origin.since
    cost = _cost(origin, record.model_requested, record.call, at, "answered")
    known = replace(cost, usage=record.usage, cost_usd=record.cost_usd, ended_at=record.archived_at)
    return {(record.call, record.attempt): known}


def _failed(origin: _Origin, named: re.Match[str]) -> dict[tuple[str, int], CallCost]:
    """Return a failed call if it was billed, or may have been: a refusal to serve it is not."""
    try:
        error = json.loads(origin.store.get(f"{layout.ARCHIVE}/{named.string}"))
        billed = _is_billed(error)
        if not billed and not is_cut_off(error):
            return {}
        at = datetime.fromisoformat(error.get("started_at") or error["sent_at"])
        cost = _cost(origin, error["model"], error["call"], at, "failed" if billed else "unanswered")
        usage = Usage.model_validate(error.get("usage") or {})
        known = replace(cost, usage=usage, cost_usd=error.get("cost_usd"))
        return {(error["call"], error["attempt"]): known}
    except _NOBODY_KNOWS:
        return _unreadable(origin, named, "unanswered")


def _is_billed(error: Mapping[str, Any]) -> bool:
    status = error["status"]
    answered = status is not None and status < 300
    return error.get("cost_usd") is not None or error.get("usage") is not None or answered


def _unreadable(origin: _Origin, named: re.Match[str], fate: Fate) -> dict[tuple[str, int], CallCost]:
    """Return a call of which only the name is left, and the request if there is one."""
    call = named["call"]
    cost = _cost(origin, _model_asked(origin.store, call), call, origin.since, fate)
    return {(call, int(named["attempt"] or 0)): cost}


def _doubted(origin: _Origin, intent: Intent, models: ModelsFile) -> CallCost:
    cost = _cost(origin, intent.model, intent.call, intent.sent_at, "in_doubt")
    return _at_its_worst(origin, intent.call, cost, models)


def _at_its_worst(origin: _Origin, call: str, cost: CallCost, models: ModelsFile) -> CallCost:
    """Return the call with what it may have cost, if it may have been billed unseen."""
    if cost.fate not in ("in_doubt", "unanswered"):
        return cost
    return replace(cost, worst_usd=_worst_usd_of(origin, call, cost.model, models))


def _cost(origin: _Origin, model: str, call: str, at: datetime, fate: Fate) -> CallCost:
    return CallCost(
        session=origin.session,
        experiment=origin.experiment,
        project=origin.project,
        model=model,
        purpose=origin.purpose or Call.named(call).purpose,
        at=at,
        fate=fate,
    )


def _intents(store: Store) -> list[Intent]:
    archive = Archive(store)
    found = (archive.read_intent(f"{layout.INTENTS}/{name}") for name in store.names(layout.INTENTS))
    return [intent for intent in found if intent is not None]


def in_flight(intent: Intent, living: Onlooker) -> bool:
    """Return whether the call's answer may still come; what it costs is then reserved, and not spent."""
    return intent.deadline > datetime.now(UTC) and living.may_live(intent.owner)


def _model_asked(store: Store, call: str) -> str:
    try:
        return str(read_question(store, Call.named(call).request)["model"])
    except _NOBODY_KNOWS:
        return UNKNOWN


def _archived_request(store: Store, call: Call, model: str) -> ModelRequest | None:
    """Return a call's request as it lies in the archive; None where a text of it is not what was sent."""
    asked = read_conversation(Archive(store), call, answered=False)
    if any(turn.state != "as sent" for turn in asked.messages):
        return None
    messages = tuple(Message.model_validate({"role": turn.role, "content": turn.text}) for turn in asked.messages)
    return ModelRequest(model=model, messages=messages, parameters=asked.parameters or {})


def _request(session: Session, call: Call, model: str) -> ModelRequest | None:
    """Return a call's request as it was put, but for a correction; None where it cannot be built any more."""
    definition, timeout_s = session.definition, session.facts.call_timeout_s
    if call.purpose == "analysis":
        analysis = session.analysis(call.number)
        return analysis_request(definition, analysis, ask=call.ask, correction=None, timeout_s=timeout_s, model=model)
    if call.purpose == "synthesis":
        return _prose_request(session, model)
    answer = session.archive.look_up(Call(call.number, "analysis", call.ask, fallback=call.source))
    if call.purpose == "extraction" and answer is not None:
        return extraction_request(definition.framework, answer[1], model, problem=None, timeout_s=timeout_s)
    return None


def _prose_request(session: Session, model: str) -> ModelRequest | None:
    """Return the request for prose about the tables as they are now, which others hardly differ from in length."""
    if not session.facts.synthesis_models or not session.store.exists(layout.BRIEF):
        return None
    brief, parameters = session.store.get(layout.BRIEF).decode(), session.definition.experiment.settings_of(model)
    return interpretation_request(
        brief, model, parameters=parameters.parameters(), problem=None, timeout_s=session.facts.call_timeout_s
    )
