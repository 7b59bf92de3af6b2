"""Reading a machine-readable block in JSON, with the line of each of its keys."""

import json
import re
from typing import NoReturn

from discernus.experiments.blocks import Block, BlockError

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\]:,]|\n', re.DOTALL)


def read_json(written: str, line: int) -> Block | BlockError:
    """Return the data of a JSON text that begins on ``line`` of its file, or what is wrong with it.

    A line break inside a string is read as what it looks like, and noted.
    """
    try:
        data = json.loads(written, parse_constant=_refuse_constant, strict=False)
        json.dumps(data, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        what = f"the JSON block cannot be read: {error.msg} (column {error.colno})"
        return BlockError(line + error.lineno - 1, what, _cure(error.msg))
    except UnicodeEncodeError:
        return BlockError(line, "the JSON block holds half a character (a lone \\\\ud8…)", "write the character itself")
    except RecursionError:
        return BlockError(line, "the JSON block is nested too deeply", "write it flatter")
    except ValueError as error:
        return BlockError(line, f"the JSON block cannot be read: {error}", "write a plain number or leave it out")
    if not isinstance(data, dict):
        return BlockError(line, "the JSON block is not an object", "begin it with { and end it with }")
    block = Block(data, line, {})
    _note_lines(written, block)
    return block


def json_end(written: str) -> int | None:
    """Return where the JSON object that a text begins with ends, or None where it begins with none."""
    start = len(written) - len(written.lstrip())
    try:
        return json.JSONDecoder(strict=False).raw_decode(written, start)[1]
    except (ValueError, RecursionError):
        return None


def _refuse_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not a number JSON knows")


def _cure(message: str) -> str:
    if "property name" in message:
        return "put keys in double quotes, and no comma after the last entry"
    if "delimiter" in message:
        return "add the comma, colon or bracket that is missing just before this place"
    if "Extra data" in message:
        return "end the block after its closing brace }"
    return "correct the JSON at this place"


def _note_lines(written: str, block: Block) -> None:
    """Note the line of every key of the (valid) JSON text, and each key that stands twice in one object."""
    frames: list[str | int | None] = []  # the key (or None before it) in an object, the index in a list
    line = block.line
    expects_key = False
    for token in _TOKEN.findall(written):
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
            frames[-1] = json.loads(token, strict=False)
            path = tuple(frame for frame in frames if frame is not None)
            if path in block.lines:
                block.duplicates.append((path, block.lines[path], line))
            block.lines[path] = line
        if token.startswith('"') and "\n" in token:
            block.breaks += range(line, line + token.count("\n"))
            line += token.count("\n")
