"""results.csv: what is missing is an empty cell, what is written comes back, and every column is explained."""

import csv
import io
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from discernus.experiments.framework import Contract, ContractField, DerivedMetric, Dimension, Framework
from discernus.reports.records import AnalysisRecord
from discernus.reports.results import (
    data_dictionary,
    header,
    line,
    metadata_keys_of,
    parameter_names_of,
    row,
    write_csv,
)

FRAMEWORK = Framework(
    name="f",
    version="1",
    display_name="F",
    text="",
    sha256="0" * 64,
    dimensions=(Dimension(name="fear", label="Fear"), Dimension(name="hope", label="Hope", low=-1)),
    variants=(),
    derived_metrics=(DerivedMetric(name="balance", formula="hope_score - fear_score"),),
    contract=Contract(
        fields=(
            ContractField(path=("fear_score",), role="score", type="number", dimension="fear"),
            ContractField(path=("hope_score",), role="score", type="number", dimension="hope"),
            ContractField(path=("worldview",), role="label", type="string"),
        )
    ),
)


def record(**changes: Any) -> AnalysisRecord:
    values: dict[str, Any] = {
        "number": 7,
        "document": "d1",
        "model_requested": "m",
        "variant": "default",
        "run": 2,
        "status": "partial",
        "scores": {"fear": 0.1},
        "missing": {"hope": "no coverage"},
        "derived_missing": {"balance": "no value for hope"},
    }
    return AnalysisRecord(**(values | changes))


def read(data: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(data.decode(), newline="")))


def test_a_missing_score_is_an_empty_cell_with_its_reason_and_a_zero_is_a_zero() -> None:
    records = [
        record(),
        record(scores={"fear": 0.0, "hope": -1.0}, missing={}, derived={"balance": -1.0}, cost_usd=0.0),
    ]
    first, second = read(write_csv(records, FRAMEWORK, [], []))
    assert (first["fear_score"], first["hope_score"], first["balance"], first["cost_usd"]) == ("0.1", "", "", "")
    assert first["reason"] == "hope: no coverage; balance: no value for hope"
    assert (second["fear_score"], second["hope_score"], second["balance"], second["cost_usd"]) == (
        "0.0",
        "-1.0",
        "-1.0",
        "0.0",
    )


def test_a_parked_analysis_has_a_row_with_its_reason() -> None:
    (found,) = read(
        write_csv(
            [record(status="parked", scores={}, missing={}, derived_missing={}, reason="timed out")], FRAMEWORK, [], []
        )
    )
    assert (found["analysis"], found["status"], found["reason"], found["fear_score"]) == (
        "7",
        "parked",
        "timed out",
        "",
    )


def test_the_file_grows_row_by_row_into_the_same_bytes() -> None:
    records = [record(), record(number=8, metadata={"language": "en"}, parameters={"temperature": 0.7})]
    keys, names = metadata_keys_of(records), parameter_names_of(records)
    grown = line(header(FRAMEWORK, keys, names))
    for each in records:
        grown += line(row(each, FRAMEWORK, keys, names))
    assert grown == write_csv(records, FRAMEWORK, keys, names)
    assert read(grown)[1]["language"] == "en"
    assert read(grown)[1]["parameter_temperature"] == "0.7"
    assert read(grown)[0]["parameter_temperature"] == ""


def test_metadata_cannot_hide_a_column_of_ours() -> None:
    (found,) = read(write_csv([record(metadata={"status": "draft", "run": "x"})], FRAMEWORK, ["status", "run"], []))
    assert (found["status"], found["document_status"]) == ("partial", "draft")
    assert (found["run"], found["document_run"]) == ("2", "x")


text = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


@given(text, text, st.floats(0, 1), st.floats(-1, 1))
def test_whatever_is_written_comes_back_unaltered(document: str, label: str, fear: float, hope: float) -> None:
    scores = {"fear": fear, "hope": hope}
    written = record(
        document=document, labels={"worldview": label}, scores=scores, missing={}, metadata={"speaker": label}
    )
    (found,) = read(write_csv([written], FRAMEWORK, ["speaker"], []))
    assert (found["document"], found["worldview"], found["speaker"]) == (document, label, label)
    assert (float(found["fear_score"]), float(found["hope_score"])) == (fear, hope)


def test_text_that_a_spreadsheet_would_run_is_not_altered_but_explained() -> None:
    (found,) = read(write_csv([record(document="=1+1")], FRAMEWORK, [], []))
    assert found["document"] == "=1+1"
    dictionary = {each["column"]: each for each in read(data_dictionary(FRAMEWORK, [], []))}
    assert "formula" in dictionary["document"]["unit_or_scale"]


def test_the_dictionary_explains_every_column_once() -> None:
    columns = header(FRAMEWORK, ["language"], ["seed"])
    dictionary = read(data_dictionary(FRAMEWORK, ["language"], ["seed"]))
    assert [each["column"] for each in dictionary] == columns
    assert len(set(columns)) == len(columns)
    assert all(each["meaning"] for each in dictionary)
    scales = {each["column"]: each["unit_or_scale"] for each in dictionary}
    assert (scales["fear_score"], scales["hope_score"]) == ("0 to 1", "-1 to 1")
