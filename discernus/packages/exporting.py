"""Making a replication package of a session: an RO-Crate in a BagIt bag, and beside it a folder for a Dataverse.

All is made in a temporary folder beside its destination, and put in its place when it is whole.
"""

from __future__ import annotations

import json
import platform
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from importlib.metadata import distributions
from pathlib import Path
from tempfile import TemporaryDirectory

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from discernus import __version__
from discernus.packages.bag import make_bag, sign_bag, zip_bag
from discernus.packages.citation import bibtex
from discernus.packages.crate import LICENCES, METADATA, write_crate
from discernus.packages.dataverse import write_dataverse
from discernus.packages.licences import Licences, licences_page, with_texts
from discernus.packages.methods import methods_page
from discernus.packages.proof import Proof
from discernus.packages.readme import readme
from discernus.packages.subject import Author, Organisation, Subject
from discernus.packages.tables import R_SCRIPT, asked_of, package_tables
from discernus.packages.withholding import (
    REMEDY,
    CannotWithhold,
    copy_session,
    copy_without,
    documents_of,
    proof_for,
)
from discernus.packages.workbench import MODELS_FILE, models_file_at, place_for
from discernus.reports.records import AnalysisRecord
from discernus.reports.scripts import r_script
from discernus.sessions import layout
from discernus.sessions.chronologs.project_chronolog import note_project
from discernus.sessions.integrity.examination import examine
from discernus.sessions.integrity.redaction import Redaction, read_redactions, record_redaction
from discernus.sessions.integrity.signing import KeyUnusable, read_private_key
from discernus.sessions.owners import is_held
from discernus.sessions.session import Session
from discernus.sessions.store import TEMPORARY_PREFIX
from discernus.stages.records import session_records
from discernus.stages.spending import projects_dir_of

ENVIRONMENT = "environment"
WITHHELD = "the package was made without the corpus texts"


class CannotExport(Exception):
    """A session that no package can be made of now, or a destination that is taken; the message says what to do."""


@dataclass(frozen=True)
class Wanted:
    """What a package is to be: where it goes (a folder, or the name of a .zip), what it says, and who signs it."""

    to: Path
    without_texts: bool = False
    authors: tuple[Author, ...] = ()
    publisher: Organisation | None = None
    licences: Licences = field(default_factory=Licences)
    signing_key: Path | None = None


@dataclass(frozen=True)
class Exported:
    """What was made: the package, the folder beside it, the SHA-256 of the bag's manifest, and what was taken out.

    ``licences`` are those given and those that corpus.csv states.
    """

    package: Path
    dataverse: Path
    manifest_sha256: str
    files: int
    bytes: int
    redaction: Redaction | None
    licences: Licences


def export(session: Session, wanted: Wanted) -> Exported:
    """Make the package and return what was made; raises CannotExport, CannotWithhold, OSError.

    The project's chronolog tells of it.
    """
    key = _signing_key(session, wanted)
    _refuse_unsealed(session)
    name = _name(session, wanted)
    package = wanted.to if wanted.to.suffix == ".zip" else wanted.to / name
    dataverse = package.parent / f"{name}_dataverse"
    for taken in (package, dataverse):
        if taken.exists():
            raise CannotExport(f"'{taken}' is there already; move it away, or export to another place with --to")
    package.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=TEMPORARY_PREFIX, dir=package.parent) as temporary:
        bag = Path(temporary) / name
        proof = proof_for(session, documents_of(session, None)) if wanted.without_texts else None
        redaction, records = _write_payload(session, bag, Path(temporary), proof)
        subject = _subject(name, bag, records, wanted)
        _describe(bag, subject)
        make_bag(bag, _bag_info(subject))
        if key is not None:
            sign_bag(bag, key)
        archive = Path(temporary) / f"{name}.zip"
        zip_bag(bag, archive)
        write_dataverse(Path(temporary) / dataverse.name, bag / "data", archive, subject)
        if proof is not None:
            _prove(proof, bag, Path(temporary) / dataverse.name, but=archive.name)
        manifest = sha256((bag / "manifest-sha256.txt").read_bytes()).hexdigest()
        sizes = [path.stat().st_size for path in bag.rglob("*") if path.is_file()]
        (archive if wanted.to.suffix == ".zip" else bag).replace(package)
        (Path(temporary) / dataverse.name).replace(dataverse)
    told = {"session": session.name, "package": package.name, "sha256": manifest}
    note_project(projects_dir_of(session), session.facts.project, "session_exported", **told)
    return Exported(package, dataverse, manifest, len(sizes), sum(sizes), redaction, subject.licences)


