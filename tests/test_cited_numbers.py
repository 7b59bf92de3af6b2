"""Numbers of a model's prose are looked up in the tables, with its rounding, signs and units; what lacks is told."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discernus.reports.cited_numbers import Tables

MARKDOWN = """12 documents, 4 runs under gpt-4o-mini; H1 by ICC(1,1), with 95 % intervals.

| name | mean   | p       | share | d                       |
|------|-------:|--------:|------:|------------------------:|
| hope | 0.2512 | 0.0310  |  0.25 | -0.482                  |
| fear | 1,234.5| <0.0001 |   0.4 | 62 % [95 %: 0.100, 0.9] |
"""
TABLES = Tables(MARKDOWN, ("speech_03.txt", "gpt-4o-mini"))


def absent(prose: str) -> list[str]:
    return [one.text for one in TABLES.look_up(prose) if not one.found]


@pytest.mark.parametrize(
    "prose",
    [
        *("a mean of 0.25", "0.251", "0,25", ".25", "0.2512", "0.3", "1,234.5", "1234.5"),
        *("25 % of them", "25%", "40 percent", "62 per cent", "a 95 % interval"),
        *("d = -0.48", "d = −0.482", "d was –0.5", "from 0.10 to 0.9", "0.1–0.9", "[0.1, 0.9]"),
        *("p < .001", "p < 0.05", "p = .031", "p<.05", "p > .03"),
        *("twelve documents", "Four runs", "12 documents and 4 runs"),
        *("a quarter of them", "one quarter are calm", "half-hearted", "a third model", "the second half-way house"),
        *("no one doubts it", "one of them", "gpt-4o-mini on speech_03.txt for H1", "an ICC(1,1)"),
    ],
)
def test_what_the_tables_have_is_found(prose: str) -> None:
    assert absent(prose) == []


@pytest.mark.parametrize(
    ("prose", "lacking"),
    [
        ("0.26", ["0.26"]),
        ("0.25120", ["0.25120"]),  # more decimals than the tables show
        ("0.482", ["0.482"]),  # the sign is another
        ("-0.25", ["-0.25"]),
        ("31 %", ["31 %"]),
        ("0.62", ["0.62"]),  # the tables have it as a percentage
        ("25 documents", ["25"]),  # and this as a share
        ("62 documents", ["62"]),
        ("a mean of 1", ["1"]),  # anything lies near a whole number
        ("p < .00001", ["< .00001"]),
        ("p > .05", ["> .05"]),
        ("five models and one model", ["five", "one"]),
        ("twenty-one texts", ["twenty-one"]),
        ("Half of them, or one half", ["Half", "one half"]),
        ("a third of them, two thirds, two-thirds", ["a third", "two thirds", "two-thirds"]),
        ("about a third.", ["a third"]),
        ("twice as high, doubled, a twofold rise, halved", ["twice", "doubled", "twofold", "halved"]),
        ("in 2024", ["2024"]),
        ("H2", ["2"]),
        ("score0.99", ["0.99"]),
        ("½ of it, and ٣", ["½", "٣"]),
        ("1e999999999", ["1", "999999999"]),
        ("9" * 60, ["9" * 60]),
        ("an alpha of 1.1", ["1.1"]),  # which ICC(1,1) does not say
    ],
)
def test_what_they_lack_is_told(prose: str, lacking: list[str]) -> None:
    found = absent(prose)
    assert found[: len(lacking)] == lacking or found == ["1e999999999"]


@pytest.mark.parametrize(
    ("shown", "prose", "found"),
    [
        ("0.5", "half of it", True),
        ("50 %", "half of it", True),
        ("0.33", "a third of it", True),
        ("66.7 %", "two thirds", True),
        ("67 %", "two thirds", True),
        ("0.3", "a third of it", False),  # one decimal lies near many shares
        ("< 0.5", "half of it", False),
        ("2.0", "twice as much", False),  # no table tells how many times a number another is
    ],
)
def test_a_share_in_words_is_looked_up_and_a_multiple_is_in_no_table(shown: str, prose: str, found: bool) -> None:
    (cited,) = Tables(f"| a | b |\n|---|---|\n| x | {shown} |\n").look_up(prose)
    assert cited.found is found


@given(st.decimals(-1000, 1000, places=4), st.integers(0, 4))
def test_a_number_is_found_however_the_prose_rounds_it(value: Decimal, places: int) -> None:
    tables = Tables(f"| a | b |\n|---|---|\n| x | {value} |\n")
    rounded = round(value, places)
    (cited,) = tables.look_up(f"It is {rounded:f} here.")
    assert cited.found is (places > 0 or value == rounded)


@given(st.text(max_size=60))
def test_no_text_upsets_the_look_up_and_every_number_stands_where_it_is_said_to(text: str) -> None:
    for one in Tables(text).look_up(text):
        assert text[one.at : one.end] == one.text
    for one in TABLES.look_up(text):
        assert text[one.at : one.end] == one.text
