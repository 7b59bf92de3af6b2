"""A package is signed with the researcher's key, if there is one; none is made of what was altered."""

from __future__ import annotations

from pathlib import Path

import bagit
import pytest

from discernus.packages.exporting import CannotExport, Wanted, export
from discernus.sessions import layout
from discernus.sessions.integrity.bags import MANIFEST, SIGNATURE, bag_findings
from discernus.sessions.integrity.signing import fingerprint, holds, read_public_key, read_signature
from tests.sealed_sessions import new_key, sealed


def test_the_manifest_of_a_package_is_signed_and_the_bag_is_whole(tmp_path: Path) -> None:
    private, public = new_key(tmp_path)
    made = export(sealed(tmp_path, private), Wanted(tmp_path / "out", signing_key=private))
    signature = read_signature((made.package / SIGNATURE).read_bytes())
    assert signature.signed_file == MANIFEST
    assert fingerprint(signature.key) == fingerprint(read_public_key(public))
    assert holds(signature, (made.package / MANIFEST).read_bytes())
    assert not holds(signature, (made.package / MANIFEST).read_bytes() + b"\n")
    assert list(bag_findings(made.package)) == []
    bagit.Bag(str(made.package)).validate()


def test_a_package_without_a_key_has_no_signature_and_a_key_that_cannot_sign_is_said_first(tmp_path: Path) -> None:
    session = sealed(tmp_path)
    with pytest.raises(CannotExport, match="unset DISCERNUS_SIGNING_KEY"):
        export(session, Wanted(tmp_path / "refused", signing_key=tmp_path / "nowhere.pem"))
    assert not (tmp_path / "refused").exists()
    made = export(session, Wanted(tmp_path / "out"))
    assert not (made.package / SIGNATURE).exists()
    assert list(bag_findings(made.package)) == []


def test_nobody_is_told_to_seal_anew_what_was_altered(tmp_path: Path) -> None:
    session = sealed(tmp_path)
    session.store.put(layout.REPORT, b"# Another report\n")
    with pytest.raises(CannotExport, match=r"final_report\.md.*restore them from a copy, then export again") as refused:
        export(session, Wanted(tmp_path / "out"))
    assert "sealed anew" not in str(refused.value)
