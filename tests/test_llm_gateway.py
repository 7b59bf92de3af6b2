"""The gateway against vendors that are faked at the wire: one loopback server that answers as each of them does."""

import asyncio
import json
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from discernus.llm import gateway, wire
from discernus.llm.calls import Message, ModelRequest
from discernus.llm.errors import CallFailed
from discernus.settings import Settings

OPENAI_KEY = "sk-proj-thisisnotarealkey0001"
ANTHROPIC_KEY = "anthropic-key-not-real-0002"
GEMINI_KEY = "gemini-key-not-real-0003"
SECRETS = (OPENAI_KEY, ANTHROPIC_KEY, GEMINI_KEY)

Reply = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class Vendor:
    """A server that keeps what it was asked and answers as it is told."""

    address: str = ""
    reply: Reply | None = None
    bodies: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.bodies.append(json.loads(await request.read()))
        self.headers.append({name.lower(): value for name, value in request.headers.items()})
        assert self.reply is not None
        return await self.reply(request)


def says(status: int, body: Any, headers: dict[str, str] | None = None) -> Reply:
    text = body if isinstance(body, str) else json.dumps(body)

    async def reply(_: web.Request) -> web.Response:
        return web.Response(status=status, text=text, content_type="application/json", headers=headers)

    return reply


async def hangs(_: web.Request) -> web.Response:
    await asyncio.sleep(5)
    return web.Response()


async def cuts_off(request: web.Request) -> web.Response:
    assert request.transport is not None
    at_once = struct.pack("ii", 1, 0)  # a reset rather than an orderly end
    request.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
    request.transport.abort()
    return web.Response()


def openai_answer(model: str = "gpt-4o-mini-2024-07-18", **changes: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": changes.pop("content", '{"hope": 0.5}')}
    answer = {
        "id": "chatcmpl-77",
        "object": "chat.completion",
        "created": 1,
        "model": model,
        "system_fingerprint": "fp_abc",
        "service_tier": "default",
        "choices": [{"index": 0, "message": message, "finish_reason": changes.pop("finish_reason", "stop")}],
        "usage": {
            "prompt_tokens": 1000,
            "completion_tokens": 200,
            "total_tokens": 1200,
            "prompt_tokens_details": {"cached_tokens": 400},
            "completion_tokens_details": {"reasoning_tokens": 50},
        },
    }
    return {**answer, **changes}


ANTHROPIC_ANSWER = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-sonnet-4-5-20250929",
    "content": [{"type": "text", "text": '{"hope": 0.5}'}],
    "stop_reason": "end_turn",
    "usage": {"input_tokens": 1000, "output_tokens": 200, "cache_read_input_tokens": 300},
}
GEMINI_ANSWER = {
    "candidates": [{"content": {"role": "model", "parts": [{"text": '{"hope": 0.5}'}]}, "finishReason": "STOP"}],
    "usageMetadata": {"promptTokenCount": 1000, "candidatesTokenCount": 200, "totalTokenCount": 1200},
    "modelVersion": "gemini-2.5-flash-002",
}


def ask(model: str = "openai/gpt-4o-mini", timeout_s: float = 20.0, **parameters: Any) -> ModelRequest:
    messages = (
        Message(role="system", content="You score texts."),
        Message(role="user", content="BEGIN T\nA text that nobody wrote.\nEND T"),
    )
    return ModelRequest(model=model, messages=messages, parameters=parameters, timeout_s=timeout_s)


async def failure(request: ModelRequest) -> CallFailed:
    with pytest.raises(CallFailed) as raised:
        await gateway.complete(request, idempotency_key="key-1")
    shown = f"{raised.value} {raised.value.body} {raised.value.message} {raised.value.__cause__!r}"
    assert not any(secret in shown for secret in SECRETS)
    return raised.value


