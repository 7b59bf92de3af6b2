"""Which models a batch lets calls in to: not the closed ones, and one call first where a model was closed before."""

from __future__ import annotations

from workflows.doors import Doors


def test_a_model_nobody_complained_of_is_open() -> None:
    doors = Doors()
    assert doors.is_open("a", 0.0)
    assert doors.next_opening(0.0) is None
    assert doors.waiting() == ""


def test_a_closed_model_takes_no_call_before_its_time_and_says_why() -> None:
    doors = Doors()
    doors.close("a", 0.0, 10.0, "a is quarantined")
    assert not doors.is_open("a", 9.9)
    assert doors.is_open("b", 9.9)
    assert doors.next_opening(4.0) == 6.0
    assert doors.waiting() == "a is quarantined"


def test_a_model_whose_time_is_over_is_tried_with_one_call_alone() -> None:
    doors = Doors()
    doors.close("a", 0.0, 10.0, "a is quarantined")
    assert doors.is_open("a", 10.0)
    doors.enter("a")
    assert not doors.is_open("a", 11.0)
    assert not doors.is_closed("a", 11.0)
    doors.open("a")
    assert doors.is_open("a", 11.0)


def test_a_model_that_fails_its_trial_is_closed_again() -> None:
    doors = Doors()
    doors.close("a", 0.0, 10.0, "a is quarantined")
    doors.enter("a")
    doors.close("a", 10.0, 10.0, "a is quarantined again")
    assert not doors.is_open("a", 15.0)
    assert doors.is_open("a", 20.0)
    assert doors.waiting() == "a is quarantined again"


def test_a_trial_that_never_met_the_model_is_left_to_the_next_call() -> None:
    doors = Doors()
    doors.close("a", 0.0, 10.0, "a is quarantined")
    doors.enter("a")
    doors.leave("a")
    assert doors.is_open("a", 11.0)


def test_a_model_that_stays_closed_is_looked_at_less_and_less_often_until_it_lets_a_call_through() -> None:
    doors, now, waits = Doors(), 0.0, []
    doors.close("a", now, 2.0, "a is being tried")
    for _ in range(150):
        now = now + (doors.next_opening(now) or 0.0)
        doors.enter("a")
        doors.close("a", now, 2.0, "a is being tried")
        doors.close("a", now, 2.0, "a is being tried")  # a call that was out before: it says nothing new
        waits.append(doors.next_opening(now))
    assert waits[:9] == [2.0, 2.0, 2.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]
    assert set(waits[9:100]) == {30.0}  # in the first hour a person may look on, who has reset it
    assert waits[-1] == 300.0
    doors.open("a")
    doors.close("a", now, 2.0, "a is quarantined")
    assert doors.next_opening(now) == 2.0


def test_a_model_is_shut_until_a_call_has_come_through() -> None:
    doors = Doors()
    doors.close("a", 0.0, 10.0, "a is quarantined")
    doors.enter("a")
    assert doors.shut == {"a"}
    doors.open("a")
    assert doors.shut == set()
