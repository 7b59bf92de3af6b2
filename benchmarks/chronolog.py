"""How long an event and an answer take to be durable, with 64 writers at once, and what the chronolog costs an answer.

``python benchmarks/chronolog.py`` prints medians and 99th percentiles in milliseconds: of events that 64 threads note,
each ten times a second, from the time in the line to the return of the flush that covers it; of answers archived 64 at
a time, without a chronolog and with one, turn by turn; and the seconds that gathering and checking all of it take.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any
from unittest.mock import patch

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))

from benchmarks.archive import measure  # noqa: E402
from discernus.sessions import layout  # noqa: E402
from discernus.sessions.chronologs.chronolog import chronolog_of, gather  # noqa: E402
from discernus.sessions.chronologs.chronolog_check import check  # noqa: E402
from discernus.sessions.chronologs.events import Event, read_lines  # noqa: E402

WRITERS = 64
EVERY_S = 0.1
FACTS = {"call": "017", "attempt": 1, "model": "openai/scribe", "response_sha256": "0" * 64, "cost_usd": 0.0125}


class Flushes:
    """Stands before ``os.fdatasync`` and remembers which size of the file was durable when."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, float]] = []
        self._flush = os.fdatasync

    def __call__(self, descriptor: int) -> None:
        size = os.fstat(descriptor).st_size
        self._flush(descriptor)
        self.seen.append((size, time.time()))


def measure_events(folder: Path, events: int) -> dict[str, float]:
    """Note that many events from 64 threads; return how long they took to be durable, in ms, and to be noted."""
    folder.mkdir()
    chronolog = chronolog_of(folder)
    chronolog.note("session_opened")
    chronolog.flush()
    flushes = Flushes()
    noting: list[float] = []

    def write() -> None:
        for _ in range(events // WRITERS):
            before = time.perf_counter()
            chronolog.note("call_answered", **FACTS)
            noting.append((time.perf_counter() - before) * 1000)
            time.sleep(EVERY_S)

    threads = [threading.Thread(target=write) for _ in range(WRITERS)]
    with patch.object(os, "fdatasync", flushes):
        for thread in threads:
            thread.start()
            time.sleep(EVERY_S / WRITERS)
        for thread in threads:
            thread.join()
        chronolog.flush()
    (path,) = (folder / layout.SEGMENTS).iterdir()
    ends = [len(line) for line in path.read_bytes().splitlines(keepends=True)]
    waits, end = [], 0
    for length, line in zip(ends, read_lines(path, Event).read, strict=True):
        end += length
        if line.number > 1:
            waits.append((next(at for size, at in flushes.seen if size >= end) - line.event.at.timestamp()) * 1000)
    return {
        **_percentiles(waits),
        "noting_median_ms": round(statistics.median(noting), 3),
        "flushes": len(flushes.seen),
    }


def _percentiles(waits: list[float]) -> dict[str, float]:
    waits = sorted(waits)
    return {
        "median_ms": round(statistics.median(waits), 2),
        "p99_ms": round(waits[int(len(waits) * 0.99)], 2),
        "worst_ms": round(waits[-1], 2),
    }


def measure_gathering(folder: Path) -> dict[str, float]:
    """Return how long 30,000 events take to be gathered, gathered again, and checked, in seconds."""
    folder.mkdir()
    chronolog = chronolog_of(folder)
    for number in range(30_000):
        chronolog.note("call_answered", number=number, **FACTS)
    chronolog.flush()
    taken = {}
    for name, step in (("gather_s", gather), ("gather_again_s", gather), ("check_s", check)):
        began = time.perf_counter()
        step(folder)
        taken[name] = round(time.perf_counter() - began, 2)
    return taken


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--events", type=int, default=6400)
    parser.add_argument("--answers", type=int, default=600)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where to write; a temporary folder if left out")
    asked = parser.parse_args(argv)
    result: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(dir=asked.folder) as name:
        folder = Path(name)
        result["events"] = measure_events(folder / "events", asked.events)
        for repeat in range(asked.repeats):
            for noted in (False, True):
                at = folder / f"answers-{noted}-{repeat}"
                began = time.perf_counter()
                taken = asyncio.run(measure(at, asked.answers, WRITERS, noted=noted))
                taken["answers_per_s"] = round(asked.answers / (time.perf_counter() - began), 1)
                result.setdefault("answers noted" if noted else "answers not noted", []).append(taken)
        result["30,000 events"] = measure_gathering(folder / "gathering")
    sys.stdout.write(json.dumps(result, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
