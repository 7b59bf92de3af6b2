"""Results by language and by variant: only where there are several, each over its own documents, in every form."""

from __future__ import annotations

import csv
import io
import statistics
from typing import Any

from discernus.experiments.corpus import Document
from discernus.reports.data import ReportData
from discernus.reports.groups import groups_of
from discernus.reports.html import html_report
from discernus.reports.languages import by_language
from discernus.reports.long_form import long_form
from discernus.reports.report import final_report
from discernus.reports.results import write_csv
from discernus.reports.variants import by_variant
from tests.test_reports_agreement import FRAMEWORK, readings
from tests.test_reports_final import data

LANGUAGES = ("German", "english", "German", "English ", "German", "english", "German", "german")


def spoken(*languages: str, **changes: Any) -> ReportData:
    named = [{"language": name} if name else {} for name in languages]
    documents = tuple(
        Document(id=f"d{at:02d}", file=f"d{at:02d}.txt", sha256="d" * 64, characters=80, metadata=metadata)
        for at, metadata in enumerate(named)
    )
    records = tuple(
        record.model_copy(update={"metadata": named[int(record.document[1:])]})
        for record in readings(documents=len(languages))
    )
    texts = {document.id: "" for document in documents}
    return data(framework=FRAMEWORK, documents=documents, records=records, texts=texts, **changes)


def rows(section: str | None) -> dict[tuple[str, str], list[str]]:
    found = {}
    for line in (section or "").splitlines():
        if line.startswith("| ") and not line.startswith("| variable"):
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            found[cells[0], cells[1]] = cells[2:]
    return found


def test_each_language_has_its_documents_mean_interval_and_consistency() -> None:
    session = spoken(*LANGUAGES)
    (group,) = groups_of(session.records)
    found = rows(by_language(session, [group]))
    assert {language for _, language in found} == {"german", "english"}
    german = group.of_documents(["d00", "d02", "d04", "d06", "d07"])
    documents, mean, interval, _, consistency = found["fear", "german"]
    values = [value for value in german.means("fear").values() if value is not None]
    assert (documents, mean) == ("5 of 5", f"{statistics.mean(values):.3f}")
    assert interval.startswith("[")
    assert consistency.startswith(f"{german.coefficients('fear')[0].value:.3f}")
    assert found["fear", "english"][0] == "3 of 3"
    assert found["fear", "english"][2] == "–"  # three documents are too few to draw from


def test_one_language_or_none_makes_no_section() -> None:
    for languages in (("German",) * 4, ("",) * 4, ("German", "", "german", "")):
        session = spoken(*languages)
        assert by_language(session, groups_of(session.records)) is None


def test_documents_without_an_entry_are_a_row_of_their_own_and_are_counted() -> None:
    session = spoken("German", "English", "", "English")
    section = by_language(session, groups_of(session.records))
    assert "english (2 documents), german (1 document) and no entry (1 document)" in (section or "")
    assert rows(section)["fear", "no entry"][0] == "1 of 1"


def in_two_variants() -> ReportData:
    first = readings()
    second = [
        record.model_copy(
            update={
                "variant": "brief",
                "number": record.number + len(first),
                "scores": {**record.scores, "fear": record.scores["fear"] + 0.125},
            }
        )
        for record in first
    ]
    return data(framework=FRAMEWORK, records=(*first, *second))


def test_variants_stand_side_by_side_with_their_difference_on_the_same_documents() -> None:
    session = in_two_variants()
    found = rows(by_variant(session, groups_of(session.records)))
    assert found["fear", "default"][3] == ""
    assert found["fear", "brief"][3].startswith("0.125")
    first, second = (float(found["fear", variant][1]) for variant in ("default", "brief"))
    assert round(second - first, 3) in (0.124, 0.125, 0.126)
    assert by_variant(data(), groups_of(data().records)) is None


def test_both_sections_are_in_the_report_and_on_its_page() -> None:
    for session, heading in ((spoken(*LANGUAGES), "Results by language"), (in_two_variants(), "Results by variant")):
        report = final_report(session)
        assert f"\n## {heading}\n" in report
        assert f"{heading}</h2>" in html_report(session, report)


def test_the_wide_and_the_long_table_tell_language_and_variant_of_each_row() -> None:
    session = spoken(*LANGUAGES)
    wide = write_csv(session.records, FRAMEWORK, ["language"], [])
    for written in (wide, long_form(session.records, FRAMEWORK, ["language"])):
        for row in csv.DictReader(io.StringIO(written.decode(), newline="")):
            assert row["variant"] == "default"
            assert row["language"] == LANGUAGES[int(row["document"][1:])]
