"""The chronolog: what is noted is kept, in order, whatever dies; and nobody changes it unseen."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from discernus.sessions import layout
from discernus.sessions.chronologs import segments
from discernus.sessions.chronologs.chronolog import Chronolog, chronolog_of, gather, read_events
from discernus.sessions.chronologs.chronolog_check import check
from discernus.sessions.owners import HOST
from tests.running import REPOSITORY, wait_until


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "session"
    made.mkdir()
    return made


def note(folder: Path, *events: str) -> None:
    """Note events and wait until they are on disk."""
    chronolog = chronolog_of(folder)
    for event in events:
        chronolog.note(event)
    chronolog.flush()


def segment_paths(folder: Path) -> list[Path]:
    return sorted((folder / layout.SEGMENTS).iterdir())


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def told(folder: Path) -> list[str]:
    return [event.event for event in read_events(folder)]


def in_another_process(folder: Path, program: str, *, code: int = 0) -> str:
    """Run a program that has ``chronolog``, the session's; return what it said."""
    whole = f"""
    import os, signal
    from pathlib import Path
    from discernus.sessions.chronologs import segments
    from discernus.sessions.chronologs.chronolog import chronolog_of, gather
    folder = Path({str(folder)!r})
    chronolog = chronolog_of(folder)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(whole) + textwrap.dedent(program)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == code, done.stderr
    return done.stdout


def test_an_event_tells_when_what_who_and_with_which_facts(folder: Path) -> None:
    before = datetime.now(UTC)
    chronolog = chronolog_of(folder, "a researcher")
    chronolog.note("call_answered", call="001", cost_usd=0.25, latency_ms=None, model="Gemälde")
    chronolog.flush()
    (event,) = read_events(folder)
    assert (event.sequence, event.event, event.actor, event.previous) == (1, "call_answered", "a researcher", None)
    assert event.facts == {"call": "001", "cost_usd": 0.25, "latency_ms": None, "model": "Gemälde"}
    assert before <= event.at <= datetime.now(UTC)
    assert "Gemälde" in segment_paths(folder)[0].read_text()


def test_where_nobody_is_named_the_process_is_the_actor(folder: Path) -> None:
    in_another_process(folder, "chronolog.note('session_opened')")
    note(folder, "session_resumed")
    opened, resumed = read_events(folder)
    assert resumed.actor.endswith(f"@{HOST}-{os.getpid()}")
    assert opened.actor != resumed.actor


def test_every_line_names_the_hash_of_the_line_before(folder: Path) -> None:
    note(folder, "session_opened", "call_sent", "call_answered")
    gather(folder)
    for path in (*segment_paths(folder), folder / layout.CHRONOLOG):
        written = path.read_bytes().splitlines()
        hashes = [None, *(sha256(line).hexdigest() for line in written)]
        assert [json.loads(line)["previous"] for line in written] == hashes[:-1]
        assert [json.loads(line)["sequence"] for line in written] == [1, 2, 3]


def test_a_session_that_nothing_was_noted_of_has_no_segment(folder: Path) -> None:
    chronolog_of(folder).flush()
    assert list(folder.iterdir()) == []
    assert (gather(folder).sequence, gather(folder).sha256) == (0, None)
    assert check(folder) == []


def test_a_gathered_line_names_the_segments_line_that_it_was_read_from(folder: Path) -> None:
    note(folder, "session_opened", "sealed")
    (path,) = segment_paths(folder)
    head = gather(folder)
    gathered = lines(folder / layout.CHRONOLOG)
    hashes = [sha256(line).hexdigest() for line in path.read_bytes().splitlines()]
    assert [(one["segment"], one["segment_sequence"], one["segment_sha256"]) for one in gathered] == [
        (path.stem, 1, hashes[0]),
        (path.stem, 2, hashes[1]),
    ]
    last = (folder / layout.CHRONOLOG).read_bytes().splitlines()[-1]
    assert (head.sequence, head.sha256) == (2, sha256(last).hexdigest())


def test_gathering_twice_changes_nothing_and_later_events_are_added(folder: Path) -> None:
    note(folder, "session_opened")
    head = gather(folder)
    first = (folder / layout.CHRONOLOG).read_bytes()
    assert gather(folder) == head
    assert (folder / layout.CHRONOLOG).read_bytes() == first
    note(folder, "sealed")
    assert gather(folder).sequence == 2
    assert (folder / layout.CHRONOLOG).read_bytes().startswith(first)
    assert told(folder) == ["session_opened", "sealed"]


def test_what_is_not_gathered_yet_is_read_from_the_segments(folder: Path) -> None:
    note(folder, "session_opened")
    gather(folder)
    in_another_process(folder, "chronolog.note('call_sent')")
    note(folder, "call_answered")
    assert told(folder) == ["session_opened", "call_sent", "call_answered"]


def test_what_two_processes_note_is_gathered_in_order_of_time(folder: Path) -> None:
    for number in range(3):
        note(folder, f"here_{number}")
        in_another_process(folder, f"chronolog.note('there_{number}')")
    gather(folder)
    wanted = ["here_0", "there_0", "here_1", "there_1", "here_2", "there_2"]
    assert told(folder) == wanted
    assert [one["sequence"] for one in lines(folder / layout.CHRONOLOG)] == [1, 2, 3, 4, 5, 6]
    assert len(segment_paths(folder)) == 4
    assert check(folder) == []


def test_two_processes_that_gather_at_once_gather_each_line_once(folder: Path) -> None:
    program = """
    for number in range(200):
        chronolog.note("call_sent", number=number)
        if number % 10 == 0:
            gather(folder)
    gather(folder)
    """
    rivals = [threading.Thread(target=in_another_process, args=(folder, program)) for _ in range(3)]
    for rival in rivals:
        rival.start()
    for rival in rivals:
        rival.join()
    gathered = lines(folder / layout.CHRONOLOG)
    assert len({(one["segment"], one["segment_sequence"]) for one in gathered}) == len(gathered) == 600
    assert check(folder) == []


def test_an_event_is_written_without_anybody_asking_for_it(folder: Path) -> None:
    program = """
    import time
    chronolog.note("session_opened")
    while not list((folder / "system_state/chronolog").glob("*.jsonl")) or not all(
        path.stat().st_size for path in (folder / "system_state/chronolog").glob("*.jsonl")
    ):
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGKILL)
    """
    in_another_process(folder, program, code=-signal.SIGKILL)
    assert told(folder) == ["session_opened"]


def test_what_was_noted_last_is_written_when_the_interpreter_ends(folder: Path) -> None:
    in_another_process(folder, "for number in range(100): chronolog.note('call_sent', number=number)")
    assert len(told(folder)) == 100


def test_thousands_of_events_of_many_threads_all_arrive_in_one_chain(folder: Path) -> None:
    chronolog = chronolog_of(folder)

    def work(number: int) -> None:
        for which in range(100):
            chronolog.note("call_sent", thread=number, which=which)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert gather(folder).sequence == 6400
    assert check(folder) == []
    order: dict[Any, list[Any]] = {}
    for event in read_events(folder):
        order.setdefault(event.facts["thread"], []).append(event.facts["which"])
    assert all(order[number] == list(range(100)) for number in range(64))


def test_a_forked_child_writes_a_segment_of_its_own_and_none_of_its_parents_lines(folder: Path) -> None:
    program = """
    for number in range(50):
        chronolog.note("parent", number=number)
    child = os.fork()
    if child == 0:
        chronolog.note("child")
        chronolog.flush()
        os._exit(0)
    os.waitpid(child, 0)
    chronolog.note("parent", number=50)
    chronolog.flush()
    """
    in_another_process(folder, program)
    found = [[one["event"] for one in lines(path)] for path in segment_paths(folder)]
    assert sorted(found, key=len) == [["child"], ["parent"] * 51]
    gather(folder)
    assert check(folder) == []


def test_a_child_that_outlives_its_parent_does_not_pass_for_the_parents_segments_writer(folder: Path) -> None:
    program = """
    chronolog.note("parent")
    chronolog.flush()
    path = next((folder / "system_state/chronolog").iterdir())
    child = os.fork()
    if child == 0:
        signal.pause()
    print(child, segments.is_being_written(path), flush=True)
    os._exit(0)
    """
    child, alive = in_another_process_with_a_child(folder, program)
    try:
        assert alive == "True"
        (path,) = segment_paths(folder)
        wait_until(lambda: not segments.is_being_written(path), "the child has given back what it was handed down")
    finally:
        os.kill(child, signal.SIGKILL)


def in_another_process_with_a_child(folder: Path, program: str) -> tuple[int, str]:
    told_into = folder.parent / "told"
    whole = f"""
    import sys
    sys.stdout = open({str(told_into)!r}, "w")
    for descriptor in (1, 2):
        os.dup2(sys.stdout.fileno(), descriptor)
    """
    in_another_process(folder, textwrap.dedent(whole) + textwrap.dedent(program))
    child, alive = told_into.read_text().split()
    return int(child), alive


def torn(folder: Path) -> Path:
    """Have a process die in the middle of a line, after two whole ones; return its segment."""
    program = """
    for event in ("session_opened", "call_sent"):
        chronolog.note(event)
    chronolog.flush()
    path = next((folder / "system_state/chronolog").iterdir())
    with path.open("ab") as file:
        file.write(path.read_bytes().splitlines()[-1][:57])
    os.kill(os.getpid(), signal.SIGKILL)
    """
    in_another_process(folder, program, code=-signal.SIGKILL)
    (path,) = segment_paths(folder)
    assert not path.read_bytes().endswith(b"\n")
    return path


def test_a_line_that_a_crash_has_torn_is_set_aside_and_noted_once(folder: Path) -> None:
    path = torn(folder)
    before = path.read_bytes()
    (flaw,) = check(folder)
    assert (flaw.kind, flaw.place) == ("torn", f"{layout.SEGMENTS}/{path.name}:3")
    assert told(folder) == ["session_opened", "call_sent"]
    gather(folder)
    gather(folder)
    assert told(folder) == ["session_opened", "call_sent", "line_torn"]
    facts = list(read_events(folder))[-1].facts
    kept = before.splitlines()[-1]
    assert (facts["file"], facts["line"], facts["bytes"]) == (f"{layout.SEGMENTS}/{path.name}", 3, len(kept))
    assert (folder / str(facts["kept"])).read_bytes() == kept
    assert facts["sha256"] == sha256(kept).hexdigest()
    assert path.read_bytes() == before
    assert check(folder) == []


def test_a_torn_line_that_was_noted_may_not_be_changed_either(folder: Path) -> None:
    path = torn(folder)
    gather(folder)
    path.write_bytes(path.read_bytes() + b"and more")
    (flaw,) = check(folder)
    assert (flaw.kind, flaw.place) == ("altered", f"{layout.SEGMENTS}/{path.name}:3")


def test_a_torn_line_of_the_chronolog_itself_is_set_aside_and_gathered_anew(folder: Path) -> None:
    note(folder, "session_opened", "call_sent", "call_answered")
    gather(folder)
    path = folder / layout.CHRONOLOG
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    assert [(flaw.kind, flaw.place) for flaw in check(folder)] == [("torn", f"{layout.CHRONOLOG}:3")]
    gather(folder)
    assert path.read_bytes().startswith(whole)
    assert told(folder) == ["session_opened", "call_sent", "call_answered", "line_torn"]
    assert (folder / str(list(read_events(folder))[-1].facts["kept"])).read_bytes() == whole.splitlines()[-1][:-19]
    assert check(folder) == []


def test_a_line_that_its_living_writer_has_not_finished_is_left_alone(folder: Path) -> None:
    note(folder, "session_opened")
    (path,) = segment_paths(folder)
    with path.open("ab") as file:
        file.write(b'{"sequence":2,')
    assert check(folder) == []
    in_another_process(folder, "gather(folder)")
    assert told(folder) == ["session_opened"]


class RefusingDisk:
    """Takes so many bytes, then none, until there is room again."""

    def __init__(self, takes: int) -> None:
        self.takes = takes
        self._write = os.write

    def __call__(self, descriptor: int, data: bytes) -> int:
        if self.takes <= 0:
            raise OSError(28, "No space left on device")
        written = self._write(descriptor, data[: self.takes])
        self.takes -= written
        return written


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[RefusingDisk]:
    disk = RefusingDisk(300)
    monkeypatch.setattr(os, "write", disk)
    monkeypatch.setattr(segments, "RETRY_S", 0.01)
    yield disk
    disk.takes = 1 << 40


def test_a_full_disk_stops_nobody_and_loses_nothing(folder: Path, full_disk: RefusingDisk) -> None:
    chronolog = chronolog_of(folder)
    for number in range(20):
        chronolog.note("call_answered", number=number)
    with pytest.raises(OSError, match="No space left"):
        chronolog.flush()
    (path,) = segment_paths(folder)
    assert path.stat().st_size == 300  # in the middle of a line
    full_disk.takes = 1 << 40
    chronolog.flush()
    assert [event.facts["number"] for event in read_events(folder)] == list(range(20))
    assert check(folder) == []


def test_a_full_disk_leaves_the_chronolog_as_it_was(folder: Path, full_disk: RefusingDisk) -> None:
    full_disk.takes = 10_000
    note(folder, "session_opened")
    gather(folder)
    before = (folder / layout.CHRONOLOG).read_bytes()
    note(folder, "call_sent")
    full_disk.takes = 100
    with pytest.raises(OSError, match="No space left"):
        gather(folder)
    assert (folder / layout.CHRONOLOG).read_bytes() == before
    full_disk.takes = 1 << 40
    assert gather(folder).sequence == 2
    assert check(folder) == []


def test_facts_that_json_has_no_form_for_are_told_in_words(folder: Path) -> None:
    chronolog = chronolog_of(folder)
    chronolog.note("call_answered", cost_usd=float("nan"), model="half a \ud83d", folder=Path("/somewhere"))
    chronolog.flush()
    (event,) = read_events(folder)
    assert event.facts == {"cost_usd": "nan", "model": "half a ?", "folder": "/somewhere"}


def test_a_clock_that_is_set_back_changes_no_order_within_a_segment(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noon = datetime(2026, 11, 20, 12, tzinfo=UTC)

    class Clock(datetime):
        times = iter([noon, noon - timedelta(hours=1), noon + timedelta(minutes=1)])

        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return next(cls.times)

    monkeypatch.setattr(segments, "datetime", Clock)
    note(folder, "first", "second", "third")
    monkeypatch.undo()
    gather(folder)
    assert told(folder) == ["first", "second", "third"]
    assert [event.at.hour for event in read_events(folder)] == [12, 11, 12]
    assert check(folder) == []


def test_a_process_with_very_many_sessions_keeps_few_files_open(tmp_path: Path) -> None:
    folders = [tmp_path / f"session_{number}" for number in range(segments.MOST_OPEN + 20)]
    for folder in folders:
        folder.mkdir()
        note(folder, "session_opened")
    opened = [path.resolve() for path in Path("/proc/self/fd").iterdir() if path.exists()]
    assert len([path for path in opened if tmp_path in path.parents]) <= segments.MOST_OPEN
    note(folders[0], "sealed")
    assert told(folders[0]) == ["session_opened", "sealed"]
    assert len(segment_paths(folders[0])) == 2


def test_nothing_is_written_into_a_session_that_was_removed(folder: Path) -> None:
    chronolog = Chronolog(folder)
    folder.rmdir()
    chronolog.note("status_noted")
    with pytest.raises(OSError, match="is gone"):
        chronolog.flush()
    assert not folder.exists()


def test_a_process_that_is_killed_while_many_threads_note_leaves_a_chain_that_holds(folder: Path) -> None:
    program = """
    import threading
    def work():
        while True:
            chronolog.note("call_answered", call="017", response_sha256="0" * 64)
    for _ in range(8):
        threading.Thread(target=work, daemon=True).start()
    path = folder / "system_state/chronolog"
    before = sum(one.stat().st_size for one in path.glob("*.jsonl"))
    while sum(one.stat().st_size for one in path.glob("*.jsonl")) < before + 100_000:
        pass
    os.kill(os.getpid(), signal.SIGKILL)
    """
    for _ in range(3):
        in_another_process(folder, program, code=-signal.SIGKILL)
        gather(folder)
        assert check(folder) == []
    assert len(told(folder)) > 500
