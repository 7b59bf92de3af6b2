"""What a call used and cost, read off replies in each vendor's form, whole and broken."""

import json
from typing import Any

import pytest

from discernus.llm.billing import PriceTable, bill, cost_told, count_in, says_count, usage_of
from discernus.llm.calls import Usage
from discernus.llm.models_file import Price

OPENAI = {
    "usage": {
        "prompt_tokens": 100,
        "completion_tokens": 30,
        "prompt_tokens_details": {"cached_tokens": 40},
        "completion_tokens_details": {"reasoning_tokens": 7},
    }
}
ANTHROPIC = {
    "usage": {
        "input_tokens": 50,
        "cache_creation_input_tokens": 10,
        "cache_read_input_tokens": 40,
        "output_tokens": 30,
    }
}
GEMINI = {
    "usageMetadata": {
        "promptTokenCount": 100,
        "candidatesTokenCount": 23,
        "thoughtsTokenCount": 7,
        "cachedContentTokenCount": 40,
    }
}
BLOCKED_GEMINI = {"usageMetadata": {"promptTokenCount": 100, "totalTokenCount": 100}}
THINKING_GEMINI = {"usageMetadata": {"promptTokenCount": 100, "thoughtsTokenCount": 7}}
OLLAMA = {"done": True, "prompt_eval_count": 100, "eval_count": 30}
BEDROCK = {"usage": {"inputTokens": 100, "outputTokens": 30, "totalTokens": 130}}
TABLE = PriceTable({"m": {"litellm_provider": "openai", "input_cost_per_token": 1e-6}}, "1.0", lambda *_: 0.5)


def used(prompt: int | None, completion: int | None, cached: int | None, reasoning: int | None) -> Usage:
    return Usage(prompt_tokens=prompt, completion_tokens=completion, cached_tokens=cached, reasoning_tokens=reasoning)


@pytest.mark.parametrize(
    ("body", "usage"),
    [
        (OPENAI, used(100, 30, 40, 7)),
        (ANTHROPIC, used(100, 30, 40, None)),
        (GEMINI, used(100, 30, 40, 7)),
        (BLOCKED_GEMINI, used(100, 0, None, None)),
        (THINKING_GEMINI, used(100, 7, None, 7)),
        (OLLAMA, used(100, 30, None, None)),
        (BEDROCK, used(100, 30, None, None)),
        ({"choices": []}, Usage()),
        ({"usage": None}, Usage()),
        ({"usage": {"prompt_tokens": None, "prompt_tokens_details": None}}, Usage()),
        ({"usage": {"prompt_tokens": float("nan"), "completion_tokens": "30"}}, Usage()),
    ],
)
def test_each_vendors_count_is_read_in_our_words(body: dict[str, Any], usage: Usage) -> None:
    text = json.dumps({"id": "x", **body, "object": "chat"})
    assert usage_of(count_in(text)) == usage
    assert usage_of(count_in(f"HTTP noise {text[:-2]}")) == usage


def test_a_count_that_is_cut_off_or_that_a_model_writes_about_is_not_read() -> None:
    assert count_in(json.dumps(OPENAI)[:40]) == {}
    written = json.dumps({"text": json.dumps(OPENAI)})
    assert count_in(written) == {}
    assert not says_count(written)
    assert says_count(json.dumps(OPENAI))
    assert says_count(json.dumps(OLLAMA))


def test_a_vendor_that_tells_its_cost_is_believed_and_others_are_not() -> None:
    body = json.dumps({"usage": {"prompt_tokens": 1, "cost": 0.25}})
    assert cost_told("openrouter", body, {}, proxied=False) == (0.25, "openrouter: usage.cost of its answer")
    assert cost_told("openrouter", json.dumps({"usage": {"cost": 0}}), {}, proxied=False) is not None
    assert cost_told("openai", body, {}, proxied=False) is None
    for cost in (None, "0.25", True, -1):
        assert cost_told("openrouter", json.dumps({"usage": {"cost": cost}}), {}, proxied=False) is None
    header = {"x-litellm-response-cost": "0.5"}
    assert cost_told("openai", "", header, proxied=True) == (0.5, "litellm proxy: its x-litellm-response-cost")
    assert cost_told("openai", "", header, proxied=False) is None


def test_with_a_vendor_key_of_ones_own_that_vendors_bill_is_part_of_the_cost() -> None:
    def told(**stated: Any) -> tuple[float, str] | None:
        return cost_told("openrouter", json.dumps({"usage": stated}), {}, proxied=False)

    own_key = told(cost=0.5, is_byok=True, cost_details={"upstream_inference_cost": 0.9})
    assert own_key == (1.4, "openrouter: usage.cost and upstream_inference_cost of its answer")
    assert told(cost=0, is_byok=True, cost_details={"upstream_inference_cost": None}) is None
    assert told(cost=0.05, is_byok=True) is None
    theirs = told(cost=0.5, is_byok=False, cost_details={"upstream_inference_cost": 0.5})
    assert theirs == (0.5, "openrouter: usage.cost of its answer")


def test_the_figure_told_comes_first_then_our_own_price_then_the_table() -> None:
    usage = used(100, 30, 40, None)
    own = Price(input_usd=0.01, output_usd=0.1, cached_input_usd=0.001)

    def cost(**more: Any) -> tuple[float | None, str | None]:
        known: dict[str, Any] = {"told": None, "own": None, "table": TABLE}
        found = bill(usage, ("m",), "openai", **{**known, **more})
        return found.cost_usd, found.price_source

    assert cost(told=(2.0, "the vendor"), own=own) == (2.0, "the vendor")
    by_own, source = cost(own=own)
    assert by_own == pytest.approx(60 * 0.01 + 40 * 0.001 + 30 * 0.1)
    assert source is not None
    assert source.startswith("models.yaml ")
    assert cost(own=Price(input_usd=0.01, output_usd=0.1))[0] == pytest.approx(100 * 0.01 + 30 * 0.1)
    by_table, source = cost()
    assert by_table == 0.5
    assert source is not None
    assert source.startswith("litellm 1.0 m ")


def test_what_is_not_counted_or_not_priced_has_no_cost() -> None:
    own = Price(input_usd=0.01, output_usd=0.1)
    known: dict[str, Any] = {"told": None, "table": TABLE}
    assert bill(Usage(), ("m",), "openai", own=own, **known).cost_usd is None
    unpriced = bill(used(1, 1, None, None), ("another",), "openai", own=None, **known)
    assert (unpriced.cost_usd, unpriced.price_source) == (None, None)
    assert unpriced.usage.prompt_tokens == 1
    untold = bill(used(100, None, None, None), ("m",), "openai", own=own, **known)
    assert (untold.cost_usd, untold.price_source) == (None, None)
