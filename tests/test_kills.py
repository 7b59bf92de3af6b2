"""``kill -9`` at many moments of a session, of every process and of all at once; then the same command again.

What counts is what the vendor saw: the wire's journal is held against the archive, and the scores against those of a
session that nothing disturbed.
"""

from __future__ import annotations

import csv
import json
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from random import Random
from uuid import uuid4

import pytest

from benchmarks.make_experiment import make_experiment
from tests.fake_vendor import FakeVendor
from tests.running import (
    HIDDEN,
    PATIENCE_S,
    Ledger,
    SharedServer,
    Starter,
    Worker,
    callers,
    count,
    ended,
    environment,
    kill_9,
    ledger,
    now,
    server_pid,
    session_folder,
    session_folders,
    wait_until,
)

MODEL, SECOND_MODEL = "openai/scribe", "openai/clerk"
LATENCY = {"median": 0.15, "p90": 0.6}
CONCURRENCY = 6
VAGUE = '"grievance_score": {"type": ["number", "null"]}'
CHANGES_WITH_EACH_RUN = ("latency_ms", "answered_at")
FROZEN = ("experiment_snapshot.md", "framework_snapshot.md", "corpus_manifest.json", "corpus", "system_state")
COMMANDS_AT_MOST = 4  # after the last kill, until one ends with 0

Rows = list[dict[str, str]]


def rows(folder: Path) -> Rows:
    """Return results.csv without what differs between two runs that gave the same answers."""
    with (folder / "deliverables/results.csv").open(newline="") as file:
        found = list(csv.DictReader(file))
    assert set(CHANGES_WITH_EACH_RUN) <= set(found[0])
    return [{name: value for name, value in row.items() if name not in CHANGES_WITH_EACH_RUN} for row in found]


def write_experiment(projects_dir: Path, documents: int, *, second_model: bool) -> None:
    """Write an experiment; with a second model, each answer is vague in one score, so that it takes two calls."""
    folder = make_experiment(
        projects_dir,
        models=[MODEL],
        documents=documents,
        runs=2,
        words=60,
        extraction_model=SECOND_MODEL if second_model else None,
        concurrency=CONCURRENCY,
    )
    if second_model:
        framework = (folder / "framework.md").read_text()
        vague = framework.replace('"grievance_score": "number"', VAGUE)
        assert vague != framework
        (folder / "framework.md").write_text(vague)


def freeze_again(folder: Path, projects_dir: Path) -> Path:
    """Copy a session as it was when it was opened: the same name, so the same questions under the same keys."""
    store = folder.parents[4]
    shutil.copytree(folder.parents[1], projects_dir / folder.relative_to(store).parents[1], ignore=_sessions)
    copy = projects_dir / folder.relative_to(store)
    for name in FROZEN[:-1]:
        source = folder / name
        copy.mkdir(parents=True, exist_ok=True)
        shutil.copytree(source, copy / name) if source.is_dir() else shutil.copy(source, copy / name)
    (copy / "system_state").mkdir()
    (projects_dir / HIDDEN).mkdir()
    old = json.loads((store / HIDDEN / "store.json").read_text())["store"]
    new = uuid4().hex[:12]  # a store of its own, so that no worker of another scene serves it
    for name in (folder / "system_state/session.json", store / HIDDEN / "store.json"):
        facts = name.read_text().replace(old, new)
        (projects_dir / name.relative_to(store)).write_text(facts)
    return copy


def _sessions(_: str, names: list[str]) -> list[str]:
    return [name for name in names if name == "sessions"]


@dataclass(frozen=True)
class Undisturbed:
    """A session that nothing disturbed, and the rows it ended with."""

    folder: Path
    rows: Rows


def run_undisturbed(projects_dir: Path) -> Undisturbed:
    with FakeVendor(projects_dir.with_name(f"{projects_dir.name}.vendor")) as vendor, ended(projects_dir):
        starter = Starter(projects_dir, "speeches", env=environment(projects_dir, vendor))
        assert starter.wait(2 * PATIENCE_S) == 0, starter.output
        folder = session_folder(projects_dir)
        assert not ledger(folder, vendor).check().intents
        return Undisturbed(folder, rows(folder))


