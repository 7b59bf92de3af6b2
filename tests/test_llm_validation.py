"""What is noticed about an answer before it is used, and what is shown of it."""

import json
from html import unescape

import pytest

from discernus.llm.validation import marks
from discernus.sanitising import plain

ANSWER = json.dumps({f"dimension_{number}_score": number / 60 for number in range(60)}, indent=1)
HOSTILE = (
    "<script>alert(1)</script>",
    "<SCRIPT src=//evil.example>",
    "<img src=x onerror=alert(1)>",
    "<p onclick='go()'>read on</p>",
    "<iframe src=https://evil.example></iframe>",
    "<svg onload=alert(1)>",
    "<object data=x>",
    "<base href=//evil.example>",
    "<meta http-equiv=refresh content=0>",
    "<a href='javascript:alert(1)'>more</a>",
    "<a href='java&#115;cript:alert(1)'>more</a>",
    "<a href='data:text/html,<b>x</b>'>more</a>",
    "<form action=//evil.example><input></form>",
    "<iframe srcdoc='x'>",
)


def found(text: str, finish_reason: str | None = "stop", largest_bytes: int = 200_000) -> tuple[str, ...]:
    return marks(text, finish_reason, largest_bytes=largest_bytes)


def test_an_ordinary_answer_bears_no_mark() -> None:
    assert found(ANSWER) == ()
    assert found(ANSWER, None) == ()
    assert found("A reading in prose, with 3 < 5 and a < b, and <thinking>a thought</thinking>: no more.") == ()


def test_size_is_counted_in_bytes() -> None:
    assert found("é" * 50, largest_bytes=100) == ()
    assert found("é" * 51, largest_bytes=100) == ("oversized",)


def test_an_answer_cut_off_at_the_limit_is_truncated_and_if_too_large_a_runaway() -> None:
    words = " ".join(str(number) for number in range(200))
    assert found(words, "length") == ("truncated",)
    assert found(words, "length", largest_bytes=100) == ("oversized", "truncated", "runaway")
    assert found(words, "stop", largest_bytes=100) == ("oversized",)


@pytest.mark.parametrize("said_over_and_over", ["on and on ", " ", "\n", '{"name": "hope", "score": 0.5},\n', ANSWER])
def test_an_answer_whose_end_repeats_itself_is_a_runaway(said_over_and_over: str) -> None:
    text = f"It began well. {said_over_and_over * (1 + 8 * max(1, 1000 // len(said_over_and_over)))}"
    assert "runaway" in found(text)
    assert "runaway" in found(text[:-1])


@pytest.mark.parametrize(
    "text",
    [
        f"{ANSWER}\n{'-' * 120}\n",
        json.dumps([0] * 200),
        f"{ANSWER}\n{ANSWER}",
        "\n".join(f'{{"dimension": {number}, "score": 0.5, "evidence": "none"}}' for number in range(200)),
        f"{'again and again ' * 200}and then it came to its point.",
    ],
)
def test_what_repeats_a_little_or_comes_to_an_end_is_no_runaway(text: str) -> None:
    assert found(text) == ()


def test_no_text_and_a_filter_are_noticed() -> None:
    assert found("", "length") == ("truncated", "no_text")
    assert found(" \n", "stop") == ("no_text",)
    assert found("It began to say", "content_filter") == ("refusal",)


@pytest.mark.parametrize("text", HOSTILE)
def test_what_would_act_in_a_browser_is_noticed_and_acts_no_more_as_plain_text(text: str) -> None:
    within = json.dumps({"hope_score": 0.5, "evidence": f"before {text} after"})
    assert found(within) == ("active_content",)
    assert "<" not in plain(text)


def test_plain_text_is_shown_as_it_is_and_acts_nowhere() -> None:
    hostile = "".join(HOSTILE) + "[x](javascript:alert(1)) ![y](https://tracker.example/1.png) `*|\\"
    shown = plain(hostile)
    assert not set("<>[]`*|\\\"'") & set(shown)
    assert unescape(shown) == hostile
    assert plain("Hope & fear: 3 < 5, é 🜚") == "Hope &amp; fear: 3 &lt; 5, é 🜚"
