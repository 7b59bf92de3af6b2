"""Each method of the statistical plan by its name, on the values of documents."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from discernus.experiments.statistical_plan import PlannedTest
from discernus.statistics import correlations, group_tests
from discernus.statistics.contingency import chi_square
from discernus.statistics.equivalence import tost
from discernus.statistics.mixed_model import Runs, mixed_model
from discernus.statistics.outcome import Outcome

_BY_GROUPS: dict[str, Callable[[group_tests.Groups, float], Outcome]] = {
    "welch_t": group_tests.welch_t,
    "paired_t": group_tests.paired_t,
    "mann_whitney": group_tests.mann_whitney,
    "anova": group_tests.anova,
    "welch_anova": group_tests.welch_anova,
    "kruskal_wallis": group_tests.kruskal_wallis,
}
_BY_PAIRS: dict[str, Callable[[Sequence[float], Sequence[float], float], Outcome]] = {
    "pearson": correlations.pearson,
    "spearman": correlations.spearman,
    "kendall": correlations.kendall,
}


def compare_groups(planned: PlannedTest, groups: Mapping[str, Sequence[float]]) -> Outcome:
    """Compare groups of values, one for each document, in the order of comparison."""
    if planned.method == "equivalence" and planned.margin is not None:
        return tost(groups, planned.margin, planned.alpha)
    return _BY_GROUPS[str(planned.method)](groups, planned.alpha)


def compare_runs(planned: PlannedTest, groups: Runs) -> Outcome:
    """Compare groups by all runs of their documents, in the order of comparison."""
    return mixed_model(groups, planned.alpha)


def correlate(planned: PlannedTest, first: Sequence[float], second: Sequence[float]) -> Outcome:
    """Correlate two values of each document."""
    return _BY_PAIRS[str(planned.method)](first, second, planned.alpha)


def count_labels(planned: PlannedTest, groups: Sequence[str], labels: Sequence[str]) -> Outcome:
    """Test whether labels depend on groups, one of each for each document."""
    return chi_square(groups, labels, planned.alpha)
