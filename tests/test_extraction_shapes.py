"""What extraction does with each shape and each defect of an answer, on answers written for these tests."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discernus.experiments.framework import Contract, ContractField, Dimension, Framework, Role
from discernus.extraction import reasons
from discernus.extraction.extract import ask_again, extract, from_second_model, needs_second_model


def make_framework(
    names: list[str],
    paths: dict[tuple[str, ...], tuple[Role, str | None]] | None = None,
    low: float = 0,
    high: float = 1,
) -> Framework:
    """Return a framework over those dimensions; its contract is flat unless ``paths`` says otherwise."""
    if paths is None:
        roles: tuple[Role, ...] = ("score", "confidence", "evidence")
        paths = {(f"{name}_{role}",): (role, name) for name in names for role in roles}
        paths["worldview",] = ("label", None)
    return Framework(
        name="f",
        version="1",
        display_name="F",
        text="",
        sha256="0" * 64,
        dimensions=tuple(Dimension(name=n, label=n.replace("_", " ").title(), low=low, high=high) for n in names),
        variants=(),
        derived_metrics=(),
        contract=Contract(
            fields=tuple(
                ContractField(path=path, role=role, type="number", dimension=name)
                for path, (role, name) in paths.items()
            )
        ),
    )


TWO = make_framework(["fear", "hope"])


def scores_of(answer: Any, framework: Framework = TWO) -> dict[str, float]:
    return extract(answer if isinstance(answer, str) else json.dumps(answer), framework).scores


def reason_of(answer: str, dimension: str = "fear") -> str:
    found = extract(answer, TWO)
    assert dimension not in found.scores
    return found.missing[dimension]


def test_an_answer_that_meets_the_contract_is_read_with_all_it_says() -> None:
    answer = {
        "worldview": "Other",
        "fear_score": 0.4,
        "fear_confidence": 0.9,
        "fear_evidence": ["we are afraid", " of them "],
        "hope_score": None,
        "hope_confidence": 0.3,
        "hope_evidence": [],
    }
    found = extract(json.dumps(answer), TWO)
    assert found.status == "complete"
    assert found.route == "contract_json"
    assert found.scores == {"fear": 0.4}
    assert found.missing == {"hope": "no coverage"}
    assert found.confidence == {"fear": 0.9, "hope": 0.3}
    assert found.evidence == {"fear": ("we are afraid", "of them")}
    assert found.labels == {"worldview": "Other"}
    assert found.problems == ()


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ("7", "outside the scale 0–1: 7"),
        ("-0.1", "outside the scale 0–1: -0.1"),
        ('"high"', "not a number: 'high'"),
        ('"0.8/1.0"', "not a number: '0.8/1.0'"),
        ('"0,4"', "not a number: '0,4'"),
        ('"40%"', "not a number: '40%'"),
        ("true", "not a number: true"),
        ("NaN", "not a number: 'NaN'"),
        ("Infinity", "not a number: 'Infinity'"),
        ('""', "not a number: ''"),
        ("1e999", "not a number: 'inf'"),
    ],
)
def test_what_is_no_number_on_the_scale_is_missing_with_its_reason(written: str, reason: str) -> None:
    assert reason_of(f'{{"fear_score": {written}, "hope_score": 0.5}}') == reason


@pytest.mark.parametrize(
    ("written", "value"), [('"0.4"', 0.4), ('" 1 "', 1.0), ("4e-1", 0.4), ('"−0.0"', 0.0), ('".5"', 0.5)]
)
def test_a_number_written_as_text_is_a_number(written: str, value: float) -> None:
    assert scores_of(f'{{"fear_score": {written}, "hope_score": 0.5}}') == {"fear": value, "hope": 0.5}


@pytest.mark.parametrize(
    "answer",
    [
        '{"fear_score": 0.4, "hope_score": 0.5, "fear_score": 0.6}',
        '{"fear_score": 0.4, "hope_score": 0.5, "FearScore": 0.6}',
        '{"fear_score": 0.4, "hope_score": 0.5, "fear": 0.6}',
        '{"scores": {"fear": 0.4, "hope": 0.5}, "fear_score": 0.6}',
        '{"fear": {"score": 0.4}, "hope": {"score": 0.5}, "fear": {"score": 0.6}}',
        '{"fear_score": 0.4, "hope_score": 0.5} and on reflection {"fear_score": 0.6, "hope_score": 0.5}',
        '{"fear_score": null, "hope_score": 0.5} {"fear_score": 0.6}',
        '[{"name": "Fear", "score": 0.4}, {"name": "Fear", "score": 0.6}, {"name": "Hope", "score": 0.5}]',
        '{"fear_score": 0.4, "hope_score": 0.5, "fear_score": 0.6,}',
        '{"fear": {"score": 0.4, "x": 1}, "hope": {"score": 0.5}, "fear": {"score": 0.6, "x": 1},',
    ],
)
def test_two_different_values_are_a_conflict_that_nobody_decides(answer: str) -> None:
    found = extract(answer, TWO)
    assert "fear" not in found.scores
    assert found.missing["fear"] in (reasons.CONFLICT, reasons.BROKEN)
    assert found.scores.get("hope", 0.5) == 0.5


def test_an_intensity_beside_a_score_is_another_quantity_and_alone_it_is_the_score() -> None:
    assert scores_of({"fear": {"intensity": 0.9, "salience": 0.5, "score": 0.45}, "hope_score": 0.2})["fear"] == 0.45
    assert scores_of({"fear_rating": 0.9, "fear_score": 0.45, "hope_score": 0.2})["fear"] == 0.45
    assert scores_of({"fear": {"intensity": 0.9}, "hope": {"intensity": 0.2}}) == {"fear": 0.9, "hope": 0.2}
    assert "fear" not in scores_of({"fear": {"intensity": 0.9}, "other": {"fear": {"score": 0.45}}, "hope_score": 0.2})


def test_the_same_value_twice_is_no_conflict() -> None:
    assert scores_of('{"fear_score": 0.4, "hope_score": 0.5} again: {"scores": {"fear": 0.4, "hope": "0.50"}}') == {
        "fear": 0.4,
        "hope": 0.5,
    }


@pytest.mark.parametrize(
    "answer",
    [
        {"weights": {"fear": 0.4, "hope": 0.5}},
        {"fear": {"angle": 0.4}, "hope": {"word_count": 1}},
        {"correlations": {"fear": {"hope": 0.5}}},
        {"fear": {"sub_indicator": {"score": 0.3}}},
        {"fear_evidence_count": 1, "hope_count": 1},
        {"fears": 0.4, "hoping": 0.5, "hope_fulness": 0.1},
        {"a": {"fear": 0.4}, "b": {"hope": 0.5}},
        {"evidence": [{"dimension": "fear", "quote": "q", "score": 0.4}]},
        {"overall_score": 0.4, "name": "speech"},
        {"example": {"fear_score": 0.4, "hope_score": 0.5}},
        {"fear_score": "number", "hope_score": "number"},
        {"confidence": {"fear": 0.4, "hope": {"value": 0.5}}},
        {"fear_score": {"min": 0.1, "max": 0.2}},
    ],
)
def test_a_number_whose_place_does_not_say_score_is_never_taken_for_one(answer: Any) -> None:
    assert scores_of(answer) == {}


def test_a_schema_that_is_echoed_before_the_answer_does_not_disturb_it() -> None:
    echoed = '{"fear_score": "number", "hope_score": "number"}'
    assert scores_of(f'As asked ({echoed}):\n{{"fear_score": 0.4, "hope_score": 0.5}}') == {"fear": 0.4, "hope": 0.5}


def test_the_contracts_own_words_for_roles_and_dimensions_are_understood_and_may_move() -> None:
    paths: dict[tuple[str, ...], tuple[Role, str | None]] = {
        ("wells", "w1", "intensity"): ("score", "fear"),
        ("wells", "w2", "intensity"): ("score", "hope"),
        ("wells", "w1", "surety"): ("confidence", "fear"),
        ("wells", "w2", "surety"): ("confidence", "hope"),
    }
    framework = make_framework(["fear", "hope"], paths)
    exact = {"wells": {"w1": {"intensity": 0.4, "surety": 1}, "w2": {"intensity": 0.5, "surety": 0}}}
    found = extract(json.dumps(exact), framework)
    assert (found.scores, found.confidence) == ({"fear": 0.4, "hope": 0.5}, {"fear": 1.0, "hope": 0.0})
    assert found.route == "contract_json"
    assert scores_of({"Fear": {"Intensity": 0.4}, "Hope": {"Intensity": 0.5}}, framework) == {"fear": 0.4, "hope": 0.5}
    assert scores_of({"fear-intensity": 0.4, "hope-intensity": 0.5}, framework) == {"fear": 0.4, "hope": 0.5}


def test_a_value_under_two_dimensions_counts_only_where_the_contract_puts_it_there() -> None:
    answer = {"identity": {"score": 0.2, "dignity": {"score": 0.7}}}
    flat = make_framework(["identity", "dignity"])
    assert scores_of(answer, flat) == {"identity": 0.2}
    nested = make_framework(
        ["identity", "dignity"],
        {("identity", "score"): ("score", "identity"), ("identity", "dignity", "score"): ("score", "dignity")},
    )
    assert scores_of(answer, nested) == {"identity": 0.2, "dignity": 0.7}


def test_like_names_are_different_dimensions() -> None:
    framework = make_framework(["plutocracy", "pluralism"])
    assert scores_of({"plutocracy_score": 0.4, "plurallism_score": 0.9}, framework) == {"plutocracy": 0.4}


@pytest.mark.parametrize("end", ["0.", "0.4", "0", "", "nul", '"0.4', "-"])
def test_a_value_at_the_very_end_of_a_cut_answer_is_not_trusted(end: str) -> None:
    found = extract(f'{{"hope_score": 0.5, "fear_score": {end}', TWO)
    assert found.scores == {"hope": 0.5}
    assert (found.status, found.kind) == ("partial", "truncated")


def test_a_cut_value_is_not_vouched_for_by_an_equal_one_elsewhere() -> None:
    assert scores_of('[{"name": "Hope", "score": 0}, {"name": "Fear", "score": 0') == {"hope": 0.0}


@pytest.mark.parametrize(
    "broken",
    [
        '{"fear_score": 0.4, "hope_score": 0.5,}',
        "{'fear_score': 0.4, 'hope_score': 0.5}",
        "{fear_score: 0.4, hope_score: 0.5}",
        '{"fear_score": 0.4 "hope_score": 0.5}',
        '{"note": "a\nb", "fear_score": 0.4, "hope_score": 0.5}',
        '{"note": "she said "hope" to us", "fear_score": 0.4, "hope_score": 0.5}',
        '{"fear_score": 0.4, // low\n "hope_score": 0.5}',
        '{"fear_score": 0.4 // low\n, "hope_score": 0.5 /* mid */}',
        '{"list": [1, 2}, "fear_score": 0.4, "hope_score": 0.5}',
    ],
)
def test_broken_json_is_repaired_and_marked(broken: str) -> None:
    found = extract(broken, TWO)
    assert found.scores == {"fear": 0.4, "hope": 0.5}
    assert found.route == "repaired_json"
    assert found.problems


@pytest.mark.parametrize("written", ["0,4", "0.8/1.0", "80%", "0.4.1", "0 .4", "1_000", "0.4 of 1"])
def test_a_repair_never_makes_a_score_of_what_is_not_one(written: str) -> None:
    assert "fear" not in scores_of(f'{{"hope_score": 0.5, "fear_score": {written}, "x": 1}}')


def test_answers_about_several_documents_are_not_mixed() -> None:
    one = {"document": "a.txt", "fear_score": 0.4, "hope_score": 0.5}
    two = {"document": "b.txt", "fear_score": 0.4, "hope_score": 0.6}
    for answer in (
        json.dumps([one, two]),
        json.dumps({"analyses": [one, two]}),
        f"{json.dumps(one)}\n{json.dumps(two)}",
    ):
        found = extract(answer, TWO)
        assert (found.status, found.kind, found.scores) == ("none", "other_document", {})
        assert set(found.missing.values()) == {reasons.SEVERAL_DOCUMENTS}
    assert scores_of([one]) == {"fear": 0.4, "hope": 0.5}


@pytest.mark.parametrize(
    ("answer", "finish_reason", "kind"),
    [
        ("I'm sorry, but I can't help with that.", "stop", "refusal"),
        ("I cannot analyze this text because it targets a group.", None, "refusal"),
        ("", "content_filter", "refusal"),
        ('{"error": {"message": "overloaded", "code": 529}}', None, "error_text"),
        ("<!DOCTYPE html><html><body>502 Bad Gateway</body></html>", None, "error_text"),
        ("503 Service Unavailable", None, "error_text"),
        ("Let me think about fear first, which is", "length", "truncated"),
        ("", "stop", "no_scores"),
        ("The speech is warm.", "stop", "no_scores"),
        ("I'm sorry to say that fear is high: 0.8.", "stop", "no_scores"),
    ],
)
def test_an_unusable_answer_is_told_by_its_form(answer: str, finish_reason: str | None, kind: str) -> None:
    found = extract(answer, TWO, finish_reason=finish_reason)
    assert (found.status, found.kind, found.scores) == ("none", kind, {})
    assert set(found.missing) == {"fear", "hope"}


def test_a_refusal_is_not_asked_again_but_an_unreadable_answer_is() -> None:
    assert ask_again(extract("I cannot help with this.", TWO)) is None
    assert ask_again(extract('{"fear_score": 0.4}', TWO)) is None
    again = ask_again(extract("The speech is warm.", TWO))
    assert again is not None
    assert "fear, hope" in again
    cut = ask_again(extract('{"fear_score": 0.', TWO, finish_reason="length"))
    assert cut is not None
    assert "cut off" in cut


def test_a_second_model_is_asked_only_where_it_may_find_something() -> None:
    assert needs_second_model(extract("Fear: 0.4, hope: 0.5", TWO))
    assert needs_second_model(extract('{"fear_score": 0.4, "hoping": 0.5}', TWO))
    assert not needs_second_model(extract("The speech is warm.", TWO))
    assert not needs_second_model(extract('{"fear_score": 7, "hope_score": null}', TWO))
    assert not needs_second_model(extract("I cannot give a score of 0 to 1 here.", TWO))


def test_a_second_model_cannot_overrule_what_the_answer_says() -> None:
    answer = '{"fear_score": 0.4, "hope_score": null} (0.4 0.9)'
    first = extract(answer, TWO)
    second = from_second_model('{"scores": {"fear": 0.9, "hope": 0.9}}', first, TWO, first_answer=answer)
    assert (second.scores, second.missing, second.route) == ({"fear": 0.4}, {"hope": "no coverage"}, "json_in_text")


def test_a_second_model_cannot_take_a_list_number_for_a_score() -> None:
    answer = "1. Fear: strong\n2. Hope: 0.5"
    first = extract(answer, TWO)
    second = from_second_model('{"scores": {"fear": 1, "hope": 0.5}}', first, TWO, first_answer=answer)
    assert second.scores == {"hope": 0.5}
    assert second.missing == {"fear": reasons.NOT_LITERAL}


@given(st.text(max_size=300) | st.from_regex(r'[{}\[\]":,0-9.a-z fear_score]{0,200}', fullmatch=True))
def test_no_answer_whatever_breaks_extraction(answer: str) -> None:
    found = extract(answer, TWO)
    assert found.scores.keys() | found.missing.keys() == {"fear", "hope"}


deep = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.sampled_from(["0.4", "high", "fear", "Hope", "a.txt"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["fear", "hope", "score", "name", "evidence", "x", "FearScore", "file"]), inner
        )
    ),
    max_leaves=12,
)


@given(deep)
def test_each_score_stands_literally_in_its_answer(data: Any) -> None:
    text = json.dumps(data)
    for value in extract(text, TWO).scores.values():
        assert 0 <= value <= 1
        assert any(form in text for form in (json.dumps(value), f"{value:g}", json.dumps(value).rstrip("0")))


@pytest.mark.parametrize(
    "answer", ["[" * 100_000, '{"a":' * 50_000, "9" * 10_000, '{"fear_score": ' + "9" * 6000 + "}"]
)
def test_absurd_nesting_and_numbers_are_survived(answer: str) -> None:
    assert extract(answer, TWO).scores == {}


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ({"scale": "0-10", "scores": {"fear": 1, "hope": 0}}, "the answer states another scale: 0–10"),
        (
            {"meta": {"Scoring Scale": "Likert, 1 to 5"}, "fear_score": 1, "hope_score": 1},
            "the answer states another scale: 1–5",
        ),
        (
            {"fear": {"score": 1, "out_of": 10}, "hope": {"score": 0, "outOf": "10"}},
            "the answer states another scale: out of 10",
        ),
        (
            [{"dimension": name, "score": 1, "scale": "-1.0–1.0"} for name in ("fear", "hope")],
            "the answer states another scale: -1–1",
        ),
    ],
)
def test_a_score_that_the_answer_itself_puts_on_another_scale_is_none(answer: Any, reason: str) -> None:
    found = extract(json.dumps(answer), TWO)
    assert (found.scores, found.missing) == ({}, {"fear": reason, "hope": reason})
    assert ask_again(found) is not None


@pytest.mark.parametrize("stated", ["0.0-1.0", "0 to 1 (absent to dominant)", "interval", 1, "1.0", [0, 1]])
def test_the_scale_that_was_asked_for_may_be_stated(stated: Any) -> None:
    assert scores_of({"scale": stated, "fear_score": 0.4, "hope_score": 1}) == {"fear": 0.4, "hope": 1.0}


def test_a_stated_scale_is_that_of_its_own_dimension_alone() -> None:
    answer = {"fear": {"score": 1, "scale": "0-10"}, "hope": {"score": 1}}
    assert scores_of(answer) == {"hope": 1.0}


def test_a_score_at_an_end_of_the_scale_beside_others_beyond_it_may_be_on_another_scale() -> None:
    three = make_framework(["fear", "hope", "envy"])
    found = extract(json.dumps({"fear_score": 7, "hope_score": 1, "envy_score": 0}), three)
    assert found.scores == {}
    assert (found.missing["fear"], found.missing["hope"]) == ("outside the scale 0–1: 7", reasons.AT_AN_END)
    slip = extract(json.dumps({"fear_score": 7, "hope_score": 1, "envy_score": 0.3}), three)
    assert slip.scores == {"hope": 1.0, "envy": 0.3}
