"""What a planned test says of its hypothesis: supported, contradicted, inconclusive or not testable.

The words of a hypothesis are never judged; what is judged is the test that its author planned for it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from discernus.experiments.statistical_plan import ANY_DIRECTION, DIRECTED, PlannedTest
from discernus.statistics.outcome import Outcome

Verdict = Literal["supported", "contradicted", "inconclusive", "not testable"]


@dataclass(frozen=True)
class Tested:
    """One test of the plan on one model's readings under one variant; ``why`` explains its verdict where it needs to.

    ``sizes`` counts the documents of each group that have a value, ``left_out`` names the others with the reason.
    ``p_adjusted`` is after Holm over the ``family`` distinct tests of the session; ``same_as`` is the place (from 1)
    of an earlier test that computes the very same, and so does not count again.
    """

    planned: PlannedTest
    model: str
    variant: str
    in_place_of: str | None
    variables: tuple[str, ...]
    column: str | None
    sizes: Mapping[str, int]
    outcome: Outcome
    left_out: Mapping[str, str] = field(default_factory=dict)
    p_adjusted: float | None = None
    family: int = 0
    same_as: int | None = None
    verdict: Verdict = "not testable"
    why: str = ""


def verdict_of(planned: PlannedTest, outcome: Outcome, p_adjusted: float | None, family: int) -> tuple[Verdict, str]:
    """Return the verdict on a test, and why it is that where the numbers alone do not tell."""
    if planned.method == "consistency":
        return _consistency(planned, outcome)
    if outcome.p is None or p_adjusted is None:
        return "not testable", outcome.reason or "there is no p value"
    if planned.method == "equivalence":
        return _equivalence(planned, outcome, p_adjusted, family)
    if _directed(planned, outcome) and planned.expect is None:
        return "not testable", "the plan states no direction; the numbers stand for themselves"
    if p_adjusted <= planned.alpha:
        return ("supported", "") if _as_expected(planned, outcome) else ("contradicted", "in the opposite direction")
    if outcome.smallest_p is not None and outcome.smallest_p > planned.alpha:
        return "inconclusive", f"no data of this size could be significant: p is {outcome.smallest_p:.3g} at least"
    if outcome.smallest_p is not None and outcome.smallest_p * family > planned.alpha:
        first = f"among {family} tests the first to be significant needs {planned.alpha / family:.2g}"
        return "inconclusive", f"p of data of this size is {outcome.smallest_p:.3g} at least, and {first}"
    return "inconclusive", ""


def combined(verdicts: Sequence[Verdict]) -> Verdict:
    """Return the verdict on a hypothesis from those of all its tests on one model's readings.

    One that contradicts decides; it is supported only where every test is, and not testable where none could be done.
    """
    if "contradicted" in verdicts:
        return "contradicted"
    if not verdicts or set(verdicts) == {"not testable"}:
        return "not testable"
    return "supported" if set(verdicts) == {"supported"} else "inconclusive"


def _as_expected(planned: PlannedTest, outcome: Outcome) -> bool:
    """Return whether the effect has the expected sign; where first is not what is expected higher, the other one."""
    if not _directed(planned, outcome) or planned.expect == ANY_DIRECTION:
        return True
    if outcome.effect is None:
        return False
    first_higher = planned.expect == "positive" or (planned.compare and planned.expect == planned.compare[0])
    return (outcome.effect.value > 0) == bool(first_higher)


def _directed(planned: PlannedTest, outcome: Outcome) -> bool:
    """Return whether the result has a direction; that of a mixed model has one where it compares two groups."""
    return planned.method in DIRECTED or (planned.method == "mixed_model" and outcome.estimate is not None)


def _equivalence(planned: PlannedTest, outcome: Outcome, p_adjusted: float, family: int) -> tuple[Verdict, str]:
    if p_adjusted <= planned.alpha:
        return "supported", "the difference lies within the margin"
    if outcome.p_contrary is not None and outcome.p_contrary * family <= planned.alpha:
        return "contradicted", "the difference lies beyond the margin"
    return "inconclusive", "the interval of the difference is not within the margin, and not beyond it"


def _consistency(planned: PlannedTest, outcome: Outcome) -> tuple[Verdict, str]:
    """Judge the interval, never the point."""
    interval = None if outcome.effect is None else outcome.effect.interval
    if planned.threshold is None:
        return "not testable", "the plan names no threshold to judge the interval by"
    if interval is None:
        return "not testable", outcome.reason or "there is no interval"
    if interval.low > planned.threshold:
        return "supported", f"the interval lies above {planned.threshold:g}"
    if interval.high < planned.threshold:
        return "contradicted", f"the interval lies below {planned.threshold:g}"
    return "inconclusive", f"the interval holds {planned.threshold:g}"
