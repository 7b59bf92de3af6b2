"""What a disk and a database can do to a session: full, gone, torn, cut off; the same command goes on.

After each of them the wire is held against the archive.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path

import pytest

from discernus.sessions.call_log import read_call_log
from tests.plays import (
    ANALYSES,
    CONCURRENCY,
    EVERY_CALL_ONCE,
    GO_ON,
    RESPONSES,
    Play,
    Scene,
    acting,
    results,
)
from tests.running import (
    HIDDEN,
    PATIENCE_S,
    count,
    now,
    server_pid,
    wait_until,
)


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
        log = read_call_log((session / "llm_archive/metadata.jsonl").read_bytes())
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


SCENES: dict[str, Scene] = {
    "database": lose_the_database,
    "database half-way": lose_the_database_half_way,
    "disk": fill_the_disk,
    "torn": tear_files,
    "cut off": cut_off_commits,
}

Scenes = dict[str, Future[None]]


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scenes]:
    with acting(tmp_path_factory.mktemp("losses"), SCENES) as playing:
        yield playing


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
