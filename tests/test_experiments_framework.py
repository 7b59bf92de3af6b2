"""Reading frameworks: what a researcher wrote is understood, or refused with its line and a cure."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from discernus.experiments.framework import Framework
from discernus.experiments.framework_file import parse_framework, read_framework
from discernus.experiments.machine_parts import prose_of
from discernus.experiments.problems import Problem, has_errors

PROSE = """# Weather of a Text

**Storm Markers**:
- Violence: "thunder," "Black clouds"; also "thunder"
- Not quoted at all

### Calm
A calm text speaks of "still water" and “gentle rain.”

## Conclusion
Nobody counts "this phrase".
"""


def block() -> dict[str, Any]:
    return {
        "name": "weather",
        "version": "1.0",
        "display_name": "Weather of a Text",
        "analysis_variants": {"default": {"description": "all", "analysis_prompt": "Score each from 0.0 to 1.0."}},
        "calculation_spec": {"balance": "calm_score - storm_score"},
        "output_contract": {
            "schema": {
                "mood": "string",
                "storm_score": "number",
                "storm_confidence": "number",
                "storm_evidence": "array",
                "calm_score": "number",
                "overall_confidence": "number",
            },
            "instructions": "Answer with JSON only.",
        },
    }


def written(data: dict[str, Any] | str, prose: str = PROSE, language: str = "json") -> str:
    text = data if isinstance(data, str) else json.dumps(data, indent=2)
    return (
        f"{prose}\n<details><summary>Configuration</summary>\n\n```{language}\n{text}\n```\n\n</details>\n\nThe end.\n"
    )


def parsed(data: dict[str, Any], prose: str = PROSE) -> Framework:
    framework, problems = parse_framework(written(data, prose).encode(), "framework.md")
    assert framework is not None, problems
    return framework


def problems_of(text: str) -> list[Problem]:
    framework, problems = parse_framework(text.encode(), "framework.md")
    assert framework is None
    return list(problems)


def line_with(text: str, part: str) -> int:
    return next(number for number, line in enumerate(text.splitlines(), 1) if part in line)


def roles_of(framework: Framework) -> dict[str, tuple[str, str | None]]:
    return {".".join(field.path): (field.role, field.dimension) for field in framework.contract.fields}


def test_a_framework_is_read_with_roles_dimensions_and_markers() -> None:
    framework = parsed(block())
    assert [dimension.name for dimension in framework.dimensions] == ["storm", "calm"]
    assert framework.dimensions[0].markers == ("thunder", "black clouds")
    assert framework.dimensions[1].markers == ("still water", "gentle rain")
    assert roles_of(framework) == {
        "mood": ("label", None),
        "storm_score": ("score", "storm"),
        "storm_confidence": ("confidence", "storm"),
        "storm_evidence": ("evidence", "storm"),
        "calm_score": ("score", "calm"),
        "overall_confidence": ("confidence", None),
    }


def test_the_prose_is_the_text_without_the_machine_part() -> None:
    prose = prose_of(parsed(block()).text)
    assert "Storm Markers" in prose
    assert "The end." in prose
    assert "output_contract" not in prose
    assert "details" not in prose


def test_the_published_framework_loads_with_all_its_anchors(shared: Path) -> None:
    framework, problems = read_framework(shared / "experiment_3" / "framework.md")
    assert problems == ()
    assert framework is not None
    assert (framework.name, framework.version) == ("cff_v4_1", "v4.1")
    assert [(each.name, each.low, each.high) for each in framework.dimensions] == [
        (name, 0.0, 1.0)
        for name in (
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
    ]
    assert [len(each.markers) for each in framework.dimensions] == [12, 16, 18, 18, 16, 16, 18, 24, 24, 23]
    assert [metric.name for metric in framework.derived_metrics] == [
        "descriptive_cohesion_index",
        "motivational_cohesion_index",
        "full_cohesion_index",
    ]
    assert roles_of(framework)["worldview"] == ("label", None)
    assert roles_of(framework)["overall_analysis_confidence"] == ("confidence", None)


def published(shared: Path, name: str) -> tuple[Framework | None, tuple[Problem, ...]]:
    [path] = (shared / "frameworks").rglob(f"{name}*.md")
    return read_framework(path)


@pytest.mark.parametrize(
    ("name", "dimensions", "scale", "variants", "metrics"),
    [
        ("11b_pdaf", 9, (0, 2), 1, 4),
        ("13_cff", 10, (0, 1), 6, 17),
        ("17_sentiment", 2, (0, 1), 1, 0),
        ("caf_v7.3", 10, (0, 1), 1, 17),
    ],
)
def test_published_frameworks_of_other_generations_load(
    shared: Path, name: str, dimensions: int, scale: tuple[float, float], variants: int, metrics: int
) -> None:
    framework, problems = published(shared, name)
    assert framework is not None, problems
    assert not has_errors(problems)
    assert {(each.low, each.high) for each in framework.dimensions} == {scale}
    counted = (len(framework.dimensions), len(framework.variants), len(framework.derived_metrics))
    assert counted == (dimensions, variants, metrics)
    asked = {(field.role, field.dimension) for field in framework.contract.fields}
    for dimension in framework.dimensions:
        assert {(role, dimension.name) for role in ("score", "salience", "confidence")} <= asked


def test_a_published_framework_that_names_no_dimension_in_its_contract_is_refused_with_places(shared: Path) -> None:
    framework, problems = published(shared, "06_caf")
    assert framework is None
    assert all(problem.line and problem.cure for problem in problems)
    errors = {problem.line: problem.what for problem in problems if problem.severity == "error"}
    assert "asks for no score of any dimension" in errors[146]
    assert "it is in words: 'Standard deviation of all" in errors[143]


def test_a_published_framework_of_prose_alone_is_refused(shared: Path) -> None:
    framework, [problem] = read_framework(shared / "legacy_sessions" / "A_soar_2_cff_poc" / "framework.md")
    assert framework is None
    assert "prose alone" in problem.what


def test_a_line_break_inside_a_published_json_string_is_read_and_named_by_its_line(shared: Path) -> None:
    framework, problems = published(shared, "caf_v7.3")
    assert framework is not None
    assert "message?\n- Assess tribalism salience" in framework.variants[0].analysis_prompt
    [warning] = [problem for problem in problems if "break off" in problem.what]
    assert warning.line == 221
    assert r"\n" in warning.cure


NESTED: dict[str, Any] = {
    "dimensional_scores": {
        "storm": {"raw_score": "number", "salience": "number", "confidence": "number", "evidence": "string"},
        "calm": {"raw_score": "number", "salience": "number", "confidence": "number", "evidence": "string"},
    }
}
BY_ROLE = {
    "scores": {"storm": "number", "calm": "number"},
    "salience": {"storm": "number", "calm": "number"},
    "confidence": {"storm": "number", "calm": "number"},
    "evidence": {"storm": ["string"], "calm": ["string"]},
}
JSON_SCHEMA = {
    "type": "object",
    "properties": {
        "dimensionalScores": {
            "type": "object",
            "properties": {"storm": {"$ref": "#/definitions/one"}, "calm": {"$ref": "#/definitions/one"}},
        }
    },
    "definitions": {
        "one": {
            "type": "object",
            "properties": {
                "rawScore": {"type": "number", "minimum": -1, "maximum": 2},
                "salience": {"type": "number"},
                "confidence": {"type": ["number", "null"]},
                "evidence": {"type": "array", "items": {"type": "string"}},
            },
        }
    },
}
RENAMED = {
    "Storm-Score": "float (0-1)",
    "STORM_SALIENCE": "0.0-1.0",
    "confidence_storm": 0.5,
    "storm quotes": [],
    "score_calm": "number",
    "calm_salience": "number",
    "calmConfidence": "number",
    "evidenceCalm": "array of strings",
}


@pytest.mark.parametrize("schema", [NESTED, BY_ROLE, JSON_SCHEMA, RENAMED])
def test_a_contract_means_the_same_however_it_is_nested_and_named(schema: dict[str, Any]) -> None:
    data = block()
    data["output_contract"]["schema"] = schema
    fields = {(field.role, field.dimension) for field in parsed(data).contract.fields}
    roles = ("score", "salience", "confidence", "evidence")
    assert fields == {(role, dimension) for role in roles for dimension in ("storm", "calm")}


def test_bounds_in_a_json_schema_are_the_scale() -> None:
    data = block()
    data["output_contract"]["schema"] = JSON_SCHEMA
    assert [(each.low, each.high) for each in parsed(data).dimensions] == [(-1.0, 2.0)] * 2


def test_bare_numbers_are_scores_where_no_key_says_score_and_computed_ones_never_are() -> None:
    data = block()
    data["output_contract"]["schema"] = {"storm": "number", "calm": "number", "balance": "number"}
    framework = parsed(data)
    assert roles_of(framework) == {
        "storm": ("score", "storm"),
        "calm": ("score", "calm"),
        "balance": ("other", None),
    }


@pytest.mark.parametrize(
    ("prompt", "scale"),
    [
        ("Score each from 0.0 to 1.0. Rate your confidence from 0 to 10.", (0, 1)),
        ("Score every dimension on a scale of -1.0 to 1.0.", (-1, 1)),
        ("Scores lie between 0 and 10; scores 0-3 are weak, scores 7-10 strong.", (0, 10)),
        ("Rate each one (0.0–2.0).", (0, 2)),
        ("Score each dimension and give 2-4 quotations.", (0, 1)),
        ("Storm (0.0-5.0): how wild. Calm (0.0-5.0): how quiet.", (0, 5)),
        ("Say how it feels.", (0, 1)),
    ],
)
def test_a_scale_that_the_prompt_states_plainly_is_the_scale(prompt: str, scale: tuple[float, float]) -> None:
    data = block()
    data["analysis_variants"]["default"]["analysis_prompt"] = prompt
    assert {(each.low, each.high) for each in parsed(data).dimensions} == {scale}


def test_scales_that_contradict_are_named_and_not_chosen_between() -> None:
    data = block()
    data["analysis_variants"]["default"]["analysis_prompt"] = "Score from -1 to 1. Scores from 0 to 5 are possible."
    _, [warning] = parse_framework(written(data).encode(), "framework.md")
    assert warning.severity == "warning"
    assert "-1 to 1, 0 to 5" in warning.what


def test_markers_are_found_in_the_prompt_where_the_prose_has_none() -> None:
    data = block()
    data["analysis_variants"]["default"]["analysis_prompt"] = (
        "Storm: look for 'wind that didn't stop', 'hail'. Calm: look for 'silence', 'peace'. Then quote 'two lines'."
    )
    storm, calm = parsed(data, prose="# Weather\n\nNo phrases.\n").dimensions
    assert storm.markers == ("wind that didn't stop", "hail")
    assert calm.markers[:2] == ("silence", "peace")


def test_declared_dimensions_are_authoritative() -> None:
    data = block()
    data["dimensions"] = {
        "calm": {"label": "Stillness", "description": "d", "markers": ["Hush,", "hush"], "scale": [-2, 2]},
        "storm": {"label": "Storm"},
    }
    calm, storm = parsed(data).dimensions
    assert (calm.name, calm.label, calm.description, calm.markers) == ("calm", "Stillness", "d", ("hush",))
    assert (calm.low, calm.high) == (-2.0, 2.0)
    assert storm.markers == ("thunder", "black clouds")


def test_formulas_may_name_scores_in_any_style() -> None:
    data = block()
    data["output_contract"]["schema"] = NESTED
    data["calculation_spec"] = {
        "a": "min(storm, calm_score) × |dimensional_scores.storm.salience − calm_salience|",
        "b": "derived_metrics.a / 2",
    }
    assert [metric.name for metric in parsed(data).derived_metrics] == ["a", "b"]


def remove(*path: str) -> Callable[[dict[str, Any]], None]:
    def change(data: dict[str, Any]) -> None:
        for key in path[:-1]:
            data = data[key]
        del data[path[-1]]

    return change


def put(value: Any, *path: str) -> Callable[[dict[str, Any]], None]:
    def change(data: dict[str, Any]) -> None:
        for key in path[:-1]:
            data = data.setdefault(key, {})
        data[path[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "what", "at", "cure"),
    [
        (remove("name"), "has no name", "{", "name"),
        (remove("version"), "has no version", "{", "version"),
        (remove("analysis_variants"), "no analysis variant", "{", "analysis_prompt"),
        (
            put("  ", "analysis_variants", "default", "analysis_prompt"),
            "no analysis_prompt",
            "analysis_prompt",
            "write",
        ),
        (put([], "analysis_variants"), "is not an object", '"analysis_variants"', "{"),
        (remove("output_contract"), "what an answer has to hold", "{", "schema"),
        (put({"mood": "string"}, "output_contract", "schema"), "asks for no score", '"schema"', "_score"),
        (put("strom_score * 2", "calculation_spec", "x"), "'strom_score'", '"x"', "'storm_score'"),
        (put("storm_salience", "calculation_spec", "x"), "salience of 'storm'", '"x"', "add it"),
        (put("the mean of all", "calculation_spec", "x"), "cannot be read", '"x"', "formula"),
        (put("x + 1", "calculation_spec", "x"), "refer to themselves: x → x", '"x"', "circle"),
        (put({"y": "the mean of all"}, "calculation_spec", "x"), "it is in words", '"y"', "formula"),
        (put("0.5", "calculation_spec", "x"), "'0.5' for every text", '"x"', "write the formula"),
        (put("", "calculation_spec", "x"), "the formula is empty", '"x"', "formula"),
        (put("TBD", "calculation_spec", "x"), "'TBD', which is no dimension", '"x"', "metric"),
        (put(["1"], "calculation_spec", "x"), "is not text", '"x"', "quotes"),
        (put("1", "calculation_spec", "storm"), "the name of a dimension", '"storm"', "rename"),
        (put("number", "output_contract", "schema", "Storm-Score"), "both the score", '"Storm-Score"', "keep one"),
        (put({"scale": [1, 0]}, "dimensions", "storm"), "upside down", '"scale"', "[0, 1]"),
        (put({"scale": [0]}, "dimensions", "storm"), "not two numbers", '"scale"', "[0, 1]"),
        (put({"markers": "x"}, "dimensions", "storm"), "not a list of phrases", '"markers"', "["),
        (put({"storm": {}, "Storm": {}, "calm": {}}, "dimensions"), "the same as 'storm'", '"Storm"', "keep one"),
        (put({"storm": {}, "clam": {}}, "dimensions"), "'calm', which is not among", '"calm_score"', "'clam'"),
        (
            put({"storm": {}, "calm": {}, "haze": {}}, "dimensions"),
            "no score of dimension 'haze'",
            '"haze"',
            "haze_score",
        ),
        (put(1, "dimensions"), "'dimensions' is not an object", '"dimensions"', "{"),
        (put([1], "dimensions"), "entry 1 of dimensions has no name", '"dimensions"', "name"),
        (put({"storm": 1, "calm": {}}, "dimensions"), "is not an object", '"storm"', "label"),
    ],
)
def test_a_mistake_is_named_with_its_line_and_cure(
    change: Callable[[dict[str, Any]], None], what: str, at: str, cure: str
) -> None:
    data = block()
    change(data)
    text = written(data)
    named = [problem for problem in problems_of(text) if what in problem.what]
    assert named, problems_of(text)
    assert named[0].line in {number for number, line in enumerate(text.splitlines(), 1) if at in line}
    assert cure in named[0].cure


def test_all_mistakes_are_named_at_once() -> None:
    data = block()
    remove("version")(data)
    put("nothing here", "calculation_spec", "x")(data)
    put({"scale": [2, 1]}, "dimensions", "calm")(data)
    found = " ".join(problem.what for problem in problems_of(written(data)))
    assert all(part in found for part in ("no version", "formula of 'x'", "upside down", "'storm', which is not among"))


@pytest.mark.parametrize(
    ("part", "spoilt", "what", "at"),
    [
        ('"version": "1.0",', '"version": "1.0"', "delimiter", '"display_name"'),
        ('"1.0"', "NaN", "NaN", "{"),
        ('"1.0"', r'"\ud800"', "half a character", "{"),
        ('"version"', '"name": "other",\n"version"', "second time (first", '"other"'),
    ],
)
def test_a_block_that_is_not_plain_json_is_refused_at_its_line(part: str, spoilt: str, what: str, at: str) -> None:
    text = written(block()).replace(part, spoilt).replace("The end.", "")
    problem = next(problem for problem in problems_of(text) if what in problem.what)
    assert problem.line == line_with(text, at)


def test_a_framework_without_a_block_is_refused() -> None:
    [problem] = problems_of('# Only prose\n\n```json\n{"an": "example"}\n```\n')
    assert "no machine-readable block" in problem.what


def test_json_that_is_not_fenced_is_refused_with_its_line() -> None:
    text = re.sub(r"```(json)?", "", written(block()))
    [problem] = problems_of(text)
    assert "fenced" in problem.what


def test_blocks_that_contradict_are_refused_and_an_equal_copy_is_not() -> None:
    other = block() | {"version": "2.0"}
    [problem] = problems_of(written(block()) + written(other))
    assert "'version' contradicts line" in problem.what
    framework, [warning] = parse_framework((written(block()) + written(block())).encode(), "framework.md")
    assert framework is not None
    assert warning.severity == "warning"


def test_an_example_answer_beside_the_block_is_not_taken_for_it() -> None:
    assert parsed(block(), prose=PROSE + '\n```json\n{"storm_score": 0.2}\n```\n').name == "weather"


def test_a_misspelt_key_is_warned_of() -> None:
    data = block()
    data["calculation_specs"] = data.pop("calculation_spec")
    _, [warning] = parse_framework(written(data).encode(), "framework.md")
    assert "'calculation_spec'" in warning.cure


def test_a_framework_in_another_encoding_is_refused() -> None:
    framework, [problem] = parse_framework(written(block(), "# Stürme\n").encode("latin-1"), "framework.md")
    assert framework is None
    assert "ISO-8859-1" in problem.what


def test_a_missing_file_is_a_problem_and_no_crash(tmp_path: Path) -> None:
    framework, [problem] = read_framework(tmp_path / "none.md")
    assert framework is None
    assert problem.file == "none.md"


def test_metrics_that_a_formula_could_not_tell_apart_are_refused() -> None:
    data = block() | {"calculation_spec": {"net": "storm_score", "Net": "calm_score"}}
    _, problems = parse_framework(written(data).encode(), "framework.md")
    assert any("metrics 'net' and 'Net' have one name in formulas" in problem.what for problem in problems)
