"""The report of a session says who really answered, what went wrong, what it cost, and where the texts went."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from discernus.llm.calls import ModelAnswer, ModelRequest, Usage
from discernus.llm.errors import CallFailed
from discernus.sessions import layout
from discernus.sessions.archive import Intent
from discernus.sessions.budgets import Account, set_budget
from discernus.sessions.calls import Calls
from discernus.sessions.integrity.verification import verify
from discernus.sessions.layout import Call
from discernus.sessions.opening import HIDDEN
from discernus.sessions.owners import HOST, Owner
from discernus.sessions.session import Session
from discernus.settings import Settings
from discernus.stages.analysis import Asked, TryAgain, analyse, extract_by_model
from discernus.stages.calculation import calculate
from discernus.stages.reading import read_answer
from discernus.stages.sealing import seal
from discernus.stages.synthesis import synthesise
from tests.stand_ins import answer, failure, opened, scores

MODEL, SECOND, READER, OTHER = "openai/gpt-4o", "anthropic/claude-sonnet-4-5", "gemini/gemini-2.5-flash", "gpt-4o-mini"
SETTINGS = Settings(retry_max_attempts=2)
VAGUE = "Of urgency there is 0.7 here, of patience 0.2; common cause I would put at 0.4."
DEAD = f"{HOST}-1-00000000"


class Speaker:
    """A model behind the gateway that says these things in order, each with what else is to be known of it."""

    def __init__(self, *says: str | CallFailed, **more: Any) -> None:
        self.says, self.more, self.asked = list(says), more, 0

    async def __call__(self, request: ModelRequest, *, idempotency_key: str) -> ModelAnswer:
        said = self.says[min(self.asked, len(self.says) - 1)]
        self.asked += 1
        if isinstance(said, CallFailed):
            raise said
        return answer(said, model=request.model, **{"model_answered": request.model.rpartition("/")[2], **self.more})


class Study:
    """A session at work: its analyses are asked, read, calculated and reported as the engine has it done."""

    def __init__(self, tmp_path: Path, *, models: Sequence[str] = (MODEL,), runs: int = 2, **settings: Any) -> None:
        extraction_model = settings.pop("extraction_model", None)
        self.session = opened(
            tmp_path, models=models, runs=runs, extraction_model=extraction_model, settings=settings or None
        )
        self.projects = tmp_path / "projects"

    async def ask(self, number: int, says: Speaker, fallback: int = 0, ask: int = 0) -> Asked:
        """Ask one candidate until it has answered or is given up."""
        with Owner(self.projects / HIDDEN / "owners") as owner:
            calls = Calls(owner, says, minimum_free_bytes=0)
            while True:
                try:
                    return await analyse(self.session, calls, SETTINGS, number, ask, fallback=fallback)
                except TryAgain:
                    continue

    async def read(self, number: int, says: Speaker, fallback: int = 0) -> None:
        asked = await self.ask(number, says, fallback)
        assert asked.status == "answered", asked
        read_answer(self.session, number, 0, final=True, fallback=fallback)

    async def read_by_model(self, number: int, says: Speaker, fallback: int = 0) -> Asked:
        with Owner(self.projects / HIDDEN / "owners") as owner:
            calls = Calls(owner, says, minimum_free_bytes=0)
            return await extract_by_model(self.session, calls, SETTINGS, number, 0, fallback=fallback)

    def doubt(self, number: int, model: str = MODEL) -> None:
        """Leave behind what a process leaves that dies while it waits for an answer."""
        sent_at = datetime.now(UTC) - timedelta(hours=1)
        intent = Intent(
            call=Call(number).name,
            attempt=1,
            owner=DEAD,
            content_key="k",
            model=model,
            sent_at=sent_at,
            deadline=sent_at + timedelta(minutes=5),
        )
        self.session.store.put(Call(number).intent(1), intent.model_dump_json().encode())

    def report(self) -> str:
        session = Session(self.session.folder)
        calculate(session)
        synthesise(session)
        return session.store.get(layout.REPORT).decode()

    def rows(self) -> list[dict[str, str]]:
        return list(csv.DictReader(io.StringIO(self.session.store.get(layout.RESULTS).decode())))


def section(report: str, heading: str) -> str:
    """Return what stands below a heading of the second level; nothing where there is no such heading."""
    found = re.search(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", report, re.MULTILINE | re.DOTALL)
    return found[1] if found else ""


# fallbacks


async def fallen_back(tmp_path: Path) -> Study:
    """Two documents, two runs: the fourth analysis is left to the fallback, after two timeouts."""
    study = Study(tmp_path, fallback_models={MODEL: [SECOND]})
    for number, value in ((1, 0.1), (2, 0.7), (3, 0.3)):
        await study.read(number, Speaker(scores(value)))
    asked = await study.ask(4, Speaker(failure("timeout")))
    assert asked.falls_back
    await study.read(4, Speaker(scores(0.9)), fallback=1)
    return study


async def test_a_fallback_is_a_column_and_its_answers_file_is_named(tmp_path: Path) -> None:
    study = await fallen_back(tmp_path)
    study.report()
    first, *_, last = study.rows()
    assert (first["model_requested"], first["model_asked"], first["substituted"]) == (MODEL, MODEL, "false")
    assert (last["model_requested"], last["model_asked"], last["substituted"]) == (MODEL, SECOND, "false")
    assert (first["answer_file"], last["answer_file"]) == (
        "llm_archive/response_001.txt",
        "llm_archive/response_004_fallback1.txt",
    )
    assert all(study.session.store.exists(row["answer_file"]) for row in study.rows())


async def test_a_fallbacks_scores_are_in_no_figure_of_the_model_it_stood_in_for(tmp_path: Path) -> None:
    dimensions = section((await fallen_back(tmp_path)).report(), "Dimensions")
    own, others = dimensions.split("### ")[1:]
    assert own.startswith(f"{MODEL}, variant default, without 1 of 4 analyses that others made\n")
    assert others.startswith(f"{SECOND} in place of {MODEL}, variant default\n")
    # the second document: 0.7 in the first run, and nothing of its own in the second
    assert re.search(r"\| urgency +\| +2 of 2 \| +3 \| 0\.450 \|", own)
    assert re.search(r"\| urgency +\| +1 of 1 \| +1 \| 0\.900 \|", others)
    assert f"**Note:** others made 1 of 4 analyses requested of {MODEL}: 1 by {SECOND}." in own
    assert "Note" not in others


async def test_consistency_is_each_models_own(tmp_path: Path) -> None:
    consistency = section((await fallen_back(tmp_path)).report(), "Run-to-run consistency")
    own, others = consistency.split("### ")[1:]
    assert re.search(r"\| urgency +\| +– \| +1 \| +1 \| +2 \|", own)  # one of two documents is complete
    assert "there is only one run" in others


async def test_who_stood_in_how_often_and_why_is_said_below_the_summary_and_among_the_limitations(
    tmp_path: Path,
) -> None:
    report = (await fallen_back(tmp_path)).report()
    said = f"- 1 of 4 analyses of {MODEL}: answered by its fallback **{SECOND}**, because of timeout (1)."
    assert said in section(report, "Answered by other models")
    assert re.findall(r"^## (.*)$", report, re.MULTILINE)[1:3] == ["Summary", "Answered by other models"]
    assert f"1 of 4 analyses requested of {MODEL} were made by {SECOND}" in section(report, "Limitations")
    assert re.search(
        rf"\| timeout +\| {MODEL} +\| fell back 2 +\| +2 \|", section(report, "What went wrong, and what was done")
    )
    assert f"Asked of {SECOND} in place of {MODEL}, answered by" in _page(report, tmp_path, 4)


async def test_the_provenance_names_each_analysis_that_another_model_made(tmp_path: Path) -> None:
    report = (await fallen_back(tmp_path)).report()
    assert f"Made by {SECOND} in place of {MODEL}: analysis 4." in section(report, "Provenance")


async def test_a_fallbacks_own_parameters_are_columns_as_it_was_asked(tmp_path: Path) -> None:
    parameters = {MODEL: {"temperature": 0.7, "seed": 3}, SECOND: {"temperature": 0.2, "top_p": 0.9}}
    study = Study(tmp_path, runs=1, fallback_models={MODEL: [SECOND]}, parameters=parameters)
    await study.read(1, Speaker(scores()))
    await study.read(2, Speaker(scores()), fallback=1)
    study.report()
    names = ("parameter_temperature", "parameter_seed", "parameter_top_p")
    assert [tuple(row[name] for name in names) for row in study.rows()] == [("0.7", "3", ""), ("0.2", "", "0.9")]


async def test_a_fallback_for_a_model_that_took_no_calls_says_so(tmp_path: Path) -> None:
    study = Study(tmp_path, runs=1, fallback_models={MODEL: [SECOND]})
    await study.read(1, Speaker(scores()), fallback=1)
    assert f"fallback **{SECOND}**, because of no calls taken (1)." in study.report()


async def test_a_model_that_was_asked_for_itself_does_not_mix_with_what_it_did_for_another(tmp_path: Path) -> None:
    study = Study(tmp_path, models=(MODEL, SECOND), runs=1, fallback_models={MODEL: [SECOND]})
    for number, value in ((2, 0.2), (3, 0.3), (4, 0.4)):
        await study.read(number, Speaker(scores(value)))
    await study.ask(1, Speaker(failure("model_not_found")))
    await study.read(1, Speaker(scores(0.9)), fallback=1)
    headings = re.findall(r"^### (.*)$", section(study.report(), "Dimensions"), re.MULTILINE)
    assert headings == [
        f"{MODEL}, variant default, without 1 of 2 analyses that others made",
        f"{SECOND} in place of {MODEL}, variant default",
        f"{SECOND}, variant default",
    ]
    means = section(study.report(), "Documents and dimensions")
    (of_the_second,) = re.findall(rf"### {SECOND}, variant default\n\n(.*?)\n\n", means, re.DOTALL)
    assert "0.900" not in of_the_second


async def test_where_nobody_stood_in_and_nothing_failed_nothing_is_said_of_it(tmp_path: Path) -> None:
    study = Study(tmp_path, runs=1)
    for number in (1, 2):
        await study.read(number, Speaker(scores()))
    report = study.report()
    for heading in (
        "Answered by other models",
        "What went wrong, and what was done",
        "Limitations",
        "Limits that held",
    ):
        assert section(report, heading) == ""
    assert "**Note:**" not in report


# substitutions


async def test_a_substitution_that_was_allowed_counts_for_who_answered(tmp_path: Path) -> None:
    study = Study(tmp_path, runs=1, allow_substitution=True)
    await study.read(1, Speaker(scores(0.1)))
    await study.read(2, Speaker(scores(0.9), model_answered=OTHER, substituted=True))
    report = study.report()
    assert [(row["model_asked"], row["substituted"]) for row in study.rows()] == [(MODEL, "false"), (MODEL, "true")]
    said = f"- 1 of 2 analyses of {MODEL}: answered by **{OTHER}**, put in its place by a vendor or a proxy, which the"
    assert said in section(report, "Answered by other models")
    assert f"### {OTHER} in place of {MODEL}, variant default" in section(report, "Dimensions")
    assert "answered under" not in report  # another model is no version of this one
    assert "**Another model answered than the one that was asked**" in _page(report, tmp_path, 2)


async def test_an_answer_that_models_yaml_has_since_released_is_nobodys_but_the_models_own(tmp_path: Path) -> None:
    study = Study(tmp_path, runs=1, allow_substitution=True)
    await study.read(1, Speaker(scores(0.9), model_answered=OTHER, substituted=True))
    (study.projects / "models.yaml").write_text(f"models:\n  {MODEL}: {{answers_as: [{OTHER}]}}\n")
    report = study.report()
    assert "in place of" not in report
    assert "substitution" not in section(report, "What went wrong, and what was done")
    assert [row["substituted"] for row in study.rows()][:1] == ["false"]


async def test_a_substitution_that_was_refused_gives_no_score_and_is_named(tmp_path: Path) -> None:
    study = Study(tmp_path, runs=1)
    await study.read(1, Speaker(scores(0.1)))
    asked = await study.ask(2, Speaker(scores(0.9), model_answered=OTHER, substituted=True))
    assert asked.status == "parked"
    report = study.report()
    assert section(report, "Answered by other models") == ""
    assert "1 of 2 planned analyses gave nothing" in section(report, "Limitations")
    assert re.search(r"\| substitution +\|", section(report, "What went wrong, and what was done"))
    assert [row["model_asked"] for row in study.rows()] == [MODEL, ""]


async def test_second_readings_by_a_fallback_are_named_too(tmp_path: Path) -> None:
    study = Study(tmp_path, runs=1, extraction_model=READER)
    study.session.extraction_models = (READER, SECOND)
    facts = json.loads(study.session.store.get(layout.SESSION)) | {"extraction_models": [READER, SECOND]}
    study.session.store.put(layout.SESSION, json.dumps(facts).encode())
    study.session = Session(study.session.folder)
    await study.ask(1, Speaker(VAGUE))
    assert (await study.read_by_model(1, Speaker(failure("model_not_found")))).falls_back
    await study.read_by_model(1, Speaker('{"scores": {"urgency": 0.7}}'), fallback=1)
    read_answer(study.session, 1, 0, final=True)
    said = (
        f"- 1 of 1 second reading of {READER}: answered by its fallback **{SECOND}**, because of model_not_found (1)."
    )
    assert said in section(study.report(), "Answered by other models")


# versions


async def test_a_change_of_the_answering_version_names_both_in_provenance_and_among_the_limitations(
    tmp_path: Path,
) -> None:
    study = Study(tmp_path)
    for number in (1, 2, 3):
        await study.read(number, Speaker(scores(), model_answered="gpt-4o-2024-08-06"))
    await study.read(4, Speaker(scores(), model_answered="gpt-4o-2024-11-20"))
    report = study.report()
    for heading in ("Provenance", "Limitations"):
        assert "gpt-4o-2024-08-06" in section(report, heading)
        assert "gpt-4o-2024-11-20" in section(report, heading)
    assert re.search(
        r"openai/gpt-4o answered under 2 versions: gpt-4o-2024-08-06 from call `001` on \(.* UTC; 3 analyses\); "
        r"gpt-4o-2024-11-20 from call `004` on \(.* UTC; 1 analysis\)\.",
        section(report, "Provenance"),
    )
    assert "first in call `004`" in section(report, "Limitations")
    assert "the figures mix those models" in section(report, "Run-to-run consistency")


async def test_a_single_version_is_no_news(tmp_path: Path) -> None:
    study = Study(tmp_path, runs=1)
    await study.read(1, Speaker(scores()))
    assert "answered under" not in study.report()


# failures, costs, budgets


async def test_failures_are_counted_with_what_came_of_them_and_the_share_that_was_made_good(tmp_path: Path) -> None:
    study = Study(tmp_path)
    await study.read(1, Speaker(failure("rate_limit"), failure("server_error"), scores()))
    await study.read(2, Speaker(scores()))
    await study.ask(3, Speaker(failure("timeout")))
    found = section(study.report(), "What went wrong, and what was done")
    assert re.search(r"\| rate_limit +\| openai/gpt-4o \| recovered 1 +\| +1 \|", found)
    assert re.search(r"\| timeout +\| openai/gpt-4o \| parked 2 +\| +2 \|", found)
    assert (
        "Of 2 calls whose first attempt failed for a passing reason, 1 (50 %) were answered by trying again." in found
    )


async def test_each_quarantine_that_was_met_is_told_with_when_the_model_answered_again(tmp_path: Path) -> None:
    study = Study(tmp_path)
    study.session.note_waiting(MODEL, "it failed 3 times in a row", datetime.now(UTC) + timedelta(hours=1))
    study.session.note_waiting(MODEL, "met by another call", datetime.now(UTC) + timedelta(minutes=5))
    await study.read(1, Speaker(scores()))
    study.session.note_waiting("openai/other", "it is overloaded", datetime.now(UTC) + timedelta(minutes=5))
    found = section(study.report(), "What went wrong, and what was done")
    assert re.search(r"\| quarantine +\| openai/gpt-4o \| answered again 1 +\| +1 \|", found)
    assert re.search(r"\| quarantine +\| openai/other +\| did not answer again 1 +\| +1 \|", found)
    told = r"- openai/gpt-4o took no calls from [\dT:-]+ \(UTC\) on, since it failed 3 times in a row; it answered"
    assert re.search(told, found)
    assert "since it is overloaded; it did not answer again." in found
    assert "met by another call" not in found


async def test_the_costs_hold_paid_failures_cached_and_reasoning_tokens_and_doubts_at_their_worst(
    tmp_path: Path,
) -> None:
    study = Study(tmp_path)
    usage = Usage(prompt_tokens=1000, completion_tokens=300, cached_tokens=400, reasoning_tokens=100)
    billed = CallFailed("refusal", "it refused", status=200, usage=usage, cost_usd=0.25)
    source = "litellm 1.2.3 gpt-4o 0123456789ab"
    await study.read(1, Speaker(scores(), usage=usage, cost_usd=0.5, price_source=source))
    await study.ask(2, Speaker(billed))
    await study.ask(3, Speaker(failure("timeout")))
    study.doubt(4)
    costs = section(study.report(), "Cost")
    assert re.search(r"\| openai/gpt-4o \| analysis \| +2 \| +2,000 \| +600 \| +800 \| +200 \| +0\.7500 \|", costs)
    assert (
        "In all 0.7500 USD. 1 of these calls failed, and was billed all the same. Not in it: 1 call in doubt, at"
        in costs
    )
    assert "2 calls cut off before an answer came, which a vendor may bill, at most 0.3386 USD more." in costs
    assert f"- openai/gpt-4o: {source}" in costs
    doubted = section(study.report(), "Calls in doubt")
    assert re.search(r"\| 004 +\| openai/gpt-4o \| .* \| 0\.\d+ +\| attempt 1;", doubted)


async def test_the_budgets_in_force_are_told_with_the_share_that_is_used(tmp_path: Path) -> None:
    study = Study(tmp_path, runs=1, budget_usd=2.0)
    set_budget(study.projects, Account("bench"), 10.0)
    await study.read(1, Speaker(scores(), cost_usd=0.5))
    costs = section(study.report(), "Cost")
    assert "- Budget of the project bench: 10.00 USD, 5 % used (0.5000 USD when" in costs
    assert f"- Budget of the session {study.session.name}: 2.00 USD, 25 % used (0.5000 USD when" in costs
    assert "the experiment" not in costs


async def test_budgets_that_cannot_be_read_stop_no_report_and_are_named(tmp_path: Path) -> None:
    study = Study(tmp_path, runs=1)
    (study.projects / "bench/budgets.json").write_text("{")
    await study.read(1, Speaker(scores()))
    assert re.search(r"\*\*Warning:\*\* .*budgets\.json cannot be read", study.report())


async def test_a_models_file_that_cannot_be_read_stops_no_report_and_no_seal(tmp_path: Path) -> None:
    study = Study(tmp_path, runs=1)
    (study.projects / "models.yaml").write_text("models: [")
    await study.read(1, Speaker(scores(), cost_usd=0.5))
    assert "In all 0.5000 USD." in study.report()
    assert seal(Session(study.session.folder)).cost_usd == 0.5


async def test_what_dominated_the_cost_is_said_for_the_next_study(tmp_path: Path) -> None:
    study = Study(tmp_path, runs=1)
    usage = Usage(prompt_tokens=4000, completion_tokens=1000)
    await study.read(1, Speaker(scores(), cost_usd=4000 * 2.5e-6 + 1000 * 1e-5, usage=usage))
    assert "For the next study:\n\n- Of the cost, 50 % was for answers." in section(study.report(), "Cost")


# circumstances


async def test_the_data_policy_stands_beside_where_the_texts_really_went(tmp_path: Path) -> None:
    policy = {"sensitivity": "personal", "vendors": ["openai", "anthropic"], "regions": ["eu"], "retention": "none"}
    study = Study(tmp_path, runs=1, data_policy=policy, fallback_models={MODEL: [SECOND]})
    told = {"vendor": "openai", "deployment_region": "eu"}
    await study.read(1, Speaker(scores(), model_forensics=told))
    await study.ask(2, Speaker(failure("model_not_found")))
    await study.ask(2, Speaker(failure("model_not_found")), fallback=1)
    sent = section(study.report(), "Where the texts were sent")
    assert "Data policy of the experiment: sensitivity *personal*; permitted vendors *openai and anthropic*; " in sent
    assert "permitted regions *eu*; what a vendor may keep *none*." in sent
    assert re.search(rf"\| {MODEL} +\| openai +\| eu +\| the call +\|", sent)
    assert re.search(rf"\| {SECOND} \| anthropic \| not known \| – +\|", sent)


async def test_where_no_vendor_was_asked_and_no_policy_is_stated_nothing_is_said_of_it(tmp_path: Path) -> None:
    study = Study(tmp_path, models=("offline/lexicon",), runs=1)
    assert section(study.report(), "Where the texts were sent") == ""


async def test_the_limits_that_held_are_told(tmp_path: Path) -> None:
    study = Study(tmp_path, runs=1)
    share = {"model": MODEL, "in_flight": 8, "calls_per_minute": 570.0, "source": "models.yaml"}
    study.session.note_limits([share])
    assert f"- {MODEL}: at most 570 calls a minute and 8 in flight (models.yaml)" in section(
        study.report(), "Limits that held"
    )


async def test_limits_that_change_after_the_seal_do_not_break_it(tmp_path: Path) -> None:
    study = Study(tmp_path, runs=1)
    await study.read(1, Speaker(scores()))
    study.report()
    seal(study.session)
    study.session.note_limits([])
    study.session.note_waiting(MODEL, "it is overloaded", datetime.now(UTC))
    assert verify(study.session.folder).findings == ()


@pytest.mark.parametrize("marks", [("truncated",), ("active_content", "no_text")])
async def test_what_validation_noticed_is_in_the_table_and_on_the_page(tmp_path: Path, marks: tuple[str, ...]) -> None:
    study = Study(tmp_path, runs=1)
    await study.read(1, Speaker(scores(), marks=marks))
    report = study.report()
    assert [row["marks"] for row in study.rows()] == [", ".join(marks), ""]
    assert f"Noticed about the answer: {', '.join(marks)}." in _page(report, tmp_path, 1)


def _page(report: str, tmp_path: Path, number: int) -> str:
    (folder,) = (tmp_path / "projects").glob("*/experiments/*/sessions/*")
    return (folder / layout.page(number)).read_text()
