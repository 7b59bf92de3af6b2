"""What dominated a session's cost and what would lower it next time: said with figures, and only where it is so."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from discernus.llm.calls import Usage
from discernus.llm.catalogue import ModelFacts, facts_of
from discernus.llm.models_file import ModelRules, ModelsFile, Price
from discernus.sessions.costs import Costs, onlooker, session_costs
from discernus.sessions.layout import Call
from discernus.sessions.owners import Owner
from discernus.sessions.session import Session
from discernus.stages.advice import Consistency, Facts, advise, facts_for_advice
from discernus.stages.reading import read_answer
from tests.stand_ins import answer, opened, question, scores

PRO, FLASH = "gemini/gemini-2.5-pro", "gemini/gemini-2.5-flash-lite"
KNOWN = {model: facts_of(model, ModelRules()) for model in (PRO, FLASH)}


def costs(model: str, purpose: str, usd: float | None, **counts: Any) -> Costs:
    each: dict[str, Any] = {
        "calls": 10,
        "prompt_tokens": 10_000,
        "completion_tokens": 1_000,
        "cached_tokens": None,
        "reasoning_tokens": None,
        "unpriced": 0,
        "in_doubt": 0,
        "in_doubt_usd": 0.0,
        "unanswered": 0,
    }
    return Costs(group=(model, purpose), cost_usd=usd, **{**each, **counts})


def facts(*of: Costs, **known: Any) -> Facts:
    plain: dict[str, Any] = {
        "models": KNOWN,
        "shared_tokens": 0.0,
        "prompt_tokens": 1000.0,
        "consistency": None,
        "readers": (FLASH,),
        "early": {},
    }
    return Facts(costs=of, **{**plain, **known})


def test_where_nothing_was_paid_nothing_is_said() -> None:
    assert advise(facts()) == ()
    assert advise(facts(costs(PRO, "analysis", None), costs(FLASH, "analysis", 0.0))) == ()


def test_where_nothing_dominates_nothing_is_said() -> None:
    equal = [replace(costs(PRO, "analysis", 0.4), group=(model, "analysis")) for model in (PRO, FLASH, "openai/x")]
    known = {**KNOWN, "openai/x": facts_of("openai/x", ModelRules())}
    assert advise(facts(*equal, models=known)) == ()


def test_what_dominated_is_said_with_its_share() -> None:
    (said,) = advise(facts(costs(PRO, "analysis", 1.0125, completion_tokens=100_000), costs(FLASH, "analysis", 0.1)))
    assert said == (
        "Analyses by gemini/gemini-2.5-pro took 91 % of the cost (1.0125 of 1.1125 USD); of that 98 % was for answers."
    )


def test_that_the_only_model_took_all_of_the_cost_goes_without_saying() -> None:
    assert advise(facts(costs(PRO, "analysis", 1.0125, completion_tokens=100_000))) == (
        "Of the cost, 98 % was for answers.",
    )
    assert advise(facts(costs(PRO, "analysis", 0.5))) == ()


def test_shares_of_a_cost_that_is_not_known_in_all_are_said_to_be_that_and_never_rounded_up() -> None:
    dear, cheap = costs(PRO, "analysis", 0.998), costs(FLASH, "analysis", 0.002, calls=14, unpriced=14)
    (said,) = advise(facts(dear, cheap))
    assert said.startswith(
        "Analyses by gemini/gemini-2.5-pro took 99 % of the known cost (14 calls have no known price) (0.9980 of"
    )


def test_fewer_runs_are_said_to_save_nothing_where_the_cost_is_not_known() -> None:
    found = Consistency(alpha=0.97, low=0.95, dimension="fear", dimensions=10, runs=6, documents=8)
    dear, cheap = costs(PRO, "analysis", 0.998), costs(FLASH, "analysis", None, unpriced=10)
    assert [said for said in advise(facts(dear, cheap, consistency=found)) if "runs" in said] == []


def test_where_prompts_cost_more_than_answers_it_is_the_prompts_that_are_named() -> None:
    (said,) = advise(facts(costs(PRO, "analysis", 1.26, prompt_tokens=1_000_000)))
    assert said == "Of the cost, 99 % was for prompts."


def test_thinking_is_told_from_answers() -> None:
    (said,) = advise(facts(costs(PRO, "analysis", 1.0125, completion_tokens=100_000, reasoning_tokens=75_000)))
    assert "75 % of these was reasoning; a lower `reasoning` for this model" in said
    assert said.endswith("in the next study.")


def test_of_a_model_without_a_price_of_its_own_no_shares_are_told() -> None:
    known = {**KNOWN, "openrouter/x": facts_of("openrouter/x", ModelRules())}
    (said,) = advise(facts(costs("openrouter/x", "analysis", 0.9), costs(FLASH, "analysis", 0.1), models=known))
    assert said == "Analyses by openrouter/x took 90 % of the cost (0.9000 of 1.0000 USD)."


def test_where_prices_do_not_make_what_was_paid_nothing_is_reckoned_with_them() -> None:
    substituted = costs(PRO, "analysis", 0.005, prompt_tokens=100_000, cached_tokens=0)
    shape = {"shared_tokens": 8000.0, "prompt_tokens": 10_000.0}
    assert advise(facts(substituted, **shape)) == ()


def cached(tokens: int | None, **known: Any) -> list[str]:
    """Return what is said of caching, for prompts of 10,000 tokens of which 8,000 are always the same."""
    paid = (100_000 - (tokens or 0)) * 1.25e-6 + (tokens or 0) * 1.25e-7 + 1_000 * 1e-5
    of = costs(PRO, "analysis", paid, prompt_tokens=100_000, cached_tokens=tokens)
    shape = {"shared_tokens": 8000.0, "prompt_tokens": 10_000.0, **known}
    return [said for said in advise(facts(of, **shape)) if "cache" in said]


def test_a_cache_that_served_little_is_named_with_what_it_would_have_saved() -> None:
    (said,) = cached(2_000)
    saved = (0.8 * 100_000 * 0.9 - 2_000) * (1.25e-6 - 1.25e-7)
    assert said.startswith("2 % of the prompt tokens of gemini/gemini-2.5-pro came from its vendor's cache")
    assert "the framework, 80 % of each prompt" in said
    assert f"up to {saved:.4f} USD (" in said
    assert "In the next study, put the calls to one model close together in time; up to" in said


def test_fewer_models_at_once_are_advised_only_where_there_were_several() -> None:
    other = costs(FLASH, "analysis", 0.01)
    of = costs(PRO, "analysis", 0.135, prompt_tokens=100_000, cached_tokens=0)
    found = advise(facts(of, other, shared_tokens=8000.0, prompt_tokens=10_000.0))
    assert [said for said in found if "with fewer models at once" in said]


def test_calls_that_were_sent_together_are_told_to_wait_for_the_first() -> None:
    (said,) = cached(0, early={PRO: 10})
    assert "10 of 10 calls were sent before the first was answered" in said
    assert "let one call to each model be answered before the others are sent: a lower --concurrency" in said
    assert "close together" not in said
    assert "close together" in cached(0, early={PRO: 4})[0]


@pytest.mark.parametrize(
    ("tokens", "known"),
    [
        (75_000, {}),  # it served nearly all it could
        (None, {}),  # the vendor does not tell
        (0, {"shared_tokens": 500.0}),  # too short for a cache
        (0, {"models": {PRO: replace(KNOWN[PRO], cached_input_usd=None), FLASH: KNOWN[FLASH]}}),  # not cheaper
        (0, {"models": {PRO: replace(KNOWN[PRO], vendor="anthropic"), FLASH: KNOWN[FLASH]}}),  # has to be marked
    ],
)
def test_of_caching_nothing_is_said_where_there_is_nothing_to_gain(tokens: int | None, known: dict[str, Any]) -> None:
    assert cached(tokens, **known) == []


def test_dear_second_readings_are_named_with_a_model_that_would_have_done_them_for_less() -> None:
    first = costs(FLASH, "analysis", 0.2)
    second = costs(PRO, "extraction", 0.1, prompt_tokens=40_000, completion_tokens=5_000)
    (said,) = [one for one in advise(facts(first, second)) if "read by" in one]
    cheaper = 40_000 * 1e-7 + 5_000 * 4e-7
    assert said == (
        "Having answers read by gemini/gemini-2.5-pro took 33 % of the cost (0.1000 USD); "
        f"gemini/gemini-2.5-flash-lite would have done the same calls for {cheaper:.4f} USD: "
        "consider it for the next study."
    )


def test_without_a_much_cheaper_reader_none_is_named() -> None:
    first = costs(PRO, "analysis", 0.2)
    second = costs(FLASH, "extraction", 0.1, prompt_tokens=900_000)
    (said,) = [one for one in advise(facts(first, second)) if "read by" in one]
    assert said.endswith("in the next study, a cheaper extraction_model would lower it.")


def test_cheap_second_readings_are_not_worth_a_word() -> None:
    found = advise(facts(costs(PRO, "analysis", 0.9), costs(FLASH, "extraction", 0.05)))
    assert not [said for said in found if "read by" in said]


def runs(low: float, number: int = 6, documents: int = 8) -> list[str]:
    alpha = max(0.98, low)
    found = Consistency(alpha=alpha, low=low, dimension="fear", dimensions=10, runs=number, documents=documents)
    return [said for said in advise(facts(costs(PRO, "analysis", 0.9), consistency=found)) if "runs" in said]


def test_more_consistency_than_is_needed_means_fewer_runs_next_time() -> None:
    (said,) = runs(0.97)
    one_run = 0.97 / (6 - 5 * 0.97)
    assert 2 * one_run / (1 + one_run) > 0.9
    assert said == (
        "Over 6 runs, fear, the least consistent dimension of 10, reached an alpha of 0.98, 0.97 at the lower bound of "
        "its 95 % interval. With texts like these 8, 2 runs would be expected to reach 0.94, 0.92 at the lower bound "
        "(Spearman-Brown), and would save 66 % of such a cost in the next study. Fewer than 20 documents say little of "
        "others."
    )
    assert "3 runs would be expected to reach 0.96, 0.90 at the lower bound" in runs(0.95)[0]
    assert runs(0.97, documents=20)[0].endswith("in the next study.")


def test_a_point_above_the_threshold_saves_no_runs_while_its_interval_reaches_below() -> None:
    assert runs(0.89) == []


@pytest.mark.parametrize("alpha", [0.89, 0.901, -0.2])
def test_runs_that_were_needed_are_not_questioned(alpha: float) -> None:
    assert runs(alpha) == []


def test_perfect_agreement_still_needs_two_runs() -> None:
    assert "2 runs would be expected to reach 1.00" in runs(1.0)[0]


def read(session: Session, tmp_path: Path, values: dict[int, float]) -> None:
    """Have each analysis of a session answered with the value its number has, and read."""
    usage = Usage(prompt_tokens=4000, completion_tokens=500, cached_tokens=0)
    usage_usd = 4000 * 1e-6 + 500 * 2e-6
    with Owner(tmp_path / "owners") as owner:
        for number, value in values.items():
            intent = session.archive.claim(Call(number), question(), "a" * 64, owner)
            model = session.analysis(number).model
            said = answer(scores(value, evasion=value / 2), model=model, cost_usd=usage_usd, usage=usage)
            session.archive.commit(Call(number), intent, question(), said)
            read_answer(session, number, 0, final=True)


def test_the_facts_are_those_of_the_session(tmp_path: Path) -> None:
    session = opened(tmp_path, documents=3, runs=3)
    documents = {document.id: place for place, document in enumerate(session.definition.documents, start=1)}
    read(session, tmp_path, {one.number: documents[one.document] / 4 + one.number % 2 / 50 for one in session.plan})
    price = ModelRules(price=Price(input_usd=1e-6, output_usd=2e-6, cached_input_usd=1e-7))
    models = ModelsFile(models={"openai/scribe": price})
    calls = session_costs(session, models, onlooker(tmp_path))
    found = facts_for_advice(session, calls, models)
    assert [(one.group, one.calls) for one in found.costs] == [(("openai/scribe", "analysis"), 9)]
    assert isinstance(found.models["openai/scribe"], ModelFacts)
    assert found.consistency is not None
    assert (found.consistency.runs, found.consistency.documents, found.consistency.dimensions) == (3, 3, 10)
    assert 0.9 < found.consistency.low < found.consistency.alpha
    assert (
        found.shared_tokens > 0.8 * found.prompt_tokens
    )  # the framework opens every prompt, and these texts are short
    assert found.early == {"openai/scribe": 1}  # one after the other: only the first was sent before its own answer
    said = advise(found)
    assert [one for one in said if "2 runs would be expected" in one]
    assert [one for one in said if one.startswith("0 % of the prompt tokens of openai/scribe")]


def test_a_session_that_has_not_said_enough_gives_no_consistency(tmp_path: Path) -> None:
    session = opened(tmp_path, documents=3, runs=3)
    read(session, tmp_path, {1: 0.2, 2: 0.4})
    found = facts_for_advice(session, session_costs(session, ModelsFile(), onlooker(tmp_path)), ModelsFile())
    assert found.consistency is None


def test_resamples_by_the_offline_method_say_nothing_of_models(tmp_path: Path) -> None:
    session = opened(tmp_path, documents=3, runs=3, models=["offline/lexicon"])
    read(session, tmp_path, {one.number: one.number / 20 for one in session.plan})
    found = facts_for_advice(session, session_costs(session, ModelsFile(), onlooker(tmp_path)), ModelsFile())
    assert found.consistency is None
