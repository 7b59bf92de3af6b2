"""The machine-readable parts of a framework's file: where they stand, in whichever way its generation marks them.

A part is a fenced block of JSON or YAML, what stands between two markers, front matter, or the whole file.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from discernus.experiments.fences import Fence, fences
from discernus.experiments.json_block import json_end

JSON_KEYS = ("analysis_variants", "output_contract", "calculation_spec", "dimensions", "output_schema", "gasket_schema")
_YAML_KEY = re.compile(
    r"^(?:analysis_variants|dimensions|output_schema|output_contract|gasket_schema)\s*:", re.MULTILINE
)
_NAME_KEY = re.compile(r"^(?:name|version|display_name|framework_name|framework_version|metadata)\s*:", re.MULTILINE)
_FRONT_MATTER = re.compile(r"\A---[ \t]*\n(?P<body>.*?)^(?:---|\.\.\.)[ \t]*$\n?", re.DOTALL | re.MULTILINE)
_START = re.compile(
    r"^[^\w\n]*(?:(?:start|begin)(?:ning)? of (?:the )?machine[- ]readable \w+|[A-Z][A-Z0-9_]*_START)[^\w\n]*$",
    re.MULTILINE | re.IGNORECASE,
)
_END = re.compile(
    r"^[^\w\n]*(?:end of (?:the )?machine[- ]readable \w+|[A-Z][A-Z0-9_]*_END)[^\w\n]*$", re.MULTILINE | re.IGNORECASE
)
_DETAILS = re.compile(r"<details\b[^>]*>(?:(?!</?details\b).)*?</details>\s*", re.DOTALL | re.IGNORECASE)
_DETAILS_END = re.compile(r"^[ \t]*</details>[ \t]*$", re.MULTILINE | re.IGNORECASE)


@dataclass(frozen=True)
class Part:
    """One machine-readable part: its text, the line the text begins on, and what of the file it takes up.

    ``closed`` is False for a fence without its end; ``fenced`` says that it is a Markdown block.
    """

    language: Literal["json", "yaml"]
    text: str
    line: int
    start: int
    end: int
    fenced: bool = False
    closed: bool = True


@lru_cache(maxsize=8)
def parts_of(text: str) -> tuple[Part, ...]:
    """Return the machine-readable parts of a framework's text in their order, whether or not they are valid."""
    fenced = [part for fence in fences(text) if (part := _of_fence(fence)) is not None]
    marked = [part for part in _between_markers(text) if not any(_overlap(part, other) for other in fenced)]
    found = sorted([*_front_matter(text), *fenced, *marked], key=lambda part: part.start)
    if any(is_framework(part) for part in found):
        return tuple(found)
    return _whole_file(text)


@lru_cache(maxsize=8)
def prose_of(text: str) -> str:
    """Return a framework's text without its machine-readable parts, and the <details> or markers around them."""
    spans = {_widened(text, part) for part in parts_of(text) if is_framework(part)}
    for start, end in sorted(spans, reverse=True):
        text = (text[:start].rstrip() + "\n\n" + text[end:].lstrip()).strip() + "\n"
    return text


def is_framework(part: Part) -> bool:
    """Return whether a part says more of a framework than its name and version, as front matter often does."""
    if part.language == "json":
        return any(f'"{key}"' in part.text for key in (*JSON_KEYS, "target_keys"))
    return _YAML_KEY.search(part.text) is not None


def _of_fence(fence: Fence) -> Part | None:
    text = fence.text
    if fence.language in {"", "json", "jsonc", "json5"} and text.lstrip().startswith("{"):
        if not any(f'"{key}"' in text for key in JSON_KEYS):
            return None
        length = None if fence.closed else json_end(text)
        language: Literal["json", "yaml"] = "json"
    elif fence.language in {"", "yaml", "yml"} and _YAML_KEY.search(text):
        ends = [match.start() for end in (_END, _DETAILS_END) if (match := end.search(text))]
        length = min(ends) if ends and not fence.closed else None
        text, language = _without_markers(text), "yaml"
    else:
        return None
    end = fence.end if length is None else fence.body + length
    return Part(language, text[:length], fence.line, fence.start, end, fenced=True, closed=fence.closed)


def _between_markers(text: str) -> Iterator[Part]:
    position = 0
    while start := _START.search(text, position):
        close = _END.search(text, start.end())
        body, end = start.end() + 1, close.start() if close else len(text)
        position = close.end() if close else len(text)
        inside = text[body:end]
        language: Literal["json", "yaml"] = "json" if inside.lstrip().startswith("{") else "yaml"
        part = Part(language, inside, text.count("\n", 0, body) + 1, start.start(), position, closed=close is not None)
        if is_framework(part):
            yield part


def _front_matter(text: str) -> Iterator[Part]:
    matter = _FRONT_MATTER.match(text)
    if matter and (_YAML_KEY.search(matter["body"]) or _NAME_KEY.search(matter["body"])):
        yield Part("yaml", matter["body"], 2, 0, matter.end())


def _whole_file(text: str) -> tuple[Part, ...]:
    """Return the whole file as one part where it is YAML or JSON and no Markdown."""
    if text.lstrip().startswith("{"):
        part = Part("json", text, 1, 0, len(text))
        return (part,) if is_framework(part) else ()
    if _FRONT_MATTER.match(text):
        return ()
    first = next((line for line in text.splitlines() if line.strip() and not line.startswith(("#", "---"))), "")
    is_yaml = re.match(r"[A-Za-z_]\w*:(?:\s|$)", first) and len(re.findall(r"^[A-Za-z_]\w*:(?:\s|$)", text, re.M)) > 1
    if is_yaml and (_YAML_KEY.search(text) or _NAME_KEY.search(text)):
        return (Part("yaml", _without_markers(text), 1, 0, len(text)),)
    return ()


def _without_markers(text: str) -> str:
    """Return the text with its marker lines empty, so that every other line keeps its number."""
    return _END.sub("", _START.sub("", text))


def _overlap(one: Part, other: Part) -> bool:
    return one.start < other.end and other.start < one.end


def _widened(text: str, part: Part) -> tuple[int, int]:
    """Return where a part lies, with the <details> or the marker lines around it."""
    for details in _DETAILS.finditer(text):
        if details.start() <= part.start and part.end <= details.end():
            return details.start(), details.end()
    before, after = text[: part.start].rstrip(), text[part.end :]
    above = before.rfind("\n") + 1
    below = re.match(r"\s*([^\n]*)", after)
    start = above if _START.fullmatch(before[above:]) else part.start
    end = part.end + below.end() if below and _END.fullmatch(below[1]) else part.end
    return start, end
