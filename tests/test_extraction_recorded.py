"""Extraction from recorded answers of real models: exact where the answer has structure, and never an invention."""

import json
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from discernus.experiments.framework import Contract, ContractField, Dimension, Framework
from discernus.extraction.extract import Extraction, ask_again, extract, from_second_model, needs_second_model
from discernus.extraction.names import words

STRUCTURED = ["r12", "r16", "r19", "r53", "r57", "r67", "r69", "r83"]
OUTLINED = ["r45"]


class Recorded:
    """One recorded answer with its true values, under the answer's own names."""

    def __init__(self, folder: Path, line: dict[str, Any]) -> None:
        self.text = (folder / line["file"]).read_text(encoding="utf-8")
        self.low: float
        self.high: float
        self.low, self.high = line["scale"] or (0, 1)
        self.scores: dict[str, float] = line["scores"] or {}
        self.confidence: dict[str, float] = line["confidence"] or {}
        self.salience: dict[str, float] = line["salience"] or {}
        self.names = list(self.scores) or ["fear", "hope", "justice"]
        if line["documents"] and not self.scores:
            self.names = list(line["documents"][0]["scores"])

    def framework(self, rename: Callable[[str], str] = str) -> Framework:
        return framework([rename(name) for name in self.names], self.low, self.high)


def framework(names: list[str], low: float, high: float) -> Framework:
    """Return a framework with a flat contract, which none of the recorded answers follows."""
    dimensions = tuple(Dimension(name=snake(name), label=name, low=low, high=high) for name in names)
    fields = tuple(
        ContractField(path=(f"{dimension.name}_{role}",), role=role, type=type_, dimension=dimension.name)
        for dimension in dimensions
        for role, type_ in (("score", "number"), ("confidence", "number"), ("evidence", "array"))
    )
    return Framework(
        name="recorded",
        version="1",
        display_name="Recorded",
        text="",
        sha256="0" * 64,
        dimensions=dimensions,
        variants=(),
        derived_metrics=(),
        contract=Contract(fields=fields),
    )


def snake(name: str) -> str:
    return "_".join(words(name))


def snaked(values: dict[str, float], rename: Callable[[str], str] = str) -> dict[str, float]:
    return {snake(rename(name)): value for name, value in values.items()}


@pytest.fixture(scope="module")
def recorded(shared: Path) -> dict[str, Recorded]:
    folder = shared / "llm_responses"
    lines = map(json.loads, (folder / "index.jsonl").read_text(encoding="utf-8").splitlines())
    return {line["id"]: Recorded(folder, line) for line in lines}


def assert_exact(found: Extraction, case: Recorded, rename: Callable[[str], str] = str) -> None:
    assert found.scores == pytest.approx(snaked(case.scores, rename), abs=1e-9)
    assert found.status == "complete"
    assert not found.missing
    assert not needs_second_model(found)


@pytest.mark.parametrize("id_", STRUCTURED)
def test_a_structured_answer_is_read_exactly_without_a_second_model(recorded: dict[str, Recorded], id_: str) -> None:
    case = recorded[id_]
    found = extract(case.text, case.framework())
    assert_exact(found, case)
    assert found.confidence == snaked(case.confidence)
    assert found.salience == snaked(case.salience)


@pytest.mark.parametrize("id_", STRUCTURED)
@pytest.mark.parametrize("style", ["camel", "kebab", "upper", "spaced"])
def test_the_case_and_separators_of_keys_do_not_matter(recorded: dict[str, Recorded], id_: str, style: str) -> None:
    def recase(match: re.Match[str]) -> str:
        parts = words(match[1])
        styled = {
            "camel": parts[0] + "".join(part.capitalize() for part in parts[1:]),
            "kebab": "-".join(parts),
            "upper": "_".join(parts).upper(),
            "spaced": " ".join(part.capitalize() for part in parts),
        }
        return f'"{styled[style]}":'

    case = recorded[id_]
    text = re.sub(r'"(\w+)":', recase, case.text)
    assert text != case.text
    assert_exact(extract(text, case.framework()), case)


@pytest.mark.parametrize("id_", STRUCTURED)
def test_dimensions_of_any_name_are_read_alike(recorded: dict[str, Recorded], id_: str) -> None:
    case = recorded[id_]
    new = {
        name: f"quality {''.join(chr(ord('a') + int(digit)) for digit in str(100 + n))}"
        for n, name in enumerate(case.names)
    }
    text = case.text
    for name, renamed in new.items():
        text = re.sub(rf'"{name}((?:_\w+)?)"', rf'"{snake(renamed)}\1"', text)
    assert_exact(extract(text, case.framework(new.__getitem__)), case, new.__getitem__)


