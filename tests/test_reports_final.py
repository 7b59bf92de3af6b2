"""The report names every gap, calls each number what it is, and says the same of the same session each time."""

import re
from dataclasses import replace
from typing import Any

import pytest

from discernus.experiments.corpus import Document
from discernus.experiments.experiment import Experiment, Hypothesis
from discernus.experiments.framework import Contract, ContractField, DerivedMetric, Dimension, Framework, Variant
from discernus.reports.analysis_page import analysis_page
from discernus.reports.data import CallInDoubt, ModelCost, ParkedAnalysis, ReportData, SessionFile, StandIn
from discernus.reports.markdown import percent
from discernus.reports.quotes import verify
from discernus.reports.records import AnalysisRecord
from discernus.reports.report import final_report

TEXT = "We stand together — and, tomorrow, we’ll mend the bridge.\nNobody is “left out” of it."
DOCUMENTS = ("d1", "d2", "d3")
FRAMEWORK = Framework(
    name="f",
    version="1.2",
    display_name="Framework F",
    text="",
    sha256="f" * 64,
    dimensions=(Dimension(name="fear", label="Fear"), Dimension(name="hope", label="Hope")),
    variants=(Variant(name="default", analysis_prompt="Read."),),
    derived_metrics=(DerivedMetric(name="balance", formula="hope_score - fear_score"),),
    contract=Contract(fields=(ContractField(path=("worldview",), role="label", type="string"),)),
)


def experiment(*models: str) -> Experiment:
    return Experiment(
        name="e1",
        title="Bridges",
        format=1,
        framework_file="framework.md",
        corpus="corpus",
        variants=("default",),
        models=models,
        runs_per_model=2,
        hypotheses=(
            Hypothesis(name="H1", text="More hope than fear."),
            Hypothesis(name="H2", text="More zeal.", untestable="'zeal' is defined nowhere"),
        ),
        text="# Bridges\n\n## This is sample material\n\nNothing here is a finding\nabout anybody.\n\nMore.\n",
        sha256="e" * 64,
    )


def records(model: str) -> list[AnalysisRecord]:
    found = []
    for number, (run, document) in enumerate([(run, document) for run in (1, 2) for document in DOCUMENTS], start=1):
        fear = 0.2 * number if document != "d3" else None
        found.append(
            AnalysisRecord(
                number=number,
                document=document,
                model_requested=model,
                model_answered=model,
                variant="default",
                run=run,
                status="scored",
                scores={"hope": 0.25, **({} if fear is None else {"fear": fear})},
                missing={"fear": "no coverage"} if fear is None else {},
                derived={} if fear is None else {"balance": 0.25 - fear},
                derived_missing={"balance": "no value for fear"} if fear is None else {},
                labels={"worldview": "Other"},
                evidence={"hope": ("we'll mend the bridge", "we shall win")},
                route="contract_json",
                call=f"{number:03d}",
            )
        )
    return found


def data(model: str = "vendor/model-1", **changes: Any) -> ReportData:
    values: dict[str, Any] = {
        "project": "P",
        "session": "session_20260101_000000",
        "experiment": experiment(model),
        "framework": FRAMEWORK,
        "documents": tuple(Document(id=name, file=f"{name}.txt", sha256="d" * 64, characters=80) for name in DOCUMENTS),
        "texts": dict.fromkeys(DOCUMENTS, TEXT),
        "records": tuple(records(model)),
        "status": "complete",
        "started_at": "2026-01-01T00:00:00Z",
        "costs": (ModelCost(model, "analysis", 6, 600, 60, cost_usd=0.0123),),
    }
    return ReportData(**(values | changes))


def section(report: str, heading: str) -> str:
    return re.split(r"^## ", report, flags=re.MULTILINE)[
        [part.splitlines()[0].lower() for part in re.split(r"^## ", report, flags=re.MULTILINE)].index(heading.lower())
    ]


