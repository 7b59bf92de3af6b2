"""A model's health: when it is left alone, who may try it again, and what is remembered of it."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule

from discernus.llm.errors import ErrorClass
from discernus.llm.health import CLOSED, CONTENT, COUNTED, FATAL, LIMITING, Health, Status


@dataclass(frozen=True)
class Rules:
    failure_threshold: int = 3
    quarantine_s: float = 300.0
    interval_s: float = 60.0


RULES = Rules()
LEASE_S = 100.0
counted = st.sampled_from(sorted(COUNTED))


def answered(health: Health, sent_at: float, at: float, *, calls: int = 1, rules: Rules = RULES) -> Health:
    return health.after_answers(rules, calls, (1000.0 * (at - sent_at),) * calls, 100.0, sent_at=sent_at, at=at)


def failed(
    health: Health, sent_at: float, at: float, error_class: str = "server_error", prober: str | None = None
) -> Health:
    return health.after_failure(
        RULES, error_class, f"{error_class} (status 500)", sent_at=sent_at, at=at, prober=prober
    )


def one_after_the_other(outcomes: str, error_class: str = "server_error", health: Health | None = None) -> Health:
    """Return the health after calls of a second each, one after the other; ``x`` is a failure, ``.`` an answer."""
    health = health or Health()
    for second, outcome in enumerate(outcomes):
        health = (
            answered(health, second, second + 0.9)
            if outcome == "."
            else failed(health, second, second + 0.9, error_class)
        )
    return health


def quarantined() -> Health:
    health = one_after_the_other("xxx")
    assert health.status == "quarantined"
    return health


# what counts


def test_every_class_of_error_has_its_place() -> None:
    places = (COUNTED, LIMITING, FATAL, CONTENT, {"budget", "quarantine"})
    assert sorted(name for place in places for name in place) == sorted(get_args(ErrorClass))


@pytest.mark.parametrize(
    ("outcomes", "status"),
    [
        ("", "unknown"),
        (".", "healthy"),
        ("x", "degraded"),
        ("xx", "degraded"),
        ("x.x.x", "degraded"),
        ("xx.xx", "degraded"),
        ("xxx", "quarantined"),
        ("xx.xxx", "quarantined"),
        ("." * 70 + "xxx", "quarantined"),
    ],
)
def test_one_after_the_other_three_failures_in_a_row_are_needed(outcomes: str, status: Status) -> None:
    assert one_after_the_other(outcomes).status == status


@given(before=st.text("x.", max_size=30), classes=st.tuples(counted, counted, counted))
def test_one_after_the_other_three_failures_in_a_row_always_suffice(before: str, classes: tuple[str, ...]) -> None:
    health = one_after_the_other(before)
    now = len(before) + 400.0
    health = answered(health, now - 2, now - 1)
    for place, error_class in enumerate(classes):
        health = failed(health, now + place, now + place + 0.5, error_class)
    assert health.status == "quarantined"
    assert health.until == now + 2.5 + RULES.quarantine_s


def test_what_was_in_flight_together_fails_together() -> None:
    health = answered(Health(), 0, 1)
    for place in range(64):
        health = failed(health, 1 + place / 1000, 2 + place / 1000)
    assert health.status == "degraded"
    health = failed(health, 3, 4)
    assert health.status == "degraded"
    assert failed(health, 5, 6).status == "quarantined"


@pytest.mark.parametrize("error_class", sorted(LIMITING))
def test_a_limit_degrades_and_never_quarantines(error_class: str) -> None:
    health = one_after_the_other("." + "x" * 20, error_class)
    assert health.status == "degraded"
    assert health.success_rate == 1.0
    assert health.by_class == {error_class: 20}


@pytest.mark.parametrize("error_class", sorted(CONTENT))
def test_what_is_about_the_content_leaves_health_alone(error_class: str) -> None:
    health = one_after_the_other("." + "x" * 20, error_class)
    assert (health.status, health.troubles, health.failed) == ("healthy", (), 0)
    assert health.by_class == {error_class: 20}
    in_between = failed(one_after_the_other("xx"), 5, 6, error_class)
    assert failed(in_between, 7, 8).status == "quarantined"


@pytest.mark.parametrize("error_class", sorted(FATAL))
def test_what_only_a_person_can_mend_fails_the_model_at_once_and_an_answer_shows_that_it_is_mended(
    error_class: str,
) -> None:
    health = failed(answered(Health(), 0, 1), 1, 2, error_class)
    assert health.status == "failed"
    assert error_class in health.reason
    assert answered(health, 1.5, 3).status == "failed"
    assert answered(health, 2.5, 3).status == "healthy"


# parallel calls


waves = st.lists(st.lists(st.booleans(), min_size=1, max_size=12).filter(any), max_size=30)


@given(waves=waves, data=st.data())
def test_a_model_that_answers_some_of_each_wave_of_parallel_calls_is_never_quarantined(
    waves: list[list[bool]], data: st.DataObject
) -> None:
    health = Health()
    for number, wave in enumerate(waves):
        ends = data.draw(st.lists(st.floats(1, 9), min_size=len(wave), max_size=len(wave)))
        for end, ok in sorted(zip(ends, wave, strict=True), key=lambda pair: pair[0]):
            sent_at, at = 10.0 * number, 10.0 * number + end
            health = answered(health, sent_at, at) if ok else failed(health, sent_at, at)
            assert health.status != "quarantined"


@pytest.mark.parametrize("in_flight", [8, 16, 64])
def test_ten_faults_in_a_hundred_among_parallel_calls_never_quarantine_a_healthy_model(in_flight: int) -> None:
    chance = random.Random(in_flight)
    health = Health()
    flying = [(chance.uniform(5, 15), 0.0) for _ in range(in_flight)]
    for _ in range(5000):
        flying.sort()
        at, sent_at = flying.pop(0)
        health = failed(health, sent_at, at) if chance.random() < 0.1 else answered(health, sent_at, at)
        flying.append((at + chance.uniform(5, 15), at))
    assert health.quarantines == ()
    assert health.success_rate == pytest.approx(0.9, abs=0.02)


def test_answers_to_calls_sent_since_the_trouble_began_end_a_quarantine() -> None:
    health = failed(failed(failed(Health(), 0, 1), 1, 2), 2, 3)
    assert health.status == "quarantined"
    assert answered(health, 1.5, 50).status == "healthy"


def test_an_answer_to_a_call_from_before_the_trouble_lets_the_probe_go_out_at_once() -> None:
    health = quarantined()
    assert health.granting("me", 50, LEASE_S) is None
    still = answered(health, -10, 50)
    assert still.status == "quarantined"
    granted = still.granting("me", 50, LEASE_S)
    assert granted is not None
    assert granted.granting("you", 51, LEASE_S) is None


def test_answers_that_are_told_late_count_where_they_belong() -> None:
    health = failed(failed(Health(), 0, 1), 2, 3)
    late = answered(health, 0.5, 2)  # between the two failures, told after both
    assert failed(late, 4, 5).status == "degraded"
    assert failed(failed(late, 4, 5), 6, 7).status == "quarantined"
    early = answered(health, -1, 0.5)  # before both
    assert failed(early, 4, 5).status == "quarantined"
    known = answered(health, 9, 10)
    assert failed(known, 4, 5).streak == ()  # a failure told after a later answer


# quarantine and probes


def test_a_quarantine_ends_with_one_probe_that_succeeds() -> None:
    health = quarantined()
    until = health.until
    assert until is not None
    assert health.granting("me", until - 0.1, LEASE_S) is None
    granted = health.granting("me", until, LEASE_S)
    assert granted is not None
    assert granted.granting("you", until + 1, LEASE_S) is None
    assert granted.granting("me", until + 1, LEASE_S) is None
    healed = answered(granted, until + 1, until + 5)
    assert (healed.status, healed.probe, healed.until, healed.streak) == ("healthy", None, None, ())
    assert [past.ended_at for past in healed.quarantines] == [until + 5]


def test_a_probe_that_fails_begins_another_quarantine() -> None:
    health = quarantined()
    granted = health.granting("me", 400, LEASE_S)
    assert granted is not None
    again = failed(granted, 401, 402, "timeout", prober="me")
    assert (again.status, again.until, again.probe) == ("quarantined", 402 + RULES.quarantine_s, None)
    assert "probe" in again.reason
    assert [past.ended_at for past in again.quarantines] == [402, None]


def test_failures_of_others_in_a_quarantine_do_not_make_it_longer() -> None:
    health = quarantined()
    assert failed(health, 10, 20).until == health.until
    granted = health.granting("me", 400, LEASE_S)
    assert granted is not None
    assert failed(granted, 401, 402, prober="you").until == health.until


@pytest.mark.parametrize(
    ("error_class", "status"),
    [("rate_limit", "degraded"), ("overload", "degraded"), ("refusal", "healthy"), ("model_not_found", "failed")],
)
def test_a_probe_that_is_answered_with_an_error_shows_what_the_model_is_now(error_class: str, status: str) -> None:
    granted = quarantined().granting("me", 400, LEASE_S)
    assert granted is not None
    assert failed(granted, 401, 402, error_class, prober="me").status == status


def test_a_probe_that_was_never_made_goes_to_the_next() -> None:
    granted = quarantined().granting("me", 400, LEASE_S)
    assert granted is not None
    assert granted.granting("you", 400 + LEASE_S - 1, LEASE_S) is None
    taken = granted.granting("you", 400 + LEASE_S, LEASE_S)
    assert taken is not None
    assert taken.probe is not None
    assert taken.probe.asker == "you"
    kept_back = failed(taken, 501, 501, "budget", prober="you")  # it did not go out after all
    assert kept_back.status == "quarantined"
    assert kept_back.granting("me", 501, LEASE_S) is not None


def test_a_probe_that_is_given_back_goes_to_the_next_at_once() -> None:
    granted = quarantined().granting("me", 400, LEASE_S)
    assert granted is not None
    assert granted.returning("you") == granted
    assert granted.returning("me").granting("you", 401, LEASE_S) is not None


def test_quarantines_are_in_a_row_as_long_as_no_answer_ends_one() -> None:
    health = quarantined()
    began = [health.since]
    for at in (400.0, 800.0):
        granted = health.granting("me", at, LEASE_S)
        assert granted is not None
        health = granted.after_failure(RULES, "timeout", "none in 60 s", sent_at=at, at=at + 60, prober="me")
        began.append(at + 60)
        assert list(health.quarantined_at) == began
    assert health.closed_by == "timeout"
    assert health.reset(900).quarantined_at == ()
    again = one_after_the_other("xxx", health=health.reset(900))
    assert len(again.quarantined_at) == 1
    back = answered(health, 900, 901)
    assert (back.quarantined_at, back.closed_by) == ((), "")


def test_a_healthy_model_needs_no_probe() -> None:
    for health in (Health(), one_after_the_other("."), one_after_the_other("x")):
        assert health.granting("me", 1e9, LEASE_S) is None


def test_a_degraded_model_is_healthy_again_after_an_interval_without_trouble() -> None:
    health = answered(one_after_the_other(".x"), 2, 3)
    assert health.status == "degraded"
    assert health.settled(RULES, 61.8).status == "degraded"
    assert health.settled(RULES, 61.9).status == "healthy"
    assert answered(health, 80, 90).status == "healthy"


def test_a_model_that_has_not_answered_since_it_failed_does_not_become_healthy_by_waiting() -> None:
    health = failed(one_after_the_other("."), 10, 310, "timeout").settled(RULES, 1000)
    assert health.status == "degraded"
    health = failed(health, 1000, 1300, "timeout").settled(RULES, 2000)
    assert failed(health, 2000, 2300, "timeout").status == "quarantined"


def test_a_reset_forgets_what_speaks_against_the_model_and_keeps_its_history() -> None:
    health = quarantined().reset(10)
    assert (health.status, health.reason, health.until, health.streak) == ("unknown", "", None, ())
    assert len(health.troubles) == 3
    assert health.quarantines[-1].ended_at == 10
    assert failed(health, 11, 12).status == "degraded"


# what is remembered


def test_rates_latencies_and_tokens_are_those_of_the_calls() -> None:
    health = Health()
    assert (health.success_rate, health.latest_success_rate) == (None, None)
    assert (health.median_latency_ms, health.p90_latency_ms, health.tokens_per_call) == (None, None, None)
    for second in range(1, 11):
        health = health.after_answers(RULES, 1, (100.0 * second,), 10.0 * second, sent_at=second, at=second + 0.5)
    health = failed(health, 20, 21)
    assert health.success_rate == pytest.approx(10 / 11)
    assert health.median_latency_ms == 550.0
    assert health.p90_latency_ms == 900.0
    assert health.tokens_per_call == pytest.approx(55.0)


def test_the_mean_of_tokens_follows_the_latest_hundred_calls() -> None:
    health = Health().after_answers(RULES, 1000, (), 50.0, sent_at=0, at=1)
    assert health.tokens_per_call == 50.0
    assert health.after_answers(RULES, 10, (), 150.0, sent_at=2, at=3).tokens_per_call == pytest.approx(60.0)
    assert health.after_answers(RULES, 100, (), 150.0, sent_at=2, at=3).tokens_per_call == pytest.approx(150.0)
    assert health.after_answers(RULES, 10, (), None, sent_at=2, at=3).tokens_per_call == 50.0


def test_what_is_kept_is_bounded_and_survives_being_written_down() -> None:
    health = one_after_the_other("x." * 400)
    for number in range(200):
        health = failed(health, 1000 + number, 1000.5 + number, "model_not_found")
    health = health.after_failure(RULES, "timeout", "slow " * 1000, sent_at=2000, at=2001)
    assert (len(health.troubles), len(health.latest), len(health.latencies_ms)) == (50, 50, 100)
    assert len(health.troubles[-1].message) == 200
    assert len(health.model_dump_json()) < 32 * 1024
    assert Health.model_validate_json(health.model_dump_json()) == health


def test_coalesced_answers_come_to_the_same_as_single_ones() -> None:
    single = coalesced = failed(Health(), 0, 1)
    for second in range(2, 6):
        single = answered(single, second, second + 1)
    coalesced = answered(coalesced, 5, 6, calls=4)
    assert single == coalesced


# any course of events


class Course(RuleBasedStateMachine):
    """Calls of two processes in any order, told in the order in which they end; time goes by as it likes."""

    in_flight: Bundle[tuple[float, str | None]] = Bundle("in_flight")

    @initialize()
    def begin(self) -> None:
        self.health = Health()
        self.now = 0.0
        self.probing: dict[str, float] = {}
        self.ended: list[tuple[float, float, bool]] = []  # sent, came back, answered: only what counts
        self.closed_before: Status = "unknown"

    @rule(seconds=st.floats(0.01, 400))
    def time_goes_by(self, seconds: float) -> None:
        self.now += seconds
        self.health = self.health.settled(RULES, self.now)

    @rule(target=in_flight)
    def send(self) -> tuple[float, str | None]:
        self.now += 0.001
        return self.now, None

    @rule(target=in_flight, asker=st.sampled_from(["me", "you"]))
    def probe(self, asker: str) -> tuple[float, str | None]:
        self.now += 0.001
        granted = self.health.granting(asker, self.now, LEASE_S)
        if granted is None:
            return self.now, None
        assert self.health.status in CLOSED
        assert self.health.until is None or self.now >= self.health.until
        assert all(until <= self.now for until in self.probing.values()), "two probes at once"
        self.probing = {asker: self.now + LEASE_S}
        self.health = granted
        return self.now, asker

    @rule(call=consumes(in_flight), error_class=st.sampled_from(["", *get_args(ErrorClass)]))
    def come_back(self, call: tuple[float, str | None], error_class: str) -> None:
        self.now += 0.001
        sent_at, prober = call
        before = self.health
        if error_class:
            self.health = failed(before, sent_at, self.now, error_class, prober=prober)
        else:
            self.health = answered(before, sent_at, self.now)
        if not error_class or error_class in COUNTED:
            self.ended.append((sent_at, self.now, not error_class))
        if self.health.probe is None:
            self.probing = {}
        if self.health.status == "quarantined" and before.status not in CLOSED:
            self.assert_three_in_a_row()
        if self.health.status == "failed" and before.status != "failed":
            assert error_class in FATAL

    def assert_three_in_a_row(self) -> None:
        since = max((at for _, at, ok in self.ended if ok), default=-1.0)
        row, last = 0, since
        for sent_at, at, _ in self.ended:
            if at > since and (row == 0 or sent_at >= last):
                row, last = row + 1, at
        assert row >= RULES.failure_threshold

    @invariant()
    def it_holds_together(self) -> None:
        health = getattr(self, "health", Health())
        assert (health.status in CLOSED) == (health.until is not None) == (health.since is not None)
        assert health.probe is None or health.status in CLOSED
        assert len(health.streak) < RULES.failure_threshold or health.status == "quarantined"
        open_quarantines = [past for past in health.quarantines if past.ended_at is None]
        assert len(open_quarantines) == (health.status == "quarantined")
        assert health.success_rate is None or 0 <= health.success_rate <= 1
        assert Health.model_validate_json(health.model_dump_json()) == health


TestCourse = Course.TestCase
