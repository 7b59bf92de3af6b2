"""The command line as a researcher meets it: real processes, the offline model, a terminal of eighty columns."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from benchmarks.make_experiment import make_experiment
from tests.running import REPOSITORY, Starter, count, ended, environment, kill_9

STARTER = str(REPOSITORY / "starter.py")
OFFLINE = "offline/lexicon"
Start = Callable[..., Starter]


@pytest.fixture
def projects(tmp_path: Path) -> Iterator[Path]:
    """Return a projects folder with one offline experiment of six analyses, bench/speeches."""
    folder = tmp_path / "projects"
    make_experiment(folder, models=[OFFLINE], documents=3, runs=2, words=60)
    with ended(folder):
        yield folder


@pytest.fixture
def start(projects: Path) -> Iterator[Start]:
    """Return what starts ``starter.py ARGUMENTS`` in the background; ``delay_s`` is how long a call takes."""
    started: list[Starter] = []

    def begin(*arguments: str, delay_s: float = 0.0, **more: str) -> Starter:
        env = environment(projects, None, DISCERNUS_OFFLINE_DELAY_S=str(delay_s), **more)
        started.append(Starter(projects, *arguments, env=env))
        return started[-1]

    yield begin
    kill_9(*(starter.pid for starter in started if starter.code is None))


def command(projects: Path, *arguments: str, program: str = STARTER, **more: str) -> subprocess.CompletedProcess[str]:
    """Run the command to its end, both streams apart; a traceback on either is a failure."""
    call = [program] if program != STARTER else [sys.executable, STARTER]
    env = environment(projects, None, COLUMNS="80", **more)
    done = subprocess.run(
        [*call, *arguments],
        cwd=REPOSITORY,
        env=env,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=90,
    )
    assert "Traceback" not in done.stdout + done.stderr, done.stderr
    return done


def answered(projects: Path, name: str = "speeches") -> int:
    """Return how many answers the experiment's sessions hold."""
    return count(projects, f"bench/experiments/{name}/sessions/*/llm_archive/response_*.txt")


def on_one_line(said: str) -> str:
    """Return what was said, however it was broken into lines."""
    return " ".join(said.split())


def events(output: str) -> list[dict[str, object]]:
    """Return what was told to programs, an event a line."""
    return [json.loads(line) for line in output.splitlines()]


def session_name(folder: Path) -> str:
    """Return a session's name as commands say it."""
    return f"{folder.parents[3].name}/{folder.parents[1].name}/{folder.name}"
