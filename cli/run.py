"""``run``: carry an experiment from its definition to its report, or go on where it was left."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from temporalio.client import Client, WorkflowFailureError, WorkflowUpdateFailedError
from temporalio.service import RPCError, RPCStatusCode

from activities.border import SealOutcome
from cli.choosing import choose
from cli.display import Display, cost, counted, silence
from cli.exits import COMPLETE, INFRASTRUCTURE, INTERRUPTED, INVALID, PARTIAL, PAUSED, CommandError, command_name
from discernus.experiments.definition import Definition
from discernus.experiments.experiment import OFFLINE_PREFIX
from discernus.logs import log_to
from discernus.sessions import layout
from discernus.sessions.calls import no_room
from discernus.sessions.opening import HIDDEN, StoreDamaged, find_session, store_id
from discernus.sessions.owners import Lock, Owner, is_held
from discernus.sessions.progress import ProgressReader, Standing
from discernus.sessions.session import Session
from discernus.settings import DEFAULT_CONCURRENCY, Settings
from discernus.stages.sealing import gave_nothing
from engine import sessions
from engine.caller import Caller, CallerFailed, Duty
from engine.connection import connect
from engine.server import EmbeddedServer, ServerError
from engine.takeover import CALLS, give_back
from engine.workers import Crew
from workflows.experiment import ExperimentWorkflow

SHOW_S = 0.5  # between two looks at the store
SHOW_SHARE = 10.0  # at a large store, a look takes at most a tenth of the time
LONGEST_SHOW_S = 2.0
GUARD_S = 0.5  # between two looks at the embedded server


@dataclass(frozen=True)
class Embedded:
    """What an embedded session stands on: its server, its workflow worker, and the process that makes its calls."""

    client: Client
    server: EmbeddedServer
    crew: Crew
    caller: Caller
    guard: asyncio.Task[None]


@dataclass(frozen=True)
class Run:
    """One invocation: what it works on, how it shows it, and whether it was told to stop."""

    settings: Settings
    session: Session
    reader: ProgressReader
    display: Display
    stop: asyncio.Event


async def run(
    settings: Settings, folder: Path, definition: Definition, display: Display, *, new: bool, overridden: bool
) -> int:
    """Run the experiment to its end, or to where it is stopped; return the exit code."""
    stop = asyncio.Event()
    _listen(stop, display)
    if not new:
        finished = _finished(settings, folder, definition, overridden=overridden)
        if finished is not None:
            return _end(ProgressReader(finished).read(), finished, display, already=True)
    async with AsyncExitStack() as stack:
        caller = await _ready_caller(settings, definition, display, stack) if settings.temporal is None else None
        try:
            chosen = choose(settings, folder, definition, display, new=new, overridden=overridden)
        except StoreDamaged as damaged:
            raise CommandError(str(damaged), INFRASTRUCTURE) from damaged
        if chosen.complete:
            return _end(ProgressReader(chosen.session).read(), chosen.session, display, already=True)
        log_to(chosen.session.folder / layout.OPERATIONAL_LOG)
        owner = stack.enter_context(Owner(settings.projects_dir / HIDDEN / "owners"))
        this = Run(settings, chosen.session, ProgressReader(chosen.session, owner), display, stop)
        return await (_run_remote(this) if caller is None else _run_embedded(this, caller))


def _finished(settings: Settings, folder: Path, definition: Definition, *, overridden: bool) -> Session | None:
    """Return the session that is meant if it is complete and its files are the same: then nothing need be started."""
    choice = find_session(settings.projects_dir, folder, definition, same_plan=overridden)
    return choice.session if choice is not None and choice.state == "complete" and not choice.changes else None


async def _ready_caller(settings: Settings, definition: Definition, display: Display, stack: AsyncExitStack) -> Caller:
    """Start the process that makes the calls; raise CommandError for keys that it lacks, before a session is opened."""
    experiment = definition.experiment
    wanted = [*experiment.models, *([experiment.extraction_model] if experiment.extraction_model else [])]
    models = tuple(dict.fromkeys(wanted))
    caller = Caller(settings, models, settings.concurrency or experiment.concurrency or DEFAULT_CONCURRENCY)
    await caller.start()
    stack.push_async_callback(caller.close)
    if all(model.startswith(OFFLINE_PREFIX) or _has_usual_key(model) for model in models):
        return caller  # what the process finds is looked at as soon as it has
    display.say("looking for the models' keys")
    await _require_keys(caller)
    return caller


def _has_usual_key(model: str) -> bool:
    """Return whether the key is there under the name that most vendors' keys have: ``OPENAI_API_KEY`` for openai/…."""
    vendor, slash, _ = model.partition("/")
    return bool(slash and os.environ.get(f"{vendor.upper()}_API_KEY"))


