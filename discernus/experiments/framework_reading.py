"""A framework's text taken apart: the machine-readable block, the prose around it, and the problems found so far."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from discernus.experiments.encoding import NotText, decode
from discernus.experiments.json_block import JsonBlock, JsonError, fences, is_machine_readable, read_block
from discernus.experiments.problems import ProblemList

_DETAILS = re.compile(r"<details\b[^>]*>(?:(?!</?details\b).)*?</details>\s*", re.DOTALL | re.IGNORECASE)


@dataclass
class FrameworkReading:
    """What is known while one framework file is read."""

    text: str
    block: JsonBlock
    problems: ProblemList

    @property
    def prose(self) -> str:
        return prose_of(self.text)

    def error(self, path: Sequence[str | int], what: str, cure: str) -> None:
        self.problems.error(self.block.line_of(*path), what, cure)

    def warn(self, path: Sequence[str | int], what: str, cure: str) -> None:
        self.problems.warn(self.block.line_of(*path), what, cure)

    def object_at(self, key: str, report: bool = True) -> Mapping[str, Any]:
        """Return the object under a key of the block, empty where there is none; report anything else there."""
        value = self.block.data.get(key, {})
        if isinstance(value, Mapping):
            return value
        if report:
            self.error([key], f"'{key}' is not an object", "write it as { … }")
        return {}


def find_block(text: str, problems: ProblemList) -> JsonBlock | None:
    candidates = [fence for fence in fences(text) if is_machine_readable(fence)]
    if not candidates:
        _report_no_block(text, problems)
        return None
    blocks: list[JsonBlock] = []
    for fence in candidates:
        block = read_block(fence)
        if isinstance(block, JsonError):
            problems.error(block.line, block.what, block.cure)
            continue
        if not fence.closed:
            problems.error(fence.line - 1, "the fenced block that begins here is never closed", "close it with ```")
        for path, first, again in block.duplicates:
            name = ".".join(str(part) for part in path)
            problems.error(again, f"'{name}' stands here for the second time (first: line {first})", "keep one of them")
        blocks.append(block)
    for block in blocks[1:]:
        if block.data == blocks[0].data:
            problems.warn(block.line, f"the block of line {blocks[0].line} is repeated here", "keep one of them")
        else:
            what = f"this machine-readable block contradicts the one of line {blocks[0].line}"
            problems.error(block.line, what, "keep one block")
    return blocks[0] if blocks else None


def _report_no_block(text: str, problems: ProblemList) -> None:
    cure = "add a block fenced as ```json with name, version, analysis_variants, calculation_spec and output_contract"
    for fence in fences(text):
        if fence.language in {"yaml", "yml"} and re.search(r"^(analysis_variants|dimensions)\s*:", fence.text, re.M):
            problems.error(fence.line, "the machine-readable part is YAML; only JSON is read", cure)
            return
    unfenced = re.search(r"^\s*\{\s*\n\s*\"", text, re.MULTILINE)
    if unfenced and "analysis_variants" in text:
        line = text.count("\n", 0, unfenced.end()) + 1
        problems.error(line, "the JSON here is not in a fenced block", "put ```json before it and ``` after it")
        return
    problems.error(None, "the framework has no machine-readable block", cure)


@lru_cache(maxsize=8)
def prose_of(text: str) -> str:
    """Return a framework's text without its machine-readable block and the <details> around it."""
    fence = next((fence for fence in fences(text) if is_machine_readable(fence)), None)
    if fence is None:
        return text
    for details in _DETAILS.finditer(text):
        if details.start() <= fence.start and fence.end <= details.end():
            return (text[: details.start()].rstrip() + "\n\n" + text[details.end() :].lstrip()).strip() + "\n"
    return (text[: fence.start].rstrip() + "\n\n" + text[fence.end :].lstrip()).strip() + "\n"


def holds_framework(path: Path) -> bool:
    """Return whether a Markdown file has a machine-readable block, valid or not."""
    try:
        text = decode(path.read_bytes(), path.name)
    except (OSError, NotText):
        return False
    return any(is_machine_readable(fence) for fence in fences(text))
