"""What is known of a model without importing LiteLLM: its price, its sizes, and how many tokens a text takes."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from discernus.llm import gateway
from discernus.llm.calls import Message, ModelRequest
from discernus.llm.catalogue import cost_usd, count_tokens, facts_of, prompt_tokens, worst_case_usd
from discernus.llm.models_file import ModelRules, Price
from discernus.llm.prices import priced_entry, table_source

REPOSITORY = Path(__file__).resolve().parents[1]
RULES = ModelRules()
OWN = ModelRules(price=Price(input_usd=1e-6, output_usd=4e-6), max_output_tokens=1000)


def test_a_model_is_found_under_the_name_that_litellm_gives_it() -> None:
    named = {
        "gemini/gemini-2.5-flash": ("gemini", " gemini/gemini-2.5-flash "),
        "openai/gpt-4o": ("openai", " gpt-4o "),
        "gpt-4o": ("openai", " gpt-4o "),
        "vertex_ai/gemini-2.5-pro": ("vertex_ai", " gemini-2.5-pro "),
        "anthropic/claude-sonnet-4-5": ("anthropic", " claude-sonnet-4-5 "),
    }
    for model, (vendor, entry) in named.items():
        facts = facts_of(model, RULES)
        assert facts.vendor == vendor
        assert entry in (facts.price_source or ""), model
        assert facts.input_usd
        assert facts.output_usd
        assert facts.max_output_tokens


@pytest.mark.parametrize("model", ["openai/scribe", "nonsense", "hosted_vllm/own", "anthropic/gpt-4o"])
def test_a_model_that_the_table_does_not_know_has_no_price_and_no_size(model: str) -> None:
    facts = facts_of(model, RULES)
    assert (facts.input_usd, facts.output_usd, facts.cached_input_usd, facts.price_source) == (None,) * 4
    assert (facts.max_input_tokens, facts.max_output_tokens) == (None, None)
    assert cost_usd(facts, 100, 100) is None
    assert worst_case_usd(facts, 100, 100) is None


def test_a_model_on_ones_own_machine_has_sizes_and_an_unknown_price() -> None:
    facts = facts_of("ollama/llama3", RULES)
    assert (facts.input_usd, facts.price_source, facts.max_input_tokens) == (None, None, 8192)
    assert facts_of("ollama/llama3", ModelRules(price=Price(input_usd=0, output_usd=0))).input_usd == 0


def test_the_offline_model_costs_nothing_whatever_it_is_asked() -> None:
    facts = facts_of("offline/lexicon", RULES)
    assert worst_case_usd(facts, 10_000, None) == 0
    assert facts.price_source == "offline: no vendor is paid"


def test_price_and_sizes_in_models_yaml_win_over_the_table() -> None:
    facts = facts_of("openai/gpt-4o", OWN)
    assert (facts.input_usd, facts.output_usd, facts.cached_input_usd) == (1e-6, 4e-6, 1e-6)
    assert facts.max_output_tokens == 1000
    assert facts.max_input_tokens == facts_of("openai/gpt-4o", RULES).max_input_tokens
    dearer = ModelRules(price=Price(input_usd=2e-6, output_usd=4e-6))
    sources = {facts_of(model, rules).price_source for model in ("openai/a", "openai/b") for rules in (OWN, dearer)}
    assert len(sources) == 2
    assert all((source or "").startswith("models.yaml ") for source in sources)


def test_a_long_prompt_is_priced_as_long_prompts_are_and_all_of_it() -> None:
    facts = facts_of("gemini/gemini-2.5-pro", RULES)
    below, above = facts.rate(200_000), facts.rate(200_001)
    assert below is not None
    assert above is not None
    assert above.input_usd == 2 * below.input_usd
    assert cost_usd(facts, 200_001, 10) == pytest.approx(200_001 * above.input_usd + 10 * above.output_usd)


def test_a_price_by_ranges_is_that_of_the_range_the_prompt_falls_in() -> None:
    facts = facts_of("dashscope/qwen-flash", RULES)
    first, second = facts.rate(256_000), facts.rate(256_001)
    assert first is not None
    assert second is not None
    assert first.input_usd < second.input_usd
    assert first.output_usd < second.output_usd


def test_cached_tokens_are_cheaper_and_counted_among_the_prompts() -> None:
    facts = facts_of("openai/gpt-4o", RULES)
    whole, cached = cost_usd(facts, 1000, 0), cost_usd(facts, 1000, 0, cached_tokens=1000)
    assert whole is not None
    assert cached == pytest.approx(whole / 2)


def test_the_worst_case_is_an_answer_as_long_as_it_may_be_and_a_prompt_counted_generously() -> None:
    assert worst_case_usd(facts_of("openai/x", OWN), 100, 10) == pytest.approx(120e-6 + 10 * 4e-6)
    assert worst_case_usd(facts_of("openai/x", OWN), 100, None) == pytest.approx(120e-6 + 1000 * 4e-6)
    assert worst_case_usd(facts_of("openai/x", OWN), 100, 9999) == pytest.approx(120e-6 + 1000 * 4e-6)
    endless = ModelRules(price=Price(input_usd=1e-6, output_usd=4e-6))
    assert worst_case_usd(facts_of("openai/x", endless), 100, None) is None


def test_tokens_are_counted_as_openai_counts_them_and_special_ones_are_mere_text() -> None:
    assert count_tokens("The ledger lists 12 entries.") == 7
    assert count_tokens("") == 0
    assert count_tokens("<|endoftext|>") > 1
    assert count_tokens("half a character: \ud800") > 4


def test_a_prompt_is_its_messages_and_what_marks_them_off() -> None:
    messages = (Message(role="system", content="Score."), Message(role="user", content="A text."))
    words = count_tokens("Score.") + count_tokens("A text.")
    assert words < prompt_tokens(ModelRequest(model="openai/x", messages=messages)) <= words + 10


def test_neither_litellm_nor_the_network_is_needed() -> None:
    program = (
        "import socket, sys\n"
        "def refused(*_): raise OSError('no network here')\n"
        "socket.socket.connect = refused\n"
        "from discernus.llm.catalogue import count_tokens, facts_of\n"
        "from discernus.llm.models_file import ModelRules\n"
        "assert 'tiktoken' not in sys.modules\n"
        "assert facts_of('openai/gpt-4o', ModelRules()).input_usd\n"
        "print(count_tokens('Nobody is asked.'), sorted({'litellm', 'requests', 'openai'} & set(sys.modules)))"
    )
    environment = {"PATH": "/usr/bin:/bin", "TIKTOKEN_CACHE_DIR": "/nowhere", "PYTHONDONTWRITEBYTECODE": "1"}
    told = subprocess.run(
        [sys.executable, "-c", program], cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=120
    )
    assert told.stdout == "4 []\n", told.stderr


@pytest.fixture
def litellm() -> Any:
    """Return LiteLLM as the gateway sets it up."""
    gateway.warm_up()
    return import_module("litellm")


def test_the_gateway_names_the_same_source_for_the_same_model(litellm: Any) -> None:
    for model in (
        "gemini/gemini-2.5-flash",
        "openai/gpt-4o",
        "vertex_ai/gemini-2.5-pro",
        "anthropic/claude-sonnet-4-5",
    ):
        facts = facts_of(model, RULES)
        _, vendor, _, _ = litellm.get_llm_provider(model)
        assert facts.vendor == vendor
        assert facts.price_source is not None
        entry = priced_entry((model,), vendor, litellm.model_cost)
        assert entry is not None
        assert facts.price_source == table_source(*entry, version("litellm"))


def test_the_prices_are_those_that_litellm_reckons_with(litellm: Any) -> None:
    sizes = [(1_000, 500), (150_000, 2_000), (250_000, 3_000)]
    for model in ("gemini/gemini-2.5-flash", "gemini/gemini-2.5-pro", "openai/gpt-4o", "dashscope/qwen-flash"):
        facts = facts_of(model, RULES)
        for prompt, completion in sizes:
            reckoned = litellm.cost_per_token(model=model, prompt_tokens=prompt, completion_tokens=completion)
            assert cost_usd(facts, prompt, completion) == pytest.approx(sum(reckoned)), (model, prompt)
