"""What calls cost, as the archives tell it: every bill counts once, and what nobody knows is never nothing."""

from __future__ import annotations

import csv
import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from benchmarks.make_experiment import make_experiment
from cli.costs import cost
from cli.exits import CommandError
from discernus.experiments.definition import read_definition
from discernus.llm.calls import ModelRequest, Usage
from discernus.llm.catalogue import facts_of, prompt_tokens, worst_case_usd
from discernus.llm.errors import CallFailed, ErrorClass
from discernus.llm.models_file import ModelRules, ModelsFile, Price
from discernus.llm.requests import analysis_request, extraction_request
from discernus.sessions import layout
from discernus.sessions.archive import Intent
from discernus.sessions.costs import (
    UNKNOWN,
    CallCost,
    add_up,
    costs_by,
    onlooker,
    session_costs,
    sessions_of,
    spent_by_session,
)
from discernus.sessions.layout import Call
from discernus.sessions.opening import open_session
from discernus.sessions.owners import HOST, Owner
from discernus.sessions.session import Session
from discernus.settings import Settings
from tests.stand_ins import answer, opened, question

MODEL = "openai/scribe"
PRICED = ModelsFile(models={MODEL: ModelRules(price=Price(input_usd=1e-6, output_usd=5e-6), max_output_tokens=2000)})
DEAD = f"{HOST}-1-00000000"  # an owner whose lock nobody holds


@pytest.fixture
def session(tmp_path: Path) -> Session:
    return opened(tmp_path)


def asked(session: Session, number: int = 1) -> ModelRequest:
    analysis = session.analysis(number)
    return analysis_request(session.definition, analysis, ask=0, correction=None, timeout_s=60)


def claimed(session: Session, call: Call, owner: Any, request: ModelRequest | None = None) -> Intent:
    return session.archive.claim(call, request or question(), "a" * 64, owner)


def answered(session: Session, tmp_path: Path, call: Call, text: str = "words", **known: Any) -> None:
    with Owner(tmp_path / "owners") as owner:
        intent = claimed(session, call, owner)
        session.archive.commit(call, intent, question(), answer(text, **known))


def failed(session: Session, tmp_path: Path, call: Call, error_class: ErrorClass, **known: Any) -> None:
    with Owner(tmp_path / "owners") as owner:
        intent = claimed(session, call, owner)
        session.archive.record_failure(call, intent, question(), CallFailed(error_class, "it failed", **known))


def left(session: Session, call: Call, *, owner: str = DEAD, model: str = MODEL, minutes: int = 5) -> None:
    """Leave an intent behind as a process does that dies, or that is still waiting for its answer."""
    intent = Intent(
        call=call.name,
        attempt=1,
        owner=owner,
        content_key="a" * 64,
        model=model,
        sent_at=datetime.now(UTC),
        deadline=datetime.now(UTC) + timedelta(minutes=minutes),
    )
    session.store.put(call.intent(1), intent.model_dump_json().encode())


def costs(session: Session, models: ModelsFile = PRICED) -> list[CallCost]:
    return session_costs(session, models, onlooker(session.folder.parents[4]))


def test_every_answer_is_counted_with_its_tokens_and_its_bill(session: Session, tmp_path: Path) -> None:
    usage = Usage(prompt_tokens=1000, completion_tokens=300, cached_tokens=400, reasoning_tokens=100)
    answered(session, tmp_path, Call(1), usage=usage, cost_usd=0.25)
    answered(session, tmp_path, Call(1, "extraction"), usage=usage, cost_usd=0.125)
    answered(session, tmp_path, Call(1, ask=1), usage=usage, cost_usd=0.25)
    total = add_up(costs(session))
    assert (total.calls, total.cost_usd, total.unpriced) == (3, 0.625, 0)
    assert (total.prompt_tokens, total.completion_tokens) == (3000, 900)
    assert (total.cached_tokens, total.reasoning_tokens) == (1200, 300)


