"""Answers as logs held them: plain, inside a mapping written by Python's repr, parsed and no longer as text, cut."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from discernus.migration.values import literal, text_of

_INNER = ("raw_response", "raw_analysis_response", "llm_response", "response", "content", "analysis_response")
_ALONE = ("raw_response", "raw_analysis_response", "llm_response", "analysis_response")  # an answer, whoever has it
_PARSED = ("json_output", "parsed_response")
_WHOSE = frozenset({"agent_id", "model", "model_name", "run_num", "corpus_file", "prompt"})
_QUOTED = re.compile(r"\bRaw response: (?P<answer>.+)", re.DOTALL)
_CUTS = frozenset({500, 5000})  # characters after which older programs cut what they logged
_RUN = re.compile(r"_run(?P<run>\d+)(?:_|$)")


@dataclass(frozen=True)
class Answer:
    """An answer taken out of what held it; ``error`` is what stands there in its place. ``told`` is the rest."""

    text: str
    error: str | None = None
    how: str = ""
    told: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Agent:
    """What is known of the one that asked: the document, model and run that it was made for."""

    document: str | None = None
    model: str | None = None
    run: int | None = None

    def with_what(self, other: Agent) -> Agent:
        """Return this with what only the other knows."""
        return Agent(self.document or other.document, self.model or other.model, self.run or other.run)


def answer_in(written: Any) -> Answer | None:
    """Return the answer that a field holds; None where it holds nothing."""
    if isinstance(written, str):
        text = text_of(written)
        if text is None or text.strip() == "None":
            return None
        value, notation = _value(text)
        if not isinstance(value, Mapping | list):
            return Answer(text, told=_cut(text))
    elif isinstance(written, Mapping | list) and written:
        text, value, notation = "", written, "object"
    else:
        return None
    if isinstance(value, Mapping):
        for key in _INNER:
            if inner := text_of(value.get(key)):
                rest = {name: one for name, one in value.items() if name != key}
                return Answer(inner, how=f"taken out of '{key}'", told={**rest, **_cut(inner)})
        if value.get("error") and not set(value) - {"error", "success", "status", "agent_id", "model_name", "run_num"}:
            return Answer(text or json.dumps(value), error=str(value["error"]))
    if notation == "json":
        return Answer(text, told=_cut(text))
    try:
        anew = json.dumps(value, ensure_ascii=False, indent=1, allow_nan=False)
    except (TypeError, ValueError):
        return Answer(text or repr(value), how="a Python literal that is no JSON, as it stood")
    return Answer(anew, how="kept only as parsed; written anew as JSON, its words and numbers unchanged")


def calls_in(value: Any) -> Iterator[tuple[Mapping[str, Any], Answer]]:
    """Yield every mapping within a value that holds an answer, with the answer; none is looked for inside of those."""
    if isinstance(value, Mapping):
        answer = _held_by(value)
        if answer is not None:
            yield value, answer
            return
        for one in value.values():
            yield from calls_in(one)
    elif isinstance(value, list):
        for one in value:
            yield from calls_in(one)


def agents_in(value: Any) -> Iterator[tuple[str, Agent]]:
    """Yield every agent that a value names together with what it was made for."""
    if isinstance(value, Mapping):
        name = text_of(value.get("agent_id"))
        known = agent_of(value)
        if name is not None and known != Agent():
            yield name, known
        for one in value.values():
            yield from agents_in(one)
    elif isinstance(value, list):
        for one in value:
            yield from agents_in(one)


def agent_of(value: Mapping[str, Any]) -> Agent:
    """Return what a mapping says outright of document, model and run."""
    document = text_of(value.get("corpus_file")) or text_of(value.get("file_name"))
    run = value.get("run_num", value.get("run"))
    return Agent(
        PurePosixPath(document.replace("\\", "/")).name if document else None,
        text_of(value.get("model_name")) or text_of(value.get("model")),
        run if isinstance(run, int) and not isinstance(run, bool) and run > 0 else None,
    )


def run_named(agent: str | None) -> int | None:
    """Return the run that an agent's name states: ``analysis_agent_run2_…``."""
    named = _RUN.search(agent or "")
    return int(named["run"]) if named and int(named["run"]) > 0 else None


def _held_by(value: Mapping[str, Any]) -> Answer | None:
    keys = _INNER if _WHOSE & set(value) else _ALONE
    for key in keys:
        if answer := answer_in(value.get(key)):
            return answer
    if _WHOSE & set(value):
        for key in _PARSED:
            if isinstance(value.get(key), Mapping) and (answer := answer_in(value[key])):
                return answer
        quoted = _QUOTED.search(value["error"]) if isinstance(value.get("error"), str) else None
        if quoted:
            return Answer(quoted["answer"], how="quoted in an error's text, where it was cut", told={"cut": True})
    return None


def _value(text: str) -> tuple[Any, str]:
    """Return what a text says as JSON or as a Python literal, and which; (None, "") for other texts."""
    if text[:1] not in ("{", "["):
        return None, ""
    try:
        return json.loads(text), "json"
    except (ValueError, RecursionError):
        return literal(text), "literal"


def _cut(text: str) -> dict[str, Any]:
    whole = len(text.removesuffix("..."))
    return {"cut": True} if whole in _CUTS else {}
