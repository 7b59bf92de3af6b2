"""The command line as a researcher meets it: real processes, the offline model, a terminal of eighty columns."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from benchmarks.make_experiment import make_experiment
from cli.display import Panel
from discernus.sessions.progress import Latest, Standing
from tests.fake_vendor import FakeVendor
from tests.running import (
    REPOSITORY,
    SharedServer,
    Starter,
    callers,
    count,
    ended,
    environment,
    kill_9,
    server_pid,
    session_folder,
    session_folders,
    wait_until,
)

STARTER = str(REPOSITORY / "starter.py")
OFFLINE = "offline/lexicon"
LOOPS = 30

Start = Callable[..., Starter]


@pytest.fixture
def projects(tmp_path: Path) -> Iterator[Path]:
    """Return a projects folder with one offline experiment of six analyses, bench/speeches."""
    folder = tmp_path / "projects"
    make_experiment(folder, models=[OFFLINE], documents=3, runs=2, words=60)
    with ended(folder):
        yield folder


@pytest.fixture
def start(projects: Path) -> Iterator[Start]:
    """Return what starts ``starter.py ARGUMENTS`` in the background; ``delay_s`` is how long a call takes."""
    started: list[Starter] = []

    def begin(*arguments: str, delay_s: float = 0.0, **more: str) -> Starter:
        env = environment(projects, DISCERNUS_OFFLINE_DELAY_S=str(delay_s), **more)
        started.append(Starter(projects, *arguments, env=env))
        return started[-1]

    yield begin
    kill_9(*(starter.pid for starter in started if starter.code is None))


def command(projects: Path, *arguments: str, program: str = STARTER, **more: str) -> subprocess.CompletedProcess[str]:
    """Run the command to its end, both streams apart; a traceback on either is a failure."""
    call = [program] if program != STARTER else [sys.executable, STARTER]
    env = environment(projects, COLUMNS="80", **more)
    done = subprocess.run(
        [*call, *arguments],
        cwd=REPOSITORY,
        env=env,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=90,
    )
    assert "Traceback" not in done.stdout + done.stderr, done.stderr
    return done


def answered(projects: Path, name: str = "speeches") -> int:
    return count(projects, f"bench/experiments/{name}/sessions/*/llm_archive/response_*.txt")


def on_one_line(said: str) -> str:
    """Return what was said, however it was broken into lines."""
    return " ".join(said.split())


def events(output: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in output.splitlines()]


def test_a_run_says_what_it_does_and_once_complete_has_nothing_left_to_do(projects: Path) -> None:
    first = command(projects, "speeches")
    assert (first.returncode, first.stderr) == (0, "")
    said = first.stdout.splitlines()
    assert said[0] == "bench/speeches: 3 documents × 1 model × 2 runs = 6 analyses"
    assert said[1] == f"session {_name(session_folder(projects))}, with {OFFLINE}"
    assert said[2].startswith("Web UI: http://127.0.0.1:")
    assert said[-4] == f"complete: {_name(session_folder(projects))}"
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
    assert told[-1]["session"] == _name(session_folder(projects))
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
        assert problem in told.stdout
    machine = json.loads(command(projects, "validate", str(bad), "--json").stdout)
    assert machine["valid"] is False
    assert len(machine["problems"]) >= 4
    run = command(projects, str(bad))
    assert run.returncode == 2
    assert "did you mean 'framework_file'?" in on_one_line(run.stderr)
    assert not session_folders(projects)
    assert server_pid(projects) is None


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


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_ctrl_c_or_a_closed_terminal_lets_calls_in_flight_finish_and_the_same_command_goes_on(
    projects: Path, start: Start, number: signal.Signals
) -> None:
    starter = start("speeches", "--concurrency", "2", delay_s=1.2)
    wait_until(lambda: answered(projects) >= 2, "an answer is archived")
    os.killpg(starter.pid, number)
    assert starter.wait() == 130
    kept = answered(projects)
    assert 2 <= kept < 6
    wait_until(lambda: server_pid(projects) is None, "the server ends with its last client")
    assert not callers(projects)
    assert count(projects, "bench/experiments/*/sessions/*/fault_recovery/intents/*.json") == 0, "nothing is in doubt"
    if number == signal.SIGHUP:
        return
    said = starter.output.splitlines()
    assert "stopping: nothing new is started" in said
    assert said[-2] == f"interrupted: {_name(session_folder(projects))} holds {kept} of 6 analyses"
    assert said[-1].startswith("run the same command again to go on")
    before = {path: path.stat().st_mtime_ns for path in projects.rglob("response_*.txt")}
    rerun = command(projects, "speeches")
    assert rerun.returncode == 0
    assert f"resuming {_name(session_folder(projects))}" in rerun.stdout
    after = {path: path.stat().st_mtime_ns for path in projects.rglob("response_*.txt")}
    assert len(after) == 6
    assert before.items() <= after.items(), "what was answered is not touched"


def test_output_that_nobody_reads_ends_the_command_without_a_word(projects: Path) -> None:
    def read_one_line(*arguments: str) -> tuple[int, str]:
        process = subprocess.Popen(
            [sys.executable, STARTER, *arguments],
            cwd=REPOSITORY,
            env=environment(projects, DISCERNUS_OFFLINE_DELAY_S="1"),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        assert process.stderr is not None
        if arguments[0] == "speeches":
            process.stdout.readline()
        process.stdout.close()
        return process.wait(60), process.stderr.read()

    assert read_one_line("status") == (0, "")
    assert read_one_line("speeches", "--json", "--concurrency", "2") == (130, "")
    assert count(projects, "bench/experiments/*/sessions/*/fault_recovery/intents/*.json") == 0, "nothing is in doubt"
    wait_until(lambda: server_pid(projects) is None and not callers(projects), "nothing is left behind")


def test_a_second_starter_watches_and_takes_over_when_the_first_is_killed(projects: Path, start: Start) -> None:
    first = start("speeches", "--concurrency", "1", delay_s=1.5)
    wait_until(lambda: answered(projects) >= 1, "the first one works")
    second = start("speeches")
    watching = start("watch", "speeches")
    wait_until(lambda: "another process is running this session" in second.output, "the second one watches")
    wait_until(lambda: "analysis: " in watching.output, "the onlooker sees the session")
    kill_9(first.pid)
    assert second.wait() == 0, second.output
    assert "the other process is gone: taking over" in second.output
    assert watching.wait() == 0
    assert f"complete: {_name(session_folder(projects))}, sealed: 6/6 analyses" in watching.output
    assert answered(projects) == 6
    assert count(projects, "bench/experiments/speeches/sessions/*/llm_archive/rival_*") == 0


def test_two_experiments_at_once_share_a_server_and_nothing_else(projects: Path, start: Start) -> None:
    make_experiment(projects, models=[OFFLINE], documents=8, runs=1, words=60, name="letters")
    short = start("speeches", "--concurrency", "6", delay_s=1)
    long = start("letters", "--concurrency", "2", delay_s=1)
    owners = wait_until(lambda: _callers_of(projects, short.pid, long.pid), "each has a process for its calls")
    assert short.wait() == 0, short.output
    assert long.code is None
    assert server_pid(projects) is not None, "an earlier leaver does not stop the server"
    assert long.wait() == 0, long.output
    wait_until(lambda: server_pid(projects) is None, "the last one out stops the server")
    for name, caller in (("speeches", owners[short.pid]), ("letters", owners[long.pid])):
        records = list(projects.glob(f"bench/experiments/{name}/sessions/*/llm_archive/metadata_*.json"))
        assert {json.loads(path.read_text())["owner"].split("-")[-2] for path in records} == {str(caller)}


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


def test_the_server_command_carries_an_unfinished_session_on_and_says_where_the_web_ui_is(
    projects: Path, start: Start
) -> None:
    starter = start("speeches", "--concurrency", "1", delay_s=0.5)
    wait_until(lambda: answered(projects) >= 1, "an answer is archived")
    server = start("server")
    wait_until(lambda: "Ctrl-C ends" in server.output, "the server is found")
    url = command(projects, "ui")
    assert url.returncode == 0
    assert url.stdout.strip() in server.output
    kill_9(starter.pid)
    wait_until(lambda: _is_sealed(projects), "the session goes on to its end")
    assert answered(projects) == 6
    server.interrupt()
    assert server.wait() == 0, server.output
    wait_until(lambda: server_pid(projects) is None, "the server ends")
    assert not callers(projects)


def test_a_terminal_shows_a_live_panel_and_is_left_as_it_was_found(projects: Path) -> None:
    master, slave = pty.openpty()
    env = environment(projects, TERM="xterm-256color", COLUMNS="80", LINES="30", DISCERNUS_OFFLINE_DELAY_S="0.5")
    process = subprocess.Popen(
        [sys.executable, STARTER, "speeches", "--concurrency", "2"],
        cwd=REPOSITORY,
        env=env,
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
    )
    os.close(slave)
    shown = b""
    while True:
        try:
            piece = os.read(master, 65536)
        except OSError:
            break
        if not piece:
            break
        shown += piece
    os.close(master)
    text = shown.decode()
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)
    assert process.wait(60) == 0, text
    assert "getting ready to call models" in text
    assert "nr  document      run urgen patie" in plain
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l"), "the cursor is back"
    assert "complete: " in text[text.rindex("\x1b[?25h") :]


STANDING = Standing(
    stage="analysis",
    status="running",
    reason="",
    planned=120_000,
    done=99_999,
    parked=12,
    in_flight=64,
    in_doubt=3,
    cost_usd=1234.5,
    unpriced=7,
    calls=1000,
    waiting_for="",
    last_failure="",
    dimensions=tuple(f"dimension_{number}" for number in range(14)),
    latest=(
        Latest(1, "a-document-with-a-very-long-name-2026-11-20", "vertex_ai/gemini-2.5-pro-preview", 1, (0.5,) * 14),
        Latest(99_999, "b", "openai/gpt-4o", 12, (None, -0.25, *(1.0,) * 12)),
    ),
)


def drawn(standing: Standing, width: int = 80) -> list[str]:
    """Return the panel's lines as a terminal of that width shows them."""
    console = Console(width=width, file=io.StringIO(), force_terminal=True, color_system=None)
    with console.capture() as captured:
        console.print(Panel(console).render(standing))
    return captured.get().splitlines()


