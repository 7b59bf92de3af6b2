"""Definitions of experiments and frameworks, as older programs left them, come into the form of today."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from discernus.experiments.definition import read_definition
from tests import old_layouts
from tests.migrations import Old, contents
from tests.old_layouts import DEFINITION, write


@pytest.fixture
def old(tmp_path: Path) -> Old:
    return Old(tmp_path)


def test_frameworks_that_no_experiment_names_come_into_todays_form_where_they_can(old: Old) -> None:
    old_layouts.definitions_only(old.root)
    readable = json.dumps(
        {
            "name": "hail",
            "version": "1",
            "analysis_variants": {"default": {"analysis_prompt": "Score hail."}},
            "dimensions": {"hail": {"scale": [0, 1]}},
            "output_contract": {"schema": {"hail_score": "number"}},
        }
    )
    files: dict[str, str | bytes] = {
        "frameworks/core/hail.md": f"# Hail\n\n```json\n{readable}\n```\n",
        "frameworks/broken.md": '# Broken\n\n```json\n{"analysis_variants": \n```\n',
        "frameworks/README.md": "Frameworks lie here.\n",
    }
    write(old.root, files)
    account = old.migrate()
    project = old.projects / "weather_today"
    assert (project / "frameworks/core/hail.md").read_text() == files["frameworks/core/hail.md"]
    assert not (project / "frameworks/broken.md").exists()
    found = {one.name: one for one in account.further}
    assert set(found) == {"frameworks/core/hail.md", "frameworks/broken.md"}
    assert "refuses it" in found["frameworks/broken.md"].origin
    assert account.balanced
    before = contents(old.projects)
    assert not old.migrate().changed
    assert contents(old.projects) == before


def test_definitions_alone_become_an_experiment_that_can_run(old: Old) -> None:
    old_layouts.definitions_only(old.root)
    account = old.migrate()
    definition = read_definition(old.projects / "weather_today/experiments/old_weather")
    experiment = definition.experiment
    assert (experiment.format, experiment.models, experiment.runs_per_model) == (1, ("openai/gpt-4o",), 2)
    assert [hypothesis.text for hypothesis in experiment.hypotheses] == ["The north is stormier."]
    dimensions = [(one.name, one.low, one.high) for one in definition.framework.dimensions]
    assert dimensions == [("storm", 0.0, 1.0), ("calm", 0.0, 1.0)]
    assert {one.id: one.metadata["region"] for one in definition.documents} == {
        "north_speech": "x",
        "south_speech": "x",
    }
    assert account.sessions == []


def test_a_formula_is_listed_and_never_translated(old: Old) -> None:
    old_layouts.definitions_only(old.root)
    account = old.migrate()
    definition = read_definition(old.projects / "weather_today/experiments/old_weather")
    assert definition.framework.derived_metrics == ()
    assert any("Weather_Index = 0.5 * (Calm - Storm)" in line for line in account.lost["old_weather"])


def test_a_framework_keeps_the_formulas_that_can_be_read_and_lists_the_others(old: Old) -> None:
    block = {
        "name": "weather_v4",
        "version": "4",
        "display_name": "Weather",
        "analysis_variants": {
            "default": {"description": "", "analysis_prompt": "Storm (0.0-1.0): dark. Calm (0.0-1.0):"}
        },
        "calculation_spec": {
            "balance": "calm_score - storm_score",
            "severity_score": "the standard deviation of it all, weighted",
        },
        "output_contract": {"schema": {"scores": "object", "severity_score": "number"}, "instructions": "JSON."},
    }
    old_layouts.definitions_only(old.root)
    write(old.root, {"framework.md": f"# Weather\n\nProse.\n\n```json\n{json.dumps(block, indent=1)}\n```\n"})
    account = old.migrate()
    framework = read_definition(old.projects / "weather_today/experiments/old_weather").framework
    assert [one.name for one in framework.dimensions] == ["storm", "calm"]  # severity was to be computed, not scored
    assert [one.name for one in framework.derived_metrics] == ["balance"]
    assert any("severity_score" in line and "standard deviation" in line for line in account.lost["old_weather"])


def test_a_test_of_the_plan_that_names_what_nobody_defines_is_listed(old: Old) -> None:
    old_layouts.definitions_only(old.root)
    tests = "".join(f"  - {{hypothesis: H, test: run_noise, variable: {one}}}\n" for one in ("storm", "hail"))
    plan = f"statistical_plan:\n{tests}"
    write(old.root, {"experiment.md": DEFINITION.replace("workflow:", f"{plan}workflow:")})
    account = old.migrate()
    experiment = read_definition(old.projects / "weather_today/experiments/old_weather").experiment
    assert [test["variable"] for test in experiment.statistical_plan] == ["storm"]
    assert any("test 2 of the statistical plan: 'hail'" in line for line in account.lost["old_weather"])
