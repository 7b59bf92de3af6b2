"""The session under audit, each part of it read once for all checks."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

from discernus.reports.records import AnalysisRecord
from discernus.sessions import layout
from discernus.sessions.archive import ArchivedCall
from discernus.sessions.chronologs.chronolog import read_events
from discernus.sessions.chronologs.events import Event
from discernus.sessions.integrity.examination import examine
from discernus.sessions.integrity.findings import Verification
from discernus.sessions.layout import Call
from discernus.sessions.session import Session
from discernus.stages.records import all_calls, session_records


class Subject:
    """A session with what the checks share: its records, its calls, its events, and what its verification found."""

    def __init__(self, session: Session) -> None:
        self.session = session

    @cached_property
    def verification(self) -> Verification:
        return examine(self.session.folder)

    @cached_property
    def records(self) -> list[AnalysisRecord]:
        return list(session_records(self.session))

    @cached_property
    def calls(self) -> list[ArchivedCall]:
        return list(all_calls(self.session))

    @cached_property
    def unaccounted(self) -> list[str]:
        """The files of answers whose metadata cannot be read: nothing tells how they came about."""
        known = {Call.named(call.call).response for call in self.calls}
        names = (f"{layout.ARCHIVE}/{name}" for name in self.session.store.names(layout.ARCHIVE))
        return [name for name in names if name.startswith(f"{layout.ARCHIVE}/response_") and name not in known]

    @cached_property
    def events(self) -> list[Event]:
        return list(read_events(self.session.folder))

    @property
    def recovered(self) -> bool:
        """Whether the session was read from an older layout, which did not record what is recorded now."""
        return self.session.facts.migrated_from is not None

    def read(self) -> Iterator[AnalysisRecord]:
        """Yield the analyses of which something was read."""
        return (record for record in self.records if record.call is not None)


def extracted_file(record: AnalysisRecord) -> str:
    return layout.extracted(record.number)


def title(record: AnalysisRecord) -> str:
    """Return an analysis in words: number, document, model, run."""
    return f"analysis {record.number} ({record.document}, {record.model_requested}, run {record.run})"
