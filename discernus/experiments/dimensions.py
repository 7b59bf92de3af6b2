"""The dimensions of a framework: as its block declares them, else as its contract asks for scores.

Scales and markers that the block does not give are read from the framework's own text.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from discernus.experiments.contract import Leaf, contract_fields
from discernus.experiments.framework import Contract, ContractField, Dimension, Variant
from discernus.experiments.framework_reading import FrameworkReading
from discernus.experiments.markers import clean_marker, markers_of
from discernus.experiments.problems import did_you_mean
from discernus.experiments.roles import snake_case
from discernus.experiments.scales import Scale, scale_beside, stated_scales

DIMENSION_KEYS = ("label", "description", "markers", "scale", "calibration")


def declared_dimensions(reading: FrameworkReading) -> Mapping[str, Any]:
    """Return the block's own entries of dimensions, empty where it has none."""
    return reading.object_at("dimensions", report=False)


def read_dimensions(
    reading: FrameworkReading, contract: Contract, found: Sequence[Leaf], variants: Sequence[Variant]
) -> tuple[Dimension, ...]:
    """Return the dimensions with labels, markers and scales, and report what contradicts the contract."""
    declared = reading.object_at("dimensions")
    _check_scores(reading, contract, declared)
    scored = [field.dimension for field in contract.fields if field.role == "score" and field.dimension]
    names = list(dict.fromkeys(snake_case(name) for name in declared)) or list(dict.fromkeys(scored))
    bounds = {
        field.dimension: (leaf.low, leaf.high)
        for field, leaf in zip(contract.fields, found, strict=True)
        if field.role == "score" and field.dimension and leaf.low is not None and leaf.high is not None
    }
    entries = {snake_case(name): (name, entry) for name, entry in declared.items()}
    dimensions = []
    for name in names:
        written, entry = entries.get(name, (name, {}))
        dimension = _dimension(reading, name, written, entry if isinstance(entry, Mapping) else {}, names, variants)
        dimensions.append(_with_scale(reading, dimension, written, entry, bounds.get(name), variants))
    _compare_with_text(reading, dimensions, variants)
    if not declared:
        _warn_of_scales(reading, dimensions, bounds, variants)
    return tuple(dimensions)


def _check_scores(reading: FrameworkReading, contract: Contract, declared: Mapping[str, Any]) -> None:
    """Report dimensions that are declared twice, scored twice, or declared without being asked for."""
    seen: dict[str, str] = {}
    for name, entry in declared.items():
        plain = snake_case(name)
        if not isinstance(entry, Mapping):
            cure = f'write "{name}": {{"label": "…", "markers": […], "scale": [0, 1]}}'
            reading.error(["dimensions", name], f"dimension '{name}' is not an object", cure)
        if plain in seen or not plain:
            what = f"dimension '{name}' is the same as '{seen.get(plain, '')}'"
            reading.error(["dimensions", name], what, "keep one of them, or rename it")
        seen[plain] = name
    scored: dict[str, ContractField] = {}
    for field in contract.fields:
        if field.role == "score" and field.dimension is not None:
            if field.dimension in scored:
                first, again = ".".join(scored[field.dimension].path), ".".join(field.path)
                what = f"'{again}' and '{first}' are both the score of '{field.dimension}'"
                reading.error(_in_schema(field), what, "keep one of them")
            scored.setdefault(field.dimension, field)
    if contract.fields and not scored and not declared:
        cure = 'name the keys of the scores in the schema, such as "<dimension>_score": "number"'
        reading.error(["output_contract", "schema"], "the contract asks for no score of any dimension", cure)
    for plain, name in seen.items():
        if contract.fields and plain and plain not in scored:
            cure = f'add "{plain}_score": "number" to output_contract.schema'
            reading.error(["dimensions", name], f"the contract asks for no score of dimension '{name}'", cure)
    _check_undeclared(reading, contract, seen)


def _check_undeclared(reading: FrameworkReading, contract: Contract, declared: Mapping[str, str]) -> None:
    """Report scores in the contract whose dimension is not among those that are declared."""
    if not declared:
        return
    alone = contract_fields([Leaf(field.path, field.type) for field in contract.fields], ())
    for field, undeclared in zip(contract.fields, alone, strict=True):
        if field.role == "other" and undeclared.role == "score" and undeclared.dimension not in declared:
            what = f"'{'.'.join(field.path)}' scores '{undeclared.dimension}', which is not among the dimensions"
            cure = did_you_mean(undeclared.dimension or "", declared, "add it to dimensions, or take it out")
            reading.error(_in_schema(field), what, cure)


def _in_schema(field: ContractField) -> list[str | int]:
    return ["output_contract", "schema", *field.path]


