"""Two sessions compared: what differs is named, what both scored is compared model by model, the rest is refused."""

from __future__ import annotations

import json
import random
import re
import statistics
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from benchmarks.make_experiment import POLES
from discernus.experiments.corpus import Document
from discernus.experiments.framework import DerivedMetric, Dimension
from discernus.llm.calls import ModelRequest
from discernus.reports.comparison import Comparison, VariableCompared, compare
from discernus.reports.comparison_page import PAGE, comparison_page
from discernus.reports.groups import groups_of
from discernus.reports.records import AnalysisRecord
from discernus.reports.sides import Side
from discernus.sessions.session import Session
from discernus.statistics.means import mean_over_documents
from starter import app
from tests.stand_ins import Model, opened, scores
from tests.test_checkpoints import answer_all, close
from tests.test_reports_agreement import FRAMEWORK, readings
from tests.test_reports_final import experiment

FIRST, SECOND = "P/e1/session_20260101_000000", "P/e1/session_20260102_000000"


def document(name: str, text: str = "") -> Document:
    return Document(id=name, file=f"{name}.txt", sha256=(text or name).ljust(64, "0"), characters=80)


def side(records: list[AnalysisRecord], session: str = FIRST, **changes: Any) -> Side:
    documents = tuple(document(name) for name in sorted({record.document for record in records}))
    models = tuple(dict.fromkeys(record.model_requested for record in records))
    values: dict[str, Any] = {
        "session": session,
        "experiment": experiment(*models),
        "framework": FRAMEWORK,
        "documents": documents,
        "records": tuple(records),
        "prompts": {"default": frozenset({"a" * 64})},
        "versions": {"discernus": "1.0"},
    }
    return Side(**(values | changes))


def two(first: dict[str, Any] | None = None, second: dict[str, Any] | None = None, **changes: Any) -> Comparison:
    return compare(
        side(readings(**(first or {"seed": 1}))), side(readings(**(second or {"seed": 2})), SECOND, **changes)
    )


def variable(found: Comparison, name: str) -> VariableCompared:
    (pair,) = found.pairs
    (one,) = [one for one in pair.variables if one.variable == name]
    return one


def document_means(seed: int) -> list[float]:
    (group,) = groups_of(readings(seed=seed))
    return [mean for mean in group.means("fear").values() if mean is not None]


def test_each_document_counts_once_with_its_mean_over_runs_in_either_session() -> None:
    fear = variable(two(), "fear")
    first, second = document_means(1), document_means(2)
    assert (fear.documents, fear.difference.documents) == (8, 8)
    assert fear.difference.value == pytest.approx(statistics.mean(second) - statistics.mean(first), abs=1e-12)
    assert fear.correlations[0].value == pytest.approx(statistics.correlation(first, second), abs=1e-12)
    assert fear.largest[0].difference == max((b - a for a, b in zip(first, second, strict=True)), key=abs)
    assert [one.name for one in fear.agreement] == [
        "ICC(A,1)",
        "ICC(A,k)",
        "Krippendorff's alpha, ordinal",
        "Krippendorff's alpha, interval",
    ]


def test_a_constant_shift_is_a_difference_in_agreement_and_none_in_correlation() -> None:
    shifted = [
        record.model_copy(update={"scores": {**record.scores, "fear": record.scores["fear"] + 0.25}})
        for record in readings()
    ]
    fear = variable(compare(side(readings()), side(shifted, SECOND)), "fear")
    assert fear.difference.value == pytest.approx(0.25, abs=1e-12)
    assert fear.correlations[0].value == pytest.approx(1.0, abs=1e-12)
    absolute = fear.agreement[0].value
    assert absolute is not None
    assert absolute < 0.9


def test_the_interval_of_a_mean_is_never_narrower_than_students() -> None:
    chance = random.Random(4)
    values = tuple(chance.random() for _ in range(8))
    found = mean_over_documents(values)
    assert found.interval.low is not None
    assert found.interval.high is not None
    assert found.value is not None
    reach = 2.3646242510103 * statistics.stdev(values) / 8**0.5  # t(7) at .975
    assert found.interval.low <= found.value - reach + 1e-9
    assert found.interval.high >= found.value + reach - 1e-9
    assert mean_over_documents(values) == found
    assert mean_over_documents((0.5,)).interval.reason == "there is only one document with a value"
    assert mean_over_documents(()).value is None


def test_a_dimension_on_another_scale_and_what_is_computed_from_it_are_refused_with_the_scales() -> None:
    wide = (FRAMEWORK.dimensions[0], Dimension(name="hope", label="Hope", high=10.0), Dimension(name="zeal", label="Z"))
    found = two(framework=FRAMEWORK.model_copy(update={"dimensions": wide, "sha256": "e" * 64}))
    assert dict(found.refused) == {
        "zeal": "only in the second",
        "hope": "other scales: 0 to 1, and 0 to 10",
        "balance": "it is computed from hope",
    }
    (pair,) = found.pairs
    assert [one.variable for one in pair.variables] == ["fear"]
    assert ("scale of hope", "0 to 1", "0 to 10") in found.differences


def test_metrics_of_one_name_and_two_formulas_are_not_compared() -> None:
    other = (DerivedMetric(name="balance", formula="fear_score - hope_score"),)
    found = two(framework=FRAMEWORK.model_copy(update={"derived_metrics": other}))
    assert dict(found.refused) == {"balance": "another formula"}
    spaced = (DerivedMetric(name="balance", formula="hope_score-fear_score"),)
    assert two(framework=FRAMEWORK.model_copy(update={"derived_metrics": spaced})).refused == ()


