"""A registration: what is going to be asked, of whom, about what, and what is computed from it, fixed beforehand.

It holds hashes of the texts and never the texts. ``deviations`` holds a session's definition against it.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from discernus import __version__
from discernus.canonical import canonical_json
from discernus.experiments.definition import Definition
from discernus.experiments.experiment import Experiment
from discernus.experiments.freezing import EXPERIMENT_SNAPSHOT, FRAMEWORK_SNAPSHOT, freeze, taken_out_of
from discernus.experiments.prompt import build_messages

PLAN = "plan.csv"
PROMPTS = "prompts"
RULES = ("fallback_models", "allow_substitution", "extraction_model", "synthesis_model", "pin_versions", "blind")


class RegisteredDocument(BaseModel):
    """A text by its hash, with what corpus.csv says of it; ``prompts`` has the SHA-256 of its message by variant."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    sha256: str
    metadata: dict[str, str]
    prompts: dict[str, str]


class Registration(BaseModel):
    """All that is registered. Hashes are SHA-256; ``prompts`` has those of the framework's message by variant.

    ``scales`` are the lowest and the highest score of each dimension. ``files`` are those beside the registration.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    format: int = 1
    project: str
    experiment: str
    registered_at: datetime
    discernus_version: str
    experiment_sha256: str
    framework: str
    framework_version: str
    framework_sha256: str
    analyses: int
    models: tuple[str, ...]
    parameters: dict[str, dict[str, Any]]
    variants: tuple[str, ...]
    runs_per_model: int
    rules: dict[str, Any]
    hypotheses: dict[str, str]
    statistical_plan: tuple[dict[str, Any], ...]
    formulas: dict[str, str]
    scales: dict[str, tuple[float, float]]
    prompts: dict[str, str]
    documents: tuple[RegisteredDocument, ...]
    files: dict[str, str]


def registration_of(
    definition: Definition, project: str, registered_at: datetime, files: Mapping[str, bytes]
) -> Registration:
    """Return what there is to register of a definition; ``files`` are those that will lie beside it."""
    experiment, framework = definition.experiment, definition.framework
    return Registration(
        project=project,
        experiment=experiment.name,
        registered_at=registered_at,
        discernus_version=__version__,
        experiment_sha256=experiment.sha256,
        framework=framework.name,
        framework_version=framework.version,
        framework_sha256=framework.sha256,
        analyses=len(definition.plan()),
        models=experiment.models,
        parameters=_parameters(experiment),
        variants=experiment.variants,
        runs_per_model=experiment.runs_per_model,
        rules=experiment.model_dump(mode="json", include=set(RULES)),
        hypotheses={one.name: one.text for one in experiment.hypotheses},
        statistical_plan=experiment.statistical_plan,
        formulas={metric.name: metric.formula for metric in framework.derived_metrics},
        scales={dimension.name: (dimension.low, dimension.high) for dimension in framework.dimensions},
        prompts={variant: _sha256(_asked(definition, variant, "")[0]) for variant in experiment.variants},
        documents=tuple(
            RegisteredDocument(
                id=document.id,
                sha256=document.sha256,
                metadata=document.metadata,
                prompts={
                    variant: _sha256(_asked(definition, variant, definition.texts[document.id])[1])
                    for variant in experiment.variants
                },
            )
            for document in definition.documents
        ),
        files={name: sha256(data).hexdigest() for name, data in files.items()},
    )


def files_of(definition: Definition, folder: Path) -> dict[str, bytes]:
    """Return the files that lie beside a registration: the author's own, the prompts in full, and the plan.

    Raise InvalidDefinition if a file in the experiment's ``folder`` has changed since the definition was read.
    """
    frozen = freeze(definition, folder)
    prompts = {
        f"{PROMPTS}/prompt_{number:02d}.md": _asked(definition, variant, "")[0].encode()
        for number, variant in enumerate(definition.experiment.variants, 1)
    }
    return (
        {name: frozen[name] for name in (EXPERIMENT_SNAPSHOT, FRAMEWORK_SNAPSHOT)} | prompts | {PLAN: _plan(definition)}
    )


def deviations(registered: Registration, definition: Definition) -> tuple[str, ...]:
    """Return in words in what a session's definition is not what was registered; empty if in nothing."""
    run = registration_of(definition, registered.project, registered.registered_at, {})
    lines = [
        *_listed("model", registered.models, run.models),
        *_listed("variant", registered.variants, run.variants),
        *_changed("runs_per_model", registered.runs_per_model, run.runs_per_model),
        *_by_name("parameters of model", registered.parameters, run.parameters, only=run.models),
        *_by_name("rule", registered.rules, run.rules),
        *_by_name("hypothesis", registered.hypotheses, run.hypotheses),
        *_changed("the statistical plan", registered.statistical_plan, run.statistical_plan, shown=False),
        *_by_name("formula", registered.formulas, run.formulas),
        *_by_name("scale of dimension", registered.scales, run.scales),
        *_by_name("the framework's message, variant", registered.prompts, run.prompts, shown=False),
        *_documents(registered, run, taken_out_of(definition)),
    ]
    if lines:
        return tuple(lines)
    whole = (
        ("experiment.md", registered.experiment_sha256, run.experiment_sha256),
        ("the framework's file", registered.framework_sha256, run.framework_sha256),
    )
    return tuple(
        f"{name} has another SHA-256, though nothing that is registered from it differs"
        for name, before, now in whole
        if before != now
    )


