"""How failures are told apart, without LiteLLM: by what the vendor answered."""

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import get_args

import pytest

from discernus.llm import errors
from discernus.llm.errors import (
    LONGEST_BODY,
    CallFailed,
    Circumstances,
    ErrorClass,
    Reply,
    classify,
    kind_of,
    retry_after_s,
)
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
        (
            400,
            {"error": {"message": "input length and `max_tokens` exceed context limit: 196000 + 20000 > 200000"}},
            "context_too_long",
            "recoverable",
        ),
        (400, {"error": {"code": "content_policy_violation"}}, "refusal", "recoverable"),
        (400, {"error": {"message": "Your credit balance is too low"}}, "quota", "permanent"),
        (400, {"error": {"message": "API key not valid. Please pass a valid API key."}}, "authentication", "permanent"),
        (401, "", "authentication", "permanent"),
        (400, {"error": {"message": "You have reached your specified API usage limits."}}, "quota", "permanent"),
        (
            400,
            {"error": {"message": "input was flagged", "metadata": {"flagged_input": "…"}}},
            "refusal",
            "recoverable",
        ),
        (
            400,
            {"error": {"message": "your prompt was flagged as violating our usage policy"}},
            "refusal",
            "recoverable",
        ),
        (400, {"error": {"message": "Output blocked by content filtering policy"}}, "refusal", "recoverable"),
        (400, {"error": {"message": "User location is not supported for the API use."}}, "permission", "permanent"),
        (400, {"error": {"message": "Limit reached on tokens per day (TPD): Limit 500000"}}, "quota", "permanent"),
        (400, {"error": {"message": "ExceededBudget: User=ada over budget"}}, "budget", "permanent"),
        (400, {"error": {"message": "google/gemini-9 is not a valid model ID"}}, "model_not_found", "permanent"),
        (401, {"error": {"message": "key not allowed to access model."}}, "permission", "permanent"),
        (402, "", "quota", "permanent"),
        (403, {"error": {"message": "Key limit exceeded (total limit)."}}, "quota", "permanent"),
        (403, {"error": {"message": "This API method requires billing to be enabled."}}, "quota", "permanent"),
        (404, {"error": "model 'llama9' not found, try pulling it first"}, "model_not_found", "permanent"),
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
        (429, {"error": {"message": "Limit reached on requests per day (RPD): Limit 200"}}, "quota", "permanent"),
        (429, {"error": {"message": "Limit reached on tokens per min (TPM): Limit 30000"}}, "rate_limit", "transient"),
        (429, {"error": {"message": "Rate limit exceeded: free-models-per-day"}}, "quota", "permanent"),
        (429, {"error": {"message": "You have exceeded your daily quota."}}, "quota", "permanent"),
        (
            429,
            {"error": {"message": "Request too large for gpt-4o: Limit 9, Requested 12"}},
            "context_too_long",
            "recoverable",
        ),
        (429, {"error": {"message": "Too many tokens, please wait before trying again."}}, "rate_limit", "transient"),
        (429, {"error": {"details": [{"quotaId": "GenerateRequestsPerDayPerProject"}]}}, "quota", "permanent"),
        (499, {"error": {"message": "The operation was cancelled.", "code": 499}}, "server_error", "transient"),
        (500, "", "server_error", "transient"),
        (500, {"error": "model requires more system memory (9 GiB) than is available"}, "memory_error", "recoverable"),
        (502, "", "server_error", "transient"),
        (503, {"error": {"message": "The model is overloaded."}}, "overload", "transient"),
        (503, {"error": "server busy, please try again. maximum pending requests exceeded"}, "overload", "transient"),
        (503, {"error": {"message": "Slow down: your request rate grew too fast."}}, "overload", "transient"),
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


@pytest.mark.parametrize(
    ("wait", "error_class"),
    [("8.64s", "rate_limit"), ("7m12s", "rate_limit"), ("2h24m0s", "quota"), ("a while", "quota")],
)
def test_a_rolling_limit_of_a_day_is_waited_for_where_it_names_a_short_wait(wait: str, error_class: str) -> None:
    words = f"Rate limit reached for gpt-4o on requests per day (RPD): Limit 10000. Please try again in {wait}."
    assert failed(429, {"error": {"message": words}}).error_class == error_class


