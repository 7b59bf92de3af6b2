"""ro-crate-metadata.json: every file of the package with what it is, under which licence, and how it came about.

RO-Crate 1.1. The files come here, the history (who made what of what) from ``provenance``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rocrate.model import ContextEntity, File
from rocrate.rocrate import ROCrate

from discernus.packages.licences import address_of
from discernus.packages.provenance import PROV, add_history
from discernus.packages.subject import Author, Subject

LICENCES = "LICENCES.md"
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
}
_NAMES = {
    "README.md": "What is in this package, and how to check and repeat it",
    "methods.md": "A paragraph for a paper's methods section",
    "citation.bib": "How to cite this package",
    LICENCES: "Under which licences the parts of this package are",
    "environment/models.yaml": "What was said of the models when the package was made",
    "environment/requirements.txt": "Every Python package where this package was made, with its version",
    "environment/versions.json": "Versions of what ran the session, and of what made this package",
    "tables/results.csv": "Scores: a row for each analysis",
    "tables/consistency.csv": "Agreement of runs and of models: a row for each coefficient, with its interval",
    "tables/calls.csv": "Calls: a row for each prompt and its answer, with the files that hold their words",
    "tables/documents.csv": "Documents: a row for each text, with its hash",
    "tables/corpus.csv": "What the author says of each text",
    "tables/codebook.csv": "What each column of each table means",
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
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = path.relative_to(folder).as_posix()
        crate.add(File(crate, dest_path=name, properties=_properties(crate, name, path, subject)))
    crate.root_dataset["license"] = {"@id": LICENCES}
    add_history(crate, subject)
    crate.metadata.write(folder)


def _author(crate: ROCrate, author: Author) -> Any:
    identifier = author.orcid or f"#author-{author.name.replace(' ', '-')}"
    return crate.add(ContextEntity(crate, identifier, properties={"@type": "Person", "name": author.name}))


def _properties(crate: ROCrate, name: str, path: Path, subject: Subject) -> dict[str, Any]:
    properties: dict[str, Any] = {
        "name": _NAMES.get(name, name),
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
        return licences.texts
    if name.startswith("environment/"):
        return licences.code
    return licences.annotations


def _licence(crate: ROCrate, licence: str) -> dict[str, str]:
    """Return a reference to the licence, which is described once."""
    identifier = address_of(licence) or f"#licence-{'-'.join(licence.split())}"
    if crate.dereference(identifier) is None:
        crate.add(ContextEntity(crate, identifier, properties={"@type": "CreativeWork", "name": licence}))
    return {"@id": identifier}
