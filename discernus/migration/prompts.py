"""What a recorded prompt tells: which text was analysed, under which name, and the words that asked for it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import sha256
from pathlib import PurePosixPath

_MARKER = re.compile(
    r"^(?:TEXT|SPEECH|DOCUMENT|CORPUS TEXT|SPEECH TEXT)(?: TO (?:BE )?ANALY[SZ]ED?| FOR ANALYSIS)?:[ \t]*\n",
    re.MULTILINE,
)
_NAMED = re.compile(r"(?:analy[sz]ing content from file|^File):[ \t]*(?P<file>\S[^\n]*?)[ \t]*$", re.MULTILINE)
_HASH = re.compile(r"^Content hash:[ \t]*(?P<digest>[0-9a-f]{8,64})\b", re.MULTILINE)
_HEADER = re.compile(r"(?:File|Content|Filename|Name):[^\n]*\n")
_TAIL = re.compile(
    r"\s*\n\n(?:Remember to include the provenance stamp|TASK:|Your analysis must have two parts|INSTRUCTIONS:)"
)
_OWN = re.compile(r"^(?:PROVENANCE VERIFICATION:|SOURCE TEXTS?:)", re.MULTILINE)  # what differs from text to text
_GREETING = re.compile(r"^You are \w+_\d+,[^\n]*\n+(?:[A-Z ]+:\n)?")  # an agent's own number
_SPLIT = re.compile(r"=== SYSTEM PROMPT ===\n(?P<system>.*?)\n\n=== USER PROMPT ===\n(?P<user>.*)", re.DOTALL)


@dataclass(frozen=True)
class Told:
    """What one prompt tells. ``proven``: the text has the hash that the prompt states for it.

    ``bounded``: the prompt's own words after the text are known, so that none of them is in it.
    """

    file: str | None
    text: str | None
    digest: str | None
    proven: bool
    bounded: bool
    instructions: str


def messages_of(prompt: str) -> tuple[tuple[str, str], ...]:
    """Return the messages of a prompt as it was filed: system and user where they are set apart."""
    parts = _SPLIT.fullmatch(prompt)
    if parts is None:
        return (("user", prompt),)
    return ("system", parts["system"]), ("user", parts["user"])


def told_by(prompt: tuple[tuple[str, str], ...]) -> Told:
    """Return what the messages tell of the text that was analysed; a prompt about several texts tells of none."""
    whole = prompt[-1][1] if prompt else ""
    markers = list(_MARKER.finditer(whole))
    if len(markers) != 1:
        return Told(None, None, None, proven=False, bounded=False, instructions="")
    before, after = whole[: markers[0].start()], whole[markers[0].end() :]
    named = _NAMED.search(before) or _NAMED.match(after)
    stated = _HASH.search(before)
    digest = stated["digest"] if stated else None
    body = after
    while header := _HEADER.match(body):
        if named is None and digest is None:
            break
        body = body[header.end() :]
    text, proven, bounded = _text(body, digest)
    file = PurePosixPath(named["file"].replace("\\", "/")).name if named else None
    return Told(file, text, digest, proven, bounded, _instructions(before))


def _text(body: str, digest: str | None) -> tuple[str, bool, bool]:
    """Return the text that a prompt goes on with, whether its hash proves it, and whether its end is known."""
    ends = list(_TAIL.finditer(body))
    candidates = [body[: match.end() - len(match[0].lstrip())] for match in reversed(ends)]
    candidates = [one[:-2] if one.endswith("\n\n") else one for one in candidates]
    for text in (*candidates, *(one.strip() for one in candidates), body, body.strip()):
        if digest is not None and sha256(text.encode()).hexdigest().startswith(digest):
            return text, True, True
    return (candidates[0], False, True) if candidates else (body, False, False)


def _instructions(before: str) -> str:
    """Return the part that asked the same of every text."""
    own = _OWN.search(before)
    common = before[: own.start()] if own else before
    return _GREETING.sub("", common).strip()
