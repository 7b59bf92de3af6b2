"""Whether another model answered than the one that was asked for, by the names that vendors really send."""

import pytest

from discernus.llm.substitution import is_other_model


@pytest.mark.parametrize(
    ("requested", "answered"),
    [
        ("gpt-4o", "gpt-4o-2024-08-06"),
        ("openai/gpt-4o-mini", "gpt-4o-mini-2024-07-18"),
        ("openai/gpt-3.5-turbo", "gpt-3.5-turbo-0125"),
        ("openai/gpt-4-turbo", "gpt-4-turbo-2024-04-09"),
        ("openai/o3-mini", "o3-mini-2025-01-31"),
        ("openai/scribe", "scribe-2026-01-01"),
        ("openai/gpt-4o-2024-08-06", "gpt-4o-2024-08-06"),
        ("openai/ft:gpt-4o-mini-2024-07-18:lab::9x", "ft:gpt-4o-mini-2024-07-18:lab::9x"),
        ("anthropic/claude-3-5-sonnet-latest", "claude-3-5-sonnet-20241022"),
        ("anthropic/claude-sonnet-4-5", "claude-sonnet-4-5-20250929"),
        ("vertex_ai/claude-sonnet-4@20250514", "claude-sonnet-4-20250514"),
        ("bedrock/us.anthropic.claude-3-5-sonnet-20241022-v2:0", "claude-3-5-sonnet-20241022"),
        ("gemini/gemini-2.5-pro", "gemini-2.5-pro-002"),
        ("gemini/gemini-2.5-pro", "models/gemini-2.5-pro"),
        ("gemini/gemini-2.5-flash", "gemini-2.5-flash-preview-09-2025"),
        ("gemini/gemini-flash-latest", "gemini-2.5-flash-preview-09-2025"),
        ("vertex_ai/gemini-2.5-pro", "publishers/google/models/gemini-2.5-pro"),
        ("mistral/mistral-large-latest", "mistral-large-2411"),
        ("xai/grok-2", "grok-2-1212"),
        ("deepseek/deepseek-chat", "deepseek-chat-v3-0324"),
        ("ollama_chat/llama3", "llama3:latest"),
        ("ollama/llama3:latest", "llama3"),
        ("openrouter/google/gemini-2.5-flash", "google/gemini-2.5-flash"),
        ("openrouter/deepseek/deepseek-r1:free", "deepseek/deepseek-r1"),
        ("together_ai/meta-llama/Llama-3-70b-chat-hf", "meta-llama/Llama-3-70b-chat-hf"),
        ("fireworks_ai/accounts/fireworks/models/llama-v3p1-8b", "accounts/fireworks/models/llama-v3p1-8b"),
        ("hosted_vllm/llama-3.1-8b-instruct", "/models/Llama-3.1-8B-Instruct"),
        ("litellm_proxy/gemini/gemini-2.5-flash", "gemini-2.5-flash"),
        ("offline/lexicon", "offline/lexicon"),
    ],
)
def test_a_version_a_vendors_prefix_and_a_path_make_no_other_model(requested: str, answered: str) -> None:
    assert not is_other_model(requested, answered)


@pytest.mark.parametrize(
    ("requested", "answered"),
    [
        ("gpt-4o", "gpt-4o-mini"),
        ("openai/gpt-4o", "gpt-4o-mini-2024-07-18"),
        ("openai/gpt-4o-mini", "gpt-4o-2024-08-06"),
        ("openai/gpt-4", "gpt-4-32k-0613"),
        ("openai/o1", "o1-mini-2024-09-12"),
        ("openai/scribe", "some-other-model-2026-01-01"),
        ("gemini/gemini-2.5-flash", "gemini-2.5-flash-lite"),
        ("gemini/gemini-2.5-pro", "gemini-2.5-flash"),
        ("gemini/gemini-2.5-pro", "gemini-3.0-pro"),
        ("gemini/gemini-flash-latest", "gemini-2.5-flash-lite"),
        ("anthropic/claude-3-5-sonnet-latest", "claude-3-7-sonnet-20250219"),
        ("anthropic/claude-3-opus-20240229", "claude-3-haiku-20240307"),
        ("ollama_chat/llama3:8b", "llama3:70b"),
        ("ollama_chat/llama3", "llama3.1"),
        ("openrouter/auto", "google/gemini-2.5-flash"),
        ("openrouter/deepseek/deepseek-chat-v3", "deepseek/deepseek-chat-v3.1"),
        ("azure/gpt-4o", "gpt-4o-mini-2024-07-18"),
        ("hosted_vllm/llama-3.1-70b", "meta-llama/llama-3.1-8b"),
    ],
)
def test_another_name_is_another_model(requested: str, answered: str) -> None:
    assert is_other_model(requested, answered)


