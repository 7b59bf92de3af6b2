"""Under which licences the parts of a package may be used: the texts, what models wrote about them, and the code.

A licence is what the author says it is. Where nothing is said, that is said: texts above all are seldom ours to give.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_SPDX = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+-]*")


@dataclass(frozen=True)
class Licences:
    """An SPDX identifier (CC-BY-4.0), an address or a sentence for each part; None where nothing was said."""

    texts: str | None = None
    annotations: str | None = None
    code: str | None = None


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
        ("Texts", "session/corpus/, quotations", licences.texts, texts),
        (
            "Annotations",
            "tables/, session/",
            licences.annotations,
            "Scores, answers of models, prompts, reports and tables: all that was made of the texts",
        ),
        (
            "Code",
            "the formulas of the framework, the commands of README.md",
            licences.code,
            "What computes; the program itself, discernus, is not in this package and is under MIT",
        ),
    )
    lines = ["# Licences", "", "Three kinds of things are in this package, each under a licence of its own.", ""]
    for name, where, licence, what in parts:
        lines += [f"## {name}", "", f"{what} ({where}).", "", _stated(licence), ""]
    return "\n".join(lines)


def _stated(licence: str | None) -> str:
    if licence is None:
        return "**No licence is stated.** Ask whoever holds the rights before you pass it on."
    address = address_of(licence)
    return f"Licence: {licence}" + (f" <{address}>" if address is not None and address != licence else "")
