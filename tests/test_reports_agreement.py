"""consistency.csv and the report's sections on agreement: what runs and models agree on, with intervals and reasons."""

from __future__ import annotations

import csv
import io
import json
import random
from collections.abc import Sequence
from hashlib import sha256
from typing import Any

import pytest

from discernus.experiments.framework import Contract, ContractField, DerivedMetric, Dimension, Framework, Variant
from discernus.reports import reliability, results
from discernus.reports.agreement import consistency, models
from discernus.reports.groups import groups_of
from discernus.reports.records import AnalysisRecord
from tests.test_reports_final import cells, data, table_with

FRAMEWORK = Framework(
    name="f",
    version="1",
    display_name="F",
    text="",
    sha256="f" * 64,
    dimensions=(Dimension(name="fear", label="Fear"), Dimension(name="hope", label="Hope")),
    variants=(Variant(name="default", analysis_prompt="Read."),),
    derived_metrics=(DerivedMetric(name="balance", formula="hope_score - fear_score"),),
    contract=Contract(fields=(ContractField(path=("worldview",), role="label", type="string"),)),
)


def readings(model: str = "vendor/one", documents: int = 8, runs: int = 3, seed: int = 1) -> list[AnalysisRecord]:
    """Return analyses whose fear differs by document and a little by run, and whose hope is always the same."""
    chance = random.Random(seed)
    found: list[AnalysisRecord] = []
    for document in range(documents):
        for run in range(1, runs + 1):
            fear = round(min(1.0, document / documents + chance.random() / 5), 2)
            found.append(
                AnalysisRecord(
                    number=len(found) + 1,
                    document=f"d{document:02d}",
                    model_requested=model,
                    model_answered=model,
                    variant="default",
                    run=run,
                    status="scored",
                    scores={"fear": fear, "hope": 0.5},
                    derived={"balance": 0.5 - fear},
                    labels={"worldview": "grim" if fear > 0.5 else "bright"},
                    confidence={"fear": chance.random()},
                    call="001",
                )
            )
    return found


def rows(records: Sequence[AnalysisRecord]) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(reliability.write_csv(records, FRAMEWORK).decode())))


def row(found: list[dict[str, str]], variable: str, coefficient: str) -> dict[str, str]:
    (one,) = (each for each in found if each["variable"] == variable and each["coefficient"] == coefficient)
    return one


def report(records: Sequence[AnalysisRecord]) -> tuple[str, str | None]:
    made: Any = data(framework=FRAMEWORK, records=tuple(records))
    groups = groups_of(records)
    return consistency(made, groups), models(made, groups)


def test_each_variable_has_each_coefficient_once_for_each_model() -> None:
    found = rows([*readings("vendor/one"), *readings("vendor/two", seed=2)])
    keys = [(each["models"], each["variable"], each["coefficient"]) for each in found]
    assert len(keys) == len(set(keys))
    of_scores = {"ICC(1,1)", "ICC(1,k)", "Krippendorff's alpha, ordinal", "Krippendorff's alpha, interval"}
    for model in ("vendor/one", "vendor/two"):
        own = {(variable, coefficient) for whose, variable, coefficient in keys if whose == model}
        for variable in ("fear", "hope", "balance"):
            assert {name for of, name in own if of == variable} == {*of_scores, "Cronbach's alpha"}
        assert {name for of, name in own if of == "worldview"} == {
            "Krippendorff's alpha, nominal",
            "observed agreement",
        }
    both = {(variable, name) for whose, variable, name in keys if whose == "vendor/one; vendor/two"}
    assert both == {(of, name) for of in ("fear", "hope", "balance") for name in ("ICC(A,1)", "ICC(A,k)")}


def test_what_is_undefined_is_an_empty_cell_with_its_reason_beside_it() -> None:
    for each in rows(readings()):
        assert (each["value"] == "") == (each["undefined_since"] != "")
        assert (each["low"] == "") == (each["high"] == "") == (each["no_interval_since"] != "")
        assert each["low"] == "" or float(each["low"]) <= float(each["high"])
    hope = row(rows(readings()), "hope", "ICC(1,1)")
    assert (hope["value"], hope["undefined_since"]) == ("", "the values do not differ at all")


def test_a_seed_can_be_told_from_the_scores_in_the_results_table() -> None:
    records = readings()
    by_document: dict[str, list[float]] = {}
    for record in records:
        by_document.setdefault(record.document, []).append(record.scores["fear"])
    values = json.dumps(list(by_document.values()), separators=(",", ":"))
    expected = int(sha256(values.encode()).hexdigest()[:16], 16)
    assert row(rows(records), "fear", "ICC(1,1)")["seed"] == str(expected)


def test_a_confidence_that_a_model_states_changes_no_coefficient() -> None:
    unsure = [record.model_copy(update={"confidence": {"fear": 0.0}}) for record in readings()]
    assert reliability.write_csv(unsure, FRAMEWORK) == reliability.write_csv(readings(), FRAMEWORK)


