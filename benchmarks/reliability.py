"""What the gateway promises, measured on whole sessions: faults recovered, time saved by parallel calls, limits kept.

``python benchmarks/reliability.py faults`` runs a session against a vendor with 10 % mixed faults; ``parallel`` the
same session one call at a time and sixteen at a time, with a Pro model's latencies at a hundredth of their length;
``limits`` sessions against a vendor that allows 600 requests a minute, told of it and not. Each prints JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))

from benchmarks import baseline  # noqa: E402
from benchmarks.make_experiment import make_experiment  # noqa: E402
from tests.fake_vendor import FakeVendor  # noqa: E402

MODEL = "openai/scribe"
MIXED = ("rate_limit", "status_500", "status_502", "status_503", "status_529", "reset", "malformed")
RATE = 0.1  # of all calls meet one of these faults
PRO = {"median": 0.48, "p90": 0.81}  # seconds: a hundredth of what a Pro model takes
LIMIT = 600


def session(projects: Path, vendor: FakeVendor, *arguments: str) -> tuple[int, float]:
    """Run the session and return its exit code and the seconds it took."""
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, str(REPOSITORY / "starter.py"), "speeches", "--projects-dir", str(projects), *arguments],
        env={**os.environ, **baseline.OFFLINE, **vendor.env()},
        stdout=subprocess.DEVNULL,
        check=False,
    )
    return done.returncode, time.perf_counter() - began


def faults(folder: Path) -> dict[str, Any]:
    """Return how many first failures were recovered, what was parked, and whether anything answered was asked again."""
    make_experiment(folder / "projects", models=[MODEL], documents=100, runs=5, words=150, concurrency=16)
    with FakeVendor(folder / "vendor", latency_s=0.1, rates=dict.fromkeys(MIXED, RATE / len(MIXED))) as vendor:
        code, wall_s = session(folder / "projects", vendor)
        answers = vendor.answers()
    asked = Counter(entry.idempotency_key for entry in answers if entry.fault != "malformed")
    said = subprocess.run(
        [sys.executable, str(REPOSITORY / "starter.py"), "errors", "--projects-dir", str(folder / "projects")],
        capture_output=True,
        text=True,
        check=True,
    )
    return {
        "exit_code": code,
        "wall_s": round(wall_s, 1),
        "answered": len(asked),
        "answered_twice": sum(times > 1 for times in asked.values()),
        "errors": said.stdout.splitlines(),
    }


def parallel(folder: Path) -> dict[str, Any]:
    """Return the share of the time that sixteen calls at a time save beside one at a time."""
    taken = {}
    for name, concurrency in (("sequential", 1), ("parallel", 16)):
        projects = folder / name / "projects"
        make_experiment(projects, models=[MODEL], documents=20, runs=6, words=150, concurrency=concurrency)
        with FakeVendor(folder / name / "vendor", latency_s=PRO) as vendor:
            _, taken[name] = session(projects, vendor)
    saved = 1 - taken["parallel"] / taken["sequential"]
    return {name: round(seconds, 1) for name, seconds in taken.items()} | {"share_saved": round(saved, 3)}


def limits(folder: Path) -> dict[str, Any]:
    """Return for a limit that we are told, and one that only the headers tell, the calls refused and the time."""
    found = {}
    for name in ("told", "learned"):
        projects = folder / name / "projects"
        make_experiment(projects, models=[MODEL], documents=150, runs=10, words=150, concurrency=64)
        if name == "told":
            rule = f"models:\n  {MODEL}:\n    requests_per_minute: {LIMIT}\n"
            (projects / "models.yaml").write_text(rule, encoding="utf-8")
        with FakeVendor(folder / name / "vendor", latency_s=0.5, requests_per_window=LIMIT, window_s=60.0) as vendor:
            code, wall_s = session(projects, vendor)
            stats = vendor.stats()
        refused = stats.get("fault limiter", 0)
        ideal_s = (stats["answers"] - LIMIT) / LIMIT * 60  # the first window's calls may all come at once
        found[name] = {
            "exit_code": code,
            "answers": stats["answers"],
            "refused_429": refused,
            "share_refused": round(refused / stats["requests"], 4),
            "wall_s": round(wall_s, 1),
            "evenly_paced_s": round(stats["answers"] / LIMIT * 60, 1),
            "ideal_s": round(ideal_s, 1),
        }
    return found


MEASURES = {"faults": faults, "parallel": parallel, "limits": limits}


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("measure", choices=MEASURES)
    asked = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        sys.stdout.write(json.dumps(MEASURES[asked.measure](Path(folder)), indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
