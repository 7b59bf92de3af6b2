"""A folder that can be put into a Dataverse as it is: the tables and pages as single files, the package as one .zip.

``dataset.json`` is what the native API takes for a new data set, ``files.json`` the description and tags of each file.
What nobody told us (a contact's address, an abstract) is not made up: README.md there names what is to be filled in.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from discernus.packages.licences import Licences
from discernus.packages.subject import Subject

# Dataverse opens a .zip that is uploaded through its pages; within another one it stays whole.
_README = """# For a Dataverse

1. Make a data set: `curl -H "X-Dataverse-key:$KEY" -X POST "$SERVER/api/dataverses/$NAME/datasets" \\
   --upload-file dataset.json -H "Content-type:application/json"`, or by hand with what `dataset.json` says.
2. Upload every file that `files.json` names. `{name}.zip` is the whole package. Uploaded through the pages of a
   Dataverse, a .zip is opened: put it into another .zip first, or upload it through the API.
3. Set the licence by hand: `LICENCES.md` says which part is under which.
{missing}"""


def write_dataverse(folder: Path, payload: Path, archive: Path, subject: Subject) -> None:
    """Write the folder: from the payload the tables and pages, and the whole package, which is the ``archive``."""
    folder.mkdir(parents=True)
    described: list[dict[str, Any]] = []
    for path in (*sorted((payload / "tables").iterdir()), *(payload / name for name in _PAGES)):
        shutil.copyfile(path, folder / path.name)
        described.append(_file(path.name, _TAGS[path.suffix]))
    report = payload / "session/deliverables/final_report.md"
    if report.is_file():
        shutil.copyfile(report, folder / report.name)
        described.append(_file(report.name, "Documentation"))
    shutil.copyfile(archive, folder / f"{subject.name}.zip")
    described.append(_file(f"{subject.name}.zip", "Code"))
    _dump(folder / "dataset.json", dataset(subject))
    _dump(folder / "files.json", described)
    missing = "".join(f"\nStill to be filled in: {what}." for what in _missing(subject))
    (folder / "README-dataverse.md").write_text(_README.format(name=subject.name, missing=missing), encoding="utf-8")


_PAGES = ("README.md", "methods.md", "citation.bib", "LICENCES.md")
_TAGS = {".csv": "Data", ".md": "Documentation", ".bib": "Documentation"}
_DESCRIPTIONS = {
    "results.csv": "Scores, a row for each analysis",
    "consistency.csv": "Agreement of runs and of models, a row for each coefficient",
    "calls.csv": "Prompts and answers, a row for each",
    "documents.csv": "Texts, a row for each, with its hash",
    "corpus.csv": "What the author says of each text",
    "codebook.csv": "What each column of each table means",
    "final_report.md": "The report",
}


def dataset(subject: Subject) -> dict[str, Any]:
    """Return the citation block of a new data set, in the form of the native API."""
    fields = [
        _primitive("title", subject.title),
        _compound("dsDescription", [{"dsDescriptionValue": subject.description}]),
        {"typeName": "subject", "typeClass": "controlledVocabulary", "multiple": True, "value": ["Social Sciences"]},
        _compound("keyword", [{"keywordValue": one} for one in ("text analysis", "language models", "replication")]),
        _primitive("kindOfData", ["Model annotations of texts"]),
        _compound(
            "software", [{"softwareName": name, "softwareVersion": version} for name, version in _software(subject)]
        ),
        _compound("dateOfCollection", [{"dateOfCollectionStart": f"{subject.session.facts.created_at:%Y-%m-%d}"}]),
    ]
    if subject.authors:
        authors = [
            {"authorName": one.name}
            | ({"authorIdentifierScheme": "ORCID", "authorIdentifier": one.orcid[-19:]} if one.orcid else {})
            for one in subject.authors
        ]
        fields.insert(1, _compound("author", authors))
    return {"datasetVersion": {"metadataBlocks": {"citation": {"fields": fields, "displayName": "Citation Metadata"}}}}


def _missing(subject: Subject) -> list[str]:
    wanted = ["the contact (datasetContact), which every Dataverse asks for"]
    if not subject.authors:
        wanted.append("the authors (export with --author)")
    if subject.licences == Licences():
        wanted.append("the licences (export with --license-texts and --license-annotations)")
    return wanted


def _software(subject: Subject) -> list[tuple[str, str]]:
    return [("discernus", subject.session.facts.versions.get("discernus", "unknown"))]


def _file(name: str, tag: str) -> dict[str, Any]:
    return {"file": name, "description": _DESCRIPTIONS.get(name, name), "categories": [tag], "restrict": False}


def _primitive(name: str, value: str | list[str]) -> dict[str, Any]:
    return {"typeName": name, "typeClass": "primitive", "multiple": isinstance(value, list), "value": value}


def _compound(name: str, values: list[dict[str, str]]) -> dict[str, Any]:
    """Return a field of several parts; the scheme of an identifier is of a controlled vocabulary."""
    return {
        "typeName": name,
        "typeClass": "compound",
        "multiple": True,
        "value": [
            {
                part: {
                    "typeName": part,
                    "typeClass": "controlledVocabulary" if part.endswith("Scheme") else "primitive",
                    "multiple": False,
                    "value": value,
                }
                for part, value in one.items()
            }
            for one in values
        ],
    }


def _dump(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
