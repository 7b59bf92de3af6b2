"""Extending a session: answers to the same question are taken over and not paid for, and nothing else is."""

from __future__ import annotations

import asyncio
import csv
import json
from pathlib import Path

import pytest

from benchmarks.make_experiment import make_experiment
from discernus.experiments.definition import read_definition
from discernus.sessions import layout
from discernus.sessions.call_log import read_call_log
from discernus.sessions.calls import Calls
from discernus.sessions.costs import add_up, paid_calls
from discernus.sessions.extending import answered_calls, take_over
from discernus.sessions.integrity.verification import verify
from discernus.sessions.layout import Call
from discernus.sessions.opening import open_session, sessions_in
from discernus.sessions.owners import Owner
from discernus.sessions.questions import read_question
from discernus.sessions.session import Session
from discernus.settings import Settings
from discernus.stages.analysis import analyse, extract_by_model
from discernus.stages.planning import read_plan
from discernus.stages.records import session_records
from tests.stand_ins import Model, scores
from tests.test_checkpoints import answer_all, close

MODEL = "openai/scribe"


def made(projects: Path, documents: int = 2, runs: int = 2) -> Path:
    return make_experiment(projects, documents=documents, runs=runs, words=40, models=[MODEL])


def opened(projects: Path, folder: Path, extends: Session | None = None, mirror: Path | None = None) -> Session:
    definition = read_definition(folder)
    return open_session(projects, folder, definition, concurrency=1, call_timeout_s=60, mirror=mirror, extends=extends)


def sealed(projects: Path, folder: Path) -> Session:
    session = opened(projects, folder)
    values = iter(range(100))
    answer_all(session, Model(lambda _: scores(next(values) / 100)))
    close(session)
    return session


def ask(session: Session, model: Model, *questions: tuple[int, int, int], read: tuple[int, int] | None = None) -> None:
    """Have questions (analysis, ask, candidate) answered, then one answer (analysis, ask) read by a second model."""

    async def one_by_one() -> None:
        with Owner(session.folder.parents[4] / ".discernus/owners") as owner:
            calls = Calls(owner, model, minimum_free_bytes=0)
            for number, which, fallback in questions:
                await analyse(session, calls, Settings(), number, which, fallback=fallback)
            if read is not None:
                await extract_by_model(session, calls, Settings(), *read)

    asyncio.run(one_by_one())


def rewrite(folder: Path, file: str, old: str, new: str) -> None:
    path = folder / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def by_question(session: Session) -> dict[tuple[str, int], dict[str, float]]:
    return {(record.document, record.run): dict(record.scores) for record in session_records(session)}


def test_every_answer_is_taken_over_where_nothing_has_changed(tmp_path: Path) -> None:
    projects = tmp_path / "projects"
    folder = made(projects)
    source = sealed(projects, folder)
    before = {path: path.read_bytes() for path in source.folder.rglob("*") if path.is_file()}
    target = opened(projects, folder, extends=source)
    assert target.facts.extends == source.name
    model = Model()
    answer_all(target, model)
    assert model.asked == []
    assert by_question(target) == by_question(source)
    assert {path: path.read_bytes() for path in before} == before


def test_what_was_taken_over_says_where_it_was_paid_and_costs_nothing_here(tmp_path: Path) -> None:
    projects = tmp_path / "projects"
    folder = made(projects)
    source = sealed(projects, folder)
    target = opened(projects, folder, extends=source)
    found = target.archive.look_up(Call(3))
    original = source.archive.look_up(Call(3))
    assert found is not None
    assert original is not None
    assert found[0].reused_from == f"{source.facts.session}/003"
    assert found[0].model_copy(update={"reused_from": None}) == original[0]
    assert found[1] == original[1]
    assert add_up(paid_calls(target).values()).spent_usd == 0
    answer_all(target, Model())
    stretch = read_plan(target, 1, 4, again=False)
    assert (stretch.done, stretch.cost_usd, stretch.unpriced) == (4, 0, 0)
    close(target)
    assert json.loads(target.store.get(layout.seal(1)))["cost_usd"] == 0
    assert verify(target.folder).findings == ()
    third = opened(projects, folder, extends=target)
    again = third.archive.look_up(Call(3))
    assert again is not None
    assert again[0].reused_from == f"{source.facts.session}/003"


def test_more_runs_are_asked_for_and_the_earlier_ones_are_not(tmp_path: Path) -> None:
    projects = tmp_path / "projects"
    folder = made(projects)
    source = sealed(projects, folder)
    rewrite(folder, "experiment.md", "runs_per_model: 2", "runs_per_model: 3")
    target = opened(projects, folder, extends=source)
    model = Model()
    answer_all(target, model)
    assert len(model.asked) == 2
    new, old = by_question(target), by_question(source)
    assert {question: new[question] for question in old} == old
    assert sorted(set(new) - set(old)) == [("address-00001", 3), ("address-00002", 3)]


def test_a_changed_text_is_asked_about_anew_and_the_others_are_not(tmp_path: Path) -> None:
    projects = tmp_path / "projects"
    folder = made(projects)
    source = sealed(projects, folder)
    text = folder / "corpus/address-00002.txt"
    text.write_text(text.read_text() + "\nAnd one more sentence.")
    target = opened(projects, folder, extends=source)
    model = Model()
    answer_all(target, model)
    assert len(model.asked) == 2
    assert {call.number for call in answered_calls(target)} == {1, 2, 3, 4}
    new, old = by_question(target), by_question(source)
    assert new["address-00001", 2] == old["address-00001", 2]


