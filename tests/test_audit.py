"""The audit: each check finds what it looks for, and nothing that a session cannot show reads as pass."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path
from shutil import copytree
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import unquote

import pytest
from typer.testing import CliRunner

from benchmarks.make_experiment import make_experiment
from discernus.audit.audit import CHECKS, audit
from discernus.audit.verdicts import Check
from discernus.experiments.clues import clues
from discernus.experiments.corpus import Document
from discernus.experiments.definition import read_definition
from discernus.experiments.freezing import taken_out
from discernus.experiments.telling import is_telling
from discernus.sessions import layout
from discernus.sessions.calls import Calls
from discernus.sessions.opening import open_session
from discernus.sessions.owners import Owner
from discernus.sessions.session import Session
from discernus.sessions.versions import note_version
from discernus.settings import Settings
from discernus.stages.analysis import TryAgain, analyse
from discernus.stages.reading import read_answer
from starter import app
from tests.sealed_sessions import close, new_key, sealed
from tests.stand_ins import Model, scores

SETTINGS = Settings(retry_max_attempts=1)
SPEAKERS = ("Ada Quill", "Berta Stone")


def session_with(
    folder: Path,
    *says: Any,
    settings: dict[str, Any] | None = None,
    speakers: tuple[str, ...] = (),
    texts: tuple[str, ...] = (),
    closed: bool = True,
    signing_key: Path | None = None,
) -> Session:
    """Return a session of two documents whose analyses were answered with these words in turn."""
    projects = folder / "projects"
    where = make_experiment(projects, documents=2, runs=1, words=40, settings=settings)
    if speakers:
        rows = ["file,id,speaker", *(f"address-0000{n}.txt,text-{n},{one}" for n, one in enumerate(speakers, 1))]
        (where / "corpus.csv").write_text("\n".join(rows) + "\n")
    for number, text in enumerate(texts, 1):
        (where / f"corpus/address-0000{number}.txt").write_text(text)
    definition = read_definition(where)
    session = open_session(projects, where, definition, concurrency=4, call_timeout_s=60, mirror=None)
    asyncio.run(_ask(session, projects, *(says or (scores(), scores()))))
    if closed:
        close(session, signing_key)
    return session


async def _ask(session: Session, projects: Path, *says: Any) -> None:
    with Owner(projects / ".discernus/owners") as owner:
        calls = Calls(owner, Model(*says), minimum_free_bytes=0)
        for number in range(1, len(session.plan) + 1):
            try:
                await analyse(session, calls, SETTINGS, number, 0)
            except TryAgain:
                continue
            read_answer(session, number, 0, final=True)


def check_of(session: Session, name: str) -> Check:
    (found,) = [one for one in audit(Session(session.folder)).checks if one.name == name]
    return found


def changed_metadata(session: Session, **update: Any) -> None:
    """Let every answer's metadata say something else, as another vendor would have had it."""
    for path in session.folder.glob("llm_archive/metadata_*.json"):
        path.write_text(json.dumps({**json.loads(path.read_bytes()), **update}))


def test_a_signed_session_without_a_flaw_fails_nothing_and_names_only_what_it_cannot_show(tmp_path: Path) -> None:
    key, _ = new_key(tmp_path)
    found = audit(session_with(tmp_path, signing_key=key))
    assert found.of("fail") == found.of("attention") == []
    assert {one.name for one in found.of("not applicable")} == {
        "Answers from other sessions",
        "Evidence quotes",
        "Identifying words in prompts",
        "Speakers named in answers",
        "Texts taken out",
        "Registration",
    }
    assert len(found.checks) == len(CHECKS)
    assert found.clean


def test_what_is_missing_parked_doubted_and_read_by_others_is_found_where_it_lies(tmp_path: Path) -> None:
    session = sealed(tmp_path)
    assert check_of(session, "Completeness").verdict == "fail"
    assert [one.file for one in check_of(session, "Parked analyses").places] == [
        "fault_recovery/parked/parked_004.json"
    ]
    assert [one.file for one in check_of(session, "Calls in doubt").places] == [
        "fault_recovery/intents/004_ask1_try1.json"
    ]
    assert [one.file for one in check_of(session, "Repaired extractions").places] == ["extracted/extracted_003.json"]
    assert check_of(session, "Results made anew").count == 1
    late = check_of(session, "Answers that were not scored")
    assert (late.verdict, [one.what for one in late.places]) == (
        "attention",
        ["a late answer to a call that had been answered"],
    )
    assert check_of(session, "Texts taken out").verdict == "attention"
    assert check_of(session, "Changes after sealing").verdict == "pass"


