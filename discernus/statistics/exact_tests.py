"""Exact p values of rank tests, ties included, by counting every arrangement of the ranks that were seen.

Approximations fail just where these experiments are: few documents and many ties.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import combinations, permutations

import numpy as np
from scipy import stats

COUNTED_VALUES = 60  # values of two groups whose sums of ranks are counted
COUNTED_ARRANGEMENTS = 50_000  # of more than two groups
COUNTED_PAIRS = 8  # pairs of a correlation; 8! = 40,320
_EQUAL = 1e-9


def two_groups(ranks: Sequence[float], n: int) -> tuple[float, float] | None:
    """Return p of the first n of all ranks, and the smallest there can be; None for too many to count.

    Two-sided: twice the smaller tail of the sum of n ranks drawn from these, at most 1.
    """
    if len(ranks) > COUNTED_VALUES:
        return None
    doubled = [round(2 * rank) for rank in ranks]  # ranks of ties end in .5
    ways: list[dict[int, int]] = [defaultdict(int) for _ in range(n + 1)]
    ways[0][0] = 1
    for rank in doubled:
        for size in range(n, 0, -1):
            for total, number in ways[size - 1].items():
                ways[size][total + rank] += number
    seen, counts = sum(doubled[:n]), ways[n]
    all_ways = math.comb(len(ranks), n)
    lower = sum(number for total, number in counts.items() if total <= seen)
    upper = sum(number for total, number in counts.items() if total >= seen)
    least = min(counts[min(counts)], counts[max(counts)])
    return min(1.0, 2 * min(lower, upper) / all_ways), min(1.0, 2 * least / all_ways)


def several_groups(ranks: Sequence[float], sizes: Sequence[int]) -> tuple[float, float] | None:
    """Return p of Kruskal and Wallis's H, the ranks in the order of the groups, and the smallest there can be."""
    arrangements = math.factorial(len(ranks)) // math.prod(math.factorial(size) for size in sizes)
    if arrangements > COUNTED_ARRANGEMENTS:
        return None
    found = np.array(list(_squares(tuple(ranks), tuple(sizes))))
    start, seen = 0, 0.0
    for size in sizes:
        seen += sum(ranks[start : start + size]) ** 2 / size
        start += size
    largest = float(found.max())
    return float(np.mean(found >= seen - _EQUAL)), float(np.mean(found >= largest - _EQUAL))


def _squares(ranks: tuple[float, ...], sizes: tuple[int, ...]) -> Iterator[float]:
    """Yield the sum of R²/n over the groups, for each way of dealing the ranks out to them."""
    if len(sizes) == 1:
        yield sum(ranks) ** 2 / sizes[0]
        return
    for chosen in combinations(range(len(ranks)), sizes[0]):
        own = sum(ranks[place] for place in chosen) ** 2 / sizes[0]
        rest = tuple(rank for place, rank in enumerate(ranks) if place not in chosen)
        for others in _squares(rest, sizes[1:]):
            yield own + others


def correlation(first: Sequence[float], second: Sequence[float], *, kendall: bool) -> tuple[float, float] | None:
    """Return p of Spearman's rho, or of Kendall's tau, and the smallest there can be: every order of the second."""
    n = len(first)
    if n > COUNTED_PAIRS:
        return None
    x, y = stats.rankdata(first), stats.rankdata(second)
    orders = np.array(list(permutations(y)))
    if kendall:
        found = np.zeros(len(orders))
        for i, j in combinations(range(n), 2):
            found += np.sign(x[i] - x[j]) * np.sign(orders[:, i] - orders[:, j])
        seen = sum(np.sign(x[i] - x[j]) * np.sign(y[i] - y[j]) for i, j in combinations(range(n), 2))
    else:
        centred = x - x.mean()
        found, seen = orders @ centred, y @ centred
    sizes = np.abs(found)
    return float(np.mean(sizes >= abs(seen) - _EQUAL)), float(np.mean(sizes >= sizes.max() - _EQUAL))
