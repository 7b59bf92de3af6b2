"""The store on local files: one winner for each name, durable before it is there, and nothing outside of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from discernus.sessions import store as module
from discernus.sessions.store import LocalStore, NotInStore

REPOSITORY = Path(__file__).resolve().parents[1]
RIVAL = """
import json, sys, time
from pathlib import Path
from discernus.sessions.store import LocalStore
folder, me, names = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
store = LocalStore(folder / "store")
(folder / f"ready-{me}").touch()
while not (folder / "go").exists():
    time.sleep(0.001)
print(json.dumps([n for n in range(names) if store.put_if_absent(f"calls/{n}", me.encode() * 2000)]))
"""
WRITER = """
import sys
from pathlib import Path
from discernus.sessions.store import LocalStore
store = LocalStore(Path(sys.argv[1]))
for n in range(1_000_000):
    store.put_if_absent(f"calls/{n}", str(n % 10).encode() * 300_000)
    store.put("latest", str(n % 10).encode() * 300_000)
"""


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


def start(program: str, *arguments: object) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", program, *map(str, arguments)]
    return subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE)


def wait_until(condition: Any, timeout_s: float = 60.0) -> None:
    until = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < until, "it did not come about in time"
        time.sleep(0.005)


class Disk:
    """Notes what is made durable in which order: the fsync of a file or folder, and the link of a name."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.events: list[tuple[str, str]] = []
        self._inodes: dict[int, str] = {}
        self._fsync, self._link = os.fsync, os.link
        monkeypatch.setattr(module.os, "fsync", self.fsync)
        monkeypatch.setattr(module.os, "link", self.link)

    def fsync(self, descriptor: int) -> None:
        self._fsync(descriptor)
        self.events.append(("fsync", str(os.fstat(descriptor).st_ino)))

    def link(self, source: Path, target: Path) -> None:
        self._link(source, target)
        self.events.append(("link", target.name))

    def synced(self, path: Path) -> tuple[str, str]:
        return ("fsync", str(path.stat().st_ino))


