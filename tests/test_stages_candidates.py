"""Who may answer a call: fallbacks that the experiment names, no substitute in silence, the version that it pins."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from discernus.llm.calls import ModelAnswer, ModelRequest
from discernus.llm.errors import CallFailed
from discernus.llm.gate import Closed
from discernus.sessions import layout
from discernus.sessions.calls import Calls
from discernus.sessions.layout import Call
from discernus.sessions.owners import Owner
from discernus.sessions.session import Session
from discernus.sessions.substitutes import release_own_answers
from discernus.sessions.versions import accept_versions, note_version, versions
from discernus.settings import Settings
from discernus.stages.analysis import Asked, TryAgain, analyse, extract_by_model
from discernus.stages.reading import read_answer
from tests.stand_ins import Model, answer, failure, opened, scores

SCRIBE, SECOND, READER = "openai/scribe", "openai/second", "openai/reader"
PROSE = "The speaker is calm throughout; nothing more can be said."


class Guard:
    """A gate that says what it was told to, and keeps what it is told."""

    def __init__(self, closed: Closed | None = None) -> None:
        self.closed = closed
        self.seen: list[tuple[str, bool]] = []
        self.withdrawn: list[str] = []

    async def admit(self, model: str, timeout_s: float) -> Closed | None:
        return self.closed

    def withdraw(self, model: str) -> None:
        self.withdrawn.append(model)

    def observe(self, model: str, answer: ModelAnswer | None, failure: CallFailed | None, sent_at: datetime) -> None:
        self.seen.append((model, answer is not None))


class Desk:
    """A session whose calls go to one stand-in for all models."""

    def __init__(self, tmp_path: Path, model: Model, gate: Guard | None = None, **settings: Any) -> None:
        self.session = opened(tmp_path, settings=settings)
        self.settings = Settings(projects_dir=self.session.folder.parents[4], retry_max_attempts=2)
        self.model = model
        self.calls = Calls(Owner(tmp_path / "owners"), model, minimum_free_bytes=0, gate=gate)

    async def ask(self, fallback: int = 0, ask: int = 0, **the_pass: Any) -> Asked:
        return await analyse(self.session, self.calls, self.settings, 1, ask, fallback=fallback, **the_pass)

    def afresh(self) -> Session:
        """Return the session as another process opens it."""
        self.session = Session(self.session.folder)
        return self.session


def said_by(models: dict[str, str | CallFailed]) -> Model:
    return Model(lambda request: models[request.model])


def answering(version: str, **more: Any) -> Any:
    """Return a gateway whose answers come from that version."""

    async def complete(request: ModelRequest, *, idempotency_key: str) -> ModelAnswer:
        return answer(scores(), model=request.model, model_answered=version, **more)

    return complete


# fallbacks


async def test_a_refusal_is_left_to_the_fallback_and_never_paid_for_again(tmp_path: Path) -> None:
    model = said_by({SCRIBE: failure("refusal"), SECOND: scores(0.7)})
    desk = Desk(tmp_path, model, fallback_models={SCRIBE: [SECOND]})
    first = await desk.ask()
    assert (first.status, first.falls_back) == ("parked", True)
    assert desk.session.all_parked() == []  # not as long as somebody may still answer
    desk.afresh()  # a crash before the fallback was asked
    again = await desk.ask()
    assert (again.status, again.falls_back) == ("parked", True)
    assert (await desk.ask(fallback=1)).status == "answered"
    assert [request.model for request in model.asked] == [SCRIBE, SECOND]
    assert read_answer(desk.session, 1, 0, final=True, fallback=1).scored == 10
    extracted = desk.session.extracted(1)
    assert extracted is not None
    assert extracted.call == "001_fallback1"


async def test_without_a_fallback_a_refusal_is_parked(tmp_path: Path) -> None:
    desk = Desk(tmp_path, said_by({SCRIBE: failure("refusal")}))
    asked = await desk.ask()
    assert (asked.status, asked.falls_back) == ("parked", False)
    assert [one.error_class for one in desk.session.all_parked()] == ["refusal"]


async def test_the_last_candidate_that_fails_parks_the_analysis_and_a_release_tries_it_again(tmp_path: Path) -> None:
    model = said_by({SCRIBE: failure("refusal"), SECOND: failure("model_not_found")})
    desk = Desk(tmp_path, model, fallback_models={SCRIBE: [SECOND]})
    await desk.ask()
    last = await desk.ask(fallback=1)
    assert (last.status, last.falls_back, last.passing) == ("parked", False, False)
    assert [one.call for one in desk.session.all_parked()] == ["001_fallback1"]
    desk.session.release_parked()
    model.says = [scores()]
    assert (await desk.ask(fallback=1)).status == "answered"
    assert desk.session.all_parked() == []


async def test_a_fault_of_the_request_itself_is_left_to_nobody(tmp_path: Path) -> None:
    desk = Desk(tmp_path, said_by({SCRIBE: failure("bad_request")}), fallback_models={SCRIBE: [SECOND]})
    asked = await desk.ask()
    assert (asked.status, asked.falls_back) == ("parked", False)


async def test_a_text_too_long_is_not_sent_to_a_fallback_that_takes_no_longer_ones(tmp_path: Path) -> None:
    settings = "models:\n  openai/scribe: {max_input_tokens: 9000}\n  openai/second: {max_input_tokens: 8000}\n"
    desk = Desk(tmp_path, said_by({SCRIBE: failure("context_too_long")}), fallback_models={SCRIBE: [SECOND]})
    desk.settings.models_path.write_text(settings, encoding="utf-8")
    assert (await desk.ask()).falls_back
    asked = await desk.ask(fallback=1)
    assert (asked.status, len(desk.model.asked)) == ("parked", 1)
    assert "takes no longer ones" in asked.reason


async def test_a_fallback_is_asked_with_the_settings_of_the_model_it_stands_in_for(tmp_path: Path) -> None:
    model = said_by({SCRIBE: failure("refusal"), SECOND: scores()})
    parameters = {"default": {"max_tokens": 700}}
    desk = Desk(tmp_path, model, fallback_models={SCRIBE: [SECOND]}, parameters=parameters)
    await desk.ask()
    await desk.ask(fallback=1)
    assert [request.parameters["max_tokens"] for request in model.asked] == [700, 700]


async def test_a_second_model_reads_the_answer_that_a_fallback_gave(tmp_path: Path) -> None:
    model = said_by({SCRIBE: failure("refusal"), SECOND: PROSE, READER: '{"scores": {"urgency": 0.4}}'})
    desk = Desk(tmp_path, model, fallback_models={SCRIBE: [SECOND]}, extraction_model=READER)
    await desk.ask()
    await desk.ask(fallback=1)
    asked = await extract_by_model(desk.session, desk.calls, desk.settings, 1, 0, source=1)
    assert asked.status == "answered"
    assert desk.session.store.exists(Call(1, "extraction", source=1).response)
    assert PROSE in model.asked[-1].messages[-1].content


async def test_after_a_release_the_model_that_was_asked_for_is_tried_before_its_fallback(tmp_path: Path) -> None:
    model = said_by({SCRIBE: failure("permission"), SECOND: failure("model_not_found")})
    desk = Desk(tmp_path, model, fallback_models={SCRIBE: [SECOND]})
    await desk.ask()
    await desk.ask(fallback=1)
    desk.session.release_parked()
    model.says = [scores()]
    assert (await desk.ask()).status == "answered"
    assert [request.model for request in model.asked] == [SCRIBE, SECOND, SCRIBE]


async def test_an_analysis_that_a_fallback_has_answered_is_not_paid_for_a_second_time(tmp_path: Path) -> None:
    model = said_by({SCRIBE: scores(), SECOND: scores()})
    desk = Desk(tmp_path, model, fallback_models={SCRIBE: [SECOND]})
    assert (await desk.ask(fallback=1)).status == "answered"  # its own model was closed at that moment
    desk.afresh()
    asked = await desk.ask()
    assert (asked.status, asked.falls_back) == ("parked", True)
    assert (await desk.ask(fallback=1)).reused
    assert [request.model for request in model.asked] == [SECOND]


async def test_an_extra_reader_whose_key_has_expired_does_not_stop_what_was_named(tmp_path: Path) -> None:
    model = said_by({SCRIBE: PROSE, READER: failure("timeout"), SECOND: failure("authentication")})
    desk = Desk(tmp_path, model)
    desk.session.__dict__["extraction_models"] = (READER, SECOND)
    await desk.ask()
    asked = await extract_by_model(desk.session, desk.calls, desk.settings, 1, 0, fallback=1)
    assert asked.status == "parked"


# who answered


async def test_a_substitute_is_kept_and_never_scored_in_silence(tmp_path: Path) -> None:
    desk = Desk(tmp_path, answering("another-model", substituted=True))
    asked = await desk.ask()
    assert (asked.status, asked.cost_usd) == ("parked", 0.01)
    assert "another-model answered in place of openai/scribe" in asked.reason
    assert [one.error_class for one in desk.session.all_parked()] == ["substitution"]
    assert desk.session.store.exists(Call(1).response)


async def test_a_substitute_that_models_yaml_knows_by_that_name_counts_at_no_cost(tmp_path: Path) -> None:
    desk = Desk(tmp_path, answering("another-model", substituted=True))
    await desk.ask()
    yaml = "models:\n  openai/scribe: {answers_as: [another-model]}\n"
    desk.settings.models_path.write_text(yaml, encoding="utf-8")
    desk.session.release_parked()
    asked = await desk.ask()
    assert (asked.status, asked.reused) == ("answered", True)


async def test_a_session_that_goes_on_takes_up_what_models_yaml_has_come_to_call_the_models_own(tmp_path: Path) -> None:
    desk = Desk(tmp_path, answering("another-model", substituted=True))
    await desk.ask()
    assert release_own_answers(desk.session) == 0
    desk.settings.models_path.write_text("models:\n  openai/scribe: {answers_as: [another-model]}\n", encoding="utf-8")
    assert release_own_answers(desk.session) == 1
    asked = await desk.ask()
    assert (asked.status, asked.reused) == ("answered", True)


async def test_no_more_is_paid_for_once_a_model_has_been_replaced_again_and_again(tmp_path: Path) -> None:
    desk = Desk(tmp_path, answering("another-model", substituted=True))
    found = [await analyse(desk.session, desk.calls, desk.settings, number, 0) for number in (1, 2)]
    assert [one.status for one in found] == ["parked", "parked"]
    desk.session.__dict__["plan"] = [*desk.session.plan, desk.session.plan[0].model_copy(update={"number": 3})]
    last = await analyse(desk.session, desk.calls, desk.settings, 3, 0)
    assert last.status == "stop"
    assert "answers_as" in last.reason


async def test_a_substitute_counts_where_the_experiment_allows_it(tmp_path: Path) -> None:
    desk = Desk(tmp_path, answering("another-model", substituted=True), allow_substitution=True)
    assert (await desk.ask()).status == "answered"


async def test_a_pinned_version_that_changes_stops_the_session_until_the_new_one_is_accepted(tmp_path: Path) -> None:
    desk = Desk(tmp_path, answering("scribe-2"), pin_versions=True)
    note_version(desk.session.store, SCRIBE, "scribe-1", "000")
    asked = await desk.ask()
    assert asked.status == "stop"
    assert "scribe-2" in asked.reason
    assert "--accept-versions" in asked.reason
    assert (await desk.ask()).status == "stop"  # and nothing is asked again
    assert [one.version for one in accept_versions(desk.session.store)] == ["scribe-2"]
    went_on = await desk.ask()
    assert (went_on.status, went_on.reused) == ("answered", True)


async def test_without_a_pin_a_change_of_version_is_noted_and_stops_nobody(tmp_path: Path) -> None:
    desk = Desk(tmp_path, answering("scribe-2"))
    note_version(desk.session.store, SCRIBE, "scribe-1", "000")
    assert (await desk.ask()).status == "answered"
    found = [(one.version, one.first, one.accepted) for one in versions(desk.session.store)]
    assert found == [("scribe-1", True, True), ("scribe-2", False, False)]


async def test_a_session_begun_through_a_proxy_sends_nothing_past_it(tmp_path: Path) -> None:
    desk = Desk(tmp_path, Model(scores()))
    desk.session.__dict__["facts"] = desk.session.facts.model_copy(update={"proxied": True})
    asked = await desk.ask()
    assert (asked.status, desk.model.asked) == ("stop", [])
    assert "go through a proxy" in asked.reason
    desk.settings = desk.settings.model_copy(update={"proxy_url": "http://127.0.0.1:4000"})
    assert (await desk.ask()).status == "answered"


async def test_a_version_that_waits_to_be_accepted_costs_no_further_call(tmp_path: Path) -> None:
    desk = Desk(tmp_path, answering("scribe-2"), pin_versions=True)
    note_version(desk.session.store, SCRIBE, "scribe-1", "000")
    note_version(desk.session.store, SCRIBE, "scribe-2", "002")
    assert (await desk.ask()).status == "stop"
    assert desk.session.store.names(layout.ARCHIVE) == []


# the gate


async def test_a_closed_model_is_not_called_and_the_session_says_what_it_waits_for(tmp_path: Path) -> None:
    gate = Guard(Closed(30.0, "openai/scribe is left alone for a while", "quarantine"))
    desk = Desk(tmp_path, Model(scores()), gate)
    asked = await desk.ask()
    assert (asked.status, asked.wait_s) == ("closed", 30.0)
    assert desk.model.asked == []
    assert [model for model, _, _ in desk.session.waiting()] == [SCRIBE]
    assert desk.session.store.names(layout.INTENTS) == []


async def test_what_is_waited_for_until_when_is_the_quarantines_end_and_not_the_next_look(tmp_path: Path) -> None:
    ends_at = time.time() + 240
    gate = Guard(Closed(30.0, "openai/scribe is left alone for a while", "quarantine", ends_at))
    desk = Desk(tmp_path, Model(scores()), gate)
    assert (await desk.ask()).wait_s == 30.0
    ((_, _, until),) = desk.session.waiting()
    assert until.timestamp() == pytest.approx(ends_at)
    gate.closed = None  # reset by hand, before its time was over
    await desk.ask()
    assert desk.session.waiting() == []


@pytest.mark.parametrize(("quarantines", "status"), [(2, "closed"), (3, "parked")])
async def test_a_model_that_does_not_answer_over_three_quarantines_is_given_up(
    tmp_path: Path, quarantines: int, status: str
) -> None:
    began = (1000.0, 1300.0, 1600.0)[:quarantines]
    gate = Guard(Closed(30.0, "openai/scribe is left alone", "quarantine", None, began, "timeout"))
    desk = Desk(tmp_path, Model(scores()), gate)
    asked = await desk.ask(began=900.0)
    assert (asked.status, asked.passing, asked.given_up) == (status, status == "parked", status == "parked")
    parked = [(one.error_class, one.passing, one.passes) for one in desk.session.all_parked()]
    assert parked == ([("timeout", True, 1)] if status == "parked" else [])
    assert (await desk.ask(began=1200.0, again=True)).status == "parked"


async def test_what_a_given_up_model_left_is_tried_afresh_in_the_last_pass_and_in_another_run(tmp_path: Path) -> None:
    gate = Guard(Closed(30.0, "openai/scribe is left alone", "quarantine", None, (1000.0, 1300.0, 1600.0), "timeout"))
    desk = Desk(tmp_path, Model(scores()), gate)
    assert (await desk.ask(began=900.0)).given_up
    assert (await desk.ask(began=1700.0, again=True)).status == "closed"  # the next probe decides
    gate.closed = replace(gate.closed, quarantined_at=(1300.0, 1600.0, 1900.0)) if gate.closed else None
    assert (await desk.ask(began=1700.0, again=True)).given_up
    assert [(one.passes, one.reason) for one in desk.session.all_parked()] == [
        (2, "openai/scribe is left alone (given up after 3 quarantines in a row without an answer)")
    ]
    assert desk.model.asked == []
    desk.session.release_parked()
    assert (await desk.ask(began=2000.0)).status == "closed"
    gate.closed = None
    assert (await desk.ask(began=2000.0)).status == "answered"


async def test_a_given_up_model_leaves_its_analyses_to_its_fallback(tmp_path: Path) -> None:
    gate = Guard(Closed(30.0, "openai/scribe is left alone", "quarantine", None, (1.0, 2.0, 3.0), "timeout"))
    desk = Desk(tmp_path, Model(scores()), gate, fallback_models={SCRIBE: [SECOND]})
    asked = await desk.ask()
    assert (asked.status, asked.falls_back, asked.given_up) == ("parked", True, True)
    assert desk.session.all_parked() == []


async def test_a_call_that_was_let_through_and_is_not_sent_gives_its_place_back(tmp_path: Path) -> None:
    gate = Guard()
    desk = Desk(tmp_path, Model(scores()), gate)
    full = Calls(Owner(tmp_path / "others"), desk.model, minimum_free_bytes=10**18, gate=gate)
    assert (await analyse(desk.session, full, desk.settings, 1, 0)).status == "stop"
    assert gate.withdrawn == [SCRIBE]
    await desk.ask()
    await desk.ask()  # out of the archive: it was never let through
    assert gate.withdrawn == [SCRIBE]


async def test_a_model_that_asks_for_patience_is_tried_again_later_at_no_cost(tmp_path: Path) -> None:
    desk = Desk(tmp_path, Model(scores()), Guard(Closed(7.0, "openai/scribe asks for patience", "rate_limit")))
    with pytest.raises(TryAgain) as waiting:
        await desk.ask()
    assert (waiting.value.error_class, waiting.value.delay_s) == ("rate_limit", 7.0)
    assert desk.session.store.names(layout.ARCHIVE) == []


async def test_an_answer_that_is_there_needs_no_gate(tmp_path: Path) -> None:
    gate = Guard()
    desk = Desk(tmp_path, Model(scores()), gate)
    await desk.ask()
    gate.closed = Closed(30.0, "openai/scribe is left alone for a while", "quarantine")
    assert (await desk.ask()).reused
    assert gate.seen == [(SCRIBE, True)]


async def test_what_failed_tries_cost_is_counted_with_the_answer(tmp_path: Path) -> None:
    billed = CallFailed("malformed_answer", "no answer in it", status=200, cost_usd=0.004)
    desk = Desk(tmp_path, Model(billed, scores()))
    with pytest.raises(TryAgain):
        await desk.ask()
    asked = await desk.ask()
    assert (asked.cost_usd, asked.before_usd) == (pytest.approx(0.014), 0.0)
    (failed,) = desk.session.archive.failures(Call(1))
    began = datetime.fromisoformat(failed["at"]).timestamp() + 1e-6
    asked = await desk.ask(began=began)
    assert (asked.reused, asked.before_usd) == (True, pytest.approx(0.004))
    assert (await desk.ask(began=began + 60)).before_usd == pytest.approx(0.014)
