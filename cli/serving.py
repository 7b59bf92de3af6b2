"""``server`` and ``ui``: keep Temporal and a worker up without running anything new, so that the Web UI can act."""

from __future__ import annotations

import asyncio
import signal
import webbrowser
from contextlib import suppress

from temporalio.client import Client
from temporalio.service import RPCError

from activities.workplace import session_folder
from cli.display import Display
from cli.exits import COMPLETE, INFRASTRUCTURE, CommandError, command_name
from discernus.logs import log_to
from discernus.sessions import layout
from discernus.sessions.opening import HIDDEN, StoreDamaged, store_id
from discernus.sessions.owners import Lock
from discernus.settings import Settings
from engine import sessions
from engine.caller import Caller, CallerFailed, Duty
from engine.connection import connect
from engine.server import EmbeddedServer, ServerError
from engine.takeover import CALLS, give_back
from engine.workers import Crew

LOOK_ROUND_S = 1.0


class Host:
    """Serves every open session of the store that no starter owns, for as long as it is open."""

    def __init__(self, client: Client, address: str, settings: Settings, display: Display) -> None:
        self._client = client
        self._address = address
        self._settings = settings
        self._display = display
        self._served: dict[str, tuple[Lock, Crew, Caller]] = {}

    async def look_round(self, store: str) -> None:
        """Take up open sessions that are nobody's, and let go of those that have ended."""
        open_sessions = {session.workflow_id: session for session in await sessions.running(self._client, store)}
        for workflow_id in set(self._served) - set(open_sessions):
            await self._let_go(workflow_id)
        for workflow_id, session in open_sessions.items():
            folder = session_folder(self._settings.projects_dir, session.key)
            if workflow_id in self._served:
                await self._mend(workflow_id)
                continue
            if not (folder / layout.SESSION).is_file():
                continue
            lock = Lock(folder / layout.OWNER_LOCK)
            if not lock.acquire():
                continue
            await give_back(self._client, workflow_id)
            crew = Crew(self._client, self._settings)
            crew.serve_steps(session.queue)
            caller = Caller(self._settings, session.models, session.concurrency)
            await caller.start()
            await caller.serve(
                Duty(
                    address=self._address,
                    store=store,
                    queue=session.queue,
                    models=session.models,
                    concurrency=session.concurrency,
                )
            )
            self._served[workflow_id] = (lock, crew, caller)
            self._display.say(f"serving {workflow_id}")

    async def _mend(self, workflow_id: str) -> None:
        """Replace the process that makes the session's calls if it died; let the session go if it keeps dying."""
        _, _, caller = self._served[workflow_id]
        if not caller.ended:
            return
        try:
            await caller.revive()
        except CallerFailed as failed:
            self._display.say(f"{workflow_id} is not served any longer: {failed}", error=True)
            await self._let_go(workflow_id)
        else:
            await give_back(self._client, workflow_id, CALLS)

    async def close(self) -> None:
        """Drain everything that is served."""
        for workflow_id in list(self._served):
            await self._let_go(workflow_id)

    async def _let_go(self, workflow_id: str) -> None:
        lock, crew, caller = self._served.pop(workflow_id)
        await caller.close()
        await crew.drain()
        lock.release()


async def serve(settings: Settings, display: Display) -> int:
    """Keep the embedded server and a worker up until Ctrl-C."""
    if settings.temporal is not None:
        raise CommandError("a Temporal server is configured: run python worker.py to serve it", 2)
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    log_to(settings.projects_dir / HIDDEN / "logs" / "server.jsonl")
    server = EmbeddedServer(settings.state_folder, settings.temporal_cli_path)
    try:
        await _keep_up(server, settings, display, stop)
    except (ServerError, StoreDamaged) as failed:
        raise CommandError(str(failed), INFRASTRUCTURE) from failed
    finally:
        await server.leave()
    return COMPLETE


async def _keep_up(server: EmbeddedServer, settings: Settings, display: Display, stop: asyncio.Event) -> None:
    facts = await server.join()
    display.say(f"Temporal at {facts.address}, its Web UI at {facts.ui_url}; Ctrl-C ends them")
    display.say("unfinished sessions go on now, paused ones once they are resumed")
    client = await connect(facts.address, "default")
    host = Host(client, facts.address, settings, display)
    store = store_id(settings.projects_dir)
    shared = Crew(client, settings)
    shared.serve_shared(store)
    try:
        while not stop.is_set():
            if server.facts() is None:
                await server.join()
            with suppress(RPCError):
                await host.look_round(store)
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_ROUND_S):
                    await stop.wait()
        display.say("stopping: calls in flight are finished and kept")
    finally:
        await host.close()
        await shared.drain()


def show_ui(settings: Settings, display: Display, *, open_browser: bool) -> int:
    """Say where the Web UI is, and open it if asked."""
    facts = EmbeddedServer(settings.state_folder).facts()
    if facts is None:
        raise CommandError(f"no embedded server is running; start one with: {command_name()} server", INFRASTRUCTURE)
    display.say(facts.ui_url)
    if open_browser:
        webbrowser.open(facts.ui_url)
    return COMPLETE
