"""Settings written in YAML, with the line of every key, so that each problem can name its place.

Dates stay text and aliases are refused: what is read here has to be JSON, and no larger than it looks.
"""

import json
from dataclasses import dataclass
from typing import Any

import yaml

from discernus.experiments.problems import ProblemList

Path = tuple[str | int, ...]


@dataclass(frozen=True)
class YamlSettings:
    """The values by key, and the line of every key and entry."""

    values: dict[str, Any]
    lines: dict[Path, int]

    def line_of(self, *path: str | int) -> int | None:
        """Return the line of a key or entry, or of the nearest one around it; None if there is none."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path)


class _Loader(yaml.SafeLoader):
    """A safe loader that leaves dates as the author wrote them."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def read_settings(written: str, problems: ProblemList, *, first_line: int = 1) -> YamlSettings | None:
    """Return the settings in a YAML text, none for an empty one, or None after reporting what is wrong with it.

    ``first_line`` is the line of its file that the text begins on.
    """
    try:
        return _compose(written, problems, first_line)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        what = f"the YAML cannot be read: {error.problem or error.context}"
        problems.error(mark.line + first_line if mark else None, what, _cure(error.problem or ""))
    except yaml.reader.ReaderError as error:
        line = written.count("\n", 0, error.position) + first_line
        problems.error(line, f"the YAML cannot be read: {error.reason}", "take the character out")
    except (RecursionError, ValueError) as error:
        problems.error(None, f"the YAML cannot be read: {error}", "write it more simply")
    return None


def _compose(written: str, problems: ProblemList, first_line: int) -> YamlSettings | None:
    alias = next((token for token in yaml.scan(written) if isinstance(token, yaml.AliasToken)), None)
    if alias is not None:
        line = alias.start_mark.line + first_line
        problems.error(line, f"the YAML alias *{alias.value} is used", "write the value out where it is used")
        return None
    loader = _Loader(written)
    node = loader.get_single_node()
    if node is None:
        return YamlSettings({}, {})
    if not isinstance(node, yaml.MappingNode):
        problems.error(
            node.start_mark.line + first_line, "these are no settings", "write one `key: value` on each line"
        )
        return None
    before = len(problems.found)
    lines: dict[Path, int] = {}
    _note_lines(node, (), lines, problems, first_line)
    if len(problems.found) > before:
        return None
    values = loader.construct_document(node)
    json.dumps(values, ensure_ascii=False, default=str).encode()
    return YamlSettings(values, lines)


def _note_lines(node: yaml.Node, path: Path, lines: dict[Path, int], problems: ProblemList, first_line: int) -> None:
    """Note the line of every key and entry below a node, and report keys that stand twice or are no text."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            line = key.start_mark.line + first_line
            if not isinstance(key, yaml.ScalarNode) or key.tag == "tag:yaml.org,2002:merge":
                problems.error(line, "this key is not plain text", "write a simple name before the colon")
                continue
            name: str = key.value
            below = (*path, name)
            if below in lines:
                what = f"'{name}' stands here for the second time (first: line {lines[below]})"
                problems.error(line, what, "keep one of them")
                continue
            lines[below] = line
            key.tag = "tag:yaml.org,2002:str"
            _note_lines(value, below, lines, problems, first_line)
    elif isinstance(node, yaml.SequenceNode):
        for index, entry in enumerate(node.value):
            lines[(*path, index)] = entry.start_mark.line + first_line
            _note_lines(entry, (*path, index), lines, problems, first_line)


def _cure(problem: str) -> str:
    if "mapping values are not allowed" in problem:
        return "put a text that holds a colon in quotes"
    if "\\t" in problem or "tab" in problem:
        return "indent with spaces, not tabs"
    if "cannot start any token" in problem:
        return "put a text that begins with a special character in quotes"
    if "expected <block end>" in problem or "could not find expected ':'" in problem:
        return "check the indentation here and the quotes and colons just before"
    return "correct the YAML at this place"
