"""Answers in files of no fixed layout: states that were saved between steps, logs of interactions, exported results."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from discernus.migration.found import Found, FoundCall, FoundSession, Place
from discernus.migration.source import Source
from discernus.migration.values import json_lines, moment, text_of
from discernus.migration.wrapped import Answer, agent_of, calls_in, run_named

_LARGEST = 200_000_000  # bytes


def read_loose(source: Source, name: str, found: Found) -> list[FoundCall]:
    """Return the calls whose answers a JSON file or a file of JSON lines holds; what holds none is listed."""
    if name.endswith(".jsonl"):
        values: list[tuple[Place, Any]] = list(json_lines(source, name, found))
    else:
        values = [(Place(name), value) for value in _json(source, name, found)]
    calls = []
    for place, value in values:
        held = [_call(place, holder, answer) for holder, answer in calls_in(value)]
        if not held:
            what = "a line of a log of no known kind" if place.line else "a file of no known kind"
            found.remark(place, "not understood", f"{what}; it holds no answer")
        calls += held
    found.counts["answers"] += len(calls)
    return calls


def add_call(session: FoundSession, call: FoundCall, found: Found) -> None:
    """Add a call, unless the session has its answer already from another file, to which it may add what it knows."""
    for index, one in enumerate(session.calls):
        if one.answer == call.answer and one.kind == call.kind and (one.agent or call.agent) == call.agent:
            found.counts["duplicate answers"] += 1
            found.remark(call.place, "duplicate answer", f"{session.id} has it already")
            session.calls[index] = replace(
                one,
                agent=one.agent or call.agent,
                document=one.document or call.document,
                model=one.model or call.model,
                run=one.run or call.run,
                answered_at=one.answered_at or call.answered_at,
                local_time=one.local_time if one.answered_at else call.local_time,
                prompt=one.prompt or call.prompt,
            )
            return
    session.calls.append(call)


def _json(source: Source, name: str, found: Found) -> list[Any]:
    """Return what a JSON file says, alone in a list; [] where it cannot be read."""
    data = source.data(name)
    if len(data) > _LARGEST:
        found.remark(Place(name), "not understood", f"larger than {_LARGEST // 1_000_000} MB")
        return []
    try:
        return [json.loads(data)]
    except (ValueError, RecursionError) as error:
        found.remark(Place(name), "unreadable file", f"no JSON: {error}")
        return []


def _call(place: Place, holder: Mapping[str, Any], answer: Answer) -> FoundCall:
    known, agent, prompt = agent_of(holder), text_of(holder.get("agent_id")), text_of(holder.get("prompt"))
    at = moment(holder.get("timestamp"))
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
        told={**answer.told, **({"form": answer.how} if answer.how else {})},
    )
