"""The replication package, as a researcher makes it and a stranger takes it apart: whole, or without the texts."""

from __future__ import annotations

import csv
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bagit
import pytest

from benchmarks.make_experiment import document_text
from discernus.experiments.freezing import taken_out
from discernus.packages.passages import MARK
from discernus.sessions.integrity.redaction import Redaction
from discernus.sessions.integrity.verification import verify
from tests.crate_validation import violations
from tests.running import PATIENCE_S, REPOSITORY, environment, wait_until
from tests.studies import COMPLETE, INVALID, PARTIAL, Study

DOCUMENTS = 3
PIECE = 40  # characters
WORDS = 60
UNKNOWN = ("`publisher`", "affiliation", "`author`")  # recommended, asked for by the command, and not made up
# Prose around the answer, a fence, broken JSON, and JSON as it should be: all of them quote the text.
SPOILT = ("prose", "fenced", "broken", None, "prose", None)


@dataclass(frozen=True)
class Packed:
    """A study with its packages: the whole one as a folder, and the one without the texts, unpacked from its .zip."""

    study: Study
    whole: Path
    without: Path
    said: str

    @property
    def session(self) -> Path:
        return self.study.session


def packed(study: Study, folder: Path) -> Packed:
    """Export a study's session both ways."""
    said = study.say(
        "export", "speeches", "--to", str(folder), "--author", "Ada Lovelace", "--license-texts", "CC-BY-4.0"
    )
    study.say("export", "speeches", "--to", str(folder / "bare.zip"), "--without-texts")
    with zipfile.ZipFile(folder / "bare.zip") as archive:
        archive.extractall(folder / "unpacked")
    whole = next(path for path in folder.iterdir() if (path / "bagit.txt").is_file())
    return Packed(study, whole, folder / "unpacked" / "bare", said)


@pytest.fixture(scope="module")
def offline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Packed]:
    folder = tmp_path_factory.mktemp("offline")
    with Study(folder, models=["offline/lexicon"], documents=DOCUMENTS, runs=2) as study:
        study.run("speeches")
        yield packed(study, folder / "out")


@pytest.fixture(scope="module")
def vendor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Packed]:
    folder = tmp_path_factory.mktemp("vendor")
    asked: dict[str, Any] = {"models": ["openai/scribe"], "documents": DOCUMENTS, "runs": 2}
    faults = {"sequence": SPOILT, "purposes": ["analysis"]}
    with Study(folder, vendor=faults, **asked) as study:
        study.run("speeches")
        yield packed(study, folder / "out")


@pytest.fixture(params=["offline", "vendor"])
def package(request: pytest.FixtureRequest) -> Packed:
    found = request.getfixturevalue(request.param)
    assert isinstance(found, Packed)
    return found


