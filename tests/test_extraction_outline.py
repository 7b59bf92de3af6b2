"""Scores that prose labels line by line: read where the form leaves no choice, and missing everywhere else."""

import pytest

from discernus.extraction import reasons
from discernus.extraction.extract import Extraction, extract, needs_second_model
from tests.test_extraction_shapes import make_framework

TWO = make_framework(["fear_axis", "hope"])
TEN = make_framework(["fear_axis", "hope"], high=10)
BIPOLAR = make_framework(["fear_axis", "hope"], low=-1)
END = "\n\nThat is all.\n"


def read(answer: str, finish_reason: str | None = None) -> Extraction:
    return extract(answer + END, TWO, finish_reason=finish_reason)


@pytest.mark.parametrize(
    "answer",
    [
        "## Fear Axis\n\nMuch of it.\n\nScore: 0.7\nConfidence: 0.9\n\n## Hope\n\nScore: 0.2\nConfidence: 0.8",
        "**Fear Axis**\n* **Score:** 0.7\n* **Confidence:** 0.9\n\n**Hope**\n* **Score:** 0.2\n* **Confidence:** 0.8",
        "**1. FEAR_AXIS (0.0-1.0)**\n- Score (0-1): .7\n- Confidence: 0.9\n**2. hope (0-1): of a kind**\n"
        "- Score (0.0 to 1.0): 0.20\n- Confidence: 0.8 (it is clear)",
        "1. **Fear-Axis**\n   - Reasoning: it is there.\n   - Score: 0.7/1.0\n   - Confidence: 0.9\n"
        "2. **Hope**\n   - Score: 0.2/1.0\n   - Confidence: 0.8",
        '### A. Fear axis: threat ↔ calm\n**Evidence:**\n1. "they come"\n**Score:** +0.7 (strong)\n'
        "**Confidence:** 0.9\n"
        "### B. Hope\n**Score:** 0.2\n**Confidence:** 0.8",
        "- Fear axis score: 0.7\n- Fear axis confidence: 0.9\n- Hope score: 0.2\n- Hope confidence: 0.8",
        "| Dimension | Score | Confidence |\n|---|:---:|---|\n| **Fear Axis** | 0.7 | 0.9 |\n| Hope | **0.2** | 0.8 |",
        "* `fear_axis_score`: `0.7`\n* `fear_axis_confidence`: `0.9`\n"
        "* `hope_score`: `0.2`\n* `hope_confidence`: `0.8`",
        "**Fear Axis**\nScore: 0.7\nConfidence: 0.9\n\n**Hope**\nScore: 0.2\nConfidence: 0.8\n\n**SALIENCE RANKING**\n"
        "1. **Hope (Score: 0.2):** first.\n2. **Fear Axis:** second, of 9 mentions.",
    ],
)
def test_scores_that_prose_labels_are_read(answer: str) -> None:
    for text in (answer, answer.upper(), answer.replace("\n", "\r\n")):
        found = read(text)
        assert found.scores == {"fear_axis": 0.7, "hope": 0.2}, text
        assert found.confidence == {"fear_axis": 0.9, "hope": 0.8}, text
        assert (found.status, found.kind, found.route) == ("complete", None, "outline")
        assert not needs_second_model(found)


@pytest.mark.parametrize(
    "section",
    [
        "**Fear Axis**\nScore: 0.6-0.7",
        "**Fear Axis**\nScore: 0.6 or 0.7",
        "**Fear Axis**\nScore: 0.7 (at first 0.5)",
        "**Fear Axis**\nScore: high",
        "**Fear Axis**\nScore: 70%",
        "**Fear Axis**\nScore: 0,7",
        "**Fear Axis**\nScore: 7/10",
        "**Fear Axis**\nScore (0-10): 0.7",
        "**Fear Axis**\nScore:",
        "**Fear Axis**\nOverall score: 0.7",
        "**Fear Axis**\nIt scores 0.7.",
        "**Fear Axis**: 0.7",
        "- Fear Axis: 0.7",
        "**Fear Axes**\nScore: 0.7",
        "**Fear**\nScore: 0.7",
        "**Fear Axis and Hope**\nScore: 0.7",
        "**Fear Axis** is strong here, and so on.\nScore: 0.7",
        "**Fear Axis**\nMuch.\n\n**Overall**\nScore: 0.7",
        "**Fear Axis**\nMuch.\n\n**Overall:** a dark text.\n**Score:** 0.7",
        "## Fear Axis\nMuch.\n\n## Conclusion\nScore: 0.7",
        "1. Fear Axis\n2. Overall\n   - Score: 0.7",
        "**Fear Axis**\nMuch.\n\n---\n\nScore: 0.7",
        "**Fear Axis**\n> Score: 0.7",
        '**Fear Axis**\n1. "Score: 0.7"',
        "## Example scores\n### Fear Axis\nScore: 0.7\n",
        "| Dimension | Score | Weighted score |\n|---|---|---|\n| Fear Axis | 0.7 | 0.3 |",
        "| Dimension | Weight |\n|---|---|\n| Fear Axis | 0.7 |",
        "| Dimension | Score |\n|---|---|\n| Fear Axis | – |",
        "| Score | Dimension |\n|---|---|\n| 0.7 | Fear Axis |",
    ],
)
def test_what_leaves_a_choice_stays_missing(section: str) -> None:
    found = read(f"{section}\n\n## Hope\n\nScore: 0.2\n")
    assert found.scores == {"hope": 0.2}
    assert set(found.missing) == {"fear_axis"}


