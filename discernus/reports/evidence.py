"""evidence.csv: every quotation that was given as evidence, and whether it stands in the text it is said to be from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from discernus.reports.quotes import Found, verify
from discernus.reports.records import AnalysisRecord
from discernus.reports.results import line

NAME = "evidence.csv"
UNITS = {"analysis": "", "run": "", "verified": "true or false"}
COLUMNS = {
    "analysis": "number of the analysis in the session's plan",
    "document": "id of the document in the corpus",
    "model": "model whose reading this is",
    "variant": "the framework's way of asking",
    "run": "which of the repeats, from 1",
    "dimension": "dimension that it is given as evidence for",
    "quotation": "the words as the model gave them; text, not altered, whatever it begins with",
    "verified": (
        "true: it stands in the text, whatever the typography, white space and letter case; false: it does not; empty: "
        "not checked, since the text is not at hand"
    ),
    "match": "found, found with omissions (what it marks as left out is) or not found; empty: not checked",
    "answer_file": "the answer it stands in, in the session's folder",
}


@dataclass(frozen=True)
class Quotation:
    """Words that a model gave as evidence for a dimension; ``match`` is None where the text is not at hand."""

    record: AnalysisRecord
    dimension: str
    words: str
    match: Found | None

    @property
    def verified(self) -> bool | None:
        """Whether they stand in the text; None where that was not checked."""
        return None if self.match is None else self.match != "not found"


def quotations(records: Iterable[AnalysisRecord], texts: Mapping[str, str]) -> Iterator[Quotation]:
    """Yield each quotation of each analysis once, in the records' order; ``texts`` are the documents' by their ids."""
    for record in records:
        text = texts.get(record.document)
        for dimension, given in record.evidence.items():
            for words in dict.fromkeys(given):
                yield Quotation(record, dimension, words, None if text is None else verify(words, text))


def write_csv(records: Iterable[AnalysisRecord], texts: Mapping[str, str]) -> bytes:
    """Return evidence.csv, in the form of results.csv."""
    return b"".join([line(COLUMNS), *(line(_cells(one)) for one in quotations(records, texts))])


def dictionary() -> bytes:
    """Return the rows of the data dictionary on its columns, each named with the table before it."""
    return b"".join(line((f"{NAME}/{name}", meaning, UNITS.get(name, "text"))) for name, meaning in COLUMNS.items())


def _cells(one: Quotation) -> list[str]:
    record = one.record
    verified = "" if one.verified is None else str(one.verified).lower()
    return [
        str(record.number),
        record.document,
        record.read_by,
        record.variant,
        str(record.run),
        one.dimension,
        one.words,
        verified,
        one.match or "",
        record.answer_file or "",
    ]
