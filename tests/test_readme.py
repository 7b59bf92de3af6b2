"""What the README tells a stranger to type works: its commands are taken from it, so that they cannot rot."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.running import REPOSITORY, end_all, environment

README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
COMMANDS = [line for language, block in BLOCKS if language == "console" for line in block.splitlines()]
STARTERS = [command for command in COMMANDS if "uv run starter.py" in command]
INLINE = re.findall(r"`(uv run (?:starter|worker)\.py [^`]+)`", README)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return a folder that has what a fresh clone has, and nothing of what was run here."""
    folder = tmp_path_factory.mktemp("clone") / "discernus"
    folder.mkdir()
    for part in ("starter.py", "worker.py", "cli", "engine", "workflows", "activities", "discernus"):
        (folder / part).symlink_to(REPOSITORY / part)
    hidden = shutil.ignore_patterns("sessions", ".discernus", "PROJECT_CHRONOLOG_*")
    shutil.copytree(REPOSITORY / "projects", folder / "projects", ignore=hidden)
    yield folder
    end_all(folder / "projects")


def typed(checkout: Path, command: str) -> subprocess.CompletedProcess[str]:
    """Run a ``uv run`` command in the clone with this environment's Python: what uv installs is installed already."""
    arguments = shlex.split(command.partition("uv run ")[2])
    env = environment(Path("projects"))
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=checkout,
        env=env | {"COLUMNS": "80"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        stdin=subprocess.DEVNULL,
    )


def test_it_begins_with_the_run_and_the_tests() -> None:
    assert COMMANDS[:2] == [
        "pip install uv && uv run starter.py experiment_3",
        "pip install uv && uv run pytest",
    ]
    assert len(README.splitlines()) <= 190


def test_its_first_command_ends_with_a_report_and_the_others_know_of_it(checkout: Path) -> None:
    first = typed(checkout, STARTERS[0])
    assert first.returncode == 0, first.stdout + first.stderr
    report = re.findall(r"^report:  (.+)$", first.stdout, re.MULTILINE)[0]
    session = (checkout / report).parents[1]
    assert session.parent == checkout / "projects/MVA/experiments/experiment_3/sessions"
    for name in re.findall(r"^\| `([^`]+)` \|", README, re.MULTILINE):
        assert (session / name).exists(), f"the README promises {name}"
    for command in ("validate experiment_3", "status", "--help"):
        assert f"uv run starter.py {command}" in COMMANDS
        done = typed(checkout, f"uv run starter.py {command}")
        assert done.returncode == 0, done.stderr
    assert session.name in typed(checkout, "uv run starter.py status").stdout


def test_its_own_experiment_is_valid_as_it_stands_there(checkout: Path) -> None:
    folder = checkout / re.findall(r"`(projects/mine/experiments/[^`]+)`", README)[0]
    (folder / "corpus").mkdir(parents=True)
    (folder / "corpus/one.txt").write_text("We hope, and we have reason to.\n")
    shutil.copy(checkout / "projects/MVA/experiments/experiment_3/framework.md", folder)
    (block,) = [block for language, block in BLOCKS if language == "yaml"]
    (folder / "experiment.md").write_text(block)
    assert yaml.safe_load(block.split("---")[1])["runs_per_model"] == 3
    done = typed(checkout, f"uv run starter.py validate {folder.name}")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == f"{folder.name} is valid"


def test_every_command_it_names_exists(checkout: Path) -> None:
    """Those that need a key, a terminal or other machines are read, not run: every option and command is known."""
    commands = ("", "run", "cost", "budget", "resume", "answers", "answers search", "export")
    known = {
        "starter.py": "".join(typed(checkout, f"uv run starter.py {command} --help").stdout for command in commands),
        "worker.py": typed(checkout, "uv run worker.py --help").stdout,
    }
    assert len(INLINE) >= 5
    for command in [*STARTERS, *INLINE]:
        program, *arguments = shlex.split(command.partition("uv run ")[2], comments=True)
        for argument in arguments:
            if argument.startswith("--"):
                assert argument in known[program], command
        if program == "starter.py" and len(arguments) == 2 and not arguments[0].startswith("-"):
            assert f"\n  {arguments[0]} " in known[program] or arguments[1].startswith("--"), command


def test_what_it_links_to_is_there_and_nothing_of_this_machine_is_in_the_picture() -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", README):
        assert (REPOSITORY / target).is_file(), target
    picture = (REPOSITORY / "docs/images/run.svg").read_text(encoding="utf-8")
    plain = re.sub(r"<[^>]+>", "", picture).replace("&#160;", " ")
    assert "uv run starter.py experiment_3" in plain
    assert "complete: MVA/experiment_3/" in plain
    assert not re.search(r"/(?:home|root|tmp|work|Users)/", picture)
    assert os.environ.get("HOME", "/nowhere") + "/" not in picture