def test_an_unknown_cost_is_counted_beside_the_sum_and_never_as_nothing(session: Session, tmp_path: Path) -> None:
    answered(session, tmp_path, Call(1), cost_usd=None)
    assert add_up(costs(session)).cost_usd is None
    answered(session, tmp_path, Call(2), cost_usd=0.5)
    total = add_up(costs(session))
    assert (total.calls, total.cost_usd, total.unpriced) == (2, 0.5, 1)


def test_what_a_rival_was_paid_for_the_same_question_counts_as_well(session: Session, tmp_path: Path) -> None:
    with Owner(tmp_path / "owners") as first, Owner(tmp_path / "owners") as second:
        early = claimed(session, Call(1), first)
        first.close()
        late = claimed(session, Call(1), second)
        session.archive.commit(Call(1), late, question(), answer("one", cost_usd=0.25))
        session.archive.commit(Call(1), early, question(), answer("other", cost_usd=0.5))
    total = add_up(costs(session))
    assert (total.calls, total.cost_usd) == (2, 0.75)


def test_a_failure_that_was_billed_counts_and_one_that_was_refused_does_not(session: Session, tmp_path: Path) -> None:
    billed = Usage(prompt_tokens=100, completion_tokens=50)
    failed(session, tmp_path, Call(1), "refusal", status=200, usage=billed, cost_usd=0.5)
    failed(session, tmp_path, Call(1), "rate_limit", status=429)
    failed(session, tmp_path, Call(1), "server_error", status=500)
    failed(session, tmp_path, Call(1), "connection_error", sent=False)
    (only,) = costs(session)
    assert (only.fate, only.cost_usd, only.usage) == ("failed", 0.5, billed)


def test_a_reply_without_a_price_that_held_no_answer_is_of_unknown_cost(session: Session, tmp_path: Path) -> None:
    failed(session, tmp_path, Call(1), "malformed_answer", status=200)
    total = add_up(costs(session))
    assert (total.calls, total.cost_usd, total.unpriced) == (1, None, 1)


def test_a_call_that_was_cut_off_counts_once_against_a_budget_at_its_worst(session: Session, tmp_path: Path) -> None:
    failed(session, tmp_path, Call(1), "timeout")
    failed(session, tmp_path, Call(1), "connection_error", status=500)  # which is what LiteLLM makes of a reset
    failed(session, tmp_path, Call(1), "unknown_error")
    left(session, Call(1))  # an intent that outlived its own record is not in doubt beside it
    total = add_up(costs(session))
    assert (total.calls, total.unanswered, total.in_doubt, total.cost_usd) == (0, 2, 0, None)
    worst = worst_case_usd(facts_of(MODEL, PRICED.rules(MODEL)), prompt_tokens(asked(session)), None)
    assert worst is not None
    assert total.spent_usd == total.unanswered_usd == pytest.approx(2 * worst)
    answered(session, tmp_path, Call(1), cost_usd=0.5)
    assert add_up(costs(session)).spent_usd == pytest.approx(0.5 + 2 * worst)
    assert add_up(costs(session, ModelsFile())).unanswered_usd is None


def test_what_a_crash_left_in_doubt_counts_against_a_budget_at_its_worst(session: Session) -> None:
    left(session, Call(1))
    (only,) = costs(session)
    facts = facts_of(MODEL, PRICED.rules(MODEL))
    worst = worst_case_usd(facts, prompt_tokens(asked(session)), None)
    assert worst is not None
    assert worst > 2000 * 5e-6
    assert (only.fate, only.cost_usd, only.worst_usd) == ("in_doubt", None, pytest.approx(worst))
    total = add_up([only])
    assert (total.calls, total.in_doubt, total.cost_usd) == (0, 1, None)
    assert total.spent_usd == total.in_doubt_usd == pytest.approx(worst)


def test_the_worst_case_of_a_second_reading_rests_on_the_answer_it_reads(session: Session, tmp_path: Path) -> None:
    answered(session, tmp_path, Call(1), text="a long answer " * 500)
    left(session, Call(1, "extraction"))
    doubted = [call for call in costs(session) if call.fate == "in_doubt"]
    request = extraction_request(
        session.definition.framework, "a long answer " * 500, MODEL, problem=None, timeout_s=60
    )
    assert [call.purpose for call in doubted] == ["extraction"]
    assert doubted[0].worst_usd == pytest.approx(1.2 * prompt_tokens(request) * 1e-6 + 2000 * 5e-6)


