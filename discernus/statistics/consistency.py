"""How far repeated runs agree: run-to-run consistency, which is neither accuracy nor agreement between coders.

Run numbers mean nothing, so the primary coefficients treat the runs of a document alike: ICC(1,1) and ICC(1,k), and
Krippendorff's alpha. Cronbach's alpha, after Cronbach (1951), Psychometrika 16, eq. 2, has runs in the place of items
and documents in the place of persons: alpha = k / (k - 1) · (1 - sum of the runs' variances / variance of the
documents' sums); its interval is Feldt's (1965), Psychometrika 30. What is undefined has no value and a reason; no
number stands in for it.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeAlias

from discernus.statistics import icc, krippendorff
from discernus.statistics.descriptives import mean, variance
from discernus.statistics.resampling import LEVEL, Interval, estimates, seed_of

if TYPE_CHECKING:
    from discernus.statistics.resampling import Statistic

FEW_DOCUMENTS = 20  # below this, a coefficient says little beyond these very documents
_ROUNDING = 1e-12  # spread this small beside the values themselves is the rounding of their sums

Table = Sequence[Sequence[float | None]]
"""One row per document, one column per run; None where a score is missing."""

Scores: TypeAlias = tuple[tuple[float | None, ...], ...]
Labels: TypeAlias = tuple[tuple[str | None, ...], ...]
Bounds: TypeAlias = tuple[float, float] | None

ONE_WAY = ("ICC(1,1)", "ICC(1,k)")
BETWEEN_RATERS = ("ICC(A,1)", "ICC(A,k)")
OF_SCORES = ("Krippendorff's alpha, ordinal", "Krippendorff's alpha, interval")
OF_LABELS = ("Krippendorff's alpha, nominal", "observed agreement")
CRONBACH = "Cronbach's alpha"
STABILITY = "formula of Cronbach's alpha, over draws of sentences"

# Up to which of these values the lower bound of an interval reaches is what a coefficient is judged by.
# Koo and Li (2016), J. Chiropr. Med. 15, 155-163, abstract: moderate, good, excellent, by the 95 % interval.
_OF_CORRELATIONS = (0.5, 0.75, 0.9)
# Krippendorff (2004), Content Analysis, 2nd ed., p. 241: for tentative conclusions, to rely on.
_OF_KRIPPENDORFF = (0.667, 0.8)
# Nunnally (1978), Psychometric Theory, 2nd ed., pp. 245-246: the early stages of research, basic research, and the
# least where decisions hang on single scores. He had items of a test before him, and no runs of a model.
_OF_CRONBACH = (0.7, 0.8, 0.9)
CUSTOMARY = {
    **dict.fromkeys((*ONE_WAY, *BETWEEN_RATERS), _OF_CORRELATIONS),
    **dict.fromkeys((*OF_SCORES, OF_LABELS[0]), _OF_KRIPPENDORFF),
    CRONBACH: _OF_CRONBACH,
}


@dataclass(frozen=True)
class Alpha:
    """Cronbach's alpha over ``runs`` of ``documents`` complete documents; ``incomplete`` ones could not be used.

    ``value`` is None where alpha is undefined, and ``reason`` then says why.
    """

    value: float | None
    reason: str | None
    documents: int
    incomplete: int
    runs: int

    @property
    def rests_on_few(self) -> bool:
        """Whether there are too few documents to generalise from."""
        return self.documents < FEW_DOCUMENTS


@dataclass(frozen=True)
class Coefficient:
    """A coefficient of agreement with its 95 % interval, over ``values`` of ``documents``.

    ``value`` is None where it is undefined, and ``reason`` then says why. ``k``: over how many runs, models or coders
    the mean is whose reliability it is, 1 for a single one, None where it is not of that kind. ``seed`` is that of the
    resamples, None where the interval is not made by resampling.
    """

    name: str
    value: float | None
    reason: str | None
    interval: Interval
    documents: int
    values: int
    k: float | None = None
    seed: int | None = None

    @property
    def rests_on_few(self) -> bool:
        """Whether there are too few documents to generalise from."""
        return self.documents < FEW_DOCUMENTS

    @property
    def reached(self) -> float | None:
        """The highest customary threshold that the interval's lower bound reaches; None if none, or no interval."""
        low = self.interval.low
        return None if low is None else max((one for one in CUSTOMARY.get(self.name, ()) if low >= one), default=None)