def test_a_missing_score_is_left_out_and_counted_and_never_filled_in() -> None:
    records = readings()
    gone = records[0].model_copy(update={"scores": {"hope": 0.5}, "derived": {}, "status": "partial"})
    found = rows([gone, *records[1:]])
    whole = rows(records)
    assert row(found, "fear", "ICC(1,1)")["values"] == "23"
    assert row(found, "fear", "ICC(1,1)")["documents"] == "8"
    assert row(found, "fear", "Cronbach's alpha")["documents"] == "7"
    assert row(found, "fear", "Cronbach's alpha")["documents_planned"] == "8"
    without = [record for record in records if record.document != "d00"]
    assert row(found, "fear", "Cronbach's alpha")["value"] == row(rows(without), "fear", "Cronbach's alpha")["value"]
    assert row(found, "fear", "ICC(1,1)")["value"] != row(whole, "fear", "ICC(1,1)")["value"]


def test_what_another_model_read_is_in_its_own_rows_and_not_between_models() -> None:
    records = readings()
    others = [record.model_copy(update={"model_asked": "vendor/deputy"}) for record in records[:6]]
    found = rows([*others, *records[6:]])
    assert {(each["models"], each["in_place_of"]) for each in found} == {
        ("vendor/one", ""),
        ("vendor/deputy", "vendor/one"),
    }
    assert {each["measure"] for each in found} == {"run-to-run consistency"}


def test_an_offline_method_has_its_stability_and_no_coefficient_of_agreement() -> None:
    found = rows([*readings("offline/lexicon"), *readings("vendor/one")])
    offline = [each for each in found if each["models"] == "offline/lexicon"]
    assert {each["measure"] for each in offline} == {"sentence-resampling stability"}
    assert {each["coefficient"] for each in offline} == {"formula of Cronbach's alpha, over draws of sentences"}
    assert all(each["low"] == each["interval_by"] == each["reaches"] == "" for each in offline)
    assert "agreement between models" not in {each["measure"] for each in found}


def test_one_run_says_that_it_is_one() -> None:
    for each in rows(readings(runs=1)):
        assert (each["value"], each["undefined_since"]) == ("", "there is only one run")


def test_fewer_than_twenty_documents_are_marked_at_every_figure_and_twenty_are_not() -> None:
    few, _ = report(readings(documents=8))
    fear = cells(table_with(few, "ICC(1,k)"), "fear")
    assert all(cell.endswith("]†") for cell in fear[2:])
    assert "† **Warning:** figures from fewer than 20 documents vary widely" in few
    enough, _ = report(readings(documents=20))
    assert "†" not in enough
    assert {each["few_documents"] for each in rows(readings(documents=19))} == {"true"}
    assert {each["few_documents"] for each in rows(readings(documents=20)) if each["value"]} == {"false"}


def test_the_report_states_what_the_table_states() -> None:
    records = readings(documents=24)
    section, _ = report(records)
    for name in ("fear", "balance"):
        told = row(rows(records), name, "ICC(1,1)")
        value, low, high = (f"{float(told[column]):.3f}" for column in ("value", "low", "high"))
        assert cells(table_with(section, "ICC(1,k)"), name)[:3] == [name, "24", f"{value} [{low}, {high}]"]


def test_a_threshold_is_named_only_where_the_lower_bound_reaches_it() -> None:
    records = readings(documents=24)
    section, _ = report(records)
    judged = section.partition("The highest customary threshold")[2]
    for each in rows(records):
        if each["kind"] != "label" and each["variable"] == "fear":
            assert float(each["reaches"]) <= float(each["low"])
    assert cells(judged, "fear")[1] == row(rows(records), "fear", "ICC(1,1)")["reaches"]
    noisy = readings(documents=24)
    chance = random.Random(3)
    noisy = [one.model_copy(update={"scores": {"fear": chance.random(), "hope": 0.5}}) for one in noisy]
    assert row(rows(noisy), "fear", "ICC(1,k)")["reaches"] == "none"


def test_models_are_compared_by_the_means_that_both_have() -> None:
    first, second = readings("vendor/one"), readings("vendor/two", seed=2)
    lost = [record for record in second if record.document != "d03"]
    section, between = report([*first, *lost])
    assert between is not None
    assert "### vendor/one and vendor/two, variant default" in between
    assert cells(between, "fear")[1] == "7"
    assert "err together" in " ".join(between.split())
    assert report(first)[1] is None
    assert "Agreement between models" not in section


def test_a_variable_without_coefficients_is_told_with_the_reason_once() -> None:
    section, _ = report(readings())
    assert section.count("since the values do not differ at all") == 1
    assert "- hope (Cronbach's alpha): undefined, since the documents do not differ in their sums over runs." in section


@pytest.mark.parametrize("name", ["models", "value", "low", "reaches", "k", "seed"])
def test_the_data_dictionary_says_what_each_column_means(name: str) -> None:
    dictionary = reliability.dictionary().decode()
    header = next(csv.reader(io.StringIO(reliability.write_csv([], FRAMEWORK).decode())))
    described = [line[0] for line in csv.reader(io.StringIO(dictionary))]
    assert described == [f"consistency.csv/{column}" for column in header]
    assert name in header


def test_a_table_of_a_session_without_analyses_has_its_heading_alone() -> None:
    assert reliability.write_csv([], FRAMEWORK) == results.line(column.name for column in reliability.COLUMNS)
