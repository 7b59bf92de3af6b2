"""Which documents differ by more than one model's own run noise: about its readings of them, and nothing beyond."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

from discernus.statistics.corrections import holm
from discernus.statistics.group_tests import BY_T, welch_t
from discernus.statistics.outcome import Effect, Outcome, Pair, undefined

MOST_DOCUMENTS = 40  # 780 pairs


def run_noise(runs: Mapping[str, Sequence[float]], alpha: float) -> Outcome:
    """Return Welch's t test of every pair of documents over their runs, adjusted after Holm over all pairs.

    ``runs`` holds the values of each document, one for each run. Runs are no cases: there is no p of the whole.
    """
    repeated = {name: values for name, values in runs.items() if len(values) > 1}
    if len(repeated) < 2:
        return undefined("t", "fewer than two documents have a value in two runs or more")
    if len(repeated) > MOST_DOCUMENTS:
        return undefined(
            "t", f"all pairs of {len(repeated)} documents are too many; {MOST_DOCUMENTS} are compared at most"
        )
    found: list[tuple[str, str, float, Effect]] = []
    flat = 0
    for one, other in combinations(repeated, 2):
        outcome = welch_t({one: repeated[one], other: repeated[other]}, alpha)
        if outcome.p is None or outcome.estimate is None:
            flat += 1
        else:
            found.append((one, other, outcome.p, outcome.estimate))
    adjusted = holm([p for _, _, p, _ in found])
    notes = (f"{flat} pairs do not vary over runs at all, so that they have no noise to differ beyond",) if flat else ()
    return Outcome(
        "t",
        reason="runs are not cases, so there is no p of the whole",
        p_by=BY_T,
        pairs=tuple(Pair(one, other, p, effect) for (one, other, _, effect), p in zip(found, adjusted, strict=True)),
        pairs_by="Welch's t over runs, adjusted after Holm over all pairs",
        notes=notes,
    )
