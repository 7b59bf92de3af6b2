"""Commands that are interrupted, watch each other, take over or work side by side."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.make_experiment import make_experiment
from discernus.sessions.layout import Call
from discernus.sessions.session import Session
from tests.command_line import OFFLINE, STARTER, Start, answered, command, projects, session_name, start
from tests.running import (
    REPOSITORY,
    callers,
    count,
    environment,
    kill_9,
    server_pid,
    session_folder,
    wait_until,
)

__all__ = ["projects", "start"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_ctrl_c_or_a_closed_terminal_lets_calls_in_flight_finish_and_the_same_command_goes_on(
    projects: Path, start: Start, number: signal.Signals
) -> None:
    starter = start("speeches", "--concurrency", "2", delay_s=1.2)
    wait_until(lambda: answered(projects) >= 2, "an answer is archived")
    os.killpg(starter.pid, number)
    assert starter.wait() == 130
    kept = answered(projects)
    assert 2 <= kept < 6
    wait_until(lambda: server_pid(projects) is None, "the server ends with its last client")
    assert not callers(projects)
    assert count(projects, "bench/experiments/*/sessions/*/fault_recovery/intents/*.json") == 0, "nothing is in doubt"
    if number == signal.SIGHUP:
        return
    said = starter.output.splitlines()
    assert "stopping: nothing new is started" in said
    assert said[-2] == f"interrupted: {session_name(session_folder(projects))} holds {kept} of 6 analyses"
    assert said[-1].startswith("run the same command again to go on")
    before = {path: path.stat().st_mtime_ns for path in projects.rglob("response_*.txt")}
    rerun = command(projects, "speeches")
    assert rerun.returncode == 0
    assert f"resuming {session_name(session_folder(projects))}" in rerun.stdout
    after = {path: path.stat().st_mtime_ns for path in projects.rglob("response_*.txt")}
    assert len(after) == 6
    assert before.items() <= after.items(), "what was answered is not touched"


def test_output_that_nobody_reads_ends_the_command_without_a_word(projects: Path) -> None:
    def read_one_line(*arguments: str) -> tuple[int, str]:
        process = subprocess.Popen(
            [sys.executable, STARTER, *arguments],
            cwd=REPOSITORY,
            env=environment(projects, DISCERNUS_OFFLINE_DELAY_S="1"),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        assert process.stderr is not None
        if arguments[0] == "speeches":
            process.stdout.readline()
        process.stdout.close()
        return process.wait(60), process.stderr.read()

    assert read_one_line("status") == (0, "")
    assert read_one_line("speeches", "--json", "--concurrency", "2") == (130, "")
    assert count(projects, "bench/experiments/*/sessions/*/fault_recovery/intents/*.json") == 0, "nothing is in doubt"
    wait_until(lambda: server_pid(projects) is None and not callers(projects), "nothing is left behind")


def test_a_second_starter_watches_and_takes_over_when_the_first_is_killed(projects: Path, start: Start) -> None:
    first = start("speeches", "--concurrency", "1", delay_s=1.5)
    wait_until(lambda: answered(projects) >= 1, "the first one works")
    second = start("speeches")
    watching = start("watch", "speeches")
    wait_until(lambda: "another process is running this session" in second.output, "the second one watches")
    wait_until(lambda: "analysis: " in watching.output, "the onlooker sees the session")
    kill_9(first.pid)
    assert second.wait() == 0, second.output
    assert "the other process is gone: taking over" in second.output
    assert watching.wait() == 0
    assert f"complete: {session_name(session_folder(projects))}, sealed: 6/6 analyses" in watching.output
    assert answered(projects) == 6
    assert count(projects, "bench/experiments/speeches/sessions/*/llm_archive/rival_*") == 0


def test_two_experiments_at_once_share_a_server_and_nothing_else(projects: Path, start: Start) -> None:
    make_experiment(projects, models=[OFFLINE], documents=8, runs=1, words=60, name="letters")
    short = start("speeches", "--concurrency", "6", delay_s=1)
    long = start("letters", "--concurrency", "2", delay_s=1)
    owners = wait_until(lambda: _callers_of(projects, short.pid, long.pid), "each has a process for its calls")
    assert short.wait() == 0, short.output
    assert long.code is None
    assert server_pid(projects) is not None, "an earlier leaver does not stop the server"
    assert long.wait() == 0, long.output
    wait_until(lambda: server_pid(projects) is None, "the last one out stops the server")
    for name, caller in (("speeches", owners[short.pid]), ("letters", owners[long.pid])):
        session = Session(next(projects.glob(f"bench/experiments/{name}/sessions/session_*")))
        found = [session.archive.look_up(Call(analysis.number)) for analysis in session.plan]
        records = [one[0] for one in found if one is not None]
        assert len(records) == session.facts.analyses
        assert {str(record.owner).split("-")[-2] for record in records} == {str(caller)}


def test_the_server_command_carries_an_unfinished_session_on_and_says_where_the_web_ui_is(
    projects: Path, start: Start
) -> None:
    starter = start("speeches", "--concurrency", "1", delay_s=0.5)
    wait_until(lambda: answered(projects) >= 1, "an answer is archived")
    server = start("server")
    wait_until(lambda: "Ctrl-C ends" in server.output, "the server is found")
    url = command(projects, "ui")
    assert url.returncode == 0
    assert url.stdout.strip() in server.output
    kill_9(starter.pid)
    wait_until(lambda: _is_sealed(projects), "the session goes on to its end")
    assert answered(projects) == 6
    server.interrupt()
    assert server.wait() == 0, server.output
    wait_until(lambda: server_pid(projects) is None, "the server ends")
    assert not callers(projects)


def _is_sealed(projects: Path) -> bool:
    return count(projects, "bench/experiments/speeches/sessions/*/system_state/seal_*.json") > 0


def _callers_of(projects: Path, *starters: int) -> dict[int, int] | None:
    """Return each starter's calling process, once all have one."""
    import psutil

    found = {psutil.Process(pid).ppid(): pid for pid in callers(projects)}
    return found if set(starters) <= set(found) else None
