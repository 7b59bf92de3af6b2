"""The results in long form: a row for each analysis and variable, what is missing with its reason."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from discernus.experiments.framework import Framework
from discernus.extraction.names import label_names
from discernus.reports.records import AnalysisRecord
from discernus.reports.results import line

LEADING = ("analysis", "document", "model_requested", "model", "variant", "run")
FOLLOWING = ("kind", "variable", "value", "label", "confidence", "missing_because")


def long_form(records: Iterable[AnalysisRecord], framework: Framework, metadata_keys: Sequence[str]) -> bytes:
    """Return the long form as CSV: scores, derived metrics and labels, and after them what corpus.csv says.

    ``model`` is the one whose reading it is; ``value`` is empty for labels, ``label`` for numbers.
    """
    taken = {*LEADING, *FOLLOWING}
    names = [f"document_{key}" if key in taken else key for key in metadata_keys]
    lines = [line((*LEADING, *FOLLOWING, *names))]
    for record in records:
        leading = _leading(record)
        metadata = [record.metadata.get(key, "") for key in metadata_keys]
        lines += [line((*leading, *following, *metadata)) for following in _variables(record, framework)]
    return b"".join(lines)


def _leading(record: AnalysisRecord) -> tuple[str, ...]:
    number, run = str(record.number), str(record.run)
    return (number, record.document, record.model_requested, record.read_by, record.variant, run)


def _variables(record: AnalysisRecord, framework: Framework) -> Iterator[tuple[str, ...]]:
    for name in (dimension.name for dimension in framework.dimensions):
        confidence = _number(record.confidence.get(name))
        yield ("score", name, _number(record.scores.get(name)), "", confidence, _why(record, name, record.missing))
    for name in (metric.name for metric in framework.derived_metrics):
        yield ("metric", name, _number(record.derived.get(name)), "", "", _why(record, name, record.derived_missing))
    for name in label_names(framework):
        label = record.labels.get(name)
        yield ("label", name, "", label or "", "", "" if label is not None else record.reason or "no label was given")


def _why(record: AnalysisRecord, name: str, missing: dict[str, str]) -> str:
    """Return why there is no value; nothing where there is one."""
    if name in record.scores or name in record.derived:
        return ""
    return missing.get(name) or record.reason or record.status


def _number(value: float | None) -> str:
    return "" if value is None else repr(value)
