"""Numbered archives: ``llm_archive/prompt_007.txt`` beside ``response_007.txt``, paired by number alone."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from discernus.migration.found import Found, FoundCall, FoundSession, Place
from discernus.migration.names import session_name
from discernus.migration.prompts import messages_of
from discernus.migration.source import Source
from discernus.migration.values import json_lines, moment, text_of

NUMBERED = re.compile(
    r"(?P<folder>(?:.*/)?(?P<session>[^/]+)/llm_archive)/(?P<kind>prompt|response)_(?P<number>\d+)\.txt"
)
_TOKENS = ("prompt_tokens", "completion_tokens")


def read_numbered(source: Source, folder: str, names: Iterable[str], found: Found) -> FoundSession:
    """Read one archive into its session; ``names`` are its prompts and responses."""
    session = found.session(session_name(folder.split("/")[-2]), folder.rpartition("/")[0])
    by_number: dict[int, dict[str, str]] = {}
    for name in names:
        parts = NUMBERED.fullmatch(name)
        assert parts is not None
        by_number.setdefault(int(parts["number"]), {})[parts["kind"]] = name
    told = _told(source, f"{folder}/metadata.jsonl", found)
    for number, files in sorted(by_number.items()):
        _pair(source, session, files, told.get(number, {}), found)
    return session


def _told(source: Source, name: str, found: Found) -> dict[int, dict[str, Any]]:
    """Return what the archive's own index says of each call; {} where it was not kept."""
    if name not in source.files:
        return {}
    lines = json_lines(source, name, found)
    return {int(line["call_number"]): line for _, line in lines if isinstance(line.get("call_number"), int)}


def _pair(source: Source, session: FoundSession, files: dict[str, str], told: dict[str, Any], found: Found) -> None:
    texts: dict[str, str] = {}
    for kind, name in files.items():
        try:
            texts[kind] = source.data(name).decode("utf-8")
        except UnicodeDecodeError as error:
            found.remark(Place(name), "not understood", f"it is not UTF-8 ({error.reason})")
    found.counts["requests"] += "prompt" in texts
    if "response" not in texts:
        if "prompt" in texts:
            found.counts["requests without an answer"] += 1
            found.remark(Place(files["prompt"]), "no answer", "there is no response of its number")
        return
    found.read |= {files[kind] for kind in texts}
    found.counts["answers"] += 1
    at, usage = moment(told.get("timestamp")), told.get("usage")
    call = FoundCall(
        place=Place(files["response"]),
        kind="other",
        answer=texts["response"],
        prompt=messages_of(texts["prompt"]) if "prompt" in texts else (),
        answered_at=at[0] if at else None,
        model=text_of(told.get("model")),
        local_time=at is not None and not at[1],
        told={"index": told} if told else {},
    )
    if told.get("success") is False:
        call = replace(call, kind="failure", answer=text_of(told.get("error")) or texts["response"])
    if isinstance(usage, dict):
        call.told["usage"] = {key: usage.get(key) for key in _TOKENS}
    if "prompt" not in texts:
        found.remark(call.place, "no prompt", "there is no prompt of its number")
    session.calls.append(call)
