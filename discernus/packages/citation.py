"""citation.bib: BibTeX for the package and for the program that made it. What is not known is left out."""

from __future__ import annotations

import re

from discernus.packages.subject import Subject

_SPECIAL = {
    "\\": r"\textbackslash{}",
    **{one: rf"\{one}" for one in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
}


def bibtex(subject: Subject) -> str:
    """Return the entries of the package and of the program."""
    facts = subject.session.facts
    authors = " and ".join(f"{{{_escaped(author.name)}}}" for author in subject.authors)
    package = {
        "author": authors,
        "title": f"{{{_escaped(subject.title)}}}",
        "year": f"{subject.exported_at:%Y}",
        "howpublished": "Data set",
        "note": _escaped(f"Session {facts.project}/{facts.experiment}/{facts.session}"),
    }
    version = facts.versions.get("discernus")
    program = {
        "title": "{discernus: durable analysis of texts by language models}",
        "year": f"{facts.created_at:%Y}",
        "howpublished": "Computer program",
        "note": _escaped(f"Version {version}") if version else "",
    }
    key = re.sub(r"[^A-Za-z0-9]+", "-", f"{facts.experiment}-{subject.exported_at:%Y}").strip("-")
    return f"{_entry(key, package)}\n{_entry('discernus', program)}"


def _entry(key: str, fields: dict[str, str]) -> str:
    lines = [f"  {name} = {{{value}}}," for name, value in fields.items() if value]
    return "\n".join([f"@misc{{{key},", *lines, "}", ""])


def _escaped(text: str) -> str:
    return "".join(_SPECIAL.get(one, one) for one in " ".join(text.split()))
