"""The data policy: which models may be shown an experiment's texts, and why another may not."""

import pytest

from discernus.experiments.experiment import DataPolicy
from discernus.llm.models_file import ModelRules
from discernus.llm.policy import region_of, why_outside

UNKNOWN = ModelRules()
ALL_RULES = DataPolicy(vendors=(), regions=("eu",), retention="none")


def vendor_of(model: str) -> str:
    return model.partition("/")[0]


def why(policy: DataPolicy, model: str, rules: ModelRules = UNKNOWN) -> str | None:
    return why_outside(policy, model, vendor_of(model), rules)


def test_a_policy_that_restricts_nothing_admits_every_model() -> None:
    assert why(DataPolicy(), "openai/gpt-4o") is None
    assert why(DataPolicy(sensitivity="personal"), "openai/gpt-4o") is None
    assert why_outside(DataPolicy(sensitivity="personal"), "gpt-4o", None, UNKNOWN) is None


def test_the_offline_model_is_always_inside() -> None:
    assert why(ALL_RULES, "offline/lexicon") is None
    assert why(ALL_RULES, "offline/lexicon", ModelRules(region="mars", retention="all")) is None
    assert why(ALL_RULES, "offlinex/lexicon") is not None


def test_a_vendor_that_is_not_permitted_is_named_with_those_that_are() -> None:
    policy = DataPolicy(vendors=("gemini", "Vertex_AI"))
    assert why(policy, "gemini/gemini-2.5-pro") is None
    assert why(policy, "vertex_ai/gemini-2.5-pro") is None
    assert why(policy, "openai/gpt-4o") == (
        "model 'openai/gpt-4o' is outside of the data policy: "
        "its vendor is openai (permitted: gemini, Vertex_AI): use another model"
    )
    assert why_outside(policy, "gpt-4o", "openai", UNKNOWN) is not None


def test_a_model_of_an_unknown_vendor_is_outside() -> None:
    why_not = why_outside(DataPolicy(vendors=("gemini",)), "mystery", None, UNKNOWN)
    assert why_not is not None
    assert "its vendor is not known" in why_not


def test_where_no_vendor_is_permitted_ones_own_machines_are_left() -> None:
    policy = DataPolicy(vendors=())
    assert why(policy, "ollama/llama3:8b") is None
    assert "none is permitted" in (why(policy, "gemini/gemini-2.5-flash") or "")


@pytest.mark.parametrize("model", ["ollama/llama3:8b", "ollama_chat/llama3", "lm_studio/phi-4", "llamafile/phi-4"])
def test_a_server_of_ones_own_is_inside_as_long_as_nothing_else_is_said_of_it(model: str) -> None:
    assert why(ALL_RULES, model) is None
    rented = why(ALL_RULES, model, ModelRules(region="us-east-1", retention="none"))
    assert rented is not None
    assert "its vendor is" in rented
    assert "it runs in us-east-1 (permitted: eu)" in rented


@pytest.mark.parametrize("model", ["ollama/gpt-oss:120b-cloud", "ollama_chat/glm-4.6:cloud"])
def test_what_a_local_program_passes_on_to_its_maker_is_not_ones_own(model: str) -> None:
    assert why(DataPolicy(vendors=()), model) is not None
    assert why(DataPolicy(regions=("eu",)), model) is not None


def test_a_model_whose_region_is_unknown_is_outside_until_models_yaml_states_it() -> None:
    policy = DataPolicy(regions=("eu", "europe-west4"))
    unknown = why(policy, "vertex_ai/gemini-2.5-pro")
    assert unknown is not None
    assert "where it runs is not known (permitted: eu, europe-west4)" in unknown
    assert "state `region:` for it in models.yaml" in unknown
    assert why(policy, "vertex_ai/gemini-2.5-pro", ModelRules(region="Europe-West4")) is None
    assert "it runs in us-central1" in (why(policy, "vertex_ai/x", ModelRules(region="us-central1")) or "")


def test_a_part_of_the_world_does_not_stand_for_its_regions() -> None:
    """AWS's eu-west-2 is in London: a name that begins alike proves nothing."""
    assert why(DataPolicy(regions=("eu",)), "bedrock/converse/eu-west-2/anthropic.claude-v2:1") is not None
    assert why(DataPolicy(regions=("eu-west-1",)), "bedrock/eu.anthropic.claude-sonnet-4-5") is not None


@pytest.mark.parametrize(
    ("model", "region"),
    [
        ("bedrock/eu.anthropic.claude-sonnet-4-5-20250929-v1:0", "eu"),
        ("bedrock/converse/us-gov.xai.grok-4.6", "us-gov"),
        ("bedrock/global.anthropic.claude-sonnet-4-20250514-v1:0", "global"),
        ("bedrock/arn:aws:bedrock:eu-west-1:1:inference-profile/eu.amazon.nova-lite-v1:0", "eu"),
        ("bedrock/converse/eu-central-1/anthropic.claude-v2:1", "eu-central-1"),
        ("bedrock/converse/eu-west-1/eu.amazon.nova-lite-v1:0", "eu"),
        # On other routes the region in the path may be passed over; what LiteLLM does not know is sent elsewhere.
        ("bedrock/eu-central-1/anthropic.claude-v2:1", None),
        ("bedrock/converse/me-central-1/anthropic.claude-v2:1", None),
        ("bedrock/anthropic.claude-v2:1", None),
        # A deployment on Azure, and what else only looks like a region.
        ("azure/eu/gpt-4o", None),
        ("openai/eu.anthropic.claude", None),
        ("vertex_ai/gemini-2.5-flash", None),
        ("gemini/gemini-2.5-flash", None),
    ],
)
def test_a_name_tells_the_region_only_where_it_decides_it(model: str, region: str | None) -> None:
    assert region_of(model, vendor_of(model), UNKNOWN) == region
    assert region_of(model, vendor_of(model), ModelRules(region="stated")) == (region or "stated")


def test_a_bare_name_that_is_bedrocks_tells_its_region_too() -> None:
    assert region_of("eu.anthropic.claude-sonnet-4-5-20250929-v1:0", "bedrock_converse", UNKNOWN) == "eu"
    assert region_of("eu.anthropic.claude-sonnet-4-5-20250929-v1:0", None, UNKNOWN) is None


def test_what_a_vendor_keeps_has_to_be_known_and_permitted() -> None:
    strict = DataPolicy(retention="none")
    unknown = why(strict, "gemini/gemini-2.5-pro")
    assert unknown is not None
    assert "what its vendor keeps is not known (permitted: none): state `retention:` for it in models.yaml" in unknown
    assert why(strict, "gemini/gemini-2.5-pro", ModelRules(retention="None")) is None
    kept = why(strict, "gemini/gemini-2.5-pro", ModelRules(retention="30 days"))
    assert kept is not None
    assert "its vendor keeps texts: 30 days (permitted: none)" in kept


def test_who_keeps_nothing_is_inside_of_any_retention() -> None:
    month = DataPolicy(retention="30 days")
    assert why(month, "gemini/gemini-2.5-pro", ModelRules(retention="30 days")) is None
    assert why(month, "gemini/gemini-2.5-pro", ModelRules(retention="none")) is None
    assert why(month, "gemini/gemini-2.5-pro", ModelRules(retention="90 days")) is not None


def test_all_that_keeps_a_model_outside_is_said_at_once() -> None:
    why_not = why(DataPolicy(vendors=("gemini",), regions=("eu",), retention="none"), "openai/gpt-4o")
    assert why_not is not None
    assert all(part in why_not for part in ("vendor is openai", "where it runs", "what its vendor keeps"))
