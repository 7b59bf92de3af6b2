"""An attacker's test of the chronolog: every line that is altered, removed, added or moved by hand is named."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from discernus.sessions import layout
from discernus.sessions.chronologs.chronolog import chronolog_of, gather
from discernus.sessions.chronologs.chronolog_check import check
from tests.test_chronolog import in_another_process

WHOLE = layout.CHRONOLOG
Lines = list[bytes]


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A session of two writers, each with ten events, all gathered: the other's stand first."""
    made = tmp_path_factory.mktemp("session")
    in_another_process(made, "for number in range(10): chronolog.note('there', number=number)")
    own = chronolog_of(made)
    for number in range(10):
        own.note("here", number=number)
    gather(made)
    assert check(made) == []
    return made


@pytest.fixture
def folder(untouched: Path, tmp_path: Path) -> Path:
    """A copy of it to tamper with."""
    return Path(shutil.copytree(untouched, tmp_path / "session"))


def segment_of(folder: Path, event: str) -> Path:
    """Return the segment of the writer that noted that event."""
    return next(path for path in (folder / layout.SEGMENTS).iterdir() if f'"{event}"' in path.read_text())


@pytest.mark.parametrize("kept", [10, 3, 1])
def test_a_copy_of_a_segment_under_another_name_is_added_however_much_of_it(folder: Path, kept: int) -> None:
    lines = segment_of(folder, "here").read_bytes().splitlines(keepends=True)
    (folder / layout.SEGMENTS / "host-9-99999999.jsonl").write_bytes(b"".join(lines[:kept]))
    assert flaws(folder) == [("added", f"{layout.SEGMENTS}/host-9-99999999.jsonl:1")]


def name_of(folder: Path, path: Path) -> str:
    return path.relative_to(folder).as_posix()


def flaws(folder: Path) -> list[tuple[str, str]]:
    return [(flaw.kind, flaw.place) for flaw in check(folder)]


def edit(path: Path, change: Callable[[Lines], Lines]) -> None:
    path.write_bytes(b"".join(change(path.read_bytes().splitlines(keepends=True))))


