"""What a verification proves: of sealed sessions, of those under way, of signatures, redactions and packages."""

from __future__ import annotations

import asyncio
import gzip
import json
import shutil
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import bagit
import pytest

from cli.exits import CommandError
from cli.verifying import verify_command
from discernus.canonical import canonical_json
from discernus.sessions import layout
from discernus.sessions.archive import ArchivedCall
from discernus.sessions.calls import Calls
from discernus.sessions.chronologs.project_chronolog import project_chronolog
from discernus.sessions.integrity.manifests import LINED, Covered, cover, is_covered
from discernus.sessions.integrity.redaction import Kind, Redacted, Redaction, record_redaction
from discernus.sessions.integrity.seals import newest_seal, read_seal, status_of
from discernus.sessions.integrity.signing import fingerprint, read_public_key
from discernus.sessions.integrity.verification import NotVerifiable, is_package, verify
from discernus.sessions.layout import Call
from discernus.sessions.owners import Owner
from discernus.sessions.questions import read_question
from discernus.sessions.session import Session
from discernus.settings import Settings
from discernus.stages.analysis import analyse
from discernus.stages.calculation import calculate
from discernus.stages.checkpoints import go_back
from discernus.stages.reading import read_answer
from discernus.stages.sealing import seal
from discernus.stages.synthesis import synthesise
from tests.running import REPOSITORY
from tests.sealed_sessions import answered, close, new_key, sealed
from tests.stand_ins import Model, answer, opened, question, scores


def found(folder: Path) -> dict[str, str]:
    return {one.place: one.kind for one in verify(folder).findings}


def at_work(tmp_path: Path) -> Session:
    session = answered(tmp_path)
    session.chronolog.flush()  # its thread may still be writing what was just noted
    return session


def closed(tmp_path: Path, signing_key: Path | None = None) -> Session:
    session = answered(tmp_path)
    close(session, signing_key)
    return session


def rewrite(path: Path, change: Callable[[dict[str, object]], object]) -> None:
    said = json.loads(path.read_bytes())
    change(said)
    path.write_text(json.dumps(said, ensure_ascii=False, indent=1))


def seal_by_hand(session: Session) -> None:
    """Do what an attacker does who knows the format: list the files as they are now, and let the status follow."""
    file = newest_seal(session.store)
    assert file is not None
    assert file.seal is not None
    now = cover(session.folder, is_covered)
    forged = file.seal.model_copy(update={**{name: getattr(now, name) for name in Covered.model_fields}})
    forged = forged.model_copy(update={"root_sha256": now.root()})
    (session.folder / file.name).write_text(forged.model_dump_json(indent=1))
    again = read_seal(session.store, file.version)
    (session.folder / layout.STATUS).write_bytes(status_of(again))


# sealed


def test_a_sealed_session_is_intact_and_says_what_it_cannot_prove(tmp_path: Path) -> None:
    told = verify(closed(tmp_path).folder)
    assert (told.intact, told.state, told.version, told.signed_by) == (True, "sealed", 1, None)
    assert [one.what for one in told.uncovered] == ["who sealed it"]


def test_verifying_writes_nothing(tmp_path: Path) -> None:
    folder = closed(tmp_path).folder
    before = {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in tmp_path.rglob("*")}
    verify(folder)
    assert {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in tmp_path.rglob("*")} == before


def test_a_copy_elsewhere_is_intact_and_misses_the_projects_chronolog(tmp_path: Path) -> None:
    copy = shutil.copytree(closed(tmp_path).folder, tmp_path / "copy")
    told = verify(copy)
    assert told.intact
    assert "whether this is the seal that was first written" in [one.what for one in told.uncovered]


def test_a_seal_that_was_forged_with_its_status_is_given_away_by_the_chronolog(tmp_path: Path) -> None:
    session = closed(tmp_path)
    path = session.folder / layout.RESULTS
    path.write_bytes(path.read_bytes().replace(b"0.3", b"0.9"))
    seal_by_hand(session)
    assert found(session.folder) == {layout.seal(1): "altered"}


