"""Recomputing a package: scores from its archived answers by its own frozen framework, then metrics, tables and the
report's numbers, by this version of the code, and each cell against the one that was packed.

What was computed before is not even copied: scores, tables and reports are made anew.
"""

from __future__ import annotations

import csv
import io
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from discernus import __version__
from discernus.packages.bag import PAYLOAD, SESSION, TABLES, PackageDamaged
from discernus.packages.comparison import Table, compare_sections, compare_tables
from discernus.packages.tables import CODEBOOK, KEYS, package_tables
from discernus.packages.workbench import MODELS_FILE, place_for
from discernus.reports.report import final_report
from discernus.sessions import layout
from discernus.sessions.archive import ArchiveDamaged
from discernus.sessions.integrity.manifests import oddities_in
from discernus.sessions.integrity.redaction import read_redactions
from discernus.sessions.layout import Call
from discernus.sessions.session import Extracted, Session
from discernus.stages.projection import write_tables
from discernus.stages.reading import read_answer
from discernus.stages.records import session_records
from discernus.stages.synthesis import report_data

# Sections of the report that rest on the scores alone, and so have to come out the same.
SECTIONS = (
    "Summary",
    "Dimensions",
    "Documents and dimensions",
    "Derived metrics",
    "Reading of answers",
    "Results by variant",
    "Results by language",
    "Labels",
    "Run-to-run consistency",
    "Sentence-resampling stability",
    "Run-to-run consistency and sentence-resampling stability",
    "Sentence-resampling stability and run-to-run consistency",
    "Agreement between models",
    "Hypotheses",
)
MADE = (layout.EXTRACTED, layout.DELIVERABLES, layout.PAGES, "logs")  # what is made anew, and what tells of the making


@dataclass(frozen=True)
class Reproduction:
    """What came of it. ``session_version`` is of the code that ran the session, ``version`` of this one.

    ``read_again`` analyses were read from their answers; ``taken_over`` could not be, since their answers were taken
    out of the package as a whole: their scores are those that were packed. ``unread`` names answers that this version
    cannot read, though scores of them were packed.
    """

    session: str
    session_version: str | None
    version: str
    read_again: int
    taken_over: tuple[str, ...]
    unread: tuple[str, ...]
    tables: tuple[Table, ...]

    @property
    def agrees(self) -> bool:
        return not self.unread and not any(table.differences for table in self.tables)


def reproduce(package: Path) -> Reproduction:
    """Recompute an opened package (its folder) and compare; nothing in it is changed. Raises PackageDamaged."""
    for name, odd in oddities_in(package).items():
        raise PackageDamaged(f"{name} in the package is not a file: {odd}; nothing of it was read")
    packed = Session(package / SESSION)
    with TemporaryDirectory(prefix="discernus-reproduction-") as temporary:
        session = _without_results(package, packed, Path(temporary))
        whole = {name for redaction in read_redactions(packed.store) for name in redaction.unreadable}
        taken_over: list[str] = []
        unread: list[str] = []
        read_again = 0
        for was in _scored(packed):
            if Call.named(was.call).response.rpartition("/")[2] in whole:
                session.store.put(layout.extracted(was.number), packed.store.get(layout.extracted(was.number)))
                taken_over.append(was.call)
                continue
            try:
                _read(session, was)
                read_again += 1
            except ArchiveDamaged:
                unread.append(was.call)
        records = list(session_records(session))
        write_tables(session, records)
        tables = [*_tables(package / TABLES, session), *_sections(package, final_report(report_data(session, records)))]
        session.chronolog.flush()
    return Reproduction(
        session=packed.name,
        session_version=packed.facts.versions.get("discernus"),
        version=__version__,
        read_again=read_again,
        taken_over=tuple(taken_over),
        unread=tuple(unread),
        tables=tuple(tables),
    )


def _without_results(package: Path, packed: Session, above: Path) -> Session:
    """Copy what the results rest on: frozen inputs, answers, what was parked."""
    models_file = package / PAYLOAD / "environment" / MODELS_FILE
    try:
        place = place_for(packed.facts, above, models_file.read_bytes() if models_file.is_file() else None)
    except (LookupError, ValueError) as damaged:
        raise PackageDamaged(f"{SESSION}/{layout.SESSION} cannot be read: {damaged}; verify the package") from damaged
    shutil.copytree(packed.folder, place, symlinks=True, ignore=shutil.ignore_patterns(*MADE))
    return Session(place)


def _scored(packed: Session) -> Iterator[Extracted]:
    numbers = (analysis.number for analysis in packed.plan)
    return (extracted for number in numbers if (extracted := packed.extracted(number)) is not None)


def _read(session: Session, was: Extracted) -> None:
    """Read the answers that the scored one was chosen from: all asks of the candidate that answered."""
    call = Call.named(was.call)
    ask = call.ask
    while session.store.exists(Call(call.number, "analysis", ask + 1, fallback=call.fallback).response):
        ask += 1
    read_answer(session, was.number, ask, final=True, fallback=call.fallback)


def _tables(packed: Path, session: Session) -> Iterator[Table]:
    computed = {name: data for name, data in package_tables(session).items() if name != CODEBOOK}  # it has no numbers
    for path in sorted(packed.glob("*.csv")):  # a package of an earlier version lacks what came later
        if path.name != CODEBOOK:
            now = _rows(computed.get(path.name, b""))
            yield compare_tables(path.name, _rows(path.read_bytes()), now, KEYS.get(path.name, ()))


def _rows(data: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(data.decode("utf-8-sig"), newline="")))


def _sections(package: Path, report: str) -> Iterator[Table]:
    """Compare the sections of the report that rest on the scores."""
    path = package / SESSION / layout.REPORT
    if not path.is_file():
        return
    packed, computed = (_by_section(text) for text in (path.read_text(encoding="utf-8"), report))
    for name in SECTIONS:
        if name in packed:
            yield compare_sections(f"report: {name}", packed[name], computed.get(name, ""))


def _by_section(report: str) -> Mapping[str, str]:
    parts = re.split(r"^## (.+)$", report, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))