@pytest.mark.parametrize("id_", STRUCTURED)
def test_unknown_wrapping_keys_may_have_any_name(recorded: dict[str, Recorded], id_: str) -> None:
    case = recorded[id_]
    text = case.text
    for key in ("analysis_results", "document_analyses", "quantitative_components", "wells"):
        text = text.replace(f'"{key}"', '"zk7"')
    assert_exact(extract(text, case.framework()), case)


def flat(case: Recorded) -> Any:
    return {f"{name}_score": value for name, value in case.scores.items()} | {
        f"{name}_confidence": value for name, value in case.confidence.items()
    }


def by_role(case: Recorded) -> Any:
    return {"scores": case.scores, "confidence": case.confidence}


def by_dimension(case: Recorded) -> Any:
    return {
        name: {"score": value, **({"confidence": case.confidence[name]} if case.confidence else {})}
        for name, value in case.scores.items()
    }


def as_items(case: Recorded) -> Any:
    return {
        "anchors": [
            {"dimension": name, "score": str(value), "confidence": case.confidence.get(name)}
            for name, value in case.scores.items()
        ]
    }


def bare_names(case: Recorded) -> Any:
    return {"note": "as asked", "numbers here": case.scores}


@pytest.mark.parametrize("id_", STRUCTURED)
@pytest.mark.parametrize("nest", [flat, by_role, by_dimension, as_items, bare_names])
@pytest.mark.parametrize("wrap", [0, 1, 2])
def test_the_nesting_of_an_answer_does_not_matter(
    recorded: dict[str, Recorded], id_: str, nest: Callable[[Recorded], Any], wrap: int
) -> None:
    case = recorded[id_]
    answer = nest(case)
    for level in range(wrap):
        answer = {f"part {level}": answer}
    for text in (json.dumps(answer), f"Here is my analysis.\n\n```json\n{json.dumps(answer, indent=1)}\n```\nDone."):
        found = extract(text, case.framework())
        assert_exact(found, case)
        if nest is not bare_names:
            assert found.confidence == snaked(case.confidence)


def test_only_the_bare_answer_in_the_contracts_own_shape_counts_as_meeting_it(recorded: dict[str, Recorded]) -> None:
    case = recorded["r69"]
    framework_ = case.framework()
    assert extract(json.dumps(flat(case)), framework_).route == "contract_json"
    assert extract("Here: " + json.dumps(flat(case)), framework_).route == "json_in_text"
    assert extract(json.dumps(by_role(case)), framework_).route == "json_in_text"
    assert extract(json.dumps(flat(case))[:-1], framework_).route == "repaired_json"


def test_a_truncated_answer_keeps_its_complete_values_and_names_the_rest(recorded: dict[str, Recorded]) -> None:
    whole, cut = recorded["r69"], recorded["x01"]
    found = extract(cut.text, whole.framework())
    assert found.scores == snaked(cut.scores)
    assert found.confidence == snaked(cut.confidence)
    assert (found.status, found.kind, found.route) == ("partial", "truncated", "repaired_json")
    assert found.missing == dict.fromkeys(["hope", "fear", "pragmatism", "fantasy"], "the answer is cut off before it")


@pytest.mark.parametrize("id_", [*STRUCTURED, *OUTLINED])
def test_an_answer_cut_anywhere_never_yields_another_number(recorded: dict[str, Recorded], id_: str) -> None:
    case = recorded[id_]
    truth = snaked(case.scores)
    for length in random.Random(id_).sample(range(len(case.text)), 60):
        found = extract(case.text[:length], case.framework())
        assert found.scores.items() <= truth.items()
        assert found.scores.keys() | found.missing.keys() == truth.keys()


@pytest.mark.parametrize("names", [["Fear", "Hope", "Truth"], ["Dignity", "Tribalism", "Justice", "Manipulation"]])
def test_a_framework_that_never_reached_the_model_gets_no_scores(
    recorded: dict[str, Recorded], names: list[str]
) -> None:
    found = extract(recorded["r25"].text, framework(names, 0, 10))
    assert (found.status, found.kind, found.scores) == ("none", "no_scores", {})


def renamed_prose(case: Recorded) -> tuple[str, Callable[[str], str]]:
    """Return the answer with every dimension of another name, and what they are called now."""
    new = {name: f"Quality {chr(ord('P') + n)}" for n, name in enumerate(case.names)}
    text = case.text
    for name, renamed in new.items():
        text = re.sub(rf"\b{name}\b", renamed, text, flags=re.IGNORECASE)
    return text, new.__getitem__


