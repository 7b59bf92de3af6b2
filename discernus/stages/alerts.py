"""What calls for attention when a session has ended: models whose answers could often not be read as they stand."""

from __future__ import annotations

import json
from collections.abc import Iterator

from discernus.extraction.extract import Route
from discernus.reports.readability import Reading, in_words, readability
from discernus.sessions import layout
from discernus.sessions.layout import Call
from discernus.sessions.session import Session
from discernus.stages.sealing import gaps_of


def alerts_of(session: Session) -> list[str]:
    """Return a sentence for each model and variant above the experiment's threshold; [] before there are tables."""
    if not session.store.exists(layout.EXTRACTION_LOG):
        return []
    threshold = session.definition.experiment.extraction_alert
    found = readability(_readings(session))
    return [in_words(one, threshold) for one in found if one.alarming(threshold)]


def _readings(session: Session) -> Iterator[Reading]:
    """Yield what came of each answer, by the log of readings, and of those it leaves out by what was read of each.

    So few files are opened, however many analyses there are.
    """
    logged = set()
    for line in session.store.get(layout.EXTRACTION_LOG).decode().splitlines():
        told = json.loads(line)
        logged.add(told["number"])
        read = told["status"] == "scored" or told["scored"] > 0
        yield _reading(session, told["number"], told["call"], told["route"], read=read)
    for number in gaps_of(session)["no_score"]:
        extracted = session.extracted(number)
        if number not in logged and extracted is not None:
            yield _reading(session, number, extracted.call, extracted.extraction.route, read=False)


def _reading(session: Session, number: int, call_name: str, route: Route | None, *, read: bool) -> Reading:
    call = Call.named(call_name)
    model = session.candidates(number)[call.fallback]
    return Reading(model, session.analysis(number).variant, call.ask, route, read)
