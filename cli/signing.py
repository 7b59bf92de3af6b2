"""Signing what is sealed already: a session that ended without the researcher's key gets its signature afterwards."""

from __future__ import annotations

from cli.display import Display
from cli.exits import INVALID, CommandError
from discernus.sessions import layout
from discernus.sessions.integrity.examination import SealBroken, refuse_if_altered
from discernus.sessions.integrity.seals import newest_seal
from discernus.sessions.integrity.signing import KeyUnusable, read_private_key
from discernus.sessions.owners import Lock
from discernus.sessions.session import Session
from discernus.settings import Settings
from discernus.stages.sealing import seal


def sign_seal(settings: Settings, session: Session, display: Display) -> None:
    """Sign the newest seal of a complete session if there is a key, and nobody has signed it. Raises CommandError."""
    file = newest_seal(session.store)
    if settings.signing_key is None or file is None or session.store.exists(layout.signature(file.version)):
        return
    lock = Lock(session.folder / layout.OWNER_LOCK)
    if not lock.acquire():  # whoever is at work seals it anew
        return
    try:
        read_private_key(settings.signing_key, settings.projects_dir)
        refuse_if_altered(session)
        signed = seal(session, settings.signing_key)
    except (KeyUnusable, SealBroken) as refused:
        raise CommandError(str(refused), INVALID) from refused
    finally:
        lock.release()
    display.say(f"signed: seal {signed.version} of {session.name}")
