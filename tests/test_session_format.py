"""docs/session-format.md holds what sessions hold: every file, every field and every event, and none besides."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from discernus.experiments.corpus import Document
from discernus.experiments.experiment import Experiment
from discernus.experiments.problems import Problem
from discernus.experiments.registration import Registration
from discernus.extraction.extract import Extraction
from discernus.llm import gateway
from discernus.migration.migrate import migrate
from discernus.reports.prose import Prose
from discernus.sessions import layout
from discernus.sessions.archive import Archive, ArchivedCall, Intent
from discernus.sessions.budgets import Budgets
from discernus.sessions.calls import Calls
from discernus.sessions.chronologs.chronolog import read_events
from discernus.sessions.chronologs.events import Event, GatheredEvent
from discernus.sessions.chronologs.project_chronolog import read_project_events
from discernus.sessions.integrity.manifests import Checkpoint, Seal, names_in
from discernus.sessions.integrity.redaction import Redacted, Redaction
from discernus.sessions.integrity.signing import Signature
from discernus.sessions.integrity.verification import verify
from discernus.sessions.layout import Call
from discernus.sessions.owners import Lock, Owner
from discernus.sessions.questions import read_question
from discernus.sessions.registrations import Before, EarlierSession, Registered
from discernus.sessions.session import Closure, Extracted, Parked, Session, SessionFacts
from discernus.sessions.settings_snapshot import SettingsSnapshot
from discernus.sessions.store import LocalStore
from discernus.sessions.versions import Version
from discernus.settings import Settings
from discernus.stages.analysis import analyse
from discernus.stages.asking_again import AskedAgain
from discernus.stages.reading import read_answer
from tests import old_layouts
from tests.running import REPOSITORY
from tests.sealed_sessions import close, new_key, sealed
from tests.stand_ins import Model, answer, failure, opened, question, scores

PAGE = (REPOSITORY / "docs/session-format.md").read_text(encoding="utf-8")
OLDER = REPOSITORY / "tests/data/sessions"
SCRIBE, DEPUTY, OFFLINE = "openai/scribe", "openai/deputy", "offline/lexicon"
PLAN = [{"hypothesis": "H1", "test": "mann_whitney", "variable": "urgency", "groups": "season", "expect": "difference"}]

# What stands for a part of a file's name in the page.
PARTS = {
    "<n>": r"\d{3,}",
    "<call>": r"\d{3,}(_fallback\d+)?(_(extraction|synthesis)(_fallback\d+)?)?(_ask\d+)?",
    "<try>": r"\d+",
    "<sha256>": r"[0-9a-f]{64}",
    "<model>": r"[A-Za-z0-9._-]+",
    "<answered>": r"[A-Za-z0-9._-]+",
    "<stage>": r"(analysis|extraction|calculation|synthesis)",
    "<seal>": r"\d{3}",
    "<count>": r"\d{3}",
    "<writer>": r"[A-Za-z0-9._-]+-\d+-[0-9a-f]{8}",
    "<process>": r"[^/]+",
    "<text>": r".+",
    "<name>": r".+",
    "<torn>": r"[^/]+",
    "<offset>": r"\d+",
}
MODELS: dict[str, type[BaseModel]] = {
    "Facts of a session": SessionFacts,
    "Document": Document,
    "Settings snapshot": SettingsSnapshot,
    "Time before the session": Before,
    "Registered": Registered,
    "Earlier session": EarlierSession,
    "Archived call": ArchivedCall,
    "Extracted": Extracted,
    "Extraction": Extraction,
    "Intent": Intent,
    "Prose": Prose,
    "Parked": Parked,
    "Closure": Closure,
    "Event": Event,
    "Checkpoint": Checkpoint,
    "Seal": Seal,
    "Signature": Signature,
    "Redaction": Redaction,
    "Redacted file": Redacted,
    "Budgets": Budgets,
    "Registration": Registration,
    "Asked again": AskedAgain,
}
DATACLASSES: dict[str, type[Any]] = {"Warning": Problem, "Answering version": Version}
# Forms that no class has, by a file that has one; where the object is a part of the file, its place in that.
FILES: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "Corpus manifest": ("corpus_manifest.json", lambda said: said),
    "Frozen framework": ("corpus_manifest.json", lambda said: said["framework"]),
    "Response metadata": ("llm_archive/metadata_001.json", lambda said: said["response_metadata"]),
    "Error": ("llm_archive/error_002_try1.json", lambda said: said),
    "Line of the call log": ("llm_archive/metadata.jsonl", lambda said: said["columns"]),
    "Line of the extraction log": ("extracted/extraction_log.jsonl", lambda said: said),
    "Status": ("system_state/status.json", lambda said: said),
    "Limits": ("system_state/limits.json", lambda said: said[0]),
}


@cache
def section(heading: str) -> str:
    """Return what stands below a heading, up to the next of its level or above."""
    found = re.search(rf"^(#+) {re.escape(heading)}$", PAGE, re.MULTILINE)
    assert found, f"the page has no heading {heading!r}"
    rest = PAGE[found.end() :]
    end = re.search(rf"^#{{1,{len(found[1])}}} ", rest, re.MULTILINE)
    return rest[: end.start()] if end else rest


def rows(heading: str) -> list[list[str]]:
    """Return the cells of the tables below a heading, without their headings."""
    cells = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in section(heading).splitlines()
        if line.startswith("|")
    ]
    return [row for row in cells if row[0].startswith("`")]


def fields(heading: str) -> list[str]:
    return [row[0].strip("`") for row in rows(heading)]


def patterns() -> list[re.Pattern[str]]:
    names = fields("Where a session lies")
    return [
        re.compile("".join(PARTS.get(part, re.escape(part)) for part in re.split(r"(<\w+>)", name))) for name in names
    ]


def facts(heading: str) -> dict[str, set[str]]:
    """Return the facts of each event in a table of the page."""
    found = {row[0].strip("`"): set(re.findall(r"`(\w+)`", row[1])) for row in rows(heading)}
    for row in rows(heading):
        if row[1] == "as in the session":
            found[row[0].strip("`")] = facts("Events of a session")[row[0].strip("`")]
    return found


def offline(folder: Path) -> Session:
    """Return a sealed session of the offline method, asked through the gateway."""
    session = opened(folder, models=[OFFLINE], settings={"hypotheses": {"H1": "As said."}, "statistical_plan": PLAN})

    async def ask() -> None:
        with Owner(folder / "owners") as owner:
            calls = Calls(owner, gateway.complete, minimum_free_bytes=0)
            for number in (1, 2):
                await analyse(session, calls, Settings(), number, 0)
                read_answer(session, number, 0, final=True)

    asyncio.run(ask())
    close(session)
    return session


def with_fallback(folder: Path) -> Session:
    """Return a sealed session in which a fallback answered, on its second attempt, after one that died half-way."""
    session = opened(folder, models=[SCRIBE], settings={"fallback_models": {SCRIBE: [DEPUTY]}})
    asyncio.run(_ask(session, folder / "owners"))
    close(session)
    return session


async def _ask(session: Session, owners: Path) -> None:
    with Owner(owners) as owner:
        calls = Calls(owner, Model(failure("model_not_found"), scores()), minimum_free_bytes=0)
        await analyse(session, calls, Settings(), 1, 0)
        await analyse(session, calls, Settings(), 1, 0, fallback=1)
        read_answer(session, 1, 0, final=True, fallback=1)
        died = session.archive.claim(Call(2), question(), "k", owner)
        session.archive.commit(Call(2), died, question(), answer("cut off"))
        session.store.remove(Call(2).response)  # as if its writer had died before it
        session.store.put(Call(2).intent(died.attempt), died.model_dump_json().encode())
        later = session.archive.claim(Call(2), question(), "k", owner)
        session.archive.commit(Call(2), later, question(), answer(scores()))
        read_answer(session, 2, 0, final=True)


def migrated(folder: Path) -> Session:
    """Return a session that was made of an older layout's."""
    old = folder / "old_weather"
    old_layouts.numbered(old)
    killed = "weather/experiments/unknown_experiment/sessions/session_20250722_092412"
    old_layouts.write(old, {f"{killed}/core.dump": b"\x00"})
    migrate(old, folder / "projects", "weather", dry_run=False)
    return Session(next((folder / "projects").glob("weather/experiments/*/sessions/session_*")))


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a sealed, signed session that holds a file of nearly every kind."""
    folder = tmp_path_factory.mktemp("sealed")
    session = sealed(folder, new_key(folder)[0])
    Lock(session.folder / layout.OWNER_LOCK).acquire()
    assert verify(session.folder).findings == ()
    return session.folder


@pytest.fixture(scope="module")
def samples(ours: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    older = sorted(path.parents[1] for path in OLDER.rglob(layout.SESSION))
    assert older
    others = [make(tmp_path_factory.mktemp(make.__name__)) for make in (offline, with_fallback, migrated)]
    return [ours, *(session.folder for session in others), *older]


def names(samples: list[Path]) -> Iterator[str]:
    return (name for folder in samples for name in names_in(folder))


def test_every_file_of_a_session_is_named(samples: list[Path]) -> None:
    known = patterns()
    assert sorted(name for name in names(samples) if not any(one.fullmatch(name) for one in known)) == []


def test_every_file_that_is_named_is_in_some_session(samples: list[Path]) -> None:
    there = set(names(samples))
    assert [one.pattern for one in patterns() if not any(map(one.fullmatch, there))] == []


def test_each_part_of_a_name_is_explained() -> None:
    used = set(re.findall(r"<\w+>", " ".join(fields("Where a session lies"))))
    assert used == set(re.findall(r"<\w+>", " ".join(row[0] for row in rows("Words")))) == set(PARTS)


@pytest.mark.parametrize("form", MODELS)
def test_every_field_of_a_record_is_in_the_table_of_its_form_and_no_other(form: str) -> None:
    assert sorted(fields(form)) == sorted(MODELS[form].model_fields)


@pytest.mark.parametrize("form", DATACLASSES)
def test_every_field_of_a_note_is_in_the_table_of_its_form_and_no_other(form: str) -> None:
    assert sorted(fields(form)) == sorted(field.name for field in dataclasses.fields(DATACLASSES[form]))


@pytest.mark.parametrize("form", FILES)
def test_every_field_of_a_file_is_in_the_table_of_its_form_and_no_other(form: str, ours: Path) -> None:
    name, part = FILES[form]
    text = (ours / name).read_text()
    said = json.loads(text.splitlines()[0] if name.endswith(".jsonl") else text)
    assert sorted(fields(form)) == sorted(part(said))


def test_what_a_gathered_event_has_besides_is_in_its_table() -> None:
    assert set(fields("Gathered event")) == set(GatheredEvent.model_fields) - set(Event.model_fields)


def test_the_frozen_experiment_is_all_that_was_read_but_its_text(ours: Path) -> None:
    manifest = json.loads((ours / "corpus_manifest.json").read_text())
    assert set(fields("Frozen experiment")) == set(manifest["experiment"])
    assert set(manifest["experiment"]) == set(Experiment.model_fields) - {"text"}


def test_the_forensics_of_a_call_are_those_that_the_gateway_records(samples: list[Path]) -> None:
    records = [
        Archive(LocalStore(folder)).record(f"{layout.ARCHIVE}/{path.name}")
        for folder in samples
        for path in folder.glob("llm_archive/metadata_*.json")
    ]
    offline = [one.model_forensics for one in records if one.model_requested == OFFLINE]
    assert len(offline) > 2
    assert all(sorted(one) == sorted(fields("Model forensics")) for one in offline)


def test_a_request_refers_to_a_question_that_says_what_was_asked(ours: Path) -> None:
    said = json.loads((ours / Call(1).request).read_text())
    question = json.loads((ours / layout.shared(said["shared_sha256"])).read_text())
    assert sorted(fields("Request")) == sorted({**said, **question})


def test_what_each_stage_says_of_itself_is_told(ours: Path) -> None:
    listed = set(re.findall(r"`(\w+)`", section("Checkpoint").rpartition("Then what")[2]))
    found = [json.loads(path.read_text()) for path in ours.glob("system_state/stage_*_complete.json")]
    assert {name for one in found for name in one} - set(Checkpoint.model_fields) == listed


def test_the_account_of_a_migration_has_the_fields_of_its_table(samples: list[Path]) -> None:
    (account,) = (path for folder in samples for path in folder.glob("migration/account.json"))
    said = json.loads(account.read_text())
    assert sorted(said) == sorted(fields("Migration account"))
    ((_, _, calls),) = (row for row in rows("Migration account") if row[0] == "`calls`")
    assert set(said["calls"][0]) == set(re.findall(r"`(\w+)`", calls))


def test_every_event_that_the_code_notes_is_in_the_tables_and_no_other() -> None:
    sources = [path.read_text(encoding="utf-8") for path in (REPOSITORY / "discernus").rglob("*.py")]
    of_sessions = {name for text in sources for name in re.findall(r"\b_?note\(\s*\"(\w+)\"", text)}
    named = r"note_project(?:_once)?[(,]\s*(?:[\w.()]+,\s*)*\"(\w+)\""
    of_projects = {name for text in sources for name in re.findall(named, text)} | {"line_torn"}
    assert set(facts("Events of a session")) == of_sessions
    assert set(facts("Events of a project")) == of_projects


def test_every_event_has_the_facts_that_its_table_says(samples: list[Path]) -> None:
    known, of_projects = facts("Events of a session"), facts("Events of a project")
    met = {}
    for folder in samples:
        for event in read_events(folder):
            met[event.event] = set(event.facts)
            assert set(event.facts) == known[event.event], event.event
        for event in read_project_events(folder.parents[4], folder.parents[3].name):
            assert set(event.facts) == of_projects[event.event], event.event
    assert {"session_opened", "call_failed", "analysis_parked", "line_torn", "sealed", "migrated"} <= set(met)


# the commands by which a stranger checks a session


def commands() -> list[str]:
    found = re.findall(r"```sh\n(.*?)```", section("Checking a session by hand"), re.DOTALL)
    assert len(found) > 5
    return found


def check_by_hand(folder: Path) -> str:
    """Return what the page's commands say of a session, but for the last, which shows a prompt."""
    done = subprocess.run(
        ["bash", "-c", "\n".join(commands()[:-1])], cwd=folder, capture_output=True, text=True, check=False, timeout=60
    )
    return done.stdout + done.stderr


