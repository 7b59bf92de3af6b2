"""How long it takes to verify a sealed session, and to seal it: every file hashed, every line and every answer checked.

``python benchmarks/verify.py --calls 10000`` writes a session of that many answered calls as a run leaves it, seals it
twice (the second time nothing has changed), verifies it, and prints seconds (those of the processor as well: on a busy
machine only they tell) and the size of the seal. Run it on the disk that the projects folder is on (``--folder``).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))

from benchmarks.make_experiment import make_experiment  # noqa: E402
from discernus.experiments.definition import read_definition  # noqa: E402
from discernus.sessions import layout  # noqa: E402
from discernus.sessions.calls import Calls  # noqa: E402
from discernus.sessions.integrity.manifests import names_in  # noqa: E402
from discernus.sessions.integrity.verification import verify  # noqa: E402
from discernus.sessions.opening import open_session  # noqa: E402
from discernus.sessions.owners import Owner  # noqa: E402
from discernus.sessions.session import Session  # noqa: E402
from discernus.settings import Settings  # noqa: E402
from discernus.stages.analysis import analyse  # noqa: E402
from discernus.stages.calculation import calculate  # noqa: E402
from discernus.stages.reading import read_answer  # noqa: E402
from discernus.stages.sealing import seal  # noqa: E402
from discernus.stages.synthesis import synthesise  # noqa: E402
from tests.stand_ins import Model, scores  # noqa: E402

AT_ONCE = 64
RUNS = 5

T = TypeVar("T")


def measure(folder: Path, calls: int) -> dict[str, float | int]:
    """Return seconds and sizes for a session of so many calls."""
    projects = folder / "projects"
    experiment = make_experiment(projects, documents=-(-calls // RUNS), runs=RUNS, words=200)
    definition = read_definition(experiment)
    session = open_session(projects, experiment, definition, concurrency=AT_ONCE, call_timeout_s=60, mirror=None)
    asyncio.run(_answer_all(session, folder / "owners"))
    for analysis in session.plan:
        read_answer(session, analysis.number, 0, final=True)
    calculating, _ = _timed(lambda: calculate(session))
    synthesise(session)
    sealing, sealed = _timed(lambda: seal(session))
    again, _ = _timed(lambda: seal(session))
    cpu = time.process_time()
    verifying, found = _timed(lambda: verify(session.folder))
    cpu = round(time.process_time() - cpu, 2)
    assert found.intact, found.findings
    return {
        "calls": len(session.plan),
        "files": len(names_in(session.folder)),
        "calculate_s": calculating,
        "seal_s": sealing,
        "seal_again_s": again,
        "verify_s": verifying,
        "verify_cpu_s": cpu,
        "seal_mb": round(session.store.size(layout.seal(sealed.version)) / 1e6, 2),
    }


async def _answer_all(session: Session, owners: Path) -> None:
    settings, slots = Settings(), asyncio.Semaphore(AT_ONCE)
    with Owner(owners) as owner:
        calls = Calls(owner, Model(scores()), minimum_free_bytes=0)

        async def one(number: int) -> None:
            async with slots:
                await analyse(session, calls, settings, number, 0)

        await asyncio.gather(*(one(analysis.number) for analysis in session.plan))


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
