"""``starter.py framework check``: a framework explained in words, or what keeps it from being read."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from starter import app
from tests.test_frameworks_generations import appendix, fenced, head, in_details, keyed


def check(*arguments: str, code: int = 0) -> str:
    ended = CliRunner().invoke(app, ["framework", "check", *arguments], terminal_width=80)
    assert ended.exit_code == code, ended.output
    return ended.output


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "framework.md"
    path.write_text(fenced(appendix()))
    return path


def test_a_framework_is_explained_in_words_of_eighty_columns(file: Path) -> None:
    shown = check(str(file))
    assert max(map(len, shown.splitlines())) <= 80
    for said in (
        "Weather of a Text, version 2.1 (weather)",
        "storm, 0 to 2 (Storm): How wild it is.",
        "markers: thunder, black clouds",
        "score of 2 dimensions: dimensional_scores.storm.raw_score,",
        "It can be used",
    ):
        assert said in shown


def test_each_formula_is_worked_out_on_example_values_after_those_it_needs(file: Path) -> None:
    file.write_text(fenced(appendix() | {"derived_metrics": list(reversed(appendix()["derived_metrics"]))}))
    tension, half = json.loads(check(str(file), "--json"))["formulas"]
    assert (tension["name"], half["name"]) == ("tension", "half")
    given = tension["inputs"]
    lesser = min(given["storm score"], given["calm score"])
    assert 0 < lesser <= 2
    assert tension["value"] == pytest.approx(lesser * abs(given["storm salience"] - given["calm salience"]))
    assert half["inputs"] == {"tension": tension["value"]}
    assert half["value"] == pytest.approx(tension["value"] / 2)
    assert tension["value"] > 0


def test_a_metric_without_a_value_says_why(file: Path) -> None:
    data = keyed() | {"calculation_spec": {"x": "storm_score / (calm_score - calm_score)"}}
    file.write_text(in_details(data))
    assert "gives nothing (division by zero)" in check(str(file))


def test_a_dimension_that_the_offline_model_cannot_find_is_said(file: Path) -> None:
    file.write_text(in_details(keyed()))
    assert "offline/lexicon finds nothing: storm, calm" in " ".join(check(str(file)).split())


def test_what_cannot_be_read_is_named_with_place_and_cure(file: Path) -> None:
    file.write_text(in_details(head()))
    shown = " ".join(check(str(file), code=2).split())
    assert "error: framework.md:8: the framework does not say what an answer has to hold → add" in shown
    assert "It cannot be used: 1 error" in shown
    told = json.loads(check(str(file), "--json", code=2))
    assert (told["valid"], told["problems"][0]["line"]) == (False, 8)


def test_the_framework_of_an_experiment_is_found_by_its_name(file: Path, tmp_path: Path) -> None:
    folder = tmp_path / "projects" / "P" / "experiments" / "speeches"
    folder.mkdir(parents=True)
    file.rename(folder / "framework.md")
    (folder / "experiment.md").write_text("---\nformat: 1\nframework_file: framework.md\n---\n# Speeches\n")
    for name in ("speeches", "P/speeches"):
        assert "(weather)" in check(name, "--projects-dir", str(tmp_path / "projects"))
    (folder / "framework.md").unlink()
    shown = check("speeches", "--projects-dir", str(tmp_path / "projects"), code=2)
    assert "there is no framework 'framework.md'" in " ".join(shown.split())


@pytest.mark.parametrize("command", [["framework"], ["framework", "check"]])
def test_its_help_teaches_by_examples(command: list[str]) -> None:
    shown = CliRunner().invoke(app, [*command, "--help"], terminal_width=80).output
    assert "starter.py framework check framework.md" in shown
    assert max(map(len, shown.splitlines())) <= 80


def test_a_name_longer_than_a_line_is_broken_behind_a_mark_of_its_own(file: Path) -> None:
    name = "_".join(["squall"] * 20)
    written = file.read_text().replace("storm", name)
    file.write_text(written)
    shown = check(str(file))
    assert max(map(len, shown.splitlines())) <= 80
    assert name in "".join(line.strip() for line in shown.splitlines()), "nothing of it is lost"
    assert "squa\n" not in shown
