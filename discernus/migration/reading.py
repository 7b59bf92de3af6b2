"""Reading a whole source: which reader each file is for, which session and which experiment it belongs to."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import PurePosixPath
from typing import Any

from discernus.migration.chronologs import JUST_BEFORE, Chronologs, is_chronolog
from discernus.migration.conversations import is_conversation, read_conversations
from discernus.migration.found import Found, FoundSession, Place
from discernus.migration.loose import add_call, read_loose
from discernus.migration.names import local_beginning, plain, session_name
from discernus.migration.numbered import NUMBERED, read_numbered
from discernus.migration.source import Source
from discernus.migration.values import moment, text_of, zone

EXPERIMENT_FILES = ("experiment.md", "experiment_snapshot.md")
RESULTS_OF = "session_metadata.json"
_EXPERIMENT = re.compile(r"experiment[\w-]*\.md")
_HOLDERS = ("results", "sessions", "experiments", "conversations", "llm_archive", "logs")  # folders of no own name


@dataclass
class FoundExperiment:
    """An experiment of the source: its folder there, its definition's file, and the sessions that ran it."""

    name: str
    folder: str
    file: str | None
    sessions: list[FoundSession] = field(default_factory=list)


@dataclass
class Reading:
    """A source as it was read; ``owners`` says of each of its files which session it is of, if of one."""

    source: Source
    found: Found
    experiments: list[FoundExperiment]
    owners: dict[str, FoundSession]


def read_source(source: Source) -> Reading:
    """Return everything that the source holds."""
    found = Found()
    _links(source, found)
    chronologs, loose = _logs(source, found)
    results = _results(source, found)
    experiments = _experiments(source)
    for name, call in chronologs.answers:
        add_call(found.session(name, _folder(call.place.file)), call, found)
    for name in loose:
        calls = read_loose(source, name, found)
        if calls:
            around = _session_around(name, found, results)
            around.files.append(name)
            for call in calls:
                add_call(around, call, found)
    for session in found.sessions.values():
        _date(session, found)
        session.software = chronologs.software.get(session.id, {})
        experiment = _experiment_of(session, experiments, chronologs, source)
        experiment.sessions.append(session)
    owners = _owners(source, found, results)
    return Reading(source, found, [one for one in experiments if one.sessions or one.file], owners)


def _links(source: Source, found: Found) -> None:
    for name, target in source.links.items():
        how = "it leads to what is read in its own place" if source.holds(name) else "it leads out, or nowhere"
        found.remark(Place(name), "link", f"a symbolic link to '{target}', not followed: {how}")
    for name in source.skipped:
        found.remark(Place(name), "not read", "what Git keeps for itself; neither read nor copied")
    for name in source.odd:
        found.remark(Place(name), "not understood", "neither file nor folder")


def _logs(source: Source, found: Found) -> tuple[Chronologs, list[str]]:
    """Read what has a layout of its own; return the chronologs, and the files that may hold answers all the same."""
    chronologs = Chronologs(source, found)
    archives: dict[str, list[str]] = {}
    conversations, loose = [], []
    for name in source.files:
        if parts := NUMBERED.fullmatch(name):
            archives.setdefault(parts["folder"], []).append(name)
        elif name.endswith(".jsonl"):
            first = _first(source, name)
            if is_conversation(first):
                conversations.append(name)
            elif is_chronolog(first) or "CHRONOLOG" in PurePosixPath(name).name:
                chronologs.read(name)
            elif not name.endswith("llm_archive/metadata.jsonl"):
                loose.append(name)
        elif name.endswith(".json") and PurePosixPath(name).name != RESULTS_OF:
            loose.append(name)
    read_conversations(source, conversations, found)
    chronologs.join_commands()
    for folder, names in archives.items():
        read_numbered(source, folder, names, found)
    return chronologs, loose


def _first(source: Source, name: str) -> Mapping[str, Any]:
    """Return the first line of a file that is a JSON object, {} where none is."""
    for line in source.data(name).splitlines():
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict):
            return value
    return {}


def _results(source: Source, found: Found) -> dict[str, str]:
    """Return the session of each folder of results: by its own note, else by what a log says it saved there."""
    folders: dict[str, str] = {}
    for session in found.sessions.values():
        if session.results:
            own = {_folder(name) for name in source.files if _folder(name).split("/")[-1] == session.results}
            folders |= dict.fromkeys(own, session.id)
    for name in source.files:
        if PurePosixPath(name).name != RESULTS_OF:
            continue
        try:
            said = json.loads(source.data(name))
            session_id = text_of(said.get("session_id")) if isinstance(said, dict) else None
        except ValueError:
            session_id = None
        if session_id is None:
            found.remark(Place(name), "not understood", "it does not say whose results these are")
            continue
        known = session_name(session_id) in found.sessions
        session = found.session(session_name(session_id), _folder(name))
        folders[_folder(name)] = session.id
        if not known:
            claimed = said.get("analysis_count")
            count = f"{claimed} analyses" if claimed is not None else "results"
            session.notes.append(f"its note claims {count}, and no log of it is here")
            found.remark(Place(name), "no log", f"{session.id}: it claims {count}, and no log of it is here")
    return folders


