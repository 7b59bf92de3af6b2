"""Krippendorff's alpha: 1 − observed / expected disagreement, over documents with two values or more.

After Krippendorff (2019), Content Analysis, 4th ed., ch. 12. For interval data the sums over pairs are sums of squares.
Ordinal data are interval data once each value is replaced by its mean rank among all values: the rank difference of
c and k is the number of values from c to k, less half of those at both ends, as the ordinal metric has it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from discernus.statistics.resampling import Array, Statistic

_CANCELLED = 1e-14  # a sum of squares this small beside what it is the rest of is rounding


def of_scores(rows: Sequence[Sequence[float]]) -> Statistic:
    """Return the statistic that gives the ordinal and the interval alpha of documents with two scores or more each.

    With weights (draws, documents) it returns (2, draws), NaN where the scores drawn do not differ at all.
    """
    import numpy as np

    counts, runs = _counted(rows)
    pairs = 2 / (runs - 1)
    mean = np.concatenate([np.asarray(row, dtype=np.float64) for row in rows]).mean()
    centred = [np.asarray(row, dtype=np.float64) - mean for row in rows]
    sums = np.array([row.sum() for row in centred])
    squares = np.array([(row**2).sum() for row in centred])
    within = np.array([0.0 if (row == row[0]).all() else ((row - row.mean()) ** 2).sum() for row in centred])
    columns = np.column_stack((runs, sums, squares, pairs * runs * within))

    def interval(weights: Array) -> Array:
        number, total, square, unlike = (weights @ columns).T
        rest = square - total**2 / number
        expected = 2 * np.where(rest <= _CANCELLED * square, 0.0, rest) / (number - 1)
        return _alpha(unlike / number, expected)

    def ordinal(weights: Array) -> Array:
        drawn = _times(weights, counts)
        number = weights @ runs
        ranks = np.cumsum(drawn, axis=1) - drawn / 2 - number[:, None] / 2  # halves: exact
        unlike = runs * _times(ranks**2, counts.T) - _times(ranks, counts.T) ** 2
        return _alpha((weights * unlike) @ pairs / number, 2 * (drawn * ranks**2).sum(axis=1) / (number - 1))

    return lambda weights: np.stack((ordinal(weights), interval(weights)))


def of_labels(rows: Sequence[Sequence[str]]) -> Statistic:
    """Return the statistic that gives the nominal alpha and the observed agreement: (2, draws), as ``of_scores``.

    Observed agreement is the share of pairs of a document's labels that agree, weighted as alpha weighs them.
    """
    import numpy as np

    counts, runs = _counted(rows)
    unlike = (runs**2 - counts.power(2).sum(axis=1)) / (runs - 1)

    def statistic(weights: Array) -> Array:
        number = weights @ runs
        observed = weights @ unlike / number
        expected = (number**2 - (_times(weights, counts) ** 2).sum(axis=1)) / (number * (number - 1))
        return np.stack((_alpha(observed, expected), 1 - observed))

    return statistic


def _counted(rows: Sequence[Sequence[float] | Sequence[str]]) -> tuple[Any, Array]:
    """Return how often each document has each value (sparse: documents, values in order), and its number of values."""
    import numpy as np
    from scipy.sparse import csr_array

    runs = np.array([len(row) for row in rows], dtype=np.float64)
    places = {value: place for place, value in enumerate(sorted({value for row in rows for value in row}))}
    codes = [places[value] for row in rows for value in row]
    documents = np.repeat(np.arange(len(rows)), runs.astype(np.int64))
    return csr_array((np.ones(len(codes)), (documents, codes)), shape=(len(rows), len(places))), runs


def _times(dense: Array, sparse: Any) -> Array:
    """Return the product of a dense and a sparse matrix, dense."""
    product: Array = (sparse.T @ dense.T).T
    return product


def _alpha(observed: Array, expected: Array) -> Array:
    import numpy as np

    return 1 - np.divide(observed, expected, out=np.full_like(observed, np.nan), where=expected > 0)
