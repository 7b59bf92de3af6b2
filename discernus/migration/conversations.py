"""Conversation logs: one line for each prompt, answer and event of a session, in the order of time.

Their clock is mostly the author's own, its zone unwritten. What events tell in both local and universal time says what
to add; a log without such an event goes by those of its folder. Where these have none either, times stay as the clock
showed them, and that is said.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import PurePosixPath
from typing import Any

from discernus.migration.found import Found, FoundCall, FoundSession, Place, Zone
from discernus.migration.names import session_name
from discernus.migration.source import Source
from discernus.migration.values import json_lines, literal, moment, shift, text_of
from discernus.migration.wrapped import Agent, Answer, agent_of, agents_in, answer_in, run_named

Line = tuple[Place, dict[str, Any]]

_EVENT = re.compile(r"(?P<name>[A-Z][A-Z_]+): (?P<facts>[{\[].*)", re.DOTALL)
_CONVERSATION = re.compile(r"conversation_(\d{8}_\d{6})")
_ASKED, _ANSWERED = "llm_request", "llm_response"


def is_conversation(first: Mapping[str, Any]) -> bool:
    """Return whether a log's first line is one of a conversation."""
    return {"speaker", "message"} <= first.keys()


def read_conversations(source: Source, names: Iterable[str], found: Found) -> None:
    """Read logs, each into the session that it is of, once all have told which zone they prove."""
    logs = {name: list(json_lines(source, name, found)) for name in names}
    for name, lines in logs.items():
        to_utc, began = _shift(lines), _beginning(lines)
        if to_utc is not None and began is not None:
            found.zones.append(Zone(name.rpartition("/")[0], began, to_utc))
    for name, lines in logs.items():
        if lines:
            _read_conversation(name, lines, found)
        else:
            found.remark(Place(name), "not understood", "a conversation log without a readable line")


def _read_conversation(name: str, lines: list[Line], found: Found) -> None:
    folder = name.rpartition("/")[0]
    session, began, own = found.session(_session_of(name, lines), folder), _beginning(lines), _shift(lines)
    session.files.append(name)
    others = found.zone_near(folder, began) if own is None and began is not None else None
    session.zone = others
    _Reading(session, found, own if own is not None else others, by_others=others is not None).read(lines)


def _beginning(lines: list[Line]) -> datetime | None:
    """Return the first time of a log as its own clock shows it."""
    return next((at[0] for _, line in lines if (at := moment(line.get("timestamp"))) is not None), None)


