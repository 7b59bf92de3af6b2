"""The embedded server: the real Temporal server with its Web UI, on a database file in the state folder.

The server process itself holds the lock beside its database (it inherits the locked file), so the lock tells whether
a server lives, whoever started it and however that one died. Starters hold a shared lock on a second file; the last
one out stops the server. Ports are never trusted: who holds the lock is found through ``server.json``.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import structlog
from pydantic import BaseModel, ConfigDict, ValidationError

from discernus.sessions.owners import HOST, Lock, is_held
from engine.connection import SEARCH_ATTRIBUTES, connect, keep_history

PREFERRED_PORTS = (7233, 8233)  # what the Temporal world expects; others are taken where these are in use
START_TIMEOUT_S = 60.0
MOST_STARTS = 4  # a port that is taken in the last moment fails one; what fails four has another reason
# The server writes who it is before it becomes the server: none ever runs that nobody could find.
TELL_AND_BECOME = 'printf "$1" "$$" > "$2.new" && mv "$2.new" "$2" && shift 2 && exec "$@"'
TURN_PATIENCE_S = 3.0  # for other servers of this user to start one after the other
LARGEST_LOG = 10_000_000  # bytes; a larger server.log is begun afresh at the next start

log = structlog.get_logger()


class ServerError(Exception):
    """The embedded server cannot be had; the message says why and what to do."""


class ServerFacts(BaseModel):
    """Who the running server is: ``server.json`` in the state folder."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    host: str
    pid: int
    port: int
    ui_port: int
    started_at: datetime

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def ui_url(self) -> str:
        return f"http://127.0.0.1:{self.ui_port}"


def find_binary(configured: Path | None) -> Path:
    """Return the ``temporal`` binary: as configured, beside this Python, or on the PATH; else raise ServerError."""
    if configured is not None:
        if configured.is_file():
            return configured
        raise ServerError(f"TEMPORAL_CLI_PATH names {configured}, which is not a file; unset it or correct it")
    beside = Path(sys.executable).parent / "temporal"
    if beside.is_file():
        return beside
    found = shutil.which("temporal")
    if found is None:
        raise ServerError(
            "the temporal binary is not installed; run 'uv sync', or set TEMPORAL_CLI_PATH, "
            "or use a server of your own with --temporal HOST:PORT"
        )
    return Path(found)


