"""What a statistical test gives: plain values without any library, so that reports can hold them."""

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Interval:
    """A confidence interval; ``level`` is its coverage, such as 0.95."""

    low: float
    high: float
    level: float = 0.95


@dataclass(frozen=True)
class Effect:
    """An estimate by its name, in scale units or standardised, with its interval where there is one."""

    name: str
    value: float
    interval: Interval | None = None


@dataclass(frozen=True)
class Pair:
    """One of the pairwise comparisons within a test: first minus second; ``p`` is adjusted over all of its pairs."""

    first: str
    second: str
    p: float
    estimate: Effect


@dataclass(frozen=True)
class Outcome:
    """What came of one test. ``p`` is two-sided, and None where it is undefined: ``reason`` then says why.

    ``p_by`` says how it was computed. ``estimate`` is in scale units, ``effect`` standardised. ``smallest_p`` is the
    least that data of this size can give, None where it has no bound. ``detectable`` is the effect that a test of this
    size finds in 80 of 100 cases. ``p_contrary`` is the equivalence test's own: of a difference beyond the margin.
    """

    statistic_name: str
    statistic: float | None = None
    df: tuple[float, ...] = ()
    p: float | None = None
    p_by: str = ""
    reason: str | None = None
    estimate: Effect | None = None
    effect: Effect | None = None
    smallest_p: float | None = None
    detectable: Effect | None = None
    p_contrary: float | None = None
    pairs: tuple[Pair, ...] = ()
    pairs_by: str = ""
    notes: tuple[str, ...] = ()

    def with_note(self, *notes: str) -> "Outcome":
        return replace(self, notes=(*self.notes, *notes))


def undefined(statistic_name: str, reason: str) -> Outcome:
    """Return the outcome of a test that these data do not allow."""
    return Outcome(statistic_name, reason=reason)
