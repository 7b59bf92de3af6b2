"""A sealed session of thousands of calls, as a run leaves it but for its report; neither vendor nor server is needed.

Every file goes through the code that writes it in a session, except that nothing is flushed to the disk: that it would
survive a power cut is what takes a run its time, and nobody needs it here.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import patch

from benchmarks.make_experiment import POLES, make_experiment
from discernus.experiments.definition import read_definition
from discernus.experiments.plan import Analysis
from discernus.llm.requests import analysis_request
from discernus.sessions import layout
from discernus.sessions.layout import Call
from discernus.sessions.opening import open_session
from discernus.sessions.owners import Owner
from discernus.sessions.session import Parked, Session
from discernus.stages.calculation import calculate, checkpoint
from discernus.stages.reading import read_answer
from discernus.stages.sealing import seal
from tests.stand_ins import answer, scores

RUNS = 5
PROSE = "It is said side by side, step by step, and in due season. " * 40  # with scores, an answer of 2.8 kB


def sealed_session(projects: Path, calls: int, *, parked: int = 0) -> Session:
    """Return a session of so many answered calls, sealed; ``parked`` more analyses could not be had, for a while."""
    experiment = make_experiment(projects, documents=-(-(calls + parked) // RUNS), runs=RUNS, words=200)
    definition = read_definition(experiment)
    with patch.object(os, "fsync"), patch.object(os, "fdatasync"):
        session = open_session(projects, experiment, definition, concurrency=64, call_timeout_s=60, mirror=None)
        session.note_status("running", "")
        with Owner(projects / ".owners") as owner:
            for analysis in session.plan[:calls]:
                _answer(session, analysis, owner)
        for analysis in session.plan[calls:]:
            _park(session, analysis)
        calculate(session)
        for analysis in session.plan[:calls]:
            session.store.put(layout.page(analysis.number), PROSE.encode(), durable=False)
        session.store.put(layout.REPORT, PROSE.encode())
        checkpoint(session, "synthesis", {"report": layout.REPORT})
        seal(session)
    return session


def _answer(session: Session, analysis: Analysis, owner: Owner) -> None:
    """Archive an answer to the analysis, and read it."""
    call = Call(analysis.number)
    request = analysis_request(session.definition, analysis, ask=0, correction=None, timeout_s=60)
    content_key = request.content_key(variant=analysis.variant, run=analysis.run, ask=0)
    intent = session.archive.claim(call, request, content_key, owner)
    given: dict[str, Any] = {
        f"{pole.name}_score": (analysis.number * place % 97) / 96 for place, pole in enumerate(POLES, 1)
    }
    text = scores(**given).replace("calm", PROSE)
    session.archive.commit(call, intent, request, answer(text, model=analysis.model))
    read_answer(session, analysis.number, 0, final=True)


def _park(session: Session, analysis: Analysis) -> None:
    session.park(
        Parked(
            number=analysis.number,
            call=Call(analysis.number).name,
            error_class="overload",
            reason="the vendor was overloaded",
            passing=True,
            passes=2,
            failures=1,
            at=datetime.now(UTC),
        )
    )
