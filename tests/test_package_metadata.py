"""What a package says of itself: how it is cited, under which licences it is, and where its answers came from."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from benchmarks.make_experiment import make_experiment
from discernus.experiments.definition import read_definition
from discernus.packages.citation import bibtex
from discernus.packages.dataverse import dataset
from discernus.packages.exporting import Exported, Wanted, export
from discernus.packages.licences import Licences, address_of, licences_page, with_texts
from discernus.packages.methods import methods_page
from discernus.packages.subject import Author, Organisation, Subject, affiliated, read_organisation
from discernus.packages.tables import asked_of
from discernus.sessions.opening import open_session
from discernus.sessions.session import Session
from discernus.stages.records import session_records
from discernus.stages.sealing import seal
from tests.crate_validation import violations
from tests.sealed_sessions import sealed
from tests.stand_ins import Model, scores
from tests.test_checkpoints import answer_all, close

X = Organisation("University of X", "https://ror.org/00x0x0x00")
ADA = Author("Ada Lovelace", "https://orcid.org/0000-0002-1825-0097", X)


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Session:
    return sealed(tmp_path_factory.mktemp("made"))


def subject(session: Session, **said: Any) -> Subject:
    """Return what a package would be about."""
    given: dict[str, Any] = {
        "name": "package",
        "session": session,
        "records": tuple(session_records(session)),
        "calls": tuple(asked_of(session)),
        "redactions": (),
        "authors": (),
        "publisher": None,
        "licences": Licences(),
        "exported_at": datetime(2031, 5, 4, tzinfo=UTC),
        "versions": {"discernus": "9.8.7", "python": "3.13"},
        "has_models_file": False,
    }
    return Subject(**(given | said))


def entries(text: str) -> list[str]:
    return [entry for entry in text.split("\n\n") if entry.startswith("@misc")]


def graph(package: Path) -> dict[str, dict[str, Any]]:
    listed = json.loads((package / "data/ro-crate-metadata.json").read_text())["@graph"]
    return {entity["@id"]: entity for entity in listed}


# the citation


def test_the_citation_names_the_sealed_version_and_its_root_and_the_program_that_made_the_package(
    session: Session,
) -> None:
    about = subject(session, authors=(ADA,), publisher=X)
    data, program = entries(bibtex(about))
    assert about.sealed is not None
    version, root = about.sealed
    assert version == 2
    for line in ("author = {{Ada Lovelace}}", "year = {2031}", "version = {2}", "publisher = {{University of X}}"):
        assert line in data
    assert root in data
    assert "year = {2031}" in program
    assert "version = {9.8.7}" in program


def test_braces_of_the_citation_are_balanced_whatever_a_name_holds(session: Session) -> None:
    text = bibtex(subject(session, authors=(Author("A} {{ and B%"),)))
    assert text.count("{") == text.count("}")
    assert r"{{A\textbraceright{} \textbraceleft{}\textbraceleft{} and B\%}}" in text


# times that were not recorded


@pytest.fixture
def timeless(session: Session, monkeypatch: pytest.MonkeyPatch) -> Session:
    begun = datetime(1970, 1, 1, tzinfo=UTC)
    facts = session.facts.model_copy(update={"clock": "time_not_recorded", "created_at": begun})
    monkeypatch.setattr(Session, "facts", facts)
    return Session(session.folder)


def test_no_page_and_no_field_says_1970_where_no_time_was_recorded(timeless: Session, tmp_path: Path) -> None:
    about = subject(timeless)
    assert "1970" not in bibtex(about) + json.dumps(dataset(about)) + methods_page(about)
    assert "dateOfCollection" not in {one["typeName"] for one in fields(dataset(about))}
    assert "beginning at a time that was not recorded" in methods_page(about)


def fields(made: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = made["datasetVersion"]["metadataBlocks"]["citation"]["fields"]
    return found


# licences


def test_where_no_licence_is_stated_that_is_said_of_every_part_the_code_among_them() -> None:
    page = licences_page(Licences(), withheld=False)
    for part in ("Texts", "Annotations", "Code"):
        assert "**No licence is stated.**" in page.partition(f"## {part}")[2].partition("## ")[0]
    assert Licences().unstated == ("texts", "annotations", "code")
    assert Licences(code="MIT").unstated == ("texts", "annotations")


def test_the_licence_of_the_texts_is_that_of_the_authors_table_where_all_agree(session: Session) -> None:
    documents = session.definition.documents
    of = [one.model_copy(update={"metadata": {"licence": "CC0-1.0"}}) for one in documents]
    assert with_texts(Licences(), of) == Licences(texts="CC0-1.0")
    assert with_texts(Licences(texts="CC-BY-4.0"), of) == Licences(texts="CC-BY-4.0")
    of[1] = of[1].model_copy(update={"metadata": {"licence": ""}})
    of[0] = of[0].model_copy(update={"metadata": {"license": "all rights reserved"}})
    mixed = with_texts(Licences(), of)
    assert mixed.texts is None
    assert [mixed.of_text(one.file) for one in of[:3]] == ["all rights reserved", None, "CC0-1.0"]
    page = licences_page(mixed, withheld=False)
    assert f"- all rights reserved: {of[0].file}" in page
    assert f"- CC0-1.0 <https://spdx.org/licenses/CC0-1.0>: {of[2].file}" in page


@pytest.mark.parametrize(
    ("licence", "address"),
    [
        ("CC-BY-4.0", "https://spdx.org/licenses/CC-BY-4.0"),
        ("MIT", "https://spdx.org/licenses/MIT"),
        ("https://x.org/terms", "https://x.org/terms"),
        ("proprietary", None),
        ("no licence", None),
    ],
)
def test_only_what_may_be_an_identifier_is_given_an_address(licence: str, address: str | None) -> None:
    assert address_of(licence) == address


# the folder for a Dataverse


def test_a_dataverse_is_told_one_licence_only_where_everything_is_under_it(session: Session) -> None:
    one = subject(session, licences=Licences("CC-BY-4.0", "CC-BY-4.0", "CC-BY-4.0"))
    assert dataset(one)["datasetVersion"]["license"] == {
        "name": "CC BY 4.0",
        "uri": "http://creativecommons.org/licenses/by/4.0",
    }
    several = dataset(subject(session, licences=Licences(texts="CC0-1.0", annotations="CC-BY-4.0")))["datasetVersion"]
    assert "license" not in several
    assert several["termsOfUse"].startswith("Texts: CC0-1.0; Annotations: CC-BY-4.0; Code: no licence is stated.")


def test_each_file_for_a_dataverse_has_a_description_and_the_package_is_data(session: Session, tmp_path: Path) -> None:
    made = export(session, Wanted(tmp_path / "out", authors=(ADA,)))
    files = {one["file"]: one for one in json.loads((made.dataverse / "files.json").read_text())}
    whole = files[f"{made.package.name}.zip"]
    assert (whole["categories"], whole["description"][:18]) == (["Data"], "The whole package:")
    assert [name for name, one in files.items() if one["description"] == name] == []
    assert files["main_tables.R"]["categories"] == ["Code"]
    authors = next(
        one for one in fields(json.loads((made.dataverse / "dataset.json").read_text())) if one["typeName"] == "author"
    )
    assert authors["value"][0]["authorAffiliation"]["value"] == "University of X"


# who answers for it


def test_affiliations_are_of_all_authors_or_of_each() -> None:
    ada, bo, y = Author("Ada"), Author("Bo"), Organisation("Y")
    assert [one.affiliation for one in affiliated([ada, bo], [X])] == [X, X]
    assert [one.affiliation for one in affiliated([ada, bo], [X, y])] == [X, y]
    for authors, given in (([ada, bo], [X, y, X]), ([], [X])):
        with pytest.raises(ValueError, match="give one --affiliation for all authors, or one for each"):
            affiliated(authors, given)


def test_the_validator_has_no_wish_left_where_author_affiliation_publisher_and_licences_are_given(
    session: Session, tmp_path: Path
) -> None:
    given: dict[str, Any] = {"authors": (ADA,), "publisher": X, "licences": Licences("CC0-1.0", "MIT")}
    assert violations(export(session, Wanted(tmp_path / "out", **given)).package / "data") == []


def test_an_organisation_is_a_name_with_its_address_or_without() -> None:
    assert read_organisation("University of X <https://ror.org/00x0x0x00>") == X
    assert read_organisation(" Y ") == Organisation("Y")
    with pytest.raises(ValueError, match="is no organisation"):
        read_organisation("Y <somewhere>")


# answers that another session was given


@pytest.fixture(scope="module")
def extended(tmp_path_factory: pytest.TempPathFactory) -> tuple[Exported, Session]:
    """Return the package of a session that took over every answer, and the session that had asked."""
    folder = tmp_path_factory.mktemp("extended")
    projects = folder / "projects"
    experiment = make_experiment(projects, documents=2, runs=1, words=40, models=["openai/scribe"])

    def opened(extends: Session | None = None) -> Session:
        definition = read_definition(experiment)
        return open_session(
            projects, experiment, definition, concurrency=1, call_timeout_s=60, mirror=None, extends=extends
        )

    first = opened()
    answer_all(first, Model(lambda _: scores(0.5)))
    close(first)
    second = opened(extends=first)
    answer_all(second, Model())
    close(second)
    seal(second)
    return export(second, Wanted(folder / "out", authors=(ADA,))), first


def test_the_crate_tells_of_the_other_session_that_an_answer_was_given_to(extended: tuple[Exported, Session]) -> None:
    made, first = extended
    source = first.facts.session
    entities = graph(made.package)
    answer = entities["session/llm_archive/response_001.txt"]
    assert answer["prov:wasDerivedFrom"] == {"@id": f"#{source}/001-answer"}
    step = entities[answer["prov:wasGeneratedBy"]["@id"]]
    assert source in step["name"]
    assert step["prov:used"] == {"@id": f"#{source}/001-answer"}
    original = entities[f"#{source}/001-answer"]
    call = entities[original["prov:wasGeneratedBy"]["@id"]]
    assert call["@id"] == f"#{source}/001"
    assert call["prov:wasAssociatedWith"] == {"@id": "#model-openai/scribe"}
    assert call["endTime"].startswith("20")
    assert "#call-001-1" not in entities


def test_the_crate_of_answers_taken_over_passes_the_validator(extended: tuple[Exported, Session]) -> None:
    made, _ = extended
    assert [one for one in violations(made.package / "data") if "`publisher`" not in one] == []


def test_pages_and_report_count_what_was_taken_over_alike(extended: tuple[Exported, Session]) -> None:
    made, first = extended
    said = f"2 answers were not asked for anew but taken over from {first.facts.session}"
    for page in ("methods.md", "README.md"):
        assert said in (made.package / "data" / page).read_text()
    report = (made.package / "data/session/deliverables/final_report.md").read_text()
    assert f"2 answers from session *{first.facts.session}*" in report.replace("\\", "")
