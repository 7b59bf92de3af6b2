"""How far repeated runs agree: run-to-run consistency, which is neither accuracy nor agreement between coders.

Cronbach's alpha after Cronbach (1951), Psychometrika 16, eq. 2, with runs in the place of items and documents in the
place of persons: alpha = k / (k - 1) · (1 - sum of the runs' variances / variance of the documents' sums). What is
undefined has no value and a reason; no number stands in for it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from discernus.statistics.descriptives import mean, variance

FEW_DOCUMENTS = 20  # below this, an alpha says little beyond these very documents
_ROUNDING = 1e-12  # spread this small beside the values themselves is the rounding of their sums

Table = Sequence[Sequence[float | None]]
"""One row per document, one column per run; None where a score is missing."""


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
class Spread:
    """SD (ddof 1) within documents over runs: mean and largest over the ``documents`` with two scores or more."""

    mean: float | None
    largest: float | None
    documents: int


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
