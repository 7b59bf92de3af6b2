"""Calls through a LiteLLM proxy: how they are addressed, and what is made of what the proxy tells of itself."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from discernus.llm import gateway, proxy
from discernus.llm.calls import Message, ModelRequest
from discernus.llm.errors import CallFailed
from discernus.settings import Settings

MODEL = "gemini/gemini-2.5-flash"
KEY = "sk-lab-key-that-opens-nothing"
HOOKED = {"x-provider-response-model": "gemini-2.5-flash-002"}
TOLD = {
    "x-litellm-model-name": "gemini/gemini-2.5-flash",
    "x-litellm-model-id": "abc123",
    "x-litellm-model-api-base": "https://generativelanguage.googleapis.com/v1beta",
    "x-litellm-model-region": "eu",
    "x-litellm-call-id": "call-7",
    "x-litellm-version": "1.106.2",
    "x-litellm-response-cost": "0.00123",
    "x-litellm-attempted-fallbacks": "0",
    "x-litellm-attempted-retries": "0",
    "llm_provider-x-ratelimit-limit-requests": "600",
    "llm_provider-x-ratelimit-remaining-requests": "599",
}


class Proxy:
    """Answers as a LiteLLM proxy does: in OpenAI's form, under the name that it was asked for."""

    def __init__(self) -> None:
        self.address = ""
        self.status = 200
        self.told = TOLD | HOOKED
        self.error: Any = None
        self.asked: list[tuple[str, dict[str, Any], dict[str, str]]] = []

    async def handle(self, request: web.Request) -> web.Response:
        if request.method == "GET":
            alive = request.path == "/health/liveliness"
            return web.json_response("I'm alive!" if alive else "not found", status=200 if alive else 404)
        body = await request.json()
        self.asked.append((request.path, body, {name.lower(): value for name, value in request.headers.items()}))
        if self.error is not None:
            return web.json_response(self.error, status=self.status, headers=self.told)
        answer = {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1,
            "model": body["model"],
            "choices": [{"index": 0, "message": {"role": "assistant", "content": "{}"}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 1000, "completion_tokens": 200, "total_tokens": 1200},
        }
        return web.json_response(answer, headers=self.told)


@pytest.fixture(scope="module")
async def server() -> AsyncIterator[Proxy]:
    lab = Proxy()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", lab.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    lab.address = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield lab
    await runner.cleanup()


@pytest.fixture
def lab(server: Proxy, monkeypatch: pytest.MonkeyPatch) -> Proxy:
    server.status, server.told, server.error = 200, TOLD | HOOKED, None
    server.asked.clear()
    monkeypatch.setenv(proxy.KEY, KEY)
    monkeypatch.delenv("GEMINI_API_KEY", raising=False)
    monkeypatch.setattr(gateway, "_settings", None)
    gateway.configure(Settings(proxy_url=f"{server.address}/", require_proxy=True))
    return server


def question(model: str = MODEL) -> ModelRequest:
    messages = (Message(role="user", content="BEGIN T\nNobody wrote this.\nEND T"),)
    return ModelRequest(model=model, messages=messages, parameters={"seed": 7}, timeout_s=20)


async def failure(model: str = MODEL) -> CallFailed:
    with pytest.raises(CallFailed) as raised:
        await gateway.complete(question(model), idempotency_key="key-1")
    assert KEY not in f"{raised.value} {raised.value.body}"
    return raised.value


async def test_a_call_goes_through_the_proxy_and_to_no_other_model(lab: Proxy) -> None:
    await gateway.complete(question(), idempotency_key="key-1")
    ((path, body, headers),) = lab.asked
    assert path == "/chat/completions"
    assert body.keys() == {"model", "messages", "seed", "disable_fallbacks"}
    assert (body["model"], body["disable_fallbacks"], body["seed"]) == (MODEL, True, 7)
    assert headers["authorization"] == f"Bearer {KEY}"
    assert headers["idempotency-key"] == "key-1"


async def test_what_the_proxy_tells_of_the_call_is_on_record(lab: Proxy) -> None:
    answer = await gateway.complete(question(), idempotency_key="key-1")
    assert (answer.model_requested, answer.model_answered, answer.substituted) == (MODEL, "gemini-2.5-flash-002", False)
    assert (answer.cost_usd, answer.price_source) == (0.00123, proxy.COST_SOURCE)
    told = answer.model_forensics
    assert told["vendor"] == "gemini"
    assert told["endpoint"] == f"{lab.address.removeprefix('http://')}/chat/completions"
    assert told["deployment_region"] == "eu"
    assert told["proxy"]["deployment"] == "gemini/gemini-2.5-flash"
    assert told["proxy"]["vendor_endpoint"].startswith("https://generativelanguage")
    assert answer.limits is not None
    assert answer.limits.requests_per_minute == 600
    assert KEY not in answer.model_dump_json()


async def test_a_parameter_that_the_proxy_did_not_pass_on_is_dropped(lab: Proxy) -> None:
    assert (await gateway.complete(question(), idempotency_key="key-1")).dropped_parameters == ()
    lab.told = TOLD | HOOKED | {"x-dropped-parameters": "seed"}
    assert (await gateway.complete(question(), idempotency_key="key-1")).dropped_parameters == ("seed",)


async def test_without_the_hook_nobody_knows_who_answered(lab: Proxy) -> None:
    lab.told = TOLD
    answer = await gateway.complete(question(), idempotency_key="key-1")
    assert answer.model_answered is None
    assert not answer.substituted


@pytest.mark.parametrize(
    "told", [{"x-litellm-attempted-fallbacks": "1"}, {"x-provider-response-model": "gemini-2.5-flash-lite"}]
)
async def test_a_proxy_that_went_to_another_model_does_not_do_so_silently(lab: Proxy, told: dict[str, str]) -> None:
    lab.told = TOLD | HOOKED | told
    assert (await gateway.complete(question(), idempotency_key="key-1")).substituted


@pytest.mark.parametrize("cost", [{"x-litellm-response-cost": "0.0"}, {"x-litellm-response-cost": "None"}, {}])
async def test_where_the_proxy_has_no_price_the_table_has_one(lab: Proxy, cost: dict[str, str]) -> None:
    lab.told = {name: value for name, value in TOLD.items() if name != "x-litellm-response-cost"} | cost
    answer = await gateway.complete(question(), idempotency_key="key-1")
    assert answer.cost_usd == pytest.approx(1000 * 3e-7 + 200 * 2.5e-6)
    assert answer.price_source is not None
    assert answer.price_source.startswith("litellm 1.106.2 gemini/gemini-2.5-flash ")


async def test_a_model_that_only_the_proxy_knows_is_asked_for_by_its_name(lab: Proxy) -> None:
    lab.told = {}
    answer = await gateway.complete(question("lab-model"), idempotency_key="key-1")
    assert lab.asked[0][1]["model"] == "lab-model"
    assert (answer.cost_usd, answer.price_source, answer.model_forensics["vendor"]) == (None, None, None)
    assert gateway.has_vendor("lab-model")


@pytest.mark.parametrize(
    ("status", "error", "error_class"),
    [
        (
            422,
            {"message": "Budget has been exceeded! Current cost: 1.2, Max budget: 1.0", "type": "budget_exceeded"},
            "budget",
        ),
        (400, {"message": "ExceededBudget: End User=ada over budget. Spend=1.2", "code": "400"}, "budget"),
        (429, {"message": "No deployments available for selected model, Try again in 5 seconds."}, "rate_limit"),
        (401, {"message": "key not allowed to access model. This key can only access models=['x']"}, "permission"),
        (401, {"message": "Authentication Error, Invalid proxy server token passed"}, "authentication"),
        (400, {"message": "Invalid model name passed in model=gemini/x. Call `/v1/models`"}, "model_not_found"),
        (
            429,
            {"message": 'litellm.RateLimitError: {"details": [{"quotaId": "GenerateRequestsPerDayPerProject"}]}'},
            "quota",
        ),
        (400, {"message": "litellm.ContextWindowExceededError: prompt is too long: 250000 tokens"}, "context_too_long"),
    ],
)
async def test_what_the_proxy_refuses_and_what_it_passes_on_have_their_classes(
    lab: Proxy, status: int, error: dict[str, str], error_class: str
) -> None:
    lab.status, lab.error = status, {"error": error}
    failed = await failure()
    assert (failed.error_class, failed.status) == (error_class, status)
    assert len(lab.asked) == 1


@pytest.mark.parametrize(
    "told", [{"retry-after": "9"}, {"llm_provider-retry-after": "9"}, {"llm_provider-retry-after-ms": "9000"}]
)
async def test_the_wait_is_taken_from_the_proxy_and_from_behind_it(lab: Proxy, told: dict[str, str]) -> None:
    lab.status, lab.told, lab.error = 429, TOLD | told, {"error": {"message": "slow down"}}
    failed = await failure()
    assert (failed.error_class, failed.retry_after_s) == ("rate_limit", 9)
    assert failed.limits is not None
    assert failed.limits.requests_per_minute == 600


async def test_only_the_proxys_key_is_needed(lab: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    assert gateway.missing_keys(MODEL) == ()
    monkeypatch.delenv(proxy.KEY)
    assert gateway.missing_keys(MODEL) == (proxy.KEY,)
    failed = await failure()
    assert (failed.error_class, failed.sent, lab.asked) == ("authentication", False, [])
    assert proxy.KEY in failed.message
    assert gateway.missing_keys("offline/lexicon") == ()


async def test_where_the_proxy_is_required_and_not_set_nothing_leaves(
    lab: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    without = Settings(require_proxy=True)
    gateway.configure(without)
    failed = await failure()
    assert (failed.error_class, failed.kind, failed.sent, lab.asked) == ("permission", "permanent", False, [])
    assert "no call to 'gemini/gemini-2.5-flash' may leave but through the proxy" in failed.message
    assert proxy.why_not(without, MODEL) == failed.message
    assert proxy.why_not(without, "litellm_proxy/x") is not None
    assert proxy.why_not(without, "offline/lexicon") is None
    assert proxy.why_not(Settings(), MODEL) is None
    assert proxy.why_not(Settings(require_proxy=True, proxy_url="http://lab:4000"), MODEL) is None


def test_the_proxy_is_no_part_of_the_question(lab: Proxy) -> None:
    key = question().content_key(variant="default", run=1, ask=0)
    gateway.configure(Settings())
    assert question().content_key(variant="default", run=1, ask=0) == key


async def test_the_offline_model_needs_no_proxy(lab: Proxy) -> None:
    lexicon = {
        "dimensions": {"hope": {"markers": ["nobody"], "low": 0.0, "high": 1.0}},
        "fields": [{"path": ["hope"], "role": "score", "dimension": "hope", "type": "number"}],
        "run": 1,
    }
    request = question("offline/lexicon").model_copy(update={"parameters": {"lexicon": lexicon}})
    answer = await gateway.complete(request, idempotency_key="key-1")
    assert json.loads(answer.text)["hope"] is not None
    assert lab.asked == []


@pytest.mark.parametrize(
    ("fallbacks", "went"), [("1", True), ("0", False), ("", False), ("None", False), (None, False)]
)
def test_what_a_proxy_did_is_judged_by_its_record_as_by_its_headers(fallbacks: str | None, went: bool) -> None:
    headers = {} if fallbacks is None else {"x-litellm-attempted-fallbacks": fallbacks}
    assert proxy.fell_back(headers) is proxy.went_elsewhere(proxy.told(headers)) is went
    assert not proxy.went_elsewhere({})


# whether there is a proxy at all


async def test_a_proxy_that_is_up_is_reachable_by_any_form_of_its_address(lab: Proxy) -> None:
    for address in (lab.address, f"{lab.address}/", f"{lab.address}/v1"):
        assert await asyncio.to_thread(proxy.reachable, address) is None


async def test_what_is_not_there_or_no_proxy_is_named_with_its_address(lab: Proxy) -> None:
    nowhere = "http://127.0.0.1:9"
    assert re.fullmatch(
        rf"no proxy answers at {nowhere}: Connection refused; start it, or correct .+", proxy.reachable(nowhere) or ""
    )
    other = await asyncio.to_thread(proxy.reachable, f"{lab.address}/nothing")
    assert other is not None
    assert "what answers there is no LiteLLM proxy (status 404 for /health/liveliness)" in other
