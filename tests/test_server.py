"""The embedded server: who starts it, who finds it, who stops it, and what is said when it cannot be had."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest
from temporalio.api.operatorservice.v1 import ListSearchAttributesRequest
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest

from discernus.sessions.owners import HOST, is_held
from engine.connection import SEARCH_ATTRIBUTES, connect
from engine.server import PREFERRED_PORTS, EmbeddedServer, ServerError, ServerFacts
from tests.running import REPOSITORY, Starter, end_all, ended, environment, kill_9, server_pid, wait_until

A_CLIENT = """
import asyncio, sys
from pathlib import Path
from engine.server import EmbeddedServer

async def join():
    print((await EmbeddedServer(Path(sys.argv[1])).join()).pid, flush=True)
    await asyncio.sleep(600)

asyncio.run(join())
"""


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    """Return a state folder whose server, if any, ends with the test."""
    folder = tmp_path / "state"
    yield folder
    end_all(folder)


@pytest.fixture
def client(state: Path) -> Iterator[Callable[[], subprocess.Popen[str]]]:
    """Return what starts another process that has joined the server and stays."""
    with ExitStack() as started:

        def start() -> subprocess.Popen[str]:
            command = [sys.executable, "-c", A_CLIENT, str(state)]
            process = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)
            started.callback(process.wait)
            started.callback(process.kill)
            return process

        yield start


@asynccontextmanager
async def joined(state: Path) -> AsyncIterator[tuple[EmbeddedServer, ServerFacts]]:
    server = EmbeddedServer(state)
    facts = await server.join()
    try:
        yield server, facts
    finally:
        await server.leave()


def is_gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def write_facts(state: Path, *, host: str = HOST, pid: int, ports: tuple[int, int]) -> None:
    facts = ServerFacts(host=host, pid=pid, port=ports[0], ui_port=ports[1], started_at=datetime.now(UTC))
    state.mkdir(parents=True, exist_ok=True)
    (state / "server.json").write_text(facts.model_dump_json())


async def test_it_knows_our_search_attributes_keeps_ninety_days_and_gets_no_vendors_key(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-that-nobody-else-may-have")
    async with joined(state) as (_, facts):
        temporal = await connect(facts.address, "default")
        known = await temporal.operator_service.list_search_attributes(ListSearchAttributesRequest(namespace="default"))
        described = await temporal.workflow_service.describe_namespace(DescribeNamespaceRequest(namespace="default"))
        environment_of_server = Path(f"/proc/{facts.pid}/environ").read_bytes()
    assert {key.name: key.indexed_value_type for key in SEARCH_ATTRIBUTES}.items() <= known.custom_attributes.items()
    assert described.config.workflow_execution_retention_ttl.ToTimedelta().days == 90
    assert b"PATH=" in environment_of_server
    assert b"nobody-else" not in environment_of_server
    assert b"API_KEY" not in environment_of_server


async def test_the_server_outlives_a_killed_client_and_the_next_one_finds_it(
    state: Path, client: Callable[[], subprocess.Popen[str]]
) -> None:
    first = client()
    assert first.stdout is not None
    pid = int(first.stdout.readline())
    first.kill()
    first.wait()
    assert is_held(state / "server.lock"), "the server itself holds the lock"
    server = EmbeddedServer(state)
    assert (await server.join()).pid == pid
    assert await server.leave(), "the dead do not count as clients"
    wait_until(lambda: is_gone(pid), "the last one out stops the server")
    wait_until(lambda: not is_held(state / "server.lock"), "its lock goes with it")
    assert not (state / "server.json").exists()


async def test_two_that_join_at_once_start_one_server_and_the_last_one_out_stops_it(state: Path) -> None:
    one, other = EmbeddedServer(state), EmbeddedServer(state)
    facts, same = await asyncio.gather(one.join(), other.join())
    assert facts == same
    assert len([process for process in psutil.process_iter() if _is_server_of(process, state)]) == 1
    assert not await one.leave()
    await connect(facts.address, "default")
    assert await other.leave()
    wait_until(lambda: is_gone(facts.pid), "the last one out stops the server")


async def test_one_that_comes_while_the_last_one_leaves_gets_a_server_that_stays(state: Path) -> None:
    leaving, coming = EmbeddedServer(state), EmbeddedServer(state)
    first = await leaving.join()
    assert await leaving.leave()
    second = await coming.join()
    assert second.pid != first.pid
    await connect(second.address, "default")
    await coming.leave()


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    """Return a process that has nothing to do with us."""
    with subprocess.Popen(["sleep", "600"]) as process:
        yield process
        process.kill()


async def test_what_a_dead_server_left_is_not_taken_for_a_living_one(
    state: Path, stranger: subprocess.Popen[bytes]
) -> None:
    """Its process id belongs to somebody else by now, who must come to no harm; its ports are used again."""
    with socket.socket() as a, socket.socket() as b:
        for probe in (a, b):
            probe.bind(("127.0.0.1", 0))
        ports = (a.getsockname()[1], b.getsockname()[1])
        a.close()
        b.close()
        write_facts(state, pid=stranger.pid, ports=ports)
        (state / "server.lock").write_text("")
        async with joined(state) as (_, facts):
            assert facts.pid != stranger.pid
            assert (facts.port, facts.ui_port) == ports
        assert stranger.poll() is None


@pytest.mark.parametrize("garbage", ["{", '{"host": 1}'])
async def test_a_server_json_that_cannot_be_read_is_written_anew(state: Path, garbage: str) -> None:
    state.mkdir()
    (state / "server.json").write_text(garbage)
    async with joined(state) as (_, facts):
        assert json.loads((state / "server.json").read_text())["pid"] == facts.pid


async def test_ports_that_something_else_has_are_left_to_it(state: Path) -> None:
    with ExitStack() as taken:
        for port in PREFERRED_PORTS:
            occupant = taken.enter_context(socket.socket())
            occupant.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with suppress(OSError):  # taken already: all the better
                occupant.bind(("127.0.0.1", port))
                occupant.listen()
        async with joined(state) as (_, facts):
            assert not {facts.port, facts.ui_port} & set(PREFERRED_PORTS)


async def test_a_state_folder_of_another_machine_is_refused_in_words(state: Path) -> None:
    write_facts(state, host="another-machine", pid=1, ports=PREFERRED_PORTS)
    with (state / "server.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(ServerError, match=r"in use by a server on another-machine; .*--state-dir"):
            await EmbeddedServer(state).join()


async def test_a_damaged_database_is_named_with_what_to_do(state: Path) -> None:
    state.mkdir()
    (state / "temporal.db").write_bytes(os.urandom(100_000))
    with pytest.raises(ServerError) as refused:
        await EmbeddedServer(state).join()
    assert "file is not a database" in str(refused.value)
    assert f"move {state / 'temporal.db'} away" in str(refused.value)
    (state / "temporal.db").unlink()
    async with joined(state) as (_, facts):
        await connect(facts.address, "default")


async def test_a_state_folder_that_cannot_be_used_is_named_with_what_to_do(state: Path) -> None:
    state.write_text("a file")
    with pytest.raises(ServerError, match=r"cannot be used .*--state-dir"):
        await EmbeddedServer(state).join()


async def test_servers_that_start_at_once_never_answer_for_each_other(tmp_path: Path) -> None:
    servers = [EmbeddedServer(tmp_path / f"state-{number}") for number in range(5)]
    with ended(tmp_path):
        first = await servers[0].join()
        await servers[0].leave()  # its ports are free now, and the others all believe that they were theirs
        for server in servers[1:]:
            server.state_dir.mkdir()
            (server.state_dir / "server.last.json").write_text(first.model_dump_json())
        facts = await asyncio.gather(*(server.join() for server in servers[1:]))
        assert len({one.port for one in facts}) == len(facts)
        await asyncio.sleep(1)  # one whose port was taken would be gone by now
        assert all(server.facts() for server in servers[1:])
        for server in servers[1:]:
            await server.leave()


def test_a_server_killed_under_a_running_session_comes_back_at_its_port_and_the_session_ends(tmp_path: Path) -> None:
    from benchmarks.make_experiment import make_experiment

    projects = tmp_path / "projects"
    make_experiment(projects, models=["offline/lexicon"], documents=8, runs=1, words=60)
    env = environment(projects, DISCERNUS_OFFLINE_DELAY_S="1")
    try:
        starter = Starter(projects, "speeches", "--concurrency", "2", env=env)
        sessions = projects / "bench/experiments/speeches/sessions"
        wait_until(lambda: list(sessions.glob("*/extracted/extracted_*.json")), "the first analysis is done")
        state = projects / ".discernus"
        before = ServerFacts.model_validate_json((state / "server.json").read_bytes())
        kill_9(before.pid)
        wait_until(lambda: server_pid(state) not in (None, before.pid), "another server is started")
        after = wait_until(lambda: _other_facts(state, before), "its facts are written")
        assert after.port == before.port
        assert starter.wait() == 0, starter.output
        assert len(list(sessions.glob("*/llm_archive/response_*.txt"))) == 8
        assert not list(sessions.glob("*/llm_archive/rival_*"))
        wait_until(lambda: server_pid(state) is None, "the server is stopped by the last one out")
    finally:
        end_all(projects)


def _other_facts(state: Path, before: ServerFacts) -> ServerFacts | None:
    written = state / "server.json"
    if not written.exists():
        return None
    facts = ServerFacts.model_validate_json(written.read_bytes())
    return facts if facts.pid != before.pid else None


def _is_server_of(process: psutil.Process, state: Path) -> bool:
    with suppress(psutil.Error):
        return str(state / "temporal.db") in process.cmdline()
    return False
