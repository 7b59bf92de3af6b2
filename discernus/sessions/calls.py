"""One call, paid at most once: look it up, join it if it is under way, claim it, ask, archive, only then report.

The claim is a file that one of several rivals gets (`put_if_absent`). A claim whose owner may still live and whose
deadline has not passed is waited for; only when its owner is dead, or its time is over, does the call count as *in
doubt* and may be asked again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Protocol, TypeVar

import structlog

from discernus.llm.calls import ModelAnswer, ModelRequest
from discernus.llm.errors import CallFailed
from discernus.llm.gate import Gate, Open
from discernus.sessions.archive import Archive, ArchivedCall, Intent
from discernus.sessions.layout import Call
from discernus.sessions.owners import Owner

T = TypeVar("T")

HOLD_S = 1.0  # between two tries to write an answer that the disk would not take

log = structlog.get_logger()


class Complete(Protocol):
    """The gateway, as seen from here: one request to one model."""

    async def __call__(self, request: ModelRequest, *, idempotency_key: str) -> ModelAnswer: ...


class NoRoom(Exception):
    """Too little space to archive an answer, so none is asked for."""


def no_room(minimum_bytes: int) -> str:
    """Say that the disk is full, and what to do."""
    return f"less than {minimum_bytes // 1_000_000} MB are free where answers are archived; make room"


@dataclass(frozen=True)
class Obtained:
    """An archived call with its answer; ``reused`` says that nothing was sent for it now."""

    record: ArchivedCall
    text: str
    reused: bool


class Calls:
    """All calls of one process: what is in flight is known, joined rather than repeated, and waited for at the end."""

    def __init__(
        self,
        owner: Owner,
        complete: Complete,
        *,
        minimum_free_bytes: int,
        threads: int = 2,
        gate: Gate | None = None,
    ) -> None:
        self.gate: Gate = gate or Open()
        self._owner = owner
        self._complete = complete
        self._minimum_free_bytes = minimum_free_bytes
        self._in_flight: dict[tuple[str, Call], asyncio.Task[Obtained]] = {}
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="archive")

    @property
    def in_flight(self) -> int:
        """How many calls have been sent, or are about to be, and are not archived yet."""
        return len(self._in_flight)

    async def obtain(
        self, archive: Archive, session: str, call: Call, content_key: str, request: ModelRequest
    ) -> Obtained:
        """Return the call's answer, from the archive if it is there, else from the model.

        Raises CallFailed (archived as an error), UnderWay, NoRoom, or ArchiveDamaged. Cancelling the caller does not
        cancel the call: what has been sent is waited for and archived.
        """
        key = (session, call)
        task = self._in_flight.get(key)
        if task is None:
            task = asyncio.create_task(self._ask(archive, session, call, content_key, request))
            self._in_flight[key] = task
            task.add_done_callback(partial(self._landed, key))
        return await asyncio.shield(task)

    async def settle(self) -> None:
        """Wait until every call in flight is archived."""
        while self._in_flight:
            await asyncio.wait(list(self._in_flight.values()))

    async def _ask(
        self, archive: Archive, session: str, call: Call, content_key: str, request: ModelRequest
    ) -> Obtained:
        claimed = await self._in_thread(self._claim, archive, call, content_key, request)
        if isinstance(claimed, Obtained):
            return claimed
        sent_at = datetime.now(UTC)
        try:
            answer = await self._complete(request, idempotency_key=f"{content_key[:32]}-{session}-{call.name}")
        except Exception as broken:  # noqa: BLE001  whatever it was, a request may be out, and must leave its record
            failure = broken if isinstance(broken, CallFailed) else _unforeseen(broken, request.model)
            self.gate.observe(request.model, None, failure, sent_at)
            await self._until_written(partial(archive.record_failure, call, claimed, request, failure), call)
            raise failure from None
        self.gate.observe(request.model, answer, None, sent_at)
        record = await self._until_written(partial(archive.commit, call, claimed, request, answer), call)
        return Obtained(record, answer.text, reused=False)

    def _landed(self, key: tuple[str, Call], task: asyncio.Task[Obtained]) -> None:
        self._in_flight.pop(key, None)
        if not task.cancelled():
            task.exception()  # its caller may be gone; asked for here so that asyncio does not warn of it

    def _claim(self, archive: Archive, call: Call, content_key: str, request: ModelRequest) -> Intent | Obtained:
        found = archive.look_up(call, content_key)
        if found is not None:
            return Obtained(*found, reused=True)
        if archive.store.free_bytes() < self._minimum_free_bytes:
            raise NoRoom(f"{no_room(self._minimum_free_bytes)}, then run the same command again")
        intent = archive.claim(call, request, content_key, self._owner)
        found = archive.look_up(call, content_key)
        if found is None:
            return intent
        archive.withdraw(call, intent)  # a rival's answer came between our look-up and our claim
        return Obtained(*found, reused=True)

    async def _until_written(self, write: Callable[[], T], call: Call) -> T:
        """Write what was paid for; where the disk refuses, hold it in memory and try again until it is taken."""
        while True:
            try:
                return await self._in_thread(write)
            except OSError as refused:
                log.error("archive_refused", call=call.name, error=str(refused), held_in_memory=True)
                await asyncio.sleep(HOLD_S)

    async def _in_thread(self, function: Callable[..., T], *arguments: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, partial(function, *arguments))


def _unforeseen(error: Exception, model: str) -> CallFailed:
    return CallFailed("unknown_error", f"a call to {model!r} failed in our own code: {type(error).__name__}: {error}")
