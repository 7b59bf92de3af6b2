"""Asking again: the very same request, its price said first, the session left alone, both answers side by side."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from activities.border import Failed, LevelAccount, Report
from cli import asking_again as command
from cli.asking_again import ask_again, compare
from cli.exits import INFRASTRUCTURE, INTERRUPTED, INVALID, CommandError
from cli.models import serving_shared
from discernus.llm import gateway
from discernus.llm.calls import Message, ModelAnswer, ModelRequest
from discernus.llm.catalogue import count_tokens, facts_of, prompt_tokens
from discernus.llm.errors import CallFailed
from discernus.llm.gate import Open
from discernus.llm.models_file import ModelRules, Price
from discernus.sessions import layout
from discernus.sessions.archive import Archive
from discernus.sessions.budgets import Account, set_budget
from discernus.sessions.calls import Calls
from discernus.sessions.chronologs.chronolog import check, read_events
from discernus.sessions.chronologs.project_chronolog import read_project_events
from discernus.sessions.conversations import asked_again_folder, read_conversation
from discernus.sessions.costs import spent_by_session
from discernus.sessions.layout import Call
from discernus.sessions.questions import read_question
from discernus.sessions.session import Session
from discernus.sessions.store import LocalStore
from discernus.settings import Settings
from discernus.stages.asking_again import (
    CannotAskAgain,
    Repeat,
    differences,
    price_of,
    put_again,
    repeats_of,
    request_again,
    said_before,
)
from discernus.stages.calculation import calculate
from discernus.stages.reading import read_answer
from discernus.stages.sealing import seal
from discernus.stages.synthesis import synthesise
from engine import ledgers, models
from engine.reservations import reserved
from tests.running import Starter, wait_until
from tests.stand_ins import Model, failure, scores
from tests.studies import Study
from tests.test_stages import Desk, desk
from workflows.model import ModelWorkflow


async def sealed(tmp_path: Path, *says: Any, **experiment: Any) -> Desk:
    """Return a desk whose session is answered, read and sealed."""
    one = desk(tmp_path, *(says or (scores(0.4),)), **experiment)
    for number in range(1, one.session.facts.analyses + 1):
        await one.ask(number)
        read_answer(one.session, number, 0, final=True)
    calculate(one.session)
    synthesise(one.session)
    seal(one.session)
    one.session.chronolog.flush()
    return one


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a session that is answered, read and sealed."""
    folder = tmp_path_factory.mktemp("made")
    asyncio.run(sealed(folder)).owner.close()
    return folder


