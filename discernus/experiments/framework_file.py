"""Reading framework.md: prose for people and models, and a machine-readable part in JSON or YAML.

Nothing is guessed: what the block does not say plainly is refused with its line and a cure, all problems at once.
"""

import json
import re
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path

from discernus.experiments.acceptance import marked_line
from discernus.experiments.blocks import Block
from discernus.experiments.contract import Leaf, contract_fields, leaves
from discernus.experiments.dimensions import declared_dimensions, read_dimensions
from discernus.experiments.encoding import NotText, decode
from discernus.experiments.framework import PROMPT_FORM, Contract, DerivedMetric, Dimension, Framework, Variant
from discernus.experiments.framework_reading import FrameworkReading, find_block
from discernus.experiments.generations import current_form, guidance_of
from discernus.experiments.machine_parts import prose_of
from discernus.experiments.problems import Problem, ProblemList, did_you_mean, has_errors, nearest_name
from discernus.experiments.roles import snake_case, split_role
from discernus.statistics.formulas import FormulaError, cycles, names_of, resolve_name

TOP_KEYS = (
    "name",
    "version",
    "display_name",
    "analysis_variants",
    "calculation_spec",
    "output_contract",
    "dimensions",
)
_IN_WORDS = re.compile(r"[A-Za-z]{2,} [A-Za-z]{2,}")


def read_framework(
    path: Path, *, file: str | None = None, proposals: bool = False
) -> tuple[Framework | None, tuple[Problem, ...]]:
    """Return the framework in a file, or None, and every problem found; ``file`` names it in messages.

    ``proposals``: what a model has proposed is read though its author has not accepted it, to be looked at.
    """
    name = file or path.name
    try:
        data = path.read_bytes()
    except OSError as error:
        return None, (Problem(name, None, f"the file cannot be read: {error.strerror}", "check that it is there"),)
    return parse_framework(data, name, proposals=proposals)


def parse_framework(
    data: bytes, file: str, *, prompt_form: int = PROMPT_FORM, proposals: bool = False
) -> tuple[Framework | None, tuple[Problem, ...]]:
    """Return the framework in a file's bytes, or None, and every problem found.

    ``prompt_form`` is that of a session begun before, whose questions have to stay the same; for ``proposals`` see
    ``read_framework``.
    """
    problems = ProblemList(file)
    try:
        text = decode(data, file)
    except NotText as error:
        return None, (Problem(file, None, error.what, error.cure),)
    if not proposals:
        _check_accepted(text, problems)
    written = find_block(text, problems)
    if written is None:
        return None, tuple(problems.found)
    reading = FrameworkReading(text, current_form(written, _title(text), problems), problems)
    _check_keys(reading)
    names = {key: _text_at(reading, key) for key in ("name", "version")}
    display_name = _text_at(reading, "display_name", default=names["name"])
    variants = _variants(reading)
    metrics = _metrics(reading)
    contract, found = _contract(reading, metrics)
    dimensions = read_dimensions(reading, contract, found, variants)
    _check_formulas(reading, metrics, dimensions, contract)
    guidance = _guidance(written, prompt_form, problems)
    problems.found.sort(key=lambda problem: problem.line or 0)
    if has_errors(problems.found):
        return None, tuple(problems.found)
    framework = Framework(
        name=names["name"],
        version=names["version"],
        display_name=display_name,
        text=text,
        sha256=sha256(data).hexdigest(),
        dimensions=dimensions,
        variants=variants,
        derived_metrics=metrics,
        contract=contract,
        guidance=guidance,
        prompt_form=prompt_form,
    )
    return framework, tuple(problems.found)


def _check_accepted(text: str, problems: ProblemList) -> None:
    line = marked_line(text)
    if line is not None:
        what = "a model has proposed the machine-readable part below, and its author has not accepted it"
        problems.error(line, what, "read it, mend it, then delete this line")


def _title(text: str) -> str:
    """Return the first heading of a framework's prose, empty if it has none."""
    heading = re.search(r"^#\s+(.+?)\s*#*$", prose_of(text), re.MULTILINE)
    return heading[1] if heading else ""


def _guidance(written: Block, prompt_form: int, problems: ProblemList) -> str:
    try:
        return guidance_of(written, prompt_form)
    except RecursionError:
        problems.error(written.line_of("dimensions"), "the dimensions are nested too deeply", "write them flatter")
        return ""


def _check_keys(reading: FrameworkReading) -> None:
    for key in reading.block.data:
        nearest = nearest_name(key, TOP_KEYS, least=0.8) if key not in TOP_KEYS else None
        if nearest and nearest not in reading.block.data:
            reading.warn([key], f"'{key}' is not a key that is read", f"did you mean '{nearest}'?")


def _text_at(reading: FrameworkReading, key: str, default: str | None = None) -> str:
    value = reading.block.data.get(key, default)
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not value.strip():
        reading.error([key], f"the framework has no {key}", f'add "{key}": "…" to the block')
        return ""
    return value.strip()


def _variants(reading: FrameworkReading) -> tuple[Variant, ...]:
    key = "analysis_variants"
    written = reading.object_at(key)
    if not written:
        cure = f'add "{key}": {{"default": {{"description": "…", "analysis_prompt": "…"}}}}'
        reading.error([key], "the framework has no analysis variant", cure)
    variants = []
    for name, entry in written.items():
        prompt = entry.get("analysis_prompt") if isinstance(entry, Mapping) else None
        description = entry.get("description", "") if isinstance(entry, Mapping) else ""
        if not isinstance(prompt, str) or not prompt.strip():
            what = f"variant '{name}' has no analysis_prompt"
            reading.error([key, name, "analysis_prompt"], what, "write the question that is put to the model")
        elif not isinstance(description, str):
            reading.error([key, name, "description"], f"the description of variant '{name}' is not text", "quote it")
        else:
            variants.append(Variant(name=name, description=description, analysis_prompt=prompt))
    return tuple(variants)


