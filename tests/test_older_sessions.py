"""Sessions of earlier versions are read, verified, carried on and packed like any other; those of later ones are not.

``data/sessions/before_chronologs`` was written by a version that kept no chronolog and no settings, and whose seals
held hashes alone. One of its sessions is sealed. The other was killed: of four analyses one was read, one only
answered, one in flight, and one had failed once.
"""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from cli.exits import CommandError
from discernus.experiments.definition import read_definition
from discernus.packages.exporting import Wanted, export
from discernus.packages.reproduction import reproduce
from discernus.sessions import layout
from discernus.sessions.chronologs.chronolog import read_events
from discernus.sessions.integrity.findings import Finding
from discernus.sessions.integrity.manifests import names_in
from discernus.sessions.integrity.seals import read_seal, versions_sealed
from discernus.sessions.integrity.verification import verify
from discernus.sessions.layout import Call
from discernus.sessions.opening import find_session, open_session
from discernus.sessions.owners import Onlooker
from discernus.sessions.resuming import conflicts
from discernus.sessions.session import Session, SessionUnreadable
from discernus.sessions.settings_snapshot import read_snapshot
from discernus.stages.calculation import calculate
from discernus.stages.checkpoints import go_back
from discernus.stages.reading import read_answer
from discernus.stages.sealing import seal
from discernus.stages.synthesis import synthesise
from starter import app
from tests.running import REPOSITORY
from tests.studies import Study

OLDER = REPOSITORY / "tests/data/sessions/before_chronologs/projects"
EXPERIMENT = "study/experiments/pledges"
FINISHED, UNFINISHED = "session_20261120_182853", "session_20261120_182934"


@pytest.fixture
def projects(tmp_path: Path) -> Path:
    """Return a copy of the earlier version's projects folder, which may be changed."""
    return Path(shutil.copytree(OLDER, tmp_path / "projects"))


def session(projects: Path, name: str) -> Session:
    return Session(projects / EXPERIMENT / "sessions" / name)


def contents(folder: Path, beginning: str = "") -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in names_in(folder) if name.startswith(beginning)}


def rows(session: Session) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(session.store.get(layout.RESULTS).decode("utf-8-sig"))))


def told(projects: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, [*arguments, "--projects-dir", str(projects)])


def said(projects: Path, *arguments: str) -> str:
    """Return what a command says that has nothing to find fault with."""
    done = told(projects, *arguments)
    assert done.exit_code == 0, done.output
    return done.output


def change(session: Session, name: str, how: Callable[[bytes], bytes]) -> None:
    data = session.store.get(name)
    assert how(data) != data
    session.store.put(name, how(data))


def make_anew(session: Session) -> None:
    """Read every answer again, then calculate, report and seal."""
    go_back(session, "extraction")
    for number in range(1, session.facts.analyses + 1):
        read_answer(session, number, 0, final=True)
    calculate(session)
    synthesise(session)
    seal(session)


# what was written is read


def test_its_sessions_are_listed_with_how_they_stand(projects: Path) -> None:
    standings = [json.loads(line) for line in said(projects, "status", "--json").splitlines()]
    assert [(one["session"].rpartition("/")[2], one["stage"], one["done"]) for one in standings] == [
        (FINISHED, "sealed", 4),
        (UNFINISHED, "analysis", 1),
    ]
    assert [one["in_doubt"] + one["in_flight"] for one in standings] == [0, 1]


def test_what_its_models_wrote_is_found_and_shown(projects: Path) -> None:
    hits = [json.loads(line) for line in said(projects, "answers", "search", "ferry", "--json").splitlines()]
    found = {(hit["session"].rpartition("/")[2], hit["call"]) for hit in hits if "call" in hit}
    assert found == {(FINISHED, "001"), (FINISHED, "003"), (UNFINISHED, "001")}
    assert "The ferry landing leaks" in said(projects, "answers", "show", FINISHED, "1")


def test_a_stage_of_which_it_kept_no_checkpoint_is_not_called_incomplete(projects: Path) -> None:
    lines = said(projects, "checkpoints", FINISHED).splitlines()
    assert [line.split()[:3] for line in lines if line.startswith("  extraction")] == [
        ["extraction", "not", "recorded"]
    ]
    assert not any("not complete" in line for line in lines)


def test_looking_at_a_session_leaves_it_as_it_was(projects: Path) -> None:
    before = contents(projects / EXPERIMENT)
    for name in (FINISHED, UNFINISHED):
        verify(session(projects, name).folder)
        said(projects, "checkpoints", name)
        said(projects, "resume", name, "--dry-run")
        said(projects, "answers", "show", name, "1")
    said(projects, "status")
    assert contents(projects / EXPERIMENT) == before