def table_with(text: str, heading: str) -> str:
    """Return the first table that has the heading among those of its columns."""
    return next(part for part in text.split("\n\n") if part.startswith("|") and heading in part.splitlines()[0])


def cells(text: str, first: str) -> list[str]:
    (line,) = [line for line in text.splitlines() if re.match(rf"\| {first} +\|", line)]
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_the_same_session_gives_the_same_report() -> None:
    shuffled = replace(data(), records=tuple(reversed(data().records)))
    assert final_report(data()) == final_report(data()) == final_report(shuffled)


def test_what_was_asked_of_each_model_is_told_with_what_never_reached_it() -> None:
    asked = {"parameters": {"seed": 3, "temperature": 0.2}}
    first = [record.model_copy(update={**asked, "dropped_parameters": ("seed",)}) for record in records("a/one")]
    second = [record.model_copy(update=asked) for record in records("b/two")]
    report = final_report(data(records=tuple(first + second)))
    run = section(report, "What was run")
    assert "- a/one: seed 3, temperature 0.2; not sent, since its vendor does not take it: seed" in run
    assert "- b/two: seed 3, temperature 0.2\n" in run
    assert "- c/three" not in run
    limits = section(report, "Limitations")
    assert "- a/one was not asked with seed in 6 analyses, since its vendor does not take it." in limits
    assert "b/two" not in limits
    assert "- vendor/model-1: the defaults of its vendor" in section(final_report(data()), "What was run")


def test_a_model_that_read_nothing_is_not_said_to_have_analysed_and_has_no_table_of_dashes() -> None:
    nothing: dict[str, Any] = {
        "status": "parked",
        "scores": {},
        "derived": {},
        "labels": {},
        "evidence": {},
        "call": None,
    }
    parked = tuple(record.model_copy(update=nothing) for record in records("vendor/model-1"))
    report = final_report(data(records=parked, status="partial"))
    assert "each of 3 documents was to be analysed 2 times by vendor/model-1" in report
    assert "No analysis gave a score." in section(report, "Dimensions")
    assert "| hope" not in section(report, "Dimensions")
    others = (StandIn("analysis", "vendor/model-1", "b/two", 6, 6, {"timeout": 6}),)
    by_another = tuple(record.model_copy(update={"model_asked": "b/two"}) for record in records("vendor/model-1"))
    limits = section(final_report(data(records=by_another, stand_ins=others)), "Limitations")
    assert "It has no figures of its own." in limits
    assert "rest on the others" not in limits


def test_the_first_lines_say_how_many_answers_lack_some_scores() -> None:
    whole, *rest = records("vendor/model-1")
    some = whole.model_copy(update={"status": "partial"})
    report = final_report(data(records=(some, *rest)))
    assert "has its answer. 1 of 6 planned analyses lack some scores: see *Gaps*." in report.partition("## ")[0]
    assert "lack some" not in final_report(data())


def test_the_first_lines_say_how_many_analyses_have_no_usable_answer() -> None:
    empty = {"status": "partial", "scores": {}, "derived": {}}
    first, *rest = records("vendor/model-1")
    report = final_report(data(records=(first.model_copy(update=empty), *rest), status="partial"))
    assert "**Partial**: 1 of 6 planned analyses have no usable answer." in report.partition("## ")[0]


def test_a_share_is_never_rounded_up() -> None:
    assert [percent(share) for share in (0.999, 0.29, 0.888, 1.0)] == ["99 %", "29 %", "88 %", "100 %"]


def test_the_report_repeats_that_it_is_sample_material_and_what_was_run() -> None:
    report = final_report(data())
    assert report.startswith("# Bridges\n\n> **This is sample material.** Nothing here is a finding about anybody.\n")
    assert "each of 3 documents was analysed 2 times by vendor/model-1" in report


