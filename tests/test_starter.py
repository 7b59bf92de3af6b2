"""Running, validating and looking at sessions by commands, as a researcher and as a program do it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tests.command_line import OFFLINE, Start, answered, command, events, on_one_line, projects, session_name, start
from tests.running import callers, ended, kill_9, server_pid, session_folder, session_folders, wait_until

__all__ = ["projects", "start"]


def test_a_run_says_what_it_does_and_once_complete_has_nothing_left_to_do(projects: Path) -> None:
    first = command(projects, "speeches")
    assert (first.returncode, first.stderr) == (0, "")
    said = first.stdout.splitlines()
    assert said[0] == "bench/speeches: 3 documents × 1 model × 2 runs = 6 analyses"
    assert said[1] == f"session {session_name(session_folder(projects))}, with {OFFLINE}"
    assert said[2].startswith("Web UI: http://127.0.0.1:")
    assert said[-4] == f"complete: {session_name(session_folder(projects))}"
    assert said[-3] == "6 of 6 analyses, 0.0000 USD"
    report = session_folder(projects) / "deliverables/final_report.md"
    assert said[-2] == f"report:  {report}"
    assert report.is_file()
    wait_until(lambda: server_pid(projects) is None, "the server ends with the run")

    before = _files(projects)
    again = command(projects, "speeches")
    assert again.returncode == 0
    assert "complete already" in again.stdout
    assert f"report:  {report}" in again.stdout
    assert "Web UI" not in again.stdout, "nothing is started where nothing is to be done"
    assert _files(projects) == before


def test_the_installed_command_is_the_same(projects: Path) -> None:
    discernus = str(Path(sys.executable).with_name("discernus"))
    unknown = command(projects, "speech", program=discernus)
    assert (unknown.returncode, unknown.stderr) == (2, command(projects, "speech").stderr)
    assert "start one with: discernus speeches" in command(projects, "status", "speeches", program=discernus).stdout
    assert "Usage: discernus" in command(projects, "--help", program=discernus).stdout


def test_every_option_is_also_an_environment_variable_and_json_is_for_programs(projects: Path, tmp_path: Path) -> None:
    with ended(tmp_path / "state"):
        done = command(
            projects,
            "speeches",
            "--json",
            "--concurrency",
            "4",  # an option goes before its variable
            DISCERNUS_MODELS=f"{OFFLINE}, {OFFLINE}-b",
            DISCERNUS_RUNS="3",
            DISCERNUS_CONCURRENCY="2",
            DISCERNUS_STATE_DIR=str(tmp_path / "state"),
        )
    facts = json.loads((session_folder(projects) / "system_state/session.json").read_text())
    assert done.returncode == 0, done.stdout
    assert (facts["models"], facts["analyses"], facts["concurrency"]) == ([OFFLINE, f"{OFFLINE}-b"], 18, 4)
    told = events(done.stdout)
    assert {event["event"] for event in told} == {"message", "progress", "end"}
    assert (told[-1]["event"], told[-1]["exit_code"], told[-1]["done"]) == ("end", 0, 18)
    assert told[-1]["session"] == session_name(session_folder(projects))
    assert (tmp_path / "state/temporal.db").is_file()
    assert not (projects / ".discernus/temporal.db").exists()
    away = command(projects, "speeches", "--new", DISCERNUS_TEMPORAL="127.0.0.1:1")
    assert away.returncode == 4
    assert "no Temporal server answers at 127.0.0.1:1; start it, or leave out" in " ".join(away.stderr.split())
    assert len(session_folders(projects)) == 2, "--new opened another"


def test_status_needs_no_server_and_leaves_no_trace(projects: Path, start: Start) -> None:
    before = _files(projects)
    assert command(projects, "status").stdout == "no session yet; start one with: starter.py EXPERIMENT\n"
    assert _files(projects) == before
    starter = start("speeches", "--concurrency", "1", delay_s=1)
    wait_until(lambda: answered(projects) >= 1, "an answer is archived")
    running = command(projects, "status").stdout
    kill_9(starter.pid, *callers(projects))
    pid = server_pid(projects)
    assert pid is not None
    kill_9(pid)
    left = command(projects, "status", "speeches").stdout
    assert "  running (analysis)  " in running
    assert "  unfinished (analysis)  " in left
    assert "1 in doubt" in left
    assert all(len(line) <= 80 for line in left.splitlines())
    assert server_pid(projects) is None, "no server is started"
    (told,) = events(command(projects, "status", "--json").stdout)
    assert (told["status"], told["planned"], told["in_doubt"]) == ("unfinished", 6, 1)


def test_validate_says_everything_that_is_wrong_at_once(projects: Path, tmp_path: Path) -> None:
    good = command(projects, "validate", "speeches")
    assert (good.returncode, good.stdout.splitlines()[-1]) == (0, "speeches is valid")
    bad = tmp_path / "bad"
    (bad / "corpus").mkdir(parents=True)
    (bad / "experiment.md").write_text("---\nformat: 1\nframework_fil: x.md\nruns_per_model: 0\n---\n")
    told = command(projects, "validate", str(bad))
    assert told.returncode == 2
    for problem in (
        "bad/experiment.md:3: 'framework_fil' is not a key of an experiment → did you mean 'framework_file'?",
        "bad/experiment.md:4: 'runs_per_model' is 0 → ",
        "bad/corpus: the folder holds no text → ",
    ):
        assert problem in " ".join(told.stdout.split())
    machine = json.loads(command(projects, "validate", str(bad), "--json").stdout)
    assert machine["valid"] is False
    assert len(machine["problems"]) >= 4
    run = command(projects, str(bad))
    assert run.returncode == 2
    assert "did you mean 'framework_file'?" in on_one_line(run.stderr)
    assert not session_folders(projects)
    assert server_pid(projects) is None


def _files(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file()}