def test_a_session_written_anew_with_its_chronolog_is_given_away_by_the_projects(tmp_path: Path) -> None:
    session = closed(tmp_path)
    chronolog = project_chronolog(tmp_path / "projects", "bench")
    kept = chronolog.read_bytes()
    chronolog.unlink()
    (session.folder / layout.RESULTS).write_bytes(b"a,b\n1,2\n")
    shutil.rmtree(session.folder / layout.SEGMENTS)
    for name in (layout.CHRONOLOG, layout.seal(1), layout.STATUS):
        (session.folder / name).unlink()
    program = (
        "import sys; from pathlib import Path; from discernus.stages.sealing import seal; "
        "from discernus.sessions.session import Session; seal(Session(Path(sys.argv[1])))"
    )
    subprocess.run([sys.executable, "-c", program, str(session.folder)], check=True, cwd=REPOSITORY)
    assert found(session.folder) == {}
    chronolog.write_bytes(kept)
    assert found(session.folder) == {layout.seal(1): "altered"}


def test_a_projects_chronolog_that_was_changed_is_no_witness_any_more(tmp_path: Path) -> None:
    session = closed(tmp_path)
    chronolog = project_chronolog(tmp_path / "projects", "bench")
    chronolog.write_bytes(chronolog.read_bytes().replace(b"speeches", b"speechez", 1))
    assert found(session.folder) == {f"{chronolog.name}:1": "altered"}


def test_a_status_that_says_it_runs_does_not_unlock_a_sealed_session(tmp_path: Path) -> None:
    session = closed(tmp_path)
    (session.folder / layout.STATUS).write_text(json.dumps({"status": "running", "reason": ""}))
    (session.folder / layout.RESULTS).write_bytes(b"")
    told = verify(session.folder)
    assert told.state == "sealed"
    assert {one.file for one in told.findings} == {layout.STATUS, layout.RESULTS}


def test_a_log_that_was_compressed_since_is_no_finding_and_a_new_one_is_named_as_not_covered(tmp_path: Path) -> None:
    session = answered(tmp_path)
    log = session.folder / "logs/operational_host-1_20261120T101500Z.001.jsonl"
    log.parent.mkdir()
    log.write_bytes(b'{"event":"a"}\n')
    seal(session)
    with gzip.open(log.with_name(f"{log.name}.gz"), "wb") as packed:
        packed.write(b'{"event":"a"}\n{"event":"b"}\n')
    log.unlink()
    told = verify(session.folder)
    assert told.findings == ()
    assert "1 file below logs/" in [one.what for one in told.uncovered]
    log.with_name(f"{log.name}.gz").unlink()
    assert found(session.folder) == {log.relative_to(session.folder).as_posix(): "removed"}


def test_each_seal_holds_the_one_before(tmp_path: Path) -> None:
    session = sealed(tmp_path)
    first, second = read_seal(session.store, 1), read_seal(session.store, 2)
    assert second.seal is not None
    assert second.seal.previous_seal_sha256 == first.sha256
    (session.folder / first.name).unlink()
    assert found(session.folder)[first.name] == "removed"


def test_a_seal_of_the_first_format_is_read_and_what_it_left_out_is_no_finding(tmp_path: Path) -> None:
    session = closed(tmp_path)
    now = cover(
        session.folder, lambda name: is_covered(name) and not name.startswith(("logs/", "fault_recovery/waiting/"))
    )
    files = {name: one for name, one in now.files.items() if name != layout.LIMITS}
    said = json.loads((session.folder / layout.seal(1)).read_bytes())
    kept = ("session", "version", "sealed_at", "discernus_version", "status", "scored", "parked", "in_doubt")
    old = {name: said[name] for name in (*kept, "cost_usd", "unpriced", "in_doubt_usd")}
    root = sha256(canonical_json(files)).hexdigest()
    (session.folder / layout.seal(1)).write_text(json.dumps({"format": 1, **old, "root_sha256": root, "files": files}))
    (session.folder / layout.STATUS).write_text(json.dumps({"status": said["status"], "reason": "", "at": "then"}))
    shutil.rmtree(session.folder / layout.SEGMENTS)
    (session.folder / layout.CHRONOLOG).unlink()
    project_chronolog(tmp_path / "projects", "bench").unlink()
    assert found(session.folder) == {}
    (session.folder / Call(1).response).write_text("another answer")
    assert found(session.folder) == {Call(1).response: "altered"}


