"""Under which licences the parts of a package may be used: the texts, what models wrote about them, and the code.

A licence is what the author says it is. Where nothing is said, that is said: texts above all are seldom ours to give.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from discernus.experiments.corpus import Document

COLUMNS = ("licence", "license")  # of corpus.csv, in which an author may say under which licence each text is
_SPDX = re.compile(r"(?=.*\d)[A-Za-z0-9][A-Za-z0-9.+-]*|MIT|ISC|Unlicense")  # a bare word is no identifier


@dataclass(frozen=True)
class Licences:
    """An SPDX identifier (CC-BY-4.0), an address or a sentence for each part; None where nothing was said.

    ``by_file`` are the licences of single texts, by their files in the corpus, where they are not all under one.
    """

    texts: str | None = None
    annotations: str | None = None
    code: str | None = None
    by_file: Mapping[str, str] = field(default_factory=dict)

    def of_text(self, file: str) -> str | None:
        """Return the licence of a text, None where nothing was said of it."""
        return self.texts or self.by_file.get(file)

    @property
    def unstated(self) -> tuple[str, ...]:
        """The parts of which nothing was said."""
        parts = {"texts": self.texts or self.by_file, "annotations": self.annotations, "code": self.code}
        return tuple(part for part, licence in parts.items() if not licence)


def with_texts(licences: Licences, documents: Iterable[Document]) -> Licences:
    """Return the licences with those that corpus.csv states of the texts, unless one was given for all of them."""
    if licences.texts is not None:
        return licences
    documents = list(documents)
    stated = {one.file: licence for one in documents if (licence := _of_document(one)) is not None}
    if len(stated) == len(documents) and len(set(stated.values())) == 1:
        return replace(licences, texts=next(iter(stated.values())))
    return replace(licences, by_file=stated)


def _of_document(document: Document) -> str | None:
    return next((said.strip() for name in COLUMNS if (said := document.metadata.get(name, "")).strip()), None)


def address_of(licence: str) -> str | None:
    """Return the address of a licence, None if it is stated in words."""
    if licence.startswith(("https://", "http://")):
        return licence
    return f"https://spdx.org/licenses/{licence}" if _SPDX.fullmatch(licence) else None


def licences_page(licences: Licences, *, withheld: bool) -> str:
    """Return LICENCES.md, which says what may be done with what."""
    texts = "The corpus texts, and their words quoted anywhere in this package"
    if withheld:
        texts += ", of which passages were taken out"
    parts = (
        ("Texts", "session/corpus/, quotations", _of_texts(licences), texts),
        (
            "Annotations",
            "tables/, session/",
            _stated(licences.annotations),
            "Scores, answers of models, prompts, reports and tables: all that was made of the texts",
        ),
        (
            "Code",
            "the formulas of the framework, tables/main_tables.R, the commands of README.md",
            _stated(licences.code),
            "What computes; the program itself, discernus, is not in this package and is under MIT",
        ),
    )
    lines = ["# Licences", "", "Three kinds of things are in this package, each under a licence of its own.", ""]
    for name, where, stated, what in parts:
        lines += [f"## {name}", "", f"{what} ({where}).", "", stated, ""]
    return "\n".join(lines)


def _of_texts(licences: Licences) -> str:
    if not licences.by_file:
        return _stated(licences.texts)
    files: dict[str, list[str]] = defaultdict(list)
    for file, licence in licences.by_file.items():
        files[licence].append(file)
    lines = ["Each under its own, as its author's table says (tables/corpus.csv):", ""]
    lines += [f"- {_named(licence)}: {', '.join(sorted(of))}" for licence, of in sorted(files.items())]
    return "\n".join([*lines, "- of any other text, **no licence is stated**"])


def _stated(licence: str | None) -> str:
    if licence is None:
        return "**No licence is stated.** Ask whoever holds the rights before you pass it on."
    return f"Licence: {_named(licence)}"


def _named(licence: str) -> str:
    address = address_of(licence)
    return licence if address in (None, licence) else f"{licence} <{address}>"
