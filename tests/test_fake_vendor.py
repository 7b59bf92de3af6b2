"""The fake vendor itself: what it answers, how it fails, and that its journal tells all."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import psutil
import pytest

from benchmarks.make_experiment import document_text, make_experiment, schema
from tests.fake_vendor import NOT_A_KEY, REPOSITORY, Bill, FakeVendor
from tests.fake_vendor.service_account import TOKEN, TOKEN_PATH

SCHEMA = {
    "tone": "string",
    "thrift_score": "number",
    "thrift_confidence": "number",
    "thrift_evidence": "array",
    "candour_score": "number",
    "candour_confidence": "number",
    "candour_evidence": "array",
}
SPEECH = "The mill stands idle again. We counted every coin we had. Nobody in this hall was told why. We shall ask."
VENDORS = ("openai", "anthropic", "gemini")
PATHS = {
    "openai": "/v1/chat/completions",
    "anthropic": "/v1/messages",
    "gemini": "/v1beta/models/{model}:generateContent",
    "vertex_ai": "/v1/projects/p/locations/l/publishers/google/models/{model}:generateContent",
    "ollama_chat": "/api/chat",
    "openrouter": "/api/v1/chat/completions",
    "hosted_vllm": "/vllm/v1/chat/completions",
}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeVendor]:
    with FakeVendor(tmp_path_factory.mktemp("vendor")) as vendor:
        yield vendor


@pytest.fixture
def vendor(running: FakeVendor) -> FakeVendor:
    running.control(reset=True)
    return running


@pytest.fixture(scope="module")
def litellm() -> Any:
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    os.environ.setdefault("LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS", "True")
    import litellm

    litellm.suppress_debug_info = True
    return litellm


def analysis(document: str = SPEECH) -> list[dict[str, str]]:
    asked = f"Read the text. Answer with one JSON object of this form:\n{json.dumps(SCHEMA, indent=2)}"
    return [{"role": "system", "content": asked}, {"role": "user", "content": document}]


Said = tuple[int, dict[str, str], Any]  # status, headers, body


def post(
    vendor: FakeVendor,
    messages: list[dict[str, str]],
    key: str | None = None,
    of: str = "openai",
    model: str = "scribe",
) -> Said:
    headers = {"Idempotency-Key": key} if key else {}
    if of == "vertex_ai":
        headers["Authorization"] = f"Bearer {TOKEN}"
    if of in ("gemini", "vertex_ai"):
        contents = [{"role": "user", "parts": [{"text": message["content"]}]} for message in messages]
        return send(vendor, PATHS[of].format(model=model), {"contents": contents}, headers)
    return send(vendor, PATHS[of], {"model": model, "messages": messages}, headers)


def send(vendor: FakeVendor, path: str, body: dict[str, Any], headers: dict[str, str]) -> Said:
    connection = http.client.HTTPConnection(vendor.base_url.removeprefix("http://"), timeout=10)
    connection.request("POST", path, json.dumps(body), headers)
    answer = connection.getresponse()
    said = answer.read()
    connection.close()
    return answer.status, {name.lower(): value for name, value in answer.getheaders()}, json.loads(said)


def text_of(said: Any) -> str:
    return str(said["choices"][0]["message"]["content"])


async def ask(litellm: Any, vendor: FakeVendor, of: str) -> Any:
    bases = {
        "openai": f"{vendor.base_url}/v1",
        "anthropic": vendor.base_url,
        "gemini": f"{vendor.base_url}/v1beta/models/scribe",
    }
    return await litellm.acompletion(
        model=f"{of}/scribe",
        messages=analysis(),
        api_base=bases[of],
        api_key=NOT_A_KEY,
        timeout=10,
        num_retries=0,
        max_retries=0,
    )


@pytest.mark.parametrize("of", VENDORS)
async def test_litellm_gets_the_contract_filled_by_every_vendor(litellm: Any, vendor: FakeVendor, of: str) -> None:
    response = await ask(litellm, vendor, of)
    answer = json.loads(response.choices[0].message.content)
    assert list(answer) == list(SCHEMA)
    assert 0 <= answer["thrift_score"] <= 1
    assert all(quote in SPEECH for quote in answer["candour_evidence"])
    assert response.model == "scribe-2026-01-01"
    assert response.choices[0].finish_reason == "stop"
    billed = vendor.answers()[-1]
    assert (response.usage.prompt_tokens, response.usage.completion_tokens) == (
        billed.prompt_tokens,
        billed.completion_tokens,
    )


@pytest.mark.parametrize("of", VENDORS)
async def test_a_rate_limit_reaches_litellm_with_the_time_to_wait(litellm: Any, vendor: FakeVendor, of: str) -> None:
    vendor.control(sequence=["rate_limit"], retry_after_s=7)
    with pytest.raises(litellm.RateLimitError) as caught:
        await ask(litellm, vendor, of)
    if of == "gemini":
        assert '"retryDelay": "7s"' in str(caught.value)
    else:
        assert dict(caught.value.litellm_response_headers)["retry-after"] == "7"
    assert vendor.journal()[-1].status == 429


@pytest.mark.parametrize("of", VENDORS)
async def test_an_outage_reaches_litellm_as_503_and_passes(litellm: Any, vendor: FakeVendor, of: str) -> None:
    vendor.control(sequence=["status_503"])
    with pytest.raises(litellm.ServiceUnavailableError):
        await ask(litellm, vendor, of)
    assert (await ask(litellm, vendor, of)).choices[0].message.content


@pytest.mark.parametrize("of", VENDORS)
async def test_a_blocked_answer_says_so_in_its_finish_reason(litellm: Any, vendor: FakeVendor, of: str) -> None:
    vendor.control(sequence=["content_filter"])
    response = await ask(litellm, vendor, of)
    assert response.choices[0].finish_reason == "content_filter"
    assert not response.choices[0].message.content


@pytest.mark.parametrize("of", PATHS)
async def test_litellm_finds_every_vendor_by_the_environment_alone(
    litellm: Any, vendor: FakeVendor, monkeypatch: pytest.MonkeyPatch, of: str
) -> None:
    variables = vendor.env() | (vendor.vertex_env() if of == "vertex_ai" else {})
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    name = f"{of}/gemini-scribe"  # LiteLLM takes Vertex AI's other models elsewhere
    response = await litellm.acompletion(model=name, messages=analysis(), timeout=10, num_retries=0, max_retries=0)
    assert list(json.loads(response.choices[0].message.content)) == list(SCHEMA)
    assert (vendor.journal()[-1].vendor, vendor.journal()[-1].model) == (of, "gemini-scribe")


def test_the_same_run_gets_the_same_answer_and_another_run_a_near_one(vendor: FakeVendor) -> None:
    first, again, other = (text_of(post(vendor, analysis(), key)[2]) for key in ("run-1", "run-1", "run-2"))
    assert first == again != other
    near, far = json.loads(first)["thrift_score"], json.loads(other)["thrift_score"]
    assert abs(near - far) <= 0.08


def test_repeats_without_a_key_differ(vendor: FakeVendor) -> None:
    document = analysis("A text that is asked twice. Without any key at all.")
    assert text_of(post(vendor, document)[2]) != text_of(post(vendor, document)[2])


def test_documents_differ_in_their_scores(vendor: FakeVendor) -> None:
    scores = {json.loads(text_of(post(vendor, analysis(f"Text {n}."), "r")[2]))["thrift_score"] for n in range(8)}
    assert len(scores) >= 6


@pytest.mark.parametrize("words", ["Extract what the answer gives.", "You read scores out of an analysis."])
@pytest.mark.parametrize(
    "given",
    [
        'I read it twice. "thrift_score": 0.35, "thrift_confidence": 0.9, and for candour: 0.8; the rest is silence.',
        '{"Thrift": {"raw_score": 0.35, "confidence": 0.9}, "Candour": {"score": 0.8}}',
    ],
)
def test_an_extraction_returns_the_numbers_that_stand_in_the_given_answer(
    vendor: FakeVendor, words: str, given: str
) -> None:
    names = ("thrift", "candour", "mercy")
    shape = {"scores": dict.fromkeys(names, "number or null"), "confidence": {"thrift": "number or null"}}
    messages = [
        {"role": "system", "content": f"{words} Return exactly these keys:\n{json.dumps(shape, indent=2)}"},
        {"role": "user", "content": given},
    ]
    _, _, said = post(vendor, messages)
    assert json.loads(text_of(said)) == {
        "scores": {"thrift": 0.35, "candour": 0.8, "mercy": None},
        "confidence": {"thrift": 0.9},
    }
    assert vendor.journal()[-1].purpose == "extraction"


def test_only_the_marked_text_is_judged_and_quoted(vendor: FakeVendor) -> None:
    plain = f"Analyse the text.\nBEGIN TEXT\n{SPEECH}\nEND TEXT"
    corrected = f"{plain}\nYour earlier answer was no JSON. Give the object alone."
    first, second = (json.loads(text_of(post(vendor, analysis(said), "r")[2])) for said in (plain, corrected))
    assert first == second
    assert all(quote in SPEECH for quote in first["thrift_evidence"] + first["candour_evidence"])


async def test_every_request_and_every_answer_is_in_the_journal(tmp_path: Path) -> None:
    with FakeVendor(tmp_path, latency_s={"low": 0.01, "high": 0.05}) as vendor:
        calls = [asyncio.to_thread(post, vendor, analysis(f"Text {n}."), f"key-{n}") for n in range(60)]
        results = await asyncio.gather(*calls)
        assert {status for status, _, _ in results} == {200}
        counts = vendor.stats()
    requests, answers = vendor.requests("analysis"), vendor.answers()
    assert [request.ordinal for request in requests] == list(range(1, 61))
    assert {request.idempotency_key for request in requests} == {f"key-{n}" for n in range(60)}
    assert {answer.ordinal for answer in answers} == set(range(1, 61))
    arrived = {request.ordinal: request.at_monotonic for request in requests}
    assert all(answer.at_monotonic - arrived[answer.ordinal] >= 0.01 for answer in answers)
    assert counts["completion_tokens"] == sum(answer.completion_tokens or 0 for answer in answers)
    assert counts["in_flight"] == 0


def test_a_held_vendor_takes_requests_and_answers_them_on_release(vendor: FakeVendor) -> None:
    before = vendor.stats()["answers"]
    vendor.control(hold=True)
    asked = subprocess.Popen([sys.executable, "-c", CURL, vendor.base_url], stdout=subprocess.PIPE)
    vendor.wait_for(requests=vendor.stats()["requests"] + 1)
    assert vendor.stats()["answers"] == before
    vendor.control(hold=False)
    assert asked.communicate(timeout=10)[0] == b"200\n"


def test_a_client_that_went_away_is_noted_and_not_billed(vendor: FakeVendor) -> None:
    vendor.control(hold=True)
    asked = subprocess.Popen([sys.executable, "-c", CURL, vendor.base_url])
    vendor.wait_for(requests=vendor.stats()["requests"] + 1)
    asked.kill()
    asked.wait()
    time.sleep(0.05)
    vendor.control(hold=False)
    assert vendor.journal()[-1].event == "abandoned"


CURL = """
import http.client, json, sys
connection = http.client.HTTPConnection(sys.argv[1].removeprefix("http://"))
body = json.dumps({"model": "scribe", "messages": [{"role": "user", "content": "A question."}]})
connection.request("POST", "/v1/chat/completions", body)
sys.stdout.write(f"{connection.getresponse().status}\\n")
"""


def test_the_limiter_serves_what_it_allows_and_says_how_long_to_wait(vendor: FakeVendor) -> None:
    vendor.control(requests_per_window=3, window_s=30)
    results = [post(vendor, analysis(f"Limited {n}.")) for n in range(5)]
    assert [status for status, _, _ in results] == [200, 200, 200, 429, 429]
    assert results[0][1]["x-ratelimit-limit-requests"] == "3"
    assert results[0][1]["x-ratelimit-remaining-requests"] == "2"
    assert 1 <= int(results[3][1]["retry-after"]) <= 30


def test_a_limit_is_free_again_when_it_said_so(vendor: FakeVendor) -> None:
    vendor.control(requests_per_window=1, window_s=0.2)
    assert post(vendor, analysis())[0] == 200
    status, headers, _ = post(vendor, analysis())
    assert status == 429
    time.sleep(int(headers["retry-after-ms"]) / 1000)
    assert post(vendor, analysis())[0] == 200


def test_tokens_are_limited_like_requests_and_each_model_by_itself(vendor: FakeVendor) -> None:
    vendor.control(tokens_per_window=1000, window_s=30)
    spent = 0
    results: list[Said] = []
    while not results or results[-1][0] == 200:
        results.append(post(vendor, analysis()))
        if results[-1][0] == 200:
            spent += results[-1][2]["usage"]["total_tokens"]
            assert results[-1][1]["x-ratelimit-remaining-tokens"] == str(max(1000 - spent, 0))
    status, headers, said = results[-1]
    assert len(results) > 2
    assert (status, said["error"]["type"]) == (429, "tokens")
    assert headers["x-ratelimit-limit-tokens"] == "1000"
    assert "x-ratelimit-limit-requests" not in headers
    assert post(vendor, analysis(), model="other")[0] == 200
    assert vendor.stats()["429 openai/scribe"] >= 1
    assert "429 openai/other" not in vendor.stats()


def test_each_vendor_tells_of_its_limits_in_its_own_way(vendor: FakeVendor) -> None:
    vendor.control(requests_per_window=1, window_s=90)
    told = {of: (post(vendor, analysis(), of=of), post(vendor, analysis(), of=of)) for of in PATHS}
    assert {(first[0], second[0]) for first, second in told.values()} == {(200, 429)}
    now = datetime.now(UTC)

    headers = told["openai"][0][1]
    assert headers["x-ratelimit-remaining-requests"] == "0"
    assert headers["x-ratelimit-reset-requests"].startswith("1m")

    headers = told["anthropic"][0][1]
    assert headers["anthropic-ratelimit-requests-limit"] == "1"
    assert headers["anthropic-ratelimit-requests-remaining"] == "0"
    reset = datetime.fromisoformat(headers["anthropic-ratelimit-requests-reset"])
    assert 0 < (reset - now).total_seconds() <= 90

    _, headers, said = told["gemini"][1]
    details = {detail["@type"].rpartition(".")[2]: detail for detail in said["error"]["details"]}
    assert not any("ratelimit" in name or name == "retry-after" for name in headers)
    assert details["QuotaFailure"]["violations"][0]["quotaValue"] == "1"
    assert 0 < float(details["RetryInfo"]["retryDelay"].removesuffix("s")) <= 90

    _, headers, said = told["openrouter"][1]
    assert int(said["error"]["metadata"]["headers"]["X-RateLimit-Reset"]) / 1000 > now.timestamp()
    assert 0 < (parsedate_to_datetime(told["hosted_vllm"][1][1]["retry-after"]) - now).total_seconds() <= 92
    assert all("retry-after" in told[of][1][1] for of in ("openai", "anthropic", "openrouter", "ollama_chat"))


@pytest.mark.parametrize("of", PATHS)
def test_a_vendor_that_is_told_to_be_silent_about_limits_only_asks_to_wait(vendor: FakeVendor, of: str) -> None:
    vendor.control(requests_per_window=1, limit_headers=False)
    results = [post(vendor, analysis(), of=of) for _ in range(2)]
    assert [status for status, _, _ in results] == [200, 429]
    assert not any("ratelimit" in name for _, headers, _ in results for name in headers)
    assert "quotaValue" not in json.dumps(results[1][2])
    assert "retry-after" in results[1][1] or "retryDelay" in json.dumps(results[1][2])


def test_a_model_that_is_down_takes_nothing_and_works_again_when_it_is_up(vendor: FakeVendor) -> None:
    vendor.control(down={"openai/scribe": "status_503"}, requests_per_window=1)
    assert [post(vendor, analysis())[0] for _ in range(3)] == [503, 503, 503]
    assert post(vendor, analysis(), model="other")[0] == 200
    vendor.control(down={"scribe": "connection"})
    with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
        post(vendor, analysis())
    assert (vendor.journal()[-1].event, vendor.journal()[-1].fault) == ("fault", "connection")
    vendor.control(down={})
    assert post(vendor, analysis())[0] == 200


def test_a_model_may_answer_under_another_name(vendor: FakeVendor) -> None:
    vendor.control(answers_as={"openai/scribe": "scribe-turbo"})
    assert post(vendor, analysis())[2]["model"] == "scribe-turbo"
    assert post(vendor, analysis(), model="other")[2]["model"] == "other-2026-01-01"
    assert post(vendor, analysis(), of="anthropic")[2]["model"] == "scribe-2026-01-01"


# what is billed

LONG = (
    "The same instructions for every text, word for word. " * 40
)  # 2120 characters, more than four steps of 128 tokens


def test_a_beginning_that_the_model_has_seen_is_billed_as_cached(vendor: FakeVendor) -> None:
    vendor.control(prompt_cache=True)

    def cached(of: str, document: str, model: str = "scribe") -> int:
        messages = [{"role": "user", "content": LONG}, {"role": "user", "content": document}]
        assert post(vendor, messages, of=of, model=model)[0] == 200
        return vendor.answers()[-1].cached_tokens or 0

    assert [cached("openai", document) for document in ("One text.", "Another text.", "A third one.")] == [0, 512, 512]
    assert cached("openai", "One text.", model="other") == 0
    assert [cached("ollama_chat", "One text.") for _ in range(2)] == [0, 0]  # nobody is billed for a model of one's own


def test_each_vendor_counts_cached_and_reasoning_tokens_in_its_own_words(vendor: FakeVendor) -> None:
    vendor.control(prompt_cache=True, reasoning_tokens=70)
    prompt = [{"role": "user", "content": LONG}]
    used = {}
    for of in PATHS:
        post(vendor, prompt, of=of)
        said = post(vendor, prompt, of=of)[2]
        used[of] = said.get("usage") or said.get("usageMetadata") or said
    entry = vendor.answers()[-1]
    prompt_tokens, completion_tokens = entry.prompt_tokens or 0, entry.completion_tokens or 0
    for of in ("openai", "openrouter"):
        assert used[of]["prompt_tokens"] == prompt_tokens
        assert used[of]["completion_tokens"] == completion_tokens
        assert used[of]["prompt_tokens_details"]["cached_tokens"] == 512
        assert used[of]["completion_tokens_details"]["reasoning_tokens"] == 70
    assert used["anthropic"]["input_tokens"] == prompt_tokens - 512
    assert used["anthropic"]["cache_read_input_tokens"] == 512
    assert used["anthropic"]["output_tokens"] == completion_tokens
    for of in ("gemini", "vertex_ai"):
        assert used[of]["promptTokenCount"] == prompt_tokens
        assert used[of]["cachedContentTokenCount"] == 512
        assert (used[of]["candidatesTokenCount"], used[of]["thoughtsTokenCount"]) == (completion_tokens - 70, 70)
    assert (used["ollama_chat"]["prompt_eval_count"], used["ollama_chat"]["eval_count"]) == (
        prompt_tokens,
        completion_tokens,
    )


def test_the_bill_is_for_every_answer_that_was_written_whatever_it_said(tmp_path: Path) -> None:
    faults = (
        None,
        "truncated",
        "refusal",
        "malformed",
        "empty",
        "content_filter",
        "status_500",
        "reset",
        "error_in_200",
    )
    with FakeVendor(tmp_path, sequence=faults, reasoning_tokens=5) as vendor:
        for _ in faults:
            try:
                post(vendor, analysis())
            except (json.JSONDecodeError, http.client.IncompleteRead, ConnectionResetError):
                continue
        post(vendor, analysis(), of="anthropic")
        bills = vendor.billed()
        answers = [entry for entry in vendor.answers() if entry.vendor == "openai"]
        assert bills.keys() == {"openai/scribe", "anthropic/scribe"}
        assert bills["openai/scribe"] == Bill(
            calls=6,
            prompt_tokens=sum(entry.prompt_tokens or 0 for entry in answers),
            completion_tokens=sum(entry.completion_tokens or 0 for entry in answers),
            reasoning_tokens=30,
        )
        assert bills["openai/scribe"].prompt_tokens > 0


def test_what_it_costs_goes_by_the_price_of_each_model(tmp_path: Path) -> None:
    prices = {"scribe": {"input_usd": 1e-6, "output_usd": 4e-6, "cached_input_usd": 5e-7}}
    with FakeVendor(tmp_path, prompt_cache=True, prices=prices) as vendor:
        said = [post(vendor, [{"role": "user", "content": LONG}], of="openrouter")[2] for _ in range(2)]
        bill = vendor.billed()["openrouter/scribe"]
        assert (bill.calls, bill.cached_tokens) == (2, 512)
        cost = (bill.prompt_tokens - 512) * 1e-6 + 512 * 5e-7 + bill.completion_tokens * 4e-6
        assert vendor.cost_usd(prices) == pytest.approx(cost)
        assert sum(answer["usage"]["cost"] for answer in said) == pytest.approx(cost)
        post(vendor, analysis(), model="other")
        with pytest.raises(KeyError, match="openai/other"):
            vendor.cost_usd(prices)


# what a vendor tells of itself


@pytest.mark.parametrize(
    ("of", "fault", "said"),
    [
        ("openai", "declined", lambda body: body["choices"][0]["message"]["refusal"]),
        ("openai", "safety", lambda body: body["choices"][0]["finish_reason"] == "content_filter"),
        ("anthropic", "declined", lambda body: body["stop_reason"] == "refusal" and not body["content"]),
        ("gemini", "content_filter", lambda body: body["promptFeedback"]["blockReason"] and "candidates" not in body),
        ("gemini", "safety", lambda body: body["candidates"][0]["finishReason"] == "SAFETY"),
        ("vertex_ai", "declined", lambda body: "content" not in body["candidates"][0]),
        ("ollama_chat", "declined", lambda body: "can't help" in body["message"]["content"]),
    ],
)
def test_each_vendor_holds_back_an_answer_in_its_own_way(vendor: FakeVendor, of: str, fault: str, said: Any) -> None:
    vendor.control(sequence=[fault])
    status, _, body = post(vendor, analysis(), of=of)
    assert status == 200
    assert said(body)
    assert (vendor.journal()[-1].event, vendor.journal()[-1].fault) == ("answer", fault)


def test_each_vendor_tells_of_tier_and_version_what_the_real_one_does(vendor: FakeVendor) -> None:
    told = {of: post(vendor, analysis(), of=of) for of in PATHS}
    assert (told["openai"][2]["service_tier"], told["openai"][2]["system_fingerprint"]) == ("default", "fp_fake_2026")
    assert told["openai"][1]["x-request-id"].startswith("req_")
    assert told["anthropic"][1]["request-id"].startswith("req_")
    assert told["anthropic"][2]["usage"]["service_tier"] == "standard"
    assert told["gemini"][1]["x-gemini-service-tier"] == "standard"
    assert told["vertex_ai"][2]["usageMetadata"]["trafficType"] == "ON_DEMAND"
    assert {told[of][2]["modelVersion"] for of in ("gemini", "vertex_ai")} == {"scribe-2026-01-01"}
    assert told["openrouter"][2]["id"].startswith("gen-")
    assert not any("request-id" in name for of in ("gemini", "vertex_ai", "ollama_chat") for name in told[of][1])


def test_vertex_ai_wants_the_token_that_its_token_endpoint_gives(vendor: FakeVendor) -> None:
    path = PATHS["vertex_ai"].format(model="scribe")
    body = {"contents": [{"role": "user", "parts": [{"text": SPEECH}]}]}
    assert send(vendor, path, body, {})[0] == 401
    token = send(vendor, TOKEN_PATH, {}, {})[2]["access_token"]
    assert send(vendor, path, body, {"Authorization": f"Bearer {token}"})[0] == 200
    vendor.control(revoked=True)
    status, _, said = send(vendor, TOKEN_PATH, {}, {})
    assert (status, said["error"]) == (400, "invalid_grant")


def test_faults_depend_on_seed_and_content_not_on_order(tmp_path: Path) -> None:
    documents = [f"Text {n}." for n in range(30)]

    def failed(folder: str, seed: int, order: list[str]) -> set[str]:
        with FakeVendor(tmp_path / folder, seed=seed, rates={"status_500": 0.2, "status_503": 0.2}) as vendor:
            return {document for document in order if post(vendor, analysis(document))[0] >= 500}

    forward, backward = failed("a", 1, documents), failed("b", 1, documents[::-1])
    assert forward == backward
    assert 0 < len(forward) < 30
    assert failed("c", 2, documents) != forward


def test_faults_touch_only_the_purposes_and_requests_they_are_meant_for(vendor: FakeVendor) -> None:
    vendor.control(sequence=["status_500"], purposes=["extraction"])
    assert post(vendor, analysis())[0] == 200
    following = vendor.journal()[-1].ordinal + 1
    vendor.control(reset=True, at={following: "quota"})
    status, headers, said = post(vendor, analysis())
    assert (status, said["error"]["type"]) == (429, "insufficient_quota")
    assert "retry-after" not in headers
    assert post(vendor, analysis())[0] == 200


@pytest.mark.parametrize(
    ("fault", "odd"),
    [
        ("prose", lambda said: not text_of(said).startswith("{") and '"thrift_score"' in text_of(said)),
        ("fenced", lambda said: text_of(said).startswith("```json")),
        ("refusal", lambda said: "can't help" in text_of(said)),
        ("truncated", lambda said: said["choices"][0]["finish_reason"] == "length" and len(text_of(said)) < 400),
        ("runaway", lambda said: said["choices"][0]["finish_reason"] == "length" and len(text_of(said)) >= 400_000),
        ("wrong_model", lambda said: said["model"] == "some-other-model-2026-01-01"),
        ("slow", lambda said: json.loads(text_of(said))),
    ],
)
def test_an_odd_answer_is_odd_in_the_way_that_was_asked(vendor: FakeVendor, fault: str, odd: Any) -> None:
    vendor.control(sequence=[fault], slow_s=0.1)
    status, _, said = post(vendor, analysis())
    assert status == 200
    assert odd(said)
    assert (vendor.journal()[-1].event, vendor.journal()[-1].fault) == ("answer", fault)


@pytest.mark.parametrize("fault", ["broken", "malformed", "empty"])
def test_json_that_is_asked_to_be_broken_cannot_be_read(vendor: FakeVendor, fault: str) -> None:
    vendor.control(sequence=[fault])
    with pytest.raises(json.JSONDecodeError):
        json.loads(text_of(post(vendor, analysis())[2]))


def test_a_reset_breaks_the_connection_in_the_middle_of_the_answer(vendor: FakeVendor) -> None:
    vendor.control(sequence=["reset"])
    with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
        post(vendor, analysis())
    assert (vendor.journal()[-1].event, vendor.journal()[-1].fault) == ("fault", "reset")


def test_a_hang_is_never_answered(vendor: FakeVendor) -> None:
    vendor.control(sequence=["hang"])
    connection = http.client.HTTPConnection(vendor.base_url.removeprefix("http://"), timeout=0.3)
    connection.request("POST", "/v1/chat/completions", json.dumps({"model": "scribe", "messages": analysis()}))
    with pytest.raises(TimeoutError):
        connection.getresponse()
    assert vendor.stats()["in_flight"] == 1
    connection.close()
    while vendor.stats()["in_flight"]:
        time.sleep(0.01)
    assert vendor.journal()[-1].event == "request"


def test_unknown_faults_and_settings_are_refused(vendor: FakeVendor) -> None:
    with pytest.raises(ValueError, match="gremlins"):
        vendor.control(rates={"gremlins": 0.5})
    with pytest.raises(ValueError, match="latency_ms"):
        vendor.control(latency_ms=5)


async def test_sixty_four_connections_are_served_at_once(vendor: FakeVendor) -> None:
    before = vendor.stats()["answers"]
    host, port = vendor.base_url.removeprefix("http://").split(":")
    body = json.dumps({"model": "scribe", "messages": analysis()}).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: {host}\r\ncontent-length: {len(body)}\r\n\r\n".encode()

    async def client() -> None:
        reader, writer = await asyncio.open_connection(host, int(port))
        for _ in range(10):
            writer.write(head + body)
            answer = await reader.readuntil(b"\r\n\r\n")
            length = int(answer.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            json.loads(await reader.readexactly(length))
        writer.close()

    await asyncio.gather(*(client() for _ in range(64)))
    assert vendor.stats()["answers"] - before == 640


def test_a_made_experiment_is_the_same_each_time_and_its_documents_are_distinct(tmp_path: Path) -> None:
    first = make_experiment(tmp_path / "a", documents=20)
    second = make_experiment(tmp_path / "b", documents=20)
    files = sorted(path.relative_to(first) for path in first.rglob("*") if path.is_file())
    assert len(files) == 23
    assert all((first / file).read_bytes() == (second / file).read_bytes() for file in files)
    texts = {path.read_text() for path in (first / "corpus").iterdir()}
    assert len(texts) == 20
    assert all(290 <= len(text.split()) <= 340 for text in texts)


def test_the_vendor_fills_the_contract_of_a_made_experiment(vendor: FakeVendor, tmp_path: Path) -> None:
    folder = make_experiment(tmp_path, documents=1)
    framework = (folder / "framework.md").read_text()
    _, _, said = post(vendor, [{"role": "system", "content": framework}, {"role": "user", "content": document_text(1)}])
    assert vendor.journal()[-1].purpose == "analysis"
    assert list(json.loads(text_of(said))) == list(schema())


def test_the_baseline_makes_as_many_calls_as_it_says(vendor: FakeVendor) -> None:
    seen = {purpose: len(vendor.requests(purpose)) for purpose in ("analysis", "extraction")}
    command = [
        sys.executable,
        "benchmarks/baseline.py",
        "--documents",
        "4",
        "--runs",
        "3",
        "--base-url",
        vendor.base_url,
    ]
    result = json.loads(subprocess.run(command, cwd=REPOSITORY, capture_output=True, check=True).stdout)
    assert result["calls"] == 24
    assert {purpose: len(vendor.requests(purpose)) - seen[purpose] for purpose in seen} == {
        "analysis": 12,
        "extraction": 12,
    }
    assert result["wall_s"] > 0.5
    assert result["cpu_s"] > 0.5


def test_the_vendor_ends_when_the_process_that_started_it_is_killed(tmp_path: Path) -> None:
    start = "import sys; from pathlib import Path; from tests.fake_vendor import FakeVendor; " + (
        "sys.stdout.write(f'{FakeVendor(Path(sys.argv[1])).start().pid}\\n'); sys.stdout.flush(); sys.stdin.read()"
    )
    command = [sys.executable, "-c", start, str(tmp_path)]
    starter = subprocess.Popen(command, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert starter.stdout is not None
    vendor = psutil.Process(int(starter.stdout.readline()))
    assert vendor.is_running()
    os.kill(starter.pid, signal.SIGKILL)
    starter.wait()
    deadline = time.monotonic() + 10
    while vendor.is_running() and vendor.status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline, "the vendor is still running"
        time.sleep(0.05)
