"""hypothesis_tests.csv: every test of the statistical plan with all its numbers, and what each column means."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from discernus.reports.results import line
from discernus.statistics.outcome import Effect, Pair
from discernus.statistics.verdicts import Tested

NAME = "hypothesis_tests.csv"
DIGITS = 9  # significant ones: what any machine computes alike

# How the report and the table name each method.
METHOD_NAMES: Mapping[str, str] = {
    "welch_t": "Welch's t test",
    "paired_t": "paired t test",
    "mann_whitney": "Mann-Whitney U test",
    "anova": "analysis of variance",
    "welch_anova": "Welch's analysis of variance",
    "kruskal_wallis": "Kruskal-Wallis test",
    "mixed_model": "mixed model (REML, Satterthwaite)",
    "pearson": "Pearson's correlation",
    "spearman": "Spearman's correlation",
    "kendall": "Kendall's correlation",
    "chi_square": "chi-square test",
    "equivalence": "equivalence test (TOST, Welch)",
    "run_noise": "pairs of documents over runs",
    "consistency": "run-to-run consistency",
}


@dataclass(frozen=True)
class _Row:
    """A row of the table: a test, or one of the pairwise comparisons within it."""

    place: int
    tested: Tested
    pair: Pair | None = None


@dataclass(frozen=True)
class _Column:
    name: str
    meaning: str
    unit: str
    value: Callable[[_Row], Any]


def write_tests(tests: Sequence[Tested]) -> bytes:
    """Return the table as CSV; a number that there is not is an empty cell."""
    lines = [line(column.name for column in _COLUMNS)]
    lines += [line(_cell(column.value(row)) for column in _COLUMNS) for row in _rows(tests)]
    return b"".join(lines)


def dictionary() -> bytes:
    """Return the rows of the data dictionary on its columns, each named with the table before it."""
    return b"".join(line((f"{NAME}/{column.name}", column.meaning, column.unit)) for column in _COLUMNS)


def method_name(one: Tested) -> str:
    """Return what the test is called; as its author wrote it, where it is none that is known."""
    return METHOD_NAMES.get(str(one.planned.method), one.planned.written_method or "")


def sizes_in_words(one: Tested) -> str:
    """Return how many documents (runs, for pairs of documents) each group has."""
    return ", ".join(f"{name} {size}" for name, size in one.sizes.items())


def _rows(tests: Sequence[Tested]) -> Iterator[_Row]:
    for place, one in enumerate(tests, start=1):
        yield _Row(place, one)
        for pair in one.outcome.pairs:
            yield _Row(place, one, pair)


def _of_test(value: Callable[[Tested], Any]) -> Callable[[_Row], Any]:
    """Return a reader of what a whole test alone has."""
    return lambda row: value(row.tested) if row.pair is None else None


def _estimate(row: _Row) -> Effect | None:
    return row.tested.outcome.estimate if row.pair is None else row.pair.estimate


def _effect(row: _Row) -> Effect | None:
    return row.tested.outcome.effect if row.pair is None else None


def _columns_of(prefix: str, what: str, unit: str, of: Callable[[_Row], Effect | None]) -> list[_Column]:
    """Return the columns of an effect: its name, its value, its interval and the level of that."""

    def bound(row: _Row, name: str) -> float | None:
        effect = of(row)
        return None if effect is None or effect.interval is None else getattr(effect.interval, name)

    return [
        _Column(
            f"{prefix}_name", f"what {what} is", "text", lambda row: None if (one := of(row)) is None else one.name
        ),
        _Column(prefix, what, unit, lambda row: None if (one := of(row)) is None else one.value),
        _Column(f"{prefix}_low", "lower end of its interval; empty: none", unit, lambda row: bound(row, "low")),
        _Column(f"{prefix}_high", "upper end of its interval; empty: none", unit, lambda row: bound(row, "high")),
        _Column(f"{prefix}_level", "level of the interval", "share of 1", lambda row: bound(row, "level")),
    ]


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.{DIGITS}g}" if isinstance(value, float) else str(value)


def _detectable(one: Tested) -> float | None:
    return None if one.outcome.detectable is None else one.outcome.detectable.value


def _detectable_name(one: Tested) -> str | None:
    return None if one.outcome.detectable is None else one.outcome.detectable.name


def _df(one: Tested) -> str:
    return " ".join(map(_cell, one.outcome.df))


def _p_by(row: _Row) -> str:
    return row.tested.outcome.pairs_by if row.pair else row.tested.outcome.p_by


_COLUMNS = (
    _Column("test", "place of the test in this table; rows of pairs carry that of their test", "", lambda r: r.place),
    _Column(
        "part", "test, or pair: one of the pairwise comparisons within it", "", lambda r: "pair" if r.pair else "test"
    ),
    _Column("plan_entry", "entry of the statistical plan, from 1", "", lambda r: r.tested.planned.index + 1),
    _Column("hypotheses", "hypotheses that it is for", "text", lambda r: ", ".join(r.tested.planned.hypotheses)),
    _Column("model", "model whose readings are tested", "text", lambda r: r.tested.model),
    _Column("in_place_of", "model that it stood in for; empty: none", "text", lambda r: r.tested.in_place_of),
    _Column("variant", "the framework's way of asking", "text", lambda r: r.tested.variant),
    _Column("method", "the test that was computed", "text", lambda r: method_name(r.tested)),
    _Column(
        "variables",
        "what is tested; a document's value is the mean over its runs",
        "text",
        lambda r: ", ".join(r.tested.variables),
    ),
    _Column("groups", "column of corpus.csv that makes the groups", "text", lambda r: r.tested.column),
    _Column("first", "first of the pair", "text", lambda r: r.pair.first if r.pair else None),
    _Column("second", "second of the pair", "text", lambda r: r.pair.second if r.pair else None),
    _Column(
        "sizes",
        "documents with a value by group (runs by document, for pairs of documents)",
        "",
        _of_test(sizes_in_words),
    ),
    _Column("left_out", "documents without what the test takes", "", _of_test(lambda t: len(t.left_out))),
    _Column("statistic_name", "name of the statistic", "text", _of_test(lambda t: t.outcome.statistic_name)),
    _Column("statistic", "the statistic", "", _of_test(lambda t: t.outcome.statistic)),
    _Column("df", "degrees of freedom; two are separated by a space", "", _of_test(_df)),
    _Column(
        "p",
        "two-sided p value; of a pair: adjusted over all pairs of its test",
        "",
        lambda r: r.pair.p if r.pair else r.tested.outcome.p,
    ),
    _Column("p_by", "how p was computed, or adjusted", "text", _p_by),
    _Column("p_adjusted", "p after Holm over the family", "", _of_test(lambda t: t.p_adjusted)),
    _Column("family", "distinct tests of the session with a p value", "", _of_test(lambda t: t.family)),
    _Column(
        "same_as", "earlier test that computes the very same, and so counts once", "", _of_test(lambda t: t.same_as)
    ),
    _Column("alpha", "level that the plan sets", "", lambda r: r.tested.planned.alpha),
    _Column(
        "smallest_p",
        "least p that data of this size can give; empty: no bound",
        "",
        _of_test(lambda t: t.outcome.smallest_p),
    ),
    *_columns_of("estimate", "the difference", "units of the scale", _estimate),
    *_columns_of("effect", "the effect size", "standardised", _effect),
    _Column("detectable_name", "what the next column is", "text", _of_test(_detectable_name)),
    _Column(
        "detectable",
        "effect that a test of this size finds in 80 of 100 cases, unadjusted",
        "standardised",
        _of_test(_detectable),
    ),
    _Column("margin", "margin of equivalence", "units of the scale", _of_test(lambda t: t.planned.margin)),
    _Column(
        "expected",
        "direction that the plan expects; empty: it states none",
        "text",
        _of_test(lambda t: t.planned.expect),
    ),
    _Column("verdict", "supported, contradicted, inconclusive or not testable", "", _of_test(lambda t: t.verdict)),
    _Column("why", "why that verdict, where the numbers alone do not tell", "text", _of_test(lambda t: t.why)),
    _Column("notes", "what has to be known beside the numbers", "text", _of_test(lambda t: "; ".join(t.outcome.notes))),
)