async def _require_keys(caller: Caller) -> None:
    """Raise CommandError for every model that cannot be called from here."""
    try:
        missing = await caller.missing_keys()
    except CallerFailed as failed:
        raise CommandError(str(failed), INFRASTRUCTURE) from failed
    if missing:
        raise CommandError("\n".join(_why_not(model, keys) for model, keys in missing.items()), INVALID)


def _why_not(model: str, keys: list[str]) -> str:
    if not keys:
        return f"error: model {model!r} belongs to no vendor that LiteLLM knows; write vendor/model, as openai/gpt-4o"
    return f"error: model {model!r} needs {', '.join(keys)}; set it, or run with --models offline/lexicon"


async def _run_embedded(this: Run, caller: Caller) -> int:
    """Own the session if nobody does; else watch its owner, and take over should it die."""
    lock = Lock(this.session.folder / layout.OWNER_LOCK)
    told = asked = False
    while not lock.acquire():
        standing = this.reader.read()
        if told:
            this.display.show(standing)
        elif is_held(lock.path):  # a glance at the lock holds it for an instant, and is nobody's work
            this.display.say("another process is running this session: watching it; Ctrl-C leaves it running")
            told = True
        if standing.stage == "sealed" or this.stop.is_set():
            return _end(standing, this.session, this.display, left=this.stop.is_set(), goes_on="in the other process")
        if standing.status == "paused" and not asked:
            asked = await _resume_elsewhere(this)
        await asyncio.sleep(SHOW_S if told else 0)
    try:
        if told:
            standing = this.reader.read()
            if standing.stage == "sealed":
                return _end(standing, this.session, this.display)
            this.display.say("the other process is gone: taking over")
        left = await _serve(this, caller)
    except ServerError as failed:
        raise CommandError(str(failed), INFRASTRUCTURE) from failed
    except RPCError as failed:
        raise CommandError(
            f"the Temporal server failed: {failed}; run the same command again", INFRASTRUCTURE
        ) from None
    finally:
        lock.release()
    return _end(this.reader.read(), this.session, this.display, left=left)


async def _resume_elsewhere(this: Run) -> bool:
    """Let a paused session go on that ``starter.py server`` serves; return whether it was asked to."""
    facts = EmbeddedServer(this.settings.state_folder).facts()
    if facts is None:
        return False
    with suppress(RPCError, RuntimeError):
        client = await connect(facts.address, "default")
        await _resume(client.get_workflow_handle_for(ExperimentWorkflow.run, this.session.name))
    return True


async def _serve(this: Run, caller: Caller) -> bool:
    """Serve our session on the embedded server until it ends or pauses, or we are told to stop (then return True)."""
    async with AsyncExitStack() as stack:
        server = EmbeddedServer(this.settings.state_folder, this.settings.temporal_cli_path)
        facts = await server.join()
        stack.push_async_callback(server.leave)
        guard = await stack.enter_async_context(_guarding(server, facts.address))
        client = await connect(facts.address, "default")
        await give_back(client, this.session.name)
        concurrency = this.settings.concurrency or this.session.facts.concurrency
        queue = sessions.own_queue(this.session)
        handle = await sessions.start(client, this.session, queue, concurrency)
        page = f"{facts.ui_url}/namespaces/default/workflows/{_quoted(handle.id)}/{handle.result_run_id}"
        this.display.say(f"Web UI: {page}/user-metadata")  # the one tab that shows the status in words
        crew = Crew(client, this.settings)
        crew.serve_steps(queue)
        stack.push_async_callback(crew.drain)
        models = sessions.models_of(this.session)
        duty = Duty(address=facts.address, queue=queue, models=models, concurrency=concurrency)
        await caller.serve(duty)
        stack.push_async_callback(_drain, this, caller)
        return await _watch(this, client, handle, Embedded(client, server, crew, caller, guard))


