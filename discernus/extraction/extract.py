"""From a model's answer to scores: read by structure only, and each value that cannot be had stays missing, with why.

The reading order: JSON that meets the framework's contract, JSON in other shapes or amid prose, repaired JSON, CSV and
YAML, lines and tables of prose that are labelled as scores, and then (asked by the caller) a second model, whose
numbers count only where they literally stand in the first answer.
"""

import re
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict

from discernus.experiments.framework import Dimension, Framework
from discernus.extraction import reasons, unusable
from discernus.extraction.answers import answer_in
from discernus.extraction.data_blocks import find_blocks
from discernus.extraction.json_text import JsonText, find_json, number
from discernus.extraction.names import Vocabulary, vocabulary
from discernus.extraction.outline import Outline, read_outline
from discernus.extraction.readings import Reading, Readings, read
from discernus.extraction.unusable import Kind

Route = Literal["contract_json", "json_in_text", "repaired_json", "data_block", "outline", "second_model"]

_CUT_REASONS = frozenset({"length", "max_tokens", "content_filter"})
_NUMBER_TOKEN = re.compile(r"(?<![\w.])[-−+]?(?:\d+(?:\.\d+)?|\.\d+)(?![\w%]|\.\d)")
_LIST_MARK = re.compile(r"^[ \t*#]*\d+[.)][ \t]", re.MULTILINE)


class Extraction(BaseModel):
    """What one answer says. ``complete``: each dimension has a score or an explicit null ("no coverage").

    ``missing`` gives the reason for each dimension without a score; ``kind`` says what is wrong with an answer that is
    not complete (None: nothing but the missing values); ``route`` is how the values were read (None: none was).
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    status: Literal["complete", "partial", "none"]
    kind: Kind | None = None
    scores: dict[str, float] = {}
    confidence: dict[str, float] = {}
    salience: dict[str, float] = {}
    evidence: dict[str, tuple[str, ...]] = {}
    labels: dict[str, str] = {}
    missing: dict[str, str] = {}
    route: Route | None = None
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Reading:
    """One answer as it was read, before it is judged."""

    answer: str
    finish_reason: str | None
    json: JsonText
    said: Readings
    several_documents: bool

    @property
    def cut_off(self) -> bool:
        if self.finish_reason in _CUT_REASONS:
            return True
        ended = self.finish_reason == "stop" and self.answer.rstrip().endswith(("}", "]"))
        return self.json.cut_off and not ended


def extract(answer: str, framework: Framework, *, finish_reason: str | None = None) -> Extraction:
    """Return what one answer says, read by its structure alone. What a model wrote is never an error here."""
    answer = answer_in(answer)
    known = vocabulary(framework.dimensions, framework.contract)
    json = find_json(answer)
    ended = finish_reason is not None and finish_reason not in _CUT_REASONS
    said = read((*json.found, *find_blocks(answer, known, ended=ended)), known)
    reading = _Reading(answer, finish_reason, json, said, unusable.several_documents(said))
    found = {} if reading.several_documents else _judge(said, framework)
    scores = {name: value for name, value in found.items() if isinstance(value, float)}
    missing = {name: value for name, value in found.items() if isinstance(value, str)}
    status = _status(framework, scores, missing)
    kind = None if status == "complete" else _kind(reading, framework, anything=bool(found), status=status)
    for dimension in framework.dimensions:
        if dimension.name not in found:
            missing[dimension.name] = _why_absent(reading, dimension, kind)
    structured = _assemble(reading, framework, known, status, kind, scores, missing)
    if not needs_second_model(structured):
        return structured
    ended = not reading.cut_off and finish_reason is not None
    return _with_outline(structured, framework, read_outline(answer, framework.dimensions, known, ended=ended))


def _with_outline(first: Extraction, framework: Framework, outline: Outline) -> Extraction:
    """Return the extraction completed by the scores that the answer's prose labels, where it leaves no choice."""
    left = [each for each in framework.dimensions if reasons.another_reading_may_help(first.missing.get(each.name, ""))]
    found = {each.name: _labelled(each, outline) for each in left}
    new = {name: value for name, value in found.items() if isinstance(value, float)}
    missing = {name: reason for name, reason in first.missing.items() if name not in new}
    more = first.model_copy(
        update={
            "scores": first.scores | new,
            "missing": missing | {name: value for name, value in found.items() if isinstance(value, str)},
            "confidence": outline.only("confidence", new) | first.confidence,
            "salience": outline.only("salience", new) | first.salience,
        }
    )
    return _completed(first, more, framework, "outline", "read from labelled lines of the prose")


