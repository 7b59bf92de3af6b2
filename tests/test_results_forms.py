"""The same results in every form: no number is another one, and what is missing is missing in each."""

from __future__ import annotations

import csv
import io
import json
import math
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from cli.exits import CommandError
from discernus.llm.calls import ModelRequest
from discernus.reports import results
from discernus.reports.columnar import stata_names
from discernus.reports.groups import groups_of, variables_of
from discernus.reports.main_tables import MainTable, as_html, as_latex, main_tables
from discernus.sessions import layout
from discernus.sessions.integrity.manifests import names_in
from discernus.sessions.integrity.verification import verify
from discernus.sessions.session import Session
from discernus.stages.records import session_records
from starter import app
from tests.stand_ins import Model, opened, scores
from tests.test_checkpoints import answer_all, answers, close

MODELS = ["openai/scribe", "openai/deputy"]


def varied() -> Iterator[str]:
    """Yield answers whose scores differ, some of them missing."""
    number = 0
    while True:
        number += 1
        missing = {"urgency": None} if number % 5 == 0 else {}
        yield scores(0.1 + (number * 37 % 50) / 100, rivalry=None if number < 7 else 0.25, **missing)


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Session:
    session = opened(tmp_path_factory.mktemp("study"), documents=3, runs=2, models=MODELS)
    said = varied()

    def say(_: ModelRequest) -> str:
        return next(said)

    answer_all(session, Model(say))
    close(session)
    return session


def run(session: Session, *arguments: str) -> Result:
    return CliRunner().invoke(app, [*arguments, "--projects-dir", str(session.folder.parents[4])])


def given_as(session: Session, form: str) -> bytes:
    done = run(session, "results", session.name, "--format", form)
    assert done.exit_code == 0, done.output
    return done.stdout_bytes


def written(session: Session, form: str, to: Path) -> Path:
    done = run(session, "results", session.name, "--format", form, "--to", str(to))
    assert done.exit_code == 0, done.output
    return to


def table(data: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(data.decode(), newline="")))


def wide(session: Session) -> list[dict[str, str]]:
    return table(session.store.get(layout.RESULTS))


def test_csv_is_the_deliverable_itself(sealed: Session) -> None:
    assert given_as(sealed, "csv") == sealed.store.get(layout.RESULTS)


def test_the_long_form_has_every_value_of_the_wide_one_and_each_missing_one_with_its_reason(sealed: Session) -> None:
    rows = wide(sealed)
    long = {(row["analysis"], row["variable"]): row for row in table(given_as(sealed, "long"))}
    framework = sealed.definition.framework
    columns = {one.name: f"{one.name}_score" for one in framework.dimensions}
    columns |= {one.name: one.name for one in framework.derived_metrics}
    assert any(row["rivalry_score"] == "" for row in rows)
    for row in rows:
        for variable, column in columns.items():
            found = long[row["analysis"], variable]
            assert found["value"] == row[column]
            assert bool(found["missing_because"]) == (row[column] == "")
            assert (found["document"], found["run"]) == (row["document"], row["run"])
        assert long[row["analysis"], "tone"]["label"] == row["tone"] == "calm"
    assert len(long) == len(rows) * (len(columns) + 1)


def test_parquet_has_the_same_cells_with_types_and_meanings(sealed: Session, tmp_path: Path) -> None:
    from pyarrow import parquet

    found = parquet.read_table(written(sealed, "parquet", tmp_path / "results.parquet"))
    rows = wide(sealed)
    assert found.column_names == list(rows[0])
    for name in found.column_names:
        values = found[name].to_pylist()
        for row, value in zip(rows, values, strict=True):
            assert as_cell(value) == row[name], name
    field = found.schema.field("urgency_score")
    assert str(field.type) == "double"
    assert field.metadata == {b"meaning": b"score of Urgency", b"unit_or_scale": b"0 to 1"}
    assert str(found.schema.field("urgency_confidence").type) == "double"  # numbers, though none was given
    assert str(found.schema.field("analysis").type) == "int64"


def as_cell(value: Any) -> str:
    if value is None:
        return ""
    return json.dumps(value) if isinstance(value, bool) else repr(value) if isinstance(value, int | float) else value


