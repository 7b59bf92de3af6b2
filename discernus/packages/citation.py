"""citation.bib: BibTeX for the package and for the program that made it. What is not known is left out.

Names and titles stand in braces as a whole, so that BibTeX neither splits them nor changes their case.
"""

from __future__ import annotations

import re

from discernus.packages.subject import Subject

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\textbraceleft{}",  # BibTeX counts braces, whatever stands before them
    "}": r"\textbraceright{}",
    **{one: rf"\{one}" for one in "&%$#_"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
}


def bibtex(subject: Subject) -> str:
    """Return the entries of the package and of the program that made it, both of the year in which that was."""
    year = f"{subject.exported_at:%Y}"
    version, root = subject.sealed or (None, None)
    package = {
        "author": " and ".join(_whole(author.name) for author in subject.authors),
        "title": _whole(subject.title),
        "year": year,
        "publisher": _whole(subject.publisher.name) if subject.publisher else "",
        "version": "" if version is None else str(version),
        "howpublished": "Data set",
        "note": _escaped(_which(subject, version, root)),
    }
    program = {
        "title": _whole("discernus: durable analysis of texts by language models"),
        "year": year,
        "version": _escaped(subject.versions["discernus"]),
        "howpublished": "Computer program",
        "note": _escaped(f"Version {subject.versions['discernus']}, as it was when it made the package"),
    }
    key = re.sub(r"[^A-Za-z0-9]+", "-", f"{subject.session.facts.experiment}-{year}").strip("-")
    return f"{_entry(key, package)}\n{_entry('discernus', program)}"


def _which(subject: Subject, version: int | None, root: str | None) -> str:
    """Say which data these are, for styles that pass over ``version``: the seal's root holds the hash of every file."""
    said = f"Session {subject.session.name}"
    return said if version is None else f"{said}, version {version}, SHA-256 of its seal's root: {root}"


def _whole(text: str) -> str:
    return f"{{{_escaped(text)}}}"


def _entry(key: str, fields: dict[str, str]) -> str:
    lines = [f"  {name} = {{{value}}}," for name, value in fields.items() if value]
    return "\n".join([f"@misc{{{key},", *lines, "}", ""])


def _escaped(text: str) -> str:
    return "".join(_SPECIAL.get(one, one) for one in " ".join(text.split()))
