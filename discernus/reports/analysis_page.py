"""The page that a person reads of one analysis: scores, confidence, and the words of the text they rest on."""

from discernus.experiments.experiment import OFFLINE_PREFIX
from discernus.experiments.framework import Dimension, Framework
from discernus.reports.markdown import NONE, number, table, text
from discernus.reports.quotes import verify
from discernus.reports.records import AnalysisRecord

BAR = 20  # characters


def analysis_page(record: AnalysisRecord, framework: Framework, text_: str) -> str:
    """Return the page as Markdown; ``text_`` is the document's text, against which quotations are checked."""
    parts = [
        f"# Analysis {record.number}: {text(record.document)}",
        _circumstances(record),
        _scores(record, framework),
        _derived(record, framework),
        _evidence(record, framework, text_),
        f"The answer itself: `{record.answer_file}`." if record.answer_file is not None else "",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _circumstances(record: AnalysisRecord) -> str:
    answered = f", answered by {text(record.model_answered)}" if record.model_answered else ""
    asked = record.model_asked or record.model_requested
    instead = f" in place of {text(record.model_requested)}" if asked != record.model_requested else ""
    lines = [f"Asked of {text(asked)}{instead}{answered}; variant {text(record.variant)}, run {record.run}."]
    if record.substituted:
        lines.append("**Another model answered than the one that was asked**; the experiment allows it.")
    if record.read_by.startswith(OFFLINE_PREFIX):
        lines.append("This is a dictionary method that counts marker phrases; no language model read the text.")
    route = f", read as {record.route}" if record.route else ""
    lines.append(f"Status: {record.status}{route}.")
    if record.reason:
        lines.append(_ended(text(record.reason)))
    if record.marks:
        lines.append(f"Noticed about the answer: {', '.join(record.marks)}.")
    lines += [_ended(f"{text(name)}: {text(label)}") for name, label in record.labels.items()]
    return "\n".join(lines)


def _ended(sentence: str) -> str:
    return sentence if sentence.endswith((".", "!", "?")) else f"{sentence}."


def _scores(record: AnalysisRecord, framework: Framework) -> str:
    rows = [
        [
            text(dimension.label),
            number(record.scores.get(dimension.name)),
            _bar(record.scores.get(dimension.name), dimension),
            number(record.confidence.get(dimension.name), 2),
            text(record.missing.get(dimension.name, "")),
        ]
        for dimension in framework.dimensions
    ]
    scales = {(dimension.low, dimension.high) for dimension in framework.dimensions}
    shared = scales.pop() if len(scales) == 1 else None
    heading = f"from {shared[0]:g} to {shared[1]:g}" if shared else "on its scale"
    headings = ["dimension", "score", heading, "stated confidence", "missing because"]
    return "## Scores\n\n" + table(headings, [[row[0], row[1], row[2], row[3], row[4]] for row in rows], left=5)


def _bar(score: float | None, dimension: Dimension) -> str:
    """Return a bar whose length is the score's place on its scale; nothing where there is no score."""
    if score is None or dimension.high <= dimension.low:
        return ""
    filled = round(BAR * (score - dimension.low) / (dimension.high - dimension.low))
    return "█" * filled + "·" * (BAR - filled)


def _derived(record: AnalysisRecord, framework: Framework) -> str:
    if not framework.derived_metrics or not (record.derived or record.derived_missing):
        return ""
    rows = [
        [text(metric.name), number(record.derived.get(metric.name)), text(record.derived_missing.get(metric.name, ""))]
        for metric in framework.derived_metrics
    ]
    return "## Derived metrics\n\n" + table(["metric", "value", "missing because"], rows, left=3)


def _evidence(record: AnalysisRecord, framework: Framework, text_: str) -> str:
    parts = ["## Evidence"]
    for dimension in framework.dimensions:
        lines = []
        for quotation in record.evidence.get(dimension.name, ()):
            found = verify(quotation, text_)
            flag = " **NOT FOUND IN THE TEXT**" if found == "not found" else ""
            lines.append(f"- “{text(quotation)}”{flag}")
        parts.append(f"### {text(dimension.label)}\n\n" + ("\n".join(lines) or f"{NONE} no quotation"))
    return "\n\n".join(parts)
