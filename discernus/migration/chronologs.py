"""Project chronologs: signed events of all sessions in one file, some twice, some of tests, some with the only copy of
an answer.
"""

from __future__ import annotations

import hmac
import json
import re
from collections import defaultdict
from collections.abc import Mapping
from datetime import timedelta
from hashlib import sha256
from typing import Any

from discernus.migration.found import Found, FoundCall, Mention, Place
from discernus.migration.names import session_at, session_name
from discernus.migration.source import Source
from discernus.migration.values import json_lines, moment, text_of
from discernus.migration.wrapped import Agent, Answer, agent_of, agents_in, calls_in, run_named

DEFAULT_KEY = b"default_dev_key"  # published with the program that wrote the signatures: it proves no author
_TEST = re.compile(r"(?:^|[_\W])(?:test|tests|pytest|mock|dummy)(?:[_\W]|$)", re.IGNORECASE)
_COMMAND = "PROJECT_INITIALIZATION"
JUST_BEFORE = timedelta(seconds=30)  # a command is taken to have begun what begins so soon after it
_LONGEST_PATH = 300  # characters
_LAST_RESORT = ("unknown", "unknown_session", "")

Told = dict[str, Any]


def is_chronolog(first: Mapping[str, Any]) -> bool:
    """Return whether a file's first line is a chronolog's event."""
    return {"event", "session_id"} <= first.keys()


class Chronologs:
    """The chronologs of a source, read one after the other; an event that another one has too counts once."""

    def __init__(self, source: Source, found: Found) -> None:
        self.source, self.found = source, found
        self.seen: dict[str, Place] = {}
        self.agents: dict[tuple[str, str], Agent] = defaultdict(Agent)
        self.answers: list[tuple[str, FoundCall]] = []  # by the session's name
        self.commands: list[tuple[str, str]] = []  # what was started, with when, in the order of time
        self.paths: dict[str, set[str]] = defaultdict(set)  # the files and folders that a session's events name
        self.software: dict[str, dict[str, str]] = {}  # the versions that it names, by session

    def read(self, name: str) -> None:
        for place, event in json_lines(self.source, name, self.found):
            if is_chronolog(event):
                self._event(place, event)
            else:
                self.found.remark(place, "not understood", "a line of a chronolog that is no event")

    def _event(self, place: Place, event: Told) -> None:
        counts = self.found.counts
        counts["events"] += 1
        verdict = signature(event)
        counts[f"signatures {verdict}"] += 1
        if verdict != "valid":
            self.found.remark(place, "signature", f"{verdict}: {event['event']} of '{event['session_id']}'")
        identity = text_of(event.get("event_id"))
        if identity is not None and identity in self.seen:
            counts["duplicate events"] += 1
            self.found.remark(place, "duplicate event", f"the same as {self.seen[identity]}")
            return
        if identity is not None:
            self.seen[identity] = place
        session = self._mention(place, event)
        written = event.get("data")
        data: Mapping[str, Any] = written if isinstance(written, Mapping) else {}
        self._learn(place, session, data, str(event.get("timestamp") or ""))
        for holder, answer in calls_in(data):
            counts["answers"] += 1
            self.found.mentions[str(event["session_id"])].answers += 1
            self.answers.append((session, self._call(place, event, session, holder, answer)))

    def join_commands(self) -> None:
        """Join each command that was logged under an id of its own to the session that it began, just after it."""
        started = [one for one in self.found.mentions.values() if one.events["WORKFLOW_EXECUTION_STARTED"]]
        for command in self.found.mentions.values():
            if set(command.events) != {_COMMAND} or (at := moment(command.first)) is None:
                continue
            after = [
                (began[0], one)
                for one in started
                if one.place.file == command.place.file and (began := moment(one.first)) is not None
            ]
            soon = [(began, one) for began, one in after if timedelta(0) <= began - at[0] < JUST_BEFORE]
            if soon:
                session = min(soon, key=lambda pair: pair[0])[1]
                before = session.begun_by
                if before is None or before.first < command.first:
                    session.begun_by = command

    def _mention(self, place: Place, event: Told) -> str:
        """Note that an event is of a session, and return the session's name."""
        written, at = str(event["session_id"]), str(event.get("timestamp") or "")
        mention = self.found.mentions.get(written)
        if mention is None:
            began = moment(at)
            name = session_at(began[0]) if written in _LAST_RESORT and began else session_name(written)
            mention = self.found.mentions[written] = Mention(written, name, place)
        mention.events[str(event["event"])] += 1
        mention.first = min(mention.first or at, at)
        mention.last = max(mention.last, at)
        return mention.session

    def _learn(self, place: Place, session: str, data: Mapping[str, Any], at: str) -> None:
        self.paths[session] |= {one for one in data.values() if isinstance(one, str) and "/" in one[:_LONGEST_PATH]}
        for agent, known in agents_in(data):
            self.agents[session, agent] = known.with_what(self.agents[session, agent])
        if error := text_of(data.get("error")):
            for mention in self.found.mentions.values():
                if mention.session == session and mention.events["WORKFLOW_EXECUTION_ERROR"]:
                    mention.error = error[:200]
        if command := text_of(data.get("command")):
            self.commands.append((at, command))
            if _TEST.search(command):
                self.found.counts["sessions of tests"] += 1
                self.found.remark(place, "test", f"{session} was started by a test, by its command")
        environment, state = data.get("environment"), data.get("system_state")
        for holder in (environment, state):
            if isinstance(holder, Mapping):
                versions = {key: str(value) for key, value in holder.items() if key.endswith("_version") and value}
                self.software[session] = {**self.software.get(session, {}), **versions}

    def _call(self, place: Place, event: Told, session: str, holder: Mapping[str, Any], answer: Answer) -> FoundCall:
        agent = text_of(holder.get("agent_id"))
        known = agent_of(holder)
        if agent is not None:
            known = known.with_what(self.agents[session, agent])
        at, prompt = moment(event.get("timestamp")), text_of(holder.get("prompt"))
        told = {"event": event["event"], **answer.told, **({"form": answer.how} if answer.how else {})}
        return FoundCall(
            place=place,
            kind="failure" if answer.error is not None else "other",
            answer=answer.error if answer.error is not None else answer.text,
            prompt=(("user", prompt),) if prompt else (),
            answered_at=at[0] if at else None,
            agent=agent,
            document=known.document,
            model=known.model,
            run=known.run or run_named(agent),
            local_time=at is not None and not at[1],
            told=told,
        )


def signature(event: Mapping[str, Any]) -> str:
    """Return whether an event's signature is *valid* under the default key, *invalid*, or *absent*."""
    signed = {key: value for key, value in event.items() if key != "signature"}
    written = event.get("signature")
    if not isinstance(written, str) or not written:
        return "absent"
    for ascii_only in (True, False):
        message = json.dumps(signed, sort_keys=True, separators=(",", ":"), ensure_ascii=ascii_only)
        data = message.encode("utf-8", "surrogatepass")
        if hmac.compare_digest(hmac.new(DEFAULT_KEY, data, sha256).hexdigest(), written):
            return "valid"
    return "invalid"
