"""An experiment with everything it names: framework, corpus, and what was found wrong on the way."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from discernus.experiments.corpus import Corpus, Document
from discernus.experiments.corpus_folder import read_corpus
from discernus.experiments.corpus_table import TABLE_NAME
from discernus.experiments.experiment import Experiment
from discernus.experiments.experiment_file import parse_experiment
from discernus.experiments.experiment_reading import ExperimentReading, Overrides
from discernus.experiments.framework import Framework
from discernus.experiments.framework_file import read_framework
from discernus.experiments.framework_reading import holds_framework
from discernus.experiments.location import EXPERIMENT_FILE, project_folder
from discernus.experiments.plan import Analysis, make_plan
from discernus.experiments.problems import InvalidDefinition, Problem, did_you_mean, has_errors
from discernus.experiments.statistical_plan import tests_of
from discernus.experiments.testability import flaws, judged


@dataclass(frozen=True)
class Definition:
    """All that a session is made from, read and valid. ``texts`` maps document ids to their decoded texts."""

    experiment: Experiment
    framework: Framework
    documents: tuple[Document, ...]
    texts: dict[str, str]
    warnings: tuple[Problem, ...]

    def plan(self) -> list[Analysis]:
        """Return every analysis that a session of it consists of, numbered."""
        experiment = self.experiment
        return make_plan(
            [document.id for document in self.documents],
            list(experiment.models),
            list(experiment.variants),
            experiment.runs_per_model,
        )


def read_definition(
    folder: Path,
    *,
    models: Sequence[str] | None = None,
    runs: int | None = None,
    concurrency: int | None = None,
) -> Definition:
    """Return the definition in an experiment's folder (or at its experiment.md), the given values in place of its own.

    Raise InvalidDefinition with every problem of every file, warnings included, if there is any error.
    """
    folder = (folder.parent if folder.name == EXPERIMENT_FILE else folder).resolve()
    overrides = Overrides(models=models, runs=runs, concurrency=concurrency)
    reading = _read_experiment(folder, overrides)
    framework_path, framework, framework_problems = _framework(folder, reading)
    corpus_path, corpus, corpus_problems = _corpus(folder, reading)
    if framework is not None:
        _check_variants(reading, framework)
        _check_plan(reading, framework, corpus)
    problems = (*reading.problems.found, *framework_problems, *corpus_problems)
    if reading.experiment is None or framework is None or has_errors(problems):
        raise InvalidDefinition(_in_order(problems))
    tests = tests_of(reading.experiment.statistical_plan)
    located = {
        "framework_file": _relative(framework_path, folder),
        "corpus": _relative(corpus_path, folder),
        "variants": _variants(reading, framework),
        "hypotheses": judged(reading.experiment.hypotheses, tests, flaws(tests, framework, corpus.documents)),
    }
    experiment = reading.experiment.model_copy(update=located)
    return Definition(experiment, framework, corpus.documents, corpus.texts, _in_order(problems))


def read_framework_of(folder: Path) -> tuple[Framework | None, tuple[Problem, ...]]:
    """Return the framework of an experiment's folder, or None, and every problem found with it."""
    folder = folder.resolve()
    reading = _read_experiment(folder, Overrides())
    before = len(reading.problems.found)
    _, framework, problems = _framework(folder, reading)
    about_it = reading.problems.found if framework is None else reading.problems.found[before:]
    return framework, (*about_it, *problems)


def _read_experiment(folder: Path, overrides: Overrides) -> ExperimentReading:
    file = f"{folder.name}/{EXPERIMENT_FILE}"
    try:
        data = (folder / EXPERIMENT_FILE).read_bytes()
    except OSError as error:
        what = f"the file cannot be read: {error.strerror}"
        cure = "give the folder that holds the experiment.md"
        raise InvalidDefinition((Problem(file, None, what, cure),)) from error
    return parse_experiment(data, folder.name, file, overrides)


def _framework(folder: Path, reading: ExperimentReading) -> tuple[Path, Framework | None, tuple[Problem, ...]]:
    """Return the framework that the experiment names, or in the older form the only one that is there."""
    key = "framework_file"
    named = reading.text_at(key)
    path = folder / (named or "framework.md")
    if named and not _is_inside(path, folder):
        reading.error([key], f"framework_file '{named}' lies outside of the experiment", _inside_cure(folder))
        return path, None, ()
    if named is None or not path.is_file():
        there = sorted(each for each in folder.glob("*.md") if each.name != EXPERIMENT_FILE and holds_framework(each))
        if reading.front_matter is None and len(there) != 1:
            return path, None, ()
        what = f"there is no framework '{named}'" if named else f"the experiment has no '{key}'"
        if len(there) != 1:
            names = ", ".join(each.name for each in there) or "none"
            reading.error([key], what, f"write `{key}: <file>`; frameworks in the folder: {names}")
            return path, None, ()
        cure = f"write `{key}: {there[0].name}`"
        if reading.current:
            reading.error([key], what, cure)
        elif reading.front_matter is not None:
            reading.warn([key], f"{what}; '{there[0].name}', the only one in the folder, is used", cure)
        path = there[0]
    framework, problems = read_framework(path, file=_readable(path, folder))
    return path, framework, problems


