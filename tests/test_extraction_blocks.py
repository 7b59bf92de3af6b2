"""Scores that stand in CSV or YAML, answers behind thoughts or in quotes: read as exactly as JSON, or not at all."""

import csv
import re
from pathlib import Path
from typing import Any

import pytest

from discernus.extraction import reasons
from discernus.extraction.extract import extract
from tests.test_extraction_shapes import make_framework

TWO = make_framework(["fear", "hope"])
OTHERS = make_framework(["civic_duty", "grievance"])
BOTH = {"fear": 0.7, "hope": 0.2}

BLOCKS = {
    "wide": "```csv\nid,fear,hope\nabc,0.7,0.2\n```",
    "between delimiters": "<<<SCORES_v1>>>\nid,fear,hope\nabc,0.7,0.2\n<<<END_SCORES_v1>>>",
    "long": "```csv\ndimension,score,confidence\nfear,0.7,0.9\nhope,0.2,0.8\n```",
    "long, with quotations": 'dimension,score,quote\nfear,0.7,"He said, ""0.3"",\nand left"\nhope,0.2,x\n',
    "suffixed columns": "id,fear_score,hope_score,fear_confidence\nabc,0.7,0.2,0.9\n",
    "other columns beside": "id,fear,hope,balance,word_count\nabc,0.7,0.2,0.25,1200\n",
    "semicolons and decimal commas": "dimension;score\nfear;0,7\nhope;0,2\n",
    "tabs": "dimension\tscore\nfear\t0.7\nhope\t0.2\n",
    "windows line ends": "dimension,score\r\nfear,0.7\r\nhope,0.2\r\n",
    "yaml": "```yaml\nscores:\n  fear: 0.7\n  hope: 0.2\n```",
    "nested yaml": "```yaml\nfear:\n  score: 0.7\nhope:\n  score: 0.2\n```",
    "a list in yaml": "Here:\n```yml\n- dimension: fear\n  score: 0.7\n- dimension: hope\n  score: 0.2\n```\nDone.",
}


@pytest.mark.parametrize("answer", BLOCKS.values(), ids=BLOCKS.keys())
def test_scores_in_a_block_of_data_are_read(answer: str) -> None:
    found = extract(f"The scores follow.\n\n{answer}\n", TWO)
    assert (found.scores, found.status, found.route) == (BOTH, "complete", "data_block")


@pytest.mark.parametrize("answer", BLOCKS.values(), ids=BLOCKS.keys())
def test_the_names_and_their_style_do_not_matter(answer: str) -> None:
    renamed = re.sub(r"\bfear", "Civic-Duty", re.sub(r"\bhope", "GRIEVANCE", answer))
    assert extract(renamed, OTHERS).scores == {"civic_duty": 0.7, "grievance": 0.2}


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("id,fear,hope\na,0.7,0.2\nb,0.6,0.2\n", reasons.CONFLICT),
        ('{"fear_score": 0.6, "hope_score": 0.2}\n\nfear,hope\n0.7,0.2\n', reasons.CONFLICT),
        ("```yaml\nfear: 0.7\nhope: 0.2\nfear: 0.6\n```", reasons.CONFLICT),
        ("dimension,score\nfear,high\nhope,0.2\n", "not a number: 'high'"),
        ("dimension,score\nfear,7\nhope,0.2\n", "outside the scale 0–1: 7"),
        ("dimension,weight\nfear,0.7\nhope,0.2\n", None),
        ("fear,hope\n,0.2\n", None),
        ("fear;hope\n0,7;0.2\n0,6;0.2\n", reasons.CONFLICT),
        ("```yaml\nfear: .inf\nhope: 0.2\n```", None),
        ("```yaml\nbase: &b 0.7\nfear: *b\nhope: 0.2\n```", None),
    ],
)
def test_what_a_block_leaves_open_stays_missing(answer: str, reason: str | None) -> None:
    found = extract(answer, TWO)
    assert "fear" not in found.scores
    if reason is not None:
        assert found.missing["fear"] == reason


def test_a_list_in_a_sentence_is_no_table() -> None:
    found = extract("It speaks of fear, hope\nIn 0.7, 0.2 of all cases, and so on\n", TWO)
    assert found.scores == {}


def test_rows_about_two_documents_are_not_mixed() -> None:
    found = extract("document,fear,hope\na.txt,0.7,0.2\nb.txt,0.7,0.3\n", TWO)
    assert (found.kind, found.scores) == ("other_document", {})


@pytest.mark.parametrize("answer", BLOCKS.values(), ids=BLOCKS.keys())
def test_a_block_cut_anywhere_never_yields_another_number(answer: str) -> None:
    for length in range(len(answer)):
        assert extract(answer[:length], TWO).scores.items() <= BOTH.items()


def test_the_last_row_counts_without_a_line_end_where_the_answer_is_known_to_be_whole() -> None:
    answer = "dimension,score\nfear,0.7\nhope,0.2"
    assert extract(answer, TWO, finish_reason="stop").scores == BOTH
    assert extract(answer, TWO, finish_reason="length").scores == {"fear": 0.7}


FINAL = '{"fear_score": 0.7, "hope_score": 0.2}'


@pytest.mark.parametrize(
    "answer",
    [
        f'<think>Perhaps {{"fear_score": 0.5, "hope_score": 0.5}}?</think>\n{FINAL}',
        f'Perhaps {{"fear_score": 0.5, "hope_score": 0.5}}?\n</think>\n\n{FINAL}',
        f"<Reasoning>fear,hope\n0.1,0.1\n</Reasoning>\n{FINAL}",
    ],
)
def test_what_a_model_thinks_aloud_is_no_part_of_its_answer(answer: str) -> None:
    assert extract(answer, TWO).scores == BOTH


def test_a_model_cut_off_in_its_thoughts_has_not_answered() -> None:
    found = extract(f"<think>It may be {FINAL}, but", TWO, finish_reason="length")
    assert (found.kind, found.scores) == ("truncated", {})


def test_an_answer_that_was_stored_as_a_json_string_is_read_like_any_other() -> None:
    assert extract('"{\\"fear_score\\": 0.7, \\"hope_score\\": 0.2}"', TWO).route == "contract_json"


def evaluations(shared: Path) -> tuple[list[str], list[dict[str, str]]]:
    """Return each of the six evaluations in one recorded answer, and the scores that a careful reader took."""
    folder = shared / "published_stats" / "06_six_evaluations_in_one_response"
    parts = re.split(r"^=== EVALUATION \d+ ===$", (folder / "response.txt").read_text(), flags=re.MULTILINE)
    with (folder / "raw_scores.csv").open(encoding="utf-8") as table:
        return parts[1:], list(csv.DictReader(table))


def of_row(row: dict[str, str], what: str) -> dict[str, float]:
    return {name.removesuffix(what): float(value) for name, value in row.items() if name.endswith(what)}


def test_six_evaluations_in_one_answer_give_no_score_together_and_the_right_ones_apart(shared: Path) -> None:
    parts, rows = evaluations(shared)
    names = list(of_row(rows[0], "_score"))
    framework: Any = make_framework(names)
    whole = extract("\n".join(parts), framework)
    same = {name for name in names if len({row[f"{name}_score"] for row in rows}) == 1}
    assert whole.scores.keys() <= same
    for part, row in zip(parts, rows, strict=True):
        found = extract(part, framework)
        assert found.scores == of_row(row, "_score")
