"""What was once published with wrong numbers, through our own formulas and statistics: the right ones come out again,
and each wrong one is either another number here or refused with a reason.
"""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

from discernus.statistics import correlations, group_tests
from discernus.statistics.consistency import cronbach_alpha, rater_coefficients, score_coefficients
from discernus.statistics.descriptives import describe
from discernus.statistics.formulas import compute, named_values
from discernus.statistics.mixed_model import mixed_model
from discernus.statistics.run_noise import run_noise

AXES = (
    ("dignity", "tribalism"),
    ("truth", "manipulation"),
    ("justice", "resentment"),
    ("hope", "fear"),
    ("pragmatism", "fantasy"),
)
DIMENSIONS = [name for axis in AXES for name in axis]


@dataclass(frozen=True)
class Named:
    name: str
    formula: str


def read(shared: Path, case: str) -> tuple[list[dict[str, str]], dict[str, Any]]:
    folder = shared / "published_stats" / case
    with (folder / "raw_scores.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file)), json.loads((folder / "verdicts.json").read_text(encoding="utf-8"))


# six evaluations of one document in one answer

INDEX = [
    *(Named(f"{one}_tension", f"abs({one}_score - {other}_score)") for one, other in AXES),
    Named("mc_sci", f"({' + '.join(f'{one}_tension' for one, _ in AXES)}) / 5"),
]


@pytest.fixture(scope="module")
def six(shared: Path) -> tuple[list[dict[str, str]], dict[str, Any]]:
    return read(shared, "06_six_evaluations_in_one_response")


def test_every_stated_score_is_its_intensity_times_its_salience(
    six: tuple[list[dict[str, str]], dict[str, Any]],
) -> None:
    rows, verdicts = six
    products = [Named(name, f"{name}_intensity * {name}_salience") for name in DIMENSIONS]
    assert verdicts["inconsistencies_over_0_0005"] == []
    for row in rows:
        given = {
            f"{name}_{part}": float(row[f"{name}_{part}"]) for name in DIMENSIONS for part in ("intensity", "salience")
        }
        computed = compute(products, given)
        for name in DIMENSIONS:
            value = computed[name].value
            assert value == pytest.approx(float(row[f"{name}_product"]), abs=1e-12)
            assert value == pytest.approx(float(row[f"{name}_score"]), abs=5e-4)


def test_the_index_of_each_evaluation_is_computed_from_its_scores_and_agrees_with_all_three_forms(
    six: tuple[list[dict[str, str]], dict[str, Any]],
) -> None:
    rows, _ = six
    assert len(rows) == 6
    for row in rows:
        scores = {(name, "score"): float(row[f"{name}_score"]) for name in DIMENSIONS}
        value = compute(INDEX, named_values(INDEX, scores, DIMENSIONS))["mc_sci"].value
        assert value == pytest.approx(float(row["mc_sci_recomputed"]), abs=1e-12)
        assert value == pytest.approx(float(row["mc_sci_stated"]), abs=1e-12)
        assert value == pytest.approx(float(row["mc_sci_csv"]), abs=1e-12)
        assert value == pytest.approx(float(row["mc_sci_table"]), abs=5e-4 + 1e-12)  # the table has three digits


def test_the_descriptives_over_the_six_evaluations_are_reproduced(
    six: tuple[list[dict[str, str]], dict[str, Any]],
) -> None:
    rows, verdicts = six
    columns = {name: f"{name}_score" for name in DIMENSIONS} | {"mc_sci": "mc_sci_recomputed"}
    assert verdicts["over_six_evaluations"].keys() == columns.keys()
    for name, figures in verdicts["over_six_evaluations"].items():
        found = describe(float(row[columns[name]]) for row in rows)
        assert (found.n, found.missing) == (figures["n"], 0)
        assert found.mean == pytest.approx(figures["mean"], rel=1e-11)
        assert found.sd == pytest.approx(figures["sd_sample"], rel=1e-11)
        assert (found.minimum, found.maximum) == pytest.approx((figures["min"], figures["max"]))
        assert found.median == pytest.approx(figures["median"], rel=1e-11)


def test_nothing_is_said_of_consistency_over_one_document(six: tuple[list[dict[str, str]], dict[str, Any]]) -> None:
    rows, _ = six
    for name in DIMENSIONS:
        one_document = tuple(float(row[f"{name}_score"]) for row in rows)
        for one in (*score_coefficients((one_document,)), *rater_coefficients((one_document,))):
            assert (one.value, one.interval.low, one.reached) == (None, None, None)
            assert one.reason
        assert run_noise({"the only document": one_document}, 0.05).pairs == ()
        assert mixed_model({"a": [one_document], "b": []}, 0.05).p is None


# thirteen speeches, eight metrics, and a pipeline that lost names on the way

CORE = (
    "manichaean_people_elite_framing",
    "crisis_restoration_narrative",
    "popular_sovereignty_claims",
    "anti_pluralist_exclusion",
)


@pytest.fixture(scope="module")
def speeches(shared: Path) -> tuple[list[dict[str, str]], dict[str, Any]]:
    return read(shared, "08_pdaf_v10_bolsonaro_20250902")


def by_document(rows: list[dict[str, str]], names: tuple[str, ...]) -> dict[str, list[float | None]]:
    found: dict[str, dict[str, float]] = defaultdict(dict)
    for row in rows:
        found[row["document"]][row["dimension"]] = float(row["raw_score"])
    return {document: [scores.get(name) for name in names] for document, scores in found.items()}


def claim(verdicts: dict[str, Any], words: str) -> dict[str, Any]:
    found: dict[str, Any] = next(one for one in verdicts["verdicts"] if words in one["claim"])
    return found


def test_the_published_alpha_is_the_standardized_one_and_is_not_what_comes_out_here(
    speeches: tuple[list[dict[str, str]], dict[str, Any]],
) -> None:
    rows, verdicts = speeches
    detail = claim(verdicts, "cronbach_alpha")["detail"]
    misspelt = {row["document"] for row in rows if row["key_in_response"] != row["dimension"]}
    counted = {row["document"] for row in rows if row["in_original_statistics"] == "True"}
    core = by_document(rows, CORE)
    ten = [scores for document, scores in core.items() if document in counted - misspelt]
    for table, figures in (
        (ten, detail["on_the_10_complete_rows"]),
        ([*core.values()], detail["on_all_13_with_names_mapped"]),
    ):
        alpha = cronbach_alpha(table)
        assert (alpha.documents, alpha.incomplete) == (figures["n"], 0)
        assert alpha.value == pytest.approx(figures["alpha"], abs=1e-11)
        assert alpha.value != pytest.approx(figures["standardized_alpha"], abs=1e-3)
    every = tuple(sorted({row["dimension"] for row in rows}))
    nine = cronbach_alpha([*by_document(rows, every).values()])
    assert nine.value == pytest.approx(detail["all_nine_dimensions_13"]["alpha"], abs=1e-11)
    assert nine.rests_on_few


def test_the_published_descriptives_are_those_of_the_documents_whose_key_was_spelt_right(
    shared: Path, speeches: tuple[list[dict[str, str]], dict[str, Any]]
) -> None:
    rows, _ = speeches
    folder = shared / "published_stats" / "08_pdaf_v10_bolsonaro_20250902"
    reported = json.loads((folder / "reported.json").read_text(encoding="utf-8"))["calculate_descriptive_statistics"]
    compared = 0
    for dimension in sorted({row["dimension"] for row in rows}):
        for suffix, column in (("raw", "raw_score"), ("salience", "salience")):
            figures = reported.get(f"{dimension}_{suffix}")
            if figures is None:
                continue
            own = [row for row in rows if row["dimension"] == dimension]
            kept = [
                row for row in own if row["in_original_statistics"] == "True" and row["key_in_response"] == dimension
            ]
            found = describe(float(row[column]) for row in kept)
            assert found.n == figures["count"]
            assert [found.mean, found.sd, found.median] == pytest.approx(
                [figures[of] for of in ("mean", "std", "median")]
            )
            whole = describe(float(row[column]) for row in own)
            assert (whole.n, whole.missing) == (13, 0)  # nothing is lost once the two misspelt names are mapped
            compared += 1
    assert compared == 18


def test_the_correlations_that_failed_unseen_have_the_mean_of_the_recomputed_ones(
    speeches: tuple[list[dict[str, str]], dict[str, Any]],
) -> None:
    rows, verdicts = speeches
    assert claim(verdicts, "calculate_correlations")["verdict"].startswith("None: the function failed")
    columns = list(zip(*by_document(rows, CORE).values(), strict=True))
    found = []
    for first, second in combinations(columns, 2):
        pairs = [
            (one, other) for one, other in zip(first, second, strict=True) if one is not None and other is not None
        ]
        outcome = correlations.pearson([one for one, _ in pairs], [other for _, other in pairs], 0.05)
        assert outcome.statistic is not None
        assert outcome.df == (11.0,)
        found.append(outcome.statistic)
    expected = claim(verdicts, "cronbach_alpha")["detail"]["on_all_13_with_names_mapped"]["mean_inter_item_r"]
    assert fmean(found) == pytest.approx(expected, abs=1e-11)


def test_ranks_before_and_after_are_compared_without_a_nan(
    shared: Path, speeches: tuple[list[dict[str, str]], dict[str, Any]]
) -> None:
    rows, verdicts = speeches
    folder = shared / "published_stats" / "08_pdaf_v10_bolsonaro_20250902"
    with (folder / "groups_of_the_original.csv").open(encoding="utf-8", newline="") as file:
        side_of = {row["document"]: row["pre_or_post_stabbing"] for row in csv.DictReader(file)}
    right = claim(verdicts, "stabbing")["recomputed_with_names_mapped"]
    scores = by_document(rows, CORE[:1])
    sides = {
        side: [value for document, (value,) in scores.items() if side_of.get(document) == side and value is not None]
        for side in ("pre", "post")
    }
    assert [len(values) for values in sides.values()] == right["n"]
    ranked = group_tests.mann_whitney(sides, 0.05)
    assert ranked.statistic == right["mann_whitney"]["U"]
    assert ranked.p == pytest.approx(1)
