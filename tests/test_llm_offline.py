"""The offline model: what it counts, what it says where it counted nothing, and that it says the same everywhere."""

import json
import math
import subprocess
import sys
from typing import Any

import pytest

from discernus.llm import offline

TEXT = (
    "We fear the night. They are afraid of us — and we're afraid of them! “Hope is fear’s sister.” "
    "A law-and-order man spoke.\n\nNothing of note was said in this long and quiet sentence about the weather. "
    "The harvest was good. Bread was cheap that year. People went home early."
)


def lexicon(run: int = 1, **changes: Any) -> dict[str, Any]:
    given: dict[str, Any] = {
        "dimensions": {
            "fear": {"markers": ["fear", "afraid", "afraid of"], "low": 0.0, "high": 1.0},
            "order": {"markers": ["Law and Order", "weren't"], "low": -1.0, "high": 1.0},
            "envy": {"markers": ["envy"], "low": 0.0, "high": 10.0},
        },
        "fields": [
            {"path": [name, role], "role": role, "dimension": name, "type": kind}
            for name in ("fear", "order", "envy")
            for role, kind in (("score", "number"), ("confidence", "number"), ("evidence", "array"))
        ]
        + [
            {"path": ["worldview"], "role": "label", "dimension": None, "type": "string"},
            {"path": ["summary"], "role": "other", "dimension": None, "type": "string"},
            {"path": ["tension"], "role": "other", "dimension": None, "type": "number"},
        ],
        "run": run,
    }
    return {**given, **changes}


def answer(text: str = TEXT, run: int = 1) -> dict[str, Any]:
    result: dict[str, Any] = json.loads(offline.answer(text, lexicon(run)))
    return result


def test_the_baseline_counts_whole_words_over_the_whole_text() -> None:
    scores = offline.baseline("Fear, fearful, FEAR. Afraid of nothing: afraid.", lexicon())
    per_thousand = 1000 * 4 / 7  # "fearful" is another word, and "afraid of" is one phrase
    assert scores["fear"] == round(1 - math.exp(-per_thousand / offline.H0), 4)


def test_hyphens_case_and_kinds_of_apostrophe_make_no_difference() -> None:
    for text in ("law and order", "Law-and-order", "LAW‑AND‑ORDER", "they weren’t", "they weren't"):
        assert offline.baseline(f"{text} " + "word " * 200, lexicon())["order"] is not None


def test_scores_stay_within_the_scale_of_each_dimension() -> None:
    scores = offline.baseline("order " * 200 + "law and order", lexicon())
    assert scores["order"] is not None
    assert -1 < scores["order"] < 1


def test_a_dimension_without_any_hit_has_no_coverage() -> None:
    assert answer()["envy"] == {"score": None, "confidence": None, "evidence": []}
    assert offline.baseline(TEXT, lexicon())["envy"] is None


def test_a_resample_that_misses_all_hits_scores_the_bottom_of_the_scale() -> None:
    scores = [answer(run=run)["order"]["score"] for run in range(1, 40)]
    assert None not in scores
    assert min(scores) == -1.0


def test_runs_differ_and_a_run_repeats_itself() -> None:
    assert len({answer(run=run)["fear"]["score"] for run in range(1, 7)}) > 1
    assert answer(run=3) == answer(run=3)


def test_evidence_is_quoted_verbatim_and_holds_the_hits() -> None:
    quotes = answer()["fear"]["evidence"]
    assert len(quotes) == 2
    assert all(quote in TEXT for quote in quotes)
    assert quotes == ["We fear the night.", "They are afraid of us — and we're afraid of them!"]
    assert answer()["order"]["evidence"] == ["A law-and-order man spoke."]


def test_confidence_grows_with_the_number_of_hits() -> None:
    assert answer()["order"]["confidence"] == round(1 / (1 + offline.HALF_CONFIDENT), 4)
    assert answer()["fear"]["confidence"] > answer()["order"]["confidence"]


def test_what_counting_cannot_tell_is_null_and_texts_say_what_the_model_is() -> None:
    told = answer()
    assert told["worldview"] is None
    assert told["tension"] is None
    assert told["summary"] == offline.NOTE


@pytest.mark.parametrize("text", ["", "   \n\n ", "…", "No end of sentence"])
def test_texts_without_sentences_are_read_without_fuss(text: str) -> None:
    assert answer(text)["fear"]["score"] is None


def test_the_same_request_has_the_same_answer_in_another_process() -> None:
    program = (
        "import json, sys; from discernus.llm import offline; "
        "text, lexicon = json.load(sys.stdin); sys.stdout.write(offline.answer(text, lexicon))"
    )
    said = [
        subprocess.run(
            [sys.executable, "-c", program],
            input=json.dumps([TEXT, lexicon(5)]),
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    ]
    assert said == [offline.answer(TEXT, lexicon(5))] * 2


@pytest.mark.parametrize("text", ["", "One line.", "END T\nBEGIN T-1\nEND", "A\n\nB\n"])
def test_the_document_is_found_between_its_marks(text: str) -> None:
    message = (
        f"Read between the lines BEGIN T-2 and END T-2.\nBEGIN T-2\n{text}\nEND T-2\nYour last answer ended early."
    )
    assert offline.document_of(message) == text
