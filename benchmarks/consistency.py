"""What intervals of consistency are worth, and how long they take.

``python benchmarks/consistency.py`` draws sets of scores (six runs, rounded to tenths, with normal noise over runs) of
known consistency and prints, for documents that are normal or skewed (chi-square, two degrees of freedom) and for each
number of them, in how many of 100 sets the interval holds the true coefficient, and in how many its lower bound lies
above it, which is what a threshold is judged on; of those by resampling, also in how many the draws alone would hold
it. Then it prints the seconds that the coefficients of 20 dimensions of 1,000 documents take.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from pathlib import Path

import numpy as np

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))

from discernus.statistics import icc, krippendorff  # noqa: E402
from discernus.statistics.consistency import score_coefficients  # noqa: E402
from discernus.statistics.resampling import Interval, estimates  # noqa: E402

RUNS, SCALE, TRUTH_FROM = 6, 0.35, 4000
BY_DRAWS = ("ICC(1,1)", "ICC(1,k)", "ordinal alpha", "interval alpha")
COEFFICIENTS = (*BY_DRAWS, "Cronbach's alpha")


def scores(chance: np.random.Generator, documents: int, share: float, *, skewed: bool) -> tuple[tuple[float, ...], ...]:
    """Return scores of which that share of the variance lies between documents."""
    drawn = (chance.chisquare(2, size=(documents, 1)) - 2) / 2 if skewed else chance.normal(size=(documents, 1))
    between = np.sqrt(share) * drawn
    within = np.sqrt(1 - share) * chance.normal(size=(documents, RUNS))
    return tuple(map(tuple, np.round(SCALE * (between + within), 1).tolist()))


def holds(interval: Interval, true: float) -> bool:
    return interval.low is not None and interval.high is not None and interval.low <= true <= interval.high


def coverage(
    chance: np.random.Generator, documents: int, share: float, sets: int, truth: list[float], *, skewed: bool
) -> None:
    held, above, drawn = (np.zeros(len(COEFFICIENTS)) for _ in range(3))
    for _ in range(sets):
        rows = scores(chance, documents, share, skewed=skewed)
        for place, one in enumerate(score_coefficients(rows)):
            held[place] += holds(one.interval, truth[place])
            above[place] += one.interval.low is not None and one.interval.low > truth[place]
        by_draws = [
            one.drawn
            for make in (icc.one_way, krippendorff.of_scores)
            for one in estimates(make(rows), documents, seed=1)
        ]
        for place, interval in enumerate(by_draws):
            drawn[place] += holds(interval, truth[place])
    for name, true, inside, over, alone in zip(COEFFICIENTS, truth, held, above, drawn, strict=True):
        shown = f"held {100 * inside / sets:.0f}, lower bound above {100 * over / sets:.0f} of 100"
        shown += f"; draws alone {100 * alone / sets:.0f}" if name in BY_DRAWS else ""
        kind = "skewed" if skewed else "normal"
        sys.stdout.write(f"{documents:3} {kind} documents  {name:16} of {true:.2f}: {shown}\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", type=int, default=200)
    sets = parser.parse_args().sets
    chance = np.random.default_rng(7)
    for skewed, share in itertools.product((False, True), (0.5, 0.9)):
        truth = [one.value or 0.0 for one in score_coefficients(scores(chance, TRUTH_FROM, share, skewed=skewed))]
        for documents in (8, 20, 40):
            coverage(chance, documents, share, sets, truth, skewed=skewed)
    tables = [scores(chance, 1000, 0.5, skewed=False) for _ in range(20)]
    began = time.perf_counter()
    for table in tables:
        score_coefficients(table)
    sys.stdout.write(f"1,000 documents, {RUNS} runs, 20 dimensions: {time.perf_counter() - began:.1f} s\n")


if __name__ == "__main__":
    main()
