"""``run``: carry an experiment from its definition to its report, or go on where it was left."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import quote

from temporalio.client import Client, WorkflowFailureError, WorkflowUpdateFailedError
from temporalio.service import RPCError, RPCStatusCode

from activities.border import SealOutcome
from cli.callers import ready_caller, require_keys, require_proxy
from cli.choosing import OnChanges, choose, finished, meant
from cli.display import Display, counted
from cli.ending import end
from cli.exits import INFRASTRUCTURE, CommandError
from cli.foreseeing import Budgeted, budgeted, foresee
from cli.preparing import Prepared, prepare, prepare_again
from cli.remote import is_at_work
from cli.sessions import refuse_copy
from cli.signing import sign_seal
from cli.stopping import listen
from cli.taking_up import take_up
from discernus.experiments.definition import Definition
from discernus.experiments.experiment import OFFLINE_PREFIX
from discernus.logs import log_to
from discernus.sessions import layout
from discernus.sessions.calls import no_room
from discernus.sessions.opening import HIDDEN, StoreDamaged, store_id
from discernus.sessions.owners import Lock, Owner, is_held
from discernus.sessions.progress import ProgressReader, Standing
from discernus.sessions.session import Session
from discernus.sessions.versions import accept_versions
from discernus.settings import Settings
from discernus.stages.checkpoints import unanswered
from discernus.stages.estimate import Estimate, sentence
from discernus.stages.interpretation import prose_may_be_had
from engine import ledgers, models, sessions
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
    """One invocation: what it works on, how it shows it, and whether it was told to stop.

    ``afresh``: what a server knows of the session is past.
    """

    settings: Settings
    session: Session
    prepared: Prepared
    budgeted: Budgeted
    reader: ProgressReader
    display: Display
    stop: asyncio.Event
    afresh: bool = False


@dataclass(frozen=True)
class Wanted:
    """What the command says beside the experiment: a session anew, other models or runs than its own, new versions.

    ``extends`` is the session whose answers a new one takes over; ``on_changes`` says what to do where the experiment's
    files have changed since its session was opened, None: ask, or go on with them as they were.
    """

    new: bool = False
    extends: Session | None = None
    on_changes: OnChanges | None = None
    overridden: bool = False
    accept_versions: bool = False


async def run(settings: Settings, folder: Path, definition: Definition, display: Display, wanted: Wanted) -> int:
    """Run the experiment to its end, or to where it is stopped; return the exit code."""
    stop = asyncio.Event()
    listen(stop, display)
    anew = wanted.new or wanted.extends is not None
    if wanted.extends is not None:
        refuse_copy(settings, wanted.extends)
    if not anew:
        done = finished(
            settings, folder, definition, display, overridden=wanted.overridden, on_changes=wanted.on_changes
        )
        if done is not None and prose_may_be_had(done):
            return await _ask_for_prose(settings, done, display)
        if done is not None:
            sign_seal(settings, done, display)
            return end(ProgressReader(done).read(), done, display, already=True)
    going_on = meant(settings, folder, definition, new=anew, overridden=wanted.overridden, on_changes=wanted.on_changes)
    prepared = prepare(settings, definition) if going_on is None else prepare_again(settings, going_on)
    require_proxy(settings, prepared.models)
    for note in prepared.notes:
        display.say(note)
    async with AsyncExitStack() as stack:
        caller = None
        if settings.temporal is None:
            caller = await ready_caller(settings, definition, prepared.models, display, stack)
        try:
            chosen = choose(
                settings,
                folder,
                definition,
                lambda: prepared if going_on is None else prepare(settings, definition),
                display,
                new=anew,
                overridden=wanted.overridden,
                on_changes=wanted.on_changes,
                extends=wanted.extends,
                at_work=going_on is not None and await is_at_work(settings, going_on),
            )
        except StoreDamaged as damaged:
            raise CommandError(str(damaged), INFRASTRUCTURE) from damaged
        if chosen.complete:
            return end(ProgressReader(chosen.session).read(), chosen.session, display, already=True)
        if wanted.accept_versions:
            _accept_versions(chosen.session, display)
        if chosen.fresh and going_on is not None:
            prepared = prepare(settings, definition)
        this = _at_work(settings, chosen.session, prepared, display, stop, stack)
        return await (_run_remote(this) if caller is None else _run_embedded(this, caller))


async def _ask_for_prose(settings: Settings, session: Session, display: Display) -> int:
    """Have the tables of a complete session put into words, which could not be had in passing; return the exit code."""
    display.say("complete but for the interpretation, which could not be had: asking for it once more")
    taking_up = partial(take_up, session, "synthesis", display, try_parked=False, examined=False)
    return await go_on(settings, session, prepare_again(settings, session), display, taking_up, afresh=True)


async def go_on(
    settings: Settings,
    session: Session,
    prepared: Prepared,
    display: Display,
    taking_up: Callable[[], None],
    *,
    afresh: bool,
) -> int:
    """Carry a session on to its end, or to where it is stopped; return the exit code.

    ``taking_up`` takes apart what is made anew, once all is there that going on needs. ``afresh`` leaves aside what a
    server knows of the session.
    """
    stop = asyncio.Event()
    listen(stop, display)
    require_proxy(settings, prepared.models)
    async with AsyncExitStack() as stack:
        caller = None
        if settings.temporal is None:
            caller = await ready_caller(settings, session.definition, prepared.models, display, stack)
        taking_up()
        this = _at_work(settings, session, prepared, display, stop, stack, afresh=afresh)
        return await (_run_remote(this) if caller is None else _run_embedded(this, caller))


def _at_work(
    settings: Settings,
    session: Session,
    prepared: Prepared,
    display: Display,
    stop: asyncio.Event,
    stack: AsyncExitStack,
    *,
    afresh: bool = False,
) -> Run:
    """Return the invocation, logged and known as alive until the stack is left."""
    log_to(session.folder / layout.OPERATIONAL_LOG)
    owner = stack.enter_context(Owner(settings.projects_dir / HIDDEN / "owners"))
    reader = ProgressReader(session, owner)
    return Run(settings, session, prepared, budgeted(settings, session), reader, display, stop, afresh)


def _accept_versions(session: Session, display: Display) -> None:
    """Let the session go on with every version that has answered it."""
    accepted = accept_versions(session.store)
    for version in accepted:
        display.say(f"accepted: {version.model} answering as {version.version}, since {version.at}")
    if not accepted:
        display.say("no version waits to be accepted")


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
            return _end(this, standing, left=this.stop.is_set(), goes_on="in the other process")
        if standing.status == "paused" and not asked:
            asked = await _resume_elsewhere(this)
        await asyncio.sleep(SHOW_S if told else 0)
    try:
        if told:
            standing = this.reader.read()
            if standing.stage == "sealed":
                return _end(this, standing)
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
    return _end(this, this.reader.read(), left=left)


def _end(this: Run, standing: Standing, *, left: bool = False, goes_on: str = "") -> int:
    key = this.settings.signing_key
    return end(standing, this.session, this.display, left=left, goes_on=goes_on, signing_key=key)


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
        crew = Crew(client, this.settings)
        stack.push_async_callback(crew.drain)
        handle = await _start(this, client, queue, concurrency, crew)
        page = f"{facts.ui_url}/namespaces/default/workflows/{quote(handle.id, safe='')}/{handle.result_run_id}"
        this.display.say(f"Web UI: {page}/user-metadata")  # the one tab that shows the status in words
        crew.serve_steps(queue)
        duty = Duty(
            address=facts.address,
            store=this.session.facts.store,
            queue=queue,
            models=sessions.models_of(this.session),
            concurrency=concurrency,
        )
        await caller.serve(duty)
        stack.push_async_callback(_drain, this, caller)
        return await _watch(this, client, handle, Embedded(client, server, crew, caller, guard))


async def _start(this: Run, client: Client, queue: str, concurrency: int, crew: Crew | None = None) -> sessions.Handle:
    """Start or join the session's workflow, after what it shares with others: its models' and its project's ledger.

    ``crew`` serves these here; a fleet's workers do so for themselves.
    """
    facts, models_file = this.session.facts, this.prepared.models_file
    monitored = sessions.monitored(this.session)
    if crew is not None and monitored:
        crew.serve_shared(facts.store)
    await asyncio.gather(*(models.ensure(client, facts.store, model, models_file.rules(model)) for model in monitored))
    ledger = await ledgers.ensure(client, facts.store, facts.project) if monitored else None
    if ledger is not None and this.budgeted.binds:
        await ledgers.tell(client, facts.store, facts.project)
    foreseen = await asyncio.to_thread(
        foresee, this.settings, this.session.definition, this.prepared, unanswered(this.session)
    )
    _say_what_it_will_cost(this, foreseen.estimate)
    return await sessions.start(
        client,
        this.session,
        queue,
        concurrency,
        ledger=ledger,
        budgeted=this.budgeted.binds,
        afresh=this.afresh,
        tokens_per_call=foreseen.tokens_per_call,
    )


def _say_what_it_will_cost(this: Run, estimate: Estimate) -> None:
    """Say before anything is spent what a fresh session will take, and what its budgets leave of that."""
    standing = this.reader.read()
    if standing.calls or not any(not model.startswith(OFFLINE_PREFIX) for model in this.prepared.models):
        return
    this.display.say(sentence(estimate))
    for line in this.budgeted.foreseen(estimate, standing.cost_usd):
        this.display.say(line)


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
        handle = await _start(this, client, store_id(this.settings.projects_dir), concurrency)
    except RPCError as refused:
        raise CommandError(
            f"the Temporal server at {address} refused the session: {refused}; "
            f"has its namespace {this.settings.namespace!r} been made, with our search attributes?",
            INFRASTRUCTURE,
        ) from None
    left = await _watch(this, client, handle)
    return _end(this, this.reader.read(), left=left, goes_on="at its workers")


async def _watch(this: Run, client: Client, handle: sessions.Handle, embedded: Embedded | None = None) -> bool:
    """Show the session until it is sealed, paused, or we are told to stop; return whether we were told to."""
    reader = this.reader
    full = False
    stopped = asyncio.create_task(this.stop.wait())
    async with _following(client, this.session) as result, _resuming(handle) as resuming:
        while True:
            began, resumed = time.monotonic(), resuming.done()
            standing = await asyncio.to_thread(reader.read)
            this.display.show(standing)
            for warning in this.budgeted.news(standing.cost_usd):
                this.display.say(warning)
            if result.done():
                _conclude(this, result)
                return False
            if this.stop.is_set():
                return True
            if standing.status == "paused" and resumed:
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
        await require_keys(embedded.caller)
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