def files_of(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def pieces(text: str) -> set[str]:
    """Return every stretch of some characters of a text, with its white space made one."""
    plain = " ".join(text.split())
    return {plain[start : start + PIECE] for start in range(len(plain) - PIECE + 1)}


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def starter(*arguments: str | Path, code: int = COMPLETE) -> str:
    """Return what a command says that needs no store."""
    done = subprocess.run(
        [sys.executable, str(REPOSITORY / "starter.py"), *map(str, arguments)],
        cwd=REPOSITORY,
        env=environment(Path("nowhere"), COLUMNS="80"),
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


# what is in it


def test_both_packages_are_bags_and_crates_by_the_standard_validators(package: Packed) -> None:
    for folder in (package.whole, package.without):
        bagit.Bag(str(folder)).validate()
        unsaid = [one for one in violations(folder / "data") if not any(word in one for word in UNKNOWN)]
        assert unsaid == []


def test_a_crate_that_lacks_a_file_fails_the_validator_that_we_rely_on(offline: Packed, tmp_path: Path) -> None:
    crate = tmp_path / "data"
    shutil.copytree(offline.whole / "data", crate)
    (crate / "tables/results.csv").unlink()
    assert any(one.startswith("REQUIRED") for one in violations(crate))


def test_the_session_in_a_whole_package_is_the_session_byte_for_byte(package: Packed) -> None:
    inside = package.whole / "data/session"
    names = {path.relative_to(inside).as_posix() for path in files_of(inside)}
    assert names == {
        path.relative_to(package.session).as_posix()
        for path in files_of(package.session)
        if path.suffix != ".lock" and not path.name.startswith(".tmp-")
    }
    for name in sorted(names):
        assert (inside / name).read_bytes() == (package.session / name).read_bytes(), name


def test_every_call_is_in_a_table_with_the_files_that_hold_its_words(vendor: Packed) -> None:
    session = vendor.whole / "data/session"
    calls = rows(vendor.whole / "data/tables/calls.csv")
    assert len(calls) == len(list((session / "llm_archive").glob("response_*.txt")))
    for row in calls:
        named = (row["request_file"], *row["message_files"].split(), row["response_file"])
        assert len(named) == 4
        assert all((session / name).is_file() for name in named), row


def test_the_codebook_has_each_column_of_each_table(package: Packed) -> None:
    tables = package.whole / "data/tables"
    described = {(row["table"], row["column"]) for row in rows(tables / "codebook.csv")}
    for path in sorted(tables.glob("*.csv")):
        if path.name != "codebook.csv":
            with path.open(encoding="utf-8", newline="") as file:
                assert {(path.name, column) for column in next(csv.reader(file))} <= described
    assert all(row["meaning"] for row in rows(tables / "codebook.csv"))


def test_the_crate_tells_which_prompt_and_model_each_answer_came_of_and_what_was_read_of_it(vendor: Packed) -> None:
    graph = json.loads((vendor.whole / "data/ro-crate-metadata.json").read_text())["@graph"]
    entities = {entity["@id"]: entity for entity in graph}
    row = rows(vendor.whole / "data/tables/calls.csv")[0]
    answer = entities[f"session/{row['response_file']}"]
    call = entities[answer["prov:wasGeneratedBy"]["@id"]]
    assert call["instrument"] == {"@id": "#model-openai/scribe"}
    asked = [f"session/{name}" for name in (row["request_file"], *row["message_files"].split())]
    assert [one["@id"] for one in call["object"]] == asked
    derived = entities["session/extracted/extracted_001.json"]["prov:wasDerivedFrom"]
    assert {"@id": answer["@id"]} in (derived if isinstance(derived, list) else [derived])
    assert entities["tables/results.csv"]["prov:wasGeneratedBy"] == {"@id": "#calculation"}


def test_licences_are_stated_where_they_were_given_and_missed_where_not(offline: Packed) -> None:
    page = (offline.whole / "data/LICENCES.md").read_text()
    assert re.search(r"## Texts.*CC-BY-4\.0.*## Annotations.*No licence is stated.*## Code.*MIT", page, re.DOTALL)
    said = " ".join(offline.said.split())
    assert "no licence is stated for the annotations and the code: --license-annotations and --license-code" in said
    assert "--affiliation would state one" in said
    assert "--publisher would name one" in said
    graph = json.loads((offline.whole / "data/ro-crate-metadata.json").read_text())["@graph"]
    text = next(one for one in graph if one["@id"].startswith("session/corpus/"))
    assert text["license"] == {"@id": "https://spdx.org/licenses/CC-BY-4.0"}


def test_the_methods_paragraph_says_what_was_counted_in_the_session(vendor: Packed) -> None:
    page = " ".join((vendor.whole / "data/methods.md").read_text().split())
    assert "We scored 3 documents on 10 dimensions" in page
    assert "openai/scribe answered as scribe-2026-01-01 (6 answers)" in page
    assert "(6 planned analyses)" in page
    assert "Ada Lovelace" in (vendor.whole / "data/citation.bib").read_text()


def test_the_dataverse_folder_holds_what_its_list_names_and_the_package_in_one_file(package: Packed) -> None:
    folder = package.whole.with_name(f"{package.whole.name}_dataverse")
    listed = {one["file"] for one in json.loads((folder / "files.json").read_text())}
    assert listed == {path.name for path in folder.iterdir()} - {"dataset.json", "files.json", "README-dataverse.md"}
    fields = json.loads((folder / "dataset.json").read_text())["datasetVersion"]["metadataBlocks"]["citation"]["fields"]
    assert {"title", "author", "dsDescription", "subject"} <= {one["typeName"] for one in fields}
    assert "contact" in (folder / "README-dataverse.md").read_text()
    assert verify(folder / f"{package.whole.name}.zip").intact


def test_a_package_tells_how_to_ask_anew_and_the_experiment_made_by_it_is_valid(
    offline: Packed, tmp_path: Path
) -> None:
    readme = (offline.whole / "data/README.md").read_text()
    commands = readme.partition("## Ask the models anew")[2].split("```")[1].strip().splitlines()
    assert commands.pop() == "uv run starter.py again/again --projects-dir anew"
    variables = {**os.environ, "PACKAGE": str(offline.whole)}
    script = "\n".join(commands)
    subprocess.run(["bash", "-euc", script], cwd=tmp_path, env=variables, check=True, timeout=PATIENCE_S)
    said = starter("validate", "again/again", "--projects-dir", tmp_path / "anew")
    assert f"{DOCUMENTS} documents × 1 model × 2 runs" in said


def test_a_package_checks_itself_by_the_commands_of_its_readme(package: Packed) -> None:
    for folder in (package.whole, package.without):
        page = (folder / "data/README.md").read_text().partition("## Check it")[2].split("```")
        checked, recomputed = page[1].strip().splitlines(), page[3].strip().splitlines()
        assert checked.pop() == 'export PACKAGE="$PWD"'
        subprocess.run(["bash", "-euc", "\n".join(checked)], cwd=folder, check=True, timeout=PATIENCE_S)
        assert len(recomputed) == 2
        for command in recomputed:
            before, given = command.split('"$PACKAGE"')
            assert (before.split()[:3], given) == (["uv", "run", "starter.py"], "")
            starter(*before.split()[3:], folder)


def test_the_readme_lists_what_is_there_and_nothing_else(package: Packed) -> None:
    for folder in (package.whole, package.without):
        listed = (folder / "data/README.md").read_text().partition("## What is here")[2].split("```")[1]
        names = {line.split()[0] for line in listed.strip().splitlines()}
        assert all((folder / "data" / name).exists() for name in names)
        assert {f"tables/{path.name}" for path in (folder / "data/tables").iterdir()} <= names


def test_the_script_that_makes_the_main_tables_in_r_goes_with_the_results(package: Packed) -> None:
    for folder in (package.whole, package.without):
        script = (folder / "data/tables/main_tables.R").read_text()
        header = next(iter(rows(folder / "data/tables/results.csv")))
        variables = re.findall(r'"(\w+_score)"', script)
        assert variables
        assert set(variables) <= header.keys()


# without the texts


def test_no_piece_of_any_text_is_in_any_file_of_a_package_without_texts(package: Packed) -> None:
    texts = [document_text(number, WORDS) for number in range(1, DOCUMENTS + 1)]
    wanted = set().union(*map(pieces, texts))
    held = [path for path in files_of(package.whole) if holds(path, wanted)]
    assert len(held) > DOCUMENTS  # the search finds what is there
    beside = package.without.parents[1] / "bare_dataverse"
    for path in (*files_of(package.without), *(one for one in files_of(beside) if one.suffix != ".zip")):
        assert not holds(path, wanted), path


def holds(path: Path, wanted: set[str]) -> bool:
    """Return whether a file holds one of the pieces, as it is or with JSON's escapes undone."""
    said = path.read_bytes().decode("utf-8", "replace")
    return any(not wanted.isdisjoint(pieces(form)) for form in (said, re.sub(r"\\+[nrt]", " ", said).replace("\\", "")))


def test_every_score_is_what_it_was_and_evidence_is_gone(package: Packed) -> None:
    was, is_now = (rows(folder / "data/tables/results.csv") for folder in (package.whole, package.without))
    assert was == is_now
    assert any(value for row in was for name, value in row.items() if name.endswith("_score"))
    quoted = 0
    for path in sorted((package.without / "data/session/extracted").glob("extracted_*.json")):
        evidence = json.loads(path.read_text())["extraction"]["evidence"]
        assert {quote for quotes in evidence.values() for quote in quotes} <= {MARK}
        quoted += len(evidence)
    assert quoted


def test_what_was_taken_out_is_declared_with_the_hash_of_what_it_was(package: Packed) -> None:
    session = package.without / "data/session"
    record = Redaction.model_validate_json((session / "system_state/redactions/redaction_001.json").read_text())
    assert record.kind == "withholding"
    assert len(record.documents) == DOCUMENTS
    assert record.unreadable == ()
    documents = {row["id"]: row for row in rows(package.without / "data/tables/documents.csv")}
    assert {row["included"] for row in documents.values()} == {"false"}
    for one in documents.values():
        assert (session / "corpus" / one["file"]).read_text() == taken_out(one["sha256"])
    sealed = json.loads((package.session / "system_state/seal_001.json").read_text())["files"]
    assert all(sealed[one.name] == one.sha256 for one in record.files)


def test_verify_accepts_what_is_declared_and_nothing_else(package: Packed, tmp_path: Path) -> None:
    assert verify(package.whole).intact
    found = verify(package.without)
    assert found.intact
    assert [one.redaction.kind for one in found.redactions] == ["withholding"]
    copy = tmp_path / "package"
    shutil.copytree(package.without, copy)
    answer = next((copy / "data/session/llm_archive").glob("response_*.txt"))
    answer.write_text(answer.read_text().replace("0.", "0.9", 1))
    assert any(answer.name in one.place for one in verify(copy).findings)


# reproduce


def test_every_number_comes_out_the_same_on_a_machine_that_has_the_package_alone(package: Packed) -> None:
    for folder in (package.whole, package.without.parents[1] / "bare.zip"):
        said = starter("reproduce", folder)
        assert "every number agrees" in said
        assert "6 analyses read again" in said
        assert all(len(line) <= 80 for line in said.splitlines())


def test_a_number_that_was_changed_in_a_table_is_named_with_its_cell(vendor: Packed, tmp_path: Path) -> None:
    copy = tmp_path / "package"
    shutil.copytree(vendor.whole, copy)
    table = copy / "data/tables/results.csv"
    score = rows(table)[0]["urgency_score"]
    table.write_text(table.read_text().replace(f",{score},", ",0.123,", 1))
    found = json.loads(starter("reproduce", copy, "--json", code=PARTIAL))
    assert not found["agrees"]
    [altered] = [one for one in found["tables"] if one["differences"]]
    assert altered["name"] == "results.csv"
    [cell] = altered["differences"]
    assert (cell["packed"], cell["computed"]) == ("0.123", score)
    assert cell["place"] == "row 2 (1), urgency_score"
    assert [one["place"] for one in found["findings"]] == ["data/tables/results.csv"]


def test_an_answer_that_was_changed_gives_other_numbers_or_none(vendor: Packed, tmp_path: Path) -> None:
    copy = tmp_path / "package"
    shutil.copytree(vendor.whole, copy)
    answer = copy / "data/session/llm_archive/response_001.txt"
    answer.write_text(answer.read_text().replace("0.", "0.0", 1))
    said = starter("reproduce", copy, code=PARTIAL)
    assert "NOT INTACT" in said
    assert "answers that cannot be read" in said
    assert "NOT every number agrees" in said


def test_another_version_of_the_code_is_said_to_be_another(offline: Packed, tmp_path: Path) -> None:
    copy = tmp_path / "package"
    shutil.copytree(offline.whole, copy)
    facts = copy / "data/session/system_state/session.json"
    facts.write_text(re.sub(r'"discernus": "[^"]*"', '"discernus": "0.0.9"', facts.read_text()))
    said = " ".join(starter("reproduce", copy, code=PARTIAL).split())
    assert "another version than ran the session (0.0.9)" in said


def test_what_is_no_package_is_said_to_be_none(tmp_path: Path) -> None:
    (tmp_path / "torn.zip").write_bytes(b"PK\x03\x04 and no more")
    for path in (tmp_path, tmp_path / "torn.zip", tmp_path / "nothing"):
        said = starter("reproduce", path, code=INVALID)
        assert str(path) in said
        assert "Traceback" not in said


def test_a_zip_that_would_write_outside_its_folder_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as archive:
        archive.writestr("../evil.txt", "x")
    for command in ("reproduce", "verify"):
        said = " ".join(starter(command, tmp_path / "evil.zip", code=INVALID).split())
        assert "outside itself: '../evil.txt'" in said
    assert not (tmp_path.parent / "evil.txt").exists()


# the command


def test_a_destination_that_is_taken_is_never_overwritten(offline: Packed) -> None:
    where = offline.whole.parent
    before = {path: path.stat().st_mtime_ns for path in files_of(where)}
    said = starter("export", "speeches", "--to", where, "--projects-dir", offline.study.projects_dir, code=INVALID)
    assert "is there already" in said
    assert {path: path.stat().st_mtime_ns for path in files_of(where)} == before


def test_a_disk_that_takes_no_package_is_named_in_a_few_words_and_left_as_it_was(
    offline: Packed, tmp_path: Path
) -> None:
    where = tmp_path / "out"
    arguments = ("export", "speeches", "--to", where, "--projects-dir", offline.study.projects_dir)
    done = subprocess.run(
        [sys.executable, str(REPOSITORY / "starter.py"), *map(str, arguments)],
        cwd=REPOSITORY,
        env=environment(Path("nowhere"), COLUMNS="80"),
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=PATIENCE_S,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096)),
    )
    said = " ".join(done.stderr.split())
    assert (done.returncode, done.stdout) == (4, "")
    assert said.startswith(f"error: no package was made in '{where}': File too large; make room there")
    assert said.endswith("--to")
    assert list(where.iterdir()) == []


