"""``run``: carry an experiment from its definition to its report, or go on where it was left."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from temporalio.client import WorkflowFailureError
from temporalio.service import RPCError

from activities.workplace import Workplace
from cli.choosing import Chosen, choose
from cli.display import Display
from cli.exits import COMPLETE, INFRASTRUCTURE, INTERRUPTED, INVALID, PARTIAL, PAUSED, CommandError
from discernus.experiments.definition import Definition
from discernus.experiments.experiment import OFFLINE_PREFIX
from discernus.llm import gateway
from discernus.logs import log_to
from discernus.sessions import layout
from discernus.sessions.calls import Calls
from discernus.sessions.opening import HIDDEN, store_id
from discernus.sessions.owners import Lock, Owner
from discernus.sessions.progress import ProgressReader, Standing
from discernus.sessions.session import Session
from discernus.settings import DEFAULT_CONCURRENCY, Settings
from engine import sessions
from engine.connection import connect
from engine.server import EmbeddedServer, ServerError
from engine.takeover import give_back
from engine.workers import Crew

SHOW_S = 0.5  # between two looks at the store
GUARD_S = 0.5  # between two looks at the embedded server


@dataclass
class Run:
    """One invocation: what it works on, how it shows it, and whether it was told to stop."""

    settings: Settings
    session: Session
    owner: Owner
    display: Display
    stop: asyncio.Event

    @property
    def reader(self) -> ProgressReader:
        return ProgressReader(self.session, self.owner)


async def run(
    settings: Settings, folder: Path, definition: Definition, display: Display, *, new: bool, overridden: bool
) -> int:
    """Run the experiment to its end, or to where it is stopped; return the exit code."""
    stop = asyncio.Event()
    _listen(stop, display)
    if settings.temporal is None:
        threading.Thread(target=gateway.warm_up, daemon=True).start()
        await asyncio.to_thread(_require_keys, definition)
    chosen = choose(settings, folder, definition, display, new=new, overridden=overridden)
    if chosen.complete:
        return _end(ProgressReader(chosen.session).read(), chosen.session, display, already=True)
    log_to(chosen.session.folder / layout.OPERATIONAL_LOG)
    with Owner(settings.projects_dir / HIDDEN / "owners") as owner:
        this = Run(settings, chosen.session, owner, display, stop)
        return await (_run_embedded(this) if settings.temporal is None else _run_remote(this, chosen))


def _require_keys(definition: Definition) -> None:
    """Raise CommandError for every model whose key is missing, before a session is opened."""
    experiment = definition.experiment
    models = [*experiment.models, *([experiment.extraction_model] if experiment.extraction_model else [])]
    lines = [
        f"model {model!r} needs {', '.join(missing)}; set it, or run with --models offline/lexicon"
        for model in dict.fromkeys(models)
        if not model.startswith(OFFLINE_PREFIX) and (missing := gateway.missing_keys(model))
    ]
    if lines:
        raise CommandError("\n".join(lines), INVALID)


async def _run_embedded(this: Run) -> int:
    """Own the session if nobody does; else watch its owner, and take over should it die."""
    lock = Lock(this.session.folder / layout.OWNER_LOCK)
    told = False
    while not lock.acquire():
        if not told:
            this.display.say("another process is running this session: watching it; Ctrl-C leaves it running")
            told = True
        standing = this.reader.read()
        this.display.show(standing)
        if standing.stage == "sealed" or this.stop.is_set():
            return _end(standing, this.session, this.display, left=this.stop.is_set())
        await asyncio.sleep(SHOW_S)
    try:
        if ProgressReader(this.session).read().stage == "sealed" and told:
            return _end(this.reader.read(), this.session, this.display)
        return await _serve(this)
    except ServerError as failed:
        raise CommandError(str(failed), INFRASTRUCTURE) from failed
    finally:
        lock.release()


async def _serve(this: Run) -> int:
    """Serve our own session on the embedded server until it ends, pauses, or we are told to stop."""
    queue = sessions.own_queue(this.session)
    async with AsyncExitStack() as stack:
        server = EmbeddedServer(this.settings.state_folder, this.settings.temporal_cli_path)
        facts = await server.join()
        stack.push_async_callback(server.leave)
        this.display.say(f"Temporal's Web UI: {facts.ui_url}/namespaces/default/workflows/{_quoted(this.session.name)}")
        client = await connect(facts.address, "default")
        await give_back(client, this.session.name)
        concurrency = this.settings.concurrency or this.session.facts.concurrency or DEFAULT_CONCURRENCY
        handle = await sessions.start(client, this.session, queue, concurrency)
        calls = Calls(this.owner, gateway.complete, minimum_free_bytes=this.settings.minimum_free_bytes)
        crew = Crew(client, Workplace(this.settings, calls))
        await asyncio.to_thread(gateway.warm_up)
        crew.serve_session(queue, sessions.models_of(this.session), concurrency)
        try:
            return await _watch(this, handle, crew=crew, server=server)
        finally:
            if calls.in_flight:
                this.display.say(f"finishing {calls.in_flight} calls in flight; each is kept")
            await crew.drain()


async def _run_remote(this: Run, chosen: Chosen) -> int:
    """Start or join the session on a shared server, whose workers run elsewhere, and watch it."""
    address = str(this.settings.temporal)
    try:
        client = await connect(address, this.settings.namespace)
    except RuntimeError as refused:
        raise CommandError(
            f"no Temporal server answers at {address} ({refused}); start it, or leave out --temporal",
            INFRASTRUCTURE,
        ) from refused
    concurrency = this.settings.concurrency or this.session.facts.concurrency
    handle = await sessions.start(client, this.session, store_id(this.settings.projects_dir), concurrency)
    return await _watch(this, handle)


async def _watch(
    this: Run, handle: sessions.Handle, *, crew: Crew | None = None, server: EmbeddedServer | None = None
) -> int:
    """Show the session until it is sealed, paused, or we are told to stop; return the exit code."""
    reader = this.reader
    async with _following(handle) as result, _guarding(server):
        if reader.read().status == "paused":
            this.session.note_status("running", "")
            resuming = asyncio.create_task(_resume(handle))
        else:
            resuming = None
        while True:
            standing = await asyncio.to_thread(reader.read)
            this.display.show(standing)
            if result.done():
                return await _conclude(this, result, reader)
            if this.stop.is_set():
                return _end(standing, this.session, this.display, left=True, embedded=crew is not None)
            if standing.status == "paused" and (resuming is None or resuming.done()):
                return _end(standing, this.session, this.display)
            if crew is not None and crew.failure() is not None:
                raise CommandError(f"the worker failed: {crew.failure()}; run the same command again", INFRASTRUCTURE)
            with suppress(TimeoutError):
                async with asyncio.timeout(SHOW_S):
                    await asyncio.wait([result, asyncio.create_task(this.stop.wait())], return_when="FIRST_COMPLETED")


async def _resume(handle: sessions.Handle) -> None:
    with suppress(RPCError):
        await sessions.resume(handle)


@asynccontextmanager
async def _following(handle: sessions.Handle) -> AsyncIterator[asyncio.Task[Any]]:
    """Wait for the workflow's result in the background, over any restart of the server."""

    async def follow() -> Any:
        while True:
            try:
                return await handle.result()
            except RPCError:
                await asyncio.sleep(GUARD_S)

    task = asyncio.create_task(follow())
    try:
        yield task
    finally:
        task.cancel()


