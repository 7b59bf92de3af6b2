"""The published experiment on a model that answers in recorded shapes: every score arrives as it was written."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from discernus.experiments.definition import read_definition
from tests.studies import Study

MODEL = "openai/scribe"
RUNS = 2
QUOTE = "we shall not go back"
Scores = Mapping[str, float]


def contract(scores: Scores) -> str:
    told = {f"{name}_{role}": value for name, score in scores.items() for role, value in _of(score).items()}
    return json.dumps(told, indent=2)


def fenced_amid_prose(scores: Scores) -> str:
    return f"I read the text twice.\n\n```json\n{contract(scores)}\n```\n\nI am confident in this."


def two_groups(scores: Scores) -> str:
    return json.dumps({"analysis": {"scores": dict(scores), "confidence": dict.fromkeys(scores, 0.8)}})


def a_level_for_each(scores: Scores) -> str:
    inner = {name: {"raw_score": score, "confidence": 0.8, "evidence": [QUOTE]} for name, score in scores.items()}
    return f"```json\n{json.dumps({'document_analyses': [{'dimensional_scores': inner}]}, indent=1)}\n```"


def wrong_bracket_between_delimiters(scores: Scores) -> str:
    broken = contract(scores).replace(f'"{QUOTE}"\n  ]', f'"{QUOTE}"\n  }}', 1)
    assert broken != contract(scores)
    return f"<<<ANALYSIS_v6>>>\n{broken}\n<<<END_ANALYSIS_v6>>>"


def a_list_of_dimensions(scores: Scores) -> str:
    listed = [{"Dimension": name.replace("_", " ").title(), "Score": str(score)} for name, score in scores.items()]
    return json.dumps({"wells": listed, "model": "who knows", "angle": 45})


def json_and_table(scores: Scores) -> str:
    table = io.StringIO()
    csv.writer(table, lineterminator="\n").writerows([["aid", *scores], ["b5939", *scores.values()]])
    return f"```json\n{json.dumps({'scores': dict(scores)})}\n```\n\n```csv\n{table.getvalue()}```\n"


def a_table_alone(scores: Scores) -> str:
    rows = "".join(f"{name},{score},0.8\n" for name, score in scores.items())
    return f"<<<SCORES>>>\ndimension,score,confidence\n{rows}<<<END_SCORES>>>\n"


def headings(scores: Scores) -> str:
    parts = (
        f"### {number}. {name.replace('_', ' ').title()}\n\n- **Score:** {score}\n- **Confidence:** 0.8\n"
        for number, (name, score) in enumerate(scores.items(), start=1)
    )
    return "# Analysis\n\n" + "\n".join(parts)


def thoughts_first(scores: Scores) -> str:
    return f"<think>Perhaps {contract(dict.fromkeys(scores, 0.5))}?</think>\n{contract(scores)}"


def _of(score: float) -> dict[str, object]:
    return {"score": score, "confidence": 0.8, "evidence": [QUOTE]}


SHAPES: tuple[Callable[[Scores], str], ...] = (
    contract,
    fenced_amid_prose,
    two_groups,
    a_level_for_each,
    wrong_bracket_between_delimiters,
    a_list_of_dimensions,
    json_and_table,
    a_table_alone,
    headings,
    thoughts_first,
)


@pytest.fixture
def names(shared: Path) -> list[str]:
    definition = read_definition(shared / "experiment_3", models=[MODEL])
    return [dimension.name for dimension in definition.framework.dimensions]


def test_from_its_definition_to_its_report_no_score_is_lost_or_changed(
    shared: Path, tmp_path: Path, names: list[str]
) -> None:
    written = [
        {name: round((7 * answer + 3 * place) % 100 / 100, 2) for place, name in enumerate(names)}
        for answer in range(8 * RUNS)
    ]
    says = [SHAPES[answer % len(SHAPES)](scores) for answer, scores in enumerate(written)]
    with Study(tmp_path, vendor={"says": says}) as study:
        shutil.copytree(shared / "experiment_3", study.projects_dir / "lab/experiments/experiment_3")
        study.run("experiment_3", "--models", MODEL, "--runs", str(RUNS))
        scored = {int(row["analysis"]): {name: float(row[f"{name}_score"]) for name in names} for row in study.rows()}
        for number, found in scored.items():
            answer = (study.session / f"llm_archive/response_{number:03d}.txt").read_text()
            (said,) = [place for place, said in enumerate(says) if said.endswith(answer)]  # thoughts are archived apart
            assert found == written[said], answer
        assert len(scored) == len(says)
        report = (study.session / "deliverables/final_report.md").read_text()
        assert "Run-to-run consistency" in report
        assert (study.session / "deliverables/final_report.html").exists()
