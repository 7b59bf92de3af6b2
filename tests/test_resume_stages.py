"""``resume`` as a researcher uses it: on a folder alone, from any stage, without paying for anything twice."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path
from typing import Any

from discernus.sessions.layout import Call
from discernus.sessions.session import Session
from tests.running import HIDDEN, callers, count, kill_9, ledger, server_pid, wait_until
from tests.studies import PARTIAL, Study

MODEL = "openai/scribe"
RESPONSES = "llm_archive/response_*.txt"


def sealed_names(session: Path) -> list[str]:
    return sorted(path.name for path in (session / "system_state").glob("seal_[0-9][0-9][0-9].json"))


def forget_history(study: Study) -> None:
    """Take away everything that a server remembers."""
    for path in (study.projects_dir / HIDDEN).glob("*"):
        if path.name not in ("store.json", "owners", "locks"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def dry_run(study: Study, *arguments: str) -> dict[str, Any]:
    (told,) = study.tell("resume", *arguments, "--dry-run", "--json")
    return told


def test_from_its_answers_alone_a_session_is_made_anew(tmp_path: Path) -> None:
    with Study(tmp_path, documents=3, runs=2, models=[MODEL]) as study:
        study.run("speeches")
        session, asked = study.session, len(study.wire(event="request"))
        assert asked == 6
        table = (session / "deliverables/results.csv").read_bytes()
        # a colleague has the folder, and nothing else: no experiment, no history, no key, no vendor
        forget_history(study)
        shutil.move(session.parents[1] / "corpus", tmp_path / "away")
        study.vendor.stop()
        (study.vendor.base_url, url) = ("", study.vendor.base_url)
        assert url
        told = dry_run(study, session.name, "--from", "extraction")
        assert (told["answered"], told["to_ask"], told["to_read"], told["projected_usd"]) == (6, [], 6, 0.0)
        study.run("resume", session.name, "--from", "extraction")
        assert (session / "deliverables/results.csv").read_bytes() == table
        assert sealed_names(session) == ["seal_001.json", "seal_002.json"]
        kept = session / "system_state/superseded/seal_001"
        assert (kept / "deliverables/results.csv").read_bytes() == table
        assert count(kept, "extracted/extracted_*.json") == 6
        calculated = (session / "deliverables/results.csv").stat().st_mtime_ns
        written = (session / "deliverables/final_report.md").stat().st_mtime_ns
        study.run("resume", str(session), "--from", "synthesis")
        assert (session / "deliverables/results.csv").stat().st_mtime_ns == calculated
        assert (session / "deliverables/final_report.md").stat().st_mtime_ns > written
        stages = study.tell("checkpoints", session.name, "--json")[0]
        assert [one["version"] for one in stages["seals"]] == [1, 2, 3]
        assert all(stage["completed_at"] for stage in stages["stages"] if stage["stage"] != "extraction")


def test_a_session_that_was_left_is_made_anew_from_what_it_has_and_then_goes_on_to_its_end(tmp_path: Path) -> None:
    with Study(tmp_path, documents=12, runs=1, models=[MODEL], concurrency=2, vendor={"latency_s": 0.3}) as study:
        starter = study.start("speeches")
        wait_until(lambda: count(study.session, "extracted/extracted_*.json") >= 4, "four are read")
        starter.send(signal.SIGINT)
        assert starter.wait() == 130, starter.output
        read = count(study.session, "extracted/extracted_*.json")
        assert read < 12
        # its workflow is still open, and believes that it is at work
        answered = count(study.session, RESPONSES)
        study.run("resume", "speeches", "--from", "extraction", code=PARTIAL)
        assert (count(study.session, RESPONSES), count(study.session, "extracted/extracted_*.json")) == (answered,) * 2
        study.run("resume", "speeches")
        assert count(study.session, "extracted/extracted_*.json") == 12
        found = ledger(study.session, study.vendor).check()
        assert set(found.requests.values()) == {1}


def test_a_killed_session_is_resumed_from_its_folder_when_the_server_remembers_nothing(tmp_path: Path) -> None:
    with Study(tmp_path, documents=12, runs=1, models=[MODEL], concurrency=2, vendor={"latency_s": 0.3}) as study:
        starter = study.start("speeches")
        wait_until(lambda: count(study.session, RESPONSES) >= 3, "three are answered")
        victims = [starter.pid, *callers(study.projects_dir), server_pid(study.projects_dir) or starter.pid]
        kill_9(*victims)
        starter.kill()
        forget_history(study)
        session, answered = study.session, count(study.session, RESPONSES)
        told = dry_run(study, session.name)
        assert (told["state"], told["answered"], len(told["to_ask"])) == ("unfinished", answered, 12 - answered)
        assert count(session, RESPONSES) == answered
        study.run("resume", session.name)
        found = ledger(session, study.vendor)
        assert found.extracted == set(range(1, 13))
        assert not [call for call, times in found.requests.items() if times > 1 and call not in found.in_doubt]


def test_an_extended_session_pays_for_what_is_new_and_says_where_the_rest_was_paid(tmp_path: Path) -> None:
    with Study(tmp_path, documents=3, runs=1, models=[MODEL]) as study:
        study.run("speeches")
        first, asked = study.session, len(study.wire(event="request"))
        assert asked == 3
        experiment = first.parents[1] / "experiment.md"
        experiment.write_text(experiment.read_text().replace("runs_per_model: 1", "runs_per_model: 2"))
        run = study.run("run", "speeches", "--extend", first.name)
        assert "3 of 6 analyses taken over" in run.output
        assert len(study.wire(event="request")) == asked + 3
        (second,) = {path.parents[1] for path in first.parent.glob("*/system_state/session.json")} - {first}
        assert json.loads((second / "system_state/session.json").read_text())["extends"].endswith(first.name)
        records = [Session(second).archive.look_up(Call(number)) for number in range(1, 7)]
        assert sorted(one[0].reused_from for one in records if one and one[0].reused_from) == [
            f"{first.name}/{number:03d}" for number in (1, 2, 3)
        ]
        rows, before = study.rows(second), study.rows(first)
        shared = {(row["document"], row["run"]) for row in before}
        scores = [name for name in rows[0] if name.endswith("_score")]
        taken = [[row[name] for name in scores] for row in rows if (row["document"], row["run"]) in shared]
        assert taken == [[row[name] for name in scores] for row in before]
        costs = {one["session"]: one["calls"] for one in study.tell("cost", "speeches", "--by", "session", "--json")}
        assert sorted(costs.values()) == [3, 3]