class Scene:
    """One session that is killed again and again; the command is given again whenever its process is gone."""

    def __init__(
        self, projects_dir: Path, vendor: FakeVendor, *arguments: str, seed: int = 0, **variables: str
    ) -> None:
        self.projects_dir = projects_dir
        self.vendor = vendor
        self.workers: list[Worker] = []
        self.killed: dict[int, datetime] = {}
        self.struck: list[str] = []
        self._random = Random(seed)
        self._arguments = ("speeches", *arguments)
        self._env = environment(projects_dir, vendor, **variables)
        self._before: dict[str, int] = {}
        self.starter = self._start()

    @property
    def folder(self) -> Path:
        return session_folder(self.projects_dir)

    def count(self, pattern: str) -> int:
        return sum(count(folder, pattern) for folder in session_folders(self.projects_dir))

    def grown(self, pattern: str) -> bool:
        """Return whether there are more such files than when this moment was first waited for."""
        return self.count(pattern) > self._before.setdefault(pattern, self.count(pattern))

    def strike(self, moment: Moment) -> None:
        """Wait for the moment, kill whom it names, and give the command again if it was the starter.

        Where the session has come to its end before, nobody is struck.
        """
        self._before.clear()
        known: tuple[float, list[int]] = (0.0, [])
        until = time.monotonic() + PATIENCE_S
        while not (known[1] and moment.come(self)):
            assert time.monotonic() < until, f"waited in vain: {moment.words}\n{self.starter.output}"
            if not self._goes_on():
                return
            if time.monotonic() > known[0]:  # to find them takes longer than the moment lasts
                known = time.monotonic() + 0.5, self._living(moment.whom)
            time.sleep(0.001)
        if moment.within_s:
            time.sleep(self._random.uniform(0, moment.within_s))
            known = 0.0, self._living(moment.whom)
        kill_9(*known[1])
        self.killed |= dict.fromkeys(known[1], now())
        self.struck.append(moment.words)
        if self.starter.pid in known[1]:
            self.starter.kill()
            self._start()

    def finish(self) -> Ledger:
        """Let the command end, giving it again where it stopped short; return the ledger, checked."""
        for _ in range(COMMANDS_AT_MOST):
            if self.starter.wait(2 * PATIENCE_S) == 0:
                return ledger(self.folder, self.vendor).check(killed=self.killed)
            assert self._goes_on()
        raise AssertionError(f"{COMMANDS_AT_MOST} commands did not suffice; the last said:\n{self.starter.output}")

    def add_worker(self, address: str) -> None:
        self.workers.append(Worker(self.projects_dir, address, env=self._env))

    def _start(self) -> Starter:
        self.starter = Starter(self.projects_dir, *self._arguments, env=self._env)
        return self.starter

    def _goes_on(self) -> bool:
        """Return whether the session has not come to its end; a command that a kill has stopped is given again."""
        if self.starter.code is not None and self.starter.code != 0:
            assert self.starter.code == 4, self.starter.output
            self._start()
        return self.starter.code is None

    def _living(self, whom: str) -> list[int]:
        if whom == "starter":
            return [self.starter.pid]
        if whom == "worker":
            alive = [worker for worker in self.workers if worker.code is None]
            return [self._random.choice(alive).pid]
        server = server_pid(self.projects_dir)
        servers = [server] if server is not None else []
        if whom == "server":
            return servers
        return (
            callers(self.projects_dir)
            if whom == "caller"
            else [self.starter.pid, *callers(self.projects_dir), *servers]
        )


@dataclass(frozen=True)
class Moment:
    """When to kill whom; ``within_s`` is the longest of the seeded delay after the moment has come."""

    words: str
    whom: str
    come: Callable[[Scene], bool]
    within_s: float = 0.05


def freezing(scene: Scene) -> bool:
    return any(scene.projects_dir.glob("*/experiments/*/sessions/*/*"))


def opened(scene: Scene) -> bool:
    return bool(session_folders(scene.projects_dir))


def sent(number: int) -> Callable[[Scene], bool]:
    return lambda scene: scene.vendor.stats().get("requests", 0) >= number


def there(pattern: str, number: int = 1) -> Callable[[Scene], bool]:
    return lambda scene: scene.count(pattern) >= number


def more(pattern: str) -> Callable[[Scene], bool]:
    return lambda scene: scene.grown(pattern)


