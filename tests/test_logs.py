"""Operational logs: every process has its own, and none is lost while it is compressed."""

from __future__ import annotations

import gzip
import json
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from discernus import logs
from discernus.logs import log_to
from tests.running import REPOSITORY


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    """Leave the logging of this process as it was."""
    root, ours = logging.getLogger(), logging.getLogger("discernus")
    handlers, levels = list(root.handlers), (root.level, ours.level)
    yield
    for handler in list(root.handlers):
        if handler not in handlers:
            handler.close()
    root.handlers[:] = handlers
    root.setLevel(levels[0])
    ours.setLevel(levels[1])
    structlog.reset_defaults()


def log(count: int, start: int = 0) -> None:
    for number in range(start, start + count):
        structlog.get_logger("discernus.test").info("call", number=number)


def entries(folder: Path) -> list[dict[str, Any]]:
    """Return what all logs of the folder say, in the order of their names."""
    read: list[dict[str, Any]] = []
    for path in sorted(folder.iterdir()):
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        read += [json.loads(line) for line in data.splitlines()]
    return read


def test_a_log_is_named_by_its_role_and_its_process_and_holds_json(tmp_path: Path) -> None:
    log_to(tmp_path / "logs" / "operational.jsonl")
    log(1)
    (path,) = (tmp_path / "logs").iterdir()
    assert path.name.startswith("operational_")
    assert f"-{os.getpid()}_" in path.name
    (entry,) = entries(tmp_path / "logs")
    assert (entry["event"], entry["number"], entry["level"]) == ("call", 0, "info")


def test_a_process_that_has_nothing_to_say_leaves_no_log(tmp_path: Path) -> None:
    log_to(tmp_path / "operational.jsonl")
    assert list(tmp_path.iterdir()) == []


def test_full_parts_are_compressed_and_no_line_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "LARGEST_PART", 1000)
    log_to(tmp_path / "operational.jsonl")
    log(100)
    plain = [path for path in tmp_path.iterdir() if path.suffix != ".gz"]
    assert len(plain) == 1
    assert len(list(tmp_path.iterdir())) > 10
    assert [entry["number"] for entry in entries(tmp_path)] == list(range(100))


def test_a_disk_that_has_no_room_to_compress_keeps_the_part_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "LARGEST_PART", 1000)

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copyfileobj", refuse)
    log_to(tmp_path / "operational.jsonl")
    log(50)
    assert not [path for path in tmp_path.iterdir() if path.suffix == ".gz" or path.name.startswith(".tmp-")]
    assert [entry["number"] for entry in entries(tmp_path)] == list(range(50))


PROGRAM = """
import os, signal, shutil, sys
from pathlib import Path
import structlog
from discernus import logs
logs.LARGEST_PART = 2000
if sys.argv[2] == "dies":
    def die(*_):
        os.kill(os.getpid(), signal.SIGKILL)
    shutil.copyfileobj = die
logs.log_to(Path(sys.argv[1]) / "operational.jsonl")
for number in range(100):
    structlog.get_logger("discernus.test").info("call", number=number, pid=os.getpid())
"""


def process(folder: Path, how: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", PROGRAM, str(folder), how], cwd=REPOSITORY)


def test_a_process_that_dies_while_it_compresses_loses_nothing(tmp_path: Path) -> None:
    assert process(tmp_path, "dies").wait(60) < 0
    for path in tmp_path.glob(".tmp-*"):
        path.unlink()
    assert not list(tmp_path.glob("*.gz"))
    numbers = [entry["number"] for entry in entries(tmp_path)]
    assert numbers == list(range(len(numbers)))
    assert len(numbers) > 10


def test_processes_of_one_session_do_not_turn_over_each_others_logs(tmp_path: Path) -> None:
    rivals = [process(tmp_path, "lives") for _ in range(3)]
    assert [rival.wait(60) for rival in rivals] == [0, 0, 0]
    of: dict[int, list[int]] = {}
    for entry in entries(tmp_path):
        of.setdefault(entry["pid"], []).append(entry["number"])
    assert list(of.values()) == [list(range(100))] * 3
