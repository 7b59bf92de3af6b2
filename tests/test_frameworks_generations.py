"""Frameworks of every generation: the same framework in each of the forms it may be written in."""

import csv
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from discernus.experiments.framework import Framework
from discernus.experiments.framework_file import parse_framework
from discernus.experiments.framework_reading import holds_framework
from discernus.experiments.machine_parts import prose_of
from discernus.experiments.problems import Problem
from discernus.experiments.prompt import build_messages
from discernus.extraction.extract import extract
from discernus.llm import offline
from discernus.statistics.formulas import compute, named_values

PROSE = "# Weather of a Text\n\nStorms and calms, as texts have them.\n"
FORMULAS = {"tension": "min(storm_score, calm_score) * abs(storm_salience - calm_salience)", "half": "tension / 2"}
KEYS = [f"{dimension}_{role}" for dimension in ("storm", "calm") for role in ("score", "salience", "confidence")]
SCORE = {
    "type": "object",
    "properties": {
        "raw_score": {"type": "number", "minimum": 0.0, "maximum": 2.0},
        "salience": {"type": "number", "minimum": 0.0, "maximum": 1.0},
        "confidence": {"type": "number", "minimum": 0.0, "maximum": 1.0},
        "evidence": {"type": "string"},
    },
}


def head() -> dict[str, Any]:
    prompt = "Say how the weather of the text is.\nGive evidence."
    return {
        "name": "weather",
        "version": "2.1",
        "analysis_variants": {"default": {"description": "all", "analysis_prompt": prompt}},
    }


def keyed() -> dict[str, Any]:
    """Return the form with formulas in order and the keys of an answer."""
    ranges = {"score_ranges": {"min": 0, "max": 2}, "metadata_ranges": {"salience": {"min": 0, "max": 1}}}
    return head() | {
        "calculation_spec": {"execution_order": list(FORMULAS), "formulas": dict(FORMULAS)},
        "output_contract": {"instructions": "Write a log."},
        "gasket_schema": {"version": "7", "target_keys": list(KEYS), "validation_rules": ranges},
    }


def appendix() -> dict[str, Any]:
    """Return the form with metadata, lists and a JSON Schema."""
    data = head()
    return {
        "metadata": {"framework_name": data["name"], "framework_version": data["version"], "author": "A. B."},
        "analysis_variants": data["analysis_variants"],
        "dimensions": [
            {
                "name": "storm",
                "description": "How wild it is.",
                "markers": {
                    "positive_examples": [{"phrase": "Thunder,", "explanation": "loud"}, {"phrase": "black clouds"}],
                    "negative_examples": [{"phrase": "breeze"}],
                },
                "scoring_calibration": {"high": "1.4-2.0: wild"},
            },
            {"name": "calm", "description": "How still it is.", "markers": {"positive_examples": ["still water"]}},
        ],
        "derived_metrics": [{"name": name, "formula": formula} for name, formula in FORMULAS.items()],
        "output_schema": {
            "type": "object",
            "properties": {
                "dimensional_scores": {
                    "type": "object",
                    "properties": {name: {"$ref": "#/definitions/score_object"} for name in ("storm", "calm")},
                }
            },
            "definitions": {"score_object": SCORE},
        },
    }


def as_yaml(data: dict[str, Any]) -> str:
    return yaml.safe_dump(data, sort_keys=False)


def in_details(data: dict[str, Any]) -> str:
    return f"{PROSE}\n<details><summary>Part</summary>\n\n```json\n{json.dumps(data, indent=1)}\n```\n\n</details>\n"


def apart(data: dict[str, Any]) -> str:
    last = json.dumps({"gasket_schema": data.pop("gasket_schema")}, indent=1)
    return f"{in_details(data)}<GASKET_SCHEMA_START>\n{last}\n<GASKET_SCHEMA_END>\n"


def bare_apart(data: dict[str, Any]) -> str:
    last = json.dumps(data.pop("gasket_schema"), indent=1)
    return f"{in_details(data)}<<<GASKET_SCHEMA_START>>>\n{last}\n<<<GASKET_SCHEMA_END>>>\n"


