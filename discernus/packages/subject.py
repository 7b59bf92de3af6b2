"""What a package is about, in the words that its page, its metadata and its citation share."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import cast

from discernus.packages.counting import counted
from discernus.packages.licences import Licences
from discernus.packages.tables import Asked
from discernus.reports.records import AnalysisRecord
from discernus.sessions.integrity.redaction import Redaction
from discernus.sessions.integrity.seals import newest_seal
from discernus.sessions.session import Session

_ORCID = re.compile(r"https://orcid\.org/\d{4}-\d{4}-\d{4}-\d{3}[\dX]")


@dataclass(frozen=True)
class Organisation:
    """A university, an archive; ``address`` is its page, or its ROR, None where none was given."""

    name: str
    address: str | None = None


@dataclass(frozen=True)
class Author:
    """Somebody who answers for the study; ``orcid`` is the whole address. What was not given is None."""

    name: str
    orcid: str | None = None
    affiliation: Organisation | None = None


@dataclass(frozen=True)
class Subject:
    """A session as a package tells of it. ``versions`` are of what packed it; the session has its own.

    ``calls`` are all that were answered, ``records`` all analyses that were planned. ``has_models_file``: a models.yaml
    is in the package.
    """

    name: str
    session: Session
    records: tuple[AnalysisRecord, ...]
    calls: tuple[Asked, ...]
    redactions: tuple[Redaction, ...]
    authors: tuple[Author, ...]
    publisher: Organisation | None
    licences: Licences
    exported_at: datetime
    versions: dict[str, str]
    has_models_file: bool

    @property
    def title(self) -> str:
        return f"Replication package: {self.session.definition.experiment.title}"

    @property
    def description(self) -> str:
        """One paragraph of plain text."""
        definition, facts = self.session.definition, self.session.facts
        documents = counted(len(definition.documents), "document")
        analysed = "analysed" if self.is_answered else "that were to be analysed"
        models = ", ".join(definition.experiment.models)
        taken_out = " Texts were taken out of it; their hashes are left." if self.redactions else ""
        return (
            f"{documents} {analysed} by {models} under the framework "
            f"{definition.framework.display_name}, version {definition.framework.version}, "
            f"{counted(definition.experiment.runs_per_model, 'time')} each: {self._held()} of session "
            f"{facts.session}, the scores read from them, and what recomputes them.{taken_out}"
        )

    @property
    def answered(self) -> tuple[AnalysisRecord, ...]:
        """The analyses that have an answer, whether a score could be read from it or not."""
        return tuple(record for record in self.records if record.call is not None)

    @property
    def is_answered(self) -> bool:
        """Whether every planned analysis has an answer: only then was done what was to be done."""
        return len(self.answered) == len(self.records)

    @property
    def ran(self) -> str | None:
        """The version of discernus that ran the session; None where another program did, or nobody knows."""
        return self.session.facts.versions.get("discernus")

    @property
    def sealed(self) -> tuple[int, str] | None:
        """The session's newest sealed version and its root hash; None where no seal can be read."""
        file = newest_seal(self.session.store)
        return None if file is None or file.seal is None else (file.version, file.seal.root_sha256)

    def _held(self) -> str:
        if self.is_answered:
            return "every prompt and every answer"
        of = f"of {counted(len(self.records), 'planned analysis')}"
        answered = len(self.answered)
        return f"{of} {answered or 'none'} {'was' if answered < 2 else 'were'} answered; every prompt and every answer"


def affiliated(authors: Sequence[Author], affiliations: Sequence[Organisation]) -> tuple[Author, ...]:
    """Return the authors with their affiliations: one for all of them, or one for each in their order.

    Raises ValueError where that is not how many there are.
    """
    if not affiliations:
        return tuple(authors)
    if not authors or len(affiliations) not in (1, len(authors)):
        counts = f"{counted(len(affiliations), 'affiliation')} for {counted(len(authors), 'author')}"
        raise ValueError(f"{counts}: give one --affiliation for all authors, or one for each, in their order")
    each = list(affiliations) * (len(authors) // len(affiliations))
    return tuple(replace(author, affiliation=at) for author, at in zip(authors, each, strict=True))


def read_organisation(given: str) -> Organisation:
    """Return the organisation of ``Name`` or ``Name <https://…>``; ValueError for anything else."""
    found = re.fullmatch(r"\s*([^<>]+?)\s*(?:<(https?://[^<>\s]+)>)?\s*", given)
    if found is None:
        raise ValueError(f"'{given}' is no organisation: write 'Name' or 'Name <https://…>', with its address or ROR")
    return Organisation(found[1], cast(str | None, found[2]))


def read_author(given: str) -> Author:
    """Return the author of ``Name`` or ``Name <https://orcid.org/…>``; ValueError for anything else."""
    found = re.fullmatch(r"\s*([^<>]+?)\s*(?:<([^<>]*)>)?\s*", given)
    if found is None or (found[2] is not None and not _ORCID.fullmatch(found[2])):
        raise ValueError(f"'{given}' is no author: write 'Name' or 'Name <https://orcid.org/0000-0000-0000-0000>'")
    return Author(found[1], cast(str | None, found[2]))
