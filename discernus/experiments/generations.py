"""Earlier forms of the machine-readable part, put into the current one; every value keeps the line it was written on.

What each generation calls what is known here and in the modules of earlier formulas and contracts, and nowhere else.
"""

from collections.abc import Mapping
from typing import Any

import yaml

from discernus.experiments.blocks import Block
from discernus.experiments.earlier_contracts import take_contract
from discernus.experiments.earlier_form import EarlierForm
from discernus.experiments.earlier_formulas import take_formulas
from discernus.experiments.framework import PROMPT_FORM
from discernus.experiments.problems import ProblemList

NAMES: dict[str, tuple[tuple[str, ...], ...]] = {
    "name": (("name",), ("framework_name",), ("metadata", "framework_name")),
    "version": (("version",), ("framework_version",), ("metadata", "framework_version")),
    "display_name": (("display_name",), ("metadata", "display_name")),
}
_EARLIER_KEYS = {"metadata", "framework_name", "framework_version", "derived_metrics", "output_schema", "gasket_schema"}
_GUIDANCE_KEYS = ("description", "dimensions", "disambiguation")


def current_form(block: Block, title: str, problems: ProblemList) -> Block:
    """Return the block in the current form, and report what an earlier one leaves open.

    ``title`` is the display name of an earlier form that has none.
    """
    form = EarlierForm(block, problems)
    for key, paths in NAMES.items():
        _name(form, key, paths)
    if title and "display_name" not in form.new.data and block.data.keys() & _EARLIER_KEYS:
        form.new.data["display_name"] = title
    _variants(form)
    _dimensions(form)
    take_formulas(form)
    take_contract(form)
    return form.new


def guidance_of(block: Block, prompt_form: int = PROMPT_FORM) -> str:
    """Return what a block says about its dimensions, as YAML for the model; empty where it says nothing of them.

    Nobody promises that the prose repeats it. Prompts of form 1 left it out where dimensions are named one by one.
    """
    dimensions = block.data.get("dimensions")
    if not dimensions or (prompt_form == 1 and not isinstance(dimensions, list)):
        return ""
    said = {key: block.data[key] for key in _GUIDANCE_KEYS if block.data.get(key)}
    return yaml.safe_dump(said, sort_keys=False, allow_unicode=True, width=10_000).strip()


def _name(form: EarlierForm, key: str, paths: tuple[tuple[str, ...], ...]) -> None:
    found = [(path, value) for path in paths if (value := form.get(*path)) is not None]
    for path, value in found[1:]:
        if str(value).strip() != str(found[0][1]).strip():
            what = f"'{'.'.join(path)}' contradicts '{'.'.join(found[0][0])}'"
            form.error(path, f"{what}: {value} and {found[0][1]}", "write the same in both, or keep one")
    if found and key not in form.old.data:
        form.put(key, found[0][1], found[0][0])


def _variants(form: EarlierForm) -> None:
    written = form.get("analysis_variants")
    if isinstance(written, list) and written:
        entries, moved = form.named_entries("analysis_variants", "analysis_variants")
        form.put("analysis_variants", entries, ("analysis_variants",), *moved)


def _dimensions(form: EarlierForm) -> None:
    if not isinstance(form.get("dimensions"), list):
        return
    entries, moved = form.named_entries("dimensions", "dimensions")
    current = {}
    for name, entry in entries.items():
        kept = {key: entry[key] for key in ("label", "description", "scale") if key in entry}
        label = entry.get("label", entry.get("display_name"))
        markers = _phrases(entry.get("markers"))
        current[name] = kept | ({"label": label} if label else {}) | ({} if markers is None else {"markers": markers})
    form.put("dimensions", current, ("dimensions",), *moved)


def _phrases(markers: Any) -> list[str] | None:
    """Return the phrases that speak for a dimension; those against it and doubtful ones are no markers."""
    if isinstance(markers, Mapping):
        markers = markers.get("positive_examples", markers.get("positive"))
    if not isinstance(markers, list):
        return None
    phrases = [entry.get("phrase") if isinstance(entry, Mapping) else entry for entry in markers]
    return [str(phrase) for phrase in phrases if phrase is not None]
