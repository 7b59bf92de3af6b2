"""The analyses of one model under one variant, which is what means and consistency are computed over."""

from collections.abc import Iterable
from dataclasses import dataclass

from discernus.experiments.experiment import OFFLINE_PREFIX
from discernus.experiments.framework import Framework
from discernus.reports.markdown import text
from discernus.reports.records import AnalysisRecord
from discernus.statistics.consistency import Alpha, Spread, cronbach_alpha, spread_within_documents
from discernus.statistics.descriptives import Description, describe


@dataclass(frozen=True)
class Group:
    """All analyses that asked one model under one variant; ``runs`` and ``documents`` are those of the plan."""

    model: str
    variant: str
    records: tuple[AnalysisRecord, ...]
    documents: tuple[str, ...]
    runs: tuple[int, ...]

    @property
    def offline(self) -> bool:
        """Whether no language model was asked, so that runs are resamples of sentences."""
        return self.model.startswith(OFFLINE_PREFIX)

    @property
    def title(self) -> str:
        """The group's heading, which says of an offline method that it is one."""
        method = " (dictionary method, no language model)" if self.offline else ""
        return f"{text(self.model)}, variant {text(self.variant)}{method}"

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

    def count(self, variable: str) -> int:
        """Return how many single values there are."""
        return sum(value is not None for row in self.table(variable) for value in row)

    def alpha(self, variable: str) -> Alpha:
        return cronbach_alpha(self.table(variable))

    def spread(self, variable: str) -> Spread:
        return spread_within_documents(self.table(variable))


def groups_of(records: Iterable[AnalysisRecord]) -> list[Group]:
    """Return the groups in the order of their first records."""
    found: dict[tuple[str, str], list[AnalysisRecord]] = {}
    for record in records:
        found.setdefault((record.model_requested, record.variant), []).append(record)
    return [
        Group(
            model=model,
            variant=variant,
            records=tuple(members),
            documents=tuple(sorted({record.document for record in members})),
            runs=tuple(sorted({record.run for record in members})),
        )
        for (model, variant), members in found.items()
    ]


def variables_of(framework: Framework) -> tuple[list[str], list[str]]:
    """Return the names of the dimensions and of the derived metrics."""
    return [d.name for d in framework.dimensions], [m.name for m in framework.derived_metrics]