def _experiments(source: Source) -> list[FoundExperiment]:
    found: list[FoundExperiment] = []
    for name in sorted(source.files, key=lambda one: PurePosixPath(one).name not in EXPERIMENT_FILES):
        folder, file = _folder(name), PurePosixPath(name).name
        if _EXPERIMENT.fullmatch(file) and not any(one.folder == folder for one in found):
            title = plain(PurePosixPath(folder).name if folder else source.root.name)
            taken = {one.name for one in found}
            found.append(FoundExperiment(title if title not in taken else plain(folder), folder, name))
    return sorted(found, key=lambda one: one.folder)


def _experiment_of(
    session: FoundSession, experiments: list[FoundExperiment], chronologs: Chronologs, source: Source
) -> FoundExperiment:
    """Return the experiment whose folder the session lies in, else the one that its events, the command just before
    them, or the texts that it names point to, else the only one.

    Where nothing tells, the session's own folder becomes an experiment of which only its sessions are known.
    """
    defined = [one for one in experiments if one.file]
    around = [one for one in defined if _is_below(session.folder, one.folder)]
    if around:
        return max(around, key=lambda one: len(one.folder))
    for pointed in (
        _named_in(defined, chronologs.paths.get(session.id, set())),
        _named_in(defined, _commands_before(session, chronologs)),
        _with_texts(defined, session, source),
        defined,
    ):
        if len(pointed) == 1:
            return pointed[0]
    parts = [part for part in session.folder.split("/") if part and session_name(part) == part]
    own = [part for part in parts if part not in _HOLDERS and not part.startswith("session_")]
    name = plain(own[-1]) if own else "unplaced"
    known = next((one for one in experiments if one.file is None and one.name == name), None)
    if known is None:
        known = FoundExperiment(name, session.folder, None)
        experiments.append(known)
    return known


def _named_in(experiments: list[FoundExperiment], words: Collection[str]) -> list[FoundExperiment]:
    """Return the experiments whose folder stands in one of the words as a folder."""
    return [
        one
        for one in experiments
        if one.folder and any(f"/{one.folder.split('/')[-1]}/" in f"/{word}" for word in words)
    ]


def _commands_before(session: FoundSession, chronologs: Chronologs) -> list[str]:
    """Return the command that was given just before the session began."""
    if session.began_at is None or session.local_time:
        return []
    given = [(at[0], command) for written, command in chronologs.commands if (at := moment(written))]
    before = [(at, command) for at, command in given if timedelta(0) <= session.began_at - at < JUST_BEFORE]
    return [max(before)[1]] if before else []


def _with_texts(experiments: list[FoundExperiment], session: FoundSession, source: Source) -> list[FoundExperiment]:
    """Return the experiments in whose folder every text lies that the session's calls name."""
    named = {call.document for call in session.calls if call.document}
    if not named:
        return []
    return [
        one
        for one in experiments
        if named <= {PurePosixPath(name).name for name in source.files if _is_below(_folder(name), one.folder)}
    ]


def _session_around(name: str, found: Found, results: dict[str, str]) -> FoundSession:
    """Return the session that a file belongs to: the one whose folder it lies in, else one made of its own folder."""
    owner = _owner(name, found, results)
    if owner is not None:
        return owner
    folder = _folder(name)
    dated = [session_name(part) for part in folder.split("/") if local_beginning(part)]
    return found.session(dated[-1] if dated else folder or name, folder)


def _owner(name: str, found: Found, results: dict[str, str]) -> FoundSession | None:
    for session in found.sessions.values():
        if name in session.files:
            return session
    for part in reversed(name.split("/")):
        if session_name(part) in found.sessions and local_beginning(part):
            return found.sessions[session_name(part)]
    for folder in (str(one) for one in PurePosixPath(name).parents):
        if folder in results:
            return found.sessions[results[folder]]
    return None


def _owners(source: Source, found: Found, results: dict[str, str]) -> dict[str, FoundSession]:
    owners = {}
    for name in source.files:
        owner = _owner(name, found, results)
        if owner is not None:
            owners[name] = owner
    return owners


def _date(session: FoundSession, found: Found) -> None:
    """Settle when a session began: by a chronolog, which is in universal time, else its log, else its own name."""
    own = [one for one in found.mentions.values() if one.session == session.id and one.is_own]
    told = [at for one in own if (at := moment(one.first))]
    if told:
        session.began_at, zoned = min(told)
        session.local_time = not zoned
    elif session.began_at is None and (began := local_beginning(session.id)) is not None:
        session.zone = found.zone_near(session.folder, began)
        session.began_at = began + (session.zone or timedelta(0))
        session.local_time = session.zone is None
    session.notes += [f"by its events: {one.ended}" for one in own if one.ended]
    begun = [one.begun_by for one in own if one.begun_by is not None]
    session.notes += [f"begun by the command of {one.id} ({one.place})" for one in begun]
    if session.local_time:
        session.notes.append("its beginning is by its author's clock, whose zone was not recorded")
    elif session.zone is not None:
        session.notes.append(f"its clock's zone is not recorded; other logs of its folder prove {zone(session.zone)}")


def _folder(name: str) -> str:
    return name.rpartition("/")[0]


def _is_below(folder: str, above: str) -> bool:
    return not above or folder == above or folder.startswith(f"{above}/")
