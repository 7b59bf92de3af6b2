"""Two sessions set against each other: what differs between them, and how far their scores agree.

Documents are the same where their texts are, byte for byte. Each pair of models is compared by itself; nothing is
pooled over models, variants or sessions, and what is not comparable is named with its reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from discernus.experiments.corpus import Document
from discernus.experiments.framework import Framework
from discernus.reports.groups import Group, groups_of
from discernus.reports.sides import Side, differences, same
from discernus.statistics.consistency import OF_SCORES, Coefficient, rater_coefficients, score_coefficients
from discernus.statistics.descriptives import describe
from discernus.statistics.means import mean_difference
from discernus.statistics.outcome import Outcome
from discernus.statistics.resampling import Interval

LARGEST_SHOWN = 3
CORRELATED = ("Pearson's r", "Spearman's rho")


@dataclass(frozen=True)
class Disagreement:
    """A document's means over runs in both sessions."""

    document: str
    first: float
    second: float

    @property
    def difference(self) -> float:
        return self.second - self.first


@dataclass(frozen=True)
class VariableCompared:
    """A dimension or derived metric over ``documents`` that have a value in both sessions, means over runs.

    ``agreement`` holds ICC(A,1), ICC(A,k) and Krippendorff's alphas with the two sessions as raters; ``difference`` is
    second − first, in scale units; ``largest`` the documents that differ most.
    """

    variable: str
    kind: str
    documents: int
    first_mean: float | None
    second_mean: float | None
    difference: Coefficient
    agreement: tuple[Coefficient, ...]
    correlations: tuple[Coefficient, ...]
    largest: tuple[Disagreement, ...]


@dataclass(frozen=True)
class PairCompared:
    """What one model read in the first session beside what one read in the second, on the same documents.

    ``same_answers`` of the second's ``answers`` are the first's own, taken over and not asked again.
    """

    first: str
    second: str
    offline: bool
    same_answers: int
    answers: int
    variables: tuple[VariableCompared, ...]


@dataclass(frozen=True)
class Comparison:
    """``refused`` are variables that are in no table, ``alone`` models without anything to compare them with."""

    first: str
    second: str
    differences: tuple[tuple[str, str, str], ...]  # what it is, in the first, in the second
    same: tuple[str, ...]
    documents: tuple[tuple[str, str], ...]  # the ids of each shared document
    left_out: tuple[tuple[str, str], ...]  # a document, and why it is not compared
    refused: tuple[tuple[str, str], ...]
    alone: tuple[str, ...]
    pairs: tuple[PairCompared, ...]

    @property
    def comparable(self) -> bool:
        """Whether there is any number."""
        return any(one.documents for pair in self.pairs for one in pair.variables)


def compare(first: Side, second: Side) -> Comparison:
    """Return the comparison of two sessions."""
    documents, left_out = _shared(first.documents, second.documents)
    kinds, refused = _variables(first.framework, second.framework)
    sides = groups_of(first.records), groups_of(second.records)
    paired, alone = _paired(*sides)
    return Comparison(
        first=first.session,
        second=second.session,
        differences=tuple(differences(first, second)),
        same=tuple(same(first, second)),
        documents=tuple(documents.items()),
        left_out=tuple(left_out),
        refused=tuple(refused),
        alone=tuple(alone),
        pairs=tuple(_compared(one, other, (first, second), documents, kinds) for one, other in paired),
    )


def _shared(first: Sequence[Document], second: Sequence[Document]) -> tuple[dict[str, str], list[tuple[str, str]]]:
    """Return the documents whose texts are in both corpora, ids of the first to those of the second, and the others."""
    by_text: dict[str, list[str]] = {}
    for document in second:
        by_text.setdefault(document.sha256, []).append(document.id)
    ids = {document.id for document in second}
    found: dict[str, str] = {}
    left_out = []
    for document in first:
        same = [name for name in by_text.get(document.sha256, ()) if name not in found.values()]
        if same:
            found[document.id] = document.id if document.id in same else same[0]
        else:
            other = "its text is another one in the second session" if document.id in ids else "only in the first"
            left_out.append((document.id, other))
    used = {*found.values(), *(name for name, _ in left_out)}
    left_out += [(document.id, "only in the second") for document in second if document.id not in used]
    return found, left_out


