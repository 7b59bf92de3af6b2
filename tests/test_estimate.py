"""What a run will cost: its own prompts counted, answers as long as earlier ones, and each figure with its basis."""

from __future__ import annotations

from math import fsum
from pathlib import Path

import pytest

from benchmarks.make_experiment import make_experiment
from discernus.experiments.definition import Definition, read_definition
from discernus.experiments.experiment import ModelSettings
from discernus.experiments.plan import Analysis, make_plan
from discernus.llm.calls import ModelRequest, Usage
from discernus.llm.catalogue import prompt_tokens
from discernus.llm.models_file import ModelRules, ModelsFile, Price
from discernus.llm.requests import analysis_request
from discernus.sessions.earlier import read_history
from discernus.sessions.layout import Call
from discernus.sessions.opening import open_session
from discernus.sessions.owners import Owner
from discernus.sessions.session import Session
from discernus.stages import estimate as estimate_module
from discernus.stages.estimate import ENOUGH, Estimate, Estimator, sentence
from tests.stand_ins import answer

MODEL, SECOND, UNKNOWN = "openai/scribe", "openai/reader", "openai/nobody-knows"
PRICES = ModelsFile(
    models={
        MODEL: ModelRules(price=Price(input_usd=1e-6, output_usd=5e-6, cached_input_usd=1e-7), max_output_tokens=3000),
        SECOND: ModelRules(price=Price(input_usd=1e-7, output_usd=4e-7), max_output_tokens=1000),
    }
)


def defined(tmp_path: Path, **experiment: object) -> Definition:
    return read_definition(make_experiment(tmp_path / "projects", **{"documents": 3, "runs": 2, **experiment}))  # type: ignore[arg-type]


def planned(definition: Definition) -> list[Analysis]:
    experiment = definition.experiment
    documents = [document.id for document in definition.documents]
    return make_plan(documents, list(experiment.models), list(experiment.variants), experiment.runs_per_model)


def our_count(definition: Definition, analyses: list[Analysis]) -> int:
    requests = (analysis_request(definition, one, ask=0, correction=None, timeout_s=1) for one in analyses)
    return sum(prompt_tokens(request) for request in requests)


def estimated(definition: Definition, tmp_path: Path | None = None, second: tuple[str, ...] = ()) -> Estimate:
    history = None
    if tmp_path is not None:
        models, framework = (*definition.experiment.models, *second), definition.framework.sha256
        history = read_history(tmp_path / "projects", models, framework, enough=ENOUGH)
    return Estimator(definition, PRICES, second, history).estimate(planned(definition))


def past(tmp_path: Path, definition: Definition, lengths: list[int], **known: float) -> Session:
    """Leave a session whose first answers were that long; ``counted`` and ``cached`` are as shares of our count."""
    folder = tmp_path / "projects" / "bench" / "experiments" / "speeches"
    session = open_session(tmp_path / "projects", folder, definition, concurrency=1, call_timeout_s=60, mirror=None)
    for number, length in enumerate(lengths, start=1):
        request = analysis_request(definition, session.analysis(number), ask=0, correction=None, timeout_s=60)
        prompt = round(prompt_tokens(request) * known.get("counted", 1.0))
        usage = Usage(
            prompt_tokens=prompt, completion_tokens=length, cached_tokens=round(prompt * known.get("cached", 0))
        )
        with Owner(tmp_path / "owners") as owner:
            intent = session.archive.claim(Call(number), request, "a" * 64, owner)
            session.archive.commit(Call(number), intent, request, answer("words", model=request.model, usage=usage))
    return session


def test_without_earlier_answers_the_prompts_are_counted_and_the_rest_is_said_to_be_assumed(tmp_path: Path) -> None:
    definition = defined(tmp_path)
    (row,) = estimated(definition, tmp_path).models
    assert row.calls.low == 6
    assert row.prompt_tokens.low == pytest.approx(0.9 * our_count(definition, planned(definition)))
    assert row.output_tokens.low < row.output_tokens.likely < row.output_tokens.high
    assert row.usd is not None
    assert row.usd.low < row.usd.likely < row.usd.high
    assert (row.answers, row.basis.startswith("assumed answers of ")) == (0, True)


