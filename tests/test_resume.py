"""Everything short of ``kill -9``: signals, a lost database, a full disk, torn files, edits, stalls, resets, refusals.

After each of them the same command goes on, and the wire is held against the archive.
"""

from __future__ import annotations

import asyncio
import csv
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import EventType
from temporalio.api.workflowservice.v1 import ResetWorkflowExecutionRequest
from temporalio.client import WorkflowExecutionStatus

from benchmarks.make_experiment import make_experiment
from discernus.sessions.integrity.verification import verify
from engine.connection import connect
from engine.server import EmbeddedServer
from tests.fake_vendor import FakeVendor
from tests.running import (
    HIDDEN,
    PATIENCE_S,
    Ledger,
    Process,
    Starter,
    callers,
    count,
    ended,
    environment,
    kill_9,
    ledger,
    now,
    server_pid,
    session_folder,
    session_folders,
    wait_until,
)
from tests.running import played as play

CONCURRENCY = 6
ANALYSES = 24
EVERY_CALL_ONCE = {f"{number:03d}": 1 for number in range(1, ANALYSES + 1)}
GO_ON = "run the same command again"
RESPONSES = "llm_archive/response_*.txt"


class Play:
    """One experiment of 24 analyses and the vendor that answers it, in a folder of their own."""

    def __init__(self, folder: Path, projects_dir: Path | None = None, **vendor: Any) -> None:
        self.folder = folder
        self.projects_dir = projects_dir or folder / "projects"
        self.experiment = make_experiment(
            self.projects_dir, documents=ANALYSES // 2, runs=2, words=60, concurrency=CONCURRENCY
        )
        self.vendor = FakeVendor(folder / "vendor", **vendor)
        self.variables: dict[str, str] = {}

    def __enter__(self) -> Play:
        self._ended = ended(self.folder, self.projects_dir)
        self._ended.__enter__()
        self.vendor.start()
        return self

    def __exit__(self, *error: Any) -> None:
        self._ended.__exit__(*error)
        self.vendor.stop()

    def start(self, *arguments: str) -> Starter:
        env = environment(self.projects_dir, self.vendor, **self.variables)
        return Starter(self.projects_dir, *(arguments or ("speeches",)), env=env)

    def run(self, *arguments: str, code: int = 0) -> Starter:
        """Run to the end, which has to be the exit code that is expected."""
        starter = self.start(*arguments)
        assert starter.wait(2 * PATIENCE_S) == code, starter.output
        return starter

    @property
    def session(self) -> Path:
        return session_folder(self.projects_dir)

    @property
    def requests(self) -> int:
        return self.vendor.stats().get("requests", 0)

    def ledger(self) -> Ledger:
        return ledger(self.session, self.vendor)

    def wait_for(self, pattern: str, number: int = 1) -> None:
        wait_until(lambda: count(self.session, pattern) >= number, f"{number} {pattern}")

    def kill_all(self, starter: Process) -> list[int]:
        """Kill starter, caller and server at once; return whom."""
        server = server_pid(self.projects_dir)
        victims = [starter.pid, *callers(self.projects_dir), *([server] if server is not None else [])]
        kill_9(*victims)
        starter.kill()
        return victims


