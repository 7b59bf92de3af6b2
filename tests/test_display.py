"""The live panel of a run in a terminal."""

from __future__ import annotations

import io
import os
import pty
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from cli.display import Panel
from discernus.sessions.progress import Latest, Standing
from tests.command_line import STARTER, projects
from tests.running import REPOSITORY, environment

__all__ = ["projects"]


def test_a_terminal_shows_a_live_panel_and_is_left_as_it_was_found(projects: Path) -> None:
    master, slave = pty.openpty()
    env = environment(projects, TERM="xterm-256color", COLUMNS="80", LINES="30", DISCERNUS_OFFLINE_DELAY_S="0.5")
    process = subprocess.Popen(
        [sys.executable, STARTER, "speeches", "--concurrency", "2"],
        cwd=REPOSITORY,
        env=env,
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
    )
    os.close(slave)
    shown = b""
    while True:
        try:
            piece = os.read(master, 65536)
        except OSError:
            break
        if not piece:
            break
        shown += piece
    os.close(master)
    text = shown.decode()
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)
    assert process.wait(60) == 0, text
    assert "getting ready to call models" in text
    assert "nr  document      run urgen patie" in plain
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l"), "the cursor is back"
    assert "complete: " in text[text.rindex("\x1b[?25h") :]


STANDING = Standing(
    stage="analysis",
    status="running",
    reason="",
    planned=120_000,
    done=99_999,
    parked=12,
    in_flight=64,
    in_doubt=3,
    cost_usd=1234.5,
    unpriced=7,
    calls=1000,
    waiting_for="",
    last_failure="",
    dimensions=tuple(f"dimension_{number}" for number in range(14)),
    latest=(
        Latest(1, "a-document-with-a-very-long-name-2026-11-20", "vertex_ai/gemini-2.5-pro-preview", 1, (0.5,) * 14),
        Latest(99_999, "b", "openai/gpt-4o", 12, (None, -0.25, *(1.0,) * 12)),
    ),
)


def drawn(standing: Standing, width: int = 80) -> list[str]:
    """Return the panel's lines as a terminal of that width shows them."""
    console = Console(width=width, file=io.StringIO(), force_terminal=True, color_system=None)
    with console.capture() as captured:
        console.print(Panel(console).render(standing))
    return captured.get().splitlines()


@pytest.mark.parametrize("width", [40, 80, 200])
def test_the_panel_fits_its_terminal_whatever_the_names(width: int) -> None:
    lines = drawn(STANDING, width)
    assert max(map(len, lines)) <= width
    table = lines[next(place for place, line in enumerate(lines) if line.startswith("nr")) :]
    assert len(table) == 3, "a row for each of the latest scores"
    assert table[2].split()[0] == "99999"


def test_the_panel_says_what_is_waited_for_and_why_it_is_paused() -> None:
    limit = "openai/scribe: the rate limit is reached (tried again by 14:03:22)"
    assert f"waiting: {limit}" in drawn(replace(STANDING, waiting_for=limit))
    assert "paused: the quota is used up" in drawn(replace(STANDING, status="paused", reason="the quota is used up"))
    assert "– -0.25  1.00" in "\n".join(drawn(STANDING))