@pytest.fixture
def one(made: Path, tmp_path: Path) -> Desk:
    """Return a desk with a copy of that session."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    (session,) = tmp_path.glob("projects/*/experiments/*/sessions/session_*")
    return Desk(Session(session), tmp_path / "owners", Model(scores(0.4)))


def projects_of(session: Session) -> Path:
    return session.folder.parents[4]


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


async def put(one: Desk, model: Model, *, to: str | None = None, ask: int = 0, mirror: Path | None = None) -> Repeat:
    conversation = read_conversation(one.session.archive, Call(1, ask=ask))
    request = request_again(one.session, conversation, to)
    calls = Calls(one.owner, model, minimum_free_bytes=0)
    return await put_again(projects_of(one.session), one.session, conversation, request, calls, mirror)


async def test_the_very_same_request_is_put_again(tmp_path: Path) -> None:
    one = await sealed(tmp_path)
    model = Model(scores(0.6))
    await put(one, model)
    (before, *_), (after,) = one.model.asked, model.asked
    assert after.model_dump() == before.model_dump()
    assert model.keys[0] != one.model.keys[0], "a vendor must not take it for the first one, sent twice"


async def test_another_model_gets_the_same_messages_with_its_own_settings(one: Desk) -> None:
    before = read_conversation(one.session.archive, Call(1))
    for model in ("gemini/gemini-2.5-pro", "offline/lexicon"):
        request = request_again(one.session, before, model)
        assert [message.content for message in request.messages] == [turn.text for turn in before.messages]
        assert request.model == model
        assert ("lexicon" in request.parameters) == (model == "offline/lexicon")


async def test_the_session_stays_as_it_is_and_the_answer_lies_beside_it(one: Desk) -> None:
    before = files_of(one.session.folder)
    repeat = await put(one, Model(scores(0.6)))
    assert files_of(one.session.folder) == before
    assert repeat.folder == asked_again_folder(one.session.folder) / "001_1"
    found = Archive(LocalStore(repeat.folder)).look_up(Call(1))
    assert found is not None
    assert found[1] == scores(0.6)
    assert found[0].cost_usd == 0.01
    assert json.loads((repeat.folder / layout.extracted(1)).read_text())["extraction"]["scores"]["urgency"] == 0.6


async def test_it_has_a_chain_of_custody_of_its_own(one: Desk) -> None:
    repeat = await put(one, Model(scores(0.6)))
    events = [event.event for event in read_events(repeat.folder)]
    assert events == ["call_sent", "call_answered", "answer_asked_again"]
    assert (repeat.folder / layout.CHRONOLOG).is_file()
    assert check(repeat.folder) == []
    told = read_project_events(projects_of(one.session), "bench")[-1]
    assert (told.event, told.facts["call"], told.facts["folder"]) == ("answer_asked_again", "001", "001_1")


async def test_both_answers_are_compared(one: Desk) -> None:
    await put(one, Model(scores(0.6, without=("rivalry",))))
    (repeat,) = repeats_of(one.session, Call(1))
    before = said_before(one.session, Call(1))
    assert before is not None
    assert before.extraction is not None
    assert repeat.said is not None
    assert repeat.said.extraction is not None
    moved = differences(before.extraction, repeat.said.extraction)
    assert moved["urgency"] == pytest.approx(0.2)
    assert "rivalry" not in moved, "what one of them does not give has no difference"
    assert repeat.about.response_sha256 == before.record.response_sha256


async def test_each_time_has_a_folder_of_its_own_even_at_once(one: Desk) -> None:
    await asyncio.gather(*(put(one, Model(scores(value))) for value in (0.1, 0.2, 0.3)))
    repeats = repeats_of(one.session, Call(1))
    assert [repeat.about.times for repeat in repeats] == [1, 2, 3]
    given = {repeat.said.extraction.scores["urgency"] for repeat in repeats}  # type: ignore[union-attr]
    assert given == {0.1, 0.2, 0.3}
    assert repeats_of(one.session, Call(2)) == []


async def test_a_failure_is_archived_and_raised(one: Desk) -> None:
    with pytest.raises(CallFailed):
        await put(one, Model(failure("server_error")))
    (repeat,) = repeats_of(one.session)
    assert repeat.said is None
    assert (repeat.folder / Call(1).error(1)).is_file()
    await put(one, Model(scores(0.6)))
    assert [one_.said is not None for one_ in repeats_of(one.session)] == [False, True]


async def test_an_answer_that_was_altered_since_is_not_taken_for_one(one: Desk) -> None:
    repeat = await put(one, Model(scores(0.6)))
    (repeat.folder / Call(1).response).write_text("forged")
    assert [found.said for found in repeats_of(one.session)] == [None]


async def test_a_call_whose_process_died_is_in_doubt(one: Desk) -> None:
    repeat = await put(one, Model(scores(0.6)))
    (repeat.folder / Call(1).response).unlink()
    (repeat.folder / Call(1).metadata).unlink()
    assert [found.in_doubt for found in repeats_of(one.session)] == [False]
    LocalStore(repeat.folder).put(Call(1).intent(1), b"{}")
    assert [found.in_doubt for found in repeats_of(one.session)] == [True]


async def test_a_mirror_gets_a_copy(one: Desk, tmp_path: Path) -> None:
    repeat = await put(one, Model(scores(0.6)), mirror=tmp_path / "mirror")
    copy = tmp_path / "mirror" / repeat.folder.relative_to(projects_of(one.session)) / Call(1).response
    assert copy.read_text() == scores(0.6)


async def test_what_was_taken_out_or_altered_cannot_be_asked_again(one: Desk) -> None:
    text = read_conversation(one.session.archive, Call(1)).messages[1]
    (one.session.folder / layout.message(text.sha256)).write_text("[taken out]")
    with pytest.raises(CannotAskAgain, match="is altered"):
        await put(one, Model())


async def test_a_prompt_that_was_never_recorded_cannot_be_asked_again(one: Desk) -> None:
    path = one.session.folder / Call(1).request
    empty = {"format": 1, "messages": [], "parameters": {}, "timeout_s": None, "as_sent": None}
    path.write_text(json.dumps({"model": "openai/scribe", **empty}))
    with pytest.raises(CannotAskAgain, match="was not recorded"):
        await put(one, Model())


async def test_an_ask_after_an_unusable_answer_is_put_again_with_its_correction(tmp_path: Path) -> None:
    one = desk(tmp_path, "Mumbling.", scores())
    await one.ask(1)
    await one.ask(1, 1)
    model = Model(scores(0.6))
    repeat = await put(one, model, ask=1)
    assert model.asked[0].messages == one.model.asked[1].messages
    assert repeat.folder.name == "001_ask1_1"


# the command


class Wire:
    """Stands in for the gateway of the command."""

    def __init__(self, *says: Any) -> None:
        self.model = Model(*says)

    async def complete(self, request: ModelRequest, *, idempotency_key: str) -> ModelAnswer:
        return await self.model(request, idempotency_key=idempotency_key)


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> Wire:
    """Let the command meet a model that answers at once, and neither LiteLLM, a server nor the log's files."""

    @asynccontextmanager
    async def permitted(settings: Settings, question: Any) -> AsyncIterator[Open]:
        yield Open()

    wire = Wire(scores(0.6))
    monkeypatch.setattr(gateway, "complete", wire.complete)
    monkeypatch.setattr(gateway, "has_vendor", lambda model: not model.startswith("nobody/"))
    monkeypatch.setattr(gateway, "missing_keys", lambda model: ())
    monkeypatch.setattr(command, "log_to", lambda path: None)
    monkeypatch.setattr(command, "_permitted", permitted)
    return wire


