"""Formulas over dimensions, computed safely: a framework's text is parsed and looked up, never executed as code.

What cannot be computed is missing, with the reason in plain words: a missing score, a division by zero, a metric that
refers to itself. Nothing is ever replaced by 0.
"""

import ast
import math
import statistics
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

from simpleeval import SimpleEval

from discernus.experiments.roles import snake_case, split_role

MAX_LENGTH = 10_000
_TYPOGRAPHIC = str.maketrans({"×": "*", "·": "*", "⋅": "*", "÷": "/", "−": "-", "–": "-"})
_METRIC_CONTAINERS = {"derived_metrics", "derived_metric", "calculated_metrics", "metrics"}


class FormulaError(ValueError):
    """A formula that cannot be read; the message says which part and what would be read."""


class Metric(Protocol):
    """Anything with a name and a formula."""

    @property
    def name(self) -> str: ...

    @property
    def formula(self) -> str: ...


@dataclass(frozen=True)
class Computed:
    """A metric's value, or None with the reason why there is none."""

    value: float | None
    reason: str | None = None


@dataclass(frozen=True)
class _Function:
    apply: Callable[..., float]
    least: int
    most: int | None


class _Uncomputable(ArithmeticError):
    """An operation without a result, in the words the reader of a report sees."""


def _divide(left: float, right: float) -> float:
    if right == 0:
        raise _Uncomputable("division by zero")
    return left / right


def _power(base: float, exponent: float) -> float:
    if base == 0 and exponent < 0:
        raise _Uncomputable("division by zero (0 to a negative power)")
    if base < 0 and not exponent.is_integer():
        raise _Uncomputable("a negative number to a fractional power")
    return math.pow(base, exponent)


def _square_root(value: float) -> float:
    if value < 0:
        raise _Uncomputable("square root of a negative number")
    return math.sqrt(value)


def _round(value: float, digits: float = 0.0) -> float:
    if not digits.is_integer() or abs(digits) > 15:
        raise _Uncomputable("round takes a whole number of digits, at most 15")
    return float(round(value, int(digits)))


_FUNCTIONS = {
    "min": _Function(lambda *values: min(values), 1, None),
    "max": _Function(lambda *values: max(values), 1, None),
    "mean": _Function(lambda *values: statistics.fmean(values), 1, None),
    "sum": _Function(lambda *values: sum(values), 1, None),
    "abs": _Function(abs, 1, 1),
    "sqrt": _Function(_square_root, 1, 1),
    "pow": _Function(_power, 2, 2),
    "round": _Function(_round, 1, 2),
    "median": _Function(lambda *values: statistics.median(values), 1, None),
    "pvariance": _Function(lambda *values: statistics.pvariance(values), 1, None),
    "pstdev": _Function(lambda *values: statistics.pstdev(values), 1, None),
    "variance": _Function(lambda *values: statistics.variance(values), 2, None),
    "stdev": _Function(lambda *values: statistics.stdev(values), 2, None),
}
_LIBRARIES = {"numpy", "np", "math", "Math", "statistics"}
_OF_NUMPY = {"var": "pvariance", "std": "pstdev"}  # numpy divides by n where nothing else is said
_NOT_OF_NUMPY = {"pvariance", "pstdev", "variance", "stdev"}
_UNSAID = {"var", "std", "sd", "stddev"}  # names that do not say whether they divide by n or by n - 1
_OPERATORS: dict[type[ast.operator] | type[ast.unaryop], Callable[..., float]] = {
    ast.Add: lambda left, right: left + right,
    ast.Sub: lambda left, right: left - right,
    ast.Mult: lambda left, right: left * right,
    ast.Div: _divide,
    ast.Pow: _power,
    ast.UAdd: lambda value: value,
    ast.USub: lambda value: -value,
}
_ALLOWED = f"a formula has numbers, names, + - * / **, |a - b| and {' '.join(sorted(_FUNCTIONS))}"


@dataclass(frozen=True)
class _Parsed:
    node: ast.expr
    names: frozenset[str]


def names_of(formula: str) -> frozenset[str]:
    """Return the names a formula uses, dotted ones as written. Raise FormulaError if it cannot be read."""
    return _parse(formula).names


def resolve_name(name: str, dimensions: Collection[str], metrics: Collection[str] = ()) -> tuple[str, str] | str | None:
    """Return what a name in a formula stands for: (dimension, role), the name of a metric, or None if nothing.

    A bare dimension is its score. Names match exactly once case and separators are normalised.
    """
    metric = _metric_called(name, tuple(metrics))
    if metric is not None:
        return metric
    parts = name.split(".")
    if any(snake_case(part) in _METRIC_CONTAINERS for part in parts[:-1]):
        return None
    known = {snake_case(dimension): dimension for dimension in dimensions}
    containers, last = [snake_case(part) for part in parts[:-1]], snake_case(parts[-1])
    subject, role = (last, None) if last in known else split_role(last)
    if not subject and containers:
        subject = containers.pop()
    if subject not in known or any(container in known for container in containers):
        return None
    outer_roles = (split_role(container)[1] for container in reversed(containers))
    return known[subject], role or next((outer for outer in outer_roles if outer), "score")


