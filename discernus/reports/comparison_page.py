"""A comparison of two sessions as a page of Markdown that fits eighty columns."""

from __future__ import annotations

from collections.abc import Sequence

from discernus.reports.agreement import FEW, with_interval
from discernus.reports.comparison import Comparison, PairCompared, VariableCompared
from discernus.reports.markdown import count, number, series, split_table, table, text
from discernus.statistics.consistency import FEW_DOCUMENTS, Coefficient
from discernus.statistics.resampling import RESAMPLES

PAGE = 80  # characters
LEFT_OUT_SHOWN = 12

_READ = (
    "Each document counts once, with its mean over the runs of a session; only those with a value in both count. "
    "*Difference* is second minus first, in the units of the score. ICC(A,1) is the agreement of one session's means "
    "with the other's, ICC(A,k) that of the mean of both. In brackets stand 95 % intervals: of the correlations by "
    f"Fisher's transformation (Bonett and Wright's for rho), of all else from {RESAMPLES} resamples of the documents, "
    "widened where an interval that allows for few documents is wider. "
    "Nothing here is a test, and nothing is adjusted for many comparisons. Sessions that agree may err together."
)


def comparison_page(found: Comparison) -> str:
    """Return the page."""
    parts = [
        "# Two sessions compared",
        f"First: {text(found.first)}\\\nSecond: {text(found.second)}",
        *_differences(found),
        *_documents(found),
        *_refused(found),
    ]
    if found.comparable:
        parts += ["## Scores", _READ, *(part for pair in found.pairs for part in _pair(pair))]
    else:
        parts += ["## Scores", f"**Nothing can be compared**: {why_nothing(found)}."]
    return "\n\n".join(parts) + "\n"


def why_nothing(found: Comparison) -> str:
    """Return why there is no number at all."""
    if not found.documents:
        return "no text is in both sessions"
    if not found.pairs:
        return "one of the sessions holds no analysis"
    if not any(pair.variables for pair in found.pairs):
        return "no dimension or metric is the same in both, on the same scale"
    return "no document has a value in both sessions"


def _differences(found: Comparison) -> list[str]:
    lines = [f"- **{text(what)}**: {text(first)} | {text(second)}" for what, first, second in found.differences]
    same = f"The same in both: {series([text(what) for what in found.same]) or 'nothing'}."
    told = "What differs, first | second (hashes are the beginnings of SHA-256):\n\n" + "\n".join(lines)
    return ["## What differs", told if lines else "Nothing that was recorded.", same]


def _documents(found: Comparison) -> list[str]:
    lines = [f"- {text(name)}: {why}" for name, why in found.left_out[:LEFT_OUT_SHOWN]]
    if len(found.left_out) > LEFT_OUT_SHOWN:
        lines.append(f"- … and {count(len(found.left_out) - LEFT_OUT_SHOWN, 'further document')}")
    renamed = [f"{text(one)} is {text(other)}" for one, other in found.documents if one != other]
    parts = [f"## Documents\n\n{count(len(found.documents), 'text')} in both sessions, byte for byte."]
    if lines:
        parts.append("Left out:\n\n" + "\n".join(lines))
    if renamed:
        parts.append(f"Under another id in the second: {series(renamed[:LEFT_OUT_SHOWN])}.")
    return parts


def _refused(found: Comparison) -> list[str]:
    lines = [f"- {text(name)}: {text(why)}" for name, why in found.refused]
    lines += [f"- {text(one)}" for one in found.alone]
    return ["## Not comparable", "\n".join(lines)] if lines else []


def _pair(pair: PairCompared) -> list[str]:
    title = text(pair.first) if pair.first == pair.second else f"{text(pair.first)} | {text(pair.second)}"
    parts = [f"### {title}"]
    if pair.same_answers:
        parts.append(
            f"**Warning:** {pair.same_answers} of {count(pair.answers, 'answer')} of the second session are the "
            "first's own, taken over from it or from where it had them: so far it is compared with itself."
        )
    if pair.offline:
        parts.append("A dictionary method is among them, which counts marker phrases and reads nothing.")
    known = [one for one in pair.variables if one.documents]
    if not known:
        return [*parts, "No document has a value in both."]
    return [*parts, *_numbers(known), *_largest(known), *_remarks(pair.variables)]


def _numbers(variables: Sequence[VariableCompared]) -> list[str]:
    rows = [
        [text(one.variable), str(one.documents), number(one.first_mean), number(one.second_mean)] for one in variables
    ]
    rows = [[*row, with_interval(one.difference)] for row, one in zip(rows, variables, strict=True)]
    parts = [table(["variable", "documents", "first", "second", "difference"], rows)]
    for of in (_agreement, _correlations):
        headings = [_brief(one.name) for one in of(variables[0])]
        cells = [[text(one.variable), *map(with_interval, of(one))] for one in variables]
        parts.append(split_table(["variable", *headings], cells, PAGE))
    return parts


def _agreement(one: VariableCompared) -> tuple[Coefficient, ...]:
    return one.agreement


def _correlations(one: VariableCompared) -> tuple[Coefficient, ...]:
    return one.correlations


def _brief(name: str) -> str:
    return name.replace("Krippendorff's alpha", "Kripp. alpha")


def _largest(variables: Sequence[VariableCompared]) -> list[str]:
    rows = [
        [text(f"{each.document}, {one.variable}"), *map(number, (each.first, each.second, each.difference))]
        for one in variables
        for each in one.largest
    ]
    if not rows:
        return ["No document differs at all."]
    return ["Largest disagreements:", table(["document, variable", "first", "second", "difference"], rows)]


def _remarks(variables: Sequence[VariableCompared]) -> list[str]:
    """Return why some numbers are missing, a line for each reason, and what few documents mean."""
    by_reason: dict[str, list[str]] = {}
    every = [(one.variable, each) for one in variables for each in _every(one)]
    for variable, each in every:
        reason = each.reason if each.value is None else each.interval.reason
        if reason is not None:
            what = "undefined" if each.value is None else "without an interval"
            by_reason.setdefault(f"{what}, since {reason}", []).append(f"{text(variable)} ({each.name})")
    parts = ["\n".join(f"- {series(named)}: {reason}." for reason, named in by_reason.items())] if by_reason else []
    if any(each.value is not None and each.rests_on_few for _, each in every):
        parts.append(
            f"{FEW} **Warning:** figures from fewer than {FEW_DOCUMENTS} documents vary widely from one set of texts "
            "to the next, and their intervals may be narrower than they should be."
        )
    return parts


def _every(one: VariableCompared) -> tuple[Coefficient, ...]:
    return (one.difference, *one.agreement, *one.correlations)