def test_googles_limit_of_a_day_names_some_seconds_and_ends_at_midnight_all_the_same() -> None:
    details = [{"violations": [{"quotaId": "GenerateRequestsPerDayPerProjectPerModel-FreeTier"}]}]
    body = {"error": {"message": "You exceeded your current quota. Please retry in 13.9s.", "details": details}}
    assert failed(429, body).error_class == "quota"


def test_waiting_for_a_limit_uses_up_no_attempt_and_everything_else_does() -> None:
    assert not failed(429).counts_as_attempt
    assert not failed(529).counts_as_attempt
    assert failed(500).counts_as_attempt


def test_only_what_a_person_must_cure_for_all_calls_stops_the_session() -> None:
    assert failed(401).stops_session
    assert failed(402).stops_session
    assert not failed(403).stops_session
    assert not failed(404).stops_session


def test_what_a_proxy_quotes_of_its_vendor_is_read_as_the_vendors_own_words() -> None:
    quoted = {"error": {"message": f"litellm.RateLimitError: {json.dumps(GEMINI_RATE_LIMIT)}", "code": "429"}}
    failure = failed(429, quoted)
    assert (failure.error_class, failure.retry_after_s) == ("rate_limit", 34.5)
    of_the_day = json.dumps({"error": {"details": [{"quotaId": "GenerateRequestsPerDayPerProject"}]}})
    assert failed(429, {"error": {"message": of_the_day}}).error_class == "quota"


def test_a_quarantine_is_passing_and_uses_up_no_attempt() -> None:
    failure = CallFailed("quarantine", "model 'm' is left alone for 300 s", sent=False)
    assert (failure.kind, failure.counts_as_attempt, failure.stops_session) == ("transient", False, False)


def test_the_drawing_has_every_class() -> None:
    drawn = (errors.__doc__ or "").splitlines()
    for error_class in get_args(ErrorClass):
        lines = [line for line in drawn if f" {error_class} " in line]
        assert len(lines) == 1, error_class
        above = [line for line in drawn[: drawn.index(lines[0])] if " ─ " in line][-1]
        assert kind_of(error_class) in above


@pytest.mark.parametrize(
    ("words", "seconds"),
    [
        ("Please try again in 7m12s. Visit our page.", 432),
        ("Please try again in 120ms", 0.12),
        ("Please retry after 20 seconds.", 20),
        ("No deployments available. Try again in 5 seconds. Passed model=x", 5),
        ("Please retry in 34.07s.", 34.07),
        ("Please try again in a while", None),
        ("Please try again later", None),
    ],
)
def test_a_wait_that_stands_in_the_words_alone_is_read(words: str, seconds: float | None) -> None:
    assert failed(429, {"error": {"message": words}}).retry_after_s == seconds
    assert failed(429, {"error": {"message": words}}, retry_after="3").retry_after_s == 3


def test_a_wait_that_a_model_writes_about_is_no_wait() -> None:
    assert failed(200, '{"choices": [{"text": "Please try again in 7m12s."').retry_after_s is None


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


@pytest.mark.parametrize(
    ("latency", "told"),
    [
        ({"latency_ms": 300_021.0}, "no answer within 300 s;"),
        ({"latency_ms": 1_480.0}, "no answer within 1.5 s;"),
        ({}, "no answer in the time allowed;"),
    ],
)
def test_a_time_out_says_how_long_was_waited(latency: Circumstances, told: str) -> None:
    message = classify(TimeoutError(), "m", sent=True, **latency).message
    assert message.startswith(f"model 'm' gave no answer: timeout: {told} it is tried again")


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
    told = {"error": {"message": "Incorrect API key provided: sk-abc123def456ghi789"}, "x": "e" * 2 * LONGEST_BODY}
    failure = failed(401, told)
    assert failure.body is not None
    assert "sk-abc" not in failure.body + failure.message + str(failure)
    assert len(failure.body.encode()) < LONGEST_BODY + 100
    assert failure.body.endswith("bytes in all]")


def test_the_body_of_an_ordinary_failure_and_of_a_paid_one_is_kept_whole() -> None:
    page = f"<html>{'é' * 100_000}</html>"
    assert failed(502, page).body == page
    endless = "<html>" + "x" * 2 * LONGEST_BODY
    assert failed(200, endless).body == endless