# what it did not record is not held against it


def test_a_sealed_one_is_intact_and_what_its_seal_left_out_is_said(projects: Path) -> None:
    found = verify(session(projects, FINISHED).folder)
    assert (found.state, found.version, found.findings) == ("sealed", 1, ())
    uncovered = " ".join(f"{one.what}: {one.why}" for one in found.uncovered)
    assert "logs" in uncovered
    assert "kept no chronolog" in uncovered


def test_an_unfinished_one_is_under_way_and_nothing_is_wrong_with_it(projects: Path) -> None:
    found = verify(session(projects, UNFINISHED).folder)
    assert (found.state, found.version, found.findings) == ("under_way", None, ())


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        (Call(1).response, "altered"),
        (Call(3).metadata, "altered"),
        (layout.extracted(2), "altered"),
        (layout.RESULTS, "altered"),
        ("corpus/mill.txt", "altered"),
        (layout.SESSION, "altered"),
    ],
)
def test_what_was_changed_since_its_seal_is_found(projects: Path, name: str, kind: str) -> None:
    old = session(projects, FINISHED)
    change(old, name, lambda data: data + b" ")
    assert [(one.file, one.kind) for one in verify(old.folder).findings] == [(name, kind)]


def test_a_file_that_its_seal_never_knew_is_found(projects: Path) -> None:
    old = session(projects, FINISHED)
    old.store.put(Call(5).response, b"made up")
    assert Call(5).response in {one.file for one in verify(old.folder).findings}


def test_nothing_is_known_of_its_settings_and_nothing_stands_against_going_on(projects: Path) -> None:
    old = session(projects, UNFINISHED)
    assert read_snapshot(old.store) is None
    assert conflicts(old, Onlooker(projects / ".discernus/owners")) == ()


# what it left undone is done


def test_its_unfinished_session_is_the_one_that_a_run_goes_on_with(projects: Path) -> None:
    folder = projects / EXPERIMENT
    choice = find_session(projects, folder, read_definition(folder), same_plan=False)
    assert choice is not None
    assert (choice.session.folder.name, choice.state, choice.changes) == (UNFINISHED, "unfinished", ())


def test_an_unfinished_one_goes_on_to_its_end_and_asks_only_what_was_not_answered(tmp_path: Path) -> None:
    study = Study(tmp_path)
    shutil.copytree(OLDER, study.projects_dir, dirs_exist_ok=True)
    old = session(study.projects_dir, UNFINISHED)
    answered = contents(old.folder, f"{layout.ARCHIVE}/")
    del answered[Call(4).request]  # in flight: it is asked once more, in the form of this version
    with study:
        study.run("resume", UNFINISHED)
        output = study.say("verify", UNFINISHED)
    after = contents(old.folder, f"{layout.ARCHIVE}/")
    assert {name: after[name] for name in answered} == answered
    sent = [event.facts for event in read_events(old.folder) if event.event == "call_sent"]
    assert sorted((str(one["call"]), one["attempt"]) for one in sent) == [("003", 2), ("004", 2)]
    assert old.store.exists(Call(3).intent(1))  # perhaps paid for: it stays in doubt
    assert [row["status"] for row in rows(old)] == ["scored"] * 4
    assert "intact" in output
    # the offline method draws by run and text, so it says the same to the same question
    twin = session(study.projects_dir, FINISHED)
    assert [row["urgency_score"] for row in rows(old)] == [row["urgency_score"] for row in rows(twin)]


def test_made_anew_from_its_answers_it_has_the_same_numbers_and_a_second_seal_on_the_first(projects: Path) -> None:
    old = session(projects, FINISHED)
    table, first = rows(old), old.store.get(layout.seal(1))
    answers = contents(old.folder, f"{layout.ARCHIVE}/re")
    make_anew(old)
    assert [{name: row.get(name) for name in was} for was, row in zip(table, rows(old), strict=True)] == table
    assert contents(old.folder, f"{layout.ARCHIVE}/re") == answers
    assert old.store.get(layout.seal(1)) == first
    assert versions_sealed(old.store) == [1, 2]
    second = read_seal(old.store, 2).seal
    assert second is not None
    assert second.previous_seal_sha256 == sha256(first).hexdigest()
    assert second.appended[layout.CHRONOLOG].bytes > 0
    assert old.store.exists(layout.superseded(1, layout.extracted(1)))
    assert verify(old.folder).findings == ()


