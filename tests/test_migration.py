"""Older layouts become sessions of today: nothing that was paid for is lost, nothing is made up, nothing is changed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from discernus.migration import writing
from discernus.migration.migrate import NotMigratable, migrate
from discernus.sessions.integrity.verification import verify
from tests import old_layouts
from tests.migrations import Old, contents
from tests.old_layouts import write

LAYOUTS = (old_layouts.numbered, old_layouts.conversation, old_layouts.chronolog, old_layouts.definitions_only)


# what tells of the time at which a session was migrated, or hangs on what does
TIMED = ("SESSION_CHRONOLOG", "system_state/", "deliverables/final_report.md", "PROJECT_CHRONOLOG")


@pytest.fixture
def old(tmp_path: Path) -> Old:
    return Old(tmp_path)


@pytest.mark.parametrize("make", LAYOUTS)
def test_the_source_is_not_changed_by_a_byte_a_name_or_a_time(old: Old, make: Callable[[Path], None]) -> None:
    make(old.root)
    before = contents(old.root)
    old.migrate()
    assert contents(old.root) == before


@pytest.mark.parametrize("make", LAYOUTS)
def test_a_second_migration_changes_nothing(old: Old, make: Callable[[Path], None]) -> None:
    make(old.root)
    first = old.migrate()
    before = contents(old.projects)
    second = old.migrate()
    assert contents(old.projects) == before
    assert second.sessions == first.sessions
    assert second.balanced


@pytest.mark.parametrize("make", LAYOUTS)
def test_what_went_in_comes_out_or_is_listed(old: Old, make: Callable[[Path], None]) -> None:
    make(old.root)
    account = old.migrate()
    assert account.balanced, account.refused
    for name, place in account.verbatim.items():
        kept = old.projects / "weather_today" / place
        assert kept.read_bytes() == (old.root / name).read_bytes()
    written = json.loads((old.projects / "weather_today/migration/old_weather/report.json").read_text())
    assert written["balanced"] is True
    assert written["counts"]["files"] == sum(path.is_file() and not path.is_symlink() for path in old.root.rglob("*"))


@pytest.mark.parametrize("make", LAYOUTS)
def test_a_dry_run_says_the_same_and_writes_nothing(old: Old, make: Callable[[Path], None]) -> None:
    make(old.root)
    foreseen = old.migrate(dry_run=True)
    assert list(old.projects.iterdir()) == []
    done = old.migrate()
    assert foreseen.remarks == done.remarks
    assert foreseen.verbatim == done.verbatim
    assert [(one.name, one.planned, one.analyses, one.others, one.failures) for one in foreseen.sessions] == [
        (one.name, one.planned, one.analyses, one.others, one.failures) for one in done.sessions
    ]


@pytest.mark.parametrize("cut_at", [3, 9, 17, 24])
def test_a_migration_that_was_cut_off_and_repeated_gives_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cut_at: int
) -> None:
    (tmp_path / "whole").mkdir()
    (tmp_path / "cut").mkdir()
    whole, cut = Old(tmp_path / "whole"), Old(tmp_path / "cut")
    for one in (whole, cut):
        old_layouts.conversation(one.root)
    whole.migrate()
    put, count = writing._put, iter(range(10_000))

    def failing(*arguments: Any) -> None:
        if next(count) == cut_at:
            raise KeyboardInterrupt
        put(*arguments)

    monkeypatch.setattr(writing, "_put", failing)
    with pytest.raises(KeyboardInterrupt):
        cut.migrate()
    monkeypatch.setattr(writing, "_put", put)
    cut.migrate()
    assert lasting(cut.projects) == lasting(whole.projects)


def test_a_migration_that_was_cut_off_while_it_read_answers_goes_on(old: Old, monkeypatch: pytest.MonkeyPatch) -> None:
    old_layouts.numbered(old.root)

    def failing(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(writing, "synthesise", failing)
    with pytest.raises(KeyboardInterrupt):
        old.migrate()
    monkeypatch.undo()
    assert old.migrate().balanced
    session = old.session("session_20250722_092412")
    assert session.noted_status()[0] == "complete"
    assert not verify(session.folder).findings


def lasting(projects: Path) -> dict[str, bytes | str]:
    """Return what does not tell of the time at which a migration took place."""
    found = {name: data for name, (data, _, _) in contents(projects / "weather_today").items()}
    return {name: data for name, data in found.items() if not any(part in name for part in TIMED)}


def test_what_git_keeps_for_itself_is_left_where_it_is(old: Old) -> None:
    old_layouts.definitions_only(old.root)
    write(old.root, {".git/objects/ab/cdef": b"\x00", "corpus/.gitkeep": ""})
    account = old.migrate()
    assert [str(remark.place) for remark in account.remarks if "Git" in remark.reason] == [".git"]
    assert not any(name.startswith(".git/") for name in account.verbatim)


def test_a_source_that_has_changed_since_is_refused_and_nothing_overwritten(old: Old) -> None:
    old_layouts.numbered(old.root, answered=3)
    old.migrate()
    before = contents(old.projects / "weather_today/experiments")
    old_layouts.numbered(old.root, answered=4)
    account = old.migrate()
    assert not account.balanced
    assert "another state" in account.refused[0]
    assert contents(old.projects / "weather_today/experiments") == before


def test_an_experiment_of_somebody_else_is_not_written_into(old: Old) -> None:
    old_layouts.definitions_only(old.root)
    write(old.projects / "weather_today/experiments/old_weather", {"experiment.md": "---\nformat: 1\n---\n"})
    (old.projects / "weather_today/migration").mkdir()
    with pytest.raises(NotMigratable, match="another project"):
        old.migrate()


@pytest.mark.parametrize("dry_run", [False, True])
def test_a_project_that_was_never_migrated_to_is_refused_and_not_touched(old: Old, dry_run: bool) -> None:
    old_layouts.definitions_only(old.root)
    write(old.projects / "weather_today/experiments/mine", {"experiment.md": "---\nformat: 1\n---\n"})
    before = contents(old.projects)
    with pytest.raises(NotMigratable, match="never migrated to"):
        old.migrate(dry_run=dry_run)
    assert contents(old.projects) == before


def test_a_second_source_goes_into_a_project_of_an_earlier_migration(old: Old, tmp_path: Path) -> None:
    old_layouts.definitions_only(old.root)
    old.migrate()
    other = tmp_path / "old_climate"
    old_layouts.definitions_only(other)
    assert migrate(other, old.projects, "weather_today").balanced
    assert {path.name for path in (old.projects / "weather_today/experiments").iterdir()} == {
        "old_weather",
        "old_climate",
    }


def test_what_the_author_changed_afterwards_stays(old: Old) -> None:
    old_layouts.definitions_only(old.root)
    old.migrate()
    file = old.projects / "weather_today/experiments/old_weather/experiment.md"
    file.write_text(file.read_text().replace("openai/gpt-4o", "openai/gpt-5"))
    account = old.migrate()
    assert "openai/gpt-5" in file.read_text()
    assert "kept" in {remark.what for remark in account.remarks}


def test_a_folder_inside_of_the_project_is_refused(old: Old) -> None:
    inside = old.projects / "weather_today/old"
    inside.mkdir(parents=True)
    with pytest.raises(NotMigratable, match="lie in one another"):
        migrate(inside, old.projects, "weather_today")


def test_other_bytes_in_the_way_are_not_overwritten(old: Old) -> None:
    old_layouts.numbered(old.root)
    session = old.projects / "weather_today/experiments/weather/sessions/session_20250722_092412"
    write(session, {"llm_archive/response_001.txt": "something else"})
    (old.projects / "weather_today/migration").mkdir()
    account = old.migrate()
    assert "not as this source has it" in account.refused[0]
    assert (session / "llm_archive/response_001.txt").read_text() == "something else"