def test_every_file_that_an_audit_names_is_there(tmp_path: Path) -> None:
    session = sealed(tmp_path)
    named = [place.file for check in audit(session).checks for place in check.places]
    assert named
    assert [one for one in named if one is not None and not (session.folder / one).exists()] == []


def test_a_session_that_is_not_sealed_does_not_pass_for_unchanged(tmp_path: Path) -> None:
    found = check_of(session_with(tmp_path, closed=False), "Changes after sealing")
    assert (found.verdict, found.count) == ("attention", None)
    assert "never sealed" in found.reason


def test_a_change_after_sealing_fails_and_names_the_file(tmp_path: Path) -> None:
    session = session_with(tmp_path)
    with (session.folder / layout.RESULTS).open("a") as file:
        file.write("x")
    found = check_of(session, "Changes after sealing")
    assert found.verdict == "fail"
    assert {one.file for one in found.places} == {layout.RESULTS}


def test_answers_that_do_not_say_who_gave_them_are_no_proof_against_a_substitution(tmp_path: Path) -> None:
    session = session_with(tmp_path, closed=False)
    changed_metadata(session, model_answered=None)
    for name in ("Substitutions", "Version drift"):
        found = check_of(session, name)
        assert (found.verdict, found.count, found.of) == ("attention", 2, 2)


def test_a_version_that_changed_is_found_by_the_answers_and_by_its_note(tmp_path: Path) -> None:
    session = session_with(tmp_path, closed=False)
    path = session.folder / "llm_archive/metadata_002.json"
    path.write_text(json.dumps({**json.loads(path.read_bytes()), "model_answered": "scribe-2026-09-09"}))
    found = check_of(session, "Version drift")
    assert (found.verdict, found.count) == ("attention", 2)
    assert any("scribe-2026-09-09" in one.what for one in found.places)
    other = session_with(tmp_path / "other", closed=False)
    note_version(other.store, "openai/scribe", "scribe-2027", "002")
    assert check_of(other, "Version drift").verdict == "attention"


def test_a_session_of_an_older_layout_cannot_show_that_no_call_is_in_doubt(tmp_path: Path) -> None:
    session = session_with(tmp_path, closed=False)
    path = session.folder / layout.SESSION
    path.write_text(json.dumps({**json.loads(path.read_bytes()), "migrated_from": "old"}))
    assert check_of(session, "Calls in doubt").verdict == "attention"


def test_a_session_of_an_older_layout_passes_no_check_that_rests_on_what_that_did_not_record(tmp_path: Path) -> None:
    session = session_with(tmp_path, closed=False)
    path = session.folder / layout.SESSION
    path.write_text(json.dumps({**json.loads(path.read_bytes()), "migrated_from": "old"}))
    for name in ("Parked analyses", "Answers that were not scored", "Results made anew", "Calls in doubt"):
        assert check_of(session, name).verdict == "attention", name


def test_an_answer_whose_metadata_cannot_be_read_keeps_checks_from_passing(tmp_path: Path) -> None:
    session = session_with(tmp_path, closed=False)
    (session.folder / "llm_archive/metadata_002.json").write_text("{")
    for name in ("Substitutions", "Version drift"):
        found = check_of(session, name)
        assert (found.verdict, [one.file for one in found.places]) == ("attention", ["llm_archive/response_002.txt"])


@pytest.mark.parametrize("name", ["corpus/address-00001.txt", "experiment_snapshot.md", "corpus_manifest.json"])
def test_a_tampered_input_fails_the_audit_and_does_not_end_it(tmp_path: Path, name: str) -> None:
    session = session_with(tmp_path)
    (session.folder / name).write_text("something else")
    found = audit(Session(session.folder))
    assert [one.name for one in found.of("fail")] == ["Changes after sealing"]
    assert not [one.name for one in found.of("pass") if one.name in ("Completeness", "Evidence quotes")]


def test_an_intent_that_cannot_be_read_does_not_pass_for_none(tmp_path: Path) -> None:
    session = session_with(tmp_path, closed=False)
    session.store.put("fault_recovery/intents/001_ask1_try1.json", b"{")
    assert check_of(session, "Calls in doubt").verdict == "attention"


def test_a_request_that_only_the_chronolog_remembers_is_in_doubt(tmp_path: Path) -> None:
    session = session_with(tmp_path, closed=False)
    session.chronolog.note("call_sent", call="001_ask2", attempt=1)
    session.chronolog.flush()
    found = check_of(session, "Calls in doubt")
    assert [one.what for one in found.places if "001_ask2" in one.what]


def quoted(folder: Path, quotation: str) -> Session:
    """Return a session whose first answer gives a quotation as evidence, as extraction would have it."""
    session = session_with(
        folder, closed=False, texts=("“We—all of us—stand  side by side”, he said.", "Nothing else.")
    )
    path = session.folder / layout.extracted(1)
    said = json.loads(path.read_bytes())
    said["extraction"]["evidence"] = {"urgency": [quotation]}
    path.write_text(json.dumps(said))
    return session


