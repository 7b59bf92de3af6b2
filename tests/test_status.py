"""What a session says when no call fits in what is left of its budget: figures that add up, and what helps."""

from __future__ import annotations

import pytest

from activities.border import Grant, SessionKey, SessionStart
from workflows.status import out_of_budget

START = SessionStart(
    key=SessionKey(project="lab", experiment="speeches", session="session_20261120_101500"),
    queue="q",
    analyses=8,
    batch_size=8,
    concurrency=4,
    call_timeout_s=60,
    models=("openai/gpt-4o",),
)


def grant(level: str, limit_usd: float, spent_usd: float) -> Grant:
    return Grant(
        spent_usd=spent_usd, room_usd=0.0, level=level, limit_usd=limit_usd, level_spent_usd=spent_usd, final=True
    )


def test_a_fresh_session_whose_budget_covers_no_call_is_not_told_that_it_is_used_up() -> None:
    assert out_of_budget(grant("session", 0.1, 0.0), 0.16774, START) == (
        "the next call may cost up to 0.1677 USD, and 0.1000 are left of the session budget of 0.10 USD (0.0000 USD "
        "are spent); raise it with `starter.py budget session_20261120_101500 --set USD` to at least 0.17, or begin a "
        "new session with a lower `max_tokens`, by which a call may cost less"
    )


@pytest.mark.parametrize(("level", "name"), [("project", "lab"), ("experiment", "speeches")])
def test_the_budget_that_binds_is_the_one_to_raise_and_by_enough(level: str, name: str) -> None:
    said = out_of_budget(grant(level, 0.3, 0.1526), 0.1674, START)
    assert f"0.1474 are left of the {level} budget of 0.30 USD (0.1526 USD are spent)" in said
    assert f"`starter.py budget {name} --set USD` to at least 0.32" in said
    assert "to at least 0.33" in out_of_budget(grant(level, 0.3, 0.1526), 0.16741, START)


def test_what_is_overspent_by_calls_in_doubt_leaves_nothing_and_no_negative_amount() -> None:
    assert "and 0.0000 are left of the project budget of 0.0375 USD" in out_of_budget(
        grant("project", 0.0375, 0.05), 0.01, START
    )
