"""A worker: takes sessions' steps and models' calls off the queues of one store. Run any number, on any machine.

It polls the store's own queue, finds the models of running sessions, and serves those whose keys it has. SIGTERM or
Ctrl-C drains it: nothing new is taken, calls in flight are finished and archived.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import structlog
import typer
from pydantic import ValidationError
from temporalio.client import Client

from discernus.llm import gateway
from discernus.llm.models_file import ModelRules, ModelsFileInvalid, current_models_file, read_models_file
from discernus.logs import log_to
from discernus.sessions.calls import Calls
from discernus.sessions.chronologs import segments
from discernus.sessions.opening import HIDDEN, store_id
from discernus.sessions.owners import Owner
from discernus.settings import DEFAULT_CONCURRENCY, Settings
from engine import sessions
from engine.caller import Duty
from engine.connection import connect
from engine.models import ModelBook
from engine.workers import Crew

log = structlog.get_logger()

UNREPORTED_PATIENCE_S = 10.0  # what is archived need not be reported; the next worker finds it there
LOOK_ROUND_S = 2.0  # how often to look for sessions with models not served yet


async def serve_store(settings: Settings, address: str, only: frozenset[str]) -> int:
    """Serve all sessions of the store until told to stop; return the exit code."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await asyncio.to_thread(gateway.load_client)
    store = store_id(settings.projects_dir)
    client = await connect(address, settings.namespace)
    book = ModelBook(client, store, _rules_of(settings))
    with Owner(settings.projects_dir / HIDDEN / "owners") as owner:
        calls = Calls(owner, gateway.complete, minimum_free_bytes=settings.minimum_free_bytes, gate=book)
        crew = Crew(client, settings)
        crew.serve_shared(store)
        crew.serve_steps(store)
        typer.echo(f"worker {owner.id} serves store {store} at {address}; SIGTERM or Ctrl-C drains it")
        try:
            failure = await _serve_models(crew, client, settings, store, calls, only, stop)
        finally:
            typer.echo(f"draining: {calls.in_flight} calls in flight")
            await _let_go(crew, calls, book)
    if failure is not None:
        typer.echo(f"worker stopped: {failure}", err=True)
        return 4
    typer.echo("drained: every call is archived")
    return 0


def _rules_of(settings: Settings) -> Callable[[str], ModelRules]:
    """Return what tells what models.yaml says of a model at that moment."""
    return lambda model: current_models_file(settings.models_path).rules(model)


async def _serve_models(
    crew: Crew,
    client: Client,
    settings: Settings,
    store: str,
    calls: Calls,
    only: frozenset[str],
    stop: asyncio.Event,
) -> BaseException | None:
    """Serve each model that a running session needs and we have keys for, until told to stop or a worker fails."""
    told: set[str] = set()
    while not stop.is_set():
        if crew.failure() is not None:
            return crew.failure()
        try:
            wanted = {model for session in await sessions.running(client, store) for model in session.models}
        except Exception as odd:  # noqa: BLE001  the server may be away for a moment; the workers wait for it
            log.warning("sessions_not_listed", reason=f"{type(odd).__name__}: {odd}")
            wanted = set()
        for model in sorted(wanted - told):
            told.add(model)
            missing = gateway.missing_keys(model)
            if only and model not in only:
                continue
            if missing:
                typer.echo(f"model {model!r} is not served here: set {', '.join(missing)}", err=True)
                continue
            crew.serve_model(store, model, calls, settings.concurrency or DEFAULT_CONCURRENCY)
            typer.echo(f"model {model!r} is served")
        with suppress(TimeoutError):
            async with asyncio.timeout(LOOK_ROUND_S):
                await stop.wait()
    return None


async def _let_go(crew: Crew, calls: Calls, book: ModelBook) -> None:
    """Take nothing new, finish and archive every call, and report them, unless the server is gone for good."""
    drained = asyncio.create_task(crew.drain_work())
    idle_s = 0.0
    while not drained.done() and idle_s < UNREPORTED_PATIENCE_S:
        await asyncio.wait({drained}, timeout=0.5)
        idle_s = 0.0 if calls.in_flight else idle_s + 0.5
    await calls.settle()
    await book.close()  # while the models' own workflows may still be served by us
    await crew.drain()


