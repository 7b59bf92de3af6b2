"""``starter.py prompt``: what a model would be shown of a document, word for word, and whether it can be sent."""

from __future__ import annotations

import json

from cli.display import write
from cli.exits import COMPLETE, INVALID, CommandError
from cli.looking import define
from cli.preparing import models_file_of
from cli.sessions import find
from cli.tables import wrapped
from discernus.experiments.definition import Definition
from discernus.experiments.experiment import OFFLINE_PREFIX
from discernus.experiments.problems import nearest_name
from discernus.settings import Settings
from discernus.stages.prompting import Prompt, doubts, prompt_of, unfit

MOST_LISTED = 12  # of what there is, where something else was named


def show_prompt(
    settings: Settings, name: str, document: str | None, variant: str | None, model: str | None, *, as_json: bool
) -> int:
    """Show the prompt of one document, and say what speaks against sending it; nothing is called or written."""
    definition = define(settings, find(settings, name))
    models_file = models_file_of(settings)
    experiment = definition.experiment
    prompt = prompt_of(
        definition,
        models_file,
        _chosen("document", document, [one.id for one in definition.documents]),
        _chosen("variant", variant, list(experiment.variants)),
        _chosen("model", model, list(experiment.models)),
    )
    errors, warnings = unfit(definition, models_file), doubts(definition, models_file)
    if as_json:
        write(json.dumps(_as_data(prompt, errors, warnings), ensure_ascii=False))
    else:
        _tell(prompt, definition, errors, warnings)
    return INVALID if errors else COMPLETE


def _chosen(what: str, wanted: str | None, there: list[str]) -> str:
    if wanted is None:
        return there[0]
    if wanted not in there:
        nearest = nearest_name(wanted, there)
        meant = f"did you mean '{nearest}'? There are: " if nearest else "there are: "
        more = f" and {len(there) - MOST_LISTED:,} more" if len(there) > MOST_LISTED else ""
        listed = f"{', '.join(there[:MOST_LISTED])}{more}"
        raise CommandError(f"there is no {what} '{wanted}'; {meant}{listed}", INVALID)
    return wanted


def _tell(prompt: Prompt, definition: Definition, errors: list[str], warnings: list[str]) -> None:
    request = prompt.request
    for number, message in enumerate(request.messages, start=1):
        same = ", the same for every document" if number == 1 else ""
        write(f"--- message {number} of {len(request.messages)}, {message.role}{same}")
        write(message.content)
    write("--- end of the prompt")
    parameters = {name: value for name, value in request.parameters.items() if name != "lexicon"}
    settled = ", ".join(f"{name} {value}" for name, value in parameters.items()) or "the vendor's defaults"
    write(wrapped(f"document {prompt.document}, variant {prompt.variant}, model {prompt.model}; {settled}"))
    write(wrapped(_size(prompt)))
    if definition.experiment.blind:
        write(wrapped("The experiment is blind: no file name and no column of corpus.csv is part of a prompt."))
    for line in [*(f"error: {one}" for one in errors), *(f"warning: {one}" for one in warnings)]:
        write(wrapped(line))


def _size(prompt: Prompt) -> str:
    if prompt.model.startswith(OFFLINE_PREFIX):
        return f"{prompt.model} is handed the text and the framework's markers in place of a prompt"
    told = f"about {prompt.tokens:,} tokens, {prompt.shared_tokens:,} of them in the first message, which can be cached"
    limit = "the model's limit is not known" if prompt.limit_tokens is None else f"it takes {prompt.limit_tokens:,}"
    return f"{told}; {limit}"


def _as_data(prompt: Prompt, errors: list[str], warnings: list[str]) -> dict[str, object]:
    return {
        "document": prompt.document,
        "variant": prompt.variant,
        "model": prompt.model,
        "messages": [message.model_dump() for message in prompt.request.messages],
        "parameters": prompt.request.parameters,
        "tokens": prompt.tokens,
        "shared_tokens": prompt.shared_tokens,
        "limit_tokens": prompt.limit_tokens,
        "errors": errors,
        "warnings": warnings,
    }