def _documents(registered: Registration, run: Registration, taken_out: Collection[str]) -> Iterator[str]:
    """Yield what differs of the texts; of those that were ``taken_out`` since, only hash and metadata tell."""
    before, now = ({one.id: one for one in each.documents} for each in (registered, run))
    yield from _listed("document", before, now)
    for name in before.keys() & now.keys():
        if before[name].sha256 != now[name].sha256:
            yield f"document '{name}': its text is another one than was registered"
        elif name not in taken_out and _differ(before[name].prompts, now[name].prompts):
            yield f"document '{name}': its message is another one than was registered, though its text is the same"
        if before[name].metadata != now[name].metadata:
            yield f"document '{name}': corpus.csv says something else of it than was registered"


def _differ(before: Mapping[str, str], now: Mapping[str, str]) -> bool:
    return any(before[key] != now[key] for key in before.keys() & now.keys())


def _listed(noun: str, before: Iterable[str], now: Iterable[str]) -> Iterator[str]:
    old, new = list(before), list(now)
    yield from (f"{noun} '{name}' was registered and was not part of the session" for name in old if name not in new)
    yield from (f"{noun} '{name}' was part of the session and was not registered" for name in new if name not in old)


def _by_name(
    noun: str,
    before: Mapping[str, Any],
    now: Mapping[str, Any],
    *,
    only: Iterable[str] | None = None,
    shown: bool = True,
) -> Iterator[str]:
    """Yield what differs by name; with ``only``, of what is both registered and named there."""
    names = list(dict.fromkeys((*before, *now)))
    if only is not None:
        names = [name for name in names if name in set(only) & set(before)]
    for name in names:
        yield from _changed(f"{noun} '{name}'", before.get(name), now.get(name), shown=shown)


def _changed(what: str, before: Any, now: Any, *, shown: bool = True) -> Iterator[str]:
    if canonical_json(before) == canonical_json(now):
        return
    if shown:
        yield f"{what}: registered {_shown(before)}, run with {_shown(now)}"
    else:
        yield f"{what}: another one was registered"


def _shown(value: Any) -> str:
    if value is None or value == {}:
        return "nothing"
    return value if isinstance(value, str) else canonical_json(value).decode()


def _parameters(experiment: Experiment) -> dict[str, dict[str, Any]]:
    fallbacks = (name for names in experiment.fallback_models.values() for name in names)
    return {
        model: experiment.settings_of(model).parameters() for model in dict.fromkeys((*experiment.models, *fallbacks))
    }


def _asked(definition: Definition, variant: str, text: str) -> tuple[str, str]:
    (_, system), (_, user) = build_messages(definition.framework, variant, text)
    return system, user


def _plan(definition: Definition) -> bytes:
    written = io.StringIO()
    rows = csv.writer(written, lineterminator="\n")
    rows.writerow(["analysis", "document", "model", "variant", "run"])
    rows.writerows((one.number, one.document, one.model, one.variant, one.run) for one in definition.plan())
    return written.getvalue().encode()


def _sha256(text: str) -> str:
    return sha256(text.encode()).hexdigest()