def _dimension(
    reading: FrameworkReading,
    name: str,
    written: str,
    entry: Mapping[str, Any],
    names: Sequence[str],
    variants: Sequence[Variant],
) -> Dimension:
    place = ["dimensions", written]
    for key in entry:
        if key not in DIMENSION_KEYS:
            what = f"'{key}' is not a key of a dimension"
            reading.warn([*place, key], what, did_you_mean(key, DIMENSION_KEYS, f"use {', '.join(DIMENSION_KEYS)}"))
    label, description = entry.get("label") or name.replace("_", " ").title(), entry.get("description", "")
    markers = entry.get("markers")
    if not isinstance(label, str) or not isinstance(description, str):
        reading.error(place, f"label and description of dimension '{written}' are not text", "write them in quotes")
        label, description = name, ""
    if markers is None:
        prompts = [variant.analysis_prompt for variant in variants]
        found = markers_of(name, label, [other for other in names if other != name], reading.prose, prompts)
    elif isinstance(markers, list) and all(isinstance(marker, str) for marker in markers):
        found = tuple(dict.fromkeys(cleaned for marker in markers if (cleaned := clean_marker(marker))))
    else:
        what = f"the markers of dimension '{written}' are not a list of phrases"
        reading.error([*place, "markers"], what, 'write "markers": ["…", "…"]')
        found = ()
    return Dimension(name=name, label=label, description=description, markers=found)


def _with_scale(
    reading: FrameworkReading,
    dimension: Dimension,
    written: str,
    entry: Any,
    bounds: Scale | None,
    variants: Sequence[Variant],
) -> Dimension:
    """Return the dimension with its scale: as declared, else as the schema bounds it, else as the text states it."""
    scale: Sequence[Any]
    place: list[str | int]
    if isinstance(entry, Mapping) and "scale" in entry:
        scale = entry["scale"] if isinstance(entry["scale"], list) else []
        place = ["dimensions", written, "scale"]
    else:
        scale = bounds or _scale_in_text(reading, dimension.label, variants) or (0.0, 1.0)
        place = ["output_contract", "schema"]
    numbers = [float(end) for end in scale if isinstance(end, int | float) and not isinstance(end, bool)]
    if len(scale) != 2 or len(numbers) != 2:
        reading.error(place, f"the scale of dimension '{written}' is not two numbers", 'write "scale": [0, 1]')
    elif not all(map(math.isfinite, numbers)):
        reading.error(place, f"the scale of dimension '{written}' has no end", 'write two numbers: "scale": [0, 1]')
    elif numbers[0] >= numbers[1]:
        what = f"the scale of dimension '{written}' is upside down: {numbers[0]:g} to {numbers[1]:g}"
        reading.error(place, what, f"write the lower end first: [{numbers[1]:g}, {numbers[0]:g}]")
    else:
        return dimension.model_copy(update={"low": numbers[0], "high": numbers[1]})
    return dimension


def _compare_with_text(reading: FrameworkReading, dimensions: Sequence[Dimension], variants: Sequence[Variant]) -> None:
    """Warn where the text plainly states another scale than the one that scores are held to."""
    differing: dict[tuple[Scale, Scale], list[str]] = {}
    for dimension in dimensions:
        stated, held_to = _scale_in_text(reading, dimension.label, variants), (dimension.low, dimension.high)
        if stated is not None and stated != held_to:
            differing.setdefault((stated, held_to), []).append(dimension.name)
    for ((low, high), held_to), names in differing.items():
        what = f"the text states {low:g} to {high:g}, the block {held_to[0]:g} to {held_to[1]:g}: {', '.join(names)}"
        key = "dimensions" if "dimensions" in reading.block.data else "output_contract"
        reading.warn([key], what, "state the same scale in both; a score outside of the block's is missing")


def _scale_in_text(reading: FrameworkReading, label: str, variants: Sequence[Variant]) -> Scale | None:
    texts = [*(variant.analysis_prompt for variant in variants), reading.prose]
    beside = scale_beside(label, texts)
    if beside:
        return beside
    stated = stated_scales(texts)
    return stated[0] if len(stated) == 1 else None


def _warn_of_scales(
    reading: FrameworkReading,
    dimensions: Sequence[Dimension],
    bounds: Mapping[str, Scale],
    variants: Sequence[Variant],
) -> None:
    """Warn where a text states several scales and 0 to 1 had to be taken."""
    texts = [*(variant.analysis_prompt for variant in variants), reading.prose]
    stated = stated_scales(texts)
    open_ones = [each for each in dimensions if each.name not in bounds and not scale_beside(each.label, texts)]
    if len(stated) > 1 and open_ones:
        named = ", ".join(f"{low:g} to {high:g}" for low, high in stated)
        what = f"the text states several scales ({named}); scores are taken to be from 0 to 1"
        reading.warn(["analysis_variants"], what, 'state each in the block: "dimensions": {"…": {"scale": [0, 1]}}')