PRICED = {
    "models": {
        "openai/scribe": {
            "input_cost_per_token": 0.0001,
            "output_cost_per_token": 0.0004,
            "max_output_tokens": 10_000,
        }
    }
}


def prepared(one: Desk, rules: Any = None) -> Settings:
    if rules is not None:
        (projects_of(one.session) / "models.yaml").write_text(json.dumps(rules))
    return Settings(projects_dir=projects_of(one.session))


def test_nothing_is_asked_before_its_price_is_agreed_to(one: Desk, wire: Wire) -> None:
    with pytest.raises(CommandError, match=r"no\s+price") as refused:
        ask_again(prepared(one), "speeches", "1", model=None, yes=False, anyway=False, as_json=False)
    assert refused.value.code == INVALID
    assert "--yes" in str(refused.value)
    assert max(map(len, str(refused.value).splitlines())) <= 80
    assert wire.model.asked == []
    assert not asked_again_folder(one.session.folder).exists()


def test_the_price_comes_first_then_both_answers(one: Desk, wire: Wire, capsys: pytest.CaptureFixture[str]) -> None:
    assert ask_again(prepared(one), "speeches", "1", model=None, yes=True, anyway=False, as_json=False) == 0
    out = capsys.readouterr().out
    assert max(len(line) for line in out.splitlines() if not line.startswith("kept in")) <= 80
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert "put to openai/scribe: what it costs" in " ".join(lines[:2])
    assert "before asked again (1.)" in lines
    assert "urgency 0.400 0.600 +0.200" in lines
    assert compare(prepared(one), "speeches", "1", times=1, as_json=True) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["differences"]["urgency"] == pytest.approx(0.2)
    assert told["before"]["metadata"]["response_sha256"] == told["response_sha256"]
    assert len(wire.model.asked) == 1, "comparing asks nothing"


def test_the_price_is_reckoned_from_the_prompt_and_the_answer_before(tmp_path: Path, wire: Wire) -> None:
    one = asyncio.run(sealed(tmp_path))
    prompt = prompt_tokens(one.model.asked[0])
    with pytest.raises(CommandError) as refused:
        ask_again(prepared(one, PRICED), "speeches", "1", model=None, yes=False, anyway=False, as_json=False)
    likely, worst = prompt * 0.0001 + 20 * 0.0004, prompt * 1.2 * 0.0001 + 10_000 * 0.0004
    assert f"it costs about {likely:.4f} USD, {worst:.2f} USD at most" in " ".join(str(refused.value).split())


def test_an_answer_whose_tokens_nobody_told_is_counted_for_its_price(tmp_path: Path) -> None:
    one = asyncio.run(sealed(tmp_path))
    found = read_conversation(one.session.archive, Call(1))
    assert found.record is not None
    untold = replace(found, record=found.record.model_copy(update={"completion_tokens": None}))
    facts = facts_of("openai/scribe", ModelRules(price=Price(input_usd=0, output_usd=0.001)))
    assert price_of(one.model.asked[0], untold, facts).likely_usd == pytest.approx(count_tokens(scores(0.4)) * 0.001)
    assert price_of(one.model.asked[0], found, facts).likely_usd == pytest.approx(20 * 0.001)


