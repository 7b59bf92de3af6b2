"""What dominated the cost of a session, and what would lower it in the next study; never a word on the one under way.

Each sentence rests on figures of that very session. Where nothing dominates, nothing is said.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import takewhile
from math import fsum
from statistics import fmean

from discernus.experiments.experiment import OFFLINE_PREFIX
from discernus.llm.catalogue import ModelFacts, cost_usd, facts_of, prompt_tokens
from discernus.llm.models_file import ModelsFile
from discernus.llm.requests import analysis_request
from discernus.reports.groups import Group, groups_of
from discernus.reports.markdown import percent
from discernus.sessions.costs import CallCost, Costs, costs_by
from discernus.sessions.session import Session
from discernus.stages.records import session_records
from discernus.statistics.consistency import FEW_DOCUMENTS, feldt_interval

DOMINATES = 0.5  # of the cost
AGREES = 0.05  # of a cost, by which it may part from what prices make of it: prompts are not all of one length
MANY_EARLY = 0.5  # of the calls
WORTH_SAYING = 0.05  # of the cost could be saved
MUCH_EXTRACTION = 0.15  # of the cost
MUCH_CHEAPER = 0.5  # of what the extraction did cost
CONSISTENT = 0.9  # what the lower bound of the least consistent dimension's alpha has to keep with fewer runs
FEWEST_RUNS = 2  # with one, nothing is known of consistency
LEAST_CACHED = 1024  # tokens: the shortest beginning that vendors cache, where the price table does not say
CACHED_WHEN_MARKED = frozenset(
    {"anthropic", "bedrock"}
)  # vendors that cache on demand only, which is not asked of them

_DONE = {"analysis": "Analyses by", "extraction": "Second readings by", "synthesis": "Prose by"}


@dataclass(frozen=True)
class Consistency:
    """Cronbach's alpha over the runs, of the least consistent among ``dimensions`` that have one; ``low`` is the lower
    bound of its 95 % interval (Feldt), which it is judged by."""

    alpha: float
    low: float
    dimension: str
    dimensions: int
    runs: int
    documents: int


@dataclass(frozen=True)
class Facts:
    """What advice rests on. ``costs`` are grouped by model and purpose; ``models`` holds what is known of each.

    ``shared_tokens`` of the ``prompt_tokens`` of a request on average stand at its beginning and are the same for every
    document. ``consistency`` is the least over models and variants, None where it is not known. ``readers`` are models
    that could have read answers. ``early``: how many analyses by a model were sent before its first answer was there.
    """

    costs: tuple[Costs, ...]
    models: Mapping[str, ModelFacts]
    shared_tokens: float
    prompt_tokens: float
    consistency: Consistency | None
    readers: tuple[str, ...]
    early: Mapping[str, int]


def facts_for_advice(session: Session, calls: Iterable[CallCost], models: ModelsFile) -> Facts:
    """Return what a session's calls and scores say about its cost."""
    calls = tuple(calls)
    costs = tuple(costs_by(calls, ("model", "purpose")))
    readers = tuple(dict.fromkeys((*session.extraction_models, *models.fallbacks("extraction"))))
    known = {model: facts_of(model, models.rules(model)) for model in {*(one.group[0] for one in costs), *readers}}
    shared, prompt = _prompt_of(session)
    return Facts(costs, known, shared, prompt, _consistency(session), readers, _early(calls))


def advise(facts: Facts) -> tuple[str, ...]:
    """Return what dominated the cost, and what would lower it in the next study; nothing where there was no cost."""
    total = fsum(one.cost_usd or 0.0 for one in facts.costs)
    if total <= 0:
        return ()
    found = (_dominant(facts, total), _uncached(facts, total), _extraction(facts, total), _fewer_runs(facts, total))
    return tuple(sentence for sentence in found if sentence is not None)


def _dominant(facts: Facts, total: float) -> str | None:
    """Say who took most of the cost, and whether it was the prompts, the answers or the thinking."""
    one = max(facts.costs, key=lambda costs: costs.cost_usd or 0.0)
    cost = one.cost_usd or 0.0
    if cost < DOMINATES * total:
        return None
    model, purpose = one.group
    parts = _parts(one, facts.models[model])
    if len(facts.costs) == 1:  # that it took all of the cost goes without saying
        return f"Of {_the_cost(facts)}, {parts}." if parts else None
    said = f"{_DONE[purpose]} {model} took {percent(cost / total)} of {_the_cost(facts)}"
    return f"{said} ({cost:.4f} of {total:.4f} USD){f'; of that {parts}' if parts else ''}."


def _the_cost(facts: Facts) -> str:
    """Return what shares are of: a cost that is not known in all is said to be that."""
    unpriced = sum(one.unpriced for one in facts.costs)
    if not unpriced:
        return "the cost"
    have = "call has" if unpriced == 1 else "calls have"
    return f"the known cost ({unpriced:,} {have} no known price)"


