"""The report's tables by language, where corpus.csv names more than one: each model's scores on the texts of each."""

from __future__ import annotations

from discernus.experiments.corpus import Document
from discernus.reports.agreement import FEW, interval_of, section_name, with_interval
from discernus.reports.data import ReportData
from discernus.reports.groups import Group, variables_of
from discernus.reports.markdown import count, number, series, table, text
from discernus.statistics.consistency import ONE_WAY

COLUMN = "language"
NO_ENTRY = "no entry"


def by_language(data: ReportData, groups: list[Group]) -> str | None:
    """Return a table for each model and variant; None where the texts are of one language, or of none that is told."""
    languages = languages_of(data.documents)
    if len(set(languages) - {NO_ENTRY}) < 2:
        return None
    sizes = series([f"{text(name)} ({count(len(ids), 'document')})" for name, ids in languages.items()])
    parts = [
        "## Results by language",
        f"As `{COLUMN}` of corpus.csv has it: {sizes}. Texts of two languages are other texts as well, so that a "
        "difference may be one of the texts, of the languages, or of how a model reads them; none is tested here. "
        f"Intervals and the last column, with its mark {FEW}, are those explained under *Dimensions* and "
        f"*{section_name(groups)}*, over the documents of the language alone.",
    ]
    names = [name for of in variables_of(data.framework) for name in of]
    for group in groups:
        if any(record.scores for record in group.records):
            parts.append(f"### {group.title}\n\n{_table(group, names, languages)}")
    return "\n\n".join(parts)


def languages_of(documents: tuple[Document, ...]) -> dict[str, list[str]]:
    """Return the documents' ids by language, in alphabetical order, those without an entry last."""
    found: dict[str, list[str]] = {}
    for document in documents:
        found.setdefault(_language(document), []).append(document.id)
    return {name: found[name] for name in sorted(found, key=lambda name: (name == NO_ENTRY, name))}


def _language(document: Document) -> str:
    """Return the document's language; columns and entries that differ by case alone are one."""
    entries = (value for key, value in document.metadata.items() if key.strip().lower() == COLUMN)
    return next(entries, "").strip().lower() or NO_ENTRY


def _table(group: Group, names: list[str], languages: dict[str, list[str]]) -> str:
    consistency = group.consistency_name if group.offline else f"{ONE_WAY[0]} over runs"
    headings = ["variable", COLUMN, "documents", "mean", "95 % interval", "SD", consistency]
    parts = {language: group.of_documents(ids) for language, ids in languages.items()}
    rows = [_row(part, name, language) for name in names for language, part in parts.items()]
    return table(headings, rows, left=2)


def _row(part: Group, name: str, language: str) -> list[str]:
    across = part.across_documents(name)
    return [
        text(name),
        text(language),
        f"{across.n} of {across.n + across.missing}",
        number(across.mean),
        interval_of(part.mean(name)),
        number(across.sd),
        with_interval(part.coefficients(name)[0]),
    ]
