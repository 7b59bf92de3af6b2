"""The statistical plan of an experiment: what each of its tests names, in one form whatever form it was written in.

An entry may hold its settings directly or below ``test`` and ``params``, as the older form does.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from discernus.experiments.roles import snake_case

Method = Literal[
    "welch_t",
    "paired_t",
    "mann_whitney",
    "anova",
    "welch_anova",
    "kruskal_wallis",
    "mixed_model",
    "pearson",
    "spearman",
    "kendall",
    "chi_square",
    "equivalence",
    "run_noise",
    "consistency",
]
TWO_GROUPS: frozenset[str] = frozenset({"welch_t", "mann_whitney", "equivalence"})
GROUPED: frozenset[str] = TWO_GROUPS | {"anova", "welch_anova", "kruskal_wallis", "mixed_model", "chi_square"}
CORRELATIONS: frozenset[str] = frozenset({"pearson", "spearman", "kendall"})
DIRECTED: frozenset[str] = CORRELATIONS | {"welch_t", "paired_t", "mann_whitney"}
ANY_DIRECTION = "difference"

# Coefficients of run-to-run consistency; run numbers mean nothing, so that an ICC is the one-way one.
COEFFICIENTS: dict[str, str] = {
    **dict.fromkeys(("cronbachs_alpha", "cronbach_alpha"), "Cronbach's alpha"),
    "icc": "ICC(1,1)",
    **dict.fromkeys(("krippendorffs_alpha", "krippendorff_alpha"), "Krippendorff's alpha, interval"),
}
# Every way of writing a method, in snake_case. A plain t test is Welch's, which needs no equal variances.
METHODS: dict[str, Method] = {
    **dict.fromkeys(("welch_t", "welch", "welch_t_test", "t_test", "ttest", "independent_t_test"), "welch_t"),
    **dict.fromkeys(("paired_t", "paired_t_test", "dependent_t_test"), "paired_t"),
    **dict.fromkeys(("mann_whitney", "mann_whitney_u", "wilcoxon_rank_sum"), "mann_whitney"),
    **dict.fromkeys(("anova", "one_way_anova"), "anova"),
    "welch_anova": "welch_anova",
    **dict.fromkeys(("kruskal_wallis", "kruskal"), "kruskal_wallis"),
    **dict.fromkeys(
        ("mixed_model", "mixed_effects", "mixed_effects_model", "linear_mixed_model", "lmm"), "mixed_model"
    ),
    **dict.fromkeys(("pearson", "correlation", "pearson_correlation"), "pearson"),
    **dict.fromkeys(("spearman", "spearman_correlation"), "spearman"),
    **dict.fromkeys(("kendall", "kendall_tau"), "kendall"),
    **dict.fromkeys(("chi_square", "chi2", "chi_squared"), "chi_square"),
    **dict.fromkeys(("equivalence", "tost"), "equivalence"),
    "run_noise": "run_noise",
    **dict.fromkeys(COEFFICIENTS, "consistency"),
}

VARIABLE_KEYS = (
    "variable",
    "variables",
    "data_source",
    "data_sources",
    "dependent_variable",
    "dependent_variables",
    "independent_variable",
    "dimension",
    "dimensions",
    "metric",
    "metrics",
)
GROUP_KEYS = ("groups", "grouping_variable", "grouping_variables", "group_by", "grouping", "factor", "factors")
REFERENCE_KEYS = ("hypothesis", "hypothesis_ref", "hypotheses")
SETTINGS = ("test", "method", "compare", "expect", "pairs", "margin", "justification", "alpha", "threshold")
PROSE = ("name", "description")
NESTED = ("test", "params", "parameters")
KEYS = (*REFERENCE_KEYS, *VARIABLE_KEYS, *GROUP_KEYS, *SETTINGS, *PROSE, *NESTED)
ALPHA = 0.05


@dataclass(frozen=True)
class PlannedTest:
    """One entry of the plan. What is not written is empty or None; ``odd`` holds what cannot be meant, with its cure.

    ``compare`` are the two groups (or variables) compared, first minus second; ``expect`` the direction: the name of
    the higher one, ``positive``, ``negative`` or ANY_DIRECTION. ``margin`` is in units of the scale.
    """

    index: int
    hypotheses: tuple[str, ...]
    variables: tuple[str, ...]
    groups: tuple[str, ...]
    written_method: str | None = None
    compare: tuple[str, ...] = ()
    expect: str | None = None
    pairs: str | None = None
    margin: float | None = None
    justification: str | None = None
    alpha: float = ALPHA
    threshold: float | None = None  # of a coefficient of consistency
    odd: tuple[tuple[str, str], ...] = ()

    @property
    def method(self) -> Method | None:
        """The method, None where none or an unknown one is named."""
        return METHODS.get(self._plainly)

    @property
    def coefficient(self) -> str | None:
        """Which coefficient of consistency is meant, None where the test is none of consistency."""
        return COEFFICIENTS.get(self._plainly)

    @property
    def _plainly(self) -> str:
        return snake_case((self.written_method or "").replace("'", ""))


def tests_of(plan: Sequence[Mapping[str, Any]]) -> tuple[PlannedTest, ...]:
    """Return what each entry of the plan names."""
    return tuple(_test(index, entry) for index, entry in enumerate(plan))


def _test(index: int, entry: Mapping[str, Any]) -> PlannedTest:
    settings = list(_settings(entry))
    odd: list[tuple[str, str]] = []
    written = {key: value for key, value in settings if key in SETTINGS}
    unknown = [key for key, _ in settings if key not in KEYS]
    odd += [(f"'{key}' is no setting of a test", f"the settings are {', '.join(_taught())}") for key in unknown]
    compare, expect = _direction(written, odd)
    alpha = _number(written, "alpha", odd)
    if alpha is not None and not 0 < alpha < 1:
        odd.append((f"alpha is {alpha:g}", f"write a level between 0 and 1, such as {ALPHA}"))
    threshold = _number(written, "threshold", odd)
    return PlannedTest(
        index=index,
        hypotheses=tuple(name for key, value in settings if key in REFERENCE_KEYS for name in _names(value)),
        variables=tuple(name for key, value in settings if key in VARIABLE_KEYS for name in _names(value)),
        groups=tuple(name for key, value in settings if key in GROUP_KEYS for name in _names(value)),
        written_method=_text(written.get("test")) or _text(written.get("method")),
        compare=compare,
        expect=expect,
        pairs=_text(written.get("pairs")),
        margin=_number(written, "margin", odd),
        justification=_text(written.get("justification")),
        alpha=ALPHA if alpha is None else alpha,
        threshold=threshold,
        odd=tuple(odd),
    )


def _direction(written: Mapping[str, Any], odd: list[tuple[str, str]]) -> tuple[tuple[str, ...], str | None]:
    """Return what is compared, and the name of what is expected to be higher; ``expect: a > b`` says both."""
    compare, expect = tuple(_names(written.get("compare"))), _text(written.get("expect"))
    if "compare" in written and (len(compare) != 2 or compare[0] == compare[1]):
        odd.append(("'compare' does not name two groups", "write `compare: [one, other]`"))
    if expect is None or not set(expect) & set("<>"):
        return compare, expect
    higher, lower = (part.strip() for part in _higher_first(expect))
    if not higher or not lower or higher == lower:
        odd.append((f"'expect: {expect}' compares no two groups", "write `expect: one > other`"))
    elif compare and {higher, lower} != set(compare):
        odd.append(("'expect' and 'compare' name different groups", "name the same two in both, or leave compare out"))
    return compare or (higher, lower), higher


def _higher_first(expect: str) -> tuple[str, str]:
    left, sign, right = expect.partition(">")
    if sign:
        return left, right
    left, _, right = expect.partition("<")
    return right, left


def _taught() -> tuple[str, ...]:
    return ("hypothesis", "variables", "groups", *SETTINGS)


def _number(written: Mapping[str, Any], key: str, odd: list[tuple[str, str]]) -> float | None:
    value = written.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        odd.append((f"'{key}' is {value!r}, not a number", f"write a number, such as `{key}: 0.1`"))
        return None
    return float(value)


def _settings(entry: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in entry.items():
        if key in NESTED and isinstance(value, Mapping):
            yield from _settings(value)
        else:
            yield key, value


def _text(value: Any) -> str | None:
    return value.strip() if isinstance(value, str) and value.strip() else None


def _names(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value.strip()]
    return [entry.strip() for entry in value if isinstance(entry, str)] if isinstance(value, list) else []
