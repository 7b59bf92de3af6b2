"""The statistical plan, from its words to verdicts: a value for each text, groups from corpus.csv, nothing guessed."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest

from discernus.experiments.corpus import Document
from discernus.experiments.definition import Definition
from discernus.experiments.experiment import Experiment, Hypothesis
from discernus.experiments.framework import Contract, ContractField, DerivedMetric, Dimension, Framework, Variant
from discernus.experiments.statistical_plan import PlannedTest
from discernus.experiments.statistical_plan import tests_of as plan_of
from discernus.experiments.testability import NO_DIRECTION, flaws
from discernus.reports.data import ReportData
from discernus.reports.hypotheses import hypotheses
from discernus.reports.hypothesis_table import dictionary, write_tests
from discernus.reports.records import AnalysisRecord
from discernus.stages.testing import tested as results_of
from discernus.statistics.verdicts import Tested, combined

H1 = Hypothesis(name="H1", text="The north hopes more.")
NORTH, SOUTH = ("n1", "n2", "n3", "n4"), ("s1", "s2", "s3", "s4")
HOPE: dict[str, float | None] = {
    "n1": 0.9,
    "n2": 0.8,
    "n3": 0.85,
    "n4": 0.7,
    "s1": 0.1,
    "s2": 0.3,
    "s3": 0.2,
    "s4": 0.15,
}
WELCH = {"hypothesis": "H1", "test": "welch_t", "variable": "hope", "groups": "region", "expect": "north > south"}
FRAMEWORK = Framework(
    name="f",
    version="1",
    display_name="F",
    text="",
    sha256="f" * 64,
    dimensions=(Dimension(name="hope", label="Hope"), Dimension(name="fear", label="Fear")),
    variants=(Variant(name="default", analysis_prompt="Score."),),
    derived_metrics=(
        DerivedMetric(name="balance", formula="hope - fear"),
        DerivedMetric(name="tension", formula="hope-fear"),
        DerivedMetric(name="outlook", formula="hope_score"),
    ),
    contract=Contract(fields=(ContractField(path=("mood",), role="label", type="string"),)),
)


def document(name: str) -> Document:
    region = {} if name.startswith("x") else {"region": "north" if name.startswith("n") else "south"}
    pair = {"pair": name[1:]} if name[1:] else {}
    return Document(id=name, file=f"{name}.txt", sha256=name, characters=3, metadata={**region, **pair})


def definition(*plan: dict[str, Any], documents: tuple[str, ...] = NORTH + SOUTH) -> Definition:
    experiment = Experiment(
        name="e",
        title="E",
        format=1,
        framework_file="framework.md",
        corpus="corpus",
        variants=("default",),
        models=("vendor/model",),
        runs_per_model=2,
        hypotheses=(H1,),
        statistical_plan=plan,
        text="",
        sha256="e" * 64,
    )
    return Definition(experiment, FRAMEWORK, tuple(map(document, documents)), {}, ())


def records(
    hope: dict[str, float | None], *, runs: int = 2, model: str = "vendor/model", spread: float = 0.02
) -> list[AnalysisRecord]:
    found: list[AnalysisRecord] = []
    for name, value in hope.items():
        for run in range(1, runs + 1):
            score = None if value is None else value + spread * (run - (runs + 1) / 2)
            given = {} if score is None else {"hope": score, "fear": 0.5}
            derived = {} if score is None else {"balance": score - 0.5, "tension": score - 0.5, "outlook": score}
            found.append(
                AnalysisRecord(
                    number=len(found) + 1,
                    document=name,
                    model_requested=model,
                    variant="default",
                    run=run,
                    status="scored" if given else "partial",
                    scores=given,
                    derived=derived,
                    labels={"mood": "bright" if (value or 0) > 0.5 else "dark"},
                )
            )
    return found


def one_test(plan: dict[str, Any], hope: dict[str, float | None] | None = None, **more: Any) -> Tested:
    [found] = results_of(definition(plan), records(HOPE if hope is None else hope, **more))
    return found


def wrong(plan: dict[str, Any]) -> list[str]:
    made = definition(plan)
    return [flaw.what for flaw in flaws(plan_of([plan]), FRAMEWORK, made.documents)]


def test_the_number_of_runs_changes_neither_the_sizes_nor_p() -> None:
    few, many = one_test(WELCH), one_test(WELCH, runs=12)
    assert few.sizes == many.sizes == {"north": 4, "south": 4}
    assert few.outcome.p == pytest.approx(many.outcome.p)
    assert few.verdict == "supported"


def test_a_significant_difference_the_other_way_contradicts() -> None:
    assert one_test({**WELCH, "expect": "south > north"}).verdict == "contradicted"
    assert one_test({**WELCH, "expect": "south < north"}).verdict == "supported"
    assert one_test({**WELCH, "expect": "difference"}).verdict == "supported"


def test_without_a_direction_there_are_numbers_and_no_verdict() -> None:
    plan = {key: value for key, value in WELCH.items() if key != "expect"}
    found = one_test(plan)
    assert found.outcome.p is not None
    assert (found.verdict, "no direction" in found.why) == ("not testable", True)


def test_a_small_difference_is_inconclusive_and_never_equality() -> None:
    found = one_test(WELCH, {**HOPE, "n1": 0.1, "n2": 0.2, "n3": 0.3})
    assert found.verdict == "inconclusive"


def test_a_text_without_a_score_is_left_out_by_name_and_never_zero() -> None:
    hope = {**HOPE, "n4": None}
    found = one_test(WELCH, hope)
    assert (found.sizes, found.left_out) == ({"north": 3, "south": 4}, {"n4": "no value"})
    expected = (0.9 + 0.8 + 0.85) / 3 - (0.1 + 0.3 + 0.2 + 0.15) / 4
    assert found.outcome.estimate is not None
    assert found.outcome.estimate.value == pytest.approx(expected)


def test_a_text_without_a_group_is_in_no_group() -> None:
    made = definition(WELCH, documents=(*NORTH, *SOUTH, "x"))
    [found] = results_of(made, records({**HOPE, "x": 0.5}))
    assert found.left_out == {"x": "no entry under region"}


def test_runs_that_fail_here_and_there_leave_the_mean_of_the_others() -> None:
    some = [record for record in records(HOPE, runs=3) if (record.document, record.run) != ("n1", 3)]
    [found] = results_of(definition(WELCH), some)
    assert found.sizes == {"north": 4, "south": 4}
    assert found.outcome.estimate is not None
    assert found.outcome.estimate.value == pytest.approx(0.8125 - 0.01 / 4 - 0.1875)


def test_too_few_texts_for_any_p_below_the_level_is_said() -> None:
    plan = {**WELCH, "test": "mann_whitney"}
    hope = {name: value for name, value in HOPE.items() if name not in ("n3", "n4", "s4")}
    found = one_test(plan, hope)
    assert found.verdict == "inconclusive"
    assert found.outcome.smallest_p == pytest.approx(0.2)
    assert "no data of this size could be significant" in found.why


def test_p_values_are_adjusted_over_all_distinct_tests_of_all_models_and_the_same_formula_counts_once() -> None:
    plan = {**WELCH, "variable": ["balance", "tension", "outlook", "hope"]}
    both = [*records(HOPE), *records({**HOPE, "n1": 0.2}, model="vendor/other")]
    numbered = [record.model_copy(update={"number": place}) for place, record in enumerate(both, start=1)]
    found = results_of(definition(plan), numbered)
    assert len(found) == 8
    assert {one.family for one in found} == {4}
    assert [one.same_as for one in found] == [None, 1, None, 3, None, 5, None, 7]
    assert found[0].outcome.p is not None
    assert found[0].p_adjusted == pytest.approx(found[0].outcome.p * 4)
    assert found[0].p_adjusted == found[1].p_adjusted


def test_equivalence_is_shown_within_its_margin_alone() -> None:
    plan = {**WELCH, "test": "equivalence", "margin": 0.9, "justification": "half of the scale is no difference"}
    del plan["expect"]
    assert one_test(plan).verdict == "supported"
    assert one_test({**plan, "margin": 0.1}).verdict == "contradicted"
    assert one_test({**plan, "margin": 0.62}).verdict == "inconclusive"
    assert any("justified beforehand" in what for what in wrong({**plan, "justification": ""}))


def test_texts_that_belong_together_are_paired_by_a_column_and_those_without_partner_left_out() -> None:
    plan = {**WELCH, "test": "paired_t", "pairs": "pair"}
    found = one_test(plan, {**HOPE, "s4": None})
    assert found.sizes == {"north": 3, "south": 3}
    assert found.left_out == {"s4": "no value", "n4": "no one partner"}
    assert found.outcome.estimate is not None
    assert found.outcome.estimate.value == pytest.approx((0.8 + 0.5 + 0.65) / 3)


def test_two_variables_of_the_same_texts_are_paired_or_correlated() -> None:
    paired = one_test({"hypothesis": "H1", "test": "paired_t", "variables": ["hope", "fear"], "expect": "fear > hope"})
    assert paired.sizes == {"documents": 8}
    assert paired.outcome.estimate is not None
    assert paired.outcome.estimate.value == pytest.approx(0.0, abs=1e-9)
    rho = one_test(
        {"hypothesis": "H1", "test": "spearman", "variables": ["hope", "balance"], "expect": "negative"}, spread=0.0
    )
    assert rho.outcome.statistic == pytest.approx(1)
    assert rho.verdict == "contradicted"


def test_a_mixed_model_takes_all_runs_of_each_text_and_has_the_direction_of_two_groups() -> None:
    plan = {**WELCH, "test": "mixed_model"}
    found = one_test(plan, {**HOPE, "n4": None}, runs=3)
    assert (found.verdict, found.sizes, found.left_out) == (
        "supported",
        {"north": 3, "south": 4},
        {"n4": "no value"},
    )
    assert found.outcome.df == pytest.approx((5.0,))  # of seven texts in two groups, not of 21 runs
    assert found.outcome.p is not None
    assert one_test(plan, {**HOPE, "n4": None}, runs=12).outcome.df == pytest.approx((5.0,))
    assert one_test({**plan, "expect": "south > north"}).verdict == "contradicted"
    undirected = {key: value for key, value in plan.items() if key != "expect"}
    assert (one_test(undirected).verdict, wrong(undirected)) == ("not testable", [NO_DIRECTION])
    once = one_test(plan, runs=1)
    assert (once.verdict, once.outcome.p) == ("not testable", None)
    assert "no document has a value in two runs" in once.why


def test_a_mixed_model_of_several_groups_knows_no_direction_and_has_pairs() -> None:
    plan = {"hypothesis": "H1", "test": "mixed_model", "variable": "hope", "groups": "pair"}
    found = one_test(plan)
    assert (found.outcome.statistic_name, len(found.outcome.pairs)) == ("F", 6)
    assert wrong(plan) == []
    assert one_test({**plan, "expect": "1 > 2"}).outcome.statistic_name == "t"


def test_a_salience_is_compared_over_runs_by_its_own_values_and_has_no_coefficient_of_consistency() -> None:
    plan = {"hypothesis": "H1", "test": "run_noise", "variable": "hope_salience"}
    salient = [
        record.model_copy(update={"salience": {"hope": 0.1 * record.run if record.document == "n1" else 0.5}})
        for record in records(HOPE, runs=3)
    ]
    [found] = results_of(definition(plan), salient)
    assert [pair.estimate.value for pair in found.outcome.pairs] == pytest.approx([-0.3] * 7)
    consistent = {**plan, "test": "icc", "threshold": 0.7}
    assert any("'hope_salience' is a salience" in what for what in wrong(consistent))


def test_labels_are_counted_by_the_groups_of_corpus_csv() -> None:
    found = one_test({"hypothesis": "H1", "test": "chi_square", "variable": "mood", "groups": "region"})
    assert (found.sizes, found.verdict) == ({"north": 4, "south": 4}, "supported")
    assert found.outcome.p == pytest.approx(2 / 70)


@pytest.mark.parametrize("test", ["pearson", "spearman", "kendall", "paired_t"])
def test_a_variable_is_never_tested_against_itself_whatever_it_is_called(test: str) -> None:
    expect = "difference" if test == "paired_t" else "positive"
    for names in (["hope", "hope_score"], ["hope", "outlook"], ["balance", "tension"]):
        found = one_test({"hypothesis": "H1", "test": test, "variables": names, "expect": expect})
        assert (found.outcome.p, found.verdict) == (None, "not testable")
        assert found.why.startswith("both variables are one and the same")


def test_what_binary_fractions_add_to_a_metric_is_no_run_noise() -> None:
    plan = {"hypothesis": "H1", "test": "run_noise", "variable": "balance"}
    given = records(HOPE, runs=2, spread=0)
    added = [
        one.model_copy(update={"derived": {**one.derived, "balance": one.derived["balance"] + one.run * 1e-16}})
        for one in given
    ]
    [found] = results_of(definition(plan), added)
    assert found.outcome.pairs == ()
    assert found.outcome.notes == (
        "28 pairs do not vary over runs at all, so that they have no noise to differ beyond",
    )


def test_groups_that_the_model_itself_codes_are_circular() -> None:
    found = one_test({**WELCH, "groups": "mood", "expect": "bright > dark"})
    assert (found.outcome.p, found.verdict) == (None, "not testable")
    assert found.why.startswith("circular")


def test_documents_over_runs_differ_beyond_run_noise_and_no_more_is_said() -> None:
    found = one_test({"hypothesis": "H1", "test": "run_noise", "variable": "hope"}, runs=4)
    assert (found.outcome.p, found.verdict, len(found.outcome.pairs)) == (None, "not testable", 28)
    report = hypotheses(data(definition({"hypothesis": "H1", "test": "run_noise", "variable": "hope"}), (found,)))
    assert "pairs differ beyond this model's run noise" in report


def test_consistency_is_judged_on_its_interval_and_not_for_a_method_that_reads_nothing() -> None:
    plan = {"hypothesis": "H1", "test": "cronbachs_alpha", "variable": "hope", "threshold": 0.7}
    uneven = [
        record.model_copy(update={"scores": {"hope": record.scores["hope"] + 0.03 * (record.number * 5 % 3)}})
        for record in records(HOPE, runs=4, spread=0.0)
    ]

    def judged(threshold: float) -> Tested:
        return results_of(definition({**plan, "threshold": threshold}), uneven)[0]

    sure = judged(0.7)
    assert (sure.verdict, sure.why, sure.outcome.p) == ("supported", "the interval lies above 0.7", None)
    assert sure.outcome.effect is not None
    assert sure.outcome.effect.interval is not None
    assert judged(sure.outcome.effect.value).verdict == "inconclusive"  # the interval decides, not the point
    assert judged(sure.outcome.effect.interval.high + 1e-9).verdict == "contradicted"
    assert one_test(plan, model="offline/lexicon").verdict == "not testable"
    bare = {key: value for key, value in plan.items() if key != "threshold"}
    assert "no threshold" in one_test(bare).why


@pytest.mark.parametrize(
    ("changed", "what"),
    [
        ({"test": "welsh"}, "'welsh' is no test known here"),
        ({"test": None}, "the test names no method"),
        ({"variable": "zeal"}, "'zeal' is defined neither"),
        ({"variable": "hope_confidence"}, "own confidence"),
        ({"variable": "mood"}, "is a label, and the test takes numbers"),
        ({"variable": "region"}, "holds 'north', which is no number"),
        ({"groups": None}, "takes one column of groups"),
        ({"groups": "reigon"}, "neither a column of corpus.csv nor a label"),
        ({"groups": "pair", "expect": "1 > 9"}, "no text of corpus.csv has '9' as its pair"),
        ({"groups": "pair", "expect": "difference"}, "compares two groups, and 'pair' has 4"),
        ({"expect": "north"}, "says no direction"),
        ({"expect": "north > east"}, "no text of corpus.csv has 'east'"),
        ({"alpha": 5}, "alpha is 5"),
        ({"margn": 0.1}, "'margn' is no setting of a test"),
        ({"test": "anova"}, "knows no direction"),
        ({"test": "mixed_model", "groups": None}, "takes one column of groups"),
        ({"test": "mixed_model", "expect": "north"}, "says no direction"),
        ({"test": "mixed_model", "groups": "pair", "expect": "positive"}, "knows no direction"),
        ({"test": "chi_square", "expect": "difference"}, "'hope' is a number"),
        ({"test": "pearson"}, "takes two variables and no groups"),
        ({"test": "paired_t", "pairs": "couple"}, "'couple' are no column"),
        ({"test": "paired_t"}, "takes two variables, or groups and the column that pairs"),
    ],
)
def test_a_plan_that_cannot_be_meant_is_named_before_a_cent_is_spent(changed: dict[str, Any], what: str) -> None:
    plan = {key: value for key, value in {**WELCH, **changed}.items() if value is not None}
    assert any(what in found for found in wrong(plan)), wrong(plan)


def test_a_plan_in_order_has_no_flaw_in_the_current_and_the_older_way_of_writing_it() -> None:
    assert wrong(WELCH) == []
    older = {
        "test": {
            "name": "A test",
            "hypothesis_ref": "H1",
            "method": "t-test",
            "params": {"data_source": "hope_score", "grouping_variable": "region", "expect": "north > south"},
        }
    }
    assert wrong(older) == []
    assert one_test(older).verdict == "supported"


def test_a_plan_too_small_for_any_result_says_so_and_runs() -> None:
    plan = {**WELCH, "test": "mann_whitney"}
    small = definition(plan, documents=("n1", "n2", "s1", "s2"))
    [flaw] = flaws(plan_of([plan]), FRAMEWORK, small.documents)
    assert (flaw.of, "p is 0.333 at least" in flaw.what) == ("nothing", True)


def test_one_test_that_contradicts_decides_and_all_have_to_support() -> None:
    assert combined(["supported", "contradicted"]) == "contradicted"
    assert combined(["supported", "supported"]) == "supported"
    assert combined(["supported", "not testable"]) == "inconclusive"
    assert combined(["not testable"]) == "not testable"


def data(made: Definition, tests: tuple[Tested, ...]) -> ReportData:
    return ReportData(
        project="p",
        session="s",
        experiment=made.experiment,
        framework=FRAMEWORK,
        documents=made.documents,
        texts={},
        records=(),
        status="complete",
        started_at="2026-01-01T00:00:00+00:00",
        tests=tests,
    )


def test_the_report_gives_the_verdict_with_its_model_and_every_number_of_the_test() -> None:
    made = definition(WELCH)
    found = results_of(made, records({**HOPE, "n4": None}))
    report = hypotheses(data(made, found))
    assert "*supported.* vendor/model, variant default (test 1)" in report
    outcome = found[0].outcome
    assert outcome.effect is not None
    assert f"t {outcome.statistic:.3f}" in report
    assert f"Hedges' g {outcome.effect.value:.3f} [95 %: " in report
    assert "not in it: n4 (no value)" in report


def test_prose_that_no_test_is_planned_for_is_not_testable() -> None:
    assert "*not testable: no test in the statistical plan refers to it.*" in hypotheses(data(definition(), ()))


def test_the_table_has_all_numbers_empty_cells_for_what_is_none_and_a_word_on_each_column() -> None:
    plan = {**WELCH, "test": "kruskal_wallis"}
    del plan["expect"]
    found = results_of(definition(WELCH, plan), records(HOPE))
    rows = list(csv.DictReader(io.StringIO(write_tests(found).decode())))
    assert [row["method"] for row in rows] == ["Welch's t test", "Kruskal-Wallis test"]
    assert float(rows[0]["p"]) == pytest.approx(found[0].outcome.p)
    assert rows[0]["smallest_p"] == ""
    assert rows[1]["effect_low"] == ""
    described = [line.split(",")[0] for line in dictionary().decode().splitlines()]
    assert described == [f"hypothesis_tests.csv/{name}" for name in rows[0]]


def test_a_plans_word_for_a_method_is_read_whatever_its_case() -> None:
    [planned] = plan_of([{"test": "Cronbach's alpha", "variable": "hope"}])
    assert isinstance(planned, PlannedTest)
    assert (planned.method, planned.coefficient) == ("consistency", "Cronbach's alpha")
    assert plan_of([{"method": "Mann-Whitney U"}])[0].method == "mann_whitney"


@pytest.mark.parametrize(
    ("plan", "what"),
    [
        ({"test": "equivalence", "margin": 1, "justification": "j"}, "as wide as the scale of 'hope', 1"),
        ({"test": "icc", "threshold": 1.7, "groups": None}, "no coefficient reaches"),
    ],
)
def test_a_plan_that_could_only_come_out_one_way_is_refused(plan: dict[str, Any], what: str) -> None:
    written = {key: value for key, value in {**WELCH, **plan}.items() if value is not None and key != "expect"}
    found = flaws(plan_of([written]), FRAMEWORK, definition(WELCH).documents)
    assert any(what in flaw.what for flaw in found), found


def test_a_column_that_pairs_nothing_is_refused() -> None:
    plan = {**WELCH, "test": "paired_t", "pairs": "pair"}
    alone = definition(plan, documents=("n1", "n2", "s3", "s4"))
    found = flaws(plan_of([plan]), FRAMEWORK, alone.documents)
    assert [flaw.what for flaw in found] == ["fewer than two values of the column 'pair' pair two texts"]
