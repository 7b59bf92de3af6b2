"""Migrating a folder of an older layout into a project: read, planned, written, and accounted for.

The source is only read. What a session's own files are goes with the session; the rest of the experiment's with the
experiment; what is left with the project. Repeating a migration writes nothing that is there already.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from discernus.experiments.location import EXPERIMENT_FILE
from discernus.experiments.problems import InvalidDefinition
from discernus.migration.account import Account, SessionLine, as_json, as_markdown
from discernus.migration.definitions import Translated, translate
from discernus.migration.found import FoundSession, Place
from discernus.migration.further import FurtherFramework, further_framework
from discernus.migration.planning import SessionPlan, Text, plan_session, texts_of, twins
from discernus.migration.reading import FoundExperiment, Reading, read_source
from discernus.migration.source import Source
from discernus.migration.staging import FRAMEWORK_FILE, definition_files, settle
from discernus.migration.writing import (
    MIGRATION,
    VERBATIM,
    MigrationConflict,
    Target,
    Written,
    make_results,
    write_session,
)
from discernus.sessions.chronologs.project_chronolog import note_project_once
from discernus.sessions.store import LocalStore

REPORT, REPORT_DATA = "report.md", "report.json"
UNREAD = ("not read", "not understood", "unreadable file")  # of a whole file: nothing was made of it


class NotMigratable(Exception):
    """A source or a target that cannot be migrated, with what to do."""


def migrate(root: Path, projects_dir: Path, project: str, *, dry_run: bool = False) -> Account:
    """Migrate the folder ``root`` into a project and return the account of it; ``dry_run`` writes nothing at all.

    Raises NotMigratable, and MigrationConflict where something else lies in the way.
    """
    _check(root, projects_dir, project)
    source = Source(root)
    if not dry_run:
        (projects_dir / project / MIGRATION / source.root.name).mkdir(parents=True, exist_ok=True)
    reading = read_source(source)
    account = Account(source=source.root.name, project=project)
    for experiment in reading.experiments:
        _Experiment(reading, experiment, Target(projects_dir, project, experiment.name), account, dry_run).migrate()
    _rest(reading, projects_dir / project, account, dry_run)
    found = reading.found
    joined = [one.begun_by for one in found.mentions.values() if one.begun_by is not None]
    account.mentions = [
        one
        for one in found.mentions.values()
        if one not in joined and not (one.is_own and one.session in found.sessions)
    ]
    account.remarks = sorted(found.remarks)
    account.counts = found.counts
    account.counts["files"] = len(source.files)
    unread = {one.place.file for one in account.remarks if one.what in UNREAD and not one.place.line}
    account.counts["files read"] = len(set(source.files) - unread)
    account.counts["files in calls"] = len(source.files) - len(account.verbatim)
    if not dry_run:
        store = LocalStore(projects_dir / project / MIGRATION / source.root.name)
        account.changed |= _renew(store, REPORT_DATA, as_json(account))
        account.changed |= _renew(store, REPORT, as_markdown(account).encode())
    return account


def report_path(projects_dir: Path, project: str, root: Path) -> Path:
    """Return where the report of a migration lies."""
    return projects_dir / project / MIGRATION / root.resolve().name / REPORT


def _check(root: Path, projects_dir: Path, project: str) -> None:
    if not root.is_dir():
        raise NotMigratable(f"there is no folder '{root}'; give the folder that holds the old project")
    target, source = (projects_dir / project).resolve(), root.resolve()
    if target == source or target.is_relative_to(source) or source.is_relative_to(target):
        cure = "give --to another project; what is migrated is never changed"
        raise NotMigratable(f"'{root}' and the project '{project}' lie in one another; {cure}")
    if target.is_dir() and any(target.iterdir()) and not (target / MIGRATION).is_dir():
        what = f"the project '{project}' is there already, and was never migrated to"
        raise NotMigratable(f"{what}; give --to a new name, or that of an earlier migration")


class _Experiment:
    """One experiment on its way: its definition first, then its sessions."""

    def __init__(
        self, reading: Reading, experiment: FoundExperiment, target: Target, account: Account, dry_run: bool
    ) -> None:
        self.reading, self.experiment, self.target = reading, experiment, target
        self.account, self.dry_run = account, dry_run
        self.name = experiment.name

    def migrate(self) -> None:
        source, found = self.reading.source, self.reading.found
        translated = translate(source, self.experiment, found)
        texts = texts_of(self.experiment.sessions, translated.corpus)
        same = twins(texts)
        for name, other in same.items():
            found.remark(Place(name), "text", f"the same text as {other}, under which its analyses are kept")
            del texts[name]
        settle(translated, texts, self.name)
        self._tell(translated, texts)
        if not self.dry_run:
            self._write_definition(translated, texts)
        self._keep(translated)
        for session in sorted(self.experiment.sessions, key=lambda one: one.id):
            plan = plan_session(session, texts, same, translated.models, translated.runs, found)
            self._session(session, plan, translated)

    def _session(self, session: FoundSession, plan: SessionPlan, translated: Translated) -> None:
        own = [name for name, owner in self.reading.owners.items() if owner is session]
        verbatim = sorted(name for name in own if name not in self.reading.found.read)
        for name in verbatim:
            self.account.verbatim[name] = self._place(f"sessions/{session.name}/{VERBATIM}/{name}")
            _list(self.reading, name, self.account)
        if self.dry_run:
            self.account.sessions.append(_foreseen(session, plan, self.name))
            return
        try:
            written = write_session(self.reading.source, self.target, session, plan, translated, verbatim)
            if not written.finished:
                self.account.changed = True
                self._note(written)
                make_results(written)
        except InvalidDefinition as invalid:
            self.account.refused.append(f"{self.name}/{session.name}: {invalid}")
            return
        except MigrationConflict as conflict:
            self.account.refused.append(f"{self.name}/{session.name}: {conflict}")
            return
        self.account.sessions.append(_line(session, plan, self.name, written))

    def _note(self, written: Written) -> None:
        source, calls = self.reading.source.root.name, len(written.calls)
        told = {"session": written.session.name, "source": source, "calls": calls}
        note_project_once(self.target.projects_dir, self.target.project, "session_migrated", **told)

    def _write_definition(self, translated: Translated, texts: dict[str, Text | None]) -> None:
        """Write the experiment's files of today, unless its author has changed them since an earlier migration."""
        folder = self.target.folder
        if (folder / EXPERIMENT_FILE).is_file() and not (folder / MIGRATION).is_dir():
            raise NotMigratable(
                f"there is an experiment '{self.target.project}/{self.name}' already; give --to another project"
            )
        store = LocalStore(folder)
        files = definition_files(translated, texts)
        if not translated.framework.usable:  # what is there of it is for its author to mend
            del files[FRAMEWORK_FILE]
            if translated.framework_file is not None:
                files[FRAMEWORK_FILE] = self.reading.source.data(translated.framework_file)
        for name, data in files.items():
            if not store.exists(name):
                store.put_if_absent(name, data)
                self.account.changed = True
            elif store.get(name) != data:
                self.reading.found.remark(Place(name), "kept", "it has been changed since it was migrated")
        origin = f"{self.reading.source.root.name}\n".encode()
        self.account.changed |= _renew(store, f"{MIGRATION}/source.txt", origin)

    def _keep(self, translated: Translated) -> None:
        """Keep the files of the old definition, and whatever else lies in the experiment's folder, as they were."""
        source, store = self.reading.source, LocalStore(self.target.folder)
        around = f"{self.experiment.folder}/" if self.experiment.folder else ""
        others = [one.folder for one in self.reading.experiments if one is not self.experiment and one.file]
        for name in source.files:
            if name in self.reading.owners or name in self.reading.found.read or name in self.account.verbatim:
                continue
            below = self.experiment.file is not None and name.startswith(around)
            elsewhere = any(len(one) > len(around) and name.startswith(f"{one}/") for one in others)
            if name in translated.sources or (below and not elsewhere):
                self.account.verbatim[name] = self._place(f"{VERBATIM}/{name}")
                if name not in translated.sources:
                    _list(self.reading, name, self.account)
                if not self.dry_run:
                    self.account.changed |= _renew(store, f"{VERBATIM}/{name}", source.data(name))

    def _place(self, name: str) -> str:
        return f"experiments/{self.name}/{name}"

    def _tell(self, translated: Translated, texts: dict[str, Text | None]) -> None:
        self.account.frameworks[self.name] = translated.framework.origin
        self.account.lost[self.name] = translated.lost
        self.account.documents[self.name] = {
            name: "not recorded; only answers about it are" if text is None else f"{text.origin}{_proof(text)}"
            for name, text in sorted(texts.items())
        }