def test_a_worst_case_without_a_price_is_unknown(session: Session) -> None:
    left(session, Call(1))
    (only,) = costs(session, ModelsFile())
    assert (only.fate, only.worst_usd) == ("in_doubt", None)


def test_a_call_in_flight_is_not_in_doubt_until_its_time_is_over(session: Session) -> None:
    with Owner(session.folder.parents[4] / ".discernus" / "owners") as living:
        left(session, Call(1), owner=living.id)
        assert costs(session) == []
        left(session, Call(1), owner=living.id, minutes=-1)
        assert [call.fate for call in costs(session)] == ["in_doubt"]


def test_an_answer_whose_intent_was_not_taken_away_is_counted_once(session: Session, tmp_path: Path) -> None:
    answered(session, tmp_path, Call(1), cost_usd=0.5)
    left(session, Call(1))
    assert [(call.fate, call.cost_usd) for call in costs(session)] == [("answered", 0.5)]


def test_an_answer_cut_off_before_its_commit_keeps_its_bill(session: Session, tmp_path: Path) -> None:
    answered(session, tmp_path, Call(1), cost_usd=0.5)
    session.store.remove(Call(1).response)
    left(session, Call(1))
    assert [(call.fate, call.cost_usd) for call in costs(session)] == [("answered", 0.5)]


def test_a_damaged_record_is_a_paid_call_of_unknown_cost(session: Session, tmp_path: Path) -> None:
    answered(session, tmp_path, Call(1), cost_usd=0.5)
    answered(session, tmp_path, Call(2, "extraction"), cost_usd=0.5)
    session.store.put(Call(1).metadata, b"{")
    session.store.put(Call(2, "extraction").metadata, b"")
    session.store.remove(Call(2, "extraction").request)
    session.store.put(Call(2).error(1), b"torn")
    found = {(call.model, call.purpose, call.fate, call.cost_usd) for call in costs(session)}
    assert found == {
        (MODEL, "analysis", "answered", None),
        (UNKNOWN, "extraction", "answered", None),
        (UNKNOWN, "analysis", "unanswered", None),
    }


def test_costs_are_added_up_by_whatever_is_asked_for(session: Session, tmp_path: Path) -> None:
    noon = datetime(2026, 11, 20, 12, tzinfo=UTC)
    answered(session, tmp_path, Call(1), cost_usd=1.0, started_at=noon)
    answered(session, tmp_path, Call(1, "extraction"), cost_usd=0.25, started_at=noon)
    answered(session, tmp_path, Call(2), cost_usd=2.0, started_at=noon + timedelta(days=1))
    found = costs(session)
    sums = {one.group: one.cost_usd for one in costs_by(found, ("day", "purpose"))}
    first, second = "2026-11-20", "2026-11-21"
    assert sums == {(first, "analysis"): 1.0, (first, "extraction"): 0.25, (second, "analysis"): 2.0}
    (whole,) = costs_by(found, ("project", "experiment", "session", "model"))
    assert whole.group == ("bench", "bench/speeches", session.name, MODEL)
    assert whole.cost_usd == 3.25


def test_a_day_is_a_day_in_utc(session: Session, tmp_path: Path) -> None:
    late = datetime.fromisoformat("2026-11-20T23:30:00-05:00")
    answered(session, tmp_path, Call(1), started_at=late)
    assert costs(session)[0].day == date(2026, 11, 21)


def test_a_projects_sessions_are_read_and_no_others(session: Session, tmp_path: Path) -> None:
    answered(session, tmp_path, Call(1), cost_usd=0.25)
    left(session, Call(2), model="openai/nobody-knows")
    projects = session.folder.parents[4]
    make_experiment(projects, project="other")
    assert spent_by_session(projects, "bench") == {session.name: 0.25}
    assert spent_by_session(projects, "other") == {}
    assert [one.name for one in sessions_of(projects, "bench")] == [session.name]