def test_a_seal_of_a_later_format_is_said_to_be_one(tmp_path: Path) -> None:
    session = closed(tmp_path)
    rewrite(session.folder / layout.seal(1), lambda said: said.update(format=3))
    assert any("format 3" in one.what for one in verify(session.folder).findings)


def test_what_a_vendor_said_never_decides_whether_an_answer_counts(tmp_path: Path) -> None:
    session = at_work(tmp_path)
    odd: dict[str, object] = {
        "model_answered": None,
        "finish_reason": "exploded",
        "response_as_received": {"choices": [[[]]] * 3},
    }
    rewrite(session.folder / Call(1).metadata, lambda said: said.update(odd, completion_tokens=-1))
    assert found(session.folder) == {}


@pytest.mark.parametrize("levels", [63, 66, 250, 700, 100_000])
def test_an_answer_counts_however_deeply_its_vendors_body_is_nested(tmp_path: Path, levels: int) -> None:
    session = at_work(tmp_path)
    body, call = "[" * levels + "]" * levels, Call(4, ask=2)
    with Owner(tmp_path / "owners") as owner:
        intent = session.archive.claim(call, question(), "k", owner)
        session.archive.commit(call, intent, question(), answer("an answer", response_as_received=body))
    kept = session.archive.look_up(call)
    assert kept is not None
    assert kept[1] == "an answer"
    assert found(session.folder) == {}


# under way


def test_a_session_under_way_is_not_called_sealed(tmp_path: Path) -> None:
    told = verify(at_work(tmp_path).folder)
    assert (told.intact, told.state, told.version) == (True, "under_way", None)
    assert told.uncovered[0].what == "what is not final"


@pytest.mark.parametrize(
    ("name", "data", "kind"),
    [
        ("llm_archive/response_001.txt", b"another answer", "altered"),
        ("llm_archive/response_001.txt", None, "removed"),
        ("llm_archive/request_001.json", None, "removed"),
        ("llm_archive/metadata_001.json", b"{}", "altered"),
        ("llm_archive/rival_response_001_try1.txt", b"another", "altered"),
        ("llm_archive/error_002_try1.json", b"", "altered"),
        ("experiment_snapshot.md", b"another experiment", "altered"),
        ("framework_snapshot.md", None, "removed"),
        ("corpus_manifest.json", b"{}", "altered"),
        ("corpus/one_more.txt", b"a text", "added"),
        ("settings_snapshot.json", b"{}", "altered"),
        ("extracted/extracted_001.json", b"{}", "altered"),
        ("fault_recovery/parked/parked_004.json", b"", "altered"),
        ("fault_recovery/intents/004_ask1_try1.json", b"{}", "altered"),
        ("system_state/session.json", b"{}", "altered"),
        ("llm_archive/response_002.txt", "llm_archive/response_001.txt", "altered"),
    ],
)
def test_files_under_way_have_to_agree(tmp_path: Path, name: str, data: bytes | str | None, kind: str) -> None:
    folder = at_work(tmp_path).folder
    if data is None:
        (folder / name).unlink()
    else:
        (folder / name).write_bytes(data if isinstance(data, bytes) else (folder / data).read_bytes())
    assert found(folder)[name] == kind