def test_answers_are_expected_to_be_as_long_as_earlier_ones_to_the_same_framework(tmp_path: Path) -> None:
    definition = defined(tmp_path, documents=10)
    past(tmp_path, definition, [500] * 18 + [1000, 1500])
    (row,) = estimated(definition, tmp_path).models
    assert (row.answers, row.basis) == (20, "20 earlier answers under this framework")
    tokens = our_count(definition, planned(definition))
    mean = 20 * 575
    assert row.calls.values == pytest.approx((20, 20, 23))  # none was asked again, which may be luck
    assert row.output_tokens.values == pytest.approx((20 * 500, mean, 23 * 1025))
    assert row.prompt_tokens.values == pytest.approx((tokens, tokens, 1.15 * tokens))
    assert row.usd is not None
    assert row.usd.likely == pytest.approx(tokens * 1e-6 + mean * 5e-6)


def test_prompts_are_counted_as_the_models_vendor_counted_them(tmp_path: Path) -> None:
    definition = defined(tmp_path, documents=10)
    past(tmp_path, definition, [500] * 20, counted=1.3)
    (row,) = estimated(definition, tmp_path).models
    assert row.prompt_tokens.likely == pytest.approx(1.3 * our_count(definition, planned(definition)), rel=0.001)


def test_what_the_vendors_cache_served_is_expected_again_but_not_in_the_high_figure(tmp_path: Path) -> None:
    definition = defined(tmp_path, documents=10)
    past(tmp_path, definition, [500] * 20, cached=0.5)
    (row,) = estimated(definition, tmp_path).models
    tokens = our_count(definition, planned(definition))
    assert row.usd is not None
    assert row.usd.likely == pytest.approx(tokens * (0.5e-6 + 0.5e-7) + 20 * 500 * 5e-6, rel=0.001)
    assert row.usd.high == pytest.approx(1.15 * (tokens * 1e-6 + 20 * 500 * 5e-6), rel=0.001)


def test_a_handful_of_earlier_answers_is_too_few_to_go_by(tmp_path: Path) -> None:
    definition = defined(tmp_path)
    past(tmp_path, definition, [500] * (ENOUGH - 1))
    assert estimated(definition, tmp_path).models[0].answers == 0


def test_answers_to_another_framework_serve_where_there_are_none_to_this_one(tmp_path: Path) -> None:
    definition = defined(tmp_path)
    past(tmp_path, definition, [500] * 6)
    framework = definition.framework.model_copy(update={"sha256": "0" * 64})
    other = Definition(definition.experiment, framework, definition.documents, definition.texts, ())
    (row,) = estimated(other, tmp_path).models
    assert (row.answers, row.basis) == (6, "6 earlier answers under any framework")


def test_another_models_answers_tell_nothing(tmp_path: Path) -> None:
    definition = defined(tmp_path)
    past(tmp_path, definition, [500] * 6)
    other = definition.experiment.model_copy(update={"models": (SECOND,)})
    changed = Definition(other, definition.framework, definition.documents, definition.texts, ())
    assert estimated(changed, tmp_path).models[0].answers == 0


