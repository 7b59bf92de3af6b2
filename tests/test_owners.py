"""Locks and owners: what the living hold is held, what the dead held is free, however they died."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from discernus.sessions.owners import HOST, Lock, Owner, is_held

REPOSITORY = Path(__file__).resolve().parents[1]
HOLDER = """
import sys, time
from pathlib import Path
from discernus.sessions.owners import Lock, Owner
lock = Lock(Path(sys.argv[1]) / "a.lock")
assert lock.acquire()
owner = Owner(Path(sys.argv[1]) / "owners")
print(owner.id, flush=True)
time.sleep(600)
"""
TRIER = """
import sys
from pathlib import Path
from discernus.sessions.owners import Lock
lock = Lock(Path(sys.argv[1]) / "a.lock")
print("won" if lock.acquire() else "lost", flush=True)
sys.stdin.readline()
"""


def start(program: str, folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", program, str(folder)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=REPOSITORY, stdin=pipe, stdout=pipe, text=True)


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_a_holder_that_is_killed_gives_up_its_lock_and_its_life_as_owner(tmp_path: Path) -> None:
    holder = start(HOLDER, tmp_path)
    try:
        owner_id = said(holder)
        with Owner(tmp_path / "owners") as me:
            assert is_held(tmp_path / "a.lock")
            assert not Lock(tmp_path / "a.lock").acquire()
            assert me.may_live(owner_id)
            holder.send_signal(signal.SIGKILL)
            holder.wait()
            assert not is_held(tmp_path / "a.lock")
            assert not me.may_live(owner_id)
            assert Lock(tmp_path / "a.lock").acquire()
    finally:
        holder.kill()
        holder.wait()


def test_of_many_processes_exactly_one_gets_the_lock(tmp_path: Path) -> None:
    triers = [start(TRIER, tmp_path) for _ in range(5)]
    outcomes = [said(trier) for trier in triers]
    for trier in triers:
        trier.communicate("\n", timeout=60)
    assert sorted(outcomes) == ["lost"] * 4 + ["won"]


def test_a_lock_is_held_until_it_is_released(tmp_path: Path) -> None:
    path = tmp_path / "below" / "a.lock"
    assert not is_held(path)
    lock = Lock(path)
    assert lock.acquire()
    assert lock.acquire()
    assert is_held(path)
    assert is_held(path)
    lock.release()
    assert not is_held(path)
    with Lock(path):
        assert is_held(path)
    assert not is_held(path)


def test_asking_whether_a_lock_is_held_does_not_take_it(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    path.touch()
    assert not is_held(path)
    assert Lock(path).acquire()


def test_an_owner_that_has_closed_is_no_owner_any_more(tmp_path: Path) -> None:
    with Owner(tmp_path) as me, Owner(tmp_path) as other:
        assert me.id != other.id
        assert me.may_live(me.id)
        assert me.may_live(other.id)
        other.close()
        assert not me.may_live(other.id)
        assert list(tmp_path.glob("*.lock")) == [tmp_path / f"{me.id}.lock"]


@pytest.mark.parametrize("host", ["elsewhere", f"{HOST}-2", f"{HOST}x"])
def test_of_an_owner_on_another_machine_one_can_only_say_perhaps(tmp_path: Path, host: str) -> None:
    with Owner(tmp_path) as me:
        assert me.may_live(f"{host}-{os.getpid()}-0123abcd")
        assert not me.may_live(f"{HOST}-{os.getpid()}-0123abcd")
