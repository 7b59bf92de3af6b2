"""What a package is about, in the words that its page, its metadata and its citation share."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import cast

from discernus.packages.licences import Licences
from discernus.reports.records import AnalysisRecord
from discernus.sessions.redaction import Redaction
from discernus.sessions.session import Session

_ORCID = re.compile(r"https://orcid\.org/\d{4}-\d{4}-\d{4}-\d{3}[\dX]")


@dataclass(frozen=True)
class Author:
    """Somebody who answers for the study; ``orcid`` is the whole address, None where none was given."""

    name: str
    orcid: str | None = None


@dataclass(frozen=True)
class Subject:
    """A session as a package tells of it. ``versions`` are of what packed it; the session has its own."""

    name: str
    session: Session
    records: tuple[AnalysisRecord, ...]
    redactions: tuple[Redaction, ...]
    authors: tuple[Author, ...]
    licences: Licences
    exported_at: datetime
    versions: dict[str, str]

    @property
    def title(self) -> str:
        return f"Replication package: {self.session.definition.experiment.title}"

    @property
    def description(self) -> str:
        """One paragraph of plain text."""
        definition, facts = self.session.definition, self.session.facts
        documents, models = len(definition.documents), ", ".join(definition.experiment.models)
        taken_out = " Texts were taken out of it; their hashes are left." if self.redactions else ""
        return (
            f"{counted(documents, 'document')} analysed by {models} under the framework "
            f"{definition.framework.display_name}, version {definition.framework.version}, "
            f"{counted(definition.experiment.runs_per_model, 'time')} each: every prompt and every answer of session "
            f"{facts.session}, the scores read from them, and what recomputes them.{taken_out}"
        )


def read_author(given: str) -> Author:
    """Return the author of ``Name`` or ``Name <https://orcid.org/…>``; ValueError for anything else."""
    found = re.fullmatch(r"\s*([^<>]+?)\s*(?:<([^<>]*)>)?\s*", given)
    if found is None or (found[2] is not None and not _ORCID.fullmatch(found[2])):
        raise ValueError(f"'{given}' is no author: write 'Name' or 'Name <https://orcid.org/0000-0000-0000-0000>'")
    return Author(found[1], cast(str | None, found[2]))


def counted(number: int, noun: str) -> str:
    """Return a number with its noun: ``1 document``, ``3 documents``, ``3 analyses``."""
    several = f"{noun[:-2]}es" if noun.endswith("is") else f"{noun}s"
    return f"{number} {noun if number == 1 else several}"