def beside_front_matter(data: dict[str, Any]) -> str:
    name, version = data.pop("name"), data.pop("version")
    return f"---\nname: {name}\nversion: {version}\nstatus: draft\n---\n{in_details(data)}"


def all_in_front_matter(data: dict[str, Any]) -> str:
    return f"---\n{as_yaml(data)}---\n{PROSE}"


def fenced(data: dict[str, Any]) -> str:
    start, end = "# --- Start of Machine-Readable Appendix ---", "# --- End of Machine-Readable Appendix ---"
    return f"{PROSE}\n```yaml\n{start}\n\n{as_yaml(data)}\n{end}\n```\n"


def fenced_between_markers(data: dict[str, Any]) -> str:
    start, end = "--- Start of Machine-Readable Appendix ---", "--- End of Machine-Readable Appendix ---"
    return f"{PROSE}\n{start}\n\n```yaml\n{as_yaml(data)}```\n\n{end}\n"


def marked(data: dict[str, Any]) -> str:
    start, end = "<!-- START OF MACHINE-READABLE APPENDIX -->", "<!-- END OF MACHINE-READABLE APPENDIX -->"
    return f"{PROSE}\n{start}\n{as_yaml(data)}{end}\n"


def open_to_the_marker(data: dict[str, Any]) -> str:
    return f"{PROSE}\n```yaml\n{as_yaml(data)}# --- End of Machine-Readable Appendix ---\n\nThe end.\n"


def open_to_the_end(data: dict[str, Any]) -> str:
    return f"{PROSE}\n```yaml\n{as_yaml(data)}"


def open_json(data: dict[str, Any]) -> str:
    return f"{PROSE}\n```json\n{json.dumps(data, indent=1)}\n\nThe end.\n"


def whole_file(data: dict[str, Any]) -> str:
    return f"# A comment\n\n{as_yaml(data)}"


def whole_json(data: dict[str, Any]) -> str:
    return json.dumps(data, indent=1)


def parsed(text: str) -> Framework:
    framework, problems = parse_framework(text.encode(), "framework.md")
    assert framework is not None, problems
    return framework


def problems_of(text: str) -> list[Problem]:
    framework, problems = parse_framework(text.encode(), "framework.md")
    assert framework is None
    return [problem for problem in problems if problem.severity == "error"]


FORMS: list[tuple[Callable[[], dict[str, Any]], Callable[[dict[str, Any]], str]]] = [
    *((keyed, form) for form in (in_details, apart, bare_apart, beside_front_matter, open_json, marked, whole_file)),
    *((appendix, form) for form in (in_details, fenced, fenced_between_markers, marked, all_in_front_matter)),
    *((appendix, form) for form in (open_to_the_marker, open_to_the_end, open_json, whole_file, whole_json)),
]


@pytest.mark.parametrize(("content", "form"), FORMS)
def test_a_framework_is_the_same_in_every_form(
    content: Callable[[], dict[str, Any]], form: Callable[[dict[str, Any]], str], tmp_path: Path
) -> None:
    text = form(content())
    framework = parsed(text)
    assert (framework.name, framework.version) == ("weather", "2.1")
    assert [(each.name, each.low, each.high) for each in framework.dimensions] == [("storm", 0, 2), ("calm", 0, 2)]
    assert framework.variants[0].analysis_prompt == "Say how the weather of the text is.\nGive evidence."
    assert {metric.name: metric.formula for metric in framework.derived_metrics} == FORMULAS
    asked = {(field.role, field.dimension) for field in framework.contract.fields}
    assert {(role, name) for role in ("score", "salience", "confidence") for name in ("storm", "calm")} <= asked
    (tmp_path / "any.md").write_text(text)
    assert holds_framework(tmp_path / "any.md")