def test_means_count_each_document_once_and_leave_missing_scores_out() -> None:
    dimensions = section(final_report(data()), "Dimensions")
    # d1: (.2 + .8) / 2 = .5; d2: (.4 + 1) / 2 = .7; d3 has no score, and its absence is no zero
    assert cells(dimensions, "fear")[:8] == ["fear", "2 of 3", "4", "0.600", "–", "0.141", "0.500", "0.700"]
    assert cells(section(final_report(data()), "Documents and dimensions"), "d3") == ["d3", "–", "0.250"]
    assert cells(section(final_report(data()), "Derived metrics"), "d1") == ["d1", "-0.250"]


def test_the_summary_says_when_dimensions_rest_on_different_documents() -> None:
    # fear has no score in d3, hope has one in each document
    said = "Each mean is over the documents that have a score, 2 to 3 of 3: they are not the same for every dimension."
    assert said in section(final_report(data()), "Summary")
    both = tuple(record for record in data().records if record.document != "d3")
    assert "not the same for every dimension" not in final_report(data(records=both))


def test_the_summary_says_what_the_tables_say() -> None:
    summary = section(final_report(data()), "Summary")
    assert (
        "6 of 6 analyses gave scores. Over all documents, highest is Fear (0.600), lowest is Hope (0.250)." in summary
    )
    assert "- d3: the only score is Hope (0.250); no score for Fear." in summary


def test_dimensions_on_different_scales_are_not_ranked() -> None:
    wide = FRAMEWORK.model_copy(
        update={"dimensions": (Dimension(name="fear", label="Fear", high=10), FRAMEWORK.dimensions[1])}
    )
    summary = section(final_report(data(framework=wide)), "Summary")
    assert "not ranked" in summary
    assert "highest" not in summary


def test_every_missing_value_is_named_with_its_reason() -> None:
    gaps = section(final_report(data()), "Gaps")
    assert "- **fear**, no coverage (2 scores missing): d3" in gaps
    assert "- **balance**, no value for fear (2 derived metrics missing): d3" in gaps
    some = data()
    one = some.records[0].model_copy(update={"scores": {"fear": 0.2}, "missing": {"hope": "outside the scale 0–1: 7"}})
    gaps = section(final_report(replace(some, records=(one, *some.records[1:]))), "Gaps")
    assert "- **hope**, outside the scale 0–1: 7 (1 score missing): d1 (run 1)" in gaps


def test_an_analysis_that_was_not_had_is_a_gap_too() -> None:
    some = data()
    lost = some.records[5].model_copy(
        update={"status": "parked", "scores": {}, "missing": {}, "derived_missing": {}, "evidence": {}}
    )
    report = final_report(
        replace(
            some,
            status="partial",
            records=(*some.records[:5], lost),
            parked=(ParkedAnalysis(6, "timeout", "300 s passed"),),
        )
    )
    assert "- **parked**, timeout: 300 s passed (1 analysis): 6 (d3, run 2)" in section(report, "Gaps")
    assert "**Partial**" in report


def test_a_session_without_gaps_or_doubt_says_so() -> None:
    whole = data(records=tuple(record for record in data().records if record.document != "d3"))
    report = final_report(whole)
    assert "None: every analysis has every score" in section(report, "Gaps")
    assert "None: every request" in section(report, "Calls in doubt")


def test_consistency_of_a_model_is_called_neither_accuracy_nor_intercoder_reliability() -> None:
    report = final_report(data())
    consistency = section(report, "Run-to-run consistency")
    # fear: rows (.2, .8) and (.4, 1.0): both runs order and space the documents alike, on levels of their own
    assert cells(table_with(consistency, "incomplete"), "fear")[:5] == ["fear", "1.000†", "2", "1", "2"]
    assert cells(table_with(consistency, "ICC(1,k)"), "fear")[:3] == ["fear", "2", "-0.636†"]
    assert "neither accuracy nor intercoder reliability" in consistency
    assert "- hope (Cronbach's alpha): undefined, since the documents do not differ in their sums over runs." in (
        consistency
    )
    assert "† **Warning:** figures from fewer than 20 documents" in consistency
    assert "stability" not in report