def test_of_many_threads_exactly_one_gets_each_name(store: LocalStore) -> None:
    won: dict[str, list[int]] = {f"calls/{number}": [] for number in range(20)}
    ready = threading.Barrier(12)

    def rival(me: int) -> None:
        ready.wait()
        for name, winners in won.items():
            if store.put_if_absent(name, f"{me}".encode() * 500):
                winners.append(me)

    threads = [threading.Thread(target=rival, args=(me,)) for me in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for name, winners in won.items():
        assert len(winners) == 1
        assert store.get(name) == f"{winners[0]}".encode() * 500


def test_of_many_processes_exactly_one_gets_each_name(tmp_path: Path) -> None:
    rivals = {me: start(RIVAL, tmp_path, me, 60) for me in "abc"}
    wait_until(lambda: all((tmp_path / f"ready-{me}").exists() for me in rivals))
    (tmp_path / "go").touch()
    won = {me: json.loads(process.communicate(timeout=60)[0]) for me, process in rivals.items()}
    assert sorted(number for numbers in won.values() for number in numbers) == list(range(60))
    for me, numbers in won.items():
        for number in numbers:
            assert LocalStore(tmp_path / "store").get(f"calls/{number}") == me.encode() * 2000


def test_what_is_stored_is_never_overwritten_by_a_later_one(store: LocalStore) -> None:
    assert store.put_if_absent("answer", b"first")
    assert not store.put_if_absent("answer", b"second")
    assert store.get("answer") == b"first"


def test_bytes_are_on_the_disk_before_their_name_is_and_the_name_before_the_call_returns(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put("calls/earlier", b"x")
    disk = Disk(monkeypatch)
    store.put_if_absent("calls/answer", b"paid for")
    folder = store.path("calls")
    assert disk.events == [disk.synced(folder / "answer"), ("link", "answer"), disk.synced(folder)]


def test_a_name_that_may_wait_becomes_durable_with_the_next_in_its_folder(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put("calls/earlier", b"x")
    disk = Disk(monkeypatch)
    store.put_if_absent("calls/metadata", b"m", with_next=True)
    store.put_if_absent("calls/response", b"r")
    folder = store.path("calls")
    assert disk.events == [
        disk.synced(folder / "metadata"),
        ("link", "metadata"),
        disk.synced(folder / "response"),
        ("link", "response"),
        disk.synced(folder),
    ]


def test_the_folders_above_a_new_name_are_durable_too(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.root.mkdir()
    disk = Disk(monkeypatch)
    store.put_if_absent("archive/messages/text", b"t")
    for folder in (store.root, store.path("archive"), store.path("archive/messages")):
        assert disk.synced(folder) in disk.events


@pytest.mark.parametrize("name", ["/etc/passwd", "../outside", "calls/../../outside", ".."])
def test_names_outside_of_the_store_are_refused(store: LocalStore, name: str) -> None:
    for refused in (
        lambda: store.put(name, b"x"),
        lambda: store.put_if_absent(name, b"x"),
        lambda: store.append(name, b"x\n"),
        lambda: store.get(name),
        lambda: store.exists(name),
        lambda: store.names(name),
        lambda: store.remove(name),
        lambda: store.size(name),
    ):
        with pytest.raises(ValueError, match="not a name inside the store"):
            refused()
    assert not (store.root.parent / "outside").exists()


def test_what_a_killed_writer_left_half_done_is_invisible(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    writer = start(WRITER, tmp_path)
    wait_until(lambda: len(store.names("calls")) > 5)
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    (tmp_path / "calls" / f"{module.TEMPORARY_PREFIX}orphan").write_bytes(b"half")
    names = store.names("calls")
    assert len(names) > 5
    for name in names:
        assert store.get(f"calls/{name}") == str(int(name) % 10).encode() * 300_000
    assert len(set(store.get("latest"))) == 1
    assert len(store.get("latest")) == 300_000


def test_a_reader_sees_the_old_bytes_or_the_new_and_never_a_mixture(store: LocalStore) -> None:
    store.put("status", b"0" * 50_000)
    seen: list[bytes] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            seen.append(store.get("status"))

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(150):
        store.put("status", str(number % 10).encode() * 50_000, durable=False)
    done.set()
    reader.join()
    assert len(seen) > 1
    assert all(len(data) == 50_000 and len(set(data)) == 1 for data in seen)


@pytest.mark.parametrize("broken", ["fsync", "link"])
def test_a_disk_that_refuses_leaves_what_was_there_and_no_litter(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    store.put("calls/status", b"old")

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(module.os, broken, refuse)
        with pytest.raises(OSError, match="No space"):
            store.put_if_absent("calls/answer", b"new")
        if broken == "fsync":
            with pytest.raises(OSError, match="No space"):
                store.put("calls/status", b"new")
    assert store.get("calls/status") == b"old"
    assert [path.name for path in store.path("calls").iterdir()] == ["status"]
    assert store.put_if_absent("calls/answer", b"new")


def test_what_is_not_there_is_missing_and_not_empty(store: LocalStore) -> None:
    with pytest.raises(NotInStore, match="'nothing/here'"):
        store.get("nothing/here")
    assert store.names("nothing") == []
    assert store.size("nothing/here") == 0
    assert not store.exists("nothing/here")
    store.remove("nothing/here")
    store.put("file", b"x")
    with pytest.raises(NotInStore):
        store.get("file/below")


def test_appending_tells_how_large_the_file_has_become(store: LocalStore) -> None:
    assert store.append("logs/table", b"one\n") == 4
    assert store.append("logs/table", b"two\n") == 8
    assert store.size("logs/table") == 8
    assert store.get("logs/table") == b"one\ntwo\n"
    assert store.free_bytes() > 0