@pytest.mark.parametrize("quotation", ['"we - all of us - stand side by side"', "We—all of us … side by side"])
def test_typography_makes_no_quotation_false(tmp_path: Path, quotation: str) -> None:
    assert check_of(quoted(tmp_path, quotation), "Evidence quotes").verdict == "pass"


def test_a_quotation_that_is_not_in_its_text_is_named(tmp_path: Path) -> None:
    found = check_of(quoted(tmp_path, "We stand alone"), "Evidence quotes")
    assert (found.verdict, found.count, found.of) == ("attention", 1, 1)
    assert "We stand alone" in found.places[0].what


def test_a_quotation_whose_text_was_taken_out_is_unchecked_and_not_false(tmp_path: Path) -> None:
    session = quoted(tmp_path, "We—all of us")
    document = session.definition.documents[0]
    (session.folder / "corpus" / document.file).write_text(taken_out(document.sha256))
    found = check_of(session, "Evidence quotes")
    assert (found.verdict, found.count) == ("attention", 1)
    assert "could not be checked" in found.reason


def test_prose_answers_are_not_said_to_quote_nothing(tmp_path: Path) -> None:
    session = session_with(tmp_path, closed=False)
    path = session.folder / layout.extracted(1)
    said = json.loads(path.read_bytes())
    said["extraction"]["route"] = "outline"
    path.write_text(json.dumps(said))
    found = check_of(session, "Evidence quotes")
    assert found.verdict == "attention"
    assert "not read from prose answers, of which there are 1" in found.reason


def test_prose_that_was_not_to_be_scored_is_named_and_not_counted(tmp_path: Path) -> None:
    session = session_with(tmp_path, closed=False)
    (session.folder / "llm_archive/response_003_synthesis.txt").write_text("In sum, it rained.")
    found = check_of(session, "Answers that were not scored")
    assert (found.verdict, found.count, found.of) == ("pass", 0, 2)
    assert "003_synthesis" in found.reason


def test_a_model_that_an_older_layout_did_not_record_is_not_said_to_have_been_asked(tmp_path: Path) -> None:
    session = session_with(tmp_path, closed=False)
    changed_metadata(session, model_requested="unrecorded/unknown", model_answered=None)
    (first, _) = check_of(session, "Version drift").places
    assert first.what == "call 001: which model was asked was not recorded, and none is named that answered"


def test_a_session_outside_of_every_projects_folder_is_audited_by_the_defaults(tmp_path: Path) -> None:
    session = session_with(tmp_path)
    with TemporaryDirectory(dir="/tmp") as near_the_root:
        copy = Path(near_the_root) / session.folder.name
        copytree(session.folder, copy)
        found = audit(Session(copy))
        assert [one.name for one in found.of("fail")] == []
        assert Session(copy).projects_dir == copy.parent


def test_programs_are_told_when_the_session_was_opened_with_its_zone(tmp_path: Path) -> None:
    assert (audit(session_with(tmp_path)).created_at or "").endswith("+00:00")


def test_an_experiment_that_is_not_declared_blind_is_not_judged_by_it(tmp_path: Path) -> None:
    session = session_with(tmp_path, speakers=SPEAKERS, texts=("Ada Quill speaks.", "Hear, hear."), closed=False)
    assert check_of(session, "Identifying words in prompts").verdict == "not applicable"


@pytest.mark.parametrize(
    ("text", "verdict", "word"),
    [
        ("I, Ada Quill, say so.", "fail", "Ada Quill"),
        ("I, ADA  QUILL, say so.".replace("  ", " "), "fail", "Ada Quill"),
        ("The house of Quill says so.", "attention", "Quill"),
        ("See address-00001.txt for it.", "fail", "address-00001.txt"),
        ("As Berta Stone said before me.", "pass", ""),
        ("With quill and ink.", "pass", ""),
    ],
)
def test_what_tells_whose_a_text_is_is_found_in_the_prompts_of_a_blind_experiment(
    tmp_path: Path, text: str, verdict: str, word: str
) -> None:
    session = session_with(
        tmp_path, settings={"blind": True}, speakers=SPEAKERS, texts=(text, "Hear, hear."), closed=False
    )
    found = check_of(session, "Identifying words in prompts")
    assert found.verdict == verdict
    assert all("analysis 1 " in one.what for one in found.places)
    assert word in "".join(one.what for one in found.places)