def _prove(proof: Proof, bag: Path, dataverse: Path, but: str) -> None:
    """Raise CannotWithhold where any file of what was made says words of the texts; the .zip holds those of the bag."""
    for folder in (bag, dataverse):
        fault = proof.fault_in(folder, but=(but,))
        if fault is not None:
            raise CannotWithhold(f"{fault}, so no package was made; {REMEDY}")


def _signing_key(session: Session, wanted: Wanted) -> Ed25519PrivateKey | None:
    try:
        return None if wanted.signing_key is None else read_private_key(wanted.signing_key, session.projects_dir)
    except KeyUnusable as unusable:
        raise CannotExport(f"{unusable}; or unset DISCERNUS_SIGNING_KEY") from unusable


def _refuse_unsealed(session: Session) -> None:
    if is_held(session.folder / layout.OWNER_LOCK):
        raise CannotExport(f"{session.name} is at work; export it when it has come to its end")
    found = examine(session.folder)
    if found.state != "sealed":
        raise CannotExport(f"{session.name} is not sealed; run it to its end first, then export it")
    if found.findings:
        first = found.findings[0]
        raise CannotExport(
            f"{session.name} is not what was sealed ({first.place}: {first.what}); "
            "`verify` names every file: restore them from a copy, then export again"
        )


def _name(session: Session, wanted: Wanted) -> str:
    facts = session.facts
    without = "_without_texts" if wanted.without_texts else ""
    return wanted.to.stem if wanted.to.suffix == ".zip" else f"{facts.experiment}_{facts.session}{without}"


def _write_payload(
    session: Session, bag: Path, temporary: Path, proof: Proof | None
) -> tuple[Redaction | None, tuple[AnalysisRecord, ...]]:
    """Write the session and its tables, without the texts where there is a proof that they are gone.

    Return what was withheld, None if nothing was, and the session's records.
    """
    models_file = models_file_at(projects_dir_of(session))
    place = place_for(session.facts, temporary, models_file)
    redaction = None
    if proof is not None:
        documents = documents_of(session, None)
        redaction = copy_without(session, place, documents, kind="withholding", reason=WITHHELD, proof=proof)
        record_redaction(Session(place).store, redaction)
    else:
        copy_session(session.folder, place)
    copy = Session(place)
    records = tuple(session_records(copy))
    files = {f"tables/{name}": data for name, data in package_tables(copy).items()}
    files[f"tables/{R_SCRIPT}"] = r_script(copy.definition.framework).encode()
    if models_file is not None:
        files[f"{ENVIRONMENT}/{MODELS_FILE}"] = models_file
    for name, data in files.items():
        (bag / name).parent.mkdir(parents=True, exist_ok=True)
        (bag / name).write_bytes(data)
    place.replace(bag / "session")
    return redaction, records


def _subject(name: str, bag: Path, records: tuple[AnalysisRecord, ...], wanted: Wanted) -> Subject:
    session = Session(bag / "session")
    return Subject(
        name=name,
        session=session,
        records=records,
        calls=tuple(asked_of(session)),
        redactions=tuple(read_redactions(session.store)),
        authors=wanted.authors,
        publisher=wanted.publisher,
        licences=with_texts(wanted.licences, session.definition.documents),
        exported_at=datetime.now(UTC),
        versions={"discernus": __version__, "python": platform.python_version()},
        has_models_file=(bag / ENVIRONMENT / MODELS_FILE).is_file(),
    )


def _describe(folder: Path, subject: Subject) -> None:
    """Write the pages, the versions, and last what describes every file."""
    pages = {
        "methods.md": methods_page(subject),
        "citation.bib": bibtex(subject),
        LICENCES: licences_page(subject.licences, withheld=bool(subject.redactions)),
        f"{ENVIRONMENT}/versions.json": json.dumps(
            {"session": subject.session.facts.versions, "package": subject.versions}, indent=1
        ),
        f"{ENVIRONMENT}/requirements.txt": _installed(),
    }
    (folder / ENVIRONMENT).mkdir(exist_ok=True)
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    pages["README.md"] = readme(subject, {*there, *pages, METADATA} - {"README.md"})
    for name, text in pages.items():
        (folder / name).write_text(text, encoding="utf-8")
    write_crate(folder, subject)


def _installed() -> str:
    """Return every installed package with its version, in the form that pip reads."""
    return "".join(sorted({f"{one.metadata['Name']}=={one.version}\n" for one in distributions()}))


def _bag_info(subject: Subject) -> dict[str, str]:
    facts = subject.session.facts
    info = {
        "External-Identifier": f"{facts.project}/{facts.experiment}/{facts.session}",
        "External-Description": subject.description,
        "Bag-Software-Agent": f"discernus {__version__}",
    }
    if subject.authors:
        info["Contact-Name"] = subject.authors[0].name
    if subject.publisher is not None:
        info["Source-Organization"] = subject.publisher.name
    return info
