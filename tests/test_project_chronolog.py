"""The project's chronolog: one line for each thing that becomes of its sessions, whoever writes them."""

from __future__ import annotations

import json
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pytest

from discernus.sessions.chronologs.project_chronolog import (
    check_project,
    note_project,
    note_project_once,
    project_chronolog,
    read_project_events,
)
from tests.running import REPOSITORY
from tests.stand_ins import opened


def told(projects: Path) -> list[str]:
    return [event.event for event in read_project_events(projects, "MVA")]


def test_opening_a_session_is_told_in_its_project(tmp_path: Path) -> None:
    session = opened(tmp_path)
    (event,) = read_project_events(tmp_path / "projects", session.facts.project)
    assert (event.event, event.facts["session"]) == ("session_opened", session.name)
    assert event.facts["analyses"] == session.facts.analyses == 2
    assert event.facts["models"] == list(session.facts.models)


def test_each_line_names_the_hash_of_the_line_before(tmp_path: Path) -> None:
    for version in (1, 2, 3):
        note_project(tmp_path, "MVA", "session_sealed", version=version)
    path = tmp_path / "MVA" / "PROJECT_CHRONOLOG_MVA.jsonl"
    written = path.read_bytes().splitlines()
    hashes = [None, *(sha256(line).hexdigest() for line in written)]
    assert [json.loads(line)["previous"] for line in written] == hashes[:-1]
    assert [event.sequence for event in read_project_events(tmp_path, "MVA")] == [1, 2, 3]
    assert check_project(tmp_path, "MVA") == []


def test_a_step_that_is_repeated_is_told_once(tmp_path: Path) -> None:
    for version in (1, 1, 2, 1):
        note_project_once(tmp_path, "MVA", "session_sealed", session="a", models=("one", "two"), version=version)
    assert [event.facts["version"] for event in read_project_events(tmp_path, "MVA")] == [1, 2]


def test_processes_that_tell_at_once_lose_no_line(tmp_path: Path) -> None:
    program = f"""
from pathlib import Path
from discernus.sessions.chronologs.project_chronolog import note_project
for number in range(50):
    note_project(Path({str(tmp_path)!r}), "MVA", "session_opened", number=number)
"""
    rivals = [subprocess.Popen([sys.executable, "-c", program], cwd=REPOSITORY) for _ in range(4)]
    assert [rival.wait(120) for rival in rivals] == [0, 0, 0, 0]
    assert len(told(tmp_path)) == 200
    assert check_project(tmp_path, "MVA") == []


def test_a_line_that_a_crash_has_torn_is_set_aside(tmp_path: Path) -> None:
    note_project(tmp_path, "MVA", "session_opened")
    path = project_chronolog(tmp_path, "MVA")
    with path.open("ab") as file:
        file.write(b'{"sequence":2,"at":"20')
    assert [(flaw.kind, flaw.place) for flaw in check_project(tmp_path, "MVA")] == [("torn", f"{path.name}:2")]
    note_project(tmp_path, "MVA", "session_sealed")
    assert told(tmp_path) == ["session_opened", "line_torn", "session_sealed"]
    kept = read_project_events(tmp_path, "MVA")[1].facts["kept"]
    assert (path.parent / str(kept)).read_bytes() == b'{"sequence":2,"at":"20'
    assert check_project(tmp_path, "MVA") == []


@pytest.mark.parametrize("number", [1, 2, 3])
def test_an_altered_or_removed_line_is_named(tmp_path: Path, number: int) -> None:
    for version in (1, 2, 3, 4):
        note_project(tmp_path, "MVA", "session_sealed", version=version)
    path = project_chronolog(tmp_path, "MVA")
    whole = path.read_bytes()
    path.write_bytes(whole.replace(f'"version":{number}'.encode(), b'"version":9'))
    assert [(flaw.kind, flaw.place) for flaw in check_project(tmp_path, "MVA")] == [
        ("altered", f"{path.name}:{number}")
    ]
    lines = whole.splitlines(keepends=True)
    path.write_bytes(b"".join(lines[: number - 1] + lines[number:]))
    assert [(flaw.kind, flaw.place) for flaw in check_project(tmp_path, "MVA")] == [
        ("removed", f"{path.name}:{number}")
    ]


def test_going_on_after_a_line_that_cannot_be_read_hides_nothing(tmp_path: Path) -> None:
    note_project(tmp_path, "MVA", "session_opened")
    path = project_chronolog(tmp_path, "MVA")
    path.write_bytes(b"edited\n")
    note_project(tmp_path, "MVA", "session_sealed")
    assert told(tmp_path) == ["session_sealed"]
    assert [(flaw.kind, flaw.place) for flaw in check_project(tmp_path, "MVA")] == [("altered", f"{path.name}:1")]


def test_lines_longer_than_any_buffer_are_chained_like_others(tmp_path: Path) -> None:
    for _ in range(3):
        note_project(tmp_path, "MVA", "session_opened", models=["x" * 50_000, "y" * 50_000])
    assert check_project(tmp_path, "MVA") == []