class _Reading:
    """One log while it is read: the prompts that wait for their answers, and what is known of each agent."""

    def __init__(self, session: FoundSession, found: Found, to_utc: timedelta | None, *, by_others: bool) -> None:
        self.session, self.found, self.to_utc, self.by_others = session, found, to_utc, by_others
        self.waiting: dict[str, list[tuple[Place, str, datetime | None]]] = defaultdict(list)
        self.agents: dict[str, Agent] = {}

    def read(self, lines: list[Line]) -> None:
        for place, line in lines:
            metadata = line.get("metadata")
            self._line(place, line, metadata if isinstance(metadata, Mapping) else {})
        for agent, prompts in sorted(self.waiting.items()):
            for place, _, _ in prompts:
                self.found.counts["requests without an answer"] += 1
                self.found.remark(place, "no answer", f"{agent} was asked, and no answer is recorded")

    def _line(self, place: Place, line: dict[str, Any], metadata: Mapping[str, Any]) -> None:
        at, kind, speaker = self._moment(line.get("timestamp")), metadata.get("type"), str(line.get("speaker"))
        if at is not None and (self.session.began_at is None or at < self.session.began_at):
            self.session.began_at = at
        agent = text_of(metadata.get("agent_id")) or speaker
        if kind == _ASKED:
            self.found.counts["requests"] += 1
            self.waiting[agent].append((place, str(line.get("message") or ""), at))
        elif kind == _ANSWERED or (kind is None and speaker != "system"):
            self._answer(place, line, metadata, agent, at)
        else:
            self._event(line, metadata, kind)

    def _answer(
        self, place: Place, line: dict[str, Any], metadata: Mapping[str, Any], agent: str, at: datetime | None
    ) -> None:
        asked = self.waiting[agent].pop(0) if self.waiting[agent] else None
        answer = answer_in(line.get("message"))
        if answer is None:
            self.found.counts["answers that say nothing"] += 1
            self.found.remark(place, "no answer", f"{agent}: its message says nothing")
            return
        self.found.counts["answers"] += 1
        known = agent_of(metadata).with_what(agent_of(answer.told)).with_what(self.agents.get(agent, Agent()))
        call = _call(place, agent, answer, known, asked, at, dict(metadata))
        zoneless = (moment(line.get("timestamp")) or (None, True))[1] is False
        local, by_others = zoneless and self.to_utc is None, zoneless and self.by_others
        self.session.calls.append(replace(call, local_time=local, zone_by_others=by_others))

    def _event(self, line: dict[str, Any], metadata: Mapping[str, Any], kind: object) -> None:
        """Count an event, and learn from it; many stand there twice, as themselves and as their echo."""
        self.found.counts["echoes of events" if kind == "redis_event" else "events"] += 1
        said = _EVENT.match(str(line.get("message") or ""))
        facts = literal(said["facts"]) if said else None
        for agent, known in agents_in([facts, metadata.get("event_data")]):
            self.agents[agent] = known.with_what(self.agents.get(agent, Agent()))
        if isinstance(facts, Mapping) and (folder := text_of(facts.get("results_directory"))):
            self.session.results = PurePosixPath(folder.replace("\\", "/")).name

    def _moment(self, written: Any) -> datetime | None:
        at = moment(written)
        if at is None:
            return None
        if at[1]:
            return at[0]
        if self.to_utc is None:
            self.session.local_time = True
            return at[0]
        return at[0] + self.to_utc


def _call(
    place: Place,
    agent: str,
    answer: Answer,
    known: Agent,
    asked: tuple[Place, str, datetime | None] | None,
    at: datetime | None,
    metadata: dict[str, Any],
) -> FoundCall:
    told = {**answer.told, **({"form": answer.how} if answer.how else {}), "metadata": metadata}
    if asked is not None:
        told["prompt_at"] = str(asked[0])
    return FoundCall(
        place=place,
        kind="failure" if answer.error is not None else "other",
        answer=answer.error if answer.error is not None else answer.text,
        prompt=(("user", asked[1]),) if asked is not None and asked[1] else (),
        sent_at=asked[2] if asked is not None else None,
        answered_at=at,
        agent=agent,
        document=known.document,
        model=known.model,
        run=known.run or run_named(agent),
        told=told,
    )


def _session_of(name: str, lines: list[Line]) -> str:
    """Return the session that a log's events name, if they name one; else the log's own beginning."""
    named = {
        session_name(one)
        for _, line in lines
        for holder in (line.get("metadata"), (line.get("metadata") or {}).get("event_data"))
        if isinstance(holder, Mapping) and (one := text_of(holder.get("session_id")))
    }
    if len(named) == 1:
        return named.pop()
    began = _CONVERSATION.search(name.rpartition("/")[2]) or _CONVERSATION.search(
        str(lines[0][1].get("conversation_id"))
    )
    return f"session_{began[1]}" if began else name.rpartition("/")[2].removesuffix(".jsonl")


def _shift(lines: list[Line]) -> timedelta | None:
    """Return what makes this log's times universal, from the echoes, whose own times are."""
    pairs = []
    for _, line in lines:
        metadata = line.get("metadata")
        if isinstance(metadata, Mapping) and isinstance(metadata.get("event_data"), Mapping):
            pairs.append((str(line.get("timestamp")), str(metadata["event_data"].get("timestamp"))))
    return shift(pairs)
