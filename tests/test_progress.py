"""Where a session stands, read again and again while it runs: each file once, and the same money as everywhere else."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cli.looking import status
from discernus.llm.calls import Usage
from discernus.llm.errors import CallFailed
from discernus.sessions import layout
from discernus.sessions.archive import Intent
from discernus.sessions.costs import add_up, models_of, onlooker, session_costs
from discernus.sessions.layout import Call
from discernus.sessions.opening import HIDDEN
from discernus.sessions.owners import HOST, Owner
from discernus.sessions.progress import ProgressReader, Standing
from discernus.sessions.session import Session
from discernus.sessions.store import LocalStore
from discernus.settings import Settings
from discernus.stages.calculation import calculate
from discernus.stages.records import session_records
from discernus.stages.sealing import seal
from discernus.stages.synthesis import report_data, synthesise
from tests.stand_ins import answer, opened, question

DEAD = f"{HOST}-1-00000000"
GPT, CLAUDE = "openai/gpt-4o", "anthropic/claude-sonnet-4-5"
Fate = Literal["answered", "unpriced", "billed", "refused", "cut off", "rival", "in doubt", "in flight"]


class Ledger:
    """Leaves in a session's folder what calls leave behind, in whatever order they end."""

    def __init__(self, tmp_path: Path, documents: int = 2) -> None:
        self.session = opened(tmp_path, documents=documents, models=[GPT], extraction_model=CLAUDE)
        self.projects = tmp_path / "projects"
        self.owners = self.projects / HIDDEN / "owners"

    def leave(self, call: Call, fate: Fate, usd: float = 0.0, model: str = GPT) -> None:
        request = question().model_copy(update={"model": model})
        archive = self.session.archive
        if fate in ("in doubt", "in flight"):
            self.intent(call, DEAD if fate == "in doubt" else self.living(), model)
            return
        with Owner(self.owners) as owner:
            if fate == "rival":
                with Owner(self.owners) as other:
                    late = archive.claim(call, request, "k", other)
                    other.close()
                    self.answer(call, archive.claim(call, request, "k", owner), model, usd)
                    self.answer(call, late, model, usd, "late")
                return
            intent = archive.claim(call, request, "k", owner)
            if fate in ("answered", "unpriced"):
                self.answer(call, intent, model, None if fate == "unpriced" else usd)
                return
            known: dict[Fate, dict[str, Any]] = {
                "billed": {"status": 200, "usage": Usage(prompt_tokens=10, completion_tokens=5), "cost_usd": usd},
                "refused": {"status": 429},
                "cut off": {},
            }
            named = {"billed": "refusal", "refused": "rate_limit", "cut off": "timeout"}[fate]
            failed = CallFailed(named, f"model '{model}' gave no answer", **known[fate])  # type: ignore[arg-type]
            archive.record_failure(call, intent, request, failed)

    def answer(self, call: Call, intent: Intent, model: str, usd: float | None, text: str = "words") -> None:
        request = question().model_copy(update={"model": model})
        self.session.archive.commit(call, intent, request, answer(text, model=model, cost_usd=usd))

    def intent(self, call: Call, owner: str, model: str = GPT, minutes: int = 5) -> None:
        now = datetime.now(UTC)
        attempt = 1
        while self.session.store.exists(call.error(attempt)) or self.session.store.exists(call.intent(attempt)):
            attempt += 1
        intent = Intent(
            call=call.name,
            attempt=attempt,
            owner=owner,
            content_key="k",
            model=model,
            sent_at=now,
            deadline=now + timedelta(minutes=minutes),
        )
        self.session.store.put(call.intent(attempt), intent.model_dump_json().encode())

    def living(self) -> str:
        """Return the id of an owner that lives until the test's process ends."""
        _alive.append(Owner(self.owners))
        return _alive[-1].id

    def read(self) -> Standing:
        return ProgressReader(self.session, onlooker(self.projects)).read()


_alive: list[Owner] = []


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path)


# money

