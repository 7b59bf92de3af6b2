"""How long it takes from ``resume`` to the first new call: on a sealed session of which one analysis could not be had.

``python benchmarks/resume.py --calls 10000`` writes the session, resumes it against the fake vendor, and prints (JSON)
seconds from the command to the first request on the wire, and those of LiteLLM's import alone, which are in them.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))

from benchmarks import baseline  # noqa: E402
from benchmarks.large_session import sealed_session  # noqa: E402
from benchmarks.session import arrived_at, import_s  # noqa: E402
from discernus.sessions.resuming import full_name  # noqa: E402
from tests.fake_vendor import FakeVendor  # noqa: E402

MOST_S = 600.0  # to wait for the call


def measure(folder: Path, calls: int) -> dict[str, float | int]:
    """Return seconds until the first new call of a session that has so many."""
    projects = folder / "projects"
    session = sealed_session(projects, calls, parked=1)
    with FakeVendor(folder / "vendor") as vendor:
        began = time.time()
        process = subprocess.Popen(
            [sys.executable, str(REPOSITORY / "starter.py"), "resume", full_name(session)],
            env={**os.environ, **baseline.OFFLINE, **vendor.env(), "DISCERNUS_PROJECTS_DIR": str(projects)},
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        vendor.wait_for(requests=1, timeout_s=MOST_S)
        first = arrived_at(vendor.requests()[0]) - began
        process.send_signal(signal.SIGINT)  # it keeps everything; the tables of so many are not what is measured
        process.wait()
    return {"calls": calls, "first_call_s": round(first, 2), "import_litellm_s": round(import_s(), 2)}


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--calls", type=int, default=10_000)
    parser.add_argument("--folder", type=Path, help="where to write the session; a temporary folder if left out")
    asked = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
        sys.stdout.write(json.dumps(measure(Path(folder), asked.calls)) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