@asynccontextmanager
async def _guarding(server: EmbeddedServer | None) -> AsyncIterator[None]:
    """Start the embedded server again should it die; clients and workers find it at its old port."""

    async def guard(server: EmbeddedServer) -> None:
        while True:
            await asyncio.sleep(GUARD_S)
            if server.facts() is None:
                await server.join()

    task = asyncio.create_task(guard(server)) if server is not None else None
    try:
        yield
    finally:
        if task is not None:
            task.cancel()


async def _conclude(this: Run, result: asyncio.Task[Any], reader: ProgressReader) -> int:
    try:
        result.result()
    except WorkflowFailureError as failed:
        raise CommandError(
            f"session {this.session.name} was ended: {failed.cause or failed}; "
            "all answers are kept: run the same command again to go on",
            INFRASTRUCTURE,
        ) from failed
    return _end(reader.read(), this.session, this.display)


def _end(
    standing: Standing,
    session: Session,
    display: Display,
    *,
    left: bool = False,
    already: bool = False,
    embedded: bool = True,
) -> int:
    """Say how it ended and what comes next; return the exit code."""
    name = session.name
    report = session.folder / layout.REPORT
    counts = f"{standing.done} of {standing.planned} analyses"
    again = "run the same command again to go on; nothing that was answered is paid for twice"
    status, code = standing.status, COMPLETE
    if left and standing.stage != "sealed":
        status, code = "interrupted", INTERRUPTED
        lines = [f"interrupted: {name} holds {counts}; {again}"]
        if not embedded:
            lines = [f"left: {name} goes on at its workers ({counts} so far); watch it with: starter.py watch {name}"]
    elif standing.status == "paused":
        code = PAUSED if "free where answers" not in standing.reason else INFRASTRUCTURE
        lines = [f"paused: {name} holds {counts}", f"why: {standing.reason}", again]
    elif standing.status == "partial":
        code = PARTIAL
        lines = [f"partial: {name} holds {counts}; {standing.planned - standing.done} could not be had", again]
    else:
        before = " already; --new opens another session" if already else ""
        lines = [f"complete{before}: {name}, {counts}"]
    if standing.in_doubt:
        lines.append(f"{standing.in_doubt} calls are in doubt: sent, perhaps paid for, their answers never arrived")
    if standing.stage == "sealed":
        lines += [f"report:  {report}", f"results: {session.folder / layout.RESULTS}"]
    display.end(
        {
            "lines": lines,
            "status": status,
            "exit_code": code,
            "session": name,
            "folder": str(session.folder),
            "report": str(report) if standing.stage == "sealed" else None,
            "planned": standing.planned,
            "done": standing.done,
            "parked": standing.parked,
            "in_doubt": standing.in_doubt,
            "cost_usd": standing.cost_usd,
            "unpriced": standing.unpriced,
            "reason": standing.reason,
        }
    )
    return code


def _listen(stop: asyncio.Event, display: Display) -> None:
    """Let Ctrl-C and SIGTERM ask for an orderly end."""

    def asked() -> None:
        if not stop.is_set():
            stop.set()
            display.say("stopping: nothing new is started")

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, asked)


def _quoted(workflow_id: str) -> str:
    from urllib.parse import quote

    return quote(workflow_id, safe="")
