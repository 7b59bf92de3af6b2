"""A gap in a session: counted in the store, plan against archive, named, and never called complete."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cli.ending import end
from cli.exits import COMPLETE, PARTIAL, PAUSED
from discernus.sessions import layout
from discernus.sessions.calls import Calls
from discernus.sessions.layout import Call
from discernus.sessions.opening import state_of
from discernus.sessions.owners import Owner
from discernus.sessions.progress import ProgressReader, Standing
from discernus.sessions.session import Session
from discernus.settings import Settings
from discernus.stages.analysis import analyse
from discernus.stages.calculation import calculate
from discernus.stages.planning import read_plan
from discernus.stages.reading import read_answer
from discernus.stages.sealing import seal
from discernus.stages.synthesis import synthesise
from tests.stand_ins import Model, failure, opened, scores


class Ending:
    """A display that keeps what a command says at its end."""

    def __init__(self) -> None:
        self.summary: dict[str, Any] = {}

    @property
    def text(self) -> str:
        return "\n".join(self.summary["lines"])

    def say(self, text: str, *, error: bool = False) -> None:
        raise AssertionError(f"an ending says it all at once, and not {text!r} before")

    def show(self, standing: Standing) -> None:
        raise AssertionError("nothing moves any more")

    def end(self, summary: dict[str, Any]) -> None:
        self.summary = summary

    def close(self) -> None:
        pass


def answered(session: Session, owners: Path, *numbers: int, model: Model | None = None) -> None:
    """Have these analyses answered, and those read that were."""
    with Owner(owners) as owner:
        calls = Calls(owner, model or Model(scores()), minimum_free_bytes=0)
        for number in numbers:
            if asyncio.run(analyse(session, calls, Settings(), number, 0)).status == "answered":
                read_answer(session, number, 0, final=True)


def finished(session: Session) -> None:
    """Take the stages that follow the last answer, as the session's workflow does whatever its batches told it."""
    calculate(session)
    synthesise(session)
    seal(session)


def ended(session: Session, **how: Any) -> tuple[int, Ending]:
    ending = Ending()
    return end(ProgressReader(session).read(), session, ending, **how), ending


@pytest.fixture
def session(tmp_path: Path) -> Session:
    return opened(tmp_path, documents=3)


def _extraction(session: Session) -> None:
    session.store.remove(layout.extracted(2))


def _answer(session: Session) -> None:
    session.store.remove(Call(2).response)


def _both(session: Session) -> None:
    _extraction(session)
    _answer(session)


@pytest.mark.parametrize(
    ("lose", "told"),
    [(_extraction, "1 not analysed"), (_answer, "1 answer damaged or gone"), (_both, "1 not analysed")],
)
def test_what_is_lost_between_the_batches_and_the_seal_makes_the_session_partial_and_is_named(
    session: Session, tmp_path: Path, lose: Callable[[Session], None], told: str
) -> None:
    answered(session, tmp_path / "owners", 1, 2, 3)
    lose(session)
    finished(session)
    code, ending = ended(session)
    assert (code, ending.summary["status"]) == (PARTIAL, "partial")
    assert f"; {told}\n" in ending.text
    assert f"{told.removeprefix('1 ').removeprefix('answer ')}: 002" in ending.text
    assert state_of(session) == "partial"


def test_each_kind_of_gap_is_told_from_the_others(tmp_path: Path) -> None:
    session = opened(tmp_path, documents=5)
    owners = tmp_path / "owners"
    answered(session, owners, 1)
    answered(session, owners, 2, model=Model(failure("model_not_found")))
    answered(session, owners, 3, model=Model("The speaker is calm throughout; nothing more can be said."))
    answered(session, owners, 4)
    session.store.put(Call(4).response, b"another answer")
    finished(session)
    code, ending = ended(session)
    assert code == PARTIAL
    counts = "1 could not be had, 1 not analysed, 1 answer gave no score, 1 answer damaged or gone"
    named = ["could not be had: 002", "not analysed: 005", "gave no score: 003", "damaged or gone: 004"]
    assert counts in ending.text
    assert [line for line in ending.text.splitlines() if line in named] == named


def test_a_session_that_is_neither_sealed_nor_paused_is_never_called_complete(session: Session, tmp_path: Path) -> None:
    """A pause that ends while the command leaves: the budget was raised, say, and nobody here goes on with it."""
    answered(session, tmp_path / "owners", 1)
    session.note_status("running", "")
    code, ending = ended(session)
    assert (code, ending.summary["status"]) == (PAUSED, "unfinished")
    assert ending.text.startswith("unfinished: ")
    assert "1 of 3 analyses" in ending.text
    assert "run the same command again" in ending.text


def test_a_complete_session_that_has_lost_an_analysis_since_goes_on_with_just_that(
    session: Session, tmp_path: Path
) -> None:
    answered(session, tmp_path / "owners", 1, 2, 3)
    finished(session)
    assert (ended(session)[0], state_of(session)) == (COMPLETE, "complete")
    session.store.remove(layout.extracted(2))
    code, ending = ended(session, already=True)
    assert (code, ending.summary["status"]) == (PAUSED, "unfinished")
    assert ending.text.startswith("unfinished: ")
    assert state_of(session) == "partial"
    assert [todo.number for todo in read_plan(session, 1, 3, again=False).todo] == [2]
