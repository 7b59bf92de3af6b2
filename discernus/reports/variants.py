"""The report's tables by variant, where there are several: what each way of asking a model makes of the same texts."""

from __future__ import annotations

from discernus.reports.agreement import FEW, interval_of, with_interval
from discernus.reports.data import ReportData
from discernus.reports.groups import Group, variables_of
from discernus.reports.markdown import number, table, text
from discernus.statistics.means import mean_difference


def by_variant(data: ReportData, groups: list[Group]) -> str | None:
    """Return a table for each model that gave scores under several variants; None where none did."""
    asked: dict[tuple[str, str | None], list[Group]] = {}
    for group in groups:
        if any(record.scores for record in group.records):
            asked.setdefault((group.model, group.in_place_of), []).append(group)
    several = [own for own in asked.values() if len(own) > 1]
    if not several:
        return None
    parts = [
        "## Results by variant",
        "The same model asked in another way. *Difference* is the mean over the documents that have a value under "
        "both, less that under the variant named first, with its interval, which is made as that of a mean (see "
        f"*Dimensions*); {FEW}: it rests on few documents. Nothing is tested, and no variant is pooled with another.",
    ]
    names = [name for of in variables_of(data.framework) for name in of]
    return "\n\n".join([*parts, *(f"### {own[0].name}\n\n{_table(own, names)}" for own in several)])


def _table(own: list[Group], names: list[str]) -> str:
    headings = ["variable", "variant", "documents", "mean", "95 % interval", f"difference from {text(own[0].variant)}"]
    return table(headings, [_row(own[0], group, name) for name in names for group in own], left=2)


def _row(reference: Group, group: Group, name: str) -> list[str]:
    across = group.across_documents(name)
    difference = "" if group is reference else with_interval(mean_difference(_pairs(reference, group, name)))
    documents = f"{across.n} of {across.n + across.missing}"
    return [
        text(name),
        text(group.variant),
        documents,
        number(across.mean),
        interval_of(group.mean(name)),
        difference,
    ]


def _pairs(first: Group, second: Group, name: str) -> list[tuple[float, float]]:
    """Return the means of each document that has one in both groups."""
    means, others = first.means(name), second.means(name)
    found = ((means[one], others.get(one)) for one in means)
    return [(one, other) for one, other in found if one is not None and other is not None]