def _metrics(reading: FrameworkReading) -> tuple[DerivedMetric, ...]:
    key = "calculation_spec"
    metrics = []
    for name, formula in reading.object_at(key).items():
        if not isinstance(formula, str | int | float) or isinstance(formula, bool):
            reading.error([key, name], f"the formula of '{name}' is not text", "write it in quotes")
        else:
            metrics.append(DerivedMetric(name=name, formula=str(formula)))
    return tuple(metrics)


def _contract(reading: FrameworkReading, metrics: Sequence[DerivedMetric]) -> tuple[Contract, tuple[Leaf, ...]]:
    key = "output_contract"
    written = reading.object_at(key)
    schema, instructions = written.get("schema"), written.get("instructions", "")
    if not isinstance(instructions, str):
        reading.error([key, "instructions"], "the contract's instructions are not text", "write them in quotes")
        instructions = ""
    if not isinstance(schema, Mapping) or not schema:
        cure = f'add "{key}": {{"schema": {{"<dimension>_score": "number", …}}, "instructions": "…"}}'
        reading.error([key, "schema"], "the framework does not say what an answer has to hold", cure)
        return Contract(fields=()), ()
    found = leaves(schema)
    declared = [name for name in declared_dimensions(reading) if snake_case(name)]
    fields = contract_fields(found, [metric.name for metric in metrics], declared)
    schema_text = json.dumps(schema, indent=2, ensure_ascii=False, default=str)
    return Contract(fields=fields, instructions=instructions, schema_text=schema_text), found


def _check_formulas(
    reading: FrameworkReading, metrics: Sequence[DerivedMetric], dimensions: Sequence[Dimension], contract: Contract
) -> None:
    key = "calculation_spec"
    names = [dimension.name for dimension in dimensions]
    metric_names = [metric.name for metric in metrics]
    asked = {(field.dimension, field.role) for field in contract.fields}
    used = _names_used(reading, metrics)
    _check_metric_names(reading, metrics)
    for metric in metrics:
        if snake_case(metric.name) in names:
            what = f"metric '{metric.name}' has the name of a dimension"
            reading.error([key, metric.name], what, "rename the metric")
        for name in used.get(metric.name, ()) if dimensions else ():
            meaning = resolve_name(name, names, metric_names)
            if meaning is None:
                what = f"the formula of '{metric.name}' uses '{name}', which is no dimension and no metric"
                reading.error([key, metric.name], what, _nearest_in_formula(name, names, metric_names))
            elif isinstance(meaning, tuple) and meaning not in asked:
                what = f"the formula of '{metric.name}' uses the {meaning[1]} of '{meaning[0]}', which no answer holds"
                reading.error([key, metric.name], what, f"add it to output_contract.schema, or do without '{name}'")
    for loop in cycles(metrics):
        what = f"metrics refer to themselves: {' → '.join((*loop, loop[0]))}"
        reading.error([key, loop[0]], what, "break the circle")


def _check_metric_names(reading: FrameworkReading, metrics: Sequence[DerivedMetric]) -> None:
    """Report metrics whose names a formula could not tell apart: ``net`` and ``Net``, ``trust`` and ``trust_score``."""
    first: dict[str, str] = {}
    for metric in metrics:
        plain = split_role(metric.name)[0] or snake_case(metric.name)
        if plain in first:
            what = f"metrics '{first[plain]}' and '{metric.name}' have one name in formulas"
            reading.error(["calculation_spec", metric.name], what, "rename one of them")
        first.setdefault(plain, metric.name)


def _names_used(reading: FrameworkReading, metrics: Sequence[DerivedMetric]) -> dict[str, list[str]]:
    """Return the names that each metric's formula uses, and report formulas that are none."""
    used: dict[str, list[str]] = {}
    for metric in metrics:
        try:
            used[metric.name] = sorted(names_of(metric.formula))
        except FormulaError as error:
            what = f"the formula of '{metric.name}' cannot be read: {error}"
            if _IN_WORDS.search(metric.formula):
                start = " ".join(metric.formula.split())[:40]
                what = f"the formula of '{metric.name}' cannot be read, it is in words: '{start}…'"
            cure = "write it as a formula over dimensions; explain it in the prose"
            reading.error(["calculation_spec", metric.name], what, cure)
    referred = {name.rsplit(".", 1)[-1] for names in used.values() for name in names}
    for metric in metrics:
        if used.get(metric.name) == [] and metric.name not in referred:
            what = f"the formula of '{metric.name}' names no dimension: it is '{metric.formula}' for every text"
            reading.error(["calculation_spec", metric.name], what, "write the formula, or take the metric out")
    return used


def _nearest_in_formula(name: str, dimensions: Sequence[str], metrics: Sequence[str]) -> str:
    """Return a cure that names the nearest name in the style in which the unknown one is written."""
    roles = ("score", "salience", "confidence")
    flat = [f"{dimension}_{role}" for dimension in dimensions for role in roles]
    last = name.rsplit(".", 1)[-1]
    return did_you_mean(last, [*dimensions, *flat, *metrics], "use the name of a dimension or of another metric")
