"""The report's section on hypotheses: the verdict of each planned test, its numbers, and what so few data allow."""

from collections.abc import Sequence

from discernus.experiments.experiment import OFFLINE_PREFIX, Hypothesis
from discernus.experiments.testability import NO_TEST
from discernus.reports.data import ReportData
from discernus.reports.hypothesis_table import method_name, sizes_in_words
from discernus.reports.markdown import NONE, count, number, series, split_table, text
from discernus.statistics.outcome import Effect
from discernus.statistics.verdicts import Tested, combined

TITLE = "## Hypotheses"
LEFT_OUT_SHOWN = 6
PAIRS_SHOWN = 30
RULES = (
    "Each document counts once, with its mean over the runs of one model under one variant; runs are not cases "
    "(a mixed model takes the runs themselves, and the document stays the case). Groups come from `corpus.csv`. All "
    "p values are two-sided. What is judged is the planned test, never the wording of the hypothesis: *supported* "
    "where every test of it has its expected result after the correction, *contradicted* where one has the opposite, "
    "*inconclusive* where the data decide neither, which is no sign of equality."
)


def hypotheses(data: ReportData) -> str:
    """Return each hypothesis with its verdict, then the tests with their numbers."""
    if not data.experiment.hypotheses and not data.tests:
        return f"{TITLE}\n\nThe experiment states none."
    parts = [TITLE, RULES]
    if data.experiment.hypotheses:
        parts.append("\n".join(_hypothesis(one, data.tests) for one in data.experiment.hypotheses))
    if all(model.startswith(OFFLINE_PREFIX) for model in data.experiment.models):
        parts.append("No language model was asked, so nothing here bears on how a language model reads.")
    done = [(place, one) for place, one in enumerate(data.tests, start=1) if _has_numbers(one)]
    if done:
        parts += ["### Tests", _family(data.tests), _numbers(done), "### Effects", _effects(done), *_pairs(done)]
    remarks = [line for place, one in enumerate(data.tests, start=1) for line in _remarks(place, one)]
    if remarks:
        parts.append("\n".join(remarks))
    return "\n\n".join(parts)


def _hypothesis(hypothesis: Hypothesis, tests: Sequence[Tested]) -> str:
    lead = f"- **{text(hypothesis.name)}**: {text(hypothesis.text)}"
    own = [(place, one) for place, one in enumerate(tests, start=1) if hypothesis.name in one.planned.hypotheses]
    if hypothesis.untestable or not own:
        lines = [f"*not testable: {text(hypothesis.untestable or NO_TEST)}.*"]
    else:
        readings = list(dict.fromkeys(_reading(one) for _, one in own))
        lines = [_verdict(reading, [each for each in own if _reading(each[1]) == reading]) for reading in readings]
    return "\n".join([lead, *(f"  {line}" for line in lines)])


def _verdict(reading: str, own: list[tuple[int, Tested]]) -> str:
    verdict = combined([one.verdict for _, one in own])
    why = list(dict.fromkeys(one.why for _, one in own if one.why and one.verdict == verdict))
    because = f": {'; '.join(map(text, why))}" if why else ""
    numbered = [str(place) for place, one in own if _has_numbers(one)]
    shown = f" ({'test' if len(numbered) == 1 else 'tests'} {series(numbered)})" if numbered else ""
    return f"*{verdict}{because}.* {reading}{shown}"


def _reading(one: Tested) -> str:
    in_place_of = f" in place of {text(one.in_place_of)}" if one.in_place_of else ""
    method = " (dictionary method)" if one.model.startswith(OFFLINE_PREFIX) else ""
    return f"{text(one.model)}{in_place_of}, variant {text(one.variant)}{method}"


def _briefly(one: Tested, several: bool) -> str:
    """Return whose readings were tested; the variant only where there are several."""
    in_place_of = f" in place of {text(one.in_place_of)}" if one.in_place_of else ""
    return f"{text(one.model)}{in_place_of}{f', {text(one.variant)}' if several else ''}"


def _has_numbers(one: Tested) -> bool:
    return one.outcome.statistic is not None or bool(one.outcome.pairs)


def _family(tests: Sequence[Tested]) -> str:
    family = max((one.family for one in tests), default=0)
    return (
        f"*p adjusted* is after Holm over the {count(family, 'distinct test')} of the session, of all models and "
        "variants together; a test that computes the same as another counts once. More digits: `hypothesis_tests.csv`."
    )


