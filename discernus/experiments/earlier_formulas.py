"""Formulas as earlier forms write them: in a list, beside an order of execution, in groups, with explanations."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from discernus.experiments.earlier_form import EarlierForm
from discernus.experiments.roles import snake_case

_NOTES = {"explanation", "explanations", "mathematics", "note", "notes", "description", "comment", "rationale"}
_FORMULA_PARTS = {"formulas", "execution_order", "pattern_classifications"}
_MAX_DEPTH = 4  # groups within groups


def take_formulas(form: EarlierForm) -> None:
    """Put the formulas into ``calculation_spec``, one for each name, and report those that stand in two places."""
    written, derived = form.get("calculation_spec"), form.get("derived_metrics")
    if derived and written:
        what = "formulas stand in calculation_spec and in derived_metrics"
        form.error(("derived_metrics",), what, "keep one of the two, with all formulas in it")
    elif isinstance(derived, list):
        _take_listed(form, "derived_metrics")
    elif isinstance(derived, Mapping):
        form.put("calculation_spec", derived, ("derived_metrics",))
    elif isinstance(written, list):
        _take_listed(form, "calculation_spec")
    elif isinstance(written, Mapping) and isinstance(written.get("formulas"), Mapping):
        _take_ordered(form, written)
    _ungroup(form)


def _take_listed(form: EarlierForm, key: str) -> None:
    entries, moved = form.named_entries(key, "calculation_spec")
    formulas = {name: entry.get("formula", "") for name, entry in entries.items()}
    form.put("calculation_spec", formulas, (key,), *moved)


def _take_ordered(form: EarlierForm, written: Mapping[str, Any]) -> None:
    """Take the formulas that stand beside an order of execution; the order itself follows from what they refer to."""
    formulas: Mapping[str, Any] = written["formulas"]
    order = written.get("execution_order")
    for name in order if isinstance(order, list) else ():
        if name not in formulas:
            what = f"there is no formula for '{name}'"
            form.error(("calculation_spec", "execution_order"), what, "add it to formulas")
    for key in written.keys() - _FORMULA_PARTS:
        form.warn(("calculation_spec", key), f"'{key}' stands beside the formulas and is not read", "move it into them")
    if written.get("pattern_classifications"):
        what, cure = "pattern classifications are not computed", "test them as hypotheses, or say them in the prose"
        form.warn(("calculation_spec", "pattern_classifications"), what, cure)
    form.put("calculation_spec", dict(formulas), ("calculation_spec", "formulas"))


def _ungroup(form: EarlierForm) -> None:
    """Take formulas out of the groups they are written in, and put entries that only explain aside."""
    written = form.new.data.get("calculation_spec")
    if not isinstance(written, Mapping):
        return
    flat: dict[str, Any] = {}
    for path, name, formula in _entries(written):
        place = ("calculation_spec", *path)
        line = form.new.line_of(*place)
        if name in flat:
            form.problems.error(line, f"there are two formulas '{name}'", "keep one of them, or rename it")
        elif _is_note(name, formula, written):
            what = f"'{name}' is prose and is taken as an explanation; nothing is computed for it"
            form.problems.warn(line, what, "move it into the prose")
        else:
            flat[name] = formula
            form.new.lines["calculation_spec", name] = line
    form.new.data["calculation_spec"] = flat


def _entries(written: Mapping[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str, Any]]:
    for name, formula in written.items():
        if isinstance(formula, Mapping) and isinstance(formula.get("formula"), str):
            yield (*above, name), name, formula["formula"]
        elif isinstance(formula, Mapping) and len(above) < _MAX_DEPTH:
            yield from _entries(formula, (*above, name))
        else:
            yield (*above, name), name, formula


def _is_note(name: str, formula: Any, written: Mapping[str, Any]) -> bool:
    """Return whether an entry explains formulas: its name says so, it reads as prose, and no formula refers to it."""
    if not isinstance(formula, str) or snake_case(name).rsplit("_", 1)[-1] not in _NOTES:
        return False
    others = " ".join(str(other) for _, known, other in _entries(written) if known != name)
    is_prose = re.search(r"[A-Za-z]{2,} [A-Za-z]{2,}", formula) is not None
    return is_prose and not re.search(rf"\b{re.escape(name)}\b", others)
