"""Making a part of a session anew from the answers it has: nobody is asked, and nothing is paid for."""

from __future__ import annotations

from pathlib import Path

from discernus.sessions.integrity.manifests import Stage
from discernus.sessions.session import Session
from discernus.stages.calculation import calculate
from discernus.stages.checkpoints import go_back
from discernus.stages.rereading import calls_read, read_again
from discernus.stages.sealing import Sealed, seal
from discernus.stages.synthesis import synthesise


def make_anew(session: Session, stage: Stage, signing_key: Path | None = None, *, examined: bool = False) -> Sealed:
    """Begin anew at a stage, make it and the later ones of what is there, and seal; what has no answer is a gap.

    The session must be nobody else's meanwhile. Cut off half-way, it is taken up by doing it again.
    ``examined`` as in going back.
    """
    read_before = calls_read(session)
    go_back(session, stage, examined=examined)
    if stage == "extraction":
        read_again(session, read_before)
    if makes_tables(session, stage):
        calculate(session)
    synthesise(session)
    return seal(session, signing_key)


def makes_tables(session: Session, stage: Stage) -> bool:
    """Return whether tables are made too: what has none to report on gets them before it is reported."""
    return stage != "synthesis" or not session.reached("calculation")