@pytest.mark.parametrize(("content", "form"), FORMS)
def test_the_model_is_told_everything_once_and_nothing_of_the_machine_part_else(
    content: Callable[[], dict[str, Any]], form: Callable[[dict[str, Any]], str]
) -> None:
    framework = parsed(form(content()))
    (_, system), _ = build_messages(framework, "default", "It rains.")
    for said in ("Storms and calms",) if form not in (whole_file, whole_json) else ():
        assert system.count(said) == 1
    assert system.count("Say how the weather of the text is.") == 1
    assert "tension" not in system
    assert "gasket" not in system
    assert "Appendix" not in system
    if content is appendix:
        assert system.count("How wild it is.") == 1
        assert system.count("1.4-2.0: wild") == 1
        assert "breeze" in system


def test_a_session_of_before_goes_on_with_the_questions_it_began_with() -> None:
    data = head() | {"output_contract": {"schema": {"storm_score": "number"}}}
    data["dimensions"] = {"storm": {"description": "How wild it is.", "markers": ["thunder"]}}
    text = in_details(data)
    assert "How wild it is." in parsed(text).guidance
    before, _ = parse_framework(text.encode(), "framework.md", prompt_form=1)
    assert before is not None
    assert before.guidance == ""
    assert prose_of(before.text) == PROSE


def test_phrases_that_speak_for_a_dimension_are_its_markers_and_others_are_not() -> None:
    storm, calm = parsed(fenced(appendix())).dimensions
    assert storm.markers == ("thunder", "black clouds")
    assert calm.markers == ("still water",)
    assert (storm.label, storm.description) == ("Storm", "How wild it is.")


def test_the_display_name_of_an_earlier_form_is_its_heading() -> None:
    assert parsed(fenced(appendix())).display_name == "Weather of a Text"
    assert parsed(whole_file(appendix())).display_name == "weather"


def test_answers_in_the_shape_that_each_form_asks_for_are_read() -> None:
    nested = {name: {"raw_score": 1.5, "salience": 0.5, "confidence": 1} for name in ("storm", "calm")}
    found = extract(json.dumps({"dimensional_scores": nested}), parsed(fenced(appendix())))
    assert (found.scores, found.salience) == ({"storm": 1.5, "calm": 1.5}, {"storm": 0.5, "calm": 0.5})
    flat = extract("A log.\n" + json.dumps(dict.fromkeys(KEYS, 0.5)), parsed(in_details(keyed())))
    assert (flat.scores, flat.salience) == ({"storm": 0.5, "calm": 0.5}, {"storm": 0.5, "calm": 0.5})


@pytest.mark.parametrize(("form", "where"), [(open_to_the_end, "```yaml"), (open_json, "```json")])
def test_a_fence_left_open_is_read_with_a_warning_at_its_line(
    form: Callable[[dict[str, Any]], str], where: str
) -> None:
    text = form(appendix())
    framework, [warning] = parse_framework(text.encode(), "framework.md")
    assert framework is not None
    assert (warning.severity, warning.line) == ("warning", text.splitlines().index(where) + 1)
    if form is open_json:
        assert prose_of(text).endswith("The end.\n")


@pytest.mark.parametrize(("content", "form"), FORMS)
def test_a_file_cut_off_anywhere_is_read_or_refused_with_a_reason(
    content: Callable[[], dict[str, Any]], form: Callable[[dict[str, Any]], str]
) -> None:
    text = form(content())
    for length in random.Random(form.__name__).sample(range(len(text)), 25):
        framework, problems = parse_framework(text[:length].encode(), "framework.md")
        assert framework is not None or any(problem.severity == "error" and problem.cure for problem in problems)
        assert isinstance(prose_of(text[:length]), str)


def change(content: Callable[[], dict[str, Any]], form: Callable[[dict[str, Any]], str], **changed: Any) -> str:
    return form(content() | changed)


