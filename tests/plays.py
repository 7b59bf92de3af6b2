"""An experiment of 24 analyses that scenes play, and that the same command goes on with after whatever befell it."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.make_experiment import make_experiment
from engine.server import EmbeddedServer
from tests.fake_vendor import FakeVendor
from tests.running import (
    HIDDEN,
    PATIENCE_S,
    Ledger,
    Process,
    Starter,
    callers,
    count,
    ended,
    environment,
    kill_9,
    ledger,
    played,
    server_pid,
    session_folder,
    wait_until,
)

CONCURRENCY = 6
ANALYSES = 24
EVERY_CALL_ONCE = {f"{number:03d}": 1 for number in range(1, ANALYSES + 1)}
GO_ON = "run the same command again"
RESPONSES = "llm_archive/response_*.txt"


class Play:
    """One experiment of 24 analyses and the vendor that answers it, in a folder of their own."""

    def __init__(self, folder: Path, projects_dir: Path | None = None, **vendor: Any) -> None:
        self.folder = folder
        self.projects_dir = projects_dir or folder / "projects"
        self.experiment = make_experiment(
            self.projects_dir, documents=ANALYSES // 2, runs=2, words=60, concurrency=CONCURRENCY
        )
        self.vendor = FakeVendor(folder / "vendor", **vendor)
        self.variables: dict[str, str] = {}

    def __enter__(self) -> Play:
        self._ended = ended(self.folder, self.projects_dir)
        self._ended.__enter__()
        self.vendor.start()
        return self

    def __exit__(self, *error: Any) -> None:
        self._ended.__exit__(*error)
        self.vendor.stop()

    def start(self, *arguments: str) -> Starter:
        env = environment(self.projects_dir, self.vendor, **self.variables)
        return Starter(self.projects_dir, *(arguments or ("speeches",)), env=env)

    def run(self, *arguments: str, code: int = 0) -> Starter:
        """Run to the end, which has to be the exit code that is expected."""
        starter = self.start(*arguments)
        assert starter.wait(2 * PATIENCE_S) == code, starter.output
        return starter

    @property
    def session(self) -> Path:
        return session_folder(self.projects_dir)

    @property
    def requests(self) -> int:
        return self.vendor.stats().get("requests", 0)

    def ledger(self) -> Ledger:
        return ledger(self.session, self.vendor)

    def wait_for(self, pattern: str, number: int = 1) -> None:
        wait_until(lambda: count(self.session, pattern) >= number, f"{number} {pattern}")

    def kill_all(self, starter: Process) -> list[int]:
        """Kill starter, caller and server at once; return whom."""
        server = server_pid(self.projects_dir)
        victims = [starter.pid, *callers(self.projects_dir), *([server] if server is not None else [])]
        kill_9(*victims)
        starter.kill()
        return victims


def results(session: Path) -> list[dict[str, str]]:
    with (session / "deliverables/results.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def address(play: Play) -> str:
    facts = EmbeddedServer(play.projects_dir / HIDDEN).facts()
    assert facts is not None
    return facts.address


def workflow_id(play: Play) -> str:
    facts = json.loads((play.session / "system_state/session.json").read_text())
    return "/".join((facts["project"], facts["experiment"], facts["session"]))


Scene = Callable[[Path], None]


@contextmanager
def acting(root: Path, scenes: dict[str, Scene]) -> Iterator[dict[str, Future[None]]]:
    """Play scenes, three at a time, each in a folder of its own; give what each will have come to."""
    folders = {name: root / name.replace(" ", "-") for name in scenes}
    for folder in folders.values():
        folder.mkdir()
    with played(3, {name: partial(scene, folders[name]) for name, scene in scenes.items()}) as playing:
        yield playing
