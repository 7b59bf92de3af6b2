"""The gateway through LiteLLM's real adapters, against every vendor's form as the fake vendor speaks it at the wire."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from discernus.llm import gateway
from discernus.llm.calls import Message, ModelAnswer, ModelRequest
from discernus.llm.errors import CallFailed, ErrorClass
from tests.fake_vendor import FakeVendor
from tests.fake_vendor.bills import Price, bills
from tests.fake_vendor.service_account import LOCATION

MODELS = {
    "openai": "openai/gpt-4o-mini",
    "anthropic": "anthropic/claude-sonnet-4-5",
    "gemini": "gemini/gemini-2.5-flash",
    "vertex_ai": "vertex_ai/gemini-2.5-flash",
    "ollama_chat": "ollama_chat/llama3",
    "openrouter": "openrouter/openai/gpt-4o-mini",
    "hosted_vllm": "hosted_vllm/qwen3-8b",
}
FORMS = tuple(MODELS)
GOOGLES = ("gemini", "vertex_ai")
SCHEMA = {"hope_score": "number", "hope_evidence": "array"}
INSTRUCTIONS = f"Answer with one JSON object of this form:\n{json.dumps(SCHEMA)}\n" + "Judge what the text says. " * 60
TEXT = "The mill stands idle again. We counted every coin we had. Nobody in this hall was told why."

every_form = pytest.mark.parametrize("form", FORMS)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[FakeVendor, dict[str, str]]]:
    with FakeVendor(tmp_path_factory.mktemp("vendor")) as vendor:
        yield vendor, {**vendor.env(), **vendor.vertex_env()}


@pytest.fixture
def vendor(running: tuple[FakeVendor, dict[str, str]], monkeypatch: pytest.MonkeyPatch) -> FakeVendor:
    vendor, variables = running
    vendor.control(reset=True)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return vendor


def question(form: str, timeout_s: float = 20.0) -> ModelRequest:
    messages = (Message(role="system", content=INSTRUCTIONS), Message(role="user", content=TEXT))
    return ModelRequest(model=MODELS[form], messages=messages, timeout_s=timeout_s)


async def ask(form: str) -> ModelAnswer:
    return await gateway.complete(question(form), idempotency_key="key-1")


async def fail(vendor: FakeVendor, form: str, timeout_s: float = 20.0) -> CallFailed:
    """Ask, and return the failure; there was one request on the wire and no other."""
    before = vendor.stats().get("requests", 0)
    with pytest.raises(CallFailed) as raised:
        await gateway.complete(question(form, timeout_s), idempotency_key="key-1")
    assert vendor.stats()["requests"] - before == 1
    return raised.value


def own_name(form: str) -> str:
    return MODELS[form].partition("/")[2]


# what an answer tells of itself

API_VERSIONS = {"openai": "2020-10-01", "anthropic": "2023-06-01", "gemini": "v1beta", "vertex_ai": "v1"} | {
    "ollama_chat": None,
    "openrouter": "v1",
    "hosted_vllm": "v1",
}


@every_form
async def test_an_answer_comes_with_the_vendors_own_count_and_the_version_that_answered(
    vendor: FakeVendor, form: str
) -> None:
    before = len(vendor.answers())
    answer = await ask(form)
    (billed,) = vendor.answers()[before:]
    assert list(json.loads(answer.text)) == list(SCHEMA)
    assert answer.finish_reason == "stop"
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (
        billed.prompt_tokens,
        billed.completion_tokens,
    )
    assert (answer.model_requested, answer.model_answered) == (MODELS[form], f"{own_name(form)}-2026-01-01")
    assert not answer.substituted
    assert billed.idempotency_key == "key-1"
    assert f"{billed.vendor}/{billed.model}" == MODELS[form]


@every_form
async def test_what_a_vendor_tells_of_itself_is_kept_and_nothing_is_made_up(vendor: FakeVendor, form: str) -> None:
    answer = await ask(form)
    told, number = answer.model_forensics, f"{vendor.answers()[-1].ordinal:06d}"
    assert answer.response_as_received is not None
    received = json.loads(answer.response_as_received)
    assert told["vendor"] == form
    assert told["api_version"] == API_VERSIONS[form]
    assert told["response_id"] == (received.get("id") or received.get("responseId"))
    assert told["request_id"] == (f"req_{number}" if form in ("openai", "anthropic") else None)
    assert told["system_fingerprint"] == ("fp_fake_2026" if form == "openai" else None)
    assert told["deployment_region"] == (LOCATION if form == "vertex_ai" else None)


@every_form
async def test_the_version_behind_a_name_may_change_and_the_answer_says_so(vendor: FakeVendor, form: str) -> None:
    answers = []
    for suffix in ("-2026-01-01", "-2026-02-02"):
        vendor.control(model_suffix=suffix)
        answers.append(await ask(form))
    assert [answer.model_answered for answer in answers] == [
        f"{own_name(form)}-2026-01-01",
        f"{own_name(form)}-2026-02-02",
    ]
    assert not any(answer.substituted for answer in answers)


@every_form
async def test_another_model_than_the_one_that_was_asked_is_never_taken_for_it(vendor: FakeVendor, form: str) -> None:
    another = f"{own_name(form)}-lite"
    vendor.control(answers_as={MODELS[form]: another})
    answer = await ask(form)
    assert answer.model_answered == another
    assert answer.substituted


# usage and cost


@every_form
async def test_cached_and_reasoning_tokens_are_told_apart_where_the_vendor_does(vendor: FakeVendor, form: str) -> None:
    vendor.control(prompt_cache=True, reasoning_tokens=70)
    before = len(vendor.answers())
    first, second = await ask(form), await ask(form)
    billed = vendor.answers()[before:]
    assert [answer.usage.prompt_tokens for answer in (first, second)] == [entry.prompt_tokens for entry in billed]
    assert [answer.usage.completion_tokens for answer in (first, second)] == [
        entry.completion_tokens for entry in billed
    ]
    assert not first.usage.cached_tokens
    assert second.usage.cached_tokens == (None if form == "ollama_chat" else 384)
    assert second.usage.reasoning_tokens == (None if form in ("ollama_chat", "hosted_vllm") else 70)


@pytest.mark.parametrize(
    ("form", "entry"),
    [
        ("openai", "gpt-4o-mini"),
        ("anthropic", "claude-sonnet-4-5"),
        ("gemini", "gemini/gemini-2.5-flash"),
        ("vertex_ai", "gemini-2.5-flash"),
    ],
)
async def test_the_cost_by_the_price_table_is_the_vendors_own_bill(vendor: FakeVendor, form: str, entry: str) -> None:
    import litellm

    vendor.control(prompt_cache=True, reasoning_tokens=70)
    answers = [await ask(form) for _ in range(3)]
    table = litellm.model_cost[entry]
    price = {
        "input_usd": table["input_cost_per_token"],
        "output_usd": table["output_cost_per_token"],
        "cached_input_usd": table["cache_read_input_token_cost"],
    }
    assert sum(answer.cost_usd or 0 for answer in answers) == pytest.approx(spent(vendor, form, price, last=3))
    assert all(answer.price_source for answer in answers)


async def test_where_the_vendor_tells_what_it_charged_that_is_the_cost(vendor: FakeVendor) -> None:
    price = {"input_usd": 3e-7, "output_usd": 7e-7, "cached_input_usd": 1e-7}
    vendor.control(prompt_cache=True, prices={MODELS["openrouter"]: price})
    answers = [await ask("openrouter") for _ in range(2)]
    charged = [json.loads(answer.response_as_received or "")["usage"]["cost"] for answer in answers]
    assert [answer.cost_usd for answer in answers] == charged
    assert sum(charged) == pytest.approx(spent(vendor, "openrouter", price, last=2))
    assert "openrouter" in str(answers[0].price_source)


@pytest.mark.parametrize("form", ["ollama_chat", "hosted_vllm"])
async def test_a_model_without_a_price_costs_null_and_never_zero(vendor: FakeVendor, form: str) -> None:
    answer = await ask(form)
    assert (answer.cost_usd, answer.price_source) == (None, None)


def spent(vendor: FakeVendor, form: str, price: dict[str, Any], *, last: int) -> float:
    """Return what the last answers of that vendor cost by its own journal."""
    answers = [entry for entry in vendor.answers() if entry.vendor == form][-last:]
    return Price(**price).cost_usd(bills(answers)[MODELS[form]])


# what is no answer

CLASSES: dict[str, ErrorClass] = {
    "rate_limit": "rate_limit",
    "quota": "quota",
    "bad_key": "authentication",
    "no_permission": "permission",
    "unknown_model": "model_not_found",
    "context_length": "context_too_long",
    "overloaded": "overload",
    "bad_request": "bad_request",
    "status_400": "bad_request",
    "status_401": "authentication",
    "status_402": "quota",
    "status_403": "permission",
    "status_404": "model_not_found",
    "status_408": "timeout",
    "status_409": "server_error",
    "status_413": "context_too_long",
    "status_415": "bad_request",
    "status_422": "bad_request",
    "status_500": "server_error",
    "status_502": "server_error",
    "status_503": "server_error",
    "status_504": "timeout",
    "status_529": "overload",
    "connection": "connection_error",
    "reset": "connection_error",
    "malformed": "malformed_answer",
    "empty": "malformed_answer",
}


@pytest.mark.parametrize("fault", CLASSES)
@every_form
async def test_every_error_is_told_by_its_status_and_its_words(vendor: FakeVendor, form: str, fault: str) -> None:
    vendor.control(sequence=[fault])
    failure = await fail(vendor, form)
    assert failure.error_class == CLASSES[fault]
    assert failure.sent
    assert vendor.journal()[-1].fault == fault
    if vendor.journal()[-1].event == "fault" and fault not in ("connection", "reset"):
        assert failure.status == vendor.journal()[-1].status
    assert (await ask(form)).text


@pytest.mark.parametrize(
    ("form", "fault", "expected"),
    [
        ("openai", "content_policy", "refusal"),
        ("anthropic", "content_policy", "refusal"),
        ("openrouter", "content_policy", "refusal"),
        ("ollama_chat", "out_of_memory", "memory_error"),
        ("hosted_vllm", "out_of_memory", "memory_error"),
        ("openai", "error_in_200", "malformed_answer"),
        ("openrouter", "error_in_200", "server_error"),
        ("hosted_vllm", "error_in_200", "server_error"),
        ("gemini", "error_in_200", "server_error"),
    ],
)
async def test_what_only_some_vendors_say_is_understood_too(
    vendor: FakeVendor, form: str, fault: str, expected: ErrorClass
) -> None:
    vendor.control(sequence=[fault])
    assert (await fail(vendor, form)).error_class == expected


@every_form
async def test_a_vendor_is_waited_for_as_long_as_it_asks_wherever_it_says_so(vendor: FakeVendor, form: str) -> None:
    vendor.control(sequence=["rate_limit"], retry_after_s=7)
    failure = await fail(vendor, form)
    assert failure.retry_after_s is not None
    assert 5 <= failure.retry_after_s <= 8.5  # one of them tells a moment in whole seconds, and time passes until then
    assert not failure.counts_as_attempt


@pytest.mark.parametrize("form", ["openai", *GOOGLES])
async def test_a_delay_shorter_than_a_second_is_not_rounded_up(vendor: FakeVendor, form: str) -> None:
    vendor.control(sequence=["rate_limit"], retry_after_s=0.25)
    assert (await fail(vendor, form)).retry_after_s == 0.25


@every_form
async def test_a_call_that_hangs_ends_when_its_time_is_up(vendor: FakeVendor, form: str) -> None:
    vendor.control(sequence=["hang"])
    failure = await fail(vendor, form, timeout_s=0.25)
    assert (failure.error_class, failure.sent) == ("timeout", True)


@every_form
async def test_a_model_that_is_down_fails_until_it_is_up_again(vendor: FakeVendor, form: str) -> None:
    vendor.control(down={MODELS[form]: "connection"})
    assert [(await fail(vendor, form)).error_class for _ in range(2)] == ["connection_error"] * 2
    vendor.control(down={})
    assert (await ask(form)).text


# what is half an answer


@pytest.mark.parametrize("fault", ["content_filter", "safety", "declined"])
@pytest.mark.parametrize("form", [form for form in FORMS if form != "ollama_chat"])
async def test_an_answer_that_was_held_back_is_a_refusal_that_was_paid_for(
    vendor: FakeVendor, form: str, fault: str
) -> None:
    vendor.control(sequence=[fault])
    failure = await fail(vendor, form)
    assert (failure.error_class, failure.status) == ("refusal", 200)
    assert vendor.journal()[-1].event == "answer"
    assert failure.usage is not None
    assert failure.usage.prompt_tokens == vendor.journal()[-1].prompt_tokens


async def test_a_vendor_without_a_filter_refuses_in_words_and_these_are_its_answer(vendor: FakeVendor) -> None:
    vendor.control(sequence=["declined"])
    assert "can't help" in (await ask("ollama_chat")).text


@every_form
async def test_an_answer_that_was_cut_off_is_kept_and_says_so(vendor: FakeVendor, form: str) -> None:
    vendor.control(sequence=["truncated"])
    answer = await ask(form)
    assert answer.finish_reason == "length"
    assert answer.text.startswith("{")
    assert answer.usage.completion_tokens == vendor.answers()[-1].completion_tokens


# limits


@pytest.mark.parametrize("form", ["openai", "anthropic"])
async def test_limits_are_read_off_the_headers_of_those_who_send_them(vendor: FakeVendor, form: str) -> None:
    vendor.control(requests_per_window=600, tokens_per_window=90_000)
    answer = await ask(form)
    limits, spent_tokens = answer.limits, vendor.answers()[-1]
    assert limits is not None
    assert (limits.requests_per_minute, limits.tokens_per_minute) == (600, 90_000)
    assert limits.remaining_requests == 599
    used = (spent_tokens.prompt_tokens or 0) + (spent_tokens.completion_tokens or 0)
    assert limits.remaining_tokens == 90_000 - used
    assert limits.reset_s is not None
    assert 0 < limits.reset_s <= 60


@every_form
async def test_where_no_header_tells_of_limits_none_are_known(vendor: FakeVendor, form: str) -> None:
    vendor.control(requests_per_window=600, limit_headers=form not in ("openai", "anthropic"))
    assert (await ask(form)).limits is None


@every_form
async def test_a_limit_that_was_run_into_says_when_it_is_free_again(vendor: FakeVendor, form: str) -> None:
    vendor.control(requests_per_window=1, window_s=30)
    await ask(form)
    failure = await fail(vendor, form)
    assert failure.error_class == "rate_limit"
    assert failure.retry_after_s is not None
    assert 0 < failure.retry_after_s <= 32
    assert vendor.stats()[f"429 {MODELS[form]}"] >= 1


# Vertex AI's keys


async def test_vertex_ai_asks_for_a_token_once_and_uses_it_for_every_call(vendor: FakeVendor) -> None:
    await ask("vertex_ai")
    before = vendor.stats().get("token_requests", 0)  # none where an earlier test has got one in this process
    for _ in range(3):
        await ask("vertex_ai")
    assert vendor.stats().get("token_requests", 0) == before <= 1


async def test_a_service_account_that_was_revoked_stops_the_session(
    vendor: FakeVendor, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    account = tmp_path / "account.json"  # a file of its own, for which no token is known yet
    account.write_text((vendor.state_dir / "service_account.json").read_text())
    monkeypatch.setenv("VERTEXAI_CREDENTIALS", str(account))
    vendor.control(revoked=True)
    with pytest.raises(CallFailed) as raised:
        await ask("vertex_ai")
    assert (raised.value.error_class, raised.value.sent) == ("authentication", False)
    assert raised.value.stops_session