def test_two_different_labelled_scores_are_a_conflict_and_the_same_twice_is_none() -> None:
    twice = "**Fear Axis**\nScore: 0.7\n\n**Hope**\nScore: 0.2\n\n**Fear Axis**\nScore: {}\n"
    assert read(twice.format("0.8")).missing == {"fear_axis": reasons.CONFLICT}
    assert read(twice.format("0.70")).scores == {"fear_axis": 0.7, "hope": 0.2}


def test_of_two_analyses_in_one_answer_nothing_is_read_that_both_say() -> None:
    one, other = (
        "**Fear Axis**\nScore: 0.7\n**Hope**\nScore: 0.2\n",
        "**Fear Axis**\nScore: 0.7\n**Hope**\nScore: 0.3\n",
    )
    found = read(f"# The first speech\n{one}\n# The second speech\n{other}")
    assert found.missing == dict.fromkeys(["fear_axis", "hope"], reasons.CONFLICT)


def test_a_labelled_score_outside_of_its_scale_is_missing_with_its_value() -> None:
    assert read("**Fear Axis**\nScore: 7\n\n**Hope**\nScore: 0.2").missing == {"fear_axis": "outside the scale 0–1: 7"}
    assert extract("**Fear Axis**\nScore: 7/10\n\n**Hope**\nScore: 2" + END, TEN).scores == {
        "fear_axis": 7.0,
        "hope": 2.0,
    }
    found = extract("**Fear Axis**\nScore (-1.0 to +1.0): −0.7\n\n**Hope**\nScore: +0.2" + END, BIPOLAR)
    assert found.scores == {"fear_axis": -0.7, "hope": 0.2}


@pytest.mark.parametrize(
    ("finish_reason", "scores"),
    [(None, {}), ("length", {}), ("stop", {"fear_axis": 0.7}), ("end_turn", {"fear_axis": 0.7})],
)
def test_a_number_at_the_very_end_counts_only_where_the_answer_is_known_to_be_whole(
    finish_reason: str | None, scores: dict[str, float]
) -> None:
    assert extract("**Fear Axis**\nScore: 0.7", TWO, finish_reason=finish_reason).scores == scores


@pytest.mark.parametrize("line", ["**Score** -0.7", "**Score** - 0.7", "Score -0.7", "Score: - 0.7", "Score: –0.7"])
def test_a_dash_that_may_be_a_minus_leaves_the_score_missing(line: str) -> None:
    found = extract(f"**Fear Axis**\n{line}\n\n**Hope**\nScore: -0.2" + END, BIPOLAR)
    assert found.scores == {"hope": -0.2}


def test_json_is_never_read_as_prose() -> None:
    found = read('Here are examples.\n{"template": {\n"fear_axis_score": 0.7,\n"hope_score": 0.2\n}}')
    assert found.scores == {}


def test_what_json_says_is_not_overruled_by_prose() -> None:
    found = read('**Fear Axis**\nScore: 0.9\n\n**Hope**\nScore: 0.2\n\n```json\n{"fear_axis_score": 0.7}\n```')
    assert found.scores == {"fear_axis": 0.7, "hope": 0.2}
    assert found.route == "outline"
    null = read('**Fear Axis**\nScore: 0.9\n\n```json\n{"fear_axis_score": null, "hope_score": 0.2}\n```')
    assert null.missing == {"fear_axis": reasons.NO_COVERAGE}


def test_answers_about_several_texts_and_refusals_are_not_read() -> None:
    part = "**Fear Axis**\nScore: 0.7\n**Hope**\nScore: 0.2\n\n"
    assert read(f"## one.txt\n{part}## two.txt\n{part}").scores == {}


def test_a_runaway_answer_is_read_like_any_other() -> None:
    answer = (
        "**Fear Axis**\nScore: 0.7\n"
        + "(a" * 60_000
        + "\n"
        + "* " * 60_000
        + "\n"
        + "| a " * 60_000
        + "\n**Hope**\nScore: 0.2"
    )
    assert read(answer).scores == {"fear_axis": 0.7, "hope": 0.2}
