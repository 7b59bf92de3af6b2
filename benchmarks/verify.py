"""How long it takes to verify a sealed session: every file hashed, every line and every answer checked.

``python benchmarks/verify.py --calls 10000`` writes a session of that many answered calls, seals it again (nothing has
changed), verifies it, looks it over as ``resume`` does first, and prints seconds (those of the processor as well: on a
busy machine only they tell) and the size of the seal. Run it on the disk that the projects folder is on (``--folder``).
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))

from benchmarks.large_session import sealed_session  # noqa: E402
from discernus.sessions import layout  # noqa: E402
from discernus.sessions.integrity.manifests import names_in  # noqa: E402
from discernus.sessions.integrity.seals import versions_sealed  # noqa: E402
from discernus.sessions.integrity.verification import verify  # noqa: E402
from discernus.sessions.owners import Onlooker  # noqa: E402
from discernus.sessions.resuming import conflicts  # noqa: E402
from discernus.stages.sealing import seal  # noqa: E402

T = TypeVar("T")


def measure(folder: Path, calls: int) -> dict[str, float | int]:
    """Return seconds and sizes for a session of so many calls."""
    writing, session = _timed(lambda: sealed_session(folder / "projects", calls))
    sealing, _ = _timed(lambda: seal(session))
    cpu = time.process_time()
    verifying, found = _timed(lambda: verify(session.folder))
    cpu = round(time.process_time() - cpu, 2)
    assert found.intact, found.findings
    looking, against = _timed(lambda: conflicts(session, Onlooker(folder / "owners")))
    assert not against, against
    return {
        "calls": len(session.plan),
        "files": len(names_in(session.folder)),
        "write_s": writing,
        "seal_again_s": sealing,
        "verify_s": verifying,
        "verify_cpu_s": cpu,
        "look_over_before_resume_s": looking,
        "seal_mb": round(session.store.size(layout.seal(versions_sealed(session.store)[-1])) / 1e6, 2),
    }


def _timed(work: Callable[[], T]) -> tuple[float, T]:
    began = time.perf_counter()
    result = work()
    return round(time.perf_counter() - began, 2), result


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
