"""Whether a session is at work on a shared server: its workers hold no lock there that could be seen from here."""

from __future__ import annotations

import asyncio

from temporalio.service import RPCError

from cli.exits import INFRASTRUCTURE, INVALID, CommandError
from discernus.sessions.session import Session
from discernus.settings import Settings
from engine import sessions
from engine.connection import connect


async def is_at_work(settings: Settings, session: Session) -> bool:
    """Return whether the shared server carries the session on; False where none is configured.

    Raises CommandError where that server cannot be asked.
    """
    if settings.temporal is None:
        return False
    try:
        return await sessions.is_running(await connect(str(settings.temporal), settings.namespace), session)
    except (RuntimeError, RPCError) as refused:
        raise CommandError(
            f"the Temporal server at {settings.temporal} cannot say whether {session.name} is at work: {refused}; "
            "start it, or leave out --temporal if none of its workers serves this session",
            INFRASTRUCTURE,
        ) from None


def refuse_at_work(settings: Settings, session: Session) -> None:
    """Raise CommandError while the shared server's workers carry the session on."""
    if settings.temporal is not None and asyncio.run(is_at_work(settings, session)):
        raise CommandError(f"{session.name} is at work on {settings.temporal}; wait for its end, or pause it", INVALID)