def _corpus(folder: Path, reading: ExperimentReading) -> tuple[Path, Corpus, tuple[Problem, ...]]:
    named = reading.text_at("corpus") or "corpus"
    path = folder / named
    if not _is_inside(path, folder):
        reading.error(["corpus"], f"corpus '{named}' lies outside of the experiment", _inside_cure(folder))
        return path, Corpus((), {}), ()
    if path.resolve() == folder:
        cure = "move the texts into a folder of their own, such as corpus"
        reading.error(["corpus"], "the corpus is the experiment's own folder", cure)
        return path, Corpus((), {}), ()
    tables = [table for table in (path.parent / TABLE_NAME, path / TABLE_NAME) if table.is_file()]
    table = tables[0] if tables else None
    table_name = _readable(table, folder) if table else TABLE_NAME
    corpus, problems = read_corpus(path, table, name=_readable(path, folder), table_name=table_name)
    if table is not None and not _is_inside(table, folder):
        problems += (Problem(table_name, None, "the link leads out of the experiment", "replace it by the file"),)
    if len(tables) > 1:
        what = f"there is another table: {_readable(tables[1], folder)}"
        problems += (Problem(table_name, None, what, "keep one of them"),)
    return path, corpus, problems


def _variants(reading: ExperimentReading, framework: Framework) -> tuple[str, ...]:
    """Return the variants asked for; where none is asked for, ``default`` or the only one there is."""
    names = [variant.name for variant in framework.variants]
    asked = reading.experiment.variants if reading.experiment else ()
    if reading.values.get("analysis_variant") is None and len(names) == 1:
        return tuple(names)
    return asked


def _check_variants(reading: ExperimentReading, framework: Framework) -> None:
    key = "analysis_variant"
    names = [variant.name for variant in framework.variants]
    for index, name in enumerate(_variants(reading, framework)):
        if name not in names:
            cure = did_you_mean(name, names, f"its variants are {', '.join(names)}")
            reading.error([key, index], f"the framework has no variant '{name}'", cure)


def _check_plan(reading: ExperimentReading, framework: Framework, corpus: Corpus) -> None:
    """Report what the statistical plan cannot mean: an error in the current form."""
    if reading.experiment is None:
        return
    names = [hypothesis.name for hypothesis in reading.experiment.hypotheses]
    tests = tests_of(reading.experiment.statistical_plan)
    for each in flaws(tests, framework, corpus.documents):
        (reading.odd if each.of == "result" else reading.warn)(["statistical_plan", each.index], each.what, each.cure)
    for test in tests:
        for name in test.hypotheses:
            if name not in names:
                cure = did_you_mean(name, names, f"the hypotheses are {', '.join(names) or 'none'}")
                reading.odd(["statistical_plan", test.index], f"there is no hypothesis '{name}'", cure)


def _is_inside(path: Path, folder: Path) -> bool:
    """Return whether a path, links followed, lies in the experiment's project, or in its folder where it has none."""
    return path.resolve().is_relative_to(project_folder(folder) or folder)


def _inside_cure(folder: Path) -> str:
    project = project_folder(folder)
    where = f"the project '{project.name}'" if project else "the experiment's folder"
    return f"copy it into {where}, and write its path from the experiment's folder"


def _relative(path: Path, folder: Path) -> str:
    """Return the path from the experiment's folder, with forward slashes on every system."""
    depth = 0
    while not path.is_relative_to(folder):
        folder, depth = folder.parent, depth + 1
    return "../" * depth + path.relative_to(folder).as_posix()


def _readable(path: Path, folder: Path) -> str:
    return path.relative_to(folder.parent).as_posix() if path.is_relative_to(folder.parent) else str(path)


def _in_order(problems: Sequence[Problem]) -> tuple[Problem, ...]:
    """Return the problems errors first, and each kind by place in the order of the files."""
    files = list(dict.fromkeys(problem.file for problem in problems))
    return tuple(sorted(problems, key=lambda each: (each.severity, files.index(each.file), each.line or 0)))
