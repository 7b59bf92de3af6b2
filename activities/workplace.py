"""What the activities of one process share: its settings, and the sessions it has opened."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from temporalio import activity

from activities.border import SessionKey
from discernus.sessions.session import Session
from discernus.settings import Settings

HEARTBEAT_S = 2.0


class Workplace:
    """One process's settings and open sessions."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._sessions: dict[SessionKey, Session] = {}

    def session(self, key: SessionKey) -> Session:
        """Return the session, opened once per process."""
        session = self._sessions.get(key)
        if session is None:
            session = Session(session_folder(self.settings.projects_dir, key), self.settings.mirror_dir)
            self._sessions[key] = session
        return session


def session_folder(projects_dir: Path, key: SessionKey) -> Path:
    """Return where a session lies."""
    return projects_dir / key.project / "experiments" / key.experiment / "sessions" / key.session


@asynccontextmanager
async def beating() -> AsyncIterator[None]:
    """Heartbeat for as long as the body runs, so that a dead worker is told from a slow model."""

    async def beat() -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_S)
            activity.heartbeat()

    task = asyncio.create_task(beat())
    try:
        yield
    finally:
        task.cancel()
