"""results.csv, one row per analysis, and the data dictionary that says what each column means.

UTF-8 without byte order mark and quoted as RFC 4180 has it, with one deviation: lines end in LF, so that tools that
work by line see one ending. A cell is written as it is, even where a spreadsheet might take it for a formula: data are
not altered, and the dictionary says so.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from discernus.canonical import canonical_json
from discernus.experiments.framework import Framework
from discernus.extraction.names import label_names
from discernus.reports.records import AnalysisRecord

_TO_QUOTE = re.compile(r'[,"\r\n]')


@dataclass(frozen=True)
class Column:
    """One column of results.csv: its name, what it means, its unit or scale, and how to read it off a record."""

    name: str
    meaning: str
    unit: str
    value: Callable[[AnalysisRecord], Any]
    numeric: bool = False  # whether it holds numbers even where each of them is missing


def header(framework: Framework, metadata_keys: Sequence[str], parameter_names: Sequence[str]) -> list[str]:
    """Return the names of the columns."""
    return [column.name for column in columns(framework, metadata_keys, parameter_names)]


def row(
    record: AnalysisRecord, framework: Framework, metadata_keys: Sequence[str], parameter_names: Sequence[str]
) -> list[str]:
    """Return the cells of one analysis, in the header's order; a missing value is an empty cell."""
    return [cell(column.value(record)) for column in columns(framework, metadata_keys, parameter_names)]


def line(cells: Iterable[str]) -> bytes:
    """Return the cells as one line of CSV, so that a file can grow row by row."""
    return (",".join(map(_quoted, cells)) + "\n").encode()


def write_csv(
    records: Iterable[AnalysisRecord],
    framework: Framework,
    metadata_keys: Sequence[str],
    parameter_names: Sequence[str],
) -> bytes:
    """Return the whole of results.csv, the records in the order given."""
    described = columns(framework, metadata_keys, parameter_names)
    lines = [line(column.name for column in described)]
    lines += [line(cell(column.value(record)) for column in described) for record in records]
    return b"".join(lines)


def data_dictionary(framework: Framework, metadata_keys: Sequence[str], parameter_names: Sequence[str]) -> bytes:
    """Return the dictionary as CSV: column, meaning, unit or scale."""
    described = columns(framework, metadata_keys, parameter_names)
    lines = [line(("column", "meaning", "unit_or_scale"))]
    lines += [line((column.name, column.meaning, column.unit)) for column in described]
    return b"".join(lines)


def metadata_keys_of(records: Iterable[AnalysisRecord]) -> list[str]:
    """Return every metadata key that occurs, in the order of first appearance."""
    return list(dict.fromkeys(key for record in records for key in record.metadata))


def parameter_names_of(records: Iterable[AnalysisRecord]) -> list[str]:
    """Return every parameter that was asked for, in alphabetical order."""
    return sorted({name for record in records for name in record.parameters})


def columns(framework: Framework, metadata_keys: Sequence[str], parameter_names: Sequence[str]) -> list[Column]:
    """Return the columns of results.csv with their meanings."""
    fixed = [*_identity(), *_scores(framework), *_circumstances()]
    taken = {column.name for column in fixed}
    metadata = [_metadata(key, taken) for key in metadata_keys]
    return [*fixed[:2], *metadata, *fixed[2:], *(_parameter(name) for name in parameter_names)]


def why_incomplete(record: AnalysisRecord) -> str:
    """Return, in words, why an analysis has no scores, and what is missing of it for which reason."""
    parts = [record.reason] if record.reason else []
    for missing in (record.missing, record.derived_missing):
        for reason in dict.fromkeys(missing.values()):
            names = ", ".join(name for name, why in missing.items() if why == reason)
            parts.append(f"{names}: {reason}")
    return "; ".join(parts)


def _metadata(key: str, taken: set[str]) -> Column:
    name = f"document_{key}" if key in taken else key
    meaning = f"'{key}' of the document, as corpus.csv has it; text is not altered, whatever it begins with"
    return Column(name, meaning, "text", lambda record: record.metadata.get(key))


def _parameter(name: str) -> Column:
    meaning = f"'{name}' as it was asked of the model; empty: the vendor's default, nothing was sent"
    return Column(f"parameter_{name}", meaning, "", lambda record: record.parameters.get(name))


