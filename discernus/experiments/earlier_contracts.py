"""What an answer has to hold, as earlier forms write it: a JSON Schema, a list of keys, or groups of dimensions."""

from collections.abc import Mapping
from typing import Any

from discernus.experiments.blocks import Path
from discernus.experiments.earlier_form import EarlierForm
from discernus.experiments.roles import snake_case, split_role

_KEYS = ("gasket_schema", "target_keys")
_JSON_SCHEMA_NOTE = (
    "The form above is a JSON Schema: answer with an object that it describes, not with the schema itself."
)
_LOG_NOTE = (
    "Write what the task asks for first, then end your answer with this one JSON object, with every number in it."
)


def take_contract(form: EarlierForm) -> None:
    """Put what an answer has to hold into ``output_contract``, and report contracts that contradict each other."""
    schema, gasket = form.get("output_schema"), form.get("gasket_schema")
    contract = form.get("output_contract")
    written: Mapping[str, Any] = contract if isinstance(contract, Mapping) else {}
    if isinstance(schema, Mapping):
        if written.get("schema") not in (None, schema):
            what = "output_contract.schema and output_schema are different contracts"
            form.error(("output_schema",), what, "keep one of the two")
            return
        _put_contract(form, schema, ("output_schema",), written, _JSON_SCHEMA_NOTE)
    elif isinstance(gasket, Mapping) and "target_keys" in gasket:
        if written.get("schema"):
            _compare(form, written["schema"], gasket["target_keys"])
        else:
            _put_contract(form, _gasket_schema(form, gasket), _KEYS, written, _LOG_NOTE)
    elif isinstance(written.get("schema"), Mapping):
        _spell_out(form, written["schema"])


def _spell_out(form: EarlierForm, schema: Mapping[str, Any]) -> None:
    """Name the dimensions of ``dimension_groups`` where the contract only says that scores are an object."""
    groups = form.get("dimension_groups")
    lists = groups.values() if isinstance(groups, Mapping) else ()
    names = list(dict.fromkeys(name for each in lists if isinstance(each, list) for name in each))
    roles = {key: split_role(key) for key, kind in schema.items() if kind == "object"}
    if not names or not all(isinstance(name, str) for name in names) or ("", "score") not in roles.values():
        return
    spelt = {
        key: dict.fromkeys(names, "array" if roles[key][1] == "evidence" else "number")
        for key in schema
        if key in roles and roles[key][0] == "" and roles[key][1] is not None
    }
    place = ("output_contract", "schema")
    what = f"the contract does not name the dimensions; {', '.join(spelt)}: one entry for each of dimension_groups"
    form.warn(place, what, "name them in output_contract.schema")
    form.new.data["output_contract"] = {**form.get("output_contract"), "schema": {**schema, **spelt}}


def _put_contract(form: EarlierForm, schema: Any, source: Path, written: Mapping[str, Any], note: str) -> None:
    said = written.get("instructions", "")
    instructions = f"{said}\n\n{note}".strip() if isinstance(said, str) else said
    value = {"schema": schema, "instructions": instructions}
    form.put("output_contract", value, source, (("output_contract", "schema"), source))


def _gasket_schema(form: EarlierForm, gasket: Mapping[str, Any]) -> dict[str, Any]:
    """Return the flat contract that a list of keys stands for, bounded as its rules say."""
    keys, rules = gasket["target_keys"], gasket.get("validation_rules")
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        form.error(_KEYS, "target_keys is not a list of names", 'write ["<dimension>_score", …]')
        return {}
    rules = rules if isinstance(rules, Mapping) else {}
    others = rules.get("metadata_ranges")
    ranges = {"score": rules.get("score_ranges"), **(others if isinstance(others, Mapping) else {})}
    for key in sorted({key for key in keys if keys.count(key) > 1}):
        form.error(_KEYS, f"'{key}' is listed twice", "keep one of them")
    return {key: _number(ranges.get(split_role(key)[1] or "score")) for key in keys}


def _number(bounds: Any) -> Any:
    if isinstance(bounds, Mapping) and {"min", "max"} <= bounds.keys():
        return {"type": "number", "minimum": bounds["min"], "maximum": bounds["max"]}
    return "number"


def _compare(form: EarlierForm, schema: Any, keys: Any) -> None:
    """Report scores that the list of keys names and the contract does not ask for."""
    flat = {snake_case(key) for key in schema} if isinstance(schema, Mapping) else set()
    listed = [key for key in keys if isinstance(key, str)] if isinstance(keys, list) else []
    missing = [key for key in listed if split_role(key)[1] == "score" and snake_case(key) not in flat]
    if missing:
        what = f"target_keys names scores that output_contract.schema does not ask for: {', '.join(missing)}"
        form.error(_KEYS, what, "put the keys into output_contract.schema, or take its schema out")