@pytest.fixture(scope="module")
async def server() -> AsyncIterator[Vendor]:
    vendor = Vendor()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", vendor.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    vendor.address = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield vendor
    await runner.cleanup()


@pytest.fixture
def vendor(server: Vendor, monkeypatch: pytest.MonkeyPatch) -> Vendor:
    server.bodies.clear()
    server.headers.clear()
    monkeypatch.setattr(gateway, "_settings", None)
    server.reply = says(200, openai_answer())
    for name, value in {
        "OPENAI_API_KEY": OPENAI_KEY,
        "OPENAI_API_BASE": f"{server.address}/v1",
        "ANTHROPIC_API_KEY": ANTHROPIC_KEY,
        "ANTHROPIC_API_BASE": server.address,
        "GEMINI_API_KEY": GEMINI_KEY,
        "GEMINI_API_BASE": f"{server.address}/v1beta/models/gemini-2.5-flash",
    }.items():
        monkeypatch.setenv(name, value)
    return server


async def test_an_answer_comes_with_usage_cost_and_who_gave_it(vendor: Vendor) -> None:
    vendor.reply = says(200, openai_answer(), {"x-request-id": "req_5", "openai-version": "2020-10-01"})
    answer = await gateway.complete(ask(temperature=0.1, seed=7), idempotency_key="key-1")
    assert answer.text == '{"hope": 0.5}'
    assert answer.finish_reason == "stop"
    assert (answer.model_requested, answer.model_answered) == ("openai/gpt-4o-mini", "gpt-4o-mini-2024-07-18")
    assert answer.usage.model_dump() == {
        "prompt_tokens": 1000,
        "completion_tokens": 200,
        "cached_tokens": 400,
        "reasoning_tokens": 50,
    }
    assert answer.cost_usd == pytest.approx((600 * 0.15 + 400 * 0.075 + 200 * 0.6) / 1e6)
    assert answer.price_source is not None
    assert answer.price_source.startswith("litellm 1.106.2 gpt-4o-mini ")
    assert answer.dropped_parameters == ()
    assert answer.latency_ms > 0
    told = answer.model_forensics
    assert told["endpoint"] == f"{vendor.address.removeprefix('http://')}/v1/chat/completions"
    assert (told["vendor"], told["api_version"], told["request_id"]) == ("openai", "2020-10-01", "req_5")
    assert (told["system_fingerprint"], told["service_tier"]) == ("fp_abc", "default")
    assert told["model_build_date"] is told["deployment_region"] is None
    assert told["parameters"] == {"temperature": 0.1, "seed": 7}
    assert (told["capabilities"]["max_input_tokens"], told["capabilities"]["json_schema"]) == (128_000, True)
    assert told["proxy"] is None
    assert (answer.substituted, answer.limits, answer.marks) == (False, None, ())


async def test_what_went_over_the_wire_is_kept_without_texts_and_secrets(vendor: Vendor) -> None:
    answer = await gateway.complete(ask(temperature=0.1), idempotency_key="key-1")
    assert answer.request_as_sent is not None
    assert answer.request_as_sent["messages"][1] == {"role": "user", "content": "[39 characters]"}
    assert answer.request_as_sent["temperature"] == 0.1
    assert answer.request_as_sent.keys() == vendor.bodies[0].keys()
    assert answer.response_as_received == json.dumps(openai_answer())
    assert not any(secret in answer.model_dump_json() for secret in SECRETS)
    assert "nobody wrote" not in answer.model_dump_json()


async def test_a_key_that_a_vendor_echoes_is_removed_from_the_answer(vendor: Vendor) -> None:
    vendor.reply = says(200, openai_answer(content=f"your key is {OPENAI_KEY}"))
    answer = await gateway.complete(ask(), idempotency_key="key-1")
    assert answer.text == "your key is [removed]"
    assert OPENAI_KEY not in answer.model_dump_json()