def results(session: Path) -> list[dict[str, str]]:
    with (session / "deliverables/results.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def stop_while_calls_are_out(stop: Callable[[Starter], None], folder: Path) -> None:
    with Play(folder, hold=True) as play:
        starter = play.start()
        play.vendor.wait_for(requests=CONCURRENCY, timeout_s=PATIENCE_S)
        stop(starter)
        wait_until(lambda: "finishing" in starter.output, "it says that it finishes what is in flight")
        time.sleep(1)  # nothing may be sent any more
        assert starter.code is None
        play.vendor.control(hold=False)
        assert starter.wait() == 130, starter.output
        assert GO_ON in starter.output
        assert "Traceback" not in starter.output
        found = play.ledger().check(complete=False)
        assert len(found.answers) == len(found.sent) == CONCURRENCY
        assert not found.intents
        assert server_pid(play.projects_dir) is None or wait_until(
            lambda: server_pid(play.projects_dir) is None, "the server went with the starter"
        )
        play.run()
        assert play.ledger().check().requests == EVERY_CALL_ONCE


def lose_the_database(folder: Path) -> None:
    with Play(folder, latency_s=0.1) as play:
        starter = play.start()
        play.wait_for(RESPONSES, ANALYSES)
        killed = dict.fromkeys(play.kill_all(starter), now())
        asked = play.requests
        assert asked == ANALYSES
        for path in (play.projects_dir / HIDDEN).glob("temporal.db*"):
            path.unlink()
        for path in (play.session / "extracted").glob("extracted_*[02468].json"):
            path.unlink()  # what was read from an answer is read again, from the archive
        play.run()
        assert play.requests == asked
        assert play.ledger().check(killed=killed).requests == EVERY_CALL_ONCE


def lose_the_database_half_way(folder: Path) -> None:
    with Play(folder, latency_s=0.1) as play:
        starter = play.start()
        play.wait_for(RESPONSES, 10)
        starter.send(signal.SIGTERM)
        assert starter.wait() == 130, starter.output
        wait_until(lambda: server_pid(play.projects_dir) is None, "the server is gone")
        for path in (play.projects_dir / HIDDEN).glob("temporal.db*"):
            path.unlink()
        play.run()
        assert play.ledger().check().requests == EVERY_CALL_ONCE


def fill_the_disk(folder: Path) -> None:
    disk = folder / "disk"
    disk.mkdir(parents=True)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", disk], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"a small file system to fill cannot be mounted here: {mounted.stderr.strip()}")
    try:
        with Play(folder, disk / "projects", hold=True) as play:
            play.variables = {"DISCERNUS_MINIMUM_FREE_MB": "4"}
            ballast = disk / "ballast"
            stop_for_want_of_room(play, ballast)
            hold_what_cannot_be_written(play, ballast)
            assert play.ledger().check().requests == EVERY_CALL_ONCE
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


def stop_for_want_of_room(play: Play, ballast: Path) -> None:
    """Little room is left during calls: these are archived, no other is made, and the session pauses saying why."""
    starter = play.start()
    play.vendor.wait_for(requests=CONCURRENCY, timeout_s=PATIENCE_S)
    fill(ballast, leaving=2_000_000)
    play.vendor.control(hold=False)
    for _ in range(2):  # and just so once more while there is no room
        assert starter.wait() == 4, starter.output
        assert "less than 4 MB are free where answers are archived" in " ".join(starter.output.split())
        assert GO_ON in starter.output
        assert "Traceback" not in starter.output
        found = play.ledger().check(complete=False)
        assert len(found.answers) == len(found.sent) == CONCURRENCY
        starter = play.start()
    assert starter.wait() == 4
    play.vendor.control(hold=True)
    ballast.unlink()


def hold_what_cannot_be_written(play: Play, ballast: Path) -> None:
    """Not a byte is left when answers arrive: they are held in memory, and written once there is room."""
    starter = play.start()
    play.vendor.wait_for(requests=2 * CONCURRENCY, timeout_s=PATIENCE_S)
    fill(ballast)
    play.vendor.control(hold=False)
    wait_until(lambda: "held until there is room" in " ".join(starter.output.split()), "it says that the disk is full")
    play.vendor.wait_for(answers=2 * CONCURRENCY)
    time.sleep(2)
    assert play.requests == 2 * CONCURRENCY, "a call was made whose answer could not be archived"
    assert count(play.session, RESPONSES) == CONCURRENCY
    assert starter.code is None, starter.output
    ballast.unlink()
    assert starter.wait(2 * PATIENCE_S) == 0, starter.output
    assert "Traceback" not in starter.output


def fill(path: Path, leaving: int = 0) -> None:
    """Write until the disk is full, to the last byte or but for so many."""
    with path.open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12, 1):
            try:
                while shutil.disk_usage(path).free > leaving:
                    file.write(b"\0" * min(size, max(1, shutil.disk_usage(path).free - leaving)))
            except OSError:
                continue


