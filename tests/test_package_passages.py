"""Finding what repeats a text: whatever its typography, its escapes and its line breaks, and nothing that is not it."""

from __future__ import annotations

import json
from html import escape

import pytest

from discernus.packages.passages import LEAST, MARK, Passages

TEXT = (
    "Neighbours, we have no time to lose. The old charter said “our share of the load”, and it meant every one of us; "
    "señora Núñez wrote it down in the year 1871, and nobody asked us since.\n\nTake your turn, she said."
)
QUOTE = "The old charter said “our share of the load”, and it meant every one of us"


@pytest.mark.parametrize(
    "written",
    [
        QUOTE,
        QUOTE.upper(),
        QUOTE.replace(" ", "\n   "),
        QUOTE.replace("“", '"').replace("”", '"').replace(",", " --"),
        json.dumps(QUOTE),
        json.dumps(json.dumps(QUOTE.replace(" ", "\n"))),
        escape(QUOTE),
        f"**{QUOTE.replace('old', '_old_')}**",
        "sen\u0303ora Nu\u0301n\u0303ez wrote it down in the year 1871",
        json.dumps("señora Núñez wrote it down in the year 1871"),
        "senora Nunez wrote it down in the year 1871",
    ],
)
def test_a_passage_is_masked_however_it_is_written(written: str) -> None:
    masked = Passages([TEXT]).mask(f"The speaker holds that {written}; so much is said.")
    assert MARK in masked
    assert masked.startswith("The speaker holds that ")
    assert masked.endswith("; so much is said.")
    for word in ("charter", "share", "meant", "wrote", "1871"):
        assert word not in masked.lower()


def test_every_passage_of_a_text_is_found_wherever_it_begins_and_ends() -> None:
    passages = Passages([TEXT])
    words = TEXT.split()
    for first in range(len(words)):
        for last in range(first + 1, len(words) + 1):
            quote = " ".join(words[first:last])
            letters = sum(letter.isalnum() for letter in quote)
            found = passages.found(f"00 {quote} 00")
            assert bool(found) == (letters >= LEAST), quote


def test_what_a_model_says_in_its_own_words_stays() -> None:
    said = "The speech presses for action: there is little time, says the charter, and each has a share in the load."
    assert Passages([TEXT]).mask(said) == said


def test_what_the_author_says_in_public_is_no_secret_unless_the_text_goes_on_around_it() -> None:
    passages = Passages([TEXT], ["Markers: our share of the load, it meant every one."])
    assert passages.mask("our share of the load") == "our share of the load"
    assert passages.mask(QUOTE) == f"{MARK}"


def test_public_passages_in_a_row_are_no_quotation_though_a_text_reads_like_their_joint() -> None:
    text = "They counted 9 beams that need repair. A committee of 40 people walked home."
    stays = "A committee of 93 people met at noon. The carpenters at the works counted 32 beams that need repair."
    joint = json.dumps([stays.partition(". ")[2], stays.partition(". ")[0]])
    assert Passages([text]).found(joint)
    assert not Passages([text], [stays]).found(joint)
    begun = json.dumps(["nine beams that need repair.", "A committee of", "them"])
    assert Passages([text], [stays]).found(begun)
    assert Passages([text], [stays]).found(json.dumps(text))


def test_quotations_in_a_row_stay_a_list_and_keys_stay_keys() -> None:
    text = "It was good evidence. The carpenters counted seven beams that need repair. Then they went home to eat."
    said = json.dumps(
        {
            "fear_evidence": ["The carpenters counted seven beams that need repair.", "Then they went home to eat."],
            "fear_score": 0.3,
        }
    )
    masked = json.loads(Passages([text]).mask(said, seams=True))
    assert list(masked) == ["fear_evidence", "fear_score"]
    assert len(masked["fear_evidence"]) == 2
    assert all(MARK in quote for quote in masked["fear_evidence"])
    assert masked["fear_score"] == 0.3
    assert not Passages([text]).found(json.dumps(masked, ensure_ascii=False))


def test_a_quotation_that_is_itself_a_key_is_masked() -> None:
    said = json.dumps({"The carpenters counted seven beams": 0.4})
    masked = Passages(["The carpenters counted seven beams."]).mask(said, seams=True)
    assert json.loads(masked) == {MARK: 0.4}


def test_a_script_without_spaces_is_found_as_well() -> None:
    text = "各位邻居我们没有时间可以浪费了旧宪章说我们每个人都要分担这份重担而且她是认真的"
    masked = Passages([text]).mask("讲者说，“我们没有时间可以浪费了旧宪章说我们每个人都要分担”，很清楚。")
    assert "旧宪章" not in masked
    assert "很清楚" in masked


def test_of_several_texts_each_is_found_and_no_passage_runs_over_their_border() -> None:
    first, second = "one two three four five six seven", "eight nine ten eleven twelve thirteen"
    passages = Passages([first, second])
    assert passages.mask(f"{first} and {second}") == f"{MARK} and {MARK}"
    assert not Passages(["abcde fghij", "klmno pqrst"]).found("abcde fghij klmno pqrst")


def test_a_passage_around_a_phrase_that_is_said_very_often_is_found_as_well() -> None:
    numbers = [str(number**5 + 10**11) for number in range(40, 80)]
    passages = Passages(["".join(f"{number} as we all know {number[::-1]} " for number in numbers)])
    for number in numbers:
        around = f"{number[-6:]} as we all know {number[::-1][:7]}"
        assert passages.found(f"xx {around} xx"), around


def test_words_that_stand_in_the_midst_of_one_long_word_are_found() -> None:
    run = "".join(QUOTE.split()).replace("“", "").replace("”", "").replace(",", "")
    assert "charter" not in Passages([TEXT]).mask(f"xyz{run}zyx")


def test_letters_that_are_one_sign_are_found_where_they_are_written_with_the_plain_ones() -> None:
    passages = Passages(["Søren læste brevet fra Łódź højt for sin gamle mor"])
    assert passages.found("Soren laeste brevet fra Lodz hojt for sin gamle mor")