@pytest.mark.parametrize(
    ("model", "body", "answered"),
    [
        ("openai/gpt-4o-mini", openai_answer(), "gpt-4o-mini-2024-07-18"),
        ("anthropic/claude-sonnet-4-5-20250929", ANTHROPIC_ANSWER, "claude-sonnet-4-5-20250929"),
        ("gemini/gemini-2.5-flash", GEMINI_ANSWER, "gemini-2.5-flash-002"),
    ],
)
async def test_each_vendor_gets_the_idempotency_key_and_is_heard_whole(
    vendor: Vendor, model: str, body: dict[str, Any], answered: str
) -> None:
    vendor.reply = says(200, body)
    answer = await gateway.complete(ask(model, max_tokens=900, top_p=0.9), idempotency_key="content-key-9")
    assert answer.text == '{"hope": 0.5}'
    assert answer.model_answered == answered
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) in {(1000, 200), (1300, 200)}
    assert answer.cost_usd
    assert answer.price_source
    assert answer.dropped_parameters == ()
    assert answer.response_as_received == json.dumps(body)
    assert [headers["idempotency-key"] for headers in vendor.headers] == ["content-key-9"]
    assert "characters]" in json.dumps(answer.request_as_sent)
    assert "nobody wrote" not in json.dumps(answer.request_as_sent)
    assert "nobody wrote" in json.dumps(vendor.bodies[0])


async def test_a_seed_that_anthropic_does_not_take_is_reported_as_dropped(vendor: Vendor) -> None:
    vendor.reply = says(200, ANTHROPIC_ANSWER)
    request = ask("anthropic/claude-sonnet-4-5-20250929", seed=3, temperature=0.2)
    answer = await gateway.complete(request, idempotency_key="key-1")
    assert answer.dropped_parameters == ("seed",)
    assert "seed" not in vendor.bodies[0]


async def test_a_model_without_a_price_costs_null_and_never_zero(vendor: Vendor) -> None:
    vendor.reply = says(200, openai_answer(model="house-model-7b"))
    answer = await gateway.complete(ask("openai/house-model-7b"), idempotency_key="key-1")
    assert answer.cost_usd is None
    assert answer.price_source is None
    assert answer.usage.prompt_tokens == 1000


async def test_tokens_that_the_vendor_did_not_count_are_not_guessed(vendor: Vendor) -> None:
    body = openai_answer()
    del body["usage"]
    vendor.reply = says(200, body)
    answer = await gateway.complete(ask(), idempotency_key="key-1")
    assert set(answer.usage.model_dump().values()) == {None}
    assert answer.cost_usd is None


async def test_an_answer_cut_off_at_the_limit_is_kept_with_its_reason(vendor: Vendor) -> None:
    vendor.reply = says(200, openai_answer(content="on and on " * 300_000, finish_reason="length"))
    answer = await gateway.complete(ask(), idempotency_key="key-1")
    assert answer.finish_reason == "length"
    assert len(answer.text) == 3_000_000
    assert answer.marks == ("oversized", "truncated", "runaway")


async def test_a_429_waits_as_long_as_it_is_told_and_uses_up_no_attempt(vendor: Vendor) -> None:
    body = {"error": {"message": f"slow down, {OPENAI_KEY}", "type": "requests", "code": "rate_limit_exceeded"}}
    vendor.reply = says(429, body, {"Retry-After": "7"})
    failed = await failure(ask())
    assert (failed.error_class, failed.kind, failed.status) == ("rate_limit", "transient", 429)
    assert failed.retry_after_s == 7
    assert not failed.counts_as_attempt
    assert len(vendor.bodies) == 1


async def test_an_exhausted_quota_stops_the_session(vendor: Vendor) -> None:
    body = {"error": {"message": "You exceeded your current quota", "type": "insufficient_quota"}}
    vendor.reply = says(429, body)
    failed = await failure(ask())
    assert (failed.error_class, failed.kind, failed.stops_session) == ("quota", "permanent", True)


