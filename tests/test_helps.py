"""What the command line says of itself, and of the store that it is given."""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

import pytest
from typer.testing import CliRunner

from cli import helps
from discernus.llm.errors import ErrorClass
from discernus.sessions.evidence import IN_DOUBT
from discernus.sessions.failures import ARCHIVE_DAMAGED, OUTCOMES
from starter import app

COMMANDS = ("cost", "budget", "errors", "models", "models limit")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_help_fits_eighty_columns_and_names_each_thing_once(command: str) -> None:
    shown = CliRunner().invoke(app, [*command.split(), "--help"], terminal_width=80).output
    assert shown.startswith("Usage: ")
    assert max(map(len, shown.splitlines())) <= 80
    assert "[[" not in shown


@pytest.mark.parametrize("text", [helps.COST, helps.BUDGET, helps.ERRORS])
def test_a_help_begins_with_examples_that_are_commands(text: str) -> None:
    examples = [line for line in text.splitlines() if line.startswith("starter.py ")]
    assert len(examples) >= 3
    known = CliRunner().invoke(app, [examples[0].split()[1], "--help"]).output
    for example in examples:
        for word in example.split():
            assert not word.startswith("--") or word in known, example


def test_the_help_of_errors_tells_of_every_class_and_every_outcome() -> None:
    classes, outcomes = helps.ERRORS.split("Outcomes:")
    assert [one for one in (*get_args(ErrorClass), IN_DOUBT, ARCHIVE_DAMAGED) if one not in classes] == []
    assert [one for one in OUTCOMES if f"\n  {one}  " not in outcomes] == []


@pytest.mark.parametrize(
    "command", ["status", "watch speeches", "cost", "budget", "errors", "models", "models show m", "ui"]
)
def test_a_projects_folder_that_is_not_there_is_named_and_not_made(command: str, tmp_path: Path) -> None:
    nowhere = tmp_path / "projcets"
    ended = CliRunner().invoke(app, [*command.split(), "--projects-dir", str(nowhere)])
    assert f"there is no projects folder '{nowhere}'; correct --projects-dir" in str(ended.exception)
    assert not nowhere.exists()


@pytest.mark.parametrize("command", ["cost", "errors"])
def test_json_is_asked_for_as_of_every_other_command(command: str, tmp_path: Path) -> None:
    form = CliRunner().invoke(app, [command, "--format", "json", "--projects-dir", str(tmp_path)])
    short = CliRunner().invoke(app, [command, "--json", "--projects-dir", str(tmp_path)])
    assert (form.exit_code, form.stdout) == (short.exit_code, short.stdout) == (0, "")
    assert [json.loads(line) for line in short.stdout.splitlines()] == []