def test_a_message_under_way_has_to_have_the_hash_of_its_name(tmp_path: Path) -> None:
    session = at_work(tmp_path)
    name = layout.message(read_question(session.store, Call(1).request)["messages"][0]["content_sha256"])
    session.store.put(name, b"another question")
    assert found(session.folder) == {name: "altered"}
    session.store.remove(name)
    assert found(session.folder) == {name: "removed"}


def test_an_answer_rewritten_with_its_metadata_is_given_away_by_the_chronolog(tmp_path: Path) -> None:
    session = at_work(tmp_path)
    text = b'{"tone": "kinder"}'
    (session.folder / Call(1).response).write_bytes(text)
    digest = sha256(text).hexdigest()
    for name in (Call(1).metadata, layout.extracted(1)):
        rewrite(session.folder / name, lambda said: said.update(response_sha256=digest))
    assert found(session.folder) == {Call(1).response: "altered", layout.extracted(1): "altered"}


def test_a_metadata_whose_attempt_was_cut_off_misses_no_answer(tmp_path: Path) -> None:
    session = at_work(tmp_path)
    record = ArchivedCall.model_validate_json(session.store.get(Call(1).metadata))
    cut_off = record.model_copy(update={"call": "004_ask1", "attempt": 1})
    session.store.put(Call(4, ask=1).metadata, cut_off.model_dump_json().encode())
    assert found(session.folder) == {}
    (session.folder / Call(4, ask=1).intent(1)).unlink()
    assert found(session.folder) == {Call(4, ask=1).response: "removed"}


def test_a_session_may_be_verified_while_it_is_at_work(tmp_path: Path) -> None:
    session = opened(tmp_path, documents=60, runs=2)

    async def work() -> None:
        with Owner(tmp_path / "owners") as owner:
            calls = Calls(owner, Model(scores()), minimum_free_bytes=0)
            for number in range(1, 121):
                await analyse(session, calls, Settings(), number, 0)
                read_answer(session, number, 0, final=True)

    worker = threading.Thread(target=lambda: asyncio.run(work()))
    worker.start()
    while worker.is_alive():
        told = verify(session.folder)
        assert (told.findings, told.state) == ((), "under_way")
    worker.join()
    assert len(session.store.names(layout.EXTRACTED)) == 120


def test_what_a_stage_left_is_held_against_its_checkpoint(tmp_path: Path) -> None:
    session = at_work(tmp_path)
    calculate(session)
    assert found(session.folder) == {}
    table = session.folder / layout.RESULTS
    table.write_bytes(table.read_bytes().replace(b"0.3", b"0.9"))
    assert {place.rpartition(":")[0] for place in found(session.folder)} == {layout.RESULTS}
    synthesise(session)
    assert {place.rpartition(":")[0] for place in found(session.folder)} == {layout.RESULTS}


def test_every_stage_lists_what_it_left(tmp_path: Path) -> None:
    session = closed(tmp_path)
    listed = {}
    for stage in ("analysis", "extraction", "calculation", "synthesis"):
        files = json.loads(session.store.get(layout.checkpoint(stage)))["files"]
        listed[stage] = set(files)
    assert {Call(1).request, Call(1).response, Call(1).metadata, Call(2).error(1)} <= listed["analysis"]
    assert layout.extracted(1) in listed["extraction"]
    reports = {layout.RESULTS, layout.DICTIONARY, layout.EVIDENCE, layout.CONSISTENCY}
    assert listed["calculation"] == {*reports, layout.BRIEF, layout.CALL_LOG, layout.EXTRACTION_LOG}
    assert {layout.REPORT, layout.page(1)} <= listed["synthesis"]
    assert all(not one & other for one in listed.values() for other in listed.values() if one is not other)


def test_a_session_that_goes_on_keeps_what_was_sealed_of_its_answers(tmp_path: Path) -> None:
    session = closed(tmp_path)
    go_back(session, "calculation")
    told = verify(session.folder)
    assert (told.findings, told.state, told.version) == ((), "under_way", 1)
    (session.folder / Call(1).response).write_text("another answer")
    kept = session.folder / layout.superseded(1, layout.RESULTS)
    kept.write_bytes(kept.read_bytes()[:-9])
    assert found(session.folder) == {Call(1).response: "altered", layout.superseded(1, layout.RESULTS): "altered"}