def _proof(text: Text) -> str:
    return ", with the hash that was stated" if text.proven and text.origin.startswith("the prompt") else ""


def _rest(reading: Reading, project: Path, account: Account, dry_run: bool) -> None:
    """Keep with the project what belongs to no experiment, and list what no reader was for."""
    source = reading.source
    store = LocalStore(project)
    for name in source.files:
        if name in account.verbatim or name in reading.found.read:
            continue
        place = f"{MIGRATION}/{source.root.name}/verbatim/{name}"
        account.verbatim[name] = place
        _list(reading, name, account)
        if not dry_run:
            account.changed |= _renew(store, place, source.data(name))
    if not dry_run:
        for framework in account.further:
            _write_framework(reading, store, framework, account)


def _write_framework(reading: Reading, store: LocalStore, framework: FurtherFramework, account: Account) -> None:
    """Write a framework's file for today, unless its author has changed it since an earlier migration."""
    if framework.data is None:
        return
    if not store.exists(framework.place):
        store.put_if_absent(framework.place, framework.data)
        account.changed = True
    elif store.get(framework.place) != framework.data:
        reading.found.remark(Place(framework.place), "kept", "it has been changed since it was migrated")


def _list(reading: Reading, name: str, account: Account) -> None:
    """List a file that no session or experiment was made of; logs are listed line by line, where they were read."""
    framework = further_framework(reading.source, name)
    if framework is not None:
        account.further.append(framework)
    elif not _is_log(name):
        reading.found.remark(Place(name), "not read", "a file of no kind that a reader is for")