@pytest.mark.parametrize(
    ("text", "what", "at"),
    [
        ("---\nversion: 9\n---\n" + in_details(keyed()), "'version' contradicts line", "version: 9"),
        (change(appendix, fenced, name="other"), "'metadata.framework_name' contradicts 'name'", "framework_name"),
        (
            change(appendix, fenced, calculation_spec={"x": "storm"}),
            "calculation_spec and in derived_metrics",
            "derived",
        ),
        (
            change(appendix, fenced, output_contract={"schema": {"storm_score": "number"}}),
            "different contracts",
            "output_schema",
        ),
        (
            change(keyed, in_details, output_contract={"schema": {"storm_score": "number"}}),
            "does not ask for: calm_score",
            '"target_keys"',
        ),
        (in_details(keyed()) + fenced(appendix()), "stands beside the one of line", "Start of Machine"),
        (fenced(appendix()).replace("- name: calm", "- name: storm"), "'storm' stands in dimensions", "- name: storm"),
        (fenced(appendix()).replace("- name: half", "- name: tension"), "'tension' stands in", "- name: tension"),
        (fenced(appendix()).replace("- name: calm", "- nome: calm"), "entry 2 of dimensions has no name", "- nome"),
        (fenced(appendix()).replace("tension / 2", "tensoin / 2"), "'tensoin', which is no dimension", "- name: half"),
        (fenced(appendix()).replace("tension / 2", "'TBD'"), "'TBD', which is no dimension", "- name: half"),
        (fenced(appendix()).replace("tension / 2", "'[computed later]'"), "is in words", "- name: half"),
        (fenced(appendix()).replace("metadata:", "metadata:\n  author: x"), "for the second time", "  author: A. B."),
        (fenced(appendix()).replace("How wild it is.", "wild: it: is"), "the YAML cannot be read", "wild: it"),
        (
            fenced(appendix()).replace("calm:\n", "clam:\n"),
            "the contract asks for no score of dimension 'calm'",
            "name: calm",
        ),
        (
            change(keyed, in_details, calculation_spec={"execution_order": ["x"], "formulas": {}}),
            "no formula for 'x'",
            "order",
        ),
        (
            in_details(keyed()).replace('"calm_score"', '"storm_score"', 1),
            "'storm_score' is listed twice",
            "target_keys",
        ),
    ],
)
def test_what_contradicts_itself_or_means_nothing_is_refused_with_its_line(text: str, what: str, at: str) -> None:
    named = [problem for problem in problems_of(text) if what in problem.what]
    assert named, problems_of(text)
    assert named[0].line in {number for number, line in enumerate(text.splitlines(), 1) if at in line}
    assert named[0].cure


def test_formulas_may_stand_in_groups_and_be_explained() -> None:
    explained = "Each tension is the lesser of two scores, times how far their salience differs."
    written = {"tension_mathematics": explained, "tensions": {"tension": FORMULAS["tension"]}, "half": "tension / 2"}
    text = change(keyed, in_details, calculation_spec=written)
    framework, [warning] = parse_framework(text.encode(), "framework.md")
    assert framework is not None
    assert {metric.name: metric.formula for metric in framework.derived_metrics} == FORMULAS
    assert "'tension_mathematics' is prose" in warning.what


def test_an_explanation_that_a_formula_refers_to_is_no_explanation() -> None:
    written = {"base_note": "The mean of all scores.", "half": "base_note / 2"}
    assert "it is in words" in problems_of(change(keyed, in_details, calculation_spec=written))[0].what


def test_a_contract_that_only_says_object_is_spelt_out_by_the_groups_of_dimensions() -> None:
    schema = {"mood": "string", "scores": "object", "confidence": "object", "evidence": "object", "reasoning": "object"}
    data = head() | {"output_contract": {"schema": schema}, "dimension_groups": {"a": ["storm"], "b": ["calm"]}}
    framework, [warning] = parse_framework(in_details(data).encode(), "framework.md")
    assert framework is not None
    assert "scores, confidence, evidence: one entry for each" in warning.what
    found = extract(json.dumps({"scores": {"storm": 0.5, "calm": 0.25}, "confidence": {"storm": 1}}), framework)
    assert (found.scores, found.confidence) == ({"storm": 0.5, "calm": 0.25}, {"storm": 1.0})
    del data["dimension_groups"]
    assert "asks for no score of any dimension" in problems_of(in_details(data))[0].what