def test_stata_gets_the_same_values_missing_ones_as_its_own_and_labels(sealed: Session, tmp_path: Path) -> None:
    path = written(sealed, "dta", tmp_path / "results.dta")
    frame = pd.read_stata(path)
    rows = wide(sealed)
    names = stata_names(list(rows[0]))
    for column, name in names.items():
        for row, value in zip(rows, frame[name], strict=True):
            if isinstance(value, float):
                expected = {"": math.nan, "true": 1.0, "false": 0.0}.get(row[column])
                expected = float(row[column]) if expected is None else expected
                assert value == expected or (math.isnan(value) and math.isnan(expected)), column
            else:
                assert value == row[column], column
    with pd.io.stata.StataReader(path) as reader:
        assert reader.variable_labels()["urgency_score"] == "urgency_score: score of Urgency"
    assert path.read_bytes() == written(sealed, "dta", tmp_path / "again.dta").read_bytes()


@given(st.lists(st.text(max_size=40), unique=True, max_size=30))
def test_every_column_gets_a_name_that_stata_takes_and_no_two_the_same(columns: list[str]) -> None:
    names = stata_names(columns)
    assert list(names) == columns
    assert len(set(names.values())) == len(columns)
    for name in names.values():
        assert name.isascii()
        assert name.isidentifier()
        assert len(name) <= 32
        assert name not in ("if", "in", "float", "_n")


def test_the_tables_for_a_paper_have_the_numbers_of_the_report(sealed: Session) -> None:
    report = sealed.store.get(layout.REPORT).decode()
    latex, html = given_as(sealed, "latex").decode(), given_as(sealed, "html").decode()
    tables = main_tables(sealed.definition.framework, groups_of(session_records(sealed)))
    (urgency,) = [row for row in tables[0].rows if row[0] == "urgency"]
    assert f"{' & '.join(urgency)} \\\\" in latex
    assert all(f">{cell}</td>" in html for cell in urgency)
    told = next(line for line in report.partition("\n## Dimensions")[2].splitlines() if line.startswith("| urgency "))
    cells = [cell.strip() for cell in told.strip("|").split("|")]
    assert cells[1].split()[0] == urgency[1]
    assert [*cells[2:4], *cells[5:8]] == list(urgency[2:])
    assert "Not validated against human coding." in latex
    assert "Not validated against human coding." in html


def test_nothing_in_a_name_acts_in_a_table_for_a_paper() -> None:
    hostile = "a_b & 50 % <b>\\input{x} ${}^~#\x00"
    tables = [MainTable(hostile, ((hostile, "1", "1", "–", "–", "–", "–"),))]
    latex = as_latex(tables)
    shown = (
        r"a\_b \& 50 \% \textless{}b\textgreater{}\textbackslash{}input\{x\} \$\{\}\textasciicircum{}"
        r"\textasciitilde{}\#" + "\ufffd"
    )
    assert shown in latex
    assert "\\input{x}" not in latex
    assert "<b>\\input" not in as_html(tables)


@pytest.mark.skipif(shutil.which("Rscript") is None, reason="R is not installed here")
def test_the_r_script_gives_the_main_tables(sealed: Session, tmp_path: Path) -> None:
    script = written(sealed, "r", tmp_path / "main_tables.R")
    data = written(sealed, "csv", tmp_path / "results.csv")
    done = subprocess.run(["Rscript", str(script), str(data)], capture_output=True, check=True, timeout=120)
    found = {(row["model"], row["variable"].removesuffix("_score")): row for row in table(done.stdout)}
    groups = groups_of(session_records(sealed))
    names = [name for names in variables_of(sealed.definition.framework) for name in names]
    assert found.keys() == {(group.model, name) for group in groups for name in names}
    for group in groups:
        for name in names:
            row, across = found[group.model, name], group.across_documents(name)
            assert (int(row["documents"]), int(row["scores"])) == (across.n, group.count(name))
            for column, value in (("mean", across.mean), ("sd", across.sd), ("min", across.minimum)):
                assert (float(row[column]) if row[column] else None) == (
                    pytest.approx(value, abs=1e-12) if value is not None else None
                )


def test_both_scripts_name_every_variable_as_its_file_does(sealed: Session, tmp_path: Path) -> None:
    frame = pd.read_stata(written(sealed, "dta", tmp_path / "results.dta"))
    do_file, r_script = given_as(sealed, "stata").decode(), given_as(sealed, "r").decode()
    variables = do_file.partition("foreach variable in ")[2].partition(" {")[0].split()
    framework = sealed.definition.framework
    assert len(variables) == len(framework.dimensions) + len(framework.derived_metrics)
    assert set(variables) <= set(frame.columns)
    assert all(json.dumps(name) in r_script for name in variables)
    assert {"model_asked", "model_requested", "model_answered", "substituted", "document"} <= set(frame.columns)