def _labelled(dimension: Dimension, outline: Outline) -> float | str | None:
    """Return the score that the prose labels for a dimension, or why it is none; None where it leaves that open."""
    values = outline.values.get(("score", dimension.name), [])
    if not values or None in values:
        return None
    if len({*values}) > 1 or (len(values) > 1 and outline.disagrees):
        return reasons.CONFLICT
    value = next(value for value in values if value is not None)
    if not dimension.low <= value <= dimension.high:
        return reasons.outside(dimension.low, dimension.high, value)
    return value


def from_second_model(answer: str, first: Extraction, framework: Framework, *, first_answer: str) -> Extraction:
    """Return the first extraction completed by what a second model read in ``first_answer``.

    ``answer`` is the second model's, ``{"scores": {...}, "confidence": {...}}``. Only what structure could not read is
    filled in, and only with numbers that literally stand in ``first_answer``; the rest stays missing, with the reason.
    """
    second = extract(answer, framework)
    written = _numbers(first_answer)
    scores, missing, confidence = dict(first.scores), dict(first.missing), dict(first.confidence)
    for name, reason in first.missing.items():
        if not reasons.another_reading_may_help(reason) or name not in second.scores:
            continue
        if second.scores[name] not in written:
            missing[name] = reasons.NOT_LITERAL
            continue
        scores[name] = second.scores[name]
        del missing[name]
        if second.confidence.get(name) in written:
            confidence.setdefault(name, second.confidence[name])
    more = first.model_copy(update={"scores": scores, "missing": missing, "confidence": confidence})
    return _completed(first, more, framework, "second_model", "read by a second model")


def _completed(first: Extraction, more: Extraction, framework: Framework, route: Route, how: str) -> Extraction:
    """Return ``more``, what a later way of reading added to ``first``, with its status and how it was read."""
    order = [dimension.name for dimension in framework.dimensions]
    new = [name for name in order if name in more.scores and name not in first.scores]
    if not new:
        return more
    status = _status(framework, more.scores, more.missing)
    return more.model_copy(
        update={
            "status": status,
            "kind": None if status == "complete" or first.kind == "no_scores" else first.kind,
            "scores": {name: more.scores[name] for name in order if name in more.scores},
            "confidence": {name: more.confidence[name] for name in order if name in more.confidence},
            "salience": {name: more.salience[name] for name in order if name in more.salience},
            "route": route,
            "problems": (*first.problems, f"{how}: {', '.join(new)}"),
        }
    )


def needs_second_model(extraction: Extraction) -> bool:
    """Return whether a second model may find scores in the answer that its structure did not show."""
    if extraction.kind in ("refusal", "error_text", "other_document"):
        return False
    return any(reasons.another_reading_may_help(reason) for reason in extraction.missing.values())


def ask_again(extraction: Extraction) -> str | None:
    """Return the correction to send to the model that answered unusably; None where asking again is no use."""
    if extraction.status != "none" or extraction.kind in ("refusal", "error_text"):
        return None
    what = {
        "truncated": "Your answer was cut off before its scores were complete. Answer again, more briefly",
        "other_document": "Your answer is about several texts. Answer again, for the one text that was given",
    }.get(extraction.kind or "", "The scores could not be read from your answer. Answer again")
    names = ", ".join(extraction.missing)
    return (
        f"{what}: with one JSON object in exactly the form that was asked for, and nothing before or after it. "
        f"Give each of these a single number on its scale, or null where the text gives no ground for a score: {names}."
    )