needs_jq = pytest.mark.skipif(shutil.which("jq") is None, reason="the page's commands need jq")


@needs_jq
def test_a_session_is_checked_by_hand_with_the_commands_of_the_page(ours: Path) -> None:
    assert check_by_hand(ours) == ""


@needs_jq
@pytest.mark.parametrize(
    ("name", "before", "after", "said"),
    [
        ("llm_archive/response_001.txt", b"0.5", b"0.9", "llm_archive/response_001.txt: FAILED"),
        ("llm_archive/metadata_002.json", b"0.01", b"0.02", "llm_archive/metadata_002.json: FAILED"),
        ("SESSION_CHRONOLOG.jsonl", b'"cost_usd":0.01', b'"cost_usd":0.00', "broken before: "),
        ("system_state/seal_002.json", b'"in_doubt": 1', b'"in_doubt": 0', "the status tells of another seal"),
        ("deliverables/notes.md", b"", b"new", "deliverables/notes.md"),
    ],
    ids=["an answer", "a cost", "an event", "a seal", "a file"],
)
def test_what_was_changed_is_seen_by_hand(
    ours: Path, tmp_path: Path, name: str, before: bytes, after: bytes, said: str
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(ours, folder)
    path = folder / name
    data = path.read_bytes() if path.exists() else b""
    changed = data.replace(before, after, 1) if before else after
    assert changed != data
    path.write_bytes(changed)
    assert said in check_by_hand(folder)


@needs_jq
def test_a_prompt_is_put_together_by_hand(ours: Path) -> None:
    done = subprocess.run(
        ["bash", "-c", commands()[-1]], cwd=ours, capture_output=True, text=True, check=True, timeout=60
    )
    system, user = (
        message["content_sha256"] for message in read_question(LocalStore(ours), Call(1).request)["messages"]
    )
    assert done.stdout == "".join((ours / layout.message(key)).read_text() for key in (system, user))
