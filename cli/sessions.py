"""Which session a command means: by its name, its experiment's name, or the path of its folder."""

from __future__ import annotations

from pathlib import Path

from cli.exits import INVALID, CommandError, command_name
from cli.state import explained
from discernus.experiments.location import ExperimentNotFound, find_experiment
from discernus.sessions import layout
from discernus.sessions.opening import HIDDEN, home_of, sessions_folder, sessions_in
from discernus.sessions.owners import Onlooker
from discernus.sessions.resuming import conflicts, why_unreadable
from discernus.sessions.session import Session
from discernus.settings import Settings

SESSION_PREFIX = "session_"


def session_meant(settings: Settings, name: str) -> Session:
    """Return the session of a name (``session_…``, ``project/experiment/session_…``), the newest one of an experiment
    (its name, ``project/name`` or folder), or the one in a folder.

    Raises CommandError where there is none, more than one of that name, or one that this version cannot read.
    """
    sessions = sessions_named(settings, name)
    if not sessions:
        raise CommandError(f"{name!r} has no session yet; start one with: {command_name()} {name}", INVALID)
    if len({session.folder.parent for session in sessions}) > 1:
        choices = "\n".join(f"  {_full_name(session)}" for session in sessions)
        raise CommandError(f"several experiments have a session {name!r}: say which one:\n{choices}", INVALID)
    unreadable = why_unreadable(sessions[-1])
    if unreadable is not None:
        raise CommandError("\n".join([unreadable.what, *(f"  {choice}" for choice in unreadable.choices)]), INVALID)
    return sessions[-1]


def session_to_change(settings: Settings, name: str) -> Session:
    """Return the session of a name as ``session_meant`` does, if it is no copy. Raises CommandError."""
    session = session_meant(settings, name)
    refuse_copy(settings, session)
    return session


def refuse_copy(settings: Settings, session: Session) -> None:
    """Raise CommandError for a session that does not lie where its facts say.

    Whoever works on it finds it by them: one folder would be changed here, and another one worked on there.
    """
    home = home_of(settings.projects_dir, session.facts)
    if session.folder.resolve() != home.resolve():
        raise CommandError(
            f"'{session.folder}' is a copy: {session.name} belongs in '{home}'. A copy can be verified and looked at, "
            "and nothing else: put it there if it is to be worked on, or give --projects-dir",
            INVALID,
        )


def refuse_damaged_inputs(settings: Settings, session: Session) -> None:
    """Raise CommandError, with the choices, for a session whose frozen inputs are not what was frozen."""
    found = conflicts(session, Onlooker(settings.projects_dir / HIDDEN / "owners"))
    damaged = [one for one in found if one.kind == "inputs"]
    if damaged:
        raise CommandError("\n".join(explained(damaged)), INVALID)


def sessions_named(settings: Settings, name: str | None) -> list[Session]:
    """Return the session of that name, or those of the experiment of that name, oldest first; without a name all."""
    if name is None:
        return _every_session(settings)
    given = name.strip().rstrip("/")
    last = given.rpartition("/")[2]
    named = [one for one in _every_session(settings) if one.folder.name == last and given in (last, _full_name(one))]
    folder = Path(given).expanduser()
    if named:
        return named
    if (folder / layout.SESSION).is_file():
        return [Session(folder.resolve())]
    if last.startswith(SESSION_PREFIX):
        raise CommandError(_unknown(settings, given), INVALID)
    return sessions_in(sessions_folder(settings.projects_dir, find(settings, given)))


def find(settings: Settings, name: str) -> Path:
    """Return the experiment's folder, or raise CommandError saying what there is."""
    try:
        return find_experiment(name, settings.projects_dir)
    except ExperimentNotFound as unknown:
        raise CommandError(str(unknown), INVALID) from unknown


def _every_session(settings: Settings) -> list[Session]:
    folders = sorted(settings.projects_dir.glob("*/experiments/*/sessions"))
    return [session for folder in folders for session in sessions_in(folder)]


def _full_name(session: Session) -> str:
    """Return the name that the session's folder gives it, whether its facts can be read or not."""
    above = session.folder.parents
    return f"{above[3].name}/{above[1].name}/{session.folder.name}"


def _unknown(settings: Settings, name: str) -> str:
    """Return that there is no such session, with those of the experiment it names, or the newest ones of all."""
    every = _every_session(settings)
    above = name.rpartition("/")[0]
    near = [session for session in every if above and session.folder.parents[1].name == above.rpartition("/")[2]]
    known = sorted(near or every, key=lambda session: session.folder.name)[-5:]
    if not known:
        return f"there is no session {name!r}, and none at all in '{settings.projects_dir}'; check --projects-dir"
    listed = "\n".join(f"  {_full_name(session)}" for session in reversed(known))
    return f"there is no session {name!r}; the newest are:\n{listed}\nall are listed by: {command_name()} status"
