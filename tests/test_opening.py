"""Which session a command means: the unfinished one goes on, the complete one stands, nothing is ever mixed."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from benchmarks.make_experiment import make_experiment
from cli import choosing
from cli.choosing import Chosen, choose
from cli.preparing import prepare
from discernus.experiments.definition import read_definition
from discernus.experiments.problems import InvalidDefinition
from discernus.sessions import layout, opening
from discernus.sessions.opening import open_session, sessions_folder, sessions_in, source_of, store_id
from discernus.sessions.session import Parked, Session
from discernus.settings import Settings
from tests.test_store import wait_until

REPOSITORY = Path(__file__).resolve().parents[1]
OPENER = """
import sys, time
from pathlib import Path
from cli.choosing import choose
from cli.display import JsonLines
from cli.preparing import prepare
from discernus.experiments.definition import read_definition
from discernus.sessions.opening import store_id
from discernus.settings import Settings
projects, me = Path(sys.argv[1]), sys.argv[2]
folder = projects / "bench" / "experiments" / "speeches"
definition = read_definition(folder)
settings = Settings(projects_dir=projects)
(projects / f"ready-{me}").touch()
while not (projects / "go").exists():
    time.sleep(0.001)
preparing = lambda: prepare(settings, definition)
chosen = choose(settings, folder, definition, preparing, JsonLines(), new=False, overridden=False)
print("CHOSEN", chosen.session.facts.session, chosen.fresh, chosen.session.facts.store, flush=True)
"""


@dataclass
class Said:
    """A display that keeps what is said."""

    lines: list[str] = field(default_factory=list)

    def say(self, text: str, *, error: bool = False) -> None:
        self.lines.append(text)

    def show(self, standing: Any) -> None: ...

    def end(self, summary: dict[str, Any]) -> None: ...

    def close(self) -> None: ...


def completed(session: Session) -> None:
    """Leave what a complete session leaves, as far as choosing looks at it."""
    for number in range(1, session.facts.analyses + 1):
        session.store.put(layout.extracted(number), b"{}")
    session.note_status("complete", "")


@dataclass
class Author:
    """A researcher with one experiment, and what the command would choose for it."""

    projects: Path
    folder: Path
    said: Said = field(default_factory=Said)

    def runs(self, *, new: bool = False, overridden: bool = False, **given: Any) -> Chosen:
        settings = Settings(projects_dir=self.projects)
        self.said.lines.clear()
        definition = read_definition(self.folder, **given)
        return choose(
            settings,
            self.folder,
            definition,
            lambda: prepare(settings, definition),
            self.said,
            new=new,
            overridden=overridden,
        )

    def edits(self, file: str, old: str, new: str) -> None:
        path = self.folder / file
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    @property
    def sessions(self) -> list[str]:
        return [session.facts.session for session in sessions_in(sessions_folder(self.projects, self.folder))]


@pytest.fixture
def author(tmp_path: Path) -> Author:
    projects = tmp_path / "projects"
    return Author(projects, make_experiment(projects, documents=2, runs=2, words=40))


def test_the_first_run_opens_a_session_with_everything_frozen_in_it(author: Author) -> None:
    chosen = author.runs()
    assert (chosen.fresh, chosen.complete) == (True, False)
    session = chosen.session
    assert session.folder.parent == author.folder / "sessions"
    assert session.facts.source == "bench/experiments/speeches"
    assert session.facts.analyses == len(session.plan) == 4
    assert session.store.get("framework_snapshot.md") == (author.folder / "framework.md").read_bytes()
    assert session.store.get("corpus/address-00001.txt") == (author.folder / "corpus/address-00001.txt").read_bytes()
    assert session.facts.store == store_id(author.projects)


@pytest.mark.parametrize("status", [None, "running", "paused"])
def test_an_unfinished_session_goes_on(author: Author, status: str | None) -> None:
    first = author.runs()
    if status:
        first.session.note_status(status, "by hand")
    second = author.runs()
    assert (second.fresh, second.complete) == (False, False)
    assert second.session.folder == first.session.folder
    assert author.said.lines == [f"resuming {first.session.name}"]


def test_a_complete_session_stands_until_a_new_one_is_asked_for(author: Author) -> None:
    first = author.runs()
    completed(first.session)
    assert author.runs().complete
    assert author.sessions == [first.session.facts.session]
    other = author.runs(new=True)
    assert other.fresh
    assert other.session.folder != first.session.folder
    assert len(author.sessions) == 2


def test_a_partial_session_goes_on_and_what_was_parked_is_tried_again(author: Author) -> None:
    session = author.runs().session
    parked = Parked(
        call="001",
        number=1,
        error_class="model_not_found",
        reason="?",
        passing=False,
        passes=2,
        failures=1,
        at=datetime.now(UTC),
    )
    session.park(parked)
    assert author.runs().session.parked(1) == parked  # unfinished: it has had its chances in this run
    session.note_status("partial", "")
    chosen = author.runs()
    assert (chosen.fresh, chosen.complete) == (False, False)
    again = chosen.session.parked(1)
    assert again is not None
    assert again.released
    assert "1 parked analysis" in author.said.lines[-1]


def test_a_changed_experiment_goes_on_as_it_was_and_says_so(author: Author) -> None:
    first = author.runs().session
    before = first.store.get("framework_snapshot.md")
    author.edits("framework.md", "The text presses for action now.", "The text presses.")
    author.edits("experiment.md", "runs_per_model: 2", "runs_per_model: 3")
    (author.folder / "corpus/address-00001.txt").write_text("Another text altogether, and long enough to be one.\n")
    second = author.runs()
    assert second.session.folder == first.folder
    told = "\n".join(author.said.lines)
    for change in ("the text of the framework", "runs_per_model: 2 → 3", "the text of document 'address-00001'"):
        assert change in told
    assert "resuming on its snapshot" in told
    assert second.session.store.get("framework_snapshot.md") == before
    assert second.session.facts.analyses == len(second.session.plan) == 4


def test_a_changed_experiment_whose_session_is_complete_gets_another(author: Author) -> None:
    first = author.runs().session
    completed(first)
    author.edits("experiment.md", "runs_per_model: 2", "runs_per_model: 3")
    second = author.runs()
    assert second.fresh
    assert second.session.facts.analyses == 6
    assert "complete and stays as it is" in "\n".join(author.said.lines)


@pytest.mark.parametrize(("answer", "fresh"), [("", False), ("r", False), ("n", True), ("New", True)])
def test_at_a_terminal_the_author_is_asked_what_a_change_means(
    author: Author, monkeypatch: pytest.MonkeyPatch, answer: str, fresh: bool
) -> None:
    author.runs()
    author.edits("experiment.md", "Do the speeches differ", "Do these speeches differ")
    monkeypatch.setattr(choosing.sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(choosing.sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda _: answer)
    assert author.runs().fresh is fresh


def test_models_given_by_hand_mean_the_session_with_these_models(author: Author) -> None:
    own = author.runs().session
    offline = {"overridden": True, "models": ("offline/lexicon",)}
    by_hand = author.runs(**offline)
    assert by_hand.fresh
    assert by_hand.session.facts.models == ("offline/lexicon",)
    again = author.runs(**offline)
    assert (again.fresh, again.session.folder) == (False, by_hand.session.folder)
    more_runs = author.runs(overridden=True, models=("offline/lexicon",), runs=3)
    assert more_runs.fresh
    assert author.runs(overridden=True, models=("openai/scribe",)).session.folder == own.folder
    completed(again.session)
    assert author.runs(**offline).complete


def test_two_who_open_at_once_open_one_session(author: Author) -> None:
    openers = [
        subprocess.Popen(
            [sys.executable, "-c", OPENER, str(author.projects), str(me)],
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            text=True,
        )
        for me in range(3)
    ]
    wait_until(lambda: all((author.projects / f"ready-{me}").exists() for me in range(3)))
    (author.projects / "go").touch()
    outputs = [opener.communicate(timeout=60)[0] for opener in openers]
    chosen = [line.split() for output in outputs for line in output.splitlines() if line.startswith("CHOSEN")]
    assert len(chosen) == 3
    assert {(session, store) for _, session, _, store in chosen} == {(author.sessions[0], store_id(author.projects))}
    assert sorted(fresh for _, _, fresh, _ in chosen) == ["False", "False", "True"]
    assert len(author.sessions) == 1


def test_a_freezing_that_was_cut_off_is_not_a_session(author: Author, monkeypatch: pytest.MonkeyPatch) -> None:
    real = opening.LocalStore.put

    def put(self: Any, name: str, data: bytes, *, durable: bool = True) -> None:
        if name == layout.SESSION:
            raise KeyboardInterrupt
        real(self, name, data, durable=durable)

    with monkeypatch.context() as patched:
        patched.setattr(opening.LocalStore, "put", put)
        with pytest.raises(KeyboardInterrupt):
            author.runs()
    assert len(list((author.folder / "sessions").iterdir())) == 1
    assert author.sessions == []
    chosen = author.runs()
    assert chosen.fresh
    assert author.sessions == [chosen.session.facts.session]


def test_a_file_that_changes_while_it_is_frozen_opens_no_session(author: Author) -> None:
    definition = read_definition(author.folder)
    (author.folder / "framework.md").write_text("changed meanwhile")
    settings = Settings(projects_dir=author.projects)
    prepared = prepare(settings, definition)
    with pytest.raises(InvalidDefinition, match="changed while it was being frozen"):
        choose(settings, author.folder, definition, lambda: prepared, Said(), new=False, overridden=False)
    assert author.sessions == []


def test_two_sessions_of_one_second_have_two_names(author: Author) -> None:
    definition = read_definition(author.folder)
    moment = datetime(2026, 11, 20, 23, 59, 59, tzinfo=UTC)
    names = [
        open_session(
            author.projects,
            author.folder,
            definition,
            concurrency=1,
            call_timeout_s=1,
            mirror=None,
            now=lambda: moment,
        ).facts.session
        for _ in range(2)
    ]
    assert names == ["session_20261120_235959", "session_20261121_000000"]


def test_an_experiment_outside_of_the_projects_has_its_sessions_in_project_local(tmp_path: Path) -> None:
    inside = make_experiment(tmp_path / "made", documents=2, words=40)
    outside = (tmp_path / "desk" / "speeches").resolve()
    outside.parent.mkdir()
    inside.rename(outside)
    author = Author(tmp_path / "projects", outside)
    session = author.runs().session
    assert session.folder.parent == tmp_path / "projects/local/experiments/speeches/sessions"
    assert (session.facts.project, session.facts.source) == ("local", str(outside))
    assert not (outside / "sessions").exists()
    assert author.runs().session.folder == session.folder


def test_two_experiments_of_one_name_outside_of_the_projects_are_never_mixed(tmp_path: Path) -> None:
    authors = []
    for place in ("one", "two"):
        made = make_experiment(tmp_path / place / "made", documents=2, words=40)
        desk = tmp_path / place / "speeches"
        made.rename(desk)
        authors.append(Author(tmp_path / "projects", desk))
    first, second = (author.runs() for author in authors)
    assert first.fresh
    assert second.fresh
    assert first.session.folder != second.session.folder
    assert [author.runs().session.folder for author in authors] == [first.session.folder, second.session.folder]


def test_a_store_keeps_its_id_for_ever(tmp_path: Path) -> None:
    first = store_id(tmp_path)
    assert store_id(tmp_path) == first
    assert json.loads((tmp_path / ".discernus/store.json").read_text())["store"] == first
    assert store_id(tmp_path / "other") != first


def test_a_session_names_its_source_by_its_path_in_the_projects_so_that_the_projects_may_move(author: Author) -> None:
    session = author.runs().session
    moved = author.projects.with_name("moved")
    author.projects.rename(moved)
    author = Author(moved, moved / "bench/experiments/speeches")
    assert source_of(moved, author.folder) == session.facts.source
    assert not author.runs().fresh
