"""The chi-square test of whether a label depends on the group of its document."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import stats

from discernus.statistics import power
from discernus.statistics.effect_sizes import NO_INTERVAL, cramers_v
from discernus.statistics.group_tests import BY_CHI2
from discernus.statistics.outcome import Outcome, undefined

LEAST_EXPECTED = 5  # documents in a cell, below which the approximation fails (Cochran 1954)
RESAMPLES = 9_999
SEED = 1


def chi_square(groups: Sequence[str], labels: Sequence[str], alpha: float) -> Outcome:
    """Test the table of groups and labels, a document each; without Yates's correction.

    Where a cell is expected to hold fewer than five documents, p is Fisher's exact one for two by two cells, and else
    from random permutations with a fixed seed.
    """
    rows, columns = sorted(set(groups)), sorted(set(labels))
    if len(rows) < 2 or len(columns) < 2:
        which = "group" if len(rows) < 2 else "label"
        return undefined("chi-square", f"the documents have fewer than two different {which}s")
    pairs = list(zip(groups, labels, strict=True))
    counts = np.array([[pairs.count((row, column)) for column in columns] for row in rows])
    test = stats.chi2_contingency(counts, correction=False)
    chi2, p, p_by = float(test.statistic), float(test.pvalue), BY_CHI2
    if float(np.min(test.expected_freq)) < LEAST_EXPECTED:
        p, p_by = _few(counts, chi2)
    effect = cramers_v(chi2, len(pairs), len(rows), len(columns))
    return Outcome(
        "chi-square",
        chi2,
        (float(test.dof),),
        p,
        p_by,
        effect=effect,
        detectable=power.detectable_w(len(pairs), int(test.dof), alpha),
        notes=(NO_INTERVAL.format(effect.name),) if effect.interval is None else (),
    )


def _few(counts: np.ndarray, chi2: float) -> tuple[float, str]:
    if counts.shape == (2, 2):
        return float(stats.fisher_exact(counts).pvalue), "Fisher's exact test, since cells are expected to be small"
    rows = np.repeat(np.arange(counts.shape[0]), counts.sum(axis=1))
    columns = np.concatenate([np.repeat(np.arange(counts.shape[1]), row) for row in counts])
    expected = np.outer(counts.sum(axis=1), counts.sum(axis=0)) / counts.sum()
    rng = np.random.default_rng(SEED)
    larger = 0
    for _ in range(RESAMPLES):
        drawn = np.zeros(counts.shape)
        np.add.at(drawn, (rows, rng.permutation(columns)), 1)
        larger += bool(((drawn - expected) ** 2 / expected).sum() >= chi2 * (1 - 1e-9))
    return (larger + 1) / (RESAMPLES + 1), f"{RESAMPLES:,} random permutations, since cells are expected to be small"