def named_values(
    metrics: Sequence[Metric], scores: Mapping[tuple[str, str], float], dimensions: Collection[str]
) -> dict[str, float]:
    """Return the values ``compute`` needs, under the names that the formulas use, from (dimension, role) → value."""
    formulas = tuple((metric.name, metric.formula) for metric in metrics)
    meanings = _meanings(formulas, tuple(dimensions))
    return {name: scores[meaning] for name, meaning in meanings.items() if meaning in scores}


@lru_cache(maxsize=64)
def _meanings(formulas: tuple[tuple[str, str], ...], dimensions: tuple[str, ...]) -> dict[str, tuple[str, str]]:
    """Return what each name in the formulas stands for, if it stands for a dimension in some role."""
    metrics = tuple(name for name, _ in formulas)
    used = {name for _, formula in formulas for name in _readable_names(formula)}
    found = {name: resolve_name(name, dimensions, metrics) for name in used}
    return {name: meaning for name, meaning in found.items() if isinstance(meaning, tuple)}


def compute(metrics: Sequence[Metric], values: Mapping[str, float]) -> dict[str, Computed]:
    """Return every metric by name, in the order given; ``values`` has the inputs under the names the formulas use."""
    formulas = {metric.name: metric.formula for metric in metrics}
    names = tuple(formulas)
    loops = {name: loop for loop in _cycles(tuple(formulas.items())) for name in loop}
    done: dict[str, Computed] = {
        name: Computed(None, f"it refers to itself: {' → '.join((*loop, loop[0]))}") for name, loop in loops.items()
    }
    waiting = [name for name in formulas if name not in done]
    while waiting:
        later = []
        for name in waiting:
            if all(needed in done for needed in _metrics_in(formulas[name], names)):
                done[name] = _compute_one(formulas[name], names, values, done)
            else:
                later.append(name)
        waiting = later
    return {name: done[name] for name in formulas}


def cycles(metrics: Sequence[Metric]) -> tuple[tuple[str, ...], ...]:
    """Return each group of metrics that refer to themselves through one another, in the order of reference."""
    return _cycles(tuple((metric.name, metric.formula) for metric in metrics))


@lru_cache(maxsize=64)
def _cycles(formulas: tuple[tuple[str, str], ...]) -> tuple[tuple[str, ...], ...]:
    names = tuple(name for name, _ in formulas)
    needs = {name: _metrics_in(formula, names) for name, formula in formulas}
    found: list[tuple[str, ...]] = []
    for name in needs:
        if any(name in loop for loop in found):
            continue
        loop = _way_back(name, needs)
        if loop:
            found.append(loop)
    return tuple(found)


