"""A whole session beside the floor: everything included, from the interpreter's start to the report and the exit.

``python benchmarks/session.py`` alternates the floor (bare asyncio and LiteLLM) and a session of ours, for the same
200 documents × 3 runs at 0.2 s a call and 64 in flight, and prints medians as JSON. ``--restart`` kills everything
half-way instead and measures how long the same command takes to its first new call, and to full speed.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))

from benchmarks import baseline  # noqa: E402
from benchmarks.make_experiment import make_experiment  # noqa: E402
from tests.fake_vendor import Entry, FakeVendor  # noqa: E402

MODEL = "openai/scribe"
IMPORT = "import time; t = time.perf_counter(); import litellm; print(time.perf_counter() - t)"


class Meter(threading.Thread):
    """Samples the CPU time and memory of a process and all it started, the embedded server included."""

    def __init__(self, pid: int, state_dir: Path) -> None:
        super().__init__(daemon=True)
        self._root = psutil.Process(pid)
        self._facts = state_dir / "server.json"
        self._cpu_s: dict[tuple[str, int], float] = {}
        self.peak_mb = 0.0
        self._done = threading.Event()

    def run(self) -> None:
        while not self._done.wait(0.1):
            with suppress(psutil.Error):
                self._sample()

    def finish(self) -> dict[str, float]:
        """Stop, and return CPU seconds by part: ours and the server's."""
        self._done.set()
        self.join()
        parts: dict[str, float] = {}
        for (part, _), seconds in self._cpu_s.items():
            parts[part] = parts.get(part, 0.0) + seconds
        return {part: round(seconds, 2) for part, seconds in parts.items()}

    def _sample(self) -> None:
        memory = 0.0
        processes = [self._root, *self._root.children(recursive=True)]
        with suppress(OSError, ValueError, psutil.Error):
            processes.append(psutil.Process(json.loads(self._facts.read_text())["pid"]))
        for process in {process.pid: process for process in processes}.values():
            with suppress(psutil.Error):
                part = "server" if "temporal" in process.name() else "ours"
                used = process.cpu_times()
                self._cpu_s[part, process.pid] = used.user + used.system
                memory += process.memory_info().rss / 1e6
        self.peak_mb = max(self.peak_mb, memory)


def start(projects: Path, vendor: FakeVendor) -> subprocess.Popen[bytes]:
    """Start the session's command, or the same command again."""
    return subprocess.Popen(
        [sys.executable, str(REPOSITORY / "starter.py"), "speeches", "--projects-dir", str(projects)],
        env={**os.environ, **baseline.OFFLINE, **vendor.env()},
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )


def one_session(folder: Path, asked: argparse.Namespace) -> dict[str, Any]:
    """Run a fresh session to its end and return what it took."""
    projects = folder / "projects"
    make_experiment(projects, models=[MODEL], documents=asked.documents, runs=asked.runs, concurrency=asked.in_flight)
    with FakeVendor(folder / "vendor", latency_s=asked.latency) as vendor:
        began = time.perf_counter()
        process = start(projects, vendor)
        meter = Meter(process.pid, projects / ".discernus")
        meter.start()
        code = process.wait()
        wall_s = time.perf_counter() - began
        cpu_s = meter.finish()
        calls = len(vendor.answers())
    if code != 0:
        raise RuntimeError(f"the session ended with exit code {code}")
    return {
        "wall_s": round(wall_s, 2),
        "cpu_s": cpu_s,
        "cpu_s_per_1000_calls": round(sum(cpu_s.values()) / calls * 1000, 1),
        "peak_memory_mb": round(meter.peak_mb),
        "calls": calls,
    }