@pytest.mark.parametrize("width", [40, 80, 200])
def test_the_panel_fits_its_terminal_whatever_the_names(width: int) -> None:
    lines = drawn(STANDING, width)
    assert max(map(len, lines)) <= width
    table = lines[next(place for place, line in enumerate(lines) if line.startswith("nr")) :]
    assert len(table) == 3, "a row for each of the latest scores"
    assert table[2].split()[0] == "99999"


def test_the_panel_says_what_is_waited_for_and_why_it_is_paused() -> None:
    limit = "openai/scribe: the rate limit is reached (tried again by 14:03:22)"
    assert f"waiting: {limit}" in drawn(replace(STANDING, waiting_for=limit))
    assert "paused: the quota is used up" in drawn(replace(STANDING, status="paused", reason="the quota is used up"))
    assert "– -0.25  1.00" in "\n".join(drawn(STANDING))


def _name(folder: Path) -> str:
    return f"{folder.parents[3].name}/{folder.parents[1].name}/{folder.name}"


def _files(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file()}


def _is_sealed(projects: Path) -> bool:
    return count(projects, "bench/experiments/speeches/sessions/*/system_state/seal_*.json") > 0


def _callers_of(projects: Path, *starters: int) -> dict[int, int] | None:
    """Return each starter's calling process, once all have one."""
    import psutil

    found = {psutil.Process(pid).ppid(): pid for pid in callers(projects)}
    return found if set(starters) <= set(found) else None
