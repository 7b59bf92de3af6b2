"""What a run may call, settled before anything is opened, and what it will cost and may."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.make_experiment import make_experiment
from cli.exits import INVALID, CommandError
from cli.foreseeing import budgeted, foresee
from cli.preparing import has_usual_key, prepare
from discernus.experiments.definition import Definition, read_definition
from discernus.sessions.budgets import Account, set_budget
from discernus.sessions.session import Session
from discernus.settings import Settings
from discernus.stages.estimate import Range
from tests.stand_ins import opened

FLASH, PRO = "gemini/gemini-2.5-flash", "gemini/gemini-2.5-pro"


@pytest.fixture(autouse=True)
def no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GEMINI_API_KEY", "GOOGLE_API_KEY", "OPENAI_API_KEY", "LITELLM_PROXY_API_KEY"):
        monkeypatch.delenv(name, raising=False)


def defined(tmp_path: Path, models_yaml: str = "", **experiment: Any) -> tuple[Settings, Definition]:
    projects = tmp_path / "projects"
    folder = make_experiment(projects, **{"documents": 2, "runs": 1, "words": 40, **experiment})
    (projects / "models.yaml").write_text(models_yaml, encoding="utf-8")
    return Settings(projects_dir=projects), read_definition(folder)


def test_an_extraction_model_has_the_fallbacks_whose_keys_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, definition = defined(tmp_path, extraction_model="openai/gpt-4o-mini")
    assert prepare(settings, definition).extraction_models == ("openai/gpt-4o-mini",)
    monkeypatch.setenv("GEMINI_API_KEY", "not-a-real-key")
    assert prepare(settings, definition).extraction_models == ("openai/gpt-4o-mini", FLASH, PRO)


def test_default_means_the_list_of_models_yaml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEMINI_API_KEY", "not-a-real-key")
    settings, definition = defined(tmp_path, extraction_model="default")
    assert prepare(settings, definition).extraction_models == (FLASH, PRO)


def test_no_model_reads_answers_where_none_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEMINI_API_KEY", "not-a-real-key")
    settings, definition = defined(tmp_path)
    assert prepare(settings, definition).extraction_models == ()


def test_a_model_outside_of_the_data_policy_is_refused_and_a_fallback_outside_of_it_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GEMINI_API_KEY", "not-a-real-key")
    policy = {"data_policy": {"vendors": ["openai"]}}
    settings, definition = defined(tmp_path, extraction_model="openai/gpt-4o-mini", settings=policy)
    assert prepare(settings, definition).extraction_models == ("openai/gpt-4o-mini",)
    settings, definition = defined(tmp_path / "other", models=[FLASH], settings=policy)
    with pytest.raises(CommandError, match=f"model '{FLASH}' is outside of the data policy") as refused:
        prepare(settings, definition)
    assert refused.value.code == INVALID


def test_where_the_proxy_is_required_nothing_goes_out_without_one(tmp_path: Path) -> None:
    settings, definition = defined(tmp_path)
    with pytest.raises(CommandError, match="through the proxy"):
        prepare(settings.model_copy(update={"require_proxy": True}), definition)
    both = {"require_proxy": True, "proxy_url": "http://127.0.0.1:4000"}
    assert prepare(settings.model_copy(update=both), definition).models == ("openai/scribe",)


def test_a_models_file_that_cannot_be_used_is_refused_with_its_place(tmp_path: Path) -> None:
    settings, definition = defined(tmp_path, "quarantine_duration: soon\n")
    with pytest.raises(CommandError, match=r"models\.yaml"):
        prepare(settings, definition)


def test_a_proxied_model_needs_the_proxys_key_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    proxied = Settings(proxy_url="http://127.0.0.1:4000")
    monkeypatch.setenv("OPENAI_API_KEY", "not-a-real-key")
    assert not has_usual_key(proxied, "openai/gpt-4o")
    monkeypatch.setenv("LITELLM_PROXY_API_KEY", "not-a-real-key")
    monkeypatch.delenv("OPENAI_API_KEY")
    assert has_usual_key(proxied, "openai/gpt-4o")
    assert has_usual_key(proxied, "offline/lexicon")


def test_timeouts_of_models_are_those_of_models_yaml(tmp_path: Path) -> None:
    settings, definition = defined(tmp_path, "models:\n  openai/scribe: {model_timeout: 20}\n")
    assert prepare(settings, definition).timeouts_s() == {"openai/scribe": 20.0}


def unwrapped(lines: list[str]) -> str:
    return " ".join(lines).replace("\n ", "")


def settings_of(session: Session) -> Settings:
    return Settings(projects_dir=session.folder.parents[4])


def test_a_budget_is_warned_of_once_when_it_is_nearly_used_up(tmp_path: Path) -> None:
    session = opened(tmp_path, settings={"budget_usd": 2.0})
    found = budgeted(settings_of(session), session)
    assert found.binds
    assert found.news(1.59) == []
    assert found.news(1.6) == [f"warning: 80 % of the session budget of 2.00 USD ({session.name}) is spent"]
    assert found.news(1.9) == []


def test_what_others_have_spent_of_a_projects_budget_counts(tmp_path: Path) -> None:
    session = opened(tmp_path)
    settings = settings_of(session)
    assert not budgeted(settings, session).binds
    set_budget(settings.projects_dir, Account("bench"), 1.0)
    found = budgeted(settings, session)
    found.others_usd[Account("bench")] = 0.5
    assert found.news(0.29) == []
    assert len(found.news(0.31)) == 1


def test_a_session_that_will_cost_more_than_is_left_is_warned_of_before_it_begins(tmp_path: Path) -> None:
    session = opened(tmp_path, models=["openai/gpt-4o"], settings={"budget_usd": 0.001})
    settings = settings_of(session)
    prepared = prepare(settings, session.definition)
    estimate = foresee(settings, session.definition, prepared).estimate
    said = budgeted(settings, session).foreseen(estimate, 0.0)
    assert len(said) == 1
    assert "0.0010 USD are left of the session budget of 0.0010 USD (0.0000 spent)" in unwrapped(said)
    assert f"a single call may cost up to {estimate.dearest_call_usd:.4f}; the session pauses" in unwrapped(said)
    assert all(len(line) <= 80 for line in said[0].splitlines())


def test_a_budget_that_covers_the_projection_and_not_one_call_is_warned_of(tmp_path: Path) -> None:
    session = opened(tmp_path, models=["openai/gpt-4o"], settings={"budget_usd": 0.1})
    settings = settings_of(session)
    estimate = foresee(settings, session.definition, prepare(settings, session.definition)).estimate
    assert estimate.usd is not None
    assert estimate.dearest_call_usd is not None
    assert estimate.usd.likely < 0.1 < estimate.dearest_call_usd < 0.17
    said = unwrapped(budgeted(settings, session).foreseen(estimate, 0.0))
    assert "the session pauses before such a call. Raise the budget to at least 0.17" in said
    found = budgeted(settings, session)
    found.budgets = found.budgets.model_copy(update={"sessions_usd": {session.name: 0.4}})
    slowed = unwrapped(found.foreseen(estimate, 0.0))
    assert slowed.startswith("note: 0.4000 USD are left of the session budget of 0.40 USD")
    assert "no more than 2 calls at once" in slowed
    less = unwrapped(found.foreseen(estimate, 0.4 - estimate.dearest_call_usd - 0.0001))
    assert "a single call may cost" not in less
    found.budgets = found.budgets.model_copy(update={"sessions_usd": {session.name: 400.0}})
    assert found.foreseen(estimate, 0.0) == []
    few = replace(estimate, usd=Range(300, 401, 500))
    assert "less than the session will probably take; it pauses once" in unwrapped(found.foreseen(few, 0.0))


def test_a_budget_cannot_hold_back_a_model_of_unknown_price_and_says_so(tmp_path: Path) -> None:
    session = opened(tmp_path, settings={"budget_usd": 5.0})
    settings = settings_of(session)
    estimate = foresee(settings, session.definition, prepare(settings, session.definition)).estimate
    said = budgeted(settings, session).foreseen(estimate, 0.0)
    expected = "warning: no budget can hold back openai/scribe, of unknown price: state it in models.yaml"
    assert unwrapped(said) == expected