# signatures


def test_a_signature_by_the_given_key_is_accepted(tmp_path: Path) -> None:
    private, public = new_key(tmp_path)
    folder = closed(tmp_path, private).folder
    key = read_public_key(public)
    told = verify(folder, public_key=key)
    assert (told.intact, told.signed_by) == (True, fingerprint(key))
    assert told.uncovered == ()


def test_a_signature_by_another_key_is_named(tmp_path: Path) -> None:
    folder = closed(tmp_path, new_key(tmp_path)[0]).folder
    other = read_public_key(new_key(tmp_path, "other")[1])
    assert {one.kind for one in verify(folder, public_key=other).findings} == {"wrong_key"}


def test_an_unsigned_session_is_a_finding_where_a_key_is_given(tmp_path: Path) -> None:
    key = read_public_key(new_key(tmp_path)[1])
    assert [one.kind for one in verify(closed(tmp_path / "a").folder, public_key=key).findings] == ["unsigned"]
    assert [one.kind for one in verify(at_work(tmp_path / "b").folder, public_key=key).findings] == ["unsigned"]


def test_a_seal_that_was_signed_misses_its_signature(tmp_path: Path) -> None:
    folder = closed(tmp_path, new_key(tmp_path)[0]).folder
    (folder / layout.signature(1)).unlink()
    assert found(folder) == {layout.signature(1): "removed"}


def test_what_is_forged_everywhere_but_in_the_signature_is_given_away_by_that(tmp_path: Path) -> None:
    session = closed(tmp_path, new_key(tmp_path)[0])
    (session.folder / layout.RESULTS).write_bytes(b"a,b\n1,2\n")
    seal_by_hand(session)
    file = newest_seal(session.store)
    assert file is not None
    shutil.rmtree(session.folder / layout.SEGMENTS)
    (session.folder / layout.CHRONOLOG).unlink()
    project_chronolog(tmp_path / "projects", "bench").unlink()
    assert found(session.folder)[layout.signature(1)] == "inconsistent"


def test_sealing_again_with_a_key_signs_the_seal_that_is_there(tmp_path: Path) -> None:
    session = closed(tmp_path)
    private, public = new_key(tmp_path)
    assert seal(session, private).version == 1
    assert verify(session.folder, public_key=read_public_key(public)).intact


def test_a_key_that_has_gone_by_the_end_leaves_a_seal_without_signature(tmp_path: Path) -> None:
    folder = closed(tmp_path, tmp_path / "gone.pem").folder
    told = verify(folder)
    assert (told.intact, told.signed_by, told.version) == (True, None, 1)


# redactions


def redacted(session: Session, name: str, now: bytes | None, kind: Kind = "erasure") -> None:
    """Take a text out as a record says."""
    before = sha256(session.store.get(name)).hexdigest()
    after = None if now is None else sha256(now).hexdigest()
    record_redaction(
        session.store,
        Redaction(
            kind=kind,
            at=datetime.now(UTC),
            reason="a request",
            documents=("one",),
            files=(Redacted(name=name, sha256=before, replaced_by=after),),
        ),
    )
    if now is None:
        session.store.remove(name)
    else:
        session.store.put(name, now)


@pytest.mark.parametrize("now", [b"taken out", None], ids=["replaced", "removed"])
def test_a_redaction_that_was_sealed_is_listed_and_no_finding(tmp_path: Path, now: bytes | None) -> None:
    session = closed(tmp_path)
    document = f"corpus/{session.definition.documents[0].file}"
    redacted(session, document, now)
    assert {document, layout.redaction(1)} == set(found(session.folder))
    assert seal(session).version == 2
    told = verify(session.folder)
    assert told.findings == ()
    assert [(one.record, one.sealed, one.redaction.reason) for one in told.redactions] == [
        (layout.redaction(1), True, "a request")
    ]
    session.store.put(document, b"something else")
    assert found(session.folder) == {document: "altered" if now else "added"}


