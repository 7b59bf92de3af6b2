"""What a running session looks like: a live panel on a terminal, plain lines in a pipe, JSON lines for programs."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict
from datetime import timedelta
from typing import Any, Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from discernus.sessions.progress import Standing

PLAIN_INTERVAL_S = 10.0  # a pipe gets a line this often while something changes, and one for each new stage
SHOWN_SCORES = 6


class Display(Protocol):
    """Something that shows a session's progress and what is said about it."""

    def say(self, text: str, *, error: bool = False) -> None:
        """Show one message."""
        ...

    def show(self, standing: Standing) -> None:
        """Show where the session stands."""
        ...

    def end(self, summary: dict[str, Any]) -> None:
        """Show how it ended."""
        ...


def make_display(*, as_json: bool) -> Display:
    """Return the display that suits where the output goes."""
    if as_json:
        return JsonLines()
    console = Console(highlight=False)
    return Panel(console) if console.is_terminal else PlainLines()


class Pace:
    """How fast analyses are finished since this command began, and what that means for the rest."""

    def __init__(self) -> None:
        self._began: tuple[float, int] | None = None

    def seconds_left(self, standing: Standing) -> float | None:
        """Return the seconds until the last analysis is done at this pace, None if that cannot be said yet."""
        now = time.monotonic()
        if self._began is None:
            self._began = (now, standing.done)
        began, done_then = self._began
        fresh = standing.done - done_then
        remaining = standing.planned - standing.done - standing.parked
        if standing.stage != "analysis" or fresh < 3 or remaining <= 0:
            return None
        return (now - began) / fresh * remaining


def sentence(standing: Standing, left: float | None) -> str:
    """Return the counts in one line."""
    parts = [f"{standing.stage}: {standing.done}/{standing.planned} analyses"]
    if standing.parked:
        parts.append(f"{standing.parked} parked")
    if standing.in_flight:
        parts.append(f"{standing.in_flight} in flight")
    if standing.in_doubt:
        parts.append(f"{standing.in_doubt} in doubt")
    parts.append(cost(standing))
    if left is not None:
        parts.append(f"about {timedelta(seconds=round(left))} left")
    return ", ".join(parts)


def cost(standing: Standing) -> str:
    """Return the cost so far in words; calls without a known price are named, never counted as free."""
    unpriced = f" + {standing.unpriced} calls of unknown price" if standing.unpriced else ""
    return f"{standing.cost_usd:.4f} USD{unpriced}"


class PlainLines:
    """Lines without colour, for pipes and logs."""

    def __init__(self) -> None:
        self._pace = Pace()
        self._shown_at = 0.0
        self._shown: tuple[str, int, int, str] | None = None
        self._waiting = ""

    def say(self, text: str, *, error: bool = False) -> None:
        print(text, file=sys.stderr if error else sys.stdout, flush=True)

    def show(self, standing: Standing) -> None:
        left = self._pace.seconds_left(standing)
        state = (standing.stage, standing.done, standing.parked, standing.status)
        if self._shown is not None and state == self._shown:
            return
        new_stage = self._shown is None or state[0] != self._shown[0] or state[3] != self._shown[3]
        if not new_stage and time.monotonic() - self._shown_at < PLAIN_INTERVAL_S:
            return
        self._shown, self._shown_at = state, time.monotonic()
        self.say(sentence(standing, left))
        if standing.waiting_for and standing.waiting_for != self._waiting:
            self._waiting = standing.waiting_for
            self.say(f"last failure: {self._waiting}")

    def end(self, summary: dict[str, Any]) -> None:
        for line in summary["lines"]:
            self.say(line)


class JsonLines:
    """One JSON object a line: ``message``, ``progress`` and, last, ``end``."""

    def __init__(self) -> None:
        self._last: dict[str, Any] | None = None

    def say(self, text: str, *, error: bool = False) -> None:
        self._write({"event": "message", "text": text, "error": error})

    def show(self, standing: Standing) -> None:
        data = asdict(standing)
        if data != self._last:
            self._last = data
            self._write({"event": "progress", **data})

    def end(self, summary: dict[str, Any]) -> None:
        self._write({"event": "end", **{name: value for name, value in summary.items() if name != "lines"}})

    def _write(self, record: dict[str, Any]) -> None:
        print(json.dumps(record, ensure_ascii=False), flush=True)  # noqa: T201


class Panel:
    """A live panel that is redrawn in place."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._pace = Pace()
        self._live: Live | None = None

    def say(self, text: str, *, error: bool = False) -> None:
        self._console.print(Text(text, style="red" if error else ""), soft_wrap=True)

    def show(self, standing: Standing) -> None:
        if self._live is None:
            self._live = Live(console=self._console, auto_refresh=False, transient=True)
            self._live.start()
        self._live.update(self._render(standing), refresh=True)

    def end(self, summary: dict[str, Any]) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None
        for line in summary["lines"]:
            self.say(line)

    def _render(self, standing: Standing) -> Group:
        left = self._pace.seconds_left(standing)
        settled = standing.done + standing.parked
        rows: list[Any] = [
            ProgressBar(total=max(standing.planned, 1), completed=settled, width=min(60, self._console.width - 2)),
            Text(sentence(standing, left), overflow="fold"),
        ]
        if standing.status == "paused":
            rows.append(Text(f"paused: {standing.reason}", style="yellow", overflow="fold"))
        elif standing.waiting_for and standing.in_flight == 0 and standing.stage == "analysis":
            rows.append(Text(f"waiting after: {standing.waiting_for}", style="yellow", overflow="fold"))
        if standing.latest:
            rows.append(self._scores(standing))
        return Group(*rows)

    def _scores(self, standing: Standing) -> Table:
        table = Table(box=None, padding=(0, 1), title="latest scores", title_justify="left", title_style="dim")
        for heading in ("analysis", "document", "model", "run", "scores"):
            table.add_column(heading, overflow="ellipsis", no_wrap=True)
        for latest in standing.latest[-SHOWN_SCORES:]:
            scores = " ".join("–" if score is None else f"{score:.2f}" for score in latest.scores)
            table.add_row(
                f"{latest.number:03d}", latest.document, latest.model.rpartition("/")[2], str(latest.run), scores
            )
        return table
