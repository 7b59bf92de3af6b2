"""A store for the time being, in which a copy of one session is worked on as any session is."""

from __future__ import annotations

from pathlib import Path

from discernus.sessions.session import SessionFacts
from discernus.settings import Settings

MODELS_FILE = "models.yaml"


def place_for(facts: SessionFacts, above: Path, models_file: bytes | None) -> Path:
    """Return where the session's folder is to lie in a store below ``above``, which has that models.yaml.

    Raises ValueError for names that lead elsewhere: a stranger's package may hold any.
    """
    projects = above / "projects"
    for name in (facts.project, facts.experiment, facts.session):
        if name in ("", ".", "..") or "/" in name or "\0" in name:
            raise ValueError(f"{name!r} is no name of a folder")
    folder = projects / facts.project / "experiments" / facts.experiment / "sessions" / facts.session
    folder.parent.mkdir(parents=True)
    if models_file is not None:
        (projects / MODELS_FILE).write_bytes(models_file)
    return folder


def models_file_at(projects_dir: Path) -> bytes | None:
    """Return the models.yaml that holds in a projects folder, None if there is none."""
    try:
        return Settings(projects_dir=projects_dir).models_path.read_bytes()
    except OSError:
        return None
