"""What is counted, costed and kept of every vendor's replies, whatever becomes of them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from discernus.llm import billing, gateway
from discernus.llm.calls import Message, ModelAnswer, ModelRequest
from discernus.llm.errors import CallFailed
from discernus.settings import Settings
from tests.fake_vendor import Entry, FakeVendor

VENDORS = ("openai", "openrouter", "hosted_vllm", "anthropic", "gemini", "vertex_ai", "ollama_chat")
MODELS = {vendor: f"{vendor}/scribe" for vendor in VENDORS} | {"vertex_ai": "vertex_ai/gemini-scribe"}
INPUT_USD, OUTPUT_USD, CACHED_USD = 3e-6, 15e-6, 3e-7
MODELS_FILE = "models:\n" + "".join(
    f"  {model}:\n"
    f"    input_cost_per_token: {INPUT_USD}\n"
    f"    output_cost_per_token: {OUTPUT_USD}\n"
    f"    cached_input_cost_per_token: {CACHED_USD}\n"
    for model in MODELS.values()
)
LONG = "Every dimension is defined at length, so that a vendor's cache has something to keep. " * 40
FORM = '{"hope_score": "number", "fear_score": "number"}'


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeVendor]:
    with FakeVendor(tmp_path_factory.mktemp("vendor")) as vendor:
        yield vendor


@pytest.fixture
def vendor(server: FakeVendor, monkeypatch: pytest.MonkeyPatch) -> FakeVendor:
    for name, value in server.env().items():
        monkeypatch.setenv(name, value)
    server.control(reset=True)
    return server


@pytest.fixture(params=VENDORS)
def of(request: pytest.FixtureRequest, vendor: FakeVendor, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "vertex_ai":
        for name, value in vendor.vertex_env().items():
            monkeypatch.setenv(name, value)
    return str(request.param)


@pytest.fixture
def priced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a models.yaml hold that gives every vendor's scribe the same price."""
    path = tmp_path / "models.yaml"
    path.write_text(MODELS_FILE)
    monkeypatch.setattr(gateway, "_settings", None)
    gateway.configure(Settings(models_file=path))


def question(of: str, text: str = "Nobody wrote this.", timeout_s: float = 20.0) -> ModelRequest:
    system = f"{LONG}\nAnswer with one JSON object of this form:\n{FORM}"
    messages = (Message(role="system", content=system), Message(role="user", content=f"BEGIN T\n{text}\nEND T"))
    return ModelRequest(model=MODELS[of], messages=messages, parameters={"temperature": 0.2}, timeout_s=timeout_s)


def owed_usd(billed: Entry, input_usd: float, output_usd: float, cached_usd: float = 0.0) -> float:
    """Return what the vendor's own journal comes to."""
    assert billed.prompt_tokens is not None
    assert billed.completion_tokens is not None
    cached = billed.cached_tokens or 0
    return (billed.prompt_tokens - cached) * input_usd + cached * cached_usd + billed.completion_tokens * output_usd


async def answer(of: str) -> ModelAnswer:
    return await gateway.complete(question(of), idempotency_key="key-1")


async def failure(of: str, timeout_s: float = 20.0) -> CallFailed:
    with pytest.raises(CallFailed) as raised:
        await gateway.complete(question(of, timeout_s=timeout_s), idempotency_key="key-1")
    return raised.value


async def test_every_vendors_answer_is_counted_and_costed_as_the_vendor_does(
    vendor: FakeVendor, of: str, priced: None
) -> None:
    vendor.control(prompt_cache=True, reasoning_tokens=11)
    for _ in range(2):  # the second finds its prompt in the cache
        given = await answer(of)
    billed = vendor.answers()[-1]
    assert given.text.startswith("{")
    assert (given.finish_reason, given.marks, given.substituted) == ("stop", (), False)
    assert given.model_answered == f"{MODELS[of].partition('/')[2]}-2026-01-01"
    usage = given.usage
    assert (usage.prompt_tokens, usage.completion_tokens) == (billed.prompt_tokens, billed.completion_tokens)
    assert (usage.cached_tokens or 0) == billed.cached_tokens
    assert given.cost_usd == pytest.approx(owed_usd(billed, INPUT_USD, OUTPUT_USD, CACHED_USD))
    assert given.price_source is not None
    assert given.price_source.startswith("models.yaml ")


async def test_a_count_is_read_from_a_body_as_litellm_reads_it(vendor: FakeVendor, of: str) -> None:
    vendor.control(prompt_cache=True)
    for _ in range(2):
        given = await answer(of)
    assert given.response_as_received is not None
    read = billing.usage_of(billing.count_in(given.response_as_received))
    assert read.model_copy(update={"reasoning_tokens": None}) == given.usage.model_copy(
        update={"reasoning_tokens": None, "cached_tokens": given.usage.cached_tokens or read.cached_tokens}
    )
    cut = given.response_as_received[:-1]
    assert billing.usage_of(billing.count_in(cut)) == read


@pytest.mark.parametrize("fault", ["content_filter", "safety", "declined"])
async def test_an_answer_held_back_was_paid_for_and_is_costed_like_any_other(
    vendor: FakeVendor, of: str, priced: None, fault: str
) -> None:
    vendor.control(sequence=[fault])
    if of == "ollama_chat":
        assert "sorry" in (await answer(of)).text  # it has no other way to refuse than words
        return
    failed = await failure(of)
    billed = vendor.answers()[-1]
    assert (failed.error_class, failed.status) == ("refusal", 200)
    assert failed.usage is not None
    assert failed.usage.prompt_tokens == billed.prompt_tokens
    assert failed.cost_usd == pytest.approx(owed_usd(billed, INPUT_USD, OUTPUT_USD))
    assert failed.price_source is not None
    assert failed.body


@pytest.mark.parametrize(
    ("fault", "marks"), [("truncated", ("truncated",)), ("runaway", ("oversized", "truncated", "runaway"))]
)
async def test_an_answer_that_does_not_end_well_is_kept_and_marked(
    vendor: FakeVendor, of: str, fault: str, marks: tuple[str, ...]
) -> None:
    vendor.control(sequence=[fault])
    given = await answer(of)
    assert (given.marks, given.finish_reason) == (marks, "length")
    assert given.text


async def test_a_reply_that_breaks_off_is_kept_as_far_as_it_came(vendor: FakeVendor, of: str) -> None:
    vendor.control(sequence=["reset"])
    failed = await failure(of)
    assert (failed.error_class, failed.sent, failed.cost_usd) == ("connection_error", True, None)
    assert failed.body is not None
    assert failed.body.startswith("{")


async def test_a_reply_that_comes_too_slowly_is_kept_as_far_as_it_came(vendor: FakeVendor) -> None:
    vendor.control(sequence=["slow"], slow_s=4)  # its headers are there after half of that
    failed = await failure("openai", timeout_s=3.4)
    assert (failed.error_class, failed.sent) == ("timeout", True)
    assert failed.body is not None
    assert failed.body.startswith("{")


async def test_openrouters_own_figure_is_the_cost_whatever_models_yaml_says(vendor: FakeVendor, priced: None) -> None:
    vendor.control(prices={"openrouter/scribe": {"input_usd": 1e-5, "output_usd": 2e-5}})
    given = await answer("openrouter")
    billed = vendor.answers()[-1]
    assert given.cost_usd == pytest.approx(owed_usd(billed, 1e-5, 2e-5))
    assert given.price_source == "openrouter: usage.cost of its answer"
