"""How long an answer takes to be durable: from the moment it is there to the return of its commit, files flushed.

``python benchmarks/archive.py`` archives answers of 2.5 kB one after the other, then 64 at a time, and prints
medians and 99th percentiles in milliseconds. Run it on the disk that the projects folder is on (``--folder``).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))

from discernus.llm.calls import Message, ModelAnswer, ModelRequest, Usage  # noqa: E402
from discernus.sessions.archive import Archive  # noqa: E402
from discernus.sessions.calls import Calls  # noqa: E402
from discernus.sessions.chronologs.chronolog import chronolog_of  # noqa: E402
from discernus.sessions.layout import Call  # noqa: E402
from discernus.sessions.owners import Owner  # noqa: E402
from discernus.sessions.store import LocalStore  # noqa: E402

REQUEST = ModelRequest(
    model="openai/scribe",
    messages=(Message(role="system", content="framework " * 600), Message(role="user", content="text " * 300)),
)


class Answering:
    """Stands in for the gateway: answers at once, and remembers when."""

    def __init__(self) -> None:
        self.answered_at: dict[str, float] = {}

    async def __call__(self, request: ModelRequest, *, idempotency_key: str) -> ModelAnswer:
        self.answered_at[idempotency_key.rpartition("-")[2]] = time.perf_counter()
        return ModelAnswer(
            text=f"{idempotency_key} " * 40,
            finish_reason="stop",
            model_requested=request.model,
            model_answered=request.model,
            usage=Usage(prompt_tokens=1500, completion_tokens=600),
            cost_usd=0.001,
            price_source="benchmark",
            started_at=datetime.now(UTC),
            latency_ms=1.0,
        )


async def measure(folder: Path, answers: int, at_once: int, *, noted: bool = True) -> dict[str, float]:
    """Archive that many answers, so many at once; return the median and the 99th percentile in ms.

    They are ``noted`` in a chronolog, as in every session, unless told otherwise.
    """
    answering = Answering()
    session = folder / "session"
    session.mkdir(parents=True)
    archive = Archive(LocalStore(session), chronolog=chronolog_of(session) if noted else None)
    waits: list[float] = []
    with Owner(folder / "owners") as owner:
        calls = Calls(owner, answering, minimum_free_bytes=0)
        slots = asyncio.Semaphore(at_once)

        async def one(number: int) -> None:
            call = Call(number)
            async with slots:
                await calls.obtain(archive, "session", call, f"{number:064d}", REQUEST)
                waits.append((time.perf_counter() - answering.answered_at[call.name]) * 1000)

        await asyncio.gather(*(one(number) for number in range(1, answers + 1)))
    waits.sort()
    return {"median_ms": round(statistics.median(waits), 2), "p99_ms": round(waits[int(len(waits) * 0.99)], 2)}


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--answers", type=int, default=1000)
    parser.add_argument("--folder", type=Path, help="where to archive; a temporary folder if left out")
    asked = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
        result = {
            f"{at_once} at a time": asyncio.run(measure(Path(folder) / str(at_once), asked.answers, at_once))
            for at_once in (1, 64)
        }
    sys.stdout.write(json.dumps(result) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
