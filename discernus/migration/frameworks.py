"""A framework that today's reader can use: as its author wrote it, or its machine block made from what is stated.

Names and scales are taken where prose or prompts state them plainly. Formulas are never: what looks like one is listed
with its place, to be written anew by a person.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from discernus.experiments.framework import Framework
from discernus.experiments.framework_file import parse_framework
from discernus.experiments.roles import snake_case
from discernus.experiments.scales import stated_scales

PLAIN_PROMPT = "Analyse the text by the framework above. Score each of its dimensions on its scale, and quote the text."

_NUMBER = r"[-−+]?\d+(?:\.\d+)?"
_RANGE = rf"(?P<low>{_NUMBER})\s*(?:-|–|to)\s*(?P<high>{_NUMBER})"
_KEYED = re.compile(rf"`(?P<name>[a-z][a-z0-9_]*)_score`:?\s*\((?:float|number|decimal),?\s*{_RANGE}\)", re.IGNORECASE)
_LABELLED = re.compile(
    rf"(?:^|[.:;]\s+|\*\*)(?P<name>[A-Z][A-Za-z'’ -]{{1,40}}?)\*{{0,2}}\s*\({_RANGE}\)\*{{0,2}}:", re.MULTILINE
)
_AXIS = re.compile(
    r"^(?:\d+\.\s+|#{1,6}\s+|[-*]\s+)?\**(?P<name>[A-Z][\w'’ -]{1,40}?(?:Axis|Dimension|Anchor))\**:\**\s*"
    r"[^\n]*?(?:↔|<->|vs\.?)",
    re.MULTILINE,
)
_FORMULA = re.compile(r"^[^\n]*?[A-Za-z_\])₀-₉]\s*=\s*[^=\n]*[-+*/×÷−()][^\n]*$", re.MULTILINE)
_FENCE = re.compile(r"```json\s*\n(?P<block>.*?)\n```", re.DOTALL)
_OF = re.compile(r"^(?:the formula of|metrics?) '(?P<name>[^']+)'")
_ANSWER = "Answer with a JSON object and nothing else."
_LISTED = 25  # formulas named one by one


@dataclass(frozen=True)
class Recovered:
    """A framework's file for today. ``origin`` says how it came about, ``lost`` what could not be translated.

    One that is not ``usable`` scores nothing: it only lets a session be kept whose framework nobody knows.
    """

    data: bytes
    origin: str
    lost: tuple[str, ...] = ()
    usable: bool = True


@dataclass(frozen=True)
class _Stated:
    label: str
    low: float
    high: float


def recover_framework(written: bytes | None, name: str, prompts: Sequence[str], title: str) -> Recovered:
    """Return the framework for today; one that scores nothing where neither its file nor a prompt states a dimension.

    ``written`` is its file, ``name`` what that is called, ``prompts`` the words with which models were asked.
    """
    if written is not None:
        framework, problems = parse_framework(written, name)
        if framework is not None:
            noticed = tuple(f"{problem.what} → {problem.cure}" for problem in problems)
            return Recovered(written, f"'{name}' as it was; today's reader reads it", noticed)
        mended = _mended(written, name, prompts)
        if mended is not None:
            return mended
        why = "; ".join(problem.what for problem in problems[:3] if problem.severity == "error")
        text = written.decode("utf-8", "replace")
        origin = (
            f"the prose of '{name}', its machine-readable part recovered from what it and the prompts state ({why})"
        )
    else:
        text = prompts[0] if prompts else ""
        origin = "the words of the prompts: the framework's own file is not in the source"
    dimensions = _dimensions([*prompts, text])
    if not dimensions:
        return _stand_in(text, prompts, title)
    return _composed(text, prompts, dimensions, title, origin)


def _dimensions(texts: Sequence[str]) -> dict[str, _Stated]:
    """Return each dimension that is stated with its scale, by name: the keys of an answer first, then labels."""
    labels = {snake_case(match["name"]): match["name"].strip() for text in texts for match in _AXIS.finditer(text)}
    for pattern in (_KEYED, _LABELLED):
        for text in texts:
            found: dict[str, _Stated] = {}
            for match in pattern.finditer(text):
                low, high = (float(match[part].replace("−", "-")) for part in ("low", "high"))
                key = snake_case(match["name"])
                if low < high and "confidence" not in key and key not in found:
                    label = labels.get(key) or (match["name"].strip() if pattern is _LABELLED else _label(key))
                    found[key] = _Stated(label, low, high)
            if len(found) > 1:
                return found
    scales = stated_scales(texts)
    if len(labels) > 1 and len(scales) == 1:
        return {key: _Stated(label, *scales[0]) for key, label in labels.items()}
    return {}


def _stand_in(text: str, prompts: Sequence[str], title: str) -> Recovered:
    """Return a framework whose one dimension no answer holds: no score is then read that nobody asked for."""
    nobody = {"not_recorded": _Stated("Not recorded", 0.0, 1.0)}
    made = _composed(
        text, prompts, nobody, title, "none: neither a file nor a prompt states a dimension with its scale"
    )
    why = "the framework: no dimension is stated plainly, so no score is read out of any answer"
    return Recovered(made.data, made.origin, (why, *made.lost), usable=False)


def _label(name: str) -> str:
    return name.replace("_", " ").capitalize()


def _composed(text: str, prompts: Sequence[str], dimensions: dict[str, _Stated], title: str, origin: str) -> Recovered:
    """Return prose and block as one file; the prose is what was written, without a block that could not be read."""
    heading = re.search(r"^#\s+(.+?)\s*$", text, re.MULTILINE)
    lost = list(_formulas(text, prompts))
    if not prompts:
        lost.append("the analysis prompt: none is recorded, and a plain one stands in its place; read it before a run")
    block: dict[str, Any] = {
        "name": snake_case(title) or "recovered_framework",
        "version": "recovered",
        "display_name": heading[1] if heading else title,
        "analysis_variants": {
            "default": {
                "description": "recovered from the prompts" if prompts else "made at migration",
                "analysis_prompt": prompts[0] if prompts else PLAIN_PROMPT,
            }
        },
        "calculation_spec": {},
        **_contract(dimensions, ""),
    }
    written = json.dumps(block, indent=2, ensure_ascii=False)
    prose = text.strip() if text.strip() not in prompts else f"# {block['display_name']}\n\nRecovered from its prompts."
    summary = "Machine-readable part, recovered at migration: names and scales as stated, no formula"
    data = f"{_unfenced(prose)}\n\n<details><summary>{summary}</summary>\n\n```json\n{written}\n```\n\n</details>\n"
    framework, problems = parse_framework(data.encode(), "framework.md")
    if framework is None:
        return Recovered(data.encode(), origin, (*lost, *(str(problem) for problem in problems)))
    return Recovered(data.encode(), origin, tuple(lost))


def _unfenced(prose: str) -> str:
    """Return the prose with the fences of its own machine-readable parts opened, so that they are prose."""
    return re.sub(r"^```(?:json|ya?ml)\s*$", "```text", prose, flags=re.MULTILINE | re.IGNORECASE)


def _formulas(text: str, prompts: Sequence[str]) -> tuple[str, ...]:
    """Return each line that looks like a formula, in words for the list of what was not translated."""
    found = dict.fromkeys(match[0].strip() for one in (text, *prompts[:1]) for match in _FORMULA.finditer(one))
    shown = [f"a formula, to be written by hand: {line[:200]}" for line in list(found)[:_LISTED]]
    more = len(found) - len(shown)
    return (*shown, *([f"{more} further lines that look like formulas"] if more > 0 else []))


def _mended(written: bytes, name: str, prompts: Sequence[str]) -> Recovered | None:
    """Return a framework whose block can be read but for formulas, and for a contract that asks for no scores.

    Refused formulas are left out. Where the contract asks for no score of a dimension, or only for what such a formula
    was to compute, it is made from the dimensions that are stated. None where more than that is wrong.
    """
    text = written.decode("utf-8", "replace")
    fence = next((one for one in _FENCE.finditer(text) if "analysis_variants" in one["block"]), None)
    block = _object(fence["block"]) if fence is not None else None
    if fence is None or block is None or not isinstance(block.get("calculation_spec", {}), dict):
        return None
    stated = _dimensions([*_asked(block), text, *prompts])
    origins = {
        "without the formulas that today's reader cannot read": block,
        "its contract made from the dimensions that it states": {**block, **_contract(stated, text)} if stated else {},
    }
    for how, start in origins.items():
        mended, lost = _without_refused(start, text, fence, name)
        framework = _parsed(mended, text, fence, name)
        computed = {snake_case(one).removesuffix("_score") for one in lost}
        if framework is not None and computed.isdisjoint(one.name for one in framework.dimensions):
            listed = tuple(f"the formula '{one}', as it stands: {said[:200]}" for one, said in lost.items())
            return Recovered(_with_block(text, fence, mended).encode(), f"'{name}', {how}", listed)
    return None


def _asked(block: dict[str, Any]) -> list[str]:
    """Return the prompts of a block's variants."""
    variants = block.get("analysis_variants")
    entries = variants.values() if isinstance(variants, dict) else ()
    prompts = (entry.get("analysis_prompt") for entry in entries if isinstance(entry, dict))
    return [prompt for prompt in prompts if isinstance(prompt, str)]


