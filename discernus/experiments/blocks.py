"""The data of a machine-readable part, JSON or YAML, with the line in its file of every key."""

from dataclasses import dataclass, field
from typing import Any

Path = tuple[str | int, ...]


@dataclass(frozen=True)
class BlockError:
    """What keeps a block from being read, and on which line of the file."""

    line: int
    what: str
    cure: str


@dataclass
class Block:
    """A block's data, with the line in the file of every key, by the chain of keys that leads to it.

    ``duplicates`` are keys that stand twice in one object (path, first line, second line); ``breaks`` the lines on
    which a string breaks off without saying so.
    """

    data: dict[str, Any]
    line: int
    lines: dict[Path, int]
    duplicates: list[tuple[Path, int, int]] = field(default_factory=list)
    breaks: list[int] = field(default_factory=list)

    def line_of(self, *path: str | int) -> int:
        """Return the line of a key, or of the nearest key around it that is there."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, self.line)