@dataclass(frozen=True)
class Spread:
    """SD (ddof 1) within documents over runs: mean and largest over the ``documents`` with two scores or more."""

    mean: float | None
    largest: float | None
    documents: int


@lru_cache(maxsize=1024)
def score_coefficients(table: Scores) -> tuple[Coefficient, ...]:
    """Return ICC(1,1), ICC(1,k), Krippendorff's alpha (ordinal, interval) and Cronbach's alpha, with intervals.

    ICC uses documents with one score or more, Krippendorff's alpha those with two, Cronbach's those with all.
    """
    rows = _given(_without_rounding(table))
    runs = max((len(row) for row in table), default=0)
    one_way = _too_few(rows, runs)
    mean_runs = None if one_way else icc.mean_runs(rows)
    pairs = [row for row in rows if len(row) > 1]
    return (
        *_estimated(ONE_WAY, icc.one_way, rows, one_way, ks=(1.0, mean_runs), by_f=_f_of_both),
        *_estimated(OF_SCORES, krippendorff.of_scores, pairs, _too_few(pairs, runs), by_f=_f_of_interval_alpha),
        _cronbach(table),
    )


@lru_cache(maxsize=1024)
def label_coefficients(table: Labels) -> tuple[Coefficient, ...]:
    """Return Krippendorff's alpha (nominal) and the observed agreement, over documents with two labels or more."""
    runs = max((len(row) for row in table), default=0)
    pairs = [row for row in _given(table) if len(row) > 1]
    return _estimated(OF_LABELS, krippendorff.of_labels, pairs, _too_few(pairs, runs))


@lru_cache(maxsize=1024)
def rater_coefficients(table: Scores) -> tuple[Coefficient, ...]:
    """Return ICC(A,1) and ICC(A,k) over documents that all raters (the columns: models or coders) have scored."""
    raters = max((len(row) for row in table), default=0)
    complete = [row for row in _given(_without_rounding(table)) if len(row) == raters]
    why = "fewer than two documents have a score of each" if len(complete) < 2 else None
    if raters < 2:
        why = "there is nobody to agree with"
    return _estimated(BETWEEN_RATERS, icc.agreement, complete, why, ks=(1.0, float(raters)))


def stability(table: Table) -> Coefficient:
    """Return how far an offline method's scores depend on the sentences drawn, by the formula of Cronbach's alpha."""
    none = Interval(None, None, "not applicable: draws of sentences are no runs of a model")
    return _of_alpha(STABILITY, cronbach_alpha(table), none)


def cronbach_alpha(table: Table) -> Alpha:
    """Return alpha over the documents that have a score in every run."""
    runs = max((len(row) for row in table), default=0)
    complete = [[score for score in row if score is not None] for row in table if len(row) == runs and None not in row]
    incomplete = len(table) - len(complete)

    def undefined(reason: str) -> Alpha:
        return Alpha(None, reason, len(complete), incomplete, runs)

    if runs < 2:
        return undefined("there is only one run" if runs else "there are no scores")
    if len(complete) < 2:
        return undefined(f"fewer than two documents have a score in all {runs} runs")
    sums = [math.fsum(row) for row in complete]
    largest = max(abs(score) for row in complete for score in row)
    between = variance(sums)
    if math.sqrt(between) <= _ROUNDING * runs * largest:
        return undefined("the documents do not differ in their sums over runs")
    within = math.fsum(variance(list(run)) for run in zip(*complete, strict=True))
    return Alpha(runs / (runs - 1) * (1 - within / between), None, len(complete), incomplete, runs)


def spread_within_documents(table: Table) -> Spread:
    """Return how much the scores of one document differ from run to run."""
    scores = [[score for score in row if score is not None] for row in table]
    deviations = [math.sqrt(variance(row)) for row in scores if len(row) > 1]
    if not deviations:
        return Spread(None, None, 0)
    return Spread(mean(deviations), max(deviations), len(deviations))