def serve_starter(settings: Settings, models: frozenset[str], halves: int) -> int:
    """Make the calls of one session for the starter at the other end of our standard input, until that is closed.

    With two ``halves`` the process splits once LiteLLM is there: one interpreter runs on one core only, and what both
    have imported takes its time and its memory once.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)  # the lifeline decides, not the terminal
    gateway.warm_up()
    missing = {
        model: list(keys)
        for model in sorted(models)
        if (keys := gateway.missing_keys(model)) or not gateway.has_vendor(model)
    }
    print(json.dumps(missing), flush=True)  # noqa: T201
    gateway.load_client()
    line = sys.stdin.buffer.readline()
    if not line:
        return 0
    other = os.fork() if halves > 1 else None
    log_to(settings.projects_dir / HIDDEN / "logs" / "worker.jsonl")
    return asyncio.run(_make_calls(settings, Duty.model_validate_json(line), other or None))


async def _make_calls(settings: Settings, duty: Duty, other: int | None) -> int:
    """Poll for calls until the lifeline is cut, a worker fails, or the other half has died."""
    lifeline = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lifeline), sys.stdin)
    client = await connect(duty.address, "default")
    book = ModelBook(client, duty.store, _rules_of(settings))
    with Owner(settings.projects_dir / HIDDEN / "owners") as owner:
        calls = Calls(owner, gateway.complete, minimum_free_bytes=settings.minimum_free_bytes, gate=book)
        crew = Crew(client, settings)
        for model in duty.models:
            crew.serve_model(duty.queue, model, calls, duty.concurrency)
        cut = asyncio.create_task(lifeline.read())  # to its end
        died = {asyncio.create_task(asyncio.to_thread(os.waitpid, other, 0))} if other is not None else set()
        await asyncio.wait({cut, *died, *crew.runs()}, return_when="FIRST_COMPLETED")
        failed = crew.failure() is not None or not cut.done()
        await _let_go(crew, calls, book)
        await asyncio.gather(*died)
    return 4 if failed else 0


def main(
    temporal: Annotated[str | None, typer.Option(help="Temporal server, host:port [env: DISCERNUS_TEMPORAL].")] = None,
    projects_dir: Annotated[Path | None, typer.Option(help="The store [env: DISCERNUS_PROJECTS_DIR].")] = None,
    models: Annotated[str | None, typer.Option(help="Serve only these models, separated by commas.")] = None,
    concurrency: Annotated[int | None, typer.Option(min=1, help="Calls in flight per model, in this worker.")] = None,
    embedded: Annotated[bool, typer.Option(hidden=True)] = False,
    halves: Annotated[int, typer.Option(hidden=True)] = 1,
) -> None:
    """Serve the sessions of a store from this machine, until SIGTERM or Ctrl-C."""
    given = {"projects_dir": projects_dir, "temporal": temporal, "concurrency": concurrency}
    only = frozenset(filter(None, (models or "").split(",")))
    try:
        settings = Settings(**{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]
        read_models_file(settings.models_path, required=settings.models_file is not None)
    except (ValidationError, ModelsFileInvalid) as invalid:  # of settings: no value is repeated, it could be a secret
        typer.echo(f"error: {invalid}", err=True)
        _exit(2)
    gateway.configure(settings)
    if embedded:
        _exit(serve_starter(settings, only, halves))
    log_to(settings.projects_dir / HIDDEN / "logs" / "worker.jsonl")
    if settings.temporal is None:
        typer.echo("error: no Temporal server is named → pass --temporal HOST:PORT or set DISCERNUS_TEMPORAL", err=True)
        _exit(2)
    else:
        try:
            _exit(asyncio.run(serve_store(settings, settings.temporal, only)))
        except (RuntimeError, OSError) as refused:
            typer.echo(f"error: no Temporal server answers at {settings.temporal} ({refused})", err=True)
            _exit(4)


def _exit(code: int) -> None:
    """End the process at once: an interpreter that used the Temporal client may crash while it shuts down."""
    with suppress(OSError):  # the disk refused it all along
        segments.flush()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    typer.run(main)
