"""Steps that are cut off: the process dies at one of its writes to a session, and what was written stays."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from discernus.sessions.session import Session
from discernus.sessions.store import LocalStore

WRITES = ("put", "put_if_absent", "remove", "move")


class Died(BaseException):
    """The process is gone: nobody catches it."""


@contextmanager
def dying(session: Session, write: int) -> Iterator[list[int]]:
    """Let the process die at the write of that number, from 1; yield a list that holds it once it has."""
    done = 0
    died: list[int] = []

    def counted(method: Callable[..., Any]) -> Callable[..., Any]:
        def count(store: LocalStore, *given: Any, **how: Any) -> Any:
            nonlocal done
            if store.root == session.folder:
                done += 1
                if done >= write:
                    died.append(write)
                    raise Died
            return method(store, *given, **how)

        return count

    with pytest.MonkeyPatch.context() as patched:
        for name in WRITES:
            patched.setattr(LocalStore, name, counted(getattr(LocalStore, name)))
        with suppress(Died):
            yield died


def each_death(session: Session, above: Path, step: Callable[[Session], object], every: int = 1) -> Iterator[Session]:
    """Yield copies of the session in which the step was cut off, a write later each time, until it is cut off no more.

    ``above`` is the folder that holds the session's projects folder.
    """
    session.chronolog.flush()
    inside = session.folder.relative_to(above)
    write = 1
    while True:
        copy = above.with_name(f"{above.name}-{write}")
        shutil.copytree(above, copy)
        with dying(Session(copy / inside), write) as died:
            step(Session(copy / inside))
        if not died:
            return
        yield Session(copy / inside)
        shutil.rmtree(copy)
        write += every
