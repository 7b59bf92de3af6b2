"""The two sides of a comparison, and what differs between them before any number: framework, prompts, texts, models."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from hashlib import sha256

from discernus.canonical import canonical_json
from discernus.experiments.corpus import Document
from discernus.experiments.experiment import Experiment
from discernus.experiments.framework import Dimension, Framework
from discernus.reports.markdown import NONE, count, series
from discernus.reports.records import AnalysisRecord

HASH = 12  # hex digits that are shown of a SHA-256
NOT_RECORDED = "not recorded"
_MANY = ("scale", "definition", "formula")


@dataclass(frozen=True)
class Side:
    """One of the two sessions. ``prompts``: by variant, the hashes of all that was said to models before a text."""

    session: str
    experiment: Experiment
    framework: Framework
    documents: tuple[Document, ...]
    records: tuple[AnalysisRecord, ...]
    prompts: Mapping[str, frozenset[str]]
    versions: Mapping[str, str]


_Told = Iterator[tuple[str, str, str]]
"""What it is, what it is in the first session, and in the second."""


def differences(first: Side, second: Side) -> _Told:
    """Yield what differs."""
    return (told for told in _everything(first, second) if told[1] != told[2])


def same(first: Side, second: Side) -> Iterator[str]:
    """Yield the names of what is the same in both; of many scales, definitions and formulas how many they are."""
    names = [what for what, one, other in _everything(first, second) if one == other and one != NOT_RECORDED]
    kinds = {kind: [what for what in names if what.startswith(f"{kind} of ")] for kind in _MANY}
    together = {kind: of for kind, of in kinds.items() if len(of) > 1}
    told: set[str] = set()
    for what in names:
        kind = what.partition(" of ")[0]
        if kind not in together:
            yield what
        elif kind not in told:
            told.add(kind)
            yield f"{len(together[kind])} {kind}s"


def _everything(first: Side, second: Side) -> _Told:
    def told(what: str, of: Callable[[Side], str]) -> tuple[str, str, str]:
        return what, of(first), of(second)

    yield told("framework file", lambda side: _file(side.framework))
    yield from _in_framework(first.framework, second.framework)
    for variant in _either(first.experiment.variants, second.experiment.variants):
        yield told(f"prompt of variant {variant}", partial(_prompt, variant))
    yield told("texts", _texts)
    yield told("models", lambda side: series(side.experiment.models))
    for model in _either(first.experiment.models, second.experiment.models):
        yield told(f"parameters of {model}", partial(_parameters, model))
        yield told(f"versions of {model} that answered", partial(_answered, model))
    yield told("runs for each model", lambda side: str(side.experiment.runs_per_model))
    yield told("second model for extraction", lambda side: side.experiment.extraction_model or "none")
    yield told("program", lambda side: side.versions.get("discernus", NOT_RECORDED))


def _in_framework(first: Framework, second: Framework) -> _Told:
    """Yield what the frameworks have: each dimension's definition and scale, and the formulas."""
    dimensions, others = ({one.name: one for one in framework.dimensions} for framework in (first, second))
    for name in _either(dimensions, others):
        one, other = dimensions.get(name), others.get(name)
        if one is None or other is None:
            yield f"dimension {name}", _there(one), _there(other)
            continue
        yield f"scale of {name}", f"{one.low:g} to {one.high:g}", f"{other.low:g} to {other.high:g}"
        yield f"definition of {name}", _words(one), _words(other)
    formulas, other_formulas = ({one.name: one.formula for one in side.derived_metrics} for side in (first, second))
    for name in _either(formulas, other_formulas):
        yield f"formula of {name}", _formula(formulas.get(name)), _formula(other_formulas.get(name))


def _either(first: Iterable[str], second: Iterable[str]) -> list[str]:
    return list(dict.fromkeys((*first, *second)))


def _there(dimension: object) -> str:
    return NONE if dimension is None else "there"


def _words(dimension: Dimension) -> str:
    """Return the hash of what a framework says of a dimension."""
    return sha256(canonical_json([dimension.label, dimension.description, *dimension.markers])).hexdigest()[:HASH]


def _formula(written: str | None) -> str:
    return NONE if written is None else "".join(written.split())


def _file(framework: Framework) -> str:
    return f"{framework.display_name}, version {framework.version}, {framework.sha256[:HASH]}"


def _prompt(variant: str, side: Side) -> str:
    if variant not in side.experiment.variants:
        return NONE
    return series(sorted(one[:HASH] for one in side.prompts.get(variant, ()))) or NOT_RECORDED


def _texts(side: Side) -> str:
    whole = sha256(canonical_json(sorted(one.sha256 for one in side.documents))).hexdigest()
    return f"{count(len(side.documents), 'document')}, {whole[:HASH]}"


def _parameters(model: str, side: Side) -> str:
    if model not in side.experiment.models:
        return NONE
    stated = side.experiment.settings_of(model).parameters()
    return ", ".join(f"{name} {value}" for name, value in sorted(stated.items())) or "the vendor's defaults"


def _answered(model: str, side: Side) -> str:
    if model not in side.experiment.models:
        return NONE
    own = {one.model_answered for one in side.records if one.model_requested == model and one.call is not None}
    return series(sorted(name for name in own if name is not None)) or NOT_RECORDED