def _without_rounding(table: Scores) -> Scores:
    """Return the scores to twelve digits of the largest: 0.1 + 0.2 is the same value as 0.3, and not one rank above."""
    largest = max((abs(score) for row in table for score in row if score is not None), default=0.0)
    digits = 12 - math.ceil(math.log10(largest)) if largest > 0 else 12
    return tuple(tuple(None if score is None else round(score, digits) for score in row) for row in table)


def _given(table: Sequence[Sequence[Any]]) -> list[list[Any]]:
    """Return the values that are there of each document that has any."""
    rows = ([value for value in row if value is not None] for row in table)
    return [row for row in rows if row]


def _too_few(rows: list[list[Any]], runs: int) -> str | None:
    """Return why runs cannot be compared, None if they can."""
    if runs < 2:
        return "there is only one run" if runs else "there are no scores"
    if not any(len(row) > 1 for row in rows):
        return "no document has a value in two runs"
    return "fewer than two documents have values" if len(rows) < 2 else None


def _f_of_both(rows: list[list[float]]) -> tuple[Bounds, Bounds]:
    """Return the intervals of ICC(1,1) and ICC(1,k) by the F distribution."""
    single = icc.one_way_interval(rows, LEVEL)
    if single is None:
        return None, None
    k = icc.mean_runs(rows)
    return single, (icc.of_mean(single[0], k), icc.of_mean(single[1], k))


def _f_of_interval_alpha(rows: list[list[float]]) -> tuple[Bounds, Bounds]:
    """Return no interval for the ordinal alpha; for the interval alpha, whose true value is ICC(1,1)'s, that one's."""
    return None, icc.one_way_interval(rows, LEVEL)


def _none_by_f(_: list[list[Any]]) -> tuple[Bounds, Bounds]:
    return None, None


def _estimated(
    names: tuple[str, str],
    make: Callable[[Any], "Statistic"],
    rows: list[list[Any]],
    too_few: str | None,
    ks: tuple[float | None, float | None] = (None, None),
    by_f: Callable[[list[list[Any]]], tuple[Bounds, Bounds]] = _none_by_f,
) -> tuple[Coefficient, ...]:
    """Return the two coefficients that a statistic of these rows gives, with intervals by resampling the rows.

    The bounds are those of the draws or wider: by the F distribution where ``by_f`` has some, else the jackknife's.
    """
    values = sum(map(len, rows))
    if too_few is not None:
        none = Interval(None, None, too_few)
        return tuple(Coefficient(name, None, too_few, none, len(rows), values) for name in names)
    seed = seed_of(rows)
    found = estimates(make(rows), len(rows), seed)
    alike = len({value for row in rows for value in row}) == 1
    why = "the values do not differ at all" if alike else "the documents differ too little in their means"
    return tuple(
        Coefficient(
            name,
            one.value,
            why if one.value is None else None,
            one.drawn.widened(exact or one.jackknife),
            len(rows),
            values,
            k,
            seed,
        )
        for name, k, one, exact in zip(names, ks, found, by_f(rows), strict=True)
    )


def _cronbach(table: Table) -> Coefficient:
    alpha = cronbach_alpha(table)
    interval = Interval(None, None, alpha.reason) if alpha.value is None else feldt_interval(alpha)
    return _of_alpha(CRONBACH, alpha, interval)


def _of_alpha(name: str, alpha: Alpha, interval: Interval) -> Coefficient:
    values = alpha.documents * alpha.runs
    return Coefficient(name, alpha.value, alpha.reason, interval, alpha.documents, values, float(alpha.runs))


def feldt_interval(alpha: Alpha) -> Interval:
    """Return the interval of an alpha that is defined, from the F distribution; normal scores are assumed."""
    from scipy.special import fdtri

    if alpha.value is None or 1 - alpha.value <= _ROUNDING:
        return Interval(None, None, "all runs agree wholly")
    df1 = alpha.documents - 1
    df2 = df1 * (alpha.runs - 1)
    low, high = (1 - (1 - alpha.value) * float(fdtri(df1, df2, p)) for p in ((1 + LEVEL) / 2, (1 - LEVEL) / 2))
    return Interval(low, high)