@pytest.mark.parametrize(
    ("requested", "answered"),
    [
        ("openai/gpt-4o-2024-05-13", "gpt-4o-2024-08-06"),
        ("anthropic/claude-3-5-sonnet-20240620", "claude-3-5-sonnet-20241022"),
        ("gemini/gemini-2.5-pro-preview-05-06", "gemini-2.5-pro-preview-06-05"),
        ("gemini/gemini-2.5-pro-preview-05-06", "gemini-2.5-pro"),
        ("deepseek/deepseek-chat-v3-0324", "deepseek-chat-v2-0628"),
    ],
)
def test_another_version_than_the_one_that_was_named_is_another_model(requested: str, answered: str) -> None:
    assert is_other_model(requested, answered)


@pytest.mark.parametrize(
    ("requested", "answered"),
    [
        ("gemini/gemini-2.0-flash-001", "gemini-2.0-flash"),
        ("bedrock/anthropic.claude-3-haiku-20240307-v1:0", "claude-3-haiku"),
    ],
)
def test_an_answer_that_names_no_version_contradicts_none(requested: str, answered: str) -> None:
    assert not is_other_model(requested, answered)


def test_nobody_who_says_who_answered_is_not_another_model() -> None:
    assert not is_other_model("openai/gpt-4o", None)
    assert not is_other_model("openai/gpt-4o", "")


def test_a_name_that_an_operator_chose_proves_nothing_until_models_yaml_says_what_is_right() -> None:
    assert not is_other_model("azure/speeches-eu", "gpt-4o-2024-08-06")
    assert not is_other_model("hosted_vllm/lab", "/data/mixtral-8x7b")
    assert not is_other_model("azure/speeches-eu", "gpt-4o-2024-08-06", ("gpt-4o",))
    assert is_other_model("azure/speeches-eu", "gpt-4o-mini-2024-07-18", ("gpt-4o",))
    assert is_other_model("azure/speeches-eu", "phi-4", ("gpt-4o",))


def test_a_vendors_own_other_name_is_right_where_models_yaml_says_so() -> None:
    assert is_other_model("openai/house-model", "llama-3-8b.Q4_K_M.gguf")
    assert not is_other_model("openai/house-model", "llama-3-8b.Q4_K_M.gguf", ("llama-3-8b.Q4_K_M.gguf",))
    assert not is_other_model("openai/house-model", "house-model", ("llama-3-8b.Q4_K_M.gguf",))


@pytest.mark.parametrize(
    ("requested", "answered"),
    [
        ("azure/gpt-4o-eu", "gpt-4o-2024-11-20"),
        ("azure/gpt-4o-prod", "gpt-4o-2024-11-20"),
        ("azure/team-gpt-4o-mini-eu", "gpt-4o-mini-2024-07-18"),
        ("azure/gpt4o", "gpt-4o-2024-11-20"),
        ("azure/gpt-35-turbo", "gpt-3.5-turbo-0125"),
        ("azure/gpt-4-1", "gpt-4.1-2025-04-14"),
        ("azure/gpt-4o-2024-05-13-eu", "gpt-4o-2024-05-13"),
        ("azure/gpt-4o-eu-v2", "gpt-4o-2024-11-20"),
        ("hosted_vllm/llama-3.1-8b-instruct-awq", "meta-llama/Llama-3.1-8B-Instruct"),
    ],
)
def test_an_operators_words_about_a_model_make_no_other_of_it(requested: str, answered: str) -> None:
    assert not is_other_model(requested, answered)


@pytest.mark.parametrize(
    ("requested", "answered"),
    [
        ("azure/gpt-4o-mini", "gpt-4o-2024-08-06"),
        ("azure/gpt-4o-mini-eu", "gpt-4o-2024-08-06"),
        ("azure/gpt-4o-eu", "gpt-4o-mini-2024-07-18"),
        ("azure/gpt-4-1", "gpt-4-0613"),
        ("azure/gpt-4-32k", "gpt-4-0613"),
        ("azure/gpt-4o-2024-05-13-eu", "gpt-4o-2024-08-06"),
        ("azure/gpt-4o-eu-2024-05-13", "gpt-4o-2024-08-06"),
        ("hosted_vllm/llama-3.1-70b", "meta-llama/Llama-3.1"),
        ("openai/gpt-4o-eu", "gpt-4o-2024-11-20"),
    ],
)
def test_a_size_a_variant_or_a_date_makes_another_model_whoever_names_it(requested: str, answered: str) -> None:
    assert is_other_model(requested, answered)


def test_where_models_yaml_says_which_names_are_right_an_operators_words_prove_nothing() -> None:
    assert is_other_model("azure/gpt-4o-eu", "gpt-4o-2024-11-20", ("phi-4",))