def writing(scene: Scene) -> bool:
    """Whether an answer is being written at this very moment."""
    return any(any(folder.glob("llm_archive/.tmp-*")) for folder in session_folders(scene.projects_dir))


def at_work(scene: Scene) -> bool:
    """Whether the starter has found its server: from here on any stage may be under way."""
    return "Web UI" in scene.starter.output


def at_work_and(come: Callable[[Scene], bool]) -> Callable[[Scene], bool]:
    return lambda scene: at_work(scene) and come(scene)


OPENING = (
    Moment("the first file is frozen", "all", freezing, 0.0),
    Moment("the session is opened", "starter", opened),
    Moment("the first call is claimed", "all", more("fault_recovery/intents/*.json"), 0.01),
    Moment("the first request is on the wire", "starter", sent(1)),
    Moment("the third answer is archived", "all", there("llm_archive/response_*.txt", 3), 0.1),
)
CALLING = (
    Moment("six requests are out", "caller", sent(6)),
    Moment("eight analyses are read", "server", there("extracted/extracted_*.json", 8), 0.2),
    Moment("an answer is being written", "all", writing, 0.0),
    Moment("a second model is asked", "caller", more("fault_recovery/intents/*_extraction_*.json"), 0.0),
    Moment("half of the answers are archived", "all", there("llm_archive/response_*.txt", 24), 0.1),
    Moment("twenty analyses are read", "starter", there("extracted/extracted_*.json", 20), 0.0),
)
ENDING = (
    Moment("an analysis is parked, to be had in one more pass", "server", there("fault_recovery/parked/*.json"), 0.3),
    Moment("all but the last few are read", "all", there("extracted/extracted_*.json", 21), 0.1),
    Moment("the analyses are over", "all", at_work_and(there("system_state/stage_analysis_complete.json")), 0.0),
    Moment("the pages are written", "all", at_work_and(there("analysis_results/*.md")), 0.0),
    Moment("the report is there", "starter", at_work_and(there("deliverables/final_report.md")), 0.0),
    Moment("the seal is there", "all", at_work_and(there("system_state/seal_*.json")), 0.0),
)
ANYWHERE = tuple(
    Moment(f"some time within {within_s} s, {whom}", whom, come, within_s)
    for whom, come, within_s in (
        ("all", at_work, 2.0),
        ("starter", at_work, 3.0),
        ("server", at_work, 3.0),
        ("caller", at_work, 3.0),
        ("all", at_work, 3.0),
    )
)
FLEET = (
    Moment("sixty requests are out", "worker", sent(60), 0.2),
    Moment("seventy analyses are read", "starter", there("extracted/extracted_*.json", 70), 0.2),
    Moment("eighty requests are out", "worker", sent(80), 0.2),
)


def end_as_if_nothing_had_happened(folder: Path) -> list[str]:
    projects_dir, twin = folder / "projects", folder / "twin"
    write_experiment(projects_dir, 12, second_model=True)
    with ended(folder), FakeVendor(folder / "vendor", latency_s=LATENCY) as vendor:
        scene = Scene(projects_dir, vendor)
        for moment in OPENING:
            scene.strike(moment)
        scene.finish()
        freeze_again(scene.folder, twin)
        assert rows(scene.folder) == run_undisturbed(twin).rows
        return scene.struck


def kill_at(
    folder: Path, undisturbed: Callable[[], Undisturbed], moments: tuple[Moment, ...], seed: int, fails_first: int = 0
) -> list[str]:
    """Kill at these moments and return those that struck; ``fails_first`` analyses are had in a second pass only."""
    projects_dir, calm = folder / "projects", undisturbed()
    freeze_again(calm.folder, projects_dir)
    faults = {"sequence": ["status_500"] * fails_first, "purposes": ["analysis"]}
    with ended(folder), FakeVendor(folder / "vendor", latency_s=LATENCY, **faults) as vendor:
        scene = Scene(projects_dir, vendor, seed=seed, LLM_RETRY_MAX_ATTEMPTS="1" if fails_first else "4")
        for moment in moments:
            scene.strike(moment)
        scene.finish()
        assert rows(scene.folder) == calm.rows
        return scene.struck


