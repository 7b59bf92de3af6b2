"""A framework explained in words: what it scores, what it asks a model for, and how its metrics are computed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from textwrap import fill
from typing import Any

from cli.display import counted, write
from cli.exits import COMPLETE, INVALID
from cli.sessions import find
from cli.tables import WIDTH, wrapped
from discernus.experiments.definition import read_framework_of
from discernus.experiments.framework import Contract, ContractField, Dimension, Framework
from discernus.experiments.framework_file import read_framework
from discernus.experiments.problems import Problem
from discernus.experiments.worked_formulas import WorkedFormula, worked_formulas
from discernus.settings import Settings

ROLES = ("score", "confidence", "salience", "evidence")
SHOWN_MARKERS = 8
BREAKS = " ._/-"  # behind which a name that is longer than a line is broken


def check_framework(settings: Settings, name: str, *, as_json: bool) -> int:
    """Explain the framework of a file or an experiment, or say what keeps it from being read."""
    path = Path(name).expanduser()
    usable, problems = read_framework(path) if path.is_file() else read_framework_of(find(settings, name))
    # a proposal that its author has not accepted cannot be used, and is explained all the same: it is to be read
    framework = read_framework(path, proposals=True)[0] if usable is None and path.is_file() else usable
    if as_json:
        found = {"valid": usable is not None, "problems": [asdict(problem) for problem in problems]}
        write(json.dumps(found | _as_data(framework), ensure_ascii=False))
    else:
        write("\n".join([*explained(framework, problems), _verdict(usable is not None, problems)]))
    return COMPLETE if usable is not None else INVALID


def explained(framework: Framework | None, problems: tuple[Problem, ...]) -> Iterator[str]:
    """Yield what a framework says, where it can be read, and then its problems, in lines of at most 80 columns."""
    if framework is not None:
        for line in _lines(framework, worked_formulas(framework)):
            yield _folded(line)
    yield from (told(problem) for problem in problems)


def told(problem: Problem) -> str:
    """Return a problem with its place and cure, in lines of at most 80 columns."""
    return _folded(wrapped(str(problem)))


def _verdict(usable: bool, problems: tuple[Problem, ...]) -> str:
    errors = sum(problem.severity == "error" for problem in problems)
    warned = f", with {counted(len(problems), 'warning')}" if problems else ""
    return f"It can be used{warned}" if usable else f"It cannot be used: {counted(errors, 'error')}"


def _as_data(framework: Framework | None) -> dict[str, Any]:
    if framework is None:
        return {}
    said = framework.model_dump(include={"name", "version", "display_name", "sha256", "dimensions", "variants"})
    fields = [field.model_dump() for field in framework.contract.fields]
    return said | {"contract": fields, "formulas": [asdict(each) for each in worked_formulas(framework)]}


def _lines(framework: Framework, worked: tuple[WorkedFormula, ...]) -> Iterator[str]:
    yield wrapped(f"{framework.display_name}, version {framework.version} ({framework.name})")
    yield f"SHA-256 {framework.sha256}"
    yield f"\n{counted(len(framework.dimensions), 'dimension')}"
    for dimension in framework.dimensions:
        yield from _dimension(dimension)
    yield from _unmarked(framework)
    yield f"\n{counted(len(framework.variants), 'variant')}"
    for variant in framework.variants:
        words = counted(len(variant.analysis_prompt.split()), "word")
        yield _indented(f"{variant.name}, a prompt of {words}: {variant.description or 'not described'}")
    yield "\nAn answer holds"
    yield from _contract(framework.contract)
    yield from _formulas(worked)
    yield ""


def _dimension(dimension: Dimension) -> Iterator[str]:
    described = f": {dimension.description}" if dimension.description else ""
    yield _indented(f"{dimension.name}, {dimension.low:g} to {dimension.high:g} ({dimension.label}){described}")
    if dimension.markers:
        more = len(dimension.markers) - SHOWN_MARKERS
        ending = f", and {more} more" if more > 0 else ""
        yield _indented(f"  markers: {', '.join(dimension.markers[:SHOWN_MARKERS])}{ending}")


def _unmarked(framework: Framework) -> Iterator[str]:
    without = [dimension.name for dimension in framework.dimensions if not dimension.markers]
    if without:
        yield _indented(f"No marker phrases, so that offline/lexicon finds nothing: {', '.join(without)}")


def _contract(contract: Contract) -> Iterator[str]:
    for role in ROLES:
        asked = {field.dimension: ".".join(field.path) for field in contract.fields if field.role == role}
        paths = [path for dimension, path in asked.items() if dimension is not None]
        if paths:
            yield _indented(f"{role} of {counted(len(paths), 'dimension')}: {', '.join(paths)}")
    labels = [".".join(field.path) for field in contract.fields if field.role == "label"]
    if labels:
        yield _indented(f"labels: {', '.join(labels)}")
    others = [".".join(field.path) for field in contract.fields if field.role == "other" or _is_overall(field)]
    if others:
        yield _indented(f"asked for, and not read: {', '.join(others)}")


def _is_overall(field: ContractField) -> bool:
    return field.dimension is None and field.role in ROLES


def _formulas(worked: tuple[WorkedFormula, ...]) -> Iterator[str]:
    if not worked:
        yield "\nNo derived metrics"
        return
    yield f"\n{counted(len(worked), 'derived metric')}, in the order of their computation, on example values"
    for each in worked:
        yield _indented(f"{each.name} = {' '.join(each.formula.split())}")
        inputs = "; ".join(f"{name} {_number(value)}" for name, value in each.inputs.items())
        yield _indented(f"  with {inputs}" if inputs else "  a constant")
        yield _indented(f"  gives {_number(each.value)}{f' ({each.reason})' if each.reason else ''}")
    yield wrapped("Where an input is missing, or a division is by zero, the metric is missing: it is never put at 0.")


def _number(value: float | None) -> str:
    return "nothing" if value is None else f"{value:.6g}"


def _indented(text: str) -> str:
    """Return a text two columns in, in lines of at most 80; spaces before it put it further in."""
    margin = " " * (2 + len(text) - len(text.lstrip()))
    return fill(
        text.strip(),
        WIDTH,
        initial_indent=margin,
        subsequent_indent=f"{margin}  ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def _folded(text: str) -> str:
    """Return a text whose lines are of at most 80 columns, a longer one broken inside of its long name."""
    return "\n".join("\n".join(_pieces(line)) for line in text.split("\n"))


def _pieces(line: str) -> Iterator[str]:
    margin = " " * (len(line) - len(line.lstrip()) + 2)
    while len(line) > WIDTH:
        end = 1 + max(line.rfind(mark, len(margin), WIDTH) for mark in BREAKS)
        end = end or WIDTH
        yield line[:end].rstrip()
        line = margin + line[end:].lstrip()
    yield line
