"""How failures are told apart, without LiteLLM: by what the vendor answered."""

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from discernus.llm.errors import LONGEST_BODY, CallFailed, Reply, classify, retry_after_s
from discernus.llm.secrets import redact

GEMINI_RATE_LIMIT = {
    "error": {
        "code": 429,
        "message": "You exceeded your current quota, please check your plan and billing details.",
        "status": "RESOURCE_EXHAUSTED",
        "details": [
            {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [{"quotaId": "RequestsPerMinute"}]},
            {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34.5s"},
        ],
    }
}


def failed(status: int, body: object = "", **headers: str) -> CallFailed:
    text = body if isinstance(body, str) else json.dumps(body)
    reply = Reply(status, {name.replace("_", "-"): value for name, value in headers.items()}, text)
    return classify(RuntimeError("some class"), "openai/gpt-4o-mini", reply=reply, sent=True)


@pytest.mark.parametrize(
    ("status", "body", "error_class", "kind"),
    [
        (400, {"error": {"message": "temperature must be below 2"}}, "bad_request", "permanent"),
        (400, {"error": {"code": "context_length_exceeded"}}, "context_too_long", "recoverable"),
        (400, {"error": {"message": "prompt is too long: 250000 tokens > 200000"}}, "context_too_long", "recoverable"),
        (400, {"error": {"code": "content_policy_violation"}}, "refusal", "recoverable"),
        (400, {"error": {"message": "Your credit balance is too low"}}, "quota", "permanent"),
        (400, {"error": {"message": "API key not valid. Please pass a valid API key."}}, "authentication", "permanent"),
        (401, "", "authentication", "permanent"),
        (402, "", "quota", "permanent"),
        (403, "", "permission", "permanent"),
        (404, {"error": {"code": "model_not_found"}}, "model_not_found", "permanent"),
        (408, "", "timeout", "transient"),
        (409, "", "server_error", "transient"),
        (413, "", "context_too_long", "recoverable"),
        (415, "", "bad_request", "permanent"),
        (422, "", "bad_request", "permanent"),
        (422, {"error": {"type": "budget_exceeded"}}, "budget", "permanent"),
        (429, {"error": {"type": "tokens"}}, "rate_limit", "transient"),
        (429, {"error": {"type": "insufficient_quota"}}, "quota", "permanent"),
        (429, GEMINI_RATE_LIMIT, "rate_limit", "transient"),
        (429, {"error": {"details": [{"quotaId": "GenerateRequestsPerDayPerProject"}]}}, "quota", "permanent"),
        (500, "", "server_error", "transient"),
        (500, {"error": "model requires more system memory (9 GiB) than is available"}, "memory_error", "recoverable"),
        (502, "", "server_error", "transient"),
        (503, {"error": {"message": "The model is overloaded."}}, "overload", "transient"),
        (503, "", "server_error", "transient"),
        (504, "", "timeout", "transient"),
        (529, "", "overload", "transient"),
        (200, "<html>", "malformed_answer", "transient"),
        (200, {"error": {"code": 429, "message": "upstream"}}, "rate_limit", "transient"),
    ],
)
def test_a_failure_is_classified_by_status_and_body(status: int, body: object, error_class: str, kind: str) -> None:
    failure = failed(status, body)
    assert (failure.error_class, failure.kind) == (error_class, kind)


def test_waiting_for_a_limit_uses_up_no_attempt_and_everything_else_does() -> None:
    assert not failed(429).counts_as_attempt
    assert not failed(529).counts_as_attempt
    assert failed(500).counts_as_attempt


def test_only_what_a_person_must_cure_for_all_calls_stops_the_session() -> None:
    assert failed(401).stops_session
    assert failed(402).stops_session
    assert not failed(403).stops_session
    assert not failed(404).stops_session


def test_the_wait_is_read_from_every_place_where_vendors_put_it() -> None:
    assert failed(429, retry_after="12").retry_after_s == 12
    assert failed(429, retry_after_ms="1500", retry_after="2").retry_after_s == 1.5
    assert retry_after_s({"llm_provider-retry-after": "9"}) == 9
    assert failed(429, GEMINI_RATE_LIMIT).retry_after_s == 34.5
    assert failed(429).retry_after_s is None
    in_a_minute = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    assert retry_after_s({"retry-after": in_a_minute}) == pytest.approx(60, abs=3)
    assert retry_after_s({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}) == 0
    assert retry_after_s({"retry-after": "soon"}) is None


def test_an_exception_alone_is_read_by_its_status_headers_and_body() -> None:
    class VendorError(Exception):
        status_code = 429
        litellm_response_headers = {"Retry-After": "3"}  # noqa: RUF012  as LiteLLM attaches them
        body = {"type": "insufficient_quota", "message": "no credit"}  # noqa: RUF012

    assert classify(VendorError("x"), "m").error_class == "quota"
    VendorError.body = {"type": "requests"}
    failure = classify(VendorError("x"), "m")
    assert (failure.error_class, failure.retry_after_s) == ("rate_limit", 3)


def test_missing_credentials_that_come_as_status_500_are_a_matter_of_the_key() -> None:
    class InternalServerError(Exception):
        status_code = 500

    text = "OpenAIException - Missing credentials. Please pass an `api_key`"
    assert classify(InternalServerError(text), "m", sent=False).error_class == "authentication"
    named = classify(InternalServerError("?"), "m", sent=False, missing=("MISTRAL_API_KEY",))
    assert named.error_class == "authentication"
    assert "MISTRAL_API_KEY" in named.message


def test_a_time_out_and_a_broken_connection_have_no_status_and_are_known_all_the_same() -> None:
    assert classify(TimeoutError(), "m", sent=True).error_class == "timeout"
    assert classify(ConnectionRefusedError("refused"), "m", sent=False).error_class == "connection_error"
    assert classify(MemoryError(), "m").error_class == "memory_error"
    assert classify(RuntimeError("?"), "m").error_class == "unknown_error"


def test_a_message_says_what_happened_to_what_and_what_next() -> None:
    failure = failed(404, {"error": {"message": "The model\n `gpt-9` does not exist"}})
    assert str(failure) == (
        "model 'openai/gpt-4o-mini' gave no answer: model_not_found (status 404): "
        "The model `gpt-9` does not exist; check the model's name"
    )


def test_keys_are_removed_by_shape_and_by_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOUSE_API_KEY", "correct-horse-battery")
    monkeypatch.setenv("SHORT_TOKEN", "abc")
    keys = ("sk-proj-abcdef123456", "sk-ant-api03-Zz_9-8", "AIzaSyA1234567890123456789012345", "correct-horse-battery")
    told = redact(f"{' '.join(keys)} abc Authorization: Bearer tok.en-1 https://h/v1?key=q1w2e3&alt=json risk-averse-x")
    assert not any(key in told for key in keys)
    assert "tok.en-1" not in told
    assert "q1w2e3" not in told
    assert "abc" in told
    assert "risk-averse-x" in told


def test_a_failure_carries_neither_keys_nor_endless_bodies() -> None:
    failure = failed(401, {"error": {"message": "Incorrect API key provided: sk-abc123def456ghi789"}, "x": "é" * 9000})
    assert failure.body is not None
    assert "sk-abc" not in failure.body + failure.message + str(failure)
    assert len(failure.body.encode()) <= LONGEST_BODY
