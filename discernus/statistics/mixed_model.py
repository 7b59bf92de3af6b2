"""The mixed model score ~ group + (1 | document): every run counts, and yet a document remains the case.

With documents inside their groups, the means of documents and the squares within them are all that the likelihood
needs, so that a fit is a search for one number. Fitted by restricted maximum likelihood, with degrees of freedom after
Satterthwaite as lmerTest has them: Kuznetsova, Brockhoff and Christensen (2017), J. Stat. Softw. 82(13). If the runs
are equally many, t and its p are those of the test on the documents' means.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from scipy import linalg, optimize, stats

from discernus.statistics import power
from discernus.statistics.corrections import holm
from discernus.statistics.effect_sizes import LEVEL
from discernus.statistics.group_tests import BY_F, BY_T
from discernus.statistics.outcome import Effect, Interval, Outcome, Pair, undefined

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array: TypeAlias = NDArray[np.float64]

Runs = Mapping[str, Sequence[Sequence[float]]]
"""The documents of each group by its name, in the order of comparison: each the values of its runs, one or more."""

LEAST = 2  # documents of a group
DECIMALS = 12  # of a value; what sums of binary fractions add beyond is no run noise
SINGULAR = (
    "the fit is singular: within their groups the documents differ by no more than run noise, so their variance is "
    "estimated as 0, and any p value would take runs for cases"
)
_STEPS = 400  # of the search for where the deviance falls and rises again
_SAME = 1e-8  # degrees of freedom that differ by less are the same, as lmerTest has it


@dataclass(frozen=True)
class _Data:
    """What the likelihood needs: each document's group, number of runs and mean, and the squares within documents."""

    group: NDArray[np.int64]
    runs: Array
    means: Array
    within: float

    @property
    def groups(self) -> int:
        return int(self.group.max()) + 1

    def by_group(self, values: Array) -> Array:
        """Return the sums over the documents of each group."""
        return np.asarray(np.bincount(self.group, values, self.groups), dtype=np.float64)

    def deviations(self, weights: Array) -> Array:
        """Return how far each document's mean is from its group's weighted mean."""
        centre = self.by_group(weights * self.means) / self.by_group(weights)
        return self.means - centre[self.group]


@dataclass(frozen=True)
class _Fit:
    """Group means, their variances, those variances' derivatives (by component), and the components with covariance.

    The components are the variance between documents of a group and the variance within a document over its runs.
    """

    means: Array
    variances: Array
    slopes: Array
    components: Array
    covariance: Array

    def df(self, contrast: Array) -> float:
        """Return Satterthwaite's degrees of freedom of a contrast of the group means."""
        slope = self.slopes @ contrast**2
        return float(2 * (contrast**2 @ self.variances) ** 2 / (slope @ self.covariance @ slope))


def mixed_model(groups: Runs, alpha: float) -> Outcome:
    """Compare the means of two groups (t) or more (F, and t for each pair) with a random intercept of document."""
    name = "t" if len(groups) == 2 else "F"
    why = _too_few(groups)
    if why is not None:
        return undefined(name, why)
    data = _read(groups)
    if data.within == 0:
        return undefined(name, "no document varies over its runs, so there is no run noise to model; compare means")
    ratio = _ratio(data)
    if ratio == 0:
        return undefined(name, SINGULAR)
    fit = _fitted(data, ratio)
    between, within = (float(one) for one in fit.components)
    note = f"REML: variance between documents of a group {between:.4g}, within a document over runs {within:.4g}"
    names = tuple(groups)
    return (_two(names, fit, alpha) if len(names) == 2 else _several(names, fit)).with_note(note)


def _too_few(groups: Runs) -> str | None:
    if len(groups) < 2:
        return "there are fewer than two groups with a value"
    for name, documents in groups.items():
        if len(documents) < LEAST:
            many = f"{len(documents)} of the two documents" if documents else "none of the two documents"
            return f"group '{name}' has {many} that it takes at least"
    if not any(len(runs) > 1 for documents in groups.values() for runs in documents):
        return "no document has a value in two runs, which alone show run noise; compare means"
    return None


def _read(groups: Runs) -> _Data:
    rounded = [[np.round(runs, DECIMALS) for runs in documents] for documents in groups.values()]
    flat = [runs for documents in rounded for runs in documents]
    return _Data(
        group=np.repeat(np.arange(len(rounded)), [len(documents) for documents in rounded]),
        runs=np.array([len(runs) for runs in flat], dtype=np.float64),
        means=np.array([math.fsum(runs) / len(runs) for runs in flat]),
        within=math.fsum(float(((runs - runs.mean()) ** 2).sum()) for runs in flat if np.ptp(runs) > 0),
    )