def _variables(first: Framework, second: Framework) -> tuple[dict[str, str], list[tuple[str, str]]]:
    """Return what can be compared, each with its kind, and what cannot, with the reason."""
    scales = [{one.name: (one.low, one.high) for one in framework.dimensions} for framework in (first, second)]
    kinds: dict[str, str] = {}
    refused = list(_only_in_one(*scales))
    for name in (name for name in scales[0] if name in scales[1]):
        if scales[0][name] == scales[1][name]:
            kinds[name] = "dimension"
        else:
            (low, high), (other_low, other_high) = scales[0][name], scales[1][name]
            refused.append((name, f"other scales: {low:g} to {high:g}, and {other_low:g} to {other_high:g}"))
    formulas = [
        {one.name: "".join(one.formula.split()) for one in framework.derived_metrics} for framework in (first, second)
    ]
    incomparable = [name for name, _ in refused]
    refused += _only_in_one(*formulas)
    for name in (name for name in formulas[0] if name in formulas[1]):
        if formulas[0][name] != formulas[1][name]:
            refused.append((name, "another formula"))
        elif used := [one for one in incomparable if one in formulas[0][name]]:
            refused.append((name, f"it is computed from {', '.join(used)}"))
        else:
            kinds[name] = "derived metric"
    return kinds, refused


def _only_in_one(first: Mapping[str, Any], second: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    yield from ((name, "only in the first") for name in first if name not in second)
    yield from ((name, "only in the second") for name in second if name not in first)


def _paired(first: list[Group], second: list[Group]) -> tuple[list[tuple[Group, Group]], list[str]]:
    """Return each model and variant beside the same of the other session; those without it, each beside each other."""
    by_name = {_key(group): group for group in second}
    paired = [(group, by_name[_key(group)]) for group in first if _key(group) in by_name]
    known = {_key(group) for group, _ in paired}
    rest = [[group for group in side if _key(group) not in known] for side in (first, second)]
    paired += [(one, other) for one in rest[0] for other in rest[1]]
    alone = []
    for side, other, which in ((rest[0], rest[1], "first"), (rest[1], rest[0], "second")):
        alone += [] if other else [f"{named(group)}: only in the {which}" for group in side]
    return paired, alone


def _key(group: Group) -> tuple[str, str, str | None]:
    return group.model, group.variant, group.in_place_of


def named(group: Group) -> str:
    """Return whose readings a group holds, as plain words."""
    place = "" if group.in_place_of is None else f" in place of {group.in_place_of}"
    return f"{group.model}{place}, variant {group.variant}"


def _compared(
    first: Group, second: Group, sides: tuple[Side, Side], documents: Mapping[str, str], kinds: Mapping[str, str]
) -> PairCompared:
    origins = [_origins(group, side) for group, side in zip((first, second), sides, strict=True)]
    return PairCompared(
        first=named(first),
        second=named(second),
        offline=first.offline or second.offline,
        same_answers=len(origins[0] & origins[1]),
        answers=len(origins[1]),
        variables=tuple(_variable(first, second, documents, name, kind) for name, kind in kinds.items()),
    )


def _origins(group: Group, side: Side) -> set[str]:
    """Return the session and call that each answer was first given in."""
    session = side.session.rpartition("/")[2]
    return {record.reused_from or f"{session}/{record.call}" for record in group.records if record.call is not None}


def _variable(first: Group, second: Group, documents: Mapping[str, str], name: str, kind: str) -> VariableCompared:
    means = first.means(name), second.means(name)
    found = [
        Disagreement(one, a, b)
        for one, other in documents.items()
        if (a := means[0].get(one)) is not None and (b := means[1].get(other)) is not None
    ]
    pairs = tuple((one.first, one.second) for one in found)
    alphas = tuple(one for one in score_coefficients(pairs) if one.name in OF_SCORES)
    largest = sorted(found, key=lambda one: (-abs(one.difference), one.document))
    return VariableCompared(
        variable=name,
        kind=kind,
        documents=len(found),
        first_mean=describe(one.first for one in found).mean,
        second_mean=describe(one.second for one in found).mean,
        difference=mean_difference(pairs),
        agreement=(*rater_coefficients(pairs), *alphas),
        correlations=_correlations(pairs),
        largest=tuple(one for one in largest[:LARGEST_SHOWN] if one.difference),
    )


def _correlations(pairs: Sequence[tuple[float, float]]) -> tuple[Coefficient, ...]:
    from discernus.statistics.correlations import pearson, spearman

    first, second = [one for one, _ in pairs], [other for _, other in pairs]
    found = zip(CORRELATED, (pearson, spearman), strict=True)
    return tuple(_coefficient(name, correlate(first, second, 0.05), len(pairs)) for name, correlate in found)


def _coefficient(name: str, outcome: Outcome, documents: int) -> Coefficient:
    """Return a correlation with its interval by the transformation of Fisher, or why there is none."""
    value = None if outcome.effect is None else outcome.effect.value
    bounds = None if outcome.effect is None else outcome.effect.interval
    if bounds is not None:
        interval = Interval(bounds.low, bounds.high)
    else:
        why = "the correlation is perfect, or there are no more than three documents"
        interval = Interval(None, None, outcome.reason or why)
    return Coefficient(name, value, outcome.reason, interval, documents, 2 * documents)
