"""The analyses that one model read under one variant, which is what means and consistency are computed over.

What a fallback or a substitute read in a model's place makes a group of its own: no figure mixes two models, and the
analyses that another read are missing from the requested model's figures like any other that it did not give.
"""

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace

from discernus.experiments.experiment import OFFLINE_PREFIX
from discernus.experiments.framework import Framework
from discernus.reports.markdown import count, series, text
from discernus.reports.records import AnalysisRecord
from discernus.statistics.consistency import (
    Alpha,
    Coefficient,
    Spread,
    cronbach_alpha,
    label_coefficients,
    score_coefficients,
    spread_within_documents,
    stability,
)
from discernus.statistics.descriptives import Description, describe
from discernus.statistics.means import mean_over_documents


@dataclass(frozen=True)
class Group:
    """All analyses that one model read under one variant, and those requested of it that nobody read.

    ``runs`` and ``documents`` are those of the plan; of a model that stood in (``in_place_of`` another), those that it
    read. ``planned`` counts the analyses that were requested of the model, ``stand_ins`` those that others read.
    """

    model: str
    variant: str
    records: tuple[AnalysisRecord, ...]
    documents: tuple[str, ...]
    runs: tuple[int, ...]
    planned: int
    in_place_of: str | None = None
    stand_ins: tuple[tuple[str, int], ...] = ()

    @property
    def offline(self) -> bool:
        """Whether no language model was asked, so that runs are resamples of sentences."""
        return self.model.startswith(OFFLINE_PREFIX)

    @property
    def title(self) -> str:
        """The group's heading, which says of an offline method that it is one, and whose readings are not in it."""
        method = " (dictionary method, no language model)" if self.offline else ""
        made = f"{self.read_by_others} of {count(self.planned, 'analysis', 'analyses')}"
        others = f", without {made} that others made" if self.stand_ins else ""
        return f"{self.name}, variant {text(self.variant)}{method}{others}"

    @property
    def name(self) -> str:
        """The model, and whom it stood in for."""
        in_place_of = "" if self.in_place_of is None else f" in place of {text(self.in_place_of)}"
        return f"{text(self.model)}{in_place_of}"

    @property
    def note(self) -> str | None:
        """Who stood in for the group's model; None where nobody did."""
        if not self.stand_ins:
            return None
        by = series([f"{number} by {text(model)}" for model, number in self.stand_ins])
        whose = f"{self.read_by_others} of {count(self.planned, 'analysis', 'analyses')} requested of {self.name}"
        return f"**Note:** others made {whose}: {by}. These are in groups of their own."

    @property
    def read_by_others(self) -> int:
        """How many of the analyses that were requested of the model others made."""
        return sum(number for _, number in self.stand_ins)

    @property
    def answered(self) -> tuple[str, ...]:
        """The models that answered, by their own account."""
        return tuple(sorted({record.model_answered for record in self.records if record.model_answered}))

    @property
    def consistency_name(self) -> str:
        """What agreement over this group's runs is called."""
        return "sentence-resampling stability" if self.offline else "run-to-run consistency"

    def table(self, variable: str) -> list[list[float | None]]:
        """Return the values of a dimension or derived metric: a row per document, a column per run, None if missing."""
        values = {
            (record.document, record.run): record.scores.get(variable, record.derived.get(variable))
            for record in self.records
        }
        return [[values.get((document, run)) for run in self.runs] for document in self.documents]

    def means(self, variable: str) -> dict[str, float | None]:
        """Return each document's mean over its runs; None where no run has a value."""
        rows = zip(self.documents, self.table(variable), strict=True)
        return {document: describe(row).mean for document, row in rows}

    def across_documents(self, variable: str) -> Description:
        """Describe the documents' means: a document counts once, however many runs it has."""
        return describe(self.means(variable).values())

    def mean(self, variable: str) -> Coefficient:
        """Return the mean over documents, each with its mean over runs, with its interval."""
        return mean_over_documents(tuple(mean for mean in self.means(variable).values() if mean is not None))

    def of_documents(self, documents: Collection[str]) -> "Group":
        """Return the part of the group that is about these documents."""
        records = tuple(record for record in self.records if record.document in documents)
        kept = tuple(name for name in self.documents if name in documents)
        return replace(self, records=records, documents=kept, planned=len(kept) * len(self.runs), stand_ins=())

    def count(self, variable: str) -> int:
        """Return how many single values there are."""
        return sum(value is not None for row in self.table(variable) for value in row)

    def alpha(self, variable: str) -> Alpha:
        return cronbach_alpha(self.table(variable))

    def coefficients(self, variable: str) -> tuple[Coefficient, ...]:
        """Return how far the runs agree on a dimension or derived metric; of an offline method, its stability."""
        table = self.table(variable)
        return (stability(table),) if self.offline else score_coefficients(tuple(map(tuple, table)))

    def label_agreement(self, label: str) -> tuple[Coefficient, ...]:
        """Return how far the runs agree on a label; of an offline method, which gives none, nothing is computed."""
        given = {(record.document, record.run): record.labels.get(label) for record in self.records}
        rows = tuple(tuple(given.get((document, run)) for run in self.runs) for document in self.documents)
        return () if self.offline else label_coefficients(rows)

    def spread(self, variable: str) -> Spread:
        return spread_within_documents(self.table(variable))


def groups_of(records: Iterable[AnalysisRecord]) -> list[Group]:
    """Return the groups in the order of their first records, each followed by those of the models that stood in."""
    requested: dict[tuple[str, str], list[AnalysisRecord]] = {}
    for record in records:
        requested.setdefault((record.model_requested, record.variant), []).append(record)
    found = []
    for (model, variant), members in requested.items():
        others = Counter(record.read_by for record in members if record.read_by != model)
        own = [record for record in members if record.read_by == model]
        found.append(_group(model, variant, own, members, stand_ins=tuple(sorted(others.items()))))
        for other in sorted(others):
            read = [record for record in members if record.read_by == other]
            found.append(_group(other, variant, read, read, in_place_of=model))
    return found


def _group(
    model: str,
    variant: str,
    records: list[AnalysisRecord],
    planned: list[AnalysisRecord],
    *,
    in_place_of: str | None = None,
    stand_ins: tuple[tuple[str, int], ...] = (),
) -> Group:
    return Group(
        model=model,
        variant=variant,
        records=tuple(records),
        documents=tuple(sorted({record.document for record in planned})),
        runs=tuple(sorted({record.run for record in planned})),
        planned=len(planned),
        in_place_of=in_place_of,
        stand_ins=stand_ins,
    )


def variables_of(framework: Framework) -> tuple[list[str], list[str]]:
    """Return the names of the dimensions and of the derived metrics."""
    return [d.name for d in framework.dimensions], [m.name for m in framework.derived_metrics]
