"""What a run says and does where something has changed since its session was opened, or where it takes answers over."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks.make_experiment import make_experiment
from cli.choosing import Chosen, choose, finished, meant
from cli.preparing import prepare
from discernus.experiments.definition import read_definition
from discernus.sessions import layout
from discernus.sessions.layout import Call
from discernus.sessions.session import Session
from discernus.sessions.settings_snapshot import read_snapshot
from discernus.settings import Settings
from tests.stand_ins import Model
from tests.test_checkpoints import answer_all, close, park
from tests.test_opening import Said


class Researcher:
    """A researcher with an experiment of two texts, and a model that answers."""

    def __init__(self, tmp_path: Path) -> None:
        self.projects = tmp_path / "projects"
        self.folder = make_experiment(self.projects, documents=2, runs=1, words=40, models=["openai/scribe"])
        self.said: list[str] = []

    def chooses(self, settings: dict[str, Any] | None = None, **how: Any) -> Chosen:
        told = Said()
        in_force = Settings(projects_dir=self.projects, **(settings or {}))
        definition = read_definition(self.folder)
        preparing = lambda: prepare(in_force, definition)  # noqa: E731
        chosen = choose(
            in_force, self.folder, definition, preparing, told, **{"new": False, "overridden": False, **how}
        )
        self.said = told.lines
        return chosen

    def edits(self) -> None:
        path = self.folder / "experiment.md"
        path.write_text(path.read_text().replace("runs_per_model: 1", "runs_per_model: 2"))


@pytest.fixture
def researcher(tmp_path: Path) -> Researcher:
    return Researcher(tmp_path)


def test_changed_files_are_told_and_the_option_says_which_are_meant(researcher: Researcher) -> None:
    first = researcher.chooses().session
    researcher.edits()
    kept = researcher.chooses(on_changes="snapshot")
    assert kept.session.folder == first.folder
    assert "  runs_per_model: 1 → 2" in researcher.said
    definition = read_definition(researcher.folder)
    settings = Settings(projects_dir=researcher.projects)

    def goes_on(on_changes: Any) -> Session | None:
        return meant(settings, researcher.folder, definition, new=False, overridden=False, on_changes=on_changes)

    assert goes_on("new") is None
    assert goes_on("snapshot") is not None
    other = researcher.chooses(on_changes="new")
    assert other.fresh
    assert other.session.facts.analyses == 4
    assert Session(first.folder).facts.analyses == 2


def completes(researcher: Researcher) -> Session:
    """Have the experiment's session answered, read and sealed."""
    session = researcher.chooses().session
    answer_all(session, Model())
    close(session)
    researcher.edits()
    return session


def test_a_complete_session_is_what_snapshot_means_and_nothing_is_opened(researcher: Researcher) -> None:
    session = completes(researcher)
    chosen = researcher.chooses(on_changes="snapshot")
    assert (chosen.session.folder, chosen.complete, chosen.fresh) == (session.folder, True, False)
    assert "  runs_per_model: 1 → 2" in researcher.said
    told = Said()
    settings = Settings(projects_dir=researcher.projects)
    done = finished(
        settings,
        researcher.folder,
        read_definition(researcher.folder),
        told,
        overridden=False,
        on_changes="snapshot",
    )
    assert done is not None
    assert done.folder == session.folder
    assert "  runs_per_model: 1 → 2" in told.lines


def test_where_another_is_opened_it_is_said_what_extending_would_take_over(researcher: Researcher) -> None:
    session = completes(researcher)
    chosen = researcher.chooses()
    assert chosen.fresh
    said = " ".join(researcher.said)
    assert "2 of 4 analyses are answered there, and would be taken over by:" in said
    assert f"run bench/speeches --extend {session.name}" in said


def test_where_nothing_has_changed_the_option_opens_nothing(researcher: Researcher) -> None:
    first = researcher.chooses().session
    assert researcher.chooses(on_changes="new").session.folder == first.folder


def test_a_session_keeps_its_settings_and_says_on_resuming_which_have_changed(researcher: Researcher) -> None:
    session = researcher.chooses().session
    frozen = read_snapshot(session.store)
    assert frozen is not None
    assert frozen.settings["retry_max_attempts"] == 4
    researcher.chooses()
    assert researcher.said == [f"resuming {session.name}"]
    researcher.chooses({"retry_max_attempts": 7})
    assert researcher.said[1:] == ["LLM_RETRY_MAX_ATTEMPTS: 4 → 7 (the latter holds from now on)"]


def test_an_answer_that_was_damaged_is_named_before_the_session_goes_on(researcher: Researcher) -> None:
    session = researcher.chooses().session
    answer_all(session, Model(), range(1, 2))
    (session.folder / Call(1).response).write_text("something else")
    researcher.chooses()
    assert Call(1).response in " ".join(researcher.said)
    assert any("--extend" in line for line in researcher.said)


def test_a_sealed_version_with_gaps_is_kept_when_the_session_goes_on(researcher: Researcher) -> None:
    session = researcher.chooses().session
    answer_all(session, Model(), range(1, 2))
    park(session, 2)
    close(session)
    report = session.store.get(layout.REPORT)
    resumed = researcher.chooses()
    assert (resumed.fresh, resumed.complete) == (False, False)
    assert not resumed.session.reached("calculation")
    assert resumed.session.store.get(layout.superseded(1, layout.REPORT)) == report
    assert researcher.said[0] == f"resuming {session.name}; 1 parked analysis tried again"


def test_a_session_that_takes_answers_over_says_how_many_and_what_is_left(researcher: Researcher) -> None:
    source = researcher.chooses().session
    answer_all(source, Model())
    close(source)
    researcher.edits()
    chosen = researcher.chooses(extends=source)
    assert chosen.fresh
    assert chosen.session.facts.extends == source.name
    said = " ".join(" ".join(researcher.said).split())
    assert f"2 of 4 analyses taken over from {source.name}, which paid for them; 2 to ask" in said
