"""Intraclass correlations, under the names of McGraw and Wong (1996), Psychol. Methods 1.

Over runs, whose numbers mean nothing, the one-way model holds: ICC(1,1) for a single run, ICC(1,k) for the mean over a
document's runs. Documents may have different numbers of runs; k is then n0 of the analysis of variance (Donner 1986,
Int. Stat. Rev. 54). Over models or coders, who are somebody, it is the two-way model: ICC(A,1) and ICC(A,k).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from discernus.statistics.resampling import Array, Statistic

_ROUNDING = 1e-12  # spread this small beside the values themselves is the rounding of their sums
_CANCELLED = 1e-14  # a difference this small beside what it is the rest of is rounding too


def one_way(rows: Sequence[Sequence[float]]) -> Statistic:
    """Return the statistic that gives ICC(1,1) and ICC(1,k) of documents with one score or more each.

    With weights (draws, documents) it returns (2, draws), NaN where the scores do not vary as the ratio needs.
    """
    import numpy as np

    runs = np.array([len(row) for row in rows], dtype=np.float64)
    centred = _centred(rows)
    floor = _floor(rows)
    means = np.array([np.mean(row) for row in centred])
    within = np.array([((row - row.mean()) ** 2).sum() for row in centred])
    columns = np.column_stack((np.ones_like(runs), runs, runs**2, runs * means, runs * means**2, within))

    def statistic(weights: Array) -> Array:
        documents, scores, squared, sums, squares, inside = (weights @ columns).T
        between = _rest(squares, sums**2 / scores, scores * floor) / (documents - 1)
        inside = _rest(inside, 0 * inside, scores * floor) / (scores - documents)
        k = _mean_runs(documents, scores, squared)
        return np.stack(
            (_ratio(between - inside, between + (k - 1) * inside), _ratio(between - inside, between)), axis=0
        )

    return statistic


def one_way_interval(rows: Sequence[Sequence[float]], level: float) -> tuple[float, float] | None:
    """Return the interval of ICC(1,1) from the F distribution, exact for normal scores, however many runs each has.

    Were the variance between documents r times that within them, the squares of their means, each weighed by
    1 / (r + 1 / runs), over the squares within them would follow F: the interval has the r of which F is not extreme.
    Of equally many runs it is McGraw and Wong's. None where the documents do not vary within or between them.
    """
    import numpy as np
    from scipy.optimize import brentq
    from scipy.special import fdtri

    runs = np.array([len(row) for row in rows], dtype=np.float64)
    means = np.array([row.mean() for row in _centred(rows)])
    df1, df2 = len(rows) - 1, float(runs.sum()) - len(rows)
    within = sum(((row - row.mean()) ** 2).sum() for row in _centred(rows) if np.ptp(row) > 0)
    spread = float(((means - means.mean()) ** 2).sum())
    if df1 < 1 or within == 0 or spread <= len(rows) * _floor(rows):
        return None

    def f(ratio: float) -> float:
        weights = 1 / (ratio + 1 / runs)
        centre = (weights @ means) / weights.sum()
        return float(weights @ (means - centre) ** 2 / df1 / (within / df2))

    least = (1e-12 - 1) / float(runs.max())  # below, the variance of a mean would be negative
    ratios = []
    for share in ((1 + level) / 2, (1 - level) / 2):
        limit = float(fdtri(df1, df2, share))
        most = spread / df1 / (within / df2) / limit + 1
        ratios.append(float(brentq(lambda ratio, at=limit: f(ratio) - at, least, most)) if f(least) > limit else least)
    low, high = (ratio / (1 + ratio) for ratio in ratios)
    return low, high


def of_mean(single: float, k: float) -> float:
    """Return what ICC(1,k) is where ICC(1,1) is that: the formula of Spearman and Brown."""
    return k * single / (1 + (k - 1) * single)


def mean_runs(rows: Sequence[Sequence[float]]) -> float:
    """Return k of ICC(1,k): n0, the number of runs where it is the same for all of two documents or more."""
    runs = [len(row) for row in rows]
    return float(_mean_runs(len(runs), sum(runs), sum(number**2 for number in runs)))


def agreement(rows: Sequence[Sequence[float]]) -> Statistic:
    """Return the statistic that gives ICC(A,1) and ICC(A,k) of documents that all the same raters scored.

    ``rows`` has a document's scores in each row, in the same order of raters. Returns (2, draws) like ``one_way``.
    """
    import numpy as np

    table = np.array(_centred(rows))
    raters = table.shape[1]
    row_sums, floor = table.sum(axis=1), _floor(rows)
    columns = np.column_stack((np.ones(len(table)), row_sums, row_sums**2, (table**2).sum(axis=1), table))

    def statistic(weights: Array) -> Array:
        documents, total, of_rows, squares, *of_raters = (weights @ columns).T
        correction, rounding = total**2 / (documents * raters), documents * raters * floor
        row_squares = _rest(of_rows / raters, correction, rounding)
        rater_squares = _rest(sum(one**2 for one in of_raters) / documents, correction, rounding)
        of_all, lost = _rest(squares, correction, rounding), rounding + _CANCELLED * squares
        error = _rest(of_all, row_squares + rater_squares, lost) / ((documents - 1) * (raters - 1))
        by_row, by_rater = row_squares / (documents - 1), rater_squares / (raters - 1)
        single = by_row + (raters - 1) * error + raters * (by_rater - error) / documents
        mean = by_row + (by_rater - error) / documents
        return np.stack((_ratio(by_row - error, single), _ratio(by_row - error, mean)), axis=0)

    return statistic


def _mean_runs(documents: Any, scores: Any, squared: Any) -> Any:
    return (scores - squared / scores) / (documents - 1)


def _centred(rows: Sequence[Sequence[float]]) -> list[Array]:
    """Return the rows less the mean of all scores, so that sums of squares lose no digits."""
    import numpy as np

    arrays = [np.asarray(row, dtype=np.float64) for row in rows]
    mean = np.concatenate(arrays).mean()
    return [array - mean for array in arrays]


def _floor(rows: Sequence[Sequence[float]]) -> float:
    """Return the square of a score up to which it is rounding."""
    return (_ROUNDING * max(abs(score) for row in rows for score in row)) ** 2


def _rest(whole: Array, part: Array, rounding: Array) -> Array:
    """Return whole − part, exactly 0 where only rounding is left."""
    import numpy as np

    rest = whole - part
    return np.where(rest <= _CANCELLED * whole + rounding, 0.0, rest)


def _ratio(numerator: Array, denominator: Array) -> Array:
    import numpy as np

    return np.divide(numerator, denominator, out=np.full_like(numerator, np.nan), where=denominator > 0)
