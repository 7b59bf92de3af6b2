"""A session that was stopped, stalled, refused or whose author edited it: the same command goes on.

After each of them the wire is held against the archive.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from functools import partial
from hashlib import sha256
from pathlib import Path

import pytest

from engine.connection import connect
from tests.plays import (
    ANALYSES,
    CONCURRENCY,
    EVERY_CALL_ONCE,
    GO_ON,
    RESPONSES,
    Play,
    Scene,
    acting,
    address,
    workflow_id,
)
from tests.running import (
    PATIENCE_S,
    Process,
    Starter,
    callers,
    environment,
    ledger,
    now,
    server_pid,
    session_folders,
    wait_until,
)


def stop_while_calls_are_out(stop: Callable[[Starter], None], folder: Path) -> None:
    with Play(folder, hold=True) as play:
        starter = play.start()
        play.vendor.wait_for(requests=CONCURRENCY, timeout_s=PATIENCE_S)
        stop(starter)
        wait_until(lambda: "finishing" in starter.output, "it says that it finishes what is in flight")
        time.sleep(1)  # nothing may be sent any more
        assert starter.code is None
        play.vendor.control(hold=False)
        assert starter.wait() == 130, starter.output
        assert GO_ON in starter.output
        assert "Traceback" not in starter.output
        found = play.ledger().check(complete=False)
        assert len(found.answers) == len(found.sent) == CONCURRENCY
        assert not found.intents
        assert server_pid(play.projects_dir) is None or wait_until(
            lambda: server_pid(play.projects_dir) is None, "the server went with the starter"
        )
        play.run()
        assert play.ledger().check().requests == EVERY_CALL_ONCE


def edit_the_framework(folder: Path) -> None:
    with Play(folder, latency_s=0.1) as play:
        starter = play.start()
        play.wait_for(RESPONSES, 5)
        killed = dict.fromkeys(play.kill_all(starter), now())
        framework = play.experiment / "framework.md"
        old, new = "You read speeches given in small assemblies", "You study speeches given in large assemblies"
        assert old in framework.read_text()
        framework.write_text(framework.read_text().replace(old, new))
        resumed = play.run()
        assert "has changed since" in resumed.output
        assert "framework" in resumed.output
        assert "--new" in resumed.output
        session = play.session
        play.ledger().check(killed=killed)
        assert old in prompts(session)
        assert new not in prompts(session)
        play.run("speeches", "--new")
        (second,) = [other for other in session_folders(play.projects_dir) if other != session]
        assert new in prompts(second)
        assert old not in prompts(second)
        assert ledger(second, play.vendor).check().requests == EVERY_CALL_ONCE
        old_prompts = {one.entry.content_sha256 for one in ledger(session, play.vendor).sent}
        new_prompts = {one.entry.content_sha256 for one in ledger(second, play.vendor).sent}
        assert len(old_prompts) == len(new_prompts) == ANALYSES // 2  # on the wire: one prompt a document, never mixed
        assert not old_prompts & new_prompts


def prompts(session: Path) -> str:
    """Return every message that was archived as sent, each held against its hash."""
    texts = []
    for path in (session / "llm_archive/messages").iterdir():
        assert sha256(path.read_bytes()).hexdigest() == path.stem
        texts.append(path.read_text())
    return "\n".join(texts)


def stall_the_caller(folder: Path) -> None:
    with Play(folder, latency_s=1.0) as play:
        starter = play.start()
        play.vendor.wait_for(requests=CONCURRENCY, timeout_s=PATIENCE_S)
        (caller,) = callers(play.projects_dir)
        os.kill(caller, signal.SIGSTOP)
        time.sleep(20)
        os.kill(caller, signal.SIGCONT)
        assert starter.wait() == 0, starter.output
        found = play.ledger().check()
        assert found.requests == EVERY_CALL_ONCE
        assert not found.intents
        server = play.start("server")
        wait_until(lambda: "Temporal at" in server.output, "the server is up")
        assert asyncio.run(attempts(play)) == [1] * ANALYSES  # nor did Temporal take it for dead


async def attempts(play: Play) -> list[int]:
    """Return how often each activity of the session's batch was started."""
    client = await connect(address(play), "default")
    history = client.get_workflow_handle(f"{workflow_id(play)}/batch-001").fetch_history_events()
    started = [event.activity_task_started_event_attributes async for event in history]
    return [one.attempt for one in started if one.attempt]


