"""Making a part of a session anew from the answers there are: nobody is asked, and texts that were taken out stand."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.exits import COMPLETE, INVALID, PARTIAL, CommandError
from cli.prospect import tell
from cli.resuming import resume
from discernus.packages.erasure import document_of, erase
from discernus.sessions import layout
from discernus.sessions.integrity.manifests import Stage
from discernus.sessions.integrity.seals import versions_sealed
from discernus.sessions.integrity.verification import verify
from discernus.sessions.layout import Call
from discernus.sessions.opening import state_of
from discernus.sessions.session import Session
from discernus.settings import Settings
from discernus.stages.anew import make_anew
from discernus.stages.checkpoints import go_back, products, prospect, take_up
from discernus.stages.planning import read_plan
from discernus.stages.reading import read_answer
from discernus.stages.records import session_records
from tests.stand_ins import Model, opened, scores
from tests.test_checkpoints import answer_all, answers, close, park

ERASED, KEPT = "address-00001", "address-00002"
REASON = "a request of the speaker"
LATER: tuple[Stage, ...] = ("extraction", "calculation", "synthesis")


@pytest.fixture
def session(tmp_path: Path) -> Session:
    """A session of two texts, twice each, just opened; analysis 1 is of the first text."""
    return opened(tmp_path, documents=2, runs=2, models=["openai/scribe"])


def settings_of(session: Session) -> Settings:
    return Settings(projects_dir=session.folder.parents[4])


def without(session: Session, document: str = ERASED) -> Session:
    """Return the session after a text was erased from it."""
    erase(session, document_of(session, document), REASON)
    return Session(session.folder)


def of(session: Session, document: str) -> list[int]:
    return [one.number for one in session.plan if one.document == document]


# with nobody asked


@pytest.mark.parametrize("stage", LATER)
def test_what_has_no_answer_is_a_gap_and_nobody_is_asked(session: Session, stage: Stage) -> None:
    answer_all(session, Model(scores()), range(1, 3))
    before = answers(session)
    assert resume(settings_of(session), session.name, stage=stage, as_json=False) == PARTIAL
    again = Session(session.folder)
    assert answers(again) == before
    assert [record.status for record in session_records(again)] == ["scored", "scored", "pending", "pending"]
    assert again.store.exists(layout.RESULTS)
    assert verify(session.folder).findings == ()


@pytest.mark.parametrize("stage", LATER)
def test_a_dry_run_of_a_later_stage_asks_nobody_and_says_so(
    session: Session, stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    answer_all(session, Model(scores()), range(1, 3))
    assert tell(settings_of(session), session.name, stage=stage, as_json=False) == COMPLETE
    said = " ".join(capsys.readouterr().out.split())
    assert f"to ask: 0 analyses; 2 without an answer stay so, for --from {stage} asks nobody" in said
    assert "then: tables, report and seal" in said
    assert "no model need be asked" in said


def test_from_its_answers_the_same_numbers_come_out_and_are_sealed_anew(session: Session) -> None:
    answer_all(session, Model(scores()))
    close(session)
    table = session.store.get(layout.RESULTS)
    assert make_anew(session, "extraction").status == "complete"
    assert session.store.get(layout.RESULTS) == table
    assert versions_sealed(session.store) == [1, 2]
    assert verify(session.folder).findings == ()


def test_of_several_asks_the_best_is_read_again(session: Session) -> None:
    """The first answer has one score less; the second ask was put because of that."""
    answer_all(session, Model(scores(without=("urgency",)), scores(0.3)), range(1, 2))
    answered = session.extracted(1)
    assert answered is not None
    assert answered.extraction.missing
    make_anew(session, "extraction")
    again = session.extracted(1)
    assert again is not None
    assert (again.call, again.extraction.scores) == (answered.call, answered.extraction.scores)


def test_what_is_parked_stays_parked_and_an_answer_that_nobody_read_is_read(session: Session) -> None:
    answer_all(session, Model(scores()), range(1, 4))
    park(session, 4)
    session.store.remove(layout.extracted(3))
    assert make_anew(session, "extraction").gaps["parked"] == [4]
    assert session.extracted(3) is not None


def test_an_answer_that_is_damaged_keeps_no_other_from_being_read(session: Session) -> None:
    answer_all(session, Model(scores()))
    (session.folder / Call(2).response).write_text("something else")
    assert make_anew(session, "extraction").gaps["parked"] == [2]
    parked = session.parked(2)
    assert parked is not None
    assert parked.error_class == "archive_damaged"


def test_a_making_that_was_cut_off_is_taken_up_by_doing_it_again(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer_all(session, Model(scores()))
    close(session)
    table = session.store.get(layout.RESULTS)
    with monkeypatch.context() as patched:

        def cut_off(*_: object, **__: object) -> None:
            raise KeyboardInterrupt

        patched.setattr("discernus.stages.anew.read_again", cut_off)
        with pytest.raises(CommandError, match="interrupted") as interrupted:
            resume(settings_of(session), session.name, stage="extraction", as_json=False)
    assert interrupted.value.code == 130
    assert f"resume {session.name} --from extraction" in str(interrupted.value)
    assert products(session, "extraction") == []
    assert resume(settings_of(session), session.name, stage="extraction", as_json=False) == COMPLETE
    assert session.store.get(layout.RESULTS) == table


# before anything is taken apart


def test_a_missing_key_leaves_a_sealed_session_as_it_was(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    answer_all(session, Model(scores()), range(1, 4))
    park(session, 4)
    close(session)
    before = {path: path.read_bytes() for path in session.folder.rglob("*") if path.is_file()}
    with pytest.raises(CommandError, match="OPENAI_API_KEY") as refused:
        resume(settings_of(session), session.name, stage=None, as_json=False)
    assert refused.value.code == INVALID
    assert {path: path.read_bytes() for path in session.folder.rglob("*") if path.is_file()} == before
    assert state_of(session) == "partial"


# texts that were taken out


@pytest.mark.parametrize("stage", ["analysis", "extraction"])
def test_the_scores_of_an_erased_text_stand_when_the_session_goes_back(session: Session, stage: Stage) -> None:
    answer_all(session, Model(scores()))
    close(session)
    erased = without(session)
    looked = prospect(erased, stage, try_parked=stage == "analysis")
    assert (looked.to_ask, looked.to_read) == ((), 2)
    gone = go_back(erased, stage, try_parked=stage == "analysis")
    assert [erased.extracted(number) is not None for number in of(erased, ERASED)] == [True, True]
    assert [layout.extracted(number) in gone for number in of(erased, KEPT)] == [True, True]
    assert [one.number for one in read_plan(erased, 1, 4, again=False).todo] == of(erased, KEPT)
    for number in of(erased, KEPT):
        read_answer(erased, number, 0, final=True)
    close(erased)
    assert state_of(erased) == "complete"
    assert {record.status for record in session_records(erased)} == {"scored"}
    assert verify(erased.folder).findings == ()


def test_an_erased_text_that_had_no_answer_is_a_gap_for_that_reason(session: Session) -> None:
    answer_all(session, Model(scores()), range(2, 5))
    close(session)
    erased = without(session)
    assert take_up(erased) == 0, "what was erased is not tried again"
    assert prospect(erased, None, try_parked=True).to_ask == ()
    erased.unpark(1)  # whatever becomes of the record
    close(erased)
    [gap] = [record for record in session_records(erased) if record.status != "scored"]
    assert (gap.number, gap.status) == (1, "parked")
    assert gap.reason == f"erased: the text was erased: {REASON}"
    assert f"erased: {REASON}" in erased.store.get(layout.REPORT).decode()


def test_an_answer_about_an_erased_text_that_nobody_had_read_is_read(session: Session) -> None:
    answer_all(session, Model(scores()))
    session.store.remove(layout.extracted(1))
    erased = without(session)
    parked = erased.parked(1)
    assert parked is not None
    assert [one.number for one in read_plan(erased, 1, 4, again=True).todo] == [], "nobody is asked about it"
    close(erased)
    assert state_of(erased) == "complete"
    assert {record.status for record in session_records(erased)} == {"scored"}
