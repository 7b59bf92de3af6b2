"""What an attacker leaves who knows the program: verification refuses it, or says what nobody has signed, and ends."""

from __future__ import annotations

import json
import os
import shutil
import stat
import zipfile
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import bagit
import pytest
from typer.testing import CliRunner

from cli.exits import INVALID, CommandError
from discernus.sessions import layout
from discernus.sessions.chronologs.chronolog import gather
from discernus.sessions.chronologs.events import line_of
from discernus.sessions.chronologs.project_chronolog import project_chronolog
from discernus.sessions.integrity.bags import MANIFEST, SIGNATURE
from discernus.sessions.integrity.differences import changed_lines
from discernus.sessions.integrity.examination import SealBroken, examine, refuse_if_altered
from discernus.sessions.integrity.findings import Finding
from discernus.sessions.integrity.manifests import marks_of
from discernus.sessions.integrity.redaction import Redacted, Redaction, record_redaction
from discernus.sessions.integrity.seals import newest_seal
from discernus.sessions.integrity.signing import read_private_key, read_public_key, sign
from discernus.sessions.integrity.verification import NotVerifiable, verify
from discernus.sessions.layout import Call
from discernus.sessions.session import Session
from discernus.stages import sealing
from discernus.stages.calculation import calculate
from discernus.stages.checkpoints import go_back
from discernus.stages.sealing import CannotSeal, seal
from discernus.stages.synthesis import synthesise
from starter import app
from tests.sealed_sessions import answered, close, new_key, sealed


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a session that was sealed twice and signed, and with its key."""
    folder = tmp_path_factory.mktemp("made")
    sealed(folder, new_key(folder)[0]).chronolog.flush()
    return folder


@pytest.fixture
def session(made: Path, tmp_path: Path) -> Session:
    """Return a copy of it, which may be attacked."""
    copy = shutil.copytree(made, tmp_path / "store")
    return Session(next(copy.glob("projects/*/experiments/*/sessions/session_*")))


def key(session: Session) -> Path:
    return session.folder.parents[5] / "signing.pem"


def found(folder: Path) -> dict[str, str]:
    return {one.file: one.kind for one in verify(folder).findings}


def with_key(folder: Path, private: Path) -> list[tuple[str, str]]:
    """Return the findings where the key is demanded that belongs to the private one."""
    public = read_public_key(private.with_suffix(".pub"))
    return [(one.kind, one.place) for one in verify(folder, public_key=public).findings]


def forge_scores(session: Session) -> None:
    path = session.folder / layout.extracted(1)
    said = json.loads(path.read_bytes())
    said["extraction"]["scores"] = dict.fromkeys(said["extraction"]["scores"], 0.99)
    path.write_text(json.dumps(said, indent=1))


def forge_segment(session: Session, event: str, **facts: object) -> None:
    line = line_of(1, datetime.now(UTC), event, "starter@lab-1", facts, None)
    (session.folder / layout.segment("lab-1-deadbeef")).write_bytes(line + b"\n")


def go_on(session: Session) -> None:
    """Do what a command does that asks nobody whether the session is as it was sealed."""
    session.note_status("running", "")
    session.store.remove(layout.checkpoint("calculation"))
    close(session, key(session))


# a seal that vouches for what was forged before it


@pytest.mark.parametrize("name", [layout.extracted(1), Call(1).metadata, "settings_snapshot.json"])
def test_sealing_anew_does_not_launder_what_was_altered(session: Session, name: str) -> None:
    path = session.folder / name
    path.write_bytes(path.read_bytes() + b" ")
    go_on(session)
    assert newest_seal(session.store).version == 3  # type: ignore[union-attr]
    assert found(session.folder)[name] == "altered"


def test_a_file_that_was_taken_away_before_a_new_seal_is_missed(session: Session) -> None:
    (session.folder / Call(2).error(1)).unlink()
    session.store.remove(layout.checkpoint("analysis"))
    go_on(session)
    assert found(session.folder)[Call(2).error(1)] == "removed"


def test_nothing_is_done_with_a_session_that_is_not_what_was_sealed(session: Session) -> None:
    refuse_if_altered(session)
    forge_scores(session)
    with pytest.raises(SealBroken, match=layout.extracted(1)) as broken:
        refuse_if_altered(session)
    assert "restore the session's folder from a copy" in str(broken.value)
    assert "anew" not in str(broken.value)


def test_a_session_that_was_never_sealed_is_not_refused(tmp_path: Path) -> None:
    refuse_if_altered(answered(tmp_path))


# a sealed session that is said to be under way


def test_a_forged_word_that_work_goes_on_unlocks_nothing(session: Session) -> None:
    forge_scores(session)
    (session.folder / layout.RESULTS).write_text("forged")
    for path in (session.folder / layout.STATE).glob("stage_*"):
        path.unlink()
    forge_segment(session, "status_noted", status="running", reason="")
    (session.folder / layout.STATUS).write_text(json.dumps({"status": "running", "reason": "", "at": "now"}))
    assert {layout.extracted(1), layout.RESULTS} <= set(found(session.folder))
    assert ("unsigned", layout.seal(2)) in with_key(session.folder, key(session))


def test_under_way_a_record_of_which_no_event_tells_takes_nothing_out(session: Session) -> None:
    session.note_status("running", "")
    session.chronolog.flush()
    path = session.folder / Call(1).response
    before = sha256(path.read_bytes()).hexdigest()
    path.write_text("forged")
    files = (Redacted(name=Call(1).response, sha256=before, replaced_by=sha256(b"forged").hexdigest()),)
    record_redaction(
        session.store, Redaction(kind="erasure", at=datetime.now(UTC), reason="law", documents=(), files=files)
    )
    assert found(session.folder)[Call(1).response] == "altered"


def test_scores_that_are_altered_before_any_seal_are_given_away_by_the_chronolog(tmp_path: Path) -> None:
    at_work = answered(tmp_path)
    at_work.chronolog.flush()
    forge_scores(at_work)
    assert found(at_work.folder) == {layout.extracted(1): "altered"}
    close(at_work)
    assert found(at_work.folder) == {layout.extracted(1): "altered"}


def test_scores_read_again_just_before_a_kill_that_nothing_tells_of_are_no_finding(tmp_path: Path) -> None:
    at_work = answered(tmp_path)
    kept = at_work.store.get(layout.extracted(1))
    go_back(at_work, "extraction")
    at_work.chronolog.flush()
    at_work.store.put(layout.extracted(1), kept + b"\n")  # as a later version may write it
    assert found(at_work.folder) == {}


# the project's chronolog


def test_a_changed_line_in_the_projects_chronolog_is_a_finding_and_stops_no_work(session: Session) -> None:
    path = project_chronolog(session.projects_dir, session.facts.project)
    lines = path.read_bytes().splitlines(keepends=True)
    number = next(number for number, line in enumerate(lines) if b'"session_opened"' in line)
    assert number < len(lines) - 1
    assert found(session.folder) == {}
    lines[number] = lines[number].replace(b'"analyses":4', b'"analyses":5')
    path.write_bytes(b"".join(lines))
    (one,) = verify(session.folder).findings
    assert (one.kind, one.place) == ("altered", f"{path.name}:{number + 1}")
    refuse_if_altered(session)


def test_a_line_of_the_projects_chronolog_that_a_crash_cut_off_is_no_finding(session: Session) -> None:
    path = project_chronolog(session.projects_dir, session.facts.project)
    path.write_bytes(path.read_bytes() + b'{"sequence":')
    assert found(session.folder) == {}


# packages


def packed(session: Session, folder: Path) -> Path:
    package = folder / "package"
    shutil.copytree(session.folder, package / "session")
    (package / "tables").mkdir()
    (package / "tables/calls.csv").write_text("call\n001\n")
    bagit.make_bag(str(package), checksums=["sha256"])
    return package


def list_again(package: Path, private: Path | None = None) -> Path:
    """Write the manifests anew, as anybody can, and sign them as only the owner of a key can."""
    bagit.Bag(str(package)).save(manifests=True)
    if private is not None:
        (package / SIGNATURE).write_bytes(sign(read_private_key(private), MANIFEST, (package / MANIFEST).read_bytes()))
        bagit.Bag(str(package)).save()
    return package


def test_a_package_is_the_session_in_its_one_place_and_another_is_a_finding(session: Session, tmp_path: Path) -> None:
    package = packed(session, tmp_path)
    shutil.copytree(package / "data/session", package / "data/a")
    forge_scores(Session(package / "data/session"))
    places = found(list_again(package))
    assert places["data/a/system_state/session.json"] == "added"
    assert places[f"data/session/{layout.extracted(1)}"] == "altered"


def test_an_unsigned_package_says_that_its_tables_are_nobodys_word(session: Session, tmp_path: Path) -> None:
    package = packed(session, tmp_path)
    (package / "data/tables/calls.csv").write_text("call\n999\n")
    told = verify(list_again(package))
    assert told.intact
    assert "tables, README, crate and all else outside of data/session/" in [one.what for one in told.uncovered]
    assert with_key(package, key(session)) == [("unsigned", MANIFEST)]


def test_a_package_signed_by_the_given_key_is_proved_until_it_is_changed(session: Session, tmp_path: Path) -> None:
    package = list_again(packed(session, tmp_path), key(session))
    assert with_key(package, key(session)) == []
    (package / "data/tables/calls.csv").write_text("call\n999\n")
    list_again(package)
    assert with_key(package, key(session)) == [("inconsistent", SIGNATURE)]


def test_a_forged_record_of_what_was_withheld_is_not_proved_where_a_key_is_demanded(
    session: Session, tmp_path: Path
) -> None:
    package = packed(session, tmp_path)
    inside = Session(package / "data/session")
    path = inside.folder / Call(1).response
    files = (
        Redacted(
            name=Call(1).response,
            sha256=sha256(path.read_bytes()).hexdigest(),
            replaced_by=sha256(b"forged").hexdigest(),
        ),
    )
    path.write_text("forged")
    record = record_redaction(
        inside.store, Redaction(kind="withholding", at=datetime.now(UTC), reason="-", documents=(), files=files)
    )
    list_again(package)
    assert with_key(package, key(session)) == [("unsigned", MANIFEST), ("unsigned", f"data/session/{record}")]


def test_a_package_of_a_session_under_way_is_a_finding(session: Session, tmp_path: Path) -> None:
    session.note_status("running", "")
    session.chronolog.flush()
    assert found(packed(session, tmp_path))[f"data/session/{layout.STATUS}"] == "inconsistent"


# kills that are nobody's attack


@pytest.mark.parametrize("where", ["sign", "_tell"])
def test_a_kill_within_sealing_is_no_tampering(session: Session, where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*_: object) -> bytes:
        raise InterruptedError

    session.note_status("running", "")
    session.store.put(layout.CLOSURES + "/model_001.json", b'{"model": "m"}')
    with monkeypatch.context() as patched:
        patched.setattr(sealing, where, killed)
        with pytest.raises(InterruptedError):
            seal(session, key(session))
    told = verify(session.folder)
    assert (told.findings, told.state, told.version) == ((), "under_way", 3)
    refuse_if_altered(session)
    synthesise(session)  # as a restart does, and nothing of what it wrote before is kept
    assert seal(session, key(session)).version == 4
    assert with_key(session.folder, key(session)) == []


def test_a_kill_between_the_line_on_a_seal_and_the_status_is_no_tampering(
    session: Session,
) -> None:
    session.note_status("running", "")
    session.store.put(layout.CLOSURES + "/model_001.json", b'{"model": "m"}')
    status = session.store.get(layout.STATUS)
    seal(session, key(session))
    session.store.put(layout.STATUS, status)
    told = verify(session.folder)
    assert (told.findings, told.state) == ((), "sealed")
    assert layout.STATUS in [one.what for one in told.uncovered]


def test_copies_that_going_back_has_made_before_a_kill_are_no_finding(session: Session) -> None:
    for name in (layout.extracted(1), layout.RESULTS):
        session.store.put_if_absent(layout.superseded(2, name), session.store.get(name))
    assert found(session.folder) == {}


def test_files_that_going_back_was_moving_when_it_was_killed_are_no_finding(session: Session) -> None:
    session.note_status("running", "")
    session.chronolog.flush()
    session.store.move({layout.extracted(1): layout.superseded(2, layout.extracted(1))})
    assert found(session.folder) == {}


def test_a_line_torn_by_a_kill_is_no_finding_and_neither_is_its_repair(session: Session) -> None:
    forge_segment(session, "answer_asked_again", call="001")
    path = session.folder / layout.segment("lab-1-deadbeef")
    path.write_bytes(path.read_bytes() + b'{"sequence":2,"at":')
    told = verify(session.folder)
    assert told.findings == ()
    assert any("lab-1-deadbeef" in one.what for one in told.uncovered)
    gather(session.folder)
    assert found(session.folder) == {}
    (session.folder / layout.TORN / "smuggled.txt").write_bytes(b"x")
    assert found(session.folder) == {f"{layout.TORN}/smuggled.txt": "added"}


# sealing


def test_a_session_is_not_sealed_without_a_file_that_a_stage_had_left(tmp_path: Path) -> None:
    at_work = answered(tmp_path)
    calculate(at_work)
    (at_work.folder / layout.RESULTS).unlink()
    synthesise(at_work)
    with pytest.raises(CannotSeal, match=r"results.csv is gone, and calculation had left it; .*--from calculation"):
        seal(at_work)
    assert newest_seal(at_work.store) is None


# a damaged status


@pytest.mark.parametrize("data", [b'{"sta', b"[" * 100_000, b"\xff\xfe", b"[]"])
def test_a_damaged_status_is_told_by_the_seal_and_the_chronolog(session: Session, data: bytes) -> None:
    status = session.noted_status()
    (session.folder / layout.STATUS).write_bytes(data)
    assert (session.noted_status(), session.is_sealed) == (status, True)
    assert found(session.folder) == {layout.STATUS: "altered"}
    session.note_status("paused", "the key was refused")
    session.chronolog.flush()
    (session.folder / layout.STATUS).write_bytes(data)
    assert session.noted_status() == ("paused", "the key was refused")


# what never ends, and what is too much


def test_a_pipe_in_the_place_of_any_file_is_named_and_nothing_is_read(session: Session) -> None:
    for name in (layout.seal(2), layout.CHRONOLOG, "notes"):
        path, kept = session.folder / name, session.folder.parent / "kept"
        if path.exists():
            path.rename(kept)
        os.mkfifo(path)
        assert found(session.folder) == {name: "altered"}
        path.unlink()
        if kept.exists():
            kept.rename(path)


def test_a_link_in_a_package_is_named_and_not_followed(session: Session, tmp_path: Path) -> None:
    package = packed(session, tmp_path)
    (package / "data/zero").symlink_to("/dev/zero")
    assert found(package) == {"data/zero": "altered"}


@pytest.mark.parametrize("claimed", [10**15, 10**30])
def test_a_seal_that_claims_more_bytes_than_there_are_is_a_finding(session: Session, claimed: int) -> None:
    path = session.folder / layout.seal(2)
    said = json.loads(path.read_bytes())
    said["appended"][layout.CHRONOLOG]["bytes"] = claimed
    path.write_text(json.dumps(said))
    assert found(session.folder)[layout.seal(2)] == "altered"


def test_a_file_too_large_to_be_read_is_named(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("discernus.sessions.integrity.examination.MOST_BYTES", 1 << 24)
    with (session.folder / "huge.json").open("wb") as file:
        file.truncate((1 << 24) + 1)
    assert found(session.folder) == {"huge.json": "altered"}


def test_a_zip_that_unpacks_to_far_more_than_it_is_is_not_unpacked(tmp_path: Path) -> None:
    bomb = tmp_path / "bomb.zip"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("package/bagit.txt", "x")
        archive.writestr("package/data/bomb", bytes(150_000_000))
    (one,) = verify(bomb).findings
    assert "would unpack to 150 MB" in one.what


LINK = (stat.S_IFLNK | 0o777) << 16
PIPE = (stat.S_IFIFO | 0o600) << 16


@pytest.mark.parametrize(
    ("name", "kind", "said"),
    [
        ("/etc/passwd", 0, "outside itself"),
        ("package/data/../../evil.txt", 0, "outside itself"),
        ("package\\..\\evil.txt", 0, "outside itself"),
        ("package/data/zero", LINK, "holds a link"),
        ("package/data/pipe", PIPE, "no plain file"),
    ],
    ids=["absolute", "above", "backslashes", "link", "pipe"],
)
def test_a_zip_that_leads_out_of_itself_is_refused_by_the_name_of_the_entry(
    session: Session, tmp_path: Path, name: str, kind: int, said: str
) -> None:
    hostile = tmp_path / "hostile.zip"
    package = packed(session, tmp_path)
    with zipfile.ZipFile(hostile, "w") as archive:
        for path in sorted(path for path in package.rglob("*") if path.is_file()):
            archive.write(path, path.relative_to(tmp_path))
        entry = zipfile.ZipInfo(name)
        entry.external_attr = kind
        archive.writestr(entry, "/etc/passwd")
    with pytest.raises(NotVerifiable, match=said) as refused:
        verify(hostile)
    assert repr(name) in str(refused.value)
    done = CliRunner().invoke(app, ["verify", str(hostile)])
    assert isinstance(done.exception, CommandError)
    assert done.exception.code == INVALID == 2
    assert not (tmp_path / "evil.txt").exists()


@pytest.mark.parametrize("names", [("package/a", "package/a/b"), (f"package/{'n' * 300}",)], ids=["twice", "long"])
def test_names_in_a_zip_that_no_disk_takes_are_findings(tmp_path: Path, names: tuple[str, ...]) -> None:
    hostile = tmp_path / "hostile.zip"
    with zipfile.ZipFile(hostile, "w") as archive:
        for name in ("package/bagit.txt", *names):
            archive.writestr(name, "x")
    assert any(place.endswith(names[-1].removeprefix("package/")) for place in found(hostile))


@pytest.mark.parametrize(
    ("name", "data"),
    [
        (layout.SESSION, b"[" * 100_000),
        (layout.STATUS, b"[" * 100_000),
        ("corpus_manifest.json", b'{"a": NaN}'),
        (layout.SETTINGS, b'{"a": "\\ud800", "snapshot_sha256": "x"}'),
        (Call(1).request, b"[" * 100_000),
    ],
)
def test_what_json_can_hold_and_nothing_can_read_is_altered(session: Session, name: str, data: bytes) -> None:
    (session.folder / name).write_bytes(data)
    assert found(session.folder) == {name: "altered"}
    session.note_status("running", "")
    assert name == layout.STATUS or {one.file for one in examine(session.folder).findings} >= {name}


@pytest.mark.parametrize("name", [layout.seal(2), layout.signature(2), f"{layout.SEGMENTS}/added.jsonl"])
def test_a_folder_in_the_place_of_a_file_is_named_and_the_rest_is_looked_at(session: Session, name: str) -> None:
    (session.folder / name).unlink(missing_ok=True)
    (session.folder / name).mkdir()
    (session.folder / layout.RESULTS).write_bytes(b"a,b\n1,2\n")
    told = verify(session.folder)
    named = {one.file: one.kind for one in told.findings}
    assert layout.RESULTS in named
    assert named.get(name) == {layout.seal(2): "removed", layout.signature(2): "altered"}.get(name)
    assert told.files > 50


# lines


def test_the_lines_of_long_files_are_compared_in_little_time() -> None:
    before = b"".join(b"%d\n" % number for number in range(200_000))
    lines = before.splitlines(keepends=True)
    turned: list[Finding] = list(changed_lines("a.csv", marks_of(before), b"".join(reversed(lines))))
    assert (turned[0].kind, turned[0].place, turned[0].what) == (
        "reordered",
        "a.csv:1",
        "this line stood at line 200000",
    )
    assert turned[-1].what == "199980 more of its lines are not as they were"
    lines[3], lines[-4] = b"x\n", b"y\n"
    places = [one.place for one in changed_lines("a.csv", marks_of(before), b"".join(lines))]
    assert places == ["a.csv:4", "a.csv:199997"]
    assert next(changed_lines("a.csv", marks_of(before), b"z\n" * 150_000)).kind == "altered"
