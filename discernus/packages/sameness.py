"""Whether an answer, or a session, without words of the texts still gives every number that it gave with them."""

from __future__ import annotations

import csv
import re
from pathlib import Path

from discernus.extraction.extract import Extraction, extract, from_second_model
from discernus.sessions import layout
from discernus.sessions.layout import Call
from discernus.sessions.session import Session

ANSWER = re.compile(rf"{layout.ARCHIVE}/(?:rival_)?response_(?P<call>.+?)(?P<attempt>_try\d+)?\.txt")

_SCORED = ("_score", "_confidence", "_salience")


def reads_the_same(session: Session, name: str, text: str, masked: str) -> bool:
    """Return whether the masked answer gives every number that the answer gives, by itself and read by a second."""
    framework = session.definition.framework
    found = ANSWER.fullmatch(name)
    if found is None or found["attempt"] is not None:
        return True  # what is never scored need not be read
    call = Call.named(found["call"])
    if call.purpose == "synthesis":
        return True
    if call.purpose == "extraction":
        return numbers_of(extract(text, framework)) == numbers_of(extract(masked, framework))
    record = session.archive.look_up(call)
    finish_reason = record[0].finish_reason if record is not None else None
    as_it_was, as_it_is = (extract(one, framework, finish_reason=finish_reason) for one in (text, masked))
    if numbers_of(as_it_was) != numbers_of(as_it_is):
        return False
    for fallback in range(len(session.extraction_models)):
        second = session.archive.look_up(
            Call(call.number, "extraction", call.ask, fallback=fallback, source=call.fallback)
        )
        if second is not None:
            first = from_second_model(second[1], as_it_was, framework, first_answer=text)
            again = from_second_model(second[1], as_it_is, framework, first_answer=masked)
            return numbers_of(first) == numbers_of(again)
    return True


def numbers_of(extraction: Extraction) -> tuple[object, ...]:
    """Return all that is counted of what was read of an answer, to be compared."""
    one = extraction
    return one.status, one.kind, one.route, one.scores, one.confidence, one.salience, set(one.missing), set(one.labels)


def first_difference(was: Session, is_now: Session) -> str | None:
    """Return which score or metric of results.csv is another in the second session, None if none is."""
    before, after = _rows(was.folder), _rows(is_now.folder)
    metrics = {metric.name for metric in was.definition.framework.derived_metrics}
    for number, row in before.items():
        for column in row:
            if (column in metrics or column.endswith(_SCORED)) and row[column] != after[number][column]:
                return f"{column} of analysis {number} would be {after[number][column]!r}, and is {row[column]!r}"
    return None


def _rows(folder: Path) -> dict[str, dict[str, str]]:
    """Return the rows of results.csv by their analyses; none where nothing was read yet."""
    if not (folder / layout.RESULTS).is_file():
        return {}
    with (folder / layout.RESULTS).open(encoding="utf-8", newline="") as file:
        return {row["analysis"]: row for row in csv.DictReader(file)}
