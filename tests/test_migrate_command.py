"""What the command says that migrates an old project, and others say of what came of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.exits import CommandError
from starter import app
from tests import old_layouts
from tests.migrations import Old, command


@pytest.fixture
def old(tmp_path: Path) -> Old:
    return Old(tmp_path)


def test_the_command_says_what_became_of_everything_in_eighty_columns(old: Old) -> None:
    old_layouts.chronolog(old.root)
    code, output = command(old, str(old.root), "--to", "weather_today")
    assert code == 0
    assert "answers   5: 5 archived" in output
    assert "4 of 6 analyses, 3 with scores; 1 failure" in output
    report = f"report: {old.projects}"
    assert [line for line in output.splitlines() if len(line) > 80 and not line.startswith(report)] == []


def test_the_command_given_again_says_that_nothing_changed(old: Old) -> None:
    old_layouts.chronolog(old.root)
    _, first = command(old, str(old.root), "--to", "weather_today")
    _, again = command(old, str(old.root), "--to", "weather_today")
    assert first.startswith("old_weather became project weather_today\n")
    assert again.startswith("nothing changed: old_weather is project weather_today already\n")
    assert again.rstrip().endswith("status weather_today")


def test_definitions_without_a_session_are_to_be_validated_and_not_looked_at_as_sessions(old: Old) -> None:
    old_layouts.definitions_only(old.root)
    _, output = command(old, str(old.root), "--to", "weather_today")
    assert output.rstrip().endswith("validate weather_today/old_weather")


def test_what_could_not_be_taken_over_is_listed_as_it_would_be_written_in_json(old: Old) -> None:
    old_layouts.conversation(old.root)
    _, output = command(old, str(old.root), "--to", "weather_today", "--dry-run")
    assert '[{"agent": "AnalysisAgent"}]' in " ".join(output.split())
    assert "None" not in output


def test_status_and_cost_take_the_projects_name_and_say_that_no_cost_was_recorded(old: Old) -> None:
    old_layouts.chronolog(old.root)
    old.migrate()
    where = ["--projects-dir", str(old.projects)]
    status = CliRunner().invoke(app, ["status", "weather_today", *where])
    assert (status.exit_code, "session_20250715_082543" in status.output) == (0, True)
    cost = CliRunner().invoke(app, ["cost", "weather_today", *where])
    assert "was not recorded" in cost.output
    assert "no call was paid for" not in cost.output


def test_the_command_tells_programs_the_same(old: Old) -> None:
    old_layouts.chronolog(old.root)
    code, output = command(old, str(old.root), "--to", "weather_today", "--dry-run", "--json")
    told = json.loads(output)
    assert code == 0
    assert told["balanced"] is True
    assert {one["what"] for one in told["not_understood"]} >= {"link", "signature", "duplicate event"}


def test_the_command_refuses_what_cannot_be_migrated(old: Old) -> None:
    assert main_fails(old, str(old.root / "nowhere"), "--to", "weather_today")
    assert main_fails(old, str(old.root), "--to", "../outside")


def main_fails(old: Old, *arguments: str) -> bool:
    done = CliRunner().invoke(app, ["migrate", *arguments, "--projects-dir", str(old.projects)])
    return isinstance(done.exception, CommandError)
