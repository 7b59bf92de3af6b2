"""A folder that can be put into a Dataverse as it is: the tables and pages as single files, the package as one .zip.

``dataset.json`` is what the native API takes for a new data set, ``files.json`` the description and tags of each file.
What nobody told us (a contact's address, an abstract) is not made up: README.md there names what is to be filled in.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path, PurePath
from typing import Any

from discernus.packages.contents import DESCRIPTIONS
from discernus.packages.licences import Licences
from discernus.packages.subject import Subject

# Dataverse opens a .zip that is uploaded through its pages; within another one it stays whole.
_README = """# For a Dataverse

1. Make a data set: `curl -H "X-Dataverse-key:$KEY" -X POST "$SERVER/api/dataverses/$NAME/datasets" \\
   --upload-file dataset.json -H "Content-type:application/json"`, or by hand with what `dataset.json` says.
2. Upload every file that `files.json` names. `{name}.zip` is the whole package. Uploaded through the pages of a
   Dataverse, a .zip is opened: put it into another .zip first, or upload it through the API.
3. {licence}
{missing}"""


def write_dataverse(folder: Path, payload: Path, archive: Path, subject: Subject) -> None:
    """Write the folder: from the payload the tables and pages, and the whole package, which is the ``archive``."""
    folder.mkdir(parents=True)
    described: list[dict[str, Any]] = []
    for path in (*sorted((payload / "tables").iterdir()), *(payload / name for name in _PAGES)):
        shutil.copyfile(path, folder / path.name)
        described.append(_file(path.name, _MEANS.get(path.name, path.name), _TAGS[path.suffix]))
    report = payload / "session/deliverables/final_report.md"
    if report.is_file():
        shutil.copyfile(report, folder / report.name)
        described.append(_file(report.name, _MEANS[report.name], "Documentation"))
    shutil.copyfile(archive, folder / f"{subject.name}.zip")
    whole = "The whole package: the session with every prompt and answer, the tables, and what checks and repeats them"
    described.append(_file(f"{subject.name}.zip", whole, "Data"))
    _dump(folder / "dataset.json", dataset(subject))
    _dump(folder / "files.json", described)
    missing = "".join(f"\nStill to be filled in: {what}." for what in _missing(subject))
    said = _README.format(name=subject.name, licence=_how_licensed(subject.licences), missing=missing)
    (folder / "README-dataverse.md").write_text(said, encoding="utf-8")


_PAGES = ("README.md", "methods.md", "citation.bib", "LICENCES.md")
_TAGS = {".csv": "Data", ".md": "Documentation", ".bib": "Documentation", ".R": "Code"}
_MEANS = {PurePath(name).name: what for name, what in DESCRIPTIONS.items()}
# Licences that a Dataverse has from its installation on, as it names them.
_INSTALLED = {
    "CC0-1.0": {"name": "CC0 1.0", "uri": "http://creativecommons.org/publicdomain/zero/1.0"},
    "CC-BY-4.0": {"name": "CC BY 4.0", "uri": "http://creativecommons.org/licenses/by/4.0"},
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
    ]
    if (began := _began(subject)) is not None:
        fields.append(_compound("dateOfCollection", [{"dateOfCollectionStart": began}]))
    if subject.authors:
        authors = [
            {"authorName": one.name}
            | ({"authorAffiliation": one.affiliation.name} if one.affiliation else {})
            | ({"authorIdentifierScheme": "ORCID", "authorIdentifier": one.orcid[-19:]} if one.orcid else {})
            for one in subject.authors
        ]
        fields.insert(1, _compound("author", authors))
    blocks = {"citation": {"fields": fields, "displayName": "Citation Metadata"}}
    return {"datasetVersion": {**_terms(subject.licences), "metadataBlocks": blocks}}


def _began(subject: Subject) -> str | None:
    """Return the day on which the session began, None where no time was recorded."""
    facts = subject.session.facts
    return None if facts.clock == "time_not_recorded" else f"{facts.created_at:%Y-%m-%d}"


def _terms(licences: Licences) -> dict[str, Any]:
    """Return the one licence of a data set, or terms in words where its parts are under several or none is stated.

    A data set without either would be given the installation's default licence, which nobody chose.
    """
    if (one := _single(licences)) is not None:
        return {"license": one}
    texts = licences.texts or ("each under its own, as LICENCES.md lists" if licences.by_file else None)
    parts = {"Texts": texts, "Annotations": licences.annotations, "Code": licences.code}
    said = "; ".join(f"{part}: {licence or 'no licence is stated'}" for part, licence in parts.items())
    return {"termsOfUse": f"{said}. LICENCES.md says what each part is."}


def _single(licences: Licences) -> dict[str, str] | None:
    named = {licences.texts, licences.annotations, licences.code}
    return _INSTALLED.get(named.pop() or "") if len(named) == 1 else None


def _how_licensed(licences: Licences) -> str:
    if _single(licences) is not None:
        return "The licence is in `dataset.json`: the texts, the annotations and the code are all under it."
    return "`dataset.json` has terms of use instead of a licence: `LICENCES.md` says which part is under which."


def _missing(subject: Subject) -> list[str]:
    wanted = ["the contact (datasetContact), which every Dataverse asks for"]
    if not subject.authors:
        wanted.append("the authors (export with --author)")
    elif any(author.affiliation is None for author in subject.authors):
        wanted.append("the authors' affiliations (export with --affiliation)")
    if subject.licences.unstated:
        options = ", ".join(f"--license-{part}" for part in subject.licences.unstated)
        wanted.append(f"licences (export with {options})")
    if _began(subject) is None:
        wanted.append("when the answers were collected (dateOfCollection): it was not recorded")
    return wanted


def _software(subject: Subject) -> list[tuple[str, str]]:
    """Return the program in the versions that ran the session, as far as is known, and that made the package."""
    versions = dict.fromkeys((subject.ran, subject.versions["discernus"]))
    return [("discernus", version) for version in versions if version is not None]


def _file(name: str, description: str, tag: str) -> dict[str, Any]:
    return {"file": name, "description": description, "categories": [tag], "restrict": False}


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