def test_tokens_that_no_vendor_counted_are_unknown(session: Session, tmp_path: Path) -> None:
    answered(session, tmp_path, Call(1), usage=Usage())
    assert add_up(costs(session)).prompt_tokens is None
    answered(session, tmp_path, Call(2), usage=Usage(prompt_tokens=5))
    total = add_up(costs(session))
    assert (total.prompt_tokens, total.completion_tokens) == (5, None)


def test_an_error_record_of_an_earlier_version_is_read_as_it_is(session: Session) -> None:
    error = {"call": "001", "attempt": 1, "model": MODEL, "sent_at": "2026-11-20T10:00:00+00:00", "status": 200}
    error["error_class"] = "malformed_answer"
    session.store.put(Call(1).error(1), json.dumps(error).encode())
    (only,) = costs(session)
    assert (only.fate, only.cost_usd, only.day) == ("failed", None, date(2026, 11, 20))
    assert session.store.names(layout.INTENTS) == []


# the command


def said(session: Session, capsys: pytest.CaptureFixture[str], name: str | None = None, **options: Any) -> str:
    """Return what ``cost`` prints."""
    settings = Settings(projects_dir=session.folder.parents[4])
    asked: dict[str, Any] = {"since": None, "until": None, "by": None, "form": "table", **options}
    assert cost(settings, name, **asked) == 0
    printed = capsys.readouterr().out
    assert asked["form"] != "table" or all(len(line) <= 80 for line in printed.splitlines()), printed
    return printed


@pytest.fixture
def spent(session: Session, tmp_path: Path) -> Session:
    """Return a session with answers of two days, an extraction, an unpriced call, and one in doubt."""
    noon, usage = datetime(2026, 11, 20, 12, tzinfo=UTC), Usage(prompt_tokens=12_000, completion_tokens=3_400)
    pro: dict[str, Any] = {"model": "gemini/gemini-2.5-pro", "usage": usage}
    answered(session, tmp_path, Call(1), cost_usd=1.5, started_at=noon, **pro)
    answered(session, tmp_path, Call(2), cost_usd=2.25, started_at=noon + timedelta(days=1), **pro)
    answered(session, tmp_path, Call(1, "extraction"), cost_usd=None, started_at=noon)
    left(session, Call(2, ask=1))
    return session


def lines(printed: str) -> list[list[str]]:
    return [line.split() for line in printed.splitlines()]


def test_the_table_of_an_experiment_is_by_model_and_purpose_and_says_what_is_in_no_sum(
    spent: Session, capsys: pytest.CaptureFixture[str]
) -> None:
    printed = said(spent, capsys, "speeches")
    assert lines(printed)[:4] == [
        ["Model", "Purpose", "Calls", "Prompt", "Cached", "Answer", "USD"],
        ["gemini/gemini-2.5-pro", "analysis", "2", "24,000", "–", "6,800", "3.7500"],
        [MODEL, "analysis", "0", "–", "–", "–", "–"],
        [MODEL, "extraction", "1", "100", "–", "20", "unknown"],
    ]
    assert lines(printed)[4] == ["total", "3", "24,100", "–", "6,820", "3.7500+?"]
    printed = printed.replace("\n ", "")
    assert "1 call of unknown cost in no sum, of openai/scribe; models.yaml may give a price" in printed
    assert "1 call in doubt, perhaps paid for (how much is not known), in no sum" in printed


def test_the_advice_below_it_is_that_of_the_newest_session_that_was_paid_for(
    spent: Session, capsys: pytest.CaptureFixture[str]
) -> None:
    advice = said(spent, capsys, "speeches").partition(f"\nOf {spent.facts.session}:\n")[2]
    assert advice.replace("\n ", "").startswith(
        "- Analyses by gemini/gemini-2.5-pro took 100 % of the known cost (1 call has no known price) (3.7500 of 3.7500"
    )
    assert "Of session" not in said(spent, capsys, "bench")
    assert "Of session" not in said(spent, capsys)


def test_a_range_of_days_takes_both_ends(spent: Session, capsys: pytest.CaptureFixture[str]) -> None:
    by_day = said(spent, capsys, "bench", by="day", since="2026-11-20", until="2026-11-21")
    assert [line[0] for line in lines(by_day)[1:4]] == ["2026-11-20", "2026-11-21", "total"]
    assert lines(said(spent, capsys, "bench", by="day", until="2026-11-20"))[1][0] == "2026-11-20"
    assert said(spent, capsys, "bench", until="2026-01-01") == "no call was paid for in that time\n"