def _parts(one: Costs, facts: ModelFacts) -> str:
    """Return whether prompts, answers or thinking were dear, in words; nothing where that cannot be told."""
    share = _share_of_answers(one, facts)
    if share is None:
        return ""
    if share < DOMINATES:
        return f"{percent(1 - share)} was for prompts"
    thinking = (one.reasoning_tokens or 0) / (one.completion_tokens or 1)
    if thinking < DOMINATES:
        return f"{percent(share)} was for answers"
    return (
        f"{percent(share)} was for answers, and {percent(thinking)} of these was reasoning; "
        "a lower `reasoning` for this model would lower it in the next study"
    )


def _share_of_answers(one: Costs, facts: ModelFacts) -> float | None:
    """Return the share of the cost that answers had, by the model's prices; None where these are not what was paid."""
    if not _paid_at(facts, one) or one.prompt_tokens is None:
        return None
    prompts = cost_usd(facts, one.prompt_tokens / one.calls, 0, (one.cached_tokens or 0) / one.calls)
    return None if prompts is None or not one.cost_usd else max(0.0, 1 - prompts * one.calls / one.cost_usd)


def _paid_at(facts: ModelFacts, one: Costs) -> bool:
    """Return whether the calls cost what the model's prices make of their tokens, so that these may be reckoned with.

    They do not where a vendor tells a cost of its own, where a substitute answered, or where some cost is not known.
    """
    if one.unpriced or not one.cost_usd or one.prompt_tokens is None or one.completion_tokens is None:
        return False
    each = [tokens / one.calls for tokens in (one.prompt_tokens, one.completion_tokens, one.cached_tokens or 0)]
    reckoned = cost_usd(facts, *each)
    return reckoned is not None and abs(reckoned * one.calls - one.cost_usd) <= AGREES * one.cost_usd


def _uncached(facts: Facts, total: float) -> str | None:
    """Say that the shared beginning of the prompts could have come from a vendor's cache, and did not."""
    saved = {one.group[0]: _could_save(facts, one) for one in facts.costs if one.group[1] == "analysis"}
    model, usd = max(saved.items(), key=lambda item: item[1], default=("", 0.0))
    if usd < WORTH_SAYING * total:
        return None
    one = next(one for one in facts.costs if one.group == (model, "analysis"))
    cached = percent((one.cached_tokens or 0) / (one.prompt_tokens or 1))
    shared = percent(facts.shared_tokens / facts.prompt_tokens)
    return (
        f"{cached} of the prompt tokens of {model} came from its vendor's cache, though the framework, {shared} of "
        f"each prompt, stands unchanged at its beginning, where a cache can serve it. {_how_to_cache(facts, one)}; up "
        f"to {usd:.4f} USD ({percent(usd / total)} of {_the_cost(facts)}) would have been saved here."
    )


def _how_to_cache(facts: Facts, one: Costs) -> str:
    """Return what would let a cache serve more: an answer before all else is sent, or less time between calls."""
    early = facts.early.get(one.group[0], 0)
    if early > MANY_EARLY * one.calls:
        return (
            f"{early:,} of {one.calls:,} calls were sent before the first was answered, and a cache holds what an "
            "earlier call left there. In the next study, let one call to each model be answered before the others "
            "are sent: a lower --concurrency comes close to that"
        )
    models = {costs.group[0] for costs in facts.costs if costs.group[1] == "analysis"}
    fewer = ", with fewer models at once" if len(models) > 1 else ""
    return f"In the next study, put the calls to one model close together in time{fewer}"


def _early(calls: Iterable[CallCost]) -> dict[str, int]:
    """Return how many analyses by each model were sent before its first answer was there."""
    asked = [call for call in calls if call.purpose == "analysis" and call.fate == "answered"]
    first: dict[str, datetime] = {}
    for call in asked:
        if call.ended_at is not None:
            first[call.model] = min(call.ended_at, first.get(call.model, call.ended_at))
    return Counter(call.model for call in asked if call.model in first and call.at < first[call.model])


def _could_save(facts: Facts, one: Costs) -> float:
    """Return the USD that a cache would have saved had it served every shared beginning but the first."""
    known = facts.models[one.group[0]]
    rate = known.rate(facts.prompt_tokens)
    least = known.cached_from_tokens or LEAST_CACHED
    if rate is None or known.vendor in CACHED_WHEN_MARKED or facts.shared_tokens < least:
        return 0.0
    if not _paid_at(known, one) or one.prompt_tokens is None:
        return 0.0
    if one.cached_tokens is None:  # a vendor that does not tell may have cached
        return 0.0
    possible = one.prompt_tokens * facts.shared_tokens / facts.prompt_tokens * (one.calls - 1) / one.calls
    return max(0.0, possible - one.cached_tokens) * (rate.input_usd - rate.cached_input_usd)


