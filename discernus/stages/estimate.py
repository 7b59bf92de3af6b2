"""What a run will cost, before it costs anything: its own prompts, counted, and answers as long as earlier ones were.

Nothing here is a promise. Each figure says what it rests on: earlier answers of the same model, or an assumption.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import ceil, fsum
from statistics import fmean, quantiles
from textwrap import wrap

from discernus.experiments.definition import Definition
from discernus.experiments.experiment import OFFLINE_PREFIX
from discernus.experiments.plan import Analysis
from discernus.llm.calls import ModelRequest, Purpose
from discernus.llm.catalogue import (
    VENDORS_MAY_COUNT,
    ModelFacts,
    cost_usd,
    count_tokens,
    facts_of,
    prompt_tokens,
    worst_case_usd,
)
from discernus.llm.models_file import ModelsFile
from discernus.llm.requests import analysis_request, extraction_request
from discernus.reports.interpretation import DOCUMENTS_TOLD
from discernus.sessions.earlier import Earlier, Followed, History

ENOUGH = 5  # earlier answers: fewer say too little about a range
LINE = 80  # columns

# What is assumed where there are no earlier answers, low, likely and high.
FORM = (0.5, 1.5, 4.0)  # tokens of an answer for one of the form that it fills in
THINKING_TOKENS = (0, 1500, 6000)  # more, of a model that may think before it answers
SECOND_READINGS = (0.0, 0.1, 0.5)  # of all answers
AGAIN = (0.0, 0.05, 0.1)  # of all answers are unusable, and asked for again
COUNTED = (0.9, 1.0, VENDORS_MAY_COUNT)  # tokens that a vendor counts for one of ours

EVIDENCE_TOKENS = 60  # two quotations
TEXT_TOKENS = 15  # a label, a remark
BRIEF_TOKENS = 2500  # what stands around the tables of which a model writes prose
ROW_TOKENS = 120  # a dimension in all tables over documents
CELL_TOKENS = 8  # one in the tables by document
PROSE_TOKENS = 600  # some paragraphs


@dataclass(frozen=True)
class Range:
    """The low, the likely and the high value of a figure; low and high are each passed one time in twenty or so."""

    low: float
    likely: float
    high: float

    def __add__(self, other: Range) -> Range:
        return Range(self.low + other.low, self.likely + other.likely, self.high + other.high)

    def __mul__(self, other: Range) -> Range:
        return Range(self.low * other.low, self.likely * other.likely, self.high * other.high)

    def at_most(self, limit: float | None) -> Range:
        """Return the range with nothing above the limit."""
        return self if limit is None else Range(*(min(value, limit) for value in self.values))

    @property
    def values(self) -> tuple[float, float, float]:
        return self.low, self.likely, self.high


NONE = Range(0, 0, 0)


@dataclass(frozen=True)
class ModelEstimate:
    """What the calls of one purpose to one model will take in all.

    ``usd`` is None where the model's price is not known, ``worst_usd`` also where nothing bounds its answers: it is
    what the calls cost if each is answered at the greatest length, every answer is read by a second model, and as many
    calls as in the high case are made again. ``basis`` says what the lengths of answers rest on, ``answers`` on how
    many earlier ones, 0 for an assumption.
    """

    model: str
    purpose: Purpose
    calls: Range
    prompt_tokens: Range
    output_tokens: Range
    usd: Range | None
    worst_usd: float | None
    answers: int
    basis: str


@dataclass(frozen=True)
class Estimate:
    """What a run will take. Sums in USD leave out the ``unpriced`` models, and are None where no model has a price.

    ``worst_usd`` is None also where nothing bounds the answers of a model that has a price. ``dearest_call_usd`` is the
    most that any single call may cost, by a fallback or of a second reading too; None where no such bound is known.
    """

    models: tuple[ModelEstimate, ...]
    calls: Range
    prompt_tokens: Range
    output_tokens: Range
    usd: Range | None
    worst_usd: float | None
    unpriced: tuple[str, ...]
    dearest_call_usd: float | None = None


def sentence(estimate: Estimate) -> str:
    """Return what a run will cost and what that rests on, in lines of at most 80 characters."""
    if all(one.model.startswith(OFFLINE_PREFIX) for one in estimate.models):
        return "projected cost: 0.00 USD, for no vendor is asked"
    if estimate.usd is None:
        tokens = (
            f"{estimate.calls.likely:,.0f} calls, about {_rounded(estimate.prompt_tokens + estimate.output_tokens)}"
        )
        known = f"projected cost: not known ({tokens} tokens)"
    else:
        places = _places(estimate.usd.likely)
        low, likely, high = (f"{usd:,.{places}f}" for usd in estimate.usd.values)
        worst = estimate.worst_usd
        most = "nothing bounds it" if worst is None else f"{worst:,.{places}f} with the longest answers"
        known = f"projected cost: {likely} USD ({low} to {high}; {most}), {_resting_on(estimate)}"
    unpriced = ", ".join(estimate.unpriced)
    apart = f"; no price is known of {unpriced}, which models.yaml may give" if unpriced else ""
    return "\n".join(wrap(known + apart, LINE, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False))


class Estimator:
    """Reckons with one definition; each text is counted once, whatever the number of runs and models.

    ``extraction_models`` may read the answers that our rules cannot, ``synthesis_models`` write the prose; the first is
    expected to do it.
    """

    def __init__(
        self,
        definition: Definition,
        models: ModelsFile,
        extraction_models: Sequence[str] = (),
        history: History | None = None,
        *,
        synthesis_models: Sequence[str] = (),
    ) -> None:
        self._definition = definition
        self._models = models
        self._extraction_models = tuple(extraction_models)
        self._synthesis_models = tuple(synthesis_models)
        self._history = history or History()
        self._facts: dict[str, ModelFacts] = {}
        self._prompts: dict[tuple[str, str], int] = {}
        self._max_tokens: dict[tuple[str, str], int | None] = {}

    def estimate(self, analyses: Iterable[Analysis]) -> Estimate:
        """Return what these analyses will take, with the calls that follow some of them."""
        analyses = list(analyses)
        by_model: dict[str, list[Analysis]] = {}
        for analysis in analyses:
            by_model.setdefault(analysis.model, []).append(analysis)
        found = [self._first_readings(model, members) for model, members in by_model.items()]
        if self._extraction_models:
            found += self._second_readings(by_model, self._extraction_models[0])
        if self._synthesis_models:
            found.append(self._prose(self._synthesis_models[0]))
        priced = [(one.usd, one.worst_usd) for one in found if one.usd is not None]
        worst = [usd for _, usd in priced if usd is not None]
        return Estimate(
            models=tuple(found),
            calls=sum((one.calls for one in found), NONE),
            prompt_tokens=sum((one.prompt_tokens for one in found), NONE),
            output_tokens=sum((one.output_tokens for one in found), NONE),
            usd=sum((usd for usd, _ in priced), NONE) if priced else None,
            worst_usd=fsum(worst) if priced and len(worst) == len(priced) else None,
            unpriced=tuple(dict.fromkeys(one.model for one in found if one.usd is None)),
            dearest_call_usd=self._dearest_call_usd(analyses),
        )

    def reserved_usd(self, analysis: Analysis) -> float:
        """Return what a budget must have left for a call of the analysis, whichever model serves it; 0: no price."""
        fallbacks = self._definition.experiment.fallback_models.get(analysis.model, ())
        worst = (self.worst_usd(analysis, model) for model in (analysis.model, *fallbacks))
        return max((usd for usd in worst if usd is not None), default=0.0)

    def _dearest_call_usd(self, analyses: Sequence[Analysis]) -> float | None:
        asked = [one for one in analyses if not one.model.startswith(OFFLINE_PREFIX)]
        second = (self.worst_second_usd(one, reader) for one in asked for reader in self._extraction_models)
        others = (*second, *map(self.worst_prose_usd, self._synthesis_models))
        return max((*map(self.reserved_usd, asked), *(usd for usd in others if usd is not None)), default=0.0) or None

    def tokens_per_call(self, model: str) -> int:
        """Return the tokens that a call to the model is expected to take on average, its prompt and its answer."""
        experiment = self._definition.experiment
        analysing = {*experiment.models, *(name for names in experiment.fallback_models.values() for name in names)}
        if model in self._synthesis_models and model not in {*analysing, *self._extraction_models}:
            prose = self._answer(model, "synthesis").likely
            return ceil(self._brief * self._counted(model, "synthesis").likely + prose)
        if model in self._extraction_models and model not in analysing:
            answers = fmean(self._answer(one, "analysis").likely for one in experiment.models)
            prompt = self._second_frame + answers
            return ceil(prompt * self._counted(model, "extraction").likely + self._answer(model, "extraction").likely)
        documents = [document.id for document in self._definition.documents]
        prompt = fmean(self._prompt(document, variant) for document in documents for variant in experiment.variants)
        return ceil(prompt * self._counted(model, "analysis").likely + self._answer(model, "analysis").likely)

    def worst_usd(self, analysis: Analysis, model: str | None = None) -> float | None:
        """Return what one call for the analysis costs at worst, put to its model or to a fallback; None: not known."""
        asked = model or analysis.model
        prompt = self._prompt(analysis.document, analysis.variant)
        return worst_case_usd(self._facts_of(asked), prompt, self._limit(analysis.model, asked))

    def worst_second_usd(self, analysis: Analysis, model: str) -> float | None:
        """Return what having an answer to the analysis read by a second model costs at worst; None: not known."""
        return worst_case_usd(self._facts_of(model), self._second_frame + self._longest(analysis.model), None)

    def worst_prose_usd(self, model: str) -> float | None:
        """Return what having the tables put into words costs at worst; None: not known."""
        limit = self._definition.experiment.settings_of(model).max_tokens
        return worst_case_usd(self._facts_of(model), ceil(self._brief), limit)

    # rows

    def _prose(self, model: str) -> ModelEstimate:
        """Return the one call for prose; its prompt are tables that are not there yet."""
        again = _share(None, AGAIN)
        prompts = Counter({ceil(self._brief): 1})
        calls = Range(1, 1 + again.likely, 1 + again.high)
        return self._row(model, "synthesis", prompts, calls, [self.worst_prose_usd(model)])

    def _first_readings(self, model: str, analyses: Sequence[Analysis]) -> ModelEstimate:
        again = NONE if model.startswith(OFFLINE_PREFIX) else _share(self._history.again, AGAIN)
        prompts = Counter(self._prompt(one.document, one.variant) for one in analyses)
        worst = [self.worst_usd(one) for one in analyses]
        return self._row(model, "analysis", prompts, Range(1, 1 + again.likely, 1 + again.high), worst)

    def _second_readings(self, by_model: dict[str, list[Analysis]], reader: str) -> list[ModelEstimate]:
        read = {model: analyses for model, analyses in by_model.items() if not model.startswith(OFFLINE_PREFIX)}
        if not read:
            return []
        share = _share(self._history.second, SECOND_READINGS)
        prompts: Counter[int] = Counter()
        for model, analyses in read.items():
            prompts[self._second_frame + ceil(self._answer(model, "analysis").likely)] += len(analyses)
        worst = [self.worst_second_usd(one, reader) for analyses in read.values() for one in analyses]
        return [self._row(reader, "extraction", prompts, share, worst)]

    def _row(
        self, model: str, purpose: Purpose, prompts: Counter[int], calls_each: Range, worst: Sequence[float | None]
    ) -> ModelEstimate:
        """Return the sums over prompts of so many tokens, each leading to so many calls."""
        counted, answer, facts = self._counted(model, purpose), self._answer(model, purpose), self._facts_of(model)
        earlier = self._earlier(model, purpose)
        cached = earlier.cached if earlier is not None else 0.0
        number, tokens = prompts.total(), sum(size * times for size, times in prompts.items())
        once = [
            _usd_of(facts, prompts, count, length, share)
            for count, length, share in zip(counted.values, answer.values, (cached, cached, 0.0), strict=True)
        ]
        known = [usd for usd in once if usd is not None]
        usd = Range(*known) * calls_each if len(known) == len(once) else None
        bounds = [one for one in worst if one is not None]
        bound = fsum(bounds) * max(1.0, calls_each.high) if len(bounds) == len(worst) else None
        return ModelEstimate(
            model=model,
            purpose=purpose,
            calls=Range(number, number, number) * calls_each,
            prompt_tokens=Range(tokens, tokens, tokens) * counted * calls_each,
            output_tokens=Range(number, number, number) * calls_each * answer,
            usd=usd,
            worst_usd=None if bound is None or usd is None else max(bound, usd.high),
            answers=len(earlier.answer_tokens) if earlier is not None else 0,
            basis=_basis(model, earlier, answer),
        )

    # lengths

    def _answer(self, model: str, purpose: Purpose) -> Range:
        """Return the tokens of one answer: as earlier ones, their mean the likely one, since it is what adds up."""
        if model.startswith(OFFLINE_PREFIX):
            return NONE
        earlier = self._earlier(model, purpose)
        if earlier is not None:
            cuts, mean = quantiles(earlier.answer_tokens, n=20, method="inclusive"), fmean(earlier.answer_tokens)
            found = Range(min(cuts[0], mean), mean, max(cuts[-1], mean))
        else:
            form = {"analysis": self._form, "extraction": self._second_form, "synthesis": PROSE_TOKENS}[purpose]
            thinking = THINKING_TOKENS if self._facts_of(model).thinks else (0, 0, 0)
            found = Range(*FORM) * Range(form, form, form) + Range(*thinking)
        return found.at_most(self._bound(model, purpose))

    def _bound(self, model: str, purpose: Purpose) -> int | None:
        """Return the tokens that an answer has at most; None where nothing bounds it."""
        asked = self._limit(model, model) if purpose == "analysis" else None
        if purpose == "synthesis":
            asked = self._definition.experiment.settings_of(model).max_tokens
        limits = (asked, self._facts_of(model).max_output_tokens)
        return min((limit for limit in limits if limit is not None), default=None)

    def _longest(self, model: str) -> int:
        """Return the tokens of the longest answer to an analysis; where nothing bounds it, of the longest expected."""
        bound = self._bound(model, "analysis")
        return ceil(self._answer(model, "analysis").high) if bound is None else bound

    def _counted(self, model: str, purpose: Purpose) -> Range:
        """Return how many tokens the model's vendor counts for one of ours."""
        earlier = self._earlier(model, purpose)
        known = earlier.counted if earlier is not None else None
        return Range(*COUNTED) if known is None else Range(known, known, known)

    def _prompt(self, document: str, variant: str) -> int:
        """Return the tokens of the request that puts a document, as we count them."""
        known = self._prompts.get((document, variant))
        if known is None:
            known = self._prompts[document, variant] = prompt_tokens(self._request(document, variant))
        return known

    @cached_property
    def _second_frame(self) -> int:
        """The tokens that stand around an answer where a second model is to read it."""
        return prompt_tokens(extraction_request(self._definition.framework, "", "", problem=None, timeout_s=1))

    @cached_property
    def _brief(self) -> float:
        """The tokens of the tables that prose is about, as assumed: a row for each dimension, and cells by document."""
        experiment, dimensions = self._definition.experiment, len(self._definition.framework.dimensions)
        groups = len(experiment.models) * len(experiment.variants)
        cells = min(len(self._definition.documents), DOCUMENTS_TOLD) * dimensions
        return BRIEF_TOKENS + groups * (dimensions * ROW_TOKENS + cells * CELL_TOKENS)

    @cached_property
    def _form(self) -> int:
        """The tokens of the answer that the framework asks for, filled in briefly."""
        contract = self._definition.framework.contract
        written = {"evidence": EVIDENCE_TOKENS, "label": TEXT_TOKENS, "other": TEXT_TOKENS}
        return count_tokens(contract.schema_text) + sum(written.get(field.role, 2) for field in contract.fields)

    @cached_property
    def _second_form(self) -> int:
        """The tokens of what a second model copies out: a score and a confidence for each dimension."""
        names = [dimension.name for dimension in self._definition.framework.dimensions]
        return 2 * sum(count_tokens(name) + TEXT_TOKENS for name in names)

    def _limit(self, asked: str, model: str) -> int | None:
        """Return the ``max_tokens`` of a call to a model in place of the one that was asked for."""
        if (asked, model) not in self._max_tokens:
            request = self._request(
                self._definition.documents[0].id, self._definition.experiment.variants[0], asked, model
            )
            self._max_tokens[asked, model] = request.parameters.get("max_tokens")
        return self._max_tokens[asked, model]

    def _request(self, document: str, variant: str, asked: str | None = None, model: str | None = None) -> ModelRequest:
        asked = asked or self._definition.experiment.models[0]
        analysis = Analysis(number=1, document=document, model=asked, variant=variant, run=1)
        return analysis_request(self._definition, analysis, ask=0, correction=None, timeout_s=1, model=model)

    def _earlier(self, model: str, purpose: Purpose) -> Earlier | None:
        return self._history.calls.get((model, purpose))

    def _facts_of(self, model: str) -> ModelFacts:
        if model not in self._facts:
            self._facts[model] = facts_of(model, self._models.rules(model))
        return self._facts[model]