@pytest.mark.parametrize(
    "model", ["openai/gpt-4o-mini", "anthropic/claude-sonnet-4-5-20250929", "gemini/gemini-2.5-flash"]
)
async def test_a_503_is_one_request_and_a_passing_failure(vendor: Vendor, model: str) -> None:
    vendor.reply = says(503, {"error": {"message": "try later"}})
    failed = await failure(ask(model))
    assert (failed.error_class, failed.kind, failed.status) == ("server_error", "transient", 503)
    assert failed.counts_as_attempt
    assert failed.sent
    assert len(vendor.bodies) == 1


@pytest.mark.parametrize(
    "model", ["openai/gpt-4o-mini", "anthropic/claude-sonnet-4-5-20250929", "gemini/gemini-2.5-flash"]
)
async def test_a_connection_that_breaks_is_never_silently_asked_again(vendor: Vendor, model: str) -> None:
    vendor.reply = cuts_off
    failed = await failure(ask(model))
    assert (failed.error_class, failed.kind) == ("connection_error", "transient")
    assert failed.sent
    assert len(vendor.bodies) == 1


@pytest.fixture
def other_transport(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have LiteLLM use the transport that its own variable chooses, for all clients that it makes meanwhile."""
    gateway.warm_up()
    clients = import_module("litellm").in_memory_llm_clients_cache
    clients.flush_cache()
    monkeypatch.setenv("DISABLE_AIOHTTP_TRANSPORT", "True")
    yield
    clients.flush_cache()


@pytest.mark.parametrize(
    ("model", "body"),
    [
        ("openai/gpt-4o-mini", openai_answer()),
        ("anthropic/claude-sonnet-4-5-20250929", ANTHROPIC_ANSWER),
        ("gemini/gemini-2.5-flash", GEMINI_ANSWER),
    ],
)
async def test_the_wire_is_watched_whichever_transport_the_environment_chooses(
    vendor: Vendor, other_transport: None, model: str, body: dict[str, Any]
) -> None:
    vendor.reply = says(200, body)
    answer = await gateway.complete(ask(model), idempotency_key="key-1")
    assert answer.response_as_received == json.dumps(body)
    assert answer.usage.prompt_tokens is not None
    assert answer.cost_usd is not None
    assert answer.marks == ()
    vendor.reply = cuts_off
    failed = await failure(ask(model))
    assert (failed.error_class, failed.sent, len(vendor.bodies)) == ("connection_error", True, 2)
    vendor.reply = says(429, {"error": {"message": "slowly"}}, {"retry-after": "7"})
    assert (await failure(ask(model))).retry_after_s == 7


async def test_an_answer_that_came_past_the_wire_is_kept_and_says_so(
    vendor: Vendor, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway.warm_up()
    monkeypatch.setattr(wire, "_current", ContextVar("nobody looks", default=None))
    monkeypatch.setattr(wire, "watched", lambda: nullcontext(wire.Exchange()))
    with capture_logs() as lines:
        answer = await gateway.complete(ask(), idempotency_key="key-1")
    assert answer.text == '{"hope": 0.5}'
    assert answer.marks == ("unwatched",)
    assert (answer.usage.prompt_tokens, answer.cost_usd) == (None, None)
    assert [line["log_level"] for line in lines if line["event"] == "answer_not_seen_on_the_wire"] == ["warning"]


async def test_a_422_that_names_a_field_is_not_sent_again_without_it(vendor: Vendor) -> None:
    vendor.reply = says(422, {"detail": [{"loc": ["body", "seed"], "msg": "extra fields not permitted"}]})
    failed = await failure(ask(seed=3))
    assert (failed.error_class, failed.status) == ("bad_request", 422)
    assert len(vendor.bodies) == 1


async def test_an_overloaded_vendor_is_waited_for(vendor: Vendor) -> None:
    body = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    vendor.reply = says(529, body)
    failed = await failure(ask("anthropic/claude-sonnet-4-5-20250929"))
    assert (failed.error_class, failed.status, failed.counts_as_attempt) == ("overload", 529, False)


@pytest.mark.parametrize(
    "model", ["openai/gpt-4o-mini", "anthropic/claude-sonnet-4-5-20250929", "gemini/gemini-2.5-flash"]
)
async def test_a_refused_connection_was_surely_not_paid(
    vendor: Vendor, monkeypatch: pytest.MonkeyPatch, model: str
) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    for name in ("OPENAI", "ANTHROPIC", "GEMINI"):
        monkeypatch.setenv(f"{name}_API_BASE", f"http://127.0.0.1:{port}")
    failed = await failure(ask(model))
    assert (failed.error_class, failed.kind, failed.sent) == ("connection_error", "transient", False)


@pytest.mark.parametrize("body", ["<html>hello</html>", "{}", '{"choices": []}', ""])
async def test_a_200_without_an_answer_in_it_is_malformed(vendor: Vendor, body: str) -> None:
    vendor.reply = says(200, body)
    failed = await failure(ask())
    assert (failed.error_class, failed.kind) == ("malformed_answer", "transient")
    assert failed.sent
    assert len(vendor.bodies) == 1


async def test_a_call_ends_when_its_time_is_up(vendor: Vendor) -> None:
    vendor.reply = hangs
    failed = await failure(ask(timeout_s=0.3))
    assert (failed.error_class, failed.kind, failed.sent) == ("timeout", "transient", True)
    assert len(vendor.bodies) == 1


@pytest.mark.parametrize(
    "model", ["openai/gpt-4o-mini", "anthropic/claude-sonnet-4-5-20250929", "gemini/gemini-2.5-flash"]
)
async def test_a_missing_key_is_named_and_nothing_is_sent(
    vendor: Vendor, monkeypatch: pytest.MonkeyPatch, model: str
) -> None:
    name = f"{model.split('/')[0].upper()}_API_KEY"
    monkeypatch.delenv(name)
    assert gateway.missing_keys(model) == (name,)
    failed = await failure(ask(model))
    assert (failed.error_class, failed.kind, failed.sent) == ("authentication", "permanent", False)
    assert failed.stops_session
    assert name in failed.message
    assert vendor.bodies == []


async def test_a_name_that_no_vendor_has_is_refused_before_anything_is_sent(vendor: Vendor) -> None:
    failed = await failure(ask("nosuchvendor-model"))
    assert (failed.error_class, failed.sent) == ("model_not_found", False)


async def test_a_blocked_answer_is_a_refusal(vendor: Vendor) -> None:
    vendor.reply = says(200, {"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 9}})
    failed = await failure(ask("gemini/gemini-2.5-flash"))
    assert (failed.error_class, failed.kind) == ("refusal", "recoverable")


async def test_what_would_act_in_a_browser_is_marked_and_kept_as_it_came(vendor: Vendor) -> None:
    text = '{"hope": 0.5, "evidence": "<script>alert(1)</script>"}'
    vendor.reply = says(200, openai_answer(content=text))
    answer = await gateway.complete(ask(), idempotency_key="key-1")
    assert (answer.text, answer.marks) == (text, ("active_content",))


async def test_another_models_answer_is_kept_and_told_apart(vendor: Vendor) -> None:
    vendor.reply = says(200, openai_answer(model="gpt-4o-2024-08-06"))
    answer = await gateway.complete(ask(), idempotency_key="key-1")
    assert answer.substituted
    assert answer.text


PAID_USD = (600 * 0.15 + 400 * 0.075 + 200 * 0.6) / 1e6  # for openai_answer's tokens, by the table


@pytest.mark.parametrize(
    ("body", "error_class"),
    [
        (openai_answer(content=None, finish_reason="content_filter"), "refusal"),
        (openai_answer(choices=[{"message": {"content": None, "refusal": "No."}, "finish_reason": "stop"}]), "refusal"),
        (openai_answer(choices=[]), "malformed_answer"),
        (openai_answer(choices=[{}]), "malformed_answer"),
        (json.dumps(openai_answer())[:-1], "malformed_answer"),
        ("<html>" + json.dumps(openai_answer()), "malformed_answer"),
    ],
)
async def test_a_paid_reply_without_an_answer_costs_what_an_answer_costs(
    vendor: Vendor, body: Any, error_class: str
) -> None:
    vendor.reply = says(200, body)
    failed = await failure(ask())
    assert (failed.error_class, failed.status) == (error_class, 200)
    assert failed.usage is not None
    assert failed.usage.model_dump() == {
        "prompt_tokens": 1000,
        "completion_tokens": 200,
        "cached_tokens": 400,
        "reasoning_tokens": 50,
    }
    assert failed.cost_usd == pytest.approx(PAID_USD)
    assert failed.price_source is not None
    assert failed.price_source.startswith("litellm 1.106.2 gpt-4o-mini ")
    assert failed.body == (body if isinstance(body, str) else json.dumps(body))


@pytest.mark.parametrize(("status", "body"), [(200, "<html>hello</html>"), (500, openai_answer()), (429, "")])
async def test_what_was_not_paid_or_not_counted_has_no_cost(vendor: Vendor, status: int, body: Any) -> None:
    vendor.reply = says(status, body)
    failed = await failure(ask())
    assert (failed.usage, failed.cost_usd, failed.price_source) == (None, None, None)


async def test_a_price_in_models_yaml_wins_over_the_table_for_answers_and_failures(
    vendor: Vendor, tmp_path: Path
) -> None:
    (tmp_path / "models.yaml").write_text(
        "models:\n  openai/gpt-4o-mini:\n    input_cost_per_token: 0.001\n    output_cost_per_token: 0.002\n"
    )
    gateway.configure(Settings(projects_dir=tmp_path))
    answer = await gateway.complete(ask(), idempotency_key="key-1")
    assert answer.cost_usd == pytest.approx(1000 * 0.001 + 200 * 0.002)
    assert answer.price_source is not None
    assert answer.price_source.startswith("models.yaml ")
    vendor.reply = says(200, openai_answer(choices=[]))
    failed = await failure(ask())
    assert (failed.cost_usd, failed.price_source) == (answer.cost_usd, answer.price_source)
    vendor.reply = says(200, openai_answer())
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "models.yaml").write_text(
        (tmp_path / "models.yaml").read_text().replace("0.001", "0.003")
    )
    gateway.configure(Settings(projects_dir=tmp_path / "elsewhere"))
    other = await gateway.complete(ask(), idempotency_key="key-1")
    assert other.cost_usd == pytest.approx(1000 * 0.003 + 200 * 0.002)
    assert other.price_source != answer.price_source


async def test_a_substitute_is_priced_as_itself_and_by_no_price_of_the_model_asked_for(
    vendor: Vendor, tmp_path: Path
) -> None:
    vendor.reply = says(200, openai_answer())
    answer = await gateway.complete(ask("openai/gpt-4o"), idempotency_key="key-1")
    assert answer.substituted
    assert answer.cost_usd == pytest.approx(PAID_USD)
    assert answer.price_source is not None
    assert answer.price_source.startswith("litellm 1.106.2 gpt-4o-mini")
    (tmp_path / "models.yaml").write_text(
        "models:\n  openai/gpt-4o:\n    input_cost_per_token: 0.001\n    output_cost_per_token: 0.002\n"
    )
    gateway.configure(Settings(projects_dir=tmp_path))
    again = await gateway.complete(ask("openai/gpt-4o"), idempotency_key="key-1")
    assert (again.cost_usd, again.price_source) == (answer.cost_usd, answer.price_source)
    vendor.reply = says(200, openai_answer(model="nobody-knows-it"))
    unknown = await gateway.complete(ask("openai/gpt-4o"), idempotency_key="key-1")
    assert (unknown.substituted, unknown.cost_usd, unknown.price_source) == (True, None, None)


async def test_an_answer_whose_own_tokens_nobody_counted_has_no_cost(vendor: Vendor) -> None:
    vendor.reply = says(200, openai_answer(usage={"prompt_tokens": 1000}))
    answer = await gateway.complete(ask(), idempotency_key="key-1")
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (1000, None)
    assert (answer.cost_usd, answer.price_source) == (None, None)


async def test_a_failed_call_leaves_what_was_sent_and_how_long_it_took(vendor: Vendor) -> None:
    vendor.reply = says(503, {"error": {"message": "try later"}}, {"x-ratelimit-limit-requests": "60"})
    failed = await failure(ask(temperature=0.1))
    assert failed.request_as_sent is not None
    assert failed.request_as_sent["messages"][1] == {"role": "user", "content": "[39 characters]"}
    assert failed.request_as_sent["temperature"] == 0.1
    assert failed.started_at is not None
    assert failed.latency_ms is not None
    assert failed.latency_ms > 0
    assert failed.limits is not None
    assert failed.limits.requests_per_minute == 60
    assert failed.body == '{"error": {"message": "try later"}}'


async def test_a_reply_without_end_is_broken_off_and_is_a_runaway(
    vendor: Vendor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "LARGEST_REPLY", 100_000)
    vendor.reply = says(200, openai_answer(content="on and on " * 20_000))
    failed = await failure(ask())
    assert (failed.error_class, failed.kind, failed.sent) == ("runaway", "recoverable", True)
    assert failed.body is not None
    assert failed.body.startswith('{"id": "chatcmpl-77"')
    assert len(vendor.bodies) == 1


async def test_each_call_is_a_line_in_the_log_unless_that_is_switched_off(vendor: Vendor) -> None:
    with capture_logs() as lines:
        await gateway.complete(ask(), idempotency_key="key-1")
        vendor.reply = says(503, f"no, {OPENAI_KEY}")
        await failure(ask())
    completed, broken = lines
    assert (completed["event"], completed["model"], completed["vendor"]) == (
        "call_completed",
        "openai/gpt-4o-mini",
        "openai",
    )
    assert (completed["prompt_tokens"], completed["completion_tokens"]) == (1000, 200)
    assert completed["cost_usd"] == pytest.approx(PAID_USD)
    assert completed["latency_ms"] > 0
    assert (broken["event"], broken["error_class"], broken["status"]) == ("call_failed", "server_error", 503)
    assert OPENAI_KEY not in str(lines)
    gateway.configure(Settings(usage_tracking=False))
    with capture_logs() as lines:
        await failure(ask())
    assert lines == []


async def test_the_offline_model_takes_the_same_path(vendor: Vendor) -> None:
    lexicon = {
        "dimensions": {"hope": {"markers": ["hope"], "low": 0.0, "high": 1.0}},
        "fields": [{"path": ["hope"], "role": "score", "dimension": "hope", "type": "number"}],
        "run": 1,
    }
    answer = await gateway.complete(ask("offline/lexicon", lexicon=lexicon, seed=1), idempotency_key="key-1")
    assert json.loads(answer.text) == {"hope": None}
    assert (answer.model_answered, answer.cost_usd) == ("offline/lexicon", 0.0)
    assert answer.usage.prompt_tokens is None
    assert answer.dropped_parameters == ("seed",)
    assert gateway.missing_keys("offline/lexicon") == ()
    assert vendor.bodies == []


async def test_the_offline_model_says_that_it_cannot_read_answers() -> None:
    failed = await failure(ask("offline/lexicon"))
    assert (failed.error_class, failed.kind) == ("bad_request", "permanent")