def test_numbers_of_an_offline_method_are_named_as_what_they_are_throughout() -> None:
    report = final_report(data("offline/lexicon"))
    assert "sentence-resampling stability" in section(report, "Sentence-resampling stability")
    assert "reliab" not in report
    assert "consistency" not in section(report, "Dimensions")
    headings = [line for line in report.splitlines() if line.startswith("### offline/lexicon")]
    assert len(headings) >= 4
    assert all("dictionary method, no language model" in heading for heading in headings)


def test_runs_answered_by_two_models_are_not_passed_off_as_one() -> None:
    some = data()
    other = some.records[0].model_copy(update={"model_answered": "vendor/model-2"})
    consistency = section(final_report(replace(some, records=(other, *some.records[1:]))), "Run-to-run consistency")
    assert "answered by vendor/model-1 and vendor/model-2" in consistency


def test_hypotheses_without_a_test_are_stated_and_never_judged() -> None:
    hypotheses = section(final_report(data()), "Hypotheses")
    assert "**H1**: More hope than fear.\n  *not testable: no test in the statistical plan refers to it.*" in hypotheses
    assert "*not testable: 'zeal' is defined nowhere.*" in hypotheses


def test_quotations_that_are_not_in_the_text_are_flagged() -> None:
    evidence = section(final_report(data()), "Evidence")
    assert "6 distinct quotations given as evidence; 3 of them not found" in evidence
    assert "“we'll mend the bridge” (d1; vendor/model-1, cited 2 times)\n" in evidence
    assert "“we shall win” (d1; vendor/model-1, cited 2 times) **NOT FOUND IN THE TEXT**" in evidence
    assert "No evidence was quoted." in evidence


def test_unknown_cost_is_unknown_and_calls_in_doubt_are_listed() -> None:
    costs = (ModelCost("a", "analysis", 2, 1, 1, cost_usd=1.5), ModelCost("b", "extraction", 3, 1, 1))
    doubt = (CallInDoubt("004_ask1", "a", "2026-01-01T00:00:00Z"),)
    report = final_report(data(costs=costs, in_doubt=doubt))
    assert cells(section(report, "Cost"), "b")[-1] == "unknown"
    assert "at least 1.50 USD; of 3 calls no price is known" in report
    assert cells(section(report, "Calls in doubt"), "004_ask1")[1] == "a"


def test_each_number_can_be_traced_to_its_answer_and_files_to_their_hashes() -> None:
    report = final_report(
        data(files=(SessionFile("deliverables/results.csv", "a" * 64),), versions={"discernus": "0.1.0"})
    )
    assert "hope = 0.25 in analysis 1 (d1, vendor/model-1, run 1)" in report
    assert "`llm_archive/response_001.txt`" in report
    assert f"| deliverables/results.csv | {'a' * 64} |" in report
    assert all(hash_ * 64 in section(report, "Provenance") for hash_ in "def")


def test_labels_are_tallied_by_document_and_prose_among_them_is_shortened() -> None:
    some = data()
    prose = some.records[0].model_copy(update={"labels": {"worldview": "at length " * 20}})
    labels = section(final_report(replace(some, records=(prose, *some.records[1:]))), "Labels")
    assert cells(labels, "d2") == ["d2", "Other (2)"]
    assert cells(labels, "d1")[1].startswith("Other (1), at length")
    assert len(cells(labels, "d1")[1]) < 80


