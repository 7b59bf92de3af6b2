"""The experiment that ships is worth showing: own words, varied speeches, nothing given away, all parts in step."""

import csv
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

EXPERIMENT = Path(__file__).resolve().parents[1] / "projects" / "MVA" / "experiments" / "experiment_3"
SPEECHES = {path.name: path.read_text(encoding="utf-8") for path in sorted((EXPERIMENT / "corpus").iterdir())}
FRAMEWORK_TEXT = (EXPERIMENT / "framework.md").read_text(encoding="utf-8")
PUBLISHED = ("experiment_3/framework.md", "frameworks/core/04_cff_v4.1.md", "frameworks/core/13_cff_v10.0.md")
DIMENSIONS = (
    "tribal_dominance",
    "individual_dignity",
    "fear",
    "hope",
    "envy",
    "compersion",
    "enmity",
    "amity",
    "fragmentative_goal",
    "cohesive_goal",
)


def json_block(text: str) -> dict[str, Any]:
    blocks = re.findall(r"<details>.*?```json\n(.*?)\n```\s*</details>", text, flags=re.DOTALL)
    assert len(blocks) == 1
    block: dict[str, Any] = json.loads(blocks[0])
    return block


FRAMEWORK = json_block(FRAMEWORK_TEXT)
MARKERS: dict[str, list[str]] = {name: entry["markers"] for name, entry in FRAMEWORK["dimensions"].items()}


def words(text: str) -> list[str]:
    return re.findall(r"\w+(?:['’]\w+)*", text.lower())


def occurrences(phrase: str, text: str) -> int:
    pattern = r"\s+".join(re.escape(word) for word in phrase.split())
    return len(re.findall(rf"(?<!\w){pattern}(?!\w)", text.lower()))


def shingles(text: str, length: int = 8) -> set[tuple[str, ...]]:
    sequence = words(text)
    return {tuple(sequence[start : start + length]) for start in range(len(sequence) - length + 1)}


def published_phrases(text: str) -> set[str]:
    quoted = re.findall(r"\"([^\"\n]{2,60})\"", re.sub(r"\\?[\"“”]", '"', text))
    return {" ".join(words(phrase)) for phrase in quoted}


def hits() -> dict[tuple[str, str], int]:
    return {
        (file, dimension): sum(occurrences(marker, text) for marker in markers)
        for file, text in SPEECHES.items()
        for dimension, markers in MARKERS.items()
    }


