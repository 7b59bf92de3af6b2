"""The report's section of prose by a model, set apart from the results, each number in it looked up in the tables.

All that stands in it is shown as plain text inside a quotation: it cannot open a section, draw a table, or hide.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from html import unescape

from discernus.reports import agreement, answerers, appendix, findings, hypotheses, languages, overview, variants
from discernus.reports.cited_numbers import Tables
from discernus.reports.data import ReportData
from discernus.reports.groups import groups_of
from discernus.reports.markdown import count, text
from discernus.reports.neutral_names import NeutralNames
from discernus.reports.prose import Prose

TITLE = "## Interpretation"
ABSENT = "**[not in the tables]**"
DOCUMENTS_TOLD = 50  # beyond so many, a model is not told the tables by document: they would drown the others

_MARK = "\ue000"  # stands for ABSENT until the text around it has been disarmed
_FORM = re.compile(r"^\s{0,8}(?:#{1,6}\s+|[-*+•]\s+|\d{1,2}[.)]\s+|>+\s*)+")
_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff\ue000]")


def brief(data: ReportData) -> str:
    """Return what a model is told that is to put the tables into words: the tables, what was run, and what is missing.

    The same tables give the same brief. No text of the corpus is in it; in a blind experiment, no name of a document or
    a speaker is.
    """
    data = replace(
        data, records=tuple(sorted(data.records, key=lambda record: record.number)), finished_at=None, taken_over=()
    )
    groups = groups_of(data.records)
    by_document = findings.documents(data, groups) if len(data.documents) <= DOCUMENTS_TOLD else None
    sections = (
        overview.what_was_run(data, groups),
        findings.dimensions(data, groups),
        by_document,
        findings.derived(data, groups),
        findings.labels(data, groups),
        agreement.consistency(data, groups),
        agreement.models(data, groups),
        variants.by_variant(data, groups),
        languages.by_language(data, groups),
        hypotheses.hypotheses(data),
        appendix.gaps(data, groups),
        answerers.limitations(data),
    )
    told = unescape("\n\n".join(section for section in sections if section))
    return (_neutral_names(data).hide(told) if data.experiment.blind else told) + "\n"


def checked(data: ReportData, told: str, answer: str) -> Prose:
    """Return a model's prose with each number looked up in the brief that it was ``told``."""
    names = _neutral_names(data)
    shown = _UNSEEN.sub("\ufffd", _plain(answer))
    if data.experiment.blind:
        told, shown = names.show(told), names.show(shown)
    return Prose(status="written", text=shown, numbers=Tables(told, _names(data)).look_up(shown))


def interpretation(data: ReportData) -> str | None:
    """Return the section, None where the experiment asks for no prose."""
    prose = data.prose
    if prose is None:
        return None
    if prose.status == "missing":
        return f"{TITLE}\n\nInterpretation missing: {text(prose.reason)}. Nothing else in this report depends on it."
    paragraphs = "\n>\n".join(f"> {_shown(line)}" for line in _marked(prose).splitlines() if line.strip())
    return f"{TITLE}\n\n{_opening(prose)}\n\n{paragraphs}"


def _opening(prose: Prose) -> str:
    answered = f"answered by {text(prose.model_answered)}" if prose.model_answered else "which version is not known"
    on = f" on {text(prose.answered_at[:10])}" if prose.answered_at else ""
    numbers = f"It cites {count(len(prose.numbers), 'number')}; "
    if not prose.numbers:
        numbers = "It cites no number."
    elif prose.absent:
        are = "is" if prose.absent == 1 else "are"
        numbers += f"**{prose.absent} of them {are} not in the tables**, and marked at the place."
    else:
        numbers += "each of them stands in the tables."
    return (
        f"Prose by a language model, **not part of the results**: {text(prose.model_requested or 'unknown')} was asked "
        f"({answered}){on}, and was given the computed tables alone. {numbers} That a number stands in the tables does "
        f"not make what is said of it true. Call `{prose.call}`."
    )


def _plain(answer: str) -> str:
    """Return the prose a paragraph a line, without the signs that begin headings, items and quotations."""
    lines = ["" if not line.strip() else _FORM.sub("", line) for line in answer.splitlines()]
    return "\n".join(_joined(lines, answer.splitlines()))


def _joined(lines: list[str], written: list[str]) -> Iterator[str]:
    """Yield paragraphs: lines that follow each other belong together, unless one began as a form of its own."""
    paragraph: list[str] = []
    for line, as_written in zip(lines, written, strict=True):
        if paragraph and (not line or _FORM.match(as_written) or as_written.lstrip().startswith("|")):
            yield " ".join(paragraph)
            paragraph = []
        if line:
            paragraph.append(" ".join(line.split()))
    if paragraph:
        yield " ".join(paragraph)


def _marked(prose: Prose) -> str:
    shown, begin = "", 0
    for one in prose.numbers:
        if not one.found:
            shown, begin = shown + prose.text[begin : one.end] + _MARK, one.end
    return shown + prose.text[begin:]


def _shown(line: str) -> str:
    return text(line).replace(_MARK, f" {ABSENT}")


def _neutral_names(data: ReportData) -> NeutralNames:
    """Return the neutral names of a blind experiment; its own name, and what its author named, may tell as much."""
    experiment = data.experiment
    hypotheses = (one.name for one in experiment.hypotheses)
    return NeutralNames(
        data.documents, (*experiment.variants, *hypotheses, experiment.name, experiment.title or "", data.project)
    )


def _names(data: ReportData) -> Iterator[str]:
    """Yield the names whose figures are no numbers: of documents, models, variants, dimensions and hypotheses."""
    for document in data.documents:
        yield from (document.id, document.file, *document.metadata.values())
    for record in data.records:
        yield from (name for name in (record.model_requested, record.model_asked, record.model_answered) if name)
    yield from data.experiment.variants
    yield from (name for one in data.framework.dimensions for name in (one.name, one.label))
    yield from (one.name for one in data.experiment.hypotheses)
    yield from (data.experiment.name, data.session, data.project)
