"""Alpha and descriptives against published figures, an independent formula, and data that have no answer."""

import csv
import itertools
import json
import math
import statistics
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from discernus.statistics.consistency import cronbach_alpha, spread_within_documents
from discernus.statistics.descriptives import describe


@pytest.fixture(scope="module")
def published(shared: Path) -> tuple[list[dict[str, str]], dict[str, Any]]:
    folder = shared / "published_stats" / "02_mva_exp1_48_runs"
    with (folder / "raw_scores.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return rows, json.loads((folder / "recomputed.json").read_text(encoding="utf-8"))


def table(rows: list[dict[str, str]], variable: str, requested: str = "") -> list[list[float]]:
    chosen = [row for row in rows if requested in row["model_requested"]]
    ordered = sorted(chosen, key=lambda row: (row["document"], row["model_requested"], int(row["run"])))
    return [
        [float(row[variable]) for row in group]
        for _, group in itertools.groupby(ordered, key=lambda row: row["document"])
    ]


def test_the_published_descriptives_are_reproduced(published: tuple[list[dict[str, str]], dict[str, Any]]) -> None:
    rows, expected = published
    for variable, figures in expected["descriptives"].items():
        found = describe(float(row[variable]) for row in rows)
        assert (found.n, found.missing) == (figures["n"], 0)
        assert found.mean == pytest.approx(figures["mean"], abs=1e-9)
        assert found.sd == pytest.approx(figures["sd_sample"], abs=1e-9)
        assert (found.minimum, found.maximum) == (figures["min"], figures["max"])
        assert found.median == pytest.approx(figures["median"], abs=1e-9)
    for variable, documents in expected["by_document"].items():
        for document, figures in documents.items():
            found = describe(float(row[variable]) for row in rows if row["document"] == document)
            assert found.mean == pytest.approx(figures["mean"], abs=1e-9)
            assert found.sd == pytest.approx(figures["sd_sample"], abs=1e-9)


def test_the_published_alphas_are_reproduced(published: tuple[list[dict[str, str]], dict[str, Any]]) -> None:
    rows, expected = published
    selections = {"all_6_runs": "", "requested_gpt4o_3_runs": "gpt-4o", "requested_claude_3_runs": "claude"}
    compared = 0
    for variable, selected in expected["reliability"].items():
        for name, requested in selections.items():
            scores = table(rows, variable, requested)
            alpha, spread, figures = cronbach_alpha(scores), spread_within_documents(scores), selected[name]
            assert alpha.value == pytest.approx(figures["cronbach_alpha_items_are_runs"], abs=1e-9)
            assert (alpha.documents, alpha.runs) == (figures["documents"], figures["runs"])
            assert alpha.rests_on_few
            assert spread.mean == pytest.approx(figures["mean_within_document_sd"], abs=1e-9)
            assert spread.largest == pytest.approx(figures["max_within_document_sd"], abs=1e-9)
            compared += 1
    assert compared == 18


scores = st.integers(-20, 20).map(lambda tenths: tenths / 10)
tables = st.integers(2, 5).flatmap(lambda runs: st.lists(st.lists(scores, min_size=runs, max_size=runs), min_size=2))


@given(tables)
def test_alpha_equals_its_form_by_mean_covariance_in_exact_arithmetic(rows: list[list[float]]) -> None:
    exact = [[Fraction(round(score * 10), 10) for score in row] for row in rows]
    runs, documents = len(exact[0]), len(exact)
    columns = list(zip(*exact, strict=True))
    means = [sum(column) / documents for column in columns]

    def covariance(one: int, other: int) -> Fraction:
        products = ((row[one] - means[one]) * (row[other] - means[other]) for row in exact)
        return sum(products, Fraction()) / (documents - 1)

    own = sum((covariance(run, run) for run in range(runs)), Fraction()) / runs
    shared = [covariance(one, other) for one, other in itertools.combinations(range(runs), 2)]
    mutual = sum(shared, Fraction()) / len(shared)
    alpha = cronbach_alpha(rows)
    if own + (runs - 1) * mutual == 0:
        assert alpha.value is None
        assert alpha.reason
    else:
        assert alpha.value == pytest.approx(float(runs * mutual / (own + (runs - 1) * mutual)), rel=1e-6, abs=1e-6)


@given(tables, st.data())
def test_incomplete_documents_are_left_out_and_counted(rows: list[list[float]], data: st.DataObject) -> None:
    assume(len(rows) > 2)
    holed: list[list[float | None]] = [list(row) for row in rows]
    document = data.draw(st.integers(0, len(rows) - 1))
    holed[document][data.draw(st.integers(0, len(rows[0]) - 1))] = None
    without = cronbach_alpha([row for index, row in enumerate(rows) if index != document])
    alpha = cronbach_alpha(holed)
    assert (alpha.value, alpha.documents, alpha.incomplete) == (without.value, len(rows) - 1, 1)


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([], "there are no scores"),
        ([[0.1], [0.2]], "there is only one run"),
        ([[0.1, 0.2]], "fewer than two documents have a score in all 2 runs"),
        ([[0.1, 0.2], [0.3, None]], "fewer than two documents have a score in all 2 runs"),
        ([[0.3, 0.3], [0.3, 0.3]], "the documents do not differ in their sums over runs"),
        ([[0.1, 0.2], [0.2, 0.1]], "the documents do not differ in their sums over runs"),
        ([[0.1, 0.2], [0.15, 0.15]], "the documents do not differ in their sums over runs"),
    ],
)
def test_an_undefined_alpha_has_a_reason_and_no_number(rows: list[list[float | None]], reason: str) -> None:
    alpha = cronbach_alpha(rows)
    assert (alpha.value, alpha.reason) == (None, reason)


def test_runs_that_agree_wholly_have_an_alpha_of_one() -> None:
    assert cronbach_alpha([[0.1] * 3, [0.7] * 3, [0.4] * 3]).value == pytest.approx(1.0)


@given(st.lists(st.none() | st.floats(-1e6, 1e6), max_size=30))
def test_descriptives_leave_missing_values_out_and_count_them(values: list[float | None]) -> None:
    present = [value for value in values if value is not None]
    found = describe(values)
    assert (found.n, found.missing) == (len(present), len(values) - len(present))
    if present:
        assert found.mean == pytest.approx(statistics.mean(present), abs=1e-6)
        assert found.median == statistics.median(present)
    else:
        assert (found.mean, found.sd, found.minimum, found.median, found.maximum) == (None,) * 5
    if len(present) > 1:
        assert found.sd == pytest.approx(statistics.stdev(present), abs=1e-5)
    else:
        assert found.sd is None


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_nan_is_refused_rather_than_averaged(value: float) -> None:
    with pytest.raises(ValueError, match="NaN or infinite"):
        describe([0.5, value])


def test_spread_within_documents_needs_two_scores_of_one_document() -> None:
    assert spread_within_documents([[0.5], [0.1, None]]).mean is None
    spread = spread_within_documents([[0.5, 0.7], [0.1, None]])
    assert spread.mean == pytest.approx(math.sqrt(0.02))
    assert spread.documents == 1