def _usd_of(facts: ModelFacts, prompts: Counter[int], counted: float, answer: float, cached: float) -> float | None:
    """Return what one call for each prompt costs; ``cached`` is the share of it that comes from the vendor's cache."""
    costs = [
        (times, cost_usd(facts, size * counted, answer, size * counted * cached)) for size, times in prompts.items()
    ]
    return fsum(times * usd for times, usd in costs if usd is not None) if facts.input_usd is not None else None


def _share(followed: Followed | None, assumed: tuple[float, float, float]) -> Range:
    """Return the share of analyses that another call follows: half and double the earlier one, or what is assumed.

    Where hardly any did, three in all could have (the rule of three: Hanley and Lippman-Hand 1983, JAMA 249).
    """
    if followed is None:
        return Range(*assumed)
    high = max(2 * followed.share, 3 / followed.asked)
    return Range(followed.share / 2, followed.share, min(1.0, high))


def _basis(model: str, earlier: Earlier | None, answer: Range) -> str:
    if model.startswith(OFFLINE_PREFIX):
        return "no vendor is asked"
    if earlier is None:
        return f"assumed answers of {answer.low:,.0f} to {answer.high:,.0f} tokens"
    framework = "this framework" if earlier.same_framework else "any framework"
    return f"{len(earlier.answer_tokens)} earlier answers under {framework}"


def _resting_on(estimate: Estimate) -> str:
    asked = [one for one in estimate.models if one.purpose == "analysis" and not one.model.startswith(OFFLINE_PREFIX)]
    answers, assumed = sum(one.answers for one in asked), [one.model for one in asked if not one.answers]
    if not answers:
        return "assumed, for there are no earlier answers to go by"
    apart = f", assumed for {', '.join(assumed)}" if assumed else ""
    return f"from {answers:,} earlier answers{apart}"


def _places(usd: float) -> int:
    """Return the decimals in which an amount still says something."""
    return 2 if usd >= 0.1 or usd == 0 else 4 if usd >= 0.001 else 6


def _rounded(tokens: Range) -> str:
    """Return a number of tokens in words that promise no more than is known: ``2.3 million``."""
    return f"{tokens.likely / 1e6:.1f} million" if tokens.likely >= 1e6 else f"{round(tokens.likely, -2):,.0f}"