CALLS = [
    Call(number, purpose, ask, fallback=fallback)
    for number in (1, 2)
    for purpose in ("analysis", "extraction")
    for ask in (0, 1)
    for fallback in (0, 1)
]
FATES: Sequence[Fate] = ("answered", "unpriced", "billed", "refused", "cut off", "rival", "in doubt", "in flight")


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.dictionaries(
        st.sampled_from(CALLS),
        st.tuples(st.lists(st.sampled_from(["billed", "refused", "cut off"]), max_size=3), st.sampled_from(FATES)),
        max_size=8,
    ),
    st.lists(st.floats(0, 3), min_size=40, max_size=40),
)
def test_progress_seal_and_report_count_the_same_calls_and_the_same_money(
    tmp_path_factory: pytest.TempPathFactory, calls: dict[Call, tuple[list[Fate], Fate]], usd: list[float]
) -> None:
    ledger = Ledger(tmp_path_factory.mktemp("study"))
    reader = ProgressReader(ledger.session, onlooker(ledger.projects))
    prices = iter(usd)
    for call, (tried, ended) in calls.items():
        for fate in (*tried, ended):
            ledger.leave(call, fate, next(prices), CLAUDE if call.fallback or call.purpose == "extraction" else GPT)
        reader.read()  # it looks on all the while
    session = Session(ledger.session.folder)
    costs = add_up(session_costs(session, models_of(ledger.projects), onlooker(ledger.projects)))

    standing = reader.read()
    known = pytest.approx(costs.cost_usd or 0.0, abs=1e-9)
    assert (standing.calls, standing.unpriced, standing.in_doubt) == (costs.calls, costs.unpriced, costs.in_doubt)
    assert standing.cost_usd == known
    assert standing.in_flight == sum(ended == "in flight" for _, ended in calls.values())

    told = report_data(session, list(session_records(session)))
    assert sum(one.calls for one in told.costs) == costs.calls
    assert sum(one.unpriced for one in told.costs) == costs.unpriced
    assert sum(one.unanswered for one in told.costs) == costs.unanswered
    assert sum(one.cost_usd or 0.0 for one in told.costs) == known
    assert sum(one.failed for one in told.costs) == sum(
        fate == "billed" for tried, ended in calls.values() for fate in (*tried, ended)
    )
    assert len(told.in_doubt) == costs.in_doubt
    assert sum(one.worst_usd or 0.0 for one in told.in_doubt) == pytest.approx(costs.in_doubt_usd or 0.0)

    sealed = seal(session)
    nobody_knows = costs.cost_usd is None and costs.unpriced
    assert sealed.cost_usd == (None if nobody_knows else known)
    assert (sealed.unpriced, sealed.in_doubt) == (costs.unpriced, costs.in_doubt)
    assert sealed.in_doubt_usd == costs.in_doubt_usd


def test_the_sum_in_the_report_is_that_of_the_seal_to_the_cent(ledger: Ledger) -> None:
    for call, fate, usd in (
        (Call(1), "billed", 0.1),
        (Call(1), "answered", 1.005),
        (Call(1, "extraction"), "rival", 0.31),
        (Call(2), "refused", 0.0),
        (Call(2, fallback=1), "answered", 7.77),
    ):
        ledger.leave(call, fate, usd)  # type: ignore[arg-type]
    session = Session(ledger.session.folder)
    calculate(session)
    synthesise(session)
    report = session.store.get(layout.REPORT).decode()
    (told,) = re.findall(r"^In all (\S+) USD\.", report, re.MULTILINE)
    assert told == f"{seal(session).cost_usd:.2f}" == f"{ledger.read().cost_usd:.2f}"
    assert float(told) == pytest.approx(0.1 + 1.005 + 2 * 0.31 + 7.77, abs=0.005)


# reading again and again