def test_a_blind_experiment_whose_speakers_nobody_names_does_not_pass(tmp_path: Path) -> None:
    session = session_with(tmp_path, settings={"blind": True}, closed=False)
    found = check_of(session, "Identifying words in prompts")
    assert found.verdict == "attention"
    assert "no column speaker" in found.reason


def test_a_prompt_that_cannot_be_read_does_not_pass(tmp_path: Path) -> None:
    session = session_with(
        tmp_path, settings={"blind": True}, speakers=SPEAKERS, texts=("So be it.", "Hear, hear."), closed=False
    )
    assert check_of(session, "Identifying words in prompts").verdict == "pass"
    for path in session.folder.glob("llm_archive/messages/*.txt"):
        if "So be it." in path.read_text():
            path.unlink()
    found = check_of(session, "Identifying words in prompts")
    assert (found.verdict, found.count) == ("attention", 1)


def test_a_model_that_names_the_speaker_by_itself_has_recognised_the_text(tmp_path: Path) -> None:
    said = json.dumps({**json.loads(scores()), "tone": "typical of Ada Quill"})
    session = session_with(
        tmp_path, said, scores(), settings={"blind": True}, speakers=SPEAKERS, texts=("One.", "Two."), closed=False
    )
    found = check_of(session, "Speakers named in answers")
    assert (found.verdict, found.count, found.of) == ("attention", 1, 2)


@pytest.mark.parametrize(
    ("column", "telling"),
    [("speaker", True), ("Author", True), ("speaker_name", True), ("renamed", False), ("season", False)],
)
def test_columns_tell_whose_a_text_is_by_their_names(column: str, telling: bool) -> None:
    assert is_telling(column) is telling


def test_a_document_is_told_by_its_file_its_id_and_its_speaker() -> None:
    document = Document(id="t1", file="a/lincoln.txt", sha256="", characters=1, metadata={"speaker": "Abraham Lincoln"})
    known = {(one.kind, one.word): one.sure for one in clues(document)}
    assert known["name", "Abraham Lincoln"] is True
    assert known["part of a name", "Lincoln"] is False
    assert known["file name", "lincoln"] is False  # a word that a text may have by itself
    assert known["file name", "lincoln.txt"] is True
    assert known["id", "t1"] is True


def run(session: Session, *arguments: str) -> tuple[int, str]:
    projects = session.folder.parents[4]
    done = CliRunner().invoke(app, ["audit", session.folder.name, "--projects-dir", str(projects), *arguments])
    return done.exit_code, done.stdout


def links(page: Path) -> Iterator[Path]:
    for target in re.findall(r"\]\(([^)]+)\)", page.read_text()):
        yield page.parent / unquote(target)


def test_the_page_lies_beside_the_sessions_and_all_its_links_lead_to_files(tmp_path: Path) -> None:
    session = sealed(tmp_path)
    before = {path: path.read_bytes() for path in session.folder.rglob("*") if path.is_file()}
    code, said = run(session)
    assert code == 3
    assert max(map(len, said.splitlines()[:-1])) <= 80
    assert "Completeness: fail" in said
    page = session.folder.parents[1] / "audits" / f"{session.folder.name}.md"
    assert len(list(links(page))) > 4
    assert [one for one in links(page) if not one.exists()] == []
    assert {path: path.read_bytes() for path in session.folder.rglob("*") if path.is_file()} == before


def test_the_page_goes_where_it_is_told_to_and_never_into_the_session(tmp_path: Path) -> None:
    session = sealed(tmp_path)
    code, _ = run(session, "--to", str(tmp_path / "elsewhere/review.md"))
    assert code == 3
    assert all(one.exists() for one in links(tmp_path / "elsewhere/review.md"))
    done = CliRunner().invoke(
        app,
        [
            "audit",
            session.folder.name,
            "--projects-dir",
            str(tmp_path / "projects"),
            "--to",
            str(session.folder / "a.md"),
        ],
    )
    assert done.exit_code != 0
    assert not (session.folder / "a.md").exists()


def test_programs_are_told_every_check_and_a_clean_session_ends_with_zero(tmp_path: Path) -> None:
    key, _ = new_key(tmp_path)
    code, said = run(session_with(tmp_path, signing_key=key), "--json")
    told = json.loads(said)
    assert (code, told["clean"], len(told["checks"])) == (0, True, len(CHECKS))


def test_what_a_model_wrote_acts_neither_in_a_terminal_nor_in_a_viewer(tmp_path: Path) -> None:
    session = quoted(tmp_path, "\x1b[31m<script>alert(1)</script> [x](http://evil)")
    _, said = run(session)
    page = (session.folder.parents[1] / "audits" / f"{session.folder.name}.md").read_text()
    assert "\x1b" not in said + page
    assert "<script>" not in page
    assert "](http" not in page