def test_documents_are_the_same_by_their_texts_whatever_their_ids() -> None:
    documents = [document(f"d{at:02d}") for at in range(8)]
    renamed = (document("other", "d00"), document("d01", "changed"), *documents[2:])
    records = [
        record.model_copy(update={"document": "other"}) if record.document == "d00" else record
        for record in readings(seed=2)
    ]
    found = compare(side(readings()), side(records, SECOND, documents=renamed))
    assert ("d00", "other") in found.documents
    assert found.left_out == (("d01", "its text is another one in the second session"),)
    assert variable(found, "fear").documents == 7


def test_models_are_never_pooled_and_one_without_its_like_is_set_beside_each_other_such() -> None:
    both = [*readings("v/one"), *readings("v/two", seed=2)]
    same = compare(side(both), side(both, SECOND))
    assert [(pair.first, pair.second) for pair in same.pairs] == [
        ("v/one, variant default", "v/one, variant default"),
        ("v/two, variant default", "v/two, variant default"),
    ]
    others = [*readings("v/one", seed=3), *readings("v/three", seed=4)]
    crossed = compare(side(both), side(others, SECOND))
    assert [(pair.first[:5], pair.second[:7]) for pair in crossed.pairs] == [("v/one", "v/one, "), ("v/two", "v/three")]
    more = compare(side(readings("v/one")), side(both, SECOND))
    assert more.alone == ("v/two, variant default: only in the second",)
    assert len(more.pairs) == 1


def test_answers_that_were_taken_over_are_told_since_a_session_agrees_with_itself() -> None:
    own = [record.model_copy(update={"call": f"{record.number:03d}"}) for record in readings()]
    taken = [
        record.model_copy(update={"reused_from": f"session_20260101_000000/{record.call}"} if record.run < 3 else {})
        for record in own
    ]
    found = compare(side(own), side(taken, SECOND))
    assert (found.pairs[0].same_answers, found.pairs[0].answers) == (16, 24)
    assert "16 of 24 answers of the second session are the first's own" in comparison_page(found)
    assert compare(side(own), side(own, SECOND)).pairs[0].same_answers == 0


def test_what_differs_is_named_and_what_is_the_same_too() -> None:
    found = two(second={"model": "vendor/two"}, prompts={"default": frozenset({"b" * 64})}, versions={})
    told = {what: (first, second) for what, first, second in found.differences}
    assert told["prompt of variant default"] == ("a" * 12, "b" * 12)
    assert told["models"] == ("vendor/one", "vendor/two")
    assert told["program"] == ("1.0", "not recorded")
    assert {"framework file", "texts", "2 scales", "2 definitions", "runs for each model"} <= set(found.same)


@pytest.mark.parametrize(("documents", "reason"), [(1, "fewer than two"), (2, "no more than three documents|of the 3")])
def test_too_few_documents_give_a_reason_in_the_place_of_a_number(documents: int, reason: str) -> None:
    page = comparison_page(two({"documents": documents}, {"documents": documents, "seed": 2}))
    assert re.search(reason, " ".join(page.split()))
    assert not re.search(r"\b(nan|inf)\b", page)


def test_without_a_shared_text_there_is_no_number_at_all() -> None:
    found = two(documents=tuple(document(f"d{at:02d}", f"x{at}") for at in range(8)))
    assert not found.comparable
    assert "**Nothing can be compared**: no text is in both sessions." in comparison_page(found)


def made(folder: Path, seed: int, **more: Any) -> Session:
    session = opened(folder, documents=6, runs=2, models=["openai/scribe"], **more)
    chance = random.Random(seed)

    def say(_: ModelRequest) -> str:
        given: dict[str, Any] = {pole.name: round(chance.random(), 2) for pole in POLES}
        return scores(**given)

    answer_all(session, Model(say))
    close(session)
    return session


@pytest.fixture(scope="module")
def sessions(tmp_path_factory: pytest.TempPathFactory) -> tuple[Session, Session]:
    return made(tmp_path_factory.mktemp("one"), 1), made(tmp_path_factory.mktemp("other"), 2)


def run(*arguments: str, projects: Path) -> Result:
    return CliRunner().invoke(app, ["compare", *arguments, "--projects-dir", str(projects)])


def test_the_command_fits_eighty_columns_and_writes_a_page(sessions: tuple[Session, Session], tmp_path: Path) -> None:
    first, second = sessions
    page = tmp_path / "page.html"
    done = run(str(first.folder), str(second.folder), "--out", str(page), projects=first.projects_dir)
    assert done.exit_code == 0, done.output
    assert max(len(line) for line in done.output.splitlines() if "/" not in line) <= PAGE
    assert "What differs" in done.output
    assert "Kripp. alpha" in done.output
    html = page.read_text()
    assert html.startswith("<!DOCTYPE html>")
    assert "ICC(A,1)" in html
    assert "<script" not in html
    for line in (line for line in done.output.splitlines() if line.startswith("| urgency ")):
        for cell in line.strip("|").split("|"):
            assert cell.strip() in unescape(html)


def test_the_command_tells_programs_every_number_in_full(sessions: tuple[Session, Session]) -> None:
    first, second = sessions
    done = run(str(first.folder), str(second.folder), "--json", projects=first.projects_dir)
    told = json.loads(done.output)
    assert told["comparable"] is True
    (pair,) = told["pairs"]
    assert {one["variable"] for one in pair["variables"]} >= {"urgency", "concord_index"}
    assert all(one["difference"]["documents"] == 6 for one in pair["variables"])
    assert not [what for what, *_ in told["differences"] if what.startswith("prompt")]


def test_a_session_beside_itself_is_refused(sessions: tuple[Session, Session]) -> None:
    first, _ = sessions
    done = run(str(first.folder), first.name, projects=first.projects_dir)
    assert done.exit_code != 0
    assert "compared with itself" in str(done.exception)
