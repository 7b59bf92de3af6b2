"""The machine-readable JSON block in a framework's Markdown: where it stands, and on which line each of its keys is."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NoReturn

KEYS = ("analysis_variants", "output_contract", "calculation_spec", "dimensions")
_FENCE = re.compile(r"^[ \t]*(?P<fence>`{3,}|~{3,})[ \t]*(?P<language>[\w+-]*)[^\n]*$", re.MULTILINE)
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\]:,]|\n', re.DOTALL)

Path = tuple[str | int, ...]


@dataclass(frozen=True)
class Fence:
    """A fenced block: its language, the text in it, the line the text begins on, and where the whole block lies."""

    language: str
    text: str
    line: int
    start: int
    end: int
    closed: bool


@dataclass(frozen=True)
class JsonError:
    """What keeps a block from being read, and on which line of the file."""

    line: int
    what: str
    cure: str


@dataclass
class JsonBlock:
    """A block's data, with the line in the file of every key, by the chain of keys that leads to it."""

    data: dict[str, Any]
    line: int
    lines: dict[Path, int]
    duplicates: list[tuple[Path, int, int]] = field(default_factory=list)

    def line_of(self, *path: str | int) -> int:
        """Return the line of a key, or of the nearest key around it that is there."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, self.line)


def fences(text: str) -> Iterator[Fence]:
    """Yield the fenced blocks of a Markdown text in order; one left open reaches to the end."""
    position = 0
    while opening := _FENCE.search(text, position):
        closing = re.compile(rf"^[ \t]*{opening['fence'][0]}{{{len(opening['fence'])},}}[ \t]*$", re.MULTILINE)
        body = opening.end() + 1
        close = closing.search(text, body)
        end = close.start() if close else len(text)
        position = close.end() if close else len(text)
        line = text.count("\n", 0, body) + 1
        yield Fence(opening["language"].lower(), text[body:end], line, opening.start(), position, close is not None)


def is_machine_readable(fence: Fence) -> bool:
    """Return whether a block is meant as a framework's machine-readable part, whether or not it is valid JSON."""
    if fence.language not in {"", "json", "jsonc", "json5"} or not fence.text.lstrip().startswith("{"):
        return False
    return sum(f'"{key}"' in fence.text for key in KEYS) >= 1


def read_block(fence: Fence) -> JsonBlock | JsonError:
    """Return the block's data with its lines, or what is wrong with it."""
    try:
        data = json.loads(fence.text, parse_constant=_refuse_constant)
        json.dumps(data, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        line = fence.line + error.lineno - 1
        return JsonError(line, f"the JSON block cannot be read: {error.msg} (column {error.colno})", _cure(error.msg))
    except UnicodeEncodeError:
        return JsonError(
            fence.line, "the JSON block holds half a character (a lone \\\\ud8…)", "write the character itself"
        )
    except RecursionError:
        return JsonError(fence.line, "the JSON block is nested too deeply", "write it flatter")
    except ValueError as error:
        return JsonError(fence.line, f"the JSON block cannot be read: {error}", "write a plain number or leave it out")
    if not isinstance(data, dict):
        return JsonError(fence.line, "the JSON block is not an object", "begin it with { and end it with }")
    block = JsonBlock(data, fence.line, {})
    _note_lines(fence, block)
    return block


def _refuse_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not a number JSON knows")


def _cure(message: str) -> str:
    if "control character" in message:
        return r"write a line break inside a string as \n and a tab as \t"
    if "property name" in message:
        return "put keys in double quotes, and no comma after the last entry"
    if "delimiter" in message:
        return "add the comma, colon or bracket that is missing just before this place"
    if "Extra data" in message:
        return "end the block after its closing brace }"
    return "correct the JSON at this place"


def _note_lines(fence: Fence, block: JsonBlock) -> None:
    """Note the line of every key of the (valid) JSON text, and each key that stands twice in one object."""
    frames: list[str | int | None] = []  # the key (or None before it) in an object, the index in a list
    line = fence.line
    expects_key = False
    for token in _TOKEN.findall(fence.text):
        if token == "\n":
            line += 1
        elif token in "{[":
            frames.append(None if token == "{" else 0)
            expects_key = token == "{"
        elif token in "}]":
            frames.pop()
            expects_key = False
        elif token == ",":
            last = frames[-1]
            expects_key = not isinstance(last, int)
            if isinstance(last, int):
                frames[-1] = last + 1
        elif token == ":":
            expects_key = False
        elif expects_key:
            frames[-1] = json.loads(token)
            path = tuple(frame for frame in frames if frame is not None)
            if path in block.lines:
                block.duplicates.append((path, block.lines[path], line))
            block.lines[path] = line