@pytest.mark.parametrize("id_", OUTLINED)
def test_prose_that_labels_its_scores_is_read_exactly_without_a_second_model(
    recorded: dict[str, Recorded], id_: str
) -> None:
    case = recorded[id_]
    found = extract(case.text, case.framework())
    assert_exact(found, case)
    assert found.confidence == snaked(case.confidence)
    assert found.route == "outline"
    text, rename = renamed_prose(case)
    assert_exact(extract(text, case.framework(rename)), case, rename)


@pytest.mark.parametrize("id_", OUTLINED)
@pytest.mark.parametrize("recase", [str.upper, str.lower, str.title])
def test_the_case_of_labels_does_not_matter(
    recorded: dict[str, Recorded], id_: str, recase: Callable[[str], str]
) -> None:
    case = recorded[id_]
    text = re.sub(r"\*\*[^*\n]+\*\*", lambda label: recase(label[0]), case.text)
    assert text != case.text
    assert_exact(extract(text, case.framework()), case)


def test_the_labelled_prose_of_a_whole_archive_is_read_as_a_plain_search_reads_it(shared: Path) -> None:
    names = ["Fear", "Hope", "Enmity", "Amity", "Envy", "Compersion"]
    answers = sorted((shared / "legacy_sessions" / "E_ecf_validation_llm_archive").rglob("response_*.txt"))
    assert len(answers) == 27
    for path in answers:
        text = path.read_text(encoding="utf-8")
        found = extract(text, framework(names, 0, 1))
        said = re.findall(r"^\s*(?:\*|3\.)\s+\*\*Score(?: \(0\.0-1\.0\))?:\*\* (\d\.\d+)", text, re.MULTILINE)
        assert list(found.scores.values()) == [float(score) for score in said], path
        assert len(found.confidence) == len(names)
        assert (found.status, found.route) == ("complete", "outline")


def test_labelled_prose_agrees_with_the_json_that_stands_beside_it(shared: Path) -> None:
    names = ["Identity Axis", "Fear-Hope Axis", "Envy-Compersion Axis", "Enmity-Amity Axis", "Goal Axis"]
    axes = framework(names, -1, 1)
    log = next((shared / "legacy_sessions" / "A_soar_2_cff_poc" / "results").glob("conversation_20250712_125417*"))
    said = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    answers = [
        each["message"]
        for each in said
        if each["speaker"].startswith("analysis_agent") and not each["message"].startswith("You are")
    ]
    compared = 0
    for answer in answers:
        found = extract(answer, axes)
        assert found.status == "complete"
        prose = extract(re.sub(r"```json.*?```", "", answer, flags=re.DOTALL), axes)
        assert prose.scores.items() <= found.scores.items()
        compared += len(prose.scores)
    assert (len(answers), compared) == (8, 30)


@pytest.mark.parametrize(
    ("id_", "kind"),
    [
        ("r28", "error_text"),
        ("r31", "other_document"),
        ("r35", "no_scores"),
        ("r38", "refusal"),
    ],
)
def test_an_answer_without_structure_is_recognised_and_nothing_is_invented(
    recorded: dict[str, Recorded], id_: str, kind: str
) -> None:
    case = recorded[id_]
    found = extract(case.text, case.framework())
    assert (found.status, found.kind, found.scores, found.route) == ("none", kind, {}, None)
    assert set(found.missing) == {snake(name) for name in case.names}
    assert needs_second_model(found) == (kind == "no_scores")
    assert (ask_again(found) is None) == (kind in ("refusal", "error_text"))


def test_prose_is_read_by_a_second_model_as_far_as_its_numbers_are_in_the_answer(recorded: dict[str, Recorded]) -> None:
    case = recorded["r45"]
    text = case.text.replace("**Score:**", "We arrive at")
    first = extract(text, case.framework())
    assert first.scores == {}
    said = json.dumps({"scores": {**case.scores, "hope": 0.55}, "confidence": case.confidence})
    found = from_second_model(said, first, case.framework(), first_answer=text)
    expected = snaked(case.scores)
    del expected["hope"]
    assert found.scores == expected
    assert found.missing == {"hope": "the second model's number is not in the answer"}
    assert (found.status, found.route) == ("partial", "second_model")
    complete = from_second_model(json.dumps(by_role(case)), first, case.framework(), first_answer=text)
    assert_exact(complete, case)
    assert complete.confidence == snaked(case.confidence)
