"""Where the calls lie that drafts of frameworks took: beside the frameworks, in ``<name>.draft.calls/<key>/``.

They belong to no session, and to the project and the experiment in whose folder the framework lies.
"""

from __future__ import annotations

import os
from pathlib import Path

from discernus.sessions.conversations import ASKED_AGAIN

CALLS = ".draft.calls"
ACCOUNT = "framework_draft"  # what drafts go by below their experiment or project, where costs are added up

_OF_SESSIONS = frozenset({"sessions", ASKED_AGAIN})  # folders of an experiment that hold no framework, and are large


def draft_folders(projects_dir: Path, project: str) -> list[Path]:
    """Return the folders of a project's drafts, each with the calls of one first question; none of hidden folders."""
    experiments = projects_dir / project / "experiments"
    found: list[Path] = []
    for name, folders, _ in os.walk(projects_dir / project):
        at = Path(name)
        found += [one for folder in folders if folder.endswith(CALLS) for one in (at / folder).iterdir()]
        elsewhere = _OF_SESSIONS if at.parent == experiments else frozenset()
        folders[:] = [one for one in folders if not one.endswith(CALLS) and one[0] != "." and one not in elsewhere]
    return sorted(folder for folder in found if folder.is_dir())


def place_of(projects_dir: Path, path: Path) -> tuple[str, str | None] | None:
    """Return the project and the experiment in whose folder something lies, None for what is in none of them."""
    try:
        parts = path.relative_to(projects_dir).parts
    except ValueError:
        return None
    if len(parts) < 2:
        return None
    return parts[0], parts[2] if parts[1] == "experiments" and len(parts) > 3 else None