# what it holds is passed on


def test_another_session_takes_over_its_answers(projects: Path) -> None:
    old, folder = session(projects, FINISHED), projects / EXPERIMENT
    definition = read_definition(folder)
    new = open_session(projects, folder, definition, concurrency=4, call_timeout_s=60, mirror=None, extends=old)
    for number in range(1, 5):
        ours, theirs = new.archive.look_up(Call(number)), old.archive.look_up(Call(number))
        assert ours is not None
        assert theirs is not None
        assert (ours[0].reused_from, ours[1]) == (f"{FINISHED}/{Call(number).name}", theirs[1])


def test_an_audit_finds_nothing_against_it(projects: Path) -> None:
    done = told(projects, "audit", FINISHED)
    assert "0 fail" in " ".join(done.output.split())
    assert "There is no chronolog, so nothing shows that none were" in " ".join(done.output.split())


@pytest.mark.parametrize("without_texts", [False, True], ids=["whole", "without its texts"])
def test_its_package_verifies_and_gives_the_same_numbers(projects: Path, tmp_path: Path, without_texts: bool) -> None:
    made = export(session(projects, FINISHED), Wanted(tmp_path / "out", without_texts=without_texts))
    assert verify(made.package).findings == ()
    again = reproduce(made.package)
    assert {table.name: table.differences for table in again.tables if table.differences} == {}
    assert (again.agrees, again.read_again, again.unread) == (True, 4, ())
    tables = {table.name: table for table in again.tables}
    assert tables["report: Dimensions"].cells > 0
    # without its texts, its tables are made by this version, and so have nothing that is new
    assert tables["results.csv"].new == (() if without_texts else ("reused_from",))


# a session of a later version


@pytest.fixture
def later(projects: Path) -> Session:
    """Return the unfinished session as a later version might have written it."""
    found = session(projects, UNFINISHED)
    facts: dict[str, Any] = json.loads(found.store.get(layout.SESSION))
    facts |= {"format": 4, "a_new_fact": True, "versions": {"discernus": "9.9.9"}}
    found.store.put(layout.SESSION, json.dumps(facts).encode())
    return found


REFUSED = f"{UNFINISHED} has format 4, written by Discernus 9.9.9; this version reads up to 3"


@pytest.mark.parametrize(
    "arguments",
    [
        ("resume", UNFINISHED),
        ("resume", UNFINISHED, "--dry-run"),
        ("checkpoints", UNFINISHED),
        ("answers", "show", UNFINISHED, "1"),
        ("export", UNFINISHED),
        ("erase", UNFINISHED, "ferry", "--reason", "by law", "--yes"),
        ("watch", "pledges"),
    ],
    ids=" ".join,
)
def test_a_session_of_a_later_version_is_refused_with_a_sentence(
    projects: Path, later: Session, arguments: tuple[str, ...]
) -> None:
    before = contents(later.folder)
    done = told(projects, *arguments)
    assert isinstance(done.exception, CommandError)
    assert str(done.exception).splitlines() == [REFUSED, "  go on with the version that wrote it, or a later one"]
    assert contents(later.folder) == before


def test_a_run_does_not_open_another_beside_one_of_a_later_version(projects: Path, later: Session) -> None:
    folder = projects / EXPERIMENT
    with pytest.raises(SessionUnreadable, match="has format 4, written by Discernus"):
        find_session(projects, folder, read_definition(folder), same_plan=False)


@pytest.mark.usefixtures("later")
def test_the_others_are_listed_all_the_same(projects: Path) -> None:
    done = told(projects, "status")
    assert done.exit_code == 0
    assert f"{FINISHED}  complete  4/4" in done.stdout
    assert REFUSED in " ".join(done.stderr.split())


def test_nothing_of_it_is_called_altered(later: Session) -> None:
    finding: Finding
    (finding,) = verify(later.folder).findings
    assert (finding.place, finding.kind) == (layout.SESSION, "inconsistent")
    assert "this version reads up to 3; verify it with a later one" in finding.what


def test_a_session_whose_facts_are_damaged_is_refused_with_what_to_do(projects: Path) -> None:
    damaged = session(projects, FINISHED)
    damaged.store.put(layout.SESSION, b'{"format": 3, "project": ')
    done = told(projects, "checkpoints", FINISHED)
    assert isinstance(done.exception, CommandError)
    assert f"{layout.SESSION} cannot be read" in str(done.exception)
    assert "restore system_state/session.json from a copy" in str(done.exception)
