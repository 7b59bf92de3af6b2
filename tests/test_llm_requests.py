"""What is asked of models, what the settings are, and that neither needs LiteLLM."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from discernus.experiments.definition import Definition
from discernus.experiments.experiment import Experiment, ModelSettings
from discernus.experiments.framework import Contract, ContractField, Dimension, Framework, Variant
from discernus.experiments.plan import Analysis
from discernus.llm import offline
from discernus.llm.calls import ModelRequest
from discernus.llm.offline import document_of
from discernus.llm.requests import analysis_request, extraction_request
from discernus.settings import Settings

TEXT = "We hope.\n---\nWe hope again.\n```\nAnd then we rest."
MODEL = "openai/gpt-4o-mini"


def definition() -> Definition:
    field = ContractField(path=("hope_score",), role="score", type="number", dimension="hope")
    framework = Framework(
        name="f",
        version="1",
        display_name="F",
        text="The framework.",
        sha256="f" * 64,
        dimensions=(Dimension(name="hope", label="Hope", markers=("we hope",)),),
        variants=(Variant(name="default", analysis_prompt="Score hope."),),
        derived_metrics=(),
        contract=Contract(fields=(field,), instructions="Return JSON."),
    )
    experiment = Experiment(
        name="e",
        title="E",
        format=1,
        framework_file="framework.md",
        corpus="corpus",
        variants=("default",),
        models=(MODEL, "offline/lexicon"),
        runs_per_model=2,
        parameters={MODEL: ModelSettings(temperature=0.2, reasoning="low", seed=11)},
        text="",
        sha256="e" * 64,
    )
    return Definition(experiment=experiment, framework=framework, documents=(), texts={"d": TEXT}, warnings=())


def request_for(model: str, run: int = 1, ask: int = 0, correction: str | None = None) -> ModelRequest:
    analysis = Analysis(number=1, document="d", model=model, variant="default", run=run)
    return analysis_request(definition(), analysis, ask=ask, correction=correction, timeout_s=120)


def test_an_analysis_asks_with_the_experiments_parameters() -> None:
    request = request_for(MODEL)
    assert (request.model, request.timeout_s) == (MODEL, 120)
    assert request.parameters == {"temperature": 0.2, "reasoning_effort": "low", "seed": 11}
    assert [message.role for message in request.messages] == ["system", "user"]
    assert document_of(request.messages[-1].content) == TEXT


def test_asking_again_is_another_question() -> None:
    first, again = request_for(MODEL), request_for(MODEL, ask=1, correction="The answer was not JSON.")
    assert again.parameters["seed"] == 12
    assert "The answer was not JSON." in "".join(message.content for message in again.messages)
    assert "The answer was not JSON." not in "".join(message.content for message in first.messages)
    assert document_of(again.messages[-1].content) == TEXT


def test_the_system_message_is_one_object_for_all_analyses() -> None:
    assert request_for(MODEL).messages[0] is request_for(MODEL, run=2).messages[0]


def test_the_offline_model_is_given_all_that_it_needs_and_answers_in_the_contracts_form() -> None:
    request = request_for("offline/lexicon", run=2)
    lexicon = request.parameters["lexicon"]
    assert lexicon["run"] == 2
    assert request.content_key(variant="default", run=2, ask=1)
    text = document_of(request.messages[-1].content)
    assert json.loads(offline.answer(text, lexicon)).keys() == {"hope_score"}
    assert offline.baseline(text, lexicon)["hope"] is not None


def test_an_extraction_asks_for_stated_numbers_only_and_fences_the_answer_in() -> None:
    request = extraction_request(definition().framework, "Hope: 0.4", "m/cheap", problem="no JSON", timeout_s=60)
    system, user = (message.content for message in request.messages)
    assert request.parameters == {"temperature": 0}
    assert '"hope": "number or null"' in system
    fence = user.splitlines()[0]
    assert user.split(fence)[1] == "\nHope: 0.4\n"
    assert fence in system
    assert "no JSON" in user


def test_settings_have_the_defaults_that_are_documented() -> None:
    settings = Settings()
    assert (settings.retry_max_attempts, settings.retry_base_delay_s, settings.retry_max_delay_s) == (4, 1.0, 60.0)
    assert settings.response_timeout_s == 300.0
    assert settings.state_folder == settings.projects_dir / ".discernus"


def test_settings_come_from_the_environment_and_empty_means_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISCERNUS_MODELS", "offline/lexicon, gemini/gemini-2.5-flash")
    monkeypatch.setenv("DISCERNUS_PROJECTS_DIR", "/data/projects")
    monkeypatch.setenv("DISCERNUS_RUNS", "")
    monkeypatch.setenv("LLM_RETRY_MAX_ATTEMPTS", "6")
    settings = Settings()
    assert settings.models == ("offline/lexicon", "gemini/gemini-2.5-flash")
    assert settings.projects_dir == Path("/data/projects")
    assert settings.runs is None
    assert settings.retry_max_attempts == 6
    monkeypatch.setenv("LLM_RETRY_MAX_ATTEMPTS", "0")
    with pytest.raises(ValidationError, match="LLM_RETRY_MAX_ATTEMPTS"):
        Settings()


def test_nothing_but_a_first_call_imports_litellm() -> None:
    program = (
        "import sys, discernus.settings, discernus.llm.errors, discernus.llm.calls, discernus.llm.requests, "
        "discernus.llm.offline, discernus.llm.gateway; sys.exit('litellm' in sys.modules or 'httpx' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
