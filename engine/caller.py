"""The process that makes an embedded session's calls: a worker of our own, started beside the terminal.

LiteLLM lives there, so that the terminal answers at once and two cores are used. Its lifeline is its standard input:
when the starter is gone, however it went, the worker takes nothing new, archives what is in flight, and ends.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from contextlib import suppress
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from discernus.sessions.opening import HIDDEN
from discernus.settings import Settings

MANY_IN_FLIGHT = 32  # one interpreter makes about 80 calls a second; from here on the worker splits in two
MOST_DEATHS = 3
DEATHS_WITHIN_S = 60.0
WORKER = Path(__file__).resolve().parents[1] / "worker.py"


class Duty(BaseModel):
    """What an embedded worker is to do: the server it connects to, the queue whose models it serves, and how many."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    address: str
    store: str
    queue: str
    models: tuple[str, ...]
    concurrency: int


class CallerFailed(Exception):
    """The process that makes the calls ended by itself."""


class Caller:
    """A worker process of our own. It is started early, told its duty when that is known, and drained at the end.

    Should it die, ``revive`` starts another with the same duty; one that dies again and again is given up.
    """

    def __init__(self, settings: Settings, models: tuple[str, ...], concurrency: int) -> None:
        self._settings = settings
        self._models = models
        self._halves = 2 if concurrency >= MANY_IN_FLIGHT and (os.cpu_count() or 1) > 1 else 1
        self._verdict: asyncio.Task[bytes] | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._duty: Duty | None = None
        self._deaths: list[float] = []
        self._log = settings.projects_dir / HIDDEN / "logs" / "callers.log"

    async def start(self) -> None:
        """Start the process; it begins to import LiteLLM at once."""
        self._log.parent.mkdir(parents=True, exist_ok=True)
        with self._log.open("ab") as sink:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                str(WORKER),
                "--embedded",
                "--projects-dir",
                str(self._settings.projects_dir),
                "--models",
                ",".join(self._models),
                "--halves",
                str(self._halves),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=sink,
                env=self._environment(),
                start_new_session=True,  # a Ctrl-C in the terminal is for the starter, which then drains us
            )
        if self._process.stdout is not None:
            self._verdict = asyncio.create_task(self._process.stdout.readline())

    def _environment(self) -> dict[str, str]:
        """Return our environment, with what was said on the command line instead."""
        proxy = self._settings.proxy_url
        return {**os.environ, **({"DISCERNUS_PROXY_URL": proxy} if proxy is not None else {})}

    async def missing_keys(self) -> dict[str, list[str]]:
        """Return the keys that models lack to be called, none for a model of no known vendor; waits for the process."""
        if self._verdict is None:
            raise CallerFailed("the process that makes the calls was not started")
        line = await self._verdict
        if not line:
            raise CallerFailed(f"the process that makes the calls ended at once; {self._log} says why")
        missing: dict[str, list[str]] = json.loads(line)
        return missing

    @property
    def has_looked(self) -> bool:
        """Whether ``missing_keys`` can be answered without waiting."""
        return self._verdict is not None and self._verdict.done()

    async def serve(self, duty: Duty) -> None:
        """Let the process poll for calls."""
        self._duty = duty
        if self._process is not None and self._process.stdin is not None:
            with suppress(ConnectionError):  # it died; whoever watches it will see
                self._process.stdin.write(duty.model_dump_json().encode() + b"\n")
                await self._process.stdin.drain()

    @property
    def ended(self) -> bool:
        """Whether the process is gone, though nobody let it go."""
        return self._process is not None and self._process.returncode is not None

    async def revive(self) -> None:
        """Start another process in place of one that died; raise CallerFailed if they die one after the other."""
        now = time.monotonic()
        self._deaths = [death for death in self._deaths if now - death < DEATHS_WITHIN_S] + [now]
        if len(self._deaths) > MOST_DEATHS:
            raise CallerFailed(
                f"the process that makes the calls died {len(self._deaths)} times within {DEATHS_WITHIN_S:.0f} s; "
                f"{self._log} may say why"
            )
        await self.start()
        if self._duty is not None:
            await self.serve(self._duty)

    async def close(self) -> None:
        """Cut the lifeline and wait until every call in flight is archived; one that had no duty yet has none."""
        if self._process is None:
            return
        if self._duty is None and self._process.returncode is None:
            self._process.kill()
        if self._process.stdin is not None:
            self._process.stdin.close()
        await self._process.wait()
