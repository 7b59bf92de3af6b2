"""The product as processes: starters, workers and servers that a test starts, kills and waits for.

Every process is found again by the test's own projects folder, which stands in its command line; ``end_all`` ends what
a test has left. ``ledger`` holds what was seen on the wire against what the session's archive says.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from tests.fake_vendor import Entry, FakeVendor

REPOSITORY = Path(__file__).resolve().parents[1]
HIDDEN = ".discernus"
PATIENCE_S = 120.0  # for anything that is bound to happen; a busy machine may need it
OURS = ("DISCERNUS_", "LLM_", "OPENAI_", "ANTHROPIC_", "GEMINI_", "GOOGLE_", "OLLAMA_", "TEMPORAL_")


def environment(projects_dir: Path, vendor: FakeVendor | None = None, **more: str) -> dict[str, str]:
    """Return our environment without any setting of ours or key of a vendor, then those that are given."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
    keys = vendor.env() if vendor is not None else {}
    return {**clean, "LLM_RETRY_BASE_DELAY": "0.2", "DISCERNUS_PROJECTS_DIR": str(projects_dir), **keys, **more}


class Process:
    """A process of the product in a group of its own, with its output in a file."""

    def __init__(self, name: str, arguments: list[str], projects_dir: Path, env: dict[str, str]) -> None:
        folder = projects_dir.with_name(f"{projects_dir.name}.output")
        folder.mkdir(parents=True, exist_ok=True)
        self.projects_dir = projects_dir
        self._output = folder / f"{name}-{len(list(folder.iterdir())):02d}.txt"
        with self._output.open("wb") as sink:
            self._process = subprocess.Popen(
                [sys.executable, *arguments],
                cwd=REPOSITORY,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def output(self) -> str:
        """What it has said so far, on either stream."""
        return self._output.read_text(encoding="utf-8", errors="replace")

    @property
    def code(self) -> int | None:
        """Its exit code, None while it runs."""
        return self._process.poll()

    def wait(self, timeout_s: float = PATIENCE_S) -> int:
        """Return its exit code; AssertionError with its output if it does not end."""
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it did not end within {timeout_s} s; it said:\n{self.output}") from None

    def kill(self) -> None:
        """``kill -9`` it, and nothing but it."""
        self._process.kill()
        self._process.wait()

    def send(self, number: signal.Signals) -> None:
        """Send a signal to it alone."""
        self._process.send_signal(number)

    def interrupt(self) -> None:
        """Press Ctrl-C: a terminal sends SIGINT to the whole group."""
        os.killpg(self._process.pid, signal.SIGINT)


class Starter(Process):
    """``starter.py ARGUMENTS``, its embedded server's state inside the projects folder."""

    def __init__(self, projects_dir: Path, *arguments: str, env: dict[str, str]) -> None:
        command = [str(REPOSITORY / "starter.py"), *arguments, "--projects-dir", str(projects_dir)]
        super().__init__("starter", command, projects_dir, env)


class Worker(Process):
    """``worker.py --temporal ADDRESS``."""

    def __init__(self, projects_dir: Path, address: str, *arguments: str, env: dict[str, str]) -> None:
        command = [str(REPOSITORY / "worker.py"), "--temporal", address, "--projects-dir", str(projects_dir)]
        super().__init__("worker", [*command, *arguments], projects_dir, env)


class SharedServer:
    """A Temporal server that belongs to no starter, as a fleet of workers would use."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.address = ""

    def __enter__(self) -> SharedServer:
        import asyncio

        from engine.server import EmbeddedServer

        server = EmbeddedServer(self.folder)
        self.address = asyncio.run(server.join()).address
        self._server = server  # its part in the clients' lock is kept until the end
        return self

    def __exit__(self, *_: object) -> None:
        end_all(self.folder)


def processes(folder: Path, *words: str) -> list[psutil.Process]:
    """Return the living processes whose command line names something in that folder, and has all these words."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            line = process.cmdline()
            named = any(word == str(folder) or word.startswith(f"{folder}/") for word in line)
            if named and process.status() != psutil.STATUS_ZOMBIE and all(word in " ".join(line) for word in words):
                found.append(process)
    return found


def process_tree(pid: int) -> list[psutil.Process]:
    """Return a process and all its descendants."""
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]


def callers(projects_dir: Path) -> list[int]:
    """Return the processes that make calls for starters, those whose starter is gone included."""
    return [process.pid for process in processes(projects_dir, "worker.py", "--embedded")]