def _status(
    framework: Framework, scores: dict[str, float], missing: dict[str, str]
) -> Literal["complete", "partial", "none"]:
    without = [name for name, reason in missing.items() if reason == reasons.NO_COVERAGE]
    if len(scores) + len(without) == len(framework.dimensions):
        return "complete"
    return "partial" if scores or without else "none"


def _judge(said: Readings, framework: Framework) -> dict[str, float | str]:
    """Return a score, or the reason why there is none, for each dimension that the answer gives a value."""
    readings: dict[str, list[Reading]] = {}
    for reading in said.scores:
        if reading.strength != "doubtful":
            readings.setdefault(reading.dimension, []).append(reading)
    explicit = any(reading.strength == "explicit" for found in readings.values() for reading in found)
    places = {reading.container for found in readings.values() for reading in found}
    judged: dict[str, float | str] = {}
    for dimension in framework.dimensions:
        found = readings.get(dimension.name, [])
        usable = _called_scores([reading for reading in found if not explicit or reading.strength == "explicit"])
        if not usable or (not explicit and len(places) > 1):
            continue
        beside = [reading.value for reading in found if explicit and reading.strength == "bare"]
        if dimension.name in said.lost:
            judged[dimension.name] = said.lost[dimension.name]
        else:
            stated = _other_scale(dimension, usable, said)
            judged[dimension.name] = stated or _one_value(dimension, usable, beside)
    return _without_doubtful_ends(judged, framework)


def _other_scale(dimension: Dimension, usable: list[Reading], said: Readings) -> str | None:
    """Return the reason where the answer says that a score of the dimension is on another scale; None where not."""
    frames = [reading.frame for reading in usable if reading.value is not None]
    for scale in said.scales:
        if scale.differs(dimension.low, dimension.high) and any(scale.is_of(dimension.name, at) for at in frames):
            return reasons.other_scale(scale.low, scale.high)
    return None


def _without_doubtful_ends(judged: dict[str, float | str], framework: Framework) -> dict[str, float | str]:
    """Return what was judged without scores at the ends of their scale, where others are beyond and none between.

    On 0 to 1, an answer that says 7, 1 and 0 was given on another scale, where its 1 is no 1.
    """
    scales = {dimension.name: (dimension.low, dimension.high) for dimension in framework.dimensions}
    beyond = any(isinstance(value, str) and value.startswith(reasons.OUTSIDE) for value in judged.values())
    fitting = {name: value for name, value in judged.items() if isinstance(value, float)}
    if not beyond or not all(value in scales[name] for name, value in fitting.items()):
        return judged
    return judged | dict.fromkeys(fitting, reasons.AT_AN_END)


def _called_scores(readings: list[Reading]) -> list[Reading]:
    """Return the readings without an intensity or a value that has a score beside it: what differs is another thing."""
    named = {(reading.container, reading.frame) for reading in readings if not reading.synonym}
    return [reading for reading in readings if not reading.synonym or (reading.container, reading.frame) not in named]


def _one_value(dimension: Dimension, usable: list[Reading], beside: list[float | None]) -> float | str:
    values = {reading.invalid if reading.value is None else reading.value for reading in usable}
    possible = {value for value in beside if value is not None and dimension.low <= value <= dimension.high}
    if len(values) > 1 or possible - values:
        return reasons.CONFLICT
    best = next((reading for reading in usable if reading.invalid is None), usable[0])
    if best.invalid is not None:
        return best.invalid
    if best.value is None:
        return reasons.NO_COVERAGE
    if not dimension.low <= best.value <= dimension.high:
        return reasons.outside(dimension.low, dimension.high, best.value)
    return best.value


