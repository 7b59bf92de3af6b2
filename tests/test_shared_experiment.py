"""The published experiment, in the older form and in a folder of its own, runs unchanged on the offline model."""

from __future__ import annotations

import csv
import os
import re
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pytest

from tests.running import REPOSITORY, ended, environment

WARNINGS = (
    "experiment.md:1: the experiment is in the older form",
    "there is no framework './framework_snapshot.md'; 'framework.md', the only one in the folder, is used",
    "'workflow' belongs to an older form and has no effect",
    "'cff_cohesion_index' is defined neither by the framework nor by the corpus",
)


@pytest.fixture(scope="module")
def ran(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """Run it once, as a stranger would, from another folder; return what was said and the session's folder."""
    projects = tmp_path_factory.mktemp("published") / "projects"
    before = contents(shared / "experiment_3")
    command = [sys.executable, str(REPOSITORY / "starter.py"), "experiment_3", "--models", "offline/lexicon"]
    with ended(projects):
        done = subprocess.run(
            command, cwd=shared, env=environment(projects), capture_output=True, text=True, check=False, timeout=120
        )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert contents(shared / "experiment_3") == before, "the author's folder is only read"
    (session,) = projects.glob("local/experiments/experiment_3/sessions/session_*")
    return done.stdout, session


def contents(folder: Path) -> dict[str, str]:
    return {
        os.path.relpath(path, folder): sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_it_runs_to_its_end_and_says_what_is_odd_about_it(ran: tuple[str, Path]) -> None:
    said, session = ran
    for warning in WARNINGS:
        assert warning in " ".join(said.split())
    assert f"complete: local/experiment_3/{session.name}\n48 of 48 analyses" in said
    assert len(list((session / "llm_archive").glob("response_*.txt"))) == 48


def test_its_answers_are_scored_and_every_gap_has_its_reason(ran: tuple[str, Path]) -> None:
    with (ran[1] / "deliverables/results.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 48
    assert len({row["document"] for row in rows}) == 8
    scores = [name for name in rows[0] if name.endswith("_score")]
    assert len(scores) == 10
    assert sum(bool(row[name]) for row in rows for name in scores) > 100
    for row in rows:  # the lexicon finds nothing of some dimension in each text, and an index needs all of them
        assert not row["full_cohesion_index"]
        assert "full_cohesion_index" in row["reason"]


def test_hypotheses_that_cannot_be_tested_say_why(ran: tuple[str, Path]) -> None:
    report = (ran[1] / "deliverables/final_report.md").read_text()
    reasons = dict(re.findall(r"^- \*\*(H\d)\*\*.*\n  \*not testable: (.*)\*$", report, re.MULTILINE))
    assert reasons["H1"].startswith("'cff_cohesion_index' is defined neither by the framework nor by the corpus")
    assert reasons["H2"] == "no test in the statistical plan refers to it."