def test_a_scale_in_the_text_that_is_not_the_blocks_is_warned_of_once() -> None:
    data = appendix()
    data["analysis_variants"]["default"]["analysis_prompt"] = "Score each dimension from 0 to 10."
    framework, [warning] = parse_framework(fenced(data).encode(), "framework.md")
    assert framework is not None
    assert warning.what == "the text states 0 to 10, the block 0 to 2: storm, calm"


def test_patterns_that_are_not_computed_are_said() -> None:
    spec = keyed()["calculation_spec"] | {"pattern_classifications": {"wild": "tension > 1"}}
    framework, [warning] = parse_framework(change(keyed, in_details, calculation_spec=spec).encode(), "framework.md")
    assert framework is not None
    assert "not computed" in warning.what


def test_what_is_nested_without_end_is_refused() -> None:
    data = appendix()
    data["dimensions"][0]["markers"] = "DEEP"
    for depth in (450, 900, 5000):
        text = in_details(data).replace('"DEEP"', '{"a":' * depth + "1" + "}" * depth)
        assert "nested too deeply" in problems_of(text)[0].what


def test_markdown_with_front_matter_alone_is_no_framework(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("---\nname: notes\nversion: 1\n---\n# Notes\n")
    assert not holds_framework(tmp_path / "README.md")
    assert "prose alone" in problems_of("---\nname: notes\nversion: 1\n---\n# Notes\n")[0].what


def test_a_prompt_that_shows_a_fenced_example_does_not_end_the_part() -> None:
    data = appendix()
    del data["analysis_variants"]
    prompt = "      For example:\n      ```json\n      {}\n      ```\n      That is all.\n"
    written = f"analysis_variants:\n  default:\n    analysis_prompt: |\n{prompt}{as_yaml(data)}"
    framework = parsed(f"{PROSE}\n```yaml\n{written}```\n")
    assert framework.variants[0].analysis_prompt == "For example:\n```json\n{}\n```\nThat is all.\n"


def test_published_metrics_are_reproduced_from_a_framework_that_holds_their_formulas(shared: Path) -> None:
    case = shared / "published_stats" / "08_pdaf_v10_bolsonaro_20250902"
    formulas = json.loads((case / "formulas.json").read_text())
    with (case / "raw_scores.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    with (case / "expected_derived_metrics.csv").open(newline="") as file:
        expected = {row.pop("document"): row for row in csv.DictReader(file)}
    names = list(dict.fromkeys(row["dimension"] for row in rows))
    data = appendix()
    data["dimensions"] = [{"name": name, "markers": ["x"]} for name in names]
    scores = data["output_schema"]["properties"]["dimensional_scores"]
    scores["properties"] = {name: {"$ref": "#/definitions/score_object"} for name in names}
    data["derived_metrics"] = [{"name": name, "formula": formula} for name, formula in formulas.items()]
    framework = parsed(fenced(data))
    assert len(framework.derived_metrics) == 8
    for document, metrics in expected.items():
        values = {
            (row["dimension"], role): float(row[column])
            for row in rows
            if row["document"] == document
            for role, column in (("score", "raw_score"), ("salience", "salience"))
        }
        found = compute(framework.derived_metrics, named_values(framework.derived_metrics, values, names))
        for name, value in metrics.items():
            assert found[name].value == pytest.approx(float(value), abs=1e-12, rel=0), (document, name)
    assert len(expected) == 13


@pytest.mark.parametrize("name", ["04_cff", "11b_pdaf", "13_cff", "17_sentiment", "caf_v7.3"])
def test_every_published_framework_that_loads_is_answered_offline(shared: Path, name: str) -> None:
    [path] = (shared / "frameworks").rglob(f"{name}*.md")
    framework = parsed(path.read_text(encoding="utf-8"))
    lexicon = {
        "dimensions": {each.name: each.model_dump(include={"markers", "low", "high"}) for each in framework.dimensions},
        "fields": [field.model_dump() for field in framework.contract.fields],
        "run": 1,
    }
    text = "Every person has inherent dignity. The data shows great success; the emergency is a terrible failure."
    found = extract(offline.answer(text, lexicon), framework)
    assert (found.status, found.route) == ("complete", "contract_json")
    if any(each.markers for each in framework.dimensions):
        assert found.scores
