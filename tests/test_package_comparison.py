"""Packed and computed tables are compared by the names of columns and rows, and reports by what they claim."""

from __future__ import annotations

from discernus.packages.comparison import GONE, compare_sections, compare_tables

PACKED = [["analysis", "fear", "hope"], ["1", "0.2", "0.4"], ["2", "0.3", ""]]

SECTION = """
Scores of fewer than 20 documents.

### scribe

| dimension | mean | largest SD within |
|-----------|------|-------------------|
| fear      | 0.20 | 0.01              |
| hope      | 0.40 | 0.02              |

H1 is supported: the difference is 0.25.
"""


def test_a_column_that_came_later_is_new_wherever_it_stands_and_nothing_differs() -> None:
    computed = [["analysis", "reused_from", "fear", "hope"], ["1", "x", "0.2", "0.4"], ["2", "", "0.3", ""]]
    found = compare_tables("results.csv", PACKED, computed)
    assert (found.differences, found.new, found.cells) == ((), ("reused_from",), 9)


def test_a_changed_cell_is_named_by_its_row_and_its_column() -> None:
    computed = [PACKED[0], ["1", "0.2", "0.5"], PACKED[2]]
    (one,) = compare_tables("results.csv", PACKED, computed).differences
    assert (one.place, one.packed, one.computed) == ("row 2 (1), hope", "0.4", "0.5")


def test_a_number_where_none_is_computed_differs() -> None:
    (one,) = compare_tables("results.csv", [*PACKED[:2], ["2", "0.3", "0"]], PACKED).differences
    assert (one.place, one.packed, one.computed) == ("row 3 (2), hope", "0", "")


def test_a_column_that_cannot_be_computed_differs() -> None:
    computed = [row[:2] for row in PACKED]
    assert [(one.place, one.computed) for one in compare_tables("t", PACKED, computed).differences] == [
        ("column hope", GONE)
    ]


def test_rows_in_another_order_agree_and_rows_that_only_one_side_has_differ() -> None:
    computed = [PACKED[0], PACKED[2], PACKED[1]]
    assert compare_tables("t", PACKED, computed).differences == ()
    assert [one.place for one in compare_tables("t", PACKED, computed[:2]).differences] == ["row 2 (1)"]
    assert [one.place for one in compare_tables("t", PACKED[:2], computed).differences] == ["row (2)"]


def test_rows_of_several_keys_are_matched_by_all_of_them_and_equal_ones_in_their_order() -> None:
    packed = [["analysis", "dimension", "quotation"], ["1", "fear", "a"], ["1", "fear", "b"], ["1", "hope", "c"]]
    keys = ("analysis", "dimension")
    assert compare_tables("evidence.csv", packed, [packed[0], *reversed(packed[1:])], keys).differences != ()
    moved = [packed[0], packed[3], packed[1], packed[2]]
    assert compare_tables("evidence.csv", packed, moved, keys).differences == ()


def test_a_cell_beyond_the_headings_differs() -> None:
    (one,) = compare_tables("t", [PACKED[0], [*PACKED[1], "0.9"], PACKED[2]], PACKED).differences
    assert (one.place, one.packed) == ("row 2 (1), column 4", "0.9")


def test_a_table_that_is_no_longer_computed_differs_as_a_whole() -> None:
    assert len(compare_tables("t", PACKED, []).differences) == 3 + 2


def test_a_section_worded_anew_agrees_and_says_so() -> None:
    computed = SECTION.replace("largest SD within", "largest SD").replace("0.20 |", "0.20† |")
    computed = computed.replace("Scores of fewer", "† Figures from fewer")
    found = compare_sections("report: Dimensions", SECTION, computed)
    assert found.differences == ()
    assert found.reworded == ("Scores of fewer than 20 documents.",)


def test_a_changed_number_in_a_section_differs_in_its_tables_and_in_its_sentences() -> None:
    (cell,) = compare_sections("s", SECTION.replace("0.40", "0.90"), SECTION).differences
    assert (cell.place, cell.packed, cell.computed) == ("row 3 (hope), mean", "0.90", "0.40")
    (sentence,) = compare_sections("s", SECTION.replace("is 0.25", "is 0.95"), SECTION).differences
    assert (sentence.place, sentence.packed) == ("H1 is supported: the difference is 0.95.", "0.95")


def test_another_verdict_differs_though_every_number_is_the_same() -> None:
    for verdict in ("contradicted", "not supported"):
        (one,) = compare_sections("s", SECTION.replace("supported", verdict), SECTION).differences
        assert one.packed in verdict


def test_a_column_renamed_with_other_numbers_differs() -> None:
    computed = SECTION.replace("largest SD within", "largest SD").replace("0.02", "0.03")
    assert [one.place for one in compare_sections("s", SECTION, computed).differences] == ["column largest SD within"]


def test_a_table_put_before_another_leaves_that_one_compared_with_itself() -> None:
    other = "| dimension | alpha |\n|---|---|\n| fear | 0.7 |\n\nOf these:\n"
    assert compare_sections("s", SECTION, other + SECTION).differences == ()