def with_fields(line: bytes, **fields: Any) -> bytes:
    """Return the line with other fields, written as a chronolog is."""
    return json.dumps({**json.loads(line), **fields}, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def altered(number: int, **fields: Any) -> Callable[[Lines], Lines]:
    def change(lines: Lines) -> Lines:
        lines[number - 1] = with_fields(lines[number - 1], **fields)
        return lines

    return change


def rechained(lines: Lines) -> Lines:
    """Return the lines with every sequence and hash right again, as a thorough attacker leaves them."""
    made: Lines = []
    for number, line in enumerate(lines, 1):
        previous = sha256(made[-1][:-1]).hexdigest() if made else None
        made.append(with_fields(line, sequence=number, previous=previous))
    return made


def files(folder: Path) -> dict[str, Path]:
    return {"chronolog": folder / WHOLE, "first": segment_of(folder, "there"), "last": segment_of(folder, "here")}


@pytest.mark.parametrize("which", ["chronolog", "first", "last"])
@pytest.mark.parametrize("number", [1, 2, 5, 10])
@pytest.mark.parametrize(
    "fields",
    [{"facts": {"number": 99}}, {"event": "elsewhere"}, {"at": "2026-01-01T00:00:00.000000+00:00"}, {"actor": "him"}],
    ids=["facts", "event", "at", "actor"],
)
def test_an_altered_line_is_named(folder: Path, which: str, number: int, fields: dict[str, Any]) -> None:
    path = files(folder)[which]
    edit(path, altered(number, **fields))
    at_both_ends = which == "last" and number == 10  # no line after it in either file says which of the two is right
    assert flaws(folder) == [("inconsistent" if at_both_ends else "altered", f"{name_of(folder, path)}:{number}")]


def test_the_altered_last_line_of_the_chronolog_is_named(folder: Path) -> None:
    edit(folder / WHOLE, altered(20, facts={"number": 99}))
    assert flaws(folder) == [("altered", f"{WHOLE}:20")]


@pytest.mark.parametrize("which", ["chronolog", "first", "last"])
@pytest.mark.parametrize("number", [1, 5, 10])
def test_an_altered_link_is_named(folder: Path, which: str, number: int) -> None:
    path = files(folder)[which]
    edit(path, altered(number, previous="0" * 64))
    assert [place for _, place in flaws(folder)] == [f"{name_of(folder, path)}:{number}"]


@pytest.mark.parametrize("field", [{"segment_sha256": "0" * 64}, {"segment_sequence": 3}, {"segment": "another"}])
@pytest.mark.parametrize("number", [4, 20])
def test_a_line_of_the_chronolog_that_claims_another_source_is_named(
    folder: Path, number: int, field: dict[str, Any]
) -> None:
    edit(folder / WHOLE, altered(number, **field))
    assert any(place in (f"{WHOLE}:{number}", f"{layout.SEGMENTS}/another.jsonl:1") for _, place in flaws(folder))


@pytest.mark.parametrize("which", ["chronolog", "first", "last"])
@pytest.mark.parametrize("number", [1, 5, 9])
def test_a_removed_line_is_named(folder: Path, which: str, number: int) -> None:
    path = files(folder)[which]
    edit(path, lambda lines: lines[: number - 1] + lines[number:])
    assert flaws(folder) == [("removed", f"{name_of(folder, path)}:{number}")]
    assert f"of sequence {number}" in check(folder)[0].what


@pytest.mark.parametrize("which", ["first", "last"])
@pytest.mark.parametrize("left", [0, 3, 9])
def test_a_segment_that_was_cut_short_is_named(folder: Path, which: str, left: int) -> None:
    path = files(folder)[which]
    edit(path, lambda lines: lines[:left])
    assert flaws(folder) == [("removed", f"{name_of(folder, path)}:{left + 1}")]


def test_a_segment_that_is_gone_is_named(folder: Path) -> None:
    path = segment_of(folder, "there")
    path.unlink()
    assert flaws(folder) == [("removed", f"{name_of(folder, path)}:1")]


@pytest.mark.parametrize("which", ["chronolog", "first", "last"])
@pytest.mark.parametrize("number", [1, 4, 9])
def test_two_lines_that_were_swapped_are_named(folder: Path, which: str, number: int) -> None:
    path = files(folder)[which]
    edit(path, lambda lines: [*lines[: number - 1], lines[number], lines[number - 1], *lines[number + 1 :]])
    assert flaws(folder) == [("reordered", f"{name_of(folder, path)}:{number}")]


def test_lines_that_were_moved_are_named_from_the_first_to_the_last(folder: Path) -> None:
    edit(folder / WHOLE, lambda lines: [*lines[:4], *lines[5:12], lines[4], *lines[12:]])
    (flaw,) = check(folder)
    assert (flaw.kind, flaw.place) == ("reordered", f"{WHOLE}:5")
    assert "lines 5 to 12" in flaw.what


@pytest.mark.parametrize("which", ["chronolog", "first", "last"])
@pytest.mark.parametrize("number", [2, 5, 10])
def test_an_inserted_line_is_named(folder: Path, which: str, number: int) -> None:
    path = files(folder)[which]

    def insert(lines: Lines) -> Lines:
        forged = with_fields(lines[number - 1], event="invented")  # with the sequence and the link that belong there
        return [*lines[: number - 1], forged, *lines[number - 1 :]]

    edit(path, insert)
    assert flaws(folder) == [("added", f"{name_of(folder, path)}:{number}")]


@pytest.mark.parametrize("which", ["chronolog", "first", "last"])
def test_a_line_that_was_copied_is_named(folder: Path, which: str) -> None:
    path = files(folder)[which]
    edit(path, lambda lines: [*lines[:5], lines[4], *lines[5:]])
    assert flaws(folder) == [("added", f"{name_of(folder, path)}:6")]


@pytest.mark.parametrize("which", ["chronolog", "first", "last"])
@pytest.mark.parametrize("line", [b"no event at all\n", b"\n", b"{}\n"])
def test_a_line_that_is_no_event_is_named(folder: Path, which: str, line: bytes) -> None:
    path = files(folder)[which]
    edit(path, lambda lines: [*lines[:3], line, *lines[3:]])
    assert flaws(folder) == [("added", f"{name_of(folder, path)}:4")]


@pytest.mark.parametrize("which", ["chronolog", "first", "last"])
@pytest.mark.parametrize("number", [1, 4, 10])
def test_a_line_that_became_unreadable_is_named(folder: Path, which: str, number: int) -> None:
    path = files(folder)[which]
    edit(path, lambda lines: [*lines[: number - 1], lines[number - 1][:40] + b"\n", *lines[number:]])
    assert flaws(folder) == [("altered", f"{name_of(folder, path)}:{number}")]


@pytest.mark.parametrize("which", ["chronolog", "first", "last"])
def test_a_last_line_that_was_only_written_otherwise_is_named(folder: Path, which: str) -> None:
    path = files(folder)[which]
    edit(path, lambda lines: [*lines[:-1], json.dumps(json.loads(lines[-1])).encode() + b"\n"])
    count = len(path.read_bytes().splitlines())
    assert ("altered", f"{name_of(folder, path)}:{count}") in flaws(folder)


@pytest.mark.parametrize("number", [1, 5, 10])
def test_a_segment_that_was_altered_and_chained_anew_contradicts_the_chronolog(folder: Path, number: int) -> None:
    path = segment_of(folder, "there")
    edit(path, lambda lines: rechained(altered(number, facts={"number": 99})(lines)))
    kind = (
        "altered" if number == 10 else "inconsistent"
    )  # nothing but the chronolog's chain holds a segment's last line
    assert flaws(folder) == [(kind, f"{name_of(folder, path)}:{number}")]


def test_a_chronolog_that_was_altered_and_chained_anew_contradicts_the_segments(folder: Path) -> None:
    edit(folder / WHOLE, lambda lines: rechained(altered(7, facts={"number": 99})(lines)))
    assert flaws(folder) == [("altered", f"{WHOLE}:7")]


def test_an_event_that_was_dropped_from_a_chronolog_chained_anew_is_named(folder: Path) -> None:
    edit(folder / WHOLE, lambda lines: rechained(lines[:6] + lines[7:]))
    (flaw,) = check(folder)
    assert (flaw.kind, flaw.place) == ("removed", f"{WHOLE}:7")
    assert f"{name_of(folder, segment_of(folder, 'there'))}:7" in flaw.what


def test_an_event_that_was_invented_in_a_chronolog_chained_anew_is_named(folder: Path) -> None:
    edit(folder / WHOLE, lambda lines: rechained([*lines[:6], with_fields(lines[6], event="invented"), *lines[6:]]))
    assert [place for _, place in flaws(folder)] == [f"{WHOLE}:7"]


def test_segments_that_changed_places_are_named(folder: Path) -> None:
    one, other = segment_of(folder, "there"), segment_of(folder, "here")
    first, second = one.read_bytes(), other.read_bytes()
    one.write_bytes(second)
    other.write_bytes(first)
    assert flaws(folder)


def test_several_changes_at_once_are_each_named(folder: Path) -> None:
    path = segment_of(folder, "there")
    edit(path, lambda lines: altered(2, actor="him")(lines)[:7] + lines[8:])
    edit(folder / WHOLE, altered(13, facts={}))
    assert sorted(flaws(folder)) == [
        ("altered", f"{WHOLE}:13"),
        ("altered", f"{name_of(folder, path)}:2"),
        ("removed", f"{name_of(folder, path)}:8"),
    ]


def test_an_altered_line_is_named_before_it_is_gathered(tmp_path: Path) -> None:
    in_another_process(tmp_path, "for number in range(5): chronolog.note('there', number=number)")
    (path,) = (tmp_path / layout.SEGMENTS).iterdir()
    edit(path, altered(3, actor="him"))
    assert flaws(tmp_path) == [("altered", f"{name_of(tmp_path, path)}:3")]


def test_going_on_after_an_alteration_hides_nothing(folder: Path) -> None:
    edit(folder / WHOLE, altered(5, actor="him"))
    edit(segment_of(folder, "here"), altered(4, actor="him"))
    before = flaws(folder)
    in_another_process(folder, "chronolog.note('session_resumed'); gather(folder)")
    assert flaws(folder) == before
    assert len(before) == 2
