"""A sealed session that holds a file of every kind, made by the code that makes them in earnest."""

from __future__ import annotations

import asyncio
import gzip
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from discernus.sessions import layout
from discernus.sessions.calls import Calls
from discernus.sessions.integrity.redaction import Redaction, record_redaction
from discernus.sessions.layout import Call
from discernus.sessions.owners import Owner
from discernus.sessions.session import Session
from discernus.sessions.settings_snapshot import take_snapshot, write_snapshot
from discernus.sessions.versions import note_version
from discernus.settings import Settings
from discernus.stages.analysis import TryAgain, analyse, extract_by_model
from discernus.stages.calculation import calculate
from discernus.stages.checkpoints import go_back
from discernus.stages.interpretation import interpret
from discernus.stages.reading import read_answer
from discernus.stages.sealing import seal
from discernus.stages.synthesis import synthesise
from tests.stand_ins import Model, answer, failure, opened, question, scores

READER, WRITER = "openai/reader", "openai/writer"
PROSE = "Of urgency there is 0.7 here, of patience 0.2; common cause I would put at 0.4."
INTERPRETATION = "Urgency lies between 0.30 and 0.70; 0.73 would be another matter."


def new_key(folder: Path, name: str = "signing") -> tuple[Path, Path]:
    """Return the files of a new private key and of its public one."""
    key = Ed25519PrivateKey.generate()
    private, public = folder / f"{name}.pem", folder / f"{name}.pub"
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return private, public


def answered(folder: Path) -> Session:
    """Return a session at work, all that it was to ask answered, failed or given up."""
    session = opened(folder, synthesis_models=(WRITER,), documents=4, extraction_model=READER)
    write_snapshot(session.store, take_snapshot(Settings(projects_dir=folder / "projects")))
    asyncio.run(_ask(session, folder / "projects/.discernus/owners"))
    return session


def sealed(folder: Path, signing_key: Path | None = None) -> Session:
    """Return a session sealed twice: 1 was read, 2 failed before, 3 was read by a second model, 4 is parked.

    A model put its tables into words.
    """
    session = answered(folder)
    _leave_behind(session)
    calculate(session)
    asyncio.run(_interpret(session, folder / "projects/.discernus/owners"))
    close(session, signing_key)
    go_back(session, "synthesis")
    close(session, signing_key)
    return session


def close(session: Session, signing_key: Path | None = None) -> None:
    """Calculate, report and seal."""
    calculate(session)
    synthesise(session)
    seal(session, signing_key)


async def _ask(session: Session, owners: Path) -> None:
    says: list[Any] = [scores(), failure("server_error"), scores(0.3), PROSE, scores(0.7), failure("model_not_found")]
    settings = Settings()
    with Owner(owners) as owner:
        calls = Calls(owner, Model(*says), minimum_free_bytes=0)
        for number in (1, 2, 2, 3):
            try:
                await analyse(session, calls, settings, number, 0)
            except TryAgain:
                continue
        await extract_by_model(session, calls, settings, 3, 0)
        await analyse(session, calls, settings, 4, 0)
        late = session.archive.claim(Call(1), question(), "k", owner)
        session.archive.commit(Call(1), late, question(), answer(scores(0.9)))
    with Owner(owners) as dead:
        session.archive.claim(Call(4, ask=1), question(), "k", dead)
    for number in (1, 2, 3):
        read_answer(session, number, 0, final=True)


async def _interpret(session: Session, owners: Path) -> None:
    with Owner(owners) as owner:
        calls = Calls(owner, Model(INTERPRETATION), minimum_free_bytes=0)
        await interpret(session, calls, Settings(), session.facts.analyses + 1, 0)


def _leave_behind(session: Session) -> None:
    """Leave what only some sessions have: notes of limits and waiting, versions, logs, a torn line, a redaction."""
    session.note_limits([{"model": "openai/scribe", "in_flight": 8, "calls_per_minute": 60.0, "source": "models.yaml"}])
    session.note_waiting("openai/scribe", "it is overloaded", datetime.now(UTC) + timedelta(minutes=5))
    note_version(session.store, "openai/scribe", "scribe-2026-01-01", "001")
    record_redaction(
        session.store,
        Redaction(kind="withholding", at=datetime.now(UTC), reason="nothing yet", documents=(), files=()),
    )
    session.store.append("logs/starter.jsonl", b'{"event":"a"}\n{"event":"b"}\n{"event":"c"}\n{"event":"d"}\n')
    session.store.put("logs/starter.1.jsonl.gz", gzip.compress(b'{"event":"before"}\n' * 9))
    session.store.append(layout.segment("host-1-00000000"), b'{"sequence":1,"at":"2026-')