def _extraction(facts: Facts, total: float) -> str | None:
    """Say that reading answers by a second model was dear, and which model would have done it for less."""
    of_extraction = [one for one in facts.costs if one.group[1] == "extraction" and one.cost_usd]
    cost = fsum(one.cost_usd or 0.0 for one in of_extraction)
    if cost < MUCH_EXTRACTION * total or any(one.unpriced for one in of_extraction):
        return None
    names = " and ".join(one.group[0] for one in of_extraction)
    said = f"Having answers read by {names} took {percent(cost / total)} of {_the_cost(facts)} ({cost:.4f} USD)"
    offers = {model: _same_calls(facts.models[model], of_extraction) for model in facts.readers}
    known = {model: usd for model, usd in offers.items() if usd is not None and usd <= MUCH_CHEAPER * cost}
    if not known:
        return f"{said}; in the next study, a cheaper extraction_model would lower it."
    model, usd = min(known.items(), key=lambda offer: offer[1])
    return f"{said}; {model} would have done the same calls for {usd:.4f} USD: consider it for the next study."


def _same_calls(facts: ModelFacts, costs: Iterable[Costs]) -> float | None:
    """Return what calls of the same sizes cost with a model; None where its price or their sizes are not known."""
    sums = []
    for one in costs:
        if one.prompt_tokens is None or one.completion_tokens is None:
            return None
        each = cost_usd(facts, one.prompt_tokens / one.calls, one.completion_tokens / one.calls)
        if each is None:
            return None
        sums.append(each * one.calls)
    return fsum(sums)


def _fewer_runs(facts: Facts, total: float) -> str | None:
    """Say with how many runs the next study would still be consistent."""
    found = facts.consistency
    if found is None or found.low < CONSISTENT or any(one.unpriced for one in facts.costs):
        return None
    fewer = next(
        runs for runs in range(FEWEST_RUNS, found.runs + 1) if _with_runs(found.low, found.runs, runs) >= CONSISTENT
    )
    analyses = fsum(one.cost_usd or 0.0 for one in facts.costs if one.group[1] == "analysis")
    saved = analyses * (1 - fewer / found.runs)
    if saved < WORTH_SAYING * total:
        return None
    few = f" Fewer than {FEW_DOCUMENTS} documents say little of others." if found.documents < FEW_DOCUMENTS else ""
    return (
        f"Over {found.runs} runs, {found.dimension}, the least consistent dimension of {found.dimensions}, reached an "
        f"alpha of {found.alpha:.2f}, {found.low:.2f} at the lower bound of its 95 % interval. With texts like these "
        f"{found.documents}, {fewer} runs would be expected to reach "
        f"{_with_runs(found.alpha, found.runs, fewer):.2f}, "
        f"{_with_runs(found.low, found.runs, fewer):.2f} at the lower "
        f"bound (Spearman-Brown), and would save {percent(saved / total)} of such a cost in the next study.{few}"
    )


def _with_runs(alpha: float, of_runs: int, runs: int) -> float:
    """Return the alpha to expect with so many runs: Spearman (1910) and Brown (1910), Br. J. Psychol. 3."""
    one_run = alpha / (of_runs - (of_runs - 1) * alpha)
    return runs * one_run / (1 + (runs - 1) * one_run)


def _consistency(session: Session) -> Consistency | None:
    """Return the least consistency over the language models and variants of a session, None if nothing tells it."""
    groups = [group for group in groups_of(session_records(session)) if not group.model.startswith(OFFLINE_PREFIX)]
    names = [dimension.name for dimension in session.definition.framework.dimensions]
    found = [least for group in groups if (least := _least(group, names)) is not None]
    return min(found, key=lambda one: one.low, default=None) if len(found) == len(groups) else None


def _least(group: Group, dimensions: list[str]) -> Consistency | None:
    alphas = {name: group.alpha(name) for name in dimensions}
    known = {name: alpha for name, alpha in alphas.items() if alpha.value is not None}
    lows = {name: feldt_interval(alpha).low for name, alpha in known.items()}
    found = [(low, name) for name, low in lows.items() if low is not None]  # none where all runs agree wholly
    if not found or len(group.runs) <= FEWEST_RUNS:
        return None
    low, name = min(found)
    return Consistency(known[name].value or 0.0, low, name, len(known), len(group.runs), known[name].documents)


def _prompt_of(session: Session) -> tuple[float, float]:
    """Return the tokens that open every prompt of a variant alike, and those of a prompt on average; our count."""
    definition = session.definition
    variant = session.plan[0].variant
    by_document = {analysis.document: analysis for analysis in session.plan if analysis.variant == variant}
    requests = [analysis_request(definition, one, ask=0, correction=None, timeout_s=1) for one in by_document.values()]
    columns = zip(*(request.messages for request in requests), strict=False)
    alike = tuple(column[0] for column in takewhile(lambda column: len(set(column)) == 1, columns))
    shared = prompt_tokens(requests[0].model_copy(update={"messages": alike}))
    return shared, fmean(prompt_tokens(request) for request in requests)
