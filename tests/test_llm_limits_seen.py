"""Rate limits, read off the headers in which vendors tell them."""

from datetime import UTC, datetime, timedelta

import pytest

from discernus.llm.calls import SeenLimits
from discernus.llm.limits_seen import duration_s, seen_limits


def openai(prefix: str = "", **told: str) -> dict[str, str]:
    return {f"{prefix}x-ratelimit-{name.replace('_', '-')}": value for name, value in told.items()}


def soon(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1s", 1),
        ("120ms", 0.12),
        ("6m0s", 360),
        ("7m12.5s", 432.5),
        ("1h2m3s", 3723),
        ("2d", 172800),
        ("8.64s", 8.64),
        ("60", 60),
        ("0", 0),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("inf", None),
    ],
)
def test_a_duration_is_read_as_vendors_write_it(text: str, seconds: float | None) -> None:
    assert duration_s(text) == pytest.approx(seconds)


def test_openais_limits_are_read_and_the_scarcer_says_when_all_is_free_again() -> None:
    headers = openai(
        limit_requests="600",
        remaining_requests="599",
        reset_requests="100ms",
        limit_tokens="150000",
        remaining_tokens="15000",
        reset_tokens="54s",
    )
    assert seen_limits(headers) == SeenLimits(
        requests_per_minute=600,
        tokens_per_minute=150_000,
        remaining_requests=599,
        remaining_tokens=15_000,
        reset_s=54,
    )


def test_anthropics_limits_are_read_with_moments_for_resets() -> None:
    headers = {
        "anthropic-ratelimit-requests-limit": "50",
        "anthropic-ratelimit-requests-remaining": "10",
        "anthropic-ratelimit-requests-reset": soon(40),
        "anthropic-ratelimit-input-tokens-limit": "30000",
        "anthropic-ratelimit-input-tokens-remaining": "29000",
        "anthropic-ratelimit-input-tokens-reset": soon(2),
        "anthropic-ratelimit-output-tokens-limit": "8000",
        "anthropic-ratelimit-output-tokens-remaining": "8000",
    }
    seen = seen_limits(headers)
    assert seen is not None
    assert (seen.requests_per_minute, seen.remaining_requests) == (50, 10)
    assert (seen.tokens_per_minute, seen.remaining_tokens) == (30_000, 29_000)
    assert seen.reset_s == pytest.approx(40, abs=2)
    of_all = {f"anthropic-ratelimit-tokens-{part}": value for part, value in (("limit", "38000"), ("remaining", "9"))}
    both = seen_limits(headers | of_all)
    assert both is not None
    assert (both.tokens_per_minute, both.remaining_tokens) == (38_000, 9)


def test_what_a_proxy_passes_on_is_read_and_its_own_lower_limit_holds() -> None:
    of_vendor = openai("llm_provider-", limit_requests="600", remaining_requests="500")
    seen = seen_limits(of_vendor)
    assert seen is not None
    assert (seen.requests_per_minute, seen.remaining_requests) == (600, 500)
    seen = seen_limits(of_vendor | openai(limit_requests="60", remaining_requests="59"))
    assert seen is not None
    assert (seen.requests_per_minute, seen.remaining_requests) == (60, 59)
    through = {f"llm_provider-anthropic-ratelimit-requests-{part}": "50" for part in ("limit", "remaining")}
    seen = seen_limits(through)
    assert seen is not None
    assert seen.requests_per_minute == 50


def test_a_days_limit_told_as_if_it_were_a_minutes_is_known_by_its_reset() -> None:
    of_groq = openai(limit_requests="14400", remaining_requests="14370", reset_requests="2m59.56s")
    seen = seen_limits(of_groq)
    assert seen is not None
    assert seen.requests_per_minute == pytest.approx(10)
    of_openai = openai(limit_requests="200", remaining_requests="199", reset_requests="7m12s")
    seen = seen_limits(of_openai)
    assert seen is not None
    assert seen.requests_per_minute == pytest.approx(200 / 1440)


def test_a_minutes_limit_stays_one_however_little_of_it_is_used() -> None:
    seen = seen_limits(openai(limit_requests="600", remaining_requests="600", reset_requests="0s"))
    assert seen is not None
    assert (seen.requests_per_minute, seen.reset_s) == (600, 0)
    seen = seen_limits(openai(limit_requests="60", remaining_requests="59", reset_requests="59s"))
    assert seen is not None
    assert seen.requests_per_minute == 60


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"content-type": "application/json"},
        openai(limit_requests="", remaining_requests=""),
        openai(limit_requests="many"),
        openai(limit_requests="0", remaining_requests="0"),
        openai(remaining_requests="5"),
        {"x-ratelimit-reset": "5"},
    ],
)
def test_headers_that_tell_no_limit_give_none(headers: dict[str, str]) -> None:
    assert seen_limits(headers) is None


def test_a_half_told_limit_is_read_as_far_as_it_goes() -> None:
    seen = seen_limits(openai(limit_tokens="9000", reset_tokens="never"))
    assert seen == SeenLimits(tokens_per_minute=9000)
