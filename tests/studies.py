"""A study as a researcher has it: an experiment, the vendors that answer it, and the commands that tell of it."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from html import unescape
from pathlib import Path
from typing import Any, Self

from benchmarks.make_experiment import make_experiment
from tests.fake_vendor import Entry, FakeVendor
from tests.running import PATIENCE_S, REPOSITORY, Starter, ended, environment, session_folder

COMPLETE, INVALID, PARTIAL, PAUSED = 0, 2, 3, 5
COMMANDS_AT_MOST = 6  # until a session that pauses comes to its end
UNREADABLE = frozenset({"malformed", "empty"})  # faults that leave a reply, which is paid for, without any count in it
WITHHELD = frozenset({"content_filter", "safety", "declined"})  # and those that leave it without a text

Rows = list[dict[str, str]]


class Study:
    """An experiment and the fake vendors that it asks, in a folder of their own; as a context manager, at work.

    ``made`` are arguments of ``make_experiment``, without which there is no experiment here; ``rules`` is what
    models.yaml says, ``vendor`` the vendors' settings, ``variables`` of the environment. What it left can be read after
    its end.
    """

    def __init__(
        self,
        folder: Path,
        *,
        vendor: dict[str, Any] | None = None,
        rules: dict[str, Any] | None = None,
        variables: dict[str, str] | None = None,
        **made: Any,
    ) -> None:
        self.folder = folder
        self.projects_dir = folder / "projects"
        self.vendor = FakeVendor(folder / "vendor", **(vendor or {}))
        self.variables = dict(variables or {})
        self.projects_dir.mkdir()
        if made:
            make_experiment(self.projects_dir, words=60, **made)
        if rules is not None:
            self.rule(rules)

    def __enter__(self) -> Self:
        self._ended = ended(self.folder)
        self._ended.__enter__()
        self.vendor.start()
        return self

    def __exit__(self, *error: Any) -> None:
        self._ended.__exit__(*error)
        self.vendor.stop()

    @property
    def session(self) -> Path:
        return session_folder(self.projects_dir)

    def rule(self, rules: dict[str, Any]) -> None:
        """Let models.yaml say this from now on."""
        (self.projects_dir / "models.yaml").write_text(json.dumps(rules))  # JSON is YAML

    def start(self, *arguments: str) -> Starter:
        return Starter(self.projects_dir, *arguments, env=self._environment())

    def run(self, *arguments: str, code: int = COMPLETE) -> Starter:
        """Run a session to its end, which has to be the exit code that is expected."""
        starter = self.start(*arguments)
        assert starter.wait(2 * PATIENCE_S) == code, starter.output
        return starter

    def run_to_its_end(self, *arguments: str) -> list[Starter]:
        """Give the command again as long as the session pauses; return every run of it."""
        runs: list[Starter] = []
        while not runs or runs[-1].code == PAUSED:
            assert len(runs) < COMMANDS_AT_MOST, runs[-1].output
            runs.append(self.start(*arguments))
            runs[-1].wait(2 * PATIENCE_S)
        assert runs[-1].code in (COMPLETE, PARTIAL), runs[-1].output
        return runs

    def say(self, *arguments: str) -> str:
        """Return what a command says that looks at things."""
        done = subprocess.run(
            [sys.executable, str(REPOSITORY / "starter.py"), *arguments, "--projects-dir", str(self.projects_dir)],
            cwd=REPOSITORY,
            env=self._environment(),
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=PATIENCE_S,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
        return done.stdout

    def tell(self, *arguments: str) -> list[dict[str, Any]]:
        """Return what a command tells programs, a mapping for each of its lines."""
        return [json.loads(line) for line in self.say(*arguments).splitlines()]

    def rows(self, session: Path | None = None) -> Rows:
        """Return results.csv."""
        with ((session or self.session) / "deliverables/results.csv").open(newline="") as file:
            return list(csv.DictReader(file))

    def report(self, section: str | None = None) -> str:
        """Return the final report, or that section of it, as it reads."""
        whole = unescape((self.session / "deliverables/final_report.md").read_text())
        return whole if section is None else whole.partition(f"\n## {section}\n")[2].partition("\n## ")[0]

    def wire(self, model: str | None = None, event: str | None = None) -> list[Entry]:
        """Return what happened on the wire, at one model (vendor/model) or all, of one kind or any."""
        return [
            entry
            for entry in self.vendor.journal()
            if model in (None, f"{entry.vendor}/{entry.model}") and event in (None, entry.event)
        ]

    def _environment(self) -> dict[str, str]:
        vendor = self.vendor if self.vendor.base_url else None
        return environment(self.projects_dir, vendor, COLUMNS="80", **self.variables)


def unnamed_gaps(study: Study) -> list[str]:
    """Return the gaps that results.csv or the report leaves without a reason."""
    told, found = study.report("Gaps").splitlines(), []
    for row in study.rows():
        missing = [name.removesuffix("_score") for name in row if name.endswith("_score") and not row[name]]
        if row["status"] == "parked":
            place = f"{row['analysis']} ({row['document']}, run {row['run']})"
            if not row["reason"] or not any(place in line and "no reason was" not in line for line in told):
                found.append(f"{place}: {row['reason']!r}")
        elif row["status"] not in ("scored", "partial"):
            found.append(f"{row['analysis']} is {row['status']}")
        else:
            for name in missing:
                lines = [line for line in told if line.startswith(f"- **{name}**") and row["document"] in line]
                if name not in row["reason"] or not lines:
                    found.append(f"{name} of {row['analysis']}: {row['reason']!r}, {lines}")
    return found


def answered_twice(study: Study) -> list[str | None]:
    """Return the calls, by their keys, that a vendor gave more than one answer that could be used."""
    useless = UNREADABLE | WITHHELD
    keys = [entry.idempotency_key for entry in study.wire(event="answer") if entry.fault not in useless]
    return sorted({key for key in keys if keys.count(key) > 1}, key=str)
