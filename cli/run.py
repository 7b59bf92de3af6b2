"""``run``: carry an experiment from its definition to its report, or go on where it was left."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from temporalio.client import Client, WorkflowFailureError
from temporalio.service import RPCError

from activities.border import ANALYSE, EXTRACT_BY_MODEL
from cli.choosing import choose
from cli.display import Display
from cli.exits import COMPLETE, INFRASTRUCTURE, INTERRUPTED, INVALID, PARTIAL, PAUSED, CommandError
from discernus.experiments.definition import Definition
from discernus.experiments.experiment import OFFLINE_PREFIX
from discernus.logs import log_to
from discernus.sessions import layout
from discernus.sessions.opening import HIDDEN, store_id
from discernus.sessions.owners import Lock, Owner
from discernus.sessions.progress import ProgressReader, Standing
from discernus.sessions.session import Session
from discernus.settings import Settings
from engine import sessions
from engine.caller import Caller, CallerFailed, Duty
from engine.connection import connect
from engine.server import EmbeddedServer, ServerError
from engine.takeover import give_back
from engine.workers import Crew

CALLS = frozenset({ANALYSE, EXTRACT_BY_MODEL})
SHOW_S = 0.5  # between two looks at the store
GUARD_S = 0.5  # between two looks at the embedded server


@dataclass(frozen=True)
class Embedded:
    """What an embedded session stands on: its server, its workflow worker, and the process that makes its calls."""

    client: Client
    server: EmbeddedServer
    crew: Crew
    caller: Caller


@dataclass(frozen=True)
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
    async with AsyncExitStack() as stack:
        caller = await _ready_caller(settings, definition, stack) if settings.temporal is None else None
        chosen = choose(settings, folder, definition, display, new=new, overridden=overridden)
        if chosen.complete:
            return _end(ProgressReader(chosen.session).read(), chosen.session, display, already=True)
        log_to(chosen.session.folder / layout.OPERATIONAL_LOG)
        owner = stack.enter_context(Owner(settings.projects_dir / HIDDEN / "owners"))
        this = Run(settings, chosen.session, owner, display, stop)
        return await (_run_remote(this) if caller is None else _run_embedded(this, caller))


async def _ready_caller(settings: Settings, definition: Definition, stack: AsyncExitStack) -> Caller:
    """Start the process that makes the calls; raise CommandError for keys that it lacks, before a session is opened."""
    experiment = definition.experiment
    wanted = [*experiment.models, *([experiment.extraction_model] if experiment.extraction_model else [])]
    models = tuple(dict.fromkeys(wanted))
    caller = Caller(settings, models)
    await caller.start()
    stack.push_async_callback(caller.close)
    if all(model.startswith(OFFLINE_PREFIX) for model in models):
        return caller
    try:
        missing = await caller.missing_keys()
    except CallerFailed as failed:
        raise CommandError(str(failed), INFRASTRUCTURE) from failed
    if missing:
        lines = [f"error: model {model!r} needs {', '.join(keys)}" for model, keys in missing.items()]
        raise CommandError("\n".join([*lines, "set it, or run with --models offline/lexicon"]), INVALID)
    return caller


async def _run_embedded(this: Run, caller: Caller) -> int:
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
        if told and this.reader.read().stage == "sealed":
            return _end(this.reader.read(), this.session, this.display)
        return await _serve(this, caller)
    except ServerError as failed:
        raise CommandError(str(failed), INFRASTRUCTURE) from failed
    finally:
        lock.release()


async def _serve(this: Run, caller: Caller) -> int:
    """Serve our own session on the embedded server until it ends, pauses, or we are told to stop."""
    async with AsyncExitStack() as stack:
        server = EmbeddedServer(this.settings.state_folder, this.settings.temporal_cli_path)
        facts = await server.join()
        stack.push_async_callback(server.leave)
        this.display.say(f"Temporal's Web UI: {facts.ui_url}/namespaces/default/workflows/{_quoted(this.session.name)}")
        client = await connect(facts.address, "default")
        await give_back(client, this.session.name)
        concurrency = this.settings.concurrency or this.session.facts.concurrency
        queue = sessions.own_queue(this.session)
        handle = await sessions.start(client, this.session, queue, concurrency)
        crew = Crew(client, this.settings)
        crew.serve_steps(queue)
        stack.push_async_callback(crew.drain)
        models = sessions.models_of(this.session)
        duty = Duty(address=facts.address, queue=queue, models=models, concurrency=concurrency)
        await caller.serve(duty)
        stack.push_async_callback(_drain, this, caller)
        return await _watch(this, handle, Embedded(client, server, crew, caller))


async def _drain(this: Run, caller: Caller) -> None:
    in_flight = this.reader.read().in_flight
    if in_flight:
        this.display.say(f"finishing {in_flight} calls in flight; each is kept")
    await caller.close()


async def _run_remote(this: Run) -> int:
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


async def _watch(this: Run, handle: sessions.Handle, embedded: Embedded | None = None) -> int:
    """Show the session until it is sealed, paused, or we are told to stop; return the exit code."""
    reader = this.reader
    async with _following(handle) as result, _guarding(embedded):
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
                return _end(standing, this.session, this.display, left=True, embedded=embedded is not None)
            if standing.status == "paused" and (resuming is None or resuming.done()):
                return _end(standing, this.session, this.display)
            if embedded is not None:
                await _keep_up(this, handle, embedded)
            with suppress(TimeoutError):
                async with asyncio.timeout(SHOW_S):
                    await asyncio.wait([result, asyncio.create_task(this.stop.wait())], return_when="FIRST_COMPLETED")


async def _keep_up(this: Run, handle: sessions.Handle, embedded: Embedded) -> None:
    """Replace the process that makes the calls if it died; raise CommandError for what cannot be mended."""
    failure = embedded.crew.failure()
    if failure is not None:
        raise CommandError(f"the worker failed: {failure}; run the same command again", INFRASTRUCTURE)
    if not embedded.caller.ended:
        return
    this.display.say("the process that makes the calls died; another takes over", error=True)
    try:
        await embedded.caller.revive()
    except CallerFailed as failed:
        raise CommandError(f"{failed}; run the same command again", INFRASTRUCTURE) from failed
    with suppress(RPCError):
        await give_back(embedded.client, handle.id, CALLS)


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
async def _guarding(embedded: Embedded | None) -> AsyncIterator[None]:
    """Start the embedded server again should it die; clients and workers find it at its old port."""

    async def guard(server: EmbeddedServer) -> None:
        while True:
            await asyncio.sleep(GUARD_S)
            if server.facts() is None:
                await server.join()

    task = asyncio.create_task(guard(embedded.server)) if embedded is not None else None
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
