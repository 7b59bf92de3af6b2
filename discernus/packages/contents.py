"""What each file of a package is, in the words that its README, its crate and the folder for a Dataverse share."""

from __future__ import annotations

DESCRIPTIONS = {
    "tables/results.csv": "Scores: a row for each analysis, with models, runs, versions and costs",
    "tables/consistency.csv": "Agreement of runs and of models: a row for each coefficient, with its interval",
    "tables/hypothesis_tests.csv": "Tests of the statistical plan: a row for each test and each pair of groups",
    "tables/evidence.csv": "Quotations: a row for each, and whether it stands in the text",
    "tables/calls.csv": "Calls: a row for each prompt and its answer, with the files that hold their words",
    "tables/documents.csv": "Documents: a row for each text, with its hash, and whether it is here",
    "tables/corpus.csv": "What the author says of each text",
    "tables/codebook.csv": "What each column of each table means, in which unit",
    "tables/main_tables.R": "Makes the main tables from results.csv in R: Rscript main_tables.R results.csv",
    "session/deliverables/final_report.md": "The report",
    "session/deliverables/final_report.html": "The report, for a browser",
    "README.md": "What is in this package, and how to check and repeat it",
    "methods.md": "A paragraph for a paper's methods section",
    "citation.bib": "How to cite this package, and the program that made it",
    "LICENCES.md": "Under which licences the texts, the annotations and the code are",
    "environment/models.yaml": "What was said of the models when the package was made",
    "environment/requirements.txt": "Every Python package where this package was made, with its version",
    "environment/versions.json": "Versions of what ran the session, and of what made this package",
    "ro-crate-metadata.json": "All of this for machines: RO-Crate 1.1 with W3C PROV relations",
}