class EmbeddedServer:
    """This process's part in the server of a state folder: join it (starting it if need be), guard it, leave it."""

    def __init__(self, state_dir: Path, binary: Path | None = None) -> None:
        self.state_dir = state_dir.resolve()  # the server runs in it, so that a relative path would mean another
        self._binary = binary
        self._lock_path = self.state_dir / "server.lock"
        self._facts_path = self.state_dir / "server.json"
        self._last_facts_path = self.state_dir / "server.last.json"
        self._client: int | None = None

    async def join(self) -> ServerFacts:
        """Return the running server's facts, having started it if there was none."""
        try:
            self.state_dir.mkdir(parents=True, exist_ok=True)
            if self._client is None:
                descriptor = os.open(self.state_dir / "clients.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
                await asyncio.to_thread(fcntl.flock, descriptor, fcntl.LOCK_SH)
                self._client = descriptor
        except OSError as refused:
            raise ServerError(
                f"the state folder {self.state_dir} cannot be used ({refused.strerror}); "
                "choose another with --state-dir or DISCERNUS_STATE_DIR"
            ) from refused
        until = time.monotonic() + START_TIMEOUT_S
        failed = 0
        while time.monotonic() < until and failed < MOST_STARTS:
            facts = self.facts()
            if facts is not None and await _answers(facts):
                return facts
            failed += await self._try_start(fresh_ports=failed > 0)
            await asyncio.sleep(0.05)
        raise ServerError(self._why_none(failed))

    def _why_none(self, failed: int) -> str:
        """Return what kept a server from coming up, and what to do about it."""
        if not failed and is_held(self._lock_path):
            return (
                f"a server holds the state folder {self.state_dir} but did not answer within {START_TIMEOUT_S:.0f} s; "
                "end it (a process named temporal), or choose another folder with --state-dir"
            )
        output = self.state_dir / "server.log"
        said = output.read_text(errors="replace").strip().splitlines() if output.exists() else []
        database = self.state_dir / "temporal.db"
        return (
            f"the Temporal server does not start; it said: {said[-1][:300] if said else 'nothing'} ({output})\n"
            f"should its database be damaged, move {database} away: the answers are not in it, and none is lost"
        )

    def facts(self) -> ServerFacts | None:
        """Return the facts of the server that holds the lock, None if none does."""
        if not is_held(self._lock_path):
            return None
        facts = _read_facts(self._facts_path)
        if facts is not None and facts.host != HOST:
            raise ServerError(
                f"the state folder {self.state_dir} is in use by a server on {facts.host}; "
                "choose another with --state-dir, or share one server with --temporal"
            )
        return facts

    async def leave(self) -> bool:
        """Give up our part; return whether we were the last and the server was stopped."""
        if self._client is None:
            return False
        descriptor, self._client = self._client, None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        else:
            self._stop()
            return True
        finally:
            os.close(descriptor)

    def _stop(self) -> None:
        """Tell the server to end. Its facts go first, so that nobody joins it while it does."""
        facts = self.facts()
        if facts is not None:
            self._facts_path.replace(self._last_facts_path)
            os.kill(facts.pid, signal.SIGTERM)

    async def _try_start(self, *, fresh_ports: bool) -> int:
        """Start the server if nobody else has; return 1 if a start was tried and failed, so that ports change."""
        descriptor = os.open(self._lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        ports = Lock(Path(tempfile.gettempdir()) / f"discernus-ports-{os.getuid()}.lock")
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return 0
            # until ours listens, no other state folder's server starts: it would choose the same port, and whichever
            # of the two got it would answer both. Where another start takes long, we take ports of our own instead
            alone = await _within(TURN_PATIENCE_S, ports.acquire)
            port, ui_port = self._choose_ports(fresh_ports or not alone)
            with suppress(FileNotFoundError):  # the facts of a dead server, which nobody is to find beside our lock
                self._facts_path.replace(self._last_facts_path)
            process = self._spawn(descriptor, port, ui_port)
            os.close(descriptor)  # the server's own copy holds the lock from here on
            descriptor = -1
            return await self._wait_for(process, port)
        finally:
            ports.release()
            if descriptor >= 0:
                os.close(descriptor)

    async def _wait_for(self, process: subprocess.Popen[bytes], port: int) -> int:
        """Return 0 as soon as the server answers, 1 if it does not come up."""
        until = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < until and process.poll() is None:
            facts = self.facts()
            if facts is not None and await _answers(facts):
                return 0
            await asyncio.sleep(0.02)
        log.warning("server_did_not_start", exit_code=process.poll(), port=port)
        process.kill()
        return 1

    def _choose_ports(self, fresh: bool) -> tuple[int, int]:
        """Return the last server's ports if they are free, so that clients that outlived it find it again."""
        candidates = []
        if not fresh:
            for path in (self._facts_path, self._last_facts_path):
                last = _read_facts(path)
                if last is not None:
                    candidates.append((last.port, last.ui_port))
            candidates.append(PREFERRED_PORTS)
        for pair in candidates:
            if all(_is_free(port) for port in pair):
                return pair
        return _free_port(), _free_port()

    def _spawn(self, lock: int, port: int, ui_port: int) -> subprocess.Popen[bytes]:
        output = self.state_dir / "server.log"
        if output.exists() and output.stat().st_size > LARGEST_LOG:
            output.unlink()
        facts = ServerFacts(host=HOST, pid=0, port=port, ui_port=ui_port, started_at=datetime.now(UTC))
        command = [
            *("/bin/sh", "-c", TELL_AND_BECOME, "sh"),
            facts.model_dump_json().replace('"pid":0', '"pid":%s'),
            str(self._facts_path),
            str(find_binary(self._binary).resolve()),
            *("server", "start-dev", "--ip", "127.0.0.1", "--log-level", "warn"),
            *("--port", str(port), "--ui-port", str(ui_port)),
            *("--db-filename", str(self.state_dir / "temporal.db")),
            # a commit without waiting for the disk: six times faster, and a power cut costs Temporal moments that the
            # archive still has
            *("--sqlite-pragma", "journal_mode=wal", "--sqlite-pragma", "synchronous=1"),
            # rates of a task queue are kept per partition
            *("--dynamic-config-value", "matching.numTaskqueueReadPartitions=1"),
            *("--dynamic-config-value", "matching.numTaskqueueWritePartitions=1"),
        ]
        for key in SEARCH_ATTRIBUTES:
            command += ["--search-attribute", f"{key.name}={_type_name(key.indexed_value_type)}"]
        environment = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR", "LANG") if name in os.environ}
        with output.open("ab") as sink:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
                env=environment,  # no key of any vendor reaches it
                pass_fds=(lock,),
                start_new_session=True,  # a Ctrl-C in the terminal is for us; the server goes when the last client has
                cwd=self.state_dir,
            )


async def _within(seconds: float, attempt: Callable[[], bool]) -> bool:
    """Try again and again; return whether it succeeded in that time."""
    until = time.monotonic() + seconds
    while not attempt():
        if time.monotonic() > until:
            return False
        await asyncio.sleep(0.05)
    return True


def _read_facts(path: Path) -> ServerFacts | None:
    try:
        return ServerFacts.model_validate_json(path.read_bytes())
    except (FileNotFoundError, ValidationError):
        return None


def _type_name(value_type: int) -> str:
    from temporalio.api.enums.v1 import IndexedValueType

    words = IndexedValueType.Name(IndexedValueType.ValueType(value_type)).removeprefix("INDEXED_VALUE_TYPE_")
    return "".join(word.capitalize() for word in words.split("_"))


async def _answers(facts: ServerFacts) -> bool:
    """Return whether the server answers with its namespace ready, and see to its retention."""
    try:
        async with asyncio.timeout(5):
            await keep_history(await connect(facts.address, "default"))
    except (RuntimeError, TimeoutError, OSError):
        return False
    return True


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