def _kind(reading: _Reading, framework: Framework, *, anything: bool, status: str) -> Kind | None:
    if reading.several_documents:
        return "other_document"
    if not anything:
        names = [name for dimension in framework.dimensions for name in (dimension.label, dimension.name)]
        if unusable.is_error_text(reading.answer, reading.json.found):
            return "error_text"
        if unusable.is_refusal(reading.answer, reading.finish_reason) and not unusable.names_score(
            reading.answer, names
        ):
            return "refusal"
        if unusable.headings_name_several_documents(reading.answer):
            return "other_document"
    if reading.cut_off:
        return "truncated"
    return "no_scores" if status == "none" else None


def _why_absent(reading: _Reading, dimension: Dimension, kind: Kind | None) -> str:
    by_kind: dict[Kind | None, str] = {
        "refusal": reasons.REFUSED,
        "error_text": reasons.ERROR_TEXT,
        "other_document": reasons.SEVERAL_DOCUMENTS,
    }
    if kind in by_kind:
        return by_kind[kind]
    if any(each.dimension == dimension.name for each in reading.said.scores):
        return reasons.UNCLEAR
    if kind == "truncated" and reading.json.found:
        return reasons.CUT_OFF
    return reasons.NOT_THERE if _numbers(reading.answer) else reasons.NO_NUMBER


def _assemble(
    reading: _Reading,
    framework: Framework,
    known: Vocabulary,
    status: Literal["complete", "partial", "none"],
    kind: Kind | None,
    scores: dict[str, float],
    missing: dict[str, str],
) -> Extraction:
    order = [dimension.name for dimension in framework.dimensions]
    said = Readings() if reading.several_documents else reading.said
    route = None if status == "none" else _route(reading, known, scores)
    return Extraction(
        status=status,
        kind=kind,
        scores=scores,
        confidence=_measures(said, "confidence", order),
        salience=_measures(said, "salience", order),
        evidence={name: tuple(said.evidence[name]) for name in order if name in said.evidence},
        labels={name: next(iter(texts)) for name, texts in said.labels.items() if len(texts) == 1},
        missing={name: missing[name] for name in order if name in missing},
        route=route,
        problems=_problems(reading, said, route),
    )


def _measures(said: Readings, role: str, order: list[str]) -> dict[str, float]:
    found = {name: said.measures.get((role, name), set()) for name in order}
    return {name: next(iter(values)) for name, values in found.items() if len(values) == 1}


def _route(reading: _Reading, known: Vocabulary, scores: dict[str, float]) -> Route:
    bare = [found.how for found in reading.json.found] == ["bare"]
    if bare and known.score_paths and known.score_paths <= reading.said.contract_paths:
        return "contract_json"
    whole = {each.dimension for each in reading.said.scores if each.how != "repaired"}
    if {each.dimension for each in reading.said.scores if each.how == "repaired"} - whole:
        return "repaired_json"
    as_json = {each.dimension for each in reading.said.scores if each.how in ("bare", "in_text")}
    return "json_in_text" if scores.keys() <= as_json else "data_block"


def _problems(reading: _Reading, said: Readings, route: Route | None) -> tuple[str, ...]:
    problems = list(reading.json.problems)
    if not reading.answer.strip():
        problems.append("the answer is empty")
    if reading.cut_off:
        problems.append("the answer is cut off")
    if route == "repaired_json":
        problems.append("the answer's JSON is broken and was repaired")
    if route == "json_in_text" and [found.how for found in reading.json.found] == ["bare"]:
        problems.append("the answer's JSON has another shape than the contract's")
    if reading.several_documents:
        problems.append("the answer is about several documents")
    problems += [
        f"two different values for {role} of {name}" for (role, name), found in said.measures.items() if len(found) > 1
    ]
    problems += [f"two different values for {name}" for name, found in said.labels.items() if len(found) > 1]
    return tuple(problems)


def _numbers(text: str) -> frozenset[float]:
    """Return every number that stands in the text; the marks of numbered lists are not counted."""
    tokens = _NUMBER_TOKEN.findall(_LIST_MARK.sub("", text))
    return frozenset(value for value in map(number, tokens) if value is not None)
