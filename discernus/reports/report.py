"""final_report.md: what was run, what came out, what is missing, and how each number can be checked.

Written by code alone, so that the same session gives the same report, and no number in it comes from a model's prose.
"""

from dataclasses import replace

from discernus.reports import (
    agreement,
    answerers,
    appendix,
    circumstances,
    costs,
    failures,
    findings,
    hypotheses,
    interpretation,
    languages,
    methods,
    overview,
    readability,
    registration,
    variants,
)
from discernus.reports.data import ReportData
from discernus.reports.groups import groups_of


def final_report(data: ReportData) -> str:
    """Return the report as Markdown."""
    data = replace(data, records=tuple(sorted(data.records, key=lambda record: record.number)))
    groups = groups_of(data.records)
    sections = [
        overview.opening(data, groups),
        overview.what_was_run(data, groups),
        overview.summary(data, groups),
        answerers.stand_ins(data),
        methods.methods(data),
        readability.section(data.records, data.experiment.extraction_alert),
        findings.dimensions(data, groups),
        findings.documents(data, groups),
        findings.baselines(data),
        findings.derived(data, groups),
        findings.labels(data, groups),
        agreement.consistency(data, groups),
        agreement.models(data, groups),
        variants.by_variant(data, groups),
        languages.by_language(data, groups),
        hypotheses.hypotheses(data),
        interpretation.interpretation(data),
        registration.before_the_session(data),
        appendix.evidence(data),
        appendix.gaps(data, groups),
        failures.what_went_wrong(data),
        answerers.limitations(data),
        costs.costs(data),
        costs.in_doubt(data),
        circumstances.limits(data),
        circumstances.destinations(data),
        appendix.verification(data),
        appendix.provenance(data),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"