def server_pid(state_dir: Path) -> int | None:
    """Return the process id of the state folder's Temporal server, None if none lives."""
    found = processes(state_dir, "start-dev")
    return found[0].pid if found else None


def kill_9(*pids: int) -> None:
    """Kill these at once; those that are gone already do not matter."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    psutil.wait_procs([psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)], timeout=PATIENCE_S)


def end_all(projects_dir: Path) -> None:
    """Kill whatever still runs for that folder: what a test calls last."""
    for _ in range(20):  # a caller in its first moments may not be there yet when its starter is killed
        left = [process.pid for process in processes(projects_dir)]
        if not left:
            return
        kill_9(*left)


@contextmanager
def ended(*folders: Path) -> Iterator[None]:
    """Leave no process behind, whatever happens inside."""
    try:
        yield
    finally:
        for folder in folders:
            end_all(folder)


def wait_until(condition: Callable[[], Any], what: str, timeout_s: float = PATIENCE_S) -> Any:
    """Return the condition's first true value; AssertionError naming ``what`` if it does not come."""
    until = time.monotonic() + timeout_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > until:
            raise AssertionError(f"waited {timeout_s} s in vain: {what}")
        time.sleep(0.01)


def session_folders(projects_dir: Path) -> list[Path]:
    """Return every session there is, oldest first."""
    return sorted(path.parents[1] for path in projects_dir.glob("*/experiments/*/sessions/*/system_state/session.json"))


@contextmanager
def played(count: int, scenes: dict[str, Callable[[], Any]]) -> Iterator[dict[str, Future[Any]]]:
    """Play scenes, so many at a time, since a scene is mostly waiting; give what each will have come to."""
    with ThreadPoolExecutor(count) as stage:
        try:
            yield {name: stage.submit(scene) for name, scene in scenes.items()}
        finally:
            stage.shutdown(cancel_futures=True)


def session_folder(projects_dir: Path) -> Path:
    """Return the one session there is, waiting for it to be opened."""
    wait_until(lambda: session_folders(projects_dir), "a session is opened")
    (folder,) = session_folders(projects_dir)
    return folder


def count(folder: Path, pattern: str) -> int:
    """Return how many files match, half-written ones left out."""
    return sum(not path.name.startswith(".tmp-") for path in folder.glob(pattern))


@dataclass(frozen=True)
class Sent:
    """A request on the wire, with the call that its Idempotency-Key names."""

    call: str
    at: datetime
    entry: Entry


@dataclass
class Ledger:
    """The wire against the archive: what was sent for each call, and what each attempt left."""

    analyses: int
    sent: list[Sent]
    answers: dict[str, datetime]  # call → when its answer was archived
    calls: dict[str, dict[str, Any]]  # call → the metadata of its archived answer
    extracted: set[int]
    errors: Counter[str]  # call → archived errors of attempts that were on the wire
    intents: list[dict[str, Any]]
    rivals: list[str]
    billed: Counter[str]  # call → answers that the vendor wrote in full
    problems: list[str] = field(default_factory=list)

    @property
    def requests(self) -> Counter[str]:
        return Counter(one.call for one in self.sent)

    @property
    def in_doubt(self) -> Counter[str]:
        return Counter(intent["call"] for intent in self.intents)

    @property
    def surplus(self) -> Counter[str]:
        """Intents that no request on the wire belongs to."""
        return Counter(
            {
                call: left
                for call in {*self.requests, *self.answers, *self.errors, *self.in_doubt}
                if (left := self._records(call) - self.requests[call]) > 0
            }
        )

    def _records(self, call: str) -> int:
        return (call in self.answers) + self.errors[call] + self.in_doubt[call]

    def check(self, *, killed: dict[int, datetime] | None = None, complete: bool = True) -> Ledger:
        """Raise AssertionError with everything that does not add up.

        ``killed`` tells which processes were killed, and when: only they may have left intents behind.
        """
        killed = killed or {}
        problems = list(self.problems)
        planned = set(range(1, self.analyses + 1))
        if complete and self.extracted != planned:
            problems.append(f"analyses without scores: {sorted(planned - self.extracted)}")
        if complete and (missing := {f"{number:03d}" for number in planned} - set(self.answers)):
            problems.append(f"analyses without an archived answer: {sorted(missing)}")
        if self.rivals:
            problems.append(f"archived twice: {self.rivals}")
        problems += [
            f"call {one.call} was sent again at {one.at}, its answer was archived at {self.answers[one.call]}"
            for one in self.sent
            if one.call in self.answers and one.at > self.answers[one.call]
        ]
        for call, requests in sorted(self.requests.items()):
            if requests > self._records(call):
                problems.append(
                    f"call {call}: {requests} requests on the wire, but {int(call in self.answers)} answer, "
                    f"{self.errors[call]} errors and {self.in_doubt[call]} calls in doubt on record"
                )
        for intent in self.intents:
            pid = int(intent["owner"].rsplit("-", 2)[1])
            if pid not in killed:
                problems.append(f"an intent of a process that was not killed: {intent}")
            elif self.surplus[intent["call"]]:
                before_s = (killed[pid] - datetime.fromisoformat(intent["sent_at"])).total_seconds()
                if before_s > 10:  # from the intent to the wire it takes milliseconds; the first call, a second
                    problems.append(f"an intent {before_s:.1f} s before the kill never led to a request: {intent}")
        problems += [f"call {call} has records for nothing" for call in self.surplus if call not in self.in_doubt]
        assert not problems, "\n".join(problems)
        return self


