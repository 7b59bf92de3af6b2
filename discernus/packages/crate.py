"""ro-crate-metadata.json: every file of the package with what it is, under which licence, and how it came about.

RO-Crate 1.1. The files come here, the history (who made what of what) from ``provenance``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rocrate.model import ContextEntity, File
from rocrate.rocrate import ROCrate

from discernus.packages.contents import DESCRIPTIONS
from discernus.packages.licences import address_of
from discernus.packages.provenance import PROV, add_history
from discernus.packages.subject import Author, Organisation, Subject
from discernus.packages.tables import R_SCRIPT

LICENCES = "LICENCES.md"
METADATA = "ro-crate-metadata.json"
VERSION = "1.1"

_FORMATS = {
    "csv": "text/csv",
    "md": "text/markdown",
    "json": "application/json",
    "jsonl": "application/x-ndjson",
    "txt": "text/plain",
    "first": "text/plain",
    "bib": "application/x-bibtex",
    "gz": "application/gzip",
    "svg": "image/svg+xml",
    "png": "image/png",
    "yaml": "application/yaml",
    "html": "text/html",
    "R": "text/x-r-source",
}


def write_crate(folder: Path, subject: Subject) -> None:
    """Describe every file that is in the folder by now, and write the description beside them."""
    crate = ROCrate(version=VERSION)
    crate.metadata.extra_terms.update({"prov": PROV})
    crate.root_dataset["name"] = subject.title
    crate.root_dataset["description"] = subject.description
    crate.root_dataset["datePublished"] = subject.exported_at.isoformat(timespec="seconds")
    crate.root_dataset["keywords"] = ["text analysis", "language models", "replication package"]
    if subject.authors:
        authors = [_author(crate, author) for author in subject.authors]
        crate.root_dataset["author"] = authors if len(authors) > 1 else authors[0]
    if subject.publisher is not None:
        crate.root_dataset["publisher"] = _organisation(crate, subject.publisher)
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = path.relative_to(folder).as_posix()
        crate.add(File(crate, dest_path=name, properties=_properties(crate, name, path, subject)))
    crate.root_dataset["license"] = {"@id": LICENCES}
    add_history(crate, subject)
    crate.metadata.write(folder)


def _author(crate: ROCrate, author: Author) -> Any:
    identifier = author.orcid or f"#author-{author.name.replace(' ', '-')}"
    properties: dict[str, Any] = {"@type": "Person", "name": author.name}
    if author.affiliation is not None:
        properties["affiliation"] = _organisation(crate, author.affiliation)
    return crate.add(ContextEntity(crate, identifier, properties=properties))


def _organisation(crate: ROCrate, one: Organisation) -> dict[str, str]:
    """Return a reference to the organisation, which is described once."""
    identifier = one.address or f"#organisation-{'-'.join(one.name.split())}"
    if crate.dereference(identifier) is None:
        properties = {"@type": "Organization", "name": one.name} | ({"url": one.address} if one.address else {})
        crate.add(ContextEntity(crate, identifier, properties=properties))
    return {"@id": identifier}


def _properties(crate: ROCrate, name: str, path: Path, subject: Subject) -> dict[str, Any]:
    properties: dict[str, Any] = {
        "name": DESCRIPTIONS.get(name, name),
        "contentSize": str(path.stat().st_size),
        "encodingFormat": _FORMATS.get(path.suffix.removeprefix("."), "application/octet-stream"),
    }
    licence = _licence_of(name, subject)
    if licence is not None:
        properties["license"] = _licence(crate, licence)
    return properties


def _licence_of(name: str, subject: Subject) -> str | None:
    licences = subject.licences
    if name.startswith("session/corpus/"):
        return licences.of_text(name.removeprefix("session/corpus/"))
    if name.startswith("environment/") or name.endswith(R_SCRIPT):
        return licences.code
    return licences.annotations


def _licence(crate: ROCrate, licence: str) -> dict[str, str]:
    """Return a reference to the licence, which is described once."""
    identifier = address_of(licence) or f"#licence-{'-'.join(licence.split())}"
    if crate.dereference(identifier) is None:
        crate.add(ContextEntity(crate, identifier, properties={"@type": "CreativeWork", "name": licence}))
    return {"@id": identifier}