def test_what_was_read_once_is_not_read_again(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger.leave(Call(1), "billed", 0.5)
    ledger.leave(Call(1), "answered", 0.5)
    reader = ProgressReader(ledger.session, onlooker(ledger.projects))
    assert reader.read().cost_usd == 1.0
    opened_files: list[str] = []
    real = LocalStore.get

    def get(self: LocalStore, name: str) -> bytes:
        opened_files.append(name)
        return real(self, name)

    monkeypatch.setattr(LocalStore, "get", get)
    assert reader.read().cost_usd == 1.0
    assert [name for name in opened_files if name.startswith(layout.ARCHIVE)] == []
    ledger.leave(Call(2), "answered", 0.25)
    opened_files.clear()
    assert reader.read().cost_usd == 1.25
    assert [name for name in opened_files if name.startswith(layout.ARCHIVE)] == [Call(2).metadata]


def test_an_error_that_cannot_be_read_stops_no_progress_and_its_cost_is_not_known(ledger: Ledger) -> None:
    ledger.leave(Call(1), "refused")
    ledger.session.store.put(Call(1).error(1), b'{"torn')
    standing = ledger.read()
    assert (standing.calls, standing.cost_usd, standing.last_failure) == (0, 0.0, "")


# in flight, in doubt


def test_a_call_of_the_living_is_in_flight_until_its_time_is_over(ledger: Ledger) -> None:
    ledger.intent(Call(1), ledger.living())
    ledger.intent(Call(2), ledger.living(), minutes=-1)
    standing = ledger.read()
    assert (standing.in_flight, standing.in_doubt) == (1, 1)


def test_a_call_that_is_settled_is_neither_though_its_intent_is_still_there(ledger: Ledger) -> None:
    for number, fate in ((1, "answered"), (2, "refused")):
        call = Call(number)
        ledger.leave(call, fate, 0.5)  # type: ignore[arg-type]
        intent = Intent(
            call=call.name,
            attempt=1,
            owner=DEAD,
            content_key="k",
            model=GPT,
            sent_at=datetime.now(UTC),
            deadline=datetime.now(UTC),
        )
        ledger.session.store.put(call.intent(1), intent.model_dump_json().encode())
    standing = ledger.read()
    assert (standing.in_flight, standing.in_doubt, standing.calls) == (0, 0, 1)


# what a run waits for


def test_limits_are_told_in_words_while_calls_are_made(ledger: Ledger) -> None:
    assert ledger.read().limits == ()
    shares: list[dict[str, Any]] = [
        {"model": GPT, "calls_per_minute": 570.0, "in_flight": None, "source": "models.yaml"},
        {"model": CLAUDE, "calls_per_minute": 0.5, "in_flight": 4, "source": "the vendor's headers"},
        {"model": "openai/x", "calls_per_minute": None, "in_flight": 1200, "source": ""},
        {"model": "openai/free", "calls_per_minute": None, "in_flight": None, "source": ""},
    ]
    ledger.session.note_limits(shares)
    assert ledger.read().limits == (
        "openai/gpt-4o: at most 570 calls a minute (models.yaml)",
        "anthropic/claude-sonnet-4-5: at most 0.5 calls a minute and 4 in flight (the vendor's headers)",
        "openai/x: at most 1,200 calls in flight",
    )
    calculate(ledger.session)
    assert ledger.read().limits == ()


def test_a_time_is_told_only_where_the_vendor_told_it(ledger: Ledger) -> None:
    ledger.leave(Call(1), "refused")
    assert "tried again" not in ledger.read().waiting_for


def test_the_list_of_sessions_says_what_each_waits_for(ledger: Ledger, capsys: pytest.CaptureFixture[str]) -> None:
    until = datetime.now(UTC) + timedelta(hours=1)
    ledger.session.note_waiting(GPT, f"{GPT} failed 3 times in a row, and is tried again", until)
    assert status(Settings(projects_dir=ledger.projects), None, as_json=False) == 0
    lines = capsys.readouterr().out.splitlines()
    assert f"    waiting: {GPT} failed 3 times in a row, and is tried again (until" in lines[2]
    assert max(map(len, lines[:4])) <= 80


def test_a_model_that_closes_again_and_again_is_kept_each_time_and_once(ledger: Ledger) -> None:
    now = datetime.now(UTC)
    for reason, until in [("first", now), ("second", now + timedelta(hours=1)), ("the same", now + timedelta(hours=2))]:
        ledger.session.note_waiting(GPT, reason, until)
    ledger.session.note_waiting("b/c", "another's", now)
    assert [(one.model, one.reason) for one in ledger.session.closures()] == [
        (GPT, "first"),
        (GPT, "second"),
        ("b/c", "another's"),
    ]


def test_models_that_take_no_calls_are_what_is_waited_for(ledger: Ledger) -> None:
    ledger.leave(Call(1), "refused")
    assert "openai/gpt-4o" in ledger.read().waiting_for
    until = datetime.now(UTC) + timedelta(minutes=5)
    ledger.session.note_waiting(GPT, f"{GPT} failed 3 times in a row", until)
    assert ledger.read().waiting_for == f"{GPT} failed 3 times in a row (until {until.astimezone():%H:%M:%S})"
    ledger.session.note_waiting(GPT, "over", datetime.now(UTC))
    assert "over" not in ledger.read().waiting_for