def test_a_budget_that_has_too_little_left_is_not_passed(one: Desk, wire: Wire) -> None:
    settings = prepared(one, PRICED)
    set_budget(settings.projects_dir, Account("bench", "speeches"), 4.0)
    with pytest.raises(CommandError, match=r"left of the experiment budget of 4\.00") as refused:
        ask_again(settings, "speeches", "1", model=None, yes=True, anyway=False, as_json=False)
    assert refused.value.code == INVALID
    assert wire.model.asked == []
    set_budget(settings.projects_dir, Account("bench", "speeches"), 40.0)
    assert ask_again(settings, "speeches", "1", model=None, yes=True, anyway=False, as_json=True) == 0


def test_what_was_asked_again_counts_against_the_budget(tmp_path: Path, wire: Wire) -> None:
    one = asyncio.run(sealed(tmp_path))
    settings = prepared(one, PRICED)
    worst = prompt_tokens(one.model.asked[0]) * 1.2 * 0.0001 + 10_000 * 0.0004
    set_budget(settings.projects_dir, Account("bench", "speeches"), 2 * 0.01 + worst + 0.005)  # two were paid for
    assert ask_again(settings, "speeches", "1", model=None, yes=True, anyway=False, as_json=True) == 0
    with pytest.raises(CommandError, match="left of the experiment budget"):
        ask_again(settings, "speeches", "1", model=None, yes=True, anyway=False, as_json=True)
    assert len(wire.model.asked) == 1


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({"model": "nobody/knows"}, "no vendor is known"),
        ({"call": "77"}, "numbers 1 to 2"),
    ],
)
def test_what_cannot_be_asked_is_refused(one: Desk, wire: Wire, wanted: dict[str, str], said: str) -> None:
    call, model = wanted.get("call", "1"), wanted.get("model")
    with pytest.raises(CommandError, match=said) as refused:
        ask_again(prepared(one), "speeches", call, model=model, yes=True, anyway=False, as_json=False)
    assert refused.value.code == INVALID
    assert wire.model.asked == []


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("offline/lexicon", "does not mark where the text begins"),
        (None, r"was not recorded \(unrecorded/unknown\); name one with --model"),
    ],
)
def test_what_an_older_layout_left_is_refused_before_a_price_is_told(
    tmp_path: Path, wire: Wire, capsys: pytest.CaptureFixture[str], model: str | None, said: str
) -> None:
    one = asyncio.run(sealed(tmp_path, models=["unrecorded/unknown"]))
    request = read_question(one.session.store, Call(1).request)
    text = b"Nobody marked where this text begins."
    request["messages"] = [{"role": "user", "content_sha256": sha256(text).hexdigest()}]
    one.session.store.put(layout.message(sha256(text).hexdigest()), text)
    one.session.store.put(Call(1).request, json.dumps(request).encode())
    with pytest.raises(CommandError, match=said) as refused:
        ask_again(prepared(one), "speeches", "1", model=model, yes=True, anyway=False, as_json=False)
    assert refused.value.code == INVALID
    assert "costs" not in capsys.readouterr().out
    assert wire.model.asked == []


def test_a_framework_without_markers_is_nothing_to_count_by(one: Desk, wire: Wire) -> None:
    framework = one.session.definition.framework
    bare = tuple(dimension.model_copy(update={"markers": ()}) for dimension in framework.dimensions)
    request = ModelRequest(
        model="offline/lexicon",
        messages=(Message(role="user", content="BEGIN T\nA text.\nEND T"),),
        parameters={"lexicon": {"dimensions": {one.name: {"markers": list(one.markers)} for one in bare}}},
        timeout_s=1,
    )
    conversation = read_conversation(one.session.archive, Call(1))
    with pytest.raises(CommandError, match="no marker phrases"):
        command._check_model(request, conversation)


def test_no_traceback_of_a_library_is_shown(one: Desk, wire: Wire) -> None:
    message = "model 'openai/scribe' broke\nTraceback (most recent call last):\n  File \"x.py\", line 1\nValueError: x"
    wire.model.says = [CallFailed("server_error", message)]
    with pytest.raises(CommandError, match="broke; the failure is archived") as failed:
        ask_again(prepared(one), "speeches", "1", model=None, yes=True, anyway=False, as_json=False)
    assert "Traceback" not in str(failed.value)
    assert "x.py" not in str(failed.value)


