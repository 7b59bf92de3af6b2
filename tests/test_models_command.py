"""``models``: what it lists, explains, limits and resets, with no server up before or after."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

import pytest

from activities.border import Answered, Failed, Report
from cli import models as command
from cli.exits import INFRASTRUCTURE, INVALID, CommandError
from discernus.llm.models_file import ModelRules
from discernus.sessions.opening import store_id
from discernus.settings import Settings
from engine import models
from engine.connection import connect
from engine.server import EmbeddedServer
from engine.workers import Crew
from tests.running import ended, server_pid, wait_until
from workflows.model import ModelWorkflow

FLASH, PRO = "gemini/gemini-2.5-flash", "vertex_ai/gemini-2.5-pro-preview"
MODELS_YAML = """\
fallback_models: [gemini/gemini-2.5-flash, gemini/gemini-2.5-pro]
quarantine_duration: 120
models:
  gemini/gemini-2.5-flash:
    requests_per_minute: 600
    tokens_per_minute: 2000000
"""


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Return the settings of a store in which one model is well, and another in quarantine."""
    projects = tmp_path_factory.mktemp("store") / "projects"
    projects.mkdir()
    (projects / "models.yaml").write_text(MODELS_YAML)
    settings = Settings(projects_dir=projects)
    asyncio.run(_called(settings))
    return settings


async def _called(settings: Settings) -> None:
    server = EmbeddedServer(settings.state_folder)
    client = await connect((await server.join()).address, "default")
    crew, store = Crew(client, settings), store_id(settings.projects_dir)
    crew.serve_shared(store)
    now = time.time() - 60
    answered = Answered(calls=40, sent_at=now, at=now, latencies_ms=(12_000.0, 14_000.0), tokens_per_call=3210.0)
    failures = [
        Failed(
            error_class="server_error",
            message=f"server_error (status 503): the model is on fire, for the {number}. time; it is tried again",
            sent_at=now + number,
            at=now + number,
        )
        for number in (1, 2, 3)
    ]
    for model, events in ((FLASH, (answered,)), (PRO, (answered, *failures))):
        handle = await models.ensure(client, store, model, ModelRules(quarantine_s=120))
        await handle.execute_update(ModelWorkflow.report, Report(asker="a test", events=events))
    await crew.drain()
    await server.leave()


@pytest.fixture(autouse=True)
def no_server_is_left(settings: Settings) -> object:
    with ended(settings.projects_dir):
        yield
        wait_until(lambda: server_pid(settings.state_folder.resolve()) is None, "the server has ended with the command")


def lines_of(capsys: pytest.CaptureFixture[str]) -> list[str]:
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    return lines


