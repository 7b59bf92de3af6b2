"""What is said fits eighty columns; a path or a command in it can be copied in one piece."""

from __future__ import annotations

import json

import pytest

import starter
from cli.display import JsonLines, PlainLines, write
from cli.exits import INVALID, CommandError
from cli.tables import WIDTH, wrapped

NAME = "MVA/experiment_3/session_20261120_101500"
COMMAND = f"starter.py resume {NAME} --from calculation"
LONG = (
    "12 analyses have no answer, and nobody can be asked for one, since which model they were for was not "
    f"recorded; make tables and report of what is there with: {COMMAND}, or open another session"
)


def lines_of(text: str) -> list[str]:
    lines = text.rstrip("\n").split("\n")
    assert max(map(len, lines)) <= WIDTH
    return lines


def test_a_command_is_never_broken_whatever_stands_before_it() -> None:
    for before in range(0, 100, 7):
        lines = lines_of(wrapped(f"{'word ' * (before // 5)}{LONG}"))
        assert any(COMMAND in line for line in lines)


@pytest.mark.parametrize(
    "whole",
    [
        "'/home/somebody/my texts/projects of mine/experiment.md'",
        "/home/somebody/projects/MVA/experiments/experiment_3/experiment.md",
        "starter.py answers show MVA/experiment_3 12",
        "starter.py budget MVA --set USD",
        "starter.py status --projects-dir 'a folder'",
        "`starter.py budget MVA go on with it --set USD`",
        "`a lower max_tokens`",
    ],
)
def test_paths_and_commands_stay_in_one_line(whole: str) -> None:
    for before in range(0, 80, 3):
        said = wrapped(f"{'x' * before} the session's folder isn't here; look at {whole}, and mend what is there")
        assert whole in lines_of(said)[-1] or any(whole in line for line in lines_of(said))


def test_a_path_that_is_longer_than_a_line_has_one_of_its_own() -> None:
    path = "/" + "/".join(["folder"] * 20)
    assert wrapped(f"this cannot be read: {path}; mend it").split("\n")[1].strip() == f"{path};"


def test_a_line_that_only_names_a_place_is_left_as_it_is() -> None:
    line = f"report:  /{'/'.join(['folder'] * 20)}"
    assert wrapped(line) == line


def test_what_fits_is_left_as_it_is_and_what_is_wrapped_stays_so() -> None:
    listed = "several are meant:\n  - one\n  - two,  with two spaces"
    assert wrapped(listed) == listed
    assert wrapped(wrapped(LONG)) == wrapped(LONG)
    assert wrapped(f"  - {LONG}").split("\n")[1].startswith("    ")


def test_an_error_is_wrapped_for_people_and_one_line_for_programs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def failing(*_: object, **__: object) -> None:
        raise CommandError(f"error: {LONG}\nerror: {LONG}", INVALID)

    monkeypatch.setattr(starter, "app", failing)
    assert starter._exit_code(["run", "speeches", "--json"]) == INVALID
    streams = capsys.readouterr()
    assert sum(line.startswith("error: ") for line in lines_of(streams.err)) == 2
    (told,) = streams.out.splitlines()
    assert json.loads(told)["error"] == f"error: {LONG}\nerror: {LONG}"


def test_what_a_display_says_is_wrapped_and_one_line_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    PlainLines().say(LONG)
    assert len(lines_of(capsys.readouterr().out)) > 1
    JsonLines().say(LONG)
    (told,) = capsys.readouterr().out.splitlines()
    assert json.loads(told)["text"] == LONG
    write(LONG, error=True)
    assert len(lines_of(capsys.readouterr().err)) > 1