def _identity() -> list[Column]:
    text = "text, not altered: import as text, since a spreadsheet may take a leading = + - @ for a formula"
    asked = "model that was called; another than model_requested where a fallback stood in; empty: there is no answer"
    substituted = "whether a vendor or a proxy had another model answer than model_asked; empty: there is no answer"
    return [
        Column("analysis", "number of the analysis in the session's plan; names its files", "", lambda r: r.number),
        Column("document", "id of the document in the corpus", text, lambda r: r.document),
        Column("model_requested", "model that the experiment asked for", "text", lambda r: r.model_requested),
        Column("model_asked", asked, "text", lambda r: r.model_asked),
        Column("model_answered", "model that answered, by its own account", "text", lambda r: r.model_answered),
        Column("substituted", substituted, "true or false", lambda r: r.substituted, numeric=True),
        Column("variant", "the framework's way of asking", "text", lambda r: r.variant),
        Column("run", "which of the repeats, from 1", "", lambda r: r.run),
    ]


def _scores(framework: Framework) -> list[Column]:
    found: list[Column] = []
    salient = any(field.role == "salience" for field in framework.contract.fields)
    for dimension in framework.dimensions:
        name, scale = dimension.name, f"{dimension.low:g} to {dimension.high:g}"
        meaning = f"score of {dimension.label}"
        found.append(Column(f"{name}_score", meaning, scale, _entry("scores", name), numeric=True))
        meaning = f"the model's own statement of its confidence in {name}_score; not a measure of accuracy"
        found.append(Column(f"{name}_confidence", meaning, "as stated", _entry("confidence", name), numeric=True))
        if salient:
            meaning = f"salience of {dimension.label}, as the model states it"
            found.append(Column(f"{name}_salience", meaning, "as stated", _entry("salience", name), numeric=True))
    for metric in framework.derived_metrics:
        meaning = f"computed: {metric.formula}"
        found.append(Column(metric.name, meaning, "", _entry("derived", metric.name), numeric=True))
    for label in label_names(framework):
        found.append(Column(label, "label that the model gave", "text", _entry("labels", label)))
    return found


def _circumstances() -> list[Column]:
    status = "scored, partial (some scores are missing), parked (no usable answer was had) or pending"
    route = "how the scores were read: contract_json, json_in_text, repaired_json, data_block, outline or second_model"
    cost = (
        "what this session paid for the answer that was scored, 0 where it was taken over; what else was asked for the "
        "analysis is in the report's cost; empty: no price is known, which is not 0"
    )
    ask = "0: the first question was used; more: the question was repeated after an unusable answer"
    reused = "session and call whose answer was taken over instead of asking again, paid for there; empty: asked here"
    cached, reasoning = "prompt tokens that the vendor's cache held", "completion tokens spent on reasoning"
    marks = (
        "what was noticed about the answer: oversized, truncated (at the limit of its output), runaway (without end), "
        "refusal, active_content (would act in a browser), no_text; recovered (from a session of an older "
        "layout), and of these time_not_recorded, zone_not_recorded (the time is as its author's clock showed it), "
        "zone_by_other_logs (of the same folder), run_counted_off (which run it is was not recorded), cut_by_the_log; "
        "empty: nothing"
    )
    return [
        Column("status", status, "", lambda r: r.status),
        Column("reason", "what is missing, and why", "text", why_incomplete),
        Column("extraction_route", route, "", lambda r: r.route),
        Column("finish_reason", "why the model stopped, as the vendor says", "text", lambda r: r.finish_reason),
        Column("marks", marks, "text", lambda r: ", ".join(r.marks)),
        Column("prompt_tokens", "tokens sent", "tokens", lambda r: r.prompt_tokens, numeric=True),
        Column("completion_tokens", "tokens answered", "tokens", lambda r: r.completion_tokens, numeric=True),
        Column("cached_tokens", cached, "tokens", lambda r: r.cached_tokens, numeric=True),
        Column("reasoning_tokens", reasoning, "tokens", lambda r: r.reasoning_tokens, numeric=True),
        Column("cost_usd", cost, "US dollars", lambda r: r.cost_usd, numeric=True),
        Column("latency_ms", "time from question to answer", "milliseconds", lambda r: r.latency_ms, numeric=True),
        Column("answered_at", "when the answer was there", "ISO 8601, UTC", lambda r: r.answered_at),
        Column("ask", ask, "", lambda r: r.ask),
        Column("reused_from", reused, "", lambda r: r.reused_from),
        Column("answer_file", "the answer that was scored, in the session's folder", "", lambda r: r.answer_file),
        Column(
            "dropped_parameters",
            "parameters that were asked for but that the vendor's adapter does not take",
            "text",
            lambda r: ", ".join(r.dropped_parameters),
        ),
    ]


def _entry(field: str, name: str) -> Callable[[AnalysisRecord], Any]:
    """Return a reader of one entry of a record's mapping, None where it has none."""
    return lambda record: getattr(record, field).get(name)


def cell(value: Any) -> str:
    """Return a value as a cell says it; None is an empty one."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return repr(value)
    return canonical_json(value).decode()  # true and false among the rest


def _quoted(written: str) -> str:
    return written if _TO_QUOTE.search(written) is None else '"' + written.replace('"', '""') + '"'