def test_one_answer_never_serves_two_analyses(tmp_path: Path) -> None:
    projects = tmp_path / "projects"
    folder = make_experiment(projects, documents=1, runs=1, words=40, models=[MODEL, "openai/quill"])
    fallbacks = "fallback_models:\n  openai/scribe: [openai/stand-in]\n  openai/quill: [openai/stand-in]\n"
    rewrite(folder, "experiment.md", "runs_per_model: 1\n", f"runs_per_model: 1\n{fallbacks}")
    source = opened(projects, folder)
    ask(source, Model(), (2, 0, 1))  # of the second analysis's fallback, and the first's would be asked the same
    target = opened(projects, folder, extends=source)
    assert [call.name for call in answered_calls(target)] == ["001_fallback1"]


def test_the_second_reading_of_an_answer_and_its_later_asks_are_taken_over_too(tmp_path: Path) -> None:
    projects = tmp_path / "projects"
    folder = made(projects, documents=2, runs=1)
    rewrite(folder, "experiment.md", "runs_per_model: 1", "runs_per_model: 1\nextraction_model: openai/reader")
    definition = read_definition(folder)
    source, target = (
        open_session(
            projects,
            folder,
            definition,
            concurrency=1,
            call_timeout_s=60,
            mirror=None,
            extraction_models=("openai/reader",),
        )
        for _ in range(2)
    )
    ask(source, Model("Nothing can be said.", scores()), (1, 0, 0), (1, 1, 0), (2, 0, 0), read=(1, 0))
    assert {call.name for call in answered_calls(source)} == {"001", "001_ask1", "001_extraction", "002"}
    taken = take_over(source, target, target.extraction_models)
    assert (taken.calls, taken.analyses, taken.damaged) == (4, 2, ())
    assert {call.name for call in answered_calls(target)} == {"001", "001_ask1", "001_extraction", "002"}


@pytest.mark.parametrize("file", ["llm_archive/response_002.txt", "llm_archive/request_002.json", "messages"])
def test_a_damaged_answer_is_not_taken_over(tmp_path: Path, file: str) -> None:
    projects = tmp_path / "projects"
    folder = made(projects, runs=1)
    source = sealed(projects, folder)
    path = source.folder / file
    if file == "messages":
        asked = read_question(source.store, Call(2).request)["messages"][-1]["content_sha256"]
        path = source.folder / layout.message(asked)
    path.write_bytes(path.read_bytes() + b" ")
    if file.endswith("json"):
        path.write_bytes(b"{")
    target = opened(projects, folder, extends=source)
    assert [call.name for call in answered_calls(target)] == ["001"]


def test_a_crash_while_answers_are_taken_over_leaves_no_session(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    projects = tmp_path / "projects"
    folder = made(projects)
    source = sealed(projects, folder)
    put = type(source.store).put_if_absent

    def dying(store: object, name: str, data: bytes, **how: bool) -> bool:
        if name == Call(3).response:
            raise KeyboardInterrupt
        return put(store, name, data, **how)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(type(source.store), "put_if_absent", dying)
        with pytest.raises(KeyboardInterrupt):
            opened(projects, folder, extends=source)
    assert [session.folder for session in sessions_in(source.folder.parent)] == [source.folder]


def test_the_mirror_gets_what_is_taken_over(tmp_path: Path) -> None:
    projects = tmp_path / "projects"
    folder = made(projects, runs=1)
    target = opened(projects, folder, extends=sealed(projects, folder), mirror=tmp_path / "mirror")
    assert target.archive.mirror is not None
    for name in (Call(1).response, Call(1).metadata, Call(1).request):
        assert target.archive.mirror.get(name) == target.store.get(name)


def test_the_report_names_where_its_answers_were_given_when_and_what_they_cost_there(tmp_path: Path) -> None:
    projects = tmp_path / "projects"
    folder = made(projects)
    source = sealed(projects, folder)
    target = opened(projects, folder, extends=source)
    answer_all(target, Model())
    close(target)
    report = target.store.get(layout.REPORT).decode()
    paid = add_up(paid_calls(source).values()).spent_usd
    assert paid > 0
    assert f"4 answers from session *{source.facts.session}*, given on" in report
    assert f"they cost {paid:.4f} USD there" in report
    assert "Not every answer was given in this session" not in source.store.get(layout.REPORT).decode()


def test_a_mirror_that_cannot_be_written_keeps_no_session_from_being_opened(tmp_path: Path) -> None:
    projects = tmp_path / "projects"
    folder = made(projects, runs=1)
    (tmp_path / "mirror").write_text("a file, and no folder")
    target = opened(projects, folder, extends=sealed(projects, folder), mirror=tmp_path / "mirror")
    assert len(answered_calls(target)) == 2


def test_the_tables_say_whose_answers_were_taken_over_and_that_they_cost_nothing_here(tmp_path: Path) -> None:
    projects = tmp_path / "projects"
    folder = made(projects, runs=1)
    source = sealed(projects, folder)
    text = folder / "corpus/address-00002.txt"
    text.write_text(text.read_text() + "\nAnd one more sentence.")
    target = opened(projects, folder, extends=source)
    answer_all(target, Model())
    close(target)
    rows = list(csv.DictReader(target.store.get(layout.RESULTS).decode().splitlines()))
    origin = f"{source.facts.session}/001"
    assert [(row["reused_from"], row["cost_usd"]) for row in rows] == [(origin, "0.0"), ("", "0.01")]
    calls = read_call_log(target.store.get(layout.CALL_LOG))
    assert [(call["reused_from"], call["cost_usd"]) for call in calls] == [(origin, 0), (None, 0.01)]
    [there, _] = csv.DictReader(source.store.get(layout.RESULTS).decode().splitlines())
    assert (there["reused_from"], there["cost_usd"]) == ("", "0.01")