def test_the_worst_case_is_each_call_answered_at_the_models_limit_or_the_experiments_and_some_made_again(
    tmp_path: Path,
) -> None:
    definition = defined(tmp_path)
    prompts = 1.2e-6 * our_count(definition, planned(definition))
    worst = estimated(definition).worst_usd
    assert worst == pytest.approx(1.1 * (prompts + 6 * 3000 * 5e-6))
    limited = definition.experiment.model_copy(update={"parameters": {MODEL: ModelSettings(max_tokens=400)}})
    shorter = Definition(limited, definition.framework, definition.documents, definition.texts, ())
    estimate = estimated(shorter)
    assert estimate.worst_usd == pytest.approx(1.1 * (prompts + 6 * 400 * 5e-6))
    assert estimate.models[0].output_tokens.low <= 6 * 400
    reckoned = Estimator(shorter, PRICES)
    assert 1.1 * fsum(reckoned.worst_usd(one) or 0 for one in planned(shorter)) == pytest.approx(estimate.worst_usd)


def test_a_fallback_that_the_experiment_has_no_settings_for_keeps_those_of_the_model_it_stands_in_for(
    tmp_path: Path,
) -> None:
    definition = defined(tmp_path)
    limited = definition.experiment.model_copy(update={"parameters": {MODEL: ModelSettings(max_tokens=400)}})
    estimator = Estimator(Definition(limited, definition.framework, definition.documents, definition.texts, ()), PRICES)
    first = planned(definition)[0]
    assert estimator.worst_usd(first, SECOND) == pytest.approx(1.2 * our_count(definition, [first]) * 1e-7 + 400 * 4e-7)


def test_a_model_without_a_price_is_named_and_in_no_sum(tmp_path: Path) -> None:
    definition = defined(tmp_path, models=[MODEL, UNKNOWN])
    estimate = estimated(definition)
    assert estimate.unpriced == (UNKNOWN,)
    assert estimate.usd == estimate.models[0].usd
    assert (estimate.models[1].usd, estimate.models[1].worst_usd) == (None, None)
    assert estimate.prompt_tokens.likely == pytest.approx(our_count(definition, planned(definition)) * 1.05)
    assert Estimator(definition, PRICES).worst_usd(planned(definition)[1]) is None


def test_a_second_model_reads_some_of_the_answers_and_all_of_them_at_worst(tmp_path: Path) -> None:
    definition = defined(tmp_path)
    estimate = estimated(definition, second=(SECOND,))
    first, second = estimate.models
    assert (second.model, second.purpose) == (SECOND, "extraction")
    assert second.calls.values == pytest.approx((0, 0.6, 3))
    estimator = Estimator(definition, PRICES, (SECOND,))
    each = estimator.worst_second_usd(planned(definition)[0], SECOND)
    assert each is not None
    assert each > (1.2 * 3000 * 1e-7) + 1000 * 4e-7  # the longest answer is read, and the reader says all it can
    assert second.worst_usd == pytest.approx(6 * each)
    assert estimate.worst_usd == pytest.approx((first.worst_usd or 0) + 6 * each)


def test_how_many_answers_need_another_call_is_learnt_from_earlier_sessions(tmp_path: Path) -> None:
    definition = defined(tmp_path, documents=10, extraction_model=SECOND)
    session = past(tmp_path, definition, [500] * 20)
    with Owner(tmp_path / "owners") as owner:
        for call, model in [(Call(1, "extraction"), SECOND), (Call(2, ask=1), MODEL), (Call(3, ask=1), MODEL)]:
            request = analysis_request(definition, session.analysis(1), ask=0, correction=None, timeout_s=60)
            intent = session.archive.claim(call, request, "a" * 64, owner)
            session.archive.commit(call, intent, request, answer("words", model=model))
    first, second = estimated(definition, tmp_path, (SECOND,)).models
    assert first.calls.values == pytest.approx((20, 22, 24))
    assert second.calls.values == pytest.approx((0.5, 1, 3))


def test_sessions_without_a_second_model_tell_nothing_of_second_readings(tmp_path: Path) -> None:
    definition = defined(tmp_path, documents=10)
    past(tmp_path, definition, [500] * 20)
    assert estimated(definition, tmp_path, (SECOND,)).models[1].calls.values == pytest.approx((0, 2, 10))