def test_nothing_that_others_wrote_acts_on_the_page() -> None:
    hostile = "![x](http://x/y) | <script>alert(1)</script> `code`\n# heading"
    some = data()
    bad = some.records[0].model_copy(update={"labels": {"worldview": hostile}, "evidence": {"hope": (hostile,)}})
    report = final_report(replace(some, records=(bad, *some.records[1:]), warnings=(hostile,)))
    assert not re.search(r"(?<!\\)<script", report)
    assert not re.search(r"(?<!\\)\[x", report)
    assert "\n# heading" not in report
    for table in re.findall(r"(?:^\|.*\n)+", report, flags=re.MULTILINE):
        widths = {len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}
        assert len(widths) == 1


def test_tables_fit_the_page_however_many_dimensions_there_are() -> None:
    names = [f"a_rather_long_dimension_name_{chr(97 + index)}" for index in range(12)]
    many = FRAMEWORK.model_copy(update={"dimensions": tuple(Dimension(name=name, label=name) for name in names)})
    wide = [record.model_copy(update={"scores": dict.fromkeys(names, 0.5)}) for record in data().records]
    documents = section(final_report(data(framework=many, records=tuple(wide))), "Documents and dimensions")
    assert max(map(len, documents.splitlines())) <= 120
    assert all(name in documents for name in names)


@pytest.mark.parametrize(
    ("quotation", "found"),
    [
        ("we'll mend the bridge", "found"),
        ('"Nobody is "left out" of it."', "found"),
        ("we stand together - and, tomorrow", "found"),
        ("bridge. Nobody", "found"),
        ("We stand together ... mend the bridge", "found with omissions"),
        ("We stand together […] mend the bridge", "found with omissions"),
        ("mend the bridge ... We stand together", "not found"),
        ("we mend the bridge", "not found"),
        ("", "not found"),
        ("…", "not found"),
    ],
)
def test_a_quotation_is_compared_without_its_typography(quotation: str, found: str) -> None:
    assert verify(quotation, TEXT) == found


def test_the_page_of_an_analysis_shows_scores_gaps_and_quotations() -> None:
    record = data().records[2]
    page = analysis_page(record, FRAMEWORK, TEXT)
    assert "# Analysis 3: d3" in page
    assert cells(page, "Hope") == ["Hope", "0.250", "█████···············", "–", ""]
    assert cells(page, "Fear") == ["Fear", "–", "", "–", "no coverage"]
    assert "- “we shall win” **NOT FOUND IN THE TEXT**" in page
    assert "- “we'll mend the bridge”\n" in page
    assert "`llm_archive/response_003.txt`" in page
    offline = record.model_copy(update={"model_requested": "offline/lexicon"})
    assert "no language model read the text" in analysis_page(offline, FRAMEWORK, TEXT)


def test_the_baseline_over_whole_texts_stands_beside_the_resampled_scores() -> None:
    plain = data("offline/lexicon")
    assert "## Baseline by whole texts" not in final_report(plain)
    first, other = plain.framework.dimensions[0].name, plain.documents[0].id
    shown = final_report(replace(plain, baselines={other: {first: 0.125}})).split("## Baseline by whole texts")[1]
    table = shown.split("\n## ")[0]
    assert "0.125" in table
    assert "–" in table


def test_a_selection_of_quotations_is_named_as_one_and_the_words_for_what_came_of_analyses_are_explained() -> None:
    report = final_report(data())
    assert "the 3 most cited" in section(report, "Evidence")
    assert "`evidence.csv` has all" in section(report, "Evidence")
    ran = section(report, "What was run")
    assert all(f"*{word}*: " in ran.replace("*Scored*", "*scored*") for word in ("scored", "partial", "parked"))


def test_prose_answers_are_not_said_to_quote_nothing() -> None:
    prose = tuple(
        record.model_copy(update={"evidence": {}, "route": "outline"}) for record in records("vendor/model-1")
    )
    section = final_report(data(records=prose)).partition("\n## Evidence\n")[2].partition("\n## ")[0]
    assert "Evidence is not read from prose answers: 6 of 6 answers are prose under labels" in section
    assert "No evidence was quoted" not in section
