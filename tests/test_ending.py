"""How a run is said to have ended: what comes next is only what would change something."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cli.ending import end
from cli.exits import PARTIAL
from discernus.sessions import layout
from discernus.sessions.progress import ProgressReader
from discernus.sessions.session import ERASED, Parked, Session
from tests.sealed_sessions import close, new_key, sealed
from tests.stand_ins import opened


class Listener:
    """A display that keeps what is said at the end."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str, *, error: bool = False) -> None:
        self.lines.append(text)

    def show(self, standing: Any) -> None:
        return None

    def end(self, summary: dict[str, Any]) -> None:
        self.lines += summary["lines"]

    def close(self) -> None:
        return None


def ended(session: Session, signing_key: Path | None = None) -> tuple[int, str]:
    listener = Listener()
    code = end(ProgressReader(session).read(), session, listener, signing_key=signing_key)
    return code, "\n".join(listener.lines)


def parked(folder: Path, *classes: str) -> Session:
    """Return a sealed session all of whose analyses are parked, for these classes of failure in turn."""
    session = opened(folder, documents=2, runs=1)
    for number in range(1, session.facts.analyses + 1):
        error_class = classes[(number - 1) % len(classes)]
        record = {"number": number, "call": f"{number:03d}", "error_class": error_class, "reason": "so it is"}
        at = "2026-11-20T10:00:00Z"
        session.park(Parked.model_validate({**record, "passing": False, "passes": 2, "failures": 1, "at": at}))
    close(session)
    return session


@pytest.mark.parametrize(
    ("classes", "again"), [((ERASED,), False), (("server_error",), True), ((ERASED, "server_error"), True)]
)
def test_running_again_is_advised_only_where_something_can_be_asked(
    tmp_path: Path, classes: tuple[str, ...], again: bool
) -> None:
    code, said = ended(parked(tmp_path, *classes))
    assert code == PARTIAL
    assert ("run the same command again" in said) is again
    assert ("their texts were erased" in said) is not again


def test_a_seal_without_a_signature_is_said_to_be_so_where_there_is_a_key(tmp_path: Path) -> None:
    private, _ = new_key(tmp_path)
    session = sealed(tmp_path)
    assert "not signed" not in ended(session)[1]
    assert f"seal 2 is not signed, though a key is set: {private}" in ended(session, private)[1]
    session.store.put_if_absent(layout.signature(2), b"{}")
    assert "not signed" not in ended(session, private)[1]