async def _drain(this: Run, caller: Caller) -> None:
    """Let calls in flight finish, and show how they do."""
    closing = asyncio.create_task(caller.close())
    told = False
    while not closing.done():
        standing = await asyncio.to_thread(this.reader.read)
        if standing.in_flight and not told:
            told = True
            calls = counted(standing.in_flight, "call")
            this.display.say(f"finishing {calls} in flight; each is kept. Ctrl-C again leaves that to the background")
        if told:
            this.display.show(standing)
        await asyncio.wait({closing}, timeout=SHOW_S)
    await closing


async def _run_remote(this: Run) -> int:
    """Start or join the session on a shared server, whose workers run elsewhere, and watch it."""
    address = str(this.settings.temporal)
    try:
        client = await connect(address, this.settings.namespace)
    except RuntimeError as refused:
        raise CommandError(
            f"no Temporal server answers at {address}; start it, or leave out --temporal to run one of our own",
            INFRASTRUCTURE,
        ) from refused
    concurrency = this.settings.concurrency or this.session.facts.concurrency
    try:
        handle = await sessions.start(client, this.session, store_id(this.settings.projects_dir), concurrency)
    except RPCError as refused:
        raise CommandError(
            f"the Temporal server at {address} refused the session: {refused}; "
            f"has its namespace {this.settings.namespace!r} been made, with our search attributes?",
            INFRASTRUCTURE,
        ) from None
    left = await _watch(this, client, handle)
    return _end(this.reader.read(), this.session, this.display, left=left, goes_on="at its workers")


async def _watch(this: Run, client: Client, handle: sessions.Handle, embedded: Embedded | None = None) -> bool:
    """Show the session until it is sealed, paused, or we are told to stop; return whether we were told to."""
    reader = this.reader
    full = False
    stopped = asyncio.create_task(this.stop.wait())
    async with _following(client, this.session) as result, _resuming(handle) as resuming:
        while True:
            began = time.monotonic()
            standing = await asyncio.to_thread(reader.read)
            this.display.show(standing)
            if result.done():
                _conclude(this, result)
                return False
            if this.stop.is_set():
                return True
            if standing.status == "paused" and resuming.done():
                return False
            if embedded is not None:
                await _keep_up(this, handle, embedded)
                full = _tell_of_full_disk(this, told=full)
            pause = min(max(SHOW_S, SHOW_SHARE * (time.monotonic() - began)), LONGEST_SHOW_S)
            await asyncio.wait([result, stopped], timeout=pause, return_when="FIRST_COMPLETED")


def _tell_of_full_disk(this: Run, *, told: bool) -> bool:
    """Say once that the disk is full: with no room for a note, the workflow's pause does not reach the store either."""
    full = this.session.store.free_bytes() < this.settings.minimum_free_bytes
    if full and not told:
        this.display.say(
            f"{no_room(this.settings.minimum_free_bytes)}; "
            "nothing new is asked for, and answers that still arrive are held until there is room",
            error=True,
        )
    return full


async def _keep_up(this: Run, handle: sessions.Handle, embedded: Embedded) -> None:
    """Replace the process that makes the calls if it died; raise CommandError for what cannot be mended."""
    failure = embedded.crew.failure()
    if failure is not None:
        raise CommandError(f"the worker failed: {failure}; run the same command again", INFRASTRUCTURE)
    if embedded.guard.done():
        embedded.guard.result()
    if embedded.caller.has_looked and not embedded.caller.ended:
        await _require_keys(embedded.caller)
    if not embedded.caller.ended:
        return
    this.display.say("the process that makes the calls died; another takes over", error=True)
    try:
        await embedded.caller.revive()
    except CallerFailed as failed:
        raise CommandError(f"{failed}; run the same command again", INFRASTRUCTURE) from failed
    with suppress(RPCError):
        await give_back(embedded.client, handle.id, CALLS)


@asynccontextmanager
async def _resuming(handle: sessions.Handle) -> AsyncIterator[asyncio.Task[None]]:
    """Let the session go on, should it be paused; what the store says of a pause counts only once that is done."""
    task = asyncio.create_task(_resume(handle))
    try:
        yield task
    finally:
        task.cancel()


async def _resume(handle: sessions.Handle) -> None:
    """Ask the workflow to go on until it has accepted, or has ended."""
    while True:
        try:
            return await sessions.resume(handle)
        except WorkflowUpdateFailedError:
            return None
        except RPCError as refused:
            if refused.status == RPCStatusCode.NOT_FOUND:
                return None
            await asyncio.sleep(GUARD_S)