def refuse_a_few(folder: Path) -> None:
    with Play(folder, at={"4": "status_403", "11": "context_length"}) as play:
        first = play.run(code=3)
        assert "22 of 24" in first.output
        found = play.ledger().check(complete=False)
        missing = {one.call for one in found.sent} - set(found.answers)
        assert len(missing) == 2
        asked = play.requests
        play.run()
        assert {one.call for one in play.ledger().sent[asked:]} == missing
        assert play.ledger().check().requests == {**EVERY_CALL_ONCE, **dict.fromkeys(missing, 2)}
        play.run()
        assert play.requests == asked + 2


def take_the_key_away(folder: Path) -> None:
    with Play(folder) as play:
        env = environment(play.projects_dir, play.vendor)
        del env["OPENAI_API_KEY"]
        starter = Starter(play.projects_dir, "speeches", env=env)
        assert starter.wait() == 2, starter.output
        assert "OPENAI_API_KEY" in starter.output
        assert not list(play.experiment.glob("sessions/*"))
        assert play.requests == 0
        assert not server_pid(play.projects_dir)


def refuse_all(fault: str, words: str, folder: Path) -> None:
    with Play(folder, latency_s=0.1) as play:
        starter = play.start()
        play.wait_for(RESPONSES, 6)
        play.vendor.control(rates={fault: 1.0})
        assert starter.wait() == 5, starter.output
        assert words in starter.output
        assert GO_ON in starter.output
        found = play.ledger().check(complete=False)
        assert 6 <= len(found.answers) < ANALYSES
        assert 1 <= sum(found.errors.values()) <= CONCURRENCY  # nothing that was queued ran on
        again = play.run(code=5)  # the reason is still there: it says so once more, at the price of few refusals
        assert words in again.output
        assert sum(play.ledger().errors.values()) <= 2 * CONCURRENCY
        play.vendor.control(reset=True)
        play.run()
        assert set(play.ledger().check().answers) == set(EVERY_CALL_ONCE)


SCENES: dict[str, Scene] = {
    "stall": stall_the_caller,
    "SIGTERM": partial(stop_while_calls_are_out, lambda starter: starter.send(signal.SIGTERM)),
    "Ctrl-C": partial(stop_while_calls_are_out, Process.interrupt),
    "edited": edit_the_framework,
    "partial": refuse_a_few,
    "no key": take_the_key_away,
    "401": partial(refuse_all, "status_401", "authentication"),
    "quota": partial(refuse_all, "quota", "quota"),
}

Scenes = dict[str, Future[None]]


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scenes]:
    with acting(tmp_path_factory.mktemp("resume"), SCENES) as playing:
        yield playing


def test_sigterm_finishes_and_keeps_the_calls_that_are_out(scenes: Scenes) -> None:
    scenes["SIGTERM"].result()


def test_ctrl_c_finishes_and_keeps_the_calls_that_are_out(scenes: Scenes) -> None:
    scenes["Ctrl-C"].result()


def test_an_edited_framework_is_told_of_and_waits_for_a_new_session(scenes: Scenes) -> None:
    scenes["edited"].result()


def test_a_caller_that_stalls_for_twenty_seconds_is_not_taken_for_dead(scenes: Scenes) -> None:
    scenes["stall"].result()


def test_a_partial_session_run_again_asks_for_what_is_missing_and_nothing_else(scenes: Scenes) -> None:
    scenes["partial"].result()


def test_a_missing_key_is_told_before_a_session_is_opened(scenes: Scenes) -> None:
    scenes["no key"].result()


@pytest.mark.parametrize("refusal", ["401", "quota"])
def test_a_refusal_that_only_a_person_can_mend_pauses_the_session(refusal: str, scenes: Scenes) -> None:
    scenes[refusal].result()
