"""evidence.csv: each quotation once, with whether it stands in the text, and empty where nobody could look."""

from __future__ import annotations

import csv
import io

from discernus.reports.evidence import dictionary, write_csv
from tests.test_reports_final import TEXT, data


def rows(texts: dict[str, str], **changes: object) -> list[dict[str, str]]:
    record = data().records[0].model_copy(update=changes)
    return list(csv.DictReader(io.StringIO(write_csv([record], texts).decode(), newline="")))


def test_a_quotation_is_found_whatever_its_typography_and_one_that_is_not_there_is_said_to_be_not() -> None:
    first, second = rows({"d1": TEXT})
    assert (first["quotation"], first["verified"], first["match"]) == ("we'll mend the bridge", "true", "found")
    assert (second["quotation"], second["verified"], second["match"]) == ("we shall win", "false", "not found")
    assert (first["dimension"], first["document"], first["analysis"]) == ("hope", "d1", "1")
    assert first["answer_file"] == "llm_archive/response_001.txt"


def test_omissions_count_as_found_and_are_named() -> None:
    (found,) = rows({"d1": TEXT}, evidence={"hope": ("We stand together … mend the bridge",)})
    assert (found["verified"], found["match"]) == ("true", "found with omissions")


def test_a_text_that_is_not_at_hand_leaves_the_flag_empty() -> None:
    assert {(row["verified"], row["match"]) for row in rows({})} == {("", "")}


def test_a_quotation_that_is_given_twice_for_a_dimension_is_one_row() -> None:
    found = rows({"d1": TEXT}, evidence={"hope": ("mend", "mend"), "fear": ("mend",)})
    assert [row["dimension"] for row in found] == ["hope", "fear"]


def test_whose_reading_it_is_stands_beside_it() -> None:
    (found,) = rows({"d1": TEXT}, evidence={"hope": ("mend",)}, model_asked="b/two")
    assert found["model"] == "b/two"


def test_every_column_is_explained_under_its_tables_name() -> None:
    told = list(csv.reader(io.StringIO(dictionary().decode(), newline="")))
    assert [name for name, _, _ in told] == [f"evidence.csv/{column}" for column in rows({"d1": TEXT})[0]]
    assert all(meaning for _, meaning, _ in told)
