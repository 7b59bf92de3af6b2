"""``kill -9`` around the one call for prose, of the starter and of whoever calls; then the same command again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.running import callers, count, kill_9, ledger, now, wait_until
from tests.studies import COMPLETE, PAUSED, Study

WRITER = "openai/writer"
CALL = "003_synthesis"


def asked(study: Study) -> bool:
    return bool(study.wire(WRITER, "request"))


def made(pattern: str) -> Callable[[Study], bool]:
    return lambda study: count(study.session, pattern) > 0


MOMENTS: dict[str, Callable[[Study], bool]] = {
    "before the call": made("deliverables/interpretation_brief.md"),
    "in the call": asked,
    "between answer and report": made(f"llm_archive/response_{CALL}.txt"),
    "between report and seal": made("deliverables/interpretation.json"),
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_around_the_call_for_prose_a_session_pays_for_it_once(tmp_path: Path, moment: str) -> None:
    vendor = {"latency_s": 0.5}
    made_of = {"models": ["openai/scribe"], "documents": 2, "runs": 1, "settings": {"synthesis_model": WRITER}}
    with Study(tmp_path, vendor=vendor, **made_of) as study:  # type: ignore[arg-type]
        starter = study.start("speeches")
        wait_until(lambda: MOMENTS[moment](study), moment)
        pids = [starter.pid, *callers(study.projects_dir)]
        kill_9(*pids)
        killed = dict.fromkeys(pids, now())
        study.run("speeches")
        found = ledger(study.session, study.vendor).check(killed=killed)
        requests = found.requests[CALL]
        assert CALL in found.answers
        assert requests == 1 + found.in_doubt[CALL]
        assert requests <= (2 if moment in ("before the call", "in the call") else 1)
        assert "was asked" in study.report("Interpretation")


def test_a_budget_that_runs_short_at_the_prose_pauses_there_and_says_what_the_call_may_cost(tmp_path: Path) -> None:
    free = {"input_cost_per_token": 0.0, "output_cost_per_token": 0.0, "max_output_tokens": 1000}
    dear = {**free, "output_cost_per_token": 0.001}
    made_of = {"models": ["openai/scribe"], "documents": 2, "runs": 1}
    settings = {"synthesis_model": WRITER, "budget_usd": 0.5}
    rules = {"enable_model_fallback": False, "models": {"openai/scribe": free, WRITER: dear}}
    with Study(tmp_path, rules=rules, settings=settings, **made_of) as study:  # type: ignore[arg-type]
        starter = study.run("speeches", code=PAUSED)
        assert "2 of 2 analyses" in starter.output
        assert study.wire("openai/scribe", "answer")
        assert not study.wire(WRITER)
        said = " ".join(study.say("budget", "speeches", "--level", "session", "--set", "0.9").split())
        assert "its next call may cost up to 1.0000 USD, and 0.9000 are left" in said
        assert "goes on with" in study.say("budget", "speeches", "--level", "session", "--set", "1.5")
        study.run("speeches")
        assert len(study.wire(WRITER, "request")) == 1
        assert "not part of the results" in study.report("Interpretation")


def test_ctrl_c_during_the_prose_keeps_its_answer_and_the_same_command_writes_the_report(tmp_path: Path) -> None:
    made_of = {"models": ["openai/scribe"], "documents": 2, "runs": 1, "settings": {"synthesis_model": WRITER}}
    with Study(tmp_path, vendor={"latency_s": 1.0}, **made_of) as study:  # type: ignore[arg-type]
        starter = study.start("speeches")
        wait_until(lambda: asked(study), "the prose is asked for")
        starter.interrupt()
        starter.wait()
        study.run("speeches")
        assert len(study.wire(WRITER, "request")) == 1
        assert "not part of the results" in study.report("Interpretation")


def test_a_session_with_prose_from_its_cost_to_what_can_be_searched(tmp_path: Path) -> None:
    priced = {
        "enable_model_fallback": False,
        "models": {WRITER: {"input_cost_per_token": 1e-6, "output_cost_per_token": 1e-6}},
    }
    made_of = {"models": ["openai/scribe"], "documents": 2, "runs": 1, "settings": {"synthesis_model": WRITER}}
    with Study(tmp_path, rules=priced, **made_of) as study:  # type: ignore[arg-type]
        starter = study.run("speeches")
        assert "interpretation missing" not in starter.output
        assert len(study.wire(WRITER, "answer")) == 1
        assert "not part of the results" in study.report("Interpretation")
        assert "differ between the documents" in study.say("answers", "show", "speeches", CALL)
        assert CALL in study.say("answers", "search", "differ", "--status", "prose")
        assert WRITER in study.say("cost", "speeches", "--by", "model")
        study.run("resume", "speeches", "--from", "synthesis")
        study.run("resume", "speeches", "--from", "calculation")
        study.say("calculate", "speeches")
        assert len(study.wire(WRITER, "request")) == 1
        assert "not part of the results" in study.report("Interpretation")
        study.say("verify", "speeches")


def test_prose_that_cannot_be_had_leaves_a_complete_session_that_says_so_and_can_ask_once_more(tmp_path: Path) -> None:
    alone = {"enable_model_fallback": False}
    made_of = {"models": ["openai/scribe"], "documents": 2, "runs": 1, "settings": {"synthesis_model": WRITER}}
    with Study(tmp_path, rules=alone, **made_of) as study:  # type: ignore[arg-type]
        study.vendor.control(down={WRITER: "status_401"})
        starter = study.run("speeches", code=COMPLETE)
        said = " ".join(starter.output.split())
        assert "interpretation missing" in said
        assert "--from synthesis" in said
        assert json.loads((study.session / "system_state/status.json").read_text())["status"] == "complete"
        assert "Interpretation missing" in study.report("Interpretation")
        assert study.report("Summary")
        study.vendor.control(down={})
        study.run("resume", "speeches", "--from", "synthesis")
        assert "not part of the results" in study.report("Interpretation")
        study.say("verify", "speeches")


def test_running_again_asks_once_more_for_prose_that_could_not_be_had_in_passing_and_then_no_more(
    tmp_path: Path,
) -> None:
    alone = {"enable_model_fallback": False, "enable_health_monitoring": False}
    made_of = {"models": ["openai/scribe"], "documents": 2, "runs": 1, "settings": {"synthesis_model": WRITER}}
    with Study(tmp_path, rules=alone, variables={"LLM_RETRY_MAX_ATTEMPTS": "1"}, **made_of) as study:  # type: ignore[arg-type]
        study.vendor.control(down={WRITER: "status_500"})
        starter = study.run("speeches", code=COMPLETE)
        assert "interpretation missing" in starter.output
        before = len(study.wire("openai/scribe", "request"))
        study.vendor.control(down={})
        starter = study.run("speeches")
        assert "asking for it once more" in " ".join(starter.output.split())
        assert "not part of the results" in study.report("Interpretation")
        answered = len(study.wire(WRITER, "answer"))
        assert "nothing is left to do" in study.run("speeches").output
        assert len(study.wire(WRITER, "answer")) == answered == 1
        assert len(study.wire("openai/scribe", "request")) == before
        study.say("verify", "speeches")