def kill_in_a_fleet(folder: Path, undisturbed: Callable[[], Undisturbed]) -> list[str]:
    """Kill both of two workers, one after the other, and the starter; each dead worker is replaced."""
    projects_dir, calm = folder / "projects", undisturbed()
    freeze_again(calm.folder, projects_dir)
    with (
        ended(folder),
        FakeVendor(folder / "vendor", latency_s=LATENCY) as vendor,
        SharedServer(folder / "temporal") as server,
    ):
        scene = Scene(projects_dir, vendor, "--temporal", server.address, seed=1)
        scene.add_worker(server.address)
        scene.add_worker(server.address)
        for moment in FLEET:
            scene.strike(moment)
            if moment.whom == "worker":
                scene.add_worker(server.address)
        scene.finish()
        assert rows(scene.folder) == calm.rows
        return scene.struck


def kill_the_starter_while_calls_are_held(folder: Path, undisturbed: Callable[[], Undisturbed]) -> list[str]:
    """Kill the starter while every call hangs at the vendor: its caller outlives it and the next one waits for it."""
    projects_dir, calm = folder / "projects", undisturbed()
    freeze_again(calm.folder, projects_dir)
    with ended(folder), FakeVendor(folder / "vendor", hold=True) as vendor:
        scene = Scene(projects_dir, vendor)
        scene.strike(Moment("every slot is taken", "starter", sent(CONCURRENCY)))
        wait_until(lambda: at_work(scene), "the second starter is at work")
        wait_until(lambda: len(callers(projects_dir)) == 2, "two callers: the one that drains, and the new one")
        time.sleep(5)  # long enough for the second caller to ask, if it would
        assert vendor.stats()["requests"] == CONCURRENCY
        vendor.control(hold=False)
        found = scene.finish()
        assert not found.intents
        assert set(found.requests.values()) == {1}
        assert rows(scene.folder) == calm.rows
        return scene.struck


Scenes = dict[str, Future[list[str]]]


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scenes]:
    """Play all scenes, three at a time, since a scene is mostly waiting; return what each will have come to."""
    root = tmp_path_factory.mktemp("kills")

    def calm(name: str, documents: int, *, second_model: bool) -> Undisturbed:
        write_experiment(root / name / "projects", documents, second_model=second_model)
        return run_undisturbed(root / name / "projects")

    with ThreadPoolExecutor(3) as stage:
        two_batches = stage.submit(calm, "two_batches", 78, second_model=False).result
        small = stage.submit(calm, "small", 12, second_model=True).result
        yield {
            "opening": stage.submit(end_as_if_nothing_had_happened, root / "opening"),
            "fleet": stage.submit(kill_in_a_fleet, root / "fleet", two_batches),
            "calling": stage.submit(kill_at, root / "calling", small, CALLING, 2),
            "ending": stage.submit(kill_at, root / "ending", small, ENDING, 3, fails_first=3),
            "anywhere": stage.submit(kill_at, root / "anywhere", small, ANYWHERE, 4),
            "held": stage.submit(kill_the_starter_while_calls_are_held, root / "held", small),
        }


def test_killed_from_the_first_file_on_it_ends_as_if_nothing_had_happened(scenes: Scenes) -> None:
    assert len(scenes["opening"].result()) == len(OPENING)


def test_killed_while_calls_are_out_it_pays_nothing_twice(scenes: Scenes) -> None:
    assert len(scenes["calling"].result()) == len(CALLING)


def test_killed_in_the_second_pass_and_at_every_later_stage_it_ends_with_the_same_scores(scenes: Scenes) -> None:
    assert len(scenes["ending"].result()) >= len(ENDING) - 2  # the last stages may be over before they are struck


def test_killed_anywhere_it_pays_nothing_twice(scenes: Scenes) -> None:
    assert len(scenes["anywhere"].result()) >= len(ANYWHERE) - 2  # chance may strike when all is over


def test_killed_workers_of_a_fleet_pay_nothing_twice(scenes: Scenes) -> None:
    assert len(scenes["fleet"].result()) == len(FLEET)


def test_a_second_starter_waits_for_the_answers_that_the_first_ones_caller_still_gets(scenes: Scenes) -> None:
    assert scenes["held"].result()


def test_twenty_moments_were_struck(scenes: Scenes) -> None:
    assert sum(len(scene.result()) for scene in scenes.values()) >= 20
