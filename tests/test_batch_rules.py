"""What a batch does where models are closed and money is short, over hours of its own clock."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest

from activities.border import EXTRACT_BY_MODEL, Answer, CallOrder, CallOutcome, ExtractOutcome, Planned
from tests.batch_clock import ASK_AGAIN, DONE, SECOND_MODEL, BatchClock, answered

CLOSED = CallOutcome(status="closed", wait_s=30.0, reason="it is left alone")
FALLS_BACK = CallOutcome(status="parked", falls_back=True, reason="it timed out four times")
REUSED = CallOutcome(status="answered", cost_usd=0.01, reused=True)


def planned(*worst_usd: float | None, model: str = "a") -> list[Planned]:
    return [
        Planned(number=number, model=model, label=f"text-{number}", worst_usd=usd)
        for number, usd in enumerate(worst_usd, 1)
    ]


def in_turn(*outcomes: CallOutcome) -> Callable[[CallOrder], CallOutcome]:
    """Return these outcomes one after the other, the last one for ever."""
    left = itertools.chain(outcomes, itertools.repeat(outcomes[-1]))
    return lambda order: next(left)


def first_read(outcome: ExtractOutcome) -> Callable[[Answer], ExtractOutcome]:
    """Return this for the first reading of the first analysis, and that all others are done."""
    return lambda answer: outcome if (answer.number, answer.ask, answer.final) == (1, 0, False) else DONE


# closed models


async def test_an_answer_waits_for_its_reader_and_is_not_asked_for_again() -> None:
    clock = BatchClock(planned(None), readers=("r",), extract=first_read(SECOND_MODEL))
    clock.second = in_turn(*[CLOSED] * 8, answered())
    progress = await clock.run()
    assert progress is not None
    assert progress.done == 1
    assert clock.asked() == [(1, 0)]
    assert len(clock.asked(EXTRACT_BY_MODEL)) == 9
    assert progress.spent_usd == pytest.approx(0.02)


async def test_a_model_that_is_dead_over_night_is_looked_at_often_for_an_hour_and_then_a_few_times_an_hour() -> None:
    clock = BatchClock(planned(*[None] * 20), slots=4, analyse=lambda order: CLOSED)
    assert await clock.run(until_s=12 * 3600) is None
    looks = [made.at for made in clock.made]
    first = [at for at in looks if at < 3600]
    assert max(later - at for at, later in itertools.pairwise(first)) < 35
    assert len(looks) - len(first) < 11 * 14


async def test_what_the_model_asked_for_gave_up_waits_for_its_fallback_without_asking_it_again() -> None:
    clock = BatchClock(planned(None), fallbacks={"a": ("b",)})
    closed = in_turn(*[CLOSED] * 5, answered())
    clock.analyse = lambda order: closed(order) if order.fallback else FALLS_BACK
    progress = await clock.run()
    assert progress is not None
    assert progress.done == 1
    assert clock.asked() == [(1, 0), *[(1, 1)] * 6]


async def test_where_all_candidates_are_closed_the_first_that_opens_is_asked() -> None:
    clock = BatchClock(planned(None), fallbacks={"a": ("b",)})
    soon = CLOSED.model_copy(update={"wait_s": 5.0})
    first = in_turn(soon, answered())
    clock.analyse = lambda order: CLOSED if order.fallback else first(order)
    progress = await clock.run()
    assert progress is not None
    assert clock.asked() == [(1, 0), (1, 1), (1, 0)]


async def test_a_closed_reader_is_no_reason_to_ask_another_model_for_the_analysis() -> None:
    clock = BatchClock(planned(None), readers=("r",), fallbacks={"a": ("b",)}, extract=first_read(SECOND_MODEL))
    clock.second = in_turn(CLOSED, answered())
    assert await clock.run() is not None
    assert clock.asked() == [(1, 0)]


@pytest.mark.parametrize("failing", [0, 1])
async def test_a_reader_that_is_closed_is_waited_for_though_another_one_has_failed(failing: int) -> None:
    clock = BatchClock(planned(None), readers=("r", "s"), extract=first_read(SECOND_MODEL))
    opening = in_turn(CLOSED, answered())
    failed = FALLS_BACK if not failing else CallOutcome(status="parked", falls_back=True)
    clock.second = lambda order: failed if order.fallback == failing else opening(order)
    progress = await clock.run()
    assert progress is not None
    assert progress.done == 1
    assert sorted(clock.asked(EXTRACT_BY_MODEL)) == sorted([(1, failing), *[(1, 1 - failing)] * 2])


async def test_the_analyses_of_other_models_go_on_while_a_follow_up_waits_for_its_own() -> None:
    todo = [*planned(None), Planned(number=2, model="b", label="x"), Planned(number=3, model="b", label="y")]
    clock = BatchClock(todo, extract=first_read(ASK_AGAIN))
    replies = in_turn(answered(), CLOSED, answered())
    clock.analyse = lambda order: replies(order) if order.number == 1 else answered()
    assert await clock.run() is not None
    assert [number for number, _ in clock.asked()] == [1, 2, 1, 3, 1]


async def test_an_answer_from_the_archive_says_nothing_about_a_closed_model() -> None:
    clock = BatchClock(planned(*[None] * 5), slots=4)
    outcomes = {1: in_turn(CLOSED, REUSED), 2: in_turn(CLOSED), 3: in_turn(CLOSED), 4: in_turn(CLOSED)}
    clock.analyse = lambda order: outcomes.get(order.number, in_turn(CLOSED))(order)
    await clock.run(until_s=33.0)
    tried = [made for made in clock.made if made.at > 30]
    assert [made.at for made in tried] == sorted({made.at for made in tried})  # one at a time


async def test_what_waits_for_a_model_that_is_given_up_is_parked_side_by_side() -> None:
    given_up = CallOutcome(status="parked", passing=True, given_up=True, reason="it is given up")
    clock = BatchClock(planned(*[None] * 60), slots=6, analyse=lambda order: CLOSED if clock.now < 600 else given_up)
    progress = await clock.run()
    assert progress is not None
    assert (progress.parked, progress.parked_passing) == (60, 60)
    first = next(made.at for made in clock.made if made.at >= 600)
    assert clock.now - first <= 60 / 6 + 2


async def test_the_session_is_told_when_a_model_closes_and_when_it_takes_calls_again() -> None:
    clock = BatchClock(planned(None, None), analyse=in_turn(CLOSED, CLOSED, answered()))
    assert await clock.run() is not None
    assert [progress.waiting for progress in clock.told("batch_progress")] == ["it is left alone", ""]


# money


async def test_a_follow_up_dearer_than_what_is_left_asks_for_money_though_others_would_be_affordable() -> None:
    clock = BatchClock(planned(1.0, 0.1, 0.1, 0.1), slots=2, allowed_usd=100.0, given_usd=1.5)
    clock.analyse, clock.extract = lambda order: answered(0.3), first_read(ASK_AGAIN)
    progress = await clock.run()
    assert progress is not None
    assert progress.done == 4
    assert len(clock.told("short")) == 1


async def test_a_dear_model_that_is_open_gets_its_money_while_a_cheap_one_is_closed() -> None:
    todo = [*planned(0.1, 0.1, 0.1), Planned(number=4, model="dear", label="x", worst_usd=1.0)]
    clock = BatchClock(todo, slots=2, allowed_usd=100.0, given_usd=0.5)
    clock.analyse = lambda order: answered(0.05) if order.number == 4 else CLOSED
    assert await clock.run(until_s=60.0) is None
    assert (4, 0) in clock.asked()


async def test_calls_of_unknown_price_are_given_money_like_others() -> None:
    clock = BatchClock(planned(*[None] * 6), slots=2, allowed_usd=100.0, analyse=lambda order: answered(0.05))
    progress = await clock.run()
    assert progress is not None
    assert (progress.done, progress.fresh_usd) == (6, pytest.approx(0.3))
    assert 1 <= len(clock.told("short")) <= 4


async def test_what_costs_nothing_goes_on_though_more_was_spent_than_given() -> None:
    todo = [*planned(0.04), *(Planned(number=number, model="offline", label="x", worst_usd=0.0) for number in (2, 3))]
    clock = BatchClock(todo, allowed_usd=0.04, given_usd=0.04)
    clock.analyse = lambda order: answered(0.05 if order.number == 1 else 0.0)
    progress = await clock.run()
    assert progress is not None
    assert progress.done == 3
    assert clock.told("short") == []


async def test_a_batch_that_may_spend_nothing_more_says_so_once_while_it_waits() -> None:
    clock = BatchClock(planned(0.05, 0.05, 0.05), slots=2, allowed_usd=0.1, given_usd=0.1)
    clock.analyse = lambda order: answered(0.06)
    with pytest.raises(AssertionError, match="nothing will ever wake"):
        await clock.run()
    assert [short.in_flight for short in clock.told("short")] == [1, 0]


async def test_a_call_that_ends_while_the_session_is_told_of_it_is_not_missed() -> None:
    clock = BatchClock(planned(0.05, 0.05, 0.05), slots=2, allowed_usd=0.1, given_usd=0.1)
    clock.lasting = {1: 1.0, 2: 1.005}  # the second ends while the first one's want of money is being told
    clock.analyse = lambda order: answered(0.06)
    with pytest.raises(AssertionError, match="nothing will ever wake"):
        await clock.run()
    assert [short.in_flight for short in clock.told("short")] == [1, 0]


async def test_an_answer_that_is_met_again_is_counted_once() -> None:
    clock = BatchClock(planned(0.1), readers=("r",), extract=first_read(SECOND_MODEL), allowed_usd=1.0)
    clock.analyse = in_turn(answered(), REUSED)
    clock.second = in_turn(*[CallOutcome(status="held")] * 3, answered())
    progress = await clock.run()
    assert progress is not None
    assert len(clock.asked()) == 4
    assert (progress.spent_usd, progress.fresh_usd) == (pytest.approx(0.02), pytest.approx(0.02))