def test_a_redaction_accounts_for_no_seal_and_no_chronolog(tmp_path: Path) -> None:
    session = closed(tmp_path)
    redacted(session, layout.checkpoint("analysis"), b"{}")
    assert layout.checkpoint("analysis") in found(session.folder)


# packages


def packed(tmp_path: Path, session: Session, withheld: str | None = None) -> Path:
    package = tmp_path / "package"
    copy = shutil.copytree(session.folder, package / "session")
    if withheld is not None:
        redacted(Session(copy), withheld, b"withheld", "withholding")
    bagit.make_bag(str(package), {"Contact-Name": "Ada"}, checksums=["sha256"])
    return package


def test_a_package_is_verified_with_the_session_in_it(tmp_path: Path) -> None:
    package = packed(tmp_path, closed(tmp_path))
    told = verify(package)
    assert (told.findings, told.packaged, told.version) == ((), True, 1)


@pytest.mark.parametrize(
    ("name", "data", "kind"),
    [
        ("data/session/llm_archive/response_001.txt", b"another", "altered"),
        ("data/session/llm_archive/response_001.txt", None, "removed"),
        ("data/session/notes.txt", b"new", "added"),
        ("bag-info.txt", b"Contact-Name: Eve\n", "altered"),
        ("bagit.txt", None, "removed"),
        ("extra.txt", b"new", "added"),
        ("manifest-sha256.txt", None, "removed"),
        ("tagmanifest-sha256.txt", None, "removed"),
        ("data/session/system_state/session.json", None, "removed"),
    ],
)
def test_a_package_that_was_changed_says_where(tmp_path: Path, name: str, data: bytes | None, kind: str) -> None:
    package = packed(tmp_path, closed(tmp_path))
    if data is None:
        (package / name).unlink()
    else:
        (package / name).write_bytes(data)
    assert found(package)[name] == kind


def test_a_package_whose_checksums_were_forged_is_given_away_by_the_seal(tmp_path: Path) -> None:
    package = packed(tmp_path, closed(tmp_path))
    (package / "data/session/llm_archive/response_001.txt").write_text("another")
    bag = bagit.Bag(str(package))
    bag.save(manifests=True)
    assert found(package) == {"data/session/llm_archive/response_001.txt": "altered"}


def test_a_package_may_withhold_texts_by_a_record_that_no_seal_covers(tmp_path: Path) -> None:
    session = closed(tmp_path)
    package = packed(tmp_path, session, f"corpus/{session.definition.documents[0].file}")
    told = verify(package)
    assert told.findings == ()
    assert [one.sealed for one in told.redactions] == [False]


