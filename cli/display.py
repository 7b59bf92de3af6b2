"""What a running session looks like: a live panel on a terminal, plain lines in a pipe, JSON lines for programs."""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import asdict
from datetime import timedelta
from typing import Any, Protocol, TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from cli.tables import wrapped
from discernus.sessions.progress import Latest, Standing

PLAIN_INTERVAL_S = 10.0  # a pipe gets a line this often while something changes, and one for each new stage
PLAIN_SIGN_OF_LIFE_S = 60.0  # and one this often while nothing does
SHOWN_SCORES = 6
LONGEST_NAME = 18  # characters of a document's or model's name in the table
NARROWEST_SCORE = 5  # "-0.35"
LONGEST_REASON = 240  # characters of a failure on the panel; the whole stands in the archive


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

    def close(self) -> None:
        """Leave the terminal as it was found."""
        ...


def make_display(*, as_json: bool) -> Display:
    """Return the display that suits where the output goes."""
    if as_json:
        return JsonLines()
    console = Console(highlight=False)
    return Panel(console) if console.is_terminal else PlainLines()


def write(text: str, *, error: bool = False) -> None:
    """Print a line, an error in lines of 80 columns. Once nobody reads any more (``| head -1``), raise BrokenPipeError,
    and be silent from then on."""
    stream = sys.stderr if error else sys.stdout
    try:
        print(wrapped(text) if error else text, file=stream, flush=True)
    except BrokenPipeError:
        silence(stream)
        raise


