"""The definition that a migrated session runs on, put together in a folder of its own and read like any author's."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from discernus.experiments.corpus_table import TABLE_NAME
from discernus.experiments.definition import Definition, read_definition
from discernus.experiments.location import EXPERIMENT_FILE
from discernus.experiments.problems import InvalidDefinition
from discernus.migration.definitions import Translated
from discernus.migration.planning import SessionPlan, Text
from discernus.migration.values import in_json

FRAMEWORK_FILE = "framework.md"
_NEEDED = ("format", "title", "framework_file", "corpus", "models", "runs_per_model")
_ANY_MODEL = "offline/lexicon"  # where a definition names none, and is only to be read


def absent(name: str) -> str:
    """Return what stands in the place of a text that was not recorded anywhere."""
    return f"The text of '{name}' is not in what was migrated; only answers about it are.\n"


def definition_files(translated: Translated, texts: Mapping[str, Text | None]) -> dict[str, bytes]:
    """Return the files of an experiment's folder by their names in it."""
    files = {EXPERIMENT_FILE: translated.experiment, FRAMEWORK_FILE: translated.framework.data}
    for name, text in sorted(texts.items()):
        said = text.text if text is not None else absent(name)
        files[f"corpus/{name}"] = said.encode("utf-8", "replace")
    table = _table(translated.table, texts)
    if table is not None:
        files[TABLE_NAME] = table
    return files


def stage(folder: Path, translated: Translated, plan: SessionPlan) -> Definition:
    """Write the files below ``folder`` and return what they define for the plan. Raise InvalidDefinition.

    A table of the corpus that today's reader refuses is left out, and ``translated.lost`` says so.
    """
    for name, data in definition_files(translated, plan.texts).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    try:
        return read_definition(folder, models=plan.models, runs=plan.runs)
    except InvalidDefinition as invalid:
        table = folder / TABLE_NAME
        wrong = [str(one) for one in invalid.problems if one.severity == "error" and one.file.endswith(TABLE_NAME)]
        if not wrong or not table.is_file():
            raise
        table.unlink()
        note = f"the corpus's table: {wrong[0]}"
        if note not in translated.lost:
            translated.lost.append(note)
        translated.table = None
        return read_definition(folder, models=plan.models, runs=plan.runs)


def settle(translated: Translated, texts: Mapping[str, Text | None], name: str) -> None:
    """Leave out of the settings what today's reader refuses now that framework and corpus are there, and list it.

    Tests of the statistical plan go one by one; then whatever need not be set, until nothing is refused.
    """
    if not _refused(translated, texts, name):
        return
    tests = translated.settings.pop("statistical_plan", None)
    for key in [one for one in translated.settings if one not in _NEEDED]:
        refused = _refused(translated, texts, name)
        if refused:
            value = translated.settings.pop(key)
            if _refused(translated, texts, name) == refused:
                translated.settings[key] = value
            else:
                translated.lost.append(f"'{key}' of experiment.md, {in_json(value)}: {refused[0]}")
    if isinstance(tests, list):
        _settle_plan(translated, tests, texts, name)
    translated.lost += _refused(translated, texts, name)


def _settle_plan(translated: Translated, tests: list[Any], texts: Mapping[str, Text | None], name: str) -> None:
    """Keep of the statistical plan the tests that are not refused."""
    before = _refused(translated, texts, name)
    kept: list[Any] = []
    for index, test in enumerate(tests, start=1):
        translated.settings["statistical_plan"] = [*kept, test]
        refused = [one for one in _refused(translated, texts, name) if one not in before]
        if refused:
            translated.lost.append(f"test {index} of the statistical plan: {'; '.join(refused)}")
        else:
            kept.append(test)
    translated.settings["statistical_plan"] = kept
    if not kept:
        del translated.settings["statistical_plan"]


def _refused(translated: Translated, texts: Mapping[str, Text | None], name: str) -> list[str]:
    """Return what today's reader refuses of the definition."""
    plan = SessionPlan(translated.models or (_ANY_MODEL,), translated.runs, dict(texts), ())
    with TemporaryDirectory(prefix="migration-") as temporary:
        try:
            stage(Path(temporary) / name, translated, plan)
        except InvalidDefinition as invalid:
            return [problem.what for problem in invalid.problems if problem.severity == "error"]
    return []


def _table(data: bytes | None, texts: Mapping[str, Text | None]) -> bytes | None:
    """Return the table without the rows of texts that are not there."""
    if data is None:
        return None
    try:
        rows = list(csv.DictReader(io.StringIO(data.decode("utf-8-sig"))))
    except (UnicodeDecodeError, csv.Error):
        return data
    if not rows or "file" not in rows[0]:
        return data
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    writer.writerows(row for row in rows if row["file"] in texts)
    return out.getvalue().encode()
