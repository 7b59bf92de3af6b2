"""Whatever is done by hand to any file of a sealed session is found, and named with its place."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from discernus.sessions import layout
from discernus.sessions.integrity.manifests import LINED, is_lock, is_temporary, names_in
from discernus.sessions.integrity.verification import verify
from tests.sealed_sessions import new_key, sealed

# Of each kind of file that a session may hold, a name; the session of these tests has one of each.
KINDS = (
    r"llm_archive/request_001\.json",
    r"llm_archive/response_001\.txt",
    r"llm_archive/response_003_extraction\.txt",
    r"llm_archive/metadata_001\.json",
    r"llm_archive/error_002_try1\.json",
    r"llm_archive/rival_response_001_try\d+\.txt",
    r"llm_archive/rival_metadata_001_try\d+\.json",
    r"llm_archive/messages/[0-9a-f]{64}\.txt",
    r"llm_archive/shared_[0-9a-f]{64}\.json",
    r"llm_archive/metadata\.jsonl",
    r"extracted/extracted_001\.json",
    r"extracted/extraction_log\.jsonl",
    r"analysis_results/analysis_001\.md",
    r"deliverables/results\.csv",
    r"deliverables/data_dictionary\.csv",
    r"deliverables/final_report\.md",
    r"experiment_snapshot\.md",
    r"framework_snapshot\.md",
    r"corpus_manifest\.json",
    r"corpus/.+\.txt",
    r"settings_snapshot\.json",
    r"SESSION_CHRONOLOG\.jsonl",
    r"system_state/chronolog/.+\.jsonl",
    r"system_state/session\.json",
    r"system_state/status\.json",
    r"system_state/limits\.json",
    r"system_state/stage_(analysis|extraction|calculation|synthesis)_complete\.json",
    r"system_state/seal_001\.json",
    r"system_state/seal_002\.json",
    r"system_state/seal_001\.sig\.json",
    r"system_state/seal_002\.sig\.json",
    r"system_state/superseded/seal_001/deliverables/final_report\.md",
    r"system_state/redactions/redaction_001\.json",
    r"system_state/answering_versions/.+\.json",
    r"system_state/answering_versions/.+\.first",
    r"fault_recovery/intents/004_ask1_try1\.json",
    r"fault_recovery/parked/parked_004\.json",
    r"fault_recovery/waiting/.+\.json",
    r"fault_recovery/waiting/closures/.+\.json",
    r"fault_recovery/torn/.+",
    r"logs/.+\.jsonl",
    r"logs/.+\.gz",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    at = tmp_path_factory.mktemp("sealed")
    return sealed(at, new_key(at)[0]).folder


@pytest.fixture(autouse=True)
def as_it_was(folder: Path) -> Iterator[None]:
    """Leave the session as it was found, and make sure of it."""
    yield
    assert verify(folder).findings == ()


def files(folder: Path) -> list[str]:
    return [name for name in names_in(folder) if not is_lock(name) and not is_temporary(name)]


def found(folder: Path) -> dict[str, str]:
    """Return the kind of finding by its place."""
    return {one.place: one.kind for one in verify(folder).findings}


def named(folder: Path, name: str) -> bool:
    """Return whether a finding names the file, or a line of it."""
    return any(place == name or place.startswith(f"{name}:") for place in found(folder))


def missed(folder: Path, tamper: Callable[[bytes], bytes | None]) -> list[str]:
    """Return the files that could be tampered with and were not named; None deletes the file."""
    unseen = []
    for name in files(folder):
        path, data = folder / name, (folder / name).read_bytes()
        changed = tamper(data)
        if changed == data:
            continue
        if changed is None:
            path.unlink()
        else:
            path.write_bytes(changed)
        if not named(folder, name):
            unseen.append(name)
        path.write_bytes(data)
    return unseen


def test_the_session_holds_a_file_of_every_kind(folder: Path) -> None:
    names = names_in(folder)
    assert [kind for kind in KINDS if not any(re.fullmatch(kind, name) for name in names)] == []
    assert verify(folder).version == 2


@pytest.mark.parametrize("part", [0.0, 0.5, 1.0], ids=["first", "middle", "last"])
def test_one_byte_that_is_changed_is_found_in_every_file(folder: Path, part: float) -> None:
    def change(data: bytes) -> bytes:
        at = int(part * (len(data) - 1))
        return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :] if data else data

    assert missed(folder, change) == []


def test_a_file_that_is_cut_short_is_found(folder: Path) -> None:
    assert missed(folder, lambda data: data[: len(data) * 2 // 3]) == []


def test_a_file_that_lost_its_last_byte_is_found(folder: Path) -> None:
    assert missed(folder, lambda data: data[:-1]) == []


def test_a_file_that_is_emptied_is_found(folder: Path) -> None:
    assert missed(folder, lambda _: b"") == []


def test_a_file_that_is_deleted_is_found_and_called_removed(folder: Path) -> None:
    assert missed(folder, lambda _: None) == []
    (folder / "llm_archive/response_001.txt").rename(folder.parent / "kept")
    assert found(folder)["llm_archive/response_001.txt"] == "removed"
    (folder.parent / "kept").rename(folder / "llm_archive/response_001.txt")


def test_bytes_that_are_appended_are_found_but_where_files_go_on_growing(folder: Path) -> None:
    growing = missed(folder, lambda data: data + b" ")
    torn = [name for name in growing if name.startswith((layout.CHRONOLOG, layout.SEGMENTS))]
    assert set(growing) - set(torn) == {"logs/starter.jsonl"}
    for name in torn:  # as a crash leaves it: no event, and said to be none
        (folder / name).write_bytes((folder / name).read_bytes() + b" ")
        assert f"the last line of {name}" in [one.what for one in verify(folder).uncovered]
        (folder / name).write_bytes((folder / name).read_bytes()[:-1])


@pytest.mark.parametrize(
    "name",
    [
        "llm_archive/response_009.txt",
        "llm_archive/messages/note.txt",
        "llm_archive/metadata_001_try7.json",
        "extracted/extracted_009.json",
        "corpus/another.txt",
        "deliverables/results_final.csv",
        "fault_recovery/parked/parked_003.json",
        "system_state/seal_003.json",
        "system_state/seal_001.json.bak",
        "system_state/seal_009.sig.json",
        "system_state/stage_review_complete.json",
        "system_state/redactions/redaction_002.json",
        "system_state/superseded/seal_001/deliverables/results.csv",
        "system_state/superseded/seal_007/deliverables/results.csv",
        "system_state/chronolog/notes.txt",
        "notes.md",
        ".hidden",
        "deliverables/extra/deep/inside.txt",
    ],
)
def test_a_file_that_is_added_is_found(folder: Path, name: str) -> None:
    path = folder / name
    above = [one for one in path.parents if not one.exists()]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("{}")
    assert named(folder, name)
    path.unlink()
    for one in above:
        one.rmdir()


def test_a_lock_that_holds_something_is_found(folder: Path) -> None:
    lock = folder / layout.OWNER_LOCK
    lock.write_text("smuggled")
    assert found(folder) == {layout.OWNER_LOCK: "altered"}
    lock.write_text("")


def test_a_link_in_the_place_of_a_file_is_found_though_it_leads_to_the_same_bytes(folder: Path) -> None:
    path, kept = folder / "llm_archive/response_001.txt", folder.parent / "kept"
    path.rename(kept)
    path.symlink_to(kept)
    assert found(folder) == {"llm_archive/response_001.txt": "altered"}
    path.unlink()
    kept.rename(path)


def test_two_files_that_are_exchanged_are_both_found(folder: Path) -> None:
    names = files(folder)
    unseen = []
    for one, other in itertools.pairwise(names):
        first, second = (folder / one).read_bytes(), (folder / other).read_bytes()
        if first == second:
            continue
        (folder / one).write_bytes(second)
        (folder / other).write_bytes(first)
        unseen += [name for name in (one, other) if not named(folder, name)]
        (folder / one).write_bytes(first)
        (folder / other).write_bytes(second)
    assert unseen == []


def test_answers_that_are_exchanged_are_told_from_answers_that_are_rewritten(folder: Path) -> None:
    one, other = folder / "llm_archive/response_001.txt", folder / "llm_archive/response_002.txt"
    first, second = one.read_bytes(), other.read_bytes()
    one.write_bytes(second)
    assert "llm_archive/response_002.txt" in verify(folder).findings[0].what
    one.write_bytes(first)


# lines

Lines = list[bytes]


def removed(lines: Lines, at: int) -> Lines:
    return lines[:at] + lines[at + 1 :]


def altered(lines: Lines, at: int) -> Lines:
    line = lines[at]
    return [*lines[:at], line[:-3] + bytes([line[-3] ^ 1]) + line[-2:], *lines[at + 1 :]]


def inserted(lines: Lines, at: int) -> Lines:
    return [*lines[:at], b'{"sequence":1}\n', *lines[at:]]


def duplicated(lines: Lines, at: int) -> Lines:
    return [*lines[:at], lines[at], *lines[at:]]


def reordered(lines: Lines, at: int) -> Lines:
    other = at + 1 if at + 1 < len(lines) else at - 1
    changed = list(lines)
    changed[at], changed[other] = changed[other], changed[at]
    return changed


@pytest.mark.parametrize("tamper", [removed, altered, inserted, duplicated, reordered])
def test_a_line_that_is_tampered_with_is_named_by_its_number(
    folder: Path, tamper: Callable[[Lines, int], Lines]
) -> None:
    unnamed = []
    for name in files(folder):
        path = folder / name
        data = path.read_bytes()
        lines = data.splitlines(keepends=True)
        if not name.endswith(LINED) or len(lines) < 3:
            continue
        last = len(lines) - 1
        if tamper is duplicated and name.startswith("logs/"):
            last -= 1  # behind its end a log goes on growing
        for at in (0, len(lines) // 2, last):
            path.write_bytes(b"".join(tamper(lines, at)))
            places = found(folder)
            near = {f"{name}:{number}" for number in range(at, at + 4)}
            if path.read_bytes() != data and not near & set(places):
                unnamed.append((name, at + 1, len(lines), {one: kind for one, kind in places.items() if name in one}))
        path.write_bytes(data)
    assert unnamed == []


def test_the_chronolog_and_its_segment_do_not_lie_for_each_other(folder: Path) -> None:
    """The same event, cut off the end of both files that tell of it, is missed by its seal."""
    chronolog = folder / layout.CHRONOLOG
    event = json.loads(chronolog.read_bytes().splitlines()[-1])
    segment = folder / layout.SEGMENTS / f"{event['segment']}.jsonl"
    kept = {path: path.read_bytes() for path in (chronolog, segment)}
    for path, data in kept.items():
        path.write_bytes(b"".join(data.splitlines(keepends=True)[:-1]))
    assert found(folder) == {f"{layout.CHRONOLOG}:{event['sequence']}": "removed"}
    for path, data in kept.items():
        path.write_bytes(data)