def test_the_list_says_how_each_model_is_and_why_one_is_left_alone(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.list_models(settings, as_json=False) == 0
    lines = lines_of(capsys)
    text = " ".join(" ".join(lines).split())
    (well,) = [line for line in lines if line.startswith(f"{FLASH} ")]
    assert well.split()[1:7] == ["healthy", "100", "%", "13.0", "s", "40"]
    (closed,) = [line for line in lines if line.startswith(PRO) and "quarantined" in line and "93 %" in line]
    assert "43" in closed.split()
    assert f"{PRO} is quarantined until " in text
    assert "3 failures in a row, the last: server_error (status 503)" in text
    assert f"{FLASH}: at most 600 requests/min, 2,000,000 tokens/min (models.yaml)" in text


def test_the_list_for_programs_has_a_line_for_each_model(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.list_models(settings, as_json=True) == 0
    flash, pro = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert (flash["model"], flash["status"], flash["answered"], flash["until"]) == (FLASH, "healthy", 40, None)
    assert (pro["model"], pro["status"], pro["by_class"]) == (PRO, "quarantined", {"server_error": 3})
    assert pro["success_rate"] == pytest.approx(40 / 43)


def test_one_model_is_explained_with_its_history_and_what_can_be_done(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.show_model(settings, PRO, as_json=False) == 0
    lines = lines_of(capsys)
    text = " ".join(" ".join(lines).split())
    assert f"{PRO} is quarantined until" in text
    assert f"models reset {PRO}" in text
    assert "Answered: 40 of 43 calls (93 %, 93 % of the latest 43)" in text
    assert "Not answered: 3 × server_error." in text
    assert "median 13.0 s, 90th percentile 14.0 s" in text
    assert "left alone for 120 s after 3 failures in a row" in text
    assert "Fallbacks" not in text, "those of models.yaml are the installation's, and no model's own"
    assert [number for number in (1, 2, 3) if f"for the {number}. time" in text] == [1, 2, 3]


def test_limits_are_set_one_after_the_other_and_lifted_together(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    none = {"requests_per_minute": None, "tokens_per_minute": None, "in_flight": None}
    for given in ({"requests_per_minute": 60.0}, {"in_flight": 4}):
        limits = {**none, **given}
        assert command.limit_model(settings, FLASH, **limits, clear=False, as_json=False) == 0
    told = " ".join(" ".join(lines_of(capsys)).split())
    assert "60 requests/min, 4 in flight (set with 'models limit'); 2,000,000 tokens/min (models.yaml)" in told
    assert command.limit_model(settings, FLASH, **none, clear=True, as_json=True) == 0
    view = json.loads(capsys.readouterr().out)
    assert view["limits"] == {"requests_per_minute": 600, "tokens_per_minute": 2e6, "in_flight": None}


@pytest.mark.parametrize(
    ("given", "clear"), [({}, False), ({"in_flight": 4}, True), ({"requests_per_minute": 0.0}, False)]
)
def test_a_limit_that_says_nothing_or_makes_no_sense_is_refused(
    settings: Settings, given: dict[str, float], clear: bool
) -> None:
    limits = {"requests_per_minute": None, "tokens_per_minute": None, "in_flight": None} | given
    with pytest.raises(CommandError) as refused:
        command.limit_model(settings, FLASH, **limits, clear=clear, as_json=False)
    assert refused.value.code == INVALID


def limited(settings: Settings, model: str, *, clear: bool = False) -> int:
    """Limit a model to three calls in flight, or lift that."""
    none = {"requests_per_minute": None, "tokens_per_minute": None}
    return command.limit_model(settings, model, **none, in_flight=None if clear else 3, clear=clear, as_json=True)


def listed(settings: Settings, capsys: pytest.CaptureFixture[str]) -> list[str]:
    capsys.readouterr()
    assert command.list_models(settings, as_json=True) == 0
    return [json.loads(line)["model"] for line in capsys.readouterr().out.splitlines()]


def test_a_name_that_nothing_knows_is_not_limited(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(CommandError, match=f"did you mean {FLASH}") as refused:
        limited(settings, "gemni/gemini-2.5-flsh")
    assert refused.value.code == INVALID
    with pytest.raises(CommandError, match="no model 'hosted_vllm/lab-3' was ever called, and no experiment names it"):
        limited(settings, "hosted_vllm/lab-3")
    with pytest.raises(CommandError, match="never called"):
        limited(settings, "openai/gpt-4o", clear=True)
    assert listed(settings, capsys) == [FLASH, PRO]


def test_a_model_that_was_never_called_is_limited_by_a_name_that_is_known_and_forgotten_with_its_limit(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    experiment = settings.projects_dir / "bench/experiments/speeches/experiment.md"
    experiment.parent.mkdir(parents=True)
    experiment.write_text("---\nmodels: [hosted_vllm/lab-7]\n---\n")
    for model in ("hosted_vllm/lab-7", "openai/gpt-4o"):
        assert limited(settings, model) == 0
        assert model in listed(settings, capsys)
        assert limited(settings, model, clear=True) == 0
        assert model not in listed(settings, capsys)
    assert limited(settings, FLASH) == limited(settings, FLASH, clear=True) == 0
    assert FLASH in listed(settings, capsys), "what was called stays"


def test_a_reset_lets_calls_go_out_again(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.reset_model(settings, PRO, as_json=False) == 0
    assert "go out again" in lines_of(capsys)[0]
    assert command.show_model(settings, PRO, as_json=True) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["status"], shown["until"], len(shown["failures"])) == ("unknown", None, 3)
    assert shown["rules"]["failure_threshold"] == 3


def test_a_model_that_was_never_called_is_not_made_up(settings: Settings) -> None:
    for unknown in (
        lambda: command.show_model(settings, "openai/nobody", as_json=False),
        lambda: command.reset_model(settings, "openai/nobody", as_json=False),
    ):
        with pytest.raises(CommandError, match="never called") as refused:
            unknown()
        assert refused.value.code == INVALID


def test_a_server_that_is_configured_and_not_there_is_named(settings: Settings) -> None:
    elsewhere = settings.model_copy(update={"temporal": "127.0.0.1:9"})
    with pytest.raises(CommandError, match=r"127\.0\.0\.1:9") as refused:
        command.list_models(elsewhere, as_json=False)
    assert refused.value.code == INFRASTRUCTURE


def test_a_store_without_any_model_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with ended(tmp_path):
        assert command.list_models(Settings(projects_dir=tmp_path), as_json=False) == 0
    assert "no model has been called yet" in capsys.readouterr().out