def test_ctrl_c_at_the_question_erases_nothing_and_is_told_by_the_exit_code(offline: Packed, tmp_path: Path) -> None:
    ours, theirs = os.openpty()
    arguments = ("erase", "speeches", "address-00001", "--reason", "a request", "--projects-dir")
    with (tmp_path / "said").open("wb") as sink:
        asking = subprocess.Popen(
            [sys.executable, str(REPOSITORY / "starter.py"), *arguments, str(offline.study.projects_dir)],
            cwd=REPOSITORY,
            env=environment(Path("nowhere"), COLUMNS="80"),
            stdin=theirs,
            stdout=sink,
            stderr=sink,
            start_new_session=True,
        )
    try:
        wait_until(lambda: "for good?" in (tmp_path / "said").read_text(), "the question is asked")
        asking.send_signal(signal.SIGINT)
        assert asking.wait(PATIENCE_S) == 130
    finally:
        asking.kill()
        os.close(ours)
        os.close(theirs)
    assert verify(offline.session).redactions == ()


def test_an_author_or_a_session_that_cannot_be_meant_is_said(offline: Packed, tmp_path: Path) -> None:
    at = ("--projects-dir", offline.study.projects_dir, "--to", tmp_path / "out")
    assert "is no author" in starter("export", "speeches", "--author", "A <b@c.d>", *at, code=INVALID)
    assert "'nothing'" in starter("export", "nothing", *at, code=INVALID)
    assert not (tmp_path / "out").exists()


def test_the_projects_chronolog_tells_of_each_package_and_of_its_hash(offline: Packed) -> None:
    lines = (offline.study.projects_dir / "bench/PROJECT_CHRONOLOG_bench.jsonl").read_text().splitlines()
    exported = [json.loads(line)["facts"] for line in lines if json.loads(line)["event"] == "session_exported"]
    assert [Path(one["package"]).name for one in exported] == [offline.whole.name, "bare.zip"]
    assert exported[0]["sha256"] in offline.said
