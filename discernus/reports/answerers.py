"""Who answered: fallbacks, substitutions, changes of the answering version, and what they limit."""

from collections import Counter

from discernus.experiments.experiment import OFFLINE_PREFIX
from discernus.reports.data import AnsweringVersion, ReportData, StandIn
from discernus.reports.markdown import count, series, text
from discernus.reports.records import AnalysisRecord

NUMBERS_SHOWN = 20

_MADE = {"analysis": ("analysis", "analyses"), "extraction": ("second reading", "second readings")}


def stand_ins(data: ReportData) -> str | None:
    """Return which models answered in the place of others, how often and why; None where none did."""
    if not data.stand_ins:
        return None
    parts = ["## Answered by other models"]
    if any(one.purpose == "analysis" for one in data.stand_ins):
        parts.append("Analyses made by another model than the one requested have tables of their own.")
    return "\n\n".join([*parts, "\n".join(f"- {_told(one)}" for one in data.stand_ins)])


def _told(one: StandIn) -> str:
    whose = f"{one.calls} of {count(one.of, *_MADE[one.purpose])} of {text(one.model)}"
    if one.substitution:
        allowed = ", which the experiment allows" if one.purpose == "analysis" else ""
        return f"{whose}: answered by **{text(one.stood_in)}**, put in its place by a vendor or a proxy{allowed}."
    why = series([f"{text(name)} ({number})" for name, number in one.why.items()])
    return f"{whose}: answered by its fallback **{text(one.stood_in)}**, because of {why}."


def provenance(data: ReportData) -> list[str]:
    """Return which analyses other models made, and the versions of each model whose version changed."""
    made: dict[tuple[str, str], list[int]] = {}
    for record in data.records:
        if _by_another(record):
            made.setdefault((record.model_requested, record.read_by), []).append(record.number)
    return [*(_made(model, other, numbers) for (model, other), numbers in made.items()), *_all_versions(data)]


def _made(model: str, other: str, numbers: list[int]) -> str:
    shown = ", ".join(map(str, numbers[:NUMBERS_SHOWN]))
    more = f" and {len(numbers) - NUMBERS_SHOWN} more, see results.csv" if len(numbers) > NUMBERS_SHOWN else ""
    which = "analysis" if len(numbers) == 1 else "analyses"
    return f"Made by {text(other)} in place of {text(model)}: {which} {shown}{more}."


def _all_versions(data: ReportData) -> list[str]:
    return [
        f"{text(model)} answered under {count(len(versions), 'version')}: "
        + "; ".join(
            f"{text(one.version)} from call `{one.call}` on ({text(one.at)} UTC; "
            f"{count(one.analyses, 'analysis', 'analyses')})"
            for one in versions
        )
        + "."
        for model, versions in _versions(data).items()
    ]


def limitations(data: ReportData) -> str | None:
    """Return what limits the conclusions of this very session; None where nothing does."""
    lines = [*_missing(data), *_others(data), *_changes(data), *_dropped(data)]
    return "## Limitations\n\n" + "\n".join(f"- {line}" for line in lines) if lines else None


def _missing(data: ReportData) -> list[str]:
    nothing = sum(record.gave_nothing for record in data.records)
    if not nothing:
        return []
    return [
        f"{nothing} of {count(len(data.records), 'planned analysis', 'planned analyses')} gave nothing: see *Gaps*."
    ]


def _others(data: ReportData) -> list[str]:
    found = [one for one in data.stand_ins if one.purpose == "analysis"]
    own = {record.model_requested for record in data.records if record.scores and not _by_another(record)}
    return [
        f"{one.calls} of {count(one.of, 'analysis', 'analyses')} requested of {text(one.model)} were made by "
        f"{text(one.stood_in)}. {_RESTING if one.model in own else _NO_FIGURES}"
        for one in found
    ]


_RESTING = "Its figures rest on the others, which are no random choice of the texts and runs."
_NO_FIGURES = "It has no figures of its own."


def _by_another(record: AnalysisRecord) -> bool:
    return record.read_by != record.model_requested


def _dropped(data: ReportData) -> list[str]:
    """Say which models were not asked with a parameter that the experiment states for them."""
    found: dict[str, Counter[str]] = {}
    for record in data.records:
        if record.dropped_parameters and not record.read_by.startswith(OFFLINE_PREFIX):
            found.setdefault(record.model_asked or record.model_requested, Counter()).update(record.dropped_parameters)
    return [
        f"{text(model)} was not asked with {text(name)} in {count(number, 'analysis', 'analyses')}, since its vendor "
        "does not take it. Models that were asked with it were asked in another way."
        for model, names in found.items()
        for name, number in sorted(names.items())
    ]


def _changes(data: ReportData) -> list[str]:
    """Say of each model whose version changed what that means for its figures."""
    return [
        f"The version of {text(model)} changed within the session, from "
        + " to ".join(f"{text(one.version)} ({count(one.analyses, 'analysis', 'analyses')})" for one in versions)
        + f", first in call `{versions[1].call}` ({text(versions[1].at)} UTC). A difference between its scores may be "
        "one between these versions."
        for model, versions in _versions(data).items()
    ]


def _versions(data: ReportData) -> dict[str, list[AnsweringVersion]]:
    found: dict[str, list[AnsweringVersion]] = {}
    for one in data.answering_versions:
        found.setdefault(one.model, []).append(one)
    return found
