"""How long it takes to read the scores of one answer, beside parsing its JSON alone.

    uv run python benchmarks/extraction.py

An answer of ten dimensions, each with two quotations, about 6 kB, in the contract's own form and amid prose.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from discernus.experiments.framework import Contract, ContractField, Dimension, Framework, Role
from discernus.extraction.extract import extract

NAMES = [f"quality_{letter}" for letter in "abcdefghij"]
ROLES: tuple[Role, ...] = ("score", "confidence", "evidence")
QUOTE = "we stand together, and together we shall see the morning of a better day " * 3
REPEATS = 200


def framework() -> Framework:
    return Framework(
        name="f",
        version="1",
        display_name="F",
        text="",
        sha256="0" * 64,
        dimensions=tuple(Dimension(name=name, label=name, low=0, high=1) for name in NAMES),
        variants=(),
        derived_metrics=(),
        contract=Contract(
            fields=tuple(
                ContractField(path=(f"{name}_{role}",), role=role, type="number", dimension=name)
                for name in NAMES
                for role in ROLES
            )
        ),
    )


def timed(what: Callable[[], object]) -> float:
    """Return the median of what one call takes, in milliseconds."""
    times = []
    for _ in range(REPEATS):
        begun = time.perf_counter()
        what()
        times.append(time.perf_counter() - begun)
    return median(times) * 1000


def main() -> None:
    asked = framework()
    said = {f"{name}_{role}": {"evidence": [QUOTE, QUOTE]}.get(role, 0.4) for name in NAMES for role in ROLES}
    bare = json.dumps(said)
    amid = (
        f"Here is my analysis, dimension by dimension.\n\n```json\n{json.dumps(said, indent=2)}\n```\nI hope it helps."
    )
    parsed = timed(lambda: json.loads(bare))
    for name, answer in (("in the contract's form", bare), ("amid prose", amid)):
        taken = timed(lambda answer=answer: extract(answer, asked))  # type: ignore[misc]
        told = f"{name}: {taken:.2f} ms, {taken / parsed:.0f} times json.loads ({len(answer)} characters)"
        sys.stdout.write(told + "\n")


if __name__ == "__main__":
    main()
