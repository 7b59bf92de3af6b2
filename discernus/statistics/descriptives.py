"""Descriptive statistics that count what is missing instead of filling it in."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True)
class Description:
    """Of the ``n`` values that are there: mean, SD (ddof 1), range; None where ``n`` is too small."""

    n: int
    missing: int
    mean: float | None
    sd: float | None
    minimum: float | None
    median: float | None
    maximum: float | None


def describe(values: Iterable[float | None]) -> Description:
    """Describe the values that are there; NaN and infinity are refused with ValueError, since they are no scores."""
    listed = list(values)
    present = [value for value in listed if value is not None]
    missing = len(listed) - len(present)
    if not all(map(math.isfinite, present)):
        raise ValueError("a value is NaN or infinite; a missing value is None")
    if not present:
        return Description(0, missing, None, None, None, None, None)
    return Description(
        n=len(present),
        missing=missing,
        mean=mean(present),
        sd=math.sqrt(variance(present)) if len(present) > 1 else None,
        minimum=min(present),
        median=float(median(present)),
        maximum=max(present),
    )


def mean(values: list[float]) -> float:
    """Return the arithmetic mean of one or more values, correctly rounded sums included."""
    return math.fsum(values) / len(values)


def variance(values: list[float]) -> float:
    """Return the sample variance (ddof 1) of two or more values; exactly 0 where all are equal."""
    if all(value == values[0] for value in values):
        return 0.0
    centre = mean(values)
    return math.fsum((value - centre) ** 2 for value in values) / (len(values) - 1)