def test_a_failed_call_is_told_and_leaves_everything_as_it_was(one: Desk, wire: Wire) -> None:
    wire.model.says = [failure("server_error")]
    with pytest.raises(CommandError, match="gave no answer: server_error") as failed:
        ask_again(prepared(one), "speeches", "1", model=None, yes=True, anyway=False, as_json=False)
    assert failed.value.code == INFRASTRUCTURE


def test_what_was_never_asked_again_cannot_be_compared(one: Desk) -> None:
    with pytest.raises(CommandError, match="was never asked again"):
        compare(prepared(one), "speeches", "1", times=None, as_json=False)


def test_a_damaged_answer_can_be_asked_again(one: Desk, wire: Wire, capsys: pytest.CaptureFixture[str]) -> None:
    (one.session.folder / Call(1).response).write_text("forged")
    assert ask_again(prepared(one), "speeches", "1", model=None, yes=True, anyway=False, as_json=True) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["before"] is None
    assert told["after"]["text"] == scores(0.6)


def test_a_researcher_searches_shows_and_asks_again(tmp_path: Path) -> None:
    """The whole of it with the real command line, against a vendor on the wire."""
    with Study(tmp_path, documents=2, runs=1) as study:
        study.run("speeches")
        requests = len(study.wire(event="request"))
        (hit,) = study.tell("answers", "search", "score*", "--document", "address-00001", "--json", "--limit", "1")
        assert hit["status"] == "scored"
        told = study.tell("answers", "show", "speeches", hit["call"], "--json")[0]
        assert told["answer"] == Path(hit["file"]).read_text()
        before = files_of(study.session)
        again = study.tell("answers", "ask-again", "speeches", str(hit["number"]), "--yes", "--json")[0]
        assert len(study.wire(event="request")) == requests + 1
        assert again["after"]["metadata"]["cost_usd"] == again["before"]["metadata"]["cost_usd"]
        assert set(again["differences"]) == set(again["before"]["scores"])
        assert files_of(study.session) == before
        found = study.tell("answers", "search", "score*", "--status", "asked_again", "--json")
        assert [one["call"] for one in found] == [f"{again['call']}_1"]
        assert "intact" in study.say("verify", "speeches")
        assert max(map(len, study.say("answers", "search", "score*").splitlines())) <= 80


def test_ctrl_c_before_the_call_asks_and_pays_nothing(tmp_path: Path) -> None:
    with Study(tmp_path, documents=1, runs=1) as study:
        study.run("speeches")
        requests = len(study.wire(event="request"))
        asking = study.start("answers", "ask-again", "speeches", "1", "--yes")
        wait_until(lambda: "put to" in asking.output, "the price is told, and the call is not sent yet")
        asking.interrupt()
        assert asking.wait() == INTERRUPTED, asking.output
        assert "nothing was asked, and nothing was paid" in asking.output
        assert len(study.wire(event="request")) == requests
        assert not asked_again_folder(study.session).exists()


def test_a_closed_terminal_loses_no_answer_that_is_paid_for(tmp_path: Path) -> None:
    with Study(tmp_path, documents=1, runs=1) as study:
        study.run("speeches")
        requests = len(study.wire(event="request"))
        study.vendor.control(latency_s=3.0)
        asking = study.start("answers", "ask-again", "speeches", "1", "--yes")
        wait_until(lambda: len(study.wire(event="request")) > requests, "the call is on the wire")
        asking.send(signal.SIGHUP)
        assert asking.wait() == INTERRUPTED, asking.output
        (told,) = study.tell("answers", "compare", "speeches", "1", "--json")
        assert told["after"]["scores"] is not None


@pytest.fixture(scope="module")
def asked_under_conditions(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Study, str]]:
    """Return a study that was run, with the model that it asked."""
    with Study(tmp_path_factory.mktemp("conditions"), documents=1, runs=1, rules=PRICED) as study:
        study.run("speeches")
        (row,) = study.rows()
        yield study, row["model_requested"]