def _way_back(start: str, needs: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """Return the shortest chain of references from a metric back to itself, empty if there is none."""
    chains: list[tuple[str, ...]] = [(start,)]
    seen: set[str] = set()
    for chain in chains:
        for needed in needs[chain[-1]]:
            if needed == start:
                return chain
            if needed not in seen:
                seen.add(needed)
                chains.append((*chain, needed))
    return ()


def _compute_one(
    formula: str, metrics: tuple[str, ...], values: Mapping[str, float], done: Mapping[str, Computed]
) -> Computed:
    try:
        parsed = _parse(formula)
    except FormulaError as error:
        return Computed(None, str(error))
    inputs: dict[str, float] = {}
    for name in sorted(parsed.names):
        metric = _metric_called(name, metrics)
        if metric is not None and done[metric].value is None:
            return Computed(None, f"'{metric}' is missing: {done[metric].reason}")
        value = values.get(name) if metric is None else done[metric].value
        if value is None:
            return Computed(None, f"no value for '{name}'")
        if not math.isfinite(value):
            return Computed(None, f"'{name}' is not a finite number")
        inputs[name] = float(value)
    return _evaluate(parsed.node, inputs)


def _evaluate(node: ast.expr, inputs: dict[str, float]) -> Computed:
    functions = {name: function.apply for name, function in _FUNCTIONS.items()}
    try:
        value = float(SimpleEval(operators=_OPERATORS, functions=functions, names=inputs).eval("", node))
    except _Uncomputable as error:
        return Computed(None, str(error))
    except (OverflowError, RecursionError):
        return Computed(None, "the result is too large to compute")
    return Computed(value) if math.isfinite(value) else Computed(None, "the result is not a finite number")


@lru_cache(maxsize=8192)
def _metric_called(name: str, metrics: tuple[str, ...]) -> str | None:
    """Return the metric a name refers to: its own name, alone or below a container such as ``derived_metrics``."""
    *containers, last = name.split(".")
    if all(snake_case(container) in _METRIC_CONTAINERS for container in containers):
        return next((metric for metric in metrics if metric == last or snake_case(metric) == snake_case(last)), None)
    return None


@lru_cache(maxsize=1024)
def _metrics_in(formula: str, metrics: tuple[str, ...]) -> list[str]:
    """Return the metrics a formula refers to; none if it cannot be read."""
    referred = (_metric_called(name, metrics) for name in sorted(_readable_names(formula)))
    return [metric for metric in referred if metric is not None]


def _readable_names(formula: str) -> frozenset[str]:
    try:
        return names_of(formula)
    except FormulaError:
        return frozenset()


@lru_cache(maxsize=1024)
def _parse(formula: str) -> _Parsed:
    if len(formula) > MAX_LENGTH:
        raise FormulaError(f"the formula has {len(formula)} characters; {MAX_LENGTH} are read at most")
    written = _bars_as_abs(formula.translate(_TYPOGRAPHIC)).strip()
    if not written:
        raise FormulaError("the formula is empty")
    try:
        node = ast.parse(" ".join(written.split()), mode="eval").body
        names: set[str] = set()
        return _Parsed(_simplified(node, names), frozenset(names))
    except SyntaxError as error:
        near = " ".join(written.split())[max((error.offset or 1) - 1, 0) :][:30]
        raise FormulaError(f"it stops making sense at '{near}'; {_ALLOWED}") from None
    except (RecursionError, MemoryError, OverflowError, ValueError) as error:
        if isinstance(error, FormulaError):
            raise
        raise FormulaError(f"it cannot be read (nested too deeply, or a number too large); {_ALLOWED}") from None


def _bars_as_abs(formula: str) -> str:
    """Return the formula with each ``|a - b|`` as ``abs(a - b)``."""
    opened, out = 0, ""
    for character in formula:
        if character != "|":
            out += character
        elif not out.strip() or out.rstrip()[-1] in "+-*/(,[":
            opened += 1
            out += "abs("
        else:
            opened -= 1
            out += ")"
        if opened < 0:
            break
    if opened:
        raise FormulaError("a bar | of an absolute value has no partner; write abs(a - b)")
    return out


def _simplified(node: ast.expr, names: set[str]) -> ast.expr:
    """Return the expression with dotted names as single names and numbers as floats; refuse all else."""
    match node:
        case ast.BinOp(left, operator, right) if type(operator) in _OPERATORS:
            return ast.BinOp(_simplified(left, names), operator, _simplified(right, names))
        case ast.UnaryOp(operator, operand) if type(operator) in _OPERATORS:
            return ast.UnaryOp(operator, _simplified(operand, names))
        case ast.Constant(value) if isinstance(value, int | float) and not isinstance(value, bool):
            return ast.Constant(float(value))
        case ast.Name() | ast.Attribute():
            name = _dotted(node)
            names.add(name)
            return ast.Name(name, ast.Load())
        case ast.Call(ast.Name() | ast.Attribute() as written, arguments, []) if called := _function_named(written):
            flat = [_simplified(argument, names) for argument in _flat(arguments)]
            function = _FUNCTIONS[called]
            if len(flat) < function.least or (function.most is not None and len(flat) > function.most):
                raise FormulaError(f"{called} is given {len(flat)} values; it takes {_arity(function)}")
            return ast.Call(ast.Name(called, ast.Load()), flat, [])
        case ast.Call(ast.Name(called)) if called.lower() in _UNSAID:
            raise FormulaError(f"'{called}' divides by n or by n - 1: write pstdev or pvariance (n), stdev or variance")
        case ast.Call(called):
            raise FormulaError(f"'{ast.unparse(called)[:40]}' is no function a formula can use; {_ALLOWED}")
        case ast.BinOp(_, ast.BitXor(), _):
            raise FormulaError(f"^ is not a power here, ** is; {_ALLOWED}")
        case _:
            raise FormulaError(f"'{ast.unparse(node)[:40]}' is nothing a formula can hold; {_ALLOWED}")


def _function_named(called: ast.expr) -> str | None:
    """Return the function that a name stands for, alone or below the library it is known from: ``numpy.var``."""
    *library, name = ast.unparse(called).split(".")
    if library and (len(library) > 1 or library[0] not in _LIBRARIES):
        return None
    if library and library[0] in {"numpy", "np"}:
        name = "" if name in _NOT_OF_NUMPY else _OF_NUMPY.get(name, name)
    return name if name in _FUNCTIONS else None


def _dotted(node: ast.expr) -> str:
    match node:
        case ast.Name(name):
            return name
        case ast.Attribute(value, attribute):
            return f"{_dotted(value)}.{attribute}"
        case _:
            raise FormulaError(f"'{ast.unparse(node)[:40]}' is no name; {_ALLOWED}")


def _flat(arguments: Sequence[ast.expr]) -> Iterator[ast.expr]:
    for argument in arguments:
        if isinstance(argument, ast.List | ast.Tuple):
            yield from argument.elts
        else:
            yield argument


def _arity(function: _Function) -> str:
    if function.most is None:
        return "one or more"
    return str(function.least) if function.least == function.most else f"{function.least} or {function.most}"