def tear_files(folder: Path) -> None:
    with Play(folder, latency_s=0.1) as play:
        starter = play.start()
        play.wait_for("extracted/extracted_*.json", 8)
        killed = dict.fromkeys(play.kill_all(starter), now())
        session = play.session
        for name in (
            "llm_archive/metadata.jsonl",
            "extracted/extraction_log.jsonl",
            "logs/operational.jsonl",
            "deliverables/results.csv",
        ):
            path = session / name
            path.parent.mkdir(exist_ok=True)
            whole = path.read_bytes() if path.exists() else b'{"call": "001", "timestamp": "2026'
            path.write_bytes(whole[: -len(whole) // 5] if path.exists() else whole)
        for name in ("llm_archive", "extracted", "fault_recovery/intents", "system_state", "analysis_results", "."):
            (session / name).mkdir(exist_ok=True)
            (session / name / ".tmp-0123456789abcdef").write_bytes(b'{"format": 1, "torn')
        play.run()
        found = play.ledger().check(killed=killed)
        rows = results(session)
        assert [int(row["analysis"]) for row in rows] == list(range(1, ANALYSES + 1))
        for row in rows:
            extracted = json.loads((session / f"extracted/extracted_{int(row['analysis']):03d}.json").read_text())
            assert {name: float(row[f"{name}_score"]) for name in extracted["extraction"]["scores"]} == (
                extracted["extraction"]["scores"]
            )
        log = [json.loads(line) for line in (session / "llm_archive/metadata.jsonl").read_text().splitlines()]
        # the kill may fall between a call's metadata and its answer: then that attempt has its line, too
        assert sorted({line["call"] for line in log}) == sorted(found.answers)
        assert len({(line["call"], line["attempt"]) for line in log}) == len(log)
        read = [json.loads(line) for line in (session / "extracted/extraction_log.jsonl").read_text().splitlines()]
        assert [line["number"] for line in read] == list(range(1, ANALYSES + 1))


def cut_off_commits(folder: Path) -> None:
    """A kill can fall between any two steps of archiving one answer; each state that leaves is made here by hand."""
    with Play(folder, latency_s=0.1) as play:
        play.run()
        session = play.session
        archive, intents = session / "llm_archive", session / "fault_recovery/intents"
        answers = {number: (archive / f"response_{number}.txt").read_bytes() for number in ("001", "002", "003")}
        (archive / "response_001.txt").unlink()  # cut off before the link of the response
        (archive / "response_002.txt").unlink()  # cut off before the metadata, too
        (archive / "metadata_002.json").unlink()
        for number in ("001", "002", "003"):  # 003: cut off after the link, before its intent was removed
            intent = {
                "call": number,
                "attempt": 1,
                "owner": f"{os.uname().nodename}-1-dead",
                "content_key": json.loads((archive / "metadata_003.json").read_text())["content_key"],
                "model": "openai/scribe",
                "sent_at": "2026-01-01T00:00:00Z",
                "deadline": "2099-01-01T00:00:00Z",
            }
            intents.mkdir(parents=True, exist_ok=True)
            (intents / f"{number}_try1.json").write_text(json.dumps(intent))
            (session / f"extracted/extracted_{number}.json").unlink()
        for path in (session / "system_state").glob("*_*.json"):
            path.unlink()
        (session / "system_state/status.json").unlink()
        play.run()
        found = play.ledger()
        assert found.requests == {**EVERY_CALL_ONCE, "001": 2, "002": 2}
        assert found.in_doubt == {"001": 1, "002": 1}
        assert not found.problems
        assert not found.rivals
        assert {number: (archive / f"response_{number}.txt").read_bytes() for number in answers} == answers
        assert len(results(session)) == ANALYSES


def edit_the_framework(folder: Path) -> None:
    with Play(folder, latency_s=0.1) as play:
        starter = play.start()
        play.wait_for(RESPONSES, 5)
        killed = dict.fromkeys(play.kill_all(starter), now())
        framework = play.experiment / "framework.md"
        old, new = "You read speeches given in small assemblies", "You study speeches given in large assemblies"
        assert old in framework.read_text()
        framework.write_text(framework.read_text().replace(old, new))
        resumed = play.run()
        assert "has changed since" in resumed.output
        assert "framework" in resumed.output
        assert "--new" in resumed.output
        session = play.session
        play.ledger().check(killed=killed)
        assert old in prompts(session)
        assert new not in prompts(session)
        play.run("speeches", "--new")
        (second,) = [other for other in session_folders(play.projects_dir) if other != session]
        assert new in prompts(second)
        assert old not in prompts(second)
        assert ledger(second, play.vendor).check().requests == EVERY_CALL_ONCE
        old_prompts = {one.entry.content_sha256 for one in ledger(session, play.vendor).sent}
        new_prompts = {one.entry.content_sha256 for one in ledger(second, play.vendor).sent}
        assert len(old_prompts) == len(new_prompts) == ANALYSES // 2  # on the wire: one prompt a document, never mixed
        assert not old_prompts & new_prompts


def prompts(session: Path) -> str:
    """Return every message that was archived as sent, each held against its hash."""
    texts = []
    for path in (session / "llm_archive/messages").iterdir():
        assert sha256(path.read_bytes()).hexdigest() == path.stem
        texts.append(path.read_text())
    return "\n".join(texts)


def stall_the_caller(folder: Path) -> None:
    with Play(folder, latency_s=1.0) as play:
        starter = play.start()
        play.vendor.wait_for(requests=CONCURRENCY, timeout_s=PATIENCE_S)
        (caller,) = callers(play.projects_dir)
        os.kill(caller, signal.SIGSTOP)
        time.sleep(20)
        os.kill(caller, signal.SIGCONT)
        assert starter.wait() == 0, starter.output
        found = play.ledger().check()
        assert found.requests == EVERY_CALL_ONCE
        assert not found.intents
        server = play.start("server")
        wait_until(lambda: "Temporal at" in server.output, "the server is up")
        assert asyncio.run(attempts(play)) == [1] * ANALYSES  # nor did Temporal take it for dead


async def attempts(play: Play) -> list[int]:
    """Return how often each activity of the session's batch was started."""
    client = await connect(address(play), "default")
    history = client.get_workflow_handle(f"{workflow_id(play)}/batch-001").fetch_history_events()
    started = [event.activity_task_started_event_attributes async for event in history]
    return [one.attempt for one in started if one.attempt]


def reset_a_running_session(folder: Path) -> None:
    with Play(folder, hold=True) as play:
        starter = play.start()
        play.vendor.wait_for(requests=CONCURRENCY, timeout_s=PATIENCE_S)
        reset(play, 0)
        time.sleep(2)
        play.vendor.control(hold=False, latency_s=0.3)
        play.wait_for(RESPONSES, CONCURRENCY + 2)
        reset(play, -1)
        if starter.wait() == 4:  # it may follow the reset run, or say that it was ended
            assert GO_ON in starter.output
            starter = play.run()
        assert starter.code == 0, starter.output
        found = play.ledger().check()
        assert found.requests == EVERY_CALL_ONCE


def reset_a_partial_session(folder: Path) -> None:
    with Play(folder, at={"3": "status_403", "9": "status_403"}) as play:
        play.run(code=3)
        asked = play.requests
        missing = play.ledger().check(complete=False)
        reset_and_serve(play, "partial")
        assert play.requests == asked
        assert play.ledger().check(complete=False).answers == missing.answers


def reset_a_sealed_session(folder: Path) -> None:
    with Play(folder) as play:
        play.run()
        reset_and_serve(play, "complete")
        assert play.ledger().check().requests == EVERY_CALL_ONCE
        play.run()
        assert play.requests == ANALYSES


def reset_and_serve(play: Play, status: str) -> None:
    """Reset a closed session while ``starter.py server`` is up, to its first and to a late workflow task."""
    server = play.start("server")
    wait_until(lambda: "Temporal at" in server.output, "the server is up")
    before = results(play.session)
    for which in (0, -1):
        reset(play, which)
        assert wait_until(partial(ended_as, play), "the reset run closes") == WorkflowExecutionStatus.COMPLETED
    assert results(play.session) == before
    assert json.loads((play.session / "system_state/status.json").read_text())["status"] == status
    assert verify(play.session).findings == ()
    server.send(signal.SIGTERM)
    assert server.wait() == 0, server.output


def reset(play: Play, which: int) -> None:
    """Do what the Web UI's button does, to the first (0) or the latest (-1) workflow task that was completed."""

    async def ask() -> None:
        client = await connect(address(play), "default")
        handle = client.get_workflow_handle(workflow_id(play))
        described = await handle.describe()
        points = [
            event.event_id
            async for event in handle.fetch_history_events()
            if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED
        ]
        await client.workflow_service.reset_workflow_execution(
            ResetWorkflowExecutionRequest(
                namespace="default",
                workflow_execution=WorkflowExecution(workflow_id=handle.id, run_id=described.run_id),
                reason="a test",
                workflow_task_finish_event_id=points[which],
                request_id=f"{time.time_ns()}",
            )
        )

    asyncio.run(ask())


def ended_as(play: Play) -> WorkflowExecutionStatus | None:
    """Return how the session's latest run closed, None while it is open."""

    async def ask() -> WorkflowExecutionStatus | None:
        client = await connect(address(play), "default")
        status = (await client.get_workflow_handle(workflow_id(play)).describe()).status
        return None if status == WorkflowExecutionStatus.RUNNING else status

    return asyncio.run(ask())


def address(play: Play) -> str:
    facts = EmbeddedServer(play.projects_dir / HIDDEN).facts()
    assert facts is not None
    return facts.address


def workflow_id(play: Play) -> str:
    facts = json.loads((play.session / "system_state/session.json").read_text())
    return "/".join((facts["project"], facts["experiment"], facts["session"]))


def refuse_a_few(folder: Path) -> None:
    with Play(folder, at={"4": "status_403", "11": "context_length"}) as play:
        first = play.run(code=3)
        assert "22 of 24" in first.output
        found = play.ledger().check(complete=False)
        missing = {one.call for one in found.sent} - set(found.answers)
        assert len(missing) == 2
        asked = play.requests
        play.run()
        assert {one.call for one in play.ledger().sent[asked:]} == missing
        assert play.ledger().check().requests == {**EVERY_CALL_ONCE, **dict.fromkeys(missing, 2)}
        play.run()
        assert play.requests == asked + 2


def take_the_key_away(folder: Path) -> None:
    with Play(folder) as play:
        env = environment(play.projects_dir, play.vendor)
        del env["OPENAI_API_KEY"]
        starter = Starter(play.projects_dir, "speeches", env=env)
        assert starter.wait() == 2, starter.output
        assert "OPENAI_API_KEY" in starter.output
        assert not list(play.experiment.glob("sessions/*"))
        assert play.requests == 0
        assert not server_pid(play.projects_dir)


def refuse_all(fault: str, words: str, folder: Path) -> None:
    with Play(folder, latency_s=0.1) as play:
        starter = play.start()
        play.wait_for(RESPONSES, 6)
        play.vendor.control(rates={fault: 1.0})
        assert starter.wait() == 5, starter.output
        assert words in starter.output
        assert GO_ON in starter.output
        found = play.ledger().check(complete=False)
        assert 6 <= len(found.answers) < ANALYSES
        assert 1 <= sum(found.errors.values()) <= CONCURRENCY  # nothing that was queued ran on
        again = play.run(code=5)  # the reason is still there: it says so once more, at the price of few refusals
        assert words in again.output
        assert sum(play.ledger().errors.values()) <= 2 * CONCURRENCY
        play.vendor.control(reset=True)
        play.run()
        assert set(play.ledger().check().answers) == set(EVERY_CALL_ONCE)


SCENES: dict[str, Callable[[Path], None]] = {
    "stall": stall_the_caller,
    "SIGTERM": partial(stop_while_calls_are_out, lambda starter: starter.send(signal.SIGTERM)),
    "Ctrl-C": partial(stop_while_calls_are_out, Process.interrupt),
    "database": lose_the_database,
    "database half-way": lose_the_database_half_way,
    "disk": fill_the_disk,
    "torn": tear_files,
    "cut off": cut_off_commits,
    "edited": edit_the_framework,
    "reset running": reset_a_running_session,
    "reset partial": reset_a_partial_session,
    "reset sealed": reset_a_sealed_session,
    "partial": refuse_a_few,
    "no key": take_the_key_away,
    "401": partial(refuse_all, "status_401", "authentication"),
    "quota": partial(refuse_all, "quota", "quota"),
}

Scenes = dict[str, Future[None]]


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Scenes]:
    root = tmp_path_factory.mktemp("resume")
    folders = {name: root / name.replace(" ", "-") for name in SCENES}
    for folder in folders.values():
        folder.mkdir()
    with play(3, {name: partial(scene, folders[name]) for name, scene in SCENES.items()}) as played:
        yield played


def test_sigterm_finishes_and_keeps_the_calls_that_are_out(scenes: Scenes) -> None:
    scenes["SIGTERM"].result()


def test_ctrl_c_finishes_and_keeps_the_calls_that_are_out(scenes: Scenes) -> None:
    scenes["Ctrl-C"].result()


def test_without_temporals_database_nothing_is_asked_again(scenes: Scenes) -> None:
    scenes["database"].result()


def test_without_temporals_database_just_what_is_missing_is_asked(scenes: Scenes) -> None:
    scenes["database half-way"].result()


def test_a_full_disk_is_named_and_loses_nothing(scenes: Scenes) -> None:
    scenes["disk"].result()


def test_torn_files_are_read_over_and_the_tables_come_out_right(scenes: Scenes) -> None:
    scenes["torn"].result()


def test_an_answer_whose_archiving_was_cut_off_is_in_doubt_and_asked_once_more(scenes: Scenes) -> None:
    scenes["cut off"].result()


def test_an_edited_framework_is_told_of_and_waits_for_a_new_session(scenes: Scenes) -> None:
    scenes["edited"].result()


def test_a_caller_that_stalls_for_twenty_seconds_is_not_taken_for_dead(scenes: Scenes) -> None:
    scenes["stall"].result()


def test_a_reset_of_a_running_session_costs_no_call(scenes: Scenes) -> None:
    scenes["reset running"].result()


def test_a_reset_of_a_partial_session_costs_no_call(scenes: Scenes) -> None:
    scenes["reset partial"].result()


def test_a_reset_of_a_sealed_session_costs_no_call(scenes: Scenes) -> None:
    scenes["reset sealed"].result()


def test_a_partial_session_run_again_asks_for_what_is_missing_and_nothing_else(scenes: Scenes) -> None:
    scenes["partial"].result()


def test_a_missing_key_is_told_before_a_session_is_opened(scenes: Scenes) -> None:
    scenes["no key"].result()


@pytest.mark.parametrize("refusal", ["401", "quota"])
def test_a_refusal_that_only_a_person_can_mend_pauses_the_session(refusal: str, scenes: Scenes) -> None:
    scenes[refusal].result()


async def test_servers_that_start_at_once_never_answer_for_each_other(tmp_path: Path) -> None:
    servers = [EmbeddedServer(tmp_path / f"state-{number}") for number in range(5)]
    with ended(tmp_path):
        first = await servers[0].join()
        await servers[0].leave()  # its ports are free now, and the others all believe that they were theirs
        for server in servers[1:]:
            server.state_dir.mkdir()
            (server.state_dir / "server.last.json").write_text(first.model_dump_json())
        facts = await asyncio.gather(*(server.join() for server in servers[1:]))
        assert len({one.port for one in facts}) == len(facts)
        await asyncio.sleep(1)  # one whose port was taken would be gone by now
        assert all(server.facts() for server in servers[1:])
        for server in servers[1:]:
            await server.leave()
