"""What intervals of consistency are worth, and how long they take.

``python benchmarks/consistency.py`` draws sets of scores (six runs, normal, rounded to tenths) of known consistency and
prints, for each number of documents, in how many of 100 sets the interval holds the true coefficient, and in how many
its lower bound lies above it, which is what a threshold is judged on. Then it prints the seconds that the coefficients
of 20 dimensions of 1,000 documents take.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))

from discernus.statistics.consistency import score_coefficients  # noqa: E402

RUNS, SCALE, TRUTH_FROM = 6, 0.35, 4000
COEFFICIENTS = ("ICC(1,1)", "ICC(1,k)", "ordinal alpha", "interval alpha", "Cronbach's alpha")


def scores(chance: np.random.Generator, documents: int, share: float) -> tuple[tuple[float, ...], ...]:
    """Return scores of which that share of the variance lies between documents."""
    between = np.sqrt(share) * chance.normal(size=(documents, 1))
    within = np.sqrt(1 - share) * chance.normal(size=(documents, RUNS))
    return tuple(map(tuple, np.round(SCALE * (between + within), 1).tolist()))


def coverage(chance: np.random.Generator, documents: int, share: float, sets: int, truth: list[float]) -> None:
    held, above = np.zeros(len(COEFFICIENTS)), np.zeros(len(COEFFICIENTS))
    for _ in range(sets):
        for place, one in enumerate(score_coefficients(scores(chance, documents, share))):
            low, high = one.interval.low, one.interval.high
            if low is not None and high is not None:
                held[place] += low <= truth[place] <= high
                above[place] += low > truth[place]
    for name, true, inside, over in zip(COEFFICIENTS, truth, held, above, strict=True):
        shown = f"held {100 * inside / sets:.0f}, lower bound above {100 * over / sets:.0f} of 100"
        sys.stdout.write(f"{documents:3} documents  {name:16} of {true:.2f}: {shown}\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", type=int, default=200)
    sets = parser.parse_args().sets
    chance = np.random.default_rng(7)
    for share in (0.5, 0.9):
        truth = [one.value or 0.0 for one in score_coefficients(scores(chance, TRUTH_FROM, share))]
        for documents in (8, 20, 40):
            coverage(chance, documents, share, sets, truth)
    tables = [scores(chance, 1000, 0.5) for _ in range(20)]
    began = time.perf_counter()
    for table in tables:
        score_coefficients(table)
    sys.stdout.write(f"1,000 documents, {RUNS} runs, 20 dimensions: {time.perf_counter() - began:.1f} s\n")


if __name__ == "__main__":
    main()
