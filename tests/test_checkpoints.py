"""Going back to a stage: later stages are made anew, what a seal covers is kept, and no answer is ever touched."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import pytest

from discernus.experiments.plan import Analysis
from discernus.sessions import layout
from discernus.sessions.calls import Calls
from discernus.sessions.integrity.manifests import TABLES, Hashed, Stage, hash_files
from discernus.sessions.integrity.seals import versions_sealed
from discernus.sessions.integrity.verification import verify
from discernus.sessions.opening import state_of
from discernus.sessions.owners import Owner
from discernus.sessions.session import Parked, Session
from discernus.settings import Settings
from discernus.stages.analysis import analyse
from discernus.stages.calculation import calculate
from discernus.stages.checkpoints import checkpoints, go_back, products, prospect, take_up
from discernus.stages.preflight import preflight
from discernus.stages.reading import read_answer
from discernus.stages.sealing import seal
from discernus.stages.synthesis import synthesise
from tests.stand_ins import Model, opened, scores


def answer_all(session: Session, model: Model, numbers: range | None = None) -> None:
    """Have these analyses, or all, answered and read."""

    async def ask() -> None:
        with Owner(session.folder.parents[4] / ".discernus/owners") as owner:
            calls = Calls(owner, model, minimum_free_bytes=0)
            for number in numbers or range(1, session.facts.analyses + 1):
                await analyse(session, calls, Settings(), number, 0)

    asyncio.run(ask())
    read_all(session, numbers)


def read_all(session: Session, numbers: range | None = None) -> None:
    for number in numbers or range(1, session.facts.analyses + 1):
        read_answer(session, number, 0, final=True)


def close(session: Session) -> None:
    calculate(session)
    synthesise(session)
    seal(session)


def park(session: Session, number: int) -> None:
    call, error_class, reason = f"{number:03d}", "model_not_found", "there is no such model"
    now = datetime.now(UTC)
    session.park(
        Parked(
            number=number,
            call=call,
            error_class=error_class,
            reason=reason,
            passing=False,
            passes=2,
            failures=1,
            at=now,
        )
    )


def answers(session: Session) -> dict[str, str]:
    """Return the SHA-256 of every file of the archive but its table."""
    paths = (path for path in (session.folder / layout.ARCHIVE).rglob("*") if path.is_file())
    return {
        path.name: sha256(path.read_bytes()).hexdigest() for path in paths if path.name != Path(layout.CALL_LOG).name
    }


@pytest.fixture
def session(tmp_path: Path) -> Session:
    return opened(tmp_path, documents=2, runs=2, models=["openai/scribe"])


@pytest.fixture
def sealed(session: Session) -> Session:
    answer_all(session, Model(scores()))
    close(session)
    return session


GONE: dict[Stage, tuple[str, ...]] = {
    "analysis": ("extracted", "deliverables", "analysis_results"),
    "extraction": ("extracted", "deliverables", "analysis_results"),
    "calculation": ("deliverables", "analysis_results"),
    "synthesis": ("analysis_results",),
}


@pytest.mark.parametrize("stage", list(GONE))
def test_going_back_takes_away_what_later_stages_wrote_and_touches_no_answer(sealed: Session, stage: Stage) -> None:
    before = answers(sealed)
    gone = go_back(sealed, stage)
    assert answers(sealed) == before
    for folder in ("extracted", "analysis_results"):
        left = [name for name in sealed.store.names(folder) if name.endswith((".json", ".md"))]
        assert bool(left) == (folder not in GONE[stage]), folder
    assert sealed.store.exists(layout.RESULTS) == (stage == "synthesis")
    assert not sealed.store.exists(layout.REPORT)
    assert not any(sealed.store.exists(name) for name in gone)
    assert state_of(sealed) == "unfinished"


def test_what_a_seal_covers_is_kept_under_its_number(sealed: Session) -> None:
    record = json.loads(sealed.store.get(layout.seal(1)))
    tables = sum(sealed.store.exists(name) for name in TABLES)
    gone = go_back(sealed, "extraction")
    assert len(gone) == 4 + tables + 6  # analyses read, tables and logs, the report, its page and the pages
    for name in gone:
        assert sha256(sealed.store.get(layout.superseded(1, name))).hexdigest() == record["files"][name]


def test_what_no_seal_covers_is_not_kept(session: Session) -> None:
    answer_all(session, Model(scores()))
    calculate(session)
    assert go_back(session, "extraction")
    assert session.store.names(layout.SUPERSEDED) == []


def test_made_anew_from_the_same_answers_the_numbers_are_the_same(sealed: Session) -> None:
    table = sealed.store.get(layout.RESULTS)
    go_back(sealed, "extraction")
    read_all(sealed)
    close(sealed)
    assert verify(sealed.folder).findings == ()
    assert sealed.store.get(layout.RESULTS) == table
    assert versions_sealed(sealed.store) == [1, 2]
    assert state_of(sealed) == "complete"


def test_a_crash_half_way_leaves_a_session_that_goes_back_again(
    sealed: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    removed: list[str] = []
    remove = type(sealed.store).remove

    def dying(store: object, name: str, **how: bool) -> None:
        if len(removed) == 6:
            raise KeyboardInterrupt
        removed.append(name)
        remove(store, name, **how)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(type(sealed.store), "remove", dying)
        with pytest.raises(KeyboardInterrupt):
            go_back(sealed, "extraction")
    assert state_of(sealed) == "unfinished"
    left = {name for stage in GONE for name in products(sealed, stage)}
    assert set(go_back(sealed, "extraction")) == left
    kept = sealed.folder / layout.superseded(1, layout.EXTRACTED)
    assert len(list(kept.glob("extracted_*.json"))) == 4


def test_a_session_with_gaps_is_taken_up_and_its_sealed_version_kept(session: Session) -> None:
    answer_all(session, Model(scores()), range(1, 4))
    park(session, 4)
    close(session)
    report = session.store.get(layout.REPORT)
    assert state_of(session) == "partial"
    assert take_up(session) == 1
    assert session.all_parked() == []
    assert not session.reached("analysis")
    assert len(products(session, "extraction")) == 3
    assert session.store.get(layout.superseded(1, layout.REPORT)) == report
    assert b'"released":false' in session.store.get(layout.superseded(1, layout.parked(4))).replace(b" ", b"")


def test_what_going_on_would_do_is_told_without_doing_it(session: Session) -> None:
    answer_all(session, Model(scores()), range(1, 3))
    park(session, 4)
    before = sorted(path.name for path in session.folder.rglob("*"))
    looked = prospect(session, None, try_parked=False)
    assert (looked.answered, looked.parked, looked.tried_again, looked.to_read) == (2, 1, 0, 1)
    assert [analysis.number for analysis in looked.to_ask] == [3]
    again = prospect(session, "analysis", try_parked=True)
    assert (again.tried_again, again.to_read, again.version) == (1, 4, 0)
    assert [analysis.number for analysis in again.to_ask] == [3, 4]
    assert all(isinstance(analysis, Analysis) for analysis in again.to_ask)
    assert again.anew == ("extracted/extracted_001.json", "extracted/extracted_002.json")
    assert sorted(path.name for path in session.folder.rglob("*")) == before


def test_the_checkpoints_say_what_is_complete_and_how_much_is_made(sealed: Session) -> None:
    done = {one.stage: one for one in checkpoints(sealed)}
    assert {stage: (one.made, one.planned) for stage, one in done.items()} == {
        "analysis": (4, 4),
        "extraction": (4, 4),
        "calculation": (2, 2),
        "synthesis": (4, 4),
    }
    assert done["analysis"].completed_at is not None
    go_back(sealed, "calculation")
    undone = {one.stage: one for one in checkpoints(sealed)}
    assert undone["analysis"].completed_at == done["analysis"].completed_at
    assert (undone["calculation"].completed_at, undone["synthesis"].completed_at) == (None, None)
    assert (undone["calculation"].made, undone["synthesis"].made) == (0, 0)


def test_a_sealed_session_that_a_server_begins_again_keeps_its_sealed_version(sealed: Session) -> None:
    table = sealed.store.get(layout.RESULTS)
    preflight(sealed, Settings(projects_dir=sealed.folder.parents[4]))
    assert state_of(sealed) == "unfinished"
    assert not sealed.reached("analysis")
    assert sealed.store.get(layout.superseded(1, layout.RESULTS)) == table
    assert len(products(sealed, "extraction")) == 4


def test_that_version_is_kept_as_well_where_a_note_says_before_that_it_runs(sealed: Session) -> None:
    report = sealed.store.get(layout.REPORT)
    sealed.note_status("running", "")
    preflight(sealed, Settings(projects_dir=sealed.folder.parents[4]))
    assert sealed.store.get(layout.superseded(1, layout.REPORT)) == report
    calculate(sealed)
    synthesise(sealed)
    assert seal(sealed).version == 2
    assert verify(sealed.folder).findings == ()


def test_a_session_that_goes_on_while_it_is_looked_at_is_not_called_altered(
    sealed: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    def late(folder: Path, names: list[str]) -> Mapping[str, Hashed]:
        sealed.note_status("running", "")
        return hash_files(folder, names)

    monkeypatch.setattr("discernus.sessions.integrity.examination.hash_files", late)
    found = verify(sealed.folder)
    assert (found.state, found.findings) == ("under_way", ())


def test_a_session_under_way_keeps_what_stands_when_it_goes_on(sealed: Session) -> None:
    go_back(sealed, "synthesis")
    preflight(sealed, Settings(projects_dir=sealed.folder.parents[4]))
    assert sealed.reached("calculation")
    assert sealed.store.exists(layout.RESULTS)
