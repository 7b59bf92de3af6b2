"""A framework's text taken apart: the data of its machine-readable parts, the prose around them, and the problems."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from discernus.experiments.blocks import Block, BlockError
from discernus.experiments.encoding import NotText, decode
from discernus.experiments.json_block import read_json
from discernus.experiments.machine_parts import Part, is_framework, parts_of, prose_of
from discernus.experiments.problems import ProblemList
from discernus.experiments.yaml_settings import read_settings

SECTIONS = {"gasket_schema", "calculation_spec", "derived_metrics", "output_contract", "output_schema"}


@dataclass
class FrameworkReading:
    """What is known while one framework file is read."""

    text: str
    block: Block
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


def find_block(text: str, problems: ProblemList) -> Block | None:
    """Return the data of all machine-readable parts as one block, or None after reporting why there is none.

    Front matter and parts that hold one section each (``gasket_schema``) complete the block; any other second part
    has to say the same.
    """
    parts = parts_of(text)
    if not parts:
        _report_no_block(text, problems)
        return None
    blocks = [(part, block) for part in parts if (block := _read(part, problems)) is not None]
    if not blocks:
        return None
    whole = next((block for part, block in blocks if "analysis_variants" in block.data), blocks[0][1])
    for part, block in blocks:
        if block is not whole:
            _add(block, part.start == 0 or block.data.keys() <= SECTIONS, whole, problems)
    return whole


def _read(part: Part, problems: ProblemList) -> Block | None:
    if not part.closed:
        what = "the machine-readable part that begins here is never closed"
        problems.warn(part.line - 1, what, "close it with ```" if part.fenced else "write its end marker")
    block = _read_json(part, problems) if part.language == "json" else _read_yaml(part, problems)
    if block is not None and "target_keys" in block.data and "gasket_schema" not in block.data:
        lines = {("gasket_schema", *path): line for path, line in block.lines.items()}
        return Block({"gasket_schema": block.data}, block.line, lines)
    return block


def _read_json(part: Part, problems: ProblemList) -> Block | None:
    block = read_json(part.text, part.line)
    if isinstance(block, BlockError):
        problems.error(block.line, block.what, block.cure)
        return None
    for path, first, again in block.duplicates:
        name = ".".join(str(key) for key in path)
        problems.error(again, f"'{name}' stands here for the second time (first: line {first})", "keep one of them")
    if block.breaks:
        lines = ", ".join(map(str, block.breaks[:10])) + (", …" if len(block.breaks) > 10 else "")
        what = f"strings break off at the end of a line and go on in the next (lines {lines}); read as line breaks"
        problems.warn(block.breaks[0], what, r"write a line break inside a string as \n")
    return block


def _read_yaml(part: Part, problems: ProblemList) -> Block | None:
    settings = read_settings(part.text, problems, first_line=part.line)
    return None if settings is None else Block(settings.values, part.line, settings.lines)


def _add(block: Block, completes: bool, whole: Block, problems: ProblemList) -> None:
    """Complete the block by another part's keys, or report that the two contradict each other."""
    if block.data == whole.data:
        problems.warn(block.line, f"the block of line {whole.line} is repeated here", "keep one of them")
        return
    for key, value in block.data.items():
        if key in whole.data and not _same(value, whole.data[key]):
            what = f"'{key}' contradicts line {whole.line_of(key)}"
            problems.error(block.line_of(key), f"this machine-readable part and another differ: {what}", "keep one")
            return
    if not completes:
        what = f"this machine-readable block stands beside the one of line {whole.line}"
        problems.error(block.line, what, "put everything into one block")
        return
    whole.data |= {key: value for key, value in block.data.items() if key not in whole.data}
    whole.lines |= {path: line for path, line in block.lines.items() if path not in whole.lines}


def _same(one: Any, other: Any) -> bool:
    scalars = all(isinstance(value, str | int | float) and not isinstance(value, bool) for value in (one, other))
    return one == other or (scalars and str(one).strip() == str(other).strip())


def _report_no_block(text: str, problems: ProblemList) -> None:
    cure = "add a block fenced as ```json with name, version, analysis_variants, calculation_spec and output_contract"
    unfenced = re.search(r"^\s*\{\s*\n\s*\"", text, re.MULTILINE)
    if unfenced and "analysis_variants" in text:
        line = text.count("\n", 0, unfenced.end()) + 1
        problems.error(line, "the JSON here is not in a fenced block", "put ```json before it and ``` after it")
        return
    what = "the framework has no machine-readable block: it is prose alone, and prose is not guessed at"
    problems.error(None, what, f"{cure}; `framework draft` has a model propose one")


def holds_framework(path: Path) -> bool:
    """Return whether a file has a machine-readable part, valid or not."""
    try:
        text = decode(path.read_bytes(), path.name)
    except (OSError, NotText):
        return False
    return any(is_framework(part) for part in parts_of(text))
