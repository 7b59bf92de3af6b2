"""An earlier form of the machine-readable part while it is put into the current one, with the line of every key."""

from collections.abc import Mapping
from typing import Any

from discernus.experiments.blocks import Block, Path
from discernus.experiments.problems import ProblemList

Moved = tuple[Path, Path]  # a path of the current form, and the one of the earlier form that stands behind it


class EarlierForm:
    """What was written (``old``), and the current form as far as it is put together (``new``)."""

    def __init__(self, block: Block, problems: ProblemList) -> None:
        self.old = block
        self.problems = problems
        self.new = Block(dict(block.data), block.line, dict(block.lines))

    def get(self, *path: str) -> Any:
        """Return the value at a path of what was written, or None."""
        value: Any = self.old.data
        for key in path:
            value = value.get(key) if isinstance(value, Mapping) else None
        return value

    def put(self, key: str, value: Any, source: Path, *moved: Moved) -> None:
        """Set a top-level key of the current form from ``source``; ``moved`` are entries that come from elsewhere."""
        self.new.data[key] = value
        for to, old in (((key,), source), *moved):
            self.new.lines[to] = self.old.line_of(*old)
            below = {path: line for path, line in self.old.lines.items() if path[: len(old)] == old}
            self.new.lines |= {(*to, *path[len(old) :]): line for path, line in below.items()}

    def named_entries(self, key: str, to: str) -> tuple[dict[str, Any], list[Moved]]:
        """Return the entries of a list by the name that each gives itself, and where each stands below ``to``."""
        entries: dict[str, Any] = {}
        moved: list[Moved] = []
        for index, entry in enumerate(self.get(key)):
            name = entry.get("name") if isinstance(entry, Mapping) else None
            place: Path = (key, index)
            if not isinstance(name, str) or not name.strip():
                self.error(place, f"entry {index + 1} of {key} has no name", "give it one: `name: …`")
            elif name in entries:
                self.error(place, f"'{name}' stands in {key} for the second time", "keep one of them, or rename it")
            else:
                entries[name] = {other: value for other, value in entry.items() if other != "name"}
                moved.append(((to, name), place))
        return entries, moved

    def error(self, path: Path, what: str, cure: str) -> None:
        self.problems.error(self.old.line_of(*path), what, cure)

    def warn(self, path: Path, what: str, cure: str) -> None:
        self.problems.warn(self.old.line_of(*path), what, cure)
