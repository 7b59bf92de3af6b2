"""What a session's files are known by, and who signs for them."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from hashlib import sha256
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from cli.exits import CommandError
from cli.preparing import prepare
from discernus.sessions import layout
from discernus.sessions.integrity.differences import changed_lines
from discernus.sessions.integrity.findings import Finding
from discernus.sessions.integrity.manifests import Covered, cover, hash_files, is_covered, marks_of, names_in
from discernus.sessions.integrity.signing import (
    KeyUnusable,
    SignatureDamaged,
    fingerprint,
    holds,
    read_private_key,
    read_public_key,
    read_signature,
    sign,
)
from discernus.settings import Settings
from discernus.stages.sealing import seal
from tests.sealed_sessions import answered, new_key
from tests.stand_ins import opened

LINES = [b"a\n", b"b\n", b"c\n", b"d\n"]


def places(now: list[bytes], *, grows: bool = False) -> list[tuple[str, str]]:
    findings = changed_lines("t.jsonl", marks_of(b"".join(LINES)), b"".join(now), grows=grows)
    return [(one.kind, one.place) for one in findings]


# files and lines


def test_the_root_changes_with_any_name_and_any_byte(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "one.txt").write_text("1")
    (tmp_path / "logs/a.jsonl").write_text("{}\n")
    roots = {cover(tmp_path, is_covered).root()}
    (tmp_path / "one.txt").write_text("2")
    roots.add(cover(tmp_path, is_covered).root())
    (tmp_path / "one.txt").rename(tmp_path / "two.txt")
    roots.add(cover(tmp_path, is_covered).root())
    (tmp_path / "logs/a.jsonl").write_text("{}\n{}\n")
    roots.add(cover(tmp_path, is_covered).root())
    assert len(roots) == 4


def test_files_are_hashed_by_name_at_any_depth_and_what_is_gone_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/b/c.txt").write_text("deep")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    assert names_in(tmp_path) == ["a/b/c.txt", "dangling"]
    found = hash_files(tmp_path, [*names_in(tmp_path), "never"])
    assert {name: one.sha256 for name, one in found.items()} == {"a/b/c.txt": sha256(b"deep").hexdigest()}


def test_more_files_than_a_thread_takes_at_once_are_all_hashed_in_order(tmp_path: Path) -> None:
    names = [f"{number:05d}" for number in range(1203)]
    for name in names:
        (tmp_path / name).write_text(name)
    found = hash_files(tmp_path, names)
    assert list(found) == names
    assert found["01202"].sha256 == sha256(b"01202").hexdigest()


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        ([b"a\n", b"x\n", b"c\n", b"d\n"], [("altered", "t.jsonl:2")]),
        ([b"a\n", b"c\n", b"d\n"], [("removed", "t.jsonl:2")]),
        ([b"a\n", b"b\n", b"c\n"], [("removed", "t.jsonl:4")]),
        ([b"a\n", b"b\n", b"n\n", b"c\n", b"d\n"], [("added", "t.jsonl:3")]),
        ([b"a\n", b"c\n", b"b\n", b"d\n"], [("reordered", "t.jsonl:2"), ("reordered", "t.jsonl:3")]),
        ([b"a\n", b"b\n", b"c\n", b"d"], [("altered", "t.jsonl:4")]),
        ([], [("removed", "t.jsonl:1")]),
    ],
)
def test_lines_are_named_by_where_they_stand_now(now: list[bytes], expected: list[tuple[str, str]]) -> None:
    assert places(now) == expected


def test_what_is_appended_to_a_file_that_grows_is_no_change(tmp_path: Path) -> None:
    assert places([*LINES, b"e\n"]) == [("added", "t.jsonl:5")]
    assert places([b"a\n", b"x\n", *LINES[2:], b"e\n", b"f\n"], grows=True) == [("altered", "t.jsonl:2")]
    assert places([b"b\n", b"c\n", b"d\n", b"e\n"], grows=True) == [("removed", "t.jsonl:1")]


def test_a_file_of_which_every_line_changed_is_not_told_line_by_line_for_ever() -> None:
    before = marks_of(b"".join(b"%d\n" % number for number in range(500)))
    found: list[Finding] = list(changed_lines("t.csv", before, b"".join(b"x%d\n" % number for number in range(500))))
    assert len(found) == 21
    assert "480 more" in found[-1].what


# the seal


def test_a_note_taken_while_the_files_are_hashed_is_sealed_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = answered(tmp_path)
    late = [[{"model": "openai/scribe", "in_flight": 3, "calls_per_minute": None, "source": ""}]]

    def slowly(folder: Path, which: object) -> Covered:
        covered = cover(folder, which)  # type: ignore[arg-type]
        if late:
            session.note_limits(late.pop())
        return covered

    monkeypatch.setattr("discernus.stages.sealing.cover", slowly)
    sealed = seal(session)
    files = json.loads(session.store.get(layout.seal(sealed.version)))["files"]
    assert files[layout.LIMITS] == sha256(session.store.get(layout.LIMITS)).hexdigest()


def test_sealing_again_after_a_kill_before_the_status_changes_nothing_but_the_status(tmp_path: Path) -> None:
    session = answered(tmp_path)
    first = seal(session)
    before = session.store.get(layout.STATUS)
    session.store.remove(layout.STATUS)
    assert seal(session) == first
    assert session.store.get(layout.STATUS) == before


# keys


def test_a_signature_is_of_these_bytes_and_no_others(tmp_path: Path) -> None:
    private, public = new_key(tmp_path)
    written = sign(read_private_key(private), "seal_001.json", b"bytes")
    signature = read_signature(written)
    assert holds(signature, b"bytes")
    assert not holds(signature, b"other bytes")
    assert fingerprint(signature.key) == fingerprint(read_public_key(public))


def test_any_change_to_a_signatures_file_is_noticed(tmp_path: Path) -> None:
    written = sign(read_private_key(new_key(tmp_path)[0]), "seal_001.json", b"bytes")
    for at in range(len(written)):
        changed = written[:at] + bytes([written[at] ^ 1]) + written[at + 1 :]
        try:
            signature = read_signature(changed)
        except SignatureDamaged:
            continue
        assert not holds(signature, b"bytes") or signature.signed_file != "seal_001.json"


def test_keys_of_openssh_are_read_as_well_and_named_as_ssh_names_them(tmp_path: Path) -> None:
    key = Ed25519PrivateKey.generate()
    private, public = tmp_path / "id_ed25519", tmp_path / "id_ed25519.pub"
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
    public.write_bytes(key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH) + b" ada@lab\n")
    named = fingerprint(read_public_key(public))
    assert named == fingerprint(read_private_key(private).public_key())
    if shutil.which("ssh-keygen"):
        told = subprocess.run(["ssh-keygen", "-l", "-f", str(public)], capture_output=True, text=True, check=True)
        assert named in told.stdout


def test_openssl_alone_can_check_a_signature(tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    private, _ = new_key(tmp_path)
    signature = read_signature(sign(read_private_key(private), "seal_001.json", b"bytes"))
    (tmp_path / "seal").write_bytes(b"bytes")
    (tmp_path / "key.pem").write_text(signature.public_key)
    (tmp_path / "signature").write_bytes(base64.b64decode(signature.signature))
    asked = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", "key.pem", "-rawin"]
    asked += ["-in", "seal", "-sigfile", "signature"]
    told = subprocess.run(asked, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "Verified Successfully" in told.stdout, told.stderr


def test_a_key_with_a_passphrase_is_refused_since_nobody_is_there_to_type_it(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    key = Ed25519PrivateKey.generate()
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"a passphrase")))
    with pytest.raises(KeyUnusable, match="has a passphrase"):
        read_private_key(path)


def test_a_key_of_openssh_with_a_passphrase_is_refused_as_well(tmp_path: Path) -> None:
    if shutil.which("ssh-keygen") is None:
        pytest.skip("ssh-keygen is not installed")
    path = tmp_path / "id_ed25519"
    asked = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "a passphrase", "-f", str(path)]
    subprocess.run(asked, check=True, capture_output=True)
    with pytest.raises(KeyUnusable, match="has a passphrase"):
        read_private_key(path)


def test_what_is_no_key_is_refused_and_none_of_it_is_repeated(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    path.write_text("-----BEGIN PRIVATE KEY-----\nsecret-bytes\n-----END PRIVATE KEY-----\n")
    with pytest.raises(KeyUnusable, match="is no private key") as refused:
        read_private_key(path)
    assert "secret-bytes" not in str(refused.value)
    rsa = generate_private_key(public_exponent=65537, key_size=1024)
    path.write_bytes(rsa.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    with pytest.raises(KeyUnusable, match="is no Ed25519 key"):
        read_private_key(path)
    with pytest.raises(KeyUnusable, match="cannot be read: No such file"):
        read_private_key(tmp_path / "none.pem")


def test_a_key_that_cannot_be_used_is_said_before_a_session_begins(tmp_path: Path) -> None:
    session = opened(tmp_path)
    settings = Settings(projects_dir=tmp_path / "projects", signing_key=tmp_path / "none.pem")
    with pytest.raises(CommandError, match=r"none\.pem' cannot be read.*or unset DISCERNUS_SIGNING_KEY"):
        prepare(settings, session.definition)
    private, _ = new_key(tmp_path / "projects")
    with pytest.raises(CommandError, match="lies in the projects folder"):
        prepare(settings.model_copy(update={"signing_key": private}), session.definition)
