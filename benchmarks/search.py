"""How long a search takes: over a session of so many calls, at first, then with the index up to date.

``python benchmarks/search.py`` archives and reads 10,000 answers of 2.5 kB, and prints milliseconds: of the first
search, which reads them all, and the median and the worst of later ones, each of which looks at the size and the time
of change of every file.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from random import Random

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))

from benchmarks.make_experiment import POLES, make_experiment  # noqa: E402
from discernus.experiments.definition import read_definition  # noqa: E402
from discernus.extraction.extract import extract  # noqa: E402
from discernus.sessions import layout  # noqa: E402
from discernus.sessions.archive import ArchivedCall  # noqa: E402
from discernus.sessions.layout import Call  # noqa: E402
from discernus.sessions.opening import open_session  # noqa: E402
from discernus.sessions.search_index import Query, search  # noqa: E402
from discernus.sessions.session import Extracted, Session  # noqa: E402

WORDS = 350  # of an answer's prose
RARE = "heliotrope"  # a word that one answer has
RUNS = 10
SEARCHES = {"a rare word": RARE, "a common word": "word7", "two common words": "word7 word11", "a beginning": "word1*"}


def make_session(projects: Path, calls: int) -> Session:
    """Return a session with that many answers, archived and read, without the durability that takes time."""
    folder = make_experiment(projects, documents=calls // RUNS, runs=RUNS, words=60)
    definition = read_definition(folder)
    session = open_session(projects, folder, definition, concurrency=1, call_timeout_s=60, mirror=None)
    chance = Random(4)
    read = extract(_answer(chance, ""), definition.framework)
    for analysis in session.plan:
        call = Call(analysis.number)
        data = _answer(chance, RARE if analysis.number == calls // 2 else "").encode()
        record = _record(call, analysis.model, data)
        _write(session.folder / call.metadata, record.model_dump_json(indent=1).encode())
        _write(session.folder / call.request, b'{"messages": []}')
        _write(session.folder / call.response, data)
        extracted = Extracted(
            **analysis.model_dump(),
            call=call.name,
            second_call=None,
            response_sha256=record.response_sha256,
            extraction=read,
        )
        _write(session.folder / layout.extracted(analysis.number), extracted.model_dump_json(indent=1).encode())
    return session


def measure(folder: Path, calls: int, times: int) -> dict[str, float]:
    """Return the milliseconds of the first search and of later ones."""
    projects = folder / "projects"
    session = make_session(projects, calls)

    def took(text: str) -> float:
        began = time.perf_counter()
        assert search(projects, [session.folder], Query(text), limit=20).total
        return (time.perf_counter() - began) * 1000

    result = {"calls": float(calls), "first_ms": took(RARE)}
    for name, text in SEARCHES.items():
        waits = [took(text) for _ in range(times)]
        result |= {f"{name}, median_ms": statistics.median(waits), f"{name}, worst_ms": max(waits)}
    return {name: round(value, 1) for name, value in result.items()}


def _answer(chance: Random, word: str) -> str:
    prose = " ".join(f"word{int(chance.expovariate(0.02))}" for _ in range(WORDS))
    scores = {f"{pole.name}_score": round(chance.random(), 2) for pole in POLES}
    return json.dumps({"tone": f"{prose} {word}".strip(), **scores}, indent=1)


def _record(call: Call, model: str, data: bytes) -> ArchivedCall:
    now = datetime.now(UTC)
    return ArchivedCall(
        call=call.name,
        number=call.number,
        purpose=call.purpose,
        ask=0,
        attempt=1,
        owner="benchmark",
        content_key=f"{call.number:064d}",
        response_sha256=sha256(data).hexdigest(),
        response_bytes=len(data),
        finish_reason="stop",
        model_requested=model,
        model_answered=model,
        prompt_tokens=1500,
        completion_tokens=600,
        cached_tokens=None,
        reasoning_tokens=None,
        cost_usd=0.001,
        price_source="benchmark",
        latency_ms=1.0,
        started_at=now,
        archived_at=now,
        parameters={},
        dropped_parameters=(),
        model_forensics={},
        response_metadata={},
    )


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--calls", type=int, default=10_000)
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--folder", type=Path, help="where to write; a temporary folder if left out")
    asked = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
        sys.stdout.write(json.dumps(measure(Path(folder), asked.calls, asked.times), indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
