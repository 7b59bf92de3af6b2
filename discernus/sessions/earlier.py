"""What earlier sessions tell of a model's calls: how long its answers were, and how its vendor counts our prompts.

Read from a sample of the newest, so that it takes no longer the more has been archived.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from discernus.experiments.freezing import MANIFEST
from discernus.llm.calls import Message, ModelRequest, Purpose
from discernus.llm.catalogue import prompt_tokens
from discernus.sessions import layout
from discernus.sessions.archive import ArchivedCall
from discernus.sessions.layout import Call
from discernus.sessions.opening import sessions_in
from discernus.sessions.questions import read_question
from discernus.sessions.session import Session, SessionUnreadable

SESSIONS = 40  # the newest that asked one of the models
CALLS = 400  # of one session, evenly over its archive
COMPARED = 20  # prompts of one session whose tokens are counted again, to compare them with the vendor's count

LEAST_COUNTED, MOST_COUNTED = 0.4, 2.5  # tokens for one of ours: beyond, it was not this prompt that was counted

Key = tuple[str, Purpose]
T = TypeVar("T")


@dataclass(frozen=True)
class Earlier:
    """A model's earlier calls of one purpose: the tokens of their answers, ascending, reasoning included.

    ``same_framework``: they were all asked under the framework in question. ``counted`` is how many tokens the vendor
    counts for one of ours, None where that is not known; ``cached`` the share of the prompts that its cache served.
    """

    answer_tokens: tuple[int, ...]
    same_framework: bool
    counted: float | None
    cached: float


@dataclass(frozen=True)
class Followed:
    """How many of the analyses ``asked`` led to another call of one kind, as a share of them."""

    asked: int
    share: float


@dataclass(frozen=True)
class History:
    """All that earlier sessions tell; what they do not tell is absent, or None.

    Under the framework in question, ``again`` is of questions put once more after an unusable answer, ``second`` of
    answers that a second model had to read.
    """

    calls: dict[Key, Earlier] = field(default_factory=dict)
    again: Followed | None = None
    second: Followed | None = None


@dataclass
class _Counts:
    """The analyses under one framework, those that a second model might have read, and the calls that followed."""

    asked: int = 0
    again: int = 0
    readable: int = 0
    second: int = 0

    def add(self, names: Sequence[str], *, has_reader: bool) -> None:
        calls = {
            Call.named(name.removeprefix("metadata_").removesuffix(".json").partition("_try")[0]) for name in names
        }
        asked = sum(call.purpose == "analysis" and call.ask == 0 for call in calls)
        self.asked += asked
        self.again += sum(call.purpose == "analysis" and call.ask > 0 for call in calls)
        if has_reader:
            self.readable += asked
            self.second += sum(call.purpose == "extraction" for call in calls)


@dataclass
class _Sums:
    """What has been found of one model's calls of one purpose."""

    answers: list[int] = field(default_factory=list)
    prompt: int = 0
    cached: int = 0
    theirs: int = 0
    ours: int = 0

    def add(self, session: Session, calls: Sequence[ArchivedCall]) -> None:
        self.answers += [call.completion_tokens for call in calls if call.completion_tokens is not None]
        self.prompt += sum(call.prompt_tokens or 0 for call in calls)
        self.cached += sum(call.cached_tokens or 0 for call in calls)
        for call in _evenly([call for call in calls if call.prompt_tokens], COMPARED):
            ours = _our_count(session, call)
            if ours is not None:
                self.ours += ours
                self.theirs += call.prompt_tokens or 0

    def earlier(self, *, same_framework: bool) -> Earlier:
        return Earlier(
            answer_tokens=tuple(sorted(self.answers)),
            same_framework=same_framework,
            counted=self._counted(),
            cached=self.cached / self.prompt if self.prompt else 0.0,
        )

    def _counted(self) -> float | None:
        share = self.theirs / self.ours if self.ours else 0.0
        return share if LEAST_COUNTED <= share <= MOST_COUNTED else None


def read_history(projects_dir: Path, models: Collection[str], framework_sha256: str, *, enough: int) -> History:
    """Return what the newest sessions of all projects tell of the models.

    Where there are ``enough`` answers under this framework, these stand alone; else all there are.
    """
    same: dict[Key, _Sums] = {}
    every: dict[Key, _Sums] = {}
    counts = _Counts()
    for session in _newest(projects_dir, models):
        names = [name for name in session.store.names(layout.ARCHIVE) if name.startswith("metadata_")]
        manifest = _manifest(session)
        of_this = manifest.get("framework", {}).get("sha256") == framework_sha256
        for key, calls in _by_model(session, _evenly(names, CALLS), models).items():
            for sums in (every, same) if of_this else (every,):
                sums.setdefault(key, _Sums()).add(session, calls)
        if of_this:
            counts.add(names, has_reader=manifest.get("experiment", {}).get("extraction_model") is not None)
    known = {key: sums.earlier(same_framework=False) for key, sums in every.items() if len(sums.answers) >= enough}
    known |= {key: sums.earlier(same_framework=True) for key, sums in same.items() if len(sums.answers) >= enough}
    again = Followed(counts.asked, counts.again / counts.asked) if counts.asked >= enough else None
    second = Followed(counts.readable, counts.second / counts.readable) if counts.readable >= enough else None
    return History(known, again, second)


def _newest(projects_dir: Path, models: Collection[str]) -> Iterator[Session]:
    """Yield the newest sessions that asked one of the models, SESSIONS of them at most."""
    folders = projects_dir.glob("*/experiments/*/sessions")
    found = 0
    for session in sorted((one for folder in folders for one in sessions_in(folder)), key=_name, reverse=True):
        try:
            facts = session.facts
        except SessionUnreadable:  # whoever opens it says so
            continue
        if not set(models).isdisjoint({*facts.models, *facts.extraction_models}):
            found += 1
            yield session
        if found == SESSIONS:
            return


def _name(session: Session) -> str:
    return session.folder.name  # begins with the time it was opened


def _by_model(session: Session, names: Sequence[str], models: Collection[str]) -> dict[Key, list[ArchivedCall]]:
    found: dict[Key, list[ArchivedCall]] = {}
    for name in names:
        try:
            call = ArchivedCall.model_validate_json(session.store.get(f"{layout.ARCHIVE}/{name}"))
        except ValidationError:  # a damaged record tells nothing
            continue
        if call.model_requested in models:
            found.setdefault((call.model_requested, Call.named(call.call).purpose), []).append(call)
    return found


def _our_count(session: Session, call: ArchivedCall) -> int | None:
    """Return how many tokens we count for an archived call's prompt; None where its texts cannot be read any more."""
    try:
        request = read_question(session.store, Call.named(call.call).request)
        messages = tuple(
            Message(
                role=message["role"],
                content=session.store.get(layout.message(message["content_sha256"])).decode("utf-8"),
            )
            for message in request["messages"]
        )
    except (ValueError, LookupError, TypeError):
        return None
    return prompt_tokens(ModelRequest(model=call.model_requested, messages=messages))


def _manifest(session: Session) -> dict[str, Any]:
    try:
        content = json.loads(session.store.get(MANIFEST))
    except (ValueError, LookupError):
        return {}
    return content if isinstance(content, dict) else {}


def _evenly(values: Sequence[T], most: int) -> Sequence[T]:
    """Return at most so many of the values, evenly over all of them."""
    step = -(-len(values) // most) if values else 1
    return values[::step]