def test_a_quarantined_model_is_asked_again_only_anyway(asked_under_conditions: tuple[Study, str]) -> None:
    study, model = asked_under_conditions
    asyncio.run(quarantined(Settings(projects_dir=study.projects_dir), model))
    requests = len(study.wire(event="request"))
    refused = study.start("answers", "ask-again", "speeches", "1", "--yes")
    assert refused.wait() == INFRASTRUCTURE, refused.output
    said = " ".join(refused.output.split())
    assert f"{model} is left alone for a while" in said
    assert "nothing was asked" in said
    assert "--anyway" in said
    assert len(study.wire(event="request")) == requests
    (told,) = study.tell("answers", "ask-again", "speeches", "1", "--yes", "--anyway", "--json")
    assert told["after"]["scores"] is not None
    (known,) = study.tell("models", "show", model, "--json")
    assert known["status"] == "healthy", "its answer is told to the model's health like any other"


def test_what_is_asked_again_needs_room_in_the_ledger_and_counts_in_the_costs(
    asked_under_conditions: tuple[Study, str],
) -> None:
    study, _ = asked_under_conditions
    settings = Settings(projects_dir=study.projects_dir)
    before = sum(one["calls"] for one in study.tell("cost", "speeches", "--json"))
    set_budget(study.projects_dir, Account("bench"), 100.0)
    (told,) = study.tell("answers", "ask-again", "speeches", "1", "--yes", "--json")
    assert sum(one["calls"] for one in study.tell("cost", "speeches", "--json")) == before + 1
    spent = spent_by_session(study.projects_dir, "bench")
    account = next(name for name in spent if name.endswith(f"/asked_again/{told['call']}_{told['times']}"))
    assert spent[account] == pytest.approx(told["after"]["metadata"]["cost_usd"])
    accounts = asyncio.run(accounts_of_the_project(settings))
    assert accounts["project"].reserved_usd == 0, "the room is given back once the call has ended"
    assert accounts["project"].spent_usd == pytest.approx(sum(spent.values()))


def test_room_that_another_holds_is_not_taken(asked_under_conditions: tuple[Study, str]) -> None:
    study, _ = asked_under_conditions
    settings = Settings(projects_dir=study.projects_dir)
    spent = sum(spent_by_session(study.projects_dir, "bench").values())
    set_budget(study.projects_dir, Account("bench"), spent + 10.0)
    requests = len(study.wire(event="request"))
    refused = asyncio.run(asked_while_another_holds(settings, study, 9.999))
    assert refused.code == INVALID, refused.output
    assert "sessions at work hold the rest" in " ".join(refused.output.split())
    assert len(study.wire(event="request")) == requests


async def quarantined(settings: Settings, model: str) -> None:
    """Have the model's workflow know of failures enough to leave it alone."""
    now = time.time()
    failures = tuple(
        Failed(error_class="server_error", message="on fire", sent_at=now + number, at=now + number)
        for number in range(3)
    )
    async with serving_shared(settings) as (client, store):
        handle = await models.ensure(client, store, model, ModelRules(quarantine_s=600))
        await handle.execute_update(ModelWorkflow.report, Report(asker="a test", events=failures))


async def accounts_of_the_project(settings: Settings) -> dict[str, LevelAccount]:
    async with serving_shared(settings) as (client, store):
        found = await ledgers.accounts(client, store, "bench")
        assert found is not None
        return {account.level: account for account in found if account.level == "project"}


async def asked_while_another_holds(settings: Settings, study: Study, usd: float) -> Starter:
    """Put a call again while another reservation holds nearly all that is left of the budget."""
    async with (
        serving_shared(settings) as (client, store),
        reserved(client, store, "bench/speeches/another", usd, 60.0) as grant,
    ):
        assert grant.room_usd == pytest.approx(usd)
        asking = study.start("answers", "ask-again", "speeches", "1", "--yes")
        await asyncio.to_thread(asking.wait)
        return asking


def test_ctrl_c_waits_for_the_answer_that_is_paid_for(tmp_path: Path) -> None:
    with Study(tmp_path, documents=1, runs=1) as study:
        study.run("speeches")
        requests = len(study.wire(event="request"))
        study.vendor.control(latency_s=3.0)
        asking = study.start("answers", "ask-again", "speeches", "1", "--yes")
        wait_until(lambda: len(study.wire(event="request")) > requests, "the call is on the wire")
        asking.interrupt()
        asking.send(signal.SIGTERM)  # who presses twice, or ends it otherwise, loses no answer either
        assert asking.wait() == INTERRUPTED, asking.output
        assert "is kept, and shown by" in " ".join(asking.output.split())
        (told,) = study.tell("answers", "compare", "speeches", "1", "--json")
        assert told["after"]["scores"] is not None
