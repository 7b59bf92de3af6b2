"""Which keys of a contract are scores, confidence, salience, evidence or labels, and of which dimension.

Decided once, when the framework is read, from the words in the keys and how they are nested. Schemas may be flat
(``{"fear_score": "number"}``), nested objects, or JSON Schema with properties, definitions and $ref.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from discernus.experiments.framework import ContractField, Role
from discernus.experiments.roles import snake_case, split_path, split_role

_TYPES = {
    "number": "number",
    "float": "number",
    "double": "number",
    "decimal": "number",
    "integer": "integer",
    "int": "integer",
    "string": "string",
    "str": "string",
    "text": "string",
    "boolean": "boolean",
    "bool": "boolean",
    "array": "array",
    "list": "array",
    "object": "object",
    "dict": "object",
}
_JSON_SCHEMA_KEYS = {"type", "properties", "$ref", "items", "enum", "anyOf", "oneOf", "minimum", "maximum"}
_MAX_DEPTH = 12


@dataclass(frozen=True)
class Leaf:
    """A key of the schema that holds a value: its path in the answer, its type, and the bounds the schema sets."""

    path: tuple[str, ...]
    type: str
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class _Meaning:
    leaf: Leaf
    subject: str
    role: Role | None


def leaves(schema: Mapping[str, Any]) -> tuple[Leaf, ...]:
    """Return every key of the schema that holds a value, in order."""
    definitions = {
        f"#/{group}/{name}": definition
        for group in ("definitions", "$defs")
        for name, definition in _mapping(schema.get(group)).items()
    }
    return tuple(_walk(schema, (), definitions, 0))


def contract_fields(
    found: Collection[Leaf], metrics: Collection[str], declared: Collection[str] = ()
) -> tuple[ContractField, ...]:
    """Return the fields with roles and dimensions; the dimensions are those declared, else those that have a score.

    A key that the framework itself computes (a derived metric) is never taken for a score.
    """
    computed = {snake_case(metric) for metric in metrics}
    meanings = [_meaning(leaf, computed) for leaf in found]
    dimensions = {snake_case(name) for name in declared} or {
        meaning.subject for meaning in meanings if meaning.role == "score" and _is_numeric(meaning.leaf)
    }
    if not dimensions:
        dimensions = {
            meaning.subject
            for meaning in meanings
            if meaning.role is None and _is_numeric(meaning.leaf) and meaning.subject not in computed
        }
    return tuple(_field(meaning, dimensions) for meaning in meanings)


def _meaning(leaf: Leaf, computed: Collection[str]) -> _Meaning:
    if snake_case(leaf.path[-1]) in computed:
        return _Meaning(leaf, "", "other")
    return _Meaning(leaf, *split_path(leaf.path))


def _field(meaning: _Meaning, dimensions: Collection[str]) -> ContractField:
    leaf, role, subject = meaning.leaf, meaning.role, meaning.subject
    whole = snake_case(leaf.path[-1])
    if whole in dimensions and role is not None and split_role(leaf.path[-1])[1] is not None:
        subject, role = whole, None
    if role is None and subject in dimensions and _is_numeric(leaf):
        role = "score"
    if role == "score" and not _is_numeric(leaf):
        role = None
    if role is None:
        role = "label" if leaf.type == "string" and subject not in dimensions else "other"
    known = subject if subject in dimensions and role != "other" else None
    if role == "score" and known is None:
        role = "other"
    return ContractField(path=leaf.path, role=role, type=leaf.type, dimension=known)


def _walk(schema: Any, path: tuple[str, ...], definitions: Mapping[str, Any], depth: int) -> Iterator[Leaf]:
    if depth > _MAX_DEPTH:
        return
    if not isinstance(schema, Mapping):
        if path:
            yield Leaf(path, _type_of(schema))
        return
    if isinstance(schema.get("$ref"), str) and schema["$ref"] in definitions:
        yield from _walk(definitions[schema["$ref"]], path, definitions, depth + 1)
    elif isinstance(schema.get("properties"), Mapping):
        for key, value in schema["properties"].items():
            yield from _walk(value, (*path, str(key)), definitions, depth + 1)
    elif path and _is_json_schema(schema):
        leaf = Leaf(path, _type_of(schema.get("type", "string" if "enum" in schema else "object")))
        yield replace(leaf, low=_number(schema.get("minimum")), high=_number(schema.get("maximum")))
    else:
        for key, value in schema.items():
            if path or key not in {"definitions", "$defs", "$schema", "$id", "required"}:
                yield from _walk(value, (*path, str(key)), definitions, depth + 1)


def _is_json_schema(schema: Mapping[str, Any]) -> bool:
    """Return whether an object describes one value, rather than being an object of the answer."""
    if isinstance(schema.get("type"), str) and schema["type"].lower() in _TYPES:
        return all(not isinstance(value, Mapping) or key in _JSON_SCHEMA_KEYS for key, value in schema.items())
    return isinstance(schema.get("type"), list) or bool({"enum", "anyOf", "oneOf"} & set(schema))


def _type_of(value: Any) -> str:
    """Return the type a schema's value states: a type's name, a list of them, a description, or an example."""
    match value:
        case bool():
            return "boolean"
        case int() | float():
            return "number"
        case list() if value and all(isinstance(entry, str) and entry.lower() in {*_TYPES, "null"} for entry in value):
            return next((_TYPES[entry.lower()] for entry in value if entry.lower() in _TYPES), "string")
        case list():
            return "array"
        case str():
            first = re.match(r"[A-Za-z]+", value.strip())
            if first and first[0].lower() in _TYPES:
                return _TYPES[first[0].lower()]
            return "number" if re.match(r"\s*[<\[(]?\s*[-−]?\d+(\.\d+)?\s*(-|–|to|\.\.)", value) else "string"
        case _:
            return "object" if isinstance(value, Mapping) else "string"


def _is_numeric(leaf: Leaf) -> bool:
    return leaf.type in {"number", "integer"}


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