def test_programs_get_full_names_and_null_for_the_unknown(spent: Session, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [json.loads(line) for line in said(spent, capsys, by="session,purpose", form="json").splitlines()]
    assert [(row["session"], row["purpose"]) for row in rows] == [(spent.name, "analysis"), (spent.name, "extraction")]
    assert rows[0]["cost_usd"] == 3.75
    assert (rows[0]["in_doubt"], rows[0]["in_doubt_usd"], rows[1]["in_doubt_usd"]) == (1, None, 0)
    assert (rows[1]["cost_usd"], rows[1]["unpriced"], rows[1]["cached_tokens"]) == (None, 1, None)


def test_as_csv_the_unknown_is_empty(spent: Session, capsys: pytest.CaptureFixture[str]) -> None:
    settings = Settings(projects_dir=spent.folder.parents[4])
    cost(settings, None, since=None, until=None, by="purpose", form="csv")
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert [(row["purpose"], row["calls"], row["cost_usd"]) for row in rows] == [
        ("analysis", "2", "3.75"),
        ("extraction", "1", ""),
    ]


def test_a_session_is_found_by_its_name_alone(spent: Session, capsys: pytest.CaptureFixture[str]) -> None:
    whole = said(spent, capsys, spent.name)
    assert said(spent, capsys, spent.facts.session) == whole
    assert "3.7500+?" in whole


def test_of_sessions_that_have_nothing_in_common_the_whole_names_are_shown(
    spent: Session, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert lines(said(spent, capsys))[1][0] == "speeches"
    projects = spent.folder.parents[4]
    folder = make_experiment(projects, project="other", documents=2, runs=1, words=40)
    other = open_session(projects, folder, read_definition(folder), concurrency=1, call_timeout_s=60, mirror=None)
    answered(other, tmp_path, Call(1))
    assert [line[0] for line in lines(said(spent, capsys))[1:3]] == ["bench/speeches", "other/speeches"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"by": "colour"}, "--by colour is unknown; it takes one or more of session, experiment, project, model"),
        ({"form": "xml"}, "--format 'xml' is unknown; it is one of table, csv, json"),
        ({"since": "yesterday"}, "--since 'yesterday' is no date"),
    ],
)
def test_what_cannot_be_asked_for_is_said(session: Session, options: dict[str, str], message: str) -> None:
    asked: dict[str, Any] = {"since": None, "until": None, "by": None, "form": "table", **options}
    with pytest.raises(CommandError, match=message):
        cost(Settings(projects_dir=session.folder.parents[4]), None, **asked)


def test_an_unknown_name_and_an_invalid_models_file_are_said(session: Session) -> None:
    settings = Settings(projects_dir=session.folder.parents[4])
    asked: dict[str, Any] = {"since": None, "until": None, "by": None, "form": "table"}
    with pytest.raises(CommandError, match="there is no experiment 'speech'"):
        cost(settings, "speech", **asked)
    (settings.projects_dir / "models.yaml").write_text("modls: {}\n")
    with pytest.raises(CommandError, match=r"models\.yaml:1: 'modls' is not a key"):
        cost(settings, None, **asked)


def test_where_there_is_no_session_it_is_said_how_to_start_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cost(Settings(projects_dir=tmp_path), None, since=None, until=None, by=None, form="table")
    assert capsys.readouterr().out.startswith("no session yet; start one with: ")


def test_of_nothing_programs_get_a_header_or_no_line_at_all(spent: Session, capsys: pytest.CaptureFixture[str]) -> None:
    assert said(spent, capsys, by="model,day", since="2030-01-01", form="json") == ""
    (of_nothing,) = said(spent, capsys, by="model,day", since="2030-01-01", form="csv").splitlines()
    assert of_nothing == said(spent, capsys, by="model,day", form="csv").splitlines()[0]
    assert of_nothing.startswith("model,day,calls,")