@asynccontextmanager
async def _following(client: Client, session: Session) -> AsyncIterator[asyncio.Task[SealOutcome]]:
    """Wait for the workflow's result in the background, over any restart of the server and any reset."""

    async def follow() -> SealOutcome:
        while True:
            try:
                return await sessions.outcome(client, session)
            except RPCError as failed:
                if failed.status == RPCStatusCode.NOT_FOUND:
                    raise
                await asyncio.sleep(GUARD_S)

    task = asyncio.create_task(follow())
    try:
        yield task
    finally:
        task.cancel()


@asynccontextmanager
async def _guarding(server: EmbeddedServer, address: str) -> AsyncIterator[asyncio.Task[None]]:
    """Start the embedded server again should it die; clients and workers find it at its old port."""

    async def guard() -> None:
        while True:
            await asyncio.sleep(GUARD_S)
            if server.facts() is None and (await server.join()).address != address:
                raise ServerError("the Temporal server died and its port was taken; run the same command again")

    task = asyncio.create_task(guard())
    try:
        yield task
    finally:
        task.cancel()


def _conclude(this: Run, result: asyncio.Task[SealOutcome]) -> None:
    """Raise CommandError if the workflow ended in any other way than by sealing its session."""
    try:
        result.result()
    except RPCError as lost:
        raise CommandError(
            f"Temporal knows nothing of session {this.session.name} any more ({lost}); "
            "all answers are kept: run the same command again to go on",
            INFRASTRUCTURE,
        ) from lost
    except WorkflowFailureError as failed:
        raise CommandError(
            f"session {this.session.name} was ended: {failed.cause or failed}; "
            "all answers are kept: run the same command again to go on",
            INFRASTRUCTURE,
        ) from failed


def _end(
    standing: Standing,
    session: Session,
    display: Display,
    *,
    left: bool = False,
    already: bool = False,
    goes_on: str = "",
) -> int:
    """Say how it ended and what comes next; return the exit code. ``goes_on`` says where it does, if left."""
    name = session.name
    report = session.folder / layout.REPORT
    counts = f"{standing.done} of {standing.planned} analyses"
    again = "run the same command again to go on; nothing that was answered is paid for twice"
    status, code = standing.status, COMPLETE
    if left and standing.stage != "sealed":
        status, code = "interrupted", INTERRUPTED
        lines = [f"interrupted: {name} holds {counts}", again]
        if goes_on:
            watching = f"{command_name()} watch {name}"
            lines = [f"left: {name} goes on {goes_on} ({counts} so far)", f"watch it with: {watching}"]
    elif standing.status == "paused":
        code = PAUSED if "free where answers" not in standing.reason else INFRASTRUCTURE
        lines = [f"paused: {name} holds {counts}", f"why: {standing.reason}", again]
    elif standing.status == "partial":
        code = PARTIAL
        unusable = gave_nothing(session) - standing.parked
        gaps = [f"{standing.parked} could not be had"] if standing.parked else []
        gaps += [f"{counted(unusable, 'answer')} gave no score"] if unusable else []
        lines = [f"partial: {name}", f"{counts}; {', '.join(gaps)}"]
        if standing.last_failure:
            lines.append(f"last failure: {standing.last_failure}")
        if standing.parked:
            lines.append("run the same command again to try them once more; what was answered is not paid for twice")
    else:
        before = " already" if already else ""
        lines = [f"complete{before}: {name}", f"{counts}, {cost(standing)}"]
        if already:
            lines.append("nothing is left to do; --new opens another session")
    if standing.in_doubt:
        calls = counted(standing.in_doubt, "call")
        lines.append(f"{calls} in doubt: sent, perhaps paid for, with no answer that arrived")
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
    """Let Ctrl-C, SIGTERM and the closing of the terminal ask for an orderly end."""

    def asked() -> None:
        if stop.is_set():  # once more: the process that makes the calls goes on by itself until each is archived
            display.say("leaving now; calls in flight are finished and kept in the background")
            display.close()
            os._exit(INTERRUPTED)
        stop.set()
        display.say("stopping: nothing new is started")

    def hung_up() -> None:
        for stream in (sys.stdout, sys.stderr):
            silence(stream)
        stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, asked)
    loop.add_signal_handler(signal.SIGHUP, hung_up)


def _quoted(workflow_id: str) -> str:
    from urllib.parse import quote

    return quote(workflow_id, safe="")
