"""What a command says and what its exit code is where something is wrong, and where it is asked for help."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from benchmarks.make_experiment import make_experiment
from tests.command_line import command, events, on_one_line, projects
from tests.fake_vendor import FakeVendor
from tests.running import REPOSITORY, SharedServer, ended, environment

__all__ = ["projects"]

LOOPS = 12


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        ([], 2, "starter.py status "),
        (["speech"], 2, "there is no experiment 'speech': did you mean 'bench/speeches'? There are: bench/speeches"),
        (["speeches", "--rnus", "3"], 2, "No such option: --rnus"),
        (["speeches", "--runs", "0"], 2, "--runs"),
        (["--json", "nothing-like-it"], 2, "there is no experiment 'nothing-like-it'; there are: bench/speeches"),
        (
            ["speeches", "--models", "nonsense,openai/gpt-4o"],
            2,
            "error: model 'nonsense' belongs to no vendor that LiteLLM knows; write vendor/model, as openai/gpt-4o\n"
            "error: model 'openai/gpt-4o' needs OPENAI_API_KEY; set it, or run with --models offline/lexicon\n",
        ),
        (["watch", "speeches"], 2, "'speeches' has no session yet; start one with: starter.py speeches"),
        (["speeches", "--on-changes", "bogus"], 2, "--on-changes 'bogus' is unknown; it is one of"),
        (["resume", "speeches", "--from", "bogus"], 2, "--from 'bogus' is unknown; it is one of"),
        (["results", "speeches", "--format", "bogus"], 2, "--format 'bogus' is unknown; it is one of"),
        (["cost", ""], 2, "bench/speeches"),
        (["budget", ""], 2, "bench/speeches"),
        (["errors", ""], 2, "bench/speeches"),
        (["reproduce", ""], 2, "the name is empty"),
        (["migrate", "", "--to", "lab"], 2, "the name is empty"),
        (["ui"], 4, "no embedded server is running; start one with: starter.py server"),
        (["speeches", "--state-dir", "/dev/null/x"], 4, "cannot be used (Not a directory); choose another"),
        (["speeches", "--projects-dir", "/nowhere"], 2, "none at all in '/nowhere'; give the path of its folder, or"),
        (["@", "--projects-dir", "/proc/nowhere"], 4, "/proc/nowhere; mend that, or choose other folders"),
        (["server", "--projects-dir", "/proc/nowhere"], 4, "choose "),
    ],
)
def test_every_error_says_what_to_do_next(projects: Path, arguments: list[str], code: int, says: str) -> None:
    given = [str(projects / "bench/experiments/speeches") if argument == "@" else argument for argument in arguments]
    done = command(projects, *given)
    assert " ".join(says.split()) in on_one_line(done.stderr)
    assert max(map(len, done.stderr.splitlines())) <= 80
    assert done.returncode == code
    if "--json" in arguments:
        assert events(done.stdout)[-1] == {
            "event": "end",
            "status": "error",
            "exit_code": code,
            "error": on_one_line(done.stderr).removeprefix("error: "),
        }


def test_a_damaged_store_and_a_wrong_setting_are_named(projects: Path) -> None:
    wrong = command(projects, "status", DISCERNUS_RUNS="many")
    assert wrong.returncode == 2
    assert "a setting is not valid: DISCERNUS_RUNS: " in wrong.stderr
    (projects / ".discernus").mkdir()
    (projects / ".discernus/store.json").write_text("{")
    damaged = command(projects, "speeches")
    assert damaged.returncode == 4
    assert "store.json cannot be read" in " ".join(damaged.stderr.split())
    assert "put it back from a copy, or remove it" in " ".join(damaged.stderr.split())


def test_what_should_not_happen_is_said_in_a_sentence_and_its_traceback_kept(projects: Path, tmp_path: Path) -> None:
    """A defect of our own, put into a command."""
    broken = "import sys, cli.looking, starter; cli.looking.status = lambda *_, **__: 1 / 0; starter.main()"
    env = environment(projects, COLUMNS="80", TMPDIR=str(tmp_path), PYTHONPATH=str(REPOSITORY))
    call = [sys.executable, "-c", broken, "status"]
    done = subprocess.run(call, cwd=REPOSITORY, env=env, capture_output=True, text=True, check=False, timeout=90)
    assert done.returncode == 4
    assert done.stderr.startswith("error: this should not have happened: ")
    (kept,) = tmp_path.glob("discernus-*.txt")
    assert str(kept) in done.stderr
    assert "Traceback" in kept.read_text()


@pytest.mark.parametrize("subcommand", [[], ["run"], ["validate"], ["status"], ["watch"], ["server"], ["ui"]])
def test_help_fits_eighty_columns(projects: Path, subcommand: list[str]) -> None:
    done = command(projects, *subcommand, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert "..." not in done.stdout.replace("[ARGS]...", ""), "no sentence is cut off"


def test_the_exit_code_is_right_every_time(projects: Path, tmp_path: Path) -> None:
    """Interpreters that have used the Temporal client crash at their end in a good part of all runs."""
    with ended(tmp_path / "shared"), SharedServer(tmp_path / "shared") as shared:

        def run(_: int) -> int:
            done = command(projects, "speeches", "--temporal", shared.address, DISCERNUS_NAMESPACE="elsewhere")
            assert "refused the session" in done.stderr, done.stderr
            return done.returncode

        with ThreadPoolExecutor(2) as pool:
            codes = list(pool.map(run, range(LOOPS)))
    assert codes == [4] * LOOPS


def test_what_a_person_must_mend_pauses_and_the_same_command_goes_on(projects: Path, tmp_path: Path) -> None:
    """Refused keys pause; a refused text makes the session partial; and each is told apart by its exit code."""
    make_experiment(projects, models=["openai/scribe"], documents=3, runs=1, words=60, name="asked", project="vendor")
    with FakeVendor(tmp_path / "vendor", rates={"status_401": 1.0}) as vendor:
        keys = vendor.env()
        paused = command(projects, "asked", **keys)
        assert paused.returncode == 5, paused.stdout
        assert "\nwhy: " in paused.stdout
        assert "model 'openai/scribe' " in paused.stdout
        assert "paused: " in command(projects, "status", "asked").stdout
        assert command(projects, "watch", "asked").returncode == 5
        vendor.control(reset=True, at={str(vendor.stats()["requests"] + 2): "status_400"})
        partial = command(projects, "asked", **keys)
        assert partial.returncode == 3, partial.stdout
        assert "\n2 of 3 analyses; 1 could not be had\n1 analysis parked, " in partial.stdout
        assert command(projects, "watch", "asked").returncode == 3
        rest = command(projects, "asked", **keys)
        assert rest.returncode == 0, rest.stdout
        assert "1 parked analysis tried again" in rest.stdout
        assert len(vendor.answers()) == 3