def test_a_form_that_is_no_text_wants_a_file_and_no_session_is_written_into(sealed: Session) -> None:
    with pytest.raises(CommandError, match=r"--to results\.parquet"):
        raise run(sealed, "results", sealed.name, "--format", "parquet").exception or AssertionError
    inside = str(sealed.folder / "deliverables/mine.csv")
    with pytest.raises(CommandError, match="lies in the session"):
        raise run(sealed, "results", sealed.name, "--to", inside).exception or AssertionError
    nowhere = str(sealed.folder.parents[5] / "no/such/folder.csv")
    with pytest.raises(CommandError, match="cannot be written"):
        raise run(sealed, "results", sealed.name, "--to", nowhere).exception or AssertionError


def test_giving_results_changes_nothing_in_the_session(sealed: Session, tmp_path: Path) -> None:
    before = {name: (sealed.folder / name).read_bytes() for name in names_in(sealed.folder)}
    for form in ("csv", "long", "latex", "html", "r", "stata"):
        given_as(sealed, form)
    written(sealed, "parquet", tmp_path / "results.parquet")
    assert {name: (sealed.folder / name).read_bytes() for name in names_in(sealed.folder)} == before


# calculate


@pytest.fixture
def copied(sealed: Session, tmp_path: Path) -> Session:
    """Return a copy of the session in a store of its own, which may be changed."""
    projects = Path(shutil.copytree(sealed.folder.parents[4], tmp_path / "projects"))
    return Session(projects / sealed.folder.relative_to(sealed.folder.parents[4]))


def test_calculating_again_gives_the_same_tables_seals_anew_and_touches_no_answer(copied: Session) -> None:
    before, table_before = answers(copied), copied.store.get(layout.RESULTS)
    done = run(copied, "calculate", copied.name, "--json")
    told = json.loads(done.stdout)
    assert (done.exit_code, told["status"], told["version"], told["changed"]) == (0, "complete", 2, [])
    assert answers(copied) == before
    assert copied.store.get(layout.RESULTS) == copied.store.get(layout.superseded(1, layout.RESULTS)) == table_before
    found = verify(copied.folder)
    assert (found.intact, found.version) == (True, 2)


def test_a_table_that_another_version_made_otherwise_is_named_and_kept(
    copied: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = copied.store.get(layout.RESULTS)
    monkeypatch.setattr(results, "why_incomplete", lambda record: "in other words")
    done = run(copied, "calculate", copied.name)
    assert done.exit_code == 0
    assert "otherwise: deliverables/results.csv\n" in done.stdout
    assert b"in other words" in copied.store.get(layout.RESULTS)
    assert copied.store.get(layout.superseded(1, layout.RESULTS)) == before


def test_a_session_that_is_not_what_was_sealed_is_refused_and_left_as_it_is(copied: Session) -> None:
    altered = copied.store.get(layout.RESULTS).replace(b"calm", b"loud")
    copied.store.put(layout.RESULTS, altered)
    with pytest.raises(CommandError, match="not what was sealed"):
        raise run(copied, "calculate", copied.name).exception or AssertionError
    assert copied.store.get(layout.RESULTS) == altered
    assert not copied.store.exists(layout.seal(2))


def test_a_session_under_way_is_not_calculated(tmp_path: Path) -> None:
    session = opened(tmp_path, documents=2, runs=2)
    answer_all(session, Model(scores()), range(1, 3))
    with pytest.raises(CommandError, match=r"not finished: 2 analyses to ask or to read; go on with: .* resume"):
        raise run(session, "calculate", session.name).exception or AssertionError
    assert not session.reached("calculation")


def test_a_session_with_gaps_is_calculated_with_its_gaps(tmp_path: Path) -> None:
    session = opened(tmp_path, documents=2, runs=2)
    answer_all(session, Model(scores()), range(1, 4))
    close(session)
    done = run(session, "calculate", session.name, "--json")
    assert (done.exit_code, json.loads(done.stdout)["status"]) == (3, "partial")