def _numbers(done: list[tuple[int, Tested]]) -> str:
    several = len({one.variant for _, one in done}) > 1
    headings = [
        "test",
        "for",
        "model",
        "method",
        "variable",
        "documents",
        "statistic",
        "df",
        "p",
        "p adjusted",
        "verdict",
    ]
    rows = [
        [
            str(place),
            text(", ".join(one.planned.hypotheses)) or NONE,
            _briefly(one, several),
            text(method_name(one)),
            text(", ".join(one.variables)),
            text(sizes_in_words(one)) if one.planned.method != "run_noise" else str(len(one.sizes)),
            f"{one.outcome.statistic_name} {number(one.outcome.statistic)}"
            if one.outcome.statistic is not None
            else NONE,
            ", ".join(f"{df:.4g}" for df in one.outcome.df) or NONE,
            probability(one.outcome.p),
            probability(one.p_adjusted),
            one.verdict,
        ]
        for place, one in done
    ]
    return split_table(headings, rows)


def _effects(done: list[tuple[int, Tested]]) -> str:
    headings = [
        "test",
        "difference in units of the scale",
        "effect size",
        "found in 80 of 100 cases",
        "smallest possible p",
    ]
    rows = [
        [
            str(place),
            effect(one.outcome.estimate),
            effect(one.outcome.effect),
            effect(one.outcome.detectable),
            probability(one.outcome.smallest_p),
        ]
        for place, one in done
        if one.outcome.effect is not None or one.outcome.estimate is not None
    ]
    note = (
        "Intervals are in brackets, with their level. What a test of this size finds in 80 of 100 cases is for its own "
        "level, before any correction. The smallest possible p is that of exact tests: such data cannot go below. "
        "The interval of Hedges' g takes the SDs of both groups as equal, which Welch's test does not: one may leave "
        "out 0 where the other does not, and it is the test that is judged."
    )
    return f"{split_table(headings, rows)}\n\n{note}" if rows else note


def _pairs(done: list[tuple[int, Tested]]) -> list[str]:
    parts = []
    for place, one in done:
        pairs = one.outcome.pairs
        if not pairs:
            continue
        shown = sorted(pairs, key=lambda pair: pair.p)[:PAIRS_SHOWN]
        rows = [
            [f"{text(pair.first)} – {text(pair.second)}", effect(pair.estimate, named=False), probability(pair.p)]
            for pair in shown
        ]
        lead = f"#### Pairs of test {place}\n\n{text(one.outcome.pairs_by)}."
        if one.planned.method == "run_noise":
            beyond = sum(pair.p <= one.planned.alpha for pair in pairs)
            lead += (
                f" {beyond} of {count(len(pairs), 'pair')} differ beyond this model's run noise. That says nothing of "
                "the texts beyond these readings."
            )
        more = (
            f"\n\n{len(pairs) - len(shown)} more pairs stand in `hypothesis_tests.csv`."
            if len(pairs) > len(shown)
            else ""
        )
        parts.append(f"{lead}\n\n{split_table(['pair', 'first minus second', 'p adjusted'], rows)}{more}")
    return parts


def _remarks(place: int, one: Tested) -> list[str]:
    found = []
    if one.left_out:
        named = [f"{name} ({why})" for name, why in list(one.left_out.items())[:LEFT_OUT_SHOWN]]
        more = f" and {len(one.left_out) - LEFT_OUT_SHOWN} more" if len(one.left_out) > LEFT_OUT_SHOWN else ""
        found.append(f"not in it: {', '.join(named)}{more}")
    if one.same_as is not None:
        found.append(f"computes the same as test {one.same_as}")
    if one.outcome.p is not None and one.outcome.p_by:
        found.append(f"p: {one.outcome.p_by}")
    if one.outcome.p is None and one.outcome.reason:
        found.append(f"no p value: {one.outcome.reason}")
    if one.outcome.pairs_by and not one.outcome.pairs:
        found.append(one.outcome.pairs_by)
    if one.planned.margin is not None:
        found.append(f"margin {one.planned.margin:g}: {one.planned.justification}")
    found += [*one.outcome.notes]
    what = f"{method_name(one)} on {', '.join(one.variables)}" if one.variables else method_name(one)
    return [f"- Test {place}, {text(what)}: {text('; '.join(found))}."] if found else []


def effect(found: Effect | None, *, named: bool = True) -> str:
    """Return an effect with its interval: "Hedges' g -1.43 [95 %: -2.78, -0.02]"; the dash where there is none."""
    if found is None:
        return NONE
    name = f"{text(found.name)} " if named else ""
    if found.interval is None:
        return f"{name}{number(found.value)}"
    low, high, level = found.interval.low, found.interval.high, found.interval.level
    return f"{name}{number(found.value)} [{100 * level:g} %: {number(low)}, {number(high)}]"


def probability(p: float | None) -> str:
    """Return a p value to four digits; the smallest are said to be below 0.0001."""
    return "<0.0001" if p is not None and p < 0.0001 else number(p, 4)