def _ratio(data: _Data) -> float:
    """Return the variance between documents over that within them at the highest restricted likelihood; 0 at least."""
    documents, scores = len(data.means), float(data.runs.sum())
    highest = float((data.deviations(np.ones_like(data.means)) ** 2).sum()) / data.within

    def slope(ratio: float) -> float:
        """Return the derivative of the profiled deviance (minus twice the log of the restricted likelihood)."""
        weights = 1 / (ratio + 1 / data.runs)
        squares = data.deviations(weights) ** 2
        trace = weights.sum() - (data.by_group(weights**2) / data.by_group(weights)).sum()
        error = data.within + weights @ squares
        return float(trace - (scores - data.groups) * (weights**2 @ squares) / error)

    def deviance(ratio: float) -> float:
        weights = 1 / (ratio + 1 / data.runs)
        error = data.within + weights @ data.deviations(weights) ** 2
        determinants = np.log(data.by_group(weights)).sum() - np.log(weights).sum()
        return float((scores - data.groups) * math.log(error) + determinants)

    top = 10 * (1 + (scores - documents) * highest)  # beyond, the deviance only rises
    steps = [0.0, *np.geomspace(1e-9 * top, top, _STEPS)]
    slopes = [slope(one) for one in steps]
    falls_then_rises = [at for at in range(_STEPS) if slopes[at] < 0 <= slopes[at + 1]]
    lowest = [optimize.brentq(slope, steps[at], steps[at + 1], xtol=1e-300, rtol=1e-14) for at in falls_then_rises]
    return float(min([0.0, *lowest], key=deviance))


def _fitted(data: _Data, ratio: float) -> _Fit:
    documents, scores = len(data.means), float(data.runs.sum())
    relative = 1 / (ratio + 1 / data.runs)
    error = (data.within + float(relative @ data.deviations(relative) ** 2)) / (scores - data.groups)
    weights = relative / error
    total = data.by_group(weights)
    deviations = data.deviations(weights)
    shares = np.stack((np.ones(documents), 1 / data.runs))  # of each component in the variance of a document's mean
    slopes = np.stack([data.by_group(weights**2 * share) / total**2 for share in shares])
    # Of the deviance by the components; half of it is the observed information.
    second = np.empty((2, 2))
    for i, j in np.ndindex(2, 2):
        both = shares[i] * shares[j]
        pulls = [data.by_group(weights**2 * share * deviations) for share in (shares[i], shares[j])]
        second[i, j] = (
            2 * (weights**3 * both * deviations**2).sum()
            - (weights**2 * both).sum()
            + (2 * data.by_group(weights**3 * both) / total - total**2 * slopes[i] * slopes[j]).sum()
            - (2 * pulls[0] * pulls[1] / total).sum()
        )
    second[1, 1] += 2 * data.within / error**3 - (scores - documents) / error**2
    return _Fit(
        means=data.by_group(weights * data.means) / total,
        variances=1 / total,
        slopes=slopes,
        components=np.array([ratio * error, error]),
        covariance=2 * np.asarray(np.linalg.inv(second), dtype=np.float64),
    )


def _two(names: Sequence[str], fit: _Fit, alpha: float) -> Outcome:
    t, df, p, estimate = _contrast(names, fit, 0, 1)
    error, whole = math.sqrt(float(fit.variances.sum())), math.sqrt(float(fit.components.sum()))
    return Outcome(
        "t",
        t,
        (df,),
        p,
        BY_T,
        estimate=estimate,
        effect=Effect("difference in SDs of single scores", estimate.value / whole),
        detectable=power.detectable_contrast(error / whole, df, alpha),
    )


def _several(names: Sequence[str], fit: _Fit) -> Outcome:
    """Return F as the mean of the squared t of independent contrasts, its second degrees of freedom from theirs."""
    contrasts = linalg.helmert(len(names))  # orthonormal, so that the order of the groups changes nothing
    values, vectors = np.linalg.eigh((contrasts * fit.variances) @ contrasts.T)
    independent = vectors.T @ contrasts
    f = float(np.mean((independent @ fit.means) ** 2 / values))
    df = (float(len(values)), _joint([fit.df(one) for one in independent]))
    found = [(names[i], names[j], *_contrast(names, fit, i, j)[2:]) for i, j in combinations(range(len(names)), 2)]
    adjusted = holm([p for _, _, p, _ in found])
    return Outcome(
        "F",
        f,
        df,
        float(stats.f.sf(f, *df)),
        BY_F,
        pairs=tuple(Pair(one, other, p, effect) for (one, other, _, effect), p in zip(found, adjusted, strict=True)),
        pairs_by="contrasts of the mixed model (t, Satterthwaite), adjusted after Holm",
    )


def _joint(each: Sequence[float]) -> float:
    """Return the second degrees of freedom of F: its expectation is the mean of those of the squared t."""
    if max(each) - min(each) < _SAME:
        return math.fsum(each) / len(each)
    if min(each) <= 2:
        return 2.0
    expected = math.fsum(df / (df - 2) for df in each)
    return 2 * expected / (expected - len(each))


def _contrast(names: Sequence[str], fit: _Fit, one: int, other: int) -> tuple[float, float, float, Effect]:
    """Return t, its degrees of freedom, p, and the difference of two group means with its interval."""
    contrast = np.zeros(len(names))
    contrast[[one, other]] = 1, -1
    difference, df = float(contrast @ fit.means), fit.df(contrast)
    error = math.sqrt(float(contrast**2 @ fit.variances))
    reach = float(stats.t.ppf((1 + LEVEL) / 2, df)) * error
    t = difference / error
    estimate = Effect(
        f"mean of {names[one]} minus mean of {names[other]}",
        difference,
        Interval(difference - reach, difference + reach, LEVEL),
    )
    return t, df, 2 * float(stats.t.sf(abs(t), df)), estimate