def test_a_count_that_cannot_be_of_the_same_prompt_is_not_learnt_from(tmp_path: Path) -> None:
    definition = defined(tmp_path, documents=10)
    past(tmp_path, definition, [500] * 20, counted=50.0)
    (row,) = estimated(definition, tmp_path).models
    assert row.prompt_tokens.likely == pytest.approx(our_count(definition, planned(definition)))


def test_the_offline_model_costs_nothing_and_needs_no_second_reading(tmp_path: Path) -> None:
    estimate = estimated(defined(tmp_path, models=["offline/lexicon"]), second=(SECOND,))
    assert [row.model for row in estimate.models] == ["offline/lexicon"]
    assert estimate.usd is not None
    assert estimate.usd.values == (0, 0, 0)
    assert estimate.worst_usd == 0
    assert sentence(estimate) == "projected cost: 0.00 USD, for no vendor is asked"


def test_a_call_takes_its_prompt_and_its_answer(tmp_path: Path) -> None:
    definition = defined(tmp_path, documents=10)
    past(tmp_path, definition, [500] * 20)
    history = read_history(tmp_path / "projects", [MODEL], definition.framework.sha256, enough=ENOUGH)
    estimator = Estimator(definition, PRICES, (SECOND,), history)
    each = our_count(definition, planned(definition)) / 20
    assert estimator.tokens_per_call(MODEL) == pytest.approx(each + 500, abs=1)
    assert 500 < estimator.tokens_per_call(SECOND) < each


def test_the_sentence_says_what_it_rests_on_and_fits_a_terminal(tmp_path: Path) -> None:
    definition = defined(tmp_path, documents=10)
    assumed = sentence(estimated(definition))
    assert "assumed, for there are no earlier answers" in assumed.replace("\n ", "")
    past(tmp_path, definition, [500] * 20)
    estimate = estimated(definition, tmp_path)
    assert estimate.usd is not None
    told = sentence(estimate).replace("\n ", "")
    low, likely, high = (f"{usd:.4f}" for usd in estimate.usd.values)
    assert likely < high
    worst = f"{estimate.worst_usd:.4f} with the longest answers"  # no bound: a call may be put again and again
    expected = f"{likely} USD ({low} to {high}; {worst}), from 20 earlier answers"
    assert told == f"projected cost: {expected}"
    both = sentence(estimated(defined(tmp_path / "b", models=[MODEL, UNKNOWN])))
    assert f"no price is known of {UNKNOWN}, which models.yaml may give" in both.replace("\n ", "")
    neither = sentence(estimated(defined(tmp_path / "c", models=[UNKNOWN])))
    assert neither.startswith("projected cost: not known (6 calls, about ")
    for text in (assumed, sentence(estimate), both, neither):
        assert all(len(line) <= 80 for line in text.splitlines()), text


def test_a_damaged_or_foreign_session_does_not_stand_in_the_way(tmp_path: Path) -> None:
    definition = defined(tmp_path)
    session = past(tmp_path, definition, [500] * 6)
    broken = session.folder.parent / "session_20991231_235959"
    (broken / "system_state").mkdir(parents=True)
    (broken / "system_state" / "session.json").write_text("{}")
    session.store.put(Call(1).metadata, b"{")
    session.store.remove(Call(2).request)
    (row,) = estimated(definition, tmp_path).models
    assert row.answers == 5


def test_each_text_is_counted_once_however_often_it_is_asked_about(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted: list[str] = []

    def prompt_tokens_seen(request: ModelRequest) -> int:
        counted.append(request.messages[-1].content)
        return prompt_tokens(request)

    monkeypatch.setattr(estimate_module, "prompt_tokens", prompt_tokens_seen)
    definition = defined(tmp_path, models=[MODEL, UNKNOWN], documents=20, runs=5)
    estimator = Estimator(definition, PRICES)
    estimator.estimate(planned(definition))
    for one in planned(definition):
        estimator.worst_usd(one)
    assert len(counted) == 20