def ledger(folder: Path, vendor: FakeVendor) -> Ledger:
    """Return the ledger of one session; other sessions' requests are left out."""
    facts = json.loads((folder / "system_state/session.json").read_text())
    name = "/".join((facts["project"], facts["experiment"], facts["session"]))
    archive, problems = folder / "llm_archive", []
    sent, billed = [], Counter[str]()
    for entry in vendor.journal():
        session, call = _call_of(entry)
        if session == name and entry.event == "request":
            sent.append(Sent(call, datetime.fromisoformat(entry.at), entry))
        elif session == name and entry.event == "answer":
            billed[call] += 1
    answers, calls = {}, {}
    for path in sorted(archive.glob("response_*.txt")):
        call = path.stem.removeprefix("response_")
        record = _sidecar(archive, call, path.read_bytes())
        if record is None:
            problems.append(f"{path.name} is not what its metadata says")
            continue
        calls[call], answers[call] = record, datetime.fromisoformat(record["archived_at"])
    failures = [json.loads(path.read_text()) for path in archive.glob("error_*.json")]
    settled = {(call, record["attempt"]) for call, record in calls.items()}
    settled |= {(failure["call"], failure["attempt"]) for failure in failures}
    intents = [json.loads(path.read_text()) for path in sorted((folder / "fault_recovery/intents").glob("[!.]*.json"))]
    intents = [intent for intent in intents if (intent["call"], intent["attempt"]) not in settled]
    seals = sorted((folder / "system_state").glob("seal_*.json"))
    if seals and (said := json.loads(seals[-1].read_text())["in_doubt"]) != len(intents):
        problems.append(f"the seal says that {said} calls are in doubt; there are {len(intents)}")
    numbers = (re.fullmatch(r"extracted_(\d+)", path.stem) for path in (folder / "extracted").glob("extracted_*.json"))
    return Ledger(
        analyses=facts["analyses"],
        sent=sent,
        answers=answers,
        calls=calls,
        extracted={int(number[1]) for number in numbers if number},
        errors=Counter(failure["call"] for failure in failures if failure["sent"]),
        intents=intents,
        rivals=sorted(path.name for path in archive.glob("rival_*")),
        billed=billed,
        problems=problems,
    )


def _sidecar(archive: Path, call: str, answer: bytes) -> dict[str, Any] | None:
    from hashlib import sha256

    paths = [archive / f"metadata_{call}.json", *archive.glob(f"metadata_{call}_try*.json")]
    records: list[dict[str, Any]] = [json.loads(path.read_text()) for path in paths if path.exists()]
    matching = [record for record in records if record["response_sha256"] == sha256(answer).hexdigest()]
    # an attempt that was cut off may have brought the same words; the one that was committed came later
    return max(matching, key=lambda record: int(record["attempt"]), default=None)


def _call_of(entry: Entry) -> tuple[str, str]:
    """Return the session and the call that an Idempotency-Key names: 32 characters, session and call, by dashes."""
    session, _, call = (entry.idempotency_key or "").partition("-")[2].rpartition("-")
    return session, call


def now() -> datetime:
    return datetime.now(UTC)