def test_a_zip_is_verified_and_one_that_is_damaged_says_so(tmp_path: Path) -> None:
    package = packed(tmp_path, closed(tmp_path))
    archive = Path(shutil.make_archive(str(tmp_path / "package"), "zip", tmp_path, "package"))
    assert verify(archive).findings == ()
    data = bytearray(archive.read_bytes())
    with zipfile.ZipFile(archive) as packed_files:
        entry = packed_files.getinfo("package/data/session/llm_archive/response_001.txt")
    data[entry.header_offset + 30 + len(entry.filename) + 4] ^= 1
    archive.write_bytes(bytes(data))
    assert "data/session/llm_archive/response_001.txt" in found(archive)
    archive.write_bytes(bytes(data[: len(data) // 2]))
    assert found(archive) == {"package.zip": "torn"}
    assert package.is_dir()


def test_what_is_neither_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(NotVerifiable, match="neither a session nor a package"):
        verify(tmp_path / "empty")
    (tmp_path / "garbage.zip").write_bytes(b"no package at all")
    with zipfile.ZipFile(tmp_path / "of_something_else.zip", "w") as archive:
        archive.writestr("letter.txt", "x")
    for name in ("garbage.zip", "of_something_else.zip"):
        with pytest.raises(NotVerifiable, match=f"{name}' holds no package"):
            verify(tmp_path / name)


def test_a_folder_of_several_packages_is_verified_by_none_of_them(tmp_path: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / "out" / name).mkdir(parents=True)
        (tmp_path / "out" / name / "bagit.txt").write_text("x")
    with pytest.raises(NotVerifiable, match=r"holds 2 packages: first, second; name one"):
        verify(tmp_path / "out")
    assert is_package(tmp_path / "out")


# the command


def said(capsys: pytest.CaptureFixture[str], settings: Settings, name: str, **more: object) -> tuple[int, str]:
    code = verify_command(settings, name, more.get("public_key"), as_json=bool(more.get("as_json")))  # type: ignore[arg-type]
    return code, capsys.readouterr().out


def test_the_command_says_the_verdict_first_and_fits_80_columns(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    session = sealed(tmp_path)
    settings = Settings(projects_dir=tmp_path / "projects")
    code, told = said(capsys, settings, "speeches")
    assert (code, told.partition(":")[0]) == (0, "intact")
    assert "Not covered\n  who sealed it: it is not signed" in told
    table = session.folder / layout.RESULTS
    table.write_bytes(table.read_bytes().replace(b"0.3", b"0.9"))
    (session.folder / "notes.md").write_text("mine")
    code, told = said(capsys, settings, session.facts.session)
    assert code == 3
    assert told.startswith(f"NOT INTACT: {session.name}: ")
    assert f"\n  {layout.RESULTS}:3\n    this line is not what it was" in told
    assert "Added (1)\n  notes.md\n" in told
    assert max(map(len, told.splitlines())) <= 80


def test_programs_are_told_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    session = closed(tmp_path, new_key(tmp_path)[0])
    settings = Settings(projects_dir=tmp_path / "projects")
    (session.folder / Call(1).response).unlink()
    code, told = said(capsys, settings, session.name, as_json=True)
    facts = json.loads(told)
    assert (code, facts["intact"], facts["version"]) == (3, False, 1)
    assert [(one["kind"], one["place"]) for one in facts["findings"]] == [("removed", Call(1).response)]
    assert facts["signed_by"].startswith("SHA256:")


def test_a_session_without_its_facts_is_still_found_by_its_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    session = closed(tmp_path)
    name = session.name
    (session.folder / layout.SESSION).unlink()
    code, told = said(capsys, Settings(projects_dir=tmp_path / "projects"), name)
    assert (code, f"  {layout.SESSION}\n    it is gone" in told) == (3, True)


def test_a_package_is_verified_where_there_is_no_projects_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    package = packed(tmp_path, closed(tmp_path))
    code, told = said(capsys, Settings(projects_dir=tmp_path / "none"), str(package))
    assert (code, told.startswith("intact: the package of bench/speeches/session_")) == (0, True)


def test_no_name_at_all_is_not_the_folder_one_happens_to_be_in(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(packed(tmp_path, closed(tmp_path)))
    with pytest.raises(CommandError, match="there is no experiment ''"):
        said(capsys, Settings(projects_dir=tmp_path / "projects"), "")


def test_a_key_file_that_is_none_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    private, _ = new_key(tmp_path)
    with pytest.raises(CommandError, match="is no public Ed25519 key"):
        said(capsys, Settings(projects_dir=tmp_path), "speeches", public_key=private)


def test_lined_files_are_those_of_which_a_seal_holds_lines(tmp_path: Path) -> None:
    session = closed(tmp_path)
    file = newest_seal(session.store)
    assert file is not None
    assert file.seal is not None
    names = {*file.seal.files, *file.seal.appended}
    assert set(file.seal.lines) == {name for name in names if name.endswith(LINED)}
