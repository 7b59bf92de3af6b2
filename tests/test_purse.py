"""The money of a batch and of a session: what may be spent, what is set aside, and who gets what is left."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workflows.allowance import Allowance
from workflows.purse import Purse

AMOUNTS = st.floats(min_value=0, max_value=10)


def test_without_an_allowance_everything_is_affordable() -> None:
    assert Purse(None).affords(1e9)


def test_a_call_in_flight_counts_at_its_worst_until_it_has_come_back() -> None:
    purse = Purse(1.0)
    purse.reserve(1, 0.6)
    assert not purse.affords(0.5)
    purse.settle(1, "analyse/1", 0.1)
    assert purse.affords(0.9)
    assert not purse.affords(0.91)


def test_what_was_paid_before_counts_as_spent_but_not_against_the_allowance() -> None:
    purse = Purse(1.0)
    purse.remember(5.0)
    purse.reserve(1, 0.2)
    purse.settle(1, "analyse/1", 0.2, before_usd=0.2, reused=True)
    assert purse.affords(1.0)
    assert (purse.spent_usd, purse.fresh_usd) == (5.2, 0.0)


def test_what_a_batch_that_is_begun_again_finds_paid_for_in_the_same_pass_uses_up_its_allowance() -> None:
    purse = Purse(1.0)
    purse.reserve(1, 0.2)
    purse.settle(1, "analyse/1", 0.2, reused=True)
    assert (purse.spent_usd, purse.fresh_usd) == (0.2, 0.2)
    assert not purse.affords(0.81)


def test_a_billed_try_of_the_pass_before_is_not_counted_again() -> None:
    purse = Purse(1.0)
    purse.reserve(1, 0.2)
    purse.settle(1, "analyse/1", 0.3, before_usd=0.1)
    assert (purse.spent_usd, purse.fresh_usd) == (pytest.approx(0.3), pytest.approx(0.2))


@given(st.lists(st.tuples(AMOUNTS, st.floats(min_value=0, max_value=1)), max_size=40), AMOUNTS)
def test_calls_that_cost_no_more_than_their_worst_never_overdraw_a_purse(
    calls: list[tuple[float, float]], allowance: float
) -> None:
    purse = Purse(allowance)
    in_flight: list[tuple[int, float]] = []
    for number, (worst, share) in enumerate(calls):
        if purse.affords(worst):
            purse.reserve(number, worst)
            in_flight.append((number, worst * share))
        if len(in_flight) > 3:
            done, cost = in_flight.pop(0)
            purse.settle(done, f"analyse/{done}", cost)
        assert purse.fresh_usd <= allowance + 1e-6


def test_a_call_of_unknown_price_sets_aside_as_much_as_the_dearest_has_cost() -> None:
    purse = Purse(1.0)
    purse.reserve(1, None)
    assert not purse.affords(1.0)
    purse.settle(1, "analyse/1", 0.3)
    purse.reserve(2, None)
    assert purse.affords(0.4)
    assert not purse.affords(0.41)


def test_what_costs_nothing_is_affordable_even_where_more_was_spent_than_allowed() -> None:
    purse = Purse(0.1)
    purse.reserve(1, 0.1)
    purse.settle(1, "analyse/1", 0.2)
    assert purse.affords(0.0)
    assert not purse.affords(None)


def test_a_call_that_is_looked_up_again_is_counted_once() -> None:
    purse = Purse(1.0)
    for reused, cost in [(False, 0.2), (True, 0.2), (False, 0.5)]:  # the last one: it was tried again, and paid for
        purse.reserve(1, 0.2)
        purse.settle(1, "analyse/1", cost, in_doubt=1, reused=reused)
    assert (purse.spent_usd, purse.fresh_usd) == (pytest.approx(0.7), pytest.approx(0.7))


def test_nothing_is_given_before_something_is_granted() -> None:
    money = Allowance(2.0)
    money.begin(0)
    assert not money.give(0, 0.1, 1.0)
    money.grant(2.5)
    assert money.give(0, 0.1, 1.0)
    assert money.of(0) == 0.5


def test_a_batch_that_has_overspent_is_given_something_beyond_that_or_told_no() -> None:
    money = Allowance(0.0)
    money.grant(1.0)
    money.begin(0)
    assert money.give(0, 0.1, 0.2)
    money.note(0, fresh_usd=0.5, spent_usd=0.5)
    assert money.give(0, 0.1, 0.2)
    assert money.of(0) == pytest.approx(0.7)
    money.note(0, fresh_usd=1.2, spent_usd=1.2)
    assert not money.give(0, 0.0, 0.0)


def test_a_batch_is_given_what_it_lacks_beyond_what_it_has_left() -> None:
    money = Allowance(0.0)
    money.grant(1.0)
    money.begin(0)
    assert money.give(0, 0.6, 0.7)
    money.note(0, fresh_usd=0.4, spent_usd=0.4)
    assert not money.give(0, 0.61, 0.61)
    assert money.give(0, 0.6, 0.6)
    assert money.of(0) == pytest.approx(1.0)


def test_what_is_taken_back_from_a_batch_is_nobodys_until_it_has_heard_of_it() -> None:
    money = Allowance(0.0)
    money.grant(1.0)
    money.begin(0)
    money.begin(1)
    assert money.give(0, 0.7, 0.7)
    assert money.give(1, 0.3, 0.3)
    money.note(0, fresh_usd=0.5, spent_usd=0.5)
    assert money.recall(0)
    assert money.of(0) == 0.5
    money.acknowledge(0, 0.7)  # what it said before it heard
    assert money.recalling
    assert not money.give(1, 0.4, 0.4)
    money.acknowledge(0, 0.5)
    assert not money.recalling
    assert not money.recall(0)
    assert money.give(1, 0.5, 0.5)


def test_a_batch_that_ends_leaves_to_the_others_what_it_did_not_spend() -> None:
    money = Allowance(0.0)
    money.grant(1.0)
    money.begin(0)
    money.begin(1)
    assert money.give(0, 0.2, 1.0)
    assert not money.give(1, 0.2, 1.0)
    money.note(0, fresh_usd=0.3, spent_usd=0.3)
    money.end(0)
    assert money.give(1, 0.2, 1.0)
    assert money.of(1) == 0.7
    assert money.spent_usd == 0.3


def test_after_a_reset_the_account_holds_what_the_walk_over_the_batches_finds() -> None:
    money = Allowance(0.0)  # noted before the first call, and read again from the history that was reset
    money.begin(0)
    money.note(0, fresh_usd=0.0, spent_usd=0.8)  # all of it is in the archive already
    assert money.spent_usd == 0.8


@given(st.lists(st.tuples(st.integers(0, 3), AMOUNTS, AMOUNTS, st.floats(0, 1)), max_size=40), AMOUNTS)
def test_what_batches_are_given_never_exceeds_what_the_session_is_allowed(
    steps: list[tuple[int, float, float, float]], allowed: float
) -> None:
    money = Allowance(1.0)
    money.grant(1.0 + allowed)
    spent: dict[int, float] = {}
    for index, needed, wanted, share in steps:
        if index not in spent:
            spent[index] = 0.0
            money.begin(index)
        money.give(index, needed, wanted)
        spent[index] += (money.of(index) - spent[index]) * share
        money.note(index, spent[index], spent[index])
        assert sum(money.of(one) for one in spent) <= allowed + 1e-6
