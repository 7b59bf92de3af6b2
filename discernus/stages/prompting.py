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
    for model in definition.experiment.models:
        long = [one for one in _longest(definition, models_file, model) if _share(one) > 1]
        if long and not _relieved(definition, models_file, model, long):
            found.append(
                f"{model} takes prompts of {long[0].limit_tokens:,} tokens, and these are longer: {_sizes(long)}; "
                "name a model with a larger context, or split the texts into documents of their own: nothing is ever "
                "cut off"
            )
    return found


def doubts(definition: Definition, models_file: ModelsFile) -> list[str]:
    """Return what to look at before prompts are sent: nearly too long ones, and words that tell whose a text is."""
    found = []
    for model in definition.experiment.models:
        long = [one for one in _longest(definition, models_file, model) if _share(one) * VENDORS_MAY_COUNT > 1]
        if not long:
            continue
        if _share(long[0]) > 1:
            found.append(f"too long for {model}, so that its fallbacks are asked: {_sizes(long)}")
        else:
            limit = f"{long[0].limit_tokens:,}"
            found.append(f"may be too long for {model}, as it counts, which takes {limit} tokens: {_sizes(long)}")
    if definition.experiment.blind:
        found += _telling(definition)
    return found


def _longest(definition: Definition, models_file: ModelsFile, model: str) -> list[Prompt]:
    """Return each document's longest prompt over the variants, the longest first; none where no limit is known."""
    if model.startswith(OFFLINE_PREFIX) or facts_of(model, models_file.rules(model)).max_input_tokens is None:
        return []
    prompts = [
        max(
            (
                prompt_of(definition, models_file, document, variant, model)
                for variant in definition.experiment.variants
            ),
            key=lambda prompt: prompt.tokens,
        )
        for document in texts_at_hand(definition)
    ]
    return sorted(prompts, key=lambda prompt: -prompt.tokens)


def _share(prompt: Prompt) -> float:
    return prompt.tokens / prompt.limit_tokens if prompt.limit_tokens else 0.0


def _relieved(definition: Definition, models_file: ModelsFile, model: str, long: Sequence[Prompt]) -> bool:
    """Return whether some fallback takes the longest of these prompts."""
    limits = (
        facts_of(other, models_file.rules(other)).max_input_tokens
        for other in definition.experiment.fallback_models.get(model, ())
    )
    return any(limit is None or limit >= long[0].tokens for limit in limits)


def _sizes(prompts: Sequence[Prompt]) -> str:
    shown = [f"{one.document} (about {one.tokens:,})" for one in prompts[:MOST_NAMED]]
    more = len(prompts) - len(shown)
    return ", ".join([*shown, *([f"and {more} more"] if more else [])])


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