def silence(stream: TextIO) -> None:
    """Let all further output to the stream go nowhere, without an error."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def counted(number: int, noun: str) -> str:
    """Return ``1 model``, ``2 models``, ``2 analyses``."""
    if number == 1:
        return f"1 {noun}"
    return f"{number} {noun[:-2]}es" if noun.endswith("sis") else f"{number} {noun}s"


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
    unpriced = f" + {counted(standing.unpriced, 'call')} of unknown price" if standing.unpriced else ""
    return f"{standing.cost_usd:.4f} USD{unpriced}"


def shortened(reason: str) -> str:
    """Return a failure's message at a length that can be taken in at a glance, without a library's traceback."""
    told, traceback, rest = reason.partition("Traceback (most recent call last)")
    if traceback:
        reason = told.strip() or rest.strip().splitlines()[-1]
    return reason if len(reason) <= LONGEST_REASON else f"{reason[:LONGEST_REASON]}…"


class PlainLines:
    """Lines without colour, for pipes and logs."""

    def __init__(self) -> None:
        self._pace = Pace()
        self._shown_at = 0.0
        self._shown: tuple[str, int, int, str] | None = None
        self._limits: tuple[str, ...] = ()
        self._failure = ""
        self._failure_at = float("-inf")

    def say(self, text: str, *, error: bool = False) -> None:
        write(wrapped(text), error=error)

    def show(self, standing: Standing) -> None:
        left = self._pace.seconds_left(standing)
        state = (standing.stage, standing.done, standing.parked, standing.status)
        if self._is_due(state):
            self._shown, self._shown_at = state, time.monotonic()
            self.say(sentence(standing, left))
        if standing.limits != self._limits:
            self._limits = standing.limits
            for limit in standing.limits:
                self.say(f"limit: {limit}")
        kind = "waiting" if standing.waiting_for else "parked"
        failure = standing.waiting_for or (standing.last_failure if standing.parked else "")
        if failure and failure != self._failure and time.monotonic() - self._failure_at >= PLAIN_INTERVAL_S:
            self._failure, self._failure_at = failure, time.monotonic()
            self.say(f"{kind}: {shortened(failure)}")

    def end(self, summary: dict[str, Any]) -> None:
        for line in summary["lines"]:
            self.say(line)

    def close(self) -> None:
        sys.stdout.flush()

    def _is_due(self, state: tuple[str, int, int, str]) -> bool:
        if self._shown is None or (state[0], state[3]) != (self._shown[0], self._shown[3]):
            return True
        passed = time.monotonic() - self._shown_at
        return passed >= (PLAIN_INTERVAL_S if state != self._shown else PLAIN_SIGN_OF_LIFE_S)


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

    def close(self) -> None:
        sys.stdout.flush()

    def _write(self, record: dict[str, Any]) -> None:
        write(json.dumps(record, ensure_ascii=False))


class Panel:
    """A live panel that is redrawn in place; what is said stands above it."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._pace = Pace()
        self._live: Live | None = None
        self._began = time.monotonic()

    def say(self, text: str, *, error: bool = False) -> None:
        for line in wrapped(text, self._console.width).splitlines():
            self._console.print(Text(line, style="red" if error else ""), soft_wrap=True)

    def show(self, standing: Standing) -> None:
        if self._live is None:
            self._live = Live(console=self._console, auto_refresh=False, transient=True)
            self._live.start()
        self._live.update(self.render(standing), refresh=True)

    def end(self, summary: dict[str, Any]) -> None:
        self.close()
        for line in summary["lines"]:
            self.say(line)

    def close(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def render(self, standing: Standing) -> Group:
        """Return the panel's lines."""
        left = self._pace.seconds_left(standing)
        bar = Table.grid(padding=(0, 1))
        elapsed = str(timedelta(seconds=int(time.monotonic() - self._began)))
        settled = standing.done + standing.parked
        width = min(60, self._console.width - len(elapsed) - 2)
        bar.add_row(ProgressBar(total=max(standing.planned, 1), completed=settled, width=width), elapsed)
        rows: list[Any] = [bar, Text(sentence(standing, left))]
        rows += [Text(f"limit: {limit}", style="dim") for limit in standing.limits]
        if standing.status == "paused":
            rows.append(Text(f"paused: {shortened(standing.reason)}", style="yellow"))
        elif standing.waiting_for:
            rows.append(Text(f"waiting: {shortened(standing.waiting_for)}", style="yellow"))
        elif standing.parked and standing.last_failure:
            rows.append(Text(f"parked: {shortened(standing.last_failure)}", style="yellow"))
        elif not standing.calls and not standing.in_flight and standing.stage == "analysis":
            rows.append(Text("getting ready to call models; this takes a few seconds", style="dim"))
        if standing.latest:
            rows.append(self._scores(standing))
        return Group(*rows)

    def _scores(self, standing: Standing) -> Table:
        """Return the latest scores, a column for each dimension that the terminal has room for."""
        latest = standing.latest[-SHOWN_SCORES:]
        several_models = len({one.model for one in standing.latest}) > 1
        names = [(one.document, *([_short_model(one.model)] if several_models else [])) for one in latest]
        longest = min(LONGEST_NAME, self._console.width // 5)
        named = [min(longest, max(map(len, column))) for column in zip(*names, strict=True)]
        number = max(3, *(len(str(one.number)) for one in latest))
        taken = number + 1 + sum(width + 1 for width in named) + len("run") + 1
        room = max(0, self._console.width - taken) // (NARROWEST_SCORE + 1)
        shown = standing.dimensions[:room]
        table = Table(box=None, padding=(0, 1, 0, 0), header_style="dim", pad_edge=False)
        table.add_column("nr", width=number)
        for heading, width in zip(("document", "model"), named, strict=False):
            table.add_column(heading, width=width, overflow="ellipsis", no_wrap=True)
        table.add_column("run", width=3)
        for dimension in shown:
            table.add_column(dimension[:NARROWEST_SCORE], width=NARROWEST_SCORE, justify="right", no_wrap=True)
        for one, cells in zip(latest, names, strict=True):
            table.add_row(f"{one.number:03d}", *cells, str(one.run), *_score_cells(one, len(shown)))
        return table


def _score_cells(one: Latest, number: int) -> list[str]:
    return ["–" if score is None else f"{score:.2f}" for score in one.scores[:number]]


def _short_model(model: str) -> str:
    return model.rpartition("/")[2]