def _is_log(name: str) -> bool:
    return PurePosixPath(name).suffix in (".jsonl", ".json")


def _line(session: FoundSession, plan: SessionPlan, experiment: str, written: Written) -> SessionLine:
    extracted = (written.session.extracted(number) for number in range(1, written.analyses + 1))
    scored = sum(one is not None and bool(one.extraction.scores) for one in extracted)
    return _counted(session, plan, experiment, written.analyses, scored)


def _foreseen(session: FoundSession, plan: SessionPlan, experiment: str) -> SessionLine:
    return _counted(session, plan, experiment, len(plan.texts) * len(plan.models) * plan.runs, None)


def _counted(
    session: FoundSession, plan: SessionPlan, experiment: str, planned: int, scored: int | None
) -> SessionLine:
    return SessionLine(
        name=session.name,
        experiment=experiment,
        old_id=session.id,
        began_at=session.began_at.isoformat() if session.began_at else None,
        planned=planned,
        analyses=_number(one.document is not None and one.call.kind != "failure" for one in plan.placed),
        scored=scored,
        others=_number(one.document is None and one.call.kind != "failure" for one in plan.placed),
        failures=_number(one.call.kind == "failure" for one in plan.placed),
        notes=tuple(session.notes),
    )


def _number(found: Iterable[bool]) -> int:
    return sum(found)


def _renew(store: LocalStore, name: str, data: bytes) -> bool:
    """Write a file whose words have changed, and return whether they had; one that says the same is not touched."""
    if store.exists(name) and store.get(name) == data:
        return False
    store.put(name, data)
    return True
