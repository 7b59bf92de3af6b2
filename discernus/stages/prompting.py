"""The prompts of an experiment before any is sent: what a model would be shown, and what speaks against sending it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from discernus.experiments.clues import clues
from discernus.experiments.definition import Definition
from discernus.experiments.experiment import OFFLINE_PREFIX
from discernus.experiments.freezing import texts_at_hand
from discernus.experiments.plan import Analysis
from discernus.experiments.prompt import build_messages
from discernus.experiments.roles import snake_case
from discernus.llm.calls import ModelRequest
from discernus.llm.catalogue import VENDORS_MAY_COUNT, count_tokens, facts_of, prompt_tokens
from discernus.llm.models_file import ModelsFile
from discernus.llm.requests import analysis_request

MOST_NAMED = 5  # documents in one line
MOST_TELLING = 20  # texts that tell whose they are, a line for each


@dataclass(frozen=True)
class Prompt:
    """What a model would be asked about one document under one variant, as it would be sent.

    ``tokens`` are counted with OpenAI's encoding, ``shared_tokens`` of them stand in the first message, which is the
    same for every document; ``limit_tokens`` is the longest prompt the model takes, None where that is not known.
    """

    document: str
    variant: str
    model: str
    request: ModelRequest
    tokens: int
    shared_tokens: int
    limit_tokens: int | None


def prompt_of(definition: Definition, models_file: ModelsFile, document: str, variant: str, model: str) -> Prompt:
    """Return the prompt of a document's first analysis, put together by what puts it together in a run."""
    analysis = Analysis(number=1, document=document, model=model, variant=variant, run=1)
    request = analysis_request(definition, analysis, ask=0, correction=None, timeout_s=0)
    return Prompt(
        document,
        variant,
        model,
        request,
        tokens=prompt_tokens(request),
        shared_tokens=count_tokens(request.messages[0].content),
        limit_tokens=facts_of(model, models_file.rules(model)).max_input_tokens,
    )


def unnamed(definition: Definition, variant: str) -> list[str]:
    """Return the dimensions that the instructions of a variant never name, so that no model could score them."""
    ((_, instructions), _) = build_messages(definition.framework, variant, "")
    told = snake_case(instructions)
    return [
        dimension.name
        for dimension in definition.framework.dimensions
        if not any(snake_case(name) in told for name in (dimension.name, dimension.label))
    ]


def unfit(definition: Definition, models_file: ModelsFile) -> list[str]:
    """Return why prompts of the experiment cannot be sent as they are, each with a cure; [] where all can."""
    found = []
    for variant in definition.experiment.variants:
        if names := unnamed(definition, variant):
            found.append(
                f"the prompt of variant '{variant}' never names {', '.join(names)}: ask for it in the framework's "
                "output contract, or take it out of the dimensions"
            )
    limits = _limits(definition, models_file)
    sizes = _sizes(definition) if limits else []
    for model, limit in limits.items():
        long = [one for one in sizes if one.tokens > limit]
        if long and not _relieved(definition, models_file, model, long[0]):
            found.append(
                f"{model} takes prompts of {limit:,} tokens, and these are longer: {_named(long)}; "
                "name a model with a larger context, or split the texts into documents of their own: nothing is ever "
                "cut off"
            )
    return found


def doubts(definition: Definition, models_file: ModelsFile) -> list[str]:
    """Return what to look at before prompts are sent: nearly too long ones, and words that tell whose a text is."""
    found = []
    limits = _limits(definition, models_file)
    sizes = _sizes(definition) if limits else []
    for model, limit in limits.items():
        long = [one for one in sizes if one.tokens * VENDORS_MAY_COUNT > limit]
        if not long:
            continue
        if long[0].tokens > limit:
            found.append(f"too long for {model}, so that its fallbacks are asked: {_named(long)}")
        else:
            found.append(f"may be too long for {model}, as it counts, which takes {limit:,} tokens: {_named(long)}")
    if definition.experiment.blind:
        telling = list(_telling(definition))
        found += telling[:MOST_TELLING]
        if more := telling[MOST_TELLING:]:
            found.append(f"the experiment is blind, and {len(more):,} more of its texts tell whose they are")
    return found


@dataclass(frozen=True)
class _Size:
    """The tokens of a document's longest prompt over the variants; they are the same for every model."""

    document: str
    tokens: int


def _limits(definition: Definition, models_file: ModelsFile) -> dict[str, int]:
    """Return the longest prompt that each model takes, in tokens; models of which that is not known are left out."""
    known = {
        model: facts_of(model, models_file.rules(model)).max_input_tokens
        for model in definition.experiment.models
        if not model.startswith(OFFLINE_PREFIX)
    }
    return {model: limit for model, limit in known.items() if limit is not None}


def _sizes(definition: Definition) -> list[_Size]:
    """Return the size of each document that is still there, the longest first."""
    sizes = [
        _Size(document, max(_tokens(definition, document, variant) for variant in definition.experiment.variants))
        for document in texts_at_hand(definition)
    ]
    return sorted(sizes, key=lambda size: -size.tokens)


def _tokens(definition: Definition, document: str, variant: str) -> int:
    analysis = Analysis(number=1, document=document, model=definition.experiment.models[0], variant=variant, run=1)
    return prompt_tokens(analysis_request(definition, analysis, ask=0, correction=None, timeout_s=0))


def _relieved(definition: Definition, models_file: ModelsFile, model: str, longest: _Size) -> bool:
    """Return whether some fallback takes the longest of a model's prompts."""
    limits = (
        facts_of(other, models_file.rules(other)).max_input_tokens
        for other in definition.experiment.fallback_models.get(model, ())
    )
    return any(limit is None or limit >= longest.tokens for limit in limits)


def _named(sizes: Sequence[_Size]) -> str:
    shown = [f"{one.document} (about {one.tokens:,})" for one in sizes[:MOST_NAMED]]
    more = len(sizes) - len(shown)
    return ", ".join([*shown, *([f"and {more:,} more"] if more else [])])


def _telling(definition: Definition) -> Iterator[str]:
    """Yield a line for each document whose text tells whose it is: by which words, and where each stands first."""
    texts = texts_at_hand(definition)
    for document in definition.documents:
        lines = texts.get(document.id, "").splitlines()
        met = [
            f"“{clue.word}” in line {number}"
            for clue in clues(document)
            if clue.sure and (number := next((n for n, line in enumerate(lines, 1) if clue.is_in(line)), None))
        ]
        if met:
            yield f"the experiment is blind, and the text of {document.id} tells whose it is: {', '.join(met)}"
