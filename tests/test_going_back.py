"""Going back that is cut off, contended, or not allowed: no number is ever sealed that its scores do not give."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from activities.steps import _calculate
from cli import remote
from cli.choosing import _resume
from cli.display import make_display
from cli.exits import INFRASTRUCTURE, CommandError
from cli.remote import refuse_at_work
from cli.resuming import resume
from cli.sessions import refuse_copy, session_to_change
from discernus.sessions import layout
from discernus.sessions.integrity.examination import SealBroken, examine
from discernus.sessions.opening import Choice, state_of
from discernus.sessions.owners import Lock
from discernus.sessions.session import Session
from discernus.settings import Settings
from discernus.stages.checkpoints import go_back, stands, take_up
from discernus.stages.planning import read_plan
from discernus.stages.reading import read_answer
from discernus.stages.sealing import seal
from discernus.stages.synthesis import synthesise
from tests import sealed_sessions
from tests.cut_off import each_death


@pytest.fixture
def above(tmp_path: Path) -> Path:
    (tmp_path / "made").mkdir()
    return tmp_path / "made"


@pytest.fixture
def session(above: Path) -> Session:
    return sealed_sessions.sealed(above)


def settings_of(session: Session) -> Settings:
    return Settings(projects_dir=session.folder.parents[4])


def go_on(session: Session) -> None:
    """Carry the session on as a run without a stage does."""
    take_up(session)
    for todo in read_plan(session, 1, session.facts.analyses, again=False).todo:
        read_answer(session, todo.number, 0, final=True)
    _calculate(session)
    synthesise(session)
    seal(session)


def test_going_back_that_died_at_any_write_never_passes_over_tables_whose_scores_are_gone(
    session: Session, above: Path
) -> None:
    deaths = 0
    for cut_off in each_death(session, above, lambda one: go_back(one, "extraction"), every=3):
        deaths += 1
        if len(cut_off.store.names(layout.EXTRACTED)) < len(session.store.names(layout.EXTRACTED)):
            assert not cut_off.reached("extraction")
            assert not cut_off.reached("calculation")
        assert examine(cut_off.folder).findings == (), deaths
        if state_of(cut_off) == "unfinished":
            go_on(Session(cut_off.folder))
        assert examine(cut_off.folder).findings == (), deaths
    assert deaths > 5


@pytest.mark.parametrize("name", [layout.RESULTS, layout.extracted(1)])
def test_a_stage_does_not_stand_on_files_that_are_gone_or_others(tmp_path: Path, name: str) -> None:
    session = sealed_sessions.answered(tmp_path)
    _calculate(session)
    assert stands(session, "extraction")
    assert stands(session, "calculation")
    table = session.store.get(layout.RESULTS)
    session.store.put(layout.RESULTS, table + b"\n")
    assert not stands(session, "calculation")
    session.store.remove(name)
    assert not (stands(session, "extraction") and stands(session, "calculation"))
    _calculate(session)
    assert session.store.exists(layout.RESULTS)
    assert stands(session, "calculation")


def test_what_stands_is_not_made_again(tmp_path: Path) -> None:
    session = sealed_sessions.answered(tmp_path)
    _calculate(session)
    left = session.store.get(layout.checkpoint("calculation"))
    _calculate(session)
    assert session.store.get(layout.checkpoint("calculation")) == left


def test_scores_that_were_changed_by_hand_are_never_sealed_anew(session: Session) -> None:
    path = session.folder / layout.extracted(1)
    scores = json.loads(path.read_text())
    scores["extraction"]["scores"] = dict.fromkeys(scores["extraction"]["scores"], 0.99)
    path.write_text(json.dumps(scores))
    for touching in (lambda: go_back(session, "calculation"), lambda: take_up(session)):
        with pytest.raises(SealBroken, match=r"extracted_001\.json") as refused:
            touching()
        assert "restore the session's folder from a copy" in str(refused.value)
    assert state_of(session) == "partial"
    assert session.store.exists(layout.RESULTS)


def test_a_run_leaves_a_session_alone_that_another_process_owns(session: Session) -> None:
    lock = Lock(session.folder / layout.OWNER_LOCK)
    assert lock.acquire()
    choice = Choice(session, state_of(session), ())
    display = make_display(as_json=True)
    chosen = _resume(choice, settings_of(session), display, at_work=False)
    assert not chosen.complete
    assert state_of(session) == "partial"
    assert session.store.exists(layout.RESULTS)
    lock.release()
    _resume(choice, settings_of(session), display, at_work=True)
    assert state_of(session) == "partial"
    _resume(choice, settings_of(session), display, at_work=False)
    assert state_of(session) == "unfinished"


def test_a_session_at_work_on_a_shared_server_is_left_alone(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    async def connect(*_: str) -> None:
        return None

    async def is_running(_: Any, asked: Session) -> bool:
        return asked.name == session.name

    shared = settings_of(session).model_copy(update={"temporal": "localhost:1"})
    with pytest.raises(CommandError, match="cannot say whether") as unknown:
        refuse_at_work(shared, session)
    assert unknown.value.code == INFRASTRUCTURE
    monkeypatch.setattr(remote, "connect", connect)
    monkeypatch.setattr("engine.sessions.is_running", is_running)
    with pytest.raises(CommandError, match="is at work on localhost:1"):
        refuse_at_work(shared, session)
    with pytest.raises(CommandError, match="stop it there"):
        resume(shared, session.name, stage="calculation", as_json=True)
    refuse_at_work(settings_of(session), session)


def test_a_copy_is_neither_gone_on_with_nor_extended(session: Session, tmp_path: Path) -> None:
    assert session_to_change(settings_of(session), session.name).folder == session.folder
    settings = settings_of(session)
    copy = session.folder.rename(tmp_path / "elsewhere")
    with pytest.raises(CommandError, match="is a copy: bench/speeches/session_") as refused:
        resume(settings, str(copy), stage="calculation", as_json=True)
    assert str(session.folder) in str(refused.value)
    with pytest.raises(CommandError, match="is a copy"):
        refuse_copy(settings, Session(copy))
