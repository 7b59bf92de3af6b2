"""Frameworks that lie in a source and that no experiment of it names: brought into today's form where they can be."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath

from discernus.experiments.framework_file import parse_framework
from discernus.migration.frameworks import recover_framework
from discernus.migration.source import Source

FRAMEWORKS = "frameworks"  # the folder of a project that has them
_CALLED_SO = re.compile(r"(?:^|[/_.-])frameworks?(?:[/_.-]|$)", re.IGNORECASE)
_MACHINE_PART = re.compile(r"^```(?:json|ya?ml)\s*$", re.MULTILINE | re.IGNORECASE)


@dataclass(frozen=True)
class FurtherFramework:
    """A framework by its ``name`` in the source. ``data`` is its file for today, None where today's reader has no use
    of it; ``origin`` says how it came about, or why not, ``lost`` what could not be translated."""

    name: str
    data: bytes | None
    origin: str
    lost: tuple[str, ...] = ()

    @property
    def place(self) -> str:
        """Where its file for today goes in the project."""
        parts = PurePosixPath(self.name).parts
        below = parts[parts.index(FRAMEWORKS) + 1 :] if FRAMEWORKS in parts[:-1] else parts
        return "/".join((FRAMEWORKS, *below))


def further_framework(source: Source, name: str) -> FurtherFramework | None:
    """Return the framework that a file is, None where it is none by its name or by what a reader makes of it."""
    if PurePosixPath(name).suffix.lower() != ".md":
        return None
    written = source.data(name)
    framework, problems = parse_framework(written, name)
    if framework is None and not (_CALLED_SO.search(name) and _MACHINE_PART.search(written.decode("utf-8", "replace"))):
        return None
    found = recover_framework(written, name, (), PurePosixPath(name).stem)
    if found.usable and parse_framework(found.data, name)[0] is not None:
        return FurtherFramework(name, found.data, found.origin, found.lost)
    why = "; ".join(str(problem) for problem in problems if problem.severity == "error")
    return FurtherFramework(name, None, f"today's reader refuses it: {why}")
