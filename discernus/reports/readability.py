"""How well scores could be read from a model's answers, by model and variant, and when that calls for attention.

An answer that gave no score, or whose JSON had to be mended, is trouble: what is read of mended answers may be what the
model did not mean, and what cannot be read is missing for reasons that may have to do with the text.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import floor

from discernus.experiments.experiment import OFFLINE_PREFIX
from discernus.extraction.extract import Route
from discernus.reports.markdown import table, text
from discernus.reports.records import AnalysisRecord
from discernus.statistics.proportions import wilson_interval


@dataclass(frozen=True)
class Reading:
    """What came of an analysis that was answered: ``asks`` answers before the last were of no use."""

    model: str
    variant: str
    asks: int
    route: Route | None
    scored: bool


@dataclass(frozen=True)
class Readability:
    """The answers of one model under one variant: how many there were, gave no score, or had their JSON mended."""

    model: str
    variant: str
    answers: int
    failed: int
    repaired: int
    by_rules: int  # from the lines of a written outline
    by_model: int  # by a second model

    @property
    def troubled(self) -> int:
        return self.failed + self.repaired

    @property
    def share(self) -> float:
        return self.troubled / self.answers

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the share, as if answers were independent."""
        return wilson_interval(self.troubled, self.answers)

    def alarming(self, threshold: float) -> bool:
        return self.share > threshold


def readings_of(records: Iterable[AnalysisRecord]) -> list[Reading]:
    """Return what came of each analysis that was answered."""
    return [
        Reading(_asked(record), record.variant, record.ask, record.route, not record.gave_nothing)
        for record in records
        if record.call is not None
    ]


def _asked(record: AnalysisRecord) -> str:
    return record.model_asked or record.model_requested


def readability(readings: Iterable[Reading]) -> list[Readability]:
    """Return the readability of each language model's answers under each variant, in the order of their first."""
    found: dict[tuple[str, str], list[Reading]] = {}
    for one in readings:
        if not one.model.startswith(OFFLINE_PREFIX):
            found.setdefault((one.model, one.variant), []).append(one)
    return [_counted(model, variant, own) for (model, variant), own in found.items()]


def _counted(model: str, variant: str, own: list[Reading]) -> Readability:
    def by(route: Route) -> int:
        return sum(one.scored and one.route == route for one in own)

    return Readability(
        model=model,
        variant=variant,
        answers=sum(one.asks + 1 for one in own),
        failed=sum(one.asks + (not one.scored) for one in own),
        repaired=by("repaired_json"),
        by_rules=by("outline"),
        by_model=by("second_model"),
    )


def in_words(one: Readability, threshold: float) -> str:
    """Return what calls for attention, in one sentence of plain text."""
    low, high = one.interval
    return (
        f"of {one.answers:,} answers of {one.model}, variant {one.variant}, {one.troubled:,} gave no score or had to "
        f"be repaired: {_percent(one.share)} (95 % interval {_percent(low)} to {_percent(high)}), more than "
        f"{_percent(threshold)}"
    )


def section(records: Iterable[AnalysisRecord], threshold: float) -> str | None:
    """Return the report's section; None where no language model has answered."""
    found = readability(readings_of(records))
    if not found:
        return None
    headings = ["model", "variant", "answers", "no score", "repaired", "share", "95 % interval", "outline", "2nd model"]
    alarming = [text(in_words(one, threshold)) for one in found if one.alarming(threshold)]
    return "\n\n".join(
        [
            "## Reading of answers",
            "*No score*: answers from which no score could be read, those among them after which the question was "
            "asked again. *Repaired*: scores read from broken JSON that was mended. *Share*: of both in all answers; "
            "its interval (Wilson) takes answers as independent, which runs on one text are not. *Outline* and *2nd "
            f"model*: read otherwise than from data, which is no trouble by itself. Attention is called above "
            f"{_percent(threshold)} (`extraction_alert` of experiment.md).",
            table(headings, [_row(one) for one in found], left=2),
            *(f"**Warning:** {said[:1].upper()}{said[1:]}." for said in alarming),
        ]
    )


def _row(one: Readability) -> list[str]:
    low, high = one.interval
    counts = [f"{number:,}" for number in (one.answers, one.failed, one.repaired)]
    share = [_percent(one.share), f"{_percent(low)} to {_percent(high)}"]
    return [text(one.model), text(one.variant), *counts, *share, f"{one.by_rules:,}", f"{one.by_model:,}"]


def _percent(share: float) -> str:
    """Return a share in percent, to a tenth where it is no whole number."""
    tenths = floor(1000 * share + 0.5)
    return f"{tenths // 10} %" if tenths % 10 == 0 else f"{tenths / 10} %"