def _without_refused(
    block: dict[str, Any], text: str, fence: re.Match[str], name: str
) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the block without the formulas that are refused, one after the other, and these as they stand."""
    lost: dict[str, str] = {}
    while block:
        _, problems = parse_framework(_with_block(text, fence, block).encode(), name)
        refused = {one[1] for problem in problems if problem.severity == "error" and (one := _OF.search(problem.what))}
        formulas = dict(block.get("calculation_spec", {}).items())
        kept = {
            key: {inner: one for inner, one in said.items() if inner not in refused} if isinstance(said, dict) else said
            for key, said in formulas.items()
            if key not in refused
        }
        gone = {key: json.dumps(said, ensure_ascii=False) for key, said in _flat(formulas) if key in refused}
        if not gone:
            break
        lost |= gone
        block = {**block, "calculation_spec": {key: said for key, said in kept.items() if said != {}}}
    return block, lost


def _flat(formulas: dict[str, Any]) -> list[tuple[str, Any]]:
    inner = [pair for said in formulas.values() if isinstance(said, dict) for pair in said.items()]
    return [*formulas.items(), *inner]


def _contract(stated: dict[str, _Stated], text: str) -> dict[str, Any]:
    """Return dimensions and contract as a block has them; salience is asked for where formulas need it."""
    roles = {"score": "number", "confidence": "number", "evidence": "array"}
    if re.search(r"[a-z]_salience\b", text):
        roles["salience"] = "number"
    schema = {f"{name}_{role}": kind for name in stated for role, kind in roles.items()}
    return {
        "dimensions": {name: {"label": one.label, "scale": [one.low, one.high]} for name, one in stated.items()},
        "output_contract": {"schema": schema, "instructions": _ANSWER},
    }


def _parsed(block: dict[str, Any], text: str, fence: re.Match[str], name: str) -> Framework | None:
    return parse_framework(_with_block(text, fence, block).encode(), name)[0] if block else None


def _object(written: str) -> dict[str, Any] | None:
    try:
        value = json.loads(written, strict=False)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _with_block(text: str, fence: re.Match[str], block: dict[str, Any]) -> str:
    written = json.dumps(block, indent=2, ensure_ascii=False)
    return f"{text[: fence.start()]}```json\n{written}\n```{text[fence.end() :]}"