def corpus_table() -> list[dict[str, str]]:
    with (EXPERIMENT / "corpus.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def front_matter() -> dict[str, Any]:
    _, header, _ = (EXPERIMENT / "experiment.md").read_text(encoding="utf-8").split("---\n", 2)
    settings: dict[str, Any] = yaml.safe_load(header)
    return settings


# The speeches


def test_there_are_eight_speeches_of_600_to_1500_words_that_differ_in_length() -> None:
    lengths = sorted(len(text.split()) for text in SPEECHES.values())
    assert len(lengths) == 8
    assert lengths[0] >= 600
    assert lengths[-1] <= 1500
    assert lengths[-1] - lengths[0] >= 400


def test_no_file_name_or_id_gives_away_a_style() -> None:
    expected = [f"speech-{number:02}" for number in range(1, 9)]
    assert list(SPEECHES) == [f"{name}.txt" for name in expected]
    assert [row["id"] for row in corpus_table()] == expected


def test_the_order_of_the_speeches_does_not_sort_them_by_stance() -> None:
    stances = [row["stance"] for row in corpus_table()]
    assert stances not in (sorted(stances), sorted(stances, reverse=True))


def test_no_speech_names_its_own_style_register_or_stance() -> None:
    for row in corpus_table():
        for label in (row["style"], row["register"], row["stance"]):
            assert not occurrences(label, SPEECHES[row["file"]]), (row["file"], label)


def test_the_corpus_table_lists_exactly_the_speeches_with_what_groups_them() -> None:
    table = corpus_table()
    assert [row["file"] for row in table] == list(SPEECHES)
    assert all(value for row in table for value in row.values())
    assert {row["licence"] for row in table} == {"CC0-1.0"}
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\d", row["date"]) for row in table)
    stances = Counter(row["stance"] for row in table)
    assert set(stances) == {"combative", "conciliatory"}
    assert min(stances.values()) >= 3


def test_each_anchor_is_heard_in_some_speeches_and_absent_from_others() -> None:
    counted = hits()
    for dimension in DIMENSIONS:
        assert sum(counted[file, dimension] > 0 for file in SPEECHES) >= 3, dimension
    assert sum(count == 0 for count in counted.values()) >= 15


def test_speeches_are_rhetoric_and_not_lists_of_marker_phrases() -> None:
    for file, text in SPEECHES.items():
        marked = sum(
            occurrences(marker, text) * len(marker.split()) for markers in MARKERS.values() for marker in markers
        )
        assert marked / len(text.split()) <= 0.03, file


@pytest.mark.parametrize(
    ("more", "fewer", "dimension"),
    [("combative", "conciliatory", "enmity"), ("conciliatory", "combative", "amity")],
)
def test_counts_of_standing_follow_the_stance_in_proportion_to_length(more: str, fewer: str, dimension: str) -> None:
    counted, stance = hits(), {row["file"]: row["stance"] for row in corpus_table()}

    def rate(group: str) -> float:
        files = [file for file in SPEECHES if stance[file] == group]
        return sum(counted[file, dimension] for file in files) / sum(len(SPEECHES[file].split()) for file in files)

    assert rate(more) > 1.5 * rate(fewer)


# The framework


def test_the_framework_scores_ten_anchors_each_with_a_list_of_its_own() -> None:
    assert tuple(FRAMEWORK["dimensions"]) == DIMENSIONS
    for name, entry in FRAMEWORK["dimensions"].items():
        assert set(entry) == {"label", "description", "markers", "scale"}
        assert entry["scale"] == [0.0, 1.0]
        assert 12 <= len(entry["markers"]) <= 25, name
        assert all(marker == marker.lower().strip() for marker in entry["markers"])
        assert f"**{entry['label']}.**" in FRAMEWORK_TEXT
    every_marker = [(marker, name) for name, markers in MARKERS.items() for marker in markers]
    assert len({marker for marker, _ in every_marker}) == len(every_marker)


def test_no_marker_of_one_anchor_is_counted_within_a_marker_of_another() -> None:
    inside = [
        (marker, other)
        for name, markers in MARKERS.items()
        for marker in markers
        for other_name, others in MARKERS.items()
        for other in others
        if name != other_name and occurrences(marker, other)
    ]
    assert inside == []


def test_the_contract_asks_for_evidence_score_and_confidence_of_every_anchor() -> None:
    expected = {"dominant_register": "string", "overall_confidence": "number"}
    for dimension in DIMENSIONS:
        expected |= {f"{dimension}_score": "number", f"{dimension}_confidence": "number"}
        expected[f"{dimension}_evidence"] = "array"
    assert FRAMEWORK["output_contract"]["schema"] == expected
    assert "single valid JSON object" in FRAMEWORK["output_contract"]["instructions"]
    assert FRAMEWORK["analysis_variants"]["default"]["analysis_prompt"]


@pytest.mark.parametrize("formula_name", list(FRAMEWORK["calculation_spec"]))
def test_every_index_runs_from_minus_one_to_one_over_defined_scores(formula_name: str) -> None:
    formula = FRAMEWORK["calculation_spec"][formula_name]
    scores = set(re.findall(r"[a-z_]+_score", formula))
    assert scores <= {f"{dimension}_score" for dimension in DIMENSIONS}
    weights = [float(weight) for weight in re.findall(r"\d+\.\d+", formula)]
    assert sum(weights) == pytest.approx(1.0) if weights else formula.count("_score") == 2
    binding = {"individual_dignity_score", "hope_score", "compersion_score", "amity_score", "cohesive_goal_score"}
    extremes = [{score: float((score in binding) == best) for score in scores} for best in (True, False)]
    assert [eval(formula, {}, values) for values in extremes] == pytest.approx([1.0, -1.0])


def test_the_weights_in_the_prose_are_the_weights_in_the_formulas() -> None:
    formulas = FRAMEWORK["calculation_spec"]
    assert re.findall(r"\d+\.\d+", formulas["cohesion_index"]) == ["0.30", "0.30", "0.40"]
    assert re.search(r"\*\*Cohesion\*\*: 0\.30 for .* 0\.30 for .* 0\.40 for aims", FRAMEWORK_TEXT)
    assert re.findall(r"\d+\.\d+", formulas["cohesion_all_axes_index"]) == ["0.20"] * 5
    assert "**Cohesion, all axes**: 0.20 for each of the five axes" in FRAMEWORK_TEXT
    assert re.findall(r"\d+\.\d+", formulas["emotional_climate_index"]) == ["0.50", "0.50"]
    assert "**Emotional climate**: half of it hope minus fear, half of it amity minus enmity" in FRAMEWORK_TEXT


def test_the_prose_is_of_a_length_that_a_reader_and_a_prompt_can_bear() -> None:
    prose = FRAMEWORK_TEXT.split("<details>")[0]
    assert 1000 <= len(prose.split()) <= 1800


# Our own words


def test_the_source_of_the_idea_is_credited() -> None:
    assert "Cohesive Flourishing Framework of the discernus project" in FRAMEWORK_TEXT
    assert "CC BY-SA" in FRAMEWORK_TEXT


@pytest.mark.parametrize("source", PUBLISHED)
def test_the_framework_shares_no_wording_with_the_published_one(shared: Path, source: str) -> None:
    published = (shared / source).read_text(encoding="utf-8")
    common = shingles(FRAMEWORK_TEXT) & shingles(published)
    assert common == set()


@pytest.mark.parametrize("source", PUBLISHED)
def test_no_marker_is_one_of_the_published_markers(shared: Path, source: str) -> None:
    published = (shared / source).read_text(encoding="utf-8")
    phrases = published_phrases(published)
    assert len(phrases) > 20
    for markers in MARKERS.values():
        assert phrases.isdisjoint(markers)
        assert [marker for marker in markers if len(marker.split()) >= 3 and occurrences(marker, published)] == []


def test_no_speech_repeats_a_speech_of_the_real_experiment(shared: Path) -> None:
    real = [path.read_text(encoding="utf-8") for path in sorted((shared / "experiment_3" / "corpus").iterdir())]
    taken = set().union(*(shingles(text) for text in real))
    assert len(taken) > 1000
    for file, text in SPEECHES.items():
        assert shingles(text) & taken == set(), file


# The experiment


def test_the_experiment_runs_six_times_on_the_offline_model_and_shows_how_to_switch() -> None:
    settings = front_matter()
    assert settings["format"] == 1
    assert settings["models"] == ["offline/lexicon"]
    assert settings["runs_per_model"] == 6
    assert (EXPERIMENT / settings["framework_file"]).is_file()
    assert (EXPERIMENT / settings["corpus"]).is_dir()
    assert settings["analysis_variant"] in FRAMEWORK["analysis_variants"]


def test_the_lines_that_switch_to_a_real_model_are_valid_once_uncommented() -> None:
    text = (EXPERIMENT / "experiment.md").read_text(encoding="utf-8")
    commented = re.search(r"^# models:\n(?:# .*\n)+", text, flags=re.MULTILINE)
    assert commented
    switched = yaml.safe_load(re.sub(r"^# ", "", commented.group(), flags=re.MULTILINE))
    assert list(switched) == ["models", "parameters", "extraction_model"]
    assert set(switched["parameters"]) == set(switched["models"])
    assert "GEMINI_API_KEY" in text


def test_every_hypothesis_is_tested_by_names_that_exist() -> None:
    settings = front_matter()
    plan = settings["statistical_plan"]
    assert {entry["hypothesis"] for entry in plan} == set(settings["hypotheses"])
    columns = set(corpus_table()[0])
    for entry in plan:
        assert entry["variable"] in {*DIMENSIONS, *FRAMEWORK["calculation_spec"]}
        assert entry["test"] in {"welch_t", "mann_whitney", "cronbachs_alpha", "icc"}
        assert ("groups" in entry) == (entry["test"] in {"welch_t", "mann_whitney"})
        assert entry.get("groups", "stance") in columns


def test_the_sample_says_what_it_is() -> None:
    body = " ".join((EXPERIMENT / "experiment.md").read_text(encoding="utf-8").split())
    assert "This is sample material" in body
    assert "sentence-resampling stability" in body
    assert "not a language model" in body
