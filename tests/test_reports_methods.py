"""The methods as run: what the session knows is counted, what only its author knows is a blank nobody overlooks."""

from __future__ import annotations

import re
from html import unescape

from discernus.experiments.experiment_file import parse_experiment
from discernus.reports.main_tables import MainTable, as_html
from discernus.reports.methods import methods
from discernus.reports.report import final_report
from tests.test_reports_final import data, experiment, records


def item(section: str, name: str) -> str:
    (line,) = [line for line in unescape(section).splitlines() if line.startswith(f"- **{name}")]
    return line.partition("**: ")[2]


def test_models_versions_days_and_routes_are_those_of_the_answers() -> None:
    first, second, *rest = records("vendor/model-1")
    first = first.model_copy(update={"model_answered": "model-1-0426", "answered_at": "2026-04-01T23:00:00.000+00:00"})
    second = second.model_copy(update={"answered_at": "2026-04-03T01:00:00.000+00:00", "route": "second_model"})
    parked = rest[0].model_copy(update={"status": "parked", "scores": {}, "call": None, "route": None})
    section = methods(data(records=(first, second, parked, *rest[1:])))
    assert item(section, "Models asked") == "vendor/model-1, answered as model-1-0426 (1) and vendor/model-1 (4)."
    assert item(section, "Days") == "2026-04-01 to 2026-04-03 (UTC); of 3 answers the time is not known."
    assert item(section, "Counts").startswith("6 analyses planned, 5 answered, 5 read, 5 with a score")
    assert item(section, "How scores").startswith("4 as JSON in the form asked for; 1 by a second model")


def test_what_only_the_author_knows_is_a_blank() -> None:
    section = unescape(methods(data()))
    blanks = re.findall(r"\*\*\[to be filled in by the author: [^]]+\]\*\*", section)
    assert len(blanks) >= 7
    for name in ("Purpose", "Texts", "Validation", "Exclusions", "Deviations", "Personal data", "Funding"):
        assert "[to be filled in by the author" in item(methods(data()), name)


def test_a_seed_that_was_asked_for_is_told_and_an_offline_method_is_called_one() -> None:
    assert item(methods(data()), "Seeds") == "none was asked of a model."
    seeded = tuple(record.model_copy(update={"parameters": {"seed": 7}}) for record in data().records)
    assert item(methods(data(records=seeded)), "Seeds") == "7 asked of vendor/model-1."
    assert item(methods(data()), "Service") == "not recorded."
    assert item(methods(data("offline/lexicon")), "Parameters") == "none; no language model was asked."
    assert "Reading of answers" not in methods(data("offline/lexicon"))
    assert item(methods(data("offline/lexicon")), "Service") == "none; no model was asked over a network."
    assert "(a dictionary method, no language model)" in item(methods(data("offline/lexicon")), "Models asked")


def test_what_the_author_says_of_human_coding_replaces_the_warning_on_every_page_and_table() -> None:
    said = "kappa .71 over 40 texts, two coders (supplement, table S2)"
    validated = data(experiment=experiment("vendor/model-1").model_copy(update={"human_validation": said}))
    report = final_report(validated)
    assert "Not validated" not in report
    assert report.index(said) < report.index("## What was run")
    assert item(methods(validated), "Validation") == f"as the author states it: {said}."
    assert f"Validation, as the author states it: {said}" in as_html([MainTable("t", ())], said)
    assert "Not validated against human coding." in final_report(data())


def test_the_key_is_text_and_the_threshold_a_share() -> None:
    keys = ("format: 1", "models: [offline/lexicon]", "framework_file: f.md")
    text = "\n".join(("---", *keys, "human_validation: {}", "extraction_alert: {}", "---", ""))
    read = parse_experiment(text.format("by two coders", 0.25).encode(), "e", "experiment.md").experiment
    assert read is not None
    assert (read.human_validation, read.extraction_alert) == ("by two coders", 0.25)
    wrong = parse_experiment(text.format("true", 25).encode(), "e", "experiment.md")
    assert [problem.what for problem in wrong.problems.found if problem.severity == "error"] == [
        "'extraction_alert' is 25",
        "'human_validation' is not text",
    ]