def one_restart(folder: Path, asked: argparse.Namespace) -> dict[str, Any]:
    """Kill everything half-way, run the same command again, and return how long it took to call again."""
    projects = folder / "projects"
    make_experiment(projects, models=[MODEL], documents=asked.documents, runs=asked.runs, concurrency=asked.in_flight)
    total = asked.documents * asked.runs
    with FakeVendor(folder / "vendor", latency_s=asked.latency) as vendor:
        process = start(projects, vendor)
        vendor.wait_for(answers=total // 2, timeout_s=300)
        _kill_all(process, projects / ".discernus" / "server.json")
        before = vendor.requests()
        again = time.time()
        process = start(projects, vendor)
        code = process.wait()
        requests = vendor.requests()
    if code != 0:
        raise RuntimeError(f"the session ended with exit code {code}")
    speed = _rate(before)
    later = [arrived_at(entry) - again for entry in requests[len(before) :]]
    return {
        "first_call_s": round(later[0], 2),
        "full_speed_s": round(_full_speed(later, 0.8 * speed), 2),
        "import_litellm_s": round(import_s(), 2),
        "calls_before": len(before),
        "calls_after": len(later),
        "rate_before": round(speed, 1),
    }


def _kill_all(process: subprocess.Popen[bytes], facts: Path) -> None:
    doomed = [process.pid, json.loads(facts.read_text())["pid"]]
    doomed += [child.pid for child in psutil.Process(process.pid).children(recursive=True)]
    for pid in doomed:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait()


def _rate(requests: list[Entry]) -> float:
    """Return the requests per second of the middle half."""
    times = sorted(arrived_at(entry) for entry in requests)
    middle = times[len(times) // 4 : 3 * len(times) // 4]
    return len(middle) / (middle[-1] - middle[0])


def _full_speed(times: list[float], wanted: float) -> float:
    """Return when, for the first time, a whole second begins that brings the wanted rate."""
    for index, moment in enumerate(times):
        if sum(moment <= other < moment + 1 for other in times[index:]) >= wanted:
            return moment
    return times[-1]


def arrived_at(entry: Entry) -> float:
    """Return when a request arrived, in seconds since the epoch."""
    return datetime.fromisoformat(entry.at).timestamp()


def import_s() -> float:
    """Return how many seconds LiteLLM's import takes in a fresh interpreter."""
    said = subprocess.run(
        [sys.executable, "-c", IMPORT],
        env={**os.environ, **baseline.OFFLINE},
        capture_output=True,
        check=True,
        text=True,
    )
    return float(said.stdout)


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--documents", type=int, default=200)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--in-flight", type=int, default=64)
    parser.add_argument("--latency", type=float, default=0.2, help="seconds per call")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--restart", action="store_true", help="measure the way back after kill -9 of everything")
    asked = parser.parse_args(argv)
    results: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:  # deleted at the end only: deleting slows the next files down
        for repeat in range(asked.repeats):
            if asked.restart:
                results.append(one_restart(Path(folder) / str(repeat), asked))
                continue
            floor = [f"--{name}={value}" for name, value in _floor(asked).items()]
            with FakeVendor(Path(folder) / f"floor-{repeat}", latency_s=asked.latency) as vendor:
                bare = baseline.measure({**baseline.OFFLINE, **vendor.env()}, floor)
            results.append({"bare": bare, "ours": one_session(Path(folder) / str(repeat), asked)})
            sys.stderr.write(json.dumps(results[-1]) + "\n")
    summary: dict[str, Any] = {"repeats": results}
    if not asked.restart:
        ours = statistics.median(result["ours"]["wall_s"] for result in results)
        bare = statistics.median(result["bare"]["wall_s"] for result in results)
        summary["median_wall_s"] = {"ours": ours, "bare": bare, "ratio": round(ours / bare, 2)}
    sys.stdout.write(json.dumps(summary, indent=1) + "\n")
    return 0


def _floor(asked: argparse.Namespace) -> dict[str, object]:
    return {
        "documents": asked.documents,
        "runs": asked.runs,
        "in-flight": asked.in_flight,
        "latency": asked.latency,
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
